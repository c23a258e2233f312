"""FactorNet, DanQ and DragoNN's recurrent block: published sizes, extra inputs, strands, a forward pass in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.errors import InputError
from dragon_jax.models.registry import make_model, model_config
from dragon_jax.models.summary import parameter_count, summarise_model
from tests.models.factornet_twin import numpy_factornet

# Released models (seed_models section 6): tracks, kernels, recurrent, dense, metadata, tasks, parameters
RELEASED = [
    (1, 32, 32, 64, 0, 1, 256_769),
    (2, 32, 32, 64, 0, 1, 257_857),
    (2, 32, 32, 64, 6, 1, 262_401),
    (2, 32, 32, 64, 8, 1, 262_529),
    (2, 32, 32, 64, 14, 1, 262_913),
    (2, 64, 32, 64, 0, 1, 275_713),
    (2, 64, 32, 128, 6, 1, 526_593),
    (2, 128, 64, 128, 0, 1, 1_075_713),
    (2, 128, 64, 128, 8, 1, 1_093_249),
    (2, 128, 64, 128, 14, 1, 1_094_017),
    (1, 128, 128, 256, 0, 19, 4_042_259),
]


def shapes(raw, length, tasks=1, tracks=0, metadata=0):
    model = make_model(model_config(raw), tasks)
    inputs = {"codes": np.zeros((1, length), np.uint8)}
    inputs |= {"signal": np.zeros((1, length, tracks), np.float32)} if tracks else {}
    inputs |= {"metadata": np.zeros((1, metadata), np.float32)} if metadata else {}
    return model, inputs, jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))["params"]


@pytest.mark.parametrize(("tracks", "kernels", "recurrent", "dense", "metadata", "tasks", "count"), RELEASED)
def test_released_variants_have_their_parameter_counts(tracks, kernels, recurrent, dense, metadata, tasks, count):
    raw = {"name": "factornet", "kernels": kernels, "recurrent": recurrent, "dense": dense}
    _, _, params = shapes(raw, 1002, tasks, tracks, metadata)
    assert parameter_count(params) == count


@pytest.mark.parametrize(
    ("raw", "tasks", "count"),
    [
        ({"name": "danq"}, 919, 46_926_479),
        ({"name": "danq", "kernels": 1024, "width": 30, "pool_width": 15, "recurrent": 512}, 919, 67_892_175),
        ({"name": "dragonn_rnn"}, 1, 13_996),
        # without the LSTM: 57 positions of 32 kernels, or the largest of all; convolution 4,384, dense 1,056, head 65
        ({"name": "factornet", "recurrent": 0}, 1, 4_384 + 1_056 + (57 * 32 * 64 + 64) + 65),
        ({"name": "factornet", "recurrent": -1}, 1, 4_384 + 1_056 + (32 * 64 + 64) + 65),
    ],
)
def test_the_other_sizes(raw, tasks, count):
    assert parameter_count(shapes(raw, 1002 if raw["name"] == "factornet" else 1000, tasks)[2]) == count


def test_the_summary_shows_the_layers_of_the_specification():
    model, inputs, _ = shapes({"name": "factornet"}, 1002, 1, 2, 6)
    text = " ".join(summarise_model(model, inputs).split())
    for part in (
        "conv 969 x 32 6,560",
        "lstm 57 x 64 16,640",
        "dense_1 64 4,544",
        "2 strands (probability)",
        "262,401",
    ):
        assert part in text


SMALL = {"name": "factornet", "kernels": 6, "width": 5, "pool_width": 4, "recurrent": 3, "dense": 7}
LENGTH = 41


def batch(seed=0, tracks=2, metadata=3, n=4):
    rng = np.random.default_rng(seed)
    inputs = {"codes": rng.integers(0, 5, (n, LENGTH)).astype(np.uint8)}
    inputs |= {"signal": rng.normal(size=(n, LENGTH, tracks)).astype(np.float32)} if tracks else {}
    return inputs | ({"metadata": rng.normal(size=(n, metadata)).astype(np.float32)} if metadata else {})


def build(raw, inputs, tasks=2, seed=0):
    model = make_model(model_config(raw), tasks)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))
    noise = np.random.default_rng(seed)
    draw = lambda x: jnp.asarray(0.4 * noise.normal(size=x.shape), jnp.float32)  # noqa: E731
    return model, jax.tree.map(draw, variables)


def logits(model, variables, inputs):
    return np.asarray(jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, inputs))


@pytest.mark.parametrize("recurrent", [3, 0, -1])
@pytest.mark.parametrize(("tracks", "metadata"), [(2, 3), (0, 0)])
def test_outputs_equal_a_forward_pass_in_numpy(recurrent, tracks, metadata):
    inputs, raw = batch(tracks=tracks, metadata=metadata), SMALL | {"recurrent": recurrent}
    model, variables = build(raw, inputs)
    expected = numpy_factornet(variables["params"], model.config, inputs)
    got = 1 / (1 + np.exp(-logits(model, variables, inputs)))
    assert expected.shape == (4, 2) and np.ptp(expected, 0).min() > 1e-3
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_either_strand_gives_the_same_outputs_and_signal_and_metadata_count():
    inputs = batch()
    model, variables = build(SMALL, inputs)
    base = logits(model, variables, inputs)
    other = inputs | {"codes": dna.reverse_complement(inputs["codes"]), "signal": inputs["signal"][:, ::-1]}
    np.testing.assert_allclose(logits(model, variables, other), base, atol=1e-5)
    for name in ("signal", "metadata"):
        changed = inputs | {name: inputs[name] + 1}
        assert np.abs(logits(model, variables, changed) - base).min() > 1e-3
    half = inputs | {"codes": other["codes"]}  # letters turned, their signal not
    assert np.abs(logits(model, variables, half) - base).max() > 1e-3


def test_every_parameter_gets_a_gradient_and_dropout_changes_outputs_while_training():
    inputs = batch(n=16)
    model, variables = build(SMALL, inputs)

    def loss(v, key):
        return (model.apply(v, inputs, train=True, rngs={"dropout": jax.random.wrap_key_data(key)}) ** 2).sum()

    both = jax.jit(jax.value_and_grad(loss))
    (a, grads), (b, _) = (both(variables, jax.random.key_data(jax.random.key(k))) for k in (0, 1))
    assert abs(float(a) - float(b)) > 1e-3
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in jax.tree.leaves(grads))


def test_letters_and_tracks_start_as_one_glorot_kernel():
    inputs = {"codes": np.zeros((1, 60), np.uint8), "signal": np.zeros((1, 60, 2), np.float32)}
    conv = make_model(model_config({"name": "factornet", "strands": "none"}), 1)
    p = jax.jit(lambda: conv.init(jax.random.key(0), inputs, train=False))()["params"]["trunk"]["conv"]
    limit = np.sqrt(6 / (34 * 6 + 34 * 32))
    assert p["kernel"].shape == (34, 4, 32) and p["tracks"].shape == (34, 2, 32)
    for kernel in (p["kernel"], p["tracks"]):
        assert 0.98 * limit < np.abs(kernel).max() <= limit


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        ({"name": "factornet", "recurrent": -2}, "model.recurrent: expected -1 <= x"),
        ({"name": "factornet", "conv_dropout": 1.0}, "model.conv_dropout: expected 0 <= x < 1"),
        *(
            ({"name": name, "strands": "shared"}, "model.strands: expected 'none' or .* or 'maximum', found 'shared'")
            for name in ("factornet", "danq", "hybrid", "deepbind")
        ),
        ({"name": "danq", "pool_width": 0}, "model.pool_width"),
        ({"name": "dragonn_rnn", "recurrent": 0}, "model.recurrent"),
    ],
)
def test_bad_fields_are_named(raw, match):
    with pytest.raises(InputError, match=match):
        model_config(raw)


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        ({"name": "factornet"}, "pool_width: expected at most 7"),
        ({"name": "factornet", "width": 50}, "width: expected at most 40"),
        ({"name": "danq", "width": 30}, "shorter than one kernel and one pooling window"),
    ],
)
def test_sequences_that_are_too_short_are_refused(raw, match):
    with pytest.raises(ValueError, match=match):
        model_config(raw).check_length(40)
