"""From a data set and an order to the batches of a run, from three places that give the same bytes.

A batch is a dictionary of arrays with a leading axis B: `codes` uint8 `[B, L]`, `targets` float32 `[B, T]`, `weight`
float32 `[B]` where the data set has weights, every further named input under its own name, and base-resolution targets
float32 `[B, P, S]` under `profile:TASK`.

Where the rows lie, and what that costs in memory beside the data set itself (N rows of R bytes, batches of B rows):

* `memory`: NumPy arrays of the host; B x R bytes for each of the few batches made ahead.
* `device`: a copy of N x R bytes on every device of the mesh. The host sends row numbers only, 4 x B bytes a step.
* `stream`: ArrayRecord files, read by Grain; B x R bytes for each batch read ahead, however large N is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Int

from dragon_jax.data.dataset import PROFILE, Dataset, profile_columns
from dragon_jax.data.order import BatchOrder
from dragon_jax.errors import InputError, listing

if TYPE_CHECKING:
    import jax

Batch = dict[str, np.ndarray]
Placement = Literal["memory", "device", "stream"]
RESERVED = ("codes", "targets", "weight", "rows")
DEVICE_BYTES = 1 << 30  # `auto` copies data sets up to this size to every device; the smallest GPUs in use have 8 GiB
AHEAD = 4  # batches made before they are asked for
READERS = 4  # threads that read and decode records; reading lets go of the interpreter lock, so few cores suffice


@runtime_checkable
class RowSource(Protocol):
    """Rows that are read on demand, such as a split of a TFDS folder (`builders.open_stream`)."""

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> Batch:
        """Returns the batch of these rows, in this order; called from several threads at once."""
        ...


def columns(dataset: Dataset) -> Batch:
    """Returns what of a data set enters a batch, by its name there. Views, not copies.

    Raises:
        InputError: a further input has the name of a built-in one.
    """
    if taken := [name for name in dataset.inputs if name in RESERVED or name.startswith(PROFILE)]:
        raise InputError(
            f"input {listing(taken)} of the data set: {listing(RESERVED)} are names of the batch itself. Rename it"
        )
    result = {"codes": dataset.codes, "targets": dataset.targets, **dataset.inputs}
    result |= profile_columns(dataset.profiles)
    if dataset.weights is not None:
        result["weight"] = dataset.weights
    return result


def data_bytes(dataset: Dataset) -> int:
    """Returns the bytes of all columns that enter batches: N x R of the module's docstring."""
    return sum(array.nbytes for array in columns(dataset).values())


def choose(source: Dataset | RowSource, device_bytes: int = DEVICE_BYTES) -> Placement:
    """Returns what `auto` stands for: `device` up to `device_bytes`, above it `memory`; files are streamed."""
    if not isinstance(source, Dataset):
        return "stream"
    return "device" if data_bytes(source) <= device_bytes else "memory"


def device_arrays(dataset: Dataset, sharding: jax.sharding.Sharding | None = None) -> dict[str, jax.Array]:
    """Puts all columns on the devices of `sharding` (a replicated one: every device needs every row), once.

    Integers and floats of 64 bits become 32 bits unless JAX is told otherwise, as they would with any other batch.
    """
    import jax

    return {name: jax.device_put(array, sharding) for name, array in columns(dataset).items()}


def gather(arrays: Mapping[str, Array], rows: Int[Array, " B"] | Int[np.ndarray, " B"]) -> dict[str, Array]:
    """Returns the batch of these rows from `device_arrays`. Pure: call it inside the compiled step."""
    return {name: array.at[rows].get(mode="promise_in_bounds") for name, array in arrays.items()}


def resolve(arrays: Mapping[str, Array], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the full batch whatever the placement: `gather` if the batch holds row numbers, else the batch itself."""
    return gather(arrays, batch["rows"]) if "rows" in batch else dict(batch)


class Batches:
    """The batches of a run by step, from memory, from the device or from files.

    With placement `device` a batch is `{"rows": int32 [B]}`, to be completed by `resolve(batches.arrays, batch)` in the
    compiled step; in the other placements `arrays` is empty and the batch is complete, so one step serves all.

    Use it as a context manager or call `close()`; threads that a forgotten one leaves behind end with the interpreter.

    Attributes:
        order: which rows a step holds.
        placement: `memory`, `device` or `stream`, never `auto`.
        arrays: the columns on the devices for `device`, else empty.
    """

    def __init__(
        self,
        source: Dataset | RowSource,
        order: BatchOrder,
        placement: Literal["auto", "memory", "device", "stream"] = "auto",
        *,
        sharding: jax.sharding.Sharding | None = None,
        device_bytes: int = DEVICE_BYTES,
        ahead: int = AHEAD,
    ):
        """Makes the batches of `source` in `order`; `sharding` says where `device` copies go (None: default device).

        Raises:
            InputError: the placement does not fit the source, or an input has a reserved name.
            ValueError: the order was made for another number of rows.
        """
        if len(source) != order.n:
            raise ValueError(f"the order covers {order.n:,} rows, the data set has {len(source):,}")
        if placement == "auto":
            placement = choose(source, device_bytes)
        if (placement == "stream") == isinstance(source, Dataset):
            raise InputError(
                f"placement '{placement}' does not fit the data: expected 'stream' for data sets that are read from "
                "TFDS files on demand, and 'memory', 'device' or 'auto' for those in memory"
            )
        self.order = order
        self.placement: Placement = placement
        self.arrays = device_arrays(source, sharding) if isinstance(source, Dataset) and placement == "device" else {}
        self._columns = columns(source) if isinstance(source, Dataset) else {}
        self._source = None if isinstance(source, Dataset) else source
        self._ahead = ahead
        self._open: list[Any] = []  # iterators that own threads

    def at(self, step: int) -> Batch:
        """Returns the batch of one step, made in the calling thread."""
        return self.select(self.order.rows(step))

    def select(self, rows: np.ndarray) -> Batch:
        """Returns the batch of any rows, for example those of `eval_batches`, from the same place."""
        if self.placement == "device":
            return {"rows": rows.astype(np.int32)}
        if self._source is not None:
            return self._source.read(rows)
        return {name: array[rows] for name, array in self._columns.items()}

    def iterate(self, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
        """Yields `(step, batch)` for start <= step < stop, in order; later batches are made meanwhile in threads.

        An exception raised while making a batch comes out here, at that batch. Leaving the loop early is fine.
        """
        if self.placement == "device":
            return ((step, self.at(step)) for step in range(start, stop))
        in_memory = self.placement == "memory"
        steps = _read_ahead(self.at, start, stop, self._ahead) if in_memory else self._stream(start, stop)
        self._open = [it for it in self._open if it.gi_frame is not None] + [steps]
        return steps

    def _stream(self, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
        """Random access over steps, as Grain reads it: each element is one whole batch."""
        import grain

        options = grain.ReadOptions(num_threads=READERS, prefetch_buffer_size=max(READERS, self._ahead))
        steps = grain.MapDataset.range(start, stop).map(lambda step: (int(step), self.at(int(step))))
        iterator = iter(steps.to_iter_dataset(options))
        try:
            yield from iterator
        finally:
            iterator.close()

    def close(self) -> None:
        """Ends the threads of all iterators and lets go of the device copies. Safe to call twice."""
        while self._open:
            self._open.pop().close()
        self.arrays = {}

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read_ahead(make, start: int, stop: int, ahead: int) -> Iterator[tuple[int, Batch]]:
    """Yields `(step, make(step))`, made by one thread that stays at most `ahead` batches in front.

    The executor's own rules keep this from hanging: it holds a bounded number of short jobs, hands exceptions over with
    the result, and is joined when the loop is left or the interpreter exits.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    waiting: deque[tuple[int, Future[Batch]]] = deque()
    try:
        for step in range(start, stop + ahead):
            if step < stop:
                waiting.append((step, pool.submit(make, step)))
            if step >= start + ahead:
                done, future = waiting.popleft()
                yield done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
