"""Intervals of a genome as columns: where they lie, and what their file said about them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from dragon_jax.errors import InputError, show
from dragon_jax.files import atomic_write

OPTIONAL = ("strand", "name", "score", "signal", "summit")
_NUMBERS = {"start": np.int64, "end": np.int64, "summit": np.int64, "score": np.float64, "signal": np.float64}
_WIDEST = 64  # letters; longer texts become objects, or one long name would make every row as wide
_CHUNK = 65536
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_CHROM = re.compile(r"|#.*|track|browser|.*[\s\"'\x00-\x1f\x7f].*", re.DOTALL)  # readers would skip or refuse these


@dataclasses.dataclass(frozen=True)
class Intervals:
    """Rows in file order, 0-based and half-open, on the forward strand. Rows stay together: every change goes through `take`.

    Attributes:
        chrom: text `[N]`, fixed width or objects.
        start, end: int64 `[N]`, bases; equal for a point.
        strand: text `[N]`, `+`, `-` or `.`.
        name: text `[N]`.
        score: float64 `[N]`, column 5 of BED, NaN where that is no number.
        signal: float64 `[N]`, signalValue of narrowPeak and broadPeak.
        summit: int64 `[N]`, position on the chromosome (start + column 10 of narrowPeak; midpoint where not called).
        notes: what was put in order while reading (counts by name).
    """

    chrom: np.ndarray
    start: np.ndarray
    end: np.ndarray
    strand: np.ndarray | None = None
    name: np.ndarray | None = None
    score: np.ndarray | None = None
    signal: np.ndarray | None = None
    summit: np.ndarray | None = None
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name, column in self.columns().items():
            if column.shape != self.start.shape or column.ndim != 1:
                raise InputError(
                    f"{name}: expected one value for each of {len(self.start):,} starts, found {column.shape}"
                )
            if column.dtype != _NUMBERS.get(name, column.dtype):
                raise InputError(f"{name}: expected {np.dtype(_NUMBERS[name])}, found {column.dtype}")

    def columns(self) -> dict[str, np.ndarray]:
        """Returns the columns that are there, by name."""
        names = ("chrom", "start", "end", *OPTIONAL)
        return {k: column for k in names if (column := getattr(self, k)) is not None}

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: np.ndarray) -> Intervals:
        """Returns the rows with these indices or where this mask is true, all their columns included."""
        return Intervals(**{k: column[rows] for k, column in self.columns().items()}, notes=self.notes)

    def midpoints(self) -> np.ndarray:
        """Returns int64 `[N]`, `start + (end - start)//2`."""
        return self.start + (self.end - self.start) // 2

    def centres(self) -> np.ndarray:
        """Returns int64 `[N]`, the summits where the file has them, otherwise the midpoints."""
        return self.midpoints() if self.summit is None else self.summit


def concatenate(parts: Sequence[Intervals]) -> Intervals:
    """Returns the rows of all parts, in order; of the optional columns, those that every part has. Notes are added up."""
    notes: dict[str, int] = {}
    for part in parts:
        for key, count in part.notes.items():
            notes[key] = notes.get(key, 0) + count
    if not parts:
        return Intervals(text_array([]), np.empty(0, np.int64), np.empty(0, np.int64))
    columns = [part.columns() for part in parts]
    shared = [k for k in columns[0] if all(k in other for other in columns)]
    return Intervals(**{k: np.concatenate([c[k] for c in columns]) for k in shared}, notes=notes)


def text_array(values: Sequence[str]) -> np.ndarray:
    """Returns text `[N]`: of fixed width, or objects where a few very long texts would make every row as wide."""
    widest = max(map(len, values), default=1)
    if widest > _WIDEST and widest * len(values) > 2 * sum(map(len, values)):
        return np.array(values, dtype=object)
    return np.array(values, dtype=f"<U{max(widest, 1)}")


def write_bed(path: str | os.PathLike | io.TextIOBase, intervals: Intervals) -> None:
    """Writes BED with 3 to 6 columns, as far as name, score and strand are there (`.`, 0 and `.` stand in between).

    Args:
        path: a path (written to a temporary name and renamed), or an open text file.
        intervals: N of them; a score that is NaN becomes `.`.

    Raises:
        InputError: a name would break its line (tab, line end), or no reader would take the chromosome (empty, blanks,
            quotes, `#`); nothing is written then.
    """
    strings = {k: v.astype(str).tolist() for k, v in intervals.columns().items() if k in ("chrom", "name", "strand")}
    for column, values in strings.items():
        for row, value in enumerate(values):
            if _NO_CHROM.fullmatch(value) if column == "chrom" else _CONTROL.search(value):
                raise InputError(
                    f"{column} of interval {row + 1}: expected text that fits in a field of BED, found '{show(value)}'. "
                    "Rename it"
                )
    last = max([3] + [i for i, k in ((4, "name"), (5, "score"), (6, "strand")) if getattr(intervals, k) is not None])
    opened: Any = contextlib.nullcontext(path) if hasattr(path, "write") else atomic_write(cast(Any, path))
    with opened as file:
        for at in range(0, len(intervals), _CHUNK):
            part = slice(at, at + _CHUNK)
            rows = len(intervals.start[part])
            fields = [
                strings["chrom"][part],
                map(str, intervals.start[part].tolist()),
                map(str, intervals.end[part].tolist()),
            ]
            fields.append([v or "." for v in strings["name"][part]] if "name" in strings else ["."] * rows)
            fields.append(["0"] * rows if intervals.score is None else map(_number, intervals.score[part].tolist()))
            fields.append([v or "." for v in strings["strand"][part]] if "strand" in strings else ["."] * rows)
            file.writelines(map("{}\n".format, map("\t".join, zip(*fields[:last], strict=True))))


def _number(value: float) -> str:
    return "." if value != value else repr(value).removesuffix(".0")
