"""TRANSFAC flat files: records of two-letter lines, each ended by `//`, as TRANSFAC and JASPAR give them out."""

from __future__ import annotations

import re

import numpy as np

from dragon_jax.errors import show
from dragon_jax.files import Faults
from dragon_jax.motifs.text import CUT_OFF, Found, Place, Refused, Text, frequencies_or_counts, note, numbers, words

_POSITION = re.compile(r"[0-9]+")


def parse_transfac(text: Text, faults: Faults) -> list[Found]:
    """Reads the matrices of a TRANSFAC file; those that cannot be read are added to `faults`.

    The accession (AC) is the name and the identifier (ID) the second one; without accession ID, then NA, is the name.
    Records without a matrix (the version record) are passed over. The columns may come in any order of letters.
    """
    found = []
    record: list[tuple[int, list[str]]] = []
    for line, raw in enumerate(text.lines, 1):
        tokens = words(raw)
        if not tokens or tokens[0].startswith("#"):
            continue
        if tokens[0] != "//":
            record.append((line, tokens))
            continue
        _add(record, text, faults, found, ended=True)
        record = []
    if record:
        _add(record, text, faults, found, ended=False)
    return found


def _add(record: list[tuple[int, list[str]]], text: Text, faults: Faults, found: list[Found], *, ended: bool) -> None:
    if not record:
        return
    first = record[0][0]
    fields: dict[str, str] = {}
    for _, (key, *rest) in record:
        if rest:
            fields.setdefault(key, " ".join(rest))
    name = next((words(fields[key])[0] for key in ("AC", "ID", "NA") if key in fields), "")
    alt_name = fields.get("ID", fields.get("NA", "")) if "AC" in fields else fields.get("NA", "")
    place = Place("matrix", name, text.name, first)
    start = next((i for i, (_, tokens) in enumerate(record) if tokens[0] in ("P0", "PO")), None)
    try:
        if not ended:
            raise Refused(place, "expected the record to end with '//', found the end of the file", CUT_OFF)
        if start is None:
            if set(fields) & {"01", "1"} or ("AC" in fields and "VV" not in fields):
                raise Refused(place, "expected a line 'P0 A C G T' with rows below it, found none", CUT_OFF)
            return
        if not name:
            raise Refused(place, "expected a line AC, ID or NA with a name, found none", "Name the matrix")
        matrix, lines = _matrix(record[start:], place)
        found.append(Found(frequencies_or_counts(matrix, place, lines, alt_name), first))
    except Refused as e:
        note(faults, e)


def _matrix(rows: list[tuple[int, list[str]]], place: Place) -> tuple[np.ndarray, list[int]]:
    line, (_, *letters) = rows[0]
    columns = [letter.upper().replace("U", "T") for letter in letters]
    if sorted(columns) != list("ACGT"):
        said = f"expected the letters A C G T, found '{show(' '.join(letters))}'"
        raise Refused(place.at(line), said, "Protein motifs are not supported")
    values, lines = [], []
    for line, (key, *rest) in rows[1:]:
        if not _POSITION.fullmatch(key):
            break
        if int(key) != len(values) + _first_position(rows):
            said = f"expected position {len(values) + _first_position(rows):02d}, found {show(key)}"
            raise Refused(place.at(line), said, "Is a row missing?")
        if len(rest) == 5 and rest[4].isalpha():  # the consensus letter
            rest = rest[:4]
        values.append(numbers(rest, place.at(line)))
        lines.append(line)
    if not values:
        raise Refused(place.at(rows[0][0]), "expected rows 01, 02, ... below the letters, found none", CUT_OFF)
    return np.array(values)[:, np.argsort(columns)], lines


def _first_position(rows: list[tuple[int, list[str]]]) -> int:
    """Returns the number of the first position: 1, or 0 where a program counts so."""
    return 0 if len(rows) > 1 and re.fullmatch(r"0+", rows[1][1][0]) else 1
