"""Methods that project gradients from one another: PCGrad, GradVac, UPGrad."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dragon_jax.training.gram.prepare import Gram, Present, Weights, scaled, shared_by_twins, unit_diagonal, usable

SWEEPS, TOLERANCE = 200, 1e-6


def pcgrad(gram: Gram, present: Present, key: Array) -> Weights:
    """Returns the weights of the sum of all gradients after each lost its parts against the others, one after the other.

    Yu et al., NeurIPS 2020, arXiv:2001.06782. The order is drawn anew at each call, one for all tasks: each gradient changed
    by a step is then one outer product, and T steps cost O(T^3) in all.
    """
    matrix, _ = scaled(gram, present)
    diagonal = jnp.diagonal(matrix)

    def visit(carry, j):
        weights, product = carry  # rows: combinations of gradients, and their products with every gradient
        along = product[:, j]
        hit = (along < 0) & (jnp.arange(len(along)) != j) & (diagonal[j] > 0)
        coefficient = jnp.where(hit, along / jnp.maximum(diagonal[j], 1e-30), 0.0)
        return (weights.at[:, j].add(-coefficient), product - coefficient[:, None] * matrix[j][None]), None

    order = jax.random.permutation(key, len(matrix))
    (weights, _), _ = jax.lax.scan(visit, (jnp.eye(len(matrix)), matrix), order)
    return usable(jnp.where(present[:, None], weights, 0.0).sum(0), present)


def gradvac(gram: Gram, present: Present, key: Array, targets: Gram, *, rate: float = 0.01) -> tuple[Weights, Gram]:
    """Returns the weights of the sum of all gradients after each was turned to at least its target cosine with the others,
    and the targets moved towards the cosines that were met.

    Wang et al., ICLR 2021, arXiv:2010.05874. With targets 0 it is PCGrad. The order is drawn as there.

    Args:
        targets: `[T, T]`, moving average of the cosines, from 0 on. rate: of the average (their beta).
    """
    matrix, _ = scaled(gram, present)
    norm = jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), 0.0))
    places = jnp.arange(len(matrix))

    def visit(carry, j):
        weights, product, square, targets = carry
        own = jnp.sqrt(jnp.maximum(square, 0.0))
        some = (own > 0) & (norm[j] > 0) & (places != j) & present & present[j]
        cosine = jnp.clip(product[:, j] / jnp.where(some, own * norm[j], 1.0), -1.0, 1.0)
        aim = jnp.clip(targets[:, j], -0.999, 0.999)
        straight = jnp.sqrt(1 - aim**2)
        turn = own * (aim * jnp.sqrt(1 - cosine**2) - cosine * straight) / (jnp.maximum(norm[j], 1e-30) * straight)
        turn = jnp.where(some & (cosine < aim), turn, 0.0)
        square = square + 2 * turn * product[:, j] + turn**2 * matrix[j, j]
        met = jnp.where(some, (1 - rate) * targets[:, j] + rate * cosine, targets[:, j])
        product = product + turn[:, None] * matrix[j][None]
        return (weights.at[:, j].add(turn), product, square, targets.at[:, j].set(met)), None

    order = jax.random.permutation(key, len(matrix))
    start = (jnp.eye(len(matrix)), matrix, jnp.diagonal(matrix), targets)
    (weights, _, _, targets), _ = jax.lax.scan(visit, start, order)
    return usable(jnp.where(present[:, None], weights, 0.0).sum(0), present), targets


def upgrad(gram: Gram, present: Present) -> Weights:
    """Returns the weights of the mean of all gradients, each first projected on the directions that harm no task.

    `w = sum_i argmin_{v >= e_i / n} v'Gv` (Quinton and Rey, 2024, arXiv:2406.16232). Coordinate descent on all n problems
    at once, each coordinate to its exact minimum: O(T^3) a sweep, so let many tasks be solved for rarely (`update_every`).
    """
    matrix, _ = scaled(gram, present)
    cosine, norm = unit_diagonal(matrix, present)
    least = jnp.diag(norm * present / jnp.maximum(present.sum(), 1))  # in units of unit gradients

    def sweep(carry):
        solution, _, count = carry

        def coordinate(v, j):
            moved = v[:, j] - (v @ cosine[:, j]) / cosine[j, j]
            return v.at[:, j].set(jnp.maximum(moved, least[:, j])), None

        after, _ = jax.lax.scan(coordinate, solution, jnp.arange(len(cosine)))
        return after, jnp.abs(after - solution).max(), count + 1

    def goes_on(carry):
        return (carry[1] > TOLERANCE * jnp.maximum(least.max(), 1e-12)) & (carry[2] < SWEEPS)

    first = (least, jnp.asarray(jnp.inf), jnp.int32(0))
    solution, _, _ = jax.lax.while_loop(goes_on, sweep, first)
    return usable(shared_by_twins(solution.sum(0) / norm, matrix, present), present)
