"""Penalised regression of many tasks on the same features: ridge in closed form, logistic and Poisson by L-BFGS.

All fits minimise, for each task by itself, `mean loss over measured rows + strength / 2 * |w|^2`, with an intercept
that is not penalised. Tasks never influence each other; they are solved side by side because they share the features,
so that most of the work is matrix products. Features are float32 `[N, G]` whose last column is all ones (for the
intercept), targets `[N, T]` with NaN = not measured; the result is float64 `[S, G, T]`, coefficients for S strengths.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64

_ROWS = 4096  # rows that are copied to float64 at a time
_PAIRS = 8  # steps that L-BFGS remembers
_HALVINGS = 30  # of a step, before the line search takes what it has
Elementwise = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Family:
    """A canonical link: the loss of margins and targets, and its first derivative.

    Attributes:
        name: for messages.
        elements: `(margins, targets) -> (loss, mean - target)`, elementwise.
        link: mean -> margin. variance: mean -> second derivative of the loss.
    """

    name: str
    elements: Elementwise
    link: Callable[[np.ndarray], np.ndarray]
    variance: Callable[[np.ndarray], np.ndarray]


def _logistic(eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-log probability of the label, and probability - label; one exponential that cannot overflow serves both."""
    small = np.exp(-np.abs(eta))
    loss = np.maximum(eta, 0) + np.log1p(small) - y * eta
    return loss, np.where(eta >= 0, 1, small) / (1 + small) - y


def _poisson(eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Negative log-likelihood of counts without the constant `log y!`, and rate - count."""
    rate = np.exp(np.minimum(eta, 80))  # float32 ends at exp(88); a step that goes there is refused by the line search
    return rate - y * eta, rate - y


LOGISTIC = Family("logistic", _logistic, lambda m: np.log(m / (1 - m)), lambda m: m * (1 - m))
POISSON = Family("Poisson", _poisson, np.log, lambda m: m)


# ------------------------------------------------------------------------------------------------------------ ridge


def ridge(
    x: Float32[np.ndarray, "N G"],
    targets: Float32[np.ndarray, "N T"],
    weights: Float[np.ndarray, " N"] | None,
    strengths: Sequence[float],
) -> Float64[np.ndarray, "S G T"]:
    """Returns the exact minimisers of half the squared error plus the penalty, `(X'AX + strength I)^-1 X'Ay`.

    Tasks that were measured on the same rows share one Gram matrix, and one whose missing rows are the fewer part takes
    theirs off the matrix of all rows; both are exact, since all sums are made in float64.
    """
    known = ~np.isnan(targets)
    weight = np.ones(len(x)) if weights is None else weights.astype(np.float64)
    moments = _product(x, np.where(known, targets, 0) * weight[:, None])
    patterns, pattern_of = np.unique(known, axis=1, return_inverse=True)
    pattern_of = pattern_of.ravel()
    everything: np.ndarray | None = None
    result = np.empty((len(strengths), x.shape[1], targets.shape[1]))
    for i, measured in enumerate(patterns.T):
        mine = pattern_of == i
        if 2 * measured.sum() > len(x):
            everything = _gram(x, weight) if everything is None else everything
            gram = everything if measured.all() else everything - _gram(x[~measured], weight[~measured])
        else:
            gram = _gram(x[measured], weight[measured])
        total = weight[measured].sum()
        for j, strength in enumerate(strengths):
            matrix = gram / total
            matrix[np.diag_indices(len(gram) - 1)] += strength  # the intercept, last, is free
            result[j][:, mine] = np.linalg.solve(matrix, moments[:, mine] / total)
    return result


def _gram(x: Float32[np.ndarray, "n G"], weight: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "G G"]:
    result = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        block = x[rows] * np.sqrt(weight[rows])[:, None]  # float64 from here on
        result += block.T @ block
    return result


def _product(x: Float32[np.ndarray, "N G"], y: Float64[np.ndarray, "N T"]) -> Float64[np.ndarray, "G T"]:
    result = np.zeros((x.shape[1], y.shape[1]))
    for start in range(0, len(x), _ROWS):
        result += x[start : start + _ROWS].astype(np.float64).T @ y[start : start + _ROWS]
    return result


# ------------------------------------------------------------------------------------------------ logistic, Poisson


def generalised(
    x: Float32[np.ndarray, "N G"],
    targets: Float32[np.ndarray, "N T"],
    weights: Float[np.ndarray, " N"] | None,
    strengths: Sequence[float],
    family: Family,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 500,
    say: Callable[[str], None] = lambda line: None,
) -> Float64[np.ndarray, "S G T"]:
    """Returns the minimisers of the family's loss plus the penalty, each strength starting from the one before it.

    Args:
        strengths: best in falling order, because a strongly penalised fit is a good start for a weaker one.
        tolerance: a task is done when no component of its gradient exceeds this share of the loss's curvature at the
            mean; on features of unit scale that is about the error left in a coefficient.
        say: gets one line per strength.
    """
    known = ~np.isnan(targets)
    share = known if weights is None else known * weights[:, None]
    share = (share / share.sum(0, dtype=np.float64)).astype(np.float32)
    y = np.where(known, targets, 0).astype(np.float32)
    mean = (share * y).sum(0, dtype=np.float64)
    theta = np.zeros((x.shape[1], targets.shape[1]))
    theta[-1] = family.link(mean)
    result = np.empty((len(strengths), *theta.shape))
    for j, strength in enumerate(strengths):
        penalty = np.full((x.shape[1], 1), strength)
        penalty[-1] = 0
        theta, iterations, left = _minimise(
            x, y, share, theta, penalty, family, tolerance * family.variance(mean), max_iterations
        )
        result[j] = theta
        rest = f"; {left} of {len(mean)} tasks not at their minimum yet" if left else ""
        say(f"{family.name} regression, strength {strength:g}: {iterations} iterations{rest}")
    return result


def _minimise(
    x: Float32[np.ndarray, "N G"],
    y: Float32[np.ndarray, "N T"],
    share: Float32[np.ndarray, "N T"],
    start: Float64[np.ndarray, "G T"],
    penalty: Float64[np.ndarray, "G 1"],
    family: Family,
    tolerance: Float64[np.ndarray, " T"],
    max_iterations: int,
) -> tuple[Float64[np.ndarray, "G T"], int, int]:
    """L-BFGS (Liu and Nocedal 1989) of all tasks side by side, each with its own step lengths and memory.

    An iteration costs two matrix products whatever the line search does: along a direction the margins are linear. A
    task that is done leaves the products. Returns coefficients, iterations, and how many tasks were not done.
    """
    result, here = start.copy(), np.arange(start.shape[1])  # `here`: the tasks still in the products
    theta, pairs, iterations = start, [], 0
    margins = x @ theta.astype(np.float32)
    loss, residual = family.elements(margins, y)
    value = (share * loss).sum(0, dtype=np.float64) + 0.5 * (penalty * theta**2).sum(0)
    gradient = x.T @ (share * residual) + penalty * theta
    while True:
        done = np.abs(gradient).max(0) <= tolerance[here]
        if done.any():
            result[:, here[done]] = theta[:, done]
            keep = ~done
            here = here[keep]
            theta, margins, y, share, value, gradient = (
                a[..., keep] for a in (theta, margins, y, share, value, gradient)
            )
            pairs = [tuple(a[..., keep] for a in pair) for pair in pairs]
        if not here.size or iterations == max_iterations:
            result[:, here] = theta
            return result, iterations, here.size
        iterations += 1
        direction = -_inverse_hessian(gradient, pairs)
        move = x @ direction.astype(np.float32)
        step, margins, value, residual = _line_search(
            y, share, theta, direction, margins, move, value, gradient, penalty, family
        )
        new_theta = theta + step * direction
        new_gradient = x.T @ (share * residual) + penalty * new_theta
        change, bend = new_theta - theta, new_gradient - gradient
        curvature = (change * bend).sum(0)
        # Convexity makes this positive; where rounding says otherwise the pair counts for nothing.
        inverse = np.divide(1, curvature, out=np.zeros_like(curvature), where=curvature > 0)
        pairs = [*pairs[1 - _PAIRS :], (change, bend, inverse)]
        theta, gradient = new_theta, new_gradient


def _inverse_hessian(gradient: np.ndarray, pairs: Sequence[tuple[np.ndarray, ...]]) -> np.ndarray:
    """The two loops of L-BFGS: the approximate inverse Hessian times the gradient, for every task."""
    q, factors = gradient.copy(), []
    for change, bend, inverse in reversed(pairs):
        factor = inverse * (change * q).sum(0)
        q -= factor * bend
        factors.append(factor)
    if pairs:
        change, bend, inverse = pairs[-1]
        q *= np.divide(1, inverse * (bend**2).sum(0), out=np.ones_like(inverse), where=inverse > 0)
    for (change, bend, inverse), factor in zip(pairs, reversed(factors), strict=True):
        q += change * (factor - inverse * (bend * q).sum(0))
    return q


def _line_search(y, share, theta, direction, margins, move, value, gradient, penalty, family):
    """Halves each task's step from 1 until its objective falls enough (Armijo).

    Returns step and objective `[T]`, margins and residuals `[N, T]` there.
    """
    slope = (gradient * direction).sum(0)
    fixed = 0.5 * (penalty * theta**2).sum(0)
    linear, square = (penalty * theta * direction).sum(0), 0.5 * (penalty * direction**2).sum(0)
    step = np.ones(len(value))
    for left in reversed(range(_HALVINGS)):
        trial = margins + step.astype(np.float32) * move
        loss, residual = family.elements(trial, y)
        reached = (share * loss).sum(0, dtype=np.float64) + fixed + step * linear + step**2 * square
        # Near the minimum the fall drowns in float32 rounding, which must not send the step to nothing.
        enough = reached <= value + 1e-4 * step * slope + 1e-7 * np.abs(value)
        if enough.all() or not left:
            break
        step = np.where(enough, step, step / 2)
    return step, trial, reached, residual


def calibrate(
    scores: Float[np.ndarray, "N T"], targets: Float[np.ndarray, "N T"]
) -> tuple[Float64[np.ndarray, " T"], Float64[np.ndarray, " T"]]:
    """Returns slope and offset that turn scores of a linear discriminant into log-odds of a 0/1 target.

    With normal scores of equal variance in both classes the log-odds are linear in the score (Fisher 1936). NaN where a
    class is missing; a slope is never negative where the classes are in the right order.
    """
    one, zero = targets == 1, targets == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        n1, n0 = one.sum(0), zero.sum(0)
        m1, m0 = (
            np.where(one, scores, 0).sum(0, dtype=np.float64) / n1,
            np.where(zero, scores, 0).sum(0, dtype=np.float64) / n0,
        )
        spread = np.where(one, (scores - m1) ** 2, 0).sum(0) + np.where(zero, (scores - m0) ** 2, 0).sum(0)
        variance = spread / (n1 + n0)
        slope = (m1 - m0) / variance
        return slope, np.log(n1 / n0) - slope * (m1 + m0) / 2
