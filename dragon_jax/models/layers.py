"""Layers for DNA: convolution with bias, pooling, activations, and the exchange of features between the two strands.

Axes are named B examples (strands stacked along B, see `StrandModel`), L positions, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.models.convolution import Padding, conv1d

he_normal = nn.initializers.he_normal()
glorot_uniform = nn.initializers.glorot_uniform()


class Conv(nn.Module):
    """Convolution with bias.

    With `both_strands` the input is one-hot DNA stacked as [forward; reverse], and only the forward half is read: a
    filter on the other strand is its reverse complement on this one. The result is the same, positions of the reverse
    half run backwards (so only for poolings over all positions); few filters then fill the processor better.

    Attributes:
        features: number of filters D.
        width: bases that a filter sees at dilation 1.
        padding: `valid`, `same` (L stays) or `full` (every overlap counts).
        dilation: distance between taps, in positions.
        dtype: of the computation; parameters are float32.
    """

    features: int
    width: int
    padding: Padding = "valid"
    dilation: int = 1
    use_bias: bool = True
    both_strands: bool = False
    kernel_init: Callable = he_normal
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B L C"]) -> Float[Array, "B M D"]:
        kernel = self.param("kernel", self.kernel_init, (self.width, x.shape[-1], self.features))
        if self.both_strands:
            forward = jnp.split(x, 2)[0]
            twice = jnp.concatenate([kernel, kernel[::-1, ::-1]], -1)
            y = conv1d(
                forward.astype(self.dtype), twice.astype(self.dtype), padding=self.padding, dilation=self.dilation
            )
            y = jnp.concatenate(jnp.split(y, 2, -1))
        else:
            y = conv1d(x.astype(self.dtype), kernel.astype(self.dtype), padding=self.padding, dilation=self.dilation)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias.astype(self.dtype)[None, None]
        return y


def max_pool(x: Float[Array, "B L C"], width: int, stride: int | None = None) -> Float[Array, "B P C"]:
    """Largest value of each window of `width` positions, windows `stride` apart (default: side by side); a rest is cut off."""
    stride = stride or width
    batch, length, channels = x.shape
    if width > length:
        raise ValueError(f"pooling over {width} positions, but only {length} are left")
    count = (length - width) // stride + 1
    if stride == width:  # the reshape avoids the slow gradient of reduce_window on CPU
        return x[:, : count * width].reshape(batch, count, width, channels).max(2)
    return nn.max_pool(x, (width,), (stride,), "VALID")


def exchange_strands(x: Float[Array, "B L C"]) -> Float[Array, "B L 2*C"]:
    """Appends to each strand's features those of the other strand at the same place: positions reversed, halves swapped.

    With strands stacked as [forward; reverse] along B this keeps the reverse-complement symmetry exact (the channels of
    Shrikumar, Greenside, Kundaje, bioRxiv 103663, 2017, without tied pairs of filters): swapping strands swaps outputs.
    """
    forward, reverse = jnp.split(x, 2)
    other = jnp.concatenate([reverse, forward])[:, ::-1]
    return jnp.concatenate([x, other], -1)


class PReLU(nn.Module):
    """x where positive, a learned slope per channel where negative (start 0.25)."""

    @nn.compact
    def __call__(self, x: Float[Array, "*N C"]) -> Float[Array, "*N C"]:
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],)).astype(x.dtype)
        return jnp.where(x > 0, x, slope.reshape((1,) * (x.ndim - 1) + (-1,)) * x)


class Maxout(nn.Module):
    """Largest of `pieces` linear maps of the same input (Goodfellow et al., ICML 2013)."""

    pieces: int = 2
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*N C"]) -> Float[Array, "*N C"]:
        y = nn.Dense(x.shape[-1] * self.pieces, dtype=self.dtype, name="pieces")(x)
        return y.reshape(*x.shape, self.pieces).max(-1)


FUNCTIONS: dict[str, Callable] = {
    "linear": lambda x: x,
    "sigmoid": nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": nn.relu,
    "softplus": nn.softplus,
    "elu": nn.elu,
    "gelu": functools.partial(nn.gelu, approximate=False),
    "silu": nn.silu,
    "exp": jnp.exp,
}
Activation = Literal["linear", "sigmoid", "tanh", "relu", "softplus", "elu", "gelu", "silu", "exp", "prelu", "maxout"]


def activate(
    x: Float[Array, "*N C"], activation: str, name: str, dtype: jnp.dtype = jnp.float32
) -> Float[Array, "*N C"]:
    """Applies an activation by name inside a compact module; `prelu` and `maxout` own parameters called `name`."""
    if activation == "prelu":
        return PReLU(name=name)(x)
    if activation == "maxout":
        return Maxout(dtype=dtype, name=name)(x)
    return FUNCTIONS[activation](x)


class DenseStack(nn.Module):
    """Dense layers, each followed by its activation and dropout.

    Attributes:
        widths: units of each layer.
        activation: a name of `Activation`.
        dropout: share of units set to zero while training.
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B F"], *, train: bool) -> Float[Array, "B D"]:
        for i, width in enumerate(self.widths):
            x = nn.Dense(width, kernel_init=he_normal, dtype=self.dtype, name=f"dense_{i}")(x)
            x = activate(x, self.activation, f"activation_{i}", self.dtype)
            x = nn.Dropout(self.dropout)(x, deterministic=not train)
        return x
