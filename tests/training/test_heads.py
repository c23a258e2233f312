"""All heads at once beside one by one: the same numbers, from an own loop of Optax on single heads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.models.registry import make_model, model_config
from dragon_jax.sections import LossConfig
from dragon_jax.training.devices import Devices
from dragon_jax.training.heads import (
    FittedHeads,
    HeadSettings,
    chosen,
    drawn,
    expanded,
    fit_heads,
    head_features,
    repeated,
    shifted,
)
from dragon_jax.training.losses import logit_shift, make_losses, plain_loss, task_statistics

T = 6
TASKS = tuple(Task(f"t{i}", kind) for i, kind in enumerate(["binary", "binary", "real", "count", "binary", "binary"]))
LOSS = LossConfig(class_weight="balanced")


def data(n, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, 24)).astype(np.uint8)
    share = (codes == 2).mean(1)
    drive = 8 * (share - 0.25)[:, None] * rng.uniform(0.5, 2, T) + rng.normal(0, 0.5, (n, T))
    targets = np.where(
        [t.kind == "binary" for t in TASKS], drive > 0.5, np.where(np.arange(T) == 3, np.round(np.exp(drive)), drive)
    )
    targets = targets.astype(np.float32)
    targets[rng.random((n, T)) < 0.2] = np.nan
    return Dataset(codes=codes, targets=targets, tasks=TASKS, ids=np.arange(n).astype(str))


@pytest.fixture(scope="module", params=["average", "probability"])
def case(request):
    """Network, features and losses of a frozen trunk."""
    tasks_binary = request.param == "probability"
    train, valid = data(150, 0), data(90, 1)
    tasks = tuple(Task(t.name) for t in TASKS) if tasks_binary else TASKS
    if tasks_binary:

        def change(part):
            labels = np.where(np.isnan(part.targets), np.nan, part.targets > 0.5).astype(np.float32)
            return dataclasses.replace(part, targets=labels, tasks=tasks)

        train, valid = change(train), change(valid)
    model = make_model(
        model_config({"name": "convnet", "filters": (6,), "widths": (5,), "pool_width": 0, "strands": request.param}), T
    )
    variables = jax.jit(lambda k: model.init(k, {"codes": train.codes[:1]}, train=False))(jax.random.key(0))
    stats = task_statistics(train.targets, tasks)
    losses = make_losses(tasks, stats, LOSS)
    shift = logit_shift(tasks, stats, losses)
    features = head_features(model, variables, train, Devices(), shifts=(0, 1), batch_size=64)
    valid_features = head_features(model, variables, valid, Devices(), batch_size=64)
    return model, variables, train, valid, losses, shift, features, valid_features


SETTINGS = HeadSettings(
    np.array([0.05, 0.01, 0.02, 0.01, 0.2, 0.05], np.float32),
    np.array([0.0, 0.1, 0.0, 0.01, 0.0, 1.0], np.float32),
    batch_size=32,
    epochs=8,
    patience=2,
)


def fitted(case, columns=slice(None), settings=SETTINGS):
    model, variables, train, valid, losses, shift, features, valid_features = case
    part = {
        name: getattr(losses, name)[columns] for name in ("binary", "count", "center", "scale", "positive", "negative")
    }
    head = variables["params"]["head"]
    own = dataclasses.replace(
        settings, learning_rate=settings.learning_rate[columns], weight_decay=settings.weight_decay[columns]
    )
    return fit_heads(
        model, features, train.targets[:, columns], valid_features, valid.targets[:, columns],
        dataclasses.replace(losses, **part), shift[columns], np.asarray(head["kernel"])[:, columns],
        np.asarray(head["bias"])[columns], own, seed=4,
    )  # fmt: skip


def test_features_are_what_the_head_reads_of_every_look(case):
    model, variables, train, *_ = case
    features = case[-2]
    assert features.shape[:3] == (2, len(train), 2)
    codes = shifted(train.codes, 1)
    assert (codes[:, 0] == 4).all() and (shifted(codes, -1)[:, :-1] == train.codes[:, :-1]).all()
    found = np.asarray(model.apply(variables, {"codes": codes}, train=False, method="represent"))
    np.testing.assert_allclose(features[1].transpose(1, 0, 2).reshape(found.shape), found, atol=1e-6)


def test_all_heads_at_once_are_those_of_one_by_one(case):
    together = fitted(case)
    for t in range(T):
        alone = fitted(case, slice(t, t + 1))
        np.testing.assert_allclose(together.kernel[:, t], alone.kernel[:, 0], atol=1e-6)
        np.testing.assert_allclose(together.bias[t], alone.bias[0], atol=1e-6)
        np.testing.assert_allclose(together.valid_loss[t], alone.valid_loss[0], atol=1e-6)
        assert (together.best_epoch[t], together.epochs[t]) == (alone.best_epoch[0], alone.epochs[0])
    assert len(set(together.epochs)) > 1 and together.epochs.min() < SETTINGS.epochs  # some stopped early


@pytest.mark.parametrize("t", [0, 1, 3])
def test_a_head_is_that_of_a_plain_loop_with_adamw(case, t):
    model, variables, train, valid, losses, shift, features, valid_features = case
    part = {n: getattr(losses, n)[t : t + 1] for n in ("binary", "count", "center", "scale", "positive", "negative")}
    own = dataclasses.replace(losses, **part)
    head = variables["params"]["head"]
    params = {"kernel": jnp.asarray(head["kernel"])[:, t : t + 1], "bias": jnp.asarray(head["bias"])[t : t + 1]}
    tx = optax.adamw(
        float(SETTINGS.learning_rate[t]),
        weight_decay=float(SETTINGS.weight_decay[t]),
        mask={"kernel": True, "bias": False},
    )
    state = tx.init(params)

    def logits(params, rows):
        outs = [rows[:, s] @ params["kernel"] + params["bias"][None] for s in range(2)]
        if model.config.strands == "average":
            return (outs[0] + outs[1]) / 2
        p = (jax.nn.sigmoid(outs[0]) + jax.nn.sigmoid(outs[1])) / 2
        return jnp.log(p) - jnp.log1p(-p)

    @jax.jit
    def step(params, state, rows, y):
        def loss(params):
            total, measured = own.sums(logits(params, rows), y)
            return total[0] / jnp.maximum(measured[0], 1)

        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    lowest, best, stale = np.inf, params, 0
    lowest = plain_loss(
        own, np.asarray(logits(params, valid_features[0])) - shift[t : t + 1], valid.targets[:, t : t + 1]
    )[0]
    for epoch in range(1, SETTINGS.epochs + 1):
        batches = drawn(len(train), 2, SETTINGS.batch_size, [4, epoch])
        for rows, look in zip(batches["row"], batches["look"], strict=True):
            params, state = step(params, state, features[look, rows], train.targets[rows, t : t + 1])
        found = plain_loss(
            own, np.asarray(logits(params, valid_features[0])) - shift[t : t + 1], valid.targets[:, t : t + 1]
        )[0]
        stale = 0 if found < lowest else stale + 1
        lowest, best = (found, params) if found < lowest else (lowest, best)
        if stale == SETTINGS.patience:
            break
    ours = fitted(case)
    np.testing.assert_allclose(ours.kernel[:, t], best["kernel"][:, 0], atol=2e-5)
    assert ours.valid_loss[t] == pytest.approx(lowest, abs=1e-5) and ours.epochs[t] == epoch


def test_a_head_that_does_not_gain_stays_as_it_was(case):
    still = dataclasses.replace(SETTINGS, learning_rate=np.full(T, 50.0, np.float32), epochs=2)
    found, head = fitted(case, settings=still), case[1]["params"]["head"]
    lost = found.best_epoch == 0
    assert lost.any()
    np.testing.assert_array_equal(found.kernel[:, lost], np.asarray(head["kernel"])[:, lost])


def test_valid_chooses_among_settings_of_a_task(case):
    model, variables, train, valid, losses, shift, features, valid_features = case
    rates = np.tile(np.float32([1e-5, 0.05, 5.0]), T)
    settings = HeadSettings(rates, np.zeros(3 * T, np.float32), 32, 4, 4)
    head = variables["params"]["head"]
    found = fit_heads(
        model, features, expanded(train.targets, 3), valid_features, expanded(valid.targets, 3), repeated(losses, 3),
        expanded(shift, 3), expanded(np.asarray(head["kernel"]), 3), expanded(np.asarray(head["bias"]), 3), settings,
    )  # fmt: skip
    best, which = chosen(found, 3)
    assert best.kernel.shape == (6, T) and (which == 1).sum() >= 4
    np.testing.assert_array_equal(best.valid_loss, found.valid_loss.reshape(T, 3).min(1))


def test_a_task_without_a_label_in_valid_takes_the_last_epoch_and_the_first_setting(case):
    model, variables, train, valid, *rest = case
    targets = valid.targets.copy()
    targets[:, 2] = np.nan
    found = fitted((model, variables, train, dataclasses.replace(valid, targets=targets), *rest))
    assert np.isnan(found.valid_loss[2]) and found.epochs[2] == found.best_epoch[2] == max(found.epochs)
    none, zeros = np.zeros(4, np.float32), np.zeros(4, np.int64)
    table = FittedHeads(none[None], none, np.array([np.nan, np.nan, 2.0, 1.0]), zeros, zeros)
    assert chosen(table, 2)[1].tolist() == [0, 1]
