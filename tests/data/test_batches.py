"""Batches: the same bytes from memory, device and files; threads that end whatever happens."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.data.batches import Batches, choose, columns, data_bytes, device_arrays, gather, resolve
from dragon_jax.data.builders import open_stream, write_tfds
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.order import BatchOrder, eval_batches
from dragon_jax.errors import InputError


def make(n: int = 45, weights: bool = True) -> Dataset:
    rng = np.random.default_rng(1)
    targets = rng.normal(size=(n, 2)).astype(np.float32)
    targets[::4, 0] = np.nan
    return Dataset(
        codes=rng.integers(0, 5, (n, 21)).astype(np.uint8),
        targets=targets,
        tasks=(Task("a"), Task("b", "real")),
        ids=np.arange(n).astype(str),
        inputs={"signal": rng.normal(size=(n, 21, 2)).astype(np.float32), "cell": rng.random(n) < 0.5},
        weights=rng.random(n).astype(np.float32) if weights else None,
    )


def order(n: int = 45, batch_size: int = 8, **more) -> BatchOrder:
    return BatchOrder(n=n, batch_size=batch_size, seed=5, **more)


@pytest.fixture(params=["memory", "device", "stream"])
def batches(request, tmp_path):
    """The same data and order from each of the three places."""
    data = make()
    source = data
    if request.param == "stream":
        source = open_stream(write_tfds({"train": data}, tmp_path, name="small", shards=3), "train")
    with Batches(source, order(), request.param) as made:
        yield made


def assert_batch(found, rows, data) -> None:
    expected = {"codes": data.codes, "targets": data.targets, "weight": data.weights, **data.inputs}
    assert set(found) == set(expected)
    for k, array in expected.items():
        got = np.asarray(found[k])
        assert got.dtype == array.dtype
        assert got.tobytes() == array[rows].tobytes(), k


def test_every_placement_gives_the_same_bytes(batches):
    data = make()
    full = jax.jit(resolve)
    steps = []
    for step, batch in batches.iterate(3, 20):  # two epochs and more
        steps.append(step)
        assert_batch(full(batches.arrays, batch), order().rows(step), data)
    assert steps == list(range(3, 20))
    assert_batch(full(batches.arrays, batches.at(7)), order().rows(7), data)
    for rows, _ in eval_batches(45, 16):
        assert_batch(full(batches.arrays, batches.select(rows)), rows, data)


def test_iterating_may_stop_anywhere_and_start_anywhere(batches):
    before = threading.active_count()
    full = dict(batches.iterate(0, 12))
    for start in (0, 5, 11):
        for step, batch in batches.iterate(start, 12):
            assert all(batch[k].tobytes() == full[step][k].tobytes() for k in batch)
            if step == start + 2:
                break
    assert list(batches.iterate(4, 4)) == []
    batches.close()
    batches.close()
    limit = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < limit:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_balanced_batches_from_every_placement(tmp_path):
    data = make()
    classes = (np.arange(45) % 9 == 0).astype(int)
    balanced = order(groups=classes, shares={0: 0.5, 1: 0.5})
    stream = open_stream(write_tfds({"train": data}, tmp_path, name="small"), "train")
    made = [Batches(data, balanced, "memory"), Batches(data, balanced, "device"), Batches(stream, balanced)]
    for step in range(10):
        for each in made:
            assert_batch(resolve(each.arrays, each.at(step)), balanced.rows(step), data)
        assert classes[balanced.rows(step)].sum() == 4
    for each in made:
        each.close()


def test_device_copies_are_replicated_and_gathered_in_shards():
    code = """
        import jax, numpy as np, sys
        from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
        sys.path.insert(0, {here!r})
        from test_batches import assert_batch, make, order
        from dragon_jax.data.batches import Batches, gather
        mesh = Mesh(np.array(jax.devices()), ("batch",))
        assert mesh.size == 4
        data = make()
        batches = Batches(data, order(), "device", sharding=NamedSharding(mesh, P()))
        assert all(a.is_fully_replicated and len(a.devices()) == 4 for a in batches.arrays.values())
        split = NamedSharding(mesh, P("batch"))
        step = jax.jit(gather, out_shardings=split)
        for i, batch in batches.iterate(0, 9):
            full = step(batches.arrays, jax.device_put(batch["rows"], split))
            assert full["codes"].sharding.is_equivalent_to(split, 2)
            assert_batch(full, order().rows(i), data)
        print("fine")
    """
    done = run(code, XLA_FLAGS="--xla_force_host_platform_device_count=4", JAX_PLATFORMS="cpu")
    assert done.stdout == "fine\n", done.stderr


def test_weight_is_absent_where_the_data_has_none():
    data = make(weights=False)
    assert "weight" not in Batches(data, order(), "memory").at(0)
    assert "weight" not in device_arrays(data)


def test_auto_chooses_by_bytes(tmp_path):
    data = make()
    size = 45 * (21 + 2 * 4 + 21 * 2 * 4 + 1 + 4)
    assert data_bytes(data) == size
    assert (choose(data, size), choose(data, size - 1)) == ("device", "memory")
    stream = open_stream(write_tfds({"train": data}, tmp_path, name="small"), "train")
    assert choose(stream) == "stream"
    assert Batches(data, order()).placement == "device"
    assert Batches(data, order(), device_bytes=10).placement == "memory"


def test_gather_is_pure_and_keeps_types():
    arrays = device_arrays(make())
    out = jax.eval_shape(gather, arrays, jnp.zeros(8, jnp.int32))
    assert {k: v.dtype for k, v in out.items()} == {k: v.dtype for k, v in arrays.items()}
    assert all(v.shape == (8, *arrays[k].shape[1:]) for k, v in out.items())


def test_sources_that_do_not_fit_are_refused(tmp_path):
    data = make()
    with pytest.raises(InputError, match="placement 'stream' does not fit the data"):
        Batches(data, order(), "stream")
    stream = open_stream(write_tfds({"train": data}, tmp_path, name="small"), "train")
    with pytest.raises(InputError, match="placement 'memory' does not fit the data"):
        Batches(stream, order(), "memory")
    with pytest.raises(ValueError, match="the order covers 44 rows, the data set has 45"):
        Batches(data, order(44))
    with pytest.raises(InputError, match="input rows of the data set: .* names of the batch itself"):
        columns(dataclasses.replace(data, inputs={"rows": np.zeros(45)}))


class Failing:
    """A source whose fifth read fails, as a broken disk would."""

    def __init__(self, data: Dataset):
        self.data, self.reads = data, 0

    def __len__(self) -> int:
        return len(self.data)

    def read(self, rows):
        if np.array_equal(rows, order().rows(4)):
            raise InputError("disk is gone")
        return columns(self.data.take(rows))


def test_an_exception_comes_out_at_its_batch_and_frees_the_threads():
    before = threading.active_count()
    batches = Batches(Failing(make()), order())
    seen = []
    with pytest.raises(InputError, match="disk is gone"):
        for step, _ in batches.iterate(0, 100):
            seen.append(step)
    batches.close()
    assert seen == [0, 1, 2, 3]
    in_memory = Batches(make(), order(), "memory")
    in_memory.select = lambda rows: 1 / 0  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        next(iter(in_memory.iterate(0, 100)))
    limit = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < limit:
        time.sleep(0.01)
    assert threading.active_count() <= before


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    text = textwrap.dedent(code).format(here=str(Path(__file__).parent))
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )


ENDS = {
    "pass": 0,
    "raise RuntimeError('lost')": 1,
    "import os, signal; signal.signal(2, signal.default_int_handler); os.kill(os.getpid(), 2)": -2,
}


@pytest.mark.parametrize(("end", "status"), ENDS.items())
def test_the_interpreter_ends_with_iterators_left_open(tmp_path, end, status):
    path = write_tfds({"train": make()}, tmp_path, name="small")
    code = f"""
        import sys
        sys.path.insert(0, {{here!r}})
        from test_batches import make, order
        from dragon_jax.data.batches import Batches
        from dragon_jax.data.builders import open_stream
        iterators = [
            iter(Batches(make(), order(), "memory").iterate(0, 10**9)),
            iter(Batches(open_stream({str(path)!r}, "train"), order()).iterate(0, 10**9)),
        ]
        for iterator in iterators:
            next(iterator)
        print("going", flush=True)
        {end}
    """
    started = time.monotonic()
    done = run(code)
    assert (done.stdout, done.returncode) == ("going\n", status), done.stderr
    assert "Fatal" not in done.stderr
    assert time.monotonic() - started < 40
