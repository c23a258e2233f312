"""Set operations agree with counting base by base."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.genome.algebra import FAR, covers, largest_overlap, merge, nearest_distance, overlap_bases
from dragon_jax.genome.intervals import Intervals, text_array

CHROMS = np.array(["chr1", "chr10", "chr2"])
SIZE = 60


def random_intervals(rng, n: int, widest: int = 12, chroms=CHROMS) -> Intervals:
    start = rng.integers(-5, SIZE - widest, n)  # windows may begin before the contig
    return Intervals(chroms[rng.integers(0, len(chroms), n)], start, start + rng.integers(0, widest, n))


def bases(x: Intervals, rows=slice(None)) -> set[tuple[str, int]]:
    rows = zip(x.chrom[rows].tolist(), x.start[rows].tolist(), x.end[rows].tolist(), strict=True)
    return {(c, p) for c, a, b in rows for p in range(a, b)}


def cases(count: int = 60):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        n, m = rng.integers(0, 12, 2).tolist()
        yield rng, random_intervals(rng, n), random_intervals(rng, m, chroms=CHROMS[rng.integers(0, 2) :])


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_merge(gap):
    for _, x, _ in cases():
        y = merge(x, gap)
        rows = list(zip(y.chrom.tolist(), y.start.tolist(), y.end.tolist(), strict=True))
        assert rows == sorted(rows)
        assert all(a[0] != b[0] or a[2] + gap < b[1] for a, b in zip(rows[:-1], rows[1:], strict=True))
        expected = []
        for chrom, start, end in sorted(zip(x.chrom.tolist(), x.start.tolist(), x.end.tolist(), strict=True)):
            if expected and expected[-1][0] == chrom and start <= expected[-1][2] + gap:
                expected[-1] = (chrom, expected[-1][1], max(expected[-1][2], end))
            else:
                expected.append((chrom, start, end))
        assert rows == expected
        if gap == 0:
            assert bases(y) == bases(x)


def test_overlap_bases():
    for _, a, b in cases():
        union = bases(b)
        assert overlap_bases(a, b).tolist() == [len(bases(a, [i]) & union) for i in range(len(a))]


def test_largest_overlap():
    for _, a, b in cases(150):
        each = [bases(b, [j]) for j in range(len(b))]
        assert largest_overlap(a, b).tolist() == [
            max((len(bases(a, [i]) & other) for other in each), default=0) for i in range(len(a))
        ]


def test_covers():
    for rng, a, _ in cases():
        chrom, position = CHROMS[rng.integers(0, 3, 80)], rng.integers(-8, SIZE + 5, 80)
        inside = bases(a)
        expected = [(c, p) in inside for c, p in zip(chrom.tolist(), position.tolist(), strict=True)]
        assert covers(a, chrom, position).tolist() == expected


def test_nearest_distance():
    for _, a, b in cases():
        expected = [
            min((abs(p - q) for d, q in zip(b.chrom, b.start.tolist(), strict=True) if d == c), default=FAR)
            for c, p in zip(a.chrom, a.start.tolist(), strict=True)
        ]
        assert nearest_distance(a.chrom, a.start, b.chrom, b.start).tolist() == expected


def test_many_and_far_apart():
    """The large sets of a real genome: against the same questions asked through one boolean per base."""
    rng = np.random.default_rng(0)
    n, size = 3000, 200_000
    a, b = (
        Intervals(np.full(n, "chr1"), start := rng.integers(0, size - 600, n), start + rng.integers(1, 600, n))
        for _ in range(2)
    )
    covered = np.zeros(size + 1, np.int64)
    for start, end in zip(b.start, b.end, strict=True):
        covered[start:end] = 1
    total = np.concatenate([[0], np.cumsum(covered)])
    assert np.array_equal(overlap_bases(a, b), total[a.end] - total[a.start])
    pairs = np.minimum(a.end[:, None], b.end) - np.maximum(a.start[:, None], b.start)
    assert np.array_equal(largest_overlap(a, b), np.maximum(pairs.max(1), 0))
    assert merge(b).end.sum() - merge(b).start.sum() == covered.sum()


def test_objects_and_fixed_width_names_mix():
    a = Intervals(np.array(["chr1", "chr2"], object), np.array([0, 0]), np.array([5, 5]))
    b = Intervals(text_array(["chr2"]), np.array([3]), np.array([9]))
    assert overlap_bases(a, b).tolist() == [0, 2] and largest_overlap(b, a).tolist() == [2]


def test_wrong_use():
    x = Intervals(text_array(["chr1"]), np.array([0]), np.array([FAR]))
    with pytest.raises(InputError, match="expected chromosomes of less than 2\\^62 bases in all"):
        merge(x)
    with pytest.raises(ValueError, match="gap: expected at least 0 bases, found -1"):
        merge(x, -1)


def test_time_grows_with_the_number_of_rows_only():
    """Against a quadratic way, which would take a quarter of an hour here; the limit leaves room for a busy machine."""
    rng = np.random.default_rng(1)
    n = 300_000
    start = rng.integers(0, 10**8, n)
    a = Intervals(np.array(["chr1", "chr2"])[rng.integers(0, 2, n)], start, start + rng.integers(1, 10**5, n))
    begin = time.monotonic()
    merge(a)
    overlap_bases(a, a)
    assert np.array_equal(largest_overlap(a, a), a.end - a.start)
    assert covers(a, a.chrom, a.start).all()
    assert (nearest_distance(a.chrom, a.start, a.chrom, a.end) <= 10**5).all()
    assert time.monotonic() - begin < 60
