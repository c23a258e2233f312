"""NPZ and NPY files as containers of arrays: heads are parsed as literals, values are bytes, and no object is ever made."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from dragon_jax.data.containers import BLOCK_BYTES, MAGIC, Container, Form, check_declared, check_dtype
from dragon_jax.errors import InputError, listing, show

_GB = 0.25
_HEADER = 1 << 16  # bytes; the header of an array of numbers has about 100
_DAMAGED = "the file is damaged. Copy it again"


class _Header(NamedTuple):
    form: Form
    fortran: bool
    offset: int


class Npz(Container):
    """An NPZ file: a zip archive of arrays in NPY form."""

    def __init__(self, place: Path, path: str, gb: float | None = None):
        super().__init__(path)
        self._gb, self._bytes = _GB if gb is None else gb, place.stat().st_size
        try:
            self._zip = zipfile.ZipFile(place)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
            raise InputError(
                f"{path} is cut off or damaged: expected a whole NPZ file, found {show(e)}. Copy it again"
            ) from e
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = info.filename.removesuffix(".npy")
            if name in self._members:
                self.close()
                raise InputError(
                    f"{self.path}, array '{show(name)}': twice in the file, expected unique names. Save it again"
                )
            if info.filename.endswith(".npy"):
                self._members[name] = info
        if not self._members:
            found = listing(self._zip.namelist()) or "none"
            self.close()
            raise InputError(
                f"no array in {path}: expected members such as targets.npy, found {found}. Save the arrays with numpy.savez"
            )

    def names(self) -> list[str]:
        return list(self._members)

    def look(self, name: str) -> Form:
        return self._header(name).form

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        header = self._header(name)
        with self._open(name) as stream:
            try:
                stream.read(header.offset)
                yield from _blocks(stream, header, self.where(name))
                stream.read(1)  # the end must be seen for the checksum to be compared
            except (zipfile.BadZipFile, zlib.error, EOFError) as e:
                raise InputError(f"{self.where(name)}: checksum does not match, {_DAMAGED}") from e

    def close(self) -> None:
        self._zip.close()

    def _open(self, name: str) -> Any:
        if name not in self._members:
            raise self.absent(name)
        try:
            return self._zip.open(self._members[name])
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError, EOFError) as e:
            raise InputError(f"{self.where(name)}: cannot be read ({show(e)}). Save the file again") from e

    def _header(self, name: str) -> _Header:
        with self._open(name) as stream:
            try:
                header = _read_header(stream, self.where(name))
            except (zipfile.BadZipFile, zlib.error, EOFError) as e:
                raise InputError(f"{self.where(name)}: checksum does not match, {_DAMAGED}") from e
        info, declared = self._members[name], header.form.bytes
        check_declared(declared, min(info.compress_size, self._bytes), self._gb, self.where(name))
        if header.offset + declared != info.file_size:
            found = f"{declared:,} bytes declared, {info.file_size - header.offset:,} in the file"
            raise InputError(f"{self.where(name)}: expected as many values as declared, found {found}; {_DAMAGED}")
        return header


class Npy(Container):
    """An NPY file: one array, which goes by any name."""

    def __init__(self, place: Path, path: str):
        super().__init__(path)
        self._file = open(place, "rb")
        try:
            self._header = _read_header(self._file, path)
            expected, found = self._header.offset + self._header.form.bytes, place.stat().st_size
            if expected != found:
                said = "is shorter than it declares" if found < expected else "is longer than it declares"
                raise InputError(f"{path} {said}: expected {expected:,} bytes, found {found:,}. Copy it again")
        except InputError:
            self.close()
            raise

    def names(self) -> list[str]:
        return ["the only array"]

    def has(self, name: str) -> bool:
        return True

    def look(self, name: str) -> Form:
        return self._header.form

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        self._file.seek(self._header.offset)
        return _blocks(self._file, self._header, self.path)

    def close(self) -> None:
        self._file.close()

    def where(self, name: str) -> str:
        return self.path


def _read_header(stream: BinaryIO | Any, where: str) -> _Header:
    """Reads the head of an array in NPY form (version 1 or 2); its text is parsed as a literal, never run."""
    start = stream.read(8)
    wide = 2 if start[6:7] == b"\x01" else 4
    count = stream.read(wide)
    length = int.from_bytes(count, "little")
    if not start.startswith(MAGIC) or start[6:8] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00") or len(count) < wide:
        raise InputError(
            f"{where}: expected an array in NPY form, found first bytes {show(repr(start)[1:])}. Save it again"
        )
    if length > _HEADER or start[6:7] == b"\x03":  # only the names of record fields need that
        raise InputError(f"{where}: expected numbers or fixed-width text, found a record type. Save it as such")
    text = io.BytesIO(count + stream.read(length))
    read = np.lib.format.read_array_header_1_0 if wide == 2 else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, fortran, dtype = read(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as e:
        raise InputError(f"{where}: expected the head of an array, found {show(e)}; {_DAMAGED}") from e
    check_dtype(dtype, where)
    if any(n < 0 for n in shape):
        raise InputError(f"{where}: expected a shape of whole numbers, found {show(shape)}; {_DAMAGED}")
    return _Header(Form(shape, dtype), fortran, 8 + wide + length)


def _blocks(stream: Any, header: _Header, where: str) -> Iterator[np.ndarray]:
    shape, dtype = header.form
    native = dtype.newbyteorder("=")

    def take(count: int) -> np.ndarray:
        raw = stream.read(count * dtype.itemsize)
        if len(raw) < count * dtype.itemsize:
            raise InputError(f"{where}: expected {header.form.bytes:,} bytes, found fewer; {_DAMAGED}")
        return np.frombuffer(raw, dtype).astype(native, copy=False)

    if len(shape) == 0 or (header.fortran and len(shape) > 1):  # columns lie together: there are no rows to stop at
        yield take(math.prod(shape)).reshape(shape, order="F" if header.fortran else "C")
        return
    count = shape[0]
    width = math.prod(shape[1:])
    step = max(1, BLOCK_BYTES // max(1, width * dtype.itemsize))
    for start in range(0, count, step):
        rows = min(step, count - start)
        yield take(rows * width).reshape(rows, *shape[1:])
