"""Windows of a genome by number only: which contig, which start. 12 bytes a window, whatever lies in it.

A window of length L around position p covers `[p - L//2, p - L//2 + L)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32, Int64

from dragon_jax.data.dataset import Regions
from dragon_jax.errors import InputError
from dragon_jax.genome.algebra import overlap_bases
from dragon_jax.genome.intervals import Intervals

Edge = Literal["drop", "pad", "shift", "error"]
_WARN, _REFUSE = 0.01, 0.5  # shares of windows off their contig from which `drop` says so, or stops


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of one length on the contigs of a genome.

    Attributes:
        contigs: lengths in bases by name; `chrom` counts in this order.
        chrom: int32 `[N]`, index of the contig. start: int64 `[N]`, may lie outside until an edge policy was applied.
        length: bases of every window.
    """

    contigs: Mapping[str, int]
    chrom: Int32[np.ndarray, " N"]
    start: Int64[np.ndarray, " N"]
    length: int

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: np.ndarray | slice) -> Windows:
        """Returns the windows with these indices, in this slice, or where this mask is true."""
        return dataclasses.replace(self, chrom=self.chrom[rows], start=self.start[rows])

    def names(self) -> np.ndarray:
        """Returns text `[N]`, the contig of each window."""
        return np.array(list(self.contigs) or [""])[self.chrom]

    def sizes(self) -> Int64[np.ndarray, " N"]:
        """Returns the length of the contig of each window."""
        return np.array(list(self.contigs.values()) or [0], np.int64)[self.chrom]

    def centres(self) -> Int64[np.ndarray, " N"]:
        return self.start + self.length // 2

    def core(self, width: int) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
        """Returns start and end of the central `width` bases of each window."""
        start = self.centres() - width // 2
        return start, start + width

    def intervals(self) -> Intervals:
        return Intervals(self.names(), self.start, self.start + self.length)

    def regions(self) -> Regions:
        return Regions(self.names(), self.start, self.start + self.length)

    def order(self) -> Int64[np.ndarray, " N"]:
        """Returns the rows sorted by contig (in the genome's order) and start."""
        return np.lexsort((self.start, self.chrom))


def around(contigs: Mapping[str, int], names: np.ndarray, positions: np.ndarray, length: int) -> Windows:
    """Returns one window around each distinct position, sorted. Positions on contigs that are not asked for are left out."""
    index = {name: i for i, name in enumerate(contigs)}
    chosen, inverse = np.unique(np.asarray(names).astype(str), return_inverse=True)
    codes = np.array([index.get(name, -1) for name in chosen.tolist()], np.int32)
    chrom = codes[inverse] if len(chosen) else np.zeros(0, np.int32)
    start = np.asarray(positions, np.int64) - length // 2
    kept = chrom >= 0
    pairs = np.unique(np.stack([chrom[kept].astype(np.int64), start[kept]], 1), axis=0)
    return Windows(contigs, pairs[:, 0].astype(np.int32), pairs[:, 1], length)


def apply_edge(windows: Windows, policy: Edge, where: str) -> tuple[Windows, dict[str, int]]:
    """Deals with windows that reach over an end of their contig; returns the windows and what was done, counted.

    Args:
        policy: `drop` them; `pad` (bases outside are unknown); `shift` them inside; `error`.
        where: the genome as the user named it, for messages.

    Raises:
        InputError: `error` and some lie outside, `shift` and a contig is shorter than a window, or `drop` and more than
            half lie outside.
    """
    sizes = windows.sizes()
    outside = (windows.start < 0) | (windows.start + windows.length > sizes)
    count = int(outside.sum())
    if not count:
        return windows, {}
    worst = int(np.argmax(np.where(outside, windows.start + windows.length - sizes, -(2**62))))
    name = windows.names()[worst]
    end = int(windows.start[worst]) + windows.length
    first = f"largest end {end:,} on {name} ({int(sizes[worst]):,} bases in {where})"
    if policy == "error":
        raise InputError(
            f"{count:,} of {len(windows):,} windows fall off their contig; {first}: expected all inside. "
            "Set data.source.edge to drop, pad or shift"
        )
    if policy == "pad":
        return windows, {"windows padded over the end of a contig": count}
    if policy == "shift":
        if (short := sizes < windows.length).any():
            row = int(np.argmax(short))
            raise InputError(
                f"contig {windows.names()[row]} of {where} has {int(sizes[row]):,} bases: expected at least the "
                f"{windows.length:,} of a window. Set data.source.edge to pad or drop"
            )
        moved = dataclasses.replace(windows, start=np.clip(windows.start, 0, sizes - windows.length))
        unique = np.unique(np.stack([moved.chrom.astype(np.int64), moved.start], 1), axis=0, return_index=True)[1]
        return moved.take(np.sort(unique)), {"windows moved inside their contig": count}
    if count > _REFUSE * len(windows):
        raise InputError(
            f"{count:,} of {len(windows):,} windows fall off their contig; {first}: expected at most half of them. "
            "Wrong assembly?"
        )
    label = "windows dropped that fall off their contig"
    if count > _WARN * len(windows):
        label += f" (more than 1 %: wrong assembly? {first})"
    return windows.take(~outside), {label: count}


def touching(windows: Windows, intervals: Intervals, margin: int = 0) -> Bool[np.ndarray, " N"]:
    """Returns which windows share a base with, or lie within `margin` bases of, some interval."""
    if not len(intervals) or not len(windows):
        return np.zeros(len(windows), bool)
    wide = Intervals(windows.names(), windows.start - margin, windows.start + windows.length + margin)
    # windows come block by block: of many intervals few lie anywhere near them
    near = (intervals.start < wide.end.max()) & (intervals.end > wide.start.min())
    return overlap_bases(wide, Intervals(intervals.chrom[near], intervals.start[near], intervals.end[near])) > 0


def joined(a: Windows, b: Windows) -> Windows:
    """Returns the windows of both, which have contigs and length in common; those of `a` first."""
    return Windows(a.contigs, np.r_[a.chrom, b.chrom], np.r_[a.start, b.start], a.length)
