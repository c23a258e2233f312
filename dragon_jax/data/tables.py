"""Tables of text, block by block and column by column: every cell is where its header says, or the file is refused.

The cells of a block of lines are found in one pass over its bytes, so a column costs NumPy operations and not a Python
object per cell; only blocks with quotes are split line by line. Nothing is turned into a number or a missing value that
was not asked for: a contig called NA stays NA.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.files import Faults, TextFile, utf8

BLOCK = 8192
_BOM = b"\xef\xbb\xbf"
_QUOTED = re.compile(rb'"((?:[^"]|"")*)"')
_NO_HEADER = "If the file has no line of names, set data.source.header=False and call the columns '0', '1', ..."
_HEADER = "If the file has no line of names, read it without header (data.source.header=False, or columns by number)"
_SUFFIXES = {".tsv": "\t", ".txt": "\t", ".seq": "\t", ".tab": "\t", ".csv": ","}


def delimiter_of(path: str | os.PathLike, delimiter: str | None = None) -> str:
    """Returns the delimiter: the one given, or the one that the suffix says (before `.gz`).

    Raises:
        InputError: the suffix says nothing, or the delimiter is no single plain character.
    """
    if delimiter is not None:
        if len(delimiter) != 1 or delimiter in '"\r\n' or ord(delimiter) > 127:
            raise InputError(f"delimiter: expected one character such as a tab or a comma, found {delimiter!r}")
        return delimiter
    stem = os.fspath(path)
    for ending in (".gz", ".bgz"):
        stem = stem[: -len(ending)] if stem.lower().endswith(ending) else stem
    suffix = os.path.splitext(stem)[1].lower()
    if suffix not in _SUFFIXES:
        raise InputError(
            f"the name of {show(os.fspath(path), 300)} does not say how its columns are separated: expected one of "
            f"{', '.join(_SUFFIXES)} (or these with .gz), found {suffix!r}. Set the delimiter"
        )
    return _SUFFIXES[suffix]


class Block(NamedTuple):
    """Some rows of a table.

    Attributes:
        path: the file, for messages.
        raw: the bytes of the block.
        start, end: int64 `[rows, columns]`, where each cell lies in `raw`.
        lines: int64 `[rows]`, 1-based line of each row.
        rows: int64 `[rows]`, 1-based number of each row among the data rows.
    """

    path: str
    raw: bytes
    start: np.ndarray
    end: np.ndarray
    lines: np.ndarray
    rows: np.ndarray

    def cells(self, column: int) -> list[bytes]:
        """Returns the cells of one column."""
        raw = self.raw
        return [raw[a:b] for a, b in zip(self.start[:, column].tolist(), self.end[:, column].tolist(), strict=True)]

    def text(self, column: int) -> list[str]:
        """Returns the cells of one column as text (the file has been checked to be UTF-8)."""
        return [cell.decode() for cell in self.cells(column)]

    def place(self, row: int) -> str:
        """Names a row in messages."""
        return f"row {self.rows[row]} (line {self.lines[row]})"


class Table:
    """A table file, open for one pass over its rows.

    Attributes:
        path: the file, for messages.
        names: names of the columns; `"0"`, `"1"`, ... without a header line.
    """

    def __init__(self, file: TextFile, delimiter: str, header: bool = True):
        """Reads the header; raises InputError when there is none, or a name comes twice."""
        self.path, self._file, self._header = file.name, file, header
        self._delimiter = delimiter
        first = file.first_lines(1)
        if not first:
            raise InputError(f"no row in {self.path}: expected a table, file is empty")
        self._bom = first[0].startswith(_BOM)
        raw = _line_ends(first[0].removeprefix(_BOM), self.path, 1).removesuffix(b"\n")
        cells = [utf8(cell, f"{self.path}, line 1") for cell in _split(raw, delimiter, self.path, 1)]
        if len(cells) == 1:
            _refuse_other_delimiter(raw, file.first_lines(2)[1:], delimiter, self.path)
        self._like_data = header and any(map(_is_dna, cells))
        self.names = cells if header else [str(i) for i in range(len(cells))]
        if header:
            repeated = sorted({name for name in cells if cells.count(name) > 1})
            if repeated:
                hint = f". {_HEADER}" if self._like_data or _is_number(repeated[0]) else ". Rename one"
                raise InputError(
                    f"column '{show(repeated[0])}' twice in {self.path}, line 1: expected unique names{hint}"
                )

    def column(self, name: str, setting: str) -> int:
        """Returns the index of the column called `name`; refuses, naming the `setting` to mend, when there is none."""
        if name in self.names:
            return self.names.index(name)
        hint = "" if self._header else " (the table is read without header, so columns are called 0, 1, ...)"
        alike = [
            n for n in self.names if n and (name.lower().startswith(n.lower()) or n.lower().startswith(name.lower()))
        ]
        close = nearest(name, self.names) or (f"; did you mean {alike[0]}?" if alike else ".")
        if self._like_data:
            config = setting.startswith("data.source.")
            remedy = _NO_HEADER if config else f"If the file has no line of names, set {setting}"
            raise InputError(
                f"{self.path}: expected a column '{show(name)}', found a first line that looks like data "
                f"({listing(map(repr, self.names), 12)}). {remedy}"
            )
        raise InputError(
            f"{self.path}: expected a column '{show(name)}', found {listing(map(repr, self.names), 12)}{hint}"
            f"{close} Set {setting} to the column meant"
        )

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """Yields the rows, `size` at a time, in order.

        Raises:
            InputError: at the end, when rows have too few or too many fields; at once when the file is no text,
                has a blank line before its end, or has no rows.
        """
        lines = iter(self._file)
        ragged, blank = Faults(), 0
        number = row = 0
        if self._header:
            next(lines)
            number = 1
        while chunk := list(islice(lines, size)):
            if number == 0 and self._bom:
                chunk[0] = chunk[0].removeprefix(_BOM)
            filled = len(chunk)
            while filled and not chunk[filled - 1].strip(b"\r\n"):
                filled -= 1
            if blank and filled:
                raise InputError(
                    f"blank line in {self.path}, line {blank}: expected {len(self.names)} fields. Remove the line"
                )
            if filled < len(chunk) and not blank:
                blank = number + filled + 1
            if filled:
                block = self._block(chunk[:filled], number, row, ragged)
                if len(block.lines):
                    yield block
            number += len(chunk)
            row += filled
        ragged.refuse()
        if row == 0:
            raise InputError(
                f"no row in {self.path}: expected rows below the header, found {number} line{'s' * (number != 1)}"
            )

    def _block(self, chunk: list[bytes], number: int, row: int, ragged: Faults) -> Block:
        columns = len(self.names)
        raw = _line_ends(b"".join(chunk), self.path, number + 1)
        if not raw.endswith(b"\n"):
            raw += b"\n"
        if b"\0" in raw:
            line = number + 1 + raw[: raw.index(b"\0")].count(b"\n")
            raise InputError(
                f"a zero byte in {self.path}, line {line}: expected UTF-8 text. Is this a binary or UTF-16 file?"
            )
        try:
            raw.decode()
        except UnicodeDecodeError as e:
            utf8(raw, f"{self.path}, line {number + 1 + raw[: e.start].count(10)}")
        rows = np.arange(row + 1, row + 1 + len(chunk))
        numbers = np.arange(number + 1, number + 1 + len(chunk))
        if b'"' in raw:
            fields = [
                _split(line, self._delimiter, self.path, n) for n, line in enumerate(raw.split(b"\n")[:-1], number + 1)
            ]
            counts = np.array([len(f) for f in fields])
            good = np.flatnonzero(counts == columns)
            cells = [cell for i in good for cell in fields[i]]
            end = np.fromiter((len(c) for c in cells), np.int64, len(cells)).cumsum().reshape(-1, columns)
            start = np.concatenate([[0], end.ravel()[:-1]]).astype(np.int64).reshape(-1, columns) if len(cells) else end
            raw = b"".join(cells)
        else:
            buffer = np.frombuffer(raw, np.uint8)
            stop = np.flatnonzero((buffer == ord(self._delimiter)) | (buffer == 10))
            newline = np.flatnonzero(buffer[stop] == 10)
            counts = np.diff(newline, prepend=-1)
            good = np.flatnonzero(counts == columns)
            last = newline[good]
            end = stop[last[:, None] + np.arange(1 - columns, 1)]
            start = np.concatenate([[-1], stop])[last[:, None] + np.arange(1 - columns, 1)] + 1
        for i in np.flatnonzero(counts != columns):
            if counts[i] == 1 and len(chunk[i].strip(b"\r\n")) == 0:
                raise InputError(
                    f"blank line in {self.path}, line {numbers[i]}: expected {columns} fields. Remove the line"
                )
            ragged.add(
                f"line {numbers[i]}",
                f"{self.path}, line {numbers[i]}: expected {columns} fields, found {counts[i]}",
                "Mend the lines",
            )
        if columns == 1 and (start == end).any():
            bad = numbers[good[np.flatnonzero(start == end)[0]]]
            raise InputError(f"blank line in {self.path}, line {bad}: expected 1 field. Remove the line")
        return Block(self.path, raw, start, end, numbers[good], rows[good])


def _refuse_other_delimiter(first: bytes, second: list[bytes], delimiter: str, path: str) -> None:
    """Refuses a table of one column whose first two lines hold another separator, the same number of times."""
    for other, name in ((",", "commas"), ("\t", "tabs"), (";", "semicolons")):
        count = first.count(other.encode())
        if count and other != delimiter and second and second[0].count(other.encode()) == count:
            expected = {"\t": "tabs", ",": "commas"}.get(delimiter, repr(delimiter))
            suffix = {",": ", or call the file .csv", "\t": ", or call the file .tsv"}.get(other, "")
            raise InputError(
                f"{path}, line 1: expected columns with {expected} between them, found one column with {name} in it "
                f"('{show(first.decode('utf-8', 'replace'))}'). Set the delimiter to {other!r}{suffix}"
            )


def _is_dna(name: str) -> bool:
    """Whether a name can only be a sequence: no word has six letters of ACGTN and no other."""
    return len(name) >= 6 and not name.upper().strip("ACGTN")


def _is_number(name: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", name) is not None


def _line_ends(raw: bytes, path: str, first: int) -> bytes:
    """Returns the lines with LF ends; refuses a carriage return anywhere else."""
    if b"\r" not in raw:
        return raw
    raw = raw.replace(b"\r\n", b"\n").removesuffix(b"\r")
    if b"\r" in raw:
        line = first + raw[: raw.index(b"\r")].count(b"\n")
        raise InputError(
            f"carriage returns without line feeds in {path}, line {line}: expected lines that end in LF or CRLF. "
            "Convert with: tr '\\r' '\\n'"
        )
    return raw


def _split(line: bytes, delimiter: str, path: str, number: int) -> list[bytes]:
    """Returns the fields of one line, quotes taken off (`csv` is not used: it refuses long fields and joins lines)."""
    if b'"' not in line:
        return line.split(delimiter.encode())
    bare = re.compile(b"([^" + re.escape(delimiter.encode()) + b"]*)")
    fields, rest = [], line
    while (match := (_QUOTED if rest.startswith(b'"') else bare).match(rest)) is not None:
        fields.append(match.group(1).replace(b'""', b'"') if rest.startswith(b'"') else match.group(1))
        if match.end() == len(rest):
            return fields
        if rest[match.end() : match.end() + 1] != delimiter.encode():
            break
        rest = rest[match.end() + 1 :]
    found = show(line.decode("utf-8", "replace"))
    raise InputError(
        f"quotes in {path}, line {number}: expected '\"' around whole fields, closed on the same line, "
        f"found '{found}'. Mend the line"
    )
