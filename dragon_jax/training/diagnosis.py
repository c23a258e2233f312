"""How the tasks of a run pull at the network: cosines of their gradients, conflict, effective number of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dragon_jax.data.batches import RowSource
from dragon_jax.data.dataset import PROFILE, Dataset
from dragon_jax.data.order import BatchOrder
from dragon_jax.files import atomic_write
from dragon_jax.models.base import StrandModel
from dragon_jax.training.devices import Devices
from dragon_jax.training.losses import TaskLosses
from dragon_jax.training.task_gradients import exact_products

NOT_INPUTS = ("targets", "weight", "rows")


class Diagnosis:
    """Compares the gradients of the tasks by the representation, on whole batches, without dropout."""

    def __init__(self, model: StrandModel, losses: TaskLosses, devices: Devices):
        def step(variables: Any, batch: Mapping[str, Any]):
            inputs = {k: v for k, v in batch.items() if k not in NOT_INPUTS and not k.startswith(PROFILE)}
            representation: Any = model.apply(variables, inputs, train=False, method="represent")

            def loss(logits):
                total, measured = losses.sums(logits, batch["targets"], batch.get("weight"))
                return (total / jnp.where(measured > 0, measured, 1.0)).sum()

            # Evaluation reads the strands that `strands` names, `combine` must do likewise.
            return exact_products(model, variables["params"], representation, None, loss, train=False)

        self._step: Callable = jax.jit(step)
        self._devices = devices

    def __call__(self, variables: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Returns float64 `[T, T]`, the cosine of each pair's gradients, the mean over the batches in which both have one;
        NaN where no batch has."""
        total = count = np.zeros(())
        for batch in batches:
            products = np.asarray(self._step(variables, self._devices.put(dict(batch))), np.float64)
            norm = np.sqrt(np.maximum(np.diagonal(products), 0))
            both = (norm > 0)[:, None] & (norm > 0)[None]
            total = total + np.where(both, products / np.where(both, norm[:, None] * norm[None], 1), 0)
            count = count + both
        with np.errstate(invalid="ignore"):
            return np.where(count > 0, np.clip(total / np.maximum(count, 1), -1, 1), np.nan)


def conflict(cosines: np.ndarray) -> float:
    """Returns the share of pairs of tasks whose mean cosine is negative; NaN where there is no pair."""
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    pairs = pairs[~np.isnan(pairs)]
    return float((pairs < 0).mean()) if pairs.size else float("nan")


def effective_number(weights: np.ndarray) -> float:
    """Returns `(sum w)^2 / sum w^2`: how many tasks of equal weight would count as much (Kish, 1965)."""
    squares = float(np.square(weights, dtype=np.float64).sum())
    return float(weights.sum(dtype=np.float64)) ** 2 / squares if squares > 0 else float("nan")


def head_cosines(kernel: np.ndarray) -> np.ndarray:
    """Returns float64 `[T, T]`, cosines of the columns of a linear head `[d, T]`; NaN for a head of zeros."""
    kernel = np.asarray(kernel, np.float64)
    norm = np.linalg.norm(kernel, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(kernel.T @ kernel / (norm[:, None] * norm[None]), -1, 1)


def first_batches(source: Dataset | RowSource, order: BatchOrder, count: int) -> list[dict[str, np.ndarray]]:
    """Returns the batches of the first `count` steps, the same ones at every evaluation."""
    result = []
    for step in range(count):
        rows = order.rows(step)
        if isinstance(source, Dataset):
            part = source.take(rows)
            batch = {"codes": part.codes, "targets": part.targets, **part.inputs}
            result.append(batch | ({} if part.weights is None else {"weight": part.weights}))
        else:
            result.append({k: v for k, v in source.read(rows).items() if not k.startswith(PROFILE)})
    return result


def write_affinity(path: Path, names: Sequence[str], cosines: np.ndarray, step: int) -> None:
    """Writes the cosines as a table, the step in its first cell."""
    with atomic_write(path) as file:
        file.write("\t".join([f"step {step}", *names]) + "\n")
        for name, row in zip(names, cosines, strict=True):
            file.write("\t".join([name, *(f"{x:.4f}" for x in row)]) + "\n")
