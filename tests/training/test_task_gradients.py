"""Inner products of task gradients inside the training step, and whole runs of the methods that read them."""

import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.models.registry import make_model, model_config
from dragon_jax.sections import AugmentConfig, LossConfig, OptimConfig, WeightingConfig
from dragon_jax.training.devices import Devices
from dragon_jax.training.diagnosis import Diagnosis, conflict, effective_number, first_batches, head_cosines
from dragon_jax.training.gram import cosines, full_gram, sketch_gram
from dragon_jax.training.losses import head_bias, make_losses, task_statistics
from dragon_jax.training.optimizers import make_optimizer
from dragon_jax.training.step import init_state, make_train_step
from dragon_jax.training.trainer import Stopped, Trainer
from dragon_jax.training.weighting import WEIGHTINGS, Weighting, plain_facts
from dragon_jax.training.weighting.facts import GRADIENT, task_facts
from tests.runs.helpers import environment
from tests.training.test_trainer import TASKS, data, numbers, spec

T = len(TASKS)


def spy(space, probes=0):
    """A method that keeps the Gram matrix it was given in its state."""

    def apply(state, losses, aux):
        return jnp.ones(T), {"gram": aux.products, "losses": losses}

    return Weighting(lambda n: {"gram": jnp.zeros((n, n)), "losses": jnp.zeros(n)}, apply, False, space, probes)


def one_step(method, loss=None, **fields):
    """A step of a small network with dropout; returns the state before, after, and how to get its task losses."""
    train = data(64)
    stats = task_statistics(train.targets, TASKS)
    losses = make_losses(TASKS, stats, loss or LossConfig())
    tx = make_optimizer(OptimConfig(), 10)
    network = {"name": "convnet", "filters": (4,), "widths": (6,), "pool_width": 0, "dropout": 0.3} | fields
    model = make_model(model_config(network), T)
    batch = {"codes": train.codes, "targets": train.targets, "weight": np.linspace(0.5, 2, 64, dtype=np.float32)}
    state = init_state(model, {"codes": train.codes[:1]}, head_bias(TASKS, stats, losses), tx, method, 0, False)
    after = jax.jit(make_train_step(model, losses, method, tx, OptimConfig(), AugmentConfig()))(state, batch, None)
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    rngs = {"dropout": jax.random.split(key)[0]}

    def quotients(logits):
        total, measured = losses.sums(logits, jnp.asarray(batch["targets"]), jnp.asarray(batch["weight"]))
        return total / measured

    def apply(params, x, method):
        return model.apply({"params": params}, x, train=True, rngs=rngs, method=method)

    return state, after, apply, quotients, {"codes": train.codes}


def products_of(jacobian):
    rows = np.stack([np.concatenate([np.ravel(x[t]) for x in jax.tree.leaves(jacobian)]) for t in range(T)])
    return rows.astype(np.float64) @ rows.T


@pytest.mark.parametrize(
    ("strands", "bottleneck"), [("none", 0), ("average", 3), ("probability", 0), ("maximum", 0), ("shared", 3)]
)
def test_closed_form_products_are_those_of_the_jacobian(strands, bottleneck):
    """By the representation; losses of three kinds, missing values, weights of rows and classes, two strands, dropout."""
    loss = LossConfig(class_weight="sqrt", focal_gamma=2.0)
    state, after, apply, quotients, inputs = one_step(
        spy("representation"), loss, strands=strands, bottleneck=bottleneck
    )
    represented = apply(state.params, inputs, "represent")
    read = jax.jacrev(lambda r: quotients(apply(state.params, r, "read_out")))(represented)
    np.testing.assert_allclose(after.weighting["gram"], products_of(read), rtol=1e-4, atol=1e-7)


def test_products_by_the_last_common_layer_are_those_of_the_jacobian():
    state, after, apply, quotients, inputs = one_step(spy("last"), strands="average", bottleneck=3)

    def by_kernel(kernel):
        params = {**state.params, "bottleneck": {"kernel": kernel}}
        return quotients(apply(params, apply(params, inputs, "represent"), "read_out"))

    expected = products_of(jax.jacrev(by_kernel)(state.params["bottleneck"]["kernel"]))
    np.testing.assert_allclose(after.weighting["gram"], expected, rtol=1e-4, atol=1e-9)


def shared_losses(state, apply, quotients, inputs):
    def losses(shared):
        params = {**state.params, **shared}
        return quotients(apply(params, apply(params, inputs, "represent"), "read_out"))

    return losses, {k: v for k, v in state.params.items() if k != "head"}


def test_full_products_are_those_of_the_jacobian_and_a_sketch_is_near():
    state, after, apply, quotients, inputs = one_step(spy("full"), strands="average")
    losses, shared = shared_losses(state, apply, quotients, inputs)
    expected = products_of(jax.jacrev(losses)(shared))
    np.testing.assert_allclose(after.weighting["gram"], expected, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(full_gram(losses, shared), expected, rtol=1e-4, atol=1e-8)
    sketch = jax.jit(lambda key: sketch_gram(losses, shared, key, 4))
    sketches = np.stack([sketch(jax.random.key(i)) for i in range(40)])
    spread = np.sqrt(2 / 4) * np.diagonal(expected)
    error = np.abs(np.diagonal(sketches.mean(0) - expected))
    assert (error < 4 * spread / np.sqrt(40)).all()
    two = np.asarray(one_step(spy("sketch", 2), strands="average")[1].weighting["gram"])
    assert np.linalg.matrix_rank(two, 1e-5 * np.trace(two)) == 2 < T


def test_a_task_without_a_label_in_the_batch_has_a_gradient_of_zero(monkeypatch):
    given = data(64)
    given.targets[:, 1] = np.nan
    monkeypatch.setattr(sys.modules[__name__], "data", lambda n: given)
    _, after, *_ = one_step(spy("representation"))
    gram = np.asarray(after.weighting["gram"])
    assert not gram[1].any() and not gram[:, 1].any() and gram[0, 0] > 0


def test_methods_see_losses_above_the_least_that_counts_allow():
    """The Poisson loss leaves out a term of the counts and can be negative; its logarithm must exist."""
    _, after, *_ = one_step(spy("representation"))
    assert (np.asarray(after.weighting["losses"]) > 0).all()


def fit(folder, name, stop=lambda: 0, **fields):
    settings = spec(steps=12, eval_every=6, **{k: fields.pop(k) for k in ("checkpoint_every",) if k in fields})
    settings = dataclasses.replace(settings, weighting=WeightingConfig(name=name, **fields))
    train, valid = data(128), data(64, seed=1)
    network = {"name": "convnet", "filters": (4,), "widths": (6,), "pool_width": 0, "dropout": 0.1, "bottleneck": 2}
    model = make_model(model_config(network), T)
    trainer = Trainer(
        settings, model, train, valid, task_statistics(train.targets, TASKS), folder, quiet=True, stop=stop
    )
    return trainer, trainer.run()


# One of each kind; what each weighs is tested without a network.
@pytest.mark.parametrize("name", ["label_count", "random", "dwa", "famo", "gradnorm", "gradvac", "upgrad"])
def test_methods_of_every_kind_train_and_say_their_weights(name, tmp_path):
    _, fitted = fit(tmp_path, name)
    assert np.isfinite(numbers(fitted.variables)).all()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    weights = np.array([[t["weight"] for t in r["per_task"].values()] for r in rows if r["split"] == "train"])
    np.testing.assert_allclose(weights.sum(1), T, rtol=1e-4)
    assert all(0 < r["effective_tasks"] <= T + 1e-3 for r in rows if r["split"] == "train")
    assert np.ptp(weights) > 1e-4 or name == "dwa"


@pytest.mark.parametrize("fields", [{"space": "last"}, {"space": "full", "update_every": 3}])
def test_the_other_spaces_train(fields, tmp_path):
    assert np.isfinite(numbers(fit(tmp_path, "gradnorm", **fields)[1].variables)).all()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("famo", {}),
        ("nash", {"update_every": 5, "smoothing": 0.5, "loss_smoothing": 0.5}),
    ],
)
def test_a_run_that_was_stopped_in_the_middle_ends_with_the_same_bytes(name, fields, tmp_path):
    _, whole = fit(tmp_path / "whole", name, **fields)
    calls = iter(range(100))
    with pytest.raises(Stopped):
        fit(tmp_path / "cut", name, stop=lambda: 15 if next(calls) == 7 else 0, **fields)
    _, resumed = fit(tmp_path / "cut", name, **fields)
    np.testing.assert_array_equal(numbers(whole.variables), numbers(resumed.variables))
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "cut/metrics.jsonl").read_bytes()


DEVICES = """
import json, sys
sys.path.insert(0, {root!r})
from pathlib import Path
import jax, numpy as np
from tests.training.test_task_gradients import fit
found = {{}}
for name in ("famo", "nash"):
    fit(Path({folder!r}) / name, name, diagnose=1)
    rows = [json.loads(line) for line in (Path({folder!r}) / name / "metrics.jsonl").read_text().splitlines()]
    found[name] = [[t["weight"] for t in r["per_task"].values()] + [r["conflict"]] for r in rows if r["split"] == "train"]
print(json.dumps([jax.local_device_count(), found]))
"""


def test_weights_on_eight_devices_are_those_on_one(tmp_path, request):
    found = {}
    for count in (1, 8):
        code = DEVICES.format(root=str(request.config.rootpath), folder=str(tmp_path / str(count)))
        env = environment(XLA_FLAGS=f"--xla_force_host_platform_device_count={count}")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
        assert done.returncode == 0, done.stderr
        devices, found[count] = json.loads(done.stdout.splitlines()[-1])
        assert devices == count
    for name, weights in found[1].items():
        np.testing.assert_allclose(weights, found[8][name], atol=2e-4, err_msg=name)


def test_networks_and_tasks_that_a_method_cannot_serve_are_refused(tmp_path):
    train = data(64)

    def trainer(weighting, **network):
        settings = dataclasses.replace(spec(), weighting=weighting)
        model = make_model(model_config({"name": "dense", "widths": (4,)} | network), T)
        return Trainer(settings, model, train, train, task_statistics(train.targets, TASKS), tmp_path, quiet=True)

    with pytest.raises(InputError, match="'last' needs a linear layer .* Set model.bottleneck"):
        trainer(WeightingConfig(name="nash", space="last"))
    with pytest.raises(InputError, match="'sketch' of 2 probes has rank 2"):
        trainer(WeightingConfig(name="nash", space="sketch", probes=2))
    assert sorted(GRADIENT) == sorted(n for n, m in WEIGHTINGS.items() if m(WeightingConfig(), plain_facts("ab")).space)


def test_facts_of_the_tasks_come_from_the_training_set():
    train = data()
    stats = task_statistics(train.targets, TASKS)
    facts = task_facts(TASKS, stats, make_losses(TASKS, stats, LossConfig()), 7)
    assert list(facts.names) == ["bound", "strength", "reads"] and facts.steps_per_epoch == 7
    share = np.nanmean(train.targets[:, 0])
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    np.testing.assert_allclose(facts.null_loss[:2], [entropy, 0.5], rtol=1e-5)
    assert facts.real.tolist() == [False, True, False]


def test_diagnosis_compares_gradients_on_whole_batches(tmp_path):
    train = data(64)
    stats = task_statistics(train.targets, TASKS)
    losses = make_losses(TASKS, stats, LossConfig())
    model = make_model(model_config({"name": "dense", "widths": (4,), "strands": "average"}), T)
    trainer = Trainer(spec(), model, train, train, stats, tmp_path, quiet=True)
    variables = jax.jit(lambda k: model.init(k, {"codes": train.codes[:1]}, train=False))(jax.random.key(0))
    batches = first_batches(train, trainer.order, 2)
    found = Diagnosis(model, losses, Devices())(variables, batches)
    expected = []
    for batch in batches:
        represented = model.apply(variables, {"codes": batch["codes"]}, train=False, method="represent")

        def quotients(r, batch=batch):
            total, measured = losses.sums(
                model.apply(variables, r, train=False, method="read_out"), jnp.asarray(batch["targets"])
            )
            return total / measured

        expected.append(np.asarray(cosines(jnp.asarray(products_of(jax.jacrev(quotients)(represented)), jnp.float32))))
    np.testing.assert_allclose(found, np.mean(expected, 0), atol=1e-4)
    assert conflict(np.array([[1, -0.2, 0.1], [-0.2, 1, np.nan], [0.1, np.nan, 1]])) == 0.5
    assert np.isnan(conflict(np.ones((1, 1))))


def test_effective_number_and_head_cosines():
    assert effective_number(np.ones(5)) == pytest.approx(5)
    assert effective_number(np.array([1.0, 0, 0])) == pytest.approx(1)
    kernel = np.array([[1.0, 2.0, -1.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(head_cosines(kernel)[0], [1, 1, -np.sqrt(0.5)])
