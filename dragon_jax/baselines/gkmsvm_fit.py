"""Fitting the gkm-SVM baseline: words and norms once for all tasks, C chosen on valid, probabilities calibrated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dragon_jax import metrics
from dragon_jax.baselines import gkm_radial
from dragon_jax.baselines.gkm_operator import Operator, Words, norms, words
from dragon_jax.baselines.gkm_solver import Product, Solution, solve
from dragon_jax.baselines.gkmsvm import GkmConfig, GkmModel
from dragon_jax.data.dataset import Dataset
from dragon_jax.errors import InputError

_STEPS = 100  # of Newton's method for two numbers


def fit(
    config: GkmConfig, train: Dataset, valid: Dataset | None, seed: int, progress: Callable[[str], None]
) -> GkmModel:
    """Returns the fitted model; see `GkmConfig.fit`."""
    _check(config, train, valid)
    progress(f"words of {config.l} bases in {len(train):,} sequences")
    data = _Kernels(config, train, valid)
    b = np.zeros((len(train), len(train.tasks)))
    table = {
        name: np.zeros(len(train.tasks))
        for name in ("rho", "slope", "offset", "strengths", "gap", "products", "violation")
    }
    for t in range(len(train.tasks)):
        machine = _Task(config, data, train, valid, t)
        strength, solution = machine.choose(progress)
        b[machine.rows, t] = solution.coefficients
        slope, offset = machine.calibrate(strength, solution, seed, progress)
        gap = solution.gap / max(abs(solution.objective), 1e-300)
        row = (solution.rho, slope, offset, strength, gap, solution.products, solution.violation)
        for name, value in zip(table, row, strict=True):
            table[name][t] = value
    support = np.flatnonzero(b.any(1))
    products = table.pop("products").astype(np.int64)
    return GkmModel(config, train.tasks, train.length, train.codes[support], b[support], products=products, **table)


def _check(config: GkmConfig, train: Dataset, valid: Dataset | None) -> None:
    for task, y in zip(train.tasks, train.targets.T, strict=True):
        if task.kind != "binary":
            raise InputError(
                f"task {task.name!r} is {task.kind}: expected binary tasks for model 'gkmsvm'. Remove it or use 'kmer'"
            )
        seen = set(np.unique(y[~np.isnan(y)]).tolist())
        if seen != {0.0, 1.0}:
            found = f"only the label {next(iter(seen)):g}" if len(seen) == 1 else "no label"
            raise InputError(
                f"task {task.name!r} has {found} in split 'train': expected 0 and 1. Remove it or change the split"
            )
    if config.kernel.radial:  # before any work
        gkm_radial.refuse_too_large(config.kernel, len(train), max(len(train), 0 if valid is None else len(valid)))
    if len(config.strengths) > 1 and (valid is None or not len(valid)):
        raise InputError(
            f"model.strengths names {len(config.strengths)} strengths: expected a valid split to choose by, found "
            "none. Give one strength or a valid split"
        )


class _Kernels:
    """Kernel products among the rows of train, and decision values of other rows."""

    def __init__(self, config: GkmConfig, train: Dataset, valid: Dataset | None):
        self.kernel = config.kernel
        self.operator = Operator(self.kernel)
        self.train = words(train.codes, self.kernel, padded=config.padded)
        self.norms = norms(self.train, self.kernel)
        self.full = self.across = None
        if self.kernel.radial:
            self.full = gkm_radial.matrix(self.kernel, self.train, self.norms, self.train, self.norms)
        self.valid: tuple[Words, np.ndarray] | None = None
        if valid is not None and len(valid):
            found = words(valid.codes, self.kernel, padded=config.padded)
            self.valid = found, norms(found, self.kernel)
            if self.kernel.radial:
                self.across = gkm_radial.matrix(self.kernel, *self.valid, self.train, self.norms)

    def product(self, rows: Int64[np.ndarray, " n"]) -> Product:
        """Returns the multiplication with the matrix of these rows of train."""
        if self.full is None:
            return self.operator.matrix(self.train.take(rows), self.norms[rows])
        block = self.full if len(rows) == len(self.full) else self.full[np.ix_(rows, rows)]
        return lambda vector: (block @ vector.astype(np.float32)).astype(np.float64)

    def decide(self, rows: np.ndarray, coefficients: np.ndarray, others: np.ndarray | None) -> np.ndarray:
        """Returns decision values, rho left out, of other rows of train, or with None of valid."""
        if self.full is not None:
            block = self.across[:, rows] if others is None else self.full[np.ix_(others, rows)]  # type: ignore[index]
            return block @ coefficients
        found, own = (self.train.take(others), self.norms[others]) if others is not None else self.valid  # type: ignore[misc]
        table = self.operator.table(self.train.take(rows), coefficients / self.norms[rows])
        return np.asarray(self.operator.read(table, found), np.float64) / own


class _Task:
    """One machine: the rows that were measured, their labels and what they may cost."""

    def __init__(self, config: GkmConfig, data: _Kernels, train: Dataset, valid: Dataset | None, task: int):
        y = train.targets[:, task]
        usable = ~np.isnan(y) & (True if train.weights is None else train.weights > 0)
        self.config, self.data = config, data
        self.rows = np.flatnonzero(usable)
        self.labels = np.where(y[self.rows] == 1, 1.0, -1.0)
        self.price = np.where(self.labels > 0, config.positive_weight, 1.0)
        if train.weights is not None:
            self.price *= train.weights[self.rows]
        self.truth = None if valid is None else valid.targets[:, task]
        self.name = train.tasks[task].name

    def choose(self, progress: Callable[[str], None]) -> tuple[float, Solution]:
        """Returns the C that is best on valid, and its solution; each C starts from the one before it."""
        product, start, best = self.data.product(self.rows), None, None
        strengths = sorted(set(self.config.strengths))
        for strength in strengths:
            found = solve(product, self.labels, strength * self.price, start=start, tolerance=self.config.tolerance)
            start, score, said = found.coefficients, 0.0, ""
            if len(strengths) > 1 and self.truth is not None:
                scores = self.data.decide(self.rows, found.coefficients, None)
                score = getattr(metrics, self.config.choose_by)(scores, self.truth)
                said = f", {self.config.choose_by} on valid {score:.4f}"
                score = -np.inf if np.isnan(score) else score
            progress(
                f"C={strength:g}: {np.count_nonzero(found.coefficients):,} support vectors of {len(self.rows):,}, "
                f"{found.products} products, duality gap {found.gap / max(abs(found.objective), 1e-300):.1e}{said}"
            )
            self._say(found, f"C={strength:g}", progress)
            if best is None or score > best[0]:
                best = score, strength, found
        assert best is not None
        return best[1:]

    def _say(self, found: Solution, which: str, progress: Callable[[str], None]) -> None:
        """Says it where the solver did not converge."""
        if found.violation >= self.config.tolerance:
            progress(
                f"note: task {self.name!r}, {which}: the solver stopped after {found.products:,} products at a violation of "
                f"{found.violation:.1e}, above {self.config.tolerance:g}"
            )

    def calibrate(
        self, strength: float, solution: Solution, seed: int, progress: Callable[[str], None]
    ) -> tuple[float, float]:
        """Returns slope and offset of log-odds, from valid, else from folds of train; 1 and 0 where neither tells."""
        if self.truth is not None:
            seen = ~np.isnan(self.truth)
            positive = self.truth[seen] == 1
            if positive.any() and not positive.all():
                scores = self.data.decide(self.rows, solution.coefficients, None)[seen] - solution.rho
                slope, offset = platt(scores, positive)
                if slope > 0:
                    return slope, offset
        slope, offset = platt(self._held_out(strength, seed, progress), self.labels > 0)
        return (slope, offset) if slope > 0 else (1.0, 0.0)

    def _held_out(self, strength: float, seed: int, progress: Callable[[str], None]) -> np.ndarray:
        """Decision values of the rows of train, each from a machine that has not seen it."""
        scores = self.held_out(strength, stratified(self.labels > 0, self.config.calibration_folds, seed), progress)
        return np.where(np.isnan(scores), 0.0, scores)

    def held_out(
        self, strength: float, fold: Int64[np.ndarray, " n"], progress: Callable[[str], None]
    ) -> Float64[np.ndarray, " n"]:
        """Returns decision values of the rows, each from a machine that was fitted to the other folds; NaN where they have
        one class only."""
        scores = np.full(len(self.rows), np.nan)
        for part in np.unique(fold):
            rest, out = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
            if len(set(self.labels[rest])) < 2:
                continue
            rows, upper = self.rows[rest], strength * self.price[rest]
            found = solve(self.data.product(rows), self.labels[rest], upper, tolerance=self.config.tolerance)
            self._say(found, f"C={strength:g}, all but fold {part}", progress)
            scores[out] = self.data.decide(rows, found.coefficients, self.rows[out]) - found.rho
        return scores


def stratified(positive: Bool[np.ndarray, " N"], folds: int, seed: int) -> Int64[np.ndarray, " N"]:
    """Returns a fold 0..folds-1 for each row, drawn so that every fold has its share of both classes."""
    rng, fold = np.random.default_rng(seed), np.zeros(len(positive), np.int64)
    for label in (True, False):
        mine = rng.permutation(np.flatnonzero(positive == label))
        fold[mine] = np.arange(len(mine)) % folds
    return fold


def cross_validate(
    config: GkmConfig,
    data: Dataset,
    folds: int | Int64[np.ndarray, " N"] = 5,
    seed: int = 0,
    progress: Callable[[str], None] = print,
) -> Float64[np.ndarray, "N T"]:
    """Returns decision values, float64 `[N, T]`, of each row from machines fitted to the other folds, as `gkmtrain -x` does.

    Args:
        config: with one strength.
        data: all rows. A row whose label of a task is not measured, or that weighs 0, gets NaN there.
        folds: how many to draw (with `seed`, both classes spread evenly), or the fold of each row.
        progress: gets a line for each fold whose machine did not converge.

    Raises:
        InputError: what `GkmConfig.fit` refuses, several strengths, fewer than two folds, or folds for another number of rows.
    """
    _check(config, data, None)
    given = np.asarray(folds)
    if given.ndim and (given.shape != (len(data),) or len(np.unique(given)) < 2):
        raise InputError(
            f"folds: expected one of two or more folds for each of {len(data):,} rows, found shape {given.shape} with "
            f"{len(np.unique(given))} different values"
        )
    if not given.ndim and not 2 <= given <= len(data):
        raise InputError(f"folds: expected 2 to {len(data):,}, found {folds}")
    kernels = _Kernels(config, data, None)
    result = np.full((len(data), len(data.tasks)), np.nan)
    for t in range(len(data.tasks)):
        machine = _Task(config, kernels, data, None, t)
        fold = given[machine.rows] if given.ndim else stratified(machine.labels > 0, int(given), seed)
        result[machine.rows, t] = machine.held_out(config.strengths[0], fold, progress)
    return result


def platt(scores: Float64[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]) -> tuple[float, float]:
    """Returns slope and offset of the log-odds of a decision value (Platt 1999), by Newton's method with halved steps.

    Targets are drawn in a little, as by one more example of either class, so that separable scores keep a finite slope.
    """
    n1, n0 = positive.sum(), (~positive).sum()
    target = np.where(positive, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    design = np.stack([scores, np.ones_like(scores)], 1)

    def loss(theta: np.ndarray) -> float:
        eta = design @ theta
        return float((np.logaddexp(0, eta) - target * eta).sum())

    theta = np.array([0.0, np.log((n1 + 1) / (n0 + 1))])
    value = loss(theta)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ theta, -500, 500)))
        gradient = design.T @ (p - target)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-10 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        rate = 1.0
        while (reached := loss(theta - rate * step)) > value and rate > 1e-8:
            rate /= 2
        theta, fell, value = theta - rate * step, value - reached, reached
        if fell < 1e-10 * (1 + abs(value)):
            break
    return float(theta[0]), float(theta[1])
