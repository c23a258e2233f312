"""Data sets as versioned TFDS folders of ArrayRecord files: written once, then read at random by row. No TensorFlow.

    FOLDER/NAME/VERSION/
      dataset_info.json, features.json    what TFDS knows: splits, shards, features
      metadata.json                       tasks, and per split rows, digests, statistics and notes
      NAME-SPLIT.array_record-00000 ...   one record per row
      digests.json                        bytes and SHA-256 of every other file

`tfds.builder_from_directory(path).as_data_source(split)` opens such a folder without this package. A record holds every
array as its raw bytes, so it decodes to the same bits: `codes`, `targets`, `id`, and where the data set has them
`chrom`, `start`, `end`, `weight` and `inputs/NAME`.

The digests are ours because ArrayRecord reads a file that was cut off as an empty one, without an error.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dragon_jax.data.dataset import Dataset, concatenate
from dragon_jax.data.records import (
    FORMAT,
    TEXT,
    Layout,
    TfdsSplit,
    check_file,
    flush,
    metadata,
    open_builder,
    read_digests,
    record_columns,
    write_digests,
)
from dragon_jax.data.rows import MemoryRows, Rows
from dragon_jax.data.shards import Split, WriteError, layout_of, native, row_bytes, write_shards, writing
from dragon_jax.data.workplace import workplace
from dragon_jax.errors import InputError, RunError, listing, show


def write_tfds(
    parts: Mapping[str, Dataset | Rows],
    folder: str | Path,
    *,
    name: str,
    version: str = "1.0.0",
    shards: int = 1,
    shard_rows: int | None = None,
    about: Mapping[str, Any] | None = None,
    resume: bool = False,
    guard: Callable[[], Any] = lambda: None,
) -> Path:
    """Writes the splits of a data set to `folder/name/version`: completely, durably, or not at all.

    Memory holds one chunk of rows, whatever the data set has. Digests and statistics of every split (see
    `survey.Survey`) are gathered on the way and kept in `metadata.json`.

    Args:
        parts: rows of each split, in memory or made on demand; all with the same tasks, length and columns.
        folder: root that may hold many data sets.
        name: lower case letters, digits and underscores, beginning with a letter.
        version: three numbers. A version that exists is never written again.
        shards: files of the largest split; the other splits get files of as many rows.
        shard_rows: rows of a file instead.
        about: plain values to keep in `metadata.json` under `about`.
        resume: name and version stand for this content and no other, so that a build which was killed goes on: whole
            shards stay in a hidden folder beside the version. `shard_rows` must be a multiple of `fingerprints.BLOCK`.
        guard: returns plain values that stay the same as long as the rows do, such as the looks of their files.

    Returns:
        The folder of this version: what `TfdsSource(path=...)` takes.

    Raises:
        InputError: a name or version that TFDS cannot hold, splits that do not fit together, a version that exists
            already or is being built, rows that change meanwhile, or a disk that is full or read-only.
    """
    looks = guard()
    _check_names(parts, name, version, shards)
    rows: dict[str, Rows] = {s: MemoryRows(part) if isinstance(part, Dataset) else part for s, part in parts.items()}
    layout = _layout(rows)
    per_shard = shard_rows or -(-max(map(len, rows.values())) // shards)
    target = Path(folder).expanduser() / name / version
    plan = {
        "format": FORMAT,
        "tasks": _tasks(rows),
        "columns": {k: [dtype, list(shape)] for k, (dtype, shape) in layout.items()},
        "inputs": _inputs(rows),
        "rows": {split: len(part) for split, part in rows.items()},
        "per_shard": per_shard,
        "about": dict(about or {}),
    }
    try:
        with workplace(target, resume, {**plan, "looks": looks}) as place:
            splits = write_shards(rows, layout, place.data, name, per_shard, place.records)
            if guard() != looks:
                for made in filter(None, (place.data, place.records)):
                    shutil.rmtree(made)
                raise InputError(
                    f"input files of {target} changed while it was built, nothing was kept. Build it again"
                )
            with writing():
                _describe(place.data, rows, splits, plan, name, version)
                write_digests(place.data, {k: v for split in splits.values() for k, v in split.files.items()})
                os.rename(place.data, target)
                flush(target.parent)
    except WriteError as e:
        kept = (
            "Whole files are kept; free space and give the same command again"
            if resume
            else ("Nothing was kept; free space or choose another folder")
        )
        size = sum(map(len, rows.values())) * row_bytes(layout)
        # ArrayRecord raises errors without a number when the disk is full
        full = getattr(e.__cause__, "errno", None) in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise (RunError if full else InputError)(
            f"cannot write data set {target}: expected a folder with room for about {size / 1e6:,.0f} MB, "
            f"found {show(e)}. {kept}"
        ) from e
    return target


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsSource:
    """A folder written by `write_tfds`, read into memory.

    Attributes:
        path: folder of one version, such as `data/ctcf/1.0.0`.
        more: further folders whose rows join, split by split, such as those of other cell types with their own signal and
            metadata. All must have the same splits, tasks and inputs, and are audited together.
    """

    path: str
    more: tuple[str, ...] = ()

    def load_parts(self, seed: int) -> dict[str, Dataset]:
        """Returns all splits, after the digest of every file was found right; `seed` has no part in it.

        Raises:
            InputError: a folder is not such a data set, a file of it is missing, cut off or changed, or folders do not fit
                together.
        """
        del seed  # the splits are fixed on disk
        parts = _folder(self.path)
        for path in self.more:
            other = _folder(path)
            for split in {**parts, **other}:
                mine, theirs = (None if split not in p else _form(p[split]) for p in (parts, other))
                if mine != theirs:
                    raise InputError(
                        f"split '{split}' of {path} does not go with that of {self.path}: expected the same length, tasks and "
                        f"inputs, found {show(theirs, 200)} and {show(mine, 200)}. Prepare both from configs that agree"
                    )
            parts = {split: concatenate([part, other[split]]) for split, part in parts.items()}
        return parts


def _form(part: Dataset) -> tuple[Any, ...]:
    """What rows must agree in to stand in one data set."""
    inputs = {name: (spec.columns, part.inputs[name].shape[1:]) for name, spec in part.input_specs.items()}
    return part.length, [task.name for task in part.tasks], [task.kind for task in part.tasks], inputs


def _folder(path: str) -> dict[str, Dataset]:
    digests = read_digests(path)
    for file in digests:
        check_file(Path(path).expanduser(), file, digests[file], bytewise=True)
    builder = open_builder(path)
    parts = {split: TfdsSplit(path, split, builder).dataset() for split in builder.info.splits}
    for split, part in parts.items():
        if part.fingerprint() != metadata(builder)["splits"][split]["fingerprint"]:
            raise InputError(f"split '{split}' of {path} does not decode to what was written. Build it again")
    return parts


def open_stream(path: str | Path, split: str) -> TfdsSplit:
    """Opens one split for random access by row, for data sets larger than memory: the source of placement `stream`.

    Sizes of all files are checked here; content is checked by ArrayRecord's own hashes when a record is read.

    Raises:
        InputError: the folder is not a data set of ours, a file is missing or cut off, or there is no such split.
    """
    folder = Path(path).expanduser()
    digests = read_digests(path)
    for file in digests:
        check_file(folder, file, digests[file], bytewise=file.endswith(".json"))
    builder = open_builder(path)
    if split not in builder.info.splits:
        raise InputError(f"no split '{show(split)}' in {path}: expected one of {listing(builder.info.splits)}")
    return TfdsSplit(path, split, builder)


def _check_names(parts: Mapping[str, Dataset | Rows], name: str, version: str, shards: int) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(
            f"data set name '{show(name)}': expected lower case letters, digits and _, beginning with a letter"
        )
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise InputError(f"data set version '{show(version)}': expected three numbers such as 1.0.0")
    if shards < 1:
        raise InputError(f"shards={shards}: expected at least 1")
    if not parts:
        raise InputError(f"no split to write for data set '{name}': expected at least one")
    if wrong := [s for s in parts if not re.fullmatch(r"[a-z][a-z0-9_]*", s) or s == "all"]:
        raise InputError(f"split names {listing(wrong)}: expected names such as train, valid, test, but not all")
    if empty := [s for s, part in parts.items() if not len(part) or not part.length]:
        raise InputError(f"split {listing(empty)} of data set '{name}' is empty: expected at least one row of one base")


def _layout(parts: Mapping[str, Rows]) -> Layout:
    """Type and shape of one row of every column; refuses splits that differ and columns that have no plain bytes."""
    samples = {split: native(part.chunk(0, 1)) for split, part in parts.items()}
    layouts = {split: layout_of(sample) for split, sample in samples.items()}
    first, layout = next(iter(layouts.items()))
    for split, other in layouts.items():
        if other != layout or parts[split].tasks != parts[first].tasks:
            differ = [k for k in {**layout, **other} if layout.get(k) != other.get(k)] or ["tasks"]
            raise InputError(
                f"splits '{first}' and '{split}' of one data set differ in {listing(differ)}: expected the same tasks, "
                "lengths, types and optional columns in all splits"
            )
    wrong = [
        f"{k} ({v.dtype} {v.shape[1:]})"
        for k, v in record_columns(samples[first]).items()
        if k.count("/") > 1 or (k not in TEXT and (v.dtype.kind not in "biuf" or 0 in v.shape))
    ]
    if wrong:
        raise InputError(f"columns {listing(wrong)}: expected numbers, at least one per row, under names without '/'")
    return layout


def _inputs(parts: Mapping[str, Rows]) -> dict[str, Any]:
    """What the extra inputs are, where the rows say it; refuses splits that say different things."""
    samples = {split: part.chunk(0, 1).specs for split, part in parts.items()}
    first, *others = samples
    if differ := [split for split in others if samples[split] != samples[first]]:
        raise InputError(
            f"splits '{first}' and '{differ[0]}' of one data set differ in what their inputs are: expected the same columns"
        )
    return {name: spec.plain() for name, spec in samples[first].items()}


def _tasks(parts: Mapping[str, Rows]) -> list[list[str]]:
    return [[task.name, task.kind] for task in next(iter(parts.values())).tasks]


def _describe(
    folder: Path,
    parts: Mapping[str, Rows],
    splits: Mapping[str, Split],
    plan: Mapping[str, Any],
    name: str,
    version: str,
) -> None:
    """Writes what TFDS wants to know (splits, shards, features) and our metadata."""
    import tensorflow_datasets as tfds
    from etils import epath
    from tensorflow_datasets.core import naming
    from tensorflow_datasets.core.dataset_info import DatasetIdentity
    from tensorflow_datasets.core.splits import SplitDict

    text, tensor = tfds.features.Text, tfds.features.Tensor
    features: dict[str, Any] = {}
    for key, (dtype, shape) in plan["columns"].items():
        feature = text() if dtype == "text" else tensor(shape=tuple(shape), dtype=np.dtype(dtype), encoding="bytes")
        group, _, leaf = key.rpartition("/")
        (features.setdefault(group, {}) if group else features)[leaf] = feature
    meta = {key: plan[key] for key in ("format", "tasks", "columns", "inputs", "about")}
    meta["splits"] = {s: split.survey.record() | {"notes": dict(parts[s].notes)} for s, split in splits.items()}
    identity = DatasetIdentity(
        name=name, version=tfds.core.Version(version), data_dir=str(folder), module_name="dragon_jax.data.builders"
    )
    length, tasks = plan["columns"]["codes"][1][0], len(plan["tasks"])
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=f"{length} bp (codes 0-4 = A C G T unknown), {tasks} tasks (NaN = not measured).",
        features=tfds.features.FeaturesDict(features),
        metadata=tfds.core.MetadataDict(dragon_jax=meta),
        disable_shuffling=True,
    )
    info.set_file_format("array_record")
    known = []
    for split, written in splits.items():
        template = naming.ShardedFileTemplate(
            dataset_name=name,
            data_dir=epath.Path(folder),
            split=split,
            filetype_suffix="array_record",
            template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
        )
        known.append(
            tfds.core.SplitInfo(
                name=split, shard_lengths=written.lengths, num_bytes=written.num_bytes, filename_template=template
            )
        )
    info.set_splits(SplitDict(known))
    info.write_to_directory(folder)
