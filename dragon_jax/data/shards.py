"""The shards of a data set, written one after the other, each whole one on record: a build that was killed goes on.

A shard counts once its file is on the disk and a record beside it says size, digest and survey. What has no record is
written again, and comes out with the same bytes: nothing but the rows decides them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dragon_jax.data.dataset import Dataset
from dragon_jax.data.fingerprints import BLOCK
from dragon_jax.data.records import TEXT, Layout, flush, record_columns, sha256
from dragon_jax.data.rows import CHUNK, Rows
from dragon_jax.data.survey import Survey
from dragon_jax.errors import InputError, listing

CHUNK_BYTES = 32 << 20  # of rows that are made and encoded together


class WriteError(Exception):
    """The disk did not take what was written; holds the reason."""


@dataclasses.dataclass
class Split:
    """One split as it lies on the disk.

    Attributes:
        survey: of all its rows. lengths: rows of each shard. num_bytes: of all records.
        files: size and digest of each shard that is on record, by name.
    """

    survey: Survey
    lengths: list[int] = dataclasses.field(default_factory=list)
    num_bytes: int = 0
    files: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


def write_shards(
    parts: Mapping[str, Rows], layout: Layout, folder: Path, name: str, per_shard: int, records: Path | None = None
) -> dict[str, Split]:
    """Writes every split as files `NAME-SPLIT.array_record-00000` ... of `per_shard` rows; memory holds one chunk.

    Args:
        layout: what every chunk must look like.
        records: folder for the records of whole shards; those that lie there are believed when the digest of their file
            is right. `per_shard` must then be a multiple of `fingerprints.BLOCK`. None = nothing is taken over.

    Raises:
        InputError: rows that change their columns on the way.
        WriteError: the disk is full or read-only.
    """
    if records is not None and per_shard % BLOCK:
        raise ValueError(f"per_shard={per_shard}: expected a multiple of {BLOCK}")
    done = {} if records is None else _finished(parts, folder, name, per_shard, records)
    chunk = max(1, min(CHUNK, CHUNK_BYTES // row_bytes(layout)))
    result: dict[str, Split] = {}
    total = sum(map(len, parts.values()))
    before = sum(record["rows"] for record in done.values())
    with tqdm(total=total, initial=before, desc=f"writing {name}", unit=" rows", unit_scale=True, disable=None) as bar:
        for split, rows in parts.items():
            whole = result[split] = Split(Survey.empty(rows.tasks, rows.length))
            for index, start in enumerate(range(0, len(rows), per_shard)):
                stop = min(start + per_shard, len(rows))
                record = done.get((split, index))
                path = folder / file_name(name, split, index)
                if record is None:
                    # Without records sums run on over the whole split: shards need not end where a block does.
                    part = whole.survey if records is None else Survey.empty(rows.tasks, rows.length)
                    size = _write(rows, start, stop, chunk, layout, path, part, bar)
                    record = {"rows": stop - start, "record_bytes": size}
                    if records is not None:
                        _keep(record, path, part, records / f"{split}-{index:05d}.json")
                else:
                    part = Survey.of(record["survey"])
                if records is not None:
                    whole.survey.extend(part)
                    whole.files[path.name] = {"bytes": record["bytes"], "sha256": record["sha256"]}
                whole.lengths.append(stop - start)
                whole.num_bytes += record["record_bytes"]
    return result


def file_name(name: str, split: str, index: int) -> str:
    """Returns the name of a shard, as the template that TFDS is told says."""
    return f"{name}-{split}.array_record-{index:05d}"


def layout_of(data: Dataset) -> Layout:
    """Returns type and shape of one row of every column of a record."""
    return {k: ("text", ()) if k in TEXT else (v.dtype.name, v.shape[1:]) for k, v in record_columns(data).items()}


def row_bytes(layout: Layout) -> int:
    """Returns about how many bytes a row takes; names are taken for 16."""
    return sum(16 if dtype == "text" else np.dtype(dtype).itemsize * int(np.prod(s)) for dtype, s in layout.values())


def _finished(
    parts: Mapping[str, Rows], folder: Path, name: str, per_shard: int, records: Path
) -> dict[tuple[str, int], dict[str, Any]]:
    """Records of the shards that an earlier process finished and whose files are as it left them."""
    done = {}
    for split, rows in parts.items():
        for index, start in enumerate(range(0, len(rows), per_shard)):
            try:
                record = json.loads((records / f"{split}-{index:05d}.json").read_text())
                path = folder / file_name(name, split, index)
                intact = path.stat().st_size == record["bytes"] and sha256(path) == record["sha256"]
                if intact and record["rows"] == min(per_shard, len(rows) - start):
                    done[split, index] = record
            except (OSError, ValueError, KeyError):
                continue
    return done


def _keep(record: dict[str, Any], path: Path, part: Survey, target: Path) -> None:
    """Says that a shard is whole, once it is on the disk."""
    with writing():
        flush(path)
        record |= {"bytes": path.stat().st_size, "sha256": sha256(path), "survey": part.state()}
        temporary = target.with_suffix(".tmp")
        with open(temporary, "w") as out:
            json.dump(record, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, target)
        flush(target.parent)
        flush(path.parent)


def _write(rows: Rows, start: int, stop: int, chunk: int, layout: Layout, path: Path, part: Survey, bar: tqdm) -> int:
    """Writes one shard and returns the bytes of its records; its rows enter `part`."""
    from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

    size = 0
    with writing():
        path.unlink(missing_ok=True)
        writer = array_record_module.ArrayRecordWriter(os.fspath(path), "group_size:1")
    try:
        for first in range(start, stop, chunk):
            data = native(rows.chunk(first, min(first + chunk, stop)))
            _check(data, layout, min(chunk, stop - first))
            part.add(data)
            with writing():
                for record in encoded(data, layout):
                    size += len(record)
                    writer.write(record)
            bar.update(len(data))
    except BaseException:
        with contextlib.suppress(Exception):  # what ended the writing is the reason to give
            writer.close()
        raise
    with writing():
        writer.close()
        reader = array_record_module.ArrayRecordReader(os.fspath(path))
        found = reader.num_records()
        reader.close()
        if found != stop - start:  # a write that failed late would else pass for a short file
            raise OSError(f"{found:,} of {stop - start:,} records in {path.name}")
    return size


def native(data: Dataset) -> Dataset:
    """Returns the data set with inputs in this machine's byte order, which is the one that records are decoded in."""
    return dataclasses.replace(
        data, inputs={k: v.astype(v.dtype.newbyteorder("="), copy=False) for k, v in data.inputs.items()}
    )


def _check(data: Dataset, layout: Layout, count: int) -> None:
    found = layout_of(data)
    if found != layout or len(data) != count:
        differ = [k for k in {**layout, **found} if layout.get(k) != found.get(k)]
        what = f"other columns ({listing(differ)})" if differ else f"{len(data):,} rows instead of {count:,}"
        raise InputError(f"rows of one split came with {what} than the rows before: expected the same in every part")


def encoded(data: Dataset, layout: Layout) -> Iterator[bytes]:
    """Yields each row as the bytes of a `tf.train.Example`: one list of bytes per column, arrays as they lie in memory."""
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]
    columns = {}
    for key, values in record_columns(data).items():
        if layout[key][0] == "text":
            columns[key] = [str(v).encode() for v in values.tolist()]
        else:
            raw = np.ascontiguousarray(values).tobytes()
            width = len(raw) // len(data)
            columns[key] = [raw[i : i + width] for i in range(0, len(raw), width)]
    keys = list(columns)
    for values in zip(*columns.values(), strict=True):
        row = example()
        feature = row.features.feature
        for key, value in zip(keys, values, strict=True):
            feature[key].bytes_list.value.append(value)
        yield row.SerializeToString(deterministic=True)


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Turns what the disk has to say into a WriteError; ArrayRecord reports a full disk as a RuntimeError."""
    try:
        yield
    except (OSError, RuntimeError) as e:
        raise WriteError(getattr(e, "strerror", None) or str(e)) from e
