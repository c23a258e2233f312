"""Gapped k-mer kernels against brute force: every type, both strands, unknown bases, unequal lengths."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.baselines.gkm_kernels import KINDS, Kernel, krawtchouk
from dragon_jax.baselines.gkm_operator import Operator, norms, transform, words
from dragon_jax.errors import InputError

PRINTED = {
    (10, 6): {
        "gkm_cnt": (210, 84, 28, 7),
        "gkm_estfull": (0.224125, 0.058399, 0.006489, -0.002163),
        "gkm_esttrunc": (0.169598, 0.055735, 0.014950, 0.002779),
    },
    (11, 7): {
        "gkm_cnt": (330, 120, 36, 8),
        "gkm_estfull": (0.286695, 0.062571, 0.004171, -0.002317),
        "gkm_esttrunc": (0.220005, 0.060412, 0.013319, 0.001775),
    },
}


def codes(n=5, length=20, seed=0, ragged=True):
    """Random sequences with unknown bases inside, and at the end where they are shorter."""
    rng = np.random.default_rng(seed)
    result = rng.integers(0, 4, (n, length), np.uint8)
    result[1::2, 5] = dna.UNKNOWN
    result[3] = dna.reverse_complement(result[2])  # so that something is alike
    for i in range(0, n if ragged else 0, 3):
        result[i, length - i - 1 :] = dna.UNKNOWN
    return result


def brute(x, y, kernel):
    """K0 of two sequences by every pair of words, in the words of the definition."""

    def strands(row):
        row = [
            {"C": 1, "G": 2, "T": 3}.get(letter, 0) for letter in dna.decode(row).rstrip("N")
        ]  # an unknown base is A
        n = len(row) - kernel.l + 1
        forward = [row[i : i + kernel.l] for i in range(n)]
        reverse = [[3 - c for c in word[::-1]] for word in forward]
        weight = [1.0] * n
        if kernel.weighted:
            weight = [
                min(kernel.peak, int(kernel.peak * 2 ** (-abs(i - n // 2) / kernel.halving) + 1)) for i in range(n)
            ]
        return forward, reverse, weight

    h = [*kernel.mismatch(), *[0.0] * kernel.l]
    fx, _, wx = strands(x)
    fy, ry, wy = strands(y)
    total = 0.0
    for (u, a), (v, r, b) in itertools.product(zip(fx, wx, strict=True), zip(fy, ry, wy, strict=True)):
        for other in (v, r) if kernel.both_strands else (v,):
            total += a * b * h[sum(p != q for p, q in zip(u, other, strict=True))]
    return total


@pytest.mark.parametrize(("l", "k"), PRINTED)
def test_values_of_a_mismatch_are_the_published_ones(l, k):
    for kind, expected in PRINTED[l, k].items():
        np.testing.assert_allclose(Kernel(kind=kind, l=l, k=k).mismatch(), expected, atol=5.1e-7)


def test_the_operator_has_the_eigenvalues_that_the_formula_says():
    kernel = Kernel(l=4, k=2, d=2)
    word = np.array(list(itertools.product(range(4), repeat=4)))
    h = np.append(kernel.mismatch(), [0, 0])
    matrix = h[(word[:, None] != word[None]).sum(2)]
    expected = np.sort(np.repeat(kernel.eigenvalues(), [krawtchouk(j, 0, 4) for j in range(5)]))
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix), expected, atol=1e-10)


@pytest.mark.parametrize("l", [3, 4, 5, 7])
def test_thetransform_is_the_hadamard_matrix(l):
    index = np.arange(4**l)
    rows = index[:: max(1, 4**l // 50)]
    signs = 1 - 2 * (np.bitwise_count(rows[:, None] & index[None]) % 2).astype(float)
    values = np.random.default_rng(0).normal(size=4**l).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(transform(jnp.asarray(values), l))[rows], signs @ values, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("kind", "both", "l", "k", "d"),
    [
        *((kind, both, *lkd) for kind in KINDS for both, lkd in ((True, (6, 4, 2)), (False, (7, 3, 4)))),
        ("wgkm", True, 5, 5, 0),
    ],
)
def test_products_are_those_of_the_brute_force_matrix(kind, both, l, k, d):
    kernel = Kernel(kind=kind, l=l, k=k, d=d, both_strands=both, halving=4.0)
    rows = codes()
    expected = np.array([[brute(x, y, kernel) for y in rows] for x in rows])
    np.testing.assert_allclose(expected, expected.T, rtol=1e-12)
    found = words(rows, kernel)
    own = norms(found, kernel)
    np.testing.assert_allclose(own**2, np.diag(expected), rtol=1e-5)
    product = Operator(kernel).matrix(found, own)
    matrix = np.stack([product(e) for e in np.eye(len(rows))], 1)
    np.testing.assert_allclose(matrix, expected / np.outer(own, own), atol=1e-5)


def test_a_sequence_that_is_worth_nothing_to_itself_is_refused():
    kernel = Kernel(kind="gkm_estfull", l=7, k=3, d=4)
    assert kernel.mismatch()[4] < 0  # enough pairs that count against each other
    rows = np.random.default_rng(0).integers(0, 4, (3, 2000), np.uint8)
    with pytest.raises(InputError, match="sequence 1 .* kernel gkm_estfull .* expected a positive number, found -"):
        norms(words(rows, kernel), kernel)


def test_without_padding_unknown_bases_at_the_end_are_a():
    kernel = Kernel(l=5, k=3, d=2)
    rows = dna.encode_many(["ACGTGGNNNNN"])
    written = dna.encode_many(["ACGTGGAAAAA"])
    np.testing.assert_array_equal(words(rows, kernel, padded=False).reverse, words(written, kernel).reverse)
    assert words(rows, kernel).weight.sum() == 2
    with pytest.raises(InputError, match="sequence 1 has 4 bases before .* expected at least 5"):
        words(dna.encode_many(["ACGTNNNNNNN"]), kernel)


def test_precision_of_a_product_at_the_usual_size():
    kernel = Kernel()
    rows = np.random.default_rng(0).integers(0, 4, (300, 101), np.uint8)
    found = words(rows, kernel)
    own = norms(found, kernel)
    v = np.random.default_rng(1).normal(size=300)
    h = np.append(kernel.mismatch(), np.zeros(kernel.l))
    expected = np.zeros(5)
    for i in range(5):
        for other in (found.forward, found.reverse):
            differ = found.forward[i][:, None] ^ other.ravel()[None]
            pairs = h[np.bitwise_count((differ | differ >> 1) & 0x55555555)].sum(0).reshape(other.shape).sum(1)
            expected[i] += pairs / own[i] @ (v / own)
    np.testing.assert_allclose(Operator(kernel).matrix(found, own)(v)[:5], expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("field", "value"), [("l", 13), ("k", 12), ("d", 5), ("gamma", 0.0)])
def test_settings_that_cannot_be_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}: expected"):
        Kernel(**{field: value})
