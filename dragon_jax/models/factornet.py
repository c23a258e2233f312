"""`factornet`: sequence and signal at base resolution, a bidirectional LSTM, and numbers about the row. Both strands.

Specification: Quang & Xie, Methods 166, 40-47, 2019, doi:10.1016/j.ymeth.2019.03.020, with the sizes of the released
ENCODE-DREAM models (kernels of 34 bases, pooling over 17, 1,002 bases). Their 12 kinds have 256,769 to 4,042,259
parameters, see `tests/models/test_factornet.py`.

    one-hot and tracks -> convolution, ReLU -> dropout 0.1 -> dense at every position, ReLU -> max pooling -> LSTM
    -> dropout -> dense, ReLU [-> beside the metadata -> dropout 0.1 -> dense, ReLU] -> dropout -> tasks

Extra inputs, both optional: `signal` `[B, L, C]` stands beside the letters (in the paper DNase cuts and the uniqueness of
35-mers), `metadata` `[B, Q]` joins late (expression components of the cell type, annotations of the bin).
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.config import check_range
from dragon_jax.models.base import ApartStrands, Inputs, ModelConfig
from dragon_jax.models.convolution import conv1d
from dragon_jax.models.layers import glorot_uniform, max_pool
from dragon_jax.models.recurrent import Gate, Recurrent


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactorNetConfig(ModelConfig):
    """FactorNet.

    Attributes:
        kernels, width: number K and width (bases) of the kernels.
        pool_width: max pooling before the LSTM, in positions, side by side; a rest is cut off.
        recurrent: width R of each direction of the LSTM; 0 = none, -1 = none and one maximum over all positions instead
            of the pooling.
        dense: width D of the hidden layers.
        dropout: before the tasks; none in the released models.
        conv_dropout, recurrent_dropout, metadata_dropout: after the convolution, after the LSTM (or the pooling; 0.2 or
            0.5 in the released models), and after the metadata have joined.
        input_dropout, state_dropout: of the LSTM, see `models.recurrent`.
        gate: of the LSTM; released weights need Keras' hard sigmoid.
    """

    name: str = "factornet"
    strands: ApartStrands = "probability"
    dropout: float = 0.2
    kernels: int = 32
    width: int = 34
    pool_width: int = 17
    recurrent: int = 32
    dense: int = 64
    conv_dropout: float = 0.1
    recurrent_dropout: float = 0.2
    metadata_dropout: float = 0.1
    input_dropout: float = 0.1
    state_dropout: float = 0.1
    gate: Gate = "hard_sigmoid"

    def __post_init__(self):
        super().__post_init__()
        for name in ("kernels", "dense"):
            check_range(name, getattr(self, name), 1, 100_000)
        for name in ("width", "pool_width"):
            check_range(name, getattr(self, name), 1, 10_000)
        check_range("recurrent", self.recurrent, -1, 100_000)
        for name in ("conv_dropout", "recurrent_dropout", "metadata_dropout", "input_dropout", "state_dropout"):
            check_range(name, getattr(self, name), 0, 1, open_high=True)

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return FactorNetTrunk(self, dtype)

    @property
    def optional_inputs(self) -> tuple[str, ...]:
        return ("signal", "metadata")

    @property
    def first_kernel(self) -> tuple[str, ...]:
        return ("trunk", "conv", "kernel")

    def receptive_field(self, length: int) -> int:
        return min(length, self.width) if self.recurrent <= 0 else length

    def check_length(self, length: int) -> None:
        left = length - self.width + 1
        if left < 1:
            raise ValueError(f"width: expected at most {length}, the bases of a sequence, found {self.width}")
        if self.recurrent >= 0 and self.pool_width > left:
            raise ValueError(
                f"pool_width: expected at most {left} (positions left of {length} bases), found {self.pool_width}"
            )


class FactorNetTrunk(nn.Module):
    config: FactorNetConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], extra: Inputs, *, train: bool) -> Float[Array, "B d"]:
        c = self.config
        dense = functools.partial(nn.Dense, kernel_init=glorot_uniform, dtype=self.dtype)
        signal, metadata = (
            None if n not in extra else jnp.asarray(extra[n], self.dtype) for n in self.config.optional_inputs
        )
        x = nn.relu(SignalConv(c.kernels, c.width, self.dtype, name="conv")(x, signal))
        x = nn.Dropout(c.conv_dropout, name="conv_dropout")(x, deterministic=not train)
        x = dense(c.kernels, name="position_dense")(x)
        # max pooling and ReLU commute; pooling first touches fewer numbers
        x = nn.relu(max_pool(x, c.pool_width if c.recurrent >= 0 else x.shape[1]))
        if c.recurrent > 0:
            x = Recurrent(
                c.recurrent,
                gate=c.gate,
                input_dropout=c.input_dropout,
                state_dropout=c.state_dropout,
                dtype=self.dtype,
                name="lstm",
            )(x, train=train)
        x = nn.Dropout(c.recurrent_dropout, name="recurrent_dropout")(x, deterministic=not train)
        x = nn.relu(dense(c.dense, name="dense_0")(x.reshape(x.shape[0], -1)))
        if metadata is not None:
            x = jnp.concatenate([x, metadata.reshape(x.shape[0], -1)], -1)
            x = nn.Dropout(c.metadata_dropout, name="metadata_dropout")(x, deterministic=not train)
            x = nn.relu(dense(c.dense, name="dense_1")(x))
        return x


class SignalConv(nn.Module):
    """One valid convolution with bias over letters and tracks side by side, its kernel kept in two parts.

    `kernel` `[W, 4, K]` reads the letters, so that it can be looked at and started as motifs; `tracks` `[W, C, K]`, if
    there are any, the signal. Both start as parts of one Glorot-uniform kernel `[W, 4 + C, K]`.
    """

    features: int
    width: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], signal: Float[Array, "B L C"] | None = None) -> Float[Array, "B M K"]:
        channels = 4 + (0 if signal is None else signal.shape[-1])
        limit = math.sqrt(6 / (self.width * (channels + self.features)))

        def uniform(key: Array, shape: tuple[int, ...]) -> Array:
            return jax.random.uniform(key, shape, jnp.float32, -limit, limit)

        kernel = self.param("kernel", uniform, (self.width, 4, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if signal is not None:
            tracks = self.param("tracks", uniform, (self.width, channels - 4, self.features))
            kernel = jnp.concatenate([kernel, tracks], 1)
            x = jnp.concatenate([x, signal.astype(x.dtype)], -1)
        return conv1d(x.astype(self.dtype), kernel.astype(self.dtype)) + bias.astype(self.dtype)[None, None]
