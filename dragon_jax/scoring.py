"""Scoring a file that may be larger than memory: read a chunk, predict, write its rows, in input order."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from dragon_jax.data.lengths import Fit
from dragon_jax.data.stream import Format, stream_sequences
from dragon_jax.errors import InputError, listing, nearest
from dragon_jax.files import atomic_write
from dragon_jax.runs.predictor import Predictor


def score_file(
    predictor: Predictor,
    source: str,
    out: str,
    *,
    raw: bool = False,
    tasks: Sequence[str] | None = None,
    format: Format | None = None,
    sequence_column: str | None = None,
    id_column: str | None = None,
    fit: Fit = "refuse",
    batch_size: int = 1024,
) -> int:
    """Writes a TSV: `id`, then one column per task with the full float32 precision; returns the number of rows.

    A file appears under its name only when it is complete; on standard output rows appear as they are ready.

    Raises:
        InputError: unknown tasks, or a record that cannot be read (its name and line are said).
    """
    names = [t.name for t in predictor.tasks]
    if unknown := [t for t in tasks or () if t not in names]:
        raise InputError(
            f"--tasks: no task called {listing(unknown)}{nearest(unknown[0], names)} (tasks: {listing(names)})"
        )
    columns = [names.index(t) for t in tasks] if tasks else list(range(len(names)))
    if predictor.length is None and fit != "refuse":
        raise InputError(f"--fit={fit}: this model scores sequences of any length as they are. Leave --fit out")
    chunks = stream_sequences(
        source,
        format=format,
        sequence_column=sequence_column,
        id_column=id_column,
        length=predictor.length,
        fit=fit,
        chunk=max(batch_size, 4096),
        ragged=predictor.length is None,
        shortest=getattr(predictor, "shortest", 1),
    )
    count = 0
    with _open(out) as file:
        file.write("\t".join(["id", *(_cell(names[c]) for c in columns)]) + "\n")
        for ids, codes in chunks:
            values = predictor.predict(codes, raw=raw, batch_size=batch_size)[:, columns]
            file.writelines(f"{_cell(i)}\t{row}\n" for i, row in zip(ids, _rows(values), strict=True))
            count += len(ids)
    return count


def _open(out: str) -> contextlib.AbstractContextManager[IO[str]] | Any:
    return contextlib.nullcontext(sys.stdout) if out == "-" else atomic_write(out)


def _cell(text: str) -> str:
    """Names keep their letters; a tab or line break inside one would break the table."""
    return str(text).replace("\t", " ").replace("\n", " ").replace("\r", " ")


def _rows(values: np.ndarray) -> Iterator[str]:
    """Shortest decimal of each float32 that reads back as the same number."""
    for row in values:
        yield "\t".join(str(v) for v in row)
