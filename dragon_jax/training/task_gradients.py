"""Inner products of the tasks' gradients on one batch, in the space that a weighting method asks for.

`representation`: gradients of the mean losses by the last tensor common to all tasks. For linear heads they are the outer
products of logit gradients and head weights, so that the Gram matrix needs no backward pass (`gram.representation_gram`).
`last`: by the linear layer common to all tasks (`model.bottleneck`), likewise in closed form. `sketch` and `full`: by all
parameters that tasks share.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dragon_jax.training import gram
from dragon_jax.training.weighting.base import Space

EXACT_SPACES = ("representation", "last")


def exact_products(
    model: Any,
    params: Any,
    representation: Float[Array, "SB k"],
    features: Float[Array, "SB d"] | None,
    loss: Callable[[Float[Array, "B T"]], Float[Array, ""]],
    *,
    train: bool = True,
) -> Float[Array, "T T"]:
    """Returns the Gram matrix `[T, T]` of the gradients by the representation or, with `features`, by the layer behind them.

    Args:
        model: a `StrandModel`.
        loss: the sum of the tasks' mean losses as a function of the logits; its gradient by the logits of a task is then
            the one of that task's own loss. Sums run over the whole batch, so that devices agree.
    """
    frozen = {"params": jax.lax.stop_gradient(params)}
    read: Any = functools.partial(model.apply, frozen, method="read_strands")
    strands = read(jax.lax.stop_gradient(representation))
    slopes = jax.grad(lambda z: loss(model.apply(frozen, z, train=train, method="combine")))(strands)
    # The head's weights as it reads with them, whatever they are made of (low-rank additions, say).
    units = jnp.eye(representation.shape[-1], dtype=jnp.float32)
    weights = read(units) - read(jnp.zeros_like(units))
    if features is None:
        return gram.representation_gram(slopes, weights)
    return gram.last_layer_gram(jax.lax.stop_gradient(features), slopes, weights)


def parameter_products(
    space: Space, losses: Callable[[Any], Float[Array, " T"]], shared: Any, key: Array | None, probes: int
) -> Float[Array, "T T"]:
    """Returns the Gram matrix `[T, T]` of the gradients of `losses` by the parameters `shared`, exact or along random probes."""
    shared = jax.lax.stop_gradient(shared)
    if space == "full":
        return gram.full_gram(losses, shared)
    assert key is not None
    return gram.sketch_gram(losses, shared, key, probes)
