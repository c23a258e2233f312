"""Scores of k-letter words in tables, so that a window costs one look-up for k positions instead of k.

A window of a motif is read as consecutive words of k letters, one table each; a table has a row for every word and a
column for every motif, so that one word of the sequence fetches the scores of all motifs as one stretch of memory.

Rows. Words of k known bases are their number in base 4. A word whose first unknown base stands at r < k has the row of
its known beginning, 4^k + (4^r - 1) / 3 + number of the beginning: what follows an unknown base matters only to motifs
that reach it, and those have no window there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int, Int32, Num, UInt8

from dragon_jax.dna import UNKNOWN
from dragon_jax.errors import InputError

Sequences = np.ndarray | Sequence[np.ndarray]
_PIECES = (64, 128, 256, 512)  # windows in a row, where sequences are longer or differ in length


def row_count(k: int) -> int:
    """Returns the number of rows of a table of words of k letters: all words, and all shorter beginnings."""
    return (4 ** (k + 1) - 1) // 3


def unknown_row(k: int) -> int:
    """Returns the row of a word that begins with an unknown base: no motif has a window there."""
    return 4**k


def word_rows(codes: UInt8[np.ndarray, " L"], k: int) -> Int32[np.ndarray, " L"]:
    """Returns the row of the word that begins at each position; beyond the end all bases are unknown."""
    length = len(codes)
    padded = np.concatenate([codes, np.full(k, UNKNOWN, np.uint8)])
    number = np.zeros(length, np.int32)
    rows = np.zeros(length, np.int32)
    known = np.ones(length, bool)
    for r in range(k):
        letters = padded[r : r + length]
        ends = np.flatnonzero(known & (letters >= UNKNOWN))
        rows[ends] = 4**k + (4**r - 1) // 3 + number[ends]
        known[ends] = False
        number = number * 4 + letters
    return np.where(known, number, rows)


def tables(
    columns: Num[np.ndarray, "C W 4"], widths: Int[np.ndarray, " C"], k: int, refused: int
) -> Iterator[Num[np.ndarray, "R C"]]:
    """Yields the tables of words 0, 1, ... of C motifs: sums of their entries, in their type.

    Args:
        columns: entries of the motifs, zero from each one's width on; W is a multiple of k.
        widths: number of positions of each motif.
        k: letters in a word.
        refused: value where a base that the motif needs is unknown.
    """
    count = len(columns)
    for at in range(0, columns.shape[1], k):
        table = np.empty((row_count(k), count), columns.dtype)
        sums = np.zeros((1, count), columns.dtype)
        for r in range(k):
            table[4**k + (4**r - 1) // 3 :][: 4**r] = np.where(widths <= at + r, sums, columns.dtype.type(refused))
            sums = (sums[:, None, :] + columns[:, at + r, :].T[None]).reshape(-1, count)
        table[: 4**k] = sums
        yield table


@dataclasses.dataclass(frozen=True)
class Slab:
    """Pieces of sequences side by side, with an unknown base behind each.

    A piece holds the windows that begin in it, and enough bases behind them; windows that begin further on belong to
    the next piece.

    Attributes:
        codes: uint8 `[L]`, all pieces.
        begin: int64 `[P]`, where a piece begins in `codes`.
        size: int64 `[P]`, number of positions at which its own windows begin.
        sequence: int64 `[P]`, number of its sequence, rising.
        offset: int64 `[P]`, where it begins in its sequence.
    """

    codes: UInt8[np.ndarray, " L"]
    begin: Int[np.ndarray, " P"]
    size: Int[np.ndarray, " P"]
    sequence: Int[np.ndarray, " P"]
    offset: Int[np.ndarray, " P"]


def slabs(sequences: Sequence[np.ndarray], piece: int, overlap: int, limit: int) -> Iterator[Slab]:
    """Cuts sequences into pieces of at most `piece` positions and packs about `limit` bases into each slab.

    Pieces of one sequence may lie in several slabs; `overlap` bases behind a piece are there again in the next.
    Empty sequences have no piece.
    """
    parts: list[np.ndarray] = []
    places: list[tuple[int, int, int, int]] = []  # begin, size, sequence, offset
    gap = np.full(1, UNKNOWN, np.uint8)
    filled = 0

    def packed() -> Slab:
        columns = np.array(places, np.int64).T
        return Slab(np.concatenate(parts), *columns)

    for i, codes in enumerate(sequences):
        for offset in range(0, len(codes), piece):
            part = codes[offset : offset + piece + overlap]
            if places and filled + len(part) > limit:
                yield packed()
                parts, places, filled = [], [], 0
            parts += [part, gap]
            places.append((filled, min(piece, len(codes) - offset), i, offset))
            filled += len(part) + 1
    if places:
        yield packed()


def piece_length(lengths: Sequence[int]) -> int:
    """Returns into how long pieces to cut sequences that shall lie as rows of one array, so that little is padded."""
    longest = max([1, *lengths])
    known = np.array([1, *lengths])
    choices = [p for p in _PIECES if p < longest] + ([longest] if longest <= _PIECES[-1] else [])
    return min(choices, key=lambda p: int((-(-known // p)).sum()) * (p + 8))


def checked(codes: Sequences) -> list[np.ndarray]:
    """Returns the sequences one by one.

    Raises:
        InputError: a sequence is not uint8 `[L]` with values 0 to 4.
    """
    found = list(codes)
    for i, sequence in enumerate(found):
        if not isinstance(sequence, np.ndarray) or sequence.dtype != np.uint8 or sequence.ndim != 1:
            kind = f"{sequence.dtype} {sequence.shape}" if isinstance(sequence, np.ndarray) else type(sequence).__name__
            raise InputError(f"sequence {i + 1}: expected uint8 codes [L] (see dna.encode), found {kind}")
        if sequence.size and sequence.max() > UNKNOWN:
            raise InputError(f"sequence {i + 1}: expected codes 0-4 (A C G T unknown), found {int(sequence.max())}")
    return found
