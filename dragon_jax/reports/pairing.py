"""Are two runs' numbers about the same examples, and how much do they differ on them?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dragon_jax.errors import show
from dragon_jax.evaluation.bootstrap import paired_difference, percentile_interval, resampler
from dragon_jax.evaluation.resampling import blocks, draw
from dragon_jax.metrics import METRICS, in_threads
from dragon_jax.ranking import Sample
from dragon_jax.reports.read import Predictions, Run, number, per_task, section

_TOGETHER = 2**24  # numbers of two bytes held at a time while examples are drawn


class Difference(NamedTuple):
    """How much a number exceeds that of the first run; the ends are NaN where there is no interval."""

    value: float
    low: float = np.nan
    high: float = np.nan


class Pair(NamedTuple):
    """Two runs on the same rows.

    Attributes:
        first, other: float32 `[N, T]`, predictions of the tasks compared. targets: float32 `[N, T]`.
        kinds: T of them.
    """

    first: np.ndarray
    other: np.ndarray
    targets: np.ndarray
    kinds: tuple[str, ...]

    def take(self, tasks: Sequence[int]) -> Pair:
        """Returns the tasks with these indices."""
        first, other, targets = (x[:, list(tasks)] for x in (self.first, self.other, self.targets))
        return Pair(first, other, targets, tuple(self.kinds[t] for t in tasks))


def different_data(first: Run, other: Run, split: str, tasks: Sequence[str]) -> str:
    """Returns why the two runs were evaluated on different examples, or an empty string when nothing says so.

    Saved predictions decide, by ids and labels; without them the fingerprints of the split; without those the counts.
    """
    a, b = first.predictions(split), other.predictions(split)
    if a is not None and b is not None:
        return _different_rows(a, b, tasks)
    marks = [_fingerprint(run, split) for run in (first, other)]
    if all(marks):
        return "" if marks[0] == marks[1] else f"fingerprints {marks[0][:8]}... and {marks[1][:8]}..."
    found = [per_task(run.results.get(split, {})) for run in (first, other)]
    for task in tasks:
        for count, what in (("n", "examples"), ("n_positive", "positives")):
            n = [number(f.get(task, {}).get(count)) for f in found]
            if n[0] != n[1] and np.isfinite(n).all():
                return f"{n[0]:,.0f} and {n[1]:,.0f} {what} of task {show(task)}"
    return ""


def checked_by(first: Run, other: Run, split: str) -> str:
    """Returns what `different_data` could look at, for the record."""
    if first.predictions(split) is not None and other.predictions(split) is not None:
        return "ids and labels"
    if all(_fingerprint(run, split) for run in (first, other)):
        return "fingerprints"
    return "counts only"


def pair(first: Run, other: Run, split: str, tasks: Sequence[str]) -> Pair | None:
    """Returns the predictions of two runs on the same rows, or None where one has none or the rows differ."""
    a, b = first.predictions(split), other.predictions(split)
    if a is None or b is None or not set(tasks) <= set(a.tasks) & set(b.tasks) or _different_rows(a, b, tasks):
        return None
    columns = [[p.tasks.index(t) for t in tasks] for p in (a, b)]
    rows = _matching(a, b)
    kinds = tuple(a.kinds[c] for c in columns[0])
    return Pair(a.values[:, columns[0]], b.values[rows][:, columns[1]], a.targets[:, columns[0]], kinds)


def task_differences(found: Pair, metric: str, *, n: int, seed: int, level: float) -> list[Difference]:
    """Returns for each task how much the metric of the other run exceeds that of the first, with a paired interval."""

    def one(t: int) -> Difference:
        if found.kinds[t] not in METRICS[metric].kinds:
            return Difference(np.nan)
        b, a, seen = (np.ascontiguousarray(x[:, t]) for x in (found.other, found.first, found.targets))
        result = paired_difference(b, a, seen, metric, n=n, seed=seed, level=level)
        return Difference(result.difference, result.low, result.high)

    return in_threads(one, range(len(found.kinds)))


def mean_difference(found: Pair, metric: str, *, n: int, seed: int, level: float) -> Difference:
    """Returns the difference of the means over tasks of a metric, with a paired interval.

    Examples are drawn once for both runs and all tasks, as for the interval of a mean (`bootstrap.mean_intervals`). A
    task without a value in one of the runs counts in neither mean; the same holds on each resample.
    """
    size = max(len(found.targets), 1)
    rng = np.random.default_rng([seed, len(found.kinds), 3])
    value = _mean_differences(found, metric, np.ones((1, len(found.targets)), np.uint16))
    drawn = []
    for rows in blocks(n, size, _TOGETHER):
        weights = [draw(rng, r, len(found.targets)).astype(np.uint16) for r in blocks(rows, size)]
        drawn.append(_mean_differences(found, metric, np.concatenate(weights)))
    ends = percentile_interval(np.concatenate(drawn), level) if drawn else (np.nan, np.nan)
    return Difference(float(value[0]), *ends)


def _mean_differences(found: Pair, metric: str, weights: np.ndarray) -> np.ndarray:
    """Mean over tasks of the metric's difference, `[B]`, where example i counts `weights[:, i]` times."""
    nowhere = np.full(len(weights), np.nan)

    def of_run(scores: np.ndarray, seen: np.ndarray, kind: str) -> np.ndarray:
        sample = Sample(scores, seen)
        of = resampler(sample, kind, [metric])
        if of is None or metric not in of.names:
            return nowhere
        rows = weights if sample.rows is None else weights[:, sample.rows]
        parts = np.split(rows, np.cumsum(blocks(len(rows), len(sample)))[:-1])
        return np.concatenate([of.weighted(part)[metric] for part in parts])

    def one(t: int) -> np.ndarray:
        other, first = (of_run(x[:, t], found.targets[:, t], found.kinds[t]) for x in (found.other, found.first))
        return other - first

    values = np.stack([nowhere, *in_threads(one, range(len(found.kinds)))])
    count = (~np.isnan(values)).sum(0)
    return np.where(count > 0, np.nansum(values, 0) / np.maximum(count, 1), np.nan)


def _fingerprint(run: Run, split: str) -> str:
    return str(section(section(run.provenance, "data"), split).get("fingerprint") or "")


def _matching(a: Predictions, b: Predictions) -> np.ndarray:
    """Rows of `b` in the order of `a`, whose ids are the same."""
    if np.array_equal(a.ids, b.ids):
        return np.arange(len(a.ids))
    rows = np.empty(len(a.ids), np.int64)
    rows[np.argsort(a.ids, kind="stable")] = np.argsort(b.ids, kind="stable")
    return rows


def _different_rows(a: Predictions, b: Predictions, tasks: Sequence[str]) -> str:
    if len(a.ids) != len(b.ids):
        return f"{len(a.ids):,} and {len(b.ids):,} examples"
    if not np.array_equal(a.ids, b.ids):
        alone = np.setdiff1d(a.ids, b.ids)
        if len(alone):
            return f"{len(alone):,} of {len(a.ids):,} ids of the first are not in the second, such as {show(alone[0])}"
        if len(np.unique(a.ids)) < len(a.ids):
            return "the order differs, and repeated ids leave open which row is which"
    rows = _matching(a, b)
    for task in set(tasks) & set(a.tasks) & set(b.tasks):
        labels = a.columns(task)[1], b.columns(task)[1][rows]
        if not np.array_equal(*labels, equal_nan=True):
            return f"other labels of task {show(task)}"
    return ""
