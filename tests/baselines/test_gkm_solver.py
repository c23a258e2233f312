"""The solver against LIBSVM (scikit-learn), on matrices that are written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import SVC

from dragon_jax.baselines import gkm_solver
from dragon_jax.baselines.gkm_solver import project, solve


def problem(n=150, seed=0, dimensions=30, unit=0.3, flip=0.1):
    """A kernel matrix with ones on its diagonal and much in common between all rows, as gapped k-mers give."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dimensions)) + 1
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = np.where(x[:, 0] > np.median(x[:, 0]), 1.0, -1.0) * np.where(rng.random(n) < flip, -1, 1)
    return (1 - unit) * x @ x.T + unit * np.eye(n), labels


@pytest.mark.parametrize("cost", [0.01, 0.3, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_same_optimum_as_libsvm(cost, weight):
    kernel, labels = problem()
    upper = np.where(labels > 0, cost * weight, cost)
    ours = solve(lambda v: kernel @ v, labels, upper, tolerance=1e-5)
    theirs = SVC(kernel="precomputed", C=cost, tol=1e-6, shrinking=False, class_weight={1: weight}).fit(kernel, labels)
    np.testing.assert_allclose(ours.margins - ours.rho, theirs.decision_function(kernel), atol=5e-4)
    assert ours.violation < 1e-5 and 0 <= ours.gap < 1e-4 * max(1, ours.objective)
    assert abs(np.count_nonzero(ours.coefficients) - theirs.n_support_.sum()) <= 1
    assert abs(ours.coefficients.sum()) < 1e-9 * cost * len(labels)
    assert (ours.coefficients * labels >= 0).all() and (ours.coefficients * labels <= upper).all()


def test_stopping_rule_of_libsvm_leaves_a_gap_that_is_stated():
    kernel, labels = problem(400, seed=1)
    best = solve(lambda v: kernel @ v, labels, np.ones(400), tolerance=1e-8)
    usual = solve(lambda v: kernel @ v, labels, np.ones(400))
    assert usual.violation < 1e-3 and usual.products < 100
    assert usual.gap >= best.objective - usual.objective >= -1e-9  # the gap bounds what is left


def test_products_in_single_precision_are_enough_and_a_start_saves_some():
    kernel, labels = problem(300, seed=2)
    single = kernel.astype(np.float32)

    def product(v):
        return (single @ v.astype(np.float32)).astype(np.float64)

    cold = solve(product, labels, np.full(300, 2.0))
    exact = solve(lambda v: kernel @ v, labels, np.full(300, 2.0), tolerance=1e-7)
    np.testing.assert_allclose(cold.margins - cold.rho, exact.margins - exact.rho, atol=2e-3)
    warm = solve(product, labels, np.full(300, 2.0), start=cold.coefficients)
    assert warm.products <= 2 < cold.products


def test_twins_with_other_labels_do_not_take_bounded_coefficients_off_their_bounds():
    """Takes 194 products where every step shifts the rows at a bound and where one twin leaves without the other."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 60))
    x = np.concatenate([x, x + 0.15 * rng.normal(size=x.shape)]) + 1.5
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kernel, labels = 0.98 * x @ x.T + 0.02 * np.eye(600), np.where(rng.random(600) < 0.5, 1.0, -1.0)
    ours = solve(lambda v: kernel @ v, labels, np.ones(600))
    theirs = SVC(kernel="precomputed", C=1.0, tol=1e-5, shrinking=False).fit(kernel, labels)
    assert ours.violation < 1e-3 and ours.products < 130
    assert abs(np.count_nonzero(ours.coefficients) - theirs.n_support_.sum()) <= 2
    np.testing.assert_allclose(ours.margins - ours.rho, theirs.decision_function(kernel), atol=5e-3)


def test_classes_of_unequal_size_and_all_at_the_bound():
    kernel, labels = problem(60, seed=3)
    labels = np.where(np.arange(60) < 3, 1.0, -1.0)
    ours = solve(lambda v: kernel @ v, labels, np.full(60, 0.01), tolerance=1e-6)
    theirs = SVC(kernel="precomputed", C=0.01, tol=1e-7, shrinking=False).fit(kernel, labels)
    np.testing.assert_allclose(np.abs(ours.coefficients[:3]), 0.01)  # nobody of the few is free
    assert abs(ours.rho + theirs.intercept_[0]) < 1e-3


def test_a_spent_budget_is_told_by_the_violation(monkeypatch):
    kernel, labels = problem(200, flip=0.3)
    monkeypatch.setattr(gkm_solver, "_FEW_ROWS", 100)
    stopped = solve(lambda v: kernel @ v, labels, np.full(200, 100.0), tolerance=1e-9, max_products=3)
    assert stopped.violation > 1e-3 and stopped.gap > 0


def test_few_rows_whose_budget_is_spent_are_solved_by_libsvm():
    """Rank 5 and a large C, for which 2,000 products do not suffice."""
    kernel, labels = problem(300, seed=4, dimensions=5, unit=0.0, flip=0.2)
    upper = np.full(300, 100.0)
    ours = solve(lambda v: kernel @ v, labels, upper)
    theirs = SVC(kernel="precomputed", C=100.0, tol=1e-5, shrinking=False).fit(kernel, labels)
    assert ours.products >= 2000 + 300 and ours.violation < 1e-3
    np.testing.assert_allclose(ours.margins - ours.rho, theirs.decision_function(kernel), atol=5e-3)


def test_an_indefinite_matrix_still_ends_at_a_stationary_point():
    kernel, labels = problem(100, unit=0.0, dimensions=5)
    kernel = kernel - 0.02 * np.eye(100)
    assert np.linalg.eigvalsh(kernel)[0] < -0.01
    ours = solve(lambda v: kernel @ v, labels, np.ones(100))
    assert ours.violation < 1e-3


def test_projection_is_the_nearest_feasible_point():
    rng = np.random.default_rng(0)
    low, high = -rng.random(30), rng.random(30)
    point = rng.normal(size=30)
    found = project(point, low, high)
    assert abs(found.sum()) < 1e-12 and (found >= low).all() and (found <= high).all()
    for _ in range(200):
        other = project(rng.normal(size=30), low, high)
        assert (point - found) @ (other - found) <= 1e-9  # what makes it the nearest of a convex set


def test_identical_sequences_with_a_large_cost_take_a_few_products():
    """The objective is flat wherever the sum is kept, so that only bounds end the way."""
    labels = np.where(np.arange(400) % 3 < 1, 1.0, -1.0)
    found = solve(lambda v: np.full(400, v.sum()), labels, np.full(400, 100.0))
    assert found.violation < 1e-3 and found.products < 20
    assert found.objective == pytest.approx(2 * 100.0 * (labels > 0).sum())  # every row of the rarer class at its bound
