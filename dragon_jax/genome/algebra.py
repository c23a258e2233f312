"""Sets of intervals: union, overlap, containment and distance, each by sorting and searching.

All chromosomes are laid end to end on one line, so that every question is one about sorted whole numbers. Intervals of
length 0 cover nothing. Strands are not looked at.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int64

from dragon_jax.errors import InputError
from dragon_jax.genome.intervals import Intervals, text_array

FAR = 2**62


class _Line:
    """One line on which every chromosome of the given sets has its own stretch.

    Attributes:
        names: the C chromosomes, sorted.
        begin: int64 `[C]`, where the stretch of each begins. offset: int64 `[C]`, what is added to a position.
        codes: for each set, int64 `[N]`, its chromosomes as indices into `names`.
        places: for each set, its columns of positions on the line.
    """

    def __init__(self, *sets: tuple[np.ndarray, ...], apart: int = 1):
        """`sets` hold chromosomes and one or more columns of positions; stretches lie more than `apart` from each other."""
        texts = [chrom.tolist() for chrom, *_ in sets]
        self.names: list[str] = sorted(set().union(*texts))
        known = {name: i for i, name in enumerate(self.names)}
        self.codes = [np.fromiter(map(known.__getitem__, text), np.int64, len(text)) for text in texts]
        low, high = np.full(len(known), FAR), np.full(len(known), -FAR)
        for code, (_, *columns) in zip(self.codes, sets, strict=True):
            for positions in columns:
                np.minimum.at(low, code, positions)
                np.maximum.at(high, code, positions)
        span = high - low + apart + 1
        if (low <= -FAR).any() or (high >= FAR).any() or span.astype(float).sum() >= FAR:
            raise InputError("positions of intervals: expected chromosomes of less than 2^62 bases in all, found more")
        self.begin = np.cumsum(span) - span
        self.offset = self.begin - low
        self.places = [
            [p + self.offset[code] for p in columns] for code, (_, *columns) in zip(self.codes, sets, strict=True)
        ]


def _columns(x: Intervals) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return x.chrom, x.start, x.end


def _union(start: np.ndarray, end: np.ndarray, gap: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns sorted, disjoint starts and ends; what lies at most `gap` apart becomes one."""
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    first = np.concatenate([[True], start[1:] > reach[:-1] + gap])[: len(start)]
    return start[first], reach[np.concatenate([first[1:], [True]])[: len(start)]]


def merge(x: Intervals, gap: int = 0) -> Intervals:
    """Returns the union of the intervals, disjoint, sorted by name of the chromosome and start.

    Args:
        x: N intervals.
        gap: intervals that lie at most so many bases apart become one; 0 joins those that overlap or touch.
    """
    if gap < 0:
        raise ValueError(f"gap: expected at least 0 bases, found {gap}")
    line = _Line(_columns(x), apart=gap + 1)
    start, end = _union(line.places[0][0], line.places[0][1], gap)
    code = np.searchsorted(line.begin, start, side="right") - 1
    offset = line.offset[code]
    return Intervals(text_array(line.names)[code], start - offset, end - offset, notes=x.notes)


def overlap_bases(a: Intervals, b: Intervals) -> Int64[np.ndarray, " A"]:
    """Returns how many bases of each `a` are covered by the union of `b`."""
    (first, last), (start, end) = _Line(_columns(a), _columns(b)).places
    start, end = _union(start, end)
    before = np.concatenate([[0], np.cumsum(end - start)])  # bases of the union before each of its pieces
    end = np.concatenate([[-FAR], end])

    def covered(position: np.ndarray) -> np.ndarray:
        """Bases of the union before a position: all of the pieces that begin there or before, less what sticks out."""
        pieces = np.searchsorted(start, position, side="right")
        return before[pieces] - np.maximum(end[pieces] - position, 0)

    return covered(last) - covered(first)


def largest_overlap(a: Intervals, b: Intervals) -> Int64[np.ndarray, " A"]:
    """Returns the most bases that each `a` shares with any single `b`."""
    (first, last), (start, end) = _Line(_columns(a), _columns(b)).places
    order = np.lexsort((-end, start))
    start, end = start[order], end[order]
    wider = np.concatenate([[True], end[1:] > np.maximum.accumulate(end)[:-1]])[: len(start)]
    start, end = (
        start[wider],
        end[wider],
    )  # what lies inside another shares no more than that one; now both rise strictly
    if not len(start):
        return np.zeros(len(a), np.int64)
    inner = np.searchsorted(start, first, side="left")  # inner:outer lie inside a
    outer = np.searchsorted(end, last, side="right")
    result = _range_max(end - start, inner, outer)
    for at in (
        inner - 1,
        outer,
    ):  # the one that begins before a and reaches farthest; the one that ends behind a, likewise
        there = (at >= 0) & (at < len(start))
        at = np.where(there, at, 0)
        shared = np.minimum(last, end[at]) - np.maximum(first, start[at])
        result = np.maximum(result, np.where(there, shared, 0))
    return result


def _range_max(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns the maximum of `values[first:last]` for each pair, 0 where that is empty; values are at least 0.

    Maxima of all runs of 1, 2, 4, ... values, one length at a time: two runs cover any range (a sparse table, of which
    one row is held).
    """
    width = last - first
    result = np.zeros(len(first), np.int64)
    level = np.frexp(np.maximum(width, 1).astype(float))[1] - 1
    for k in range(int(level.max(initial=0)) + 1):
        rows = np.flatnonzero((level == k) & (width > 0))
        result[rows] = np.maximum(values[first[rows]], values[last[rows] - 2**k])
        if len(values) > 2**k:
            values = np.maximum(values[: -(2**k)], values[2**k :])
    return result


def covers(a: Intervals, chrom: np.ndarray, position: np.ndarray) -> Bool[np.ndarray, " M"]:
    """Returns whether each point, a base on a chromosome, lies inside some interval of `a`.

    Args:
        a: N intervals. chrom: text `[M]`. position: int64 `[M]`.
    """
    (start, end), (point,) = _Line(_columns(a), (chrom, position)).places
    start, end = _union(start, end)
    return np.concatenate([[-FAR], end])[np.searchsorted(start, point, side="right")] > point


def nearest_distance(
    chrom: np.ndarray, position: np.ndarray, other_chrom: np.ndarray, other_position: np.ndarray
) -> Int64[np.ndarray, " M"]:
    """Returns the distance in bases from each point to the nearest of the others on its chromosome, 2**62 if there is none.

    Args:
        chrom: text `[M]`. position: int64 `[M]`.
        other_chrom: text `[K]`. other_position: int64 `[K]`.
    """
    line = _Line((chrom, position), (other_chrom, other_position))
    (point,), (target,) = line.places
    order = np.argsort(target, kind="stable")
    target = np.concatenate([[-FAR], target[order], [FAR]])
    code = np.concatenate([[-1], line.codes[1][order], [-1]])
    right = np.searchsorted(target, point)
    result = np.full(len(point), FAR)
    for at in (right - 1, right):
        near = code[at] == line.codes[0]
        result[near] = np.minimum(result, np.abs(target[at] - point))[near]
    return result
