"""The one table of networks, and how a config section becomes a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from dragon_jax.config import build
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.errors import InputError, nearest
from dragon_jax.models.base import ModelConfig, StrandModel
from dragon_jax.models.basset import BassetConfig
from dragon_jax.models.bpnet import BPNetConfig, ProfileModel
from dragon_jax.models.convnet import ConvNetConfig
from dragon_jax.models.danq import DanQConfig
from dragon_jax.models.deepbind import DeepBindConfig
from dragon_jax.models.deepsea import DeepSEAConfig
from dragon_jax.models.deepstarr import DeepSTARRConfig
from dragon_jax.models.dense import DenseConfig
from dragon_jax.models.dilated import DilatedConfig
from dragon_jax.models.dragonn_genome import DragonnGenomeConfig
from dragon_jax.models.dragonn_rnn import DragonnRnnConfig
from dragon_jax.models.factornet import FactorNetConfig
from dragon_jax.models.hybrid import HybridConfig
from dragon_jax.models.transformer import TransformerConfig

MODELS: dict[str, type[ModelConfig]] = {
    "dense": DenseConfig,
    "convnet": ConvNetConfig,
    "deepbind": DeepBindConfig,
    "hybrid": HybridConfig,
    "dilated": DilatedConfig,
    "bpnet": BPNetConfig,
    "factornet": FactorNetConfig,
    "danq": DanQConfig,
    "dragonn_rnn": DragonnRnnConfig,
    "deepsea": DeepSEAConfig,
    "basset": BassetConfig,
    "deepstarr": DeepSTARRConfig,
    "dragonn_genome": DragonnGenomeConfig,
    "transformer": TransformerConfig,
}


def model_config(raw: Mapping[str, Any], where: str = "model") -> ModelConfig:
    """Returns the typed config of the network called `raw["name"]`.

    Raises:
        InputError: unknown name, or fields that do not fit.
    """
    name = raw.get("name")
    if name not in MODELS:
        raise InputError(
            f"{where}.name: expected one of {', '.join(MODELS)}, found {name!r}{nearest(str(name), list(MODELS))}"
        )
    return build(MODELS[name], raw, where)


def make_model(
    config: ModelConfig,
    num_tasks: int,
    compute_dtype: str = "float32",
    specs: Mapping[str, InputSpec] | None = None,
) -> StrandModel | ProfileModel:
    """Returns the network with one output per task; parameters are float32 whatever the compute dtype.

    Args:
        specs: what the extra inputs are, by name; those that the network does not read do not matter.
    """
    read = {name: spec for name, spec in (specs or {}).items() if name in config.read_inputs}
    if isinstance(config, BPNetConfig):
        return ProfileModel(config, num_tasks, jnp.dtype(compute_dtype), read)
    return StrandModel(config, num_tasks, jnp.dtype(compute_dtype), read)
