"""Curves pass through the points of scikit-learn's and keep their area when thinned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as sk

from dragon_jax import metrics
from dragon_jax.errors import InputError
from dragon_jax.evaluation import precision_recall_curve, reliability, roc_curve


def data(n: int, prevalence: float = 0.2, levels: int | None = None, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < prevalence).astype(np.float32)
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * y - 1)))
    return (np.round(p * levels) / levels if levels else p).astype(np.float32), y


def steps(curve) -> float:
    """Area under steps, as average precision has it."""
    return float((np.diff(curve.x) * curve.y[1:]).sum())


@pytest.mark.parametrize("levels", [None, 30, 1])
def test_roc_equals_scikit_learn(levels):
    p, y = data(600, levels=levels)
    curve = roc_curve(p, y, points=None)
    fpr, tpr, thresholds = sk.roc_curve(y, p, drop_intermediate=False)
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    # every corner of ours is a point of theirs, at the same threshold
    theirs = dict(zip(thresholds, zip(fpr, tpr, strict=True), strict=True))
    for x, height, threshold in zip(curve.x, curve.y, curve.thresholds, strict=True):
        assert theirs[threshold] == pytest.approx((x, height), abs=1e-12)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(sk.roc_auc_score(y, p), abs=1e-12)
    assert curve.area == pytest.approx(sk.roc_auc_score(y, p), abs=1e-12)
    assert len(curve.x) <= len(fpr)


@pytest.mark.parametrize("levels", [None, 30, 1])
def test_precision_recall_equals_scikit_learn(levels):
    p, y = data(600, levels=levels, seed=1)
    curve = precision_recall_curve(p, y, points=None)
    precision, recall, thresholds = sk.precision_recall_curve(y, p)
    theirs = dict(zip(thresholds, zip(recall, precision, strict=False), strict=False))
    for x, height, threshold in list(zip(curve.x, curve.y, curve.thresholds, strict=True))[1:]:
        assert theirs[threshold] == pytest.approx((x, height), abs=1e-12)
    assert curve.x[0] == 0
    assert curve.y[0] == curve.y[1]
    assert curve.x[-1] == 1
    assert curve.y[-1] == pytest.approx(curve.chance) == pytest.approx(y.mean())
    assert steps(curve) == pytest.approx(sk.average_precision_score(y, p), abs=1e-12)
    assert curve.area == pytest.approx(sk.average_precision_score(y, p), abs=1e-12)


@pytest.mark.parametrize("prevalence", [0.5, 0.01])
def test_thinned_curves_keep_ends_and_area(prevalence):
    p, y = data(100_000, prevalence, seed=2)
    roc, pr = roc_curve(p, y, points=200), precision_recall_curve(p, y, points=200)
    for curve in (roc, pr):
        assert len(curve.x) <= 200
        assert (np.diff(curve.x) >= 0).all()
        assert (np.diff(curve.thresholds) < 0).all()
        assert curve.x[0] == 0
        assert curve.x[-1] == 1
        assert curve.y[-1] == (1 if curve is roc else pytest.approx(y.mean()))
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(roc.area, abs=1e-3)
    assert np.trapezoid(pr.y, pr.x) == pytest.approx(pr.area, abs=5e-3)
    full = roc_curve(p, y, points=None)
    assert np.abs(np.interp(full.x, roc.x, roc.y) - full.y).max() < 4 / 198


def test_undefined_curves_are_empty_and_say_why():
    for curve in (roc_curve, precision_recall_curve):
        result = curve(np.array([0.2, 0.7]), np.array([1.0, 1.0]))
        assert len(result.x) == len(result.y) == len(result.thresholds) == 0
        assert math.isnan(result.area)
        assert result.area.reason == "one class only (all positive)"


def test_reliability_agrees_with_the_metric_and_counts_everything():
    p, y = data(5000, levels=300, seed=3)
    p[:2] = [0, 1]
    y[2:100] = np.nan
    curve = reliability(p, y)
    assert curve.count.sum() == 5000 - 98
    assert curve.error == pytest.approx(metrics.ece(p, y), abs=1e-15)
    filled = curve.count > 0
    np.testing.assert_allclose((curve.observed * curve.count)[filled].sum(), np.nansum(y))
    assert (curve.edges[:-1][filled] <= curve.predicted[filled]).all()
    assert (curve.predicted[filled] <= curve.edges[1:][filled]).all()
    assert (curve.low[filled] <= curve.observed[filled]).all()
    assert (curve.observed[filled] <= curve.high[filled]).all()


def test_wilson_interval_of_one_bin():
    # 5 of 10: the textbook value of the score interval
    curve = reliability(np.full(10, 0.55), np.array([1.0, 0.0] * 5), bins=1)
    assert (curve.low[0], curve.high[0]) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert curve.error == pytest.approx(0.05)


def test_empty_bins_and_undefined_calibration():
    curve = reliability(np.array([0.05, 0.06]), np.array([0.0, 1.0]), bins=10)
    assert list(curve.count) == [2] + [0] * 9
    assert np.isnan(curve.observed[1:]).all()
    for scores, targets, reason in (
        ([-1.0, 2.0], [0.0, 1.0], "scores are not probabilities"),
        ([0.5, 0.5], [np.nan, np.nan], "no measured example"),
        ([0.5, 0.5], [0.0, 2.0], "targets other than 0 and 1"),
    ):
        curve = reliability(np.array(scores), np.array(targets))
        assert math.isnan(curve.error)
        assert curve.error.reason == reason
        assert curve.count.sum() == 0
    with pytest.raises(InputError, match="at least 1, found 0"):
        reliability(np.array([0.5]), np.array([1.0]), bins=0)
