"""Training as a whole: devices, placements, weighting of the trunk, best weights."""

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
from dragon_jax.training.losses import head_bias, make_losses, task_statistics
from dragon_jax.training.optimizers import make_optimizer
from dragon_jax.training.step import init_state, make_train_step
from dragon_jax.training.trainer import Trainer, TrainSpec
from dragon_jax.training.weighting import make_weighting, plain_facts
from tests.runs.helpers import environment

TASKS = (Task("bound"), Task("strength", "real"), Task("reads", "count"))


def data(n=256, length=40, seed=0):
    """Sequences whose targets follow from a planted word of eight bases; a fifth of the values are not measured."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length)).astype(np.uint8)
    planted = rng.random(n) < 0.5
    codes[planted, 10:18] = [2, 0, 3, 0, 0, 1, 2, 2]
    targets = np.stack([planted, planted + rng.normal(0, 0.3, n), rng.poisson(1 + 4 * planted)], 1).astype(np.float32)
    targets[rng.random(targets.shape) < 0.2] = np.nan
    return Dataset(codes=codes, targets=targets, tasks=TASKS, ids=np.array([f"s{i}" for i in range(n)]))


def spec(**train):
    values = dict(batch_size=32, steps=60, eval_every=20, tensorboard=False, patience=0) | train
    return TrainSpec(
        seed=3,
        optim=OptimConfig(learning_rate=0.02),
        loss=LossConfig(),
        weighting=WeightingConfig(),
        augment=AugmentConfig(shift=1),
        train=TrainConfig(**values),
    )


def trained(folder, spec, **kwargs):
    train, valid = data(), data(seed=1)
    config = model_config(
        {"name": "convnet", "filters": (8,), "widths": (8,), "pool_width": 0, "strands": "average", "dropout": 0.1}
    )
    model = make_model(config, len(TASKS), spec.train.compute_dtype)
    trainer = Trainer(spec, model, train, valid, task_statistics(train.targets, TASKS), folder, quiet=True, **kwargs)
    return trainer, trainer.run()


def numbers(tree):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


def test_three_kinds_of_tasks_are_learned_side_by_side(tmp_path):
    trainer, fitted = trained(tmp_path, spec(steps=150, monitor="auroc"))
    _, summary, per_task = trainer.measure(trainer.devices.copy(fitted.variables), trainer.valid)
    assert per_task["bound"]["auroc"] > 0.9
    assert per_task["strength"]["pearson"] > 0.7 and per_task["reads"]["spearman"] > 0.5
    assert "auroc" not in per_task["strength"] and "poisson_deviance" in per_task["reads"]
    assert summary["auroc"] == per_task["bound"]["auroc"]


def test_memory_and_device_placements_train_the_same_weights(tmp_path):
    _, a = trained(tmp_path / "a", spec(placement="memory"))
    _, b = trained(tmp_path / "b", spec(placement="device"))
    np.testing.assert_array_equal(numbers(a.variables), numbers(b.variables))
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()


def test_rows_streamed_from_tfds_files_train_the_same_weights(tmp_path):
    from dragon_jax.data.builders import open_stream, write_tfds

    folder = write_tfds(
        {"train": data(), "valid": data(seed=1)}, tmp_path / "tfds", name="grammar", version="1.0.0", shards=2
    )
    _, a = trained(tmp_path / "a", spec(placement="memory", steps=20))
    _, b = trained(tmp_path / "b", spec(placement="stream", steps=20), stream=open_stream(folder, "train"))
    np.testing.assert_array_equal(numbers(a.variables), numbers(b.variables))


def test_bfloat16_computes_with_float32_parameters(tmp_path):
    _, fitted = trained(tmp_path, spec(compute_dtype="bfloat16", steps=150, monitor="auroc"))
    assert {x.dtype for x in jax.tree.leaves(fitted.variables)} == {np.dtype("float32")}
    assert fitted.best_value > 0.9


DEVICES = """
import json, sys
import jax
sys.path.insert(0, {root!r})
from tests.training.test_trainer import spec, trained, numbers
from pathlib import Path
trainer, fitted = trained(Path({folder!r}), spec(steps=40))
print(json.dumps([trainer.devices.count, numbers(fitted.variables).tolist()]))
"""


def test_eight_devices_give_the_numbers_of_one(tmp_path, request):
    root, found = str(request.config.rootpath), {}
    for count in (1, 8):
        code = DEVICES.format(root=root, folder=str(tmp_path / str(count)))
        env = environment(XLA_FLAGS=f"--xla_force_host_platform_device_count={count}")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
        assert done.returncode == 0, done.stderr
        devices, values = json.loads(done.stdout.splitlines()[-1])
        assert devices == count
        found[count] = np.array(values)
    np.testing.assert_allclose(found[1], found[8], atol=1e-5)
    one, eight = (
        [json.loads(line) for line in (tmp_path / str(c) / "metrics.jsonl").read_text().splitlines()] for c in (1, 8)
    )
    np.testing.assert_allclose([r["loss"] for r in one], [r["loss"] for r in eight], atol=1e-5)


def step_from(weighting, weights_fn=None):
    """Gradient step of plain SGD with rate 1 from one fixed state: the change of the weights is minus the gradient."""
    train = data(64)
    stats = task_statistics(train.targets, TASKS)
    losses = make_losses(TASKS, stats, LossConfig())
    optim = OptimConfig(name="sgd", learning_rate=1.0, momentum=0.0, nesterov=False)
    tx = make_optimizer(optim, 10)
    model = make_model(model_config({"name": "convnet", "filters": (4,), "widths": (6,), "pool_width": 0}), len(TASKS))
    method = make_weighting(weighting, plain_facts([t.name for t in TASKS]))
    batch = {"codes": train.codes, "targets": train.targets}
    state = init_state(model, {"codes": train.codes[:1]}, head_bias(TASKS, stats, losses), tx, method, 0, False)
    step = jax.jit(make_train_step(model, losses, method, tx, optim, AugmentConfig()))
    after = step(state, batch, None)
    return jax.tree.map(lambda a, b: a - b, state.params, after.params), after, (model, losses, batch, state)


def test_equal_weights_step_along_the_gradient_of_the_mean_loss():
    change, after, (model, losses, batch, state) = step_from(WeightingConfig())

    def mean_loss(params):
        total, measured = losses.sums(
            model.apply({"params": params}, batch, train=False), jnp.asarray(batch["targets"])
        )
        return (total / measured).mean()

    expected = jax.grad(mean_loss)(state.params)
    for a, b in zip(jax.tree.leaves(change), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert int(after.step) == 1 and int(after.bad_step) == -1


def test_static_weights_move_the_trunk_and_leave_heads_their_own_gradient():
    equal, _, _ = step_from(WeightingConfig())
    only = {"bound": 1.0, "strength": 0.0, "reads": 0.0}
    trunk_only, _, _ = step_from(WeightingConfig(name="static", weights=only))
    literal, _, _ = step_from(WeightingConfig(name="static", weights=only, weight_heads=True))
    np.testing.assert_allclose(trunk_only["head"]["kernel"], equal["head"]["kernel"], atol=1e-6)
    np.testing.assert_allclose(literal["head"]["kernel"][:, 1:], 0, atol=1e-7)
    np.testing.assert_allclose(numbers(trunk_only["trunk"]), numbers(literal["trunk"]), atol=1e-5)
    assert np.abs(numbers(trunk_only["trunk"]) - numbers(equal["trunk"])).max() > 1e-4


def test_a_non_finite_step_freezes_the_last_good_state():
    train = data(32)
    stats = task_statistics(train.targets, TASKS)
    losses = make_losses(TASKS, stats, LossConfig())
    optim = OptimConfig()
    tx = make_optimizer(optim, 10)
    model = make_model(model_config({"name": "dense", "widths": (4,)}), len(TASKS))
    method = make_weighting(WeightingConfig(), plain_facts([t.name for t in TASKS]))
    state = init_state(model, {"codes": train.codes[:1]}, head_bias(TASKS, stats, losses), tx, method, 0, False)
    step = jax.jit(make_train_step(model, losses, method, tx, optim, AugmentConfig()))
    good = {"codes": train.codes, "targets": train.targets}
    first = step(state, good, None)
    broken = step(first, good | {"targets": np.where(np.isnan(train.targets), np.nan, np.inf).astype(np.float32)}, None)
    assert int(broken.bad_step) == 1
    later = step(broken, good, None)
    assert int(later.bad_step) == 1 and int(later.step) == 1
    for a, b in zip(jax.tree.leaves(first.params), jax.tree.leaves(later.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_balanced_batches_hold_their_share_and_report_prevalence_again(tmp_path):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (2000, 20)).astype(np.uint8)
    targets = (rng.random((2000, 1)) < 0.05).astype(np.float32)
    tasks = (Task("rare"),)
    rare = Dataset(codes=codes, targets=targets, tasks=tasks, ids=np.arange(2000).astype(str))
    settings = spec(balance=0.5, steps=60, placement="memory", batch_size=64)
    model = make_model(model_config({"name": "convnet", "filters": (2,), "widths": (4,), "pool_width": 0}), 1)
    trainer = Trainer(settings, model, rare, rare, task_statistics(targets, tasks), tmp_path, quiet=True)
    assert all(targets[trainer.order.rows(s), 0].mean() == 0.5 for s in range(20))
    fitted = trainer.run()
    values = trainer.losses.values(
        trainer.predict_logits(trainer.devices.copy(fitted.variables), rare), shift=trainer.shift
    )
    assert values.mean() == pytest.approx(targets.mean(), abs=0.02)
