"""Source `simulation`: sequences with and without one motif, for a first run that needs no data and knows the truth."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.dna import reverse_complement
from dragon_jax.errors import show

_IUPAC = {
    "A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulationSource:
    """Positives hold one motif instance on a random background; negatives are background only.

    The default motif looks like a composite site of GATA1 and TAL1: half an E-box, any eight bases, a GATA site. The
    likelihood ratio that knows all parameters separates these defaults with an auROC of 0.996; a GATA site alone
    (`counts` of the alignment GGATAA CGATAA CGATAT GGATAT in 60 bases) reaches 0.94, because it occurs by chance too.

    Attributes:
        motif: consensus in IUPAC letters; not used when `counts` is given.
        mutation: probability that a base of an instance is replaced by a draw from the background (consensus only).
        counts: one row of four counts (A C G T) per motif position, such as an alignment gives; instances follow their
            frequencies.
        length: bases per sequence.
        positives, negatives: how many of each.
        gc: share of G and C in the background.
        position: first and last start of an instance, 0-based; None = anywhere that it fits.
        both_strands: half of the instances are reverse-complemented.
        task: name of the task.
        seed: seed of the draw. The data are a function of these fields alone, so that runs with other seeds see the
            same examples; None = follow the seed of the run.
    """

    motif: str = "CTGNNNNNNNNAGATAAG"
    mutation: float = 0.05
    counts: tuple[Any, ...] = ()
    length: int = 100
    positives: int = 5000
    negatives: int = 5000
    gc: float = 0.42
    position: tuple[int, int] | None = None
    both_strands: bool = True
    task: str = "motif"
    seed: int | None = 0

    def __post_init__(self):
        if not self.counts and (not self.motif or set(self.motif.upper()) - set(_IUPAC)):
            raise ValueError(f"motif: expected IUPAC letters (ACGT, RYSWKM, BDHV, N), found '{show(self.motif)}'")
        for row in self.counts:
            if (
                len(row) != 4
                or any(type(c) not in (int, float) or not 0 <= c < float("inf") for c in row)
                or not sum(row)
            ):
                raise ValueError(f"counts: expected rows of four counts A C G T, found {show(row)}")
        for name in ("mutation", "gc"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 <= x <= 1, found {getattr(self, name)}")
        for name in ("positives", "negatives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, found {getattr(self, name)}")
        room = self.length - len(self.frequencies())
        if room < 0:
            raise ValueError(
                f"length: expected at least the {len(self.frequencies())} bases of the motif, found {self.length}"
            )
        if self.position is not None and not 0 <= self.position[0] <= self.position[1] <= room:
            raise ValueError(f"position: expected 0 <= first <= last <= {room}, found {self.position}")
        if not self.task:
            raise ValueError("task: expected a name, found an empty one")

    def background(self) -> Float64[np.ndarray, " 4"]:
        """Returns the probabilities of A C G T in the background."""
        return np.array([1 - self.gc, self.gc, self.gc, 1 - self.gc]) / 2

    def frequencies(self) -> Float64[np.ndarray, "W 4"]:
        """Returns the probability of each base at each position of an instance."""
        if self.counts:
            counts = np.array(self.counts, np.float64)
            return counts / counts.sum(1, keepdims=True)
        letters = np.array([[base in _IUPAC[letter] for base in "ACGT"] for letter in self.motif.upper()], np.float64)
        weights = letters * self.background()
        if not weights.sum(1).all():  # letters that the background does not have at all
            weights = letters
        kept = weights / weights.sum(1, keepdims=True)
        return (1 - self.mutation) * kept + self.mutation * self.background()

    def load_parts(self, seed: int = 0) -> dict[str, Dataset]:
        """Returns all sequences under `all`, positives first."""
        drawn = simulate(self, seed if self.seed is None else self.seed)
        names = [f"positive_{i}" for i in range(1, self.positives + 1)] + [
            f"negative_{i}" for i in range(1, self.negatives + 1)
        ]
        return {"all": Dataset(codes=drawn.codes, targets=drawn.targets, tasks=(Task(self.task),), ids=np.array(names))}


class Simulated(NamedTuple):
    """Simulated sequences and the truth about them.

    Attributes:
        codes: uint8 `[N, L]`, positives first.
        targets: float32 `[N, 1]`.
        start: int64 `[N]`, first base of the motif instance, -1 in negatives.
        reverse: int64 `[N]`, 1 where the instance lies on the other strand.
    """

    codes: UInt8[np.ndarray, "N L"]
    targets: Float32[np.ndarray, "N 1"]
    start: Int64[np.ndarray, " N"]
    reverse: Int64[np.ndarray, " N"]


def simulate(source: SimulationSource, seed: int) -> Simulated:
    """Draws the sequences that `source` describes; a function of both arguments."""
    rng = np.random.default_rng(seed)
    total, frequencies = source.positives + source.negatives, source.frequencies()
    width = len(frequencies)
    codes = _draw(rng.random((total, source.length)), source.background())
    instances = np.stack([_draw(rng.random(source.positives), row) for row in frequencies], 1)
    first, last = source.position or (0, source.length - width)
    start = rng.integers(first, last + 1, source.positives)
    reverse = rng.integers(0, 2, source.positives) if source.both_strands else np.zeros(source.positives, np.int64)
    instances = np.where(reverse[:, None] == 1, reverse_complement(instances), instances)
    codes[np.arange(source.positives)[:, None], start[:, None] + np.arange(width)] = instances
    nothing = np.zeros(source.negatives, np.int64)
    return Simulated(
        codes=codes,
        targets=np.r_[np.ones(source.positives), nothing].astype(np.float32)[:, None],
        start=np.r_[start, nothing - 1],
        reverse=np.r_[reverse, nothing],
    )


def _draw(uniform: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Turns uniform numbers into codes with these probabilities."""
    return np.searchsorted(probabilities.cumsum()[:3], uniform, side="right").astype(np.uint8)
