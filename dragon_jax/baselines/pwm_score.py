"""Scores of position-specific scoring matrices over whole sequences: best window or log-sum, one strand or both.

A window's score is a sum of look-ups of words of four letters, in a table with a row for every word. What lies behind the
end of the sequence is a sixth letter that costs minus infinity inside a motif, so that windows never hang over. The tables
are made anew at every call, which `motifs.scan.Scanner`, made for thousands of motifs, does once; unlike it, unknown bases may
count here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

Strand = Literal["forward", "max", "sum"]
Score = Literal["best", "logsum"]
Unknown = Literal["mean", "skip"]
_BEYOND = 5  # code of what lies behind the end
_COLUMNS = 16  # motif strands side by side: one cache line of float32
_CELLS = 1 << 18  # window scores that are held at a time: more would leave the caches
_LETTERS = 4  # in a word: its 1,296 rows of 16 columns take 83 kB
_WIDTHS = 8  # widths are rounded up to multiples of this: few shapes, few compilations


def scan(
    matrices: Sequence[np.ndarray],
    codes: UInt8[np.ndarray, "N L"],
    *,
    strand: Strand = "max",
    score: Score = "best",
    unknown: Unknown = "mean",
    log_base: float = float(np.e),
    batch_size: int = 1024,
) -> Float32[np.ndarray, "N M"]:
    """Returns one score per sequence and matrix.

    Args:
        matrices: log-odds `[W, 4]`, columns A C G T, to the base `log_base`.
        codes: sequences of any length, shorter than a matrix too.
        strand: `forward`; `max`: the larger score of both strands; `sum`: the odds of both strands added,
            log(base^forward + base^reverse).
        score: `best` window, or `logsum`: log of the sum of base^score over all windows.
        unknown: an unknown base counts as the `mean` of the four scores (Kipoi's 0.25 each), or its windows are left out (`skip`).
        batch_size: sequences at a time, fewer where they are long.

    A sequence without a window (too short, or all of them left out) scores as the worst word: the sum of the smallest
    entry of every position.
    """
    result = np.empty((len(codes), len(matrices)), np.float32)
    order = np.argsort([len(m) for m in matrices], kind="stable")
    together = _COLUMNS if strand == "forward" else _COLUMNS // 2
    for at in range(0, len(order), together):
        block = order[at : at + together]
        table = jnp.asarray(_table([matrices[i] for i in block], unknown, strand != "forward"))
        result[:, block] = _scanned(table, codes, strand, score, float(np.log(log_base)), batch_size)
    worst = np.array([m.min(1).sum() for m in matrices], np.float32)
    return np.where(np.isneginf(result), worst[None, :], result)


def _table(matrices: Sequence[np.ndarray], unknown: Unknown, both: bool) -> Float32[np.ndarray, "K 1296 C"]:
    """Look-up rows by number of the word and by word; the columns are the motifs, then their reverse complements."""
    strands = [*matrices, *(m[::-1, ::-1] for m in matrices)] if both else list(matrices)
    widest = -(-max(map(len, strands)) // _WIDTHS) * _WIDTHS
    letters = np.zeros((widest, 6, len(strands)))
    for column, matrix in enumerate(strands):
        inside = slice(len(matrix))
        letters[inside, :4, column] = matrix
        letters[inside, 4, column] = matrix.mean(1) if unknown == "mean" else -np.inf
        letters[inside, _BEYOND, column] = -np.inf
    words = letters[::_LETTERS]
    for j in range(1, _LETTERS):
        words = (words[:, :, None] + letters[j::_LETTERS, None]).reshape(len(words), -1, len(strands))
    return words.astype(np.float32)


def _scanned(
    table: Array, codes: UInt8[np.ndarray, "N L"], strand: Strand, score: Score, rate: float, batch_size: int
) -> Float32[np.ndarray, "N M"]:
    n, length = codes.shape
    rows = max(1, min(batch_size, _CELLS // (length * table.shape[2])))
    rows = min(rows, 1 << max(n - 1, 0).bit_length())  # few shapes for few sequences
    parts = [np.empty((0, table.shape[2]), np.float32)]
    for start in range(0, n, rows):
        part = codes[start : start + rows]
        padded = np.pad(part, ((0, rows - len(part)), (0, 0)), constant_values=_BEYOND)
        windows = _windows(table, padded)
        reduced = _best(windows) if score == "best" else _log_sum(windows, rate)
        parts.append(np.asarray(reduced)[: len(part)])
    result = np.concatenate(parts)
    if strand == "forward":
        return result
    forward, reverse = np.split(result, 2, axis=1)
    if strand == "max":
        return np.maximum(forward, reverse)
    return np.logaddexp(forward * np.float32(rate), reverse * np.float32(rate)) / np.float32(rate)


@jax.jit
def _windows(table: Float[Array, "K 1296 C"], codes: UInt8[Array | np.ndarray, "B L"]) -> Float[Array, "B L C"]:
    terms, length = table.shape[0], codes.shape[1]
    letters = jnp.pad(codes.astype(jnp.int32), ((0, 0), (0, _LETTERS * terms - 1)), constant_values=_BEYOND)
    reach = length + _LETTERS * (terms - 1)  # a word begins at every position of every window
    words = jnp.zeros((len(codes), reach), jnp.int32)
    for j in range(_LETTERS):
        words = 6 * words + letters[:, j : j + reach]
    return sum((table[k][words[:, _LETTERS * k :][:, :length]] for k in range(terms)), jnp.float32(0))


# Programs of their own: with the look-ups fused into the maximum, XLA reads the tables one number at a time, which takes
# two to four times as long on a CPU.
@jax.jit
def _best(windows: Float[Array, "B L C"]) -> Float[Array, "B C"]:
    return windows.max(1)


@jax.jit
def _log_sum(windows: Float[Array, "B L C"], rate: float | Array) -> Float[Array, "B C"]:
    return jax.nn.logsumexp(windows * rate, axis=1) / rate
