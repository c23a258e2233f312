"""Scoring a file that may be larger than memory: read a chunk, predict, write its rows, in input order."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any

import numpy as np

from dragon_jax.data.input_file import InputFile
from dragon_jax.data.input_spec import refuse_negative
from dragon_jax.data.lengths import Fit
from dragon_jax.data.region_stream import stream_regions
from dragon_jax.data.stream import Format, stream_sequences
from dragon_jax.errors import InputError, RunError, listing, nearest, show
from dragon_jax.files import atomic_write
from dragon_jax.profile_file import ProfileFile, open_profiles
from dragon_jax.runs.model_inputs import wanted
from dragon_jax.runs.predictor import BaselinePredictor, NetworkPredictor, Predictor
from dragon_jax.runs.region_inputs import RegionInputs

Piece = tuple[list[str], Any, dict[str, np.ndarray]]


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
    inputs: str | None = None,
    profiles: str | None = None,
) -> int:
    """Writes a TSV: `id`, then one column per task with the full float32 precision; returns the number of rows.

    A file appears under its name only when it is complete; on standard output rows appear as they are ready, the
    header with the first of them.

    Args:
        inputs: NPZ or HDF5 file with the further inputs that the model reads, see `data.input_file`.
        profiles: NPY file to write beside the table, for a base-resolution model, see `profile_file`.

    Raises:
        InputError: unknown tasks, inputs that are missing or do not fit, or a record that cannot be read (its name and
            line are said).
        RunError: a prediction that is no finite number.
    """
    columns = _columns(predictor, tasks)
    if predictor.length is None and fit != "refuse":
        raise InputError(f"--fit={fit}: this model scores sequences of any length as they are. Leave --fit out")
    specs = getattr(predictor, "specs", {})
    if inputs and not specs:
        raise InputError(f"--inputs={inputs}: this model reads nothing but the sequence. Leave --inputs out")
    if specs and not inputs:
        raise InputError(
            f"this model reads {listing(specs)} besides the sequence, found none. Give {wanted(list(specs))}"
        )
    if inputs and fit != "refuse" and any(spec.kind == "signal" for spec in specs.values()):
        raise InputError(
            f"--fit={fit}: signals are not cropped or padded with the sequences. Cut both to {predictor.length} bases"
        )
    remedy = "Use --fit=fit_centre (crop and pad), or mend the file"
    if any(spec.kind == "signal" for spec in specs.values()):
        remedy = f"Cut sequences and signals to {predictor.length} bases: signals are not cropped or padded"
    extra = InputFile(inputs, specs, predictor.input_shapes) if inputs else None  # pyright: ignore[reportAttributeAccessIssue]
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
        remedy=remedy,
    )

    def pieces() -> Iterator[Piece]:
        start = 0
        for ids, codes in chunks:
            yield ids, codes, extra.take(ids, start) if extra else {}
            start += len(ids)
        if extra:
            extra.finish(start)

    return _write(predictor, pieces(), out, columns, raw, batch_size, profiles)


def score_regions(
    predictor: NetworkPredictor | BaselinePredictor,
    regions: str,
    out: str,
    made_of: RegionInputs,
    *,
    raw: bool = False,
    tasks: Sequence[str] | None = None,
    batch_size: int = 1024,
    say: Callable[[str], None] = lambda line: None,
    profiles: str | None = None,
) -> int:
    """Writes the same TSV for the windows around the regions of a BED file; returns the number of rows.

    Args:
        made_of: genome and files, see `runs.region_inputs`. say: takes lines about what was put in order.
        profiles: as for `score_file`.

    Raises:
        InputError: unknown tasks, a file that cannot be read, a contig that the genome lacks.
    """
    columns = _columns(predictor, tasks)
    pieces = stream_regions(
        regions, made_of.source, made_of.length, made_of.core, predictor.specs, max(batch_size, 4096), say
    )
    return _write(predictor, pieces, out, columns, raw, batch_size, profiles)


def _columns(predictor: Predictor, tasks: Sequence[str] | None) -> list[int]:
    """Columns of the tasks that are wanted."""
    names = [t.name for t in predictor.tasks]
    if unknown := [t for t in tasks or () if t not in names]:
        raise InputError(
            f"--tasks: no task called {listing(unknown)}{nearest(unknown[0], names)} (tasks: {listing(names)})"
        )
    return [names.index(t) for t in tasks] if tasks else list(range(len(names)))


def _write(
    predictor: Predictor,
    pieces: Iterable[Piece],
    out: str,
    columns: list[int],
    raw: bool,
    batch_size: int,
    profiles: str | None,
) -> int:
    def results(spread: ProfileFile | None) -> Iterator[tuple[list[str], np.ndarray]]:
        for ids, codes, inputs in pieces:
            more: dict[str, Any] = {"inputs": inputs} if inputs else {}
            for name in getattr(predictor, "count_inputs", ()):
                if name in inputs:
                    refuse_negative(inputs[name], f"input '{show(name)}'", lambda i, ids=ids: f"row '{show(ids[i])}'")
            if spread is None:
                values = predictor.predict(codes, raw=raw, batch_size=batch_size, **more)
            else:
                found = predictor.profiles(codes, batch_size=batch_size, **more)  # pyright: ignore[reportAttributeAccessIssue]
                values = found.log_counts
                spread.add(ids, found)
            values = values[:, columns]
            _refuse_not_finite(values, ids, [predictor.tasks[c].name for c in columns])
            yield ids, values

    if profiles == "-":
        raise InputError("--profiles: expected an NPY file, found '-': arrays are not written to standard output")
    if profiles and out != "-" and os.path.realpath(out) == os.path.realpath(profiles):
        raise InputError(f"--out and --profiles: expected two files, found {show(out, 200)} for both. Name another")
    count = 0
    with contextlib.ExitStack() as table:
        # The profiles are closed before the table, which then appears only beside them.
        with open_profiles(profiles, predictor, columns) if profiles else contextlib.nullcontext() as spread:
            scored = results(spread)
            first = list(itertools.islice(scored, 1))  # what is refused at once leaves a pipe without even the header
            file = table.enter_context(_open(out))
            file.write("\t".join(["id", *(_cell(predictor.tasks[c].name) for c in columns)]) + "\n")
            for ids, values in itertools.chain(first, scored):
                file.writelines(f"{_cell(i)}\t{row}\n" for i, row in zip(ids, _rows(values), strict=True))
                count += len(ids)
    return count


def _refuse_not_finite(values: np.ndarray, ids: Sequence[str], tasks: Sequence[str]) -> None:
    """A row without a number is no prediction, whatever went wrong in the model."""
    wrong = ~np.isfinite(values)
    if wrong.any():
        row, task = np.argwhere(wrong)[0].tolist()
        raise RunError(
            f"prediction of '{show(ids[row])}' for task '{show(tasks[task])}': expected a finite number, found "
            f"{values[row, task]:g} ({int(wrong.any(1).sum()):,} such rows among {len(ids):,}). Look for unusual values in "
            "the inputs of that row, and at the losses in the report of the run"
        )


def _open(out: str) -> contextlib.AbstractContextManager[IO[str]] | Any:
    return contextlib.nullcontext(sys.stdout) if out == "-" else atomic_write(out)


def _cell(text: str) -> str:
    """Names keep their letters; a tab or line break inside one would break the table."""
    return str(text).replace("\t", " ").replace("\n", " ").replace("\r", " ")


def _rows(values: np.ndarray) -> Iterator[str]:
    """Shortest decimal of each float32 that reads back as the same number."""
    for row in values:
        yield "\t".join(str(v) for v in row)
