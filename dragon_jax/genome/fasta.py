"""FASTA, by records or pieces of records: only the one in hand is held, and what cannot be right is refused by its line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from dragon_jax.errors import InputError, show
from dragon_jax.files import Faults, TextFile, utf8

NUCLEOTIDES = b"ACGTURYSWKMBDHVNacgturyswkmbdhvn"
_LINES = 1 << 14  # lines of a piece


class Record(NamedTuple):
    """One sequence of a FASTA file.

    Attributes:
        name: the first word after `>`.
        line: 1-based line of the header.
        bases: letters as in the file (IUPAC nucleotides, either case), line ends removed.
    """

    name: str
    line: int
    bases: bytes


class Piece(NamedTuple):
    """Some lines of one sequence of a FASTA file.

    Attributes:
        name, line, bases: as of `Record`, but the bases are those of these lines.
        last: whether the sequence ends here.
    """

    name: str
    line: int
    bases: bytes
    last: bool


def read_fasta(
    source: str | os.PathLike | TextFile,
    *,
    noun: str = "sequence",
    allow_empty: bool = False,
    unique: bool = False,
) -> Iterator[Record]:
    """Reads the records of a FASTA file (plain, gzip or bgzip; `-` is standard input) in order.

    The first bad letter, empty record or repeated name ends the iteration; the rest of the file is then only read to
    count what else is wrong, so that one error names the first offenders and their number (not on standard input).

    Args:
        source: a path, or an open file.
        noun: what a record is called in messages: `sequence` in a set of examples, `contig` in a genome.
        allow_empty: let records without bases through, as genomes may have them.
        unique: refuse a name that comes twice.

    Raises:
        InputError: no record, text before the first header, letters that are no nucleotides, T and U in one file,
            lone or mixed carriage returns, empty or repeated records, damaged compression.
    """
    parts: list[bytes] = []
    for piece in read_pieces(source, noun=noun, allow_empty=allow_empty, unique=unique):
        if piece.last and not parts:
            yield Record(piece.name, piece.line, piece.bases)
            continue
        parts.append(piece.bases)
        if piece.last:
            yield Record(piece.name, piece.line, b"".join(parts))
            parts = []


def read_pieces(
    source: str | os.PathLike | TextFile,
    *,
    noun: str = "sequence",
    allow_empty: bool = False,
    unique: bool = False,
) -> Iterator[Piece]:
    """Reads the records of a FASTA file in pieces of 16,384 lines, so that memory does not grow with their length.

    Arguments and errors are those of `read_fasta`. What is wrong with a record may show at its end only: what its pieces
    were made into must be thrown away then.
    """
    if not isinstance(source, TextFile):
        with TextFile(source) as file:
            yield from read_pieces(file, noun=noun, allow_empty=allow_empty, unique=unique)
        return
    check = _Check(source.name, noun, allow_empty, unique)
    stream = source.name == "standard input"
    for name, line, lines, last in _raw_pieces(source):
        bases = b"".join(lines)
        fine = check.takes(line, lines, bases)
        fault = check.fault(name, line) if last else None
        if fault is not None:
            check.faults.add(f"line {line}", *fault)
            if stream:
                check.faults.refuse()
        elif fine and not check.faults.count:
            yield Piece(name, line, bases, last)
    check.faults.refuse()


class _Check:
    """What a record must be, given those before it."""

    def __init__(self, path: str, noun: str, allow_empty: bool, unique: bool):
        self.path, self.noun, self.allow_empty = path, noun, allow_empty
        self.lines_of: dict[str, int] | None = {} if unique else None
        self.has_t = self.u_line = 0
        self.faults = Faults()
        self._begin()

    def _begin(self) -> None:
        self._lines = self._bases = 0  # of the record in hand
        self._letter: tuple[int, bytes] | None = None  # line and rest of the first line with a bad letter
        self._t = self._u = False

    def takes(self, line: int, lines: list[bytes], bases: bytes) -> bool:
        """Looks at the next piece of a record; whether all of it so far are nucleotides."""
        if self._letter is None and bases.translate(None, NUCLEOTIDES):
            self._letter = next(
                (i, rest)
                for i, row in enumerate(lines, line + 1 + self._lines)
                if (rest := row.translate(None, NUCLEOTIDES))
            )
        self._t = self._t or bool(self.has_t) or b"T" in bases or b"t" in bases
        self._u = self._u or bool(self.u_line) or b"U" in bases or b"u" in bases
        self._lines += len(lines)
        self._bases += len(bases)
        return self._letter is None

    def fault(self, name: str, line: int) -> tuple[str, str] | None:
        """Ends a record; returns sentence and remedy of what is wrong with it, or None."""
        bases, found, has_t, has_u = self._bases, self._letter, self._t, self._u
        self._begin()
        if not bases and not self.allow_empty:
            return (
                f"{self.noun} '{show(name)}' in {self.path}, line {line} has no bases: expected some below the header",
                "Remove the record or fill it in",
            )
        if found is not None:
            number, letter = found
            shown = show(letter.decode("latin-1")[0])
            remedy = "Remove the blanks" if shown in (" ", "\\t") else "Is this a protein or alignment file?"
            return (
                f"letter '{shown}' in {self.path}, {self.noun} '{show(name)}', line {number}: "
                "expected IUPAC nucleotides",
                remedy,
            )
        if has_t and not self.has_t:
            self.has_t = line
        if has_u and not self.u_line:
            self.u_line = line
        if self.has_t and self.u_line:
            said = (
                f"letters T and U in {self.path} (records of lines {self.has_t} and {self.u_line}): "
                "expected DNA or RNA, found both"
            )
            self.u_line = 0
            return said, "Write T throughout"
        if self.lines_of is not None:
            if name in self.lines_of:
                return (
                    f"{self.noun} '{show(name)}' twice in {self.path}, lines {self.lines_of[name]} and {line}: "
                    "expected unique names",
                    "Remove or rename one",
                )
            self.lines_of[name] = line
        return None


def _raw_pieces(file: TextFile) -> Iterator[tuple[str, int, list[bytes], bool]]:
    """Cuts a file into (name, header line, some sequence lines, whether the record ends); blank lines are passed over."""
    name, start, lines = None, 0, []
    append = lines.append
    windows = None  # whether lines end in CR LF, told by the first line
    number = 0
    for number, raw in enumerate(file, 1):
        if raw.endswith(b"\r\n"):
            line = raw[:-2]
            crlf = True
        else:
            line = raw.removesuffix(b"\n")
            crlf = False
        if b"\r" in line:
            raise InputError(
                f"carriage returns without line feeds in {file.name}, line {number}: expected lines that end in LF "
                f"or CRLF, found '{show(line.decode('latin-1'))}'. Convert with: tr '\\r' '\\n'"
            )
        if crlf is not windows:
            if windows is None:
                windows = crlf
            elif crlf or raw.endswith(b"\n"):  # a last line without any end is of both kinds
                ends = ("LF", "CRLF")
                raise InputError(
                    f"mixed line ends in {file.name}, line {number}: expected {ends[not crlf]} as before, "
                    f"found {ends[crlf]}. Convert with: tr -d '\\r'"
                )
        if line[:1] == b">":
            if name is not None:
                yield name, start, lines, True
            words = line[1:].split(None, 1)
            if not words:
                raise InputError(
                    f"header without a name in {file.name}, line {number}: expected '>name', found '>'. Name the record"
                )
            name, start, lines = utf8(words[0], f"{file.name}, line {number}"), number, []
            append = lines.append
        elif line:
            if name is None:
                found = line.decode("utf-8", "backslashreplace")[:40]  # a byte-order mark shows in `repr` only
                raise InputError(
                    f"text before the first header in {file.name}, line {number}: expected '>', found {found!r}"
                )
            append(line)
            if len(lines) == _LINES:
                yield name, start, lines, False
                lines = []
                append = lines.append
    if name is None:
        found = f"found {number} blank lines" if number else "file is empty"
        raise InputError(f"no sequence in {file.name}: expected a line starting with '>', {found}")
    yield name, start, lines, True
