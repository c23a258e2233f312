"""Support vector classification for a kernel matrix that can only be multiplied with vectors.

With b_i = a_i y_i the dual problem of LIBSVM's C-SVC is

    minimise  b'Kb / 2 - y'b    subject to    sum b = 0,   0 <= b_i y_i <= C_i,

and f = Kb - rho are the decision values. Working sets of two, as in LIBSVM, take tens of thousands of kernel columns;
a product with all of K costs little more than one column here. So each round first takes projected gradient steps
(Barzilai and Borwein 1988), which settle who is at a bound, and then minimises over all who are not by conjugate
gradients, as in More and Toraldo (1991), putting those who end outside on their bounds while they are few; the result
is projected back and the step shortened to the best point on the way there. The objective falls with every step.
Kernel matrices with ones on the diagonal are conditioned well enough that some tens of products reach LIBSVM's
stopping rule, the largest violation of the optimality conditions by a pair. A matrix of low rank with a large C is not:
where the products are spent and the rows are few, the matrix is made and LIBSVM goes on.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

_GRADIENT_STEPS = 3  # of a round
_CG_STEPS = 25  # of a round
_CG_ENOUGH = 0.05  # share of the face's residual that is left to the next round
_FEW_ROWS = 4096  # whose whole matrix is at most 128 MiB
_LIBSVM_STEPS = 2_000_000
_PASSES, _FEW = 4, 0.05  # minimisations of a round, while at most this share of the free ones ends outside
Product = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Solution:
    """A solved machine.

    Attributes:
        coefficients: float64 `[N]`, b_i = a_i y_i; exactly 0 where a sequence is no support vector.
        margins: float64 `[N]`, Kb, decision values before rho is taken off.
        rho: the offset: mean of Kb - y over free support vectors, else the middle of what is allowed.
        violation: largest violation by a pair; below `tolerance` where the solver converged.
        gap: primal less dual objective, at least 0 up to rounding. objective: the dual one.
        products: products with K that were taken, one for each column where the whole matrix was made.
    """

    coefficients: Float64[np.ndarray, " N"]
    margins: Float64[np.ndarray, " N"]
    rho: float
    violation: float
    gap: float
    objective: float
    products: int


def solve(
    product: Product,
    labels: Float64[np.ndarray, " N"],
    upper: Float64[np.ndarray, " N"],
    *,
    start: Float64[np.ndarray, " N"] | None = None,
    tolerance: float = 1e-3,
    max_products: int = 2000,
) -> Solution:
    """Returns the optimum, or where `max_products` was spent the best point so far (its `violation` tells).

    Up to 4,096 rows LIBSVM then solves for the whole matrix, and the better of the two points is returned.

    Args:
        product: K times a vector; K is symmetric.
        labels: +1 and -1, both present. upper: C_i > 0.
        start: coefficients to begin with, brought within bounds; of another C, for example.
        tolerance: for the violation, LIBSVM's epsilon.
    """
    low, high = np.where(labels > 0, 0.0, -upper), np.where(labels > 0, upper, 0.0)
    path = _Path(product, labels, low, high, np.zeros(len(labels)) if start is None else start)
    rate = 1.0
    while True:
        if path.violation() < tolerance or path.products >= max_products:
            path.refresh()  # a sum of many float32 products: what is reported is worked out afresh
            if path.violation() < tolerance:
                return path.solution(upper)
            if path.products >= max_products:
                return _by_libsvm(path, upper, tolerance) if len(labels) <= _FEW_ROWS else path.solution(upper)
        rate = path.descend(rate)
        if path.violation() >= tolerance:
            path.face(tolerance)


def _by_libsvm(path: _Path, upper: np.ndarray, tolerance: float) -> Solution:
    """Returns LIBSVM's solution for the whole matrix, or the path's own where that violates the conditions less."""
    from sklearn.svm import SVC

    own, count = path.solution(upper), len(path.y)
    matrix = np.stack([path.times(column) for column in np.eye(count)], 1)
    machine = SVC(C=1.0, kernel="precomputed", tol=tolerance / 2, max_iter=_LIBSVM_STEPS, cache_size=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stopped early shows in the violation
        machine.fit((matrix + matrix.T) / 2, path.y, sample_weight=upper)
    path.b = np.zeros(count)
    path.b[machine.support_] = machine.dual_coef_[0]
    path.b = path.snapped(project(path.b, path.low, path.high))
    path.refresh()
    other = path.solution(upper)
    return other if other.violation < own.violation else dataclasses.replace(own, products=path.products)


class _Path:
    """The current point b, its product Kb, and the moves from one point to the next."""

    def __init__(self, product: Product, labels: np.ndarray, low: np.ndarray, high: np.ndarray, start: np.ndarray):
        self.products, self._product = 0, product
        self.y, self.low, self.high = labels, low, high
        self.b = self.snapped(project(start, low, high))
        self.kb = self.times(self.b) if self.b.any() else np.zeros_like(self.b)

    def times(self, vector: np.ndarray) -> np.ndarray:
        self.products += 1
        return self._product(vector)

    def snapped(self, point: np.ndarray) -> np.ndarray:
        """Returns a point with what rounding keeps from a bound put there: it would count as free."""
        close = 1e-12 * (self.high - self.low)
        point = np.where(point - self.low < close, self.low, point)
        return np.where(self.high - point < close, self.high, point)

    def refresh(self) -> None:
        """Works out Kb again."""
        self.kb = self.times(self.b)

    def bounds(self) -> tuple[float, float]:
        """Returns the smallest and the largest rho that the optimality conditions leave, in this order at the optimum."""
        g = self.kb - self.y
        return float(g[self.b > self.low].max(initial=-np.inf)), float(g[self.b < self.high].min(initial=np.inf))

    def violation(self) -> float:
        least, most = self.bounds()
        return max(0.0, least - most)

    def rho(self) -> float:
        free = (self.b > self.low) & (self.b < self.high)
        if free.any():
            return float((self.kb - self.y)[free].mean())
        return sum(self.bounds()) / 2

    def move(self, target: np.ndarray, change: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Goes towards a feasible point, to the lowest place on the way; returns the whole way d and Kd.

        Args:
            change: Kd, where it is known.
        """
        way = target - self.b
        kway = self.times(way) if change is None else change
        slope, bend = (self.kb - self.y) @ way, way @ kway
        step = 1.0 if bend <= 0 and slope < 0 else float(np.clip(-slope / bend, 0, 1)) if bend > 0 else 0.0
        self.b = self.snapped(self.b + step * way)
        self.kb = self.kb + step * kway
        return way, kway

    def descend(self, rate: float) -> float:
        """Takes gradient steps; returns the rate for the next."""
        for _ in range(_GRADIENT_STEPS):
            g = self.kb - self.y
            way, kway = self.move(project(self.b - rate * g, self.low, self.high))
            bend, square = way @ kway, way @ way
            # Where the objective is flat, as for identical sequences, the bounds are all there is to reach: longer steps.
            rate = float(square / bend) if bend > 1e-9 * square else min(10 * max(rate, 1.0), 1e9)
        return rate

    def face(self, tolerance: float) -> None:
        """Minimises over those who are free to move, then comes back within bounds.

        Where a few of them end outside, they are put on their bounds and the others are minimised anew before the step is
        taken: of two sequences that are nearly the same, one may go to its bound only if the other makes up for it.
        """
        g = self.kb - self.y
        inward = self.rho() - g  # where a coefficient wants to go
        free = ((self.b > self.low) | (inward > 0)) & ((self.b < self.high) | (inward < 0))
        movable, step, kstep = free, np.zeros_like(g), np.zeros_like(g)
        for _ in range(_PASSES):
            if free.sum() < 2:
                break
            step, kstep = self._conjugate(free, step, kstep, g, tolerance)
            target = self.b + step
            outside = (target < self.low) | (target > self.high)
            if not outside.any():
                self.move(target, kstep)
                return
            free = free & ~outside
            if outside.sum() > _FEW * free.sum():
                break
            target = np.clip(target, self.low, self.high)
            step = np.where(free, target - target.sum() / free.sum(), target) - self.b
            kstep = self.times(step)
        # Who did not move lies on a bound mostly, and stays: the shift that mends the sum would take all of them a hair off,
        # thousands of seemingly free coefficients which the next rounds have to put back.
        low, high = np.where(movable, self.low, self.b), np.where(movable, self.high, self.b)
        self.move(project(self.b + step, low, high))

    def _conjugate(
        self, free: np.ndarray, step: np.ndarray, kstep: np.ndarray, g: np.ndarray, tolerance: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the step to the minimum over the free ones and its product with K, from the step so far."""
        count = free.sum()

        def within(vector: np.ndarray) -> np.ndarray:
            return np.where(free, vector - vector[free].mean(), 0.0)

        residual = within(-(g + kstep))
        direction, square = residual, residual @ residual
        enough = max(_CG_ENOUGH**2 * square, count * (0.02 * tolerance) ** 2)
        for _ in range(_CG_STEPS):
            if square <= 0:
                break
            image = self.times(direction)
            bend = direction @ image
            if bend <= 1e-12 * (direction @ direction):  # an indefinite kernel: nothing below bounds the face
                break
            length = square / bend
            step, kstep = step + length * direction, kstep + length * image
            residual = residual - length * within(image)
            before, square = square, residual @ residual
            if square <= enough:
                break
            direction = residual + square / before * direction
        return step, kstep

    def solution(self, upper: np.ndarray) -> Solution:
        rho, square = self.rho(), float(self.b @ self.kb)
        loss = np.maximum(0, 1 - self.y * (self.kb - rho))
        dual = float(self.y @ self.b) - square / 2
        primal = square / 2 + float(upper @ loss)
        return Solution(self.b, self.kb, rho, self.violation(), primal - dual, dual, self.products)


def project(
    point: Float64[np.ndarray, " N"], low: Float64[np.ndarray, " N"], high: Float64[np.ndarray, " N"]
) -> Float64[np.ndarray, " N"]:
    """Returns the nearest point with `low <= b <= high` and sum 0; needs sum low <= 0 <= sum high.

    It is `clip(point - t)` for the t at which the sum is 0, a piecewise linear falling function of t: found by halving
    and then exactly, on the piece that is left.
    """
    first, last = float((point - high).min()), float((point - low).max())
    for _ in range(60):
        middle = (first + last) / 2
        if np.clip(point - middle, low, high).sum() > 0:
            first = middle
        else:
            last = middle
    result = np.clip(point - last, low, high)
    free = (result > low) & (result < high)
    if free.any():
        result[free] -= result.sum() / free.sum()
    return np.clip(result, low, high)
