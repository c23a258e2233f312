"""What one way of training gains over another, task by task, with intervals over seeds and stretches of chromosomes.

Runs of both ways are paired by seed and read the same examples. Neighbouring windows are alike, so examples are drawn in blocks of
chromosome, and seeds are drawn too: a replicate draws seeds, then blocks (the same for all runs), and takes the mean
difference of the metric over the drawn seeds. Tests are two-sided shares of replicates; which tasks are harmed or rescued is said at
a false discovery rate (Benjamini and Hochberg, J. R. Stat. Soc. B 57, 289-300, 1995).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

BLOCK = 5_000_000  # bases


@dataclasses.dataclass(frozen=True)
class Gain:
    """The gain of one task: mean over seeds, 95 % interval, and the two-sided p of no difference; NaN where undefined."""

    gain: float
    low: float
    high: float
    p: float


def blocks_of(ids: Sequence[str], size: int = BLOCK) -> Int64[np.ndarray, " N"]:
    """Returns the block of each example, numbered from 0; examples whose id begins with no `CHROM:START` are blocks of their own."""
    names = []
    for i, name in enumerate(ids):
        found = re.match(r"([^:]+):(\d+)", str(name))
        names.append(f"{found[1]}:{int(found[2]) // size}" if found else f"#{i}")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def paired_gain(
    metric: Callable[[np.ndarray, np.ndarray], float],
    scores: Sequence[np.ndarray],
    others: Sequence[np.ndarray],
    truth: Float64[np.ndarray, " N"],
    blocks: Int64[np.ndarray, " N"],
    replicates: int = 500,
    seed: int = 0,
) -> Gain:
    """Returns what `scores` gain over `others`, each a list with the predictions `[N]` of one run a seed, in the same order.

    Args:
        metric: of predictions and labels; NaN where it is undefined. truth: labels, NaN = not measured.
    """
    known = ~np.isnan(truth)
    truth, blocks = truth[known], blocks[known]
    pairs = [(a[known], b[known]) for a, b in zip(scores, others, strict=True)]
    whole = float(np.mean([metric(a, truth) - metric(b, truth) for a, b in pairs]))
    order = np.argsort(blocks, kind="stable")
    starts = np.searchsorted(blocks[order], np.arange(blocks.max(initial=-1) + 2))
    members = [order[a:b] for a, b in zip(starts[:-1], starts[1:], strict=True) if b > a]
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(replicates):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        runs = rng.integers(0, len(pairs), len(pairs))
        values = {i: metric(pairs[i][0][rows], truth[rows]) - metric(pairs[i][1][rows], truth[rows]) for i in set(runs)}
        drawn.append(np.mean([values[i] for i in runs]))
    found = np.array(drawn)
    found = found[~np.isnan(found)]
    if not found.size or np.isnan(whole):
        return Gain(whole, np.nan, np.nan, np.nan)
    low, high = np.quantile(found, [0.025, 0.975])
    tail = min((found <= 0).mean(), (found >= 0).mean())
    return Gain(whole, float(low), float(high), float(min(1.0, 2 * max(tail, 1 / (len(found) + 1)))))


def discoveries(p: Float64[np.ndarray, " T"], rate: float = 0.05) -> Bool[np.ndarray, " T"]:
    """Returns which hypotheses Benjamini and Hochberg's procedure rejects at this false discovery rate; NaN is never rejected."""
    known = np.flatnonzero(~np.isnan(p))
    ranked = known[np.argsort(p[known], kind="stable")]
    passing = np.flatnonzero(p[ranked] <= rate * np.arange(1, len(ranked) + 1) / max(len(ranked), 1))
    result = np.zeros(len(p), bool)
    if passing.size:
        result[ranked[: passing[-1] + 1]] = True
    return result
