"""The part of a report about base-resolution profiles: what was predicted beside what needs no sequence."""

from __future__ import annotations

import numpy as np

from dragon_jax.reports.read import Run, interval, number, section
from dragon_jax.reports.style import figure, grid, note
from dragon_jax.reports.svg import Panel, escape, span
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
        drawn = grid([_drawn(e) for e in examples(run.results[split]["profiles"])])
        parts.append(f"<h3>{escape(split.capitalize())}</h3>{table}{drawn}")
    if parts:
        parts.append(
            note(
                "Jensen-Shannon divergence between observed and predicted profile, over examples with reads: 0 when equal, 1 "
                "when they share no base; with few reads it is large for any prediction. Multinomial negative log-likelihood "
                "of the reads given their number. Beside them the mean profile of train and an even one, the same for all "
                "sequences. Drawn are examples picked by their number of reads alone, never by how well they are predicted; "
                "reads of the reverse strand point down."
            )
        )
    return "".join(parts)


def examples(found: dict) -> list[dict]:
    """Returns the examples that can be drawn; a run of an older release has none."""
    kept = []
    for example in found.get("examples") or []:
        both = [np.array(example.get(k), np.float64, ndmin=2) for k in ("observed", "predicted")]
        if both[0].shape == both[1].shape and both[0].size:
            kept.append(example | {"observed": both[0], "predicted": both[1]})
    return kept


def _drawn(example: dict) -> str:
    """One example: observed reads as bars, expected ones as a line, the second strand upside down."""
    observed, predicted, size = example["observed"], example["predicted"], int(number(example.get("bin", 1)) or 1)
    strands, count = observed.shape
    left = (np.arange(count) - count / 2) * size
    signs = (1, -1)[:strands]
    signed = [(sign * o, sign * p) for sign, o, p in zip(signs, observed, predicted, strict=True)]
    total, expected = observed.sum(), predicted.sum()
    low, high = span([0.0], *(v for pair in signed for v in pair))
    panel = Panel(
        "bases from the middle of the window",
        "reads a base" if size == 1 else f"reads in {size} bases",
        (left[0], left[-1] + size),
        (low if strands > 1 else 0.0, high),
        description=f"Observed and predicted reads of {example.get('task')} in {example.get('id')}.",
    )
    for o, p in signed:
        panel.bars(left, left + size, o, "s2").line(left + size / 2, p, "s1")
    rank = number(example.get("percentile"))
    stands = "most reads" if rank == 100 else f"percentile {rank:g} by reads"
    caption = f"{example.get('task')}, {example.get('id')}: {stands}"
    return figure(
        caption,
        panel.render(),
        [("bar s2", f"observed, {total:,.0f} reads"), ("s1", f"predicted, {expected:,.1f} reads")],
    )


def _row(task: str, values: dict) -> str:
    counts = [f"{number(values.get(k)):,.0f}" for k in ("n", "n_counted")]
    bits = [_shown(values.get(k), 4) for k in ("jsd", "jsd_mean", "jsd_flat")]
    losses = [_shown(values.get(k), 2) for k in ("nll", "nll_mean", "nll_flat")]
    cells = [escape(task), *counts, bits[0], write_interval(*interval(values, "jsd")), *bits[1:], *losses]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _shown(value: object, digits: int) -> str:
    found = number(value)
    return "" if found != found else f"{found:,.{digits}f}"
