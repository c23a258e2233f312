"""What lies between planted motifs: random bases of given composition, a Markov chain, or real sequences.

Each background has `draw(n, length, rng) -> uint8 [n, length]` and `composition`, the share of A C G T that scores of
planted instances are measured against.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, UInt8

from dragon_jax.config import check_range
from dragon_jax.dna import UNKNOWN, dinucleotide_shuffle, encode
from dragon_jax.errors import InputError, show
from dragon_jax.files import Faults
from dragon_jax.genome.fasta import read_fasta

MAX_ORDER = 8  # 4^9 = 262,144 numbers
_BLOCK = 4_000_000  # random numbers drawn at a time


@runtime_checkable
class Background(Protocol):
    """Attributes: share of A C G T, float64 `[4]`."""

    composition: Float64[np.ndarray, " 4"]

    def draw(self, n: int, length: int, rng: np.random.Generator) -> UInt8[np.ndarray, "N L"]: ...


def draw_codes(cumulative: Float64[np.ndarray, "*N 4"], uniform: Float64[np.ndarray, "*M"]) -> UInt8[np.ndarray, "*M"]:
    """Turns uniform numbers into codes 0-3, given running sums of base probabilities that broadcast against them."""
    codes = (uniform >= cumulative[..., 0]).astype(np.uint8)
    codes += uniform >= cumulative[..., 1]
    codes += uniform >= cumulative[..., 2]
    return codes


def running(probabilities: np.ndarray) -> np.ndarray:
    """Returns running sums of rows of base probabilities, so that a base of probability 0 is never drawn."""
    sums = np.asarray(probabilities, np.float64).cumsum(-1)
    sums /= sums[..., -1:]
    sums[sums > 1 - 1e-15] = 1.0
    return sums


class Composition:
    """Independent bases, each drawn from the same four probabilities."""

    def __init__(self, probabilities: np.ndarray):
        self.composition = np.asarray(probabilities, np.float64) / np.sum(probabilities)

    def draw(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        codes = np.empty((n, length), np.uint8)
        sums, step = running(self.composition), max(1, _BLOCK // length)
        for start in range(0, n, step):  # blocks: the random numbers take eight times the room of the codes
            part = codes[start : start + step]
            part[:] = draw_codes(sums, rng.random(part.shape))
        return codes


class Markov:
    """Each base depends on the `order` bases before it; a sequence begins with a draw from the stationary words."""

    def __init__(self, transitions: np.ndarray):
        """Takes the probability (or count) of each base, float64 `[4^order, 4]`, after each word in alphabetical order.

        Raises:
            InputError: the table has another shape or a word without any way on.
        """
        table = np.asarray(transitions, np.float64)
        order = round(np.log(max(len(table), 1)) / np.log(4))
        if table.ndim != 2 or table.shape != (4**order, 4) or not 1 <= order <= MAX_ORDER:
            raise InputError(
                f"transitions: expected 4, 16, 64, ... rows of four numbers (one per word), found shape {table.shape}"
            )
        if not np.isfinite(table).all() or (table < 0).any() or not table.sum(1).all():
            raise InputError("transitions: expected numbers of at least 0, some above 0 in each row")
        self.order, self.transitions = order, table / table.sum(1, keepdims=True)
        self.words = self._stationary()
        last = self.words.reshape(-1, 4).sum(0)
        self.composition = last / last.sum()

    @classmethod
    def fit(cls, sequences: list[np.ndarray], order: int, pseudocount: float = 1.0) -> Markov:
        """Counts words of `order + 1` known bases in sequences of codes and adds `pseudocount` to each."""
        counts = np.full(4 ** (order + 1), float(pseudocount))
        weights = 4 ** np.arange(order, -1, -1)
        for codes in sequences:
            if len(codes) > order:
                windows = np.lib.stride_tricks.sliding_window_view(codes, order + 1)
                known = (windows < UNKNOWN).all(1)
                counts += np.bincount(windows[known].astype(np.int64) @ weights, minlength=len(counts))
        return cls(counts.reshape(-1, 4))

    def _stationary(self) -> np.ndarray:
        """Returns float64 `[4^order]`: how often each word comes in the long run."""
        words = np.full(len(self.transitions), 1 / len(self.transitions))
        for _ in range(10_000):  # averaged with the step before, so that periodic chains settle too
            flow = words[:, None] * self.transitions
            after = flow.reshape(4, -1, 4).sum(0).reshape(-1)
            after = (after + words) / 2
            if np.abs(after - words).max() < 1e-13:
                break
            words = after
        return words / words.sum()

    def draw(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        codes = np.empty((length, n), np.uint8)  # positions first: each step writes one run of memory
        sums = running(self.transitions)
        word = np.searchsorted(self.words.cumsum()[:-1], rng.random(n), side="right")
        for i in range(min(self.order, length)):
            codes[i] = word // 4 ** (self.order - 1 - i) % 4
        for i in range(self.order, length):
            codes[i] = draw_codes(sums[word], rng.random(n))
            word = (word * 4 + codes[i]) % len(sums)
        return np.ascontiguousarray(codes.T)


class Sequences:
    """Windows of real sequences, at random starts; shuffled keeping every dinucleotide count, or as they are.

    Unshuffled, each record gives one window only, in all that is drawn from one object, so that no two simulated sequences share
    their background. Shuffled, all records are used equally often up to one.
    """

    def __init__(self, sequences: list[np.ndarray], shuffle: bool, name: str = "background"):
        self.sequences, self.shuffle, self.name = sequences, shuffle, name
        counts = sum((np.bincount(codes, minlength=5)[:4] for codes in sequences), np.zeros(4))
        self.composition = (counts + 1) / (counts + 1).sum()
        self._queue: list[int] = []
        self._used = 0

    def draw(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """As the protocol says.

        Raises:
            InputError: records shorter than `length`, or (unshuffled) fewer left than are asked for.
        """
        faults = Faults()
        for i, codes in enumerate(self.sequences, 1):
            if len(codes) < length:
                said = f"record {i} in {self.name}: expected at least {length} bases, found {len(codes)}"
                faults.add(f"record {i}", said, "Make the simulated sequences shorter, or leave short records out")
        faults.refuse()
        if not self.shuffle and self._used + n > len(self.sequences):
            raise InputError(
                f"{self.name} holds {len(self.sequences):,} sequences: expected at least {self._used + n:,}, one for each "
                "simulated sequence. Set background.shuffle, or simulate fewer"
            )
        self._used += n
        while len(self._queue) < n:
            self._queue += rng.permutation(len(self.sequences)).tolist()
        rows, self._queue = self._queue[:n], self._queue[n:]
        room = np.array([len(self.sequences[r]) - length for r in rows], np.int64)
        starts = rng.integers(0, room + 1)
        codes = np.stack([self.sequences[r][s : s + length] for r, s in zip(rows, starts, strict=True)])
        return dinucleotide_shuffle(codes, rng.integers(2**63).item()) if self.shuffle else codes


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackgroundConfig:
    """The typed view of a background.

    Attributes:
        name: `composition`, `markov` or `sequences`.
        gc: share of G and C, for `composition`; `probabilities` (A C G T), when given, replaces it.
        order: for `markov`, how many bases before the next one count. `transitions` gives the table (`4^order` rows of
            four numbers); otherwise it is fitted to the sequences in `path`, with `pseudocount` added to each count.
        path: FASTA file, for `markov` and `sequences`.
        shuffle: for `sequences`, shuffle each so that its dinucleotide counts stay.
    """

    name: Literal["composition", "markov", "sequences"] = "composition"
    gc: float = 0.4
    probabilities: tuple[float, ...] = ()
    order: int = 1
    transitions: tuple[Any, ...] = ()
    pseudocount: float = 1.0
    path: str = ""
    shuffle: bool = False

    def __post_init__(self):
        check_range("gc", self.gc, 0, 1)
        check_range("order", self.order, 1, MAX_ORDER)
        check_range("pseudocount", self.pseudocount, 0, float("inf"), open_low=True, open_high=True)
        p = self.probabilities
        if p and (len(p) != 4 or not all(0 <= x < float("inf") for x in p) or abs(sum(p) - 1) > 1e-6):
            raise ValueError(f"probabilities: expected four numbers (A C G T) that add up to 1, found {show(p)}")
        if self.name == "composition" and self.path:
            raise ValueError(f"path: not used by name='composition', found '{show(self.path)}'")
        if self.name == "markov" and bool(self.path) == bool(self.transitions):
            raise ValueError("path, transitions: expected one of them with name='markov'")
        if self.name == "sequences" and not self.path:
            raise ValueError("path: needed by name='sequences', found none")

    def build(self) -> Background:
        """Reads what has to be read.

        Raises:
            InputError: bad files, or a table of another shape.
        """
        if self.name == "markov":
            if not self.transitions:
                return Markov.fit(list(_records(self.path)), self.order, self.pseudocount)
            chain = Markov(_table(self.transitions))
            if chain.order != self.order:
                rows = 4**self.order
                raise InputError(f"transitions: expected {rows} rows for order {self.order}, found {4**chain.order}")
            return chain
        if self.name == "sequences":
            return Sequences(list(_records(self.path)), self.shuffle, show(self.path, 300))
        return Composition(np.array(self.probabilities or [1 - self.gc, self.gc, self.gc, 1 - self.gc]))


def _records(path: str) -> Iterator[np.ndarray]:
    for record in read_fasta(path):
        yield encode(record.bases, record.name)


def _table(rows: tuple[Any, ...]) -> np.ndarray:
    try:
        return np.array([[float(x) for x in row] for row in rows], np.float64)
    except (TypeError, ValueError) as e:
        raise InputError(f"transitions: expected rows of four numbers, found {show(rows)}") from e
