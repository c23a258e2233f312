"""The part of a report about base-resolution profiles: what was predicted beside what needs no sequence."""

from __future__ import annotations

from dragon_jax.reports.read import Run, interval, number, section
from dragon_jax.reports.style import note
from dragon_jax.reports.svg import escape
from dragon_jax.reports.tables import write_interval

_HEAD = (
    "task",
    "examples",
    "with reads",
    "predicted",
    "interval",
    "mean of train",
    "even",
    "predicted",
    "mean",
    "even",
)


def profile_section(run: Run, splits: list[str]) -> str:
    """Returns one table of each split with profiles as HTML; empty where no split has any."""
    parts = []
    for split in splits:
        found = section(section(run.results.get(split, {}), "profiles"), "per_task")
        if not found:
            continue
        head = "".join(f"<th>{escape(h)}</th>" for h in _HEAD)
        above = '<th colspan="3"></th><th colspan="4">divergence, bits</th><th colspan="3">multinomial loss</th>'
        rows = [_row(task, values) for task, values in found.items() if isinstance(values, dict)]
        table = f"<table><tr>{above}</tr><tr>{head}</tr>{''.join(rows)}</table>"
        parts.append(f"<h3>{escape(split.capitalize())}</h3>{table}")
    if parts:
        parts.append(
            note(
                "Jensen-Shannon divergence between observed and predicted profile, over examples with reads: 0 when equal, 1 "
                "when they share no base; with few reads it is large for any prediction. Multinomial negative log-likelihood "
                "of the reads given their number. Beside them the mean profile of train and an even one, the same for all "
                "sequences."
            )
        )
    return "".join(parts)


def _row(task: str, values: dict) -> str:
    counts = [f"{number(values.get(k)):,.0f}" for k in ("n", "n_counted")]
    bits = [_shown(values.get(k), 4) for k in ("jsd", "jsd_mean", "jsd_flat")]
    losses = [_shown(values.get(k), 2) for k in ("nll", "nll_mean", "nll_flat")]
    cells = [escape(task), *counts, bits[0], write_interval(*interval(values, "jsd")), *bits[1:], *losses]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _shown(value: object, digits: int) -> str:
    found = number(value)
    return "" if found != found else f"{found:,.{digits}f}"
