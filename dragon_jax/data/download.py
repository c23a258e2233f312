"""Fetches public data sets, and makes what is no copy: resumed where it broke, checked by digest, whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import http.client
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dragon_jax.data.catalogue import HOST, RemoteFile, remote_set, source_files
from dragon_jax.data.derive import make
from dragon_jax.data.derived import DerivedFile, derived_files
from dragon_jax.data.records import flush, sha256
from dragon_jax.errors import InputError, RunError, show
from dragon_jax.files import expand

SOURCES = ".sources"  # folder below that of a data set
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
    """Brings the files of a data set that are not there yet to `out/NAME`, and returns that folder.

    Files that are no copies are made from sources, which are fetched in the same way and lie in `out/NAME/.sources` until
    all files are right.

    Args:
        name: of `catalogue.SETS`.
        out: folder of data sets; made when it is missing.
        say: takes lines for the user. host: what serves the repositories.
        pause: seconds before the second attempt, doubled for each further one.

    Raises:
        InputError: no such data set, or a place that cannot be written.
        RunError: no connection, no such file there, other bytes than expected, or a full disk. What was transferred
            stays in a `.part` file or among the sources, and the next call goes on from there. A made file whose content
            is not that of the table is kept as `NAME.differs`.
    """
    about, files = remote_set(name)
    made = derived_files().get(name, ())
    folder = expand(out) / name
    todo = [file for file in files if not _right(folder / file.name, file)]
    unmade = [file for file in made if not file.right(folder / file.name)]
    wanted = {source for file in unmade for source in file.sources}
    sources = {file.name: file for file in source_files()[name] if file.name in wanted}
    say(f"{name}: {about.about}")
    say(f"licence: {about.licence}; please cite: {about.citation}")
    todo += [file for file in sources.values() if not (folder / SOURCES / file.name).is_file()]
    total = sum(file.bytes for file in files)
    there = total - sum(file.bytes for file in todo)
    with tqdm(total=total, initial=there, desc=name, unit="B", unit_scale=True, disable=None) as bar:
        for file in todo:
            with _writing(folder / file.name, f"{file.bytes:,} bytes" if file.bytes else "room"):
                _fetch(file, folder / (SOURCES if file.kept == "source" else ".") / file.name, host, pause, bar)
    fetched = sum(file.kept != "source" for file in todo)
    if unmade:
        _make(unmade, folder, set(sources), say)
    shutil.rmtree(folder / SOURCES, ignore_errors=True)
    say(
        f"{fetched + len(unmade):,} of {len(files) + len(made):,} files fetched or made, the others were there: {folder}"
    )
    return folder


def _make(unmade: Sequence[DerivedFile], folder: Path, sources: Set[str], say: Callable[[str], None]) -> None:
    """Makes files out of fetched sources, and throws the sources of a wrong one away."""
    faults: list[tuple[DerivedFile, str]] = []
    place = folder / SOURCES
    say(f"making {len(unmade):,} files out of {len(sources):,} sources")
    for file in tqdm(unmade, desc="making", unit="file", disable=None):
        paths = [(place if source in sources else folder) / source for source in file.sources]
        with _writing(folder / file.name, "room"):
            try:
                fault = make(file, folder / file.name, paths)
            except RunError:
                _throw_away(file, place)
                raise
        if fault:
            faults.append((file, fault))
    if faults:
        for file, _ in faults:
            _throw_away(file, place)
        more = f" (and {len(faults) - 1:,} more files of {folder.name})" if len(faults) > 1 else ""
        raise RunError(
            f"{faults[0][1]}{more}. Its sources were thrown away: give the same command again, or report that they have changed"
        )


def _throw_away(file: DerivedFile, place: Path) -> None:
    for source in file.sources:
        (place / source).unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(target: Path, needed: str) -> Iterator[None]:
    """Turns what a disk may say while `target` is written into one sentence."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RunError(
                f"the disk is full: {show(target, 300)} needs {needed}. What was fetched is kept; make room and give the "
                "same command again"
            ) from e
        raise InputError(
            f"cannot write {show(target, 300)}: expected a folder that can be written, found {e.strerror or e}"
        ) from e


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
        bar.update(min(out.tell(), file.bytes))  # of a source nobody knows how much there is: it is not counted
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
        if file.kept != "gzip":
            os.replace(part, target)
        else:
            _compress(part, target)
            part.unlink()
    flush(target.parent)


def _whole(part: Path, file: RemoteFile) -> bool:
    if file.kept == "source":
        return True  # all that the server has; what is made of it will be checked
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
    idle, most, size = 0, out.tell(), file.bytes or None
    while size is None or out.tell() < size:
        reason = "the connection ended early"
        try:
            with _answer(file.url(host), out.tell()) as answer:
                size = size or _length(answer)
                _read(answer, size, out, bar)
            if size is None:  # a server that does not say how much there is has ended its answer well
                return
        except urllib.error.HTTPError as e:
            e.close()
            if e.code in _FINAL:
                raise RunError(f"cannot fetch {file.url(host)}: the server says {e.code} {e.reason}") from e
            if e.code == 416:  # it does not have the place that was asked for: begin again
                _again(out, bar)
            reason = f"the server says {e.code} {e.reason}"
        except _BROKEN as e:
            reason = str(getattr(e, "reason", None) or e)
        if size is not None and out.tell() >= size:
            break
        idle = 0 if out.tell() > most else idle + 1  # beginning again and coming as far as before is no progress
        most = max(most, out.tell())
        if idle >= ATTEMPTS:
            whole = f"{size:,}" if size else "unknown"
            raise RunError(
                f"cannot fetch {file.url(host)}: {show(reason, 120)}, {ATTEMPTS} times. {out.tell():,} of {whole} "
                "bytes are kept; give the same command again when the network is there"
            )
        time.sleep(pause * 2 ** max(0, idle - 1) if idle else 0)


def _answer(url: str, start: int) -> contextlib.closing[Any]:
    request = urllib.request.Request(url, headers={"User-Agent": "dragon_jax", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    return contextlib.closing(urllib.request.urlopen(request, timeout=_TIMEOUT))


def _length(answer: Any) -> int | None:
    """Returns how many bytes the whole file has, as far as the server says so."""
    said = answer.headers.get("Content-Length")
    if answer.status == 206:
        said = (answer.headers.get("Content-Range") or "").rpartition("/")[2]
    return int(said) if said and said.isdigit() else None


def _read(answer: Any, size: int | None, out: Any, bar: tqdm) -> None:
    """Appends one answer to `out`; an answer that does not begin where it should replaces what is there."""
    start = out.tell()
    follows = answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-")
    if start and not follows:
        _again(out, bar)
    while piece := answer.read1(_PIECE):
        out.write(piece)
        bar.update(len(piece))
        if size is not None and out.tell() > size:  # too long to be right: the digest will say so
            break
    out.flush()


def _again(out: Any, bar: tqdm) -> None:
    bar.update(-out.tell())
    out.truncate(0)
    out.seek(0)
