"""Nash-MTL and FairGrad: weights at which what every task gains balances, by Newton's method on a convex problem."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dragon_jax.training.gram.prepare import Gram, Present, Weights, scaled, unit_diagonal, usable

TOLERANCE, MOST_STEPS = 1e-5, 80


def nash(gram: Gram, present: Present) -> Weights:
    """Returns the positive w of `G w = 1 / w`, the bargaining solution (Navon et al., ICML 2022, arXiv:2202.01017).

    The same as `argmin w'Gw / 2 - sum log w`, which is convex: no alternation of convex programs is needed. The direction
    does not depend on the scale of a loss.
    """
    return fairgrad(gram, present, alpha=1.0)


def fairgrad(gram: Gram, present: Present, alpha: float = 2.0) -> Weights:
    """Returns the positive w of `G w = w^(-1/alpha)` (Ban and Ji, ICML 2024, arXiv:2402.15638).

    `alpha` = 1 is Nash-MTL; the larger, the nearer to serving the worst task alone.
    """
    power = 1.0 / alpha
    matrix, size = scaled(gram, present)
    cosine, norm = unit_diagonal(matrix, present)
    # w = b / norm turns the equation into C b = norm^(power - 1) b^(-power), with ones on the diagonal.
    pull = norm ** (power - 1.0)
    weights = balance(cosine, pull, power) / norm
    # back from the mean diagonal 1: w scales with size^(-1 / (1 + power))
    return usable(weights * size ** (-1.0 / (1.0 + power)), present)


def balance(matrix: Gram, pull: Weights, power: float) -> Weights:
    """Returns the positive b of `matrix b = pull b^-power`, elementwise, for a positive definite matrix.

    Newton steps for the minimum of `b'Cb / 2 - sum pull f(b)`, `f' = b^-power`, in the metric of the Hessian
    `C + power pull b^(-power - 1)`, halved until every b stays above a tenth of itself and the objective falls.
    """

    def potential(b: Weights):
        barrier = jnp.log(b) if power == 1 else b ** (1 - power) / (1 - power)
        return 0.5 * b @ matrix @ b - (pull * barrier).sum()

    def residual(b: Weights):
        return jnp.abs(b ** (1 + power) * (matrix @ b) / (pull * b) - 1.0).max()

    def goes_on(carry):
        b, count, stuck = carry
        return (count < MOST_STEPS) & ~stuck & (residual(b) > TOLERANCE)

    def step(carry):
        b, count, _ = carry
        slope = matrix @ b - pull * b**-power
        curve = matrix + jnp.diag(power * pull * b ** (-power - 1))
        way = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(curve), slope)
        lengths = 0.5 ** jnp.arange(12.0)
        tried = b[None] - lengths[:, None] * way[None]
        allowed = (tried > 0.1 * b[None]).all(1)
        values = jnp.where(allowed, jax.vmap(potential)(jnp.where(allowed[:, None], tried, b[None])), jnp.inf)
        now = potential(b)
        # In float32 the objective stops falling before the residual does: near the end full steps are taken on trust.
        close = jnp.sqrt(jnp.maximum(slope @ way, 0.0)) < 0.1
        chosen = jnp.where(close & allowed[0], 0, jnp.argmin(values))
        better = (close & allowed[0]) | (values[chosen] < now)
        return jnp.where(better, tried[chosen], b), count + 1, ~better

    # At the start the mean of C b matches what it is to be: with many alike tasks ones would be far too large.
    start = jnp.ones(len(matrix), matrix.dtype) * (pull.mean() / jnp.maximum(matrix.mean() * len(matrix), 1e-3)) ** (
        1 / (1 + power)
    )
    b, _, _ = jax.lax.while_loop(goes_on, step, (start, jnp.int32(0), jnp.bool_(False)))
    return b
