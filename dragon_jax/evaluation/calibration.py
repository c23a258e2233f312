"""Reliability: of the examples given a probability near p, what share is positive?"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float64, Int64

from dragon_jax import metrics
from dragon_jax.errors import InputError
from dragon_jax.metrics import Value
from dragon_jax.ranking import Sample, Undefined

_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclasses.dataclass(frozen=True)
class Reliability:
    """A calibration curve: one point for each of K equally wide bins `[k/K, (k+1)/K)` of probability, the last closed.

    Attributes:
        edges: float64 `[K + 1]`.
        count: int64 `[K]`, examples in each bin.
        predicted, observed: float64 `[K]`, mean probability and share of positives; NaN where a bin is empty.
        low, high: float64 `[K]`, 95 % interval of `observed` (Wilson 1927); NaN where a bin is empty.
        error: expected calibration error over these bins, mean of |predicted - observed| over examples; equals the
            metric `ece` for its 15 bins. NaN with its reason where undefined, and then all counts are 0.
    """

    edges: Float64[np.ndarray, " E"]
    count: Int64[np.ndarray, " K"]
    predicted: Float64[np.ndarray, " K"]
    observed: Float64[np.ndarray, " K"]
    low: Float64[np.ndarray, " K"]
    high: Float64[np.ndarray, " K"]
    error: Value


def reliability(probabilities: np.ndarray, targets: np.ndarray, bins: int = metrics.ECE_BINS) -> Reliability:
    """Returns the calibration curve of a binary task.

    Args:
        probabilities, targets: `[N]`; NaN targets are left out.
        bins: number K of bins, at least 1.

    Raises:
        InputError: shapes differ, or there is no bin.
    """
    if bins < 1:
        raise InputError(f"bins of a calibration curve: expected at least 1, found {bins}")
    sample = Sample(probabilities, targets)
    try:
        if sample.problem:
            raise Undefined(sample.problem)
        p = sample.probabilities
        which = metrics.bin_of(p, bins)
        count, predicted, positive = (np.bincount(which, weights, bins) for weights in (None, p, sample.labels))
        error = Value(float(np.abs(predicted - positive).sum()) / len(sample))
    except Undefined as e:
        count, predicted, positive, error = (
            np.zeros(bins, np.int64),
            np.zeros(bins),
            np.zeros(bins),
            Value(np.nan, str(e)),
        )
    n = np.where(count > 0, count, np.nan)
    observed = positive / n
    low, high = _wilson(observed, n)
    return Reliability(np.arange(bins + 1) / bins, count, predicted / n, observed, low, high, error)


def _wilson(
    share: Float64[np.ndarray, " K"], n: Float64[np.ndarray, " K"]
) -> tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, " K"]]:
    """95 % score interval of a share of n; unlike the usual normal one it has a width at 0 and at 1."""
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
