"""Recipes that take rows out of a text file, or put what it says in another order. None changes a value.

Each takes the words behind its name in `derived.tsv` and the paths of its sources, and returns the lines of the new file.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

Words = Sequence[str]
Sources = Sequence[Path]


def lines_of(path: Path) -> Iterator[bytes]:
    """Yields the lines of a plain or gzip file, each with its end."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        yield from file


def rows_without(words: Words, sources: Sources) -> Iterator[bytes]:
    """All lines but those whose first column is one of the words, as chromosomes are left out of a BED file."""
    left_out = {word.encode() for word in words}
    for line in lines_of(sources[0]):
        if (line.split(None, 1) or [b""])[0] not in left_out:
            yield line


def first_lines(words: Words, sources: Sources) -> Iterator[bytes]:
    """The first lines, as many as the word says."""
    count = 0
    for line in itertools.islice(lines_of(sources[0]), int(words[0])):
        count += 1
        yield line
    if count < int(words[0]):
        raise ValueError(f"expected at least {int(words[0]):,} lines, found {count:,}")


def elements(words: Words, sources: Sources) -> Iterator[bytes]:
    """Rows on GRCh38 of the experiments that the words name, below the header of the table."""
    lines = lines_of(sources[0])
    header = next(lines, b"")
    (element, release), wanted = _columns(header, "Element", "Release"), set(words)
    yield header
    for line in lines:
        row = line.decode().rstrip("\r\n").split("\t")
        if row[release] == "GRCh38" and row[element] in wanted:
            yield line


def reference_sequences(words: Words, sources: Sources) -> Iterator[bytes]:
    """The reference of each element, read off the column Ref; N where no variant of a position was measured."""
    lines = elements(words, sources)
    chrom, pos, ref, element = _columns(next(lines), "Chrom", "Pos", "Ref", "Element")
    bases: dict[str, dict[int, str]] = {}
    chroms: dict[str, str] = {}
    for line in lines:
        row = line.decode().rstrip("\r\n").split("\t")
        if row[pos].isdigit():  # some rows of MSMB have no place
            bases.setdefault(row[element], {})[int(row[pos])] = row[ref]
            chroms[row[element]] = row[chrom]
    for name in sorted(bases):
        found = bases[name]
        first, last = min(found), max(found)
        yield f">{name} chr{chroms[name]}:{first}-{last} (1-based, inclusive, GRCh38)\n".encode()
        yield ("".join(found.get(i, "N") for i in range(first, last + 1)) + "\n").encode()


def genes_not_0_mod_5(words: Words, sources: Sources) -> Iterator[bytes]:
    """Rows of genes whose MD5, as a number, is no multiple of 5: about 80 % of the genes, the same everywhere."""
    lines = lines_of(sources[0])
    header = next(lines, b"")
    (gene,) = _columns(header, "gene")
    yield header
    for line in lines:
        name = line.rstrip(b"\r\n").split(b"\t")[gene]
        if int(hashlib.md5(name, usedforsecurity=False).hexdigest(), 16) % 5:
            yield line


_SHOWN = ("ID", "Protein", "Type", "Species", "Family", "Class", "Experiment", "Experiment Details", "Model", "Labels")


def models(words: Words, sources: Sources) -> Iterator[bytes]:
    """Rows of the index of DeepBind models for the IDs named, with the last part of their path as SourceName."""
    lines = (line for line in lines_of(sources[0]) if not line.startswith(b"#"))
    header, wanted = next(lines, b""), set(words)
    *shown, path = _columns(header, *_SHOWN, "Path")
    yield ("\t".join((*_SHOWN, "SourceName")) + "\n").encode()
    for line in lines:
        row = line.decode().rstrip("\r\n").split("\t")
        if row[shown[0]] in wanted:
            yield ("\t".join([*(row[i] for i in shown), row[path].rsplit("/", 1)[-1]]) + "\n").encode()


def printed_scores(words: Words, sources: Sources) -> Iterator[bytes]:
    """The table of example scores that a README prints, the first or a later one: names of four models, four rows."""
    rows = [line.decode().split() for line in lines_of(sources[0])]
    heads = [i for i, row in enumerate(rows) if len(row) == 4 and all(word.startswith("D00") for word in row)]
    head = _item(heads, int(words[0]) - 1, "tables of scores")
    return _joined(rows[head : head + 5])


def _item(found: Sequence[int], index: int, what: str) -> int:
    if index >= len(found):
        raise ValueError(f"expected at least {index + 1} {what}, found {len(found)}")
    return found[index]


def _joined(rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    return (("\t".join(row) + "\n").encode() for row in rows)


def _columns(header: bytes, *names: str) -> list[int]:
    found = header.decode().rstrip("\r\n").split("\t")
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"expected a column '{missing[0]}', found {', '.join(found)[:100]}")
    return [found.index(name) for name in names]
