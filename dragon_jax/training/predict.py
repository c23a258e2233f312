"""What a network gives for many sequences, from one compiled program of fixed batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dragon_jax.data.order import eval_batches
from dragon_jax.models.base import StrandModel
from dragon_jax.models.bpnet import ProfileModel
from dragon_jax.training.devices import Devices
from dragon_jax.training.step import make_predict_step


class BatchFunction:
    """`function(variables, inputs)` for all rows; compiles once per batch size and keeps two batches in flight."""

    def __init__(self, step: Callable[[Any, dict[str, Any]], Any], devices: Devices):
        """`step` takes variables and a batch of columns `[B, ...]` and returns an array `[B, ...]`, or several by name."""
        self._devices = devices
        self._step: Callable = jax.jit(step)

    def __call__(self, variables: Any, inputs: Mapping[str, np.ndarray], batch_size: int) -> Any:
        """Returns what the step gives for all rows, in order; `inputs` holds codes `[N, L]` and what else it reads."""
        n = len(inputs["codes"])
        size = -(-min(batch_size, n) // self._devices.count) * self._devices.count
        parts, waiting = [], None
        for rows, valid in eval_batches(n, size):
            batch = self._devices.put({k: v[rows] for k, v in inputs.items()})
            result = self._step(variables, batch)
            if waiting is not None:
                parts.append(_kept(*waiting))
            waiting = (result, valid)
        if waiting is not None:
            parts.append(_kept(*waiting))
        return jax.tree.map(lambda *blocks: np.concatenate(blocks), *parts)


class LogitFunction(BatchFunction):
    """`logits(variables, inputs)` of a network, float32 `[N, T]`."""

    def __init__(self, model: StrandModel | ProfileModel, devices: Devices):
        super().__init__(make_predict_step(model), devices)


def _kept(result: Any, valid: np.ndarray) -> Any:
    """The rows of a batch that do not merely fill it up, on the host."""
    return jax.tree.map(lambda x: np.asarray(x)[valid], result)
