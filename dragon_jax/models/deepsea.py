"""`deepsea`: three convolutions, one large dense layer (Zhou and Troyanskaya, Nat. Methods 12, 931-934, 2015).

With its defaults, 1,000 bases and 919 tasks it has the 52,843,119 parameters of the published network; selene's version of
it (`dense=(919,), floor=0.0`) has 52,532,319. Features are flattened channel by channel as in Torch, so released weights fit
once their input channels, A G C T there, are put in the order A C G T of this project.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.config import check_range
from dragon_jax.models.base import Inputs, Strands
from dragon_jax.models.layers import Conv, exchange_strands, glorot_uniform, max_pool
from dragon_jax.models.tower import PooledConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepSEAConfig(PooledConfig):
    """The published network; every size can be changed.

    Attributes:
        strands, train_strands: as published, one strand at a time in training (both come by
            augment.reverse_complement=0.5), afterwards the mean probability of the two.
        conv_dropout: share of units zeroed after each convolution and its pooling.
        floor: what the rectifier returns for input that is not positive. The published network has 1e-6.
    """

    name: str = "deepsea"
    strands: Strands = "probability"
    train_strands: Literal["same", "one"] = "one"
    filters: tuple[int, ...] = (320, 480, 960)
    widths: tuple[int, ...] = (8, 8, 8)
    pools: tuple[int, ...] = (4, 4, 1)
    conv_dropout: tuple[float, ...] = (0.2, 0.2, 0.5)
    dense: tuple[int, ...] = (925,)
    floor: float = 1e-6

    def __post_init__(self):
        super().__post_init__()
        if len(self.conv_dropout) != len(self.filters):
            raise ValueError(
                f"conv_dropout: expected {len(self.filters)} values as in filters, found {len(self.conv_dropout)}"
            )
        for share in self.conv_dropout:
            check_range("conv_dropout", share, 0, 1, open_high=True)
        check_range("floor", self.floor, 0, 1)

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return DeepSEATrunk(self, dtype)


class DeepSEATrunk(nn.Module):
    config: DeepSEAConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], extra: Inputs, *, train: bool) -> Float[Array, "B d"]:
        c = self.config
        layers = zip(c.filters, c.widths, c.pools, c.conv_dropout, strict=True)
        for i, (features, width, pool, dropout) in enumerate(layers):
            if i and c.strands == "shared":
                x = exchange_strands(x)
            x = Conv(features, width, c.padding, dtype=self.dtype, name=f"conv_{i}")(x)
            # Pooling first touches fewer numbers. The other order differs by less than `floor`, and only where the largest
            # number of a window lies between 0 and `floor`.
            x = rectify(max_pool(x, pool) if pool > 1 else x, c.floor)
            x = nn.Dropout(dropout)(x, deterministic=not train)
        x = x.swapaxes(1, 2).reshape(x.shape[0], -1)  # channels vary slowly
        for i, width in enumerate(c.dense):
            x = nn.Dense(width, kernel_init=glorot_uniform, dtype=self.dtype, name=f"dense_{i}")(x)
            x = rectify(x, c.floor)
        return x


def rectify(x: Float[Array, "*N C"], floor: float) -> Float[Array, "*N C"]:
    """Returns `x` where it is positive and `floor` elsewhere (not the larger of both: a tiny positive number stays)."""
    return jnp.where(x > 0, x, jnp.asarray(floor, x.dtype))
