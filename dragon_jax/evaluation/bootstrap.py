"""Bootstrap intervals of metrics, of their mean over tasks, and of the difference between two predictors.

All intervals are percentile intervals (Efron 1981): examples are drawn with replacement, the metric is worked out on
each resample, and the interval holds the middle share `level` of the values. They tell how much a number could change
with other examples like these; they know nothing of how much it would change with another seed of training. Resamples
on which a metric has no value are left out; where that is more than half of them there is no interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from dragon_jax.errors import InputError, nearest
from dragon_jax.evaluation.resampling import BinaryResampler, RealResampler, blocks, draw
from dragon_jax.metrics import METRICS, check_shapes, in_threads
from dragon_jax.ranking import Sample, Undefined

# A resample repeats examples, so its bins of calibration are noisier than the sample's and `ece` comes out too large on
# all of them: its percentile interval can miss the value it belongs to.
INTERVALS = tuple(name for name in METRICS if name != "ece")
_SHARED = 2**24  # weights of two bytes drawn at a time for all tasks


class Interval(NamedTuple):
    """Ends of an interval of a metric, both NaN where there is none."""

    low: float
    high: float


class PairedDifference(NamedTuple):
    """Metric of a minus metric of b on the same examples.

    Attributes:
        difference: on all examples; NaN where either metric is undefined.
        low, high: ends of its interval.
        share: two-sided bootstrap p-value against no difference: twice the smaller share of resamples on either side of
            0, ties on both, with one added to numerator and denominator; in (0, 1].
        reason: why the difference or its interval is NaN, or an empty string.
    """

    difference: float
    low: float
    high: float
    share: float
    reason: str = ""


def percentile_interval(values: Float64[np.ndarray, " n"], level: float) -> Interval:
    """Returns the ends of the middle share `level` of the values that are not NaN."""
    defined = values[~np.isnan(values)]
    if not len(defined) or 2 * len(defined) < len(values):
        return Interval(np.nan, np.nan)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def check_settings(n: int, seed: int, level: float, names: Iterable[str] = ()) -> None:
    """Raises InputError for a negative number of resamples or seed, a level outside (0, 1) or an unknown metric."""
    if n < 0 or seed < 0:
        raise InputError(f"bootstrap: expected n >= 0 resamples and a seed >= 0, found {n} and {seed}")
    if not 0 < level < 1:
        raise InputError(f"level of bootstrap intervals: expected 0 < level < 1, found {level}")
    for name in names:
        if name not in METRICS:
            raise InputError(f"metric {name!r} is unknown{nearest(name, list(METRICS))}. Known: {', '.join(METRICS)}")


def resampler(sample: Sample, kind: str, names: Iterable[str]) -> BinaryResampler | RealResampler | None:
    """Returns what works out metrics of resamples of one task, or None where the task has nothing to resample."""
    suited = [name for name in names if kind in METRICS[name].kinds]
    if sample.problem:
        return None
    try:
        return BinaryResampler(sample, suited) if kind == "binary" else RealResampler(sample, suited)
    except Undefined:
        return None


def task_intervals(
    predictions: np.ndarray,
    targets: np.ndarray,
    kinds: Sequence[str],
    *,
    names: Sequence[str] = INTERVALS,
    n: int = 200,
    seed: int = 0,
    level: float = 0.95,
    logits: np.ndarray | None = None,
) -> list[dict[str, Interval]]:
    """Returns for each task an interval of each metric that is defined there; tasks are resampled independently.

    Binary tasks are resampled within each class, so that both classes are always present with their numbers. The result
    depends on the seed and on the position of the task, not on the number of threads.

    Args:
        predictions, targets: `[N, T]`; NaN targets are not measured and not drawn.
        kinds: `binary`, `real` or `count` for each task.
        names: metrics wanted.
        n: resamples for each task; 0 gives no interval.
        seed: of the draws.
        level: share of resamples inside the interval.
        logits: as in `metrics.measure`.

    Raises:
        InputError: shapes do not match, or a setting is out of range.
    """
    check_shapes(predictions, targets, kinds)
    check_settings(n, seed, level, names)

    def task(t: int) -> dict[str, Interval]:
        of = resampler(_sample(predictions, targets, logits, t), kinds[t], names)
        if of is None or n == 0:
            return {}
        values = of.stratified(np.random.default_rng([seed, t]), n)
        return {name: percentile_interval(v, level) for name, v in values.items()}

    return in_threads(task, range(len(kinds)))


def mean_intervals(
    predictions: np.ndarray,
    targets: np.ndarray,
    kinds: Sequence[str],
    *,
    names: Sequence[str] = INTERVALS,
    n: int = 200,
    seed: int = 0,
    level: float = 0.95,
    logits: np.ndarray | None = None,
) -> dict[str, Interval]:
    """Returns an interval for the mean over tasks of each metric.

    The N examples are drawn with replacement once for all tasks, which keeps what tasks have in common: the interval of
    a mean over tasks that are measured on the same sequences is wider than independent draws would make it. Classes
    cannot be kept at their numbers for all tasks at once; a task that has no value on a resample is left out of the
    mean of that resample. Tasks without a value on all examples are left out throughout, as they are from the mean
    itself.

    Args, Raises: as in `task_intervals`.
    """
    check_shapes(predictions, targets, kinds)
    check_settings(n, seed, level, names)
    means: dict[str, list[np.ndarray]] = {name: [] for name in names}
    rng = np.random.default_rng([seed, len(kinds), 1])
    for rows in blocks(n, len(targets), _SHARED) if len(targets) else []:
        weights = np.concatenate([draw(rng, r, len(targets)).astype(np.uint16) for r in blocks(rows, len(targets))])

        def task(t: int, weights: np.ndarray = weights) -> dict[str, np.ndarray]:
            sample = _sample(predictions, targets, logits, t)
            of = resampler(sample, kinds[t], names)
            if of is None:
                return {}
            edges = np.cumsum(blocks(len(weights), len(sample)))[:-1]
            parts = [
                of.weighted(part if sample.rows is None else part[:, sample.rows]) for part in np.split(weights, edges)
            ]
            return {name: np.concatenate([part[name] for part in parts]) for name in of.names}

        per_task = in_threads(task, range(len(kinds)))
        for name in names:
            if columns := [values[name] for values in per_task if name in values]:
                means[name].append(_nanmean(np.stack(columns)))
    return {name: percentile_interval(np.concatenate(parts), level) for name, parts in means.items() if parts}


def _sample(predictions: np.ndarray, targets: np.ndarray, logits: np.ndarray | None, t: int) -> Sample:
    return Sample(predictions[:, t], targets[:, t], None if logits is None else logits[:, t])


def _nanmean(values: Float64[np.ndarray, "T B"]) -> Float64[np.ndarray, " B"]:
    defined = ~np.isnan(values)
    return np.divide(
        np.where(defined, values, 0).sum(0), defined.sum(0), out=np.full(values.shape[1], np.nan), where=defined.any(0)
    )


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    targets: np.ndarray,
    metric: str,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDifference:
    """Returns how much the metric of scores a exceeds that of scores b, both on the same examples of one task.

    Each resample draws the same examples for both, within each class for metrics of binary tasks. What is hard for both
    cancels, so the interval is much narrower than the two of a and b suggest.

    Args:
        a, b, targets: `[N]`; NaN targets are left out.
        metric: a name in `METRICS`.
        n: resamples. seed: of the draws. level: share of resamples inside the interval.

    Raises:
        InputError: shapes differ, the metric is unknown, or a setting is out of range.
    """
    check_settings(n, seed, level, [metric])
    samples = Sample(a, targets), Sample(b, targets)
    values = [METRICS[metric].of(sample) for sample in samples]
    difference = float(values[0] - values[1])
    if reason := "; ".join(f"{name}: {value.reason}" for name, value in zip("ab", values, strict=True) if value.reason):
        return PairedDifference(difference, np.nan, np.nan, np.nan, reason)
    try:
        differences = _resampled_differences(samples, metric, n, np.random.default_rng([seed, 2]))
    except Undefined as e:
        return PairedDifference(difference, np.nan, np.nan, np.nan, f"no interval: {e}")
    low, high = percentile_interval(differences, level)
    known = differences[~np.isnan(differences)]
    tail = min(int(np.count_nonzero(known <= 0)), int(np.count_nonzero(known >= 0)))
    return PairedDifference(
        difference, low, high, min(1.0, 2 * (tail + 1) / (len(known) + 1)) if len(known) else np.nan
    )


def _resampled_differences(
    samples: tuple[Sample, Sample], metric: str, n: int, rng: np.random.Generator
) -> Float64[np.ndarray, " n"]:
    size = len(samples[0])
    parts = [np.empty(0)]
    if "binary" in METRICS[metric].kinds:
        classes = [BinaryResampler(sample, [metric]) for sample in samples]
        positive = samples[0].n_positive
        for rows in blocks(n, size):
            weights = draw(rng, rows, size - positive), draw(rng, rows, positive)
            first, second = (of.of_classes(*weights)[metric] for of in classes)
            parts.append(first - second)
    else:
        both = [RealResampler(sample, [metric]) for sample in samples]
        for rows in blocks(n, size):
            weights = draw(rng, rows, size)
            first, second = (of.weighted(weights)[metric] for of in both)
            parts.append(first - second)
    return np.concatenate(parts)
