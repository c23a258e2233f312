"""The measured examples of one task in the order of their scores: what every rank metric is read off.

Sorting is the dear part of a metric, so a `Sample` sorts once and keeps what others can use. Ties are groups: nothing
here depends on the order inside a group.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from dragon_jax.errors import InputError


class Undefined(ValueError):
    """A number has no value on these examples; the message is the reason."""


class Ranked(NamedTuple):
    """Places 0 to n-1 by falling score.

    Attributes:
        order: int64 `[n]`, the example at each place.
        ends: int64 `[K]`, the last place of each of the K distinct scores.
    """

    order: Int64[np.ndarray, " n"]
    ends: Int64[np.ndarray, " K"]


class Rises(NamedTuple):
    """The R distinct scores, falling, that at least one positive has; the others change neither area nor best recall.

    Attributes:
        true, false: positives and negatives with this score or a higher one.
        false_before: negatives with a higher score.
    """

    true: Int64[np.ndarray, " R"]
    false: Int64[np.ndarray, " R"]
    false_before: Int64[np.ndarray, " R"]


def rank(scores: Shaped[np.ndarray, " n"]) -> Ranked:
    """Returns the places of n > 0 scores without NaN."""
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    return Ranked(order, np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(order) - 1))


def mid_ranks(ranked: Ranked) -> Float64[np.ndarray, " n"]:
    """Returns the rank of each example, from 1 (lowest score) to n; equal scores share the mean of their ranks."""
    sizes = np.diff(ranked.ends, prepend=-1)
    result = np.empty(len(ranked.order))
    result[ranked.order] = np.repeat(len(ranked.order) - ranked.ends + (sizes - 1) / 2, sizes)
    return result


def norm(values: Float64[np.ndarray, " n"]) -> float:
    """Returns the Euclidean norm. NumPy's own goes through BLAS, whose threads and ours get in each other's way."""
    return float(np.sqrt(np.square(values).sum()))


def centred(values: Shaped[np.ndarray, " n"], what: str) -> Float64[np.ndarray, " n"]:
    """Returns values minus their mean, in float64.

    Raises:
        Undefined: they are constant, up to the rounding of float64.
    """
    values = values.astype(np.float64)
    mean = values.mean()
    result = values - mean
    if values.min() == values.max() or norm(result) < 1e-13 * abs(mean):
        raise Undefined(f"constant {what}" if len(values) > 1 else "one measured example")
    return result


class Sample:
    """The measured examples of one task. Whatever several numbers need is worked out once, on demand.

    Attributes:
        scores, targets: `[n]`, rows with a NaN target left out, each in its own float dtype.
        logits: `[n]` of the probabilities that `scores` are, where the caller knows them; else None. They tell apart what
            float32 has rounded to a probability of 0 or 1.
        rows: int64 `[n]`, where these examples stood in the input, or None where all of them are measured.
        problem: why nothing at all can be said about these examples, or an empty string.
    """

    def __init__(self, scores: np.ndarray, targets: np.ndarray, logits: np.ndarray | None = None):
        scores, targets = (
            x if x.dtype.kind == "f" else x.astype(np.float64) for x in map(np.asarray, (scores, targets))
        )
        if scores.ndim != 1 or scores.shape != targets.shape:
            raise InputError(
                f"scores {scores.shape} and targets {targets.shape} of one task: expected two vectors of equal length"
            )
        missing = np.isnan(targets)
        self.rows = np.flatnonzero(~missing) if missing.any() else None
        self.scores, self.targets = (scores, targets) if self.rows is None else (scores[self.rows], targets[self.rows])
        if logits is not None and self.rows is not None:
            logits = logits[self.rows]
        self.logits = logits if logits is not None and np.isfinite(logits).all() else None
        self.problem = self._find_problem()

    def __len__(self) -> int:
        return len(self.targets)

    def _find_problem(self) -> str:
        if not len(self):
            return "no measured example"
        if wrong := len(self) - int(np.count_nonzero(np.isfinite(self.scores))):
            return f"{wrong:,} of {len(self):,} scores are not finite"
        return "" if np.isfinite(self.targets).all() else "infinite target"

    @functools.cached_property
    def labels(self) -> Bool[np.ndarray, " n"]:
        """Which examples are positive. Raises `Undefined` unless all targets are 0 or 1."""
        positive = self.targets == 1
        if not (positive | (self.targets == 0)).all():
            raise Undefined("targets other than 0 and 1")
        return positive

    @functools.cached_property
    def n_positive(self) -> int:
        return int(np.count_nonzero(self.labels))

    def need_both_classes(self) -> None:
        """Raises `Undefined` unless there are positives and negatives."""
        if self.n_positive in (0, len(self)):
            raise Undefined(f"one class only (all {'positive' if self.n_positive else 'negative'})")

    @functools.cached_property
    def ranked(self) -> Ranked:
        return rank(self.scores)

    @functools.cached_property
    def rises(self) -> Rises:
        """Calls of both classes at every score that a positive has."""
        self.need_both_classes()
        order, ends = self.ranked
        places = np.flatnonzero(self.labels[order])
        group = places if len(ends) == len(order) else np.searchsorted(ends, places)
        last = np.flatnonzero(np.diff(group, append=len(ends)))  # the last positive of each group that has any
        true, group = last + 1, group[last]
        before = np.where(group > 0, ends[group - 1] + 1, 0)
        return Rises(true, ends[group] + 1 - true, before - np.append(0, true[:-1]))

    @functools.cached_property
    def calls(self) -> tuple[Int64[np.ndarray, " K"], Int64[np.ndarray, " K"]]:
        """True and false positives of calling everything from a score upwards, for K distinct scores, falling."""
        order, ends = self.ranked
        true = np.cumsum(self.labels[order])[ends]
        return true, ends + 1 - true

    @functools.cached_property
    def probabilities(self) -> Float64[np.ndarray, " n"]:
        """The scores in float64. Raises `Undefined` unless all lie in [0, 1]."""
        if self.scores.min() < 0 or self.scores.max() > 1:
            raise Undefined("scores are not probabilities")
        return self.scores.astype(np.float64)
