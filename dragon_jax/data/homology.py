"""Near-duplicates: sequences that are alike on either strand, shifted or with bases changed, inserted or lost.

A model that has seen a near-copy of a test sequence is asked what it remembers. Pairs are found by MinHash sketches
(`sketches`), each is confirmed base by base (`alignment`), and linked pairs make clusters; or a table made by another
program says which rows belong together (`homology_table`).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from dragon_jax.data.alignment import Aligner
from dragon_jax.data.digests import digests
from dragon_jax.data.sketches import Candidates, sketch, word_length
from dragon_jax.errors import InputError

LEAST = 0.7  # two unrelated sequences come to about half when insertions and deletions are allowed

_TOGETHER = 4096  # pairs whose edit distances are measured together


@dataclasses.dataclass(frozen=True)
class NearPairs:
    """Pairs of rows that are alike: enough of them to tell clusters, or what is near what, and not all.

    Attributes:
        same: int64 `[N]`, the first row that is an exact copy of each row (and has its label); pairs are of these.
        first, second: int64 `[P]`.
        similarity: float32 `[P]`, 1 for exact copies.
        crowded: in how many cases a sketch was shared by so many rows that not all of them were compared.
    """

    same: np.ndarray
    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray
    crowded: int = 0

    def clusters(self) -> Int64[np.ndarray, " N"]:
        """Returns the number of the cluster of each row: rows that any chain of pairs links share it."""
        rows = np.arange(len(self.same))
        return linked(len(rows), np.r_[self.first, rows], np.r_[self.second, self.same])

    def near(self, labels: Int64[np.ndarray, " N"]) -> Bool[np.ndarray, "N S"]:
        """Returns which rows are alike to some row of each other label 0 ... S-1, for pairs found with these labels."""
        result = np.zeros((len(self.same), int(labels.max(initial=-1)) + 1), bool)
        result[self.first, labels[self.second]] = True
        result[self.second, labels[self.first]] = True
        return result[self.same]


def linked(size: int, first: np.ndarray, second: np.ndarray) -> Int64[np.ndarray, " N"]:
    """Returns the number of the connected component of each of `size` rows, numbered by their first rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first), np.int8), (first, second)), (size, size))
    found = connected_components(graph, directed=False)[1]
    _, start, inverse = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(start)).astype(np.int64)[inverse]


def find_near(
    codes: UInt8[np.ndarray, "N L"],
    similarity: float = 0.9,
    *,
    labels: Int64[np.ndarray, " N"] | None = None,
    overlap: float = 0.5,
    gaps: bool = True,
) -> NearPairs:
    """Finds rows that are alike: share of equal bases where they overlap, at the best shift, on either strand.

    With insertions and deletions the share is 1 - edit distance / overlap in a band of 16 bases. Rows of unequal length
    can be compared when the shorter ones are filled up with unknown bases (code 4).

    Args:
        codes: rows shorter than the k-mers of the sketch (11 to 15 bases) have no near row but their copies.
        similarity: from 0.7 to 1. Measured on planted copies that lie above the limit: all were found at identities of 90
            and 95 %; at 80 %, 98 % of 500 bases and more, and of 200 bases 93 to 95 % (79 % with a deletion).
        labels: 0, 1, ... for each row: only pairs of unequal labels are looked for, and they suffice for `near`.
            None = all pairs, and they suffice for `clusters`.
        overlap: least share of the known bases of the shorter row that must lie on the other one.
        gaps: False compares on one diagonal only.

    Raises:
        InputError: similarity or overlap is out of range.
    """
    if not LEAST <= similarity <= 1:
        raise InputError(f"similarity of near-duplicates: expected {LEAST} to 1, found {similarity}")
    if not 0.1 <= overlap <= 1:
        raise InputError(f"overlap of near-duplicates: expected 0.1 to 1, found {overlap}")
    n = len(codes)
    kind = np.zeros(n, np.int64) if labels is None else labels
    if not codes.size:
        return NearPairs(np.arange(n), *_no_pairs())
    _, copy = np.unique(digests(codes), return_inverse=True)
    kinds = int(kind.max()) + 1
    _, rows, one = np.unique(copy * kinds + kind, return_index=True, return_inverse=True)
    order = np.argsort(rows)  # one row for all copies of a label, in the order of the input
    rank = np.argsort(order)
    links = _Near(kind[rows[order]]) if labels is not None else _Clusters(len(rows))
    for step in range(1, kinds):  # copies with other labels stand side by side before they are put in order
        twins = np.flatnonzero(copy[rows[step:]] == copy[rows[:-step]])
        links.add(rank[twins], rank[twins + step], np.ones(len(twins), np.float32))
    rows, one = rows[order], rank[one]
    crowded = _search(codes if len(rows) == n else codes[rows], similarity, overlap, gaps, links)
    first, second, share = (np.concatenate(parts) for parts in zip(_no_pairs(), *links.found, strict=True))
    return NearPairs(rows[one], rows[first], rows[second], share, crowded)


def _no_pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)


class _Near:
    """What is near what, by label; a pair that says nothing new need not be looked at."""

    def __init__(self, labels: Int64[np.ndarray, " N"]):
        self._labels = labels
        self._near = np.zeros((len(labels), int(labels.max()) + 1), bool)
        self.found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def news(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        a, b = self._labels[first], self._labels[second]
        return (a != b) & ~(self._near[first, b] & self._near[second, a])

    def add(self, first: np.ndarray, second: np.ndarray, share: np.ndarray) -> None:
        self._near[first, self._labels[second]] = True
        self._near[second, self._labels[first]] = True
        self.found.append((first, second, share))


class _Clusters:
    """Clusters that grow together (union-find); a pair inside one need not be looked at."""

    def __init__(self, size: int):
        self._parent = np.arange(size)
        self.found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def _roots(self, rows: np.ndarray) -> np.ndarray:
        root = self._parent[rows]
        while True:
            above = self._parent[root]
            if (above == root).all():
                self._parent[rows] = root
                return root
            root = above

    def news(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return self._roots(first) != self._roots(second)

    def add(self, first: np.ndarray, second: np.ndarray, share: np.ndarray) -> None:
        todo = self.news(first, second)
        self.found.append((first[todo], second[todo], share[todo]))
        first, second = first[todo], second[todo]
        while len(first):  # each round hangs the larger root of every pair below a smaller one
            a, b = self._roots(first), self._roots(second)
            np.minimum.at(self._parent, np.maximum(a, b), np.minimum(a, b))
            todo = self.news(first, second)
            first, second = first[todo], second[todo]


def _search(codes: np.ndarray, similarity: float, overlap: float, gaps: bool, links: _Near | _Clusters) -> int:
    """Looks at all candidate pairs and adds those that are alike to the links; returns the crowded cases."""
    length = codes.shape[1]
    sketches = sketch(codes, word_length(*codes.shape))
    aligner, candidates = Aligner(codes, sketches), Candidates(sketches)
    later = _Later(aligner, similarity, links)
    for first, second, bin_ in candidates:
        keep = links.news(first, second)
        first, second = first[keep], second[keep]
        here, there, turned = aligner.place(first, second, bin_)
        shift = there - here
        keep = length - np.abs(shift) >= overlap * aligner.fewest(first, second)
        keep &= aligner.alike_nearby(first, second, here, there, turned, similarity)
        if not keep.any():
            continue
        first, second, shift, turned = (x[keep] for x in (first, second, shift, turned))
        share = aligner.on_diagonal(first, second, shift, turned, overlap)
        good = share >= similarity
        links.add(first[good], second[good], share[good])
        if gaps:
            rest = np.flatnonzero((share > 0) & ~good)
            rest = rest[sketches.plausible(first[rest], second[rest], similarity, 1 - np.abs(shift[rest]) / length)]
            later.add(first[rest], second[rest], shift[rest], turned[rest])
    later.flush()
    return candidates.crowded


class _Later:
    """Pairs whose edit distance is wanted, gathered because the band is cheap for thousands at a time only."""

    def __init__(self, aligner: Aligner, similarity: float, links: _Near | _Clusters):
        self._aligner, self._similarity, self._links = aligner, similarity, links
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self._count = 0
        self._seen: set[tuple[int, int]] = set()

    def add(self, first: np.ndarray, second: np.ndarray, shift: np.ndarray, turned: np.ndarray) -> None:
        """Takes pairs that have not been here before, whatever their shift was then."""
        pairs = list(zip(np.minimum(first, second).tolist(), np.maximum(first, second).tolist(), strict=True))
        fresh = np.array([pair not in self._seen for pair in pairs], bool)
        if not fresh.any():
            return
        self._seen.update(pairs)
        self._waiting.append((first[fresh], second[fresh], shift[fresh], turned[fresh]))
        self._count += int(fresh.sum())
        if self._count >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Measures what waits and adds what is alike to the links."""
        if not self._waiting:
            return
        first, second, shift, turned = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._count = [], 0
        keep = self._links.news(first, second)
        first, second, shift, turned = (x[keep] for x in (first, second, shift, turned))
        share = self._aligner.in_band(first, second, shift, turned)
        good = share >= self._similarity
        self._links.add(first[good], second[good], share[good])
