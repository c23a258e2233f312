"""What one pass over the rows of a split finds: digests, what was measured on each task, GC and unknown bases.

The pass may be made in parts that are joined afterwards, so that a build which was interrupted ends with the same
numbers. Sums are float64; deviations are joined as in Chan, Golub and LeVeque, The American Statistician 37, 242-247
(1983), which loses no digits where the mean is large and the spread small.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from dragon_jax.data.dataset import IDS, Dataset, Task, seen_columns, task_salt
from dragon_jax.data.fingerprints import RunningDigests
from dragon_jax.data.input_survey import InputSurvey
from dragon_jax.data.rows import Rows, chunks

GC_BINS = 50  # of equal width over shares 0 to 1; a share of exactly 1 falls into the last


@dataclasses.dataclass
class Survey:
    """Counts over the rows seen so far; `add` takes more rows, `extend` takes another survey.

    Attributes:
        digests: of the columns that a model can see, and of the names of the rows.
        measured: int64 `[T]`, rows with a value.
        positives: int64 `[T]`, rows with a value above 0.5; says something of binary tasks only.
        total, squares: float64 `[T]`, sum of the values and of their squares.
        centre, deviations: float64 `[T]`, mean of the values as it grew, and sum of their squared distances from it;
            `total / measured` is the mean that is exact for whole numbers.
        gc: int64 `[GC_BINS]`, rows by the share of G and C among their known bases.
        known, guanine_cytosine: known bases, and those of them that are G or C.
        blank: rows without any known base.
        inputs: of the extra inputs.
    """

    tasks: tuple[Task, ...]
    length: int
    digests: RunningDigests
    measured: Int64[np.ndarray, " T"]
    positives: Int64[np.ndarray, " T"]
    total: Float64[np.ndarray, " T"]
    squares: Float64[np.ndarray, " T"]
    centre: Float64[np.ndarray, " T"]
    deviations: Float64[np.ndarray, " T"]
    gc: Int64[np.ndarray, " G"]
    inputs: InputSurvey = dataclasses.field(default_factory=InputSurvey)
    known: int = 0
    guanine_cytosine: int = 0
    blank: int = 0

    @staticmethod
    def empty(tasks: Sequence[Task], length: int) -> Survey:
        """Returns a survey of no rows."""
        whole, real = (lambda: np.zeros(len(tasks), np.int64)), (lambda: np.zeros(len(tasks), np.float64))
        gc = np.zeros(GC_BINS, np.int64)
        return Survey(tuple(tasks), length, RunningDigests(), whole(), whole(), real(), real(), real(), real(), gc)

    def add(self, data: Dataset) -> None:
        """Takes further rows."""
        if not len(data):
            return
        self.digests.update(seen_columns(data) | {IDS: data.ids})
        self.inputs.add(data)
        y = data.targets
        there = ~np.isnan(y)
        values = np.where(there, y, 0).astype(np.float64)
        count, total = there.sum(0), values.sum(0)
        mean = total / np.maximum(count, 1)
        deviations = (np.where(there, values - mean, 0) ** 2).sum(0)
        self._join(count, mean, deviations)
        self.positives += (values > 0.5).sum(0)
        self.total += total
        self.squares += (values**2).sum(0)
        counts, known, strong = gc_histogram(data.codes)
        self.gc += counts
        self.known += known
        self.guanine_cytosine += strong
        self.blank += len(data) - int(counts.sum())

    def extend(self, other: Survey) -> None:
        """Takes the rows of `other` behind the own ones, which must be whole blocks of `fingerprints.BLOCK` rows."""
        self.digests.extend(other.digests)
        self.inputs.extend(other.inputs)
        self._join(other.measured, other.centre, other.deviations)
        for name in ("positives", "total", "squares", "gc", "known", "guanine_cytosine", "blank"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def _join(self, count: np.ndarray, mean: np.ndarray, deviations: np.ndarray) -> None:
        both = self.measured + count
        share = count / np.maximum(both, 1)
        step = mean - self.centre
        self.deviations = self.deviations + deviations + step**2 * self.measured * share
        self.centre = self.centre + step * share
        self.measured = both

    @property
    def rows(self) -> int:
        return self.digests.rows

    @property
    def fingerprint(self) -> str:
        """`Dataset.fingerprint()` of all rows."""
        return self.digests.digest([k for k in self.digests.names if k != IDS], salt=task_salt(self.tasks))

    @property
    def row_fingerprint(self) -> str:
        """Digest of everything that a model can see and of the names of the rows."""
        return self.digests.digest(salt=task_salt(self.tasks))

    @property
    def sequence_digest(self) -> str:
        """Digest of sequences and names; nothing that was measured enters it."""
        return self.digests.digest(["codes", IDS])

    def record(self) -> dict[str, Any]:
        """Returns what `metadata.json` keeps of a split."""
        binary = [task.kind == "binary" for task in self.tasks]
        inputs = self.inputs.record()
        return ({"inputs": inputs} if inputs else {}) | {
            "rows": self.rows,
            "fingerprint": self.fingerprint,
            "row_fingerprint": self.row_fingerprint,
            "sequence_digest": self.sequence_digest,
            "statistics": {
                "measured": self.measured.tolist(),
                "missing": (self.rows - self.measured).tolist(),
                "positives": [int(n) if b else None for n, b in zip(self.positives, binary, strict=True)],
                "sum": self.total.tolist(),
                "sum_of_squares": self.squares.tolist(),
                "mean": [
                    s / n if n else None for s, n in zip(self.total.tolist(), self.measured.tolist(), strict=True)
                ],
                "deviations": self.deviations.tolist(),
            },
            "gc": {
                "histogram": self.gc.tolist(),
                "known_bases": self.known,
                "gc_bases": self.guanine_cytosine,
                "rows_without_known_base": self.blank,
            },
        }

    def state(self) -> dict[str, Any]:
        """Returns everything as plain values, for `Survey.of`; float64 comes back to the bit."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain |= {"tasks": [[t.name, t.kind] for t in self.tasks], "digests": self.digests.state()}
        plain |= {"inputs": self.inputs.state()}
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in plain.items()}

    @staticmethod
    def of(state: Mapping[str, Any]) -> Survey:
        """Returns a survey as it was when `state` was taken."""
        tasks = [Task(name, kind) for name, kind in state["tasks"]]
        result = Survey.empty(tasks, state["length"])
        for field in dataclasses.fields(Survey):
            before = getattr(result, field.name)
            if isinstance(before, np.ndarray):
                setattr(result, field.name, np.array(state[field.name], before.dtype))
            elif isinstance(before, int):
                setattr(result, field.name, state[field.name])
        result.digests = RunningDigests.of(state["digests"])
        result.inputs = InputSurvey.of(state.get("inputs", {}))
        return result


def survey(rows: Rows) -> Survey:
    """Returns the survey of all rows of a split, chunk by chunk."""
    result = Survey.empty(rows.tasks, rows.length)
    for data in chunks(rows):
        result.add(data)
    return result


def gc_histogram(codes: UInt8[np.ndarray, "N L"]) -> tuple[Int64[np.ndarray, " G"], int, int]:
    """Returns rows by GC share among their known bases, the number of known bases, and of those that are G or C."""
    known = (codes < 4).sum(1, dtype=np.int64)
    strong = ((codes == 1) | (codes == 2)).sum(1, dtype=np.int64)
    some = known > 0
    bins = np.minimum(strong[some] * GC_BINS // known[some], GC_BINS - 1)  # whole numbers: no share on an edge is lost
    return np.bincount(bins, minlength=GC_BINS).astype(np.int64), int(known.sum()), int(strong.sum())
