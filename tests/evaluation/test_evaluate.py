"""The table of one split holds what results.json promises, and only numbers that JSON can hold."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import sklearn.metrics as sk

from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.evaluation import chosen_thresholds, confusion, evaluate_predictions
from dragon_jax.evaluation.confusion import COUNTS, RATES
from dragon_jax.metrics import METRICS

TASKS = (Task("CTCF"), Task("REST"), Task("activity", "real"), Task("reads", "count"))


def split(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, raw scores and targets of four tasks, a fifth of the targets missing."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 2)) < 0.3).astype(np.float32)
    real = rng.normal(size=(n, 1))
    logits = rng.normal(size=(n, 2)) + 2 * labels - 1
    log_rate = rng.normal(size=(n, 1))
    raw = np.concatenate([logits, real + rng.normal(size=(n, 1)), log_rate], 1)
    predictions = np.concatenate([1 / (1 + np.exp(-logits)), raw[:, 2:3], np.exp(log_rate)], 1)
    targets = np.concatenate([labels, real, rng.poisson(np.exp(log_rate))], 1)
    targets[rng.random(targets.shape) < 0.2] = np.nan
    return predictions.astype(np.float32), raw.astype(np.float32), targets.astype(np.float32)


def test_the_table_holds_every_number_and_survives_json():
    predictions, raw, targets = split()
    result = evaluate_predictions(predictions, raw, targets, TASKS, bootstrap=50)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert set(result) == {"n", "loss", "mean", "mean_ci", "median", "defined", "per_task", "settings"}
    assert result["n"] == 200
    assert list(result["per_task"]) == [t.name for t in TASKS]
    for t, task in enumerate(TASKS):
        found, seen = result["per_task"][task.name], ~np.isnan(targets[:, t])
        assert found["kind"] == task.kind
        assert found["n"] == seen.sum()
        assert found["undefined"] == {}
        for metric in METRICS.values():
            if task.kind not in metric.kinds:
                assert metric.name not in found
                continue
            alone = metric(predictions[:, t], targets[:, t])  # log_loss comes from the logits instead
            assert found[metric.name] == (pytest.approx(alone, rel=1e-6) if metric.name == "log_loss" else alone)
            if metric.name == "ece":
                assert "ece_ci" not in found
            else:
                low, high = found[f"{metric.name}_ci"]
                assert low <= found[metric.name] <= high
        if task.kind == "binary":
            assert found["n_positive"] == np.nansum(targets[:, t])
            assert found["prevalence"] == pytest.approx(np.nanmean(targets[:, t]))
            assert found["threshold_from"] == "self"
            assert set(found["confusion"]) == {*COUNTS, *RATES}
            expected = confusion(predictions[:, t], targets[:, t], found["threshold"])
            assert found["confusion"] == {k: pytest.approx(v) for k, v in expected.items()}
        else:
            assert "threshold" not in found
    assert result["settings"] == {"bootstrap": 50, "seed": 0, "level": 0.95, "threshold_rule": "f1"}


def test_summaries_are_over_tasks_where_a_metric_is_defined():
    predictions, raw, targets = split()
    targets[:, 1] = np.where(np.isnan(targets[:, 1]), np.nan, 0)
    result = evaluate_predictions(predictions, raw, targets, TASKS, bootstrap=50)
    rest = result["per_task"]["REST"]
    assert rest["auroc"] is None
    assert rest["undefined"]["auroc"] == "one class only (all negative)"
    assert rest["undefined"]["threshold"] == "one class only (all negative)"
    assert rest["threshold"] is None
    assert rest["confusion"] == {}
    assert rest["prevalence"] == 0
    assert result["defined"]["auroc"] == 1
    assert result["defined"]["brier"] == result["defined"]["mse"] == 2
    assert result["mean"]["auroc"] == result["per_task"]["CTCF"]["auroc"]
    two = [result["per_task"][name]["pearson"] for name in ("activity", "reads")]
    assert result["mean"]["pearson"] == pytest.approx(np.mean(two))
    assert result["median"]["pearson"] == pytest.approx(np.median(two))
    low, high = result["mean_ci"]["pearson"]
    assert low < result["mean"]["pearson"] < high


def test_the_mean_over_one_task_has_the_interval_of_that_task():
    predictions, raw, targets = split()
    one = evaluate_predictions(predictions[:, :1], raw[:, :1], targets[:, :1], TASKS[:1], bootstrap=30)
    targets = targets.copy()
    targets[:, [t for t, task in enumerate(TASKS) if t and task.kind == "binary"]] = np.nan
    several = evaluate_predictions(predictions, raw, targets, TASKS, bootstrap=30)  # auroc of one alone is defined
    for result in (one, several):
        assert result["defined"]["auroc"] == 1
        assert result["mean_ci"]["auroc"] == result["per_task"]["CTCF"]["auroc_ci"]
    task = one["per_task"]["CTCF"]
    assert {f"{name}_ci": ends for name, ends in one["mean_ci"].items()} == {
        k: v for k, v in task.items() if k.endswith("_ci")
    }


def test_a_metric_that_no_task_defines_is_null_and_counted_zero():
    predictions, _, targets = split()
    targets[:, 0] = np.nan
    result = evaluate_predictions(predictions[:, :1], None, targets[:, :1], TASKS[:1], bootstrap=20)
    task = result["per_task"]["CTCF"]
    assert result["mean"]["auroc"] is result["median"]["auroc"] is result["loss"] is None
    assert result["defined"]["auroc"] == 0
    assert result["mean_ci"] == {}
    assert (task["n"], task["n_positive"], task["prevalence"]) == (0, 0, None)
    assert task["undefined"]["loss"] == task["undefined"]["confusion"] == "no measured example"
    json.dumps(result, allow_nan=False)


def test_broken_scores_are_undefined_throughout():
    predictions, raw, targets = split()
    predictions[:, 0] = np.nan
    result = evaluate_predictions(predictions, raw, targets, TASKS, thresholds={"CTCF": 0.5}, bootstrap=20)
    task = result["per_task"]["CTCF"]
    assert all(task[m] is None for m in METRICS if "binary" in METRICS[m].kinds)
    assert "scores are not finite" in task["undefined"]["confusion"]
    assert task["n_positive"] > 0  # targets can be counted all the same
    json.dumps(result, allow_nan=False)


def test_thresholds_of_valid_are_used_on_test():
    valid = evaluate_predictions(*split(seed=1), TASKS, bootstrap=0)
    chosen = chosen_thresholds(valid)
    assert set(chosen) == {"CTCF", "REST"}
    predictions, raw, targets = split(seed=2)
    test = evaluate_predictions(predictions, raw, targets, TASKS, thresholds=chosen, bootstrap=0)
    for t, name in enumerate(chosen):
        task = test["per_task"][name]
        assert task["threshold"] == chosen[name]
        assert task["threshold_from"] == "valid"
        assert task["confusion"]["tp"] == confusion(predictions[:, t], targets[:, t], chosen[name])["tp"]
        assert "auroc_ci" not in task
    partly = evaluate_predictions(
        predictions, raw, targets, TASKS, thresholds={"REST": None, "CTCF": 0.25}, thresholds_from="other", bootstrap=0
    )
    assert [partly["per_task"][name]["threshold_from"] for name in ("CTCF", "REST")] == ["other", "self"]


def test_rules_reach_the_choice():
    predictions, raw, targets = split()
    fixed = evaluate_predictions(predictions, raw, targets, TASKS, threshold_rule=0.5, bootstrap=0)
    assert fixed["per_task"]["CTCF"]["threshold"] == 0.5
    assert fixed["per_task"]["CTCF"]["threshold_from"] == "fixed"
    strict = evaluate_predictions(predictions, raw, targets, TASKS, threshold_rule="fdr", fdr=0.2, bootstrap=0)
    assert strict["per_task"]["CTCF"]["confusion"]["fdr"] <= 0.2
    assert strict["per_task"]["CTCF"]["confusion"]["sensitivity"] == strict["per_task"]["CTCF"]["recall_at_fdr20"]
    assert strict["settings"]["fdr"] == 0.2
    nothing = evaluate_predictions(
        1 - predictions, None, targets, TASKS[:4], threshold_rule="fdr", bootstrap=0, fdr=0.01
    )
    assert nothing["per_task"]["CTCF"]["confusion"]["precision"] is None
    assert nothing["per_task"]["CTCF"]["undefined"]["confusion.precision"] == "nothing is called positive"


def test_losses_come_from_raw_scores_where_these_are_logits():
    predictions, raw, targets = split()
    seen = ~np.isnan(targets)
    result = evaluate_predictions(predictions, raw, targets, TASKS, bootstrap=0)
    losses = [result["per_task"][t.name]["loss"] for t in TASKS]
    assert losses[0] == pytest.approx(
        sk.log_loss(targets[seen[:, 0], 0], predictions[seen[:, 0], 0].astype(float)), rel=1e-5
    )
    assert losses[2] == result["per_task"]["activity"]["mse"]
    z, y = raw[seen[:, 3], 3].astype(float), targets[seen[:, 3], 3]
    assert losses[3] == pytest.approx((np.exp(z) - y * z).mean())
    assert result["loss"] == pytest.approx(np.mean(losses))
    # float32 rounds the sigmoid of 30 to 1; the logit still tells how wrong that was
    far = np.full((2, 1), 30, np.float32)
    wrong = evaluate_predictions(
        np.ones((2, 1), np.float32), far, np.array([[0], [1]], np.float32), TASKS[:1], bootstrap=0
    )
    assert wrong["loss"] == pytest.approx(15)
    assert wrong["per_task"]["CTCF"]["log_loss"] == wrong["mean"]["log_loss"] == wrong["loss"]
    alone = evaluate_predictions(
        np.ones((2, 1), np.float32), None, np.array([[0], [1]], np.float32), TASKS[:1], bootstrap=0
    )
    assert alone["loss"] == pytest.approx(-math.log(np.finfo(np.float32).eps) / 2, rel=1e-5)  # no logits: clipped


def test_log_loss_of_extreme_logits_is_exact_and_inside_its_interval():
    rng = np.random.default_rng(0)
    logits = np.concatenate([rng.normal(size=60), [-100, -60, 60, 100, -100, 100]]).astype(np.float32)[:, None]
    targets = np.concatenate([np.tile([0.0, 1.0], 30), [0, 0, 1, 1, 1, 0]]).astype(np.float32)[:, None]
    targets[3] = np.nan
    probabilities = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    z, y = (x[~np.isnan(targets[:, 0]), 0].astype(np.longdouble) for x in (logits, targets))
    expected = float(np.log1p(np.exp(np.where(y == 1, -z, z))).mean())  # long doubles hold exp(100) + 1 well enough
    result = evaluate_predictions(probabilities, logits, targets, TASKS[:1], bootstrap=100)
    task = result["per_task"]["CTCF"]
    assert task["log_loss"] == task["loss"] == pytest.approx(expected, rel=1e-12)
    assert expected > 200 / 65  # two examples cost 100 each, which clipping would have made 16
    for low, high in (task["log_loss_ci"], result["mean_ci"]["log_loss"]):
        assert low < expected < high
    certain = np.full((4, 1), 1000, np.float32) * np.array([[1], [1], [-1], [-1]], np.float32)
    right = evaluate_predictions((certain > 0).astype(np.float32), certain, (certain > 0).astype(np.float32), TASKS[:1])
    assert right["per_task"]["CTCF"]["log_loss"] == 0


def test_decision_values_are_no_logits():
    predictions, raw, targets = split()
    result = evaluate_predictions(predictions, raw * 5, targets, TASKS, bootstrap=0)["per_task"]
    assert result["CTCF"]["loss"] == result["CTCF"]["log_loss"]
    plain = evaluate_predictions(predictions, None, targets, TASKS, bootstrap=0)["per_task"]
    assert result["reads"]["loss"] == plain["reads"]["loss"]
    scores = evaluate_predictions(raw, raw, targets, TASKS, bootstrap=0)["per_task"]
    assert scores["CTCF"]["loss"] is None
    assert scores["CTCF"]["undefined"]["loss"] == "scores are not probabilities"
    assert scores["CTCF"]["auroc"] == pytest.approx(plain["CTCF"]["auroc"], abs=1e-3)
    assert "rate" in scores["reads"]["undefined"]["loss"]


def test_bad_arguments_are_refused():
    predictions, raw, targets = split()
    for change, message in (
        ({"raw": raw[:-1]}, "raw scores"),
        ({"targets": targets[:, :2]}, "expected .N, T. twice"),
        ({"threshold_rule": "best"}, "expected f1, youden, fdr or a number"),
        ({"thresholds": {"CTCF": math.nan}}, "threshold of task 'CTCF'"),
        ({"level": 1.0}, "0 < level < 1"),
        ({"bootstrap": -1}, "n >= 0"),
    ):
        arguments = {"predictions": predictions, "raw": raw, "targets": targets, "tasks": TASKS} | change
        with pytest.raises(InputError, match=message):
            evaluate_predictions(**arguments)
