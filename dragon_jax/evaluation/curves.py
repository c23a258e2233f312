"""ROC and precision-recall curves as points to draw, beside the exact area that they belong to.

A curve of 100,000 examples has as many points; a page needs a few hundred. Points on a straight line are left out
without any change, then evenly spaced ones along the curve are kept. The area that is reported comes from all examples,
never from the points.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dragon_jax import metrics
from dragon_jax.metrics import Value
from dragon_jax.ranking import Sample

POINTS = 400


@dataclasses.dataclass(frozen=True)
class Curve:
    """Points of a curve from left to right, P of them; none where the curve is undefined.

    Attributes:
        x, y: float64 `[P]`, in [0, 1].
        thresholds: float64 `[P]`: scores from this one upwards are called positive; infinite where nothing is called.
        area: exact area, from all examples; NaN with its reason where undefined.
        chance: height of a guess: NaN for a ROC curve (the diagonal), the prevalence for precision and recall.
    """

    x: Float64[np.ndarray, " P"]
    y: Float64[np.ndarray, " P"]
    thresholds: Float64[np.ndarray, " P"]
    area: Value
    chance: float


def roc_curve(scores: np.ndarray, targets: np.ndarray, points: int | None = POINTS) -> Curve:
    """Returns true positive rate (y) over false positive rate (x), from (0, 0) to (1, 1), joined by straight lines.

    Args:
        scores, targets: `[N]`; NaN targets are left out.
        points: most points to keep, at least 4; None keeps all but those on straight lines.

    Raises:
        InputError: shapes differ.
    """
    sample = Sample(scores, targets)
    if (area := metrics.auroc.of(sample)).reason:
        return _empty(area)
    true, false, thresholds = _calls(sample)
    keep = _corners(true, false)
    x, y = false[keep] / (len(sample) - sample.n_positive), true[keep] / sample.n_positive
    return _thinned(Curve(x, y, thresholds[keep], area, np.nan), points)


def precision_recall_curve(scores: np.ndarray, targets: np.ndarray, points: int | None = POINTS) -> Curve:
    """Returns precision (y) over recall (x), from recall 0 to 1; the area is the average precision.

    Average precision is the area under steps: each point holds from the recall before it. At recall 0, where nothing is
    called and precision has no value, the curve starts at the precision of the highest score. Where recall stays the
    same and precision falls, the first and the last point are kept.

    Args, Raises: as in `roc_curve`.
    """
    sample = Sample(scores, targets)
    if (area := metrics.auprc.of(sample)).reason:
        return _empty(area)
    true, false, thresholds = _calls(sample)
    rises = np.diff(true) > 0
    keep = np.concatenate([[True], rises[:-1] | rises[1:], [True]])
    x = true[keep] / sample.n_positive
    y = true[keep] / np.maximum(true + false, 1)[keep]
    y[0] = y[1]
    return _thinned(Curve(x, y, thresholds[keep], area, sample.n_positive / len(sample)), points)


def _empty(area: Value) -> Curve:
    none = np.empty(0)
    return Curve(none, none, none, area, np.nan)


def _calls(sample: Sample) -> tuple[Int64[np.ndarray, " K"], Int64[np.ndarray, " K"], Float64[np.ndarray, " K"]]:
    """True and false positives and thresholds, from calling nothing to calling everything."""
    true, false = sample.calls
    order, ends = sample.ranked
    thresholds = sample.scores[order[ends]].astype(np.float64)
    return np.append(0, true), np.append(0, false), np.append(np.inf, thresholds)


def _corners(true: Int64[np.ndarray, " K"], false: Int64[np.ndarray, " K"]) -> Bool[np.ndarray, " K"]:
    """Which points are ends or lie off the straight line between their neighbours, in whole numbers and so exactly."""
    up, right = np.diff(true), np.diff(false)
    return np.concatenate([[True], up[:-1] * right[1:] != up[1:] * right[:-1], [True]])


def _thinned(curve: Curve, points: int | None) -> Curve:
    """Keeps both ends and, at even spacing along |dx| + |dy|, the points on either side.

    Whatever is left out lies between two points less than 4 / (points - 2) apart, so a rising curve with straight lines
    changes its area by at most 1 / (points - 2): each line cuts off at most half of a box with that sum of sides.
    """
    if points is None or len(curve.x) <= points:
        return curve
    way = np.append(0, np.cumsum(np.abs(np.diff(curve.x)) + np.abs(np.diff(curve.y))))
    last = len(way) - 1
    at = np.searchsorted(way, np.linspace(0, way[-1], max(points // 2, 2))).clip(0, last)
    keep = np.unique(np.concatenate([np.maximum(at - 1, 0), at[:-1], [last]]))
    return dataclasses.replace(curve, x=curve.x[keep], y=curve.y[keep], thresholds=curve.thresholds[keep])
