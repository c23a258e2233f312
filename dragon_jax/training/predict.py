"""Logits of many sequences from one compiled program of fixed batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32

from dragon_jax.data.order import eval_batches
from dragon_jax.models.base import StrandModel
from dragon_jax.training.devices import Devices
from dragon_jax.training.step import make_predict_step


class LogitFunction:
    """`logits(variables, inputs)` for a network; compiles once per batch size and keeps two batches in flight."""

    def __init__(self, model: StrandModel, devices: Devices):
        self._devices = devices
        self._step: Callable = jax.jit(make_predict_step(model))

    def __call__(self, variables: Any, inputs: Mapping[str, np.ndarray], batch_size: int) -> Float32[np.ndarray, "N T"]:
        """Returns the logits of all rows, in order; `inputs` holds codes `[N, L]` and what else the network reads."""
        n = len(inputs["codes"])
        size = -(-min(batch_size, n) // self._devices.count) * self._devices.count
        parts, waiting = [], None
        for rows, valid in eval_batches(n, size):
            batch = self._devices.put({k: v[rows] for k, v in inputs.items()})
            result = self._step(variables, batch)
            if waiting is not None:
                parts.append(np.asarray(waiting[0])[waiting[1]])
            waiting = (result, valid)
        if waiting is not None:
            parts.append(np.asarray(waiting[0])[waiting[1]])
        return np.concatenate(parts)
