"""A population trains each member as it would be trained alone: same weights, other company, frozen when not finite."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dragon_jax import dna
from dragon_jax.models.deepbind_files import read_deepbind, write_deepbind
from dragon_jax.models.deepbind_network import to_network
from dragon_jax.models.deepbind_population import member, scores, strongest
from dragon_jax.models.deepbind_windows import score_windows
from dragon_jax.models.registry import make_model
from dragon_jax.training.population import Losses, _keep, init_population, logistic, make_population_step, settled
from dragon_jax.training.trials import Trial

BATCH, LENGTH, WIDTH, DETECTORS = 12, 21, 6, 3
rng = np.random.default_rng(1)
CODES = rng.integers(0, 5, (8 * BATCH, LENGTH)).astype(np.uint8)  # unknown bases too
TARGETS = rng.integers(0, 2, 8 * BATCH).astype(np.float32)


def trial(**changes) -> Trial:
    usual = Trial(0, 0.05, 0.9, detector_scale=0.3, dense_scale=0.4, l1_detectors=0.0, l1_dense=0.0, dropout=0.0)
    return dataclasses.replace(usual, **changes)


TRIALS = [
    trial(),
    trial(learning_rate=0.1, momentum=0.8, l1_detectors=0.01, l1_dense=0.02),
    trial(hidden=4, learning_rate=0.02, l1_detectors=0.003),
    trial(hidden=4, learning_rate=0.07, momentum=0.95, l1_dense=0.01),
]


def train(trials, steps, l1_from=2, seed=0, first=0):
    state = init_population(trials, DETECTORS, WIDTH, seed, first)
    step = compiled(tuple(trials), l1_from)
    for i in range(steps):
        rows = slice(i % 8 * BATCH, (i % 8 + 1) * BATCH)
        state = step(state, CODES[rows], TARGETS[rows])
    return state


@functools.cache
def compiled(trials, l1_from):
    return jax.jit(make_population_step(trials, l1_from))


def alone(start, settings: Trial, steps, l1_from=2):
    """The member trained as an ordinary network, by automatic differentiation and Optax."""
    config, variables = to_network(start)
    model = make_model(config, 1)
    tx = optax.sgd(settings.learning_rate, settings.momentum, nesterov=True)
    params = variables["params"]
    opt_state = tx.init(params)

    @jax.jit
    def step(params, opt_state, codes, targets, decay):
        def loss(params):
            z = jnp.asarray(model.apply({"params": params}, {"codes": codes}, train=True))[:, 0]
            detectors = params["trunk"]["detectors"]["kernel"]
            kernels = [
                x for p, x in jax.tree_util.tree_leaves_with_path(params) if "detectors" not in str(p) and x.ndim > 1
            ]
            l1 = settings.l1_detectors * jnp.abs(detectors).sum() + settings.l1_dense * sum(
                jnp.abs(k).sum() for k in kernels
            )
            return logistic(z, targets).mean() + decay * l1

        updates, opt_state_ = tx.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state_

    for i in range(steps):
        rows = slice(i % 8 * BATCH, (i % 8 + 1) * BATCH)
        params, opt_state = step(params, opt_state, CODES[rows], TARGETS[rows], float(i >= l1_from))
    return params


@pytest.fixture(scope="module")
def trained():
    return train(TRIALS, 6)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_each_member_has_the_weights_of_the_same_network_trained_alone(trained, index):
    start = member(init_population(TRIALS, DETECTORS, WIDTH, 0).params, index)
    mine = member(trained.params, index)
    theirs = alone(start, TRIALS[index], 6)
    expected = jax.tree_util.tree_leaves_with_path(theirs)
    found = dict(jax.tree_util.tree_leaves_with_path(to_network(mine)[1]["params"]))
    for path, array in expected:
        np.testing.assert_allclose(found[path], array, atol=1e-5, err_msg=str(path))
    moved = np.abs(mine.detectors - start.detectors).max()
    assert moved > 1e-3, "nothing was learned: the comparison says nothing"


def test_a_member_trains_alike_in_other_company_dropout_included():
    trials = [trial(dropout=0.5), trial(hidden=4, dropout=0.25)]
    both = train(trials, 4)
    second = train(trials[1:], 4, first=1)
    a, b = member(both.params, 1), member(second.params, 0)
    for name, array in a.arrays().items():
        np.testing.assert_allclose(array, b.arrays()[name], atol=1e-6, err_msg=name)
    keep = np.asarray(_keep(both, 300, np.array([0.5, 0.25], np.float32)))
    assert set(np.unique(keep)) == {0.0, 1.0}
    np.testing.assert_allclose(keep.mean((0, 1, 3)), [0.5, 0.75], atol=0.05)


def test_decays_act_from_their_step_on_and_not_before(trained):
    free = [dataclasses.replace(t, l1_detectors=0.0, l1_dense=0.0) for t in TRIALS]
    two = train(TRIALS, 2).params  # steps 0 and 1; the decays start at 2
    for a, b in zip(jax.tree.leaves(two), jax.tree.leaves(train(free, 2).params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)
    without, decayed = train(free, 6).params["trunk"]["detectors"], trained.params["trunk"]["detectors"]
    moved = np.abs(without - decayed).max((1, 2, 3))
    assert moved[0] < 1e-6 and moved[1] > 1e-3 and moved[2] > 1e-4


def test_a_member_that_is_not_finite_is_frozen_and_the_others_do_not_notice(trained):
    wild = [TRIALS[0], dataclasses.replace(TRIALS[1], learning_rate=1e30), *TRIALS[2:]]
    state = train(wild, 6)
    assert np.asarray(state.bad_step)[[0, 2, 3]].tolist() == [-1, -1, -1]
    assert 0 <= int(state.bad_step[1]) < 6
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
    for i in (0, 2, 3):
        a, b = member(state.params, i), member(trained.params, i)
        np.testing.assert_allclose(a.detectors, b.detectors, atol=1e-6, err_msg=str(i))


@pytest.mark.parametrize(("length", "width"), [(21, 6), (3, 6), (1, 2)])
def test_the_gradient_of_the_strongest_responses_is_that_of_automatic_differentiation(length, width):
    codes = rng.integers(0, 4, (5, length)).astype(np.uint8)
    detectors = rng.normal(size=(2, width, 4, 3)).astype(np.float32)
    g = rng.normal(size=(5, 2, 2, 3)).astype(np.float32)
    g = jnp.asarray(g * np.stack([s := rng.integers(0, 2, (5, 2, 3)), 1 - s], 1))  # one strand each

    def plain(detectors):
        x = jnp.pad(dna.one_hot(codes, "float32", 0.25), ((0, 0), (width - 1,) * 2, (0, 0)), constant_values=0.25)
        windows = jnp.stack([x[:, i : i + width] for i in range(length + width - 1)], 1)
        return jnp.stack(
            [jnp.einsum("bnwc,mwcd->bnmd", w, detectors).max(1) for w in (windows, windows[:, :, ::-1, ::-1])], 1
        )

    value, back = jax.vjp(lambda d: strongest(d, codes), detectors)
    expected, plain_back = jax.vjp(plain, detectors)
    np.testing.assert_allclose(value, expected, atol=1e-5)
    np.testing.assert_allclose(back(g)[0], plain_back(g)[0], atol=1e-5)


def test_a_step_holds_no_grouped_convolution():
    state = init_population(TRIALS, DETECTORS, WIDTH, 0)
    text = jax.jit(make_population_step(TRIALS, 0)).lower(state, CODES[:BATCH], TARGETS[:BATCH]).as_text()
    assert text.count("stablehlo.convolution") == 1 and "feature_group_count = 1" in text


def test_members_network_and_parameter_file_score_alike(trained, tmp_path):
    for index in (1, 3):
        parameters = member(settled(trained.params, TRIALS), index)
        write_deepbind(tmp_path / "p.txt", parameters)
        config, variables = to_network(parameters)
        expected = np.asarray(scores(trained.params, CODES))[:, index]
        z = make_model(config, 1).apply(variables, {"codes": CODES}, train=False)
        np.testing.assert_allclose(np.asarray(z)[:, 0], expected, atol=1e-5)
        np.testing.assert_allclose(
            score_windows(read_deepbind(tmp_path / "p.txt"), CODES, "whole"), expected, atol=1e-5
        )


def test_held_out_losses_are_those_of_both_classes_at_the_share(trained):
    rows = np.r_[np.flatnonzero(TARGETS > 0.5)[:10], np.flatnonzero(TARGETS < 0.5)]
    codes, y = CODES[rows], TARGETS[rows]
    z = np.asarray(scores(trained.params, codes), np.float64)
    each = np.logaddexp(0, z) - y[:, None] * z
    expected = 0.3 * each[y > 0.5].mean(0) + 0.7 * each[y < 0.5].mean(0)
    np.testing.assert_allclose(Losses(codes, y, 0.3)(trained.params), expected, rtol=1e-6)
    np.testing.assert_allclose(Losses(codes, y, 0.0)(trained.params), each.mean(0), rtol=1e-6)


def test_dropout_is_made_up_for_in_the_first_dense_layer(trained):
    trials = [dataclasses.replace(t, dropout=0.25) for t in TRIALS]
    used = settled(trained.params, trials)
    np.testing.assert_allclose(used["linear"]["weights1"], 0.75 * trained.params["linear"]["weights1"], rtol=1e-6)
    np.testing.assert_allclose(used["hidden"]["weights1"], 0.75 * trained.params["hidden"]["weights1"], rtol=1e-6)
    np.testing.assert_array_equal(used["hidden"]["weights2"], trained.params["hidden"]["weights2"])
