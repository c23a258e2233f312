"""Metrics of many resamples at once, from one sort.

A bootstrap resample is a whole number beside each example: how often it was drawn. Resampling leaves the order of the
scores as it is, so every rank metric of a resample follows from cumulative sums of those numbers in an order that was
worked out once. One object holds that order for one task; called on a block of B resamples it gives B values of each
metric.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float64, Int64, Integer

from dragon_jax.metrics import ECE_BINS, FDR_LEVELS, METRICS, bin_of, within_fdr
from dragon_jax.ranking import Ranked, Sample, centred, rank

_BLOCK = 2**15  # numbers at a time, so that what is made of them stays in the processor's cache


def draw(rng: np.random.Generator, rows: int, n: int) -> Int64[np.ndarray, "rows n"]:
    """Returns for each resample how often each of n examples is drawn, n times with replacement."""
    drawn = rng.integers(0, n, (rows, n))
    drawn += np.arange(0, rows * n, n)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)


def blocks(n: int, size: int, numbers: int = _BLOCK) -> list[int]:
    """Returns how many of n resamples to take at a time, where each takes `size` numbers."""
    rows = max(1, numbers // max(size, 1))
    return [min(rows, n - start) for start in range(0, n, rows)]


def _running(counts: Integer[np.ndarray, "B n"]) -> Int64[np.ndarray, "B n+1"]:
    """Cumulative sums with a leading 0, so that entry i counts the first i examples."""
    result = np.zeros((len(counts), counts.shape[1] + 1), np.int64)
    np.cumsum(counts, axis=1, out=result[:, 1:])
    return result


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """NaN where the bottom is 0."""
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, np.nan), where=bottom != 0)


def _dot(values: Float64[np.ndarray, "k n"], weights: Integer[np.ndarray, "B n"]) -> Float64[np.ndarray, "B k"]:
    # Not `@`: BLAS starts threads of its own, which get in the way of ours and change the last bits with their number.
    return np.einsum("bn,kn->bk", weights.astype(np.float64), values)


def _suited(sample: Sample, names: Iterable[str], kinds: set[str]) -> list[str]:
    return [name for name in names if kinds & set(METRICS[name].kinds) and not METRICS[name].of(sample).reason]


class BinaryResampler:
    """Metrics of resamples of one binary task. NaN where a resample holds one class only.

    Args:
        sample: examples without a problem.
        names: metrics; those for other kinds of tasks and those undefined on the sample are left out of `self.names`.

    Raises:
        Undefined: targets other than 0 and 1, or one class only.
    """

    def __init__(self, sample: Sample, names: Iterable[str]):
        sample.need_both_classes()
        self.names = _suited(sample, names, {"binary"})
        self._labels, self._rises = sample.labels, sample.rises
        by_score = sample.ranked.order
        labels = sample.labels[by_score]
        self._examples = by_score[~labels], by_score[labels]
        place = np.where(sample.labels, np.cumsum(sample.labels), np.cumsum(~sample.labels)) - 1
        # Of each class on its own, by falling score: which of its examples stands at each place.
        self._negatives, self._positives = (place[examples] for examples in self._examples)
        rest = [name for name in self.names if name not in ("auroc", "auprc", *FDR_LEVELS)]
        rows = [_summands(sample, name) for name in rest]
        ends = np.cumsum([len(r) for r in rows])
        self._rows = {name: slice(end - len(r), end) for name, r, end in zip(rest, rows, ends, strict=True)}
        self._sums = [np.concatenate(rows)[:, examples] for examples in self._examples] if rows else []

    def stratified(self, rng: np.random.Generator, n: int) -> dict[str, Float64[np.ndarray, " n"]]:
        """Returns metrics of n resamples, each with as many positives and as many negatives as the sample."""
        negative, positive = len(self._negatives), len(self._positives)
        # The draw does not tell examples of one class apart, so it may as well be made by falling score.
        parts = [
            self._by_score(draw(rng, rows, negative), draw(rng, rows, positive))
            for rows in blocks(n, negative + positive)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.names}

    def weighted(self, weights: Integer[np.ndarray, "B n"]) -> dict[str, Float64[np.ndarray, " B"]]:
        """Returns metrics where example i of the sample counts `weights[:, i]` times."""
        return self._by_score(*(np.take(weights, examples, 1) for examples in self._examples))

    def of_classes(
        self, negative: Integer[np.ndarray, "B N"], positive: Integer[np.ndarray, "B P"]
    ) -> dict[str, Float64[np.ndarray, " B"]]:
        """As `weighted`, with negatives and positives apart, each in the order of the sample."""
        return self._by_score(np.take(negative, self._negatives, 1), np.take(positive, self._positives, 1))

    def _by_score(
        self, negative: Integer[np.ndarray, "B N"], positive: Integer[np.ndarray, "B P"]
    ) -> dict[str, Float64[np.ndarray, " B"]]:
        below, above = _running(negative), _running(positive)
        n, p = below[:, -1], above[:, -1]
        true, false = np.take(above, self._rises.true, 1), np.take(below, self._rises.false, 1)
        rise = np.diff(true, axis=1, prepend=0)
        sums = _dot(self._sums[0], negative) + _dot(self._sums[1], positive) if self._rows else np.empty((len(n), 0))
        positives = np.where(n > 0, p, 0)  # recall has no value either where one class is missing
        result = {}
        for name in self.names:
            if name == "auroc":
                doubled = (rise * (2 * n[:, None] - false - np.take(below, self._rises.false_before, 1))).sum(1)
                result[name] = _ratio(doubled, 2 * n * p)
            elif name == "auprc":
                result[name] = _ratio((rise * (true / np.maximum(true + false, 1))).sum(1), positives)
            elif name in FDR_LEVELS:
                best = np.where(within_fdr(true, false, FDR_LEVELS[name]), true, 0).max(1)
                result[name] = _ratio(best, positives)
            else:
                result[name] = _ratio(np.abs(sums[:, self._rows[name]]).sum(1), n + p)
        return result


def _summands(sample: Sample, name: str) -> Float64[np.ndarray, "k n"]:
    """What is summed over examples: one row for a metric that is a mean, one for each bin of `ece`."""
    each = METRICS[name].each
    if each is not None:
        return each(sample)[None]
    p = sample.probabilities
    result = np.zeros((ECE_BINS, len(p)))
    result[bin_of(p, ECE_BINS), np.arange(len(p))] = p - sample.labels
    return result


class RealResampler:
    """Metrics of resamples of one task with real values or counts; NaN where a resample is constant.

    Args:
        sample: examples without a problem.
        names: metrics; those for other kinds of tasks and those undefined on the sample are left out of `self.names`.
    """

    def __init__(self, sample: Sample, names: Iterable[str]):
        self.names = _suited(sample, names, {"real", "count"})
        self._n = len(sample)
        self._means = {name: each(sample)[None] for name in self.names if (each := METRICS[name].each)}
        if {"pearson", "r2"} & set(self.names):
            y = centred(sample.targets, "targets")
            x = sample.scores - sample.scores.mean(dtype=np.float64)
            error = sample.scores - sample.targets.astype(np.float64)
            self._moments = np.stack([x, y, x * x, y * y, x * y, error * error])
        if "spearman" in self.names:
            self._by_score, self._by_target = sample.ranked, rank(sample.targets)

    def stratified(self, rng: np.random.Generator, n: int) -> dict[str, Float64[np.ndarray, " n"]]:
        """Returns metrics of n resamples of as many examples as the sample has; there are no classes to keep."""
        parts = [self.weighted(draw(rng, rows, self._n)) for rows in blocks(n, self._n)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.names}

    def weighted(self, weights: Integer[np.ndarray, "B n"]) -> dict[str, Float64[np.ndarray, " B"]]:
        """Returns metrics where example i of the sample counts `weights[:, i]` times."""
        total = weights.sum(1, dtype=np.int64)
        result = {name: _ratio(_dot(each, weights)[:, 0], total) for name, each in self._means.items()}
        if {"pearson", "r2"} & set(self.names):
            x, y, xx, yy, xy, error = _dot(self._moments, weights).T / np.maximum(total, 1)
            spread = np.where(yy - y * y > 1e-12 * yy, yy - y * y, 0)
            result["r2"] = 1 - _ratio(error, spread)
            spread = spread * np.where(xx - x * x > 1e-12 * xx, xx - x * x, 0)
            result["pearson"] = np.clip(_ratio(xy - x * y, np.sqrt(spread)), -1, 1)
        if "spearman" in self.names:
            result["spearman"] = self._spearman(weights, total)
        return {name: result[name] for name in self.names}

    def _spearman(
        self, weights: Integer[np.ndarray, "B n"], total: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, " B"]:
        x, y = (_places(weights, ranked) for ranked in (self._by_score, self._by_target))
        middle = (total[:, None] + 1) / 2  # the mean of all mid-ranks, whatever the ties
        x -= middle
        y -= middle
        spread = np.einsum("bn,bn,bn->b", weights, x, x) * np.einsum("bn,bn,bn->b", weights, y, y)
        return np.clip(_ratio(np.einsum("bn,bn,bn->b", weights, x, y), np.sqrt(spread)), -1, 1)


def _places(weights: Integer[np.ndarray, "B n"], ranked: Ranked) -> Float64[np.ndarray, "B n"]:
    """Mid-ranks by falling value within each resample, in the order of the sample."""
    order, ends = ranked
    running = _running(np.take(weights, order, 1))
    after = np.take(running, ends + 1, 1)
    before = np.concatenate([np.zeros_like(after[:, :1]), after[:, :-1]], 1)
    group = np.empty(len(order), np.int64)
    group[order] = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    return np.take((before + after + 1) / 2, group, 1)
