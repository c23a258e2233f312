"""Numbers in the cells of a table: what counts as one, what counts as missing, and what is refused."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int64

from dragon_jax.data.tables import Block
from dragon_jax.errors import show
from dragon_jax.files import Faults

_LARGEST = float(np.finfo(np.float32).max)
MISSING = frozenset((b"", b"NA", b"NaN", b"nan", b"."))
_NUMBER = re.compile(rb" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *")
_INTEGER = re.compile(rb" *[+-]?\d+ *")


class NumberFaults:
    """Cells that should hold numbers and do not, for one file."""

    def __init__(self):
        self.faults = Faults()

    def add(self, block: Block, row: int, name: str, cell: bytes, expected: str, remedy: str | None = None) -> None:
        text = cell.decode()
        if re.fullmatch(r"[+-]?\d+,\d+", text):
            remedy = "Use a point as decimal sign"
        remedy = remedy or "Mend the cell"
        place = block.place(row)
        self.faults.add(
            f"line {block.lines[row]}",
            f"{block.path}, {place}, column '{show(name)}': expected {expected}, found '{show(text)}'",
            remedy,
        )


def numbers(
    block: Block, columns: Sequence[int], names: Sequence[str], faults: NumberFaults, *, missing: bool = True
) -> Float32[np.ndarray, "R C"]:
    """Returns the cells of some columns as numbers; empty, `NA`, `NaN`, `nan` and `.` are NaN.

    Args:
        columns: their indices.
        names: what they are called in messages.
        faults: takes note of cells that hold no finite number; these come out as NaN.
        missing: whether cells may be missing.
    """
    start, end = block.start[:, columns], block.end[:, columns]
    width = end - start
    result = np.full(start.shape, np.nan, np.float64)
    raw = block.raw
    buffer = np.frombuffer(raw + b" ", np.uint8)
    letter = buffer[start].astype(np.int16)
    short = (width == 1) & (letter >= 48) & (letter <= 57)  # one digit, by far the most frequent cell
    result[short] = letter[short] - 48
    absent = (width == 0) | ((width == 1) & (letter == 46))
    rest = ~short & ~absent if missing else ~short
    where = np.flatnonzero(rest)
    cells = [raw[a:b] for a, b in zip(start[rest].tolist(), end[rest].tolist(), strict=True)]
    if missing:
        there = np.fromiter((cell not in MISSING for cell in cells), bool, len(cells))
        where, cells = where[there], list(itertools.compress(cells, there))
    try:  # `float` takes more than numbers (nan, inf, 1_000), but not when these are the only letters
        values = np.array(list(map(float, cells))) if not b"".join(cells).translate(None, b"0123456789+-.eE") else None
    except ValueError:
        values = None
    if values is not None and (np.abs(values) <= _LARGEST).all():
        result.ravel()[where] = values
        return result.astype(np.float32)
    for at, cell in zip(where.tolist(), cells, strict=True):
        value = float(cell) if _NUMBER.fullmatch(cell) else np.inf
        if abs(value) <= _LARGEST:
            result.flat[at] = value
        elif not missing or cell.strip(b" ") not in MISSING:
            row, column = divmod(at, len(columns))
            faults.add(block, row, names[column], cell, "a number")
    return result.astype(np.float32)


def integers(
    block: Block, column: int, name: str, faults: NumberFaults
) -> tuple[Int64[np.ndarray, " R"], Bool[np.ndarray, " R"]]:
    """Returns the cells of one column as whole numbers, and which are; others are noted as faults and come out as 0."""
    result, good = np.zeros(len(block.lines), np.int64), np.ones(len(block.lines), bool)
    for row, cell in enumerate(block.cells(column)):
        if _INTEGER.fullmatch(cell) and len(cell) < 19:
            result[row] = int(cell)
        else:
            good[row] = False
            remedy = "Write whole numbers" if _NUMBER.fullmatch(cell) else None
            faults.add(block, row, name, cell, f"an integer {name}", remedy)
    return result, good
