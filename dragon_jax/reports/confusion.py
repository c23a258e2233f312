"""The confusion table of one task at its chosen threshold, every rate, and where the threshold comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dragon_jax.reports.read import number, section
from dragon_jax.reports.style import note
from dragon_jax.reports.svg import escape
from dragon_jax.reports.tables import UNDEFINED, label, write_number

FORMULAS = {
    "sensitivity": "TP / (TP + FN), recall, TPR",
    "specificity": "TN / (TN + FP), TNR",
    "precision": "TP / (TP + FP), PPV",
    "npv": "TN / (TN + FN)",
    "fpr": "FP / (FP + TN)",
    "fnr": "FN / (FN + TP)",
    "fdr": "FP / (FP + TP)",
    "for": "FN / (FN + TN)",
    "accuracy": "(TP + TN) / all",
    "balanced_accuracy": "mean of TPR and TNR",
    "f1": "2 TP / (2 TP + FP + FN)",
    "mcc": "Matthews' correlation",
}
_RULES = {
    "f1": "largest F1",
    "youden": "largest sensitivity + specificity - 1 (Youden)",
    "fdr": "largest recall within a false discovery rate",
}


def threshold_rule(settings: Mapping[str, Any]) -> str:
    """Returns in words how the thresholds of one split's results were chosen."""
    rule = settings.get("threshold_rule")
    if isinstance(rule, int | float):
        return "fixed in the config"
    text = _RULES.get(str(rule), str(rule or "rule not recorded"))
    fdr = number(settings.get("fdr"))
    return f"{text} of {fdr:g}" if math.isfinite(fdr) else text


def confusion_table(result: Mapping[str, Any], split: str, rule: str) -> str:
    """Returns counts and rates of one task as HTML, or in words why there are none.

    Args:
        result: entry of the task in results.json.
        rule: from `threshold_rule`.
    """
    threshold, found, reasons = (
        number(result.get("threshold")),
        section(result, "confusion"),
        section(result, "undefined"),
    )
    tp, fp, tn, fn = (number(found.get(k)) for k in ("tp", "fp", "tn", "fn"))
    if not math.isfinite(threshold + tp + fp + tn + fn):
        why = reasons.get("threshold") or "the results hold no threshold for this task"
        return note(f"No confusion table: {why}.")
    counts = (
        '<div class="tablebox"><table><thead><tr><th></th><th scope="col">called positive</th>'
        '<th scope="col">called negative</th><th scope="col">sum</th></tr></thead><tbody>'
        + _row("measured positive", (tp, "TP"), (fn, "FN"), (tp + fn, ""))
        + _row("measured negative", (fp, "FP"), (tn, "TN"), (fp + tn, ""))
        + _row("sum", (tp + fp, ""), (fn + tn, ""), (tp + fp + fn + tn, ""))
        + "</tbody></table></div>"
    )
    rates = [_rate(name, number(found.get(name)), reasons.get(f"confusion.{name}", "")) for name in FORMULAS]
    half = len(rates) // 2
    tables = "".join(
        f'<div class="tablebox"><table><tbody>{"".join(part)}</tbody></table></div>'
        for part in (rates[:half], rates[half:])
    )
    where = escape(_origin(result.get("threshold_from"), split, rule))
    return f'<p>Calls at probability {threshold:.4g} or more; {where}.</p>{counts}<div class="pair">{tables}</div>'


def _origin(origin: Any, split: str, rule: str) -> str:
    if origin == "fixed":
        return "this threshold was fixed in the config"
    if origin not in ("self", split):
        return f"this threshold was chosen on {origin or 'another split'} ({rule}) and applied here unchanged"
    flattering = (
        "" if split == "valid" else ". It is judged on the examples that chose it, so these rates are flattering"
    )
    return f"this threshold was chosen on this split, {split} ({rule}){flattering}"


def _row(head: str, *cells: tuple[float, str]) -> str:
    shown = "".join(f"<td>{f'<span class=ci>{name}</span> ' if name else ''}{n:,.0f}</td>" for n, name in cells)
    return f'<tr><th scope="row">{head}</th>{shown}</tr>'


def _rate(name: str, value: float, why: str) -> str:
    shown = write_number(value) if math.isfinite(value) else f'{UNDEFINED} <span class="ci">{escape(why)}</span>'
    formula = f'<td class="text soft">{escape(FORMULAS[name])}</td>'
    return f'<tr><th scope="row">{escape(label(name))}</th><td>{shown}</td>{formula}</tr>'
