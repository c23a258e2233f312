"""Fine-tuning the heads of all tasks at once on features that were worked out once.

With the trunk frozen, the heads of a linear layer have nothing in common: Adam, decay, class weights and early stopping all act
on single columns. So one run over cached features with a matrix of columns is the same, number by number, as one run for each
task, at about the cost of one. Every column has its own rate, decay, class weights, early stopping and best snapshot; several
settings for each task are several columns (`expanded`), of which valid chooses (`chosen`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float32, Float64, Int64

from dragon_jax.data.dataset import Dataset
from dragon_jax.models.base import StrandModel
from dragon_jax.training.devices import Devices
from dragon_jax.training.losses import TaskLosses, plain_loss
from dragon_jax.training.predict import BatchFunction

Features = Float32[np.ndarray, "A N S k"]


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """How heads are trained; arrays float32 `[C]`, a value for each column.

    Attributes:
        learning_rate: of Adam. weight_decay: decoupled, on kernels alone.
        batch_size, epochs: of all columns. patience: evaluations (one an epoch) without a lower valid loss after which a column
            stops.
    """

    learning_rate: Float32[np.ndarray, " C"]
    weight_decay: Float32[np.ndarray, " C"]
    batch_size: int = 128
    epochs: int = 20
    patience: int = 3


@dataclasses.dataclass(frozen=True)
class FittedHeads:
    """The best snapshot of every column.

    Attributes:
        kernel: float32 `[k, C]`. bias: float32 `[C]`.
        valid_loss: float64 `[C]`, plain loss of the snapshot, NaN where valid has no label: such columns are as after the last epoch.
        best_epoch: int64 `[C]`, 0 = as it was before. epochs: int64 `[C]`, how many were trained.
    """

    kernel: Float32[np.ndarray, "k C"]
    bias: Float32[np.ndarray, " C"]
    valid_loss: Float64[np.ndarray, " C"]
    best_epoch: Int64[np.ndarray, " C"]
    epochs: Int64[np.ndarray, " C"]


def head_features(
    model: StrandModel,
    variables: Any,
    data: Dataset,
    devices: Devices,
    *,
    shifts: Sequence[int] = (0,),
    batch_size: int = 256,
) -> Features:
    """Returns what the head reads of every row, float32 `[A, N, S, k]`: A ways to look at a row, S strands.

    Args:
        shifts: one look for each, the sequence moved by so many bases (unknown ones enter at the end).
    """
    strands = model.config.reads(False)

    def step(variables: Any, inputs: Mapping[str, Any]) -> Array:
        found: Any = model.apply(variables, inputs, train=False, method="represent")
        return jnp.stack(jnp.split(found.astype(jnp.float32), strands), 1)

    function, looks = BatchFunction(step, devices), []
    for shift in shifts:
        codes = data.codes if not shift else shifted(data.codes, shift)
        looks.append(function(variables, {"codes": codes, **data.inputs}, batch_size))
    return np.stack(looks)


def shifted(codes: np.ndarray, shift: int) -> np.ndarray:
    """Returns codes `[N, L]` moved to the right by `shift` bases, or to the left where it is negative."""
    result = np.full_like(codes, 4)
    if shift > 0:
        result[:, shift:] = codes[:, :-shift]
    else:
        result[:, :shift] = codes[:, -shift:]
    return result


def fit_heads(
    model: StrandModel,
    features: Features,
    targets: Float32[np.ndarray, "N C"],
    valid_features: Float32[np.ndarray, "B M S k"],
    valid_targets: Float32[np.ndarray, "M C"],
    losses: TaskLosses,
    shift: Float64[np.ndarray, " C"],
    kernel: Float32[np.ndarray, "k C"],
    bias: Float32[np.ndarray, " C"],
    settings: HeadSettings,
    seed: int = 0,
    weights: Float32[np.ndarray, " N"] | None = None,
) -> FittedHeads:
    """Trains all columns from `kernel` and `bias` on, in the same order of rows whatever their number.

    Args:
        features: of `head_features`; every epoch reads each row by one of its looks, drawn anew. valid_features: the first look is read.
        losses: of the columns. shift: of `losses.logit_shift`, taken off before the valid loss.
        weights: of the rows, as training has them.
    """
    columns = targets.shape[1]
    rate, decay = jnp.asarray(settings.learning_rate), jnp.asarray(settings.weight_decay)
    tx = optax.scale_by_adam()

    logits = functools.partial(_logits, model)

    def step(carry, batch, active, looks, labels, row_weights):
        params, moments = carry

        def loss(params):
            rows = looks[batch["look"], batch["row"]]
            total, measured = losses.sums(logits(params, rows), labels[batch["row"]], row_weights[batch["row"]])
            return (total / jnp.where(measured > 0, measured, 1.0)).sum()

        moved: Any
        moved, moments = tx.update(jax.grad(loss)(params), moments)
        change = {
            "kernel": -rate[None] * (moved["kernel"] + decay[None] * params["kernel"]),
            "bias": -rate * moved["bias"],
        }
        params = jax.tree.map(
            lambda p, c: p + jnp.where(active if c.ndim == 1 else active[None], c, 0.0), params, change
        )
        return (params, moments), None

    @jax.jit
    def epoch(carry, batches, active, looks, labels, row_weights):
        return jax.lax.scan(lambda c, b: step(c, b, active, looks, labels, row_weights), carry, batches)[0]

    evaluate = jax.jit(logits)

    def valid_loss(params: Any) -> np.ndarray:
        found = np.concatenate([evaluate(params, block) for block in blocks(valid_features[0], 4096)])
        return plain_loss(losses, found.astype(np.float64) - shift, valid_targets)

    params = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    carry = (params, tx.init(params))
    best = {k: np.array(v) for k, v in params.items()}
    lowest, best_epoch = valid_loss(params), np.zeros(columns, np.int64)
    unseen = np.isnan(lowest)
    stale, epochs, active = np.zeros(columns, np.int64), np.zeros(columns, np.int64), np.ones(columns, bool)
    looks, labels = jnp.asarray(features), jnp.asarray(targets)
    row_weights = jnp.ones(len(targets), jnp.float32) if weights is None else jnp.asarray(weights)
    for number in range(1, settings.epochs + 1):
        batches = drawn(len(targets), len(features), settings.batch_size, [seed, number])
        carry = epoch(carry, batches, jnp.asarray(active), looks, labels, row_weights)
        epochs += active
        now = {k: np.asarray(v) for k, v in carry[0].items()}
        found = valid_loss(carry[0])
        better = active & ((found < lowest) | unseen)
        best = {k: np.where(better, now[k], best[k]) for k in best}
        lowest, best_epoch = np.where(better, found, lowest), np.where(better, number, best_epoch)
        stale = np.where(better, 0, stale + 1)
        active &= (stale < settings.patience) | unseen
        if not active.any():
            break
    return FittedHeads(best["kernel"], best["bias"], lowest, best_epoch, epochs)


def valid_losses(
    model: StrandModel,
    features: Float32[np.ndarray, "B M S k"],
    targets: Float32[np.ndarray, "M C"],
    losses: TaskLosses,
    shift: Float64[np.ndarray, " C"],
    kernel: Float32[np.ndarray, "k C"],
    bias: Float32[np.ndarray, " C"],
) -> Float64[np.ndarray, " C"]:
    """Returns the plain loss of heads on the first look at some rows, NaN for columns without a label."""
    read = jax.jit(functools.partial(_logits, model))
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    found = np.concatenate([read(params, block) for block in blocks(features[0], 4096)])
    return plain_loss(losses, found.astype(np.float64) - shift, targets)


def _logits(model: StrandModel, params: Any, rows: Float[Array, "B S k"]) -> Any:
    stacked = jnp.moveaxis(rows, 1, 0).reshape(-1, rows.shape[-1])  # [forward; reverse]
    return model.apply({}, stacked @ params["kernel"] + params["bias"][None], train=False, method="combine")


def drawn(rows: int, looks: int, batch_size: int, seed: Sequence[int]) -> dict[str, np.ndarray]:
    """Returns int32 `[steps, B]`, the rows of an epoch in random order, and the look at each; the last odd rows wait."""
    rng = np.random.default_rng(seed)
    size = min(batch_size, rows)
    steps = rows // size
    order = rng.permutation(rows)[: steps * size].reshape(steps, size).astype(np.int32)
    return {"row": order, "look": rng.integers(0, looks, order.shape).astype(np.int32)}


def blocks(array: np.ndarray, size: int) -> list[np.ndarray]:
    return [array[i : i + size] for i in range(0, len(array), size)]


def expanded(values: np.ndarray, settings: int) -> np.ndarray:
    """Returns an array whose last axis holds every column `settings` times in a row."""
    return np.repeat(values, settings, axis=-1)


def repeated(losses: TaskLosses, settings: int) -> TaskLosses:
    """Returns the losses of `expanded` columns."""
    arrays = ("binary", "count", "center", "scale", "positive", "negative")
    changed: dict[str, Any] = {name: expanded(getattr(losses, name), settings) for name in arrays}
    return dataclasses.replace(losses, **changed)


def chosen(fitted: FittedHeads, settings: int) -> tuple[FittedHeads, Int64[np.ndarray, " T"]]:
    """Returns of each task the column of the lowest valid loss, and which of its settings that is; the first where none has one."""
    table = np.where(np.isnan(fitted.valid_loss), np.inf, fitted.valid_loss).reshape(-1, settings)
    which = table.argmin(1)
    at = np.arange(len(table)) * settings + which
    picked: Callable[[str], np.ndarray] = lambda name: getattr(fitted, name)[..., at]  # noqa: E731
    fields = (f.name for f in dataclasses.fields(FittedHeads))
    return FittedHeads(*(picked(name) for name in fields)), which
