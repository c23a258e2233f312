"""Tables of a page: cells that know their number, sortable tables over tasks, lists of names and values."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dragon_jax.reports.read import interval, number
from dragon_jax.reports.svg import escape

# How a metric of results.json is written in a heading; one that is not listed keeps its own name.
LABELS = {
    "auroc": "auROC",
    "auprc": "auPRC",
    "n": "measured",
    "n_positive": "positive",
    "missing": "missing",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
    "pearson": "Pearson r",
    "spearman": "Spearman rho",
    "r2": "R²",
    "mse": "mean squared error",
    "poisson_deviance": "Poisson deviance",
    "tp": "TP",
    "fp": "FP",
    "tn": "TN",
    "fn": "FN",
    "recall_at_fdr05": "recall at 5% FDR",
    "recall_at_fdr10": "recall at 10% FDR",
    "recall_at_fdr20": "recall at 20% FDR",
    "fpr": "FPR",
    "fnr": "FNR",
    "fdr": "FDR",
    "for": "FOR",
    "npv": "NPV",
    "f1": "F1",
    "mcc": "MCC",
}
_COUNTS = ("n", "n_positive", "missing", "tp", "fp", "tn", "fn")
UNDEFINED = "–"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell: what is shown (HTML), the number it sorts by (None = text), and why it is empty."""

    shown: str
    value: float | None = None
    hint: str = ""

    def html(self) -> str:
        hint = f' title="{escape(self.hint)}"' if self.hint else ""
        if self.value is None:
            return f'<td class="text"{hint}>{self.shown}</td>'
        sort = f"{self.value:.9g}" if math.isfinite(self.value) else ""
        return f'<td data-v="{sort}"{hint}>{self.shown}</td>'


def label(metric: str) -> str:
    """Returns the heading of a metric: `auroc` is `auROC`, `balanced_accuracy` is `balanced accuracy`."""
    return LABELS.get(metric, metric.replace("_", " "))


def write_number(value: float, metric: str = "") -> str:
    """Returns a number for reading: counts whole with thousands separators, else three digits that count."""
    if not math.isfinite(value):
        return UNDEFINED
    if metric in _COUNTS or (float(value).is_integer() and abs(value) >= 1000):
        return f"{value:,.0f}"
    if value == 0 or 0.01 <= abs(value) < 10:
        return f"{value:.3f}"
    return f"{value:,.1f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def write_interval(low: float, high: float) -> str:
    """Returns `[0.902, 0.925]`, or nothing where an end is undefined."""
    return f"[{write_number(low)}, {write_number(high)}]" if math.isfinite(low + high) else ""


def metric_cell(values: Mapping[str, Any], metric: str) -> Cell:
    """Returns the cell of a metric with its interval; an undefined one shows a dash and, on hover, the reason."""
    value = number(values.get(metric))
    if not math.isfinite(value):
        reasons = values.get("undefined")
        reason = reasons.get(metric, "") if isinstance(reasons, dict) else ""
        return Cell(UNDEFINED, math.nan, str(reason or "not in the results"))
    text = write_interval(*interval(values, metric))
    return Cell(write_number(value, metric) + (f' <span class="ci">{text}</span>' if text else ""), value)


def number_cell(value: float, metric: str = "") -> Cell:
    """Returns the cell of a bare number; `metric` says how it is written."""
    return Cell(write_number(value, metric), value)


def text_cell(text: object) -> Cell:
    """Returns a cell of plain text, escaped here."""
    return Cell(escape(text))


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, name: str = "", sortable: bool = False) -> str:
    """Returns a table; with `sortable` a click on a heading sorts it and a box above filters by the first column.

    Args:
        heads: headings, escaped here; those over text columns are set left.
        name: id of the table, letters, digits and dashes, unique on the page; needed to sort.
    """
    rows = [list(row) for row in rows]
    head = ""
    for i, title in enumerate(heads):
        css = ' class="text"' if all(row[i].value is None for row in rows) else ""
        inner = f"<button>{escape(title)}</button>" if sortable else escape(title)
        head += f'<th{css} scope="col">{inner}</th>'
    body = "\n".join(f"<tr>{''.join(cell.html() for cell in row)}</tr>" for row in rows)
    box, attributes = "", ""
    if sortable:
        attributes = f' id="{name}" class="sortable"'
    if sortable and len(rows) > 8:
        box = (
            f'<div class="filter"><label>Filter by name <input type="search" data-for="{name}"></label>'
            f'<span class="soft" id="{name}-shown" aria-live="polite">{len(rows)} of {len(rows)} shown</span></div>'
        )
    tall = " tall" if len(rows) > 25 else ""
    inner = f"<table{attributes}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'{box}<div class="tablebox{tall}">{inner}</div>'


def pairs(items: Iterable[tuple[str, Any]], heads: tuple[str, str] = ("field", "value")) -> str:
    """Returns a two-column table of names and values; lists and dictionaries are written as JSON."""
    rows = []
    for name, value in items:
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        rows.append(f'<tr><td>{escape(name)}</td><td class="text wide">{escape(shown)}</td></tr>')
    head = f'<th scope="col">{escape(heads[0])}</th><th class="text" scope="col">{escape(heads[1])}</th>'
    return f'<div class="tablebox"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
