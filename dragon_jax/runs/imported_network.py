"""Weights of a network from elsewhere, as a run holds them: all sections of a config, outputs, checked leaves, the summary."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dragon_jax.config import defaults, plain
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.models.base import ModelConfig
from dragon_jax.models.registry import make_model
from dragon_jax.models.summary import summarise_model
from dragon_jax.runs.imported import Imported
from dragon_jax.runs.predictor import NetworkPredictor
from dragon_jax.runs.settings import NETWORK_SECTIONS, parse
from dragon_jax.sections import EvaluateConfig


def of_network(
    config: ModelConfig,
    length: int,
    specs: Mapping[str, InputSpec],
    shapes: Mapping[str, Sequence[int]],
    tasks: Sequence[str],
    params: Mapping[str, np.ndarray],
    origin: Mapping[str, Any],
) -> Imported:
    """Returns what an importer hands over for a network with binary tasks.

    Args:
        length: bases of a sequence. specs, shapes: of the other inputs, by name; a shape is that of one row.
        tasks: names of the outputs.
        params: every parameter, float32, by path below `params`.
        origin: file, digest, format and citation, for the provenance.

    Raises:
        InputError: a parameter is missing, surplus, or of another shape than the network has; each by its path.
    """
    model_section = plain(dataclasses.asdict(config))
    sections: dict[str, Any] = {"seed": 0, "model": model_section}
    sections |= {name: plain(defaults(section)) for name, section in NETWORK_SECTIONS.items()}
    sections["evaluate"] = plain(defaults(EvaluateConfig))
    inputs = {name: spec.plain() | {"shape": list(shapes[name])} for name, spec in specs.items()}
    entries = [{"name": t, "kind": "binary", "measured": 0.0, "mean": 0.0, "scale": 1.0} for t in tasks]
    outputs = {"length": length, "inputs": inputs, "tasks": entries}
    leaves = {f"params/{path}": np.asarray(value, np.float32) for path, value in params.items()}
    NetworkPredictor(
        parse(sections, imported=True), outputs, dict(leaves), str(origin["file"])
    )  # every weight has its place
    model = make_model(config, len(tasks), specs=specs)
    example = {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}
    text = summarise_model(model, {"codes": np.zeros((1, length), np.uint8), **example})
    return Imported(config=sections, outputs=outputs, leaves=leaves, text=text, origin={"imported": dict(origin)})
