"""Lines of tab-separated fields, as BED and bedGraph have them, block by block and column by column.

The fields of a block of lines are found in one pass over its bytes, so that a column costs NumPy operations; each row keeps
the line it came from, and what is wrong is collected by line.
"""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dragon_jax.errors import InputError, show
from dragon_jax.files import Faults, TextFile, utf8

BLOCK = 32768
_DIGITS = 18  # the most that surely fit into 64 bits
_SKIPPED = re.compile(rb"[ \t]*(?:#.*|(?:track|browser)(?:[ \t].*)?)?\n", re.DOTALL)
_STARTS_SKIPPED = np.isin(np.arange(256), list(b"\n \t#tb"))
_BAD_NAME = re.compile(r"""|.*[\s"'\x00-\x1f\x7f-\x9f].*""", re.DOTALL)
_INTEGER = re.compile(rb"[+-]?\d+")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Block(NamedTuple):
    """Some rows of a file.

    Attributes:
        raw: the bytes of the block. buffer: the same as uint8.
        start, end: int64 `[R, C]`, where each field lies in `raw`, blanks around it left out.
        lines: int64 `[R]`, 1-based line of each row.
    """

    raw: bytes
    buffer: np.ndarray
    start: np.ndarray
    end: np.ndarray
    lines: np.ndarray

    def cells(self, column: int) -> list[bytes]:
        """Returns the fields of one column."""
        raw = self.raw
        return [raw[a:b] for a, b in zip(self.start[:, column].tolist(), self.end[:, column].tolist(), strict=True)]

    def cell(self, row: int, column: int) -> str:
        """Returns one field as text for a message."""
        return show(self.raw[self.start[row, column] : self.end[row, column]].decode())


class Lines:
    """A file of tab-separated lines, open for one pass. Comments, `track`, `browser` and blank lines are passed over.

    Attributes:
        path: the file, for messages.
        columns: number of columns, told by the first row; 0 before.
        names: the names of column 1, in the order in which they came.
        notes: what was put in order (counts by name).
        faults: what is wrong; `add` collects, `settle` hands over a block in the order of lines.
    """

    def __init__(self, file: TextFile, least: int, most: int, remedy: str = ""):
        """`least` and `most` columns are allowed; `remedy` says what to do about another number of them."""
        self.path, self.columns, self.notes = file.name, 0, collections.Counter()
        self._file, self._least, self._most, self._remedy = file, least, most, remedy
        self._faults, self._pending = Faults(), dict[int, tuple[str, str]]()
        self._codes: collections.defaultdict[bytes, int] = collections.defaultdict()
        self._codes.default_factory = self._codes.__len__
        self.names: list[str] = []
        self._bad_names: set[int] = set()
        self.first_line = 0  # of a row that is no comment

    def blocks(self, noun: str = "interval") -> Iterator[Block]:
        """Yields the rows in order.

        Raises:
            InputError: at the end, when anything is wrong or no row was found; at once when the file is no text.
        """
        lines = iter(self._file)
        number, rows = 0, 0
        kinds = collections.Counter()
        while chunk := list(itertools.islice(lines, BLOCK)):
            if number == 0 and chunk[0].startswith(b"\xef\xbb\xbf"):
                chunk[0] = chunk[0][3:]
                self.notes["byte-order mark removed"] = 1
            block = self._block(chunk, number, kinds)
            number += len(chunk)
            if block is not None:
                rows += 1
                yield block
            self.settle()
        self._faults.refuse()
        if not rows:
            found = " and ".join(
                f"{n:,} {kind} line{'s' * (n != 1)}" for kind, n in sorted(kinds.items(), reverse=True)
            )
            raise InputError(f"no {noun} in {self.path}: file {f'holds {found} only' if found else 'is empty'}")

    def fault(self, line: int, said: str, remedy: str = "Mend the line") -> None:
        """Notes what is wrong with a line, unless something else is already; `said` goes behind the place."""
        self._pending.setdefault(line, (said, remedy))

    def settle(self) -> None:
        """Takes the faults noted since the last call, in the order of lines."""
        for line, (said, remedy) in sorted(self._pending.items()):
            self._faults.add(f"line {line}", f"{self.path}, line {line}: {said}", remedy)
        self._pending.clear()

    def refuse(self) -> None:
        """Raises when anything has been noted."""
        self.settle()
        self._faults.refuse()

    def coded(self, block: Block) -> Int64[np.ndarray, " R"]:
        """Returns column 1 as indices into `names`; refuses names that hold blanks, quotes or control characters."""
        codes = np.fromiter(map(self._codes.__getitem__, block.cells(0)), np.int64, len(block.lines))
        for name in itertools.islice(self._codes, len(self.names), None):
            text = name.decode()
            if _BAD_NAME.fullmatch(text):
                self._bad_names.add(len(self.names))
            self.names.append(text)
        if self._bad_names:
            for row in np.flatnonzero(np.isin(codes, list(self._bad_names))).tolist():
                found = block.cell(row, 0)
                kind = (
                    "an unquoted name"
                    if found[:1] in ('"', "'")
                    else "a name without blanks, quotes or control characters"
                )
                self.fault(int(block.lines[row]), f"expected {kind}, found '{found}'", "Rename the contig")
        return codes

    def _block(self, chunk: list[bytes], number: int, kinds: collections.Counter) -> Block | None:
        if not chunk[-1].endswith(b"\n"):
            chunk[-1] += b"\n"
            self.notes["last line without an end"] = 1
        raw = b"".join(chunk)
        if b"\r" in raw:
            raw = raw.replace(b"\r\n", b"\n")
            if b"\r" in raw:
                line = number + 1 + raw[: raw.index(b"\r")].count(b"\n")
                raise InputError(
                    f"carriage returns without line feeds in {self.path}, line {line}: expected lines that end in LF or "
                    "CRLF. Convert with: tr '\\r' '\\n'"
                )
        if b"\0" in raw:
            line = number + 1 + raw[: raw.index(b"\0")].count(b"\n")
            raise InputError(f"a zero byte in {self.path}, line {line}: expected UTF-8 text. Is this a binary file?")
        if not raw.isascii():
            try:
                raw.decode()
            except UnicodeDecodeError as e:
                utf8(raw, f"{self.path}, line {number + 1 + raw[: e.start].count(10)}")
        lines = np.arange(number + 1, number + 1 + len(chunk))
        buffer = np.frombuffer(raw, np.uint8)
        newline = np.flatnonzero(buffer == 10)
        if _STARTS_SKIPPED[buffer[np.concatenate([[0], newline[:-1] + 1])]].any():
            rows = raw.splitlines(keepends=True)
            kept = [i for i, row in enumerate(rows) if not _SKIPPED.fullmatch(row)]
            if len(kept) < len(rows):
                blank = sum(not row.strip() for row in rows)
                kinds += collections.Counter(blank=blank, comment=len(rows) - len(kept) - blank)
                raw, lines = b"".join([rows[i] for i in kept]), lines[kept]
        if not raw:
            return None
        self.first_line = self.first_line or int(lines[0])
        return self._fields(raw, lines)

    def _fields(self, raw: bytes, lines: np.ndarray) -> Block | None:
        buffer = np.frombuffer(raw, np.uint8)
        stop = np.flatnonzero((buffer == 9) | (buffer == 10))
        newline = np.flatnonzero(buffer[stop] == 10)
        counts = np.diff(newline, prepend=-1)
        blanks = np.flatnonzero(counts < 3).tolist()
        if blanks and b" " in raw:
            rows = raw.split(b"\n")[:-1]
            for i in blanks:
                rows[i] = b"\t".join(rows[i].split())
            raw = b"\n".join(rows) + b"\n"
            buffer = np.frombuffer(raw, np.uint8)
            stop = np.flatnonzero((buffer == 9) | (buffer == 10))
            newline = np.flatnonzero(buffer[stop] == 10)
            counts = np.diff(newline, prepend=-1)
            self.notes["lines split on blanks"] += int((counts[blanks] >= 3).sum())
        if not self.columns:
            right = (counts >= self._least) & (counts <= self._most)
            self.columns = int(counts[right][0]) if right.any() else 0
        for i in np.flatnonzero(counts != self.columns).tolist():
            self._ragged(int(lines[i]), int(counts[i]))
        if not self.columns:
            return None
        good = np.flatnonzero(counts == self.columns)
        at = newline[good][:, None] + np.arange(1 - self.columns, 1)
        start, end = np.concatenate([[-1], stop])[at] + 1, stop[at]
        if b" " in raw:
            start, end = self._trimmed(buffer, start, end)
        return Block(raw, buffer, start, end, lines[good])

    def _ragged(self, line: int, found: int) -> None:
        if self.columns and self._least <= found <= self._most:
            said = f"expected {self.columns} columns as before, found {found}"
        elif self._least == self._most:
            said = f"expected {self._least} columns, found {found}"
        elif found < self._least:
            said = f"expected at least {self._least} columns (chrom, start, end), found {found}"
        else:
            said = f"expected {self._least} to {self._most} columns, found {found}"
        self.fault(line, said, self._remedy or "Mend the line")

    def _trimmed(self, buffer: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Leaves out the blanks around fields (tabs and line ends beside them stop the search)."""
        first, last = start, end
        while (blank := (start < end) & (buffer[start] == 32)).any():
            start = start + blank
        while (blank := (start < end) & (buffer[end - 1] == 32)).any():
            end = end - blank
        if trimmed := int(((first != start) | (last != end)).sum()):
            self.notes["fields with blanks around them trimmed"] += trimmed
        return start, end

    def integers(self, block: Block, column: int, name: str) -> Int64[np.ndarray, " R"]:
        """Returns one column as whole numbers (negative ones too); anything else is noted and comes out as 0."""
        values, good = digits(block, column)
        for row in np.flatnonzero(~good).tolist():
            cell = block.raw[block.start[row, column] : block.end[row, column]]
            if _INTEGER.fullmatch(cell) and len(number := cell.lstrip(b"+-").lstrip(b"0")) <= _DIGITS:
                values[row] = -int(number or b"0") if cell.startswith(b"-") else int(number or b"0")
                continue
            values[row] = 0
            line = int(block.lines[row])
            if _INTEGER.fullmatch(cell):
                said, remedy = f"an integer {name} below 10^{_DIGITS}", "Mend the line"
            elif _NUMBER.fullmatch(cell):
                said, remedy = f"an integer {name}", "Write whole numbers (in R: options(scipen=999))"
            elif re.fullmatch(rb"\d{1,3}(,\d{3})+", cell):
                said, remedy = f"an integer {name}", "Write numbers without commas"
            else:
                heading = line == self.first_line
                said = f"an integer {name}"
                remedy = "Remove the header line or begin it with '#'" if heading else "Mend the line"
            self.fault(line, f"expected {said}, found '{block.cell(row, column)}'", remedy)
        return values


def digits(block: Block, column: int) -> tuple[Int64[np.ndarray, " R"], Bool[np.ndarray, " R"]]:
    """Returns the numbers of one column that are written in at most 18 digits and nothing else, and which these are."""
    start, width = block.start[:, column], block.end[:, column] - block.start[:, column]
    values, good = np.zeros(len(start), np.int64), (width > 0) & (width <= _DIGITS)
    for k in range(min(int(width.max(initial=0)), _DIGITS)):
        here = width > k
        digit = block.buffer[np.where(here, start + k, start)] - np.uint8(48)  # letters before 0 wrap around to above 9
        good &= ~here | (digit <= 9)
        values = np.where(here, values * 10 + digit, values)
    return np.where(good, values, 0), good


def numbers(block: Block, column: int) -> tuple[Float64[np.ndarray, " R"], Bool[np.ndarray, " R"]]:
    """Returns one column as finite numbers, and which fields are such; the others come out as NaN."""
    whole, good = digits(block, column)
    values = np.where(good, whole, np.nan)
    rest = np.flatnonzero(~good)
    first, last = block.start[rest, column].tolist(), block.end[rest, column].tolist()
    for row, a, b in zip(rest.tolist(), first, last, strict=True):
        cell = block.raw[a:b]
        if _NUMBER.fullmatch(cell) and abs(value := float(cell)) < np.inf:
            values[row], good[row] = value, True
    return values, good
