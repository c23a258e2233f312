"""Pooled convolutions and dense layers: what DeepSEA, Basset and DeepSTARR share, and with batch normalisation the last two."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.models.base import Inputs, ModelConfig
from dragon_jax.models.dense import check_widths
from dragon_jax.models.layers import Conv, exchange_strands, he_normal, max_pool
from dragon_jax.models.lengths import check_towers, receptive_field, tower_lengths
from dragon_jax.models.normalization import BatchNorm, Convention


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledConfig(ModelConfig):
    """Convolutions with max pooling between them, then dense layers.

    Attributes:
        filters, widths, pools: of each convolution: filters, their width, and max pooling (1 = none), in positions.
        padding: `valid`, or `same` to keep the length at every convolution, for sequences too short for the layers.
        dense: widths of the hidden dense layers.
    """

    filters: tuple[int, ...] = (300, 200, 200)
    widths: tuple[int, ...] = (19, 11, 7)
    pools: tuple[int, ...] = (3, 4, 4)
    padding: Literal["valid", "same"] = "valid"
    dense: tuple[int, ...] = (1000, 1000)

    def __post_init__(self):
        super().__post_init__()
        check_towers(self.filters, self.widths, self.pools)
        check_widths("dense", self.dense)

    @property
    def first_kernel(self) -> tuple[str, ...]:
        return ("trunk", "conv_0", "kernel")

    def receptive_field(self, length: int) -> int:
        return min(length, receptive_field(self.widths, self.pools))

    def check_length(self, length: int) -> None:
        tower_lengths(length, self.widths, self.pools, self.padding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TowerConfig(PooledConfig):
    """The same with batch normalisation before every ReLU.

    Attributes:
        dropout: share of units zeroed after every dense layer.
        convention: of batch normalisation, see `normalization.BatchNorm`.
        flatten: which index varies slowly when positions and channels become one axis, as the weights of the
            original expect it.
    """

    convention: Convention = "torch"
    flatten: Literal["channel", "position"] = "channel"

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return TowerTrunk(self, dtype)


class TowerTrunk(nn.Module):
    config: TowerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], extra: Inputs, *, train: bool) -> Float[Array, "B d"]:
        c = self.config

        def normalise(x: Array, name: str) -> Array:
            return BatchNorm(c.convention, self.dtype, name=name)(x, train=train)

        for i, (features, width, pool) in enumerate(zip(c.filters, c.widths, c.pools, strict=True)):
            if i and c.strands == "shared":
                x = exchange_strands(x)
            x = normalise(Conv(features, width, c.padding, dtype=self.dtype, name=f"conv_{i}")(x), f"norm_{i}")
            x = nn.relu(max_pool(x, pool) if pool > 1 else x)  # the two commute
        if c.flatten == "channel":
            x = x.swapaxes(1, 2)
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(c.dense):
            if i:  # after the last one it is StrandModel that drops out
                x = nn.Dropout(c.dropout)(x, deterministic=not train)
            x = nn.Dense(width, kernel_init=he_normal, dtype=self.dtype, name=f"dense_{i}")(x)
            x = nn.relu(normalise(x, f"dense_norm_{i}"))
        return x
