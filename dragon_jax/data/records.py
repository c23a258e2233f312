"""How rows lie in a TFDS folder: the columns of a record, reading rows back at random, and the digests of all files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Int

from dragon_jax.data.batches import Batch, columns
from dragon_jax.data.dataset import PROFILE, Dataset, Regions, Task
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.errors import InputError, listing, show

FORMAT = 2  # of the folder as a whole; a reader refuses any other
CHUNK = 2048  # rows that are encoded or decoded at a time
TEXT = ("id", "chrom")
Layout = dict[str, tuple[str, tuple[int, ...]]]  # type and shape of one row of every column of a record
DIGESTS = "digests.json"


def record_columns(dataset: Dataset) -> dict[str, np.ndarray]:
    """Returns all columns of a data set under their names in a record."""
    built_in = ("codes", "targets", "weight")
    own = {k: k if k in built_in or k.startswith(PROFILE) else f"inputs/{k}" for k in columns(dataset)}
    result = {own[k]: v for k, v in columns(dataset).items()} | {"id": dataset.ids}
    if dataset.regions is not None:
        regions = dataset.regions
        result |= {"chrom": regions.chrom, "start": regions.start, "end": regions.end}
    return result


class TfdsSplit:
    """Rows of one split, read on demand; a `RowSource`. Safe to use from several threads.

    Attributes:
        tasks: tasks in the order of the columns of `targets`.
        length: L, bases of every row.
        statistics: of every task, see `survey.Survey.record`.
        notes: counts recorded with the data set.
    """

    def __init__(self, path: str | Path, split: str, builder: Any):
        import tensorflow_datasets as tfds

        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        self.path, self.split = Path(path).expanduser(), split
        self._records = builder.as_data_source(split, deserialize_method=raw)
        self._info = builder.info.splits[split]
        meta = metadata(builder)
        own = meta["splits"][split]
        self._layout: Layout = {k: (dtype, tuple(shape)) for k, (dtype, shape) in meta["columns"].items()}
        self.tasks = tuple(Task(name, kind) for name, kind in meta["tasks"])
        self.length: int = self._layout["codes"][1][0]
        self._specs = {name: InputSpec.of(plain) for name, plain in (meta.get("inputs") or {}).items()}
        self.statistics: dict[str, list] = own["statistics"]
        self._own = own
        self.notes: dict[str, int] = own["notes"]
        if len(self._records) != own["rows"]:
            found = f"expected {own['rows']:,} rows, found {len(self._records):,}"
            raise InputError(f"split '{split}' of {path}: {found}. Build the data set again")

    def __len__(self) -> int:
        return len(self._records)

    @property
    def input_specs(self) -> dict[str, InputSpec]:
        """What every extra input is, by name; in folders of an older release, as its axes say."""
        names = [k.removeprefix("inputs/") for k in self._layout if k.startswith("inputs/")]
        axes = {name: 1 + len(self._layout[f"inputs/{name}"][1]) for name in names}
        return {name: self._specs.get(name) or InputSpec("signal" if axes[name] == 3 else "vector") for name in names}

    def fingerprint(self) -> str:
        """Returns `Dataset.fingerprint()` of the whole split, as recorded when it was written."""
        return self._own["fingerprint"]

    def row_fingerprint(self) -> str:
        """Returns `Dataset.row_fingerprint()` of the whole split, as recorded."""
        return self._own["row_fingerprint"]

    def files(self) -> list[str]:
        """Returns the names of the files of this split."""
        return [Path(name).name for name in self._info.filenames]

    def column(self, task: int) -> np.ndarray:
        """Returns float32 `[N]`, all values of one task: every record is read once, memory holds this column."""
        result = np.empty(len(self), np.float32)
        for start in range(0, len(self), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(self)))
            result[rows] = self._decode(rows, ["targets"])["targets"][:, task]
        return result

    def read(self, rows: Int[np.ndarray, " B"]) -> Batch:
        """Returns the batch of these rows (see `batches`), bit for bit what was written.

        Raises:
            InputError: a record cannot be read; names the damaged file.
        """
        wanted = [k for k in self._layout if k in ("codes", "targets", "weight") or k.startswith(("inputs/", PROFILE))]
        return {k.removeprefix("inputs/"): v for k, v in self._decode(rows, wanted).items()}

    def dataset(self) -> Dataset:
        """Reads the whole split into memory."""
        return dataclasses.replace(self.chunk(0, len(self)), notes=self.notes)

    def chunk(self, start: int, stop: int) -> Dataset:
        """Returns rows `[start, stop)` with everything that belongs to them."""
        stop = min(stop, len(self))
        numeric = {k: v for k, v in self._layout.items() if k not in TEXT}
        out = {k: np.empty((stop - start, *shape), dtype) for k, (dtype, shape) in numeric.items()}
        text: dict[str, list[str]] = {k: [] for k in self._layout if k in TEXT}
        for first in range(start, stop, CHUNK):
            chunk = self._decode(np.arange(first, min(first + CHUNK, stop)), list(self._layout))
            for k, values in chunk.items():
                if k in text:
                    text[k].extend(values)
                else:
                    out[k][first - start : first - start + len(values)] = values
        names = {k: np.array(values, dtype=str) for k, values in text.items()}
        return Dataset(
            codes=out["codes"],
            targets=out["targets"],
            tasks=self.tasks,
            ids=names["id"],
            regions=Regions(names["chrom"], out["start"], out["end"]) if "chrom" in names else None,
            inputs={k.removeprefix("inputs/"): v for k, v in out.items() if k.startswith("inputs/")},
            weights=out.get("weight"),
            profiles={k.removeprefix(PROFILE): v for k, v in out.items() if k.startswith(PROFILE)},
            specs=self._specs,
        )

    def _decode(self, rows: np.ndarray, wanted: list[str]) -> dict[str, Any]:
        """Arrays `[B, ...]`, or lists of text, of the wanted columns; all records' bytes are viewed as one array."""
        from tensorflow_datasets.proto import tf_example_pb2

        try:
            records = self._records.__getitems__(rows.tolist())
        except (RuntimeError, OSError) as e:
            self._name_the_damage(e)
        parse = tf_example_pb2.Example.FromString  # pyright: ignore[reportAttributeAccessIssue]
        features = [parse(record).features.feature for record in records]
        result: dict[str, Any] = {}
        for k in wanted:
            values = [f[k].bytes_list.value[0] for f in features]
            if k in TEXT:
                result[k] = [v.decode() for v in values]
            else:
                dtype, shape = self._layout[k]
                result[k] = np.frombuffer(bytearray().join(values), dtype).reshape(len(rows), *shape)
        return result

    def _name_the_damage(self, cause: Exception) -> NoReturn:
        """Raises the sentence for a failed read, after a look for the file that is at fault."""
        digests = read_digests(self.path)
        for path in map(Path, self._info.filenames):
            check_file(self.path, path.name, digests[path.name], bytewise=True)
        raise InputError(
            f"split '{self.split}' of {self.path} could not be read, though its files are intact: expected a readable "
            f"disk, found {show(cause)}"
        ) from cause


def write_digests(building: Path, known: Mapping[str, Mapping[str, Any]]) -> None:
    """Records size and SHA-256 of every file, and leaves all of them, and the folder, on the disk itself.

    Args:
        known: what was found out before, of files that are on the disk already.
    """
    files = sorted(p for p in building.iterdir() if p.is_file() and p.name != DIGESTS)
    digests = {p.name: known.get(p.name) or {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in files}
    (building / DIGESTS).write_text(json.dumps({"format": FORMAT, "files": digests}, indent=1))
    for path in (*(p for p in files if p.name not in known), building / DIGESTS, building):
        flush(path)


def sha256(path: Path) -> str:
    """Returns the digest of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Waits until a file or the entries of a folder are on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_digests(path: str | Path) -> dict[str, dict[str, Any]]:
    """Returns the files of a data set, each with its size and digest.

    Raises:
        InputError: the folder is no data set of ours, or the list is damaged.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"no data set at {path}: expected the folder of one version, found none")
    if not (folder / "dataset_info.json").is_file():
        inside = sorted(p.parent.relative_to(folder).as_posix() for p in folder.glob("**/dataset_info.json"))
        found = f"data sets in {listing(inside)} below it. Pass one of these" if inside else "nothing of the kind"
        raise InputError(f"no data set at {path}: expected dataset_info.json in the folder, found {found}")
    try:
        known = json.loads((folder / DIGESTS).read_text())
        if known["format"] == FORMAT:
            return known["files"]
    except FileNotFoundError as e:
        raise InputError(
            f"data set {path} has no {DIGESTS}: expected one that was written by dragon_jax. Write it with write_tfds"
        ) from e
    except (ValueError, KeyError, TypeError, OSError) as e:
        raise InputError(f"{folder / DIGESTS} is damaged: expected its list of files. Build or copy it again") from e
    found = show(known["format"])
    raise InputError(f"data set {path} has format {found}: expected {FORMAT}. Read it with the version that wrote it")


def check_file(folder: Path, name: str, expected: Mapping[str, Any], *, bytewise: bool) -> None:
    """Compares one file with its recorded size and, if `bytewise`, its digest.

    Raises:
        InputError: it is missing, cut off, longer, or holds other bytes.
    """
    what, remedy = (
        f"file {name} of data set {folder}",
        "Copy it again, or remove the folder and build the data set again",
    )
    wanted = f"expected {expected['bytes']:,} bytes"
    try:
        found = (folder / name).stat().st_size
        if found != expected["bytes"]:
            raise InputError(f"{what} is cut off or changed: {wanted}, found {found:,}. {remedy}")
        if bytewise and sha256(folder / name) != expected["sha256"]:
            raise InputError(f"{what} is damaged: {wanted} with the recorded digest, found another digest. {remedy}")
    except OSError as e:
        raise InputError(f"{what} cannot be read: {wanted}, found {show(e.strerror)}. {remedy}") from e


def open_builder(path: str | Path) -> Any:
    """Returns the read-only TFDS builder of a folder."""
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(os.fspath(Path(path).expanduser()))


def metadata(builder: Any) -> dict[str, Any]:
    """Returns what we recorded beside TFDS: format, tasks, columns, and per split rows, fingerprint and notes."""
    return builder.info.metadata["dragon_jax"]


def metadata_of(path: str | Path) -> dict[str, Any]:
    """Returns the same of a folder, without TFDS; empty where there is none that can be read."""
    try:
        return json.loads((Path(path).expanduser() / "metadata.json").read_text())["dragon_jax"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
