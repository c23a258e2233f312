"""Recurrent layers against a plain loop and PyTorch; gradients, masks of dropout, both directions."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.models.recurrent import GATES, Recurrent, hard_sigmoid

X = np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def calm(layer, variables, x):
    """The layer as it predicts."""
    return layer.apply(variables, x, train=False)


@functools.partial(jax.jit, static_argnums=0)
def noisy(layer, variables, x, key):
    """The layer as it trains."""
    return layer.apply(variables, x, train=True, rngs={"dropout": jax.random.wrap_key_data(key)})


def made(features=4, **fields):
    """A layer and random parameters for X, biases too."""
    layer = Recurrent(features, **fields)
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), jnp.asarray(X), train=False))
    noise = np.random.default_rng(1)
    return layer, jax.tree.map(lambda x: (0.5 * noise.normal(size=x.shape)).astype(np.float32), shapes)


def loop(p, x, cell, gate, reset_after):
    """One direction as the formulas say it, one position after the other, in float64."""
    squash = {"sigmoid": lambda v: 1 / (1 + np.exp(-v)), "hard_sigmoid": lambda v: np.clip(0.2 * v + 0.5, 0, 1)}[gate]
    w, u, b = (np.split(np.asarray(p[k], np.float64), GATES[cell], -1) for k in ("kernel", "recurrent", "bias"))
    h = c = np.zeros((len(x), 4))
    seen = []
    for t in range(x.shape[1]):
        a = [x[:, t] @ w[k] + b[k] for k in range(GATES[cell])]
        if cell == "lstm":
            i, f, n, o = (a[k] + h @ u[k] for k in range(4))
            c = squash(f) * c + squash(i) * np.tanh(n)
            h = squash(o) * np.tanh(c)
        else:
            z, r = squash(a[0] + h @ u[0]), squash(a[1] + h @ u[1])
            n = np.tanh(a[2] + (r * (h @ u[2]) if reset_after else (r * h) @ u[2]))
            h = z * h + (1 - z) * n
        seen.append(h)
    return np.stack(seen, 1)


def part(variables, name):
    return {k.removeprefix(name + "_"): v for k, v in variables["params"].items() if k.startswith(name)}


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize(("cell", "reset_after"), [("lstm", False), ("gru", False), ("gru", True)])
def test_both_directions_equal_the_loop(cell, gate, reset_after):
    layer, variables = made(cell=cell, gate=gate, reset_after=reset_after)
    got = calm(layer, variables, X)
    forward = loop(part(variables, "forward"), X, cell, gate, reset_after)
    backward = loop(part(variables, "backward"), X[:, ::-1], cell, gate, reset_after)[:, ::-1]
    np.testing.assert_allclose(got, np.concatenate([forward, backward], -1), atol=2e-6)
    one, _ = made(cell=cell, gate=gate, reset_after=reset_after, bidirectional=False)
    alone = calm(one, {"params": {f"forward_{k}": v for k, v in part(variables, "forward").items()}}, X)
    np.testing.assert_allclose(alone, forward, atol=2e-6)


def test_hard_sigmoid_has_the_slope_of_keras():
    x = jnp.array([-3.0, -2.5, 0.0, 1.0, 2.5, 4.0])
    np.testing.assert_allclose(hard_sigmoid(x), [0, 0, 0.5, 0.7, 1, 1], atol=1e-6)
    assert np.abs(hard_sigmoid(x) - jax.nn.hard_sigmoid(x)).max() > 0.03


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_outputs_and_gradients_equal_pytorch(cell):
    torch = pytest.importorskip("torch")
    layer, variables = made(cell=cell, reset_after=True)
    twin = (torch.nn.LSTM if cell == "lstm" else torch.nn.GRU)(5, 4, batch_first=True, bidirectional=True)
    # PyTorch's LSTM has the gates in our order; its GRU has r, z, n, and h' = (1 - z) n + z h as here
    order = [0, 1, 2, 3] if cell == "lstm" else [1, 0, 2]
    with torch.no_grad():
        for name, suffix in (("forward", ""), ("backward", "_reverse")):
            for ours, theirs in (("kernel", "weight_ih_l0"), ("recurrent", "weight_hh_l0"), ("bias", "bias_ih_l0")):
                gates = np.split(np.asarray(variables["params"][f"{name}_{ours}"]), GATES[cell], -1)
                value = np.concatenate([gates[k] for k in order], -1).T.copy()
                getattr(twin, theirs + suffix).copy_(torch.from_numpy(value))
            getattr(twin, "bias_hh_l0" + suffix).zero_()
    x = torch.tensor(X, requires_grad=True)
    y, _ = twin(x)
    (y**2).sum().backward()
    np.testing.assert_allclose(calm(layer, variables, X), y.detach(), atol=1e-6)
    grads, by_x = jax.jit(jax.grad(lambda v, x: (calm(layer, v, x) ** 2).sum(), (0, 1)))(variables, X)
    np.testing.assert_allclose(by_x, x.grad, rtol=1e-4, atol=1e-6)
    theirs = np.split(twin.weight_hh_l0_reverse.grad.numpy().T, GATES[cell], -1)
    theirs = np.concatenate([theirs[k] for k in np.argsort(order)], -1)
    np.testing.assert_allclose(grads["params"]["backward_recurrent"], theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gradients_flow_to_every_parameter_and_across_positions(cell):
    layer, variables = made(cell=cell)
    grads = jax.jit(jax.grad(lambda v: (calm(layer, v, X) ** 2).sum()))(variables)
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in jax.tree.leaves(grads))
    seen = jax.jit(jax.jacrev(lambda x: calm(layer, variables, x)[0, :, :4].sum(-1)))(
        X
    )  # [position, sequence, position, C]
    reach = np.abs(seen).sum(-1) > 0
    np.testing.assert_array_equal(reach[:, 0], np.tri(7, dtype=bool))  # all positions before it, none ahead
    assert not reach[:, 1:].any()  # and no other sequence


def test_start_forget_bias_one_orthogonal_recurrent_glorot_kernels():
    layer = Recurrent(16, bidirectional=False)
    p = layer.init(jax.random.key(3), jnp.zeros((1, 2, 40)), train=False)["params"]
    np.testing.assert_array_equal(p["forward_bias"], np.repeat([0.0, 1, 0, 0], 16))
    for gate in np.split(np.asarray(p["forward_recurrent"]), 4, -1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(16), atol=1e-5)
    limit = np.sqrt(6 / (40 + 16))  # of one gate, not of all four together
    assert 0.95 * limit < np.abs(p["forward_kernel"]).max() <= limit


def run(layer, variables, x, key):
    return np.asarray(noisy(layer, variables, x, jax.random.key_data(jax.random.key(key))))


def test_input_dropout_draws_one_mask_per_sequence_for_all_positions():
    """Equal inputs and no feedback of the state: h_t = z h_(t-1) + (1 - z) n, with z and n of one mask at all positions."""
    layer, variables = made(64, cell="gru", bidirectional=False, input_dropout=0.5)
    p = variables["params"]
    cut = {"params": p | {"forward_recurrent": np.zeros_like(p["forward_recurrent"])}}
    x = np.ones((2, 6, 5), np.float32)
    y = run(layer, cut, x, 5)
    steps = np.diff(y, axis=1, prepend=0)
    usable = np.abs(steps).min(1) > 1e-3
    z = (steps[:, 1:] / steps[:, :-1]).transpose(0, 2, 1)[usable]
    assert len(z) > 40 and np.ptp(z, axis=1).max() < 1e-2
    assert np.abs(y[0] - y[1]).max() > 1e-2  # another mask for the other sequence
    assert np.abs(run(layer, cut, x, 6) - y).max() > 1e-2  # and for another key
    np.testing.assert_array_equal(run(layer, cut, x, 5), y)


def test_state_dropout_leaves_the_first_position_alone_and_keeps_the_scale():
    layer, variables = made(state_dropout=0.5, bidirectional=False)
    none, _ = made(bidirectional=False)
    still, y = np.asarray(calm(layer, variables, X)), run(layer, variables, X, 1)
    np.testing.assert_allclose(y[:, 0], still[:, 0], atol=1e-6)  # there is no state before it
    assert np.abs(y[:, 1:] - still[:, 1:]).max() > 1e-2
    np.testing.assert_allclose(run(none, variables, X, 1), still, atol=1e-6)
    many = jnp.asarray(np.zeros((200, 2, 5), np.float32))
    keys = {"dropout": jax.random.key(0)}
    variables = jax.tree.map(jnp.asarray, variables)
    _, seen = layer.apply(variables, many, train=True, rngs=keys, capture_intermediates=True, mutable=["intermediates"])
    mask = np.asarray(seen["intermediates"]["state_dropout"]["__call__"][0])
    assert mask.shape == (1, 200, 4) and set(np.unique(mask)) == {0.0, 2.0} and 0.85 < mask.mean() < 1.15


def test_products_in_bfloat16_stay_close_over_many_positions():
    layer, variables = made()
    low = Recurrent(4, dtype=jnp.dtype("bfloat16"))
    x = np.random.default_rng(2).normal(size=(2, 200, 5)).astype(np.float32)
    a, b = (np.asarray(calm(m, variables, x), np.float32) for m in (layer, low))
    assert 0 < np.abs(a - b).max() < 0.05
