"""Source `arrays`: sequences and targets as arrays in NPZ, NPY or HDF5 files."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np

from dragon_jax.config import check_range
from dragon_jax.data import array_rows
from dragon_jax.data.batches import RESERVED
from dragon_jax.data.containers import Container, open_container
from dragon_jax.data.counts import log_total
from dragon_jax.data.dataset import Dataset, Kind, Task
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.data.lengths import text_array
from dragon_jax.data.numpy_files import Npy
from dragon_jax.data.table_source import check_lengths, check_parts, check_tasks
from dragon_jax.errors import InputError, listing, nearest, show

_USUAL = {"names": "names", "regions": "regions", "tasks": "tasks"}
_SEQUENCES = ("sequences", "codes", "onehot")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArraySource:
    """Arrays with one row per sequence. In every name of an array, `{split}` stands for the key of the file in `paths`,
    so that one file may hold `x_train`, `x_valid`, ...; in HDF5 a name may lead through groups, `train/x`.

    Attributes:
        paths: NPZ, NPY or HDF5 file with the sequences, by split (`train`, `valid`, `test`) or under `all`.
        target_paths: second file with the targets, under the same keys; NPY files hold one array and need it.
        sequences: array with integer codes `[N, L]` (0-3 A C G T, 4 unknown) or one-hot `[N, L, 4]` or `[N, 4, L]`; empty =
            the one of `sequences`, `codes` and `onehot` that is there.
        targets: array with numbers `[N]` or `[N, T]`, NaN = not measured.
        names, regions: arrays of N texts: names of the rows, and where they lie, such as `chr1:100-200` (0-based half-open
            or 1-based inclusive, as the length of the sequences tells). tasks: array of T names. These three are used where
            they are there; another name than the default must be there; empty = not used.
        counts: base-resolution counts to predict, by task: the array `[N, P]`, or `[N, P, S]` with S = 2 for forward and
            reverse strand, of the P central bases of each row, NaN = not measured. The tasks are then these, of kind real,
            and `targets` is not read: the target is log(1 + total), see `data.counts`.
        counts_length: central bases whose counts are predicted; 0 = all P.
        signals: extra inputs with one value per base, usually `signal`: arrays `[N, L, C]` or `[N, L]` by the name of the input.
        vectors: extra inputs about whole rows, usually `metadata`: arrays `[N, Q]` or `[N]`. Both lie in the file of the
            sequences and must be finite: what stands for a missing value, 0 or another, the file says.
        input_columns: names of the columns of an input; tracks called `*_fwd` and `*_rev` (or `*_plus` and `*_minus`) change
            places on the other strand.
        layout: which axis of one-hot holds the letters, `nl4` the last or `n4l` the second; `auto` = the one of length 4.
        task_names: names of the tasks, instead of the array `tasks`; without both they are `task_0`, `task_1`, ...
        task_kind: what the targets are: `binary` (0/1), `real` or `count`.
        kinds: kinds of single tasks, by name, where they differ from `task_kind`.
        max_array_gb: billions of bytes that an array may declare even if the file stores less than a thousandth of them;
            None = 0.25 for NPZ, 4.3 for HDF5.
    """

    paths: dict[str, str]
    target_paths: dict[str, str] = dataclasses.field(default_factory=dict)
    sequences: str = ""
    targets: str = "targets"
    names: str = "names"
    regions: str = "regions"
    tasks: str = "tasks"
    counts: dict[str, str] = dataclasses.field(default_factory=dict)
    counts_length: int = 0
    signals: dict[str, str] = dataclasses.field(default_factory=dict)
    vectors: dict[str, str] = dataclasses.field(default_factory=dict)
    input_columns: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    layout: array_rows.Layout = "auto"
    task_names: tuple[str, ...] = ()
    task_kind: Kind = "binary"
    kinds: dict[str, Kind] = dataclasses.field(default_factory=dict)
    max_array_gb: float | None = None

    def __post_init__(self):
        check_parts("paths", self.paths)
        if self.target_paths and set(self.target_paths) != set(self.paths):
            raise ValueError(
                f"target_paths: expected the keys of paths ({listing(self.paths)}), found {listing(self.target_paths)}"
            )
        if not self.targets:
            raise ValueError("targets: expected the name of an array, found an empty one")
        if self.max_array_gb is not None:
            check_range("max_array_gb", self.max_array_gb, 0, float("inf"), open_low=True)
        if twice := set(self.signals) & set(self.vectors):
            raise ValueError(f"signals, vectors: expected different names, found {listing(sorted(twice))} in both")
        if taken := set(RESERVED) & {*self.signals, *self.vectors}:
            raise ValueError(
                f"signals, vectors: {listing(sorted(taken))} is a name of the batch itself. Choose another"
            )
        if unknown := sorted(set(self.input_columns) - {*self.signals, *self.vectors}):
            raise ValueError(f"input_columns: '{show(unknown[0])}' is none of signals and vectors")
        if len(set(self.task_names)) < len(self.task_names) or not all(self.task_names):
            raise ValueError(f"task_names: expected different names, found {listing(map(repr, self.task_names))}")

    def load_parts(self, seed: int = 0) -> dict[str, Dataset]:
        """Returns the data set of each file, keyed as in `paths`; `seed` is not used, files are what they are.

        Raises:
            InputError: whatever the files hold that they should not.
        """
        parts = {part: self._load(part) for part in self.paths}
        check_tasks(parts)
        check_lengths(parts, self.paths, "Crop or pad them to one length")
        first, *others = parts
        for part in others:
            for name, values in parts[part].inputs.items():
                if values.shape[1:] != (wanted := parts[first].inputs[name].shape[1:]):
                    raise InputError(
                        f"{self.paths[part]}, input '{show(name)}': expected the shape {list(wanted)} of a row as in "
                        f"{self.paths[first]}, found {list(values.shape[1:])}"
                    )
        return parts

    def _load(self, part: str) -> Dataset:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open_container(self.paths[part], self.max_array_gb))
            other = file
            if part in self.target_paths:
                other = stack.enter_context(open_container(self.target_paths[part], self.max_array_gb))
            elif isinstance(file, Npy):
                raise InputError(
                    f"{file.path} is an NPY file and holds one array: expected a second file with the targets. Set "
                    "data.source.target_paths"
                )
            return self._dataset(part, file, other)

    def _dataset(self, part: str, file: Container, other: Container) -> Dataset:
        # Shapes are compared before values are read: a file that does not fit costs nothing.
        sequences = self._sequences(file, part)
        wanted = self.counts or {"": self.targets}
        for array in wanted.values():
            targets = _named(array, part)
            self._there(other, targets, "counts" if self.counts else "targets")
            n, rows = (form.shape[0] if form.shape else 0 for form in (file.look(sequences), other.look(targets)))
            if n != rows:
                raise InputError(
                    f"{n:,} sequences in {file.where(sequences)}, but {rows:,} targets in {other.where(targets)}: expected "
                    "one row for each. Save them together"
                )
        profiles: dict[str, np.ndarray] = {}
        if self.counts:
            profiles = {
                task: array_rows.read_counts(other, _named(a, part), self.counts_length)
                for task, a in self.counts.items()
            }
            totals = [log_total(p, self.counts_length or p.shape[1]) for p in profiles.values()]
            values, notes = np.stack(totals, 1), {}
            tasks = tuple(Task(task, "real") for task in profiles)
        else:
            values = array_rows.read_targets(other, targets)
            tasks, notes = self._tasks(other, part, values.shape[1])
            array_rows.check_values(values, tasks, other.where(targets))
        names = self._optional(file, part, "names")
        ids = [f"row_{i}" for i in range(1, n + 1)] if names is None else array_rows.read_text(file, names, n, "names")
        codes = array_rows.read_codes(file, sequences, self.layout)
        if unknown := int(np.count_nonzero(codes > 3)):
            notes["unknown bases"] = unknown
        specs = {name: InputSpec("signal", self.input_columns.get(name, ())) for name in self.signals}
        specs |= {name: InputSpec("vector", self.input_columns.get(name, ())) for name in self.vectors}
        inputs = {
            name: array_rows.read_input(file, _named(array, part), specs[name].kind, n)
            for name, array in (self.signals | self.vectors).items()
        }
        regions = self._optional(file, part, "regions")
        return Dataset(
            codes=codes,
            targets=values,
            tasks=tasks,
            ids=text_array(ids),
            regions=None if regions is None else array_rows.read_regions(file, regions, n, codes.shape[1]),
            notes=notes,
            profiles=profiles,
            inputs=inputs,
            specs=specs,
        )

    def _sequences(self, file: Container, part: str) -> str:
        if isinstance(file, Npy):
            return file.names()[0]
        if self.sequences:
            name = _named(self.sequences, part)
            self._there(file, name, "sequences")
            return name
        found = [name for name in _SEQUENCES if file.has(name)]
        if len(found) != 1:
            raise InputError(
                f"{file.path}: expected one {file.noun} of {', '.join(_SEQUENCES)}, found {listing(found) or 'none of them'} "
                f"({listing(map(repr, file.names()), 12)}). Set data.source.sequences to the one meant"
            )
        return found[0]

    def _there(self, file: Container, name: str, setting: str) -> None:
        if not file.has(name):
            raise file.absent(name, setting)

    def _optional(self, file: Container, part: str, field: str) -> str | None:
        """The name of an array that need not be there."""
        wanted = getattr(self, field)
        name = _named(wanted, part)
        if wanted and not isinstance(file, Npy) and file.has(name):
            return name
        if not wanted or wanted == _USUAL[field]:
            return None
        raise file.absent(name, field)

    def _tasks(self, file: Container, part: str, count: int) -> tuple[tuple[Task, ...], dict[str, int]]:
        notes: dict[str, int] = {}
        names, where = list(self.task_names), "data.source.task_names"
        if not names and (name := self._optional(file, part, "tasks")) is not None:
            names, where = array_rows.read_text(file, name, count, "names of tasks"), file.where(name)
        if not names:
            names = [f"task_{i}" for i in range(count)]
            notes["tasks named task_0, task_1, ... because the file names none (data.source.task_names)"] = count
        if len(names) != count or len(set(names)) < count or not all(names):
            raise InputError(
                f"{where}: expected {count:,} different names, one for each column of targets, found "
                f"{listing(map(repr, names))}. Mend them"
            )
        if unknown := [k for k in self.kinds if k not in names]:
            raise InputError(
                f"data.source.kinds: '{show(unknown[0])}' is no task of {file.path}: expected one of {listing(names)}"
                f"{nearest(unknown[0], names) or '.'}"
            )
        return tuple(Task(name, self.kinds.get(name, self.task_kind)) for name in names), notes


def _named(name: str, part: str) -> str:
    return name.replace("{split}", part)
