"""Which windows of a genome, without a list of them: a grid is a rule, and a choice among its windows is one bit each.

Whatever looks at all windows goes over them block by block, so that memory does not grow with their number but for the
bits. Rows keep the order of the grid: by contig, then by start.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Int64, UInt8

from dragon_jax.data.windows import Windows

BLOCK = 1 << 16  # windows looked at together; a multiple of 8, so that bits of blocks join


@dataclasses.dataclass(frozen=True)
class Grid:
    """The windows of every contig whose starts are 0, `stride`, 2 `stride`, ... as long as they lie inside.

    Where a contig is shorter than a window it has none.

    Attributes:
        contigs: lengths in bases by name. length: bases of every window. stride: distance of their centres.
    """

    contigs: Mapping[str, int]
    length: int
    stride: int

    @functools.cached_property
    def _ends(self) -> Int64[np.ndarray, " C"]:
        """How many windows the contigs up to each one have."""
        sizes = np.array(list(self.contigs.values()), np.int64)
        return np.cumsum(np.maximum(0, sizes - self.length + self.stride) // self.stride)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def take(self, rows: np.ndarray | slice) -> Windows:
        """Returns the windows with these indices or in this slice."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        chrom = np.searchsorted(self._ends, rows, "right")
        before = np.concatenate([[0], self._ends[:-1]]).astype(np.int64)
        return Windows(self.contigs, chrom.astype(np.int32), (rows - before[chrom]) * self.stride, self.length)


@dataclasses.dataclass(frozen=True)
class Choice:
    """Some of the windows of a grid or list, in its order.

    Attributes:
        source: all windows. bits: uint8 `[ceil(N/8)]`, the first window in the highest bit of the first byte.
    """

    source: Grid | Windows
    bits: UInt8[np.ndarray, " B"]

    @staticmethod
    def every(source: Grid | Windows) -> Choice:
        """Returns the choice of all windows."""
        bits = np.full(-(-len(source) // 8), 255, np.uint8)
        if len(source) % 8:
            bits[-1] = (0xFF00 >> (len(source) % 8)) & 0xFF
        return Choice(source, bits)

    @functools.cached_property
    def _before(self) -> Int64[np.ndarray, " K"]:
        """How many windows are chosen before each block, and at the end."""
        starts = np.arange(0, len(self.bits), BLOCK // 8)
        counts = np.add.reduceat(np.bitwise_count(self.bits), starts, dtype=np.int64) if len(starts) else starts
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self._before[-1])

    @property
    def contigs(self) -> Mapping[str, int]:
        return self.source.contigs

    @property
    def length(self) -> int:
        """Bases of every window."""
        return self.source.length

    def take(self, rows: slice) -> Windows:
        """Returns the chosen windows in this slice of step 1."""
        start, stop, _ = rows.indices(len(self))
        if start >= stop:
            return self.source.take(np.zeros(0, np.int64))
        first, last = np.searchsorted(self._before, [start, stop - 1], "right") - 1
        places = self._places(int(first), int(last) + 1)
        skipped = int(self._before[first])
        return self.source.take(places[start - skipped : stop - skipped])

    def gathered(self) -> Windows:
        """Returns all chosen windows, 12 bytes each."""
        return self.take(slice(None))

    def blocks(self) -> Iterator[tuple[int, Windows]]:
        """Yields the chosen windows, those of a block together, each time with how many came before."""
        for block in np.flatnonzero(np.diff(self._before)).tolist():
            yield int(self._before[block]), self.source.take(self._places(block, block + 1))

    def where(self, test: Callable[[Windows, int], np.ndarray]) -> Choice:
        """Returns the choice of those chosen windows that pass a test.

        Args:
            test: gets some windows and how many came before, gives bool `[n]`; called once for each block, in order.
        """
        bits = np.zeros_like(self.bits)
        for block in np.flatnonzero(np.diff(self._before)).tolist():
            places = self._places(block, block + 1)
            passed = places[test(self.source.take(places), int(self._before[block]))]
            kept = np.zeros(min(BLOCK, len(self.source) - block * BLOCK), bool)
            kept[passed - block * BLOCK] = True
            packed = np.packbits(kept)
            bits[block * BLOCK // 8 :][: len(packed)] = packed
        return Choice(self.source, bits)

    @functools.cached_property
    def by_contig(self) -> Int64[np.ndarray, " K"]:
        """How many chosen windows, sorted by contig, lie before each contig, and in all."""
        counts = np.zeros(len(self.contigs), np.int64)
        for _, windows in self.blocks():
            counts += np.bincount(windows.chrom, minlength=len(counts))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def used(self) -> Int64[np.ndarray, " U"]:
        """Returns the indices of the contigs on which some chosen window lies, ascending."""
        return np.flatnonzero(np.diff(self.by_contig)).astype(np.int64)

    def on(self, first: int, last: int) -> Windows:
        """Returns the chosen windows on contigs `first` to `last`, both included; windows must be sorted by contig."""
        return self.take(slice(int(self.by_contig[first]), int(self.by_contig[last + 1])))

    def _places(self, first: int, last: int) -> Int64[np.ndarray, " n"]:
        """Which windows of the source are chosen in these blocks."""
        bits = np.unpackbits(self.bits[first * BLOCK // 8 : last * BLOCK // 8])
        return np.flatnonzero(bits).astype(np.int64) + first * BLOCK
