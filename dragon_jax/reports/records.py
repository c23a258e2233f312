"""The parts of a report that are records, not figures: results of every task, data, provenance, config."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from typing import Any

from dragon_jax.config import flatten
from dragon_jax.reports.confusion import FORMULAS
from dragon_jax.reports.read import Run, number, per_task, section
from dragon_jax.reports.style import anchor, fold, note
from dragon_jax.reports.summary import test_opened
from dragon_jax.reports.svg import escape_lines
from dragon_jax.reports.tables import Cell, label, metric_cell, number_cell, pairs, table, text_cell

_RECALLS = ("recall_at_fdr05", "recall_at_fdr10", "recall_at_fdr20")
_LABELS = ("n", "missing")
_COLUMNS = {
    "binary": ("auroc", "auprc", *_LABELS, "n_positive", "prevalence", "loss", *_RECALLS, "ece", "brier", "threshold"),
    "real": ("pearson", "spearman", "r2", *_LABELS, "loss", "mse"),
    "count": ("pearson", "spearman", "r2", *_LABELS, "loss", "mse", "poisson_deviance"),
}


def task_tables(run: Run, splits: list[str], tasks: Mapping[str, str]) -> str:
    """Returns one sortable table for each split and kind of task, the rates of binary tasks folded below."""
    parts = []
    for split in splits:
        results = run.results.get(split, {})
        n = number(results.get("n"))
        for kind, columns in _COLUMNS.items():
            rows = {t: r for t, r in per_task(results).items() if tasks.get(t) == kind}
            if not rows:
                continue
            full = {t: r | {"missing": n - number(r.get("n"))} for t, r in rows.items()}
            shown = [c for c in columns if any(c in r for r in full.values())]
            cells = [[text_cell(t), *(metric_cell(r, c) for c in shown)] for t, r in full.items()]
            parts.append(f"<h3>{split.capitalize()}: {kind} tasks</h3>")
            parts.append(
                table(["task", *map(label, shown)], cells, name=f"table-{anchor(split)}-{kind}", sortable=True)
            )
            if kind == "binary":
                parts.append(_rates(rows, split))
    return "".join(parts) or note("No per-task results yet.")


def model_summary(run: Run) -> str:
    """Returns the printed summary of the model."""
    return (
        f"<pre>{escape_lines(run.model)}</pre>" if run.model.strip() else note("No model summary: model.txt is absent.")
    )


def data_summary(run: Run, tasks: Mapping[str, str]) -> str:
    """Returns sizes, labels and prevalence of every split, what was put in order while reading, and the source."""
    recorded = section(run.provenance, "data")
    splits = [s for s in ("train", "valid", "test") if s in recorded or s in run.results]
    parts, rows = [], []
    for split in splits:
        entry, results = section(recorded, split), run.results.get(split, {})
        n = number(entry.get("n", results.get("n")))
        counts = [_labels(run, split, t)[0] for t in tasks]
        known = [c for c in counts if math.isfinite(c)]
        missing = 1 - sum(known) / (n * len(known)) if known and n > 0 else math.nan
        share = Cell(f"{100 * missing:.1f}%", missing) if math.isfinite(missing) else number_cell(missing)
        rows.append([text_cell(split), number_cell(n, "n"), number_cell(number(entry.get("length")), "n"), share])
    if rows:
        parts.append(table(["split", "examples", "length (bases)", "labels missing"], rows))
        parts.append(_labels_per_task(run, splits, tasks))
    if notes := section(run.provenance, "data_notes"):
        parts.append("<h3>Put in order while reading</h3>" + pairs(notes.items(), ("what", "count")))
    if source := section(section(run.config, "data"), "source"):
        parts.append("<h3>Source</h3>" + pairs(flatten(source).items()))
    return "".join(parts) or note("No summary of the data: provenance.json holds none.")


def provenance(run: Run) -> str:
    """Returns where the numbers come from: versions, device, seed, command, fingerprints, and use of the test split."""
    opened = f"<p>{escape_lines(test_opened(run))}</p>"
    if not run.provenance:
        return note("No provenance: provenance.json is absent or unreadable.") + opened
    record = {k: v for k, v in run.provenance.items() if k not in ("data", "data_notes")}
    if isinstance(command := record.get("command"), list):
        record["command"] = shlex.join(map(str, command))
    for split in section(run.provenance, "data"):
        if mark := section(section(run.provenance, "data"), split).get("fingerprint"):
            record[f"data fingerprint of {split}"] = mark
    return opened + pairs(flatten(record).items())


def config(run: Run) -> str:
    """Returns the whole config, folded."""
    if not run.config:
        return note("No config: config.json is absent or unreadable.")
    text = json.dumps(run.config, indent=2, ensure_ascii=False)
    return fold("Full config", f"<pre>{escape_lines(text)}</pre>")


def _rates(rows: Mapping[str, Mapping[str, Any]], split: str) -> str:
    shown = ("tp", "fp", "tn", "fn", *FORMULAS)
    cells = []
    for task, result in rows.items():
        reasons = {k.removeprefix("confusion."): v for k, v in section(result, "undefined").items()}
        rates = section(result, "confusion") | {"undefined": reasons}
        origin = text_cell(split if result.get("threshold_from") == "self" else result.get("threshold_from") or "")
        cells.append(
            [text_cell(task), metric_cell(result, "threshold"), origin, *(metric_cell(rates, c) for c in shown)]
        )
    heads = ["task", "threshold", "chosen on", *map(label, shown)]
    body = table(heads, cells, name=f"rates-{anchor(split)}", sortable=True)
    return fold("Counts and rates at the chosen thresholds", body)


def _labels(run: Run, split: str, task: str) -> tuple[float, float]:
    """Measured labels of a task and their mean (the prevalence of a binary task), NaN where neither file says."""
    entry = section(section(section(section(run.provenance, "data"), split), "tasks"), task)
    result = per_task(run.results.get(split, {})).get(task, {})
    return number(entry.get("measured", result.get("n"))), number(entry.get("mean", result.get("prevalence")))


def _labels_per_task(run: Run, splits: list[str], tasks: Mapping[str, str]) -> str:
    if not tasks:
        return ""
    heads = ["task", "kind", *(f"{s} {what}" for s in splits for what in ("labels", "mean"))]
    rows = []
    for task, kind in tasks.items():
        row = [text_cell(task), text_cell(kind)]
        for split in splits:
            measured, mean = _labels(run, split, task)
            row += [number_cell(measured, "n"), number_cell(mean)]
        rows.append(row)
    body = table(heads, rows, name="data-tasks", sortable=len(rows) > 1)
    body += "<p>Mean: of the measured labels; of a binary task that is the prevalence.</p>"
    return body if len(rows) <= 25 else fold(f"Labels of {len(rows):,} tasks", body)
