"""Source `table`: sequences and labels in TSV or CSV files, in one file or in two."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from dragon_jax.data.dataset import SPLITS, Dataset, Kind
from dragon_jax.data.lengths import Fit, check_policy
from dragon_jax.data.tables import Table, delimiter_of
from dragon_jax.errors import InputError, listing, show
from dragon_jax.files import TextFile

KEPT = "kept column"  # key in `Dataset.inputs` of a text column that a split by column needs
REST = "*"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableSource:
    """Tables with one row per sequence.

    Attributes:
        paths: file with the sequences, by split (`train`, `valid`, `test`) or under `all`; plain or gzip. It may be FASTA
            when `label_paths` and `id_column` are given: labels are then joined by the names of the records.
        label_paths: second file with the labels, under the same keys; empty when labels stand beside the sequences.
        header: whether the files begin with a line of names. Without one, columns are called `0`, `1`, ...
        delimiter: one character; None = by suffix (`.tsv .txt .tab .seq` tab, `.csv` comma).
        sequence_column: column of the DNA.
        id_column: names of the rows; with `label_paths` both files must have it and are joined by it. None = rows are
            numbered, or named by their region, and a label file must have the same rows in the same order.
        chrom_column, start_column, end_column: genome coordinates (0-based half-open), all three or none.
        label_columns: columns of the label file to learn, in this order; `("*",)` = all that have no other use here
            or as the column of the split; with a region named, nothing called like a coordinate (`chr`, `start`,
            `strand`, ...), and without one a column called so is refused.
        task_names: names of the tasks where the columns' own will not do.
        task_kind: what the labels are: `binary` (0/1), `real` or `count`. Empty, NA, NaN, nan and `.` are not measured.
        kinds: kinds of single tasks, by name, where they differ from `task_kind`.
        weight_column: weight of each row in the loss.
        input_columns: further named inputs of a model, each a vector of some numeric columns, such as
            `{"metadata": ("age", "dose")}`. Every cell must hold a number: what stands for a missing one, the table says.
        length: bases per sequence; None = as in the first row.
        fit: what happens to sequences of another length, see `Fitter`.
    """

    paths: dict[str, str]
    label_paths: dict[str, str] = dataclasses.field(default_factory=dict)
    header: bool = True
    delimiter: str | None = None
    sequence_column: str = "sequence"
    id_column: str | None = None
    chrom_column: str | None = None
    start_column: str | None = None
    end_column: str | None = None
    label_columns: tuple[str, ...] = ()
    task_names: tuple[str, ...] = ()
    task_kind: Kind = "binary"
    kinds: dict[str, Kind] = dataclasses.field(default_factory=dict)
    weight_column: str | None = None
    input_columns: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    length: int | None = None
    fit: Fit = "refuse"

    def __post_init__(self):
        check_policy(self.length, self.fit)
        check_parts("paths", self.paths)
        if self.label_paths and set(self.label_paths) != set(self.paths):
            raise ValueError(
                f"label_paths: expected the keys of paths ({listing(self.paths)}), found {listing(self.label_paths)}"
            )
        if not self.label_columns:
            raise ValueError("label_columns: expected the columns to learn, or ('*',) for all the others, found none")
        if REST in self.label_columns and len(self.label_columns) > 1:
            raise ValueError(f"label_columns: expected names, or '*' alone, found {listing(self.label_columns)}")
        if len(set(self.label_columns)) < len(self.label_columns):
            raise ValueError(f"label_columns: expected each column once, found {listing(self.label_columns)}")
        if self.task_names and (REST in self.label_columns or len(self.task_names) != len(self.label_columns)):
            raise ValueError(f"task_names: expected one name for each of label_columns, found {len(self.task_names)}")
        coordinates = (self.chrom_column, self.start_column, self.end_column)
        if any(coordinates) and not all(coordinates):
            raise ValueError("chrom_column, start_column, end_column: expected all three or none, found some")
        if taken := {KEPT, "codes", "targets", "weight", "rows"} & set(self.input_columns):
            raise ValueError(f"input_columns: {listing(sorted(taken))} is a name of the batch itself. Choose another")

    def load_parts(self, seed: int = 0, keep: str | None = None) -> dict[str, Dataset]:
        """Returns the data set of each file, keyed as in `paths`.

        Args:
            seed: not used, files are what they are.
            keep: a text column of `all` or `train` to carry along in `inputs[KEPT]`, for a split by column.

        Raises:
            InputError: whatever the files hold that they should not.
        """
        parts = {part: self._load(part, keep) for part in self.paths}
        check_tasks(parts)
        if not any(part in SPLITS for part in parts) or len(parts) == 1:
            return parts
        check_lengths(parts, self.paths, "Set length and fit")
        return parts

    def _load(self, part: str, keep: str | None) -> Dataset:
        from dragon_jax.data.table_rows import Rows, label_columns, read_labels

        spare = {name for name in self.own_columns() | {keep} if name}
        keep = keep if part in ("all", "train") else None
        two = part in self.label_paths
        with TextFile(self.paths[part]) as file:
            fasta = any(line.startswith(b">") for line in file.first_lines(1))
            if not fasta:
                table = Table(file, delimiter_of(self.paths[part], self.delimiter), self.header)
                rows = Rows(self, table, keep, spare, with_labels=not two).read()
        if fasta:
            rows = self._from_fasta(self.paths[part], two, keep)
        if not two:
            return rows
        with TextFile(self.label_paths[part]) as file:
            table = Table(file, delimiter_of(self.label_paths[part], self.delimiter), self.header)
            columns = label_columns(self, table, spare)
            ids, values = read_labels(self, table, columns)
        order = self._order(part, rows, ids, len(values))
        return dataclasses.replace(rows, targets=values[order], tasks=tuple(t for _, t in columns))

    def _from_fasta(self, path: str, two: bool, keep: str | None) -> Dataset:
        """Returns the records of a FASTA file, to be joined by name to the rows of a label file."""
        from dragon_jax.data.fasta_source import examples

        if not two or self.id_column is None:
            raise InputError(
                f"{show(path, 300)} is FASTA: expected label_paths with the labels and id_column, the column of the names in "
                "them. For positives and negatives in FASTA files use the source 'fasta'"
            )
        if keep or self.chrom_column or self.weight_column or self.input_columns:
            raise InputError(
                f"{show(path, 300)} is FASTA and has no columns: expected none of chrom_column, weight_column, input_columns and "
                "no split by column. Put the sequences into a table with them"
            )
        rows, _ = examples(path, self.length, self.fit)
        names, counts = np.unique(rows.ids, return_counts=True)
        if (counts > 1).any():
            raise InputError(
                f"{int((counts > 1).sum()):,} names occur twice in {show(path, 300)} (first: '{show(names[counts > 1][0])}'): "
                "expected unique names to join labels by. Rename them"
            )
        return rows

    def _order(self, part: str, rows: Dataset, ids: list[str], n_labels: int) -> np.ndarray:
        """Returns for each sequence the row of its labels."""
        here, there = show(self.paths[part], 300), show(self.label_paths[part], 300)
        if self.id_column is None:
            if len(rows) != n_labels:
                raise InputError(
                    f"{len(rows):,} sequences in {here} but {n_labels:,} rows of labels in {there}: expected one row "
                    "for each, in the same order. Set id_column to join them by name"
                )
            return np.arange(n_labels)
        row_of = {name: i for i, name in enumerate(ids)}
        known = set(rows.ids.tolist())
        lacking = [name for name in rows.ids.tolist() if name not in row_of]
        spare = sum(name not in known for name in ids)
        if lacking or spare:
            first = f" (first: '{show(lacking[0])}')" if lacking else ""
            raise InputError(
                f"{len(lacking):,} of {len(rows):,} sequences in {here} have no row in {there}{first}, "
                f"{spare:,} rows without sequence: expected the same names in both files. Mend them, or check id_column"
            )
        return np.array([row_of[name] for name in rows.ids.tolist()], np.int64)

    def own_columns(self) -> set[str | None]:
        """Columns that have a use of their own and are therefore no labels under `*`."""
        inputs = {name for names in self.input_columns.values() for name in names}
        coordinates = {self.chrom_column, self.start_column, self.end_column}
        return {self.sequence_column, self.id_column, self.weight_column, *coordinates, *inputs}


def check_parts(field: str, paths: dict[str, str]) -> None:
    """Raises ValueError unless the keys of `paths` are `all` alone, or splits with `train` among them."""
    if set(paths) != {"all"} and not ("train" in paths and set(paths) <= set(SPLITS)):
        raise ValueError(
            f"{field}: expected files under 'all', or under 'train' and perhaps 'valid', 'test', "
            f"found {listing(paths) or 'none'}"
        )


def check_tasks(parts: dict[str, Dataset]) -> None:
    """Raises InputError unless all parts have the same tasks in the same order."""
    first, *others = parts
    for other in others:
        if parts[other].tasks != parts[first].tasks:
            a, b = ({t.name for t in parts[p].tasks} for p in (first, other))
            found = f"{listing(sorted(a ^ b))} in one of them only" if a ^ b else "another order"
            raise InputError(
                f"tasks of {first!r} and {other!r}: expected the same label columns, found {found}. "
                "Name them in label_columns"
            )


def check_lengths(parts: Mapping[str, Dataset], paths: Mapping[str, str], mend: str) -> None:
    """Refuses files whose sequences differ in length between them.

    Raises:
        InputError: with the length in each file; `mend` says what to do.
    """
    if len({data.length for data in parts.values()}) > 1:
        found = ", ".join(f"{data.length} in {paths[part]}" for part, data in parts.items())
        raise InputError(
            f"sequences of several lengths: expected one length in all files, found {show(found, 300)}. {mend}"
        )
