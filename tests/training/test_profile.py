"""Base-resolution losses and scores against SciPy, what is not measured, and targets that follow the augmented sequence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax
from scipy.stats import multinomial

from dragon_jax.data.counts import log_total
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError
from dragon_jax.models.registry import make_model, model_config
from dragon_jax.sections import AugmentConfig, LossConfig
from dragon_jax.training import profile_scores
from dragon_jax.training.augment import augment
from dragon_jax.training.devices import Devices
from dragon_jax.training.losses import head_bias, task_statistics
from dragon_jax.training.profile_losses import ProfileLosses, check_profiles, losses_for

TASKS = (Task("a", "real"), Task("b", "real"))
ORIGINAL = {"name": "bpnet", "heads": "original", "profile_softmax": "strand", "tracks": 2}
LITE = {"name": "bpnet", "tracks": 2}


def case(n=5, bases=6, tracks=2, scale=3.0):
    """Outputs of a network at random, counts `[N, P, S]` of each task, targets."""
    draw = np.random.default_rng(0)
    counts = {f"profile:{t.name}": draw.poisson(scale, (n, bases, tracks)).astype(np.float32) for t in TASKS}
    targets = np.stack([log_total(c, bases) for c in counts.values()], 1)
    return draw, counts, targets


def outputs_of(draw, raw, n=5, bases=6, tracks=2):
    per_task = tracks if raw.get("heads") == "original" else 1
    profile = draw.normal(size=(n, 2, bases, tracks)).astype(np.float32)
    logs = draw.normal(3, 1, (n, 2, per_task)).astype(np.float32)
    return {"profile": jnp.asarray(profile), "log_counts": jnp.asarray(logs), "logits": jnp.zeros((n, 2))}


def made(raw, weight=10.0) -> ProfileLosses:
    losses = losses_for(model_config(raw), TASKS, task_statistics(case()[2], TASKS), LossConfig(count_weight=weight))
    assert isinstance(losses, ProfileLosses)
    return losses


def sums(losses, outputs, targets, weight, counts):
    device = {k: jnp.asarray(v) for k, v in counts.items()}
    return losses.sums(outputs, jnp.asarray(targets), None if weight is None else jnp.asarray(weight), device)


def expected_loss(outputs, counts, raw, weight):
    """Multinomial likelihood by SciPy and the squared error of log(1 + counts), one example at a time."""
    result = np.zeros(outputs["profile"].shape[:2])
    for t, task in enumerate(TASKS):
        for i, k in enumerate(counts[f"profile:{task.name}"].astype(np.float64)):
            z = np.asarray(outputs["profile"][i, t], np.float64)
            parts = [(z.ravel(), k.ravel())] if raw is LITE else [(z[:, s], k[:, s]) for s in (0, 1)]
            nll = -sum(multinomial.logpmf(n, n.sum(), np.exp(log_softmax(z))) for z, n in parts)
            totals = k.sum() if raw is LITE else k.sum(0)
            error = np.mean((np.asarray(outputs["log_counts"][i, t], np.float64) - np.log1p(totals)) ** 2)
            result[i, t] = nll + weight * error
    return result


@pytest.mark.parametrize("raw", [ORIGINAL, LITE])
def test_loss_is_the_multinomial_likelihood_of_scipy_plus_the_error_of_log_counts(raw):
    draw, counts, targets = case()
    outputs = outputs_of(draw, raw)
    expected = expected_loss(outputs, counts, raw, 2.5)
    total, measured = sums(made(raw, 2.5), outputs, targets, None, counts)
    np.testing.assert_array_equal(measured, [5, 5])
    np.testing.assert_allclose(total, expected.sum(0), rtol=1e-5)
    weight = np.array([1, 0, 2, 0.5, 1], np.float32)
    total, measured = sums(made(raw, 2.5), outputs, targets, weight, counts)
    np.testing.assert_allclose(total, (expected * weight[:, None]).sum(0), rtol=1e-5)
    np.testing.assert_allclose(measured, [4.5, 4.5])


def test_what_was_not_measured_changes_neither_loss_nor_gradient():
    draw, counts, targets = case()
    outputs = outputs_of(draw, LITE)
    targets[1, 0] = np.nan  # said to be missing
    counts["profile:b"][3, 2, 1] = np.nan  # a single base that was not covered
    losses = made(LITE)

    def loss(profile, logs):
        changed = outputs | {"profile": profile, "log_counts": logs}
        return sums(losses, changed, targets, None, counts)[0].sum()

    total, measured = sums(losses, outputs, targets, None, counts)
    np.testing.assert_array_equal(measured, [4, 4])
    filled = {k: np.nan_to_num(v) for k, v in counts.items()}
    each = expected_loss(outputs, filled, LITE, 10.0)
    kept = np.ones((5, 2), bool)
    kept[1, 0] = kept[3, 1] = False
    np.testing.assert_allclose(total, (each * kept).sum(0), rtol=1e-5)
    for gradient in jax.grad(loss, (0, 1))(outputs["profile"], outputs["log_counts"]):
        assert np.isfinite(gradient).all()
        moved = np.abs(np.asarray(gradient)).reshape(5, 2, -1).sum(-1) > 0
        np.testing.assert_array_equal(moved, kept)


def test_a_wider_profile_is_cut_to_the_window_that_is_predicted():
    draw, counts, targets = case(bases=10)
    outputs = outputs_of(draw, LITE, bases=6)
    inner = {k: v[:, 2:8] for k, v in counts.items()}
    found, _ = sums(made(LITE), outputs, targets, None, counts)
    np.testing.assert_allclose(found, expected_loss(outputs, inner, LITE, 10.0).sum(0), rtol=1e-5)


def test_logits_are_log_counts_and_start_at_their_mean():
    targets = case()[2]
    stats, losses = task_statistics(targets, TASKS), made(LITE)
    np.testing.assert_allclose(head_bias(TASKS, stats, losses), targets.mean(0), rtol=1e-5)
    np.testing.assert_array_equal(losses.values(targets), targets)
    plain = losses_for(model_config({"name": "dilated"}), TASKS, stats, LossConfig())
    np.testing.assert_array_equal(head_bias(TASKS, stats, plain), [0, 0])  # other networks: standardised, as before


# --------------------------------------------------------------------------------------------------------- augmentation


def test_base_resolution_targets_follow_the_sequence():
    """Reads lie on the T of each sequence: wherever it goes, they go, to the other strand when it is turned."""
    draw = np.random.default_rng(0)
    place = draw.integers(20, 30, 64)
    codes = np.full((64, 50), 1, np.uint8)
    codes[np.arange(64), place] = 3
    profile = np.zeros((64, 40, 2), np.float32)
    profile[np.arange(64), place - 5, 0] = 7
    given = {"codes": jnp.asarray(codes), "profile:a": jnp.asarray(profile)}
    out = augment(given, AugmentConfig(reverse_complement=0.5, shift=8), jax.random.key(0))
    codes, counts = np.asarray(out["codes"]), np.asarray(out["profile:a"])
    turned = (codes == 0).any(1)  # T became A, C became G
    assert 10 < turned.sum() < 54
    at = np.where(turned, (codes == 0).argmax(1), (codes == 3).argmax(1))
    assert len(set(at.tolist())) > 15
    np.testing.assert_array_equal(counts[np.arange(64), at - 5, turned.astype(int)], 7)
    assert np.nansum(counts) == 7 * 64
    came_in = np.isnan(counts[..., 0]).sum(1)
    assert came_in.max() == 8  # what lies outside was not measured, and is never taken for 0
    np.testing.assert_array_equal(came_in, (codes == 4).sum(1))


# --------------------------------------------------------------------------------------------------------------- scores


def dataset(n=7, length=30, bases=20, width=16):
    draw = np.random.default_rng(3)
    profiles = {t.name: draw.poisson(1.5, (n, bases, 2)).astype(np.float32) for t in TASKS}
    profiles["a"][2] = 0
    profiles["b"][4, 5] = np.nan
    targets = np.stack([log_total(p, width) for p in profiles.values()], 1)
    codes = draw.integers(0, 4, (n, length)).astype(np.uint8)
    return Dataset(codes, targets, TASKS, np.arange(n).astype(str), profiles=profiles)


@pytest.mark.parametrize("raw", [ORIGINAL, LITE])
def test_scores_of_examples_are_those_of_scipy(raw):
    data = dataset()
    config = model_config({**raw, "filters": 3, "layers": 1, "stem_width": 3, "profile_width": 5, "output_length": 16})
    model = make_model(config, 2)
    inputs = {"codes": data.codes}
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))
    draw = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: jnp.asarray(draw.normal(scale=0.3, size=x.shape), jnp.float32), shapes)
    losses = made(raw)
    found = profile_scores.ProfileScores(model, losses, Devices())(variables, data, 4)
    outputs = jax.jit(lambda: model.apply(variables, inputs, train=False))()
    inner = {f"profile:{t}": np.nan_to_num(p[:, 2:18]) for t, p in data.profiles.items()}
    expected = expected_loss(outputs, inner, raw, 10.0)
    expected[4, 1] = np.nan
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["loss"], found["nll"] + 10 * found["error"], rtol=1e-9)
    np.testing.assert_allclose(found["logits"], outputs["logits"], rtol=1e-5)
    z = np.asarray(outputs["profile"], np.float64)
    for t, task in enumerate(TASKS):
        k = inner[f"profile:{task.name}"]
        for i in range(7):
            groups = [slice(None)] if raw is LITE else [0, 1]
            pairs = [(k[i, :, g].ravel(), np.exp(z[i, t][:, g]).ravel()) for g in groups]
            bits = [jensenshannon(p, q, base=2) ** 2 for p, q in pairs if p.sum()]
            there = bits and not np.isnan(data.targets[i, t])
            assert found["jsd"][i, t] == pytest.approx(np.mean(bits) if there else np.nan, rel=1e-4, nan_ok=True)
    assert np.isnan(found["jsd"][2, 0]) and found["nll"][2, 0] == 0  # no read: nothing to compare, nothing lost


@pytest.mark.parametrize("joint", [True, False])
def test_a_fixed_profile_is_scored_as_a_predicted_one(joint):
    counts = dataset().profiles["a"]
    fixed = np.random.default_rng(1).uniform(0.1, 1, (20, 2))
    nll, jsd = profile_scores.against(counts, fixed, joint)
    for i, k in enumerate(counts.astype(np.float64)):
        pairs = [(k.ravel(), fixed.ravel())] if joint else [(k[:, s], fixed[:, s]) for s in (0, 1)]
        assert nll[i] == pytest.approx(-sum(multinomial.logpmf(n, n.sum(), q / q.sum()) for n, q in pairs), abs=1e-8)
        bits = [jensenshannon(n, q, base=2) ** 2 for n, q in pairs if n.sum()]
        assert jsd[i] == pytest.approx(np.mean(bits) if bits else np.nan, abs=1e-9, nan_ok=True)


def test_the_coefficient_keeps_its_digits_where_many_reads_were_counted():
    counts = np.full((1, 1000, 1), 1e5, np.float32)
    exact = -multinomial.logpmf(counts.ravel(), 1e8, np.full(1000, 1e-3))
    nll, _ = profile_scores.against(counts, np.ones((1000, 1)), True)
    assert nll[0] == pytest.approx(exact, rel=1e-6)


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("fields", "shift", "match"),
    [
        ({"output_length": 16, "tracks": 1}, 0, "model.tracks: expected 2, the strands of task 'a', found 1"),
        ({"output_length": 16}, 3, "model.output_length: 16 bases moved by up to 3"),
        ({"output_length": 18}, 0, "model.output_length: the 18 central bases do not add up to the target of task 'a'"),
    ],
)
def test_data_that_the_heads_do_not_fit_are_refused(fields, shift, match):
    with pytest.raises(InputError, match=match):
        check_profiles(model_config({"name": "bpnet", "tracks": 2, **fields}), dataset(), shift)


def test_data_without_base_resolution_counts_are_refused_by_bpnet_alone():
    data = dataset()
    bare = Dataset(data.codes, data.targets, TASKS, data.ids)
    with pytest.raises(InputError, match="task a, b has none. Set data.source.counts"):
        check_profiles(model_config(LITE), bare, 0)
    check_profiles(model_config({"name": "dilated"}), bare, 0)
    check_profiles(model_config({**LITE, "output_length": 16}), data, 2)
