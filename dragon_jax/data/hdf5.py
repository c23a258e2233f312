"""HDF5 files as containers of arrays: values that lie in this file, and nothing that leads out of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dragon_jax.data.containers import BLOCK_BYTES, Container, Form, check_declared, check_dtype
from dragon_jax.errors import InputError, show
from dragon_jax.files import utf8

_MAGIC = b"\x89HDF\r\n\x1a\n"
_GB = 2**32 / 1e9
_TEXT = np.dtype("U1")  # stands for text of variable width, whose widths are known when it is read
T = TypeVar("T")


def is_hdf5(place: Path) -> bool:
    """Whether the mark of HDF5 stands at byte 0, 512, 1024, 2048, ..., where the format allows it."""
    size, at = place.stat().st_size, 0
    with open(place, "rb") as file:
        while at + len(_MAGIC) <= size:
            file.seek(at)
            if file.read(len(_MAGIC)) == _MAGIC:
                return True
            at = max(512, 2 * at)
    return False


class Hdf5(Container):
    """An HDF5 file, read-only. Names may lead through groups: `train/sequences`."""

    noun = "dataset"

    def __init__(self, place: Path, path: str, gb: float | None = None):
        import h5py

        super().__init__(path)
        self._gb = _GB if gb is None else gb
        self._known: dict[str, tuple[Any, Form]] = {}
        try:
            self._file = h5py.File(place, "r")
        except Exception as e:
            if "unable to lock" in str(e):
                raise InputError(
                    f"{path} is locked by another program or the file system has no locks: expected a file that can be read. "
                    "Close the writer, copy the file to a local disk, or set HDF5_USE_FILE_LOCKING=FALSE for reading"
                ) from e
            raise InputError(
                f"{path} is cut off or damaged: expected a whole HDF5 file, found {show(e, 120)}. Copy it again"
            ) from e

    def names(self) -> list[str]:
        import h5py

        top = self._asked(lambda: list(self._file), self.path)
        kinds = {n: self._asked(lambda n=n: self._file.get(n, getclass=True, getlink=True), self.path) for n in top}
        return [
            n
            for n in top
            if kinds[n] is h5py.HardLink
            and self._asked(lambda n=n: self._file.get(n, getclass=True), self.path) is h5py.Dataset
        ]

    def has(self, name: str) -> bool:
        import h5py

        place = self._file
        *groups, last = list(filter(None, name.split("/"))) or [""]
        for part in groups:
            if not isinstance(self._link(place, part), h5py.HardLink):
                return self._link(place, part) is not None
            place = self._asked(lambda place=place, part=part: place[part], self.where(name))
        return self._link(place, last) is not None

    def group(self, name: str = "") -> list[str]:
        """Returns what a group of this file holds, datasets and groups, by name.

        Raises:
            InputError: no such group, a dataset, or a link to one elsewhere.
        """
        place = self._group(name)
        return list(self._asked(lambda: list(place), self.where(name)))

    def is_group(self, name: str) -> bool:
        """Whether a name of this file, reached without links to elsewhere, is a group."""
        *parents, last = name.split("/")
        place = self._group("/".join(parents))
        import h5py

        if not isinstance(self._link(place, last), h5py.HardLink):
            return False
        return self._asked(lambda: place.get(last, getclass=True), self.where(name)) is h5py.Group

    def attribute(self, group: str, name: str) -> np.ndarray | None:
        """Returns an attribute of a group as an array, or None where there is none; text as it is stored.

        Raises:
            InputError: see `group`; or it holds neither numbers nor text.
        """
        place, where = self._group(group), f"{self.where(group)}, attribute '{show(name)}'"
        if not self._asked(lambda: name in place.attrs, where):
            return None
        value = np.asarray(self._asked(lambda: place.attrs[name], where))
        if value.dtype.hasobject and all(isinstance(v, (str, bytes)) for v in value.ravel().tolist()):
            return value
        check_dtype(value.dtype, where)
        return value

    def _group(self, name: str) -> Any:
        import h5py

        place = self._file
        for part in filter(None, name.split("/")):
            link = self._link(place, part)
            if link is None:
                raise InputError(f"{self.path}: expected a group '{show(name)}', found none")
            if not isinstance(link, h5py.HardLink):
                self._refuse_elsewhere(self.where(name), "a link")
            place = self._asked(lambda place=place, part=part: place[part], self.where(name))
        if not isinstance(place, h5py.Group):
            raise InputError(f"{self.path}: expected a group '{show(name)}', found a dataset")
        return place

    def _link(self, place: Any, part: str) -> Any:
        """How a group holds a name, or None."""
        import h5py

        if not isinstance(place, h5py.Group) or not part:
            return None
        return self._asked(lambda: place.get(part, getlink=True), self.path)

    def look(self, name: str) -> Form:
        return self._dataset(name)[1]

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        dataset, form = self._dataset(name)
        where = self.where(name)
        if not form.shape:
            yield np.asarray(self._asked(lambda: dataset[()], where))
            return
        width = max(1, math.prod(form.shape[1:]) * form.dtype.itemsize)
        step = max(1, BLOCK_BYTES // width)
        if dataset.chunks:  # a chunk is unpacked whole, so it should be asked for once
            step = max(dataset.chunks[0], step // dataset.chunks[0] * dataset.chunks[0])
        for start in range(0, form.shape[0], step):
            block = self._asked(lambda start=start: dataset[start : start + step], where)
            if form.dtype is _TEXT:
                block = np.array([utf8(v, where) for v in block.ravel().tolist()], np.str_).reshape(block.shape)
            yield block.astype(block.dtype.newbyteorder("="), copy=False)

    def close(self) -> None:
        self._file.close()

    def _dataset(self, name: str) -> tuple[Any, Form]:
        """The dataset behind hard links alone, looked at in every way that needs no value."""
        import h5py

        if name in self._known:
            return self._known[name]
        place, where = self._file, self.where(name)
        for part in filter(None, name.split("/")):
            link = self._link(place, part)
            if link is None:
                raise self.absent(name)
            if not isinstance(link, h5py.HardLink):
                kind = "an external link to" if isinstance(link, h5py.ExternalLink) else "a soft link to"
                target = getattr(link, "filename", None) or getattr(link, "path", "elsewhere")
                self._refuse_elsewhere(where, f"{kind} {show(target)}")
            place = self._asked(lambda place=place, part=part: place[part], where)
        if not isinstance(place, h5py.Dataset):
            raise InputError(f"{where}: expected a dataset, found a group. Name a dataset in it, such as group/name")
        if self._asked(lambda: place.is_virtual, where):
            self._refuse_elsewhere(where, "a virtual dataset, a view of others")
        if outside := self._asked(lambda: place.external, where):
            self._refuse_elsewhere(where, f"stored outside, in {show(outside[0][0])}")
        dtype = self._asked(lambda: place.dtype, where)
        text = h5py.check_string_dtype(dtype)
        if text is not None and text.length is None:
            dtype = _TEXT
        else:
            check_dtype(dtype, where)
        if place.shape is None:
            raise InputError(f"{where}: expected values, found an empty dataset. Fill it or name another")
        form = Form(tuple(place.shape), dtype)
        stored = self._asked(lambda: place.id.get_storage_size(), where)
        chunk = math.prod(place.chunks) * dtype.itemsize if place.chunks else 0
        check_declared(max(form.bytes, chunk), stored, self._gb, where)
        self._known[name] = place, form
        return place, form

    def _refuse_elsewhere(self, where: str, found: str) -> None:
        raise InputError(f"{where} is {found}: expected data stored in this file. Copy them into it (h5repack, h5copy)")

    def _asked(self, ask: Callable[[], T], where: str) -> T:
        """Returns what the library answers; whatever it raises on a damaged file becomes a sentence."""
        try:
            return ask()
        except MemoryError:
            raise
        except Exception as e:
            raise InputError(
                f"{where} cannot be read: expected a whole HDF5 file, found {show(e, 120)}. Copy it again"
            ) from e
