"""The top of a report: what the run is, how it ended, and its headline numbers with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon_jax.errors import listing
from dragon_jax.reports.many import main_metric
from dragon_jax.reports.read import Run, interval, number, per_task, section
from dragon_jax.reports.style import note
from dragon_jax.reports.svg import escape
from dragon_jax.reports.tables import label, write_interval, write_number

_CARDS = ("auroc", "auprc", "pearson", "spearman", "r2")
_STATES = {
    "running": "This run is still going on, or was killed{at}; the page shows what was on disk.",
    "stopped": "This run was stopped{at} and can be resumed.",
    "failed": "This run failed{at}.",
}


def header(run: Run, tasks: Mapping[str, str]) -> str:
    """Returns name, state, model, tasks, last step and time as HTML."""
    kinds = {k: sum(v == k for v in tasks.values()) for k in ("binary", "real", "count")}
    counted = ", ".join(f"{n:,} {k}" for k, n in kinds.items() if n)
    step, model = number(run.status.get("step")), section(run.config, "model").get("name")
    parts = [
        f"model {model}" if model else "",
        f"{len(tasks):,} task{'s' * (len(tasks) != 1)} ({counted})" if tasks else "",
        f"step {step:,.0f}" if step > 0 else "",
        str(run.status.get("finished") or ""),
    ]
    state = escape(run.status.get("state") or "state unknown")
    text = " · ".join(escape(p) for p in parts if p)
    return f'<h1>{escape(run.name)}</h1><p><span class="badge">{state}</span> {text}</p>'


def summary(run: Run, splits: list[str]) -> str:
    """Returns remarks on how the run ended and the headline numbers of every split as HTML."""
    step = number(run.status.get("step"))
    at = f" at step {step:,.0f}" if math.isfinite(step) else ""
    parts = []
    if text := _STATES.get(str(run.status.get("state")), ""):
        reason = run.status.get("reason")
        parts.append(note(text.format(at=at) + (f" Reason: {str(reason).rstrip('.')}." if reason else "")))
    parts += [note(p) for p in run.problems]
    if unread := run.provenance.get("inputs_not_read"):
        parts.append(note(f"The data hold inputs that this model does not read: {listing(unread)}."))
    if not run.results:
        parts.append(note("No evaluation yet: results.json is absent or empty."))
    for split in splits:
        if split in run.results:
            parts.append(_numbers(split, run.results[split]))
    return "".join(parts) + f"<p>{escape(test_opened(run))}</p>"


def test_opened(run: Run) -> str:
    """Returns the sentence on whether, when and how often labels of the test split were looked at."""
    opened = run.provenance.get("test_opened")
    times = [str(t) for t in opened] if isinstance(opened, list) else [str(opened)] if opened else []
    if len(times) == 1:
        return f"The test split was opened once, {times[0]}."
    if times:
        return (
            f"The test split was opened {len(times)} times ({', '.join(times)}); "
            "a choice made after the first time may have used it."
        )
    if "test" in run.results:
        return "Results on the test split are here, but provenance.json does not say when it was opened."
    return "The test split was not opened."


def _numbers(split: str, results: Mapping[str, Any]) -> str:
    found = per_task(results)
    cards = _cards(results, found)
    n, level = number(results.get("n")), number(section(results, "settings").get("level"))
    text = f"{n:,.0f} examples." if math.isfinite(n) else ""
    if math.isfinite(level) and 'class="ci"' in cards:
        text += f" Brackets: {100 * level:g}% bootstrap interval over examples."
    body = f"<h3>{escape(split.capitalize())}</h3><p>{text}</p>{cards}"
    without = [t for t, r in found.items() if not math.isfinite(number(r.get(main_metric(str(r.get("kind"))))))]
    if without:
        what = "1 task has" if len(without) == 1 else f"{len(without):,} tasks have"
        body += note(
            f"{what} no value on {split} (see the reasons at the task) and count in no mean: {listing(without)}."
        )
    return body


def _cards(results: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> str:
    cards = []
    for metric in _CARDS:
        having = [r for r in found.values() if metric in r]
        values = np.array([number(r[metric]) for r in having])
        if not having:
            continue
        good = np.isfinite(values)
        prevalence = np.array([number(r.get("prevalence")) for r in having])[good]
        shown = metric == "auprc" and prevalence.size and np.isfinite(prevalence).all()
        base = write_number(float(prevalence.mean())) if shown else ""
        if len(found) == 1:
            value, ends = float(values[0]), interval(having[0], metric)
            below = [f"prevalence {base}"] if base else []
        else:
            value = number(section(results, "mean").get(metric))
            ends = interval({f"{metric}_ci": section(results, "mean_ci").get(metric)}, metric)
            median = write_number(number(section(results, "median").get(metric)))
            below = [f"mean of {int(good.sum()):,} tasks"] + [f"median {median}"] * (len(having) > 2)
            below += [f"mean prevalence {base}"] if base else []
        cards.append(_card(label(metric), value, write_interval(*ends), "; ".join(below)))
    if math.isfinite(loss := number(results.get("loss"))):
        having = [r for r in found.values() if math.isfinite(number(r.get("loss")))]
        cards.append(_card("loss", loss, "", f"mean of {len(having):,} tasks, unweighted" if len(found) > 1 else ""))
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(name: str, value: float, ends: str, below: str) -> str:
    ci = f'<span class="ci">{ends}</span>' if ends else ""
    head = f"<span>{escape(name)}</span><b>{write_number(value)}</b>{ci}"
    return f'<div class="card">{head}<span>{escape(below)}</span></div>'
