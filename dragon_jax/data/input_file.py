"""Inputs of sequences to be scored from a file of arrays, row by row or by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dragon_jax.data.array_rows import read_input, read_text
from dragon_jax.data.containers import open_container
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.errors import InputError, listing, show

_IDS = ("ids", "id", "names")


class InputFile:
    """The arrays of an NPZ or HDF5 file that a model reads, in memory.

    Where the file has an array of texts `ids` (or `id`, `names`) rows are found by the name of the sequence, else by its
    number.
    """

    def __init__(self, path: str, specs: Mapping[str, InputSpec], shapes: Mapping[str, Sequence[int]]):
        """Reads the file.

        Args:
            specs: the inputs that are wanted, by the names of their arrays. shapes: shape of a row of each.

        Raises:
            InputError: an array that is absent, holds other shapes, or values that are not finite; names that come twice.
        """
        self.path = show(path, 300)
        with open_container(path, None) as file:
            first = next(iter(specs))
            if not file.has(first):
                raise file.absent(first)
            form = file.look(first).shape
            self.rows = form[0] if form else 0
            self._arrays = {name: read_input(file, name, spec.kind, self.rows) for name, spec in specs.items()}
            for name, values in self._arrays.items():
                wanted = tuple(shapes[name]) or (1,)
                if values.shape[1:] != wanted:
                    raise InputError(
                        f"{file.where(name)}: expected the shape {[self.rows, *wanted]} that the model was trained on, found "
                        f"{list(values.shape)}"
                    )
                self._arrays[name] = values.reshape(self.rows, *shapes[name])
            named = next((name for name in _IDS if file.has(name)), None)
            ids = None if named is None else read_text(file, named, self.rows, "names")
        self._row_of = None if ids is None else {name: i for i, name in enumerate(ids)}
        if ids is not None and self._row_of is not None and len(self._row_of) < len(ids):
            twice = next(name for i, name in enumerate(ids) if self._row_of[name] != i)
            raise InputError(
                f"name '{show(twice)}' twice in {self.path}, array '{named}': expected each once. Remove one"
            )

    def take(self, ids: Sequence[str], start: int) -> dict[str, np.ndarray]:
        """Returns the inputs of these sequences, of which `start` came before.

        Raises:
            InputError: a sequence has no row.
        """
        if self._row_of is None:
            if start + len(ids) > self.rows:
                raise InputError(
                    f"{self.path} has {self.rows:,} rows: expected one for each sequence, found more sequences (number "
                    f"{self.rows + 1:,} is '{show(ids[max(0, self.rows - start)])}'). Add rows, or an array 'ids' to find them by"
                )
            return {name: values[start : start + len(ids)] for name, values in self._arrays.items()}
        if lacking := [name for name in ids if name not in self._row_of]:
            raise InputError(
                f"{len(lacking):,} sequences have no row in {self.path}, array 'ids' (first: {listing(map(repr, lacking))}): "
                "expected one for each. Add it"
            )
        rows = np.array([self._row_of[name] for name in ids], np.int64)
        return {name: values[rows] for name, values in self._arrays.items()}

    def finish(self, count: int) -> None:
        """Raises InputError when rows are left although they are not found by name: something does not belong together."""
        if self._row_of is None and count < self.rows:
            raise InputError(
                f"{self.path} has {self.rows:,} rows, but there are {count:,} sequences: expected one row for each. Add an "
                "array 'ids' to find rows by the names of the sequences"
            )
