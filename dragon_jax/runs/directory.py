"""A run directory: its files, who may write it, and what state it is in."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from dragon_jax.errors import InputError, RunError
from dragon_jax.training.logs import jsonable, read_metrics, torn_sentence

BEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0
_TEMPORARY = re.compile(r"\.(\d+)(-[0-9a-f]{8})?\.tmp$")  # as `write_whole` and `files.atomic_write` name them


def write_whole(path: Path, text: str) -> None:
    """Writes text under a temporary name and renames it, so that a reader sees the old or the new, never a part.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except OSError as e:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RunError(f"could not write {path}: {os.strerror(e.errno or errno.EIO)}") from e


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, whole or not at all; NaN becomes null. Raises as `write_whole`."""
    write_whole(path, json.dumps(jsonable(value), indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file of a run directory.

    Raises:
        InputError: absent or damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as e:
        raise InputError(f"{path.parent} has no {path.name}: expected a run directory made by 'dragon train'") from e
    except (ValueError, OSError) as e:
        raise InputError(f"{path} cannot be read: {str(e)[:80]}") from e


class RunDir:
    """The files of one run. Reading needs no lease; writing happens inside `claim`."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(os.path.expandvars(os.path.expanduser(path)))

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        """Whether a run was started here."""
        return (self.path / "config.json").exists()

    def __getitem__(self, name: str) -> Path:
        return self.path / name

    @property
    def config(self) -> dict[str, Any]:
        return read_json(self["config.json"])

    @property
    def provenance(self) -> dict[str, Any]:
        return read_json(self["provenance.json"])

    @property
    def status(self) -> dict[str, Any]:
        return read_json(self["status.json"]) if self["status.json"].exists() else {"state": "absent", "step": 0}

    @property
    def results(self) -> dict[str, Any]:
        return read_json(self["results.json"]) if self["results.json"].exists() else {}

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the lines of `metrics.jsonl`; torn ones are left out with one warning that gives their numbers."""
        rows, torn = read_metrics(self["metrics.jsonl"])
        if torn:
            warnings.warn(torn_sentence(self["metrics.jsonl"], torn), stacklevel=2)
        return rows

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file here, whole or not at all."""
        write_whole(self[name], text)

    def update(self, name: str, **changes: Any) -> None:
        """Changes top-level fields of a JSON file here."""
        current = read_json(self[name]) if self[name].exists() else {}
        write_json(self[name], current | changes)

    def set_status(self, state: str, step: int, **more: Any) -> None:
        write_json(self["status.json"], {"state": state, "step": step, "lease": _identity(), **more})

    def prepare(self) -> None:
        """Makes the directory.

        Raises:
            InputError: the path is a file, belongs to something else, or cannot be written.
        """
        if self.path.is_file():
            raise InputError(f"{self}: expected a directory for the run, found a file. Choose another --workdir")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise InputError(f"{self} cannot be made: {e.strerror}. Choose another --workdir") from e
        strangers = [p.name for p in self.path.iterdir() if not p.name.startswith(".")]
        if strangers and not self.exists() and "lease.json" not in strangers:
            raise InputError(f"{self} holds other files ({strangers[0]}) and no run: choose an empty or new --workdir")
        if not os.access(self.path, os.W_OK):
            raise InputError(f"{self} cannot be written: no permission. Choose another --workdir")

    def discard(self) -> None:
        """Removes what a run that never trained has written; the lease goes when the claim ends."""
        for name in (
            "config.json",
            "model.json",
            "provenance.json",
            "status.json",
            "model.txt",
            "metrics.jsonl",
            "transfer.txt",
        ):
            self[name].unlink(missing_ok=True)
        for name in ("tensorboard", "checkpoints"):
            shutil.rmtree(self[name], ignore_errors=True)

    @contextlib.contextmanager
    def claim(self) -> Iterator[str]:
        """Makes this process the one writer until the block ends; a heartbeat shows others that it lives.

        Yields a sentence on a lease that was taken over from a dead process, or an empty string.

        Raises:
            InputError: another living process writes here.
        """
        made = [p for p in (self.path, *self.path.parents) if not p.exists()]
        self.prepare()
        note, token, gone = "", uuid.uuid4().hex, set()
        lease = self["lease.json"]
        while not _create(lease, token):
            holder = _holder(lease)
            if holder is None:
                self.prepare()  # it was let go between our two looks, perhaps with its folder
                continue
            if _alive(holder, lease):
                since = time.strftime("%H:%M", time.localtime(holder["since"]))
                age = max(0, round(time.time() - holder["beat"]))
                raise InputError(
                    f"{self} is being written by process {holder['pid']} on {holder['host']} since {since} (last sign of life "
                    f"{age} s ago). Choose another --workdir or stop it"
                )
            gone.add(holder["pid"])
            note = f"{self} was left by process {holder['pid']} on {holder['host']}, which is gone; taken over"
            with contextlib.suppress(FileNotFoundError):  # only one of several takers can rename it
                aside = lease.with_name(f".lease.{token}")
                os.rename(lease, aside)
                aside.unlink()
        _sweep(self.path, gone)
        ended = threading.Event()
        beating = threading.Thread(target=_beat, args=(lease, token, ended), daemon=True, name="lease")
        beating.start()
        try:
            yield note
        finally:
            ended.set()
            beating.join()
            with contextlib.suppress(OSError):
                if (_holder(lease) or {}).get("token") == token:
                    lease.unlink()
                for folder in made:  # of a refused command nothing stays; a folder with anything in it does
                    folder.rmdir()


def _identity() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": _started(os.getpid())}


def _started(pid: int) -> str:
    """Start time of a process as the kernel counts it: tells a living process from a later one with the same number."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""


def _create(lease: Path, token: str) -> bool:
    """Claims by linking a complete file to the name: exactly one of many processes succeeds."""
    now = time.time()
    temporary = lease.with_name(f".lease.{token}.new")
    temporary.write_text(json.dumps(_identity() | {"token": token, "since": now, "beat": now}))
    try:
        os.link(temporary, lease)
        return True
    except (FileExistsError, FileNotFoundError):  # held by another; or swept away by one who took us for dead
        return False
    finally:
        temporary.unlink(missing_ok=True)


def _holder(lease: Path) -> dict[str, Any] | None:
    try:
        return json.loads(lease.read_text())
    except FileNotFoundError:
        return None
    except ValueError:  # damaged: nobody of ours writes parts
        return {"pid": -1, "host": "an unknown host", "started": "", "token": "", "since": 0.0, "beat": 0.0}


def _alive(holder: dict[str, Any], lease: Path) -> bool:
    if holder["host"] == socket.gethostname() and holder["pid"] > 0:
        try:
            os.kill(holder["pid"], 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        started = _started(holder["pid"])
        if started and holder["started"]:
            return started == holder["started"]
    age = time.time() - holder["beat"]
    if age > -DEAD_SECONDS:
        return age < DEAD_SECONDS
    # a heartbeat from the future: that clock or ours is wrong, so only a beat that moves shows life
    time.sleep(2 * BEAT_SECONDS + 1)
    later = _holder(lease)
    return later is not None and later["beat"] != holder["beat"]


def _sweep(folder: Path, gone: Collection[int]) -> None:
    """Removes temporary files that killed processes have left in a run directory; its lease holder calls this.

    Pieces of a lease go when their process is dead, other files when they are a minute old or carry the number of one
    of the `gone` processes, whose lease was taken over: `dragon evaluate` and `dragon report` may be writing here.
    """
    for path in folder.glob(".lease.*"):
        holder = _holder(path)
        if holder is not None and not _alive(holder | {"beat": min(holder["beat"], time.time())}, path):
            path.unlink(missing_ok=True)
    for place in (folder, folder / "predictions"):
        for path in place.glob(".*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                writer = _TEMPORARY.search(path.name)
                if writer and (int(writer[1]) in gone or time.time() - path.stat().st_mtime > DEAD_SECONDS):
                    path.unlink()


def _beat(lease: Path, token: str, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        holder = _holder(lease)
        if holder is None or holder.get("token") != token:
            return  # taken over: we were thought dead
        temporary = lease.with_name(f".lease.{token}.beat")
        with contextlib.suppress(OSError):  # a full disk must not end the run from here
            temporary.write_text(json.dumps(holder | {"beat": time.time()}))
            os.replace(temporary, lease)
