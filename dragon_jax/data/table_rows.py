"""One pass over a table of sequences or of labels: from cells to the columns of a `Dataset`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float32

from dragon_jax.data.cells import NumberFaults, integers, numbers
from dragon_jax.data.dataset import Dataset, Regions, Task
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.data.lengths import Fitter, moved, text_array
from dragon_jax.data.table_source import KEPT, REST, TableSource
from dragon_jax.data.tables import Block, Table
from dragon_jax.errors import InputError, listing, nearest, show

# Names of coordinates, as in BED files, case and a leading # left aside; never labels under `*`.
_PLACES = frozenset(
    ("chr", "chrom", "chromosome", "contig", "start", "end", "stop", "chromstart", "chromend", "strand")
)


def label_columns(source: TableSource, table: Table, taken: set[str]) -> list[tuple[int, Task]]:
    """Returns index and task of each label column; `taken` are the columns that the config names for something else.

    Raises:
        InputError: a column is absent, or `*` would learn what is called like a coordinate while no region is named.
    """
    if source.label_columns == (REST,):
        names = [name for name in table.names if name not in taken]
        places = [name for name in names if name.lstrip("#").lower() in _PLACES]
        if places and not source.chrom_column:
            raise InputError(
                f"{table.path}: label_columns=('*',) would learn {listing(map(repr, places))}, named like coordinates: "
                "expected labels only. Set chrom_column, start_column and end_column, or list the labels in "
                "data.source.label_columns"
            )
        names = [name for name in names if name not in places]
        if not names:
            raise InputError(f"{table.path}: expected label columns besides {listing(sorted(taken))}, found none")
    else:
        names = list(source.label_columns)
    columns = [table.column(name, "data.source.label_columns") for name in names]
    tasks = source.task_names or names
    if unknown := [name for name in source.kinds if name not in tasks]:
        raise InputError(
            f"kinds: '{show(unknown[0])}' is no task of {table.path}: expected one of {listing(tasks)}"
            f"{nearest(unknown[0], list(tasks)) or '.'}"
        )
    return [(c, Task(name, source.kinds.get(name, source.task_kind))) for c, name in zip(columns, tasks, strict=True)]


def read_labels(source: TableSource, table: Table, columns: list[tuple[int, Task]]) -> tuple[list[str], np.ndarray]:
    """Returns names (when rows are joined by them) and targets `[N, T]` of a label file."""
    id_column = None if source.id_column is None else table.column(source.id_column, "data.source.id_column")
    faults, blocks, ids = NumberFaults(), [], []
    seen: dict[str, int] = {}
    for block in table.blocks():
        blocks.append(targets(block, columns, faults, table.names))
        if id_column is not None:
            names = block.text(id_column)
            _refuse_repeated(names, block, seen)
            ids += names
    faults.faults.refuse()
    return ids, np.concatenate(blocks)


def _refuse_repeated(names: Iterable[str], block: Block, seen: dict[str, int]) -> None:
    """Raises when a name has been seen before; `seen` holds the line of each."""
    for name, line in zip(names, block.lines.tolist(), strict=True):
        if name in seen:
            raise InputError(
                f"id '{show(name)}' twice in {block.path}, lines {seen[name]} and {line}: expected unique names. "
                "Remove one"
            )
        seen[name] = line


def targets(
    block: Block, columns: list[tuple[int, Task]], faults: NumberFaults, names: list[str]
) -> Float32[np.ndarray, "R T"]:
    """Returns the targets of a block; values that their kind of task does not allow are noted."""
    indices = [c for c, _ in columns]
    values = numbers(block, indices, [names[c] for c in indices], faults)
    kinds = np.array([t.kind for _, t in columns])
    wrong = (kinds == "binary") & ~np.isnan(values) & (values != 0) & (values != 1)
    wrong |= (kinds == "count") & (values < 0)
    for row, column in np.argwhere(wrong).tolist():
        index, task = columns[column]
        cell = block.raw[block.start[row, index] : block.end[row, index]]
        expected = "0 or 1 for a classification task" if task.kind == "binary" else "a count of at least 0"
        faults.add(block, row, names[index], cell, expected)
    return values


class Rows:
    """One pass over a table of sequences."""

    def __init__(self, source: TableSource, table: Table, keep: str | None, spare: set[str], with_labels: bool):
        self.source, self.table = source, table
        self.fitter = Fitter(table.path, source.length, source.fit)
        self.faults = NumberFaults()
        self.notes: dict[str, int] = {}
        self.seen: dict[str, int] = {}

        def column(name: str, field: str) -> int:
            return table.column(name, f"data.source.{field}")

        self.sequence = column(source.sequence_column, "sequence_column")
        self.id = None if source.id_column is None else column(source.id_column, "id_column")
        self.coordinates = None
        if source.chrom_column and source.start_column and source.end_column:
            self.coordinates = (
                column(source.chrom_column, "chrom_column"),
                column(source.start_column, "start_column"),
                column(source.end_column, "end_column"),
            )
        self.inputs = {
            k: [column(name, f"input_columns.{k}") for name in names] for k, names in source.input_columns.items()
        }
        self.weight = None if source.weight_column is None else column(source.weight_column, "weight_column")
        self.keep = None if keep is None else table.column(keep, "data.split.column")
        self.labels = label_columns(source, table, spare) if with_labels else []
        self.join = bool(source.label_paths) and self.id is not None

    def read(self) -> Dataset:
        """Returns all rows; the tasks are a placeholder when labels are in another file."""
        parts = [self._block(block) for block in self.table.blocks()]
        self.faults.faults.refuse()
        self.fitter.refuse()
        join = {key: np.concatenate([p[key] for p in parts]) for key in parts[0] if key not in ("ids", "chrom", KEPT)}
        text = {
            key: text_array([v for p in parts for v in p[key]]) for key in ("ids", "chrom", KEPT) if key in parts[0]
        }
        regions = Regions(text["chrom"], join["start"], join["end"]) if self.coordinates else None
        inputs = {k: join[f"input {k}"] for k in self.inputs} | ({KEPT: text[KEPT]} if self.keep is not None else {})
        return Dataset(
            codes=join["codes"],
            targets=join["targets"],
            tasks=tuple(t for _, t in self.labels) or (Task("labels follow", "real"),),
            ids=text["ids"],
            regions=regions,
            inputs=inputs,
            weights=join["weights"] if self.weight is not None else None,
            notes=self.notes,
            specs={k: InputSpec("vector", names) for k, names in self.source.input_columns.items()},
        )

    def _block(self, block: Block) -> dict[str, Any]:
        column = show(self.table.names[self.sequence])
        fitted = self.fitter.block(
            block.cells(self.sequence),
            lambda i: (f"{block.path}, {block.place(i)}, column '{column}'", f"line {block.lines[i]}"),
        )
        for note, count in fitted.notes.items():
            self.notes[note] = self.notes.get(note, 0) + count
        result: dict[str, Any] = {"codes": fitted.codes}
        if self.coordinates is not None:
            regions = self._regions(block, fitted.lengths)
            assert self.fitter.length is not None
            regions = moved(regions, fitted, self.fitter.length)
            result |= {"chrom": regions.chrom.tolist(), "start": regions.start, "end": regions.end}
        if self.id is not None:
            result["ids"] = block.text(self.id)
            if self.join:
                _refuse_repeated(result["ids"], block, self.seen)
        elif self.coordinates:
            cells = zip(*(block.text(c) for c in self.coordinates), strict=True)
            result["ids"] = [f"{chrom}:{start}-{end}" for chrom, start, end in cells]
        else:
            result["ids"] = [f"row_{i}" for i in block.rows.tolist()]
        if self.keep is not None:
            result[KEPT] = block.text(self.keep)
        for key, columns in self.inputs.items():
            result[f"input {key}"] = numbers(
                block, columns, [self.table.names[c] for c in columns], self.faults, missing=False
            )
        if self.weight is not None:
            result["weights"] = self._weights(block, self.weight)
        result["targets"] = (
            targets(block, self.labels, self.faults, self.table.names)
            if self.labels
            else np.zeros((len(block.lines), 1), np.float32)
        )
        return result

    def _regions(self, block: Block, lengths: np.ndarray) -> Regions:
        assert self.coordinates is not None
        chrom, start, end = self.coordinates
        names = self.table.names
        starts, whole_starts = integers(block, start, names[start], self.faults)
        ends, whole_ends = integers(block, end, names[end], self.faults)
        for row in np.flatnonzero(whole_starts & whole_ends & ((starts < 0) | (ends <= starts))).tolist():
            if starts[row] < 0:
                self.faults.add(block, row, names[start], str(starts[row]).encode(), "a start of at least 0")
            else:
                self.faults.add(block, row, names[end], f"{starts[row]} >= {ends[row]}".encode(), "start < end")
        if other := int((ends - starts != lengths).sum()):
            key = "regions of another length than their sequence"
            self.notes[key] = self.notes.get(key, 0) + other
        return Regions(np.array(block.text(chrom), dtype=object), starts, ends)

    def _weights(self, block: Block, column: int) -> np.ndarray:
        name = self.table.names[column]
        values = numbers(block, [column], [name], self.faults, missing=False)[:, 0]
        for row in np.flatnonzero(values < 0).tolist():
            self.faults.add(block, row, name, f"{values[row]:g}".encode(), "a weight of at least 0")
        return values
