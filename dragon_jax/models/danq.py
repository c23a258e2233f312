"""`danq`: a convolution over motifs and a bidirectional LSTM over what it finds.

Specification: Quang & Xie, NAR 44, e107, 2016, doi:10.1093/nar/gkw226. On 1,000 bases and 919 tasks 46,926,479
parameters; DanQ-JASPAR (1,024 kernels of 30, pooling 15, LSTM 512, many kernels started at known motifs: here
`train.motif_start`) has 67,892,175. Its training: RMSprop, batches of 100, the forward strand only.

    convolution, ReLU -> max pooling -> dropout 0.2 -> LSTM -> dropout 0.5 -> dense, ReLU -> tasks
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.config import check_range
from dragon_jax.models.base import ApartStrands, Inputs, ModelConfig
from dragon_jax.models.layers import Conv, glorot_uniform, max_pool
from dragon_jax.models.recurrent import Gate, Recurrent


@dataclasses.dataclass(frozen=True, kw_only=True)
class DanQConfig(ModelConfig):
    """DanQ.

    Attributes:
        kernels, width: number and width (bases) of the kernels.
        pool_width: max pooling before the LSTM, in positions, side by side; a rest is cut off.
        recurrent: width of each direction of the LSTM.
        dense: width of the hidden layer; `dropout` comes between it and the tasks, none in the paper.
        pool_dropout, recurrent_dropout: after the pooling and after the LSTM.
        gate: of the LSTM; Keras of that time has the hard sigmoid.
    """

    name: str = "danq"
    strands: ApartStrands = "none"
    kernels: int = 320
    width: int = 26
    pool_width: int = 13
    recurrent: int = 320
    dense: int = 925
    pool_dropout: float = 0.2
    recurrent_dropout: float = 0.5
    gate: Gate = "hard_sigmoid"

    def __post_init__(self):
        super().__post_init__()
        for name in ("kernels", "width", "pool_width", "recurrent", "dense"):
            check_range(name, getattr(self, name), 1, 100_000)
        for name in ("pool_dropout", "recurrent_dropout"):
            check_range(name, getattr(self, name), 0, 1, open_high=True)

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return DanQTrunk(self, dtype)

    @property
    def first_kernel(self) -> tuple[str, ...]:
        return ("trunk", "conv", "kernel")

    def check_length(self, length: int) -> None:
        left = length - self.width + 1
        if self.pool_width > left:
            raise ValueError(
                f"width, pool_width: sequences of {length} bases are shorter than one kernel and one pooling window "
                f"({self.width + self.pool_width - 1})"
            )


class DanQTrunk(nn.Module):
    config: DanQConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], extra: Inputs, *, train: bool) -> Float[Array, "B d"]:
        c = self.config
        x = Conv(c.kernels, c.width, kernel_init=glorot_uniform, dtype=self.dtype, name="conv")(x)
        x = nn.relu(max_pool(x, c.pool_width))
        x = nn.Dropout(c.pool_dropout, name="pool_dropout")(x, deterministic=not train)
        x = Recurrent(c.recurrent, gate=c.gate, dtype=self.dtype, name="lstm")(x, train=train)
        x = nn.Dropout(c.recurrent_dropout, name="recurrent_dropout")(x, deterministic=not train)
        x = x.reshape(x.shape[0], -1)
        return nn.relu(nn.Dense(c.dense, kernel_init=glorot_uniform, dtype=self.dtype, name="dense")(x))
