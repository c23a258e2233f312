"""Matrices under `>name`: ENCODE text, and the frequency or count matrices of JASPAR, HOCOMOCO and GimmeMotifs."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from dragon_jax.errors import InputError, show
from dragon_jax.files import Faults
from dragon_jax.motifs.motif import SUM_TOLERANCE
from dragon_jax.motifs.text import CUT_OFF, Found, Place, Refused, Text, frequencies_or_counts, note, numbers, words
from dragon_jax.motifs.text import refuse_cut as refuse_cut_off

MatrixFormat = Literal["auto", "encode", "jaspar", "pfm", "pcm"]
_IUPAC = frozenset("ACGTURYSWKMBDHVNacgturyswkmbdhvn")


@dataclasses.dataclass
class _Record:
    """One `>name` with the rows below it: line and words of each, brackets as words of their own."""

    name: str
    alt_name: str
    line: int
    rows: list[tuple[int, list[str]]]


def parse_matrices(text: Text, form: MatrixFormat, faults: Faults) -> list[Found]:
    """Reads all the matrices of a file; those that cannot be read are added to `faults`.

    Args:
        form: `encode` = consensus letter and four frequencies a position; `jaspar` = four rows A C G T; `pcm` = four
            numbers a position; `pfm` = either of the last two, told by the shape; `auto` = `encode` or `pfm`, told by
            the letters.

    Raises:
        InputError: text before the first `>`, or a header without a name.
    """
    records = _records(text)
    if form == "auto":
        form = "encode" if _looks_encode(records) else "pfm"
    found = []
    for record in records:
        place = Place("matrix", record.name, text.name, record.line)
        try:
            if not record.rows:
                raise Refused(place, "expected rows of numbers below the header, found none", CUT_OFF)
            matrix, lines = _encode(record, place) if form == "encode" else _oriented(record, place, form)
            motif = frequencies_or_counts(matrix, place, lines, record.alt_name)
            last, row = record.rows[-1]
            if row[-1] != "]":
                tokens = [t for _, r in record.rows for t in r if t[0] in "+-.0123456789"]
                refuse_cut_off(text, place, last, matrix, tokens)
            found.append(Found(motif, record.line))
        except Refused as e:
            note(faults, e)
    return found


def _records(text: Text) -> list[_Record]:
    records: list[_Record] = []
    for line, raw in enumerate(text.lines, 1):
        bare = raw.strip(" \t")
        if not bare or bare.startswith("#"):
            continue
        if bare.startswith(">"):
            header = bare[1:].strip(" \t")
            if not header:
                raise InputError(
                    f"header without a name in {text.name}, line {line}: expected '>name', found '>'. Name the matrix"
                )
            name = words(header)[0]
            records.append(_Record(name, header[len(name) :].strip(" \t"), line, []))
        elif not records:
            raise InputError(
                f"text before the first header in {text.name}, line {line}: expected '>name', found '{show(bare)}'. "
                "Put a line '>name' above each matrix"
            )
        else:
            spaced = bare.replace("[", " [ ").replace("]", " ] ").replace("|", " ")
            if row := words(spaced):
                records[-1].rows.append((line, row))
    return records


def _letters(record: _Record) -> str:
    """Returns the first words of the rows where each is one letter, as upper-case DNA; otherwise nothing."""
    first = [row[0].rstrip(":") for _, row in record.rows]
    if all(len(word) == 1 and word in _IUPAC for word in first):
        return "".join(first).upper().replace("U", "T")
    return ""


def _looks_encode(records: list[_Record]) -> bool:
    """Tells ENCODE text (a letter and four frequencies a row) from rows named A C G T.

    Only motifs of width 4 with the consensus of A, C, G and T can be both; then what sums to 1 decides.
    """
    fives = [r for r in records if r.rows and _letters(r) and all(len(row) == 5 for _, row in r.rows)]
    if 2 * len(fives) <= len(records):
        return False
    for record in fives:
        if sorted(_letters(record)) != list("ACGT"):
            return True
    try:
        matrices = [np.array([row[1:] for _, row in r.rows], np.float64) for r in fives]
    except ValueError:
        return False
    sums = [np.abs(np.concatenate([m.sum(axis) for m in matrices]) - 1).max() for axis in (1, 0)]
    return bool(sums[0] <= SUM_TOLERANCE < sums[1])


def _encode(record: _Record, place: Place) -> tuple[np.ndarray, list[int]]:
    rows = []
    for line, (letter, *tokens) in record.rows:
        if len(letter) != 1 or letter not in _IUPAC:
            said = f"expected a consensus letter and 4 numbers, found '{show(' '.join([letter, *tokens]))}'"
            raise Refused(place.at(line), said, "Other matrices are read with format=pfm")
        rows.append(numbers(tokens, place.at(line), "numbers after the consensus letter"))
    return np.array(rows), [line for line, _ in record.rows]


def _oriented(record: _Record, place: Place, form: MatrixFormat) -> tuple[np.ndarray, list[int]]:
    """Returns the matrix `[W, 4]`, columns A C G T, and the line of each position."""
    if sorted("".join(record.rows[0][1]).upper().replace("U", "T")) == list("ACGT") and len(record.rows[0][1]) == 4:
        return _below_letters(record, place)
    letters = _letters(record)
    if letters:
        if sorted(letters) != list("ACGT"):
            said = f"expected four rows named A, C, G and T, found rows named {show(', '.join(letters))}"
            raise Refused(place, said, CUT_OFF if len(letters) < 4 else "For ENCODE text pass format=encode")
        rows = [(line, _unbracketed(row[1:], place.at(line))) for line, row in record.rows]
        order = np.argsort(list(letters))
        return _stacked(rows, place)[order].T.copy(), [record.line] * len(rows[0][1])
    rows = [(line, _unbracketed(row, place.at(line))) for line, row in record.rows]
    height, width = len(rows), len(rows[0][1])
    matrix = _stacked(rows, place)
    if form == "pfm" and height == width == 4:
        raise Refused(
            place,
            "it is 4 x 4, cannot tell rows from columns",
            "Add the letters A C G T, or pass format=jaspar (a row for each base) or format=pcm (a row for each "
            "position)",
        )
    if width == 4 and (height != 4 or form == "pcm") and form != "jaspar":
        return matrix, [line for line, _ in rows]
    if height == 4 and form != "pcm":
        return matrix.T.copy(), [record.line] * width
    wanted = {"jaspar": "four rows A C G T", "pcm": "four numbers in each row"}.get(form, "four rows or four columns")
    raise Refused(place, f"expected {wanted}, found {height} rows of {width}", CUT_OFF)


def _below_letters(record: _Record, place: Place) -> tuple[np.ndarray, list[int]]:
    """A first row of the letters names the columns."""
    letters = "".join(record.rows[0][1]).upper().replace("U", "T")
    rows = [(line, _unbracketed(row, place.at(line))) for line, row in record.rows[1:]]
    if not rows:
        raise Refused(place, "expected rows of numbers below the letters, found none", CUT_OFF)
    matrix = np.array([numbers(row, place.at(line), "numbers as there are letters") for line, row in rows])
    return matrix[:, np.argsort(list(letters))], [line for line, _ in rows]


def _unbracketed(row: list[str], place: Place) -> list[str]:
    opened, closed = row[:1] == ["["], row[-1:] == ["]"]
    inner = row[opened : len(row) - closed]
    if opened != closed or "[" in inner or "]" in inner:
        raise Refused(place, f"expected numbers between [ and ], found '{show(' '.join(row))}'", CUT_OFF)
    return inner


def _stacked(rows: list[tuple[int, list[str]]], place: Place) -> np.ndarray:
    width = len(rows[0][1])
    if not width:
        raise Refused(place.at(rows[0][0]), "expected numbers, found none", CUT_OFF)
    return np.array([numbers(row, place.at(line), "numbers as in the first row", width) for line, row in rows])
