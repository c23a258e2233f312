"""Base-resolution counts as something to predict: how often each base of the central window was seen, on each strand.

A task of this sort is two things. Its profile, float32 `[N, P, S]`, holds the counts base by base (P bases, S = 1 without
strand, 2 = forward and reverse). Its target, of kind real, is log(1 + total) over the central `length` bases, so that
every network, baseline, metric and report can deal with it. P may be larger than `length` by a margin on either side:
a training example that is shifted by up to so many bases still has its counts.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64

from dragon_jax.data import tracks
from dragon_jax.data.rows import Rows, chunks
from dragon_jax.data.windows import Windows
from dragon_jax.errors import InputError, show
from dragon_jax.genome.track import Track


def log_total(profile: Float32[np.ndarray, "N P S"], length: int) -> Float32[np.ndarray, " N"]:
    """Returns log(1 + sum over the central `length` bases and all strands), NaN where one of them was not measured."""
    total = central(profile, length).sum((1, 2), dtype=np.float64)
    return np.log1p(total).astype(np.float32)


def central(profile: Float[np.ndarray, "N P S"], length: int) -> Float[np.ndarray, "N {length} S"]:
    """Returns the central `length` of P bases, as a view."""
    start = (profile.shape[1] - length) // 2
    return profile[:, start : start + length]


def mean_profiles(rows: Rows) -> dict[str, Float64[np.ndarray, "P S"]]:
    """Returns the mean counts of each base-resolution task over the rows where it was measured."""
    sums: dict[str, np.ndarray] = {}
    seen: dict[str, int] = {}
    if not rows.chunk(0, 1).profiles:
        return {}
    for part in chunks(rows):
        for task, profile in part.profiles.items():
            there = ~np.isnan(profile).any((1, 2))
            sums[task] = sums.get(task, 0) + profile[there].sum(0, dtype=np.float64)
            seen[task] = seen.get(task, 0) + int(there.sum())
    return {task: total / max(seen[task], 1) for task, total in sums.items()}


def check_window(length: int, margin: int, bases: int, fields: tuple[str, str]) -> None:
    """Raises ValueError unless `length` bases with a margin on either side lie in the middle of a sequence."""
    if length < 1 or length + 2 * margin > bases or (bases - length) % 2:
        raise ValueError(
            f"{fields[0]}, {fields[1]}: expected {fields[0]} + 2 x {fields[1]} of at most the {bases} bases of a sequence, "
            f"and both {'even' if bases % 2 == 0 else 'odd'} like them, found {length} and {margin}"
        )


class CountLabels:
    """What one bigWig, or one of each strand, says about one task.

    Attributes:
        track: the task and its (first) file.
    """

    def __init__(self, task: str, paths: tuple[str, ...], signals: list[Track], length: int, margin: int):
        self.track = tracks.Track(task, paths[0], "real")
        self._paths, self._signals, self._length, self._margin = paths, signals, length, margin

    def __call__(self, windows: Windows, core: int) -> Float32[np.ndarray, " N"]:
        """Returns log(1 + total) of the central `length` bases of each window; `core` has no part in it."""
        del core
        return log_total(self._read(windows, self._length), self._length)

    def profile(self, windows: Windows) -> Float32[np.ndarray, "N P S"]:
        """Returns the counts of the central bases of each window, margin included."""
        return self._read(windows, self._length + 2 * self._margin)

    def _read(self, windows: Windows, width: int) -> Float32[np.ndarray, "N W S"]:
        start, end = windows.core(width)
        names = windows.names()
        values = np.stack([s.values(names, start, end) for s in self._signals], -1).astype(np.float32)
        if (values < 0).any():
            row, at, strand = np.argwhere(values < 0)[0]
            raise InputError(
                f"{show(self._paths[strand], 200)}, {names[row]}:{start[row] + at}: expected counts of at least 0, found "
                f"{values[row, at, strand]:g}. Files of the reverse strand may hold negative numbers: negate them"
            )
        return values
