"""The kernel on all 4^l words at once, as a diagonal matrix between two Walsh-Hadamard transforms.

A kernel that depends on the number of mismatches alone is the matrix `H[u, v] = h(mism(u, v))` on the 4^l words. Take a
word as 2l bits, two a letter. Mismatches are letters in which `u xor v` is not 0 (how letters are written does not
matter, only equality does), so `H[u, v] = f(u xor v)`: H is a convolution on the group of bit strings. Its eigenvectors
are therefore the characters `(-1)^(u . w)`, the rows of the Hadamard matrix T, and

    H = T diag(lambda) T / 4^l,      lambda(w) = sum over z of f(z) (-1)^(z . w) = sum over m of h(m) Kr_m(j(w)),

where j(w) is the number of letters of w that are not 0 and Kr_m the Krawtchouk polynomial for four letters: in one
letter the character sums to 1 over "equal", and over the three ways to differ to 3 if it is trivial there and to -1 if
it is not. Dropping pairs with more than d mismatches puts h there to 0 and changes nothing in this argument.

One product of the kernel matrix of N sequences with a vector a is then: scatter `a_i w_i(u) / norm_i` into a table of 4^l,
transform, scale, transform, gather. That costs O(N L + l 4^l), however many sequences there are, and weights by place
are exact too, because they enter the scatter and the gather only. Both strands are read in the gather: H does not change
when both its words are reverse-complemented, so one strand in the scatter is enough.

T is a Kronecker product of small Hadamard matrices, so that it is worked out as a few matrix products. (In each letter
the operator is a sum of two matrices, I and all ones, from which the d + 1 terms can be built place by place without a
transform; that took seven times as long.) In float32 the relative error of a
product is about 3e-7 (root of the mean square, l = 11).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64, Int32, UInt8

from dragon_jax.baselines.gkm_kernels import Kernel
from dragon_jax.dna import UNKNOWN
from dragon_jax.errors import InputError

_BITS = 5  # of one Hadamard factor: 32 x 32, the fastest of 4 to 8 on two CPU cores
_PAIRS = 1 << 22  # pairs of words compared at a time
_LONG = 4096  # words of a sequence: with more, its words are compared by the operator, not pair by pair


class Words(NamedTuple):
    """The words of N sequences, W places each.

    Attributes:
        forward: int32 `[N, W]`, each word as a number, first letter highest; 0 past the last word.
        reverse: int32 `[N, W]`, the reverse complement of that word.
        weight: float32 `[N, W]`, its weight by place; 0 past the last word.
    """

    forward: Int32[np.ndarray, "N W"]
    reverse: Int32[np.ndarray, "N W"]
    weight: Float32[np.ndarray, "N W"]

    def take(self, rows) -> Words:
        """Returns the words of these sequences."""
        return Words(self.forward[rows], self.reverse[rows], self.weight[rows])


def bases(codes: UInt8[np.ndarray, "N L"], padded: bool) -> np.ndarray:
    """Returns int64 `[N]`, the length of each sequence: where `padded`, without the unknown bases at its end."""
    if not padded:
        return np.full(len(codes), codes.shape[1])
    known = codes != UNKNOWN
    return np.where(known.any(1), codes.shape[1] - known[:, ::-1].argmax(1), 0)


def words(codes: UInt8[np.ndarray, "N L"], kernel: Kernel, *, padded: bool = True) -> Words:
    """Returns the words of sequences.

    Args:
        codes: A C G T = 0 1 2 3. Unknown bases count as A (and as T on the other strand), as in LS-GKM.
        padded: unknown bases at the end of a sequence are no part of it.

    Raises:
        InputError: a sequence is shorter than a word.
    """
    length = bases(codes, padded)
    if (short := np.flatnonzero(length < kernel.l)).size:
        raise InputError(
            f"sequence {short[0] + 1} has {length[short[0]]} bases{' before the unknown ones at its end' * padded}: "
            f"expected at least {kernel.l}, the length of a word"
            + (f" ({short.size:,} such sequences)" if short.size > 1 else "")
            + ". Leave it out, or use a smaller l"
        )
    letters = np.where(codes == UNKNOWN, 0, codes).astype(np.int32)
    width = max(codes.shape[1] - kernel.l, 0) + 1
    forward, reverse = np.zeros((2, len(codes), width), np.int32)
    for i in range(kernel.l):
        at = letters[:, i : i + width]
        forward += at << 2 * (kernel.l - 1 - i)
        reverse += (3 - at) << 2 * i
    weight = kernel.places(length - kernel.l + 1, width).astype(np.float32)
    present = weight > 0
    return Words(np.where(present, forward, 0), np.where(present, reverse, 0), weight)


class Operator:
    """Products with the kernel of words, compiled once for each shape.

    Attributes:
        kernel: what it is the operator of; the radial part of a radial kernel is not in it.
    """

    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self._scale = _scale(kernel)

    def table(self, found: Words, coefficients: np.ndarray) -> Float32[Array, " V"]:
        """Returns float32 `[4^l]`: what a word of one strand is worth, against a weighted sum of sequences.

        Args:
            coefficients: `[N]`, one number for each sequence, already divided by its norm.
        """
        return _table(jnp.asarray(coefficients, jnp.float32), found.forward, found.weight, self._scale, self.kernel.l)

    def spectrum(self, found: Words, coefficients: np.ndarray) -> Float32[Array, " V"]:
        """Returns float32 `[4^l]`: the transform of a weighted sum of sequences, before any kernel is applied."""
        return _spectrum(jnp.asarray(coefficients, jnp.float32), found.forward, found.weight, self.kernel.l)

    def read(self, table: Float32[Array, " V"], found: Words) -> Float32[Array, " N"]:
        """Returns float32 `[N]`: the sum of the table over the words of each sequence, both strands if the kernel has them."""
        return _read(table, *found, both=self.kernel.both_strands)

    def matrix(self, found: Words, norms: Float64[np.ndarray, " N"]) -> KernelMatrix:
        """Returns the normalised kernel matrix of sequences, as something to multiply vectors with."""
        return KernelMatrix(self, found, norms)


class KernelMatrix:
    """The matrix `K[i, j] = K0(i, j) / (norm_i norm_j)` of N sequences, never written out."""

    def __init__(self, operator: Operator, found: Words, norms: Float64[np.ndarray, " N"]):
        weight = (found.weight / norms[:, None]).astype(np.float32)
        self._words = Words(*(jnp.asarray(a) for a in (found.forward, found.reverse, weight)))  # type: ignore[arg-type]
        self._operator = operator

    def __call__(self, vector: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        """Returns K times the vector, float64 `[N]` to float32's precision."""
        return np.asarray(self._operator.read(self._operator.table(self._words, vector), self._words), np.float64)


def norms(found: Words, kernel: Kernel) -> Float64[np.ndarray, " N"]:
    """Returns the root of K0(x, x) of each sequence, float64 `[N]`, from the distances within it; of long ones by the operator.

    Raises:
        InputError: a K0(x, x) that is not positive, as `gkm_estfull` cut off at d mismatches can give.
    """
    n, width = found.forward.shape
    if n and width > _LONG:
        operator = Operator(kernel)
        parts = (found.take([i]) for i in range(n))
        result = np.array([float(operator.read(operator.table(p, np.ones(1)), p)[0]) for p in parts])
        return _roots(result, kernel)
    rows = -(-n // -(-n // max(1, _PAIRS // (width * width * 2)))) if n else 1
    h = jnp.asarray(kernel.mismatch(), jnp.float32)
    result = np.empty(n)
    for start in range(0, n, rows):
        part = found.take(np.minimum(np.arange(start, start + rows), n - 1))  # one shape, compiled once
        values = np.asarray(_self_values(*part, h, both=kernel.both_strands), np.float64)
        result[start : start + rows] = values[: n - start]
    return _roots(result, kernel)


def _roots(result: Float64[np.ndarray, " N"], kernel: Kernel) -> Float64[np.ndarray, " N"]:
    if (wrong := np.flatnonzero(~(result > 0))).size:
        raise InputError(
            f"sequence {wrong[0] + 1} compared with itself by kernel {kernel.kind} (d={kernel.d}): expected a positive number, "
            f"found {result[wrong[0]]:.3g} ({wrong.size:,} such sequences). Use kind='gkm_esttrunc', or leave them out"
        )
    return np.sqrt(result)


def mismatches(u: Array, v: Array) -> Array:
    """Returns in how many letters two words differ; int32 arrays that broadcast."""
    differ = u ^ v
    return jax.lax.population_count((differ | differ >> 1) & 0x55555555)


def compared(u: Array, v: Array, h: Float32[Array, " m"]) -> Array:
    """Returns what pairs of words count, 0 beyond the last value of h; float32 in the shape they broadcast to."""
    m = mismatches(u, v)
    result = jnp.zeros(m.shape, jnp.float32)
    for i in range(h.shape[0]):  # selections are faster than looking up h[m]
        result = jnp.where(m == i, h[i], result)
    return result


# --------------------------------------------------------------------------------------------------------- compiled


@functools.partial(jax.jit, static_argnames="both")
def _self_values(forward, reverse, weight, h, both: bool) -> Float32[Array, " n"]:
    def against(other):
        values = compared(forward[:, :, None], other[:, None, :], h) * weight[:, None, :]
        return (values.sum(2) * weight).sum(1)

    return against(forward) + against(reverse) if both else against(forward)


@functools.partial(jax.jit, static_argnames="l")
def _spectrum(coefficients, forward, weight, l: int) -> Float32[Array, " V"]:
    return transform(jnp.zeros(4**l, jnp.float32).at[forward].add(coefficients[:, None] * weight), l)


@functools.partial(jax.jit, static_argnames="l")
def _table(coefficients, forward, weight, scale, l: int) -> Float32[Array, " V"]:
    return transform(scale * _spectrum(coefficients, forward, weight, l), l)


@functools.partial(jax.jit, static_argnames="both")
def _read(table, forward, reverse, weight, both: bool) -> Float32[Array, " N"]:
    values = table[forward] + table[reverse] if both else table[forward]
    return (values * weight).sum(1)


def transform(values: Float[Array, " V"], l: int) -> Float[Array, " V"]:
    """Returns the Walsh-Hadamard transform of 4^l values, worked out a few bits at a time; for use in compiled functions.

    Each step takes the leading bits, transforms them and puts them last; after all steps the order is the old one.
    """
    parts = -(-2 * l // _BITS)
    for i in range(parts):
        size = 2 ** (2 * l // parts + (i < 2 * l % parts))
        signs = jnp.asarray(_hadamard(size), values.dtype)
        values = jax.lax.dot_general(
            values.reshape(size, -1), signs, (((0,), (0,)), ((), ())), precision=jax.lax.Precision.HIGHEST
        )
    return values.reshape(-1)


def _hadamard(size: int) -> Float64[np.ndarray, "s s"]:
    result = np.ones((1, 1))
    while len(result) < size:
        result = np.block([[result, result], [result, -result]])
    return result


def _scale(kernel: Kernel) -> Float32[Array, " V"]:
    """The eigenvalue of each character over 4^l, in the order of the transform."""
    w = np.arange(4**kernel.l, dtype=np.int32)
    letters = np.bitwise_count((w | w >> 1) & 0x55555555)
    return jnp.asarray((kernel.eigenvalues() / 4**kernel.l)[letters], jnp.float32)
