"""Sequences of any lengths, as models without a fixed length take them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dragon_jax import dna
from dragon_jax.errors import InputError

_STEP = 32  # bases: longest of a block, rounded up, so that few shapes are compiled
_BASES = 1 << 22  # of a block, padding included


LSGKM_BASES = 2047  # of a sequence that LS-GKM reads


def each(sequences: Any, shortest: int = 1) -> Sequence[np.ndarray] | np.ndarray:
    """Returns the codes uint8 `[L]` of every sequence; uint8 `[N, L]` where they come as an array.

    Args:
        sequences: strings or codes `[L]` of any lengths, codes `[N, L]` or one-hot.
        shortest: bases that each must have, where they come one by one.

    Raises:
        InputError: no sequences, one that is too short, or letters that are no nucleotides.
    """
    if hasattr(sequences, "__array__") and np.asarray(sequences).dtype.kind not in "USO":
        rows: Any = dna.letters(sequences)
        if not rows.size:
            raise InputError("expected one or more sequences of at least one base, found none or an empty one")
        return rows
    items = [sequences] if isinstance(sequences, (str, bytes)) else list(sequences)
    rows = [
        dna.encode(s, f"sequence number {i}") if isinstance(s, (str, bytes)) else dna.letters(np.asarray(s)[None])[0]
        for i, s in enumerate(items, 1)
    ]
    if not rows or not all(map(len, rows)):
        raise InputError("expected one or more sequences of at least one base, found none or an empty one")
    if short := [i for i, row in enumerate(rows, 1) if len(row) < shortest]:
        raise InputError(
            f"sequence number {short[0]}: expected at least {shortest} bases, found {len(rows[short[0] - 1])}"
            + (f" ({len(short):,} such sequences)" if len(short) > 1 else "")
            + ". Leave it out"
        )
    return rows


def as_lsgkm_reads(sequences: Any, shortest: int) -> Sequence[np.ndarray] | np.ndarray:
    """Returns `each`, cut after 2,047 bases as LS-GKM cuts them, with a warning where one is longer."""
    rows = each(sequences, shortest)
    if long := sum(len(row) > LSGKM_BASES for row in rows):
        warnings.warn(
            f"{long:,} of {len(rows):,} sequences are cut after {LSGKM_BASES:,} bases, as LS-GKM does: this model was fitted by it",
            stacklevel=3,
        )
        rows = rows[:, :LSGKM_BASES] if isinstance(rows, np.ndarray) else [row[:LSGKM_BASES] for row in rows]
    return rows


def padded_blocks(rows: Sequence[np.ndarray], size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields int64 `[n]`, which rows, and their codes uint8 `[n, L]`, like lengths together, unknown bases behind each.

    An unknown base inside a sequence becomes an A, so that the unknown ones are the padding and nothing else.

    Args:
        size: rows of a block, at most.
    """
    lengths = np.array([len(row) for row in rows])
    order, start = np.argsort(lengths, kind="stable"), 0
    while start < len(order):
        longest = lengths[order[start : start + size]]
        n = max(1, int(((longest * np.arange(1, len(longest) + 1)) <= _BASES).sum()))
        chosen = order[start : start + n]
        width = -(-int(lengths[chosen[-1]]) // _STEP) * _STEP
        codes = np.full((len(chosen), width), dna.UNKNOWN, np.uint8)
        for out, i in zip(codes, chosen, strict=True):
            out[: lengths[i]] = np.where(rows[i] == dna.UNKNOWN, 0, rows[i])
        yield chosen, codes
        start += n
