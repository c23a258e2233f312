"""The page of a data set, in the look of the report: sizes, GC, every task, leaks, a few rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dragon_jax.data.checkup import CLOSED, Checkup, Part
from dragon_jax.files import atomic_write
from dragon_jax.reports.checkup_text import INPUT_HEADS, ZERO, gc_quantiles, input_lines, value_of
from dragon_jax.reports.style import Section, figure, grid, note, page
from dragon_jax.reports.svg import Panel, escape, span
from dragon_jax.reports.tables import Cell, number_cell, pairs, table, text_cell

_FEW = 3  # so few tasks are read off the table
_STYLES = {"train": "s1", "valid": "s2", "test": "s3"}


def write_checkup(found: Checkup, path: str | os.PathLike) -> Path:
    """Writes the page, whole or not at all, and returns its path.

    Raises:
        InputError: the place cannot be written. RunError: the disk is full.
    """
    with atomic_write(path) as out:
        out.write(checkup_page(found))
    return Path(path)


def checkup_page(found: Checkup) -> str:
    """Returns the page as text."""
    sections = [
        Section("splits", "Splits", _splits(found)),
        Section("tasks", "Tasks", _tasks(found)),
        Section("audit", "Leak audit", _list(found.audit)),
    ]
    if found.matching:
        sections.insert(2, Section("matching", "Matched negatives", _matching(found)))
    if inputs := input_lines(found):
        rows = [[text_cell(cell) for cell in line] for line in inputs]
        sections.append(Section("inputs", "Extra inputs", table(list(INPUT_HEADS), rows) + f"<p>{escape(ZERO)}</p>"))
    if found.notes:
        lines = [f"{count:,} {key}" for key, count in found.notes.items()]
        sections.append(Section("notes", "Put in order, dropped or made", _list(lines)))
    sections.append(Section("rows", "First rows", _rows(found)))
    if found.settings or found.files:
        body = pairs(found.settings.items()) if found.settings else ""
        if found.files:
            body += "<h3>Input files</h3>" + pairs(found.files.items(), ("file", "SHA-256"))
        sections.append(Section("source", "Where it comes from", body))
    rows = sum(part.rows for part in found.parts.values())
    several = "s" * (len(found.tasks) != 1)
    about = f"{rows:,} sequences of {found.length:,} bp · {len(found.tasks):,} task{several}"
    header = f"<h1>Data set {escape(found.name)}</h1><p>{escape(about)}</p>"
    footer = "Made by dragon_jax check; this page loads nothing."
    return page(f"{found.name}: data set", header, sections, footer)


def _splits(found: Checkup) -> str:
    total = sum(part.rows for part in found.parts.values())
    rows = []
    for split, part in found.parts.items():
        low, high = gc_quantiles(part.gc)
        bases = part.rows * found.length
        missing = 1 - part.measured.sum() / (part.rows * len(found.tasks))
        rows.append(
            [
                text_cell(split),
                Cell(f"{part.rows:,}", float(part.rows)),
                _percent(part.rows / total),
                _percent(part.strong / part.known if part.known else np.nan),
                text_cell(f"{100 * low:.0f} to {100 * high:.0f} %"),
                _percent((bases - part.known) / bases, 2),
                _percent(missing),
            ]
        )
    heads = ["split", "sequences", "share", "GC", "GC of 90 % of them", "unknown bases", "labels missing"]
    return table(heads, rows) + grid([_gc(found)])


def _gc(found: Checkup) -> str:
    """Share of the sequences by GC content: one outline for each split."""
    shares = {s: p.gc / max(p.gc.sum(), 1) for s, p in found.parts.items()}
    top = max(float(v.max()) for v in shares.values()) or 1.0
    used = np.flatnonzero(np.sum([v > 0 for v in shares.values()], 0))
    bins = len(next(iter(shares.values())))
    x_range = (max(0.0, used[0] - 1.0) / bins, min(float(bins), used[-1] + 2.0) / bins) if used.size else (0.0, 1.0)
    panel = Panel("GC share of a sequence", "share of the split", x_range, (0.0, top * 1.05), description="GC by split")
    edges = np.repeat(np.arange(bins + 1) / bins, 2)[1:-1]
    legend = []
    for split, share in shares.items():
        panel.line(edges, np.repeat(share, 2), style := _STYLES.get(split, "s4"), dashed=split != "train")
        legend.append(
            (f"{style}{'' if split == 'train' else ' dash'}", f"{split}, {found.parts[split].rows:,} sequences")
        )
    blank = sum(part.rows - int(part.gc.sum()) for part in found.parts.values())
    remark = f"{blank:,} sequences without a known base are left out." if blank else ""
    return figure("GC content", panel.render(), legend, remark)


def _matching(found: Checkup) -> str:
    """How positives, chosen negatives and the pool lie over G and C (and repeats), a figure for each split."""
    figures = []
    for split, report in found.matching.items():
        for feature, noun in (("gc", "GC share"), ("repeats", "soft-masked share")):
            if feature not in report:
                continue
            own = report[feature]
            edges = np.array(own["edges"])
            shares = {name: np.array(own[name]) / max(sum(own[name]), 1) for name in ("pool", "positives", "chosen")}
            used = np.flatnonzero(np.sum([v > 0 for v in shares.values()], 0))
            limits = (float(edges[used[0]]), float(edges[used[-1] + 1])) if used.size else (0.0, 1.0)
            top = max(float(v.max()) for v in shares.values()) or 1.0
            panel = Panel(f"{noun} of a window", "share", limits, (0.0, top * 1.05), description=f"{noun}, {split}")
            steps = np.repeat(edges, 2)[1:-1]
            styles = {"pool": ("s3", True), "positives": ("s1", False), "chosen": ("s2", True)}
            legend = []
            for name, (style, dashed) in styles.items():
                panel.line(steps, np.repeat(shares[name], 2), style, dashed=dashed)
                word = "negatives chosen" if name == "chosen" else name
                legend.append((f"{style}{' dash' if dashed else ''}", f"{word}, {report[name]:,}"))
            remark = f"Distance (KS) from the positives: pool {own['ks_pool']:.3f}, chosen {own['ks_chosen']:.3f}."
            figures.append(figure(f"{split}: {noun}", panel.render(), legend, remark))
    return grid(figures)


def _tasks(found: Checkup) -> str:
    order, parts = found.worst_first(), {s: p for s, p in found.parts.items() if s != CLOSED}
    warned = [t for t in order if found.warning(t)]
    body = note(f"{len(warned):,} of {len(order):,} tasks with a warning; they stand in the table.") if warned else ""
    figures = [_prevalence(found, parts), _against(found, parts), _missing(found)]
    gaps = any((part.measured < part.rows).any() for part in parts.values())
    heads = ["task", "kind", *(["warning"] if warned else [])]
    for split in parts:
        heads += [f"{split}: labels", *([f"{split}: missing"] if gaps else []), f"{split}: positive or mean"]
    rows = []
    for t in order:
        row = [text_cell(found.tasks[t].name), text_cell(found.tasks[t].kind)]
        row += [text_cell(found.warning(t))] if warned else []
        for part in parts.values():
            row.append(number_cell(float(part.measured[t]), "n"))
            row += [_percent(1 - part.measured[t] / part.rows)] if gaps else []
            row.append(_value(found, part, t))
        rows.append(row)
    closed = ""
    if CLOSED in found.parts:
        closed = "<p>Labels of test stay closed; only how many of them are missing is shown.</p>"
    about = "<p>Tasks with least to learn from first: training examples of the rarer class, or with a value.</p>"
    return body + closed + grid(figures) + about + table(heads, rows, name="task-table", sortable=True)


def _prevalence(found: Checkup, parts: dict[str, Part]) -> str:
    """Share of positives of every binary task, rarest first."""
    base = next(iter(parts.values()), None)
    if base is None:
        return ""
    binary = [t for t, task in enumerate(found.tasks) if task.kind == "binary" and base.measured[t]]
    if len(binary) < _FEW:
        return ""
    order = sorted(binary, key=lambda t: _share(base, t))
    x, curves = np.arange(1, len(order) + 1), {s: [_share(p, t) for t in order] for s, p in parts.items()}
    known = np.concatenate([np.array(v) for v in curves.values()])
    known = known[known > 0]
    log = known.size > 1 and float(known.max() / known.min()) > 20
    limits = (float(known.min()) * 0.7, min(1.0, float(known.max()) * 1.4)) if log else (0.0, 1.0)
    panel = Panel(
        "task, rarest first",
        "share of positives",
        (0.0, len(order) + 1.0),
        limits,
        y_log=log,
        x_whole=True,
        description="Prevalence of every task",
    )
    legend = []
    for split, values in curves.items():
        titles = [f"{found.tasks[t].name}: {v:.4g} in {split}" for t, v in zip(order, values, strict=True)]
        radius = 4.0 if len(order) <= 20 else 2.6 if len(order) <= 120 else 1.8
        panel.points(x, values, style := _STYLES.get(split, "s4"), radius=radius, titles=titles)
        legend.append((f"dot {style}", split))
    ends = [_share(base, t) for t in (order[0], order[-1])]
    names = [found.tasks[t].name for t in (order[0], order[-1])]
    remark = f"{len(order):,} binary tasks with labels, from {ends[0]:.4g} ({names[0]}) to {ends[1]:.4g} ({names[1]})."
    return figure("Prevalence", panel.render(), legend, remark)


def _against(found: Checkup, parts: dict[str, Part]) -> str:
    """Prevalence in valid against that in train: a task off the diagonal is another problem there."""
    binary = [t for t, task in enumerate(found.tasks) if task.kind == "binary"]
    if not {"train", "valid"} <= set(parts) or len(binary) < _FEW:
        return ""
    x, y = (np.array([_share(parts[s], t) for t in binary]) for s in ("train", "valid"))
    good = (x > 0) & (y > 0)
    log = bool(good.sum() > 1) and float(max(x[good].max(), y[good].max()) / min(x[good].min(), y[good].min())) > 20
    limits = (float(min(x[good].min(), y[good].min())) * 0.7, 1.1) if log else span(x, y)
    panel = Panel(
        "prevalence in train",
        "prevalence in valid",
        limits,
        limits,
        x_log=log,
        y_log=log,
        description="Prevalence in valid against train",
    )
    titles = [f"{found.tasks[t].name}: {a:.4g} and {b:.4g}" for t, a, b in zip(binary, x, y, strict=True)]
    panel.line(limits, limits, "muted", dashed=True).points(x, y, "s1", radius=2.6, titles=titles)
    return figure("Valid against train", panel.render(), [("dot s1", "task"), ("muted dash", "equal")])


def _missing(found: Checkup) -> str:
    """Share of missing labels of every task, one line of dots for each split; nothing where all is measured."""
    shares = {s: 1 - p.measured / p.rows for s, p in found.parts.items()}
    if not any(v.any() for v in shares.values()):
        return ""
    order = np.argsort(-next(iter(shares.values())), kind="stable")
    x = np.arange(1, len(order) + 1)
    panel = Panel(
        "task, most missing first",
        "share of labels missing",
        (0.0, len(order) + 1.0),
        (-0.02, 1.02),
        x_whole=True,
        description="Missing labels of every task",
    )
    legend = []
    for split, values in shares.items():
        titles = [f"{found.tasks[t].name}: {values[t]:.4g} in {split}" for t in order]
        panel.points(x, values[order], style := _STYLES.get(split, "s4"), radius=2.6, titles=titles)
        legend.append((f"dot {style}", split))
    return figure("Missing labels", panel.render(), legend)


def _share(part: Part, t: int) -> float:
    assert part.positives is not None
    return float(part.positives[t] / part.measured[t]) if part.measured[t] else np.nan


def _value(found: Checkup, part: Part, t: int) -> Cell:
    assert part.mean is not None
    sort = _share(part, t) if found.tasks[t].kind == "binary" else float(part.mean[t])
    return Cell(escape(value_of(found, part, t).replace("+-", "±")), sort)


def _percent(value: float, digits: int = 1) -> Cell:
    return Cell(f"{100 * value:.{digits}f} %" if np.isfinite(value) else "–", float(value))


def _rows(found: Checkup) -> str:
    rows = [(split, row) for split, part in found.parts.items() for row in part.examples]
    heads = list(dict.fromkeys(key for _, row in rows for key in row))
    names = ", ".join(task.name for task in found.tasks[:8])
    about = f"<p>Labels in the order of the tasks: {escape(names)}{' ...' if len(found.tasks) > 8 else ''}.</p>"
    cells = [[text_cell(split), *(text_cell(row.get(head, "")) for head in heads)] for split, row in rows]
    return about + table(["split", *heads], cells)


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
