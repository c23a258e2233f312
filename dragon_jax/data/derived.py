"""Files of public data sets that are no copies but are made from files of their repositories, and how to know them again.

`derived.tsv` names them, one a line: the recipe with its words, the sources it reads, and size and digest of the content.
Content is what does not depend on the library that wrote a file: the text inside a gzip file, the values of a bigWig file,
the arrays of an npz file.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np

_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True)
class DerivedFile:
    """One file of a set: `bytes` and `sha256` are those of its content, `sources` are names of files of the catalogue."""

    set: str
    name: str
    bytes: int
    sha256: str
    recipe: tuple[str, ...]
    sources: tuple[str, ...]

    def right(self, path: Path) -> bool:
        """Whether the file is there with the content that it must have."""
        try:
            return content(path) == (self.bytes, self.sha256)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return False


@functools.cache
def derived_files() -> dict[str, tuple[DerivedFile, ...]]:
    """Returns the files that are made, by data set; sets without any are left out."""
    lines = files("dragon_jax.data").joinpath("derived.tsv").read_text(encoding="utf-8").splitlines()
    found: dict[str, list[DerivedFile]] = {}
    for line in lines[1:]:
        name, file, size, digest, recipe, sources = line.split("\t")
        made = DerivedFile(name, file, int(size), digest, tuple(recipe.split()), tuple(sources.split()))
        found.setdefault(name, []).append(made)
    return {name: tuple(listed) for name, listed in found.items()}


def content(path: Path) -> tuple[int, str]:
    """Returns size in bytes and SHA-256 of the content of a file; its name says what kind it is."""
    read = {".gz": _unpacked, ".bw": _values, ".npz": _arrays}.get(path.suffix, _plain)
    digest, size = hashlib.sha256(), 0
    for piece in read(path):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


def _plain(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _unpacked(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as file:
        while piece := file.read(_PIECE):
            yield piece


def _values(path: Path) -> Iterator[bytes]:
    """A bigWig file as text: a line for each chromosome with its length, then one for each interval."""
    import pybigtools

    try:
        reader = pybigtools.open(str(path))
        sizes = dict(sorted(reader.chroms().items()))
        for chrom, size in sizes.items():
            yield f"{chrom}\t{size}\n".encode()
        for chrom in sizes:
            yield "".join(f"{chrom}\t{a}\t{b}\t{value:g}\n" for a, b, value in reader.records(chrom)).encode()
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as e:  # the compiled part answers damage with panics
        raise ValueError(f"not a readable bigWig file: {e}") from e


def _arrays(path: Path) -> Iterator[bytes]:
    with np.load(path, allow_pickle=False) as found:
        for name in sorted(found.files):
            array = found[name]
            plain = array.astype(array.dtype.newbyteorder("<"), copy=False)
            yield f"{name} {plain.dtype.str} {plain.shape}\n".encode()
            yield np.ascontiguousarray(plain).tobytes()
