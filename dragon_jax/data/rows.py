"""Rows of a split that need not lie in memory: what data sets larger than memory are written from, chunk by chunk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from dragon_jax.data.dataset import Dataset, Task, concatenate

CHUNK = 4096  # rows at a time


@runtime_checkable
class Rows(Protocol):
    """The rows of one split, in a fixed order, made when they are asked for.

    Attributes:
        tasks, length: as of `Dataset`.
        notes: what was put in order or dropped on the way to these rows, by name.
    """

    @property
    def tasks(self) -> tuple[Task, ...]: ...
    @property
    def length(self) -> int: ...
    @property
    def notes(self) -> Mapping[str, int]: ...
    def __len__(self) -> int: ...
    def chunk(self, start: int, stop: int) -> Dataset:
        """Returns rows `[start, stop)`: the same bits at every call, with the same columns for every part."""
        ...


@dataclasses.dataclass(frozen=True)
class MemoryRows:
    """`Rows` of a data set in memory."""

    data: Dataset

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.data.tasks

    @property
    def length(self) -> int:
        return self.data.length

    @property
    def notes(self) -> Mapping[str, int]:
        return self.data.notes

    def __len__(self) -> int:
        return len(self.data)

    def chunk(self, start: int, stop: int) -> Dataset:
        return self.data.take(np.arange(start, min(stop, len(self.data))))


def chunks(rows: Rows, size: int = CHUNK) -> Iterator[Dataset]:
    """Yields all rows in order, `size` at a time."""
    for start in range(0, len(rows), size):
        yield rows.chunk(start, min(start + size, len(rows)))


def gathered(rows: Rows) -> Dataset:
    """Returns all rows as one data set in memory, with the notes of the split."""
    if isinstance(rows, MemoryRows):
        return rows.data
    return dataclasses.replace(concatenate(list(chunks(rows))), notes=dict(rows.notes))
