"""Values per base along a genome, read for thousands of windows at a time, whatever file they come from.

Windows that overlap or lie close together are read in one piece, in the order of the genome, and handed out in the order
asked for.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64

from dragon_jax.errors import InputError, listing, show

Uncovered = Literal["zero", "nan"]
_GAP = 512  # bases between two windows that cost less to read than another call
_PIECE = 1 << 21  # bases held at a time


class Track(abc.ABC):
    """Values per base; what a bigWig and a bedGraph file have in common.

    Bases that the file does not cover, contigs that it does not name and whatever lies beyond a contig count as 0
    (`uncovered="zero"`, coverage) or as NaN (`"nan"`, not measured). A NaN in the file is NaN.

    Attributes:
        path: the file as the user named it.
        uncovered: `zero` or `nan`.
        chroms: `{name after renaming: length}`; of a bedGraph file, the largest end.
    """

    chroms: dict[str, int]

    def __init__(self, path: str, uncovered: Uncovered):
        if uncovered not in ("zero", "nan"):
            raise ValueError(f"uncovered: expected 'zero' or 'nan', found {uncovered!r}")
        self.path, self.uncovered = path, uncovered

    def values(
        self, chrom: np.ndarray | str, start: Int64[np.ndarray, " M"], end: Int64[np.ndarray, " M"]
    ) -> Float32[np.ndarray, "M L"]:
        """Returns float32 `[M, L]`, the values of M windows of one length L, in the order asked for.

        Args:
            chrom: text `[M]`, or one name for all.
            start, end: int64 `[M]`; may lie beyond the contig.

        Raises:
            InputError: windows of different lengths, an infinite value, or a file that cannot be read.
        """
        length = int(end[0] - start[0]) if len(start) else 0
        if length < 0 or (end - start != length).any():
            raise InputError(
                f"windows on {self.path}: expected one length, found {listing(set((end - start).tolist()))}"
            )
        result = np.empty((len(start), length), np.float32)

        def take(rows: np.ndarray, buffer: np.ndarray, first: np.ndarray) -> None:
            if len(rows) == 1:
                result[rows] = buffer
            else:
                result[rows] = np.lib.stride_tricks.sliding_window_view(buffer.astype(np.float32), length)[first]

        self._in_pieces(chrom, start, end, take)
        return result

    def summary(
        self,
        chrom: np.ndarray | str,
        start: Int64[np.ndarray, " M"],
        end: Int64[np.ndarray, " M"],
        how: Literal["mean", "max", "sum"],
    ) -> Float32[np.ndarray, " M"]:
        """Returns mean, maximum or sum of the bases of each window (of any length) that are not NaN; NaN where none is.

        Raises:
            InputError: a window that ends before it starts, an infinite value, or a file that cannot be read.
        """
        if how not in ("mean", "max", "sum"):
            raise ValueError(f"how: expected 'mean', 'max' or 'sum', found {how!r}")
        if (end < start).any():
            row = int(np.flatnonzero(end < start)[0])
            raise InputError(f"window {row + 1} on {self.path}: expected start <= end, found {start[row]} > {end[row]}")
        pieces = np.maximum(-(-(end - start) // _PIECE), 1)  # a window of a whole chromosome is read bit by bit
        owner = np.repeat(np.arange(len(start)), pieces)
        nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        first = start[owner] + nth * _PIECE
        last = np.minimum(first + _PIECE, end[owner])
        total, count = np.zeros(len(start)), np.zeros(len(start))
        largest = np.full(len(start), -np.inf)

        def take(rows: np.ndarray, buffer: np.ndarray, at: np.ndarray) -> None:
            rows, at = rows[last[rows] > first[rows]], at[last[rows] > first[rows]]
            if not len(rows):
                return
            measured = ~np.isnan(buffer)
            bounds = np.stack([at, at + last[rows] - first[rows]], 1).ravel()
            to = owner[rows]

            def each(combine: np.ufunc, values: np.ndarray) -> np.ndarray:  # the odd results lie between windows
                return combine.reduceat(np.append(values, 0), bounds)[::2]

            np.add.at(count, to, each(np.add, measured.astype(float)))
            if how == "max":
                np.maximum.at(largest, to, each(np.maximum, np.where(measured, buffer, -np.inf)))
            else:
                np.add.at(total, to, each(np.add, np.where(measured, buffer, 0.0)))

        names = chrom if isinstance(chrom, str) else chrom[owner]
        self._in_pieces(names, first, last, take)
        result = {"max": largest, "sum": total, "mean": total / np.maximum(count, 1)}[how]
        return np.where(count > 0, result, np.nan).astype(np.float32)

    @abc.abstractmethod
    def check(self, contigs: Mapping[str, int], genome: str = "the genome") -> None:
        """Refuses a file that cannot belong to a genome.

        Args:
            contigs: `{name: length}` of the genome. genome: its file, for messages.

        Raises:
            InputError: no name in common, a length that differs, or an infinite value.
        """

    @abc.abstractmethod
    def _fill(self, chrom: str, start: int, end: int, buffer: np.ndarray) -> None:
        """Writes the values of covered bases of a piece within a contig of the file; the others are filled already."""

    def _in_pieces(
        self,
        chrom: np.ndarray | str,
        start: np.ndarray,
        end: np.ndarray,
        take: Callable[[np.ndarray, np.ndarray, np.ndarray], None],
    ) -> None:
        """Calls `take(rows, values, at)`: the windows `rows` begin at `at` in the float64 values of one piece."""
        names = [chrom] * len(start) if isinstance(chrom, str) else chrom.tolist()
        known = {name: i for i, name in enumerate(dict.fromkeys(names))}
        code = np.fromiter(map(known.__getitem__, names), np.int64, len(names))
        order = np.lexsort((start, code))
        code, first, last = code[order], start[order], end[order]
        new = np.ones(len(order), bool)
        if len(order):
            shift = code * (int(last.max()) - int(first.min()) + 1)  # lets the farthest end start anew on each contig
            reach = np.maximum.accumulate(last + shift) - shift
            new[1:] = (first[1:] > reach[:-1] + _GAP) | (code[1:] != code[:-1])
            new[1:] |= first[1:] // _PIECE != first[:-1] // _PIECE
        lengths, by_code = self.chroms, list(known)
        bounds = [*np.flatnonzero(new).tolist(), len(order)]
        fill = 0.0 if self.uncovered == "zero" else math.nan
        for a, b in zip(bounds[:-1], bounds[1:], strict=True):
            low, high, name = int(first[a]), int(last[a:b].max()), by_code[code[a]]
            buffer = np.full(high - low, fill)
            inside = max(low, 0), min(high, lengths.get(name, 0))
            if inside[0] < inside[1]:
                self._fill(name, *inside, buffer[inside[0] - low : inside[1] - low])
                if np.isinf(buffer).any():
                    self._refuse_infinite(name, low + int(np.flatnonzero(np.isinf(buffer))[0]))
            take(order[a:b], buffer, first[a:b] - low)

    def _refuse_infinite(self, chrom: str, position: int) -> None:
        raise InputError(
            f"inf in {self.path}, {show(chrom)}:{position}-{position + 1}: expected finite values. Remove or cap them"
        )


def paint(buffer: np.ndarray, start: np.ndarray, end: np.ndarray, values: np.ndarray) -> None:
    """Writes each value to its positions, which are disjoint."""
    width = end - start
    shift = start - (np.cumsum(width) - width)
    buffer[np.arange(width.sum()) + np.repeat(shift, width)] = np.repeat(values, width)
