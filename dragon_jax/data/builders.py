"""Data sets as versioned TFDS folders of ArrayRecord files: written once, then read at random by row. No TensorFlow.

    FOLDER/NAME/VERSION/
      dataset_info.json, features.json    what TFDS knows: splits, shards, features
      metadata.json                       tasks, and per split rows, fingerprint and notes
      NAME-SPLIT.array_record-00000 ...   one record per row
      digests.json                        bytes and SHA-256 of every other file

`tfds.builder_from_directory(path).as_data_source(split)` opens such a folder without this package. A record holds every
array as its raw bytes, so it decodes to the same bits: `codes`, `targets`, `id`, and where the data set has them
`chrom`, `start`, `end`, `weight` and `inputs/NAME`.

The digests are ours because ArrayRecord reads a file that was cut off as an empty one, without an error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dragon_jax.data.dataset import Dataset
from dragon_jax.data.records import (
    CHUNK,
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
from dragon_jax.errors import InputError, listing, show


def write_tfds(
    parts: Mapping[str, Dataset], folder: str | Path, *, name: str, version: str = "1.0.0", shards: int = 1
) -> Path:
    """Writes the splits of a data set to `folder/name/version`: completely, durably, or not at all.

    Args:
        parts: data set of each split; all with the same tasks, length and columns.
        folder: root that may hold many data sets.
        name: lower case letters, digits and underscores, beginning with a letter.
        version: three numbers. A version that exists is never written again.
        shards: files of the largest split; the other splits get files of as many rows.

    Returns:
        The folder of this version: what `TfdsSource(path=...)` takes.

    Raises:
        InputError: a name or version that TFDS cannot hold, splits that do not fit together, a version that exists
            already, or a disk that is full or read-only.
    """
    _check_names(parts, name, version, shards)
    parts = {split: _native(part) for split, part in parts.items()}
    layout = _layout(parts)
    target = Path(folder).expanduser() / name / version
    if target.exists():
        raise InputError(f"data set {target} exists already: versions are never overwritten. Pass another version")
    building = target.parent / f".{version}.building-{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        building.mkdir()
        _write_records(parts, layout, building, name, version, shards)
        write_digests(building)
        os.rename(building, target)
        flush(target.parent)
    except (OSError, RuntimeError) as e:  # ArrayRecord reports a full disk as a RuntimeError
        raise InputError(
            f"cannot write data set {target}: expected a folder with room for about {_size(parts)}, "
            f"found {show(getattr(e, 'strerror', None) or e)}. Nothing was kept; free space or choose another folder"
        ) from e
    finally:
        shutil.rmtree(building, ignore_errors=True)
        with contextlib.suppress(OSError):
            target.parent.rmdir()  # only when nothing came to lie in it
    return target


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsSource:
    """A folder written by `write_tfds`, read into memory.

    Attributes:
        path: folder of one version, such as `data/ctcf/1.0.0`.
    """

    path: str

    def load_parts(self, seed: int) -> dict[str, Dataset]:
        """Returns all splits, after the digest of every file was found right; `seed` has no part in it.

        Raises:
            InputError: the folder is not such a data set, or a file of it is missing, cut off or changed.
        """
        del seed  # the splits are fixed on disk
        digests = read_digests(self.path)
        for file in digests:
            check_file(Path(self.path).expanduser(), file, digests[file], bytewise=True)
        builder = open_builder(self.path)
        parts = {split: TfdsSplit(self.path, split, builder).dataset() for split in builder.info.splits}
        for split, part in parts.items():
            if part.fingerprint() != metadata(builder)["splits"][split]["fingerprint"]:
                raise InputError(f"split '{split}' of {self.path} does not decode to what was written. Build it again")
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


def _check_names(parts: Mapping[str, Dataset], name: str, version: str, shards: int) -> None:
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


def _native(dataset: Dataset) -> Dataset:
    """The data set with inputs in this machine's byte order, which is the one that records are decoded in."""
    return dataclasses.replace(
        dataset, inputs={k: v.astype(v.dtype.newbyteorder("="), copy=False) for k, v in dataset.inputs.items()}
    )


def _layout(parts: Mapping[str, Dataset]) -> Layout:
    """Type and shape of one row of every column; refuses splits that differ and columns that have no plain bytes."""
    layouts, tasks = {}, {}
    for split, part in parts.items():
        layouts[split] = {
            k: ("text", ()) if k in TEXT else (v.dtype.name, v.shape[1:]) for k, v in record_columns(part).items()
        }
        tasks[split] = part.tasks
    first, layout = next(iter(layouts.items()))
    for split, other in layouts.items():
        if other != layout or tasks[split] != tasks[first]:
            differ = [k for k in {**layout, **other} if layout.get(k) != other.get(k)] or ["tasks"]
            raise InputError(
                f"splits '{first}' and '{split}' of one data set differ in {listing(differ)}: expected the same tasks, "
                "lengths, types and optional columns in all splits"
            )
    wrong = [
        f"{k} ({v.dtype} {v.shape[1:]})"
        for k, v in record_columns(parts[first]).items()
        if k.count("/") > 1 or (k not in TEXT and (v.dtype.kind not in "biuf" or 0 in v.shape))
    ]
    if wrong:
        raise InputError(f"columns {listing(wrong)}: expected numbers, at least one per row, under names without '/'")
    return layout


def _write_records(
    parts: Mapping[str, Dataset], layout: Layout, building: Path, name: str, version: str, shards: int
) -> None:
    """Lets TFDS write shards and descriptions; its sequential writer asks no server and needs memory for one chunk."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.dataset_info import DatasetIdentity

    text, tensor = tfds.features.Text, tfds.features.Tensor
    features: dict[str, Any] = {}
    for key, (dtype, shape) in layout.items():
        feature = text() if dtype == "text" else tensor(shape=shape, dtype=np.dtype(dtype), encoding="bytes")
        group, _, leaf = key.rpartition("/")
        (features.setdefault(group, {}) if group else features)[leaf] = feature
    first = next(iter(parts.values()))
    meta = {
        "format": FORMAT,
        "tasks": [[t.name, t.kind] for t in first.tasks],
        "columns": {k: [dtype, list(shape)] for k, (dtype, shape) in layout.items()},
        "splits": {
            split: {"rows": len(part), "fingerprint": part.fingerprint(), "notes": dict(part.notes)}
            for split, part in parts.items()
        },
    }
    identity = DatasetIdentity(
        name=name, version=tfds.core.Version(version), data_dir=str(building), module_name=__name__
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=f"{first.length} bp (codes 0-4 = A C G T unknown), {len(first.tasks)} tasks (NaN = not measured).",
        features=tfds.features.FeaturesDict(features),
        metadata=tfds.core.MetadataDict(dragon_jax=meta),
        disable_shuffling=True,
    )
    per_shard = -(-max(map(len, parts.values())) // shards)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=per_shard, file_format="array_record")
    writer.initialize_splits(list(parts))
    with tqdm(total=sum(map(len, parts.values())), desc=f"writing {name}", unit=" rows", disable=None) as bar:
        for split, part in parts.items():
            for examples in _examples(part, layout):
                writer.add_examples({split: examples})
                bar.update(len(examples))
    writer.close_all()
    _check_shards(info)


def _check_shards(info: Any) -> None:
    """Counts the records that really lie in every shard: a write that failed late would else pass for a short file."""
    from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

    for split in info.splits.values():
        for path, expected in zip(sorted(split.filepaths), split.shard_lengths, strict=True):
            reader = array_record_module.ArrayRecordReader(os.fspath(path))
            found = reader.num_records()
            reader.close()
            if found != expected:
                raise OSError(f"{found:,} of {expected:,} records in {path.name}")


def _examples(part: Dataset, layout: Layout) -> Iterator[list[dict[str, Any]]]:
    columns = record_columns(part)
    for start in range(0, len(part), CHUNK):
        rows = []
        for i in range(start, min(start + CHUNK, len(part))):
            row: dict[str, Any] = {}
            for key, values in columns.items():
                group, _, leaf = key.rpartition("/")
                value = str(values[i]) if layout[key][0] == "text" else np.asarray(values[i])
                (row.setdefault(group, {}) if group else row)[leaf] = value
            rows.append(row)
        yield rows


def _sweep(folder: Path) -> None:
    """Removes what builds of this host left behind that were killed: their process is gone."""
    for left in folder.glob(f".*.building-{socket.gethostname()}-*"):
        pid = left.name.split("-")[-2]
        if pid.isdigit():
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                shutil.rmtree(left, ignore_errors=True)
            except PermissionError:
                continue  # another user's process lives under this number


def _size(parts: Mapping[str, Dataset]) -> str:
    return f"{sum(v.nbytes for part in parts.values() for v in record_columns(part).values()) / 1e6:,.0f} MB"
