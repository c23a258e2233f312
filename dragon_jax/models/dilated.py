"""`dilated`: a stem convolution and residual convolutions whose dilation doubles, pooled over positions.

Every layer doubles what a position sees at the price of one narrow convolution: eight layers of three taps behind a stem
of 21 bases see 1,041 bases. The tower is the one of BPNet (Avsec et al., Nat. Genet. 53, 354-366, 2021), which doubles
from 2 on; `bpnet` puts base-resolution heads on it, `dilated` the scalar head of every network here.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.config import check_range
from dragon_jax.models.base import Inputs, ModelConfig
from dragon_jax.models.layers import Activation, Conv, activate, exchange_strands, max_pool

LARGEST = 1 << 20  # bases; a dilation beyond this is a slip of the pen


@dataclasses.dataclass(frozen=True, kw_only=True)
class DilatedTowerConfig(ModelConfig):
    """The fields of a dilated tower, which keeps one position per base (or per `pool_width` bases).

    Attributes:
        filters: channels of every layer.
        stem_width: taps of the first convolution, in bases.
        layers: number of residual convolutions; the i-th (from 0) has dilation `first_dilation` x 2^i.
        block_width: taps of each of them.
        batch_norm: normalise after every convolution (momentum 0.9, as in Basenji); its shift then stands for the bias.
        activation: after every convolution.
        block_dropout: share of what a layer adds that is set to zero while training.
    """

    filters: int = 64
    stem_width: int = 21
    layers: int = 8
    block_width: int = 3
    first_dilation: int = 2
    batch_norm: bool = False
    activation: Activation = "relu"
    block_dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_range("filters", self.filters, 1, 100_000)
        check_range("stem_width", self.stem_width, 1, 1000)
        check_range("block_width", self.block_width, 1, 1000)
        check_range("first_dilation", self.first_dilation, 1, LARGEST)
        check_range("layers", self.layers, 0, 20)
        if self.layers and self.dilations[-1] > LARGEST:
            raise ValueError(
                f"layers: expected dilations of at most {LARGEST:,}, found {self.dilations[-1]:,} in the last of "
                f"{self.layers}"
            )
        check_range("block_dropout", self.block_dropout, 0, 1, open_high=True)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of each layer."""
        return tuple(self.first_dilation << i for i in range(self.layers))

    @property
    def reach(self) -> int:
        """Positions behind the stem that one position sees, itself included."""
        return 1 + (self.block_width - 1) * sum(self.dilations)

    @property
    def first_kernel(self) -> tuple[str, ...]:
        return ("trunk", "tower", "stem", "kernel")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DilatedConfig(DilatedTowerConfig):
    """A dilated tower under the scalar head.

    Attributes:
        pool_width: max pooling between stem and tower, in bases; 1 = none. Dilations then count pooled positions.
        pools: what is taken of every channel over all positions: `max`, `mean`, or both, one behind the other.
    """

    name: str = "dilated"
    pool_width: int = 1
    pools: Literal["max", "mean", "max_mean"] = "max_mean"

    def __post_init__(self):
        super().__post_init__()
        check_range("pool_width", self.pool_width, 1, 10_000)

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return DilatedTrunk(self, dtype)

    def receptive_field(self, length: int) -> int:
        return min(length, self.pool_width * self.reach + self.stem_width - 1)

    def check_length(self, length: int) -> None:
        if length < self.pool_width:
            raise ValueError(f"pool_width: expected at most the {length} bases of a sequence, found {self.pool_width}")


class Tower(nn.Module):
    """Stem and residual layers; positions beyond the ends count as zero, so the number of positions stays."""

    config: DilatedTowerConfig
    dtype: jnp.dtype
    pool_width: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], *, train: bool) -> Float[Array, "B P C"]:
        c = self.config
        x = self._layer(x, c.stem_width, 1, "stem", train)
        if self.pool_width > 1:
            x = max_pool(x, self.pool_width)
        for i, dilation in enumerate(c.dilations):
            seen = exchange_strands(x) if c.strands == "shared" else x
            added = self._layer(seen, c.block_width, dilation, f"layer_{i}", train)
            x = x + nn.Dropout(c.block_dropout)(added, deterministic=not train)
        return x

    def _layer(self, x: Array, width: int, dilation: int, name: str, train: bool) -> Array:
        c = self.config
        x = Conv(c.filters, width, "same", dilation, not c.batch_norm, dtype=self.dtype, name=name)(x)
        if c.batch_norm:
            norm = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype, name=f"{name}_norm")
            x = norm(x)
        return activate(x, c.activation, f"{name}_activation", self.dtype)


class DilatedTrunk(nn.Module):
    config: DilatedConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], extra: Inputs, *, train: bool) -> Float[Array, "B d"]:
        c = self.config
        x = Tower(c, self.dtype, c.pool_width, name="tower")(x, train=train)
        parts = {"max": (x.max(1),), "mean": (x.mean(1),), "max_mean": (x.max(1), x.mean(1))}[c.pools]
        return jnp.concatenate(parts, -1)
