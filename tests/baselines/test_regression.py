"""Every fit against scikit-learn or against its own optimality condition."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

from dragon_jax.baselines import regression
from dragon_jax.baselines.regression import LOGISTIC, POISSON

N, F = 400, 6


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    correlated = rng.normal(size=(N, F)) @ rng.normal(size=(F, F)) / 2 + 0.3
    return np.concatenate([correlated, np.ones((N, 1))], 1).astype(np.float32)


def targets(x, kind, tasks=3, seed=1):
    rng = np.random.default_rng(seed)
    margins = x[:, :-1] @ rng.normal(size=(F, tasks)) * 0.5 + rng.normal(size=tasks)
    if kind == "real":
        return (margins + rng.normal(size=margins.shape)).astype(np.float32)
    if kind == "binary":
        return (rng.random(margins.shape) < 1 / (1 + np.exp(-margins))).astype(np.float32)
    return rng.poisson(np.exp(margins)).astype(np.float32)


def with_gaps(y, shares):
    """Takes away these shares of each task's values."""
    y, rng = y.copy(), np.random.default_rng(2)
    for t, share in enumerate(shares):
        y[rng.random(len(y)) < share, t] = np.nan
    return y


def oracle(kind, strength, x, y, weights):
    """Coefficients of scikit-learn, which counts the penalty per sum of losses or inverts it."""
    total = len(y) if weights is None else weights.sum()
    model = {
        "real": lambda: Ridge(alpha=strength * total, tol=1e-10),
        "binary": lambda: LogisticRegression(
            C=1 / (strength * total), tol=1e-7, max_iter=1_000, solver="newton-cholesky"
        ),
        "count": lambda: PoissonRegressor(alpha=strength, tol=1e-7, max_iter=1_000, solver="newton-cholesky"),
    }[kind]()
    model.fit(x[:, :-1].astype(np.float64), y.astype(np.float64), sample_weight=weights)
    return np.append(np.ravel(model.coef_), model.intercept_)


def fit(kind, x, y, weights, strengths, **options):
    if kind == "real":
        return regression.ridge(x, y, weights, strengths)
    return regression.generalised(x, y, weights, strengths, LOGISTIC if kind == "binary" else POISSON, **options)


@pytest.mark.parametrize("kind", ["real", "binary", "count"])
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_scikit_learn_on_the_measured_rows_of_each_task(x, kind, weighted):
    y = with_gaps(targets(x, kind), (0.0, 0.1, 0.8))  # none missing, few, most
    weights = np.random.default_rng(3).uniform(0.2, 2, N).astype(np.float32) if weighted else None
    strengths = (0.5, 0.01)
    result = fit(kind, x, y, weights, strengths, **({} if kind == "real" else {"tolerance": 1e-5}))
    for j, strength in enumerate(strengths):
        for t in range(3):
            seen = ~np.isnan(y[:, t])
            w = None if weights is None else weights[seen].astype(np.float64)
            expected = oracle(kind, strength, x[seen], y[seen, t], w)
            np.testing.assert_allclose(result[j, :, t], expected, atol=1e-6 if kind == "real" else 1e-3)


@pytest.mark.parametrize("family", [LOGISTIC, POISSON], ids=lambda f: f.name)
def test_result_is_a_minimum(x, family):
    y = targets(x, "binary" if family is LOGISTIC else "count").astype(np.float64)
    theta = regression.generalised(x, y.astype(np.float32), None, (0.03,), family)[0]
    wide = x.astype(np.float64)
    gradient = wide.T @ family.elements(wide @ theta, y)[1] / N + np.r_[np.full(F, 0.03), 0][:, None] * theta
    assert np.all(np.abs(gradient).max(0) < 2e-3 * family.variance(y.mean(0)))


def test_more_features_than_rows_leave_no_singular_matrix():
    rng = np.random.default_rng(4)
    wide = np.concatenate([rng.normal(size=(20, 50)), np.ones((20, 1))], 1).astype(np.float32)
    y = rng.normal(size=(20, 1)).astype(np.float32)
    expected = oracle("real", 0.1, wide, y[:, 0], None)
    np.testing.assert_allclose(regression.ridge(wide, y, None, (0.1,))[0, :, 0], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "count"])
def test_path_and_neighbours_do_not_matter(x, kind):
    y = targets(x, kind)
    together = fit(kind, x, y, None, (1.0, 0.1, 0.01), tolerance=1e-5)[-1]
    for t in range(3):
        alone = fit(kind, x, y[:, t : t + 1], None, (0.01,), tolerance=1e-5)[0]
        np.testing.assert_allclose(together[:, t : t + 1], alone, atol=1e-3)


def test_separable_classes_and_rare_large_counts_stay_finite(x):
    separable = (x[:, :1] > 0).astype(np.float32)
    assert np.isfinite(fit("binary", x, separable, None, (1e-4,))).all()
    rare = np.where(np.arange(N)[:, None] == 7, np.float32(1e6), np.float32(0))
    theta = fit("count", x, rare, None, (1.0,))[0]
    assert np.isfinite(theta).all()
    rates = np.exp(x.astype(np.float64) @ theta)
    np.testing.assert_allclose(rates.mean(), rare.mean(), rtol=0.05)  # the free intercept matches the mean


def test_a_fit_that_was_cut_short_says_so(x):
    lines = []
    fit("binary", x, targets(x, "binary"), None, (0.001,), max_iterations=2, tolerance=1e-6, say=lines.append)
    assert lines == ["logistic regression, strength 0.001: 2 iterations; 3 of 3 tasks not at their minimum yet"]


def test_losses_at_the_ends_of_float32():
    eta = np.array([-500, -80, 0, 80, 500], np.float32)
    loss, residual = LOGISTIC.elements(eta, np.ones(5, np.float32))
    np.testing.assert_allclose(loss, [500, 80, np.log(2), 0, 0], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(residual, [-1, -1, -0.5, 0, 0], atol=1e-6)
    loss, residual = POISSON.elements(eta, np.zeros(5, np.float32))
    assert np.isfinite(loss).all() and np.isfinite(residual).all()


def test_calibration_finds_the_log_odds_of_two_normal_classes():
    rng = np.random.default_rng(5)
    label = (rng.random(200_000) < 0.2).astype(np.float32)
    scores = rng.normal(0.3 + 0.5 * label, 0.25)
    slope, offset = regression.calibrate(np.stack([scores] * 2, 1), np.stack([label, np.ones_like(label)], 1))
    expected = 0.5 / 0.25**2
    np.testing.assert_allclose(slope[0], expected, rtol=0.02)
    np.testing.assert_allclose(offset[0], np.log(0.25) - expected * (0.3 + 0.8) / 2, rtol=0.02)
    assert np.isnan(slope[1])


def test_calibration_leaves_missing_targets_out():
    rng = np.random.default_rng(6)
    label, scores = np.arange(100) % 2.0, rng.normal(size=100)
    gaps = np.where(np.arange(100) < 40, np.nan, label)
    for found, expected in zip(
        regression.calibrate(scores[:, None], gaps[:, None]),
        regression.calibrate(scores[40:, None], label[40:, None]),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
