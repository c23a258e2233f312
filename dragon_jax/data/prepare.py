"""From the `data` part of a config to a TFDS folder named after its content: built once, found again, resumed when killed.

The name ends in a hash of the settings, the seed and every input file. The same settings over the same files therefore
meet the folder that is there already, and a changed file makes another one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dragon_jax.config import plain
from dragon_jax.data.builders import write_tfds
from dragon_jax.data.fingerprints import BLOCK
from dragon_jax.data.inputs import file_digests, input_files, looks
from dragon_jax.data.load import DataConfig, Opened, data_config
from dragon_jax.data.prepared import split_line
from dragon_jax.data.records import FORMAT, check_file, metadata_of, read_digests
from dragon_jax.data.rows import Rows
from dragon_jax.data.shards import layout_of, row_bytes
from dragon_jax.data.workplace import removed_if_unclaimed, resumable
from dragon_jax.errors import InputError, show

VERSION = "1.0.0"
SHARD_BYTES = 64 << 20  # few files for a large data set, and little to write again after a kill


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set that lies ready.

    Attributes:
        path: folder of the version, what `data.source.path` of a `tfds` source takes.
        content: hex digest of settings, seed, input files and format.
        fresh: whether this call wrote any of it.
        summary: lines about its splits.
    """

    path: Path
    content: str
    fresh: bool
    summary: tuple[str, ...]


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def prepare(
    config: Any,
    folder: str | Path,
    *,
    name: str,
    shard_rows: int | None = None,
    say: Callable[[str], None] = _print,
) -> Prepared:
    """Makes sure that the data set of a config lies under `folder/NAME_HASH/1.0.0`, and returns it.

    All splits are written, test too; nothing that was measured on test is shown.

    Args:
        config: an `ml_collections.ConfigDict` or plain dictionaries; `data`, and `seed`, which negatives and
            simulations follow, are read.
        folder: root that may hold many data sets.
        name: what the folder's name begins with, or the path of the config file, which gives one.
        shard_rows: rows of a file, a multiple of `fingerprints.BLOCK`; None = as many as fill about 64 MB.
        say: takes lines for the user.

    Raises:
        InputError: bad settings or files, files that change meanwhile, a data set that is damaged or being built, or a
            disk that is full; whole files are then kept for the next call.
    """
    raw = plain(config)
    if not isinstance(raw.get("data"), Mapping):
        raise InputError("data: expected this section in the config, found none")
    settings, seed, name = data_config(raw["data"]), int(raw.get("seed", 0)), data_set_name(name)
    root = Path(folder).expanduser()
    recipe = {"data": recipe_of(settings, str(raw["data"]["source"]["name"])), "seed": seed, "shard_rows": shard_rows}
    key = _digest(recipe)
    for place, about in _known(root, name):
        if about.get("key") == key and _unchanged(about):
            for file, expected in read_digests(place).items():
                check_file(place, file, expected, bytewise=False)
            shutil.rmtree(resumable(place), ignore_errors=True)  # left when a build was killed in its last moment
            return Prepared(place, about["content"], False, _lines(metadata_of(place)))
    named = input_files(settings.source)
    before = looks(named)
    opened, notes = open_noted(settings, seed)
    files = sorted({*named, *(opened.files or ())})
    digests = file_digests(files)
    if looks(named) != before:
        raise InputError("input files changed while they were read. Give the command again when they are complete")
    content = _digest({"format": FORMAT, "recipe": recipe, "files": digests})
    target = root / f"{name}_{content[:12]}" / VERSION
    if target.exists():  # finished meanwhile by another process
        if metadata_of(target).get("about", {}).get("content") != content:
            raise InputError(
                f"data set {target} is damaged: expected its metadata.json. Remove the folder and try again"
            )
        return Prepared(target, content, False, _lines(metadata_of(target)))
    for line in _clear(root, name, key, target):
        say(line)
    for line in (*(f"{count:,} {key}" for key, count in notes.items()), *opened.matching):
        say(line)
    whole = len(list(resumable(target).glob("records/*.json")))
    if whole:
        say(f"going on with {whole} whole file{'s' * (whole != 1)} of a build that was interrupted")
    about = {
        "key": key,
        "content": content,
        "recipe": recipe,
        "files": digests,
        "notes": notes,
        "matching": list(opened.matching),
        "match_report": opened.report.as_dict() if opened.report else {},
        "audited": True,
    }
    write_tfds(
        opened.parts,
        root,
        name=target.parent.name,
        version=VERSION,
        shard_rows=shard_rows or _shard_rows(opened.parts),
        about=about,
        resume=True,
        guard=lambda: looks(files),
    )
    return Prepared(target, content, True, _lines(metadata_of(target)))


def open_noted(settings: DataConfig, seed: int) -> tuple[Opened, dict[str, int]]:
    """Returns the rows of every split, divided and audited, and all that was put in order, dropped or made, by name."""
    opened = settings.open(seed)
    notes = dict(opened.notes)
    for split, counts in opened.made.items():
        notes |= {f"{key} in {split}": count for key, count in counts.items()}
    return opened, notes


def data_set_name(spec: str) -> str:
    """Returns a name for the data set of a config file: `configs/encode_tf.py:CTCF` is `encode_tf_ctcf`."""
    path, _, argument = spec.partition(":")
    words = re.sub(r"[^a-z0-9]+", "_", f"{Path(path).stem}_{argument}".lower()).strip("_")
    return words if re.match("[a-z]", words) else f"data_{words}".rstrip("_")


def recipe_of(config: DataConfig, name: str) -> dict[str, Any]:
    """Returns the settings as plain values, without those that have their default: a new one then changes no old hash."""
    source = _changed(config.source) | {"name": name}
    return {"source": source, "split": _changed(config.split), "negatives": _changed(config.negatives)}


def _lines(meta: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(split_line(meta, split) for split in meta["splits"])


def _changed(value: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        own = getattr(value, field.name)
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        if own != default:
            result[field.name] = _changed(own) if dataclasses.is_dataclass(own) else own
    return result


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _known(root: Path, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Data sets of this name that are there, each with what it says about its making."""
    for path in sorted(root.glob(f"{name}_*/{VERSION}")):
        if re.fullmatch(re.escape(name) + "_[0-9a-f]{12}", path.parent.name):
            yield path, metadata_of(path).get("about") or {}


def _unchanged(about: Mapping[str, Any]) -> bool:
    """Whether the input files of a data set hold what they held."""
    try:
        return file_digests(about["files"]) == about["files"]
    except InputError:
        return False  # one is gone: reading the data will say so in its own words


def _clear(root: Path, name: str, key: str, target: Path) -> Iterator[str]:
    """Removes what an interrupted build of the same settings left whose input files have changed since."""
    for left in sorted(root.glob(f"{name}_*/{resumable(target).name}")):
        if left == resumable(target):
            continue
        try:
            about = json.loads((left / "plan.json").read_text())["about"]
        except (OSError, ValueError, KeyError):
            continue
        if about.get("key") == key and removed_if_unclaimed(left):
            yield f"note: removed the unfinished data set {show(left.parent.name)}, whose input files have changed since"


def _shard_rows(parts: Mapping[str, Rows]) -> int:
    width = row_bytes(layout_of(next(iter(parts.values())).chunk(0, 1)))
    return max(BLOCK, SHARD_BYTES // width // BLOCK * BLOCK)
