"""One split of a run: each task by itself when they are few, else their spread and the worst and best of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dragon_jax.evaluation.calibration import reliability
from dragon_jax.evaluation.curves import precision_recall_curve, roc_curve
from dragon_jax.metrics import in_threads
from dragon_jax.ranking import Sample, Undefined
from dragon_jax.reports import many, plots
from dragon_jax.reports.confusion import confusion_table, threshold_rule
from dragon_jax.reports.read import Predictions, Run, interval, number, per_task, section
from dragon_jax.reports.style import grid, note
from dragon_jax.reports.svg import escape
from dragon_jax.reports.tables import label, write_interval, write_number

FEW = 6  # up to so many tasks are shown one by one
_BY_KIND = {"binary": ("auroc", "auprc"), "real": ("pearson", "spearman"), "count": ("pearson", "spearman")}


def split_section(run: Run, split: str, tasks: Mapping[str, str]) -> str:
    """Returns all figures of one split as HTML.

    Args:
        tasks: kind of every task of the run by its name.
    """
    results, saved = run.results.get(split, {}), run.predictions(split)
    found, rule = per_task(results), threshold_rule(section(results, "settings"))
    parts = []
    if not found:
        parts.append(note(f"No results for {split}: it was predicted but not evaluated."))
    if saved is None:
        parts.append(note(f"No predictions of {split} are saved (evaluate.predictions), so it has no curves."))

    def detail(task: str) -> str:
        return task_detail(task, tasks[task], found.get(task, {}), saved, split, rule)

    here = [t for t in tasks if t in found or (saved is not None and t in saved.tasks)]
    if len(here) <= FEW:
        return "".join([*parts, *(f"<h3>{escape(t)}</h3>{detail(t)}" for t in here)])
    for kind, shown in _BY_KIND.items():
        chosen = {t: found.get(t, {}) for t in here if tasks[t] == kind}
        if not chosen:
            continue
        figures = _spread(saved, list(chosen)) if kind == "binary" and saved is not None else []
        figures += [many.ranked(chosen, metric) for metric in shown]
        if kind == "binary":
            figures.append(many.against_prevalence(chosen))
        parts.append(f"<h3>{len(chosen):,} {kind} task{'s' * (len(chosen) > 1)}</h3>{grid(figures)}")
        worst, best = many.extremes(chosen, shown[0])
        for title, names in (("Worst", worst), ("Best", [t for t in best if t not in worst])):
            for task in names:
                value = f"{label(shown[0])} {write_number(number(chosen[task].get(shown[0])))}"
                parts.append(f"<details><summary>{title}: {escape(task)}, {value}</summary>{detail(task)}</details>")
    return "".join(parts)


def task_detail(
    task: str, kind: str, result: Mapping[str, Any], saved: Predictions | None, split: str, rule: str
) -> str:
    """Returns everything about one task on one split as HTML.

    Args:
        result: its entry of results.json; empty when there is none.
        rule: how thresholds were chosen, from `threshold_rule`.
    """
    parts = [_numbers(kind, result)]
    reasons = {k: str(v) for k, v in section(result, "undefined").items() if not k.startswith("confusion.")}
    if reasons:
        names = ", ".join(map(label, reasons))
        parts.append(note(f"Not defined here: {names}. Reason: {'; '.join(sorted(set(reasons.values())))}."))
    figures: list[str] = []
    if saved is not None and task in saved.tasks:
        sample = Sample(*saved.columns(task))
        if sample.problem:
            parts.append(note(f"No figures: {sample.problem}."))
        elif kind == "binary":
            figures, missing = _of_classes(sample, result)
            parts.append(missing)
        else:
            figures = [plots.measured_against_predicted(sample, kind), plots.residuals(sample)]
    elif saved is not None:
        parts.append(note(f"No figures: the saved predictions of {split} do not hold this task."))
    if kind == "binary":
        table = confusion_table(result, split, rule)
        figures = [*figures, f'<div class="broad">{table}</div>'] if figures else figures
        parts.append("" if figures else table)
    return "".join(parts) + grid(figures)


def _numbers(kind: str, result: Mapping[str, Any]) -> str:
    """The main numbers in one line."""
    parts = []
    for metric in ("auroc", "auprc", "loss") if kind == "binary" else ("pearson", "spearman", "r2", "loss"):
        value = number(result.get(metric))
        if math.isfinite(value):
            text = write_interval(*interval(result, metric))
            ends = f' <span class="ci">{text}</span>' if text else ""
            parts.append(f"{label(metric)} <b>{write_number(value)}</b>{ends}")
    n, positive = number(result.get("n")), number(result.get("n_positive"))
    if math.isfinite(n):
        share = f" (prevalence {write_number(positive / n)})" if n else ""
        parts.append(f"{n:,.0f} measured" + (f", {positive:,.0f} positive{share}" if math.isfinite(positive) else ""))
    return f"<p>{'; '.join(parts)}.</p>" if parts else ""


def _of_classes(sample: Sample, result: Mapping[str, Any]) -> tuple[list[str], str]:
    """The figures of a binary task, and in words which are missing."""
    scores, targets = sample.scores, sample.targets
    try:
        sample.need_both_classes()
    except Undefined as e:
        return [], note(f"No curves: {e}.")
    found, threshold = section(result, "confusion"), number(result.get("threshold"))
    fpr, sensitivity, precision = (number(found.get(k)) for k in ("fpr", "sensitivity", "precision"))
    figures = [
        plots.roc(roc_curve(scores, targets), (fpr, sensitivity)),
        plots.precision_recall(precision_recall_curve(scores, targets), (sensitivity, precision)),
    ]
    bins = reliability(scores, targets)
    if bins.error.reason:
        return figures, note(f"No calibration: {bins.error.reason}.")
    return [*figures, plots.calibration(bins), plots.scores_by_class(sample, threshold)], ""


def _spread(saved: Predictions, tasks: list[str]) -> list[str]:
    """ROC and precision-recall over the tasks that have both classes."""
    names = [t for t in tasks if t in saved.tasks]

    def both(task: str):
        columns = saved.columns(task)
        return roc_curve(*columns), precision_recall_curve(*columns)

    drawn = zip(names, in_threads(both, names), strict=True)
    curves = {t: c for t, c in drawn if len(c[0].x)}
    if len(curves) < 2:
        return []
    order = sorted(curves, key=lambda t: float(curves[t][0].area))
    return many.spread(curves, order[0], order[-1])
