"""FactorNet's forward pass in NumPy, position by position, in float64: what `models.factornet` is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon_jax import dna
from dragon_jax.models.factornet import FactorNetConfig


def numpy_factornet(params: Mapping[str, Any], config: FactorNetConfig, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the probabilities float64 `[B, T]`: the mean of those of the two strands."""
    other = dict(inputs) | {"codes": dna.reverse_complement(inputs["codes"])}
    if "signal" in inputs:
        other["signal"] = inputs["signal"][:, ::-1]
    return (_one_strand(params, config, inputs) + _one_strand(params, config, other)) / 2


def _one_strand(params: Mapping[str, Any], config: FactorNetConfig, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    p = params["trunk"]
    x = np.concatenate([np.eye(5)[inputs["codes"]][..., :4], *([inputs["signal"]] if "signal" in inputs else [])], -1)
    kernel = np.concatenate([np.asarray(p["conv"][k], np.float64) for k in ("kernel", "tracks") if k in p["conv"]], 1)
    windows = np.lib.stride_tricks.sliding_window_view(x, len(kernel), axis=1)  # [B, M, C, W]
    x = _dense(p["position_dense"], _relu(np.einsum("bmcw,wck->bmk", windows, kernel) + np.asarray(p["conv"]["bias"])))
    width = config.pool_width if config.recurrent >= 0 else x.shape[1]
    x = _relu(np.stack([x[:, s : s + width].max(1) for s in range(0, x.shape[1] - width + 1, width)], 1))
    if config.recurrent > 0:
        forward = _lstm({k: p["lstm"][f"forward_{k}"] for k in ("kernel", "recurrent", "bias")}, x)
        backward = _lstm({k: p["lstm"][f"backward_{k}"] for k in ("kernel", "recurrent", "bias")}, x[:, ::-1])
        x = np.concatenate([forward, backward[:, ::-1]], -1)
    x = _relu(_dense(p["dense_0"], x.reshape(len(x), -1)))
    if "metadata" in inputs:
        x = _relu(_dense(p["dense_1"], np.concatenate([x, inputs["metadata"]], -1)))
    return 1 / (1 + np.exp(-_dense(params["head"], x)))


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _dense(p: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    return x @ np.asarray(p["kernel"], np.float64) + np.asarray(p["bias"], np.float64)


def _lstm(p: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    w, u, b = (np.asarray(p[k], np.float64) for k in ("kernel", "recurrent", "bias"))
    hard = lambda v: np.clip(0.2 * v + 0.5, 0, 1)  # noqa: E731
    h = c = np.zeros((len(x), len(u)))
    states = []
    for t in range(x.shape[1]):
        i, f, n, o = np.split(x[:, t] @ w + h @ u + b, 4, -1)
        c = hard(f) * c + hard(i) * np.tanh(n)
        h = hard(o) * np.tanh(c)
        states.append(h)
    return np.stack(states, 1)
