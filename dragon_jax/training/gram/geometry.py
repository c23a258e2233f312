"""Gram matrices of task gradients: in closed form for linear heads, along random directions, and in full.

`G[s, t]` is the inner product of the gradients of the mean losses of tasks s and t. All sums over examples are plain
contractions over the batch axis: on several devices only `[T, T]` (or `[d, T]`) is reduced between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Gram = Float[Array, "T T"]


def representation_gram(slopes: Float[Array, "N T"], heads: Float[Array, "d T"]) -> Gram:
    """Returns the inner products of the gradients by the representation `R [N, d]`, for logits `R @ heads + bias`.

    The gradient of task t by row b is `slopes[b, t] * heads[:, t]`, so that `G = (D'D) * (W'W)` elementwise: exact, without a
    backward pass. It bounds the gradients by the trunk up to the norm of the trunk's Jacobian (MGDA-UB: Sener and
    Koltun, NeurIPS 2018, arXiv:1810.04650).

    Args:
        slopes: gradient of each task's mean loss by its own logit; N counts rows, strands or positions.
    """
    return _product(slopes) * _product(heads)


def last_layer_gram(features: Float[Array, "N k"], slopes: Float[Array, "N T"], heads: Float[Array, "d T"]) -> Gram:
    """Returns the inner products of the gradients by the kernel K of a linear layer, `R = features @ K`, common to all tasks.

    The gradient of task t is the outer product of `features' slopes[:, t]` and `heads[:, t]`.
    """
    return _product(_dot(features.astype(jnp.float32).T, slopes)) * _product(heads)


def full_gram(losses: Callable[[Any], Float[Array, " T"]], params: Any) -> Gram:
    """Returns the exact inner products of the gradients by `params`, from a backward pass a task: for few tasks.

    The passes are taken in turn: mapped together, the gradient of a convolution would be a grouped convolution, slow on CPUs.
    """
    values, back = jax.vjp(losses, params)
    rows = [back(unit)[0] for unit in jnp.eye(len(values), dtype=values.dtype)]
    leaves = zip(*(jax.tree.leaves(row) for row in rows), strict=True)
    return sum((_product(jnp.stack([x.ravel() for x in leaf], 1)) for leaf in leaves), jnp.zeros((len(rows),) * 2))


def sketch_gram(losses: Callable[[Any], Float[Array, " T"]], params: Any, key: Array, probes: int) -> Gram:
    """Returns an unbiased estimate of `full_gram` of rank `probes`: one forward-mode pass each gives `g_t . v` of all tasks.

    v is standard normal; the relative standard error of a squared norm is sqrt(2 / probes).
    """
    leaves, tree = jax.tree.flatten(params)
    values, along = jax.linearize(losses, params)
    total = jnp.zeros((len(values),) * 2)
    for probe in jax.random.split(key, probes):
        keys = jax.random.split(probe, len(leaves))
        drawn = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
        slope = along(jax.tree.unflatten(tree, drawn))
        total = total + slope[:, None] * slope[None]
    return total / probes


def cosines(gram: Gram) -> Gram:
    """Returns the cosine of each pair of gradients, 0 where one of them is 0."""
    norm = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0))
    both = norm[:, None] * norm[None]
    return jnp.where(both > 0, jnp.clip(gram / jnp.where(both > 0, both, 1.0), -1.0, 1.0), 0.0)


def conflict(gram: Gram, present: Bool[Array, " T"]) -> Float[Array, ""]:
    """Returns the share of pairs of present tasks whose gradients have a negative inner product; 0 where there is no pair."""
    pairs = jnp.triu(present[:, None] & present[None], 1)
    return ((gram < 0) & pairs).sum() / jnp.maximum(pairs.sum(), 1)


def _product(x: Float[Array, "N T"]) -> Gram:
    return _dot(x.T, x)


def _dot(a: Array, b: Array) -> Array:
    # Inner products that nearly cancel decide about conflict: no shortened mantissas on accelerators.
    return jnp.matmul(a.astype(jnp.float32), b.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)
