"""Sequences to be scored, block by block, so that a file may be larger than the memory.

FASTA, tables and plain lists of sequences, plain or gzip, from a file or from standard input.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from dragon_jax.data.fasta_source import named
from dragon_jax.data.lengths import Fit, Fitter
from dragon_jax.data.tables import Table
from dragon_jax.errors import InputError, show
from dragon_jax.files import TextFile
from dragon_jax.genome.fasta import read_fasta

Format = Literal["fasta", "tsv", "csv", "lines"]
Codes = np.ndarray | list[np.ndarray]
Chunk = tuple[list[str], Codes]
Laid = Callable[[Sequence[bytes], Callable[[int], tuple[str, str]]], Codes]  # letters, and how rows are named, to codes
_SEQUENCE_NAMES = ("sequence", "seq")
_ID_NAMES = ("id", "name")
_BOM = b"\xef\xbb\xbf"


def stream_sequences(
    path: str | os.PathLike,
    *,
    format: Format | None = None,
    sequence_column: str | None = None,
    id_column: str | None = None,
    length: int | None = None,
    fit: Fit = "refuse",
    chunk: int = 4096,
    ragged: bool = False,
    shortest: int = 1,
    remedy: str = "",
) -> Iterator[Chunk]:
    """Yields (ids, codes uint8 `[n, L]`) with up to `chunk` sequences each, in the order of the file.

    Args:
        path: a file, plain or gzip; `-` is standard input.
        format: `fasta`, `tsv`, `csv`, or `lines` (one sequence a line); None = what begins with `>` is FASTA, and
            else tabs or commas in the first line tell, whatever the file is called.
        sequence_column: column of a table; None = `sequence` or `seq`. A number (`0`) means a table without header.
        id_column: column of the names; None = `id` or `name` where there is one, and else rows are numbered from 1.
        length: bases that every sequence must have; None = as many as the first.
        fit: what happens to sequences of another length, see `lengths.Fitter`.
        chunk: sequences at a time.
        ragged: sequences may have any lengths; codes come as a list of uint8 `[L]`, and `length` and `fit` do not count.
        shortest: bases that a sequence must have at least, where they are ragged.
        remedy: what to do about another length, for messages.

    Raises:
        InputError: when a record is wrong, with its name or row and its line; nothing of its chunk is yielded.
    """
    if chunk < 1:
        raise ValueError(f"chunk: expected at least 1, found {chunk}")
    with TextFile(path) as file:
        fitter = Fitter(file.name, length, fit, remedy)
        laid = (lambda b, p: fitter.ragged(b, p, shortest)) if ragged else lambda b, p: fitter.block(b, p).codes
        kind = format or _sniff(file)
        if kind == "fasta":
            chunks = _from_fasta(file, laid, chunk)
        else:
            chunks = _from_table(file, kind, laid, chunk, sequence_column, id_column)
        for ids, codes in chunks:
            fitter.refuse()
            yield ids, codes


def _sniff(file: TextFile) -> Format:
    first = next((line for line in file.first_lines(100) if line.strip()), b"").removeprefix(_BOM)
    if first.startswith(b">"):
        return "fasta"
    if not first:
        raise InputError(f"no sequence in {file.name}: expected FASTA, a table or one sequence a line, file is empty")
    if b"\t" in first:
        return "tsv"
    if b"," in first:
        return "csv"
    return "lines"


def _from_fasta(file: TextFile, laid: Laid, chunk: int) -> Iterator[Chunk]:
    records = read_fasta(file)
    while block := list(itertools.islice(records, chunk)):
        bases = [r.bases for r in block]
        place = lambda i, block=block: named(block[i], file.name)  # noqa: E731
        yield [r.name for r in block], laid(bases, place)


def _from_table(
    file: TextFile,
    kind: Format,
    laid: Laid,
    chunk: int,
    sequence_column: str | None,
    id_column: str | None,
) -> Iterator[Chunk]:
    delimiter = {"tsv": "\t", "csv": ",", "lines": "\t"}[kind]
    header = _has_header(file, kind, delimiter, sequence_column)
    table = Table(file, delimiter, header)
    if sequence_column is not None:
        sequence = table.column(sequence_column, "sequence_column")
    elif len(table.names) == 1:
        sequence = 0
    else:
        known = next((name for name in _SEQUENCE_NAMES if name in table.names), _SEQUENCE_NAMES[0])
        sequence = table.column(known, "sequence_column (0 for the first of a table without header)")
    if id_column is None and header:
        id_column = next((name for name in _ID_NAMES if name in table.names), None)
    names = None if id_column is None else table.column(id_column, "id_column")
    column = show(table.names[sequence])
    for block in table.blocks(chunk):

        def place(i: int, block=block) -> tuple[str, str]:
            return f"{block.path}, {block.place(i)}, column '{column}'", f"line {block.lines[i]}"

        bases = block.cells(sequence)
        codes = laid(bases, place)
        yield (list(map(str, block.rows.tolist())) if names is None else block.text(names)), codes


def _has_header(file: TextFile, kind: Format, delimiter: str, sequence_column: str | None) -> bool:
    """A table has a header unless its columns are called by number; a list of sequences, when it is a known word."""
    first = (file.first_lines(1) or [b""])[0].removeprefix(_BOM).strip(b"\r\n")
    cells = [cell.strip(b'"').decode("utf-8", "replace") for cell in first.split(delimiter.encode())]
    if sequence_column is not None:
        return sequence_column in cells or not sequence_column.isdecimal()
    return (kind != "lines" and len(cells) > 1) or cells[0] in _SEQUENCE_NAMES
