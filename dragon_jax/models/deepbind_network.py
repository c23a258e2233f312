"""The numbers of a DeepBind parameter file as a network; `runs.exports` goes the other way."""

from __future__ import annotations

from typing import Any

from dragon_jax.models.deepbind import DeepBindConfig
from dragon_jax.models.deepbind_files import DeepBindParameters


def to_network(parameters: DeepBindParameters) -> tuple[DeepBindConfig, dict[str, Any]]:
    """Returns the config and the variables of the network that scores as these parameters do (one window, one task)."""
    p = parameters
    config = DeepBindConfig(
        strands="maximum" if p.reverse_complement else "none",
        detectors=len(p.thresholds),
        width=p.width,
        mean_pool=p.mean_pool,
        hidden=p.hidden,
    )
    trunk: dict[str, Any] = {"detectors": {"kernel": p.detectors, "bias": p.thresholds}}
    if not p.hidden:
        return config, {"params": {"trunk": trunk, "head": {"kernel": p.weights1, "bias": p.biases1}}}
    trunk["hidden"] = {"dense_0": {"kernel": p.weights1, "bias": p.biases1}}
    return config, {"params": {"trunk": trunk, "head": {"kernel": p.weights2, "bias": p.biases2}}}
