"""`deepbind`: Alipanahi, Delong, Weirauch, Frey, Nat. Biotechnol. 33, 831-838 (2015), doi:10.1038/nbt.3300.

The whole sequence is one window, padded by `width - 1` unknown bases worth 0.25 on both sides; D detectors with a
threshold (added) and ReLU; maximum, or maximum and mean, over positions; optionally a hidden layer of rectified units;
a linear score. Both strands of DNA go through and the larger score counts, so only that strand receives gradient.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.config import check_range
from dragon_jax.models.base import ApartStrands, Inputs, ModelConfig
from dragon_jax.models.layers import Conv, DenseStack


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepBindConfig(ModelConfig):
    """Attributes: number and width (bases) of the detectors, whether their mean is pooled too, units of the hidden layer.

    `dropout` acts on the pooled detectors, before any dense layer, as published. `init_scale` 0 starts detectors with
    He scale; a positive number is the standard deviation of the start, as in the published calibration (1e-7 to 1e-3).
    """

    name: str = "deepbind"
    strands: ApartStrands = "maximum"
    unknown: float = 0.25
    detectors: int = 16
    width: int = 24
    mean_pool: bool = False
    hidden: int = 0
    init_scale: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_range("detectors", self.detectors, 1, 100_000)
        check_range("width", self.width, 1, 1000)
        check_range("hidden", self.hidden, 0, 100_000)
        check_range("init_scale", self.init_scale, 0, 10)

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return DeepBindTrunk(self, dtype)

    @property
    def representation_dropout(self) -> float:
        return 0.0 if self.hidden else self.dropout  # with a hidden layer the trunk drops out before it

    @property
    def first_kernel(self) -> tuple[str, ...]:
        return ("trunk", "detectors", "kernel")

    def receptive_field(self, length: int) -> int:
        return self.width


class DeepBindTrunk(nn.Module):
    config: DeepBindConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], extra: Inputs, *, train: bool) -> Float[Array, "B d"]:
        c = self.config
        pad = c.width - 1
        x = jnp.pad(x, ((0, 0), (pad, pad), (0, 0)), constant_values=c.unknown)
        init = nn.initializers.normal(c.init_scale) if c.init_scale else nn.initializers.he_normal()
        both = c.reads(train) == 2
        x = Conv(c.detectors, c.width, both_strands=both, kernel_init=init, dtype=self.dtype, name="detectors")(x)
        if c.mean_pool:
            x = nn.relu(x)
            # interleaved as in the released parameter files: max_0, mean_0, max_1, mean_1, ...
            x = jnp.stack([x.max(1), x.mean(1)], -1).reshape(x.shape[0], -1)
        else:
            x = nn.relu(x.max(1))
        if not c.hidden:
            return x
        x = nn.Dropout(c.dropout)(x, deterministic=not train)
        return DenseStack((c.hidden,), dtype=self.dtype, name="hidden")(x, train=train)
