"""Kernel matrices written out, for kernels that are not linear in counts of words: `exp(g (K - 1))`.

A row of K is read from a table of what each of the 4^l words is worth against one sequence. A single sequence has few
words, so its table is filled from their neighbours, `u xor z` for all z of at most d letters, rather than by transforms:
W sum C(l, m) 3^m additions, 5,000 a word for l = 11 and d = 3. A row against 4,000 sequences of 101 bases takes 11 ms on
two CPU cores (l = 11; 5 ms for l = 10), where comparing all pairs of words, at a billion a second, would take 70.
"""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, Int32

from dragon_jax.baselines.gkm_kernels import Kernel
from dragon_jax.baselines.gkm_operator import Words
from dragon_jax.errors import InputError

_LARGEST = 4 << 30  # bytes of a matrix


def neighbours(kernel: Kernel) -> tuple[Int32[np.ndarray, " Z"], Float32[np.ndarray, " Z"]]:
    """Returns the bit patterns of at most d letters, int32 `[Z]`, and what each counts, float32 `[Z]`."""
    patterns, worth = [], []
    for m, value in enumerate(kernel.mismatch()):
        for places in itertools.combinations(range(kernel.l), m):
            here = np.zeros(1, np.int32)
            for place in places:
                here = (here[:, None] | (np.arange(1, 4, dtype=np.int32) << 2 * place)).ravel()
            patterns.append(here)
            worth.append(np.full(len(here), value, np.float32))
    return np.concatenate(patterns).astype(np.int32), np.concatenate(worth)


def matrix(
    kernel: Kernel,
    left: Words,
    left_norms: Float64[np.ndarray, " N"],
    right: Words,
    right_norms: Float64[np.ndarray, " M"],
) -> Float32[np.ndarray, "N M"]:
    """Returns the kernel of each sequence on the left with each on the right, float32 `[N, M]`; radial where it is.

    Raises:
        InputError: the matrix would take more than 4 GiB.
    """
    n, m = len(left.forward), len(right.forward)
    refuse_too_large(kernel, n, m)
    patterns, worth = (jnp.asarray(a) for a in neighbours(kernel))
    there = [jnp.asarray(a) for a in right]
    result = np.empty((n, m), np.float32)
    for i in range(n):
        result[i] = _row(left.forward[i], left.weight[i], *there, patterns, worth, kernel.l, kernel.both_strands)
    result /= left_norms[:, None].astype(np.float32)
    result /= right_norms.astype(np.float32)
    return np.exp(kernel.gamma * (result - 1), out=result, dtype=np.float32) if kernel.radial else result


def refuse_too_large(kernel: Kernel, n: int, m: int) -> None:
    """Raises InputError, naming the memory, when the matrix of n x m sequences would take more than 4 GiB."""
    if n * m * 4 > _LARGEST:
        raise InputError(
            f"kernel matrix of {n:,} x {m:,} sequences: expected at most {_LARGEST >> 30} GiB of memory, found "
            f"{n * m * 4 / 2**30:.1f}. Use fewer sequences, or kind={'wgkm' if kernel.weighted else 'gkm_esttrunc'!r}, which writes "
            "no matrix out"
        )


@functools.partial(jax.jit, static_argnames=("l", "both"))
def _row(mine, mine_weight, forward, reverse, weight, patterns, worth, l: int, both: bool) -> Float32[Array, " M"]:
    near = mine[:, None] ^ patterns[None]
    table = jnp.zeros(4**l, jnp.float32).at[near].add(mine_weight[:, None] * worth[None])
    values = table[forward] + table[reverse] if both else table[forward]
    return (values * weight).sum(1)
