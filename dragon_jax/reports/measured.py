"""One metric over several runs: values, means over tasks, differences to the first run, all with intervals."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from dragon_jax.evaluation.bootstrap import INTERVALS, mean_intervals
from dragon_jax.metrics import METRICS
from dragon_jax.reports.pairing import Difference, Pair, mean_difference, task_differences
from dragon_jax.reports.read import Run, interval, number, per_task, section


@dataclasses.dataclass(frozen=True)
class Measured:
    """One metric over R runs and T tasks; NaN where a run has no value or no interval.

    Attributes:
        values: float64 `[R, T]`. ends: float64 `[R, T, 2]`, intervals over examples.
        averaged: tasks on which every run has a value.
        means: float64 `[R]`, over those tasks. mean_ends: float64 `[R, 2]`.
        differences: for each run and task, to the first run. mean_differences: for each run, of the means.
    """

    metric: str
    values: Float64[np.ndarray, "R T"]
    ends: Float64[np.ndarray, "R T 2"]
    averaged: int
    means: Float64[np.ndarray, " R"]
    mean_ends: Float64[np.ndarray, "R 2"]
    differences: list[list[Difference]]
    mean_differences: list[Difference]

    @property
    def higher(self) -> bool:
        """Whether more is better."""
        return self.metric in METRICS and METRICS[self.metric].higher

    def verdicts(self, run: int) -> tuple[int, int] | None:
        """Returns on how many tasks a run is better and worse than the first, by intervals that exclude 0.

        None where no difference has an interval, for the first run too.
        """
        if not any(math.isfinite(d.low) for d in self.differences[run]):
            return None
        above = sum(d.low > 0 for d in self.differences[run])
        below = sum(d.high < 0 for d in self.differences[run])
        return (above, below) if self.higher else (below, above)


def measure(
    metric: str, runs: Sequence[Run], split: str, tasks: Sequence[str], pairs: Sequence[Pair | None], settings: dict
) -> Measured:
    """Returns what the runs reached in one metric.

    Args:
        tasks: names, in all runs.
        pairs: of the first run with each run; None where no interval of the difference can be had, as with itself.
        settings: `n`, `seed` and `level` of the intervals.
    """
    found = [per_task(run.results.get(split, {})) for run in runs]
    values = np.array([[number(f[t].get(metric)) for t in tasks] for f in found], np.float64)
    ends = np.array([[interval(f[t], metric) for t in tasks] for f in found], np.float64)
    good = np.flatnonzero(~np.isnan(values).any(0)).tolist()
    means = values[:, good].mean(1) if len(good) else np.full(len(runs), math.nan)
    mean_ends = [_mean_ends(metric, run, split, [tasks[t] for t in good], settings) for run in runs]
    differences = [[Difference(float(d)) for d in row] for row in values - values[0]]
    mean_differences = [Difference(float(d)) for d in means - means[0]]
    for r, pair in enumerate(pairs):
        if pair is None or metric not in INTERVALS or not len(good):
            continue
        # The difference shown is that of the results; predictions give the interval around it.
        for t, d in zip(good, task_differences(pair.take(good), metric, **settings), strict=True):
            differences[r][t] = differences[r][t]._replace(low=d.low, high=d.high)
        of_mean = differences[r][good[0]] if len(good) == 1 else mean_difference(pair.take(good), metric, **settings)
        mean_differences[r] = mean_differences[r]._replace(low=of_mean.low, high=of_mean.high)
    return Measured(
        metric, values, ends, len(good), means, np.array(mean_ends, np.float64), differences, mean_differences
    )


def _mean_ends(metric: str, run: Run, split: str, tasks: list[str], settings: dict[str, Any]) -> tuple[float, float]:
    """The interval of a run's mean over these tasks: the recorded one where it is about them, else from predictions."""
    results = run.results.get(split, {})
    found = per_task(results)
    if len(tasks) == 1:
        return interval(found[tasks[0]], metric)
    if set(tasks) == {t for t, r in found.items() if not math.isnan(number(r.get(metric)))}:
        return interval({f"{metric}_ci": section(results, "mean_ci").get(metric)}, metric)
    saved = run.predictions(split)
    if saved is None or metric not in INTERVALS or not tasks or not set(tasks) <= set(saved.tasks):
        return math.nan, math.nan
    columns = [saved.tasks.index(t) for t in tasks]
    kinds = [saved.kinds[c] for c in columns]
    ends = mean_intervals(saved.values[:, columns], saved.targets[:, columns], kinds, names=[metric], **settings)
    return ends.get(metric, (math.nan, math.nan))
