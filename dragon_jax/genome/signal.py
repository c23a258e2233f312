"""Signal along a genome: bigWig through pybigtools, bedGraph in memory."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dragon_jax.errors import InputError, listing, show
from dragon_jax.files import TextFile, locate
from dragon_jax.genome import aliases
from dragon_jax.genome.bbi import check_whole
from dragon_jax.genome.columns import Lines, numbers
from dragon_jax.genome.quiet import without_traces
from dragon_jax.genome.sizes import check_sizes
from dragon_jax.genome.track import Track, Uncovered, paint


class BigWig(Track):
    """A bigWig file, opened in the process that uses it; pickled by its path. Safe to use from several threads."""

    def __init__(
        self, path: str | os.PathLike, *, rename: Mapping[str, str] | None = None, uncovered: Uncovered = "zero"
    ):
        """Looks for the file.

        Args:
            path: the file.
            rename: `{name in the file: name in the genome}`, see `aliases.match`; other names stay.
            uncovered: what bases are that the file does not cover: `zero` or `nan`.

        Raises:
            InputError: no such file (when it is first used: no whole bigWig file, or two names that become one).
        """
        super().__init__(show(os.fspath(path), 300), uncovered)
        self._place = locate(path).absolute()
        self._rename = dict(rename or {})
        self._forget()

    def _forget(self) -> None:
        self._reader: Any = None
        self._process = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        kept = ("path", "uncovered", "_place", "_rename")
        return {k: getattr(self, k) for k in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    @property
    def chroms(self) -> dict[str, int]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """`{name after renaming: length}`."""
        with self._lock:
            self._open()
            return self._chroms

    def _open(self) -> Any:
        """Returns the reader of this process; a child after a fork opens its own."""
        if self._reader is None or self._process != os.getpid():
            check_whole(self._place, self.path)
            import pybigtools

            self._reader = self._asked(lambda: pybigtools.open(str(self._place)), "the file")
            self._process = os.getpid()
            inside: dict[str, int] = self._asked(lambda: self._reader.chroms(), "its contigs")
            self._file_name = {self._rename.get(name, name): name for name in inside}
            if len(self._file_name) < len(inside):
                self._refuse_shared(list(inside))
            self._chroms = {new: int(inside[name]) for new, name in self._file_name.items()}
            self._summary = self._asked(lambda: self._reader.info()["summary"], "its header")
        return self._reader

    def _refuse_shared(self, names: list[str]) -> None:
        new = [self._rename.get(name, name) for name in names]
        twice = next(name for name in new if new.count(name) > 1)
        both = [name for name, to in zip(names, new, strict=True) if to == twice]
        raise InputError(
            f"contigs {listing(both)} of {self.path} all become '{show(twice)}': expected one name for each. Mend the renaming"
        )

    def _asked(self, ask: Callable[[], Any], what: str) -> Any:
        """Returns what the library answers; its errors, and panics of its compiled part, become a sentence of ours."""
        try:
            with without_traces():
                return ask()
        except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
            raise
        except BaseException as e:
            self._reader = None  # a panic may leave it unusable
            found = "bytes that do not unpack" if type(e).__name__ == "PanicException" else show(e)
            raise InputError(
                f"{self.path} is damaged: expected {what} in a readable bigWig file, found {found}. Copy it again"
            ) from e

    def _fill(self, chrom: str, start: int, end: int, buffer: np.ndarray) -> None:
        with self._lock:
            reader, name = self._open(), self._file_name[chrom]
            what = f"{show(name)}:{start}-{end}"
            if math.isnan(self._summary["sum"]):  # the file holds NaN, which the library cannot tell from no value
                records = self._asked(lambda: list(reader.records(name, start, end)), what)
                table = np.array(records, np.float64).reshape(-1, 3)
                bounds = np.clip(table[:, :2].astype(np.int64), start, end)
                paint(buffer, bounds[:, 0] - start, bounds[:, 1] - start, table[:, 2])
            else:
                fill = 0.0 if self.uncovered == "zero" else None
                self._asked(lambda: reader.values(name, start, end, fillna=fill, arr=buffer), what)

    def check(self, contigs: Mapping[str, int], genome: str = "the genome") -> None:
        check_sizes(self.chroms, contigs, (self.path, genome))
        if not any(map(math.isinf, (self._summary["min"], self._summary["max"]))):
            return
        for name in self.chroms:
            with self._lock:
                reader, inside = self._open(), self._file_name[name]
                for start, _, value in self._asked(lambda: reader.records(inside), show(inside)):  # noqa: B023
                    if math.isinf(value):
                        self._refuse_infinite(name, start)


class BedGraph(Track):
    """A bedGraph file in memory; made by `read_bedgraph`."""

    def __init__(
        self, path: str, uncovered: Uncovered, columns: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, int]]
    ):
        """`columns` hold starts, ends, values (sorted, disjoint) and the last line of each contig."""
        super().__init__(path, uncovered)
        self._columns = columns
        self.chroms = {name: int(end[-1]) for name, (_, end, _, _) in columns.items()}

    def _fill(self, chrom: str, start: int, end: int, buffer: np.ndarray) -> None:
        first, last, values, _ = self._columns[chrom]
        part = slice(np.searchsorted(last, start, side="right"), np.searchsorted(first, end))
        paint(buffer, np.maximum(first[part], start) - start, np.minimum(last[part], end) - start, values[part])

    def check(self, contigs: Mapping[str, int], genome: str = "the genome") -> None:
        for name in aliases.match(self.chroms, contigs, where=(self.path, genome)):
            if self.chroms[name] > contigs[name]:
                raise InputError(
                    f"{self.path}, line {self._columns[name][3]}: end {self.chroms[name]} lies beyond {show(name)} "
                    f"({contigs[name]:,} bases in {genome}). Wrong assembly?"
                )


def read_bedgraph(
    path: str | os.PathLike, *, rename: Mapping[str, str] | None = None, uncovered: Uncovered = "zero"
) -> BedGraph:
    """Reads a bedGraph file (plain or gzip) whole: chromosome, start, end, value, sorted within chromosomes.

    Args:
        path, rename, uncovered: as for `BigWig`.

    Raises:
        InputError: another number of columns, coordinates or values that are no numbers, infinite values, lines that
            overlap or are not sorted; names the first lines and counts them all.
    """
    with TextFile(path) as file:
        lines = Lines(file, 4, 4)
        parts = []
        for block in lines.blocks():
            code, start, end = lines.coded(block), lines.integers(block, 1, "start"), lines.integers(block, 2, "end")
            value, good = numbers(block, 3)
            for row in np.flatnonzero(~good).tolist():
                text, line = block.cell(row, 3), int(block.lines[row])
                if text.lower().lstrip("+-") in ("inf", "infinity"):
                    place = f"{block.cell(row, 0)}:{start[row]}-{end[row]}"
                    lines.fault(line, f"expected a finite value, found {text} ({place})", "Remove or cap it")
                elif text.lower() != "nan":
                    lines.fault(line, f"expected a number as value, found '{text}'")
            for row in np.flatnonzero((start < 0) | (start >= end)).tolist():
                negative = f"start {start[row]} is negative: expected at least 0"
                empty = f"expected start < end, found {start[row]} >= {end[row]}"
                lines.fault(int(block.lines[row]), negative if start[row] < 0 else empty)
            parts.append((code, start, end, value, block.lines))
        code, start, end, value, at = (np.concatenate(column) for column in zip(*parts, strict=True))
        same = code[1:] == code[:-1]
        for row in (np.flatnonzero(same & (start[1:] < end[:-1])) + 1).tolist():
            place = f"{show(lines.names[code[row]])}:{start[row]} < {end[row - 1]}"
            lines.fault(int(at[row]), f"starts before the previous line ends ({place})", "Sort and merge first")
        for row in (np.flatnonzero(~same & (code[1:] < np.maximum.accumulate(code)[:-1])) + 1).tolist():
            said = f"{show(lines.names[code[row]])} comes again after another chromosome: expected each in one stretch"
            lines.fault(int(at[row]), said, "Sort and merge first")
        lines.refuse()
        columns: dict[str, Any] = {}
        bounds = np.searchsorted(code, np.arange(len(lines.names) + 1))
        for name, a, b in zip(lines.names, bounds[:-1], bounds[1:], strict=True):
            new = (rename or {}).get(name, name)
            if new in columns:
                raise InputError(f"two contigs of {file.name} become '{show(new)}': expected one. Mend the renaming")
            columns[new] = (start[a:b], end[a:b], value[a:b], int(at[b - 1]))
        return BedGraph(file.name, uncovered, columns)
