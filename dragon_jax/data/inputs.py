"""The input files of a data set: which they are, and their digests, remembered as long as a file looks the same."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dragon_jax.data.records import DIGESTS, sha256
from dragon_jax.errors import InputError, show
from dragon_jax.files import atomic_write, expand
from dragon_jax.runtime import cache_folder

_SETTLED_NS = 2_000_000_000  # a file younger than this may change again without a new time stamp


def input_files(source: Any) -> list[str]:
    """Returns the files that a source names, as they are written there: its own `paths()`, else every text that is one.

    The folder of a TFDS data set stands for its list of digests.
    """
    own: Any = getattr(source, "paths", None)
    names: Iterable[str] = own() if callable(own) else _texts(dataclasses.asdict(source))  # pyright: ignore
    found = []
    for name in names:
        with contextlib.suppress(InputError, OSError, ValueError):
            path = expand(name)
            if path.is_file():
                found.append(name)
            elif (path / DIGESTS).is_file():
                found.append(os.path.join(name, DIGESTS))
    return sorted(dict.fromkeys(found))


def looks(files: Iterable[str]) -> list[list[Any]]:
    """Returns what tells cheaply that files are as they were: name, bytes and time of the last change of each.

    Raises:
        InputError: one is gone.
    """
    return [[name, found.st_size, found.st_mtime_ns] for name, found in ((n, _stat(n)) for n in sorted(files))]


def file_digests(files: Iterable[str]) -> dict[str, str]:
    """Returns the SHA-256 of each file by its name; those that look as when they were last read are not read again.

    Raises:
        InputError: a file is gone or cannot be read.
    """
    result: dict[str, str] = {}
    todo: list[str] = []
    for name in sorted(files):
        known = _remembered(expand(name), _stat(name))
        if known is None:
            todo.append(name)
        else:
            result[name] = known
    for name in tqdm(todo, desc="reading input files", unit=" files", disable=None, leave=False):
        before = _stat(name)
        try:
            result[name] = sha256(expand(name))
        except OSError as e:
            raise InputError(f"cannot read {show(name, 300)}: expected a readable file, found {e.strerror}") from e
        if _look(_stat(name)) != _look(before):
            raise InputError(f"{show(name, 300)} changed while it was read. Give the command again when it is complete")
        _remember(expand(name), before, result[name])
    return {name: result[name] for name in sorted(result)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _texts(item)


def _stat(name: str) -> os.stat_result:
    try:
        return expand(name).stat()
    except OSError as e:
        raise InputError(f"input file {show(name, 300)} is gone: expected it where the data were read from") from e


def _look(found: os.stat_result) -> list[int]:
    return [found.st_size, found.st_mtime_ns]


def _note(path: Path) -> Path | None:
    if os.environ.get("DRAGON_CACHE") == "":
        return None
    key = hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:32]
    return cache_folder() / "digests" / f"{key}.json"


def _remembered(path: Path, found: os.stat_result) -> str | None:
    note = _note(path)
    if note is None:
        return None
    try:
        record = json.loads(note.read_text())
        same = record["look"] == _look(found) and record["path"] == os.path.realpath(path)
        return str(record["sha256"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(path: Path, found: os.stat_result, digest: str) -> None:
    """Keeps a digest for the next time; a cache that cannot be written costs time and nothing else."""
    note = _note(path)
    if note is None or time.time_ns() - found.st_mtime_ns < _SETTLED_NS:
        return
    with contextlib.suppress(Exception):
        note.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(note) as out:
            json.dump({"path": os.path.realpath(path), "look": _look(found), "sha256": digest}, out)
