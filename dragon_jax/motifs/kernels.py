"""Compiled look-ups: rows of word tables added up for all windows and motifs of a block, and reduced at once.

A table row is one stretch of memory, so XLA turns each look-up into vector loads: one core of a 2024 server filters 7 to
9 thousand million windows of HOCOMOCO's motifs a second, and adds 2 thousand million integer scores. Integers, because
XLA makes no vector code of float maxima on a CPU.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, Int64, UInt8

FULL = 126  # units of deficit that a threshold leaves
TOO_MUCH = FULL + 1  # two of these still fit a byte


def on_device(table: np.ndarray, refused: int) -> Array:
    """Returns the table on the device, with refused columns behind it up to a power of two: few shapes, few compilations."""
    wanted = 1 << max(3, (table.shape[1] - 1).bit_length())
    return jnp.asarray(np.pad(table, ((0, 0), (0, wanted - table.shape[1])), constant_values=refused))


def _row(table: Array, rows: Array) -> Array:
    return table.at[rows].get(mode="promise_in_bounds")


@functools.partial(jax.jit, static_argnames=("letters", "packed"))
def passing(
    tables: tuple[UInt8[Array, "R C"], ...], rows: Int32[Array, " P"], *, letters: int, packed: bool
) -> Bool[Array, "Q C"] | UInt8[Array, "Q D"]:
    """Returns for each window and motif whether its deficit is at most `FULL`; `packed` makes one byte of 8 motifs.

    Q is P less the positions that the last words of the last window need.
    """
    count = rows.shape[0] - letters * (len(tables) - 1)
    total = _row(tables[0], rows[:count])
    for i, table in enumerate(tables[1:], 1):
        total = jnp.minimum(total, jnp.uint8(TOO_MUCH)) + _row(table, rows[letters * i : letters * i + count])
    mask = total <= FULL
    return jnp.packbits(mask, axis=1) if packed else mask


def set_places(mask: np.ndarray, packed: bool) -> Int64[np.ndarray, " H"]:
    """Returns the places, in one row after the other, at which a mask from `passing` is set."""
    if not packed:
        return np.flatnonzero(mask)
    flat = mask.ravel()
    bytes_set = np.flatnonzero(flat)
    which, bit = np.nonzero(np.unpackbits(flat[bytes_set, None], axis=1))
    return bytes_set[which] * 8 + bit


def _scores(tables: tuple[Array, ...], rows: Array, size: Array, letters: int, lowest: Array) -> tuple[Array, Array]:
    count = rows.shape[1] - letters * (len(tables) - 1)
    total = _row(tables[0], rows[:, :count])
    for i, table in enumerate(tables[1:], 1):
        total = total + _row(table, rows[:, letters * i : letters * i + count])
    own = jnp.arange(count, dtype=jnp.int32)[None, :] < size[:, None]
    return total, own[:, :, None] & (total >= lowest)


@functools.partial(jax.jit, static_argnames=("letters",))
def best(
    tables: tuple[Int32[Array, "R C"], ...],
    rows: Int32[Array, "B P"],
    size: Int32[Array, " B"],
    lowest: Int32[Array, ""],
    *,
    letters: int,
) -> tuple[Int32[Array, "B C"], Int32[Array, "B C"]]:
    """Returns the best score of each row and motif, and the first window that has it.

    Args:
        tables: integer scores of words.
        rows: words that begin at each position.
        size: how many windows of a row count, from its start.
        lowest: smaller sums are no scores: a base was unknown. The smallest int32 where a row has no window at all.
        letters: in a word.
    """
    total, exists = _scores(tables, rows, size, letters, lowest)
    total = jnp.where(exists, total, jnp.iinfo(jnp.int32).min)
    top = total.max(1)
    places = jnp.arange(total.shape[1], dtype=jnp.int32)[None, :, None]
    return top, jnp.where(total == top[:, None, :], places, total.shape[1]).min(1)


@functools.partial(jax.jit, static_argnames=("letters",))
def log_sum(
    tables: tuple[Int32[Array, "R C"], ...],
    rows: Int32[Array, "B P"],
    size: Int32[Array, " B"],
    lowest: Int32[Array, ""],
    rate: Float32[Array, ""],
    *,
    letters: int,
) -> tuple[Int32[Array, "B C"], Float32[Array, "B C"]]:
    """Returns the best score s' of each row and motif, and the sum of exp(rate (s - s')) over its windows; see `best`."""
    total, exists = _scores(tables, rows, size, letters, lowest)
    top = jnp.where(exists, total, jnp.iinfo(jnp.int32).min).max(1)
    terms = jnp.exp((total - top[:, None, :]).astype(jnp.float32) * rate)
    return top, jnp.where(exists, terms, 0.0).sum(1)
