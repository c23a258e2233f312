"""Figures over many tasks: ranked values with intervals, auPRC against prevalence, the spread of ROC and PR curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon_jax.evaluation.curves import Curve
from dragon_jax.metrics import METRICS
from dragon_jax.reports.plots import steps
from dragon_jax.reports.read import interval, number
from dragon_jax.reports.style import figure
from dragon_jax.reports.svg import Panel, span
from dragon_jax.reports.tables import label, write_number

_GRID = np.linspace(0, 1, 101)
_EDGE = (-0.02, 1.02)


def main_metric(kind: str) -> str:
    """Returns the metric that orders tasks of a kind."""
    return "auroc" if kind == "binary" else "pearson"


def ranked(tasks: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    """Returns all tasks from worst to best in one metric, each with its interval; nothing if it is defined for none."""
    values = {t: number(r.get(metric)) for t, r in tasks.items()}
    names = sorted((t for t, v in values.items() if np.isfinite(v)), key=lambda t: values[t])
    if not names:
        return ""
    y = np.array([values[t] for t in names])
    low, high = np.array([interval(tasks[t], metric) for t in names]).T
    x = np.arange(1, len(names) + 1)
    x_label = "task, worst to best" if _higher(metric) else "task, best to worst"
    panel = Panel(
        x_label, label(metric), (0.0, len(names) + 1.0), span(y, low, high), description=f"{label(metric)} of tasks"
    )
    middle = float(np.median(y))
    panel.whiskers(x, low, high, "s1").horizontal(middle)
    radius = 3.2 if len(names) <= 120 else 2.0
    panel.points(x, y, "s1", radius=radius, titles=[f"{t}: {write_number(values[t])}" for t in names])
    task = "task with interval" if np.isfinite(low).any() else "task"
    legend = [("dot s1", task), ("muted dash", f"median {write_number(middle)}")]
    ends = f"from {write_number(y[0])} ({names[0]}) to {write_number(y[-1])} ({names[-1]})"
    remark = f"{len(names):,} tasks, {ends}; mean {write_number(y.mean())}."
    return figure(f"{label(metric)} of every task", panel.render(), legend, remark)


def against_prevalence(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns auPRC against prevalence, whose diagonal is what random scores reach."""
    rows = [(t, number(r.get("prevalence")), number(r.get("auprc"))) for t, r in tasks.items()]
    rows = [(t, x, y) for t, x, y in rows if x > 0 and y > 0]
    if not rows:
        return ""
    x, y = np.array([r[1] for r in rows]), np.array([r[2] for r in rows])
    log = float(x.max() / x.min()) > 5
    limits = (float(min(x.min(), y.min())) * 0.7, 1.1) if log else _EDGE
    panel = Panel("prevalence", "auPRC", limits, limits, x_log=log, y_log=log, description="auPRC against prevalence")
    panel.line(limits, limits, "muted", dashed=True)
    radius = 3.2 if len(rows) <= 120 else 2.0
    panel.points(x, y, "s1", radius=radius, titles=[f"{t}: auPRC {b:.3f}, prevalence {a:.3g}" for t, a, b in rows])
    return figure("auPRC against prevalence", panel.render(), [("dot s1", "task"), ("muted dash", "random scores")])


def spread(curves: Mapping[str, tuple[Curve, Curve]], worst: str, best: str) -> list[str]:
    """Returns ROC and PR curves over tasks: median, middle 50% and 90% at each place, and two tasks by themselves.

    Args:
        curves: ROC and precision-recall curve of every task that has them.
        worst, best: the two tasks.
    """
    roc = [np.interp(_GRID, c.x, c.y) for c, _ in curves.values()]
    # Precision at a recall is that of the first threshold which reaches it.
    pr = [c.y[np.searchsorted(c.x, _GRID - 1e-9).clip(0, len(c.y) - 1)] for _, c in curves.values()]
    figures = []
    for k, values, caption, x, y in (
        (0, roc, "ROC over tasks", "false positive rate", "sensitivity (true positive rate)"),
        (1, pr, "Precision and recall over tasks", "recall (sensitivity)", "precision"),
    ):
        q = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
        panel = Panel(x, y, _EDGE, _EDGE, description=caption)
        if k == 0:
            panel.line([0, 1], [0, 1], "muted", dashed=True)
        panel.band(_GRID, q[0], q[4]).band(_GRID, q[1], q[3]).line(_GRID, q[2], "s1")
        for task, style in ((worst, "s2"), (best, "s3")):
            curve = curves[task][k]
            panel.line(*(steps(curve) if k else (curve.x, curve.y)), style, dashed=True)
        areas = [f"{label('auprc' if k else 'auroc')} {write_number(curves[t][k].area)}" for t in (worst, best)]
        legend = [
            ("s1", "median of tasks"),
            ("band s1", "middle 50% and 90% of tasks"),
            ("s2 dash", f"worst: {worst}, {areas[0]}"),
            ("s3 dash", f"best: {best}, {areas[1]}"),
        ]
        remark = f"{len(curves):,} tasks with both classes." + ("" if k else " Dashed grey: chance.")
        figures.append(figure(caption, panel.render(), legend, remark))
    return figures


def extremes(tasks: Mapping[str, Mapping[str, Any]], metric: str, count: int = 3) -> tuple[list[str], list[str]]:
    """Returns the `count` worst tasks, worst first, and the `count` best, best first; undefined ones are left out."""
    values = {t: number(r.get(metric)) for t, r in tasks.items()}
    defined = [t for t, v in values.items() if np.isfinite(v)]
    names = sorted(defined, key=lambda t: values[t], reverse=not _higher(metric))
    return names[:count], names[: -count - 1 : -1]


def _higher(metric: str) -> bool:
    return METRICS[metric].higher if metric in METRICS else metric != "loss"
