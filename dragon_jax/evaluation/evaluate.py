"""Everything that is reported about one split of one run, as it stands in `results.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dragon_jax import metrics
from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.evaluation import bootstrap as boot
from dragon_jax.evaluation.confusion import check_rule, choose_on, confusion_on
from dragon_jax.metrics import METRICS, Value
from dragon_jax.ranking import Sample, Undefined

_AGREE = 1e-3  # a raw score is a logit where its sigmoid is as close as this to the probability


def evaluate_predictions(
    predictions: np.ndarray,
    raw: np.ndarray | None,
    targets: np.ndarray,
    tasks: Sequence[Task],
    *,
    thresholds: Mapping[str, float | None] | None = None,
    threshold_rule: str | float = "f1",
    fdr: float = 0.1,
    thresholds_from: str = "valid",
    bootstrap: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Returns what `results.json` holds about one split, ready for JSON: Python numbers, text, None for NaN.

    Args:
        predictions: `[N, T]`; probability (binary), value (real), rate (count).
        raw: `[N, T]`, logit, value, log rate; None where a predictor has none. Only loss and log loss read it.
        targets: `[N, T]`, NaN = not measured.
        tasks: T of them, in the order of the columns.
        thresholds: threshold of each binary task by its name, chosen on another split. A task without one, or with
            None, has its threshold chosen on these very predictions, which flatters the rates that follow.
        threshold_rule, fdr: how to choose, see `choose_threshold`.
        thresholds_from: name of the split that `thresholds` come from.
        bootstrap: resamples for intervals; 0 gives none.
        seed, level: of the intervals.

    Returns:
        `n`: examples. `loss`: unweighted mean of the losses of all tasks that have one.
        `mean`, `median`: over the tasks where a metric is defined. `defined`: how many those are.
        `mean_ci`: intervals of the means, examples resampled for all tasks together (see `mean_intervals`); of a mean
            over one task alone, the interval of that task.
        `per_task`: by name, `kind`; `n` measured examples; for binary tasks `n_positive`, `prevalence`; `loss`
            (logistic, square, or Poisson exp(s) - y s, s the log rate); every metric of its kind and `METRIC_ci` =
            [low, high] (see `task_intervals`); for binary tasks `threshold`, `threshold_from` (a split, `self`, or
            `fixed`) and `confusion` with counts and rates; `undefined`: reason for each None, rates as
            `confusion.RATE`.
        `settings`: what the intervals and thresholds were made with.

    Raises:
        InputError: shapes do not match, or a setting is out of range.
    """
    kinds = [task.kind for task in tasks]
    metrics.check_shapes(predictions, targets, kinds)
    if raw is not None and raw.shape != predictions.shape:
        raise InputError(f"raw scores {raw.shape} beside predictions {predictions.shape}: expected the same shape")
    check_rule(threshold_rule, fdr)
    for name, value in (thresholds or {}).items():
        if value is not None and not math.isfinite(value):
            raise InputError(f"threshold of task {name!r}: expected a finite number or None, found {value}")
    settings: dict[str, Any] = {"n": bootstrap, "seed": seed, "level": level}
    logits = None if raw is None else _known_logits(predictions, raw, targets, kinds)
    per_task = metrics.measure(predictions, targets, kinds, logits=logits)
    intervals = boot.task_intervals(predictions, targets, kinds, **settings, logits=logits)

    def table(t: int) -> dict[str, Any]:
        scores, seen = predictions[:, t], targets[:, t]
        sample = Sample(scores, seen, None if logits is None else logits[:, t])
        result: dict[str, Any] = {"kind": kinds[t], "n": len(sample)}
        values: dict[str, Value] = {"loss": _loss(sample, kinds[t], None if raw is None else Sample(raw[:, t], seen))}
        values |= per_task[t]
        if kinds[t] == "binary":
            result |= _classes(sample)
        for name, value in values.items():
            result[name] = value
            if name in intervals[t]:
                result[f"{name}_ci"] = list(intervals[t][name])
        undefined = {name: value.reason for name, value in values.items() if value.reason}
        if kinds[t] == "binary":
            given = (thresholds or {}).get(tasks[t].name)
            threshold, origin = _threshold(sample, given, threshold_rule, fdr, thresholds_from)
            rates = {} if threshold.reason else confusion_on(sample, threshold)
            result |= {"threshold": threshold, "threshold_from": origin, "confusion": rates}
            if threshold.reason:
                undefined["threshold"] = threshold.reason
            if not rates:
                undefined["confusion"] = threshold.reason or sample.problem or "targets other than 0 and 1"
            undefined |= {f"confusion.{k}": v.reason for k, v in rates.items() if isinstance(v, Value) and v.reason}
        return result | {"undefined": undefined}

    tables = metrics.in_threads(table, range(len(tasks)))
    columns = metrics.by_metric(per_task)
    means = {}
    if bootstrap and len(tasks) > 1:
        means = boot.mean_intervals(predictions, targets, kinds, **settings, logits=logits)
    for name, values in columns.items():
        defined = np.flatnonzero(~np.isnan(values))
        if len(defined) == 1 and name in intervals[defined[0]]:
            means[name] = intervals[defined[0]][name]  # one number, one interval: not that of other draws
    result = {
        "n": len(targets),
        "loss": _over_tasks([t["loss"] for t in tables], np.mean),
        "mean": {name: _over_tasks(v, np.mean) for name, v in columns.items()},
        "mean_ci": {name: list(ends) for name, ends in means.items()},
        "median": {name: _over_tasks(v, np.median) for name, v in columns.items()},
        "defined": {name: int(np.count_nonzero(~np.isnan(v))) for name, v in columns.items()},
        "per_task": {task.name: t for task, t in zip(tasks, tables, strict=True)},
        "settings": {
            "bootstrap": bootstrap,
            "seed": seed,
            "level": level,
            "threshold_rule": threshold_rule,
            **({"fdr": fdr} if threshold_rule == "fdr" else {}),
        },
    }
    return json_ready(result)


def chosen_thresholds(results: Mapping[str, Any]) -> dict[str, float | None]:
    """Returns the threshold of each binary task from what `evaluate_predictions` gave, to be used on another split."""
    return {name: task["threshold"] for name, task in results["per_task"].items() if "threshold" in task}


def json_ready(value: Any) -> Any:
    """Returns dicts, lists and numbers as plain Python objects; whatever is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(k): json_ready(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [json_ready(v) for v in value]
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(value) if math.isfinite(value) else None


def _classes(sample: Sample) -> dict[str, Any]:
    """What targets alone tell; None where they are no classes or nothing is measured."""
    try:
        positive = sample.n_positive
    except Undefined:
        return {"n_positive": None, "prevalence": None}
    return {"n_positive": positive, "prevalence": positive / len(sample) if len(sample) else None}


def _threshold(
    sample: Sample, given: float | None, rule: str | float, fdr: float, given_from: str
) -> tuple[Value, str]:
    """The threshold of a task and where it comes from."""
    if given is not None:
        return Value(given), given_from
    if not isinstance(rule, str):
        return Value(rule), "fixed"
    return choose_on(sample, rule, fdr), "self"


def _loss(sample: Sample, kind: str, raw: Sample | None) -> Value:
    """Mean loss of a measured example, unweighted, real values in their own units.

    Raw scores tell apart what float32 has rounded to a rate of 0. They are believed only where the predictions say the
    same; so are logits (see `_known_logits`).
    """
    if kind == "real":
        return METRICS["mse"].of(sample)
    if kind == "binary":
        return METRICS["log_loss"].of(sample)
    if sample.problem:
        return Value(np.nan, sample.problem)
    logs = None if raw is None or raw.problem else raw.scores.astype(np.float64)
    y = sample.targets.astype(np.float64)
    with np.errstate(over="ignore"):
        if logs is None or not np.allclose(np.exp(logs), sample.scores, rtol=_AGREE, atol=_AGREE):
            if sample.scores.min() <= 0:
                return Value(np.nan, "rate of 0 or less, and no log rate")
            logs = np.log(sample.scores.astype(np.float64))
        value = float((np.exp(logs) - y * logs).mean())
    return Value(value) if np.isfinite(value) else Value(np.nan, "rates are too large for float64")


def _known_logits(predictions: np.ndarray, raw: np.ndarray, targets: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """Returns the raw scores `[N, T]` of binary tasks that are logits; the columns of all other tasks are NaN.

    The decision value of a baseline need be no logit, so raw scores are believed only where their sigmoid is the
    probability, on every measured example.
    """
    logits = np.full(raw.shape, np.nan, raw.dtype)
    for t, kind in enumerate(kinds):
        seen = ~np.isnan(targets[:, t])
        z = raw[seen, t].astype(np.float64)
        if kind == "binary" and np.isfinite(z).all():
            gaps = np.abs(np.exp(-np.logaddexp(0, -z)) - predictions[seen, t])
            if (gaps <= _AGREE).all():
                logits[:, t] = raw[:, t]
    return logits


def _over_tasks(values: Any, statistic: Any) -> float:
    """Mean or median over tasks of the values that are defined, NaN where there is none."""
    values = np.asarray(values, np.float64)
    defined = values[~np.isnan(values)]
    return float(statistic(defined)) if len(defined) else math.nan
