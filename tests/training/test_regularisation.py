"""Penalties and the cap on kernel norms do what they say, and batch normalisation survives a stop and many devices."""

import functools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.models.registry import make_model, model_config
from dragon_jax.sections import AugmentConfig, LossConfig, OptimConfig, TrainConfig, WeightingConfig
from dragon_jax.training.losses import make_losses, task_statistics
from dragon_jax.training.optimizers import hold_norms, make_optimizer
from dragon_jax.training.step import init_state, make_train_step
from dragon_jax.training.trainer import Stopped, Trainer, TrainSpec
from dragon_jax.training.weighting import make_weighting, plain_facts
from tests.runs.helpers import environment

TASKS = (Task("a"), Task("b"))
PLAIN = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.0, "nesterov": False}
DENSE = {"name": "dense", "widths": (5,), "strands": "average"}


def data(n=64, length=20, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length)).astype(np.uint8)
    targets = np.stack([(codes == 2).sum(1) > 5, (codes[:, :9] == 0).sum(1) > 2], 1).astype(np.float32)
    return Dataset(codes=codes, targets=targets, tasks=TASKS, ids=np.arange(n).astype(str))


@functools.cache
def stepped(trunk_only=False, dropout=0.0, **fields):
    """One step of plain gradient descent with rate 1; returns states before and after, and the network."""
    train, model = data(), {**DENSE, "dropout": dropout}
    weighting = WeightingConfig(name="static", weights={"a": 1.0}) if trunk_only else WeightingConfig()
    losses = make_losses(TASKS, task_statistics(train.targets, TASKS), LossConfig())
    optim = OptimConfig(**{**PLAIN, **fields})
    tx = make_optimizer(optim, 10)
    network = make_model(model_config(model), len(TASKS))
    method = make_weighting(weighting, plain_facts(["a", "b"]))
    bias = np.zeros(2, np.float32)
    state = init_state(network, {"codes": train.codes[:1]}, bias, tx, method, 0, optim.ema > 0)
    step = jax.jit(make_train_step(network, losses, method, tx, optim, AugmentConfig()))
    return state, step(state, {"codes": train.codes, "targets": train.targets}, None), network


def moved(fields, **more):
    """How much further the weights go with these fields than without them."""
    _, plain, _ = stepped(**more)
    before, after, network = stepped(**fields, **more)
    return before, jax.tree.map(lambda a, b: np.asarray(a - b), after.params, plain.params), network


def test_l2_pulls_kernels_towards_zero_by_twice_its_value_and_spares_biases():
    before, change, _ = moved({"l2": 0.05})
    for layer, x in ((change["head"], before.params["head"]), (change["trunk"]["layers"]["dense_0"],) * 2):
        if layer is x:
            x = before.params["trunk"]["layers"]["dense_0"]
        np.testing.assert_allclose(layer["kernel"], -0.1 * np.asarray(x["kernel"]), atol=1e-6)
        np.testing.assert_allclose(layer["bias"], 0, atol=1e-6)


@pytest.mark.parametrize("trunk_only", [False, True])
def test_l1_of_activations_is_the_gradient_of_the_mean_sum_of_units(trunk_only):
    before, change, network = moved({"l1_activations": 0.03}, trunk_only=trunk_only)
    codes = {"codes": data().codes}

    def penalty(params):  # no dropout here, so what the head reads is the hidden layer itself
        hidden = network.apply({"params": params}, codes, train=True, method="represent")
        return 0.03 * jnp.abs(hidden).sum(1).mean()

    expected = jax.grad(penalty)(before.params)
    assert max(np.abs(x).max() for x in jax.tree.leaves(expected)) > 1e-3
    for a, b in zip(jax.tree.leaves(change), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, -b, atol=1e-6)


def test_activations_are_penalised_before_they_are_dropped_out():
    before, change, _ = moved({"l1_activations": 0.03}, dropout=0.5)
    undropped = make_model(model_config(DENSE), len(TASKS))

    def penalty(params):
        hidden = undropped.apply({"params": params}, {"codes": data().codes}, train=True, method="represent")
        return 0.03 * jnp.abs(hidden).sum(1).mean()

    expected = jax.grad(penalty)(before.params)["trunk"]
    np.testing.assert_allclose(
        change["trunk"]["layers"]["dense_0"]["kernel"], -expected["layers"]["dense_0"]["kernel"], atol=1e-6
    )


def test_max_norm_holds_every_unit_after_the_step_and_leaves_smaller_ones_alone():
    _, free, _ = stepped()
    _, after, _ = stepped(max_norm=0.9)
    shrunk = 0
    for name in ("head", "trunk"):
        held = after.params[name] if name == "head" else after.params[name]["layers"]["dense_0"]
        loose = free.params[name] if name == "head" else free.params[name]["layers"]["dense_0"]
        norms = np.linalg.norm(loose["kernel"], axis=0)
        expected = np.asarray(loose["kernel"]) * np.minimum(1, 0.9 / norms)
        np.testing.assert_allclose(held["kernel"], expected, rtol=1e-5)
        np.testing.assert_array_equal(held["bias"], loose["bias"])
        shrunk += (norms > 0.9).sum()
    assert shrunk > 0
    filters = {"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(7, 4, 3)), jnp.float32)}
    norms = np.linalg.norm(np.asarray(hold_norms(filters, 2.0)["kernel"]).reshape(28, 3), axis=0)
    np.testing.assert_allclose(norms, 2.0, rtol=1e-5)
    zero = {"kernel": jnp.zeros((2, 2))}
    np.testing.assert_array_equal(hold_norms(zero, 1.0)["kernel"], 0)


def test_the_moving_average_is_taken_over_the_weights_that_were_held():
    before, after, _ = stepped(max_norm=0.9, ema=0.75)
    for e, a, b in zip(*(jax.tree.leaves(x) for x in (after.ema, before.params, after.params)), strict=True):
        np.testing.assert_allclose(e, 0.75 * np.asarray(a) + 0.25 * np.asarray(b), rtol=1e-5, atol=1e-7)


def test_without_them_the_compiled_step_is_the_same_program():
    def program(**fields):
        train = data()
        losses = make_losses(TASKS, task_statistics(train.targets, TASKS), LossConfig())
        optim = OptimConfig(**{**PLAIN, **fields})
        tx, method = make_optimizer(optim, 10), make_weighting(WeightingConfig(), plain_facts(["a", "b"]))
        network = make_model(model_config(DENSE), len(TASKS))
        state = init_state(network, {"codes": train.codes[:1]}, np.zeros(2, np.float32), tx, method, 0, False)
        step = make_train_step(network, losses, method, tx, optim, AugmentConfig())
        return str(jax.make_jaxpr(step)(state, {"codes": train.codes, "targets": train.targets}))

    off = program()
    assert off == program(l2=0.0, l1_activations=0.0, max_norm=0.0)
    assert len({off, program(l2=0.1), program(l1_activations=0.1), program(max_norm=1.0)}) == 4


NORMED = {
    "name": "basset",
    "filters": (4,),
    "widths": (5,),
    "pools": (4,),
    "dense": (6,),
    "strands": "average",
    "dropout": 0.2,
}


def train_normed(folder, stop_at=None):
    # Not Adam: a bias before batch normalisation has no gradient but rounding, of which Adam makes whole steps.
    spec = TrainSpec(
        seed=3,
        optim=OptimConfig(name="sgd", learning_rate=0.1, ema=0.9, max_norm=1.0, l2=1e-4, l1_activations=1e-4),
        loss=LossConfig(),
        weighting=WeightingConfig(),
        augment=AugmentConfig(reverse_complement=0.5),
        train=TrainConfig(batch_size=16, steps=8, eval_every=4, tensorboard=False, patience=0),
    )
    train, valid = data(128), data(64, seed=1)
    seen = {"n": 0}

    def stop():
        seen["n"] += 1
        return 15 if stop_at is not None and seen["n"] >= stop_at else 0

    model = make_model(model_config(NORMED), len(TASKS))
    stats = task_statistics(train.targets, TASKS)
    trainer = Trainer(spec, model, train, valid, stats, folder, quiet=True, stop=stop)
    return trainer, trainer.run()


def numbers(tree):
    return np.concatenate([np.ravel(np.asarray(x)) for x in jax.tree.leaves(tree)])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train_normed(tmp_path_factory.mktemp("whole"))


def test_batch_normalisation_goes_on_bit_for_bit_after_a_stop(tmp_path, undisturbed):
    trainer, whole = undisturbed
    with pytest.raises(Stopped) as stopped:
        train_normed(tmp_path / "parts", stop_at=6)
    assert 0 < stopped.value.step < 8
    _, resumed = train_normed(tmp_path / "parts")
    np.testing.assert_array_equal(numbers(whole.variables), numbers(resumed.variables))
    stats = whole.variables["batch_stats"]["trunk"]
    assert np.abs(stats["norm_0"]["mean"]).min() > 0 and not np.allclose(stats["norm_0"]["var"], 1)
    logits = trainer.predict_logits(trainer.devices.copy(whole.variables), trainer.valid)
    alone = trainer.predict_logits(trainer.devices.copy(whole.variables), trainer.valid.take(np.arange(1)))
    np.testing.assert_allclose(logits[:1], alone, atol=1e-5)  # what else is in the batch does not matter


DEVICES = """
import json, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.training.test_regularisation import numbers, train_normed
trainer, fitted = train_normed(Path({folder!r}))
print(json.dumps([trainer.devices.count, numbers(fitted.variables).tolist()]))
"""


def test_statistics_of_four_devices_are_those_of_the_whole_batch(tmp_path, request, undisturbed):
    _, one = undisturbed
    code = DEVICES.format(root=str(request.config.rootpath), folder=str(tmp_path / "four"))
    env = environment(XLA_FLAGS="--xla_force_host_platform_device_count=4")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    devices, values = json.loads(done.stdout.splitlines()[-1])
    assert devices == 4
    np.testing.assert_allclose(numbers(one.variables), values, atol=2e-5)
