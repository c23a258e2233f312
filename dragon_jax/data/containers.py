"""Files of arrays through one door: what they declare is looked at first, what they hold is read block by block.

An array is refused before anything of its size is allocated: by its type (nothing is ever unpickled), and where it
declares far more bytes than the file has for it.
"""

from __future__ import annotations

import abc
import math
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.files import locate

BLOCK_BYTES = 1 << 25
MAGIC = b"\x93NUMPY"
_ZIP, _EMPTY_ZIP = b"PK\x03\x04", b"PK\x05\x06"
_RATIO = 1000


class Form(NamedTuple):
    """What a file declares of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Container(abc.ABC):
    """A file of named arrays, open for reading; closes with the `with` block.

    Attributes:
        path: the file as the user named it, for messages.
        noun: what an array is called in messages.
    """

    noun = "array"

    def __init__(self, path: str):
        self.path = path

    @abc.abstractmethod
    def names(self) -> list[str]:
        """Returns the names of the arrays, in the order of the file."""

    def has(self, name: str) -> bool:
        """Whether there is an array of that name; one that leads to another file is there, and refused by `look`."""
        return name in self.names()

    @abc.abstractmethod
    def look(self, name: str) -> Form:
        """Returns shape and type of an array and reads no value.

        Raises:
            InputError: no such array, Python objects or a record type, or far more bytes declared than stored.
        """

    @abc.abstractmethod
    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """Yields the array some rows at a time, `BLOCK_BYTES` or one row.

        Raises:
            InputError: see `look`; or the values are damaged.
        """

    @abc.abstractmethod
    def close(self) -> None: ...

    def read(self, name: str) -> np.ndarray:
        """Returns the whole array."""
        form = self.look(name)
        parts = list(self.blocks(name))
        return np.concatenate(parts) if parts else np.zeros(form.shape, form.dtype)

    def where(self, name: str) -> str:
        """Names an array in messages."""
        return f"{self.path}, {self.noun} '{show(name)}'"

    def absent(self, name: str, setting: str = "") -> InputError:
        """The refusal of a name that is not there."""
        known = self.names()
        remedy = f" Set data.source.{setting} to the one meant" if setting else ""
        return InputError(
            f"{self.path}: expected {'an' if self.noun == 'array' else 'a'} {self.noun} '{show(name)}', found "
            f"{listing(map(repr, known), 12) or 'none'}{nearest(name, known) or '.'}{remedy}"
        )

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_container(path: str | os.PathLike, max_gb: float | None = None) -> Container:
    """Opens an NPZ, NPY or HDF5 file, told by its content.

    Args:
        max_gb: billions of bytes that an array may declare even if the file stores less than a thousandth of them;
            None = 0.25 for NPZ and NPY, 4.3 (4 GiB) for HDF5.

    Raises:
        InputError: the sentences of `files.locate`; another kind of file; a damaged or locked one.
    """
    place, name = locate(path), show(os.fspath(path), 300)
    with open(place, "rb") as file:
        head = file.read(8)
    from dragon_jax.data import hdf5, numpy_files

    if head.startswith((_ZIP, _EMPTY_ZIP)):
        return numpy_files.Npz(place, name, max_gb)
    if head.startswith(MAGIC):
        return numpy_files.Npy(place, name)
    if hdf5.is_hdf5(place):
        return hdf5.Hdf5(place, name, max_gb)
    if name.lower().endswith((".pkl", ".pickle", ".pt", ".pth", ".joblib", ".keras")) or head.startswith(b"\x80"):
        raise InputError(
            f"{name} is a pickle and can run code when read: expected NPZ, NPY or HDF5. Save its arrays with numpy.savez first"
        )
    found = f"first bytes {show(repr(head)[1:])}" if head else "the file is empty"
    raise InputError(f"{name} is neither NPZ, NPY nor HDF5 ({found}). Was an error page downloaded, or is it cut off?")


def check_dtype(dtype: np.dtype, where: str) -> None:
    """Refuses what is neither numbers nor fixed-width text."""
    if dtype.hasobject:
        raise InputError(
            f"{where}: holds Python objects, which can run code when read: expected numbers or fixed-width text. Save it "
            "as such"
        )
    if dtype.kind not in "biufcSU":
        raise InputError(
            f"{where}: expected numbers or fixed-width text, found the type {show(dtype)}. Save it as such"
        )


def check_declared(declared: int, stored: int, gb: float, where: str) -> None:
    """Refuses an array that would take far more memory than the file has bytes for it."""
    if declared > gb * 1e9 and declared > _RATIO * stored:
        raise InputError(
            f"{where} declares {_size(declared)} in {_size(stored)} (more than {_RATIO:,} times): expected at most "
            f"{gb:g} GB of such. Raise data.source.max_array_gb if this is right"
        )


def _size(count: int) -> str:
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**4, "MB")):
        if count >= unit:
            return f"{count / (10**6 if name == 'MB' else unit):.3g} {name}"
    return f"{count:,} bytes"
