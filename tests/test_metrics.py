"""Metrics agree with scikit-learn and SciPy, and say why where they have no value."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk

from dragon_jax import metrics
from dragon_jax.errors import InputError
from dragon_jax.metrics import METRICS, QUICK, measure, quick_metrics, summarise, task_metrics
from dragon_jax.ranking import mid_ranks, rank

BINARY = [m for m in METRICS.values() if "binary" in m.kinds]
CORRELATIONS = ["pearson", "spearman", "r2", "mse"]


def binary_data(n: int, prevalence: float, levels: int | None, dtype, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (rounded to a few levels where ties are wanted) and labels with both classes."""
    rng = np.random.default_rng(seed)
    y = rng.random(n) < prevalence
    y[:2] = [True, False]
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * y - 1)))
    if levels:
        p = np.round(p * levels) / levels
    return p.astype(dtype), y.astype(np.float32)


def reference(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    precision, recall, _ = sk.precision_recall_curve(y, p)
    which = np.minimum((p.astype(np.float64) * 15).astype(int), 14)
    gaps = [abs(p[which == b].mean(dtype=np.float64) - y[which == b].mean()) * (which == b).mean() for b in set(which)]
    return {
        "auroc": sk.roc_auc_score(y, p),
        "auprc": sk.average_precision_score(y, p),
        # the last point of scikit-learn's curve is its convention of precision 1 at recall 0
        **{f"recall_at_fdr{f:02d}": recall[precision >= 1 - f / 100 - 1e-12].max() for f in (5, 10, 20)},
        "log_loss": sk.log_loss(y, p),
        "brier": sk.brier_score_loss(y, p),
        "ece": sum(gaps),
        "accuracy": sk.accuracy_score(y, p >= 0.5),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [None, 100, 7, 1])
@pytest.mark.parametrize(("n", "prevalence"), [(2000, 0.5), (3001, 0.01), (500, 0.97), (2, 0.5)])
def test_binary_metrics_agree_with_scikit_learn(n, prevalence, levels, dtype):
    p, y = binary_data(n, prevalence, levels, dtype, n)
    for name, expected in reference(p, y).items():
        # scikit-learn takes the logarithm of float32 probabilities in float32
        tolerance = 1e-6 if name != "log_loss" else 1e-6 * max(1, expected)
        assert METRICS[name](p, y) == pytest.approx(expected, abs=tolerance), name


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_real_metrics_agree_with_scipy_and_scikit_learn(ties, dtype):
    rng = np.random.default_rng(1)
    y = 1000 + rng.normal(size=3000)  # far from 0: sums that are not centred would lose digits
    s = 0.3 * y + rng.normal(size=3000)
    if ties:
        y, s = np.round(y), np.round(s)
    y, s = y.astype(np.float32), s.astype(dtype)
    y64, s64 = y.astype(np.float64), s.astype(np.float64)
    assert metrics.pearson(s, y) == pytest.approx(scipy.stats.pearsonr(s64, y64).statistic, abs=1e-9)
    assert metrics.spearman(s, y) == pytest.approx(scipy.stats.spearmanr(s64, y64).statistic, abs=1e-9)
    assert metrics.r2(s, y) == pytest.approx(sk.r2_score(y64, s64), rel=1e-9)
    assert metrics.mse(s, y) == pytest.approx(sk.mean_squared_error(y64, s64), rel=1e-9)


def test_poisson_deviance_agrees_with_scikit_learn():
    rng = np.random.default_rng(2)
    rate = rng.gamma(1.0, 3.0, 2000) + 1e-3
    y = rng.poisson(rate).astype(np.float32)
    assert (y == 0).any()
    expected = sk.mean_poisson_deviance(y.astype(np.float64), rate)
    assert metrics.poisson_deviance(rate, y) == pytest.approx(expected, rel=1e-9)
    assert metrics.poisson_deviance(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == 0
    assert metrics.poisson_deviance(np.array([0.0, 1.0]), np.array([1.0, 1.0])).reason.startswith("rate of 0")


def test_mid_ranks_agree_with_scipy():
    values = np.random.default_rng(3).integers(0, 20, 200).astype(np.float32)
    ranks = mid_ranks(rank(values))
    np.testing.assert_array_equal(ranks, scipy.stats.rankdata(values))


def test_known_values_with_ties():
    p, y = np.array([0.9, 0.8, 0.8, 0.3, 0.3]), np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    assert metrics.auroc(p, y) == pytest.approx((2 + 1.5 + 0.5) / 6)
    assert metrics.auprc(p, y) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert metrics.recall_at_fdr10(p, y) == pytest.approx(1 / 3)
    assert metrics.recall_at_fdr10(-p, y) == 0  # defined: no threshold is that precise


def test_fdr_levels_are_met_exactly():
    y = np.array([1.0] * 27 + [0.0] * 3 + [1.0] * 3 + [0.0] * 9)  # 3 of the first 30 are false: an FDR of exactly 0.1
    p = np.linspace(1, 0, len(y))
    p[:30] = 0.95
    assert metrics.recall_at_fdr10(p, y) == pytest.approx(30 / 30)
    y[33] = 1  # one more positive behind them
    p[30:34] = [0.5, 0.4, 0.3, 0.2]
    y[30:33] = 0
    assert metrics.recall_at_fdr10(p, y) == pytest.approx(27 / 28)


# ------------------------------------------------------------------------------------------------------ invariances


def everything() -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(4)
    n = 300
    p, y = binary_data(n, 0.3, 40, np.float32, 5)
    real = rng.normal(size=n).astype(np.float32)
    rate = rng.gamma(2.0, 1.0, n).astype(np.float32) + np.float32(0.01)
    noise = rng.normal(size=n).astype(np.float32)
    predictions = np.stack([p, real + noise, rate], 1)
    targets = np.stack([y, real, rng.poisson(rate).astype(np.float32)], 1)
    targets[rng.random(targets.shape) < 0.2] = np.nan
    return predictions, targets, ["binary", "real", "count"]


def test_order_of_examples_and_missing_rows_change_nothing():
    predictions, targets, kinds = everything()
    before = task_metrics(predictions, targets, kinds)
    assert set(before) == set(METRICS)
    order = np.random.default_rng(6).permutation(len(targets))
    extra = np.full((50, 3), np.nan, np.float32)  # scores of missing rows may be anything
    more = np.concatenate([predictions[order], extra]), np.concatenate([targets[order], extra])
    for name, values in task_metrics(*more, kinds).items():
        np.testing.assert_allclose(values, before[name], rtol=1e-12, err_msg=name)


def test_a_task_does_not_depend_on_its_neighbours():
    predictions, targets, kinds = everything()
    many = [np.tile(x, (1, 7)) for x in (predictions, targets)]
    wide = task_metrics(*many, kinds * 7)
    narrow = task_metrics(np.asfortranarray(predictions), np.asfortranarray(targets), kinds)
    for name, values in wide.items():
        np.testing.assert_array_equal(values, np.tile(narrow[name], 7), err_msg=name)


@pytest.mark.parametrize("name", ["auroc", "auprc", "recall_at_fdr20"])
def test_rank_metrics_ignore_monotone_transforms(name):
    p, y = binary_data(400, 0.3, 50, np.float64, 7)
    assert METRICS[name](np.exp(3 * p) - 7, y) == METRICS[name](p, y)
    assert metrics.auroc(-p, y) == pytest.approx(1 - metrics.auroc(p, y), abs=1e-12)


def test_correlations_ignore_scale_and_spearman_ignores_shape():
    rng = np.random.default_rng(8)
    y = rng.normal(size=200)
    s = y + rng.normal(size=200)
    assert metrics.pearson(3 * s - 5, y) == pytest.approx(metrics.pearson(s, y), abs=1e-12)
    assert metrics.spearman(np.exp(s), y) == metrics.spearman(s, y)
    assert metrics.spearman(-s, y) == pytest.approx(-metrics.spearman(s, y), abs=1e-12)


def test_scores_are_ranked_in_their_own_precision_and_zeros_tie():
    base = np.float32(0.5)
    near = np.array([base, np.nextafter(base, np.float32(1))], np.float32)
    assert metrics.auroc(near, np.array([0.0, 1.0])) == 1
    assert metrics.auroc(np.array([-0.0, 0.0], np.float32), np.array([0.0, 1.0])) == 0.5


# ---------------------------------------------------------------------------------------------------- undefined cases


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_nothing_measured_or_broken_scores_are_nan_with_a_reason(metric):
    nothing = metric(np.array([0.5, 0.5]), np.array([np.nan, np.nan]))
    empty = metric(np.array([]), np.array([]))
    broken = metric(np.array([0.5, np.nan, np.inf]), np.array([1.0, 0.0, 1.0]))
    infinite = metric(np.array([0.5, 0.2]), np.array([1.0, np.inf]))
    for value, reason in (
        (nothing, "no measured example"),
        (empty, "no measured example"),
        (broken, "2 of 3 scores are not finite"),
        (infinite, "infinite target"),
    ):
        assert math.isnan(value)
        assert value.reason == reason


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_is_undefined_for_rank_metrics_only(label):
    p, y = np.array([0.2, 0.7, 0.9]), np.full(3, label)
    for metric in BINARY:
        value = metric(p, y)
        if metric.name in ("log_loss", "brier", "ece", "accuracy"):
            assert math.isfinite(value)
            assert value.reason == ""
        else:
            assert math.isnan(value)
            assert value.reason == f"one class only (all {'positive' if label else 'negative'})"


def test_other_undefined_cases():
    y = np.array([0.0, 1.0, 1.0])
    assert metrics.auroc(y, np.array([0.0, 0.5, 1.0])).reason == "targets other than 0 and 1"
    assert metrics.log_loss(np.array([-3.0, 2.0, 5.0]), y).reason == "scores are not probabilities"
    assert metrics.auroc(np.array([-3.0, 2.0, 5.0]), y) == 1  # any score ranks
    assert metrics.auroc(np.full(3, 0.5), y) == 0.5  # ties throughout are chance, not undefined
    assert metrics.pearson(np.full(3, 0.1), y).reason == "constant scores"
    assert metrics.spearman(y, np.full(3, 0.1)).reason == "constant targets"
    assert metrics.r2(y, np.full(3, 0.1)).reason == "constant targets"
    assert metrics.r2(np.full(3, 2 / 3), y) == pytest.approx(
        0
    )  # constant scores are an answer, and no worse than the mean
    assert metrics.pearson(np.array([1.0]), np.array([2.0])).reason == "one measured example"
    assert metrics.mse(np.array([1e200]), np.array([-1e200])).reason == "values are too large or too small for float64"
    assert metrics.poisson_deviance(np.array([1.0, 2.0]), np.array([1.0, -1.0])).reason == "negative count"
    assert metrics.poisson_deviance(np.array([1.0, -2.0]), np.array([1.0, 1.0])).reason == "negative rate"


def test_certain_and_wrong_costs_a_large_but_finite_log_loss():
    loss = metrics.log_loss(np.array([1.0, 0.0], np.float32), np.array([0.0, 0.0]))
    assert loss == pytest.approx(-math.log(np.finfo(np.float32).eps) / 2, rel=1e-6)


def test_values_are_plain_numbers_elsewhere():
    value = metrics.auroc(np.array([0.1, 0.9]), np.array([0.0, 1.0]))
    assert json.dumps({"auroc": value}) == '{"auroc": 1.0}'
    copy = pickle.loads(pickle.dumps(metrics.auroc(np.array([0.1]), np.array([1.0]))))
    assert math.isnan(copy)
    assert copy.reason.startswith("one class only")


# ------------------------------------------------------------------------------------------------------- whole matrices


def test_matrix_equals_single_tasks_with_reasons():
    predictions, targets, kinds = everything()
    targets[:, 0] = 1
    for t, (kind, values) in enumerate(zip(kinds, measure(predictions, targets, kinds), strict=True)):
        assert set(values) == {m.name for m in METRICS.values() if kind in m.kinds}
        for name, value in values.items():
            alone = METRICS[name](predictions[:, t], targets[:, t])
            np.testing.assert_array_equal(value, alone)
            assert value.reason == alone.reason
    assert measure(predictions, targets, kinds)[0]["auroc"].reason == "one class only (all positive)"


def test_quick_metrics_and_their_summary():
    predictions, targets, kinds = everything()
    quick = quick_metrics(predictions, targets, kinds)
    assert set(quick) == set(QUICK)
    summary = summarise(quick)
    assert summary["auroc"] == metrics.auroc(predictions[:, 0], targets[:, 0])
    expected = np.mean([metrics.mse(predictions[:, t], targets[:, t]) for t in (1, 2)])
    assert summary["mse"] == pytest.approx(expected)
    only_binary = quick_metrics(predictions[:, :1], targets[:, :1], ["binary"])
    assert set(only_binary) == {"auroc", "auprc"}
    nothing = summarise(quick_metrics(predictions[:, :1], np.full_like(targets[:, :1], np.nan), ["binary"]))
    assert all(math.isnan(v) for v in nothing.values())


def test_means_leave_undefined_tasks_out():
    summary = summarise({"auroc": np.array([0.5, np.nan, 0.9])})
    assert summary == {"auroc": pytest.approx(0.7)}


def test_a_large_matrix():
    rng = np.random.default_rng(9)
    n, t = 20_000, 200
    p = rng.random((n, t), dtype=np.float32)
    y = (rng.random((n, t), dtype=np.float32) < p).astype(np.float32)
    result = task_metrics(p, y, ["binary"] * t)
    assert all(v.shape == (t,) and v.dtype == np.float64 for v in result.values())
    np.testing.assert_allclose(result["auroc"], 5 / 6, atol=0.02)  # P(positive above negative) where p is uniform
    np.testing.assert_allclose(result["brier"], 1 / 6, atol=0.01)
    assert (result["ece"] < 0.03).all()


def test_bad_arguments_are_refused_in_one_sentence():
    predictions, targets, kinds = everything()
    with pytest.raises(InputError, match="two vectors of equal length"):
        metrics.auroc(np.zeros(3), np.zeros(4))
    with pytest.raises(InputError, match="of 2 tasks"):
        measure(predictions, targets, kinds[:2])
    with pytest.raises(InputError, match="expected binary, real or count, found ordinal"):
        measure(predictions, targets, ["binary", "real", "ordinal"])
    with pytest.raises(InputError, match="did you mean auroc"):
        measure(predictions, targets, kinds, ["aurok"])
