"""A comparison as text: aligned tables for a terminal, rows for a spreadsheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dragon_jax.errors import show
from dragon_jax.reports.pairing import Difference
from dragon_jax.reports.tables import label

if TYPE_CHECKING:
    from dragon_jax.reports.compare import Comparison
    from dragon_jax.reports.measured import Measured

ALL_TASKS = 40  # up to so many tasks are all printed; of more the `MOST` that differ most
MOST = 20
_ABSENT = "-"
COLUMNS = (
    *("split", "metric", "over", "task", "run", "value", "low", "high"),
    *("difference", "difference_low", "difference_high"),
)


def text(found: Comparison) -> str:
    """Returns the means of every metric, the tasks, and the fields of the config that differ."""
    tasks = f"{len(found.tasks):,} task{'s' * (len(found.tasks) != 1)}"
    lines = [
        f"split {found.split}, {tasks}; differences to {show(found.names[0])}; "
        f"brackets: {100 * found.level:g}% bootstrap intervals over examples, paired for differences"
    ]
    for measured in found.metrics.values():
        lines += ["", *_means(found, measured)]
    if len(found.tasks) > 1:
        for measured in found.metrics.values():
            lines += ["", *_by_task(found, measured)]
    if found.config:
        lines += ["", "config fields that differ"]
        lines += align(
            [["field", *found.names], *([field, *values] for field, values in found.config)], left=len(found.names) + 1
        )
    lines += ["", *(f"note: {n}" for n in found.notes)] if found.notes else []
    return "\n".join(lines)


def tsv(found: Comparison) -> str:
    """Returns one row for each metric, run and task, and for each mean over tasks; empty where undefined."""
    rows, nothing = [list(COLUMNS)], Difference(math.nan)
    for metric, m in found.metrics.items():
        for r, name in enumerate(found.names):
            head = [found.split, metric, "mean", "", name]
            rows.append(head + _numbers(m.means[r], m.mean_ends[r], m.mean_differences[r] if r else nothing))
            for t, task in enumerate(found.tasks):
                head = [found.split, metric, "task", task, name]
                rows.append(head + _numbers(m.values[r, t], m.ends[r, t], m.differences[r][t] if r else nothing))
    return "".join("\t".join(show(cell, 10_000) for cell in row) + "\n" for row in rows)


def align(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Returns lines with columns below each other, the first `left` set left, the others right; cells cut to 60."""
    cells = [[show(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _means(found: Comparison, m: Measured) -> list[str]:
    several = len(found.tasks) > 1
    heads = ["run", "mean" if several else "value", "", "difference", ""]
    rows = [heads + (["better on", "worse on"] if several else [])]
    for r, name in enumerate(found.names):
        row = [name, _plain(m.means[r]), _ends(m.mean_ends[r])]
        row += ["", ""] if r == 0 else [_signed(m.mean_differences[r].value), _signed_ends(m.mean_differences[r])]
        if several:
            row += [f"{n:,}" for n in m.verdicts(r) or ()] or ["" if r == 0 else _ABSENT] * 2
        rows.append(row)
    over = f", mean over {m.averaged:,} task{'s' * (m.averaged != 1)}" if several else ""
    return [f"{label(m.metric)}{over}", *align(rows)]


def _by_task(found: Comparison, m: Measured) -> list[str]:
    names = list(found.tasks)
    shown = [t for t in range(len(names)) if not np.isnan(m.values[:, t]).all()]
    title = f"{label(m.metric)} by task"
    if len(shown) > ALL_TASKS:
        size = np.nan_to_num(np.abs(m.values - m.values[0]).max(0), nan=-1.0)
        title += f", the {MOST} of {len(shown):,} that differ most"
        shown = sorted(shown, key=lambda t: -size[t])[:MOST]
    heads = ["task", *found.names]
    for name in found.names[1:]:
        heads += [f"{show(name, 40)} - first", ""]
    rows = [heads]
    for t in shown:
        row = [names[t], *(_plain(v) for v in m.values[:, t])]
        for d in (m.differences[r][t] for r in range(1, len(found.names))):
            row += [_signed(d.value), _signed_ends(d)]
        rows.append(row)
    return [title, *align(rows)]


def _plain(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else _ABSENT


def _signed(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else _ABSENT


def _ends(ends: np.ndarray) -> str:
    return f"[{ends[0]:.4f}, {ends[1]:.4f}]" if np.isfinite(ends).all() else ""


def _signed_ends(found: Difference) -> str:
    return f"[{found.low:+.4f}, {found.high:+.4f}]" if math.isfinite(found.low + found.high) else ""


def _numbers(value: float, ends: np.ndarray, difference: Difference) -> list[str]:
    return [repr(float(v)) if math.isfinite(v) else "" for v in (value, *ends, *difference)]
