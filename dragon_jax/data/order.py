"""Which rows a batch holds: a pure function of (seed, step) and nothing else.

A run that starts at step 12,345 asks for step 12,345 and gets the rows that the uninterrupted run saw there. No
iterator state is saved anywhere, so nothing can fall out of step with a checkpoint.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Int, Int64

from dragon_jax.errors import InputError, listing

_CACHED = 4  # permutations kept per group: the running epoch, its neighbours, and one for a second reader


def permutation(n: int, seed: int, group: int = 0, epoch: int = 0) -> Int64[np.ndarray, " n"]:
    """Returns the order of n rows in one epoch of one group, a function of the four numbers alone.

    The raw stream of Philox (Salmon et al., SC 2011) is sorted instead of calling `Generator.permutation`: NumPy
    promises that raw streams stay as they are, while `Generator` methods may draw differently in the next release
    (NEP 19), and a run must go on in the same order after an upgrade.
    """
    bits = np.random.Philox(key=np.array([seed, (group << 32) | epoch], np.uint64)).random_raw(n)
    return np.argsort(bits, kind="stable")


@dataclasses.dataclass(frozen=True, eq=False)
class BatchOrder:
    """The rows of every batch of a run.

    Without groups, epoch after epoch of shuffled rows is cut into batches: no row is dropped, a batch may span two
    epochs (or several, where it is larger than the data set), and every row comes exactly once per epoch.

    With groups, every batch holds fixed shares of them, and each group cycles through shuffled epochs of its own.
    Shares that are no whole number of rows are rounded so that the error never adds up over steps: with two groups
    every batch is within one row of its share, and so is the sum over any number of steps from the start.

    Attributes:
        n: number of rows of the data set.
        batch_size: rows of a batch.
        seed: 0 <= seed < 2^64.
        groups: integer labels `[n]` (for example the class of each row), or None.
        shares: share of each label in a batch, in any unit (`{0: 1, 1: 1}` = half and half); a label with share 0 is
            never drawn. None = equal shares for all labels. Only with `groups`.

    Raises:
        InputError: no row, a label without share, a share without rows, or shares that are not finite and positive.
        ValueError: n, batch_size or seed out of range.
    """

    n: int
    batch_size: int
    seed: int
    groups: Int[np.ndarray, " n"] | None = None
    shares: Mapping[int, float | int] | None = None
    _members: tuple[np.ndarray, ...] = dataclasses.field(init=False, repr=False)
    _ratios: tuple[Fraction, ...] = dataclasses.field(init=False, repr=False)
    _cache: OrderedDict[tuple[int, int], np.ndarray] = dataclasses.field(init=False, repr=False)
    _lock: threading.Lock = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        if self.n < 1:
            raise InputError("no row to draw batches from: expected at least 1")
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size}: expected at least 1")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed={self.seed} is not in [0, 2^64)")
        members, ratios = _split(self.n, self.groups, self.shares)
        for name, value in (
            ("_members", members),
            ("_ratios", ratios),
            ("_cache", OrderedDict()),
            ("_lock", threading.Lock()),
        ):
            object.__setattr__(self, name, value)

    def __reduce__(self):
        """Travels to other processes as its arguments: a lock cannot, and permutations are cheaper made than sent."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        return functools.partial(BatchOrder, **given), ()

    def rows(self, step: int) -> Int64[np.ndarray, " B"]:
        """Returns the rows of the batch of this step (0, 1, ...); O(batch), and a sort of n numbers once per epoch."""
        if step < 0:
            raise ValueError(f"step={step}: expected 0 or more")
        result = np.empty(self.batch_size, np.int64)
        # Slots number all rows of all batches. Each group in turn takes its share of the slots that are left: of the
        # first s of them it holds floor(s * ratio), so any step is found directly and counts are exact over time.
        slots = np.arange(step * self.batch_size, (step + 1) * self.batch_size, dtype=np.int64)
        places = np.arange(self.batch_size)
        for group, ratio in enumerate(self._ratios):
            before = _floor_product(slots, ratio)
            mine = _floor_product(slots + 1, ratio) > before
            result[places[mine]] = self._draw(group, before[mine])
            slots, places = (slots - before)[~mine], places[~mine]
        return result

    def epoch(self, step: int) -> float:
        """Returns how many times as many rows as the data set has were drawn before this step."""
        return step * self.batch_size / self.n

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which at least n rows were drawn, rounded up."""
        return math.ceil(self.n / self.batch_size)

    def _draw(self, group: int, positions: np.ndarray) -> np.ndarray:
        """Rows at these (ascending) positions of the endless stream of one group."""
        members = self._members[group]
        epochs, offsets = np.divmod(positions, len(members))
        rows = np.empty(len(positions), np.int64)
        if len(positions):
            for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
                here = epochs == epoch
                rows[here] = members[self._permutation(group, epoch)[offsets[here]]]
        return rows

    def _permutation(self, group: int, epoch: int) -> np.ndarray:
        key = (group, epoch)
        with self._lock:  # reading threads ask for neighbouring steps: let one of them sort
            if key not in self._cache:
                order = permutation(len(self._members[group]), self.seed, group, epoch)
                self._cache[key] = order.astype(np.int32) if len(order) < 2**31 else order
                while len(self._cache) > _CACHED * len(self._members):
                    self._cache.popitem(last=False)
            self._cache.move_to_end(key)
            return self._cache[key]


def _split(
    n: int, groups: np.ndarray | None, shares: Mapping | None
) -> tuple[tuple[np.ndarray, ...], tuple[Fraction, ...]]:
    """Rows of each drawn group, and the share of each among itself and the groups after it (the last one takes all)."""
    if groups is None:
        if shares is not None:
            raise ValueError("shares are given without groups")
        return (np.arange(n),), (Fraction(1),)
    if groups.shape != (n,):
        raise ValueError(f"groups have shape {groups.shape}: expected ({n},)")
    labels = [label.item() for label in np.unique(groups)]
    wanted = dict.fromkeys(labels, 1.0) if shares is None else dict(shares)
    if missing := [label for label in labels if label not in wanted]:
        raise InputError(
            f"class {listing(missing)} has rows but no share of the batch: expected a share (0 = never) for every class"
        )
    if wrong := [f"{k}: {v}" for k, v in wanted.items() if not (math.isfinite(v) and v >= 0)]:
        raise InputError(f"shares of the batch must be numbers of 0 or more, found {listing(wrong)}")
    drawn = sorted(label for label, share in wanted.items() if share > 0)
    if absent := [label for label in drawn if label not in labels]:
        raise InputError(
            f"class {listing(absent)} is to fill a share of every batch but has no row: expected at least 1. "
            "Balance by another task, or turn balancing off"
        )
    if not drawn:
        raise InputError("all shares of the batch are 0: expected at least one above 0")
    total = sum(wanted[label] for label in drawn)
    exact = [Fraction(wanted[label] / total).limit_denominator(10**6) for label in drawn]
    if not all(exact):
        raise InputError(
            f"shares of the batch lie too far apart: {listing(f'{k}: {wanted[k]}' for k in drawn)}. "
            "Keep them within a factor of 100,000"
        )
    ratios = tuple((share / sum(exact[i:])).limit_denominator(10**9) for i, share in enumerate(exact))
    return tuple(np.flatnonzero(groups == label) for label in drawn), ratios


def _floor_product(counts: np.ndarray, ratio: Fraction) -> np.ndarray:
    """floor(counts * ratio), exact in int64: the quotient is taken out first, so that nothing overflows."""
    whole, rest = np.divmod(counts, ratio.denominator)
    return whole * ratio.numerator + rest * ratio.numerator // ratio.denominator


def eval_batches(n: int, batch_size: int) -> Iterator[tuple[Int64[np.ndarray, " B"], Bool[np.ndarray, " B"]]]:
    """Yields all rows once, in order, as `(rows, valid)` of one fixed size: one compiled program serves them all.

    The last batch is filled up with its last row; `valid` is false there.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: expected at least 1")
    for start in range(0, n, batch_size):
        rows = np.arange(start, start + batch_size)
        yield np.minimum(rows, n - 1), rows < n
