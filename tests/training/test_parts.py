"""Weighting, augmentation, optimisers, early stopping: the properties that training relies on."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dragon_jax import dna
from dragon_jax.errors import InputError
from dragon_jax.sections import AugmentConfig, OptimConfig, TrainConfig, WeightingConfig
from dragon_jax.training.augment import augment, mutate, shift_rows
from dragon_jax.training.early import EarlyStop
from dragon_jax.training.optimizers import OPTIMIZERS, make_optimizer, make_schedule
from dragon_jax.training.weighting import Aux, make_weighting, plain_facts

NAMES = ["a", "b", "c"]


def weights_of(config, measured=(4.0, 4.0, 4.0), losses=(1.0, 2.0, 3.0)):
    method = make_weighting(config, plain_facts(NAMES))
    aux = Aux(jnp.array(measured), jnp.int32(0))
    weights, _ = jax.jit(method.apply)(method.init(3), jnp.array(losses), aux)
    return np.asarray(weights)


def test_equal_weights_are_one_and_skip_tasks_without_labels():
    np.testing.assert_allclose(weights_of(WeightingConfig()), [1, 1, 1])
    np.testing.assert_allclose(weights_of(WeightingConfig(), measured=(4.0, 0.0, 4.0)), [1.5, 0, 1.5])


def test_static_weights_keep_their_ratio_and_sum_to_the_number_of_tasks():
    weights = weights_of(WeightingConfig(name="static", weights={"a": 3.0, "b": 1.0}))
    np.testing.assert_allclose(weights, np.array([3, 1, 1]) * 3 / 5, rtol=1e-6)
    with pytest.raises(InputError, match="no task called bb; did you mean b"):
        make_weighting(WeightingConfig(name="static", weights={"bb": 1.0}), plain_facts(NAMES))
    with pytest.raises(InputError, match="at least one weight above 0"):
        make_weighting(WeightingConfig(name="static", weights=dict.fromkeys(NAMES, 0.0)), plain_facts(NAMES))


def batch(n=400, length=30, seed=0):
    rng = np.random.default_rng(seed)
    codes = jnp.asarray(rng.integers(0, 5, (n, length)), jnp.uint8)
    return {
        "codes": codes,
        "signal": jnp.arange(n * length, dtype=jnp.float32).reshape(n, length, 1),
        "meta": jnp.ones((n, 2)),
    }


def test_other_strand_comes_with_its_probability_and_takes_the_signal_along():
    inputs = batch()
    out = jax.jit(lambda k: augment(inputs, AugmentConfig(reverse_complement=0.5), k))(jax.random.key(0))
    turned = np.array(
        [(o == dna.reverse_complement(np.asarray(c))).all() for o, c in zip(out["codes"], inputs["codes"], strict=True)]
    )
    kept = np.array([(o == c).all() for o, c in zip(out["codes"], inputs["codes"], strict=True)])
    assert (turned | kept).all()
    assert 150 < turned.sum() < 250
    np.testing.assert_array_equal(out["signal"][turned], inputs["signal"][turned][:, ::-1])
    np.testing.assert_array_equal(out["signal"][~turned], inputs["signal"][~turned])
    np.testing.assert_array_equal(out["meta"], inputs["meta"])


def test_shifts_move_rows_and_fill_with_unknown_bases():
    codes = jnp.asarray([[0, 1, 2, 3]] * 3, jnp.uint8)
    moved = shift_rows(codes, jnp.array([0, 1, -2]), 2, dna.UNKNOWN)
    np.testing.assert_array_equal(moved, [[0, 1, 2, 3], [4, 0, 1, 2], [2, 3, 4, 4]])
    out = augment(batch(), AugmentConfig(shift=3), jax.random.key(1))
    shifts = {int((row == 4).all() and -1) for row in np.asarray(out["codes"])}
    assert shifts == {0}
    lead = np.asarray(out["signal"])[:, 0, 0] - np.asarray(batch()["signal"])[:, 0, 0]
    assert set(np.unique(lead[lead > 0])) == {1.0, 2.0, 3.0}


def test_mutations_hit_known_bases_at_their_rate_and_always_change_them():
    codes = jnp.asarray(np.random.default_rng(0).integers(0, 5, (200, 100)), jnp.uint8)
    out = np.asarray(mutate(codes, 0.1, jax.random.key(0)))
    changed = out != np.asarray(codes)
    known = np.asarray(codes) < 4
    assert not changed[~known].any()
    assert abs(changed[known].mean() - 0.1) < 0.01
    assert out[changed].max() < 4


def test_no_augmentation_returns_the_batch():
    inputs = batch()
    out = augment(inputs, AugmentConfig(), jax.random.key(0))
    assert all((out[k] == inputs[k]).all() for k in inputs)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimiser_goes_downhill(name):
    rate = 0.5 if name == "adagrad" else 0.05
    tx = make_optimizer(
        OptimConfig(name=name, learning_rate=rate, schedule="cosine", warmup_fraction=0.1, clip_norm=1.0), 100
    )
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.full((2,), -1.0)}
    target = {"kernel": jnp.full((2, 2), 0.3), "bias": jnp.zeros(2)}

    def loss(p):
        return sum(((a - b) ** 2).sum() for a, b in zip(jax.tree.leaves(p), jax.tree.leaves(target), strict=True))

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state, before = tx.init(params), loss(params)
    for _ in range(100):
        params, state = step(params, state)
    assert loss(params) < 0.2 * before


def test_weight_decay_spares_biases():
    tx = make_optimizer(OptimConfig(name="adamw", learning_rate=0.1, weight_decay=0.5), 10)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)


def test_schedules_peak_after_warm_up_and_end_where_they_say():
    for name, last in (("constant", 1.0), ("cosine", 0.1), ("linear", 0.1), ("exponential", 0.1)):
        schedule = make_schedule(
            OptimConfig(learning_rate=1.0, schedule=name, warmup_fraction=0.2, final_scale=0.1), 100
        )
        values = np.array([schedule(i) for i in range(101)])
        assert values.argmax() == 20 and values.max() == pytest.approx(1.0)
        assert values[100] == pytest.approx(last, rel=1e-3)
        assert (np.diff(values[:20]) > 0).all()


@pytest.mark.parametrize(
    ("mode", "series"), [("max", [0.1, 0.3, 0.2, 0.25, 0.29]), ("min", [0.9, 0.7, 0.8, 0.75, 0.71])]
)
def test_early_stopping_works_in_both_directions(mode, series):
    stop = EarlyStop.of(TrainConfig(monitor="anything", mode=mode, patience=3))
    better = [stop.update(i, v) for i, v in enumerate(series)]
    assert better == [True, True, False, False, False]
    assert (stop.best_step, stop.best_value, stop.done) == (1, series[1], True)


def test_early_stopping_survives_undefined_metrics_and_a_restart():
    stop = EarlyStop.of(TrainConfig(monitor="auroc", patience=2))
    assert stop.update(1, math.nan) and not stop.done
    again = EarlyStop.of(TrainConfig(monitor="auroc", patience=2))
    again.restore(stop.state())
    for each in (stop, again):
        assert each.update(2, 0.6) and not each.update(3, math.nan) and not each.update(4, 0.55) and each.done
    assert stop == again
    never = EarlyStop.of(TrainConfig(monitor="loss", patience=0))
    assert never.update(0, 1.0) and not any(never.update(i, 2.0) for i in range(1, 50)) and not never.done
