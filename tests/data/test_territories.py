"""Borders between loci of two splits: against trying every pair."""

import numpy as np
import pytest

from dragon_jax.data.territories import territories
from dragon_jax.data.windows import Windows


@pytest.mark.parametrize("gap", [0, 1, 6, 7])
def test_whoever_is_chosen_lies_apart_from_the_other_splits(gap):
    rng = np.random.default_rng(gap)
    contigs = {"a": 400, "b": 300, "c": 50}
    chosen = 0
    for _ in range(20):
        # Positives of length 10 on a grid of 20: 10 bases between neighbours, more than any gap here.
        chrom = np.repeat(np.array([0, 1], np.int32), [20, 15])
        start = np.r_[np.arange(20), np.arange(15)].astype(np.int64) * 20
        kept = rng.random(35) < 0.4
        windows = Windows(contigs, chrom[kept], start[kept], 10)
        order = rng.permutation(len(windows))
        windows = windows.take(order)
        member = rng.integers(0, 3, len(windows)).astype(np.int8)
        pool = Windows(contigs, rng.integers(0, 3, 200).astype(np.int32), rng.integers(0, 290, 200), 8)
        found = territories(windows, member, pool, gap)
        assert (found[pool.chrom == 2] == -1).all()
        there = np.flatnonzero(found >= 0)
        chosen += len(there)
        every = [(c, s, 8, m) for c, s, m in zip(pool.chrom[there], pool.start[there], found[there], strict=True)]
        every += [(c, s, 10, m) for c, s, m in zip(windows.chrom, windows.start, member, strict=True)]
        for c, s, length, m in every:
            assert all(
                other == m or s + length + gap <= t or t + width + gap <= s for d, t, width, other in every if d == c
            )
    assert chosen > 500


def test_one_split_owns_its_contig_whole():
    contigs = {"a": 100}
    windows = Windows(contigs, np.zeros(1, np.int32), np.array([50]), 10)
    pool = Windows(contigs, np.zeros(3, np.int32), np.array([0, 45, 90]), 10)
    assert territories(windows, np.array([2], np.int8), pool, 20).tolist() == [2, 2, 2]
