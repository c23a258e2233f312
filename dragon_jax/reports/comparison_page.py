"""The page of a comparison, in the look of the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dragon_jax.evaluation.curves import precision_recall_curve, roc_curve
from dragon_jax.reports.pairing import Difference
from dragon_jax.reports.plots import steps
from dragon_jax.reports.style import Section, figure, grid, note, page
from dragon_jax.reports.summary import test_opened
from dragon_jax.reports.svg import Panel, escape, span
from dragon_jax.reports.tables import UNDEFINED, Cell, label, table, text_cell, write_interval, write_number

if TYPE_CHECKING:
    from dragon_jax.reports.compare import Comparison
    from dragon_jax.reports.measured import Measured

_STYLES = ("s1", "s2", "s3", "s4", "s5")
_FEW = 3  # so few tasks are read off the table
_OVERLAID = 3  # tasks whose curves are drawn; more would hide each other


def comparison_page(found: Comparison) -> str:
    """Returns the page as text."""
    several = len(found.tasks) > 1
    sections = [Section("summary", "Summary", "".join(map(note, found.notes)) + _summary(found))]
    if several:
        sections.append(Section("tasks", "By task", "".join(_by_task(found, m) for m in found.metrics.values())))
    if curves := _curves(found):
        sections.append(Section("curves", "Curves", curves))
    sections.append(Section("config", "Config", _config(found)))
    sections.append(Section("runs", "Runs", _runs(found)))
    title = f"Comparison of {len(found.names)} runs"
    about = f"split {found.split} · {len(found.tasks):,} task{'s' * several} · differences refer to {found.names[0]}"
    header = f"<h1>{title}</h1><p>{escape(about)}</p>"
    return page(f"{title}: dragon_jax", header, sections, "Made by dragon_jax; this page loads nothing.")


def _summary(found: Comparison) -> str:
    parts = [
        f"<p>Brackets: {100 * found.level:g}% bootstrap intervals over examples; those of differences are paired, both "
        "runs on the same drawn examples. They say nothing about other seeds of training.</p>"
    ]
    several = len(found.tasks) > 1
    figures = []
    for m in found.metrics.values():
        title = f"{label(m.metric)}, mean of {m.averaged:,} tasks" if several else label(m.metric)
        heads = ["run", label(m.metric), "difference"] + (["better on", "worse on"] if several else [])
        rows = []
        for r, name in enumerate(found.names):
            row = [text_cell(f"{r + 1}. {name}"), _cell(m.means[r], m.mean_ends[r])]
            row.append(_difference(m.mean_differences[r], r))
            if several:
                row += [Cell(f"{n:,}", float(n)) for n in m.verdicts(r) or ()] or [
                    Cell(UNDEFINED if r else "", math.nan)
                ] * 2
            rows.append(row)
        parts.append(f"<h3>{escape(title)}</h3>{table(heads, rows)}")
        figures.append(figure(title, _dots(found, m), [("dot s1", "run, by its number"), ("muted dash", "first run")]))
    if several:
        chance = 100 * (1 - found.level) / 2
        parts.append(
            "<p>Better and worse: tasks whose interval of the difference excludes 0. Where two runs are equal, about "
            f"{chance:g}% of the tasks would come out better and {chance:g}% worse by chance.</p>"
        )
    return "".join(parts) + grid(figures)


def _dots(found: Comparison, m: Measured) -> str:
    x = np.arange(1, len(found.names) + 1)
    y_range = span(m.means, m.mean_ends)
    about = f"{label(m.metric)} of every run"
    panel = Panel("run", label(m.metric), (0.5, len(x) + 0.5), y_range, x_whole=True, description=about)
    panel.whiskers(x, m.mean_ends[:, 0], m.mean_ends[:, 1], "s1")
    titles = [f"{n}: {write_number(v)}" for n, v in zip(found.names, m.means, strict=True)]
    return panel.horizontal(float(m.means[0])).points(x, m.means, "s1", radius=4.5, titles=titles).render()


def _by_task(found: Comparison, m: Measured) -> str:
    names = list(found.tasks)
    shown = [t for t in range(len(names)) if not np.isnan(m.values[:, t]).all()]
    if not shown:
        return ""
    figures = []
    for r, name in enumerate(found.names):
        if r and len(shown) > _FEW:
            figures += [_scatter(found, m, r, names, shown), _ranked(m, r, name, names, shown)]
    heads = ["task", *found.names, *(f"{n} - first" for n in found.names[1:])]
    rows = []
    for t in shown:
        row = [text_cell(names[t]), *(_cell(m.values[r, t], m.ends[r, t]) for r in range(len(found.names)))]
        row += [_difference(m.differences[r][t], r) for r in range(1, len(found.names))]
        rows.append(row)
    body = table(heads, rows, name=f"tasks-{m.metric.replace('_', '-')}", sortable=True)
    return f"<h3>{escape(label(m.metric))}</h3>{grid(figures)}{body}"


def _scatter(found: Comparison, m: Measured, r: int, names: list[str], shown: list[int]) -> str:
    x, y = m.values[0, shown], m.values[r, shown]
    limits = span(x, y)
    title = f"{found.names[r]} against {found.names[0]}"
    panel = Panel(f"{label(m.metric)}, first run", label(m.metric), limits, limits, description=title)
    titles = [f"{names[t]}: {write_number(a)} and {write_number(b)}" for t, a, b in zip(shown, x, y, strict=True)]
    panel.line(limits, limits, "muted", dashed=True).points(x, y, "s1", titles=titles)
    better = "above" if m.higher else "below"
    return figure(title, panel.render(), [("dot s1", "task"), ("muted dash", "equal")], f"Better {better} the line.")


def _ranked(m: Measured, r: int, name: str, names: list[str], shown: list[int]) -> str:
    defined = [t for t in shown if math.isfinite(m.differences[r][t].value)]
    order = sorted(defined, key=lambda t: m.differences[r][t].value)
    if not order:
        return ""
    value, low, high = np.array([m.differences[r][t] for t in order], np.float64).T
    x = np.arange(1, len(order) + 1)
    y_range = span(value, low, high, np.zeros(1))
    panel = Panel(
        "task, by difference", f"difference in {label(m.metric)}", (0.0, len(x) + 1.0), y_range, description=name
    )
    titles = [f"{names[t]}: {_signed(m.differences[r][t].value)}" for t in order]
    panel.whiskers(x, low, high, "s1").horizontal(0.0).points(x, value, "s1", radius=2.8, titles=titles)
    what = "task with interval" if np.isfinite(low).any() else "task"
    ends = f"From {_signed(value[0])} ({names[order[0]]}) to {_signed(value[-1])} ({names[order[-1]]})."
    return figure(f"{name}: difference of every task", panel.render(), [("dot s1", what)], ends)


def _curves(found: Comparison) -> str:
    """ROC and precision-recall of the runs on top of each other, where tasks and runs are few enough to be seen."""
    saved = [run.predictions(found.split) for run in found.runs]
    if len(found.tasks) > _OVERLAID or len(found.runs) > len(_STYLES) or any(s is None for s in saved):
        return ""
    figures = []
    for task, kind in found.tasks.items():
        if kind != "binary" or not all(s is not None and task in s.tasks for s in saved):
            continue
        for title, axes, make in (
            ("ROC", ("false positive rate", "sensitivity (true positive rate)"), roc_curve),
            ("Precision and recall", ("recall (sensitivity)", "precision"), precision_recall_curve),
        ):
            panel = Panel(*axes, (-0.02, 1.02), (-0.02, 1.02), description=f"{title} of {task}")
            legend = []
            for r, (name, s) in enumerate(zip(found.names, saved, strict=True)):
                curve = make(*s.columns(task))  # type: ignore[union-attr]
                if len(curve.x):
                    x, y = (curve.x, curve.y) if make is roc_curve else steps(curve)
                    panel.line(x, y, _STYLES[r], dashed=r % 2 == 1)
                    legend.append((_STYLES[r] + " dash" * (r % 2), f"{name} {write_number(curve.area)}"))
            if legend:
                figures.append(figure(f"{title}: {task}", panel.render(), legend))
    return grid(figures)


def _config(found: Comparison) -> str:
    if not found.config:
        return "<p>The configs are the same.</p>"
    rows = [[text_cell(field), *map(text_cell, values)] for field, values in found.config]
    return table(["field", *found.names], rows)


def _runs(found: Comparison) -> str:
    rows = []
    for name, run in zip(found.names, found.runs, strict=True):
        cells = [
            str(run.path),
            run.status.get("state", ""),
            run.provenance.get("seed", ""),
            run.provenance.get("code", ""),
        ]
        cells.append(test_opened(run))
        rows.append([text_cell(name), *map(text_cell, cells)])
    return table(["run", "directory", "state", "seed", "code", "test split"], rows)


def _cell(value: float, ends: np.ndarray) -> Cell:
    text = write_interval(float(ends[0]), float(ends[1]))
    return Cell(write_number(value) + (f' <span class="ci">{text}</span>' if text else ""), float(value))


def _difference(found: Difference, run: int) -> Cell:
    if run == 0:
        return Cell("", math.nan)
    shown = _signed(found.value)
    if math.isfinite(found.low + found.high):
        shown += f' <span class="ci">[{_signed(found.low)}, {_signed(found.high)}]</span>'
    return Cell(shown, found.value)


def _signed(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else write_number(value)
