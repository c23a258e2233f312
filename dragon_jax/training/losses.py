"""Losses per task, with missing targets left out: sums and counts that merge exactly and are divided once.

Binary tasks use the logistic loss on logits, real tasks half the squared error on standardised values, count tasks the
Poisson negative log-likelihood of a log rate (without the constant `log y!`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.records import TfdsSplit
from dragon_jax.sections import LossConfig


@dataclasses.dataclass(frozen=True)
class TaskStatistics:
    """What the training set says about each task; float64 `[T]` each.

    Attributes:
        measured: examples with a value.
        mean: share of positives, or mean of the values.
        scale: standard deviation of real tasks (1 where it is 0), 1 for the others.
        spread: standard deviation of any task; None where a finished run is read again.
    """

    measured: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    spread: np.ndarray | None = None


def task_statistics(targets: np.ndarray, tasks: Sequence[Task]) -> TaskStatistics:
    """Returns counts, means and scales of targets `[N, T]`, missing values left out."""
    known = ~np.isnan(targets)
    measured = known.sum(0).astype(np.float64)
    mean = np.where(known, targets, 0).sum(0, dtype=np.float64) / np.maximum(measured, 1)
    spread = np.sqrt(np.where(known, (targets - mean) ** 2, 0).sum(0, dtype=np.float64) / np.maximum(measured, 1))
    real = np.array([t.kind == "real" for t in tasks])
    return TaskStatistics(measured, mean, np.where(real & (spread > 0), spread, 1.0), spread)


def part_statistics(part: Dataset | TfdsSplit) -> TaskStatistics:
    """Returns the same of a split in memory, or of one on disk as it was counted when that was written."""
    if isinstance(part, Dataset):
        return task_statistics(part.targets, part.tasks)
    found = {k: np.array(part.statistics[k], np.float64) for k in ("measured", "sum", "deviations")}
    spread = np.sqrt(found["deviations"] / np.maximum(found["measured"], 1))
    real = np.array([t.kind == "real" for t in part.tasks])
    mean = found["sum"] / np.maximum(found["measured"], 1)
    return TaskStatistics(found["measured"], mean, np.where(real & (spread > 0), spread, 1.0), spread)


@dataclasses.dataclass(frozen=True)
class TaskLosses:
    """The losses of a list of tasks as one function of logits and targets `[B, T]`. Build with `make_losses`.

    Attributes:
        binary, count: which columns are of that kind, bool `[T]`; the others are real.
        center, scale: float32 `[T]`; real targets enter the loss as `(y - center) / scale`.
        positive, negative: float32 `[T]`, weight of positive and negative examples of binary tasks.
        smoothing: label smoothing of binary tasks. gamma: exponent of their focal loss, 0 = plain logistic loss.
    """

    binary: np.ndarray
    count: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    smoothing: float = 0.0
    gamma: float = 0.0

    def elements(
        self, logits: Float[Array, "B T"], targets: Float32[Array, "B T"]
    ) -> tuple[Float[Array, "B T"], Bool[Array, "B T"]]:
        """Returns the loss of every example and task, 0 where nothing was measured, and the mask of what was."""
        measured = ~jnp.isnan(targets)
        y = jnp.where(measured, targets, 0.0)
        z = logits.astype(jnp.float32)
        loss = jnp.zeros_like(z)
        if self.binary.any():
            smooth = y * (1 - self.smoothing) + self.smoothing / 2
            up, down = self.positive[None], self.negative[None]
            yes, no = jax.nn.softplus(-z), jax.nn.softplus(z)  # -log p, -log(1 - p)
            if self.gamma:
                yes, no = yes * jnp.exp(-self.gamma * no), no * jnp.exp(-self.gamma * yes)
            logistic = up * smooth * yes + down * (1 - smooth) * no
            loss = jnp.where(self.binary[None], logistic, loss)
        if self.count.any():
            # clipped before exp so that a where-masked branch can never send a NaN backwards
            rate = jnp.exp(jnp.clip(z, max=30.0))
            loss = jnp.where(self.count[None], rate - y * z, loss)
        real = ~(self.binary | self.count)
        if real.any():
            standard = (y - self.center[None]) / self.scale[None]
            loss = jnp.where(real[None], 0.5 * (z - standard) ** 2, loss)
        return jnp.where(measured, loss, 0.0), measured

    def sums(
        self,
        logits: Any,
        targets: Float32[Array, "B T"],
        weight: Float32[Array, " B"] | None = None,
        profiles: Mapping[str, Array] | None = None,
    ) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
        """Returns numerator and denominator of each task's mean loss over measured examples.

        Args:
            logits: `[B, T]`. profiles: counts base by base; only `ProfileLosses` reads them.
        """
        loss, measured = self.elements(logits, targets)
        mask = measured.astype(jnp.float32) if weight is None else measured * weight[:, None]
        return (loss * mask).sum(0), mask.sum(0)

    def floor(
        self, targets: Float32[Array, "B T"], measured: Float[Array, " T"], weight: Float32[Array, " B"] | None = None
    ) -> Float[Array, " T"]:
        """Returns the least mean loss that any logits could have on these targets: 0 but for count tasks.

        The Poisson loss leaves out `log y!` and may be negative; methods that take its logarithm need its distance from this.
        """
        if not self.count.any():
            return jnp.zeros_like(measured)
        y = jnp.where(jnp.isnan(targets), 0.0, targets)
        least = jnp.where(self.count[None], y - jax.scipy.special.xlogy(y, y), 0.0)
        least = least if weight is None else least * weight[:, None]
        return least.sum(0) / jnp.where(measured > 0, measured, 1.0)

    def values(self, logits: np.ndarray, *, shift: np.ndarray | None = None) -> np.ndarray:
        """Returns what users read, float32 `[N, T]`: probability, value in its own units, or rate."""
        z = logits.astype(np.float64) - (0 if shift is None else shift)
        with np.errstate(over="ignore"):
            probability = 1 / (1 + np.exp(-z))
            rate = np.exp(np.minimum(z, 80.0))
        real = z * self.scale + self.center
        return np.where(self.binary, probability, np.where(self.count, rate, real)).astype(np.float32)

    def raw(self, logits: np.ndarray, *, shift: np.ndarray | None = None) -> np.ndarray:
        """Returns float32 `[N, T]`: logit, value in its own units, or log rate."""
        z = logits.astype(np.float64) - (0 if shift is None else shift)
        return np.where(self.binary | self.count, z, z * self.scale + self.center).astype(np.float32)


def make_losses(tasks: Sequence[Task], stats: TaskStatistics, config: LossConfig) -> TaskLosses:
    """Builds the losses of these tasks; class weights n/(2 n+), n/(2 n-) come from the training set and are capped."""
    kinds = np.array([t.kind for t in tasks])
    binary = kinds == "binary"
    ones = np.ones(len(tasks))
    positive, negative = ones, ones
    if config.class_weight != "none":
        share = np.clip(stats.mean, 1e-12, 1 - 1e-12)
        up, down = class_weights(share, stats.measured, config)
        positive = np.where(binary, np.minimum(up, config.class_weight_cap), 1.0)
        negative = np.where(binary, np.minimum(down, config.class_weight_cap), 1.0)
    real = kinds == "real"
    f32 = np.float32
    return TaskLosses(
        binary,
        kinds == "count",
        np.where(real, stats.mean, 0.0).astype(f32),
        np.where(real, stats.scale, 1.0).astype(f32),
        positive.astype(f32),
        negative.astype(f32),
        config.label_smoothing,
        config.focal_gamma,
    )


def class_weights(share: np.ndarray, measured: np.ndarray, config: LossConfig) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights `[T]` of positives and negatives at these shares of positives, before the cap."""
    if config.class_weight == "effective":
        beta = config.effective_beta
        up, down = (
            (1 - beta) / -np.expm1(n * np.log(max(beta, 1e-300))) for n in (share * measured, (1 - share) * measured)
        )
        average = share * up + (1 - share) * down
        return up / average, down / average
    up, down = 0.5 / share, 0.5 / (1 - share)
    return (np.sqrt(up), np.sqrt(down)) if config.class_weight == "sqrt" else (up, down)


def null_losses(tasks: Sequence[Task], stats: TaskStatistics, losses: TaskLosses) -> np.ndarray:
    """Returns float64 `[T]`, the training loss of the constant that fits the training set best.

    Binary: cross-entropy at the prevalence, class weights included. Real: half the variance of the standardised values.
    Count: half the Poisson deviance of the mean rate, to second order `variance / (2 mean)`.
    """
    kinds = np.array([t.kind for t in tasks])
    bias = head_bias(tasks, stats, losses).astype(np.float64)
    share = np.where(kinds == "binary", stats.mean, 0.0)
    logistic = losses.positive * share * np.logaddexp(0, -bias) + losses.negative * (1 - share) * np.logaddexp(0, bias)
    spread = stats.scale if stats.spread is None else stats.spread
    square = 0.5 * (spread / losses.scale.astype(np.float64)) ** 2
    poisson = 0.5 * spread**2 / np.maximum(stats.mean, 0.5 / np.maximum(stats.measured, 1))
    return np.where(kinds == "binary", logistic, np.where(kinds == "count", poisson, square))


def head_bias(tasks: Sequence[Task], stats: TaskStatistics, losses: TaskLosses) -> np.ndarray:
    """Returns float32 `[T]`, the constant logit that fits the training set best: log-odds, mean of the values as they enter
    the loss (0 where they are standardised), log mean."""
    kinds = np.array([t.kind for t in tasks])
    floor = 0.5 / np.maximum(stats.measured, 1)
    share = np.clip(stats.mean, floor, 1 - floor)
    odds = np.log(share / (1 - share)) + np.log(losses.positive.astype(np.float64) / losses.negative)
    rate = np.log(np.maximum(stats.mean, floor))
    real = np.where(kinds == "real", (stats.mean.astype(np.float32) - losses.center) / losses.scale, 0.0)
    return np.where(kinds == "binary", odds, np.where(kinds == "count", rate, real)).astype(np.float32)


def logit_shift(
    tasks: Sequence[Task], stats: TaskStatistics, losses: TaskLosses, sampled: dict[int, float] | None = None
) -> np.ndarray:
    """Returns float64 `[T]`, what to subtract from logits so that probabilities refer to the training set's prevalence.

    Class weights move the optimal logit by `log(a+ / a-)`, and drawing a share `s` of positives moves it by
    `logit(s) - logit(prevalence)` (King and Zeng, Political Analysis 9, 137-163, 2001).

    Args:
        sampled: share of positives in the batches, by task column, where batches are balanced.
    """
    shift = np.log(losses.positive.astype(np.float64) / losses.negative)
    for column, share in (sampled or {}).items():
        prevalence = np.clip(stats.mean[column], 1e-12, 1 - 1e-12)
        shift[column] += np.log(share / (1 - share)) - np.log(prevalence / (1 - prevalence))
    return np.where([t.kind == "binary" for t in tasks], shift, 0.0)


def plain_loss(losses: TaskLosses, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns float64 `[T]` mean loss over measured examples without class weights or smoothing (NaN where none is)."""
    known = ~np.isnan(targets)
    y = np.where(known, targets, 0).astype(np.float64)
    z = logits.astype(np.float64)
    logistic = np.logaddexp(0, z) - y * z
    poisson = np.exp(np.minimum(z, 80.0)) - y * z
    square = 0.5 * (z - (y - losses.center) / losses.scale) ** 2
    each = np.where(losses.binary, logistic, np.where(losses.count, poisson, square))
    n = known.sum(0)
    return np.where(n > 0, np.where(known, each, 0).sum(0) / np.maximum(n, 1), np.nan)
