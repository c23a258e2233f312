"""What an extra input of a model is: a signal with one row per base, or a vector, and how the other strand sees it.

The convention of the project, from the files to `extra[name]` in a network:

* a **signal** is float32 `[B, L, C]`: L the bases of the sequence, C tracks. It follows the bases: reversed with the
  strand, shifted with them, 0 where nothing was measured. Tracks whose names end in a pair of `STRANDS`, such as
  `dnase_fwd` and `dnase_rev`, also change places on the other strand (Quang & Xie, Methods 166, 40-47, 2019).
* a **vector** is `[B, Q]` (or `[B]`): numbers about the row as a whole. It is the same on both strands, even where Q = L.

The usual names are `signal` and `metadata`; a config may use any other name that is none of the batch's own. What an
array is says its `InputSpec`, never its length: an array without one is a signal if it has three axes, else a vector.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from dragon_jax.errors import InputError, listing, show

InputKind = Literal["signal", "vector"]
STRANDS = (("_fwd", "_rev"), ("_plus", "_minus"))  # endings of the names of two tracks that are one on either strand


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """What one extra input is.

    Attributes:
        kind: `signal` `[L, C]` or `vector` `[Q]`.
        columns: names of the C tracks or Q numbers; empty = they have none, and no track has a partner.
    """

    kind: InputKind
    columns: tuple[str, ...] = ()

    def __post_init__(self):
        if len(set(self.columns)) < len(self.columns) or not all(self.columns):
            raise InputError(f"columns of an input: expected different names, found {listing(map(repr, self.columns))}")
        self.partners  # noqa: B018  refuses a track without its partner before anything is read

    @functools.cached_property
    def partners(self) -> tuple[int, ...]:
        """Which column of this strand stands in each column on the other strand; empty = every one in its own place.

        Raises:
            InputError: a track is called as one of a pair, and the other one is not there.
        """
        if self.kind == "vector":
            return ()
        places = {name: i for i, name in enumerate(self.columns)}
        result = list(range(len(self.columns)))
        for a, b in [*STRANDS, *(pair[::-1] for pair in STRANDS)]:
            for name in self.columns:
                if not name.endswith(a):
                    continue
                other = name.removesuffix(a) + b
                if other not in places:
                    raise InputError(
                        f"track '{show(name)}': expected its partner on the other strand, '{show(other)}', among the columns, "
                        f"found {listing(map(repr, self.columns))}. Add it, or name the track otherwise"
                    )
                result[places[name]] = places[other]
        return () if result == list(range(len(result))) else tuple(result)

    def check(self, name: str, shape: Sequence[int], length: int) -> None:
        """Raises InputError unless an array `[N, ...]` of this shape is such an input of sequences of `length` bases."""
        if self.kind == "signal" and (len(shape) != 3 or shape[1] != length or not shape[2]):
            raise InputError(f"input '{show(name)}': expected a signal [N, {length}, C], found the shape {list(shape)}")
        if self.kind == "vector" and self.columns and len(shape) != 2:
            raise InputError(f"input '{show(name)}': expected a vector [N, Q], found the shape {list(shape)}")
        if self.columns and shape[-1] != len(self.columns):
            raise InputError(
                f"input '{show(name)}': expected {len(self.columns)} columns ({listing(self.columns)}), found {shape[-1]}"
            )

    def plain(self) -> dict[str, Any]:
        """Returns what a JSON file keeps; `InputSpec.of` makes the same of it."""
        return {"kind": self.kind, "columns": list(self.columns)}

    @staticmethod
    def of(plain: Mapping[str, Any]) -> InputSpec:
        return InputSpec(plain["kind"], tuple(plain["columns"]))


def default_spec(array: Any) -> InputSpec:
    """Returns what an array `[N, ...]` without a spec is: with three axes a signal, else a vector."""
    return InputSpec("signal" if array.ndim == 3 else "vector")


def refuse_not_finite(values: np.ndarray, where: str, row: Any = lambda i: f"row {i + 1}") -> None:
    """Refuses an input with NaN or infinity: a network would answer NaN for the row, or never train again.

    Args:
        values: `[N, ...]`. where: the file and array, for the message. row: names row i.

    Raises:
        InputError: with the first such row and how many there are.
    """
    if values.dtype.kind != "f":
        return
    wrong = ~np.isfinite(values)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        raise InputError(
            f"{where}, {row(at[0])}: expected finite numbers in an input, found {values[at]:g} "
            f"({int(wrong.reshape(len(values), -1).any(1).sum()):,} such rows). Write what stands for a missing value, such as 0"
        )


def refuse_negative(values: np.ndarray, where: str, row: Any = lambda i: f"row {i + 1}") -> None:
    """Refuses an input below 0 where a network takes the logarithm of counts; arguments as of `refuse_not_finite`.

    Raises:
        InputError: with the first such row and how many there are.
    """
    wrong = values < 0
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        raise InputError(
            f"{where}, {row(at[0])}: expected counts of at least 0 in this input, found {values[at]:g} "
            f"({int(wrong.reshape(len(values), -1).any(1).sum()):,} such rows). Files of the reverse strand may hold negative "
            "numbers: negate them"
        )
