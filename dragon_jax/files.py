"""Files as users have them: plain or gzip, on disk or on standard input, under a path that may be wrong in many ways.

Every way in which a path or a file cannot be read has its own sentence. Files are written under a temporary name and
renamed, so that a reader never sees half a file.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import itertools
import os
import re
import secrets
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from dragon_jax.errors import InputError, RunError, show

STDIN = "-"
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip", ".7z", ".rar")
_OTHER_COMPRESSION = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_GZIP = b"\x1f\x8b"
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_HEAD = 512


def expand(path: str | os.PathLike) -> Path:
    """Returns the path with `~` and environment variables filled in; an unset `$DRAGON_DATA` means `data` in the folder
    where the command runs.

    Raises:
        InputError: the name is blank, or names a variable that is not set.
    """
    text = os.fspath(path)
    if not text.strip():
        raise InputError("blank file name: expected the path of a file")
    if "$" in text and not os.path.lexists(text):
        values = {"DRAGON_DATA": "data"} | dict(os.environ)
        unset = [a or b for a, b in _VARIABLE.findall(text) if (a or b) not in values]
        if unset:
            raise InputError(
                f"environment variable {unset[0]} in the path {show(text)} is not set. Set it, or write the path out"
            )
        text = _VARIABLE.sub(lambda m: values[m.group(1) or m.group(2)], text)
    return Path(os.path.expanduser(text))


def locate(path: str | os.PathLike) -> Path:
    """Returns the expanded path of a file that exists and can be read.

    Raises:
        InputError: blank name, URL, archive, missing file, broken link, directory or no permission, each in its words.
    """
    name = os.fspath(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", name):
        raise InputError(
            f"{show(name, 300)}: expected a file on this machine, found a URL. Download it first and pass the file"
        )
    place = expand(name)
    try:
        place.stat()
    except (OSError, ValueError) as e:
        raise _refused(name, place, e) from e
    if place.is_dir():
        raise InputError(f"{show(name, 300)} is a directory: expected a file")
    if name.lower().endswith(_ARCHIVES):
        raise InputError(f"{show(name, 300)} is an archive: expected one plain or gzip file. Unpack it first")
    if not os.access(place, os.R_OK):
        raise InputError(f"no permission to read {show(name, 300)}. Ask its owner, or change its mode")
    return place


def _refused(name: str, place: Path, error: Exception) -> InputError:
    if isinstance(error, PermissionError):
        return InputError(f"no permission to read {show(name, 300)}. Ask its owner, or change the mode of its folder")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        if place.is_symlink():
            return InputError(
                f"{show(name, 300)} is a broken link: it points to {show(os.readlink(place))}, which does not exist"
            )
        if "DRAGON_DATA" in name and "DRAGON_DATA" not in os.environ:
            return InputError(
                f"no file {show(name, 300)}: DRAGON_DATA is not set, so {show(place, 300)} was looked for in "
                f"{show(Path.cwd(), 300)}. Set DRAGON_DATA to the folder that holds the data sets"
            )
        said = "" if str(place) == name else f" ({show(place, 300)})"
        folder = next((str(p) for p in reversed(place.parents) if not p.exists()), None)
        return InputError(
            f"no file {show(name, 300)}{said}"
            + (f": there is no folder {show(folder, 300)}" if folder else ": expected an existing file")
        )
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return InputError(f"cannot read {show(name, 300)}: expected a file, found {reason}. Check the path")


class _Rejoined(io.RawIOBase):
    """A stream that cannot seek, with the bytes already taken from it put back in front."""

    def __init__(self, head: bytes, rest: Any, owned: bool):
        self._head, self._rest, self._owned = head, rest, owned

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] if self._head else self._rest.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if self._owned:
            self._rest.close()
        super().close()


class TextFile:
    """An open file of text, plain or gzip, `-` for standard input; iterates over lines as bytes, line ends included.

    Attributes:
        name: the path as the user typed it, for messages.
    """

    def __init__(self, path: str | os.PathLike):
        """Opens the file; raises the sentences of `locate`, and one for content that is neither text nor gzip."""
        typed = os.fspath(path)
        self.name = "standard input" if typed == STDIN else show(typed, 300)
        self._opened: list[Any] = []
        place = None if typed == STDIN else locate(typed)
        try:
            raw = sys.stdin.buffer if place is None else open(place, "rb")
            if place is not None:
                self._opened.append(raw)
            head = raw.read(_HEAD)
            self._stream = self._decompressed(raw, head, typed)
        except OSError as e:
            self.close()
            raise InputError(
                f"cannot read {self.name}: expected a readable file, found {e.strerror or e}. Check the path"
            ) from e
        except InputError:
            self.close()
            raise
        self._lines, self._ahead = self._read(), []

    def _decompressed(self, raw: Any, head: bytes, typed: str) -> io.BufferedIOBase:
        seekable = typed != STDIN and raw.seekable()
        named_gzip = typed.lower().endswith((".gz", ".bgz"))
        if not head:
            return io.BytesIO()  # an empty file: what was missing in it, each reader says in its own words
        for magic, kind in _OTHER_COMPRESSION.items():
            if head.startswith(magic):
                raise InputError(
                    f"{self.name} is compressed with {kind}: expected plain text or gzip. Decompress it first"
                )
        if not head.startswith(_GZIP):
            if named_gzip:
                found = show(repr(head[:8])[1:])
                raise InputError(f"{self.name} is not a gzip file (first bytes {found}). Was an error page downloaded?")
            if head[257:262] == b"ustar":
                raise InputError(f"{self.name} is an archive: expected one plain or gzip file. Unpack it first")
        if seekable:
            if head.startswith(_GZIP) and head[12:14] == b"BC":  # bgzip: blocks, and an empty one at the end
                raw.seek(max(0, raw.seek(0, os.SEEK_END) - len(_BGZF_END)))
                if raw.read() != _BGZF_END:
                    raise InputError(_cut_off(self.name))
            raw.seek(0)
            plain = raw
        else:
            plain = io.BufferedReader(_Rejoined(head, raw, owned=typed != STDIN), 1 << 16)
            self._opened.append(plain)
        if not head.startswith(_GZIP):
            return plain
        self._opened.append(zipped := gzip.GzipFile(fileobj=plain, mode="rb"))
        self._opened.append(stream := io.BufferedReader(cast(Any, zipped), 1 << 18))
        return stream

    def first_lines(self, count: int) -> list[bytes]:
        """Returns up to `count` first lines without taking them: iteration still begins with line 1."""
        self._ahead += itertools.islice(self._lines, max(0, count - len(self._ahead)))
        return self._ahead[:count]

    def __iter__(self) -> Iterator[bytes]:
        ahead, self._ahead = self._ahead, []
        return itertools.chain(ahead, self._lines)

    def _read(self) -> Iterator[bytes]:
        try:
            lines = itertools.chain(self._stream)  # chained, or closing this generator would close the stream
            for first in itertools.islice(lines, 1):
                self._refuse_utf16(first)
                yield first
            yield from lines
        except EOFError as e:
            raise InputError(_cut_off(self.name)) from e
        except (gzip.BadGzipFile, zlib.error) as e:
            raise InputError(
                f"{self.name} is damaged: expected a complete bgzip/gzip file, found {show(e)}. Copy it again"
            ) from e
        except OSError as e:
            raise InputError(f"cannot read {self.name} to its end: {e.strerror or e}. Copy it to a local disk") from e

    def _refuse_utf16(self, first: bytes) -> None:
        """Spreadsheets on Windows save "Unicode text" so: two bytes a letter, one of them zero in what is ASCII."""
        for encoding, mark, zero in (("UTF-16LE", b"\xff\xfe", 1), ("UTF-16BE", b"\xfe\xff", 0)):
            letters = first[: len(first) // 2 * 2]
            bare = letters and not any(letters[zero::2]) and all(letters[1 - zero :: 2])
            if first.startswith(mark) or bare:
                raise InputError(
                    f"{self.name} is {encoding} text: expected UTF-8. Save it as UTF-8, or convert it with: "
                    f"iconv -f {'UTF-16' if first.startswith(mark) else encoding} -t UTF-8"
                )

    def close(self) -> None:
        for handle in reversed(self._opened):
            with contextlib.suppress(Exception):  # a damaged gzip file has been reported already
                handle.close()

    def __enter__(self) -> TextFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _cut_off(name: str) -> str:
    return f"{name} ends in the middle of a block: expected a complete bgzip/gzip file. Copy it again"


def utf8(raw: bytes, where: str) -> str:
    """Returns bytes as text; refuses, naming `where`, what is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as e:
        found = show(repr(raw[max(0, e.start - 10) : e.start + 10])[1:])
        raise InputError(
            f"byte 0x{raw[e.start]:02x} in {where}: expected UTF-8 text, found {found}. "
            "Convert it with: iconv -f latin1 -t utf-8"
        ) from e


class Faults:
    """The offending records of one file: the first in full, four more by place, the rest counted."""

    def __init__(self):
        self._first: tuple[str, str] | None = None
        self._places: list[str] = []
        self.count = 0

    def add(self, place: str, said: str, remedy: str = "") -> None:
        """Notes one offender: `said` is the sentence without full stop, `place` (`line 9`) stands for a later one."""
        self.count += 1
        if self._first is None:
            self._first = (said, remedy)
        elif len(self._places) < 4:
            self._places.append(place)

    def refuse(self) -> None:
        """Raises one InputError when anything was noted."""
        if self._first is None:
            return
        said, remedy = self._first
        if self._places:
            rest = self.count - 1 - len(self._places)
            said += f"; also {', '.join(self._places)}" + (f", ... and {rest:,} more" if rest else "")
        raise InputError(f"{said}. {remedy}" if remedy else said)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, *, binary: bool = False) -> Iterator[Any]:
    """Opens a file for writing that appears under its name only when the block ends well, whole and on disk.

    Args:
        path: where the file shall lie; its folder must exist. Links are followed; a device such as `/dev/stdout` is
            written directly.
        binary: give a binary handle, which reads too what was written; otherwise text, UTF-8, lines ending in LF.

    Raises:
        InputError: the folder is missing, the path is a directory, or there is no permission.
        RunError: the disk is full. Nothing is left behind.
    """
    name = os.fspath(path)
    target = Path(os.path.realpath(expand(name)))
    if target.is_dir():
        raise InputError(f"cannot write {show(name, 300)}: expected a file name, found a directory")
    text: dict[str, Any] = {} if binary else {"encoding": "utf-8", "newline": "\n"}
    if target.exists() and not target.is_file():
        with open(target, "wb" if binary else "w", **text) as handle:
            yield handle
        return
    if not target.parent.is_dir():
        raise InputError(
            f"cannot write {show(name, 300)}: there is no folder {show(target.parent, 300)}. Make it first"
        )
    temporary = target.with_name(f".{target.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        handle = open(temporary, "x+b" if binary else "x", **text)
    except OSError as e:
        raise InputError(
            f"cannot write {show(name, 300)}: expected a folder that can be written, found {e.strerror}"
        ) from e
    try:
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except BaseException as e:
        temporary.unlink(missing_ok=True)
        if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"the disk is full: {show(name, 300)} was not written, nothing was changed. Make room and run again"
            ) from e
        raise


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
