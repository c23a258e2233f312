"""Which split a stretch of genome between positives belongs to, where positives are divided by locus."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int8

from dragon_jax.data.windows import Windows


def territories(
    windows: Windows, member: Int8[np.ndarray, " N"], pool: Windows, gap: int = 0
) -> Int8[np.ndarray, " M"]:
    """Returns the split of each window of a pool: that of the positives around it.

    Between neighbours of different splits a border runs half way, and a window of the pool belongs to a side only when it
    lies there whole, half of `gap` away from the border. Windows of two splits then share no base and lie no closer than
    `gap`, whichever of them are chosen, as long as that holds for the positives.

    Args:
        windows: positives. member: the split of each, as an index.
        pool: windows on the same contigs, of the same or another length.
        gap: bases that are to lie between windows of two splits.

    Returns:
        Index of the split; -1 at a border, and on contigs without positives.
    """
    result = np.full(len(pool), -1, np.int8)
    margin = (gap + 1) // 2
    for chrom in np.unique(windows.chrom):
        here = np.flatnonzero(windows.chrom == chrom)
        here = here[np.argsort(windows.start[here], kind="stable")]
        start, split = windows.start[here], member[here]
        reach = np.maximum.accumulate(start + windows.length)
        change = np.flatnonzero(split[1:] != split[:-1])
        borders = (reach[change] + start[change + 1]) // 2
        owner = split[np.r_[0, change + 1]]
        mine = np.flatnonzero(pool.chrom == chrom)
        first = np.searchsorted(borders, pool.start[mine] - margin, "right")
        last = np.searchsorted(borders, pool.start[mine] + pool.length - 1 + margin, "right")
        result[mine] = np.where(first == last, owner[first], -1)
    return result
