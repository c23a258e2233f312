"""Solvers of weights from inner products: published values, their own optimality conditions, SciPy, and hard matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from dragon_jax.training import gram

J = np.array([[-4.0, 1, 1], [6, 1, 1]])
KEY = jax.random.key(3)
RNG = np.random.default_rng(5)


def matrix_of(gradients):
    return jnp.asarray(gradients @ gradients.T, jnp.float32)


def solve(name, gradients, present=None, **options):
    """Weights float64 `[T]` of a method from gradients `[T, P]`."""
    present = jnp.ones(len(gradients), bool) if present is None else jnp.asarray(present)
    if name == "pcgrad":
        options["key"] = KEY
    if name == "gradvac":
        got, _ = gram.gradvac(matrix_of(gradients), present, KEY, jnp.zeros((len(gradients),) * 2))
        return np.asarray(got, np.float64)
    given = {k: options.pop(k) for k in ("key", "losses") if k in options}
    solver = compiled(name, tuple(options.items()))
    return np.asarray(solver(matrix_of(gradients), present, **given), np.float64)


@functools.cache
def compiled(name, options):
    return jax.jit(functools.partial(getattr(gram, name), **dict(options)))


# Published in the test suite of TorchJD and derived again by us; UPGrad and Nash are the exact solutions.
REFERENCE = {
    "mgda": ((0.6, 0.4), (0, 1, 1), {}),
    "imtl_g": ((0.5923, 0.4077), (0.0767, 1, 1), {}),
    "aligned_mtl": ((0.5591, 0.4083), (0.2133, 0.9673, 0.9673), {}),
    "cagrad": ((0.7041, 0.5), (0.1835, 1.2041, 1.2041), {"c": 0.5}),
    "pcgrad": ((2.2222, 1.5789), (0.5848, 3.8012, 3.8012), {}),
    "gradvac": ((2.2222, 1.5789), (0.5848, 3.8012, 3.8012), {}),
    "nash": ((0.5915, 0.4071), (0.0766, 0.9985, 0.9985), {}),
    "fairgrad": ((0.5915, 0.4071), (0.0766, 0.9985, 0.9985), {"alpha": 1.0}),
    "upgrad": ((1.1111, 0.7895), (0.2924, 1.9006, 1.9006), {}),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_values(name):
    weights, direction, options = REFERENCE[name]
    got = solve(name, J, **options)
    np.testing.assert_allclose(got, weights, atol=1e-4)
    np.testing.assert_allclose(J.T @ got, direction, atol=4e-4)


def test_nash_capped_at_norm_one():
    direction = J.T @ solve("nash", J)
    np.testing.assert_allclose(direction / np.linalg.norm(direction), (0.0542, 0.7061, 0.7061), atol=1e-4)


@pytest.mark.parametrize("tasks", [3, 12, 40])
def test_mgda_and_cagrad_reach_the_minimum_that_scipy_finds(tasks):
    g = RNG.normal(size=(tasks, 60)) + 0.3
    m = g @ g.T / np.trace(g @ g.T) * tasks
    simplex = {"constraints": [{"type": "eq", "fun": lambda w: w.sum() - 1}], "bounds": [(0, 1)] * tasks}
    start = np.full(tasks, 1 / tasks)
    best = minimize(lambda w: w @ m @ w, start, jac=lambda w: 2 * m @ w, method="SLSQP", tol=1e-14, **simplex)
    got = solve("mgda", g)
    assert got @ m @ got <= best.fun + 1e-4
    np.testing.assert_allclose(got.sum(), 1, rtol=1e-5)
    # every projection is at least the squared length: what makes it a direction that harms none
    assert (m @ got >= got @ m @ got - 2e-4).all()

    mean, c = start, 0.7
    radius = c * np.sqrt(mean @ m @ mean)
    worst = lambda w: w @ m @ mean + radius * np.sqrt(w @ m @ w)  # noqa: E731
    best = minimize(worst, start, method="SLSQP", tol=1e-14, **simplex)
    inner = solve("cagrad", g, c=c) - mean
    inner /= inner.sum()
    assert worst(inner) <= best.fun + 1e-4


@pytest.mark.parametrize(("tasks", "alpha"), [(2, 1.0), (30, 1.0), (30, 2.0), (30, 0.5), (300, 1.0)])
def test_nash_and_fairgrad_solve_their_equation(tasks, alpha):
    g = RNG.normal(size=(tasks, 2 * tasks)) * RNG.uniform(0.1, 3, (tasks, 1)) + 0.1
    w = solve("fairgrad", g, alpha=alpha)
    assert (w > 0).all()
    np.testing.assert_allclose((g @ g.T @ w) * w ** (1 / alpha), 1, rtol=2e-3)


def test_nash_does_not_depend_on_the_scale_of_a_loss():
    g, unit = RNG.normal(size=(6, 9)), np.array([1e-3, 1, 10, 1e3, 0.1, 5])
    np.testing.assert_allclose(solve("nash", g * unit[:, None]) * unit, solve("nash", g), rtol=1e-3)


@pytest.mark.parametrize("tasks", [3, 20])
def test_upgrad_solves_every_projection(tasks):
    """`v = e_i / n + z`, z >= 0, is non-negative least squares in the gradients."""
    g = RNG.normal(size=(tasks, 30)) + 0.1
    total = np.zeros(tasks)
    for i in range(tasks):
        rest, _ = nnls(g.T, -g[i] / tasks)
        total += rest
        total[i] += 1 / tasks
    got = solve("upgrad", g)
    np.testing.assert_allclose(got, total, rtol=5e-3, atol=5e-4)
    assert (g @ g.T @ got > -1e-3).all()


def test_imtl_g_and_config_look_at_all_tasks_alike():
    g = RNG.normal(size=(8, 20))
    for name in ("imtl_g", "config"):
        direction = g.T @ solve(name, g)
        along = (g / np.linalg.norm(g, axis=1, keepdims=True)) @ direction
        np.testing.assert_allclose(along, along.mean(), rtol=1e-3)
        assert along.mean() > 0
    direction = g.T @ solve("config", g)
    length = (g @ direction / np.linalg.norm(direction)).sum()  # the published length: the sum of all projections
    np.testing.assert_allclose(np.linalg.norm(direction), length, rtol=1e-3)


def test_aligned_brings_the_principal_directions_to_one_length():
    g = RNG.normal(size=(4, 7))
    values, vectors = np.linalg.eigh(g @ g.T)
    for scale, size in (("min", values[0]), ("median", np.median(values))):
        got = solve("aligned_mtl", g, scale=scale)
        expected = vectors @ (np.sqrt(size / values) * (vectors.T @ np.full(4, 0.25)))
        np.testing.assert_allclose(got, expected, rtol=1e-3)


@pytest.mark.parametrize("name", ["pcgrad", "gradvac"])
def test_projections_by_inner_products_are_those_of_the_gradients(name):
    """Step by step on the vectors themselves, in the order that the key draws."""
    g = RNG.normal(size=(6, 8))
    order = np.asarray(jax.random.permutation(KEY, 6))
    targets = RNG.uniform(-0.2, 0.4, (6, 6)) if name == "gradvac" else np.zeros((6, 6))
    changed, seen = g.copy(), targets.copy()
    for j in order:
        for i in range(6):
            if i == j:
                continue
            length, other = np.linalg.norm(changed[i]), np.linalg.norm(g[j])
            cosine, aim = changed[i] @ g[j] / length / other, targets[i, j]
            if name == "pcgrad" and cosine < 0:
                changed[i] -= changed[i] @ g[j] / other**2 * g[j]
            if name == "gradvac":
                seen[i, j] = 0.99 * aim + 0.01 * cosine
                if cosine < aim:
                    across = np.sqrt(1 - aim**2)
                    turn = length * (aim * np.sqrt(1 - cosine**2) - cosine * across) / (other * across)
                    changed[i] = changed[i] + turn * g[j]
    if name == "pcgrad":
        got = solve("pcgrad", g)
    else:
        got, after = gram.gradvac(matrix_of(g), jnp.ones(6, bool), KEY, jnp.asarray(targets, jnp.float32))
        np.testing.assert_allclose(after, seen, atol=1e-4)
    np.testing.assert_allclose(g.T @ np.asarray(got), changed.sum(0), rtol=1e-3, atol=1e-3)


def test_dbmtl_brings_the_gradients_of_log_losses_to_one_length():
    g, losses = RNG.normal(size=(5, 9)), np.array([0.1, 0.5, 2.0, 1.0, 0.3])
    got = solve("dbmtl", g, losses=jnp.asarray(losses, jnp.float32))
    log_gradients = np.linalg.norm(g, axis=1) / losses
    np.testing.assert_allclose(got * np.linalg.norm(g, axis=1), log_gradients.max(), rtol=1e-4)


def test_gradnorm_raises_the_task_that_trains_slowest_and_settles_on_equal_norms():
    g = np.diag([1.0, 2.0, 4.0])
    losses = jnp.array([0.5, 0.5, 0.5])

    def step(i, weights):
        rate = 0.02 * 0.999**i
        return gram.gradnorm(matrix_of(g), jnp.ones(3, bool), losses, jnp.ones(3), weights, learning_rate=rate)

    got = np.asarray(jax.lax.fori_loop(0, 4000, step, jnp.ones(3)))
    np.testing.assert_allclose(got, np.array([4, 2, 1]) * 3 / 7, rtol=0.03)
    slow = gram.gradnorm(matrix_of(np.eye(3)), jnp.ones(3, bool), jnp.array([0.9, 0.5, 0.5]), jnp.ones(3), jnp.ones(3))
    assert slow[0] > 1 > slow[1]


ALL = [*REFERENCE, "config", "dbmtl"]


@pytest.mark.parametrize("name", ALL)
def test_absent_tasks_weigh_nothing_and_change_nothing(name):
    g = RNG.normal(size=(5, 9))
    with_absent = np.insert(g, 2, 7.0, axis=0)
    present = np.array([True, True, False, True, True, True])
    losses = np.array([0.1, 0.5, 9.0, 2.0, 1.0, 0.3], np.float32)
    more = {"losses": jnp.asarray(losses)} if name == "dbmtl" else {}
    less = {"losses": jnp.asarray(losses[present])} if name == "dbmtl" else {}
    got = solve(name, with_absent, present, **more)
    assert got[2] == 0
    if name not in ("pcgrad", "gradvac"):  # these draw another order for another number of tasks
        np.testing.assert_allclose(got[present], solve(name, g, **less), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("case", ["zero", "one zero", "rank one", "opposed", "scales", "single", "many tasks"])
def test_hard_matrices_give_finite_weights(name, case):
    g = RNG.normal(size=(6, 9))
    g = {
        "zero": g * 0,
        "one zero": g * np.array([0, 1, 1, 1, 1, 1])[:, None],
        "rank one": np.outer(RNG.normal(size=6), g[0]),
        "opposed": np.concatenate([g[:3], -g[:3]]),
        "scales": g * 10.0 ** np.array([-6, -3, 0, 1, 2, 3])[:, None],
        "single": g[:1],
        "many tasks": RNG.normal(size=(12, 9)),
    }[case]
    more = {"losses": jnp.ones(len(g))} if name == "dbmtl" else {}
    got = solve(name, g, **more)
    assert np.isfinite(got).all()
    # zeros: no direction has the same positive cosine with gradients that are opposed; nothing is left of zeros to align
    nothing = {
        "opposed": ("imtl_g", "config"),
        "rank one": ("imtl_g", "config"),
        "zero": ("aligned_mtl", "imtl_g", "config"),
    }
    assert np.abs(got).max() > 0 or name in nothing.get(case, ())
    if case == "zero":
        np.testing.assert_allclose(got, got[0], rtol=1e-4)
