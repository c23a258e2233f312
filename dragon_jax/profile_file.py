"""Predicted profiles as an NPY file, written piece by piece: more of them than fit into memory are no problem.

HDF5 would hold names beside the numbers, but a full disk makes its library crash when the process ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dragon_jax.errors import InputError, RunError, show
from dragon_jax.files import atomic_write
from dragon_jax.runs.profile_predictor import ProfilePredictor, Profiles


class ProfileFile:
    """A growing array float32 `[N, T, W, S]`: the reads expected at each base, rows and tasks as in the table beside it."""

    def __init__(self, handle: Any, shape: tuple[int, int, int], columns: Sequence[int]):
        self._handle, self._shape, self._columns, self._rows = handle, shape, list(columns), 0
        self._write_header()

    def _write_header(self) -> None:
        # NumPy leaves room in a header for the first axis to grow, so a later one fits in its place.
        about = {"descr": "<f4", "fortran_order": False, "shape": (self._rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._handle, about)

    def add(self, ids: Sequence[str], found: Profiles) -> None:
        """Appends rows.

        Raises:
            RunError: a number that is not finite.
        """
        counts = found.counts[:, self._columns]
        wrong = ~np.isfinite(counts).all((1, 2, 3))
        if wrong.any():
            raise RunError(
                f"profile of '{show(ids[int(wrong.argmax())])}': expected finite numbers ({int(wrong.sum()):,} such rows "
                f"among {len(ids):,}). Look at the losses in the report of the run"
            )
        self._handle.write(np.ascontiguousarray(counts, "<f4").tobytes())
        self._rows += len(ids)

    def finish(self) -> None:
        """Writes how many rows there are."""
        self._handle.seek(0)
        self._write_header()


@contextlib.contextmanager
def open_profiles(path: str, predictor: Any, columns: Sequence[int]) -> Iterator[ProfileFile]:
    """Opens a file that appears under its name only when the block ends well.

    Raises:
        InputError: the model predicts no profiles, or the file cannot be written there.
        RunError: the disk is full.
    """
    if not isinstance(predictor, ProfilePredictor):
        raise InputError(
            f"--profiles={show(path, 200)}: expected a run of model 'bpnet', other models predict none. Leave it out"
        )
    with atomic_write(path, binary=True) as handle:
        if not handle.seekable():
            raise InputError(f"--profiles={show(path, 200)}: expected a file, found a pipe or device. Name a file")
        file = ProfileFile(handle, (len(columns), predictor.width, predictor.strands), columns)
        yield file
        file.finish()
