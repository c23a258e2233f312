"""PSSMs as they are read on one strand or both, in the three forms in which a scan needs them.

A column is one motif on one strand. Columns that need equally many words (`words.py`) share a block of tables.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Array, Bool, Float64, Int, UInt8

from dragon_jax.motifs import kernels, words

COLUMNS = 128  # in one block: two cache lines of bytes
LETTERS = 5  # in a word: the 1,365 rows of a table, bytes or int32, stay in a processor's caches
TIE = 1e-9  # relative; a score that misses its threshold by less reaches it
Strands = Literal["both", "forward", "reverse"]


@dataclasses.dataclass(frozen=True)
class Block:
    """Columns that are scanned together, and one table on the device for each word of their windows."""

    columns: Int[np.ndarray, " C"]
    tables: tuple[Array, ...]


class StrandColumns:
    """The columns of M motifs; forward ones come first.

    Attributes:
        motif: int64 `[C]`, number of the motif.
        sign: int64 `[C]`, 1 on the forward strand, -1 on the other.
        width: int64 `[C]`.
        widest: the largest width.
        unit: step of the integer scores, a power of two.
        lowest: integer sums below this are no scores.
    """

    def __init__(self, matrices: Sequence[Float64[np.ndarray, "W 4"]], strands: Strands):
        signs = {"both": (1, -1), "forward": (1,), "reverse": (-1,)}[strands]
        self._matrices = matrices
        self.motif = np.tile(np.arange(len(matrices)), len(signs))
        self.sign = np.repeat(signs, len(matrices))
        self.width = np.array([len(matrices[m]) for m in self.motif])
        self.widest = int(self.width.max())
        most = max(float(np.abs(m).max(1).sum()) for m in matrices)
        terms = -(-self.widest // LETTERS)
        # A word with an unknown base counts less than twice the lowest sum; `terms` of them still fit an int32.
        self.unit = float(2.0 ** np.ceil(np.log2(max(most, 1e-30) * 2.1 * terms / 2**31)))
        self._refused = -((2**31 - 1) // terms)
        self.lowest = -int(most / self.unit) - self.widest
        self._exact = np.zeros(
            (len(self.motif), self.widest, 5)
        )  # by the letter of the forward strand, 0 behind the motif
        for row, m, sign in zip(self._exact, self.motif, self.sign, strict=True):
            row[: len(matrices[m]), :4] = matrices[m][:, ::sign]
            row[: len(matrices[m]), 4] = -np.inf

    def _groups(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields columns, their matrices as they lie on the forward strand `[C, terms * LETTERS, 4]`, and their widths."""
        terms = -(-self.width // LETTERS)
        for count in np.unique(terms):
            mine = np.flatnonzero(terms == count)
            for at in range(0, len(mine), COLUMNS):
                columns = mine[at : at + COLUMNS]
                padded = np.zeros((len(columns), count * LETTERS, 4))
                for row, column in zip(padded, columns.tolist(), strict=True):
                    sign = int(self.sign[column])
                    row[: self.width[column]] = self._matrices[int(self.motif[column])][::sign, ::sign]
                yield columns, padded, self.width[columns]

    def filters(self, thresholds: Float64[np.ndarray, " M"]) -> list[Block]:
        """Tables of deficits in bytes: a window that reaches its threshold has at most `kernels.FULL` in all."""
        blocks = []
        for columns, padded, widths in self._groups():
            limit = thresholds[self.motif[columns]]
            best = padded.max(2)
            left = best.sum(1) - limit + 2 * TIE * (1 + np.abs(limit) + np.abs(padded).max(2).sum(1))
            scale = np.where(left > 0, kernels.FULL / np.maximum(left, 1e-300), 0.0)
            deficits = np.minimum((best[..., None] - padded) * scale[:, None, None], 2 * kernels.TOO_MUCH)
            # Float32 sums are off by less than a millionth of themselves: with more than that taken off, none is too large.
            deficits = (deficits * (1 - 1e-5)).astype(np.float32)
            made = []
            for table in words.tables(deficits, widths, LETTERS, kernels.TOO_MUCH):
                table[:, left < 0] = kernels.TOO_MUCH  # out of reach
                whole = np.minimum(table, kernels.TOO_MUCH, out=table).astype(np.uint8)
                made.append(kernels.on_device(whole, kernels.TOO_MUCH))
            blocks.append(Block(columns, tuple(made)))
        return blocks

    def integers(self) -> list[Block]:
        """Tables of scores in whole units, int32."""
        blocks = []
        for columns, padded, widths in self._groups():
            whole = np.rint(padded / self.unit).astype(np.int32)
            made = words.tables(whole, widths, LETTERS, self._refused)
            blocks.append(Block(columns, tuple(kernels.on_device(t, self._refused) for t in made)))
        return blocks

    def rescore(
        self, codes: UInt8[np.ndarray, " L"], columns: Int[np.ndarray, " H"], starts: Int[np.ndarray, " H"]
    ) -> Float64[np.ndarray, " H"]:
        """Returns the scores in float64, added up in the order of the motif; minus infinity over an unknown base.

        Args:
            codes: bases, at least `widest` more on both sides than any window needs.
            columns: which motif strand each window is read by.
            starts: where it begins in `codes`.
        """
        width, step = self.width[columns], self.sign[columns]
        at = np.where(step > 0, starts, starts + width - 1)
        cell = columns * (self.widest * 5)
        flat = self._exact.ravel()
        total = np.zeros(len(columns))
        for _ in range(int(width.max(initial=0))):
            total += flat[cell + codes[at]]
            at += step
            cell += 5
        return total


def reaches(scores: np.ndarray, thresholds: np.ndarray) -> Bool[np.ndarray, " H"]:
    """Returns which scores reach their thresholds, to the tolerance of ties."""
    return scores >= thresholds - TIE * (1 + np.abs(thresholds))
