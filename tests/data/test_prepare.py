"""`dragon prepare`: found again by content, rebuilt when an input changes, resumed bit for bit after kills. Real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from dragon_jax.data.builders import TfdsSource
from dragon_jax.data.load import data_config
from dragon_jax.data.prepare import data_set_name, prepare
from dragon_jax.errors import InputError

ROWS = 7000


def write_table(path: Path, n: int = ROWS, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    bases = np.array(list("ACGT"))[rng.integers(0, 4, (n, 40))]
    labels = rng.integers(0, 2, (n, 2)).astype(str)
    labels[rng.random((n, 2)) < 0.1] = ""
    lines = [
        "id\tsequence\tCTCF\tREST",
        *(f"r{i}\t{''.join(b)}\t{a}\t{c}" for i, (b, (a, c)) in enumerate(zip(bases, labels, strict=True))),
    ]
    path.write_text("\n".join(lines) + "\n")
    old = time.time_ns() - 10**10  # files that have just been written are not remembered
    os.utime(path, ns=(old, old))
    return path


def config(table: Path, **source) -> dict:
    return {
        "seed": 3,
        "data": {
            "source": {
                "name": "table",
                "paths": {"all": str(table)},
                "id_column": "id",
                "label_columns": ["CTCF", "REST"],
                **source,
            }
        },
    }


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def table(tmp_path) -> Path:
    return write_table(tmp_path / "table.tsv")


def quiet(line: str) -> None:
    pass


def build(table: Path, out: Path, **options):
    return prepare(config(table, **options.pop("source", {})), out, name="set", shard_rows=1024, say=quiet, **options)


def test_what_is_written_is_what_the_config_loads(table, tmp_path):
    done = build(table, tmp_path / "out")
    assert done.fresh and done.path == tmp_path / "out" / f"set_{done.content[:12]}" / "1.0.0"
    found = TfdsSource(path=str(done.path)).load_parts(0)
    expected = data_config(config(table)["data"]).load(3, ("train", "valid", "test")).parts
    assert set(found) == set(expected)
    for split, part in expected.items():
        assert found[split].row_fingerprint() == part.row_fingerprint()
    assert len(list(done.path.glob("*-train.*"))) > 3
    assert "labels written but not shown" in next(line for line in done.summary if line.startswith("test"))
    again = build(table, tmp_path / "out")
    assert (again.path, again.fresh, again.summary) == (done.path, False, done.summary)


def test_tfds_alone_opens_it(table, tmp_path):
    import tensorflow_datasets as tfds

    done = build(table, tmp_path / "out")
    source = tfds.builder_from_directory(str(done.path)).as_data_source("train")
    part = TfdsSource(path=str(done.path)).load_parts(0)["train"]
    assert len(source) == len(part)
    for i in (0, 1024, len(part) - 1):
        assert source[i]["codes"].tobytes() == part.codes[i].tobytes()
        assert source[i]["id"].decode() == part.ids[i]
        assert source[i]["targets"].tobytes() == part.targets[i].tobytes()


def test_the_second_call_reads_no_input(table, tmp_path, monkeypatch):
    from dragon_jax.data import inputs, table_source

    done = build(table, tmp_path / "out")
    for module, name in ((inputs, "sha256"), (table_source.TableSource, "load_parts")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("an input was read"))
    assert build(table, tmp_path / "out").path == done.path


def test_a_changed_input_makes_another_folder_and_the_old_one_stays(table, tmp_path):
    first = build(table, tmp_path / "out")
    kept = content(first.path)
    stat = table.stat()
    text = table.read_text()
    table.write_text(text.replace("\nr0\t", "\nR0\t"))  # same size
    os.utime(table, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    second = build(table, tmp_path / "out")
    assert second.fresh and second.path != first.path
    assert TfdsSource(path=str(second.path)).load_parts(0)["train"].ids.tolist() != []
    assert content(first.path) == kept
    table.write_text(text)  # and the first content meets the first folder again, whatever its time stamp
    assert build(table, tmp_path / "out").path == first.path


def test_other_settings_and_another_seed_make_other_folders_defaults_do_not(table, tmp_path):
    paths = [build(table, tmp_path / "out").path]
    paths.append(build(table, tmp_path / "out", source={"label_columns": ["REST"]}).path)
    other = config(table) | {"seed": 4}
    paths.append(prepare(other, tmp_path / "out", name="set", shard_rows=1024, say=quiet).path)
    assert len(set(paths)) == 3
    spelled = config(table)
    spelled["data"] |= {"split": {"name": "hash", "valid": 0.1}, "negatives": {"name": "none"}}
    assert prepare(spelled, tmp_path / "out", name="set", shard_rows=1024, say=quiet).path == paths[0]


def test_an_input_that_changes_while_it_is_read_is_refused(table, tmp_path, monkeypatch):
    from dragon_jax.data import shards

    inner, calls = shards._write, []

    def slow(*args):
        calls.append(0)
        if len(calls) == 3:
            table.write_text(table.read_text().replace("\nr0\t", "\nR0\t"))
        return inner(*args)

    monkeypatch.setattr(shards, "_write", slow)
    with pytest.raises(InputError, match="changed while it was built, nothing was kept"):
        build(table, tmp_path / "out")
    assert not list(tmp_path.glob("out/*/1.0.0")) and not list(tmp_path.glob("out/*/.*/data/*"))
    assert build(table, tmp_path / "out").fresh


BUILD = """
    import sys, os, time, resource
    sys.path.insert(0, {here!r})
    from pathlib import Path
    from test_prepare import config
    from dragon_jax.data import prepare, shards
    from dragon_jax.errors import InputError, RunError
    {before}
    try:
        done = prepare.prepare(config(Path({table!r})), {out!r}, name="set", shard_rows=1024, say=print)
        print("built" if done.fresh else "found", done.path, flush=True)
    except InputError as e:
        print("refused:", e, flush=True)
    except RunError as e:
        print("failed:", e, flush=True)
"""


def start(table: Path, out: Path, before: str = "") -> subprocess.Popen:
    code = textwrap.dedent(BUILD).format(here=str(Path(__file__).parent), table=str(table), out=str(out), before=before)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for_now(process: subprocess.Popen) -> None:
    assert process.stdout is not None and process.stderr is not None
    said = []
    while (line := process.stdout.readline()) != "now\n":
        said.append(line)
        assert line, "".join(said) + process.stderr.read()


def finished(out: Path) -> int:
    return len(list(out.glob("*/.1.0.0.building/records/*.json")))


# Every rename and every wait for the disk is a moment to be killed at: before it, and after it.
PAUSE = """
count, inner = 0, os.{call}
def pause(*a, **k):
    global count
    count += 1
    if count == {at} and {early}: print('now', flush=True), time.sleep(60)
    inner(*a, **k)
    if count == {at}: print('now', flush=True), time.sleep(60)
os.{call} = pause
"""


def test_killed_again_and_again_it_ends_byte_for_byte(table, tmp_path):
    expected = content(build(table, tmp_path / "whole").path)
    assert len(expected) >= 10
    rng, out, seen = random.Random(0), tmp_path / "out", []
    slow = "write = shards._write; shards._write = lambda *a: (time.sleep(0.05), write(*a))[1]"
    for _ in range(3):
        process = start(table, out, slow)
        before, end = finished(out), time.monotonic() + 60
        while finished(out) < min(before + 1, 6) and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        seen.append(finished(out))
        kill(process)
        assert not list(out.glob("*/1.0.0")), "half a data set under the final name"
    assert seen == sorted(seen) and seen[-1] >= 2, seen  # whole files were kept and not made again
    stamps = {p: p.stat().st_mtime_ns for p in out.glob("*/.1.0.0.building/data/*")}
    done = {json.loads(p.read_text())["sha256"] for p in out.glob("*/.1.0.0.building/records/*.json")}
    text, err = start(table, out).communicate(timeout=120)
    assert f"going on with {len(done)} whole files" in text and "built" in text, text + err
    (path,) = out.glob("*/1.0.0")
    assert content(path) == expected
    kept = [p.name for p in path.iterdir() if p.stat().st_mtime_ns in stamps.values()]
    assert len(kept) >= len(done), "whole files were written again"
    assert [p.name for p in path.parent.iterdir()] == ["1.0.0"]
    assert start(table, out).communicate(timeout=120)[0].startswith("found")


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(("call", "at"), [("replace", 3), ("rename", 1), ("fsync", 8)])
def test_killed_at_any_step_of_the_book_keeping(tmp_path, call, at, early):
    table = write_table(tmp_path / "small.tsv", 2500)
    expected = content(build(table, tmp_path / "whole").path)
    out = tmp_path / "out"
    process = start(table, out, PAUSE.format(call=call, at=at, early=early))
    wait_for_now(process)
    kill(process)
    whole = list(out.glob("*/1.0.0"))
    assert bool(whole) == (call == "rename" and not early)
    assert all(content(path) == expected for path in whole)
    done = build(table, out)
    assert done.fresh == (not whole) and content(done.path) == expected
    assert [p.name for p in done.path.parent.iterdir()] == ["1.0.0"]


def test_a_damaged_leftover_is_written_again(table, tmp_path):
    expected = content(build(table, tmp_path / "whole").path)
    out = tmp_path / "out"
    process = start(table, out, "os.rename = lambda *a: (print('now', flush=True), time.sleep(60))")
    wait_for_now(process)
    kill(process)
    shards = sorted(out.glob("*/.1.0.0.building/data/*train*"))
    shards[0].write_bytes(shards[0].read_bytes()[:-100])
    data = bytearray(shards[1].read_bytes())
    data[len(data) // 3] ^= 1
    shards[1].write_bytes(data)
    shards[2].unlink()
    records = sorted(out.glob("*/.1.0.0.building/records/*train*"))
    records[3].write_text("{")
    assert content(build(table, out).path) == expected


def test_two_at_once_one_builds_and_the_other_is_told(table, tmp_path):
    out = tmp_path / "out"
    process = start(table, out, "os.rename = lambda *a: (print('now', flush=True), time.sleep(60))")
    wait_for_now(process)
    with pytest.raises(InputError, match=rf"is being built by another process \(process {process.pid} on"):
        build(table, out)
    kill(process)
    assert build(table, out).fresh


def test_leftovers_of_changed_inputs_go(table, tmp_path):
    out = tmp_path / "out"
    process = start(table, out, "os.rename = lambda *a: (print('now', flush=True), time.sleep(60))")
    wait_for_now(process)
    kill(process)
    table.write_text(table.read_text().replace("\nr0\t", "\nR0\t"))
    said: list[str] = []
    done = prepare(config(table), out, name="set", shard_rows=1024, say=said.append)
    assert any("removed the unfinished data set" in line for line in said)
    assert list(out.iterdir()) == [done.path.parent]


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(table, tmp_path):
    out = tmp_path / "out"
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))"
    text, err = start(table, out, limit).communicate(timeout=120)
    line = text.splitlines()[-1]
    assert line.startswith("failed: cannot write data set") and "Whole files are kept" in line, text + err
    assert "Traceback" not in err
    assert build(table, out).fresh


def test_a_damaged_data_set_is_not_called_ready(table, tmp_path):
    done = build(table, tmp_path / "out")
    shard = next(done.path.glob("*train*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match="is cut off or changed"):
        build(table, tmp_path / "out")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("configs/encode_tf.py", "encode_tf"),
        ("a/Encode-TF.py:CTCF", "encode_tf_ctcf"),
        ("1.py", "data_1"),
        ("µ.py", "data"),
    ],
)
def test_names(spec, name):
    assert data_set_name(spec) == name
