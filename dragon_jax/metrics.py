"""Per-task metrics as pure NumPy functions. Early stopping and the final evaluation read the same ones.

A metric is called on `(scores [N], targets [N])` and gives a `Value`: a float that, where it is NaN, says why. Targets
that are NaN are not measured and left out. Scores are probabilities (binary), values (real) or rates (count); what
depends on ranks alone takes any score. Ranks come from the scores in their own precision, sums are made in float64.

A task is sorted once (`Sample`) and every rank metric is read off that order. `task_metrics` does a whole matrix,
several tasks at a time in threads, because NumPy lets go of the interpreter while it sorts.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dragon_jax.errors import InputError, listing, nearest
from dragon_jax.ranking import Sample, Undefined, centred, mid_ranks, norm, rank

ECE_BINS = 15
_BLOCK = 16  # tasks copied at a time: one cache line of a float32 row
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Value(float):
    """A float that carries the `reason` why it is NaN; the reason is empty where the value is defined."""

    reason: str

    def __new__(cls, value: float, reason: str = "") -> Value:
        self = super().__new__(cls, value)
        self.reason = reason
        return self


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number about one task; call it on `(scores [N], targets [N])`.

    Attributes:
        name: key in every table. kinds: kinds of tasks that it suits. higher: whether more is better.
        on_sample: works it out on a `Sample` without a problem, or raises `Undefined`.
        each: for a metric that is a mean over examples, what it is the mean of; else None.
    """

    name: str
    kinds: tuple[str, ...]
    higher: bool
    on_sample: Callable[[Sample], float]
    each: Callable[[Sample], np.ndarray] | None = None

    def __call__(self, scores: np.ndarray, targets: np.ndarray) -> Value:
        """Returns the value, NaN with a reason where it is undefined.

        Raises:
            InputError: the arrays are not two vectors of equal length.
        """
        return self.of(Sample(scores, targets))

    def of(self, sample: Sample) -> Value:
        """Returns the value on examples that other metrics share."""
        if sample.problem:
            return Value(np.nan, sample.problem)
        try:
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                value = float(self.on_sample(sample))
        except Undefined as e:
            return Value(np.nan, str(e))
        return Value(value) if np.isfinite(value) else Value(np.nan, "values are too large or too small for float64")


def _mean(each: Callable[[Sample], np.ndarray]) -> Callable[[Sample], float]:
    return lambda sample: float(each(sample).mean())


# ---------------------------------------------------------------------------------------------------- binary tasks


def within_fdr(
    true: Int64[np.ndarray, " *S"], false: Int64[np.ndarray, " *S"], level: float
) -> Bool[np.ndarray, " *S"]:
    """Returns where false / (true + false) is at most `level`, up to rounding: 29 of 100 calls are within 0.29."""
    return false <= level * (true + false) * (1 + 1e-12)


def _auroc(sample: Sample) -> float:
    """Share of (positive, negative) pairs in the right order, ties half (Mann and Whitney 1947)."""
    true, false, false_before = sample.rises
    negative = len(sample) - sample.n_positive
    doubled = int((np.diff(true, prepend=0) * (2 * negative - false - false_before)).sum())
    return doubled / (2 * negative * sample.n_positive)


def _auprc(sample: Sample) -> float:
    """Average precision: sum over distinct scores of (rise of recall) x precision, without interpolation.

    Straight lines between points of a precision-recall curve would promise too much (Davis and Goadrich 2006).
    """
    true, false, _ = sample.rises
    return float((np.diff(true, prepend=0) * (true / (true + false))).sum()) / sample.n_positive


def _recall_at_fdr(sample: Sample, level: float) -> float:
    """Largest recall of a threshold whose false discovery rate is at most `level`; 0 where there is none."""
    true, false, _ = sample.rises
    return int(true[within_fdr(true, false, level)].max(initial=0)) / sample.n_positive


def _log_losses(sample: Sample) -> Float64[np.ndarray, " n"]:
    """-log(probability of what was seen), natural logarithm; exact where logits are known, and else clipped by the
    spacing of the scores' dtype at 1."""
    if sample.logits is not None:
        z = sample.logits.astype(np.float64)
        return np.logaddexp(0, np.where(sample.labels, -z, z))
    p, smallest = sample.probabilities, float(np.finfo(sample.scores.dtype).eps)
    return -np.log(np.clip(np.where(sample.labels, p, 1 - p), smallest, 1 - smallest))


def _brier_scores(sample: Sample) -> Float64[np.ndarray, " n"]:
    """Squared difference of probability and label (Brier 1950)."""
    return np.square(sample.probabilities - sample.labels)


def _hits(sample: Sample) -> Float64[np.ndarray, " n"]:
    """1 on the right side of probability 0.5, where 0.5 itself counts as positive; 0 on the wrong side."""
    return ((sample.probabilities >= 0.5) == sample.labels).astype(np.float64)


def bin_of(probabilities: Float64[np.ndarray, " n"], bins: int) -> Int64[np.ndarray, " n"]:
    """Returns which of K equally wide bins `[k/K, (k+1)/K)`, the last one closed, each probability lies in."""
    return np.minimum((probabilities * bins).astype(np.int64), bins - 1)


def _ece(sample: Sample) -> float:
    """Expected calibration error over 15 equally wide bins (Naeini et al. 2015, Guo et al. 2017).

    The mean over examples of |mean probability - share of positives| of their bin.
    """
    p = sample.probabilities
    gaps = np.bincount(bin_of(p, ECE_BINS), p - sample.labels, ECE_BINS)
    return float(np.abs(gaps).sum()) / len(sample)


# -------------------------------------------------------------------------------------------- real and count tasks


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = centred(x, "scores"), centred(y, "targets")
    return float(np.clip((x / norm(x) * (y / norm(y))).sum(), -1, 1))


def _pearson(sample: Sample) -> float:
    return _correlation(sample.scores, sample.targets)


def _spearman(sample: Sample) -> float:
    return _correlation(mid_ranks(sample.ranked), mid_ranks(rank(sample.targets)))


def _square_errors(sample: Sample) -> Float64[np.ndarray, " n"]:
    return np.square(sample.scores - sample.targets.astype(np.float64))


def _r2(sample: Sample) -> float:
    """1 - residual / total sum of squares; negative where the mean of the targets would predict better."""
    total = float(np.square(centred(sample.targets, "targets")).sum())
    return 1 - float(_square_errors(sample).sum()) / total


def _deviances(sample: Sample) -> Float64[np.ndarray, " n"]:
    """2 (y log(y / rate) - y + rate), with 0 log 0 = 0."""
    rate, seen = sample.scores.astype(np.float64), sample.targets.astype(np.float64)
    if rate.min() < 0 or seen.min() < 0:
        raise Undefined("negative rate" if rate.min() < 0 else "negative count")
    if ((rate == 0) & (seen > 0)).any():
        raise Undefined("rate of 0 where something was counted")
    some = seen > 0
    result = rate - seen
    result[some] += seen[some] * np.log(seen[some] / rate[some])
    return 2 * result


FDR_LEVELS = {"recall_at_fdr05": 0.05, "recall_at_fdr10": 0.1, "recall_at_fdr20": 0.2}

auroc = Metric("auroc", ("binary",), True, _auroc)
auprc = Metric("auprc", ("binary",), True, _auprc)
recall_at_fdr05, recall_at_fdr10, recall_at_fdr20 = (
    Metric(name, ("binary",), True, functools.partial(_recall_at_fdr, level=level))
    for name, level in FDR_LEVELS.items()
)
log_loss = Metric("log_loss", ("binary",), False, _mean(_log_losses), _log_losses)
brier = Metric("brier", ("binary",), False, _mean(_brier_scores), _brier_scores)
ece = Metric("ece", ("binary",), False, _ece)
accuracy = Metric("accuracy", ("binary",), True, _mean(_hits), _hits)
pearson = Metric("pearson", ("real", "count"), True, _pearson)
spearman = Metric("spearman", ("real", "count"), True, _spearman)
r2 = Metric("r2", ("real", "count"), True, _r2)
mse = Metric("mse", ("real", "count"), False, _mean(_square_errors), _square_errors)
poisson_deviance = Metric("poisson_deviance", ("count",), False, _mean(_deviances), _deviances)

METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        *(auroc, auprc, recall_at_fdr05, recall_at_fdr10, recall_at_fdr20, log_loss, brier, ece, accuracy),
        *(pearson, spearman, r2, mse, poisson_deviance),
    )
}
QUICK = ("auroc", "auprc", "pearson", "spearman", "r2", "mse", "poisson_deviance")  # at every evaluation of training


# ------------------------------------------------------------------------------------------------- a whole matrix


def in_threads(function: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
    """Returns `function` of each item, in order, worked out by one thread per CPU core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
        return list(pool.map(function, items))


def check_shapes(predictions: np.ndarray, targets: np.ndarray, kinds: Sequence[str]) -> None:
    """Raises InputError unless both arrays are `[N, T]` with a known kind for each of the T tasks."""
    if predictions.ndim != 2 or predictions.shape != targets.shape or predictions.shape[1] != len(kinds):
        raise InputError(
            f"predictions {predictions.shape} and targets {targets.shape} of {len(kinds)} tasks: expected [N, T] twice"
        )
    if unknown := set(kinds) - {"binary", "real", "count"}:
        raise InputError(f"kinds of tasks: expected binary, real or count, found {listing(sorted(unknown))}")


def measure(
    predictions: np.ndarray,
    targets: np.ndarray,
    kinds: Sequence[str],
    names: Sequence[str] | None = None,
    logits: np.ndarray | None = None,
) -> list[dict[str, Value]]:
    """Returns for each task its metrics by name, each NaN with its reason where it is undefined.

    Args:
        predictions, targets: `[N, T]`, any real dtype; NaN targets are not measured.
        kinds: `binary`, `real` or `count` for each task.
        names: metrics wanted, all where None; each task gets those that suit its kind.
        logits: `[N, T]` of the probabilities, NaN throughout in the column of a task without; see `Sample`.

    Raises:
        InputError: shapes do not match, or a kind or a name is unknown.
    """
    check_shapes(predictions, targets, kinds)
    for name in names or ():
        if name not in METRICS:
            raise InputError(f"metric {name!r} is unknown{nearest(name, list(METRICS))}. Known: {', '.join(METRICS)}")
    wanted = [METRICS[name] for name in (METRICS if names is None else names)]

    def block(start: int) -> list[dict[str, Value]]:
        # Columns of a large C-ordered matrix lie far apart: a block of them is copied in one pass over the rows.
        scores, seen = (np.ascontiguousarray(x[:, start : start + _BLOCK].T) for x in (predictions, targets))
        known = [None] * len(scores) if logits is None else [logits[:, start + i] for i in range(len(scores))]
        result = []
        for kind, s, y, z in zip(kinds[start : start + _BLOCK], scores, seen, known, strict=True):
            sample = Sample(s, y, z)
            result.append({m.name: m.of(sample) for m in wanted if kind in m.kinds})
        return result

    return [task for tasks in in_threads(block, range(0, len(kinds), _BLOCK)) for task in tasks]


def by_metric(per_task: Sequence[Mapping[str, float]]) -> dict[str, Float64[np.ndarray, " T"]]:
    """Turns one dict per task into one array over tasks per metric, NaN where a task does not have the metric."""
    names = [name for name in METRICS if any(name in task for task in per_task)]
    return {name: np.array([task.get(name, np.nan) for task in per_task], np.float64) for name in names}


def task_metrics(
    predictions: np.ndarray, targets: np.ndarray, kinds: Sequence[str], names: Sequence[str] | None = None
) -> dict[str, Float64[np.ndarray, " T"]]:
    """Returns each metric over all T tasks, NaN where undefined or unsuited; arguments and errors as in `measure`."""
    return by_metric(measure(predictions, targets, kinds, names))


def quick_metrics(
    predictions: np.ndarray, targets: np.ndarray, kinds: Sequence[str]
) -> dict[str, Float64[np.ndarray, " T"]]:
    """Returns the metrics that training works out at every evaluation, as `task_metrics` does."""
    return task_metrics(predictions, targets, kinds, QUICK)


def summarise(per_metric: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the mean of each metric over the tasks where it is defined; NaN where it is defined for none."""
    return {name: float(v[~np.isnan(v)].mean()) if not np.isnan(v).all() else np.nan for name, v in per_metric.items()}
