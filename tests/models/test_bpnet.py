"""`bpnet`: published parameter counts, the network written anew (NumPy and PyTorch), strands, what a position sees."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.data.input_spec import InputSpec
from dragon_jax.dna import one_hot, reverse_complement
from dragon_jax.errors import InputError
from dragon_jax.models.bpnet import log_of_all
from dragon_jax.models.registry import make_model, model_config
from dragon_jax.models.summary import parameter_count, summarise_model

ORIGINAL = {"name": "bpnet", "heads": "original", "profile_softmax": "strand", "tracks": 2, "profile_width": 25}
PUBLISHED = {**ORIGINAL, "stem_width": 25, "layers": 9}
SMALL = {"filters": 5, "stem_width": 7, "layers": 2, "profile_width": 9, "output_length": 40, "tracks": 2}
BOTH = {
    "original": {**ORIGINAL, **SMALL, "control": "control", "control_window": 11},
    "lite": {"name": "bpnet", **SMALL, "control": "control"},
}


@pytest.mark.parametrize(
    ("raw", "tasks", "length", "count"),
    [
        (PUBLISHED, 4, 1000, 130_960),
        ({**PUBLISHED, "control": "control"}, 4, 1000, 130_960 + 4 * 5),
        ({"name": "bpnet", "tracks": 2, "control": "control", "output_length": 1000}, 1, 2114, 114_224),
        ({"name": "bpnet", "output_length": 1000}, 1, 2114, 109_122),
    ],
)
def test_parameter_counts_are_the_published_ones(raw, tasks, length, count):
    """Avsec et al. 2021 (four factors, two strands); bpnet-lite with 64 filters and 8 layers."""
    model = make_model(model_config(raw), tasks)
    inputs = {"codes": np.zeros((1, length), np.uint8), "control": np.zeros((1, length, 2), np.float32)}
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))
    assert parameter_count(shapes["params"]) == count
    assert f"{count:,}" in summarise_model(model, inputs)


def inputs(length=64, n=3):
    draw = np.random.default_rng(0)
    codes = draw.integers(0, 5, (n, length)).astype(np.uint8)
    return {"codes": codes, "control": draw.poisson(2.0, (n, length, 2)).astype(np.float32)}


def drawn(shapes, seed=1):
    """Variables at random, which compiles nothing."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(draw.normal(scale=0.2, size=x.shape), jnp.float32), shapes)


@functools.cache
def built(name, strands="none"):
    """The network of two tasks with parameters at random, and what it gives, compiled once."""
    specs = {"control": InputSpec("signal", ("cuts_fwd", "cuts_rev"))}
    model = make_model(model_config({**BOTH[name], "strands": strands}), 2, specs=specs)
    variables = drawn(jax.eval_shape(lambda: model.init(jax.random.key(0), inputs(), train=False)))
    apply = jax.jit(lambda x: model.apply(variables, x, train=False))
    return variables["params"], lambda x: jax.tree.map(np.asarray, apply(x))


def conv(x, layer, dilation=1):
    """'Same' convolution of [N, L, C], as a sum over taps."""
    kernel, width = layer["kernel"], len(layer["kernel"])
    half = (width - 1) * dilation // 2
    padded = np.pad(x, ((0, 0), (half, half), (0, 0)))
    taps = [padded[:, i * dilation : i * dilation + x.shape[1]] @ kernel[i] for i in range(width)]
    return sum(taps[1:], taps[0]) + layer["bias"]


@pytest.mark.parametrize("name", ["original", "lite"])
def test_equals_the_formula(name):
    (params, apply), given = built(name), inputs()
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    x, control = np.asarray(one_hot(given["codes"]), np.float64), given["control"].astype(np.float64)
    x = np.maximum(conv(x, p["trunk"]["stem"]), 0)
    for i in range(2):
        x = x + np.maximum(conv(x, p["trunk"][f"layer_{i}"], 2 << i), 0)
    head, window, wider = p["head"], slice(12, 52), slice(12 - 4, 52 + 4)
    if name == "lite":
        profile = conv(np.concatenate([x, control], -1), head["profile"])[:, window].reshape(3, 40, 2, 2)
        pooled = np.concatenate([x[:, wider].mean(1), np.log1p(control[:, wider].sum((1, 2)))[:, None]], -1)
        counts = (pooled @ head["counts"]["kernel"] + head["counts"]["bias"])[..., None]
    else:
        profile = conv(x, head["profile"])[:, window].reshape(3, 40, 2, 2)
        smooth = np.stack([control[:, max(0, i - 5) : i + 6].sum((1, 2)) for i in range(64)], 1)
        added = np.concatenate([control, smooth[..., None]], -1)[:, window] @ head["profile_control"]["kernel"]
        profile = profile + added[..., None]
        counts = (x.mean(1) @ head["counts"]["kernel"] + head["counts"]["bias"]).reshape(3, 2, 2)
        counts = counts + (np.log1p(control[:, window].sum(1)) @ head["counts_control"]["kernel"])[..., None]
    found = apply(given)
    np.testing.assert_allclose(found["profile"], profile.swapaxes(1, 2), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["log_counts"], counts, rtol=1e-5, atol=1e-5)
    total = counts[..., 0] if name == "lite" else np.log1p(np.expm1(np.maximum(counts, 0)).sum(-1))
    np.testing.assert_allclose(found["logits"], total, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["original", "lite"])
def test_equals_a_twin_in_pytorch(name):
    """With the layers the papers name: convolutions channels first, and for `original` a transposed convolution."""
    torch = pytest.importorskip("torch")
    (params, apply), given = built(name), inputs()
    p = jax.tree.map(np.asarray, params)

    def layer(kind, weights, axes, **more):
        kernel = torch.tensor(np.ascontiguousarray(weights["kernel"].transpose(axes)))
        made = kind(kernel.shape[1], kernel.shape[0], kernel.shape[2], **more)
        if kind is torch.nn.ConvTranspose1d:
            made = kind(kernel.shape[0], kernel.shape[1], kernel.shape[2], **more)
        made.weight.data, made.bias.data = kernel, torch.tensor(weights["bias"])
        return made

    def same(weights, dilation=1):
        reach = dilation * (len(weights["kernel"]) // 2)
        return layer(torch.nn.Conv1d, weights, (2, 1, 0), padding=reach, dilation=dilation)

    def added(which, tracks):
        """A convolution of one tap without bias to one channel of each task, given to both strands."""
        kernel = torch.tensor(p["head"][which]["kernel"].T.copy())[..., None]
        made = torch.nn.Conv1d(kernel.shape[1], kernel.shape[0], 1, bias=False)
        made.weight.data = kernel
        return made(tracks).repeat_interleave(2, 1)

    with torch.no_grad():
        control = torch.tensor(given["control"]).transpose(1, 2)
        sums = 11 * torch.nn.functional.avg_pool1d(control.sum(1, keepdim=True), 11, 1, 5)
        x = torch.tensor(np.asarray(one_hot(given["codes"]))).transpose(1, 2)
        x = torch.relu(same(p["trunk"]["stem"])(x))
        for i in range(2):
            x = x + torch.relu(same(p["trunk"][f"layer_{i}"], 2 << i)(x))
        if name == "original":
            flipped = {**p["head"]["profile"], "kernel": p["head"]["profile"]["kernel"][::-1]}
            profile = layer(torch.nn.ConvTranspose1d, flipped, (1, 2, 0), padding=4)(x)[:, :, 12:52]
            profile = profile + added("profile_control", torch.cat([control, sums], 1))[:, :, 12:52]
            pooled = x.mean(2)
        else:
            profile = same(p["head"]["profile"])(torch.cat([x, control], 1))[:, :, 12:52]
            number = torch.log(1 + control[:, :, 8:56].sum((1, 2)))
            pooled = torch.cat([x[:, :, 8:56].mean(2), number[:, None]], 1)
        dense = torch.nn.Linear(*p["head"]["counts"]["kernel"].shape)
        dense.weight.data = torch.tensor(p["head"]["counts"]["kernel"].T.copy())
        dense.bias.data = torch.tensor(p["head"]["counts"]["bias"])
        counts = dense(pooled).reshape(3, 2, -1)
        if name == "original":
            counts = counts + added("counts_control", torch.log(1 + control[:, :, 12:52].sum(2))[..., None])[:, ::2]
    found = apply(given)
    expected = profile.reshape(3, 2, 2, 40).numpy().swapaxes(2, 3)
    np.testing.assert_allclose(found["profile"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["log_counts"], counts.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["original", "lite"])
def test_the_other_strand_gets_the_profile_turned_round(name):
    (_, apply), given = built(name, "average"), inputs()
    forward = apply(given)
    other = {
        "codes": np.ascontiguousarray(reverse_complement(given["codes"])),
        "control": given["control"][:, ::-1, ::-1],
    }
    reverse = apply(other)
    np.testing.assert_allclose(reverse["profile"], forward["profile"][:, :, ::-1, ::-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(reverse["log_counts"], forward["log_counts"][..., ::-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(reverse["logits"], forward["logits"], rtol=1e-4, atol=1e-5)


def test_receptive_field_is_what_the_gradient_of_one_position_sees():
    raw = {"name": "bpnet", **SMALL, "activation": "softplus", "output_length": 0}
    config = model_config(raw)
    model = make_model(config, 1)
    codes = inputs(65, 1)["codes"]
    x, init = one_hot(codes), lambda: model.init(jax.random.key(0), {"codes": codes}, train=False)
    variables = drawn(jax.eval_shape(init))

    def position(x):
        features = model.apply(variables, x, train=False, method=lambda m, x, train: m.trunk(x, train=train))
        return model.apply(variables, {"features": features}, train=False, method="read_out")["profile"][0, 0, 32].sum()

    seen = np.flatnonzero(np.abs(jax.jit(jax.grad(position))(x)[0]).sum(-1))
    assert len(seen) == config.receptive_field(65) == 7 + 2 * (2 + 4) + 8
    assert seen.min() + seen.max() == 2 * 32


def test_total_of_two_strands_is_their_sum_and_finite_far_out():
    logs = jnp.log1p(jnp.array([[[3.0, 5.0], [0.0, 7.0]]]))
    np.testing.assert_allclose(np.expm1(log_of_all(logs)), [[8, 7]], rtol=1e-5)
    assert np.isfinite(log_of_all(jnp.array([[[200.0, -5.0]]]))).all()
    np.testing.assert_array_equal(log_of_all(jnp.array([[[-3.0]]])), [[-3.0]])  # one number stays what it is


def test_the_count_head_starts_at_the_mean_of_train():
    config = model_config(BOTH["original"])
    params = {"head": {"counts": {"kernel": 1, "bias": 0}, "profile": 2}, "trunk": 3}
    started = config.start(params, np.log1p([10.0, 4.0]))
    np.testing.assert_allclose(started["head"]["counts"]["bias"], np.log1p([5, 5, 2, 2]), rtol=1e-6)
    assert started["head"]["profile"] == 2 and started["trunk"] == 3 and params["head"]["counts"]["bias"] == 0


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"profile_width": 24}, "model.profile_width: expected an odd number, found 24"),
        ({"strands": "maximum"}, "model.strands: expected 'none' or 'average', found 'maximum'"),
        ({"strands": "foo"}, "model.strands: expected 'none' or 'average', found 'foo'"),
        ({"tracks": 2, "profile_softmax": "strand"}, "model.profile_softmax: 'strand' needs the counts of each strand"),
        ({"tracks": 3}, "model.tracks"),
    ],
)
def test_bad_fields_are_named(fields, match):
    with pytest.raises(InputError, match=match):
        model_config({"name": "bpnet", **fields})


@pytest.mark.parametrize("width", [101, 99])
def test_a_window_that_is_not_in_the_middle_is_refused(width):
    with pytest.raises(ValueError, match="output_length: expected at most the 100 bases"):
        model_config({"name": "bpnet", "output_length": width}).check_length(100)
