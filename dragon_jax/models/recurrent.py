"""LSTM and GRU layers over positions, in one or both directions.

The input is projected for all positions by one matrix product; only the product with the state is left to `lax.scan`, in
which both directions advance together. With `s` the logistic function (or `hard_sigmoid`), `*` element by element, x the
input and h the state of the position before:

    LSTM, gates i, f, c, o:   i, f, o = s(x W + h U + b);  c' = f * c + i * tanh(x W_c + h U_c + b_c);  h' = o * tanh(c')
    GRU,  gates z, r, h:      z, r = s(x W + h U + b);  n = tanh(x W_h + (r * h) U_h + b_h);  h' = z * h + (1 - z) * n

Kernels of all gates lie side by side in this order, as in Keras 2 and 3 (and for the LSTM in PyTorch); Keras 1 files keep
them apart, as i, c, f, o. `reset_after` multiplies r with (h U_h) instead, as PyTorch and cuDNN do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

Cell = Literal["lstm", "gru"]
Gate = Literal["sigmoid", "hard_sigmoid"]
Step = Callable[[Array, Array], tuple[Array, Array]]
GATES = {"lstm": 4, "gru": 3}


def hard_sigmoid(x: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """clip(0.2 x + 0.5, 0, 1), as in Keras 1 and 2. `jax.nn.hard_sigmoid` and Keras 3 have the slope 1/6."""
    return jnp.clip(0.2 * x + 0.5, 0.0, 1.0)


SQUASH: dict[str, Callable] = {"sigmoid": nn.sigmoid, "hard_sigmoid": hard_sigmoid}


class Recurrent(nn.Module):
    """Returns the state at every position; with `bidirectional` those of both directions, forward first.

    The parameters of a direction are `{forward,backward}_{kernel,recurrent,bias}`: `[C, G R]`, `[R, G R]`, `[G R]`, with G
    the gates of the cell. Every gate's kernel is Glorot uniform, its recurrent kernel orthogonal, biases are 0 but those
    of the forget gate 1 (Jozefowicz et al., ICML 2015).

    Attributes:
        features: width R of the state.
        cell: `lstm` or `gru`.
        bidirectional: read backwards too, with parameters of its own.
        gate: what squashes the gates.
        input_dropout, state_dropout: share of channels of the input, and of the state where it is fed back, that are 0
            while training: one mask per sequence and direction, the same at all positions (Gal & Ghahramani, NIPS 2016).
            Keras draws one for each gate; here the gates share it, so that the projection stays one product.
        reset_after: of the GRU, see above.
        dtype: of the products; parameters, gates and states are float32.
    """

    features: int
    cell: Cell = "lstm"
    bidirectional: bool = True
    gate: Gate = "sigmoid"
    input_dropout: float = 0.0
    state_dropout: float = 0.0
    reset_after: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B L C"], *, train: bool) -> Float[Array, "B L D"]:
        names = ("forward", "backward") if self.bidirectional else ("forward",)
        inputs, kernels = [], []
        for name in names:
            kernel, recurrent, bias = self._parameters(name, x.shape[-1])
            dropped = nn.Dropout(self.input_dropout, broadcast_dims=(1,), name=f"{name}_input_dropout")(
                x, deterministic=not train
            )
            projected = dropped.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(self.dtype)[None, None]
            inputs.append(projected if name == "forward" else projected[:, ::-1])
            kernels.append(recurrent.astype(self.dtype))
        keep = jnp.ones((len(names), x.shape[0], self.features))
        keep = nn.Dropout(self.state_dropout, name="state_dropout")(keep, deterministic=not train)
        states = self._scan(jnp.stack(inputs).transpose(2, 0, 1, 3), jnp.stack(kernels), keep)
        directions = [states[:, 0]] + ([states[::-1, 1]] if self.bidirectional else [])
        return jnp.concatenate(directions, -1).swapaxes(0, 1).astype(self.dtype)

    def _parameters(self, name: str, channels: int) -> tuple[Array, Array, Array]:
        gates, width = GATES[self.cell], self.features
        glorot, orthogonal = nn.initializers.glorot_uniform(), nn.initializers.orthogonal()

        def bias(key: Array, shape: tuple[int, ...]) -> Array:
            return jnp.zeros(shape).at[width : 2 * width].set(1.0 if self.cell == "lstm" else 0.0)

        return (
            self.param(f"{name}_kernel", _per_gate(glorot, gates), (channels, gates * width)),
            self.param(f"{name}_recurrent", _per_gate(orthogonal, gates), (width, gates * width)),
            self.param(f"{name}_bias", bias, (gates * width,)),
        )

    def _scan(
        self, inputs: Float[Array, "L D B G"], kernels: Float[Array, "D R G"], keep: Float[Array, "D B R"]
    ) -> Float[Array, "L D B R"]:
        squash, width = SQUASH[self.gate], self.features

        def lstm(carry: tuple[Array, Array], projected: Array) -> tuple[tuple[Array, Array], Array]:
            h, c = carry
            i, f, n, o = jnp.split(projected.astype(jnp.float32) + _product(h * keep, kernels), 4, -1)
            c = squash(f) * c + squash(i) * jnp.tanh(n)
            h = squash(o) * jnp.tanh(c)
            return (h, c), h

        def gru(carry: tuple[Array, Array], projected: Array) -> tuple[tuple[Array, Array], Array]:
            h, c = carry
            own, new = jnp.split(projected.astype(jnp.float32), [2 * width], -1)
            gates, candidate = jnp.split(kernels, [2 * width], -1)
            kept = h * keep
            if self.reset_after:
                both, fed = jnp.split(_product(kept, kernels), [2 * width], -1)
                z, r = jnp.split(squash(own + both), 2, -1)
                n = jnp.tanh(new + r * fed)
            else:
                z, r = jnp.split(squash(own + _product(kept, gates)), 2, -1)
                n = jnp.tanh(new + _product(r * kept, candidate))
            h = z * h + (1 - z) * n
            return (h, c), h

        start = jnp.zeros(keep.shape, jnp.float32)
        return lax.scan(lstm if self.cell == "lstm" else gru, (start, start), inputs)[1]


def _per_gate(init: Callable, gates: int) -> Callable:
    """Draws the kernel of each gate by itself, so that its scale is that of one gate."""

    def draw(key: Array, shape: tuple[int, int]) -> Array:
        keys = jax.random.split(key, gates)
        return jnp.concatenate([init(k, (shape[0], shape[1] // gates), jnp.float32) for k in keys], -1)

    return draw


def _product(states: Float[Array, "D B R"], kernels: Float[Array, "D R G"]) -> Float[Array, "D B G"]:
    """The states of each direction times its kernel, in float32."""
    states = states.astype(kernels.dtype)
    if jax.default_backend() == "cpu":  # XLA hands plain products to the vector library, batched ones only in part
        each = [jnp.dot(h, u, preferred_element_type=jnp.float32) for h, u in zip(states, kernels, strict=True)]
        return jnp.stack(each)
    return jnp.einsum("dbr,drg->dbg", states, kernels, preferred_element_type=jnp.float32)
