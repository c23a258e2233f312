"""`dense`: fully connected layers on the flattened one-hot sequence, with any activation of the primer."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.models.base import Inputs, ModelConfig
from dragon_jax.models.layers import FUNCTIONS, Activation, DenseStack


def check_widths(name: str, widths: tuple[int, ...], *, empty: bool = True) -> None:
    if any(w < 1 for w in widths) or (not empty and not widths):
        raise ValueError(f"{name}: expected {'' if empty else 'at least one '}whole numbers >= 1, found {widths}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseConfig(ModelConfig):
    """Attributes: widths of the hidden layers (none = logistic regression on one-hot), their activation and dropout."""

    name: str = "dense"
    widths: tuple[int, ...] = (64,)
    activation: Activation = "relu"
    hidden_dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_widths("widths", self.widths)

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return DenseTrunk(self, dtype)


class DenseTrunk(nn.Module):
    config: DenseConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], extra: Inputs, *, train: bool) -> Float[Array, "B d"]:
        c = self.config
        flat = x.reshape(x.shape[0], -1)
        return DenseStack(c.widths, c.activation, c.hidden_dropout, self.dtype, name="layers")(flat, train=train)


ACTIVATIONS = (*FUNCTIONS, "prelu", "maxout")
