"""MGDA and CAGrad: convex problems over weights that sum to 1, solved two tasks at a time.

Every step moves weight from the task where that gains most to the one where it gains most, by the exact minimum along that
line: O(T) a step, linear convergence, and no step size to choose (Lacoste-Julien and Jaggi, NeurIPS 2015, on pairwise
Frank-Wolfe).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dragon_jax.training.gram.prepare import RIDGE, Gram, Present, Weights, scaled, shared_by_twins, usable

TOLERANCE = 1e-5  # of the difference of slopes, where the mean squared gradient is 1
STEPS_PER_TASK, LEAST_STEPS = 8, 400


def mgda(gram: Gram, present: Present) -> Weights:
    """Returns the convex weights of the shortest combination of gradients, `argmin w'Gw` (sum 1).

    Désidéri, C. R. Math. 350, 313-318, 2012; Sener and Koltun, NeurIPS 2018, arXiv:1810.04650.
    """
    matrix, _ = scaled(gram, present)
    ridged = matrix + RIDGE * jnp.eye(len(matrix))

    def slope(product: Weights, square: Array) -> Weights:
        return product

    def length(linear, across, curve, square):
        return -across / curve

    weights = _pairwise(ridged, present, slope, jnp.zeros(len(matrix)), length)
    return usable(shared_by_twins(weights, matrix, present), present)


def cagrad(gram: Gram, present: Present, c: float = 0.4) -> Weights:
    """Returns `u + c |g0| / |g_w| w`, the direction near the mean gradient `g0` that serves the worst task most.

    u is 1/n on the n present tasks and w minimises `g_w . g0 + c |g0| |g_w|` over convex weights, in Gram form
    (Liu et al., NeurIPS 2021, arXiv:2110.14048); without the optional factor `1 / (1 + c^2)`.
    """
    matrix, _ = scaled(gram, present)
    ridged = matrix + RIDGE * jnp.eye(len(matrix))
    mean = jnp.where(present, 1.0 / jnp.maximum(present.sum(), 1), 0.0)
    linear = matrix @ mean
    radius = c * jnp.sqrt(jnp.maximum(mean @ linear, 0.0))

    def slope(product: Weights, square: Array) -> Weights:
        return linear + radius * product / jnp.sqrt(jnp.maximum(square, 1e-12))

    def length(ahead, across, curve, square):
        """Minimum of `ahead t + radius sqrt(square + 2 across t + curve t^2)`; at the far end where there is none."""
        rest = jnp.maximum(square - across**2 / curve, 0.0)
        room = radius**2 * curve - ahead**2
        inside = -ahead * jnp.sqrt(rest / jnp.maximum(curve * room, 1e-20)) - across / curve
        return jnp.where(room > 0, inside, jnp.inf)

    weights = _pairwise(ridged, present, slope, linear, length)
    square = jnp.maximum(weights @ ridged @ weights, 1e-12)
    weights = shared_by_twins(weights, matrix, present)
    return usable(mean + radius / jnp.sqrt(square) * weights, present)


def _pairwise(
    matrix: Gram,
    present: Present,
    slope: Callable[[Weights, Array], Weights],
    linear: Weights,
    length: Callable[[Array, Array, Array, Array], Float[Array, ""]],
) -> Weights:
    """Minimises over the simplex of present tasks.

    Args:
        slope: gradient of the objective from `matrix @ w` and `w'Gw`.
        length: how far to go, from the slopes of linear part and of `matrix @ w` along the way, `e_to - e_from`, and the
            curvature along it; unbounded above.
    """
    start = jnp.where(present, 1.0 / jnp.maximum(present.sum(), 1), 0.0)
    most = max(LEAST_STEPS, STEPS_PER_TASK * len(matrix))

    def pair(carry):
        weights, product, _ = carry
        square = jnp.maximum(weights @ product, 0.0)
        steep = slope(product, square)
        to = jnp.argmin(jnp.where(present, steep, jnp.inf))
        source = jnp.argmax(jnp.where(weights > 0, steep, -jnp.inf))
        return square, steep, to, source

    def goes_on(carry):
        _, steep, to, source = pair(carry)
        return (carry[2] < most) & (steep[source] - steep[to] > TOLERANCE)

    def step(carry):
        weights, product, count = carry
        square, _, to, source = pair(carry)
        column = matrix[:, to] - matrix[:, source]
        curve = jnp.maximum(column[to] - column[source], 1e-12)
        move = length(linear[to] - linear[source], product[to] - product[source], curve, square)
        move = jnp.clip(move, 0.0, weights[source])
        emptied = move >= weights[source]
        weights = weights.at[to].add(move).at[source].add(-move)
        weights = weights.at[source].set(jnp.where(emptied, 0.0, weights[source]))
        return weights, product + move * column, count + 1

    weights, _, _ = jax.lax.while_loop(goes_on, step, (start, matrix @ start, jnp.int32(0)))
    return weights
