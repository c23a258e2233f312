"""Killed at any point and started again, a run ends bit for bit where the undisturbed one ends. Real processes, real kills."""

import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

import dragon_jax
from dragon_jax.config_flags import load_config
from dragon_jax.errors import InputError
from dragon_jax.runs.directory import RunDir
from dragon_jax.training.checkpoints import Checkpoints
from tests.runs.helpers import command, dragon, environment, write_config


def start(config, workdir):
    return subprocess.Popen(
        command("train", f"--config={config}", f"--workdir={workdir}"),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def end_state(workdir):
    """Everything that must agree: every leaf of every checkpoint kept, metrics, decision, results, predictions."""
    run = RunDir(workdir)
    checkpoints = Checkpoints(run["checkpoints"])
    leaves = {s: {k: v.tobytes() for k, v in checkpoints.load(s).items()} for s in checkpoints.steps()}
    loops = {s: checkpoints.loop(s) for s in checkpoints.steps()}
    results = run.results["valid"] | {"evaluated": None}
    arrays = np.load(run["predictions"] / "valid.npz")
    return leaves, loops, run["metrics.jsonl"].read_bytes(), results, {k: arrays[k].tobytes() for k in arrays}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    config = write_config(folder)
    done = dragon("train", f"--config={config}", f"--workdir={folder / 'run'}")
    assert done.returncode == 0, done.stderr
    return config, end_state(folder / "run")


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return True
        time.sleep(0.0005)
    return False


def inside_a_save(folder):
    """Whether a checkpoint folder is there whose manifest is not: the process is between the two."""
    names = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    return any(n.removesuffix(".json") not in {m[:8] for m in names if m.endswith(".json")} for n in names)


def test_killed_again_and_again_ends_bit_for_bit(undisturbed, tmp_path):
    config, expected = undisturbed
    workdir, rng, kills = tmp_path / "run", random.Random(0), {"inside a save": 0, "anywhere": 0}
    checkpoints = workdir / "checkpoints"
    for attempt in range(4):
        process = start(config, workdir)
        saves = len(list(checkpoints.glob("*.json"))) if checkpoints.exists() else 0
        newest = max((int(p.stem) for p in checkpoints.glob("*.json")), default=0) if saves else 0
        if attempt % 2 == 0:
            caught = wait_for(lambda at=newest: newest_step(checkpoints) > at and inside_a_save(checkpoints), process)
            kind = "inside a save"
        else:
            caught = wait_for(lambda at=newest: newest_step(checkpoints) > at, process)
            time.sleep(rng.random() * 0.2)
            kind = "anywhere"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if caught and process.returncode == -signal.SIGKILL:
            kills[kind] += 1
    assert kills["inside a save"] and kills["anywhere"], kills
    last = dragon("train", f"--config={config}", f"--workdir={workdir}")
    assert last.returncode == 0, last.stderr
    for mine, theirs in zip(end_state(workdir), expected, strict=True):
        assert mine == theirs


def newest_step(folder):
    return max((int(p.stem) for p in folder.glob("*.json") if p.stem.isdigit()), default=0) if folder.is_dir() else 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_save_first_and_the_same_command_goes_on(undisturbed, tmp_path, number, code):
    config, expected = undisturbed
    process = start(config, tmp_path / "run")
    assert wait_for(lambda: newest_step(tmp_path / "run" / "checkpoints") >= 6, process)
    process.send_signal(number)
    _, text = process.communicate(timeout=120)
    assert process.returncode == code, text
    assert "saved, the same command goes on" in text
    status = RunDir(tmp_path / "run").status
    assert status["state"] == "stopped"
    assert Checkpoints(tmp_path / "run" / "checkpoints").latest() == status["step"]
    assert dragon("train", f"--config={config}", f"--workdir={tmp_path / 'run'}").returncode == 0
    for mine, theirs in zip(end_state(tmp_path / "run"), expected, strict=True):
        assert mine == theirs


def test_deleted_results_and_report_of_a_finished_run_come_back(undisturbed, tmp_path):
    config, expected = undisturbed
    workdir = tmp_path / "run"
    shutil.copytree(config.parent / "run", workdir)
    run = RunDir(workdir)
    before = {p: p.stat().st_mtime_ns for p in (workdir / "checkpoints").rglob("*") if p.is_file()}
    run.update("provenance.json", test_opened=["2026-01-01T00:00:00+00:00"])
    for name in ("results.json", "report.html", "predictions/valid.npz"):
        run[name].unlink()
    settings, said = load_config(str(config)), []
    dragon_jax.train(settings, workdir, say=said.append)
    text = "\n".join(said)
    assert "but its results on valid are gone; worked out again from its best checkpoint" in text
    assert f"dragon evaluate {workdir} --split=test opens the split once more" in text
    assert run["report.html"].exists() and run.status["state"] == "done"
    assert list(run.results) == ["valid"] and not run["lease.json"].exists()
    mean = run.results["valid"]["mean"]["auroc"]  # other threads than in the process of its training: close, not equal
    assert mean == pytest.approx(expected[3]["mean"]["auroc"], abs=1e-6)
    assert before == {p: p.stat().st_mtime_ns for p in (workdir / "checkpoints").rglob("*") if p.is_file()}
    run["report.html"].unlink()
    results = run["results.json"].read_bytes()
    said.clear()
    dragon_jax.train(settings, workdir, say=said.append)
    assert run["report.html"].exists() and run["results.json"].read_bytes() == results
    assert "its report is gone" in said[0]
    shutil.rmtree(workdir / "checkpoints")
    run["results.json"].unlink()
    with pytest.raises(InputError, match="has no checkpoint any more .* train in a new --workdir"):
        dragon_jax.train(settings, workdir, quiet=True)


def test_a_finished_run_is_not_trained_again_and_other_settings_are_refused(undisturbed, tmp_path):
    config, _ = undisturbed
    workdir = config.parent / "run"
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()}
    again = dragon("train", f"--config={config}", f"--workdir={workdir}")
    assert again.returncode == 0 and "is finished already" in again.stderr
    for field, value in (("seed", "1"), ("train.batch_size", "8"), ("model.dropout", "0.3")):
        other = dragon("train", f"--config={config}", f"--workdir={workdir}", f"--config.{field}={value}")
        assert other.returncode == 2
        assert "was started with another config" in other.stderr and field in other.stderr
        assert "Traceback" not in other.stderr and other.stderr.count("\n") == 1
    assert before == {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()}
