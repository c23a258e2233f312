"""One writer per run directory; files whole or not there."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time

import pytest

from dragon_jax.errors import InputError, RunError
from dragon_jax.runs import directory
from dragon_jax.runs.directory import RunDir, read_json, write_json


def lease_of(pid, host=None, started="", beat=None):
    now = time.time()
    return {
        "pid": pid,
        "host": host or socket.gethostname(),
        "started": started,
        "token": "t",
        "since": now - 100,
        "beat": now if beat is None else beat,
    }


def test_a_refused_run_leaves_no_folder_that_it_made(tmp_path):
    (tmp_path / "there").mkdir()
    for name, left in (("new/deep/a", []), ("there", ["there"]), ("there/a", ["there"])):
        with pytest.raises(InputError), RunDir(tmp_path / name).claim():
            assert (tmp_path / name / "lease.json").exists()
            raise InputError("bad data")
        assert sorted(p.name for p in tmp_path.rglob("*")) == sorted({"there", *left})
    with RunDir(tmp_path / "kept" / "a").claim():
        (tmp_path / "kept" / "a" / "config.json").write_text("{}")
    assert (tmp_path / "kept" / "a" / "config.json").exists()


def test_a_second_writer_is_refused_with_host_process_and_age(tmp_path):
    run = RunDir(tmp_path / "a")
    with run.claim() as note:
        assert note == ""
        with pytest.raises(
            InputError, match=rf"being written by process {os.getpid()} on .* \(last sign of life \d+ s ago"
        ):
            with RunDir(tmp_path / "a").claim():
                pass
    with run.claim():
        pass
    assert not (tmp_path / "a" / "lease.json").exists()


def test_the_lease_of_a_dead_process_is_taken_over_and_said(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    run = RunDir(tmp_path / "a")
    run.prepare()
    (run.path / "lease.json").write_text(json.dumps(lease_of(child.pid)))
    with run.claim() as note:
        assert f"process {child.pid}" in note and "taken over" in note


def test_a_reused_process_number_is_not_taken_for_the_old_writer(tmp_path):
    run = RunDir(tmp_path / "a")
    run.prepare()
    (run.path / "lease.json").write_text(json.dumps(lease_of(os.getpid(), started="1")))
    with run.claim() as note:
        assert "taken over" in note


@pytest.mark.parametrize(("age", "free"), [(5, False), (directory.DEAD_SECONDS + 5, True)])
def test_another_host_counts_as_dead_after_a_minute_of_silence(tmp_path, age, free):
    run = RunDir(tmp_path / "a")
    run.prepare()
    (run.path / "lease.json").write_text(json.dumps(lease_of(1, host="elsewhere", beat=time.time() - age)))
    if free:
        with run.claim() as note:
            assert "elsewhere" in note
    else:
        with pytest.raises(InputError, match="on elsewhere"):
            with run.claim():
                pass


def test_the_next_holder_sweeps_what_killed_processes_have_left(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    run, long_ago = RunDir(tmp_path / "a"), time.time() - directory.DEAD_SECONDS - 5
    (run.path / "predictions").mkdir(parents=True)
    (run.path / "config.json").write_text("{}")
    (run.path / "lease.json").write_text(json.dumps(lease_of(child.pid)))
    dead = [
        (".lease.a.new", json.dumps(lease_of(child.pid))),
        (".lease.b.beat", json.dumps(lease_of(1, host="elsewhere", beat=long_ago))),
        (".lease.c", ""),
        (f".status.json.{child.pid}.tmp", "{"),
        (".results.json.12.tmp", "{"),
        (f"predictions/.valid.npz.{child.pid}-0a1b2c3d.tmp", "PK"),
    ]
    living = [
        (".lease.d.new", json.dumps(lease_of(os.getpid()))),
        (".lease.e.beat", json.dumps(lease_of(1, host="elsewhere", beat=time.time() + 1e6))),
        (".results.json.13.tmp", "{"),
        (".report.html.13-0a1b2c3d.tmp", "{"),
        (".mine.tmp", ""),
    ]
    for name, text in dead + living:
        (run.path / name).write_text(text)
    for name in (".results.json.12.tmp", ".mine.tmp"):
        os.utime(run.path / name, (long_ago, long_ago))
    began = time.monotonic()
    with run.claim():
        left = {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()}
    assert left == {"config.json", "lease.json", *(name for name, _ in living)}
    assert time.monotonic() - began < 2  # no waiting for heartbeats


def test_a_claim_whose_file_was_swept_away_is_made_again(tmp_path, monkeypatch):
    run, link, times = RunDir(tmp_path / "a"), os.link, []

    def swept_once(source, target):
        times.append(source)
        if len(times) == 1:
            os.unlink(source)
        link(source, target)

    monkeypatch.setattr(os, "link", swept_once)
    with run.claim() as note:
        assert note == "" and len(times) == 2


def _try_claim(path, barrier, results):
    barrier.wait()
    try:
        with RunDir(path).claim():
            results.put(1)
            time.sleep(1.0)
    except InputError:
        results.put(0)


def test_of_many_takers_of_a_dead_lease_one_wins(tmp_path):
    run = RunDir(tmp_path / "a")
    run.prepare()
    (run.path / "lease.json").write_text(json.dumps(lease_of(1, host="elsewhere", beat=0)))
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    children = [context.Process(target=_try_claim, args=(run.path, barrier, results)) for _ in range(4)]
    for child in children:
        child.start()
    won = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert sum(won) == 1


def test_the_heart_beats_while_the_lease_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(directory, "BEAT_SECONDS", 0.05)
    run = RunDir(tmp_path / "a")
    with run.claim():
        first = read_json(run["lease.json"])["beat"]
        time.sleep(0.5)
        assert read_json(run["lease.json"])["beat"] > first


def test_json_is_replaced_whole_and_nan_is_null(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"a": float("nan"), "b": [1.5, float("inf")]})
    assert read_json(path) == {"a": None, "b": [1.5, None]}

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        write_json(path, {"a": 2})
    monkeypatch.undo()
    assert read_json(path) == {"a": None, "b": [1.5, None]}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_places_that_are_no_run_are_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="found a file"):
        RunDir(tmp_path / "file").prepare()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"holds other files \(thesis.tex\)"):
        RunDir(tmp_path / "other").prepare()
    with pytest.raises(InputError, match="has no config.json: expected a run directory"):
        _ = RunDir(tmp_path / "absent").config
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        _ = RunDir(tmp_path / "broken").config
