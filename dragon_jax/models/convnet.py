"""`convnet`: the primer's network. Stacked convolutions of stride 1, max pooling, dense layers.

Specification and parameter counts: Nair and Kundaje's primer models as kept in DragoNN's SequenceDNN (convolutions ->
ReLU -> dropout, max pooling, flatten, dense). With one filter of width 10 and pooling 35 on 1,000 bases it has 70
parameters, with three layers of 15 filters of width 10 it has 5,551.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.config import check_range
from dragon_jax.models.base import Inputs, ModelConfig
from dragon_jax.models.dense import check_widths
from dragon_jax.models.layers import Activation, Conv, DenseStack, Padding, activate, exchange_strands, max_pool


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvNetConfig(ModelConfig):
    """The primer's network.

    Attributes:
        filters, widths: number and width (bases) of the filters of each convolution.
        activation, first_activation: after every convolution and dense layer; the first convolution may differ.
        conv_dropout: share of units zeroed after each convolution.
        pool_width, pool_stride: max pooling after the last convolution; width 0 pools over all positions, stride 0 = width.
        pools: `max`, or `max_mean` to put the mean beside the maximum of each window.
        dense, dense_dropout: widths of the hidden dense layers and their dropout.
    """

    name: str = "convnet"
    filters: tuple[int, ...] = (15, 15, 15)
    widths: tuple[int, ...] = (15, 15, 15)
    padding: Padding = "valid"
    activation: Activation = "relu"
    first_activation: Activation = "relu"
    conv_dropout: float = 0.0
    pool_width: int = 35
    pool_stride: int = 0
    pools: Literal["max", "max_mean"] = "max"
    dense: tuple[int, ...] = ()
    dense_dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_widths("filters", self.filters, empty=False)
        check_widths("widths", self.widths, empty=False)
        check_widths("dense", self.dense)
        if len(self.filters) != len(self.widths):
            raise ValueError(f"widths: expected {len(self.filters)} values as in filters, found {len(self.widths)}")
        for name in ("conv_dropout", "dense_dropout"):
            check_range(name, getattr(self, name), 0, 1, open_high=True)
        for name in ("pool_width", "pool_stride"):
            check_range(name, getattr(self, name), 0, 1_000_000)
        if self.pools == "max_mean" and self.pool_stride not in (0, self.pool_width):
            raise ValueError("pools: max_mean needs pool_stride 0 or equal to pool_width")

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return ConvTrunk(self, dtype)

    @property
    def first_kernel(self) -> tuple[str, ...]:
        return ("trunk", "conv_0", "kernel")

    def receptive_field(self, length: int) -> int:
        return min(length, 1 + sum(w - 1 for w in self.widths))

    def check_length(self, length: int) -> None:
        left = length
        for i, width in enumerate(self.widths):
            left += {"valid": 1 - width, "same": 0, "full": width - 1}[self.padding]
            if left < 1:
                raise ValueError(
                    f"widths: sequences of {length} bases are shorter than convolution {i} needs ({width} more)"
                )
        if self.pool_width > left:
            raise ValueError(
                f"pool_width: expected at most {left} (positions left of {length} bases), found {self.pool_width}"
            )


class ConvTrunk(nn.Module):
    config: ConvNetConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], extra: Inputs, *, train: bool) -> Float[Array, "B d"]:
        c = self.config
        last = len(c.filters) - 1
        for i, (features, width) in enumerate(zip(c.filters, c.widths, strict=True)):
            if i and c.strands == "shared":
                x = exchange_strands(x)
            x = Conv(features, width, c.padding, dtype=self.dtype, name=f"conv_{i}")(x)
            activation = c.activation if i else c.first_activation
            if i == last and activation == "relu" and c.pools == "max" and not c.conv_dropout:
                # max pooling and ReLU commute; pooling first touches fewer numbers
                return self._finish(nn.relu(self._pool(x)), train)
            x = activate(x, activation, f"activation_{i}", self.dtype)
            x = nn.Dropout(c.conv_dropout)(x, deterministic=not train)
        return self._finish(self._pool(x), train)

    def _pool(self, x: Float[Array, "B L C"]) -> Float[Array, "B P D"]:
        c = self.config
        width = c.pool_width or x.shape[1]
        top = max_pool(x, width, c.pool_stride or width)
        if c.pools == "max":
            return top
        count = top.shape[1]
        mean = x[:, : count * width].reshape(x.shape[0], count, width, x.shape[2]).mean(2)
        return jnp.concatenate([top, mean], -1)

    def _finish(self, x: Float[Array, "B P C"], train: bool) -> Float[Array, "B d"]:
        c = self.config
        flat = x.reshape(x.shape[0], -1)
        return DenseStack(c.dense, c.activation, c.dense_dropout, self.dtype, name="dense")(flat, train=train)
