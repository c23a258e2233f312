"""What the motif formats share: lines of text, strict numbers, and the step from a matrix of numbers to a motif."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dragon_jax.errors import InputError, show
from dragon_jax.files import Faults, TextFile, utf8
from dragon_jax.motifs.motif import SUM_TOLERANCE, Motif

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_ROUNDING = 1e-12  # rows closer to 1 than this are left as they are, so that what we write reads back bit for bit
CUT_OFF = "Is the file cut off?"


class Text(NamedTuple):
    """A file of text in memory.

    Attributes:
        name: the path as typed, for messages.
        lines: without line ends; line 1 is `lines[0]`.
        ended: whether the last line has a line end; without one the file may have been cut in the middle of a number.
    """

    name: str
    lines: list[str]
    ended: bool


class Found(NamedTuple):
    """A motif and the 1-based line where it begins."""

    motif: Motif
    line: int


class Place(NamedTuple):
    """Where a matrix stands, for messages: `noun 'name' in path, line N`."""

    noun: str
    name: str
    path: str
    line: int

    def at(self, line: int) -> Place:
        return self._replace(line=line)

    def __str__(self) -> str:
        return f"{self.noun} '{show(self.name)}' in {self.path}, line {self.line}"


class Refused(Exception):
    """One matrix cannot be read: sentence and remedy, which the caller adds to the faults of its file."""

    def __init__(self, place: Place, said: str, remedy: str = ""):
        super().__init__(said)
        self.place, self.said, self.remedy = place, f"{place}: {said}", remedy


def note(faults: Faults, refused: Refused) -> None:
    """Adds one refused matrix to the faults of its file."""
    faults.add(f"line {refused.place.line}", refused.said, refused.remedy)


def read_text(path: str | os.PathLike) -> Text:
    """Reads a file of text (plain or gzip; `-` is standard input); a byte-order mark is dropped.

    Raises:
        InputError: the path or the compression is wrong, the text is not UTF-8, or lines end in CR alone.
    """
    lines, ended = [], True
    with TextFile(path) as file:
        for number, raw in enumerate(file, 1):
            ended = raw.endswith(b"\n")
            bare = raw[:-2] if raw.endswith(b"\r\n") else raw.removesuffix(b"\n")
            if number == 1:
                bare = bare.removeprefix(b"\xef\xbb\xbf")
            if not ended:  # CR LF cut between its two bytes
                bare = bare.removesuffix(b"\r")
            if b"\r" in bare:
                raise InputError(
                    f"carriage returns without line feeds in {file.name}, line {number}: expected lines that end in LF "
                    f"or CRLF, found '{show(bare.decode('latin-1'))}'. Convert with: tr '\\r' '\\n'"
                )
            lines.append(utf8(bare, f"{file.name}, line {number}"))
        return Text(file.name, lines, ended)


def words(line: str) -> list[str]:
    """Splits a line at blanks and tabs, and at nothing else, so that names in any script stay whole."""
    return re.findall(r"[^ \t]+", line)


def number(token: str, place: Place, what: str = "a number") -> float:
    """Returns a finite number >= 0.

    Raises:
        Refused: it is none of these.
    """
    value = float(token) if _NUMBER.fullmatch(token) else np.nan
    if not np.isfinite(value):
        raise Refused(place, f"expected {what}, found '{show(token)}', not a number", "Correct it")
    if value < 0:
        raise Refused(place, f"expected {what} of 0 or more, found '{show(token)}', negative", "Correct it")
    return value


def numbers(tokens: Sequence[str], place: Place, what: str = "numbers", count: int = 4) -> list[float]:
    """Returns the `count` numbers of one row; raises Refused when there are more, fewer or others."""
    if len(tokens) != count:
        raise Refused(place, f"expected {count} {what}, found {len(tokens)}", CUT_OFF if len(tokens) < count else "")
    values = [float(token) if _NUMBER.fullmatch(token) else np.nan for token in tokens]
    return values if all(0 <= v < np.inf for v in values) else [number(token, place) for token in tokens]


def renormalised(matrix: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Returns rows that sum to 1 and a note of how many did not quite."""
    total = matrix.sum(1)
    off = np.abs(total - 1) > _ROUNDING
    result = np.where(off[:, None], matrix / total[:, None], matrix)
    return result, {"rows renormalised": int(off.sum())} if off.any() else {}


def frequencies_or_counts(matrix: np.ndarray, place: Place, lines: Sequence[int], alt_name: str) -> Motif:
    """Returns the motif of a matrix `[W, 4]` that holds frequencies (every row sums to 1) or counts.

    Args:
        lines: the line of each position.

    Raises:
        Refused: a position without counts, or a row that misses 1 in what can only be frequencies.
    """
    total = matrix.sum(1)
    if (np.abs(total - 1) <= SUM_TOLERANCE + 1e-9).all():
        probabilities, notes = renormalised(matrix)
        return Motif(place.name, probabilities, alt_name=alt_name, notes=notes)
    if (matrix <= 1).all() and (matrix % 1 != 0).any():
        row = int(np.abs(total - 1).argmax())
        said = f"position {row + 1} sums to {total[row]:.6g}, expected 1 (frequencies) or counts"
        raise Refused(place.at(lines[row]), said, "Correct the row")
    if (total <= 0).any():
        row = int((total <= 0).argmax())
        said = f"expected a count above 0 at every position, found 0 0 0 0 at position {row + 1}"
        raise Refused(place.at(lines[row]), said, "Remove the position or the matrix")
    notes = {"matrices of counts turned into probabilities": 1}
    return Motif.from_counts(place.name, matrix, alt_name=alt_name, notes=notes)


def refuse_cut(text: Text, place: Place, line: int, matrix: np.ndarray, tokens: Sequence[str]) -> None:
    """Refuses a matrix whose last number ends the file, without a line end, and looks shortened.

    It looks so when it has fewer decimals than all the other numbers, or when its position does not sum to what the
    others sum to. A cut that this does not see is one that no reader can see.

    Args:
        line: of the last number.
        matrix: `[W, 4]`, last number last.
        tokens: all the numbers as written, last number last.
    """
    if text.ended or line != len(text.lines):
        return
    decimals = [len(token.partition(".")[2]) for token in tokens]
    total = matrix.sum(1)
    spread = np.abs(total[:-1] - total[0]).max() if len(total) > 1 else np.inf
    fewer = len(set(decimals[:-1])) == 1 and decimals[-1] < decimals[0] and "e" not in "".join(tokens).lower()
    if fewer or np.abs(total[-1] - total[0]) > 2 * spread + _ROUNDING:
        said = f"the file ends after '{show(tokens[-1])}' without a line end, and the number looks shortened"
        raise Refused(place.at(line), said, CUT_OFF + " If it is whole, end its last line")
