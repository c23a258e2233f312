"""The one table that everything reads: sequences, targets, tasks, and where each row comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from dragon_jax.data.fingerprints import digest_columns
from dragon_jax.data.input_spec import InputSpec, default_spec
from dragon_jax.errors import InputError, listing, show

Kind = Literal["binary", "real", "count"]
SPLITS = ("train", "valid", "test")
IDS = "id"  # name of the column of row names in digests and records
PROFILE = "profile:"  # what the name of a base-resolution target begins with in batches, digests and records


@dataclasses.dataclass(frozen=True)
class Task:
    """One thing to predict.

    Attributes:
        name: unique and non-empty.
        kind: `binary` (0/1, logistic loss, probability), `real` (square loss) or `count` (non-negative, Poisson loss, log rate).
    """

    name: str
    kind: Kind = "binary"


@dataclasses.dataclass(frozen=True)
class Regions:
    """Where rows lie on a genome: 0-based half-open, forward strand.

    Attributes:
        chrom: text `[N]`. start, end: int64 `[N]`.
    """

    chrom: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def take(self, rows: np.ndarray) -> Regions:
        return Regions(self.chrom[rows], self.start[rows], self.end[rows])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Rows of DNA with what was measured on them. Rows stay together: every change goes through `take`.

    Attributes:
        codes: uint8 `[N, L]`, 0-4.
        targets: float32 `[N, T]`, NaN = not measured, never infinite.
        tasks: T tasks, in the order of the columns of `targets`.
        ids: text `[N]`, names in the order of the input.
        regions: genome coordinates, or None.
        inputs: further named inputs that travel with the sequence: signals `[N, L, C]` and vectors `[N, Q]`, by
            convention `signal` and `metadata`; a network sees them as `extra[name]`.
        specs: what the inputs are and how their columns are called, see `input_spec`; an input without one is a signal if
            it has three axes, else a vector.
        profiles: base-resolution targets by task, float32 `[N, P, S]`: what was counted on the P central bases of each row,
            S = 1 without strand, 2 = forward and reverse strand; NaN = not measured. The task itself, of kind real, is
            log(1 + their sum) over the central bases that are predicted, and they are no inputs of any model.
        weights: float32 `[N]` weight of each example in the loss, or None.
        notes: what was put in order while reading (counts by name), for the summary line and the provenance.
    """

    codes: np.ndarray
    targets: np.ndarray
    tasks: tuple[Task, ...]
    ids: np.ndarray
    regions: Regions | None = None
    inputs: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    weights: np.ndarray | None = None
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    specs: Mapping[str, InputSpec] = dataclasses.field(default_factory=dict)
    profiles: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        n = len(self.codes)
        sizes = {"targets": len(self.targets), "ids": len(self.ids)} | {k: len(v) for k, v in self.inputs.items()}
        if self.regions is not None:
            sizes["regions"] = len(self.regions.chrom)
        if self.weights is not None:
            sizes["weights"] = len(self.weights)
        if wrong := {k: v for k, v in sizes.items() if v != n}:
            raise InputError(f"{n:,} sequences but {', '.join(f'{v:,} {k}' for k, v in wrong.items())}")
        if self.codes.ndim != 2 or self.codes.dtype != np.uint8:
            raise InputError(f"codes must be uint8 [N, L], found {self.codes.dtype} {self.codes.shape}")
        if self.targets.ndim != 2 or self.targets.shape[1] != len(self.tasks) or self.targets.dtype != np.float32:
            raise InputError(
                f"targets must be float32 [N, {len(self.tasks)}], found {self.targets.dtype} {self.targets.shape}"
            )
        names = [t.name for t in self.tasks]
        if not names or not all(names) or len(set(names)) != len(names):
            raise InputError(f"task names must be non-empty and unique, found {listing(names)}")
        if absent := sorted(set(self.specs) - set(self.inputs)):
            raise InputError(f"specs of inputs that are not there: {listing(absent)}")
        for name, spec in self.specs.items():
            spec.check(name, self.inputs[name].shape, self.length)
        sizes = {f"profiles of {k}": len(v) for k, v in self.profiles.items()}
        if wrong := {k: v for k, v in sizes.items() if v != n}:
            raise InputError(f"{n:,} sequences but {', '.join(f'{v:,} {k}' for k, v in wrong.items())}")
        for name, profile in self.profiles.items():
            width = profile.shape[1] if profile.ndim == 3 else 0
            if not 0 < width <= self.length or profile.shape[2] not in (1, 2) or profile.dtype != np.float32:
                raise InputError(
                    f"profiles of task {show(name)}: expected float32 [N, P, 1 or 2] with P of at most {self.length}, found "
                    f"{profile.dtype} {list(profile.shape)}"
                )
            if name not in names or (self.length - width) % 2:
                raise InputError(
                    f"profiles of {show(name)}: expected a task, and a window in the middle of {self.length} bases, found "
                    f"{width} bases"
                )

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def length(self) -> int:
        """L, the number of bases of every row."""
        return self.codes.shape[1]

    @property
    def input_specs(self) -> dict[str, InputSpec]:
        """What every input is, by name."""
        return {name: self.specs.get(name) or default_spec(v) for name, v in self.inputs.items()}

    def take(self, rows: np.ndarray) -> Dataset:
        """Returns the rows with these indices or where this mask is true, everything that belongs to them included."""
        return dataclasses.replace(
            self,
            codes=self.codes[rows],
            targets=self.targets[rows],
            ids=self.ids[rows],
            regions=None if self.regions is None else self.regions.take(rows),
            inputs={k: v[rows] for k, v in self.inputs.items()},
            profiles={k: v[rows] for k, v in self.profiles.items()},
            weights=None if self.weights is None else self.weights[rows],
        )

    def only_inputs(self, names: Sequence[str]) -> Dataset:
        """Returns the data set without its inputs of other names."""
        inputs, specs = ({k: v for k, v in own.items() if k in names} for own in (self.inputs, self.specs))
        return dataclasses.replace(self, inputs=inputs, specs=specs)

    def fingerprint(self) -> str:
        """Returns a hex digest of everything that a model can see: sequences, targets, tasks, inputs, weights, in order."""
        return digest_columns(seen_columns(self), salt=task_salt(self.tasks))

    def row_fingerprint(self) -> str:
        """Returns a hex digest of what a model can see and of the names of the rows."""
        return digest_columns(seen_columns(self) | {IDS: self.ids}, salt=task_salt(self.tasks))


def seen_columns(data: Dataset) -> dict[str, np.ndarray]:
    """Returns what a model can see of a data set, by the names that digests and records use."""
    result = {"codes": data.codes, "targets": data.targets} | {f"inputs/{k}": v for k, v in data.inputs.items()}
    result |= profile_columns(data.profiles)
    return result if data.weights is None else result | {"weight": data.weights}


def profile_columns(profiles: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns base-resolution targets by their names in batches, digests and records."""
    return {PROFILE + task: profile for task, profile in profiles.items()}


def task_salt(tasks: Sequence[Task]) -> str:
    """Returns names and kinds of tasks as they enter digests."""
    return repr([(task.name, task.kind) for task in tasks])


def concatenate(parts: list[Dataset]) -> Dataset:
    """Returns one data set with the rows of all parts, in order. The parts must agree in length, tasks and kinds of columns.

    Raises:
        InputError: they do not.
    """
    first = parts[0]
    for other in parts[1:]:
        if other.length != first.length:
            raise InputError(
                f"sequences of {first.length} and {other.length} bases in one data set. Crop or pad them to one length"
            )
        if other.tasks != first.tasks or other.input_specs != first.input_specs:
            raise InputError("parts of one data set have different tasks or inputs")
        if {k: v.shape[1:] for k, v in other.profiles.items()} != {k: v.shape[1:] for k, v in first.profiles.items()}:
            raise InputError("parts of one data set have different base-resolution targets")
    has_regions = all(p.regions is not None for p in parts)
    has_weights = all(p.weights is not None for p in parts)
    notes: dict[str, int] = {}
    for part in parts:
        for key, count in part.notes.items():
            notes[key] = notes.get(key, 0) + count
    join = np.concatenate
    return Dataset(
        codes=join([p.codes for p in parts]),
        targets=join([p.targets for p in parts]),
        tasks=first.tasks,
        ids=join([p.ids for p in parts]),
        regions=Regions(*(join([getattr(p.regions, f) for p in parts]) for f in ("chrom", "start", "end")))
        if has_regions
        else None,
        inputs={k: join([p.inputs[k] for p in parts]) for k in first.inputs},
        profiles={k: join([p.profiles[k] for p in parts]) for k in first.profiles},
        weights=join([p.weights for p in parts if p.weights is not None]) if has_weights else None,
        notes=notes,
        specs=first.specs,
    )
