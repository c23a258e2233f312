"""`dragonn_rnn`: the primer's network with DragoNN's recurrent block between pooling and tasks.

Specification: DragoNN's SequenceDNN (see `models.convnet`): after the max pooling a GRU of 35 units whose states at all
positions pass one dense layer of 15 (ReLU), shared by the positions. With `convnet`'s 3 x 15 filters of 15 bases, pooling
35 and 1,000 bases it has 13,996 parameters.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.config import check_range
from dragon_jax.models.convnet import ConvNetConfig, ConvTrunk
from dragon_jax.models.layers import glorot_uniform
from dragon_jax.models.recurrent import Gate, Recurrent


@dataclasses.dataclass(frozen=True, kw_only=True)
class DragonnRnnConfig(ConvNetConfig):
    """All of `convnet`, and:

    Attributes:
        recurrent: units of the GRU, which reads the pooled positions forward.
        position_dense: width of the dense layer at every position.
        gate: of the GRU; Keras of that time has the hard sigmoid.
    """

    name: str = "dragonn_rnn"
    recurrent: int = 35
    position_dense: int = 15
    gate: Gate = "hard_sigmoid"

    def __post_init__(self):
        super().__post_init__()
        for name in ("recurrent", "position_dense"):
            check_range(name, getattr(self, name), 1, 100_000)

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return RecurrentConvTrunk(self, dtype)

    def receptive_field(self, length: int) -> int:
        return length


class RecurrentConvTrunk(ConvTrunk):
    config: DragonnRnnConfig

    def _finish(self, x: Float[Array, "B P C"], train: bool) -> Float[Array, "B d"]:
        c = self.config
        x = Recurrent(c.recurrent, "gru", bidirectional=False, gate=c.gate, dtype=self.dtype, name="gru")(
            x, train=train
        )
        x = nn.Dense(c.position_dense, kernel_init=glorot_uniform, dtype=self.dtype, name="position_dense")(x)
        return super()._finish(nn.relu(x), train)
