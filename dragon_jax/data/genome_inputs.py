"""Extra inputs of the windows of a genome: signal along the bases, and a vector of numbers and annotations.

Training and prediction make them here, in the same way. Each file is opened once and read for the windows asked for.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon_jax.config import check_range
from dragon_jax.data.batches import RESERVED
from dragon_jax.data.cells import NumberFaults, numbers
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.data.labels import refuse_log1p
from dragon_jax.data.tables import Table, delimiter_of
from dragon_jax.data.tracks import SIGNAL
from dragon_jax.data.windows import Windows, touching
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.files import TextFile
from dragon_jax.genome import aliases
from dragon_jax.genome.bed import read_bed
from dragon_jax.genome.signal import BigWig, read_bedgraph
from dragon_jax.genome.track import Track, Uncovered

METADATA = "metadata"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConfig:
    """A genome, and what besides its bases a model may read of a window.

    Attributes:
        genome: FASTA, plain, gzip or bgzip.
        contigs: how contig names of the files become those of the genome: `exact`, `add_chr`, `strip_chr`, `roman`,
            `arabic`, or a two-column file, see `genome.aliases.match`.
        profiles: signals `[L, C]` by name, usually `signal`: paths of bigWig or bedGraph files, one for each column.
            What a file does not cover, and whatever lies beyond a contig, is 0.
        profile_columns: names of the columns of a profile; those of its files without their endings, where it has none.
            Columns called `*_fwd` and `*_rev` (or `*_plus` and `*_minus`) change places on the other strand.
        profile_scale: factors of the columns of a profile, such as those that bring cut counts to 1x coverage (bases
            of the genome that can be covered / sum of the track); one factor alone is that of every column.
        profile_log1p: profiles become log(1 + x), after their factors.
        annotations: BED files by name: columns of the vector `metadata` that are 1 where the core of a window shares a
            base with an interval of the file, else 0.
        metadata: further columns of that vector, the same in every row, by name.
        metadata_table, metadata_row: the same from a table: the columns of the row with this name in the first column,
            such as the expression of a cell type.
        metadata_columns: order of the columns of `metadata`, all of them; empty = those of the table as they stand there, then
            `metadata`, then `annotations`, each sorted by name (a config keeps no order of names).
    """

    genome: str
    contigs: str = "exact"
    profiles: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    profile_columns: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    profile_scale: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    profile_log1p: bool = False
    annotations: dict[str, str] = dataclasses.field(default_factory=dict)
    metadata: dict[str, float] = dataclasses.field(default_factory=dict)
    metadata_table: str = ""
    metadata_row: str = ""
    metadata_columns: tuple[str, ...] = ()

    def __post_init__(self):
        vector = bool(self.annotations or self.metadata or self.metadata_table)
        if taken := {*RESERVED, *((METADATA,) if vector else ())} & set(self.profiles):
            raise ValueError(f"profiles: {listing(sorted(taken))} is a name of the batch itself. Choose another")
        for field in ("profile_columns", "profile_scale"):
            own: Mapping[str, tuple[Any, ...]] = getattr(self, field)
            if unknown := sorted(set(own) - set(self.profiles)):
                raise ValueError(
                    f"{field}: '{show(unknown[0])}' is none of profiles ({listing(self.profiles) or 'none'})"
                )
            for name, values in own.items():
                count = len(self.profiles[name])
                if len(values) != count and not (field == "profile_scale" and len(values) == 1):
                    raise ValueError(f"{field}.{name}: expected {count}, one for each file, found {len(values)}")
        for values in self.profile_scale.values():
            for value in values:
                check_range("profile_scale", value, 0, float("inf"), open_low=True)
        if bad := [name for name, value in self.metadata.items() if not math.isfinite(value)]:
            raise ValueError(f"metadata.{show(bad[0])}: expected a finite number, found {self.metadata[bad[0]]}")
        if both := set(self.metadata) & set(self.annotations):
            raise ValueError(f"metadata, annotations: expected different names, found {listing(sorted(both))} in both")
        if bool(self.metadata_table) != bool(self.metadata_row):
            raise ValueError("metadata_table, metadata_row: expected both or none")
        for name in self.profiles:
            if not self.profiles[name]:
                raise ValueError(f"profiles.{name}: expected at least one file, found none")
            try:
                self.columns_of(name)
            except InputError as e:
                raise ValueError(f"profile_columns.{name}: {e}") from e

    def columns_of(self, name: str) -> InputSpec:
        """Returns what a profile is.

        Raises:
            InputError: two columns of one name, or a track without its partner.
        """
        stems = tuple(_stem(path) for path in self.profiles[name])
        return InputSpec("signal", self.profile_columns.get(name) or stems)

    def input_paths(self) -> list[str]:
        """Returns the files of the inputs."""
        profiles = [path for paths in self.profiles.values() for path in paths]
        return [*profiles, *self.annotations.values(), *([self.metadata_table] if self.metadata_table else [])]


class GenomeInputs:
    """The files of an `InputConfig` open.

    Attributes:
        specs: what the inputs are, by name. notes: what was put in order, by name.
    """

    def __init__(self, source: InputConfig, contigs: Mapping[str, int], core: int, strange: str = ""):
        """Opens the files.

        Args:
            contigs: lengths of the contigs of the genome by name. core: bases in the middle of a window that annotations
                are looked up for. strange: what to do besides renaming where a file has no contig of the genome and
                `source.contigs` cannot be set.

        Raises:
            InputError: a file that cannot be read or belongs to another genome.
        """
        self._source, self._core = source, core
        self.notes: dict[str, int] = {}
        self.specs = {name: source.columns_of(name) for name in source.profiles}
        self._tracks = {
            name: [open_signal(path, source.contigs, contigs, source.genome, strange=strange) for path in paths]
            for name, paths in source.profiles.items()
        }
        if count := sum(map(len, self._tracks.values())):
            self.notes["signal files read as inputs, bases without a value count as 0"] = count
        fixed = read_row(source.metadata_table, source.metadata_row) if source.metadata_table else {}
        if both := [name for name in fixed if name in source.metadata or name in source.annotations]:
            raise InputError(f"column {listing(map(repr, both))} of {source.metadata_table} comes again in the config")
        fixed |= dict(sorted(source.metadata.items()))
        self._fixed = np.array(list(fixed.values()), np.float32)
        self._beds = []
        for _, path in sorted(source.annotations.items()):
            found = read_bed(
                path, contigs=contigs, rename=source.contigs, missing="skip", genome=source.genome, strange=strange
            )
            for key, value in found.notes.items():
                self.notes[key] = self.notes.get(key, 0) + value
            self._beds.append(found)
        made = (*fixed, *sorted(source.annotations))
        columns = source.metadata_columns or made
        if sorted(columns) != sorted(made):
            raise InputError(
                f"data.source.metadata_columns: expected the columns of 'metadata' in some order ({listing(made, 30)}), found "
                f"{listing(columns, 30)}. Name each once"
            )
        self._order = np.array([made.index(name) for name in columns], np.int64)
        if made:
            self.specs[METADATA] = InputSpec("vector", columns)

    def __call__(self, windows: Windows) -> dict[str, np.ndarray]:
        """Returns the inputs of these windows: signals float32 `[N, L, C]`, and `metadata` float32 `[N, Q]`."""
        result = {name: self._profile(name, windows) for name in self._tracks}
        if METADATA in self.specs:
            result[METADATA] = self._vector(windows)
        return result

    def _profile(self, name: str, windows: Windows) -> np.ndarray:
        names, end, source = windows.names(), windows.start + windows.length, self._source
        tracks = self._tracks[name]
        result = np.empty((len(windows), windows.length, len(tracks)), np.float32)
        scale = source.profile_scale.get(name, (1.0,))
        for column, track in enumerate(tracks):
            values = np.nan_to_num(track.values(names, windows.start, end), copy=False, nan=0.0)
            result[..., column] = values * np.float32(scale[column if len(scale) > 1 else 0])
            if source.profile_log1p:
                refuse_log1p(
                    result[..., column],
                    track.path,
                    lambda i: f"window {names[i]}:{windows.start[i]}-{end[i]}",
                    "profile_log1p",
                )
        return np.log1p(result, out=result) if source.profile_log1p else result

    def _vector(self, windows: Windows) -> np.ndarray:
        start, _ = windows.core(self._core)
        cores = Windows(windows.contigs, windows.chrom, start, self._core)
        columns = [np.broadcast_to(self._fixed, (len(windows), len(self._fixed)))]
        columns += [touching(cores, bed)[:, None] for bed in self._beds]
        return np.concatenate(columns, 1).astype(np.float32)[:, self._order]


def open_signal(
    path: str, how: str, contigs: Mapping[str, int], genome: str, uncovered: Uncovered = "zero", strange: str = ""
) -> Track:
    """Returns a bigWig or bedGraph file under the names of a genome, checked against it.

    Args:
        how: see `InputConfig.contigs`. contigs: lengths by name. genome: its file, for messages.
        strange: see `read_bed`.

    Raises:
        InputError: a file that is none, belongs to another genome, or holds an infinite value.
    """
    read = BigWig if path.lower().endswith((".bw", ".bigwig")) else read_bedgraph
    names = aliases.match(read(path).chroms, contigs, how, where=(path, genome), remedy=strange)
    signal = read(path, rename=names, uncovered=uncovered)
    signal.check(contigs, genome)
    return signal


def read_row(path: str, row: str) -> dict[str, float]:
    """Returns one row of a table as numbers by column; its name stands in the first column.

    Raises:
        InputError: no such row, two of them, or a cell that holds no number.
    """
    with TextFile(path) as file:
        table, faults = Table(file, delimiter_of(path, None), True), NumberFaults()
        columns = list(range(1, len(table.names)))
        known: list[str] = []
        found: list[np.ndarray] = []
        for block in table.blocks():
            names = block.text(0)
            values = numbers(block, columns, [table.names[c] for c in columns], faults, missing=False)
            found += [values[i] for i, name in enumerate(names) if name == row]
            known += names
    faults.faults.refuse()
    if len(found) != 1 or not columns:
        count = "two or more" if found else "none"
        raise InputError(
            f"{show(path, 300)}: expected one row called '{show(row)}' in its first column and numbers in others, found {count} "
            f"(rows: {listing(known, 8)}){nearest(row, known)}"
        )
    return {table.names[c]: float(v) for c, v in zip(columns, found[0], strict=True)}


def _stem(path: str) -> str:
    name = os.path.basename(path)
    ending = next((e for e in sorted(SIGNAL, key=len, reverse=True) if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)] or name
