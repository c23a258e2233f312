"""BED, narrowPeak and broadPeak: intervals read in columns, and every line that cannot be right named.

BED: https://genome.ucsc.edu/FAQ/FAQformat.html. Of its columns, blocks and colours are not interpreted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from dragon_jax.errors import InputError, listing, show
from dragon_jax.files import TextFile
from dragon_jax.genome import aliases
from dragon_jax.genome.columns import Block, Lines, numbers
from dragon_jax.genome.intervals import Intervals, text_array

Format = Literal["auto", "bed", "narrowPeak", "broadPeak"]
_COLUMNS = {"bed": (3, 12), "narrowPeak": (10, 10), "broadPeak": (9, 9)}
_STRAND = np.full(256, "", dtype="<U1")
_STRAND[[43, 45, 46]] = list("+-.")
_NOT_CALLED = -1


def read_bed(
    path: str | os.PathLike,
    *,
    format: Format = "auto",
    contigs: Mapping[str, int] | None = None,
    rename: str | Mapping[str, str] | None = None,
    points: bool = False,
    missing: Literal["refuse", "skip"] = "refuse",
    noun: str = "interval",
    genome: str = "the genome",
    remedy: str = "Set data.source.missing_contigs=skip to leave them out",
    strange: str = "",
) -> Intervals:
    """Reads a file of intervals, plain or gzip; `-` is standard input.

    Args:
        path: BED with 3 to 12 columns, narrowPeak (10) or broadPeak (9); separated by tabs, or else by blanks.
        format: `auto` goes by the suffix: `.narrowPeak`, `.broadPeak` (also before `.gz`), otherwise BED.
        contigs: `{name: length}` of the genome; without it no range is checked.
        rename: `{name in the file: name in the genome}`, or with `contigs` any `how` of `aliases.match`.
        points: let `start == end` through.
        missing: what to do with intervals on contigs that the genome does not have.
        noun: what a row is called in messages.
        genome: name of the genome's file, for messages. remedy: what to do about contigs that it does not have.
        strange: what to do besides renaming where it has none of them and `rename` cannot be set.

    Returns:
        Intervals in file order, with strand, name and score as far as the columns reach (score NaN where it is no
        number), `signal` of narrowPeak and broadPeak, `summit` of narrowPeak. `notes` counts what was put in order.

    Raises:
        InputError: no row, too few or a changing number of columns, coordinates that are no integers, negative, empty or
            beyond their contig, another strand than `+`, `-`, `.`, a quoted name, a summit outside its peak, contigs that
            the genome does not have; names the first lines and counts them all.
    """
    if isinstance(rename, str) and contigs is None:
        raise ValueError(f"rename={rename!r} needs contigs: names cannot be looked up in an unknown genome")
    with TextFile(path) as file:
        return _Reader(file, _kind(path, format), points, noun, genome, remedy).read(contigs, rename, missing, strange)


def _kind(path: str | os.PathLike, format: Format) -> str:
    if format != "auto":
        return format
    stem = os.fspath(path).lower()
    for ending in (".gz", ".bgz"):
        stem = stem.removesuffix(ending)
    return next((k for k in ("narrowPeak", "broadPeak") if stem.endswith(f".{k.lower()}")), "bed")


class _Reader:
    """One pass over a file, then what only the whole file can say."""

    def __init__(self, file: TextFile, kind: str, points: bool, noun: str, genome: str, absent: str):
        least, most = _COLUMNS[kind]
        remedy = "For plain BED name the file .bed (windows are then centred on midpoints)" if kind != "bed" else ""
        self.lines = Lines(file, least, most, remedy)
        self.absent = absent
        self.path, self.kind, self.points, self.noun, self.genome = file.name, kind, points, noun, genome
        self.notes = self.lines.notes

    def read(
        self, contigs: Mapping[str, int] | None, rename: str | Mapping[str, str] | None, missing: str, strange: str
    ) -> Intervals:
        parts = [self._block(block) for block in self.lines.blocks(self.noun)]
        join = {k: np.concatenate([part.pop(k) for part in parts]) for k in list(parts[0])}
        codes, lines = join.pop("codes"), join.pop("lines")
        if self.kind == "bed" and self.lines.columns == 10:
            self.notes["rows of 10 columns read as BED (format=narrowPeak would use their summits)"] = len(codes)
        names = self.lines.names
        if contigs is not None:
            how, where = "exact" if rename is None else rename, (self.path, self.genome)
            found = aliases.match(names, contigs, how, where=where, remedy=strange)
            codes, join = self._on_contigs(codes, lines, join, [found.get(name) for name in names], contigs, missing)
            names = [found.get(name, "") for name in names]
        elif isinstance(rename, Mapping):
            names = [rename.get(name, name) for name in names]
        return Intervals(chrom=text_array(names)[codes], **join, notes=dict(self.notes))

    def _on_contigs(
        self,
        codes: np.ndarray,
        lines: np.ndarray,
        columns: dict[str, np.ndarray],
        found: list[str | None],
        contigs: Mapping[str, int],
        missing: str,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Leaves out or refuses rows on unknown contigs, and refuses what lies beyond its contig."""
        known = np.array([name is not None for name in found])[codes]
        if absent := int((~known).sum()):
            unknown = [self.lines.names[i] for i, name in enumerate(found) if name is None]
            if missing == "refuse":
                verb = "lies" if absent == 1 else "lie"
                raise InputError(
                    f"{absent:,} of {len(codes):,} {self.noun}s in {self.path} {verb} on contigs absent from {self.genome} "
                    f"({listing(unknown)}). {self.absent}"
                )
            self.notes[f"{self.noun}s on contigs absent from {self.genome} left out"] = absent
            codes, lines, columns = codes[known], lines[known], {k: v[known] for k, v in columns.items()}
        length = np.array([0 if name is None else contigs[name] for name in found], np.int64)[codes]
        start, end = columns["start"], columns["end"]
        for row in np.flatnonzero((end > length) | (start >= length)).tolist():
            name = found[codes[row]]
            which = f"end {end[row]}" if end[row] > length[row] else f"start {start[row]}"
            place = f"({length[row]:,} bases in {self.genome})"
            self.lines.fault(int(lines[row]), f"{which} lies beyond {show(name)} {place}", "Wrong assembly?")
        self.lines.refuse()
        return codes, columns

    def _block(self, block: Block) -> dict[str, np.ndarray]:
        lines = self.lines
        result: dict[str, Any] = {"codes": lines.coded(block), "lines": block.lines}
        start, end = lines.integers(block, 1, "start"), lines.integers(block, 2, "end")
        result |= {"start": start, "end": end}
        self._check_range(block, start, end)
        if block.start.shape[1] > 3:
            result["name"] = text_array([cell.decode() for cell in block.cells(3)])
        if block.start.shape[1] > 4:
            result["score"], good = numbers(block, 4)
            if other := int((~good).sum()):
                self.notes["scores that are no number"] += other
        if block.start.shape[1] > 5:
            result["strand"] = self._strand(block)
        if self.kind != "bed":
            result["signal"] = self._signal(block)
        if self.kind == "narrowPeak":
            result["summit"] = self._summit(block, start, end)
        return result

    def _check_range(self, block: Block, start: np.ndarray, end: np.ndarray) -> None:
        empty = start == end
        wrong = (start < 0) | (start > end)
        if self.points:
            if count := int((empty & ~wrong).sum()):
                self.notes["points (start = end)"] += count
        else:
            wrong |= empty
        for row in np.flatnonzero(wrong).tolist():
            line = int(block.lines[row])
            if start[row] < 0:
                self.lines.fault(line, f"start {start[row]} is negative: expected at least 0")
            else:
                remedy = "Set a window length to take it as a point" if empty[row] else "Mend the line"
                self.lines.fault(line, f"expected start < end, found {start[row]} >= {end[row]}", remedy)

    def _strand(self, block: Block) -> np.ndarray:
        width = block.end[:, 5] - block.start[:, 5]
        strand = np.where(width == 1, _STRAND[block.buffer[block.start[:, 5]]], "")
        for row in np.flatnonzero(strand == "").tolist():
            self.lines.fault(int(block.lines[row]), f"expected '+', '-' or '.', found '{block.cell(row, 5)}'")
        return strand

    def _signal(self, block: Block) -> np.ndarray:
        values, good = numbers(block, 6)
        for row in np.flatnonzero(~good).tolist():
            self.lines.fault(
                int(block.lines[row]), f"expected a number as signalValue (column 7), found '{block.cell(row, 6)}'"
            )
        return values

    def _summit(self, block: Block, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        offset = self.lines.integers(block, 9, "summit")
        called = offset != _NOT_CALLED
        length = end - start
        if count := int((~called).sum()):
            self.notes["peaks without summit, midpoint used"] += count
        for row in np.flatnonzero(called & ((offset < 0) | (offset >= np.maximum(length, 1)))).tolist():
            self.lines.fault(
                int(block.lines[row]),
                f"summit {offset[row]} lies outside the peak (length {length[row]}): "
                f"expected 0 to {max(int(length[row]) - 1, 0)}, or -1 for none",
            )
        return np.where(called, start + offset, start + length // 2)
