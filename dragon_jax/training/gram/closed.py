"""Methods with weights in closed form: IMTL-G, ConFIG, Aligned-MTL, DB-MTL, and the update of GradNorm."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from dragon_jax.training.gram.prepare import Gram, Present, Weights, scaled, unit_diagonal, usable

CUTOFF = 1e-5  # eigenvalues below this share of the largest are rounding


def imtl_g(gram: Gram, present: Present) -> Weights:
    """Returns weights, some perhaps negative, whose direction projects alike on the unit gradient of every task; sum 1.

    Liu et al., ICLR 2021. Where the sum of the solution is negative it keeps its sign: dividing by it would turn the
    direction against all tasks.
    """
    weights = config(gram, present)
    return weights / jnp.maximum(jnp.abs(weights.sum()), 1e-12)


def config(gram: Gram, present: Present) -> Weights:
    """Returns the weights of the direction of equal cosine to every task, at the published length: the sum of projections.

    `w ~ D^-1 C^+ 1`, C the cosines and D the norms (Liu et al., ConFIG, 2024, arXiv:2408.11104). Where the gradients span
    all tasks this is the direction of IMTL-G.
    """
    cosine, norm = unit_diagonal(gram, present)
    ones = present.astype(gram.dtype)
    values, vectors = jnp.linalg.eigh(cosine)
    inverse = jnp.where(values > CUTOFF * values[-1], 1.0 / jnp.maximum(values, 1e-12), 0.0)
    solved = ones * (vectors @ (inverse * (vectors.T @ ones)))
    square = solved @ cosine @ solved  # squared length of the unit gradients' combination
    # Gradients that are opposed leave rounding only: there is no direction of equal positive cosine.
    length = jnp.sqrt(jnp.maximum(square, 1e-12))
    solved = jnp.where(square > 1e-6, solved, 0.0)
    projected = jnp.where(present, norm * (cosine @ solved) / length, 0.0).sum()
    return usable(jnp.maximum(projected, 0.0) * solved / length / norm, present)


def aligned_mtl(gram: Gram, present: Present, scale: Literal["min", "median"] = "min") -> Weights:
    """Returns `sqrt(s) V L^-1/2 V' u`: the mean gradient after the principal directions were brought to one length.

    s is the smallest eigenvalue kept, or the median one, which shortens the step less; u is 1/n (Senushkin et al., CVPR
    2023, arXiv:2305.19000).
    """
    matrix, _ = scaled(gram, present)
    values, vectors = jnp.linalg.eigh(matrix)
    kept = values > CUTOFF * jnp.maximum(values[-1], 1e-12)
    if scale == "median":
        size = jnp.nanmedian(jnp.where(kept, values, jnp.nan))
    else:
        size = jnp.where(kept, values, jnp.inf).min()
    root = jnp.where(kept, jnp.sqrt(size / jnp.where(kept, values, 1.0)), 0.0)
    mean = jnp.where(present, 1.0 / jnp.maximum(present.sum(), 1), 0.0)
    return usable(vectors @ (root * (vectors.T @ mean)), present)


def dbmtl(gram: Gram, present: Present, losses: Weights) -> Weights:
    """Returns `(max n / n_t) / L_t`, n the norms of the gradients of the log losses: all brought to that of the longest.

    Lin et al., 2023, arXiv:2308.12029, without their moving average of gradients. A task of no gradient weighs like one of
    the longest.
    """
    losses = jnp.maximum(losses, 1e-8)
    norm = jnp.where(present, jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0)) / losses, 0.0)
    longest = norm.max()
    factor = jnp.where(norm > 1e-6 * longest, longest / jnp.maximum(norm, 1e-30), 1.0)
    return usable(factor / losses, present)


def gradnorm(
    gram: Gram,
    present: Present,
    losses: Weights,
    start: Weights,
    weights: Weights,
    *,
    learning_rate: float | Float[Array, ""] = 0.025,
    alpha: float = 1.5,
) -> Weights:
    """Returns the next weights, whose sum over present tasks is their number.

    One step of gradient descent on `sum |w_t |g_t| - mean r_t^alpha|`, r_t being how slowly a task has trained,
    `(L_t / start_t) / mean` (Chen et al., ICML 2018, arXiv:1711.02257). Gradients are divided by their mean norm, so that
    the rate has no unit, and weights stay at least 1e-3.
    """
    count = jnp.maximum(present.sum(), 1)
    norm = jnp.where(present, jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0)), 0.0)
    norm = norm / jnp.maximum(norm.sum() / count, 1e-12)
    left = jnp.where(present, losses / jnp.maximum(start, 1e-8), 0.0)
    slowness = left / jnp.maximum(left.sum() / count, 1e-12)
    size = weights * norm
    target = jnp.where(present, size, 0.0).sum() / count * slowness**alpha
    moved = jnp.maximum(weights - learning_rate * jnp.sign(size - target) * norm, 1e-3)
    return usable(moved * count / jnp.maximum(jnp.where(present, moved, 0.0).sum(), 1e-12), present)
