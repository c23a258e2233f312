"""One length for all sequences of a data set: what is refused, cropped or padded, and what that does to coordinates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from dragon_jax.data.dataset import Regions
from dragon_jax.dna import UNKNOWN, encode
from dragon_jax.errors import show
from dragon_jax.files import Faults
from dragon_jax.genome.fasta import NUCLEOTIDES

_LOWER = bytes(range(ord("a"), ord("z") + 1))
Fit = Literal[
    "refuse", "crop_left", "crop_centre", "crop_right", "pad_left", "pad_centre", "pad_right",
    "fit_left", "fit_centre", "fit_right",
]  # fmt: skip


def check_policy(length: int | None, fit: Fit) -> None:
    """Raises ValueError when a length policy cannot work."""
    if length is not None and length < 1:
        raise ValueError(f"length: expected at least 1 base, found {length}")
    if length is None and fit != "refuse":
        raise ValueError(f"length: needed by fit={fit!r}, found None. Say how many bases the sequences shall have")


class Fitted(NamedTuple):
    """Sequences brought to one length.

    Attributes:
        codes: uint8 `[N, L]`.
        offset: int64 `[N]`, where each window starts in its sequence; negative where bases were put before it.
        lengths: int64 `[N]`, bases of each sequence as it was read.
        notes: how many were cropped and padded; how many bases were lower case, U, or are unknown.
    """

    codes: np.ndarray
    offset: np.ndarray
    lengths: np.ndarray
    notes: dict[str, int]


class Fitter:
    """Encodes sequences block by block and brings them to one length, counting what it refuses and what it changes.

    The word after the underscore of a policy says where a sequence and its window line up: `left` keeps the first bases
    (or puts unknown bases behind), `right` the last, `centre` lays base `M // 2` of M at `L // 2` of the window.
    `crop_*` refuses shorter sequences, `pad_*` longer ones, `fit_*` crops and pads.
    """

    def __init__(self, path: str, length: int | None, fit: Fit, remedy: str = ""):
        """`path` is for messages, and `remedy` what to do about another length, instead of the fields of a config; without
        `length`, the first sequence sets it (policy `refuse` only)."""
        check_policy(length, fit)
        self.path, self.length, self.fit = path, length, fit
        self._as_first, self._remedy = length is None, remedy
        self.letters, self.unequal = Faults(), Faults()

    def block(self, sequences: Sequence[bytes], place: Callable[[int], tuple[str, str]]) -> Fitted:
        """Returns the block in codes; rows that must be refused are noted and come out as unknown bases.

        Args:
            sequences: letters of each.
            place: how a message names row i (`sequence 'peak_3' in a.fa, line 7`) and, as one of several, `line 7`.
        """
        n = len(sequences)
        lengths = np.fromiter((len(s) for s in sequences), np.int64, n)
        if self.length is None:
            self.length = int(next((m for m in lengths if m), 1))
        self._note_length_faults(lengths, place)
        joined, codes = self._encoded(sequences, place)
        notes = {
            "lower-case bases": len(joined) - len(joined.translate(None, _LOWER)),
            "bases U read as T": joined.count(b"U") + joined.count(b"u"),
            "unknown bases": int(np.count_nonzero(codes == UNKNOWN)),
        }
        notes = {k: v for k, v in notes.items() if v}
        if (lengths == self.length).all():
            return Fitted(codes.reshape(n, self.length), np.zeros(n, np.int64), lengths, notes)
        return self._laid_out(codes, lengths, notes)

    def ragged(
        self, sequences: Sequence[bytes], place: Callable[[int], tuple[str, str]], shortest: int = 1
    ) -> list[np.ndarray]:
        """Returns the codes uint8 `[L]` of each sequence as long as it is; too short ones and wrong letters are noted."""
        lengths = np.fromiter((len(s) for s in sequences), np.int64, len(sequences))
        for row in np.flatnonzero(lengths < shortest).tolist():
            name, short = place(row)
            if lengths[row]:
                said, remedy = f"at least {shortest} bases, found {lengths[row]}", "Remove the record"
            else:
                said, remedy = "bases, found none", "Remove the record or fill it in"
            self.unequal.add(short, f"{name}: expected {said}", remedy)
        return np.split(self._encoded(sequences, place)[1], lengths.cumsum()[:-1])

    def _encoded(self, sequences: Sequence[bytes], place: Callable[[int], tuple[str, str]]) -> tuple[bytes, np.ndarray]:
        """Letters and codes of all sequences, joined."""
        joined = b"".join(sequences)
        if joined.translate(None, NUCLEOTIDES):
            joined = self._note_letter_faults(sequences, place)
        return joined, encode(joined, self.path)

    def _laid_out(self, codes: np.ndarray, lengths: np.ndarray, notes: dict[str, int]) -> Fitted:
        assert self.length is not None
        side = self.fit.partition("_")[2]
        offset = {
            "": np.zeros_like(lengths),
            "left": np.zeros_like(lengths),
            "centre": lengths // 2 - self.length // 2,
            "right": lengths - self.length,
        }[side]
        begin = np.concatenate([[0], lengths.cumsum()[:-1]])
        place = offset[:, None] + np.arange(self.length)  # position in the sequence of each base of the window
        inside = (place >= 0) & (place < lengths[:, None])
        padded = np.append(codes, np.uint8(UNKNOWN))
        result = padded[np.where(inside, begin[:, None] + place, len(codes))]
        changed = {
            "sequences cropped": int((lengths > self.length).sum()),
            "sequences padded": int((lengths < self.length).sum()),
        }
        return Fitted(result, offset, lengths, notes | {k: v for k, v in changed.items() if v})

    def _note_length_faults(self, lengths: np.ndarray, place: Callable[[int], tuple[str, str]]) -> None:
        crops, pads = self.fit.startswith(("crop", "fit")), self.fit.startswith(("pad", "fit"))
        wrong = (lengths == 0) | ((lengths > self.length) & (not crops)) | ((lengths < self.length) & (not pads))
        for row in np.flatnonzero(wrong).tolist():
            name, short = place(row)
            if lengths[row] == 0:
                self.unequal.add(short, f"{name}: expected bases, found none", "Remove the record or fill it in")
                continue
            bound = {"crop": "at least ", "pad": "at most "}.get(self.fit.partition("_")[0], "")
            first = " as in the first record" if self._as_first else ""
            self.unequal.add(
                short,
                f"{name}: expected {bound}{self.length} bases{first}, found {lengths[row]}",
                self._remedy or f"Set length={self.length} and fit=fit_centre (crop and pad), or mend the file",
            )

    def _note_letter_faults(self, sequences: Sequence[bytes], place: Callable[[int], tuple[str, str]]) -> bytes:
        clean = list(sequences)
        for row, bases in enumerate(sequences):
            rest = bases.translate(None, NUCLEOTIDES)
            if rest:
                name, short = place(row)
                letter = rest.decode("utf-8", "replace")[0]
                self.letters.add(
                    short,
                    f"letter '{show(letter)}' in {name}, position {bases.index(rest[:1]) + 1}: "
                    "expected IUPAC nucleotides",
                    "Is this a column of DNA? Check the names of the columns",
                )
                clean[row] = b"N" * len(bases)
        return b"".join(clean)

    def refuse(self) -> None:
        """Raises when a sequence so far had letters that are no nucleotides, or a length that the policy forbids."""
        self.letters.refuse()
        self.unequal.refuse()


def moved(regions: Regions, fitted: Fitted, length: int, reverse: np.ndarray | None = None) -> Regions:
    """Returns the part of each region that its window of `length` bases shows, if it was as long as its sequence.

    Args:
        reverse: bool `[N]`, rows whose sequence reads the region's other strand.
    """
    fits = regions.end - regions.start == fitted.lengths
    first = np.maximum(fitted.offset, 0)
    last = np.minimum(fitted.offset + length, fitted.lengths)
    if reverse is not None:
        first, last = np.where(reverse, fitted.lengths - last, first), np.where(reverse, fitted.lengths - first, last)
    return Regions(
        regions.chrom,
        np.where(fits, regions.start + first, regions.start),
        np.where(fits, regions.start + last, regions.end),
    )


def text_array(values: Sequence[str]) -> np.ndarray:
    """Returns text `[N]`: fixed width, or objects where a few very long names would make every row as wide."""
    widest = max(map(len, values), default=1)
    if widest * len(values) > 8 * (sum(map(len, values)) + 1_000_000):
        return np.array(values, dtype=object)
    return np.array(values, dtype=f"<U{max(widest, 1)}")
