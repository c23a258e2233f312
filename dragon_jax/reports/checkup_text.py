"""A data set as text: what `dragon check` prints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon_jax.data.checkup import CLOSED, Checkup
from dragon_jax.errors import show

_SHOWN = 15  # tasks in the text; the page has them all
_WIDE = 44  # letters of a name
INPUT_HEADS = ("input: column", "split", "kind", "shape", "mean", "least", "most", "zero", "not finite")
ZERO = "A base without a value counts as 0 in signals of a genome."


def checkup_text(found: Checkup, every: bool = False) -> str:
    """Returns the lines to print; `every` shows all tasks instead of the worst ones."""
    parts = [
        _head(found),
        _splits(found),
        _tasks(found, every),
        _inputs(found, every),
        *_lines("Leak audit", found.audit),
    ]
    parts += _lines("Put in order, dropped or made", [f"{count:,} {key}" for key, count in found.notes.items()])
    parts.append(_rows(found))
    return "\n\n".join(part for part in parts if part)


def _head(found: Checkup) -> str:
    rows, tasks = sum(part.rows for part in found.parts.values()), len(found.tasks)
    kinds = [task.kind for task in found.tasks]
    of = ", ".join(f"{kinds.count(k):,} {k}" for k in ("binary", "real", "count") if k in kinds)
    return f"{found.name}\n{rows:,} sequences of {found.length:,} bp, {tasks:,} task{'s' * (tasks != 1)} ({of})"


def _splits(found: Checkup) -> str:
    total = sum(part.rows for part in found.parts.values())
    rows = []
    for split, part in found.parts.items():
        bases = part.rows * found.length
        middle = gc_quantiles(part.gc)
        rows.append(
            [
                split,
                f"{part.rows:,}",
                f"{100 * part.rows / total:.1f} %",
                f"{100 * part.strong / part.known:.1f} %" if part.known else "-",
                f"{100 * middle[0]:.0f} - {100 * middle[1]:.0f} %",
                f"{100 * (bases - part.known) / bases:.2f} %",
                f"{100 * (1 - part.measured.sum() / (part.rows * len(found.tasks))):.1f} %",
            ]
        )
    return grid(["split", "sequences", "share", "GC", "GC of 90 % of them", "unknown bases", "labels missing"], rows)


def gc_quantiles(histogram: np.ndarray) -> tuple[float, float]:
    """Returns the GC shares between which 90 % of the sequences lie, to the width of a bin."""
    if not histogram.sum():
        return math.nan, math.nan
    reached = np.cumsum(histogram) / histogram.sum()
    low, high = (int(np.searchsorted(reached, q)) for q in (0.05, 0.95))
    return low / len(histogram), (high + 1) / len(histogram)


def _tasks(found: Checkup, every: bool) -> str:
    order, open_parts = found.worst_first(), {s: p for s, p in found.parts.items() if s != CLOSED}
    shown = order if every else order[:_SHOWN]
    heads = ["task", "kind"]
    for split in open_parts:
        heads += [f"{split}: labels", "missing", "positive or mean"]
    rows = []
    for t in shown:
        row = [show(found.tasks[t].name, _WIDE), found.tasks[t].kind]
        for part in open_parts.values():
            row += [f"{part.measured[t]:,}", f"{100 * (1 - part.measured[t] / part.rows):.1f} %"]
            row.append(value_of(found, part, t))
        rows.append([*row, found.warning(t)])
    text = grid([*heads, ""], rows)
    warned = sum(bool(found.warning(t)) for t in order)
    title = "Tasks" if len(order) == 1 else "Tasks, those with least to learn from first"
    more = f"\n... and {len(order) - len(shown):,} more (--all prints them)" if len(order) > len(shown) else ""
    warning = f"\n{warned:,} of {len(order):,} tasks with a warning" if warned else ""
    closed = (
        "\nLabels of test stay closed: only 'dragon evaluate --split=test' opens them." if CLOSED in found.parts else ""
    )
    return f"{title}\n{text}{more}{warning}{closed}"


def input_lines(found: Checkup) -> list[list[str]]:
    """Returns a line of text for every column of the extra inputs in every split: they are no labels, so test is shown too."""
    lines: list[list[str]] = []
    first: dict[str, dict] = {name: own for part in found.parts.values() for name, own in part.inputs.items()}
    for name, about in first.items():
        for i in range(len(about["mean"])):
            column = about["columns"][i] if about["columns"] else f"column {i}"
            for split, part in found.parts.items():
                own = part.inputs[name]
                shape = " x ".join(map(str, own["shape"])) or "1"
                numbers = [own[key][i] for key in ("mean", "least", "most")]
                text = ["-" if v is None else f"{v:.4g}" for v in numbers]
                text += [f"{100 * own[key][i]:.1f} %" for key in ("zero", "missing")]
                lines.append([f"{show(name, _WIDE)}: {show(column, _WIDE)}", split, own["kind"], shape, *text])
    return lines


def _inputs(found: Checkup, every: bool) -> str:
    lines = input_lines(found)
    if not lines:
        return ""
    shown = lines if every else lines[: 3 * _SHOWN]
    more = f"\n... and {len(lines) - len(shown):,} more lines (--all prints them)" if len(lines) > len(shown) else ""
    return f"Extra inputs\n{grid(INPUT_HEADS, shown)}{more}\n{ZERO}"


def value_of(found: Checkup, part, t: int) -> str:
    """Returns the positives of a binary task with their share, or mean and spread of another one."""
    count = int(part.measured[t])
    if not count:
        return "-"
    if found.tasks[t].kind == "binary":
        return f"{part.positives[t]:,} ({100 * part.positives[t] / count:.2f} %)"
    return f"{part.mean[t]:.4g} +- {part.spread[t]:.3g}"


def _rows(found: Checkup) -> str:
    lines = ["First rows of each split"]
    for split, part in found.parts.items():
        for row in part.examples:
            lines.append(f"  {split}  " + "  ".join(f"{show(value, 80)}" for value in row.values()))
    return "\n".join(lines)


def _lines(title: str, lines: Sequence[str]) -> list[str]:
    return ["\n".join([title, *(f"  {show(line, 300)}" for line in lines)])] if lines else []


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns columns of text, names to the left and numbers to the right."""
    widths = [max(len(str(row[i])) for row in (heads, *rows)) for i in range(len(heads))]
    lines = []
    for row in (heads, *rows):
        cells = [
            f"{cell:<{w}}" if i == 0 or not heads[i] else f"{cell:>{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)
