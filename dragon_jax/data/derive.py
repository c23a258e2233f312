"""Makes the derived files of public data sets from fetched sources, and takes none for right that is not."""

from __future__ import annotations

import errno
import gzip
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dragon_jax.data import derive_regions as regions
from dragon_jax.data import derive_rows as rows
from dragon_jax.data.derived import DerivedFile, content
from dragon_jax.data.records import flush
from dragon_jax.errors import RunError, show

_UNREADABLE = (ValueError, LookupError, EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)

TEXT: dict[str, Callable[[Sequence[str], Sequence[Path]], Iterator[bytes]]] = {
    "centre_labels": regions.centre_labels,
    "elements": rows.elements,
    "first_lines": rows.first_lines,
    "genes_not_0_mod_5": rows.genes_not_0_mod_5,
    "genome_without": regions.genome_without,
    "models": rows.models,
    "printed_scores": rows.printed_scores,
    "reference_sequences": rows.reference_sequences,
    "region_labels": regions.region_labels,
    "rows_without": rows.rows_without,
    "sequences": regions.sequences,
    "sizes_without": regions.sizes_without,
}


def _first_scores(words: Sequence[str], sources: Sequence[Path], target: Path) -> None:
    """Writes the first values of the array `pred`, as many as the word says."""
    with np.load(sources[0], allow_pickle=False) as found:
        scores = found["pred"][: int(words[0])]
    with target.open("wb") as out:
        np.savez_compressed(out, pred=scores)


BINARY: dict[str, Callable[[Sequence[str], Sequence[Path], Path], None]] = {
    "cut_sites": regions.cut_sites,
    "first_scores": _first_scores,
}


def make(file: DerivedFile, target: Path, sources: Sequence[Path]) -> str | None:
    """Makes a file. It appears under its name only when its content is that of the table.

    Args:
        file: what to make. target: where it shall lie. sources: paths of `file.sources`, in their order.

    Returns:
        Nothing, or a sentence that says how the content differs; the file then lies beside `target`, `.differs` added
        to its name.

    Raises:
        RunError: a source is not what the recipe reads.
        OSError: the disk is full, or the folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{os.getpid()}.tmp.{target.name}")  # the suffix says what kind of file it is
    kept = target.with_name(f"{target.name}.differs")
    name, *words = file.recipe
    try:
        try:
            if name in BINARY:
                BINARY[name](words, sources, temporary)
            else:
                _write(TEXT[name](words, sources), temporary)
        except _UNREADABLE as e:
            raise RunError(
                f"cannot make {show(target, 300)} out of {show(', '.join(file.sources), 120)}: {show(str(e), 200)}. The "
                "sources were thrown away; try again, or report that they have changed"
            ) from e
        try:
            size, digest = content(temporary)
        except ValueError as e:  # the bigWig library says nothing when the disk is full
            raise OSError(errno.EIO, f"that it came out damaged ({show(str(e), 80)}). Is the disk full?") from e
        if (size, digest) == (file.bytes, file.sha256):
            flush(temporary)
            os.replace(temporary, target)
            kept.unlink(missing_ok=True)
            flush(target.parent)
            return None
        os.replace(temporary, kept)
        return (
            f"{show(target, 300)} is not what it was: expected content of {file.bytes:,} bytes with SHA-256 "
            f"{file.sha256[:16]}..., made {size:,} bytes with {digest[:16]}..., kept as {show(kept.name)}"
        )
    finally:
        temporary.unlink(missing_ok=True)


def _write(lines: Iterator[bytes], path: Path) -> None:
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            raw.writelines(lines)
            return
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed:
            packed.writelines(lines)
