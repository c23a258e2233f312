"""The published networks beside twins written with PyTorch's own layers, with the same random weights.

PyTorch is an optional extra; DeepSEA is also worked out position by position in NumPy, and batch normalisation by its
formula, so that neither needs it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.models.normalization import RULES, BatchNorm
from dragon_jax.models.registry import make_model, model_config

DEEPSEA = {
    "name": "deepsea",
    "filters": (7, 6, 5),
    "pools": (4, 4, 1),
    "dense": (11,),
    "strands": "none",
    "train_strands": "same",
    "conv_dropout": (0.0, 0.0, 0.0),
}
BASSET = {"name": "basset", "filters": (7, 6), "widths": (9, 5), "pools": (3, 4), "dense": (11, 10), "dropout": 0.0}
STARR = {"name": "deepstarr", "filters": (7, 6), "widths": (7, 3), "pools": (2, 2), "dense": (11, 10), "dropout": 0.0}
TRANSFORMER = {
    "name": "transformer",
    "filters": 7,
    "width": 5,
    "pool_width": 3,
    "dim": 16,
    "hidden": 9,
    "heads": 2,
    "block_dropout": 0.0,
    "strands": "none",
}
LENGTHS = {"deepsea": 220, "basset": 81, "deepstarr": 49, "transformer": 61}
TASKS = 3


@functools.cache
def ours(name):
    """The network, random variables (running statistics too), and codes."""
    raw, length = next(r for r in (DEEPSEA, BASSET, STARR, TRANSFORMER) if r["name"] == name), LENGTHS[name]
    model = make_model(model_config(raw), TASKS)
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 5, (6, length)).astype(np.uint8)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), {"codes": codes}, train=False))

    def draw(path, x):
        if path[-1].key in ("scale", "var"):
            return rng.uniform(0.5, 1.5, x.shape).astype(np.float32)
        size = np.sqrt(np.prod(x.shape[:-1]) or 1)
        return (rng.normal(size=x.shape) / (size if len(x.shape) > 1 else 4)).astype(np.float32)

    return model, jax.tree.map(jnp.asarray, jax.tree_util.tree_map_with_path(draw, shapes)), codes


def test_deepsea_in_numpy_position_by_position():
    """Rectified values of 1e-6, windows of four, channels slow in the flattened features: from the published layer table."""
    model, variables, codes = ours("deepsea")
    p = variables["params"]
    x = np.asarray(dna.one_hot(codes), np.float64)

    def rectify(x):
        return np.where(x > 0, x, 1e-6)

    for i, pool in enumerate((4, 4, 1)):
        kernel, bias = (np.asarray(p["trunk"][f"conv_{i}"][k], np.float64) for k in ("kernel", "bias"))
        x = np.stack([np.einsum("bwc,wcd->bd", x[:, j : j + 8], kernel) + bias for j in range(x.shape[1] - 7)], 1)
        x = rectify(x)
        x = np.stack([x[:, j : j + pool].max(1) for j in range(0, x.shape[1] - pool + 1, pool)], 1)
    flat = np.concatenate([x[:, :, channel] for channel in range(x.shape[2])], 1)
    p = jax.tree.map(np.asarray, p)
    hidden = rectify(flat @ p["trunk"]["dense_0"]["kernel"] + p["trunk"]["dense_0"]["bias"])
    logits = hidden @ p["head"]["kernel"] + p["head"]["bias"]
    np.testing.assert_allclose(model.apply(variables, {"codes": codes}, train=False), logits, atol=1e-5)
    represented = model.apply(variables, {"codes": codes}, train=False, method="represent")
    assert np.isclose(np.asarray(represented).min(), 1e-6, rtol=1e-5)  # never 0


@pytest.mark.parametrize("convention", sorted(RULES))
def test_batch_normalisation_by_its_formula(convention):
    rule = RULES[convention]
    x = jnp.asarray(np.random.default_rng(0).normal(2, 3, (4, 5, 2)), jnp.float32)
    layer = BatchNorm(convention)
    variables = layer.init(jax.random.key(0), x, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], 0)  # making the layer is no step
    y, changed = layer.apply(variables, x, train=True, mutable=["batch_stats"])
    values = np.asarray(x, np.float64)
    mean, var = values.mean((0, 1)), values.var((0, 1))
    np.testing.assert_allclose(y, (values - mean) / np.sqrt(var + rule.epsilon), atol=1e-5)
    spread = values.var((0, 1), ddof=1) if convention == "torch" else var
    kept = {"torch": 0.9, "keras": 0.99}[convention]
    np.testing.assert_allclose(changed["batch_stats"]["mean"], (1 - kept) * mean, rtol=1e-5)
    np.testing.assert_allclose(changed["batch_stats"]["var"], kept + (1 - kept) * spread, rtol=1e-5)
    after = layer.apply({**variables, **changed}, x, train=False)
    m, v = (np.asarray(changed["batch_stats"][k]) for k in ("mean", "var"))
    np.testing.assert_allclose(after, (values - m) / np.sqrt(v + rule.epsilon), atol=1e-5)


def torch_twin(name, variables):
    """The network from PyTorch's layers, input `[B, 4, L]`, with our weights."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    p, stats = variables["params"]["trunk"], variables.get("batch_stats", {}).get("trunk", {})

    def conv(at, **kwargs):
        kernel = p[at]["kernel"]
        layer = nn.Conv1d(kernel.shape[1], kernel.shape[2], kernel.shape[0], **kwargs)
        return fill(layer, weight=kernel.transpose(2, 1, 0), bias=p[at]["bias"])

    def linear(weights):
        layer = nn.Linear(*weights["kernel"].shape)
        return fill(layer, weight=weights["kernel"].T, bias=weights["bias"])

    def norm(at):
        kind = dict(eps=1e-3, momentum=0.01) if name == "deepstarr" else {}
        layer = nn.BatchNorm1d(len(p[at]["scale"]), **kind)
        return fill(
            layer,
            weight=p[at]["scale"],
            bias=p[at]["bias"],
            running_mean=stats[at]["mean"],
            running_var=stats[at]["var"],
        )

    def fill(layer, **values):
        with torch.no_grad():
            for key, value in values.items():
                getattr(layer, key).copy_(torch.from_numpy(np.array(value)))
        return layer

    class PositionsSlow(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2).flatten(1)

    layers = []
    if name == "deepsea":
        for i, pool in enumerate((4, 4, 1)):
            layers += [conv(f"conv_{i}"), nn.Threshold(0, 1e-6), nn.MaxPool1d(pool)]
        layers += [nn.Flatten(), linear(p["dense_0"]), nn.Threshold(0, 1e-6)]
    else:
        same = dict(padding="same") if name == "deepstarr" else {}
        for i, pool in enumerate((3, 4) if name == "basset" else (2, 2)):
            layers += [conv(f"conv_{i}", **same), norm(f"norm_{i}"), nn.ReLU(), nn.MaxPool1d(pool)]
        layers.append(nn.Flatten() if name == "basset" else PositionsSlow())
        for i in range(2):
            layers += [linear(p[f"dense_{i}"]), norm(f"dense_norm_{i}"), nn.ReLU()]
    return nn.Sequential(*layers, linear(variables["params"]["head"]))


def transformer_twin(name, variables):
    """The transformer from PyTorch's layers; rotations are products of complex numbers here."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    p = jax.tree.map(lambda x: torch.from_numpy(np.array(x)), variables["params"])
    t = p["trunk"]

    def dense(x, weights):
        return x @ weights["kernel"] + weights.get("bias", 0)

    def norm(x, weights):
        return F.layer_norm(x, x.shape[-1:], weights["scale"], weights["bias"], eps=1e-6)

    def heads(x):
        return x.unflatten(2, (2, 8)).transpose(1, 2)

    def turned(x):
        pairs = torch.complex(x[..., :4], x[..., 4:])
        angle = torch.arange(x.shape[2])[:, None] / 10_000 ** (torch.arange(4) / 4)
        pairs = pairs * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([pairs.real, pairs.imag], -1)

    def forward(x):
        x = F.relu(F.conv1d(x, t["detectors"]["kernel"].permute(2, 1, 0), t["detectors"]["bias"], padding=2))
        x = dense(F.max_pool1d(x, 3).transpose(1, 2), t["tokens"])
        for i in range(2):
            w = t[f"block_{i}"]
            h = norm(x, w["attention_norm"])
            q, k, v = (heads(dense(h, w[n])) for n in ("query", "key", "value"))
            h = F.scaled_dot_product_attention(turned(q), turned(k), v)
            x = x + dense(h.transpose(1, 2).flatten(2), w["out"])
            x = x + dense(F.gelu(dense(norm(x, w["dense_norm"]), w["up"])), w["down"])
        x = norm(x, t["norm"])
        share = dense(x, t["query"]).softmax(1)
        return dense(torch.einsum("bth,bthe->bhe", share, x.unflatten(2, (2, 8))).flatten(1), p["head"])

    class Twin(torch.nn.Module):
        def forward(self, x):
            return forward(x)

    return Twin()


def test_attention_sees_distances_not_places():
    from dragon_jax.models.transformer import rotate

    rng = np.random.default_rng(0)
    q, k = (jnp.asarray(np.tile(rng.normal(size=8), (1, 9, 1, 1)), jnp.float32) for _ in range(2))
    products = np.einsum("bphe,bshe->ps", rotate(q), rotate(k))
    for distance in range(-8, 9):
        along = np.diagonal(products, distance)
        np.testing.assert_allclose(along, along[0], rtol=1e-4, atol=1e-5)
    assert np.ptp(products) > 0.1


def torch_input(codes):
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.asarray(dna.one_hot(codes)).transpose(0, 2, 1).copy())


@pytest.mark.parametrize("name", sorted(LENGTHS))
def test_outputs_equal_those_of_the_pytorch_twin(name):
    model, variables, codes = ours(name)
    twin = (transformer_twin if name == "transformer" else torch_twin)(name, variables).eval()
    expected = twin(torch_input(codes)).detach().numpy()
    logits = jax.jit(lambda v: model.apply(v, {"codes": codes}, train=False))(variables)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert expected.std() > 0.01


@pytest.mark.parametrize("name", ["basset", "deepsea", "deepstarr"])
def test_one_training_pass_equals_that_of_the_pytorch_twin(name):
    """Outputs, gradients of all weights, and what the running statistics are afterwards."""
    model, variables, codes = ours(name)
    twin = torch_twin(name, variables).train()
    output = twin(torch_input(codes))
    (output**2).mean().backward()
    rest = {k: v for k, v in variables.items() if k != "params"}

    @jax.jit
    def step(params):
        def loss(params):
            y, changed = model.apply({"params": params, **rest}, {"codes": codes}, train=True, mutable=list(rest))
            return jnp.square(y).mean(), (y, changed)

        return jax.grad(loss, has_aux=True)(params)

    grads, (y, changed) = step(variables["params"])
    np.testing.assert_allclose(y, output.detach().numpy(), atol=1e-5)
    named = [(k, n) for k, n in twin.named_modules() if hasattr(n, "weight")]
    order = [*sorted(grads["trunk"], key=depth), None]
    assert len(named) == len(order)
    for (_, layer), at in zip(named, order, strict=True):
        mine = grads["trunk"][at] if at else grads["head"]
        weight = layer.weight.grad.numpy()
        if "scale" in mine:
            close(mine["scale"], weight)
            running = changed["batch_stats"]["trunk"][at]
            np.testing.assert_allclose(running["mean"], layer.running_mean.numpy(), rtol=1e-4, atol=1e-6)
            n = 6 * (1 if "dense" in at else {"basset": (73, 20), "deepstarr": (49, 24)}[name][int(at[-1])])
            kept = 0.99 if name == "deepstarr" else 0.9
            before = np.asarray(variables["batch_stats"]["trunk"][at]["var"])
            theirs = layer.running_var.numpy()
            if name == "deepstarr":  # Keras divides by n in the running variance, PyTorch by n - 1
                theirs = kept * before + (theirs - kept * before) * (n - 1) / n
            np.testing.assert_allclose(running["var"], theirs, rtol=1e-4, atol=1e-6)
        else:
            close(mine["kernel"], weight.T if weight.ndim == 2 else weight.transpose(2, 1, 0))
        if not (at and at.startswith(("conv", "dense_0", "dense_1")) and name != "deepsea"):
            close(mine["bias"], layer.bias.grad.numpy())  # a bias before batch normalisation has no gradient


def depth(name):
    """Order of the layers: convolutions first, each before its normalisation."""
    place = int(name[-1])
    return ("dense" in name, place, "norm" in name)


def close(mine, theirs):
    scale = np.abs(theirs).max()
    assert scale > 0
    np.testing.assert_allclose(np.asarray(mine) / scale, theirs / scale, atol=1e-4)
