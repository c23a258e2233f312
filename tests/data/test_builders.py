"""TFDS folders: bit-exact round trip without TensorFlow, damage found and named, nothing half-made."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from dragon_jax.data.builders import TfdsSource, open_stream, write_tfds
from dragon_jax.data.dataset import Dataset, Regions, Task
from dragon_jax.errors import InputError

TASKS = (Task("CTCF"), Task("activity µ", "real"), Task("reads", "count"))


def make(n: int, seed: int = 0, length: int = 37, rich: bool = True) -> Dataset:
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(n, 3)).astype(np.float32)
    targets[::3, 1] = np.nan
    targets[0, 0] = np.float32(-0.0)
    basic = Dataset(
        codes=rng.integers(0, 5, (n, length)).astype(np.uint8),
        targets=targets,
        tasks=TASKS,
        ids=np.array([f"peak {i} é\tNA" if i % 2 else "" for i in range(n)]),
        notes={"dropped": 4},
    )
    if not rich:
        return basic
    start = rng.integers(0, 2**40, n)
    return dataclasses.replace(
        basic,
        regions=Regions(np.array([f"chr{i % 23}" for i in range(n)]), start, start + length),
        inputs={
            "signal": rng.normal(size=(n, length, 2)).astype(np.float32),
            "cell": rng.random(n) < 0.5,
            "half": rng.normal(size=(n, 3)).astype(np.float16),
            "depth": rng.integers(-(2**60), 2**60, (n, 1)),
            "swapped": rng.normal(size=(n, 2)).astype(">f8"),
        },
        weights=rng.random(n).astype(np.float32),
    )


def assert_same(found: Dataset, expected: Dataset) -> None:
    assert found.tasks == expected.tasks
    assert dict(found.notes) == dict(expected.notes)
    np.testing.assert_array_equal(found.ids, expected.ids)
    assert (found.regions is None) == (expected.regions is None)
    if found.regions is not None and expected.regions is not None:
        for field in ("chrom", "start", "end"):
            np.testing.assert_array_equal(getattr(found.regions, field), getattr(expected.regions, field))
    columns = [(found.codes, expected.codes), (found.targets, expected.targets), (found.weights, expected.weights)]
    columns += [(found.inputs[k], expected.inputs[k]) for k in expected.inputs]
    assert set(found.inputs) == set(expected.inputs)
    for a, b in columns:
        if a is None or b is None:
            assert a is b
            continue
        native = b.astype(b.dtype.newbyteorder("="))
        assert a.dtype == native.dtype
        assert a.shape == b.shape
        assert a.tobytes() == native.tobytes()  # NaN and -0.0 too


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("shards", [1, 3])
def test_round_trip_is_bit_exact(tmp_path, rich, shards):
    parts = {"train": make(50, 0, rich=rich), "valid": make(7, 1, rich=rich), "test": make(1, 2, rich=rich)}
    path = write_tfds(parts, tmp_path, name="ctcf_k562", version="2.0.1", shards=shards)
    assert path == tmp_path / "ctcf_k562" / "2.0.1"
    assert len(list(path.glob("*train*"))) == shards
    found = TfdsSource(path=str(path)).load_parts(0)
    assert set(found) == set(parts)
    for split in parts:
        assert_same(found[split], parts[split])


def test_more_rows_than_a_chunk_keep_their_order(tmp_path):
    part = make(5000, length=5, rich=False)
    path = write_tfds({"train": part}, tmp_path, name="many", shards=3)
    assert_same(TfdsSource(path=str(path)).load_parts(0)["train"], part)


def test_stream_reads_any_rows(tmp_path):
    part = make(40)
    path = write_tfds({"train": part, "valid": make(9, 1)}, tmp_path, name="small", shards=4)
    split = open_stream(path, "train")
    assert (len(split), split.length, split.tasks, split.notes) == (40, 37, TASKS, {"dropped": 4})
    rows = np.array([39, 0, 0, 17, 3])
    batch = split.read(rows)
    assert set(batch) == {"codes", "targets", "weight", *part.inputs}
    assert batch["codes"].tobytes() == part.codes[rows].tobytes()
    assert batch["targets"].tobytes() == part.targets[rows].tobytes()
    assert batch["weight"].tobytes() == np.asarray(part.weights)[rows].tobytes()
    assert batch["signal"].tobytes() == part.inputs["signal"][rows].tobytes()
    batch["codes"][:] = 0  # a batch belongs to whoever asked for it
    np.testing.assert_array_equal(split.read(rows)["codes"], part.codes[rows])
    with pytest.raises(InputError, match="no split 'dev' in .*: expected one of train, valid"):
        open_stream(path, "dev")


def test_fingerprint_is_recorded(tmp_path):
    part = make(12, rich=False)
    path = write_tfds({"train": part}, tmp_path, name="small")
    assert open_stream(path, "train").fingerprint() == part.fingerprint()


def test_tfds_alone_opens_the_folder_and_tensorflow_stays_out(tmp_path):
    code = f"""
        import sys
        import numpy as np
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_builders import make
        from dragon_jax.data.builders import TfdsSource, open_stream, write_tfds
        part = make(20)
        path = write_tfds({{"train": part}}, {str(tmp_path)!r}, name="small", shards=2)
        TfdsSource(path=str(path)).load_parts(0)
        open_stream(path, "train").read(np.arange(3))
        import tensorflow_datasets as tfds
        builder = tfds.builder_from_directory(str(path))
        source = builder.as_data_source("train")
        assert len(source) == 20
        for i in (0, 13, 19):
            assert source[i]["codes"].tobytes() == part.codes[i].tobytes()
            assert source[i]["targets"].tobytes() == part.targets[i].tobytes()
            assert source[i]["inputs"]["signal"].tobytes() == part.inputs["signal"][i].tobytes()
            assert source[i]["id"].decode() == part.ids[i]
            assert source[i]["start"] == part.regions.start[i]
        assert builder.info.metadata["dragon_jax"]["tasks"][1] == ["activity µ", "real"]
        assert str(builder.info.version) == "1.0.0"
        assert "tensorflow" not in sys.modules
        print("fine")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "fine\n", done.stderr
    assert done.stderr == ""


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_tfds({"train": make(60), "valid": make(9, 1)}, tmp_path, name="small", shards=3)


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "longer":
        data += b"\0" * 10
    elif how == "empty":
        data = bytearray()
    elif how == "missing":
        path.unlink()
        return
    elif how == "flip":
        payload = max(i for i in range(len(data)) if data[i])  # the end of the file is padding or its index
        data[payload // 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["small-train.array_record-00001", "small-valid.array_record-00000", "metadata.json"])
@pytest.mark.parametrize("how", ["cut", "longer", "empty", "missing", "flip"])
def test_damage_is_refused_by_name(folder, file, how):
    damage(folder / file, how)
    text = {"flip": "is damaged", "missing": "cannot be read"}.get(how, "is cut off or changed")
    with pytest.raises(InputError, match=f"file {file} of data set .*small/1.0.0 {text}"):
        TfdsSource(path=str(folder)).load_parts(0)
    if how != "flip" or file.endswith("json"):
        with pytest.raises(InputError, match=f"file {file} of"):
            open_stream(folder, "train")


def test_a_changed_byte_never_gives_other_rows(folder):
    """Whichever byte is hit while streaming: the same rows as before, or a sentence that names the file."""
    path, rows = folder / "small-train.array_record-00002", np.arange(60)
    intact, expected = path.read_bytes(), open_stream(folder, "train").read(rows)
    refused = 0
    for where in [i for i in range(0, 20_000, 97) if intact[i]]:
        broken = bytearray(intact)
        broken[where] ^= 0xFF
        path.write_bytes(broken)
        try:
            found = open_stream(folder, "train").read(rows)
            assert all(found[k].tobytes() == expected[k].tobytes() for k in expected)
        except InputError as e:
            assert f"file {path.name} of data set {folder} is damaged" in str(e)
            refused += 1
    assert refused > 50


def test_folders_that_are_no_data_set_are_refused(tmp_path, folder):
    with pytest.raises(InputError, match="no data set at .*nowhere: expected the folder of one version, found none"):
        TfdsSource(path=str(tmp_path / "nowhere")).load_parts(0)
    with pytest.raises(InputError, match=r"found data sets in small/1\.0\.0 below it\. Pass one of these"):
        TfdsSource(path=str(tmp_path)).load_parts(0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing of the kind"):
        TfdsSource(path=str(tmp_path / "empty")).load_parts(0)
    digests = folder / "digests.json"
    known = json.loads(digests.read_text())
    digests.write_text(json.dumps(known | {"format": 99}))
    with pytest.raises(InputError, match="has format 99: expected 2"):
        TfdsSource(path=str(folder)).load_parts(0)
    for wrong in ("{", "[]", "{}"):
        digests.write_text(wrong)
        with pytest.raises(InputError, match=r"digests\.json is damaged"):
            TfdsSource(path=str(folder)).load_parts(0)
    digests.unlink()
    with pytest.raises(InputError, match="expected one that was written by dragon_jax"):
        open_stream(folder, "train")


@pytest.mark.parametrize(
    ("parts", "arguments", "text"),
    [
        ({}, {}, "no split to write"),
        ({"train": make(3)}, {"name": "My Set"}, "data set name 'My Set': expected lower case"),
        ({"train": make(3)}, {"version": "v1"}, "three numbers"),
        ({"train": make(3)}, {"shards": 0}, "shards=0"),
        ({"all": make(3)}, {}, "split names all"),
        ({"train": make(3), "valid": make(3).take(np.arange(0))}, {}, "split valid of data set 'small' is empty"),
        ({"train": make(3), "valid": make(3, length=9)}, {}, "differ in codes, inputs/signal"),
        (
            {"train": make(3), "valid": make(3, rich=False)},
            {},
            "'train' and 'valid' of one data set differ in inputs/signal",
        ),
        (
            {"train": make(3), "valid": dataclasses.replace(make(3), tasks=(Task("x"), *TASKS[1:]))},
            {},
            "differ in tasks",
        ),
        ({"train": dataclasses.replace(make(3), inputs={"a": np.array(["x"] * 3)})}, {}, r"inputs/a \(<U1"),
        ({"train": dataclasses.replace(make(3), inputs={"a": np.zeros((3, 0))})}, {}, "at least one per row"),
        ({"train": dataclasses.replace(make(3), inputs={"a/b": np.zeros(3)})}, {}, "names without '/'"),
        ({"train": dataclasses.replace(make(3), inputs={"codes": np.zeros(3)})}, {}, "names of the batch itself"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, parts, arguments, text):
    with pytest.raises(InputError, match=text):
        write_tfds(parts, tmp_path / "out", **{"name": "small", **arguments})
    assert not (tmp_path / "out").exists()


def test_a_version_is_never_overwritten(tmp_path, folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(InputError, match=r"small/1\.0\.0 exists already"):
        write_tfds({"train": make(3)}, tmp_path, name="small")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    write_tfds({"train": make(3)}, tmp_path, name="small", version="1.0.1")
    assert sorted(p.name for p in folder.parent.iterdir()) == ["1.0.0", "1.0.1"]


BUILD = """
    import sys, resource
    sys.path.insert(0, {here!r})
    from test_builders import make
    from dragon_jax.data import builders
    from dragon_jax.errors import InputError, RunError
    {prepare}
    try:
        print(builders.write_tfds({{"train": make(4000, rich=True)}}, {folder!r}, name="small", shards=2), flush=True)
    except InputError as e:
        print("refused:", e, flush=True)
    except RunError as e:
        print("failed:", e, flush=True)
"""


def start_build(folder: Path, prepare: str) -> subprocess.Popen:
    code = textwrap.dedent(BUILD).format(here=str(Path(__file__).parent), folder=str(folder), prepare=prepare)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_build_leaves_nothing_half_made(tmp_path):
    slow = "import os, time; rename = os.rename; os.rename = lambda *a: (print('now', flush=True), time.sleep(60))"
    process = start_build(tmp_path, slow)  # everything is written, only the last rename is missing
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    target = tmp_path / "small" / "1.0.0"
    assert not target.exists()
    with pytest.raises(InputError, match="no data set at"):
        TfdsSource(path=str(target)).load_parts(0)
    assert list((tmp_path / "small").iterdir()), "the killed build was expected to leave its hidden folder"
    write_tfds({"train": make(5)}, tmp_path, name="small")
    assert [p.name for p in (tmp_path / "small").iterdir()] == ["1.0.0"]  # and the next one cleans up


def test_a_running_build_is_left_alone(tmp_path):
    process = start_build(
        tmp_path, "import os, time; os.rename = lambda *a: (print('now', flush=True), time.sleep(60))"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    try:
        write_tfds({"train": make(5)}, tmp_path, name="small", version="1.0.1")
        names = sorted(p.name for p in (tmp_path / "small").iterdir())
        assert len(names) == 2
        assert names[0].startswith(".1.0.0.building-")
    finally:
        process.kill()
        process.communicate()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))"
    out, err = start_build(tmp_path, limit).communicate(timeout=120)
    assert out.startswith(f"failed: cannot write data set {tmp_path}/small/1.0.0: expected a folder with room"), (
        out + err
    )
    assert list(tmp_path.iterdir()) == []


def test_streaming_needs_little_memory(tmp_path):
    n = 12_000
    rng = np.random.default_rng(0)
    part = Dataset(
        codes=rng.integers(0, 4, (n, 1000)).astype(np.uint8),
        targets=np.zeros((n, 1), np.float32),
        tasks=(Task("a"),),
        ids=np.arange(n).astype(str),
        inputs={"signal": rng.random((n, 2000), np.float32)},
    )
    path = write_tfds({"train": part}, tmp_path, name="big", shards=4)
    assert sum(p.stat().st_size for p in path.iterdir()) > 90e6
    code = f"""
        import resource
        from dragon_jax.data.batches import Batches
        from dragon_jax.data.builders import open_stream
        from dragon_jax.data.order import BatchOrder
        source = open_stream({str(path)!r}, "train")
        batches = Batches(source, BatchOrder(n=len(source), batch_size=64, seed=0))
        def peak(steps):
            for _ in batches.iterate(0, steps): pass
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        first = peak(10)
        print(peak(len(source) // 64) - first)
    """
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 40, "MiB more after reading all 100 MB than after 10 batches"
    assert time.monotonic() - started < 60


class Made:
    """Rows that exist only when they are asked for."""

    tasks, length, notes = (Task("a"), Task("b", "real")), 500, {"made": 1}

    def __init__(self, n: int, width: int):
        self.n, self.width = n, width

    def __len__(self) -> int:
        return self.n

    def chunk(self, start: int, stop: int) -> Dataset:
        i = np.arange(start, stop, dtype=np.int64)
        targets = np.stack([i % 2, np.where(i % 3, np.sin(i), np.nan)], 1).astype(np.float32)
        codes = ((i[:, None] * 2654435761 + np.arange(self.length)) >> 7) % 4
        signal = np.repeat(np.float32(i)[:, None], self.width, 1)
        return Dataset(codes.astype(np.uint8), targets, self.tasks, i.astype(str), inputs={"signal": signal})


def test_rows_made_on_demand_are_written_as_those_in_memory(tmp_path):
    rows = Made(5000, 2)
    lazy = write_tfds({"train": rows, "valid": Made(30, 2)}, tmp_path / "lazy", name="made", shard_rows=1024)
    whole = {"train": dataclasses.replace(rows.chunk(0, 5000), notes=Made.notes), "valid": Made(30, 2).chunk(0, 30)}
    whole["valid"] = dataclasses.replace(whole["valid"], notes=Made.notes)
    memory = write_tfds(whole, tmp_path / "memory", name="made", shard_rows=1024)
    assert {p.name: p.read_bytes() for p in lazy.iterdir()} == {p.name: p.read_bytes() for p in memory.iterdir()}
    assert open_stream(lazy, "train").fingerprint() == whole["train"].fingerprint()
    own = json.loads((lazy / "metadata.json").read_text())["dragon_jax"]["splits"]["train"]
    assert own["rows"] == 5000 and own["notes"] == {"made": 1}
    assert own["statistics"]["measured"] == [5000, 3333] and own["statistics"]["positives"] == [2500, None]
    assert sum(own["gc"]["histogram"]) == 5000


def test_rows_that_change_their_columns_are_refused_and_nothing_stays(tmp_path):
    class Bad(Made):
        def chunk(self, start: int, stop: int) -> Dataset:
            self.width = 2 if start < 4096 else 3
            return super().chunk(start, stop)

    with pytest.raises(InputError, match=r"other columns \(inputs/signal\) than the rows before"):
        write_tfds({"train": Bad(9000, 2)}, tmp_path / "out", name="made")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_writing_more_rows_takes_no_more_memory(tmp_path):
    code = f"""
        import resource, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_builders import Made
        from dragon_jax.data.builders import write_tfds
        def peak(n, name):
            write_tfds({{"train": Made(n, 500)}}, {str(tmp_path)!r}, name=name, shards=4)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        first = peak(20_000, "small")
        print(peak(120_000, "big") - first)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 60, "MiB more for 300 MB than for 50 MB"
