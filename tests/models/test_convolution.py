"""Every road of the convolution against the plain sum over taps, in value and in all derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.models.convolution import _parts, conv1d

# (batch, channels, filters, width, dilation): one-hot runs, pairs of positions (odd and even width), plain, dilated
SHAPES = [
    (2, 4, 3, 1, 1),
    (2, 4, 3, 6, 1),
    (2, 4, 3, 7, 2),
    (2, 4, 40, 11, 1),
    (2, 5, 3, 6, 1),
    (2, 3, 3, 4, 3),
    (3, 4, 3, 9, 1),
    (24, 5, 6, 12, 1),
    (16, 6, 33, 10, 1),
]


def sum_over_taps(x, kernel, padding, dilation):
    width = kernel.shape[0]
    span = (width - 1) * dilation
    left = {"valid": 0, "same": span // 2, "full": span}[padding]
    right = {"valid": 0, "same": span - span // 2, "full": span}[padding]
    padded = jnp.pad(x, ((0, 0), (left, right), (0, 0)))
    length = padded.shape[1] - span
    return sum(padded[:, i * dilation : i * dilation + length] @ kernel[i] for i in range(width))


@pytest.mark.parametrize("padding", ["valid", "same", "full"])
@pytest.mark.parametrize(("batch", "channels", "features", "width", "dilation"), SHAPES)
def test_values_and_derivatives_equal_the_sum_over_taps(batch, channels, features, width, dilation, padding):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(batch, 31, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(width, channels, features)), jnp.float32)

    def ours(x, kernel):
        return conv1d(x, kernel, padding=padding, dilation=dilation)

    def plain(x, kernel):
        return sum_over_taps(x, kernel, padding, dilation)

    y, back = jax.vjp(ours, x, kernel)
    expected, expected_back = jax.vjp(plain, x, kernel)
    np.testing.assert_allclose(y, expected, atol=1e-4)
    g = jnp.asarray(rng.normal(size=y.shape), jnp.float32)
    for found, wanted in zip(back(g), expected_back(g), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)
    tangents = (jnp.asarray(rng.normal(size=x.shape), x.dtype), jnp.asarray(rng.normal(size=kernel.shape), x.dtype))
    forward, wanted = jax.jvp(ours, (x, kernel), tangents)[1], jax.jvp(plain, (x, kernel), tangents)[1]
    np.testing.assert_allclose(forward, wanted, rtol=1e-4, atol=1e-3)
    by_kernel = jax.jvp(lambda k: ours(x, k), (kernel,), tangents[1:])[1]  # only one of the two changes
    np.testing.assert_allclose(by_kernel, plain(x, tangents[1]), rtol=1e-4, atol=1e-3)


def test_a_population_of_kernels_is_mapped_and_differentiated():
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(16, 40, 4)), jnp.float32)
    kernels = jnp.asarray(rng.normal(size=(3, 10, 4, 5)), jnp.float32)
    loss = lambda convolve: jax.vmap(jax.grad(lambda k: (convolve(x, k) ** 2).mean()))  # noqa: E731
    found = loss(conv1d)(kernels)
    np.testing.assert_allclose(found, loss(lambda x, k: sum_over_taps(x, k, "valid", 1))(kernels), rtol=1e-4, atol=1e-4)


def test_second_derivatives_exist():
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(16, 30, 4)), jnp.float32)
    kernel, direction = (jnp.asarray(rng.normal(size=(10, 4, 3)), jnp.float32) for _ in range(2))

    def product(convolve):
        loss = lambda k: jnp.tanh(convolve(x, k)).sum()  # noqa: E731
        return jax.jvp(jax.grad(loss), (kernel,), (direction,))[1]

    wanted = product(lambda x, k: sum_over_taps(x, k, "valid", 1))
    np.testing.assert_allclose(product(conv1d), wanted, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(("batch", "parts"), [(1, 1), (8, 1), (16, 2), (100, 10), (101, 1), (128, 16), (512, 16)])
def test_parts_are_equal_and_not_too_small(batch, parts):
    assert _parts(batch) == parts
