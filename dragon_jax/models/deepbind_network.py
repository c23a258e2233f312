"""A DeepBind network and the numbers of a released parameter file are the same thing in two shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

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


def from_network(config: DeepBindConfig, variables: Mapping[str, Any]) -> DeepBindParameters:
    """Returns the numbers of a network with one task, as a parameter file holds them.

    Raises:
        ValueError: several tasks, averaged strands or another value at unknown bases, which the format cannot say.
    """
    trunk, head = variables["params"]["trunk"], variables["params"]["head"]
    if np.shape(head["bias"]) != (1,) or config.strands not in ("maximum", "none") or config.unknown != 0.25:
        raise ValueError("expected a network of one task with strands 'maximum' or 'none' and unknown bases of 0.25")
    first = trunk["hidden"]["dense_0"] if config.hidden else head
    last = head if config.hidden else {"kernel": np.zeros((0, 1)), "bias": np.zeros(0)}
    arrays = {
        "detectors": trunk["detectors"]["kernel"],
        "thresholds": trunk["detectors"]["bias"],
        "weights1": first["kernel"],
        "biases1": first["bias"],
        "weights2": last["kernel"],
        "biases2": last["bias"],
    }
    return DeepBindParameters(
        reverse_complement=config.strands == "maximum",
        mean_pool=config.mean_pool,
        **{k: np.asarray(v, np.float32) for k, v in arrays.items()},
    )
