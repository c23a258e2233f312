"""Where a data set lies while it is built: a hidden folder beside its final place, and who may work in it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dragon_jax.data.shards import writing
from dragon_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Workplace:
    """Folders of one build.

    Attributes:
        data: what is renamed to the final name when it is complete.
        records: records of whole shards, or None where nothing outlives the process.
    """

    data: Path
    records: Path | None


def resumable(target: Path) -> Path:
    """Returns the hidden folder where a build of `target` that may be resumed works."""
    return target.with_name(f".{target.name}.building")


@contextlib.contextmanager
def workplace(target: Path, resume: bool, plan: Mapping[str, Any]) -> Iterator[Workplace]:
    """Gives the folders to build `target` in, and clears up: after success always, after failure unless `resume`.

    Args:
        resume: go on with what an earlier process left that had the same plan.
        plan: plain values that decide every byte of the data set, together with name and version.

    Raises:
        InputError: the version exists, or another process builds it.
        WriteError: the disk is full or read-only.
    """
    if target.exists():
        raise InputError(f"data set {target} exists already: versions are never overwritten. Pass another version")
    own = f".{target.name}.building-{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
    building = resumable(target) if resume else target.with_name(own)
    try:
        with writing():
            target.parent.mkdir(parents=True, exist_ok=True)
            sweep(target.parent)
            building.mkdir(exist_ok=resume)
        with claimed(building, target) if resume else contextlib.nullcontext():
            if target.exists():  # another process finished it while this one waited for its turn
                raise InputError(f"data set {target} exists already: versions are never overwritten")
            place = Workplace(building / "data", building / "records" if resume else None)
            if resume:
                _keep_plan(building, json.dumps(plan, sort_keys=True))
            with writing():
                for path in (place.data, place.records):
                    if path is not None:
                        path.mkdir(exist_ok=True)
            yield place
            shutil.rmtree(building, ignore_errors=True)
    finally:
        if not resume:
            shutil.rmtree(building, ignore_errors=True)
        with contextlib.suppress(OSError):
            target.parent.rmdir()  # only when nothing came to lie in it


def _keep_plan(building: Path, plan: str) -> None:
    """Empties the folder when what lies in it was made by another plan."""
    path = building / "plan.json"
    with writing():
        if path.exists() and path.read_text() == plan:
            return
        for name in ("data", "records"):
            shutil.rmtree(building / name, ignore_errors=True)
        temporary = building / "plan.tmp"
        with open(temporary, "w") as out:
            out.write(plan)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)


@contextlib.contextmanager
def claimed(building: Path, target: Path) -> Iterator[None]:
    """Holds the folder of a build for this process; the system lets go of it when the process ends, however it ends."""
    path = building / "lock"
    with writing():
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here = os.fstat(handle).st_ino == os.stat(path).st_ino
        except OSError:
            here = False
        if not here:  # held, or finished and cleared away between the two calls
            raise InputError(
                f"data set {target} is being built by another process ({_holder(handle)}): expected one at a time. "
                "Give the same command again when it has ended"
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(handle)


def removed_if_unclaimed(building: Path) -> bool:
    """Removes the folder of a build that nobody works in, and its parent when that is empty then; else returns False."""
    try:
        with claimed(building, building):
            shutil.rmtree(building)
    except (InputError, OSError):
        return False
    with contextlib.suppress(OSError):
        building.parent.rmdir()
    return True


def _holder(handle: int) -> str:
    return os.pread(handle, 200, 0).decode(errors="replace") or "which has just begun or ended"


def sweep(folder: Path) -> None:
    """Removes what builds of this host left behind that were killed and cannot be resumed: their process is gone."""
    for left in folder.glob(f".*.building-{socket.gethostname()}-*"):
        pid = left.name.split("-")[-2]
        if pid.isdigit():
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                shutil.rmtree(left, ignore_errors=True)
            except PermissionError:
                continue  # another user's process lives under this number
