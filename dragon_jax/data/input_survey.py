"""What one pass over the rows finds of the extra inputs: range, mean and share of zeros of every column.

Zeros are counted because they are what stands for a missing value in signals (see `genome_inputs`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon_jax.data.dataset import Dataset
from dragon_jax.data.input_spec import InputSpec

_FIELDS = ("total", "least", "most", "zeros", "missing")


@dataclasses.dataclass
class Seen:
    """Counts of one input; arrays have one number for each column.

    Attributes:
        shape: of one row. values: how many per column, missing ones too. total: float64, sum of the finite ones.
        least, most: range of the finite ones. zeros, missing: int64, how many are 0, and NaN or infinite.
    """

    spec: InputSpec
    shape: tuple[int, ...]
    values: int
    total: np.ndarray
    least: np.ndarray
    most: np.ndarray
    zeros: np.ndarray
    missing: np.ndarray

    @staticmethod
    def of(spec: InputSpec, values: np.ndarray) -> Seen:
        """Returns the counts of some rows `[N, ...]`."""
        flat = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
        flat = flat if flat.dtype.kind == "f" else flat.astype(np.float64)
        total, low, high = np.zeros((3, flat.shape[1]))
        zeros, missing = np.zeros((2, flat.shape[1]), np.int64)
        for i in range(flat.shape[1]):  # one column at a time: sums along the first axis of a narrow array are slow
            column = np.ascontiguousarray(flat[:, i])
            zeros[i] = len(column) - np.count_nonzero(column)
            finite = column[np.isfinite(column)]
            missing[i] = len(column) - len(finite)
            total[i] = finite.sum(dtype=np.float64)
            low[i], high[i] = finite.min(initial=np.inf), finite.max(initial=-np.inf)
        return Seen(spec, values.shape[1:], len(flat), total, low, high, zeros, missing)

    def join(self, other: Seen) -> Seen:
        """Returns the counts of both."""
        return Seen(
            self.spec,
            self.shape,
            self.values + other.values,
            self.total + other.total,
            np.minimum(self.least, other.least),
            np.maximum(self.most, other.most),
            self.zeros + other.zeros,
            self.missing + other.missing,
        )

    def record(self) -> dict[str, Any]:
        """Returns plain values; a column without any finite value has None for mean and range."""
        count = self.values - self.missing
        some = count > 0
        plain = {"kind": self.spec.kind, "columns": list(self.spec.columns), "shape": list(self.shape)}
        plain["mean"] = [float(t / n) if n else None for t, n in zip(self.total, count, strict=True)]
        for name in ("least", "most"):
            plain[name] = [float(v) if s else None for v, s in zip(getattr(self, name), some, strict=True)]
        plain["zero"] = (self.zeros / self.values).tolist()
        plain["missing"] = (self.missing / self.values).tolist()
        return plain


class InputSurvey:
    """Counts over the rows seen so far, by the name of the input."""

    def __init__(self):
        self.inputs: dict[str, Seen] = {}

    def add(self, data: Dataset) -> None:
        """Takes further rows."""
        for name, values in data.inputs.items():
            if values.dtype.kind in "biuf" and values.size:
                self._take(name, Seen.of(data.input_specs[name], values))

    def extend(self, other: InputSurvey) -> None:
        """Takes what another survey has seen."""
        for name, seen in other.inputs.items():
            self._take(name, seen)

    def _take(self, name: str, seen: Seen) -> None:
        self.inputs[name] = self.inputs[name].join(seen) if name in self.inputs else seen

    def record(self) -> dict[str, dict[str, Any]]:
        """Returns what `metadata.json` keeps and `dragon check` shows."""
        return {name: seen.record() for name, seen in self.inputs.items()}

    def state(self) -> dict[str, Any]:
        """Returns everything as plain values, for `of`."""
        return {
            name: {"spec": s.spec.plain(), "shape": list(s.shape), "values": s.values}
            | {f: getattr(s, f).tolist() for f in _FIELDS}
            for name, s in self.inputs.items()
        }

    @staticmethod
    def of(state: Mapping[str, Any]) -> InputSurvey:
        result = InputSurvey()
        for name, own in state.items():
            arrays = {f: np.array(own[f], np.int64 if f in ("zeros", "missing") else np.float64) for f in _FIELDS}
            result.inputs[name] = Seen(InputSpec.of(own["spec"]), tuple(own["shape"]), own["values"], **arrays)
        return result
