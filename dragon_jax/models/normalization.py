"""Batch normalisation with the conventions of PyTorch or Keras (Ioffe and Szegedy, ICML 2015).

While training, every channel is scaled by its mean and variance over the batch: all examples, both strands where they
are stacked along the batch, and all devices, since a step is one program on the whole batch. Running statistics live in
the collection `batch_stats`, travel with checkpoints, and take the place of those of the batch afterwards. They are a moving
average themselves, of what the trained weights give; optim.ema averages weights and leaves them as they are.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

Convention = Literal["torch", "keras"]


class Rule(NamedTuple):
    """How running statistics move: `kept` is the weight of the old value; `unbiased` divides the variance by n - 1."""

    epsilon: float
    kept: float
    unbiased: bool


RULES: dict[str, Rule] = {"torch": Rule(1e-5, 0.9, True), "keras": Rule(1e-3, 0.99, False)}


class BatchNorm(nn.Module):
    """Normalises the last axis; trainable `scale` and `bias` `[C]`, running `mean` and `var` `[C]`, all float32.

    Attributes:
        convention: `torch` (epsilon 1e-5, new value counts 0.1, variance over n - 1 in the running statistics) or
            `keras` (1e-3, 0.01, variance over n).
        dtype: of what it returns; statistics are float32 whatever it is.
    """

    convention: Convention = "torch"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *P C"], *, train: bool) -> Float[Array, "B *P C"]:
        rule, channels = RULES[self.convention], x.shape[-1]

        def wide(values: Array) -> Array:
            return values.reshape((1,) * (x.ndim - 1) + (channels,))

        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        mean, var = running_mean.value, running_var.value
        if train:
            values = x.astype(jnp.float32)
            others = tuple(range(x.ndim - 1))
            mean = values.mean(others)
            var = jnp.square(values - wide(mean)).mean(others)
            if not self.is_initializing():
                n = x.size // channels
                spread = var * (n / max(n - 1, 1)) if rule.unbiased else var
                running_mean.value = rule.kept * running_mean.value + (1 - rule.kept) * mean
                running_var.value = rule.kept * running_var.value + (1 - rule.kept) * spread
        factor = scale / jnp.sqrt(var + rule.epsilon)
        return (x.astype(jnp.float32) * wide(factor) + wide(bias - mean * factor)).astype(self.dtype)
