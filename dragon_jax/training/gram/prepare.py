"""What all solvers do to a Gram matrix first, and to weights last."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Gram = Float[Array, "T T"]
Weights = Float[Array, " T"]
Present = Bool[Array, " T"]
RIDGE = 1e-6  # added to the diagonal of a matrix whose mean diagonal is 1


def scaled(gram: Gram, present: Present) -> tuple[Gram, Float[Array, ""]]:
    """Returns the matrix with absent tasks emptied, divided by its mean diagonal, and that mean (1 where all is 0)."""
    kept = jnp.where(present[:, None] & present[None], gram, 0.0)
    size = jnp.trace(kept) / jnp.maximum(present.sum(), 1)
    size = jnp.where(size > 0, size, 1.0)
    return kept / size, size


def unit_diagonal(gram: Gram, present: Present) -> tuple[Gram, Weights]:
    """Returns the cosines of the gradients plus the ridge, and the norms.

    Absent tasks and those of no gradient stand alone, with cosine 1 to themselves; their norm is given as 1 (absent) or as the
    mean of the others, so that they weigh as much as a usual task and disturb none.
    """
    norm = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0))
    real = present & (norm > 1e-10 * norm.max())
    usual = jnp.where(real, norm, 0.0).sum() / jnp.maximum(real.sum(), 1)
    norm = jnp.where(real, norm, jnp.where(present & (usual > 0), usual, 1.0))
    cosine = jnp.clip(gram / (norm[:, None] * norm[None]), -1.0, 1.0)
    cosine = jnp.where(real[:, None] & real[None], cosine, 0.0)
    eye = jnp.eye(len(norm), dtype=gram.dtype)
    return jnp.where(eye > 0, 1.0 + RIDGE, cosine), norm


def shared_by_twins(weights: Weights, gram: Gram, present: Present) -> Weights:
    """Returns weights in which present tasks of the same gradient have the mean of theirs: a minimum leaves open who takes it."""
    diagonal = jnp.diagonal(gram)
    apart = diagonal[:, None] + diagonal[None] - 2 * gram
    twins = (apart <= 1e-5 * jnp.maximum(diagonal[:, None], diagonal[None])) & present[:, None] & present[None]
    twins = (twins | jnp.eye(len(weights), dtype=bool)).astype(weights.dtype)
    return twins @ weights / twins.sum(1)


def usable(weights: Weights, present: Present) -> Weights:
    """Returns the weights, 0 for absent tasks; 1 for all present ones where some weight is not finite.

    A method that finds no direction for all tasks (opposed gradients, say) gives zeros: then tasks weigh alike, see
    `weighting.normalised`.
    """
    good = jnp.isfinite(jnp.where(present, weights, 0.0)).all()
    return jnp.where(present, jnp.where(good, weights, 1.0), 0.0)
