"""Properties of every network: shapes, parameter counts of the papers, strand symmetry, receptive field, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.errors import InputError
from dragon_jax.models import layers
from dragon_jax.models.base import logit_of_mean_probability
from dragon_jax.models.dense import ACTIVATIONS
from dragon_jax.models.lengths import tower_lengths
from dragon_jax.models.registry import MODELS, make_model, model_config
from dragon_jax.models.summary import parameter_count, summarise_model
from tests.models.small import SMALL


def build(raw, length, tasks=1, seed=0):
    model = make_model(model_config(raw), tasks)
    codes = np.random.default_rng(seed).integers(0, 5, (4, length)).astype(np.uint8)
    return model, model.init(jax.random.key(seed), {"codes": codes}, train=False), codes


# Counts of seed_models: DragoNN's primer models against stored weights, DeepBind's released parameter files.
COUNTS = [
    ({"name": "convnet", "filters": (1,), "widths": (10,)}, 1000, 70),
    ({"name": "convnet", "filters": (15,), "widths": (10,)}, 1000, 1_036),
    ({"name": "convnet", "filters": (15, 15, 15), "widths": (10, 10, 10)}, 1000, 5_551),
    ({"name": "convnet", "filters": (15, 15, 15), "widths": (15, 15, 15)}, 1000, 8_101),
    ({"name": "deepbind"}, 101, 1_569),
    ({"name": "deepbind", "hidden": 32}, 101, 2_129),
    ({"name": "deepbind", "mean_pool": True}, 101, 1_585),
    ({"name": "deepbind", "mean_pool": True, "hidden": 32}, 101, 2_641),
    ({"name": "deepbind", "width": 16, "mean_pool": True, "hidden": 32}, 40, 2_129),
    ({"name": "deepbind", "width": 14}, 40, 929),
]


@pytest.mark.parametrize(("raw", "length", "count"), COUNTS)
def test_parameter_counts_are_the_published_ones(raw, length, count):
    model, variables, codes = build(raw, length)
    assert parameter_count(variables["params"]) == count
    assert f"{count:,}" in summarise_model(model, {"codes": codes[:1]})


@pytest.mark.parametrize(
    ("raw", "length", "tasks", "count", "statistics"),
    [
        ({"name": "deepsea"}, 1000, 919, 52_843_119, 0),
        ({"name": "deepsea", "dense": (919,), "floor": 0.0}, 1000, 919, 52_532_319, 0),  # selene's
        ({"name": "basset"}, 600, 164, 4_135_064, 5_400),
        ({"name": "deepstarr"}, 249, 2, 622_722, 2_016),
        ({"name": "dragonn_genome"}, 1000, 1, 136_151, 400),
    ],
)
def test_the_large_networks_have_the_published_counts(raw, length, tasks, count, statistics):
    """By shapes alone: nothing of that size is made."""
    config = model_config(raw)
    config.check_length(length)
    model, inputs = make_model(config, tasks), {"codes": np.zeros((1, length), np.uint8)}
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))
    assert parameter_count(shapes["params"]) == count
    assert parameter_count(shapes.get("batch_stats", {})) == statistics
    assert set(shapes) <= {"params", "batch_stats"}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["dense", "convnet"])
def test_every_activation_gives_finite_logits_and_gradients(name, activation):
    model, variables, codes = build({"name": name, "activation": activation}, 90, tasks=3)

    def loss(params):
        return (model.apply({"params": params}, {"codes": codes}, train=False) ** 2).sum()

    value, grads = jax.value_and_grad(loss)(variables["params"])
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
    assert any(np.abs(g).max() > 0 for g in jax.tree.leaves(grads))


@pytest.mark.parametrize("strands", ["average", "probability", "maximum", "shared"])
@pytest.mark.parametrize("name", sorted(set(MODELS) - {"bpnet"}))  # which has more outputs, see test_bpnet
def test_both_strands_give_the_same_logits(name, strands):
    few = SMALL | {"dilated": {"filters": 6, "layers": 2}}
    raw = {"name": name, "strands": strands, "train_strands": "same", **few.get(name, {})}
    if name in ("deepbind", "hybrid", "factornet", "danq") and strands == "shared":
        with pytest.raises(InputError, match="shared"):
            model_config(raw)
        return
    model, variables, codes = build(raw, 83, tasks=2)
    leaves, tree = jax.tree.flatten(variables)
    noise = np.random.default_rng(1)
    variables = tree.unflatten([x + 0.1 * np.abs(noise.normal(size=x.shape)).astype(np.float32) for x in leaves])
    other = np.ascontiguousarray(dna.reverse_complement(codes))
    read = jax.jit(lambda codes: model.apply(variables, {"codes": codes}, train=False))
    forward, reverse = read(codes), read(other)
    np.testing.assert_allclose(forward, reverse, rtol=1e-4, atol=1e-5)


def test_strands_with_averaged_probabilities_and_one_strand_while_training():
    raw = {"name": "convnet", "dropout": 0.0}
    one, variables, codes = build(raw, 83, tasks=2)
    both = make_model(model_config(raw | {"strands": "probability", "train_strands": "one"}), 2)
    other = np.ascontiguousarray(dna.reverse_complement(codes))
    forward, reverse = (np.asarray(one.apply(variables, {"codes": c}, train=False), np.float64) for c in (codes, other))
    mean = (1 / (1 + np.exp(-forward)) + 1 / (1 + np.exp(-reverse))) / 2
    logits = np.asarray(both.apply(variables, {"codes": codes}, train=False), np.float64)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), mean, rtol=1e-5)
    np.testing.assert_allclose(both.apply(variables, {"codes": codes}, train=True), forward, rtol=1e-5, atol=1e-6)
    assert "2 strands (probability), 1 strand while training" in summarise_model(both, {"codes": codes[:1]})


def test_the_logit_of_a_mean_probability_is_finite_far_out():
    a, b = jnp.array([200.0, -200, 90, 0]), jnp.array([200.0, -200, -90, 0])
    np.testing.assert_allclose(logit_of_mean_probability(a, b), [200, -200, 0, 0], atol=1e-4)
    assert np.isfinite(jax.grad(lambda x: logit_of_mean_probability(x, b).sum())(a)).all()


@pytest.mark.parametrize("strands", ["none", "shared"])
def test_one_strand_while_training_needs_strands_that_can_be_combined(strands):
    with pytest.raises(InputError, match="train_strands"):
        model_config({"name": "convnet", "strands": strands, "train_strands": "one"})


def test_one_strand_tells_strands_apart_and_shared_strands_exchange_features():
    model, variables, codes = build({"name": "convnet"}, 83)
    other = np.ascontiguousarray(dna.reverse_complement(codes))
    assert (
        np.abs(
            model.apply(variables, {"codes": codes}, train=False)
            - model.apply(variables, {"codes": other}, train=False)
        ).max()
        > 1e-3
    )
    _, average, _ = build({"name": "convnet", "strands": "average"}, 83)
    _, shared, _ = build({"name": "convnet", "strands": "shared"}, 83)
    assert (
        shared["params"]["trunk"]["conv_1"]["kernel"].shape[1]
        == 2 * average["params"]["trunk"]["conv_1"]["kernel"].shape[1]
    )


@pytest.mark.parametrize(
    "raw",
    [
        {"name": "convnet", "widths": (5, 7, 3), "filters": (4, 4, 4)},
        {"name": "convnet", "widths": (9,), "filters": (4,)},
    ],
)
def test_receptive_field_is_what_the_gradient_sees(raw):
    config = model_config(
        {**raw, "padding": "valid", "activation": "softplus", "first_activation": "softplus", "pool_width": 1}
    )
    trunk = config.trunk(jnp.dtype("float32"))
    x = jax.nn.one_hot(np.random.default_rng(0).integers(0, 4, (1, 60)), 4)
    variables = trunk.init(jax.random.key(0), x, {}, train=False)
    position, channels = 20, raw["filters"][-1]

    def one_position(x):
        return trunk.apply(variables, x, {}, train=False)[0, position * channels]

    seen = np.flatnonzero(np.abs(jax.grad(one_position)(x)[0]).sum(-1))
    assert seen.max() - seen.min() + 1 == config.receptive_field(60) == len(seen)


@pytest.mark.parametrize("name", ["basset", "deepsea", "deepstarr"])
def test_receptive_field_of_pooled_convolutions_is_what_changes_reach(name):
    config = model_config({**SMALL[name], "name": name, "dense": ()})
    trunk = config.trunk(jnp.dtype("float32"))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 83, 4)), jnp.float32)
    variables = trunk.init(jax.random.key(0), x, {}, train=False)
    read = jax.jit(lambda x: trunk.apply(variables, x, {}, train=False))
    positions = tower_lengths(83, config.widths, config.pools, config.padding)[-1]
    at = np.arange(83)
    changed = jnp.tile(x, (83, 1, 1)).at[at, at].add(np.random.default_rng(1).normal(0, 300, (83, 4)))
    differ = np.asarray(read(changed) != read(x))
    channel_slow = getattr(config, "flatten", "channel") == "channel"
    differ = differ.reshape((83, -1, positions) if channel_slow else (83, positions, -1))
    seen = np.flatnonzero(np.take(differ, positions // 2, 2 if channel_slow else 1).any(1))
    assert seen.max() - seen.min() + 1 == config.receptive_field(83) == len(seen)


@pytest.mark.parametrize(("width", "stride"), [(3, None), (3, 3), (4, 2), (5, 7), (29, None)])
def test_max_pooling_equals_the_loop(width, stride):
    x = np.random.default_rng(0).normal(size=(2, 29, 3)).astype(np.float32)
    step = stride or width
    expected = [x[:, s : s + width].max(1) for s in range(0, 29 - width + 1, step)]
    np.testing.assert_array_equal(layers.max_pool(jnp.asarray(x), width, stride), np.stack(expected, 1))


def test_unknown_bases_are_blank_or_a_quarter_of_each_letter():
    codes = np.array([[0, 4, 3]], np.uint8)
    np.testing.assert_array_equal(dna.one_hot(codes)[0, 1], np.zeros(4))
    np.testing.assert_array_equal(dna.one_hot(codes, unknown=0.25)[0, 1], np.full(4, 0.25))


def test_deepbind_equals_the_published_scoring_function():
    """max over strands of (max over positions of rectified (convolution + threshold)) . weights + bias, 0.25 padding."""
    model, variables, codes = build({"name": "deepbind", "width": 5, "detectors": 3}, 20)
    p = jax.tree.map(np.asarray, variables["params"])
    kernel, threshold = p["trunk"]["detectors"]["kernel"], p["trunk"]["detectors"]["bias"]

    def score(row):
        x = np.full((20 + 8, 4), 0.25, np.float64)
        x[4:24] = np.where(row[:, None] == 4, 0.25, np.eye(5)[row][:, :4])
        scan = np.stack([np.einsum("wc,wcd->d", x[i : i + 5], kernel) for i in range(24)]) + threshold
        return np.maximum(scan, 0).max(0) @ p["head"]["kernel"][:, 0] + p["head"]["bias"][0]

    expected = [max(score(r), score(dna.reverse_complement(r[None])[0])) for r in codes]
    np.testing.assert_allclose(model.apply(variables, {"codes": codes}, train=False)[:, 0], expected, atol=1e-5)


def test_word_bag_adds_one_vector_per_word_and_skips_unknown_bases():
    from dragon_jax.models.hybrid import WordBag

    codes = np.random.default_rng(0).integers(0, 5, (3, 40)).astype(np.uint8)
    bag = WordBag(3, 2, jnp.dtype("float32"))
    table = jnp.asarray(np.random.default_rng(1).normal(size=(64, 2)), jnp.float32)
    result = bag.apply({"params": {"table": table}}, dna.one_hot(codes))
    np.testing.assert_allclose(result, dna.kmer_counts(codes, 3, canonical=False) @ table, atol=1e-4)


def test_compute_dtype_changes_activations_but_not_parameters():
    raw = model_config({"name": "convnet"})
    codes = np.zeros((2, 90), np.uint8)
    model = make_model(raw, 1, "bfloat16")
    variables = model.init(jax.random.key(0), {"codes": codes}, train=False)
    assert {x.dtype for x in jax.tree.leaves(variables["params"])} == {jnp.dtype("float32")}
    low = model.apply(variables, {"codes": codes}, train=False)
    high = make_model(raw, 1).apply(variables, {"codes": codes}, train=False)
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, high, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("raw", "length", "match"),
    [
        ({"name": "convnet", "widths": (200, 3, 3)}, 100, "widths: sequences of 100 bases"),
        ({"name": "convnet", "pool_width": 500}, 100, "pool_width: expected at most 58"),
        ({"name": "deepsea"}, 100, "widths: of 100 bases, convolution 2 sees 4 positions, fewer than its 8"),
        ({"name": "transformer", "pool_width": 200}, 100, "pool_width: sequences of 100 bases are shorter"),
        ({"name": "basset"}, 160, "pools: of 160 bases, 3 positions are left for pool 2, found 4"),
    ],
)
def test_layers_that_do_not_fit_the_sequences_are_refused_by_field(raw, length, match):
    with pytest.raises(ValueError, match=match):
        model_config(raw).check_length(length)


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        ({"name": "convnt"}, "did you mean convnet"),
        ({"name": "convnet", "filter": (3,)}, "model.filter: no such field; did you mean model.filters"),
        ({"name": "convnet", "dropout": 1.5}, r"model.dropout: expected 0 <= x < 1, found 1.5"),
        ({"name": "convnet", "filters": (3,)}, "model.widths: expected 1 values"),
        ({"name": "dense", "widths": (0,)}, "model.widths"),
        ({"name": "deepbind", "width": 0}, "model.width"),
        ({"name": "deepsea", "conv_dropout": (0.2,)}, "model.conv_dropout: expected 3 values as in filters, found 1"),
        ({"name": "transformer", "dim": 20}, "model.dim: expected a multiple of 8"),
        ({"name": "basset", "pools": (3, 4)}, "model.pools: expected 3 values as in filters, found 2"),
    ],
)
def test_bad_fields_are_named(raw, match):
    with pytest.raises(InputError, match=match):
        model_config(raw)
