"""Resamples have the metrics of the examples that they repeat, and intervals cover what they should."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from dragon_jax.errors import InputError
from dragon_jax.evaluation import mean_intervals, paired_difference, task_intervals
from dragon_jax.evaluation.bootstrap import INTERVALS, percentile_interval
from dragon_jax.evaluation.resampling import BinaryResampler, RealResampler, draw
from dragon_jax.metrics import METRICS, auroc, pearson, task_metrics
from dragon_jax.ranking import Sample

BINARY = [name for name, m in METRICS.items() if "binary" in m.kinds]
REAL = [name for name, m in METRICS.items() if "count" in m.kinds]


def binary_data(n: int, prevalence: float = 0.3, levels: int | None = None, seed: int = 0, shift: float = 1.5):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < prevalence).astype(np.float32)
    y[:2] = [0, 1]
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + shift * y - 1)))
    return (np.round(p * levels) / levels if levels else p).astype(np.float32), y


def count_data(n: int, ties: bool, seed: int = 0):
    rng = np.random.default_rng(seed)
    rate = rng.gamma(2.0, 2.0, n) + 0.1
    y = rng.poisson(rate).astype(np.float32)
    return (np.ceil(rate) if ties else rate).astype(np.float32), y


def delong_variance(p: np.ndarray, y: np.ndarray) -> float:
    """Variance of the auROC after DeLong, DeLong and Clarke-Pearson (1988)."""
    positive, negative = p[y == 1].astype(np.float64), p[y == 0].astype(np.float64)
    above = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    return above.mean(1).var(ddof=1) / len(positive) + above.mean(0).var(ddof=1) / len(negative)


@pytest.mark.parametrize("levels", [None, 20, 2])
def test_binary_resamples_equal_repeated_examples(levels):
    p, y = binary_data(60, levels=levels)
    of = BinaryResampler(Sample(p, y), BINARY)
    assert of.names == BINARY
    rng = np.random.default_rng(1)
    weights = draw(rng, 20, len(y))
    assert (weights.sum(1) == len(y)).all()
    weights[0, y == 1] = 0  # a resample without positives
    weights[1, y == 0] = 0  # and one without negatives
    both = of.of_classes(weights[:, y == 0], weights[:, y == 1])
    for name, values in of.weighted(weights).items():
        np.testing.assert_array_equal(values, both[name])
        for w, value in zip(weights, values, strict=True):
            expected = METRICS[name](np.repeat(p, w), np.repeat(y, w))
            np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("ties", [False, True])
def test_real_resamples_equal_repeated_examples(ties):
    s, y = count_data(60, ties)
    of = RealResampler(Sample(s, y), REAL)
    assert of.names == REAL
    once = np.eye(len(y), dtype=np.int64)
    # 60 times the same example, and examples with one score but several targets
    level = (s[:, None] == np.unique(s)).T.astype(np.int64)
    weights = np.concatenate([draw(np.random.default_rng(1), 20, len(y)), 60 * once, level])
    for name, values in of.weighted(weights).items():
        for w, value in zip(weights, values, strict=True):
            expected = METRICS[name](np.repeat(s, w), np.repeat(y, w))
            np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12, err_msg=name)


def test_stratified_resamples_keep_the_classes():
    p, _ = binary_data(50)
    y = np.zeros(50, np.float32)
    y[[5, 20]] = 1  # one plain resample in eight would hold no positive
    values = BinaryResampler(Sample(p, y), BINARY).stratified(np.random.default_rng(0), 300)
    assert all(len(v) == 300 and np.isfinite(v).all() for v in values.values())
    # resampling pairs (positive, negative) is unbiased for the auROC
    assert values["auroc"].mean() == pytest.approx(auroc(p, y), abs=4 * values["auroc"].std() / math.sqrt(300))


@pytest.mark.parametrize("levels", [None, 10])
def test_spread_of_auroc_agrees_with_delong(levels):
    p, y = binary_data(400, levels=levels, seed=3)
    values = BinaryResampler(Sample(p, y), ["auroc"]).stratified(np.random.default_rng(0), 2000)["auroc"]
    assert values.std() == pytest.approx(math.sqrt(delong_variance(p, y)), rel=0.1)


def test_intervals_of_auroc_and_pearson_cover_the_truth():
    rng = np.random.default_rng(4)
    n, sets = 120, 300
    y = np.zeros((n, sets), np.float32)
    y[: n // 2] = 1
    scores = rng.normal(size=(n, sets)) + y
    truth = scipy.stats.norm.cdf(1 / math.sqrt(2))
    found = [i["auroc"] for i in task_intervals(scores, y, ["binary"] * sets, names=["auroc"], n=300)]
    covered = np.mean([low <= truth <= high for low, high in found])
    assert 0.90 <= covered <= 0.98
    x = rng.normal(size=(n, sets))
    z = 0.6 * x + 0.8 * rng.normal(size=(n, sets))
    found = [i["pearson"] for i in task_intervals(x, z, ["real"] * sets, names=["pearson"], n=300)]
    assert 0.90 <= np.mean([low <= 0.6 <= high for low, high in found]) <= 0.98


def test_level_sets_the_width_and_the_seed_decides_all():
    p, y = binary_data(300)
    p, y = np.stack([p, p[::-1]], 1), np.stack([y, y[::-1]], 1)
    kinds = ["binary"] * 2
    first, again = (task_intervals(p, y, kinds, n=100, seed=5) for _ in range(2))
    assert first == again
    assert first != task_intervals(p, y, kinds, n=100, seed=6)
    assert mean_intervals(p, y, kinds, n=50, seed=5) == mean_intervals(p, y, kinds, n=50, seed=5)
    narrow = task_intervals(p, y, kinds, n=100, seed=5, level=0.5)
    for task, inner in zip(first, narrow, strict=True):
        assert set(task) == set(INTERVALS) & set(BINARY)
        for name in task:
            assert task[name].low <= inner[name].low <= inner[name].high <= task[name].high


def test_tasks_that_cannot_be_resampled_have_no_interval():
    p, y = binary_data(30)
    targets = np.stack([y, np.ones(30), np.full(30, np.nan), y], 1).astype(np.float32)
    predictions = np.stack([p, p, p, np.where(y > 0, np.nan, p)], 1)
    kinds = ["binary"] * 4
    found = task_intervals(predictions, targets, kinds, n=20)
    assert [bool(f) for f in found] == [True, False, False, False]
    assert task_intervals(predictions, targets, kinds, n=0) == [{}] * 4
    assert "auroc" in mean_intervals(predictions, targets, kinds, n=20)
    assert mean_intervals(predictions[:, 1:], targets[:, 1:], kinds[1:], n=20) == {}
    assert mean_intervals(predictions[:0], targets[:0], kinds, n=20) == {}


def test_undefined_metrics_are_left_out_of_intervals():
    p, y = binary_data(40)
    found = task_intervals(10 * p[:, None], y[:, None], ["binary"], n=20)[0]
    assert "auroc" in found
    assert "log_loss" not in found


def test_missing_rows_change_no_interval():
    p, y = binary_data(100)
    extra = np.full(20, np.nan, np.float32)
    p2, y2 = np.concatenate([extra, p])[:, None], np.concatenate([extra, y])[:, None]
    assert task_intervals(p2, y2, ["binary"], n=50) == task_intervals(p[:, None], y[:, None], ["binary"], n=50)


def test_interval_of_a_mean_knows_what_tasks_share():
    rng = np.random.default_rng(7)
    n, t = 300, 8
    y = (rng.random((n, 1)) < 0.5).astype(np.float32)
    same = np.repeat(rng.normal(size=(n, 1)) + y, t, 1)
    other = rng.normal(size=(n, t)) + y
    kinds = ["binary"] * t
    labels = np.repeat(y, t, 1)
    shared = mean_intervals(same, labels, kinds, names=["auroc"], n=300)["auroc"]
    apart = mean_intervals(other, labels, kinds, names=["auroc"], n=300)["auroc"]
    single = task_intervals(same[:, :1], labels[:, :1], kinds[:1], names=["auroc"], n=300)[0]["auroc"]
    assert shared.high - shared.low == pytest.approx(single.high - single.low, rel=0.3)
    assert apart.high - apart.low < 0.6 * (shared.high - shared.low)
    mean = task_metrics(other, labels, kinds, ["auroc"])["auroc"].mean()
    assert apart.low < mean < apart.high


def test_means_take_missing_targets_task_by_task():
    p, y = binary_data(200)
    targets = np.stack([y, y], 1)
    targets[:100, 1] = np.nan
    predictions = np.stack([p, p], 1)
    found = mean_intervals(predictions, targets, ["binary", "binary"], names=["auroc"], n=200)["auroc"]
    mean = task_metrics(predictions, targets, ["binary", "binary"], ["auroc"])["auroc"].mean()
    assert found.low < mean < found.high
    # Two rows, drawn (2, 0), (1, 1) or (0, 2) times. Errors of row 1 alone and of both: means 0, 3/4 and 1 where the
    # first task has no value on the first of these.
    two = np.array([[np.nan, 0], [1, 1]], np.float32)
    found = mean_intervals(np.zeros((2, 2), np.float32), two, ["real", "real"], names=["mse"], n=100, level=0.9)["mse"]
    assert found == (0, 1)


def test_percentiles_of_what_is_defined():
    values = np.append(np.arange(101.0), [np.nan] * 50)
    assert percentile_interval(values, 0.9) == (pytest.approx(5), pytest.approx(95))
    assert all(math.isnan(v) for v in percentile_interval(np.append(values, [np.nan] * 60), 0.9))
    assert all(math.isnan(v) for v in percentile_interval(np.empty(0), 0.9))


# ---------------------------------------------------------------------------------------------- paired differences


@pytest.mark.parametrize("name", METRICS)
def test_a_predictor_does_not_differ_from_itself(name):
    a, y = binary_data(80) if name in BINARY else count_data(80, False)
    result = paired_difference(a, a, y, name, n=50)
    assert result == (0, 0, 0, 1, "")


@pytest.mark.parametrize("name", METRICS)
def test_differences_are_antisymmetric(name):
    a, y = binary_data(80, levels=30) if name in BINARY else count_data(80, True)
    b = np.clip(a[::-1] * np.float32(0.5) + a * np.float32(0.5), 0, None)
    forth, back = paired_difference(a, b, y, name, n=80), paired_difference(b, a, y, name, n=80)
    assert forth.difference == pytest.approx(METRICS[name](a, y) - METRICS[name](b, y), abs=1e-12)
    assert (back.low, back.high) == (pytest.approx(-forth.high), pytest.approx(-forth.low))
    assert back.share == forth.share
    assert forth.low <= forth.high


def test_pairing_finds_a_difference_that_separate_intervals_hide():
    rng = np.random.default_rng(8)
    y = (rng.random(600) < 0.5).astype(np.float32)
    hard = rng.normal(size=600)
    a, b = hard + 1.2 * y, hard + 1.0 * y
    result = paired_difference(a, b, y, "auroc", n=400)
    assert result.low > 0
    assert result.share == pytest.approx(2 / 401)
    apart = task_intervals(np.stack([a, b], 1), np.stack([y, y], 1), ["binary"] * 2, names=["auroc"])
    assert apart[0]["auroc"].low < apart[1]["auroc"].high


def test_intervals_of_differences_cover_no_difference():
    rng = np.random.default_rng(9)
    inside, shares = 0, []
    for seed in range(200):
        y = rng.normal(size=80)
        a, b = y + rng.normal(size=80), y + rng.normal(size=80)
        result = paired_difference(a, b, y, "pearson", n=200, seed=seed)
        assert result.difference == pytest.approx(pearson(a, y) - pearson(b, y))
        inside += result.low <= 0 <= result.high
        shares.append(result.share)
    assert 0.88 <= inside / 200 <= 0.99
    assert 0.35 < np.mean(shares) < 0.65  # uniform under no difference, or nearly


def test_undefined_differences_say_why():
    p, y = binary_data(30)
    broken = p.copy()
    broken[3] = np.nan
    result = paired_difference(p, broken, y, "auroc", n=20)
    assert math.isnan(result.difference)
    assert result.reason == "b: 1 of 30 scores are not finite"
    one = paired_difference(p, 1 - p, np.ones(30), "brier", n=20)
    assert math.isfinite(one.difference)
    assert math.isnan(one.low)
    assert one.reason == "no interval: one class only (all positive)"
    none = paired_difference(p, 1 - p, y, "auroc", n=0)
    assert math.isfinite(none.difference)
    assert math.isnan(none.low)


def test_bad_settings_are_refused():
    p, y = binary_data(30)
    for change, message in (
        ({"n": -1}, "n >= 0"),
        ({"seed": -1}, "seed >= 0"),
        ({"level": 95.0}, "0 < level < 1, found 95"),
        ({"names": ["auprk"]}, "did you mean auprc"),
    ):
        with pytest.raises(InputError, match=message):
            task_intervals(p[:, None], y[:, None], ["binary"], **change)
    with pytest.raises(InputError, match="equal length"):
        paired_difference(p, p[:-1], y, "auroc")
