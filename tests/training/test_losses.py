"""Losses: formulas against NumPy, masks, weights, the constant that fits best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.data.dataset import Task
from dragon_jax.sections import LossConfig
from dragon_jax.training.losses import head_bias, logit_shift, make_losses, plain_loss, task_statistics

TASKS = (Task("a"), Task("b", "real"), Task("c", "count"))


@pytest.fixture
def example():
    rng = np.random.default_rng(0)
    n = 200
    targets = np.stack([rng.random(n) < 0.2, rng.normal(3, 2, n), rng.poisson(4, n)], 1).astype(np.float32)
    targets[rng.random(targets.shape) < 0.3] = np.nan
    return rng.normal(size=(n, 3)).astype(np.float32), targets


def test_each_kind_has_its_formula_on_measured_examples_only(example):
    logits, targets = example
    stats = task_statistics(targets, TASKS)
    losses = make_losses(TASKS, stats, LossConfig())
    total, measured = losses.sums(jnp.asarray(logits), jnp.asarray(targets))
    z, y = logits.astype(np.float64), targets.astype(np.float64)
    p = 1 / (1 + np.exp(-z[:, 0]))
    expected = [
        np.nanmean(-y[:, 0] * np.log(p) - (1 - y[:, 0]) * np.log(1 - p)),
        np.nanmean(0.5 * (z[:, 1] - (y[:, 1] - np.nanmean(y[:, 1])) / np.nanstd(y[:, 1])) ** 2),
        np.nanmean(np.exp(z[:, 2]) - y[:, 2] * z[:, 2]),
    ]
    np.testing.assert_allclose(total / measured, expected, rtol=1e-5)
    np.testing.assert_array_equal(measured, (~np.isnan(targets)).sum(0))
    np.testing.assert_allclose(plain_loss(losses, logits.astype(np.float64), targets), expected, rtol=1e-6)


def test_unmeasured_entries_change_neither_loss_nor_gradient(example):
    logits, targets = example
    losses = make_losses(TASKS, task_statistics(targets, TASKS), LossConfig())
    wild = np.where(np.isnan(targets), 1e4, logits).astype(np.float32)

    def total(z):
        value, measured = losses.sums(z, jnp.asarray(targets))
        return (value / measured).sum()

    a, ga = jax.value_and_grad(total)(jnp.asarray(logits))
    b, gb = jax.value_and_grad(total)(jnp.asarray(wild))
    assert a == b
    np.testing.assert_array_equal(ga[np.isnan(targets)], 0)
    np.testing.assert_array_equal(gb[np.isnan(targets)], 0)
    assert np.isfinite(gb).all()


def test_example_weights_act_as_repetition(example):
    logits, targets = example
    losses = make_losses(TASKS, task_statistics(targets, TASKS), LossConfig())
    times = np.arange(len(targets)) % 3
    a = losses.sums(jnp.asarray(logits), jnp.asarray(targets), jnp.asarray(times, jnp.float32))
    rows = np.repeat(np.arange(len(targets)), times)
    b = losses.sums(jnp.asarray(logits[rows]), jnp.asarray(targets[rows]))
    np.testing.assert_allclose(a[0], b[0], rtol=1e-4)
    np.testing.assert_array_equal(a[1], b[1])


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_head_bias_is_the_best_constant_and_the_shift_brings_prevalence_back(example, class_weight):
    _, targets = example
    stats = task_statistics(targets, TASKS)
    losses = make_losses(TASKS, stats, LossConfig(class_weight=class_weight))
    bias = head_bias(TASKS, stats, losses)

    def mean_loss(constant):
        z = jnp.broadcast_to(constant[None], targets.shape)
        value, measured = losses.sums(z, jnp.asarray(targets))
        return (value / measured).sum()

    np.testing.assert_allclose(jax.grad(mean_loss)(jnp.asarray(bias)), 0, atol=1e-4)
    shift = logit_shift(TASKS, stats, losses)
    values = losses.values(bias[None], shift=shift)[0]
    np.testing.assert_allclose(values, np.nanmean(targets, 0), rtol=1e-4)


def test_balanced_batches_are_taken_out_of_the_probability():
    targets = (np.arange(1000) < 50).astype(np.float32)[:, None]
    tasks = (Task("a"),)
    stats = task_statistics(targets, tasks)
    losses = make_losses(tasks, stats, LossConfig())
    shift = logit_shift(tasks, stats, losses, {0: 0.5})
    # a model that learned nothing from half-and-half batches says logit 0; the truth is a share of 0.05
    np.testing.assert_allclose(losses.values(np.zeros((1, 1), np.float32), shift=shift), 0.05, rtol=1e-6)


def test_class_weights_are_capped_and_label_smoothing_moves_targets():
    targets = (np.arange(1000) < 2).astype(np.float32)[:, None]
    tasks = (Task("a"),)
    losses = make_losses(
        tasks, task_statistics(targets, tasks), LossConfig(class_weight="balanced", class_weight_cap=20.0)
    )
    assert losses.positive[0] == 20
    smooth = make_losses(tasks, task_statistics(targets, tasks), LossConfig(label_smoothing=0.2))
    one, _ = smooth.sums(jnp.array([[3.0]]), jnp.array([[1.0]]))
    expected = 0.9 * np.log1p(np.exp(-3)) + 0.1 * np.log1p(np.exp(3))
    np.testing.assert_allclose(one, [expected], rtol=1e-5)


def test_one_class_and_unmeasured_tasks_start_at_finite_bias():
    targets = np.stack([np.ones(10), np.full(10, np.nan)], 1).astype(np.float32)
    tasks = (Task("a"), Task("b"))
    stats = task_statistics(targets, tasks)
    losses = make_losses(tasks, stats, LossConfig())
    assert np.isfinite(head_bias(tasks, stats, losses)).all()
    total, measured = losses.sums(jnp.zeros((10, 2)), jnp.asarray(targets))
    assert measured[1] == 0 and total[1] == 0
