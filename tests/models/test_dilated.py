"""`dilated`: what a position sees, the network written anew in NumPy, strands, running statistics."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.dna import one_hot, reverse_complement
from dragon_jax.errors import InputError
from dragon_jax.models.dilated import DilatedConfig, DilatedTowerConfig, Tower
from dragon_jax.models.registry import make_model, model_config
from dragon_jax.models.summary import parameter_count

SMALL = {"name": "dilated", "filters": 5, "stem_width": 7, "layers": 3}


def drawn(module, *inputs):
    """Variables of a module at random, which compiles nothing; running variances are positive."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=False))
    draw = np.random.default_rng(1)
    values = jax.tree.map(lambda x: jnp.asarray(draw.normal(scale=0.2, size=x.shape), jnp.float32), dict(shapes))
    if "batch_stats" in values:
        values["batch_stats"] = jax.tree.map(lambda x: jnp.abs(x) + 0.5, values["batch_stats"])
    return values


def built(raw, length=64, tasks=2):
    codes = np.random.default_rng(0).integers(0, 5, (4, length)).astype(np.uint8)
    model = make_model(model_config(raw), tasks)
    return model, drawn(model, {"codes": codes}), codes


def logits(model, variables, codes):
    return jax.jit(lambda v, c: model.apply(v, {"codes": c}, train=False))(variables, codes)


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"stem_width": 5, "layers": 0}, 5),
        ({"stem_width": 5, "layers": 3}, 5 + 2 * (2 + 4 + 8)),
        ({"stem_width": 7, "layers": 4, "first_dilation": 1}, 7 + 2 * 15),
        ({"stem_width": 1, "layers": 2, "block_width": 5}, 1 + 4 * 6),
    ],
)
def test_receptive_field_is_what_the_gradient_sees(fields, seen):
    config = DilatedConfig(filters=3, activation="softplus", **fields)
    tower = Tower(config, np.dtype("float32"))
    x = one_hot(np.random.default_rng(0).integers(0, 4, (1, 101)).astype(np.uint8))
    variables = drawn(tower, x)
    gradient = jax.jit(jax.grad(lambda x: tower.apply(variables, x, train=False)[0, 50].sum()))(x)
    found = np.flatnonzero(np.abs(gradient[0]).sum(-1))
    reach = found.max() - found.min() + 1  # taps far apart leave holes between them only where blocks are wider than 3
    assert config.receptive_field(101) == seen == reach
    assert 2 * 50 == found.max() + found.min()  # as far to the left as to the right
    assert config.receptive_field(10) == min(10, seen)


def test_pooled_positions_widen_the_receptive_field():
    config = DilatedConfig(filters=3, activation="softplus", stem_width=5, layers=2, pool_width=4)
    tower = Tower(config, np.dtype("float32"), config.pool_width)
    x = one_hot(np.random.default_rng(0).integers(0, 4, (40, 120)).astype(np.uint8))
    variables = drawn(tower, x)
    gradient = jax.jit(jax.grad(lambda x: tower.apply(variables, x, train=False)[:, 15].sum()))(x)
    found = np.flatnonzero(np.abs(gradient).sum((0, 2)))  # over many sequences: every base is the largest of some bin
    assert found.max() - found.min() + 1 == config.receptive_field(120) == 4 * (1 + 2 * 6) + 4


def conv(x, kernel, bias, dilation):
    width = len(kernel)
    half = (width - 1) * dilation // 2
    padded = np.pad(x, ((0, 0), (half, half), (0, 0)))
    return bias + sum(padded[:, i * dilation : i * dilation + x.shape[1]] @ kernel[i] for i in range(width))


@pytest.mark.parametrize("pools", ["max", "mean", "max_mean"])
def test_equals_the_formula(pools):
    model, variables, codes = built({**SMALL, "pools": pools})
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), variables["params"])
    tower = p["trunk"]["tower"]
    x = np.asarray(one_hot(codes), np.float64)
    x = np.maximum(conv(x, *(tower["stem"][k] for k in ("kernel", "bias")), 1), 0)
    for i in range(3):
        x = x + np.maximum(conv(x, *(tower[f"layer_{i}"][k] for k in ("kernel", "bias")), 2 << i), 0)
    pooled = {"max": x.max(1), "mean": x.mean(1), "max_mean": np.concatenate([x.max(1), x.mean(1)], 1)}[pools]
    expected = pooled @ p["head"]["kernel"] + p["head"]["bias"]
    np.testing.assert_allclose(logits(model, variables, codes), expected, rtol=1e-5, atol=1e-5)


def test_tower_of_bpnet_has_its_parameters():
    """64 filters, stem of 25, nine layers: 6,464 + 111,168 (Avsec et al. 2021)."""
    tower = Tower(DilatedTowerConfig(stem_width=25, layers=9), np.dtype("float32"))
    shapes = jax.eval_shape(lambda: tower.init(jax.random.key(0), jnp.zeros((1, 1000, 4)), train=False))
    assert parameter_count(shapes["params"]) == 6_464 + 111_168


def test_strands_that_exchange_features_agree_with_normalisation_and_pooling():
    model, variables, codes = built({**SMALL, "strands": "shared", "batch_norm": True, "pool_width": 2}, length=63)
    forward, reverse = jnp.split(logits(model, variables, np.concatenate([codes, reverse_complement(codes)])), 2)
    np.testing.assert_allclose(forward, reverse, rtol=1e-4, atol=1e-5)


def test_normalisation_keeps_running_statistics():
    model, variables, codes = built({**SMALL, "batch_norm": True, "block_dropout": 0.3})
    assert "bias" not in variables["params"]["trunk"]["tower"]["stem"]  # the shift of the norm stands for it
    keys = {"dropout": jax.random.key(1)}
    apply = jax.jit(lambda v: model.apply(v, {"codes": codes}, train=True, rngs=keys, mutable=["batch_stats"]))
    _, changed = apply(variables)
    before = variables["batch_stats"]["trunk"]["tower"]["stem_norm"]
    after = changed["batch_stats"]["trunk"]["tower"]["stem_norm"]
    kernel = variables["params"]["trunk"]["tower"]["stem"]["kernel"]
    stem = conv(np.asarray(one_hot(codes), np.float64), np.asarray(kernel, np.float64), 0, 1)
    np.testing.assert_allclose(after["mean"], 0.9 * before["mean"] + 0.1 * stem.mean((0, 1)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after["var"], 0.9 * before["var"] + 0.1 * stem.var((0, 1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"layers": 20, "first_dilation": 8}, "model.layers: expected dilations of at most 1,048,576"),
        ({"filters": 0}, "model.filters"),
        ({"pools": "median"}, "model.pools"),
        ({"block_dropout": 1.0}, "model.block_dropout"),
    ],
)
def test_bad_fields_are_named(fields, match):
    with pytest.raises(InputError, match=match):
        model_config({"name": "dilated", **fields})


def test_sequences_shorter_than_the_pooling_are_refused():
    with pytest.raises(ValueError, match="pool_width: expected at most the 10 bases"):
        DilatedConfig(pool_width=11).check_length(10)
