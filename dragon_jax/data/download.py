"""Fetches public data sets: resumed where the connection broke, checked by digest, whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dragon_jax.data.catalogue import HOST, RemoteFile, remote_set
from dragon_jax.data.records import flush, sha256
from dragon_jax.errors import InputError, RunError, show
from dragon_jax.files import expand

ATTEMPTS = 6  # in a row that bring nothing, before it is given up
_PIECE = 1 << 16
_TIMEOUT = 30.0
_FINAL = (400, 401, 403, 404, 405, 410, 451)  # answers that asking again will not change
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, TimeoutError, ConnectionError)


def download(
    name: str,
    out: str | os.PathLike = "$DRAGON_DATA",
    *,
    say: Callable[[str], None] = print,
    host: str = HOST,
    pause: float = 1.0,
) -> Path:
    """Fetches the files of a data set that are not there yet to `out/NAME`, and returns that folder.

    Args:
        name: of `catalogue.SETS`.
        out: folder of data sets; made when it is missing.
        say: takes lines for the user. host: what serves the repositories.
        pause: seconds before the second attempt, doubled for each further one.

    Raises:
        InputError: no such data set, one of derived files only, or a place that cannot be written.
        RunError: no connection, no such file there, other bytes than expected, or a full disk. What was transferred
            stays in a `.part` file, and the next call goes on from there.
    """
    about, files = remote_set(name)
    if not files:
        raise InputError(f"data set '{name}' cannot be fetched, its files are derived: {about.derived}")
    folder = expand(out) / name
    todo = [file for file in files if not _right(folder / file.name, file)]
    say(f"{name}: {about.about}")
    say(f"licence: {about.licence}; please cite: {about.citation}")
    total = sum(file.bytes for file in files)
    there = total - sum(file.bytes for file in todo)
    with tqdm(total=total, initial=there, desc=name, unit="B", unit_scale=True, disable=None) as bar:
        for file in todo:
            try:
                _fetch(file, folder / file.name, host, pause, bar)
            except OSError as e:
                if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise RunError(
                        f"the disk is full: {show(folder / file.name, 300)} needs {file.bytes:,} bytes. What was fetched is "
                        "kept; make room and give the same command again"
                    ) from e
                raise InputError(
                    f"cannot write {show(folder / file.name, 300)}: expected a folder that can be written, found {e.strerror}"
                ) from e
    say(f"{len(todo):,} of {len(files):,} files fetched, the others were there: {folder}")
    if about.derived:
        say(f"not fetched, because derived: {about.derived}")
    return folder


def _right(path: Path, file: RemoteFile) -> bool:
    """Whether a file is there with the bytes, or the decompressed bytes, that it must have."""
    try:
        if file.kept == "same":
            return path.stat().st_size == file.bytes and sha256(path) == file.sha256
        with gzip.open(path) as unpacked:
            return _digest(unpacked) == file.sha256
    except (OSError, EOFError, ValueError):
        return False


def _digest(source: Any) -> str:
    digest = hashlib.sha256()
    while piece := source.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _fetch(file: RemoteFile, target: Path, host: str, pause: float, bar: tqdm) -> None:
    """Makes one file appear under its name, whole and right."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with open(part, "ab") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise InputError(f"{show(target, 300)} is being fetched by another process. Wait for it to end") from e
        resumed = out.tell() > 0
        bar.update(min(out.tell(), file.bytes))
        _transfer(file, out, host, pause, bar)
        if resumed and not _whole(part, file):  # what an earlier process left was not what it seemed
            bar.update(-out.tell())
            out.truncate(0)
            out.seek(0)
            _transfer(file, out, host, pause, bar)
        os.fsync(out.fileno())
        if not _whole(part, file):
            found = f"{part.stat().st_size:,} bytes with {sha256(part)[:16]}..."
            part.unlink()
            raise RunError(
                f"{file.url(host)} is not what it was: expected {file.bytes:,} bytes with SHA-256 {file.sha256[:16]}..., "
                f"found {found}. Nothing was kept; try again, or report that the address has changed"
            )
        if file.kept == "same":
            os.replace(part, target)
        else:
            _compress(part, target)
            part.unlink()
    flush(target.parent)


def _whole(part: Path, file: RemoteFile) -> bool:
    return part.stat().st_size == file.bytes and sha256(part) == file.sha256


def _compress(part: Path, target: Path) -> None:
    """Keeps a text file compressed, always with the same bytes: no name and no time inside."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(part, "rb") as source, open(temporary, "wb") as raw:
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
                while piece := source.read(_PIECE):
                    packed.write(piece)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _transfer(file: RemoteFile, out: Any, host: str, pause: float, bar: tqdm) -> None:
    """Adds to `out` what is missing, over as many connections as it takes."""
    idle, most = 0, out.tell()
    while out.tell() < file.bytes:
        try:
            _read(file.url(host), file.bytes, out, bar)
            reason = "the connection ended early"
        except urllib.error.HTTPError as e:
            e.close()
            if e.code in _FINAL:
                raise RunError(f"cannot fetch {file.url(host)}: the server says {e.code} {e.reason}") from e
            if e.code == 416:  # it does not have the place that was asked for: begin again
                bar.update(-out.tell())
                out.truncate(0)
                out.seek(0)
            reason = f"the server says {e.code} {e.reason}"
        except _BROKEN as e:
            reason = str(getattr(e, "reason", None) or e)
        if out.tell() >= file.bytes:
            return
        idle = 0 if out.tell() > most else idle + 1  # beginning again and coming as far as before is no progress
        most = max(most, out.tell())
        if idle >= ATTEMPTS:
            raise RunError(
                f"cannot fetch {file.url(host)}: {show(reason, 120)}, {ATTEMPTS} times. {out.tell():,} of {file.bytes:,} "
                "bytes are kept; give the same command again when the network is there"
            )
        time.sleep(pause * 2 ** max(0, idle - 1) if idle else 0)


def _read(url: str, size: int, out: Any, bar: tqdm) -> None:
    """Appends one answer to `out`; an answer that does not begin where it should replaces what is there."""
    start = out.tell()
    request = urllib.request.Request(url, headers={"User-Agent": "dragon_jax", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with contextlib.closing(urllib.request.urlopen(request, timeout=_TIMEOUT)) as answer:
        follows = answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-")
        if start and not follows:
            bar.update(-start)
            out.truncate(0)
            out.seek(0)
        while piece := answer.read1(_PIECE):
            out.write(piece)
            bar.update(len(piece))
            if out.tell() > size:  # too long to be right: the digest will say so
                break
    out.flush()
