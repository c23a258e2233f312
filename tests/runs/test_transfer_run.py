"""A run that starts from another, as a user meets it: files, provenance, errors, a real kill, every other command."""

import json
import os
import shutil
import signal

import numpy as np
import pytest

import dragon_jax
from dragon_jax.config_flags import load_config
from dragon_jax.errors import InputError
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.reference import find_reference
from dragon_jax.runs.settings import parse
from dragon_jax.training.checkpoints import Checkpoints
from tests.runs.helpers import dragon, write_config
from tests.runs.test_restart import end_state, newest_step, start, wait_for

STAGES = """c.seed = 1
c.train.steps, c.train.eval_every = 60, 10
c.transfer.stages = (
    {"name": "probe", "train": "head/.*", "steps": 30},
    {"name": "full", "steps": 60, "learning_rate": 0.004},
)"""


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A finished run to start from."""
    folder = tmp_path_factory.mktemp("old")
    config = load_config(str(write_config(folder)))
    return dragon_jax.train(config, folder / "run", quiet=True)


def tiny(folder, old, extra="", **kwargs):
    config = load_config(str(write_config(folder, extra)))
    config.init_from = str(old.path)
    return config


def test_an_adapted_run_is_like_any_other_and_says_where_it_comes_from(old, tmp_path, monkeypatch):
    monkeypatch.setenv("OLD_RUNS", str(old.path.parent))
    config = tiny(tmp_path, old, "c.transfer.adapter, c.transfer.rank, c.train.steps = 'locon', 2, 40")
    config.init_from = "$OLD_RUNS/run"
    said = []
    run = dragon_jax.train(config, tmp_path / "new", say=said.append)
    assert run.status["state"] == "done"
    table = run["transfer.txt"].read_text()
    assert table.strip() in said and "copy + locon of rank 2" in table
    record = run.provenance["transfer"]
    assert record["run"] == str(old.path) and record["code"] == old.provenance["code"]
    assert len(record["weights_sha256"]) == 64 and record["best_step"] == old.provenance["best_step"]
    valid = parse(run.config).data.load(0, splits=("valid",)).parts["valid"]
    model = dragon_jax.load(run.path)
    saved = np.load(run["predictions"] / "valid.npz")["predictions"]
    np.testing.assert_allclose(model.predict(valid.codes), saved, atol=1e-6)
    curve = [r["mean"]["auroc"] for r in run.metrics() if r["split"] == "valid"]
    assert run.results["valid"]["mean"]["auroc"] == pytest.approx(max(curve), abs=1e-6)  # measured while training
    dragon_jax.export(run.path, tmp_path / "exported")
    again = dragon_jax.import_weights("exported", tmp_path / "exported", tmp_path / "imported", say=lambda line: None)
    np.testing.assert_array_equal(dragon_jax.load(again.path).predict(valid.codes), model.predict(valid.codes))


def test_killed_in_the_second_stage_without_its_reference_it_ends_bit_for_bit(old, tmp_path):
    """SIGKILL, and the run that it started from has been deleted since."""
    gone = tmp_path / "gone"
    shutil.copytree(old.path, gone)
    config = write_config(tmp_path, f"{STAGES}\nc.init_from = {str(gone)!r}")
    whole = dragon("train", f"--config={config}", f"--workdir={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr
    process, folder = start(config, tmp_path / "cut"), tmp_path / "cut" / "checkpoints"
    try:
        assert wait_for(lambda: newest_step(folder) >= 33, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    newest = newest_step(folder)
    assert Checkpoints(folder).loop(newest)["stage"]["name"] == "full" and newest < 90
    shutil.rmtree(gone)
    done = dragon("train", f"--config={config}", f"--workdir={tmp_path / 'cut'}")
    assert done.returncode == 0, done.stderr
    for mine, theirs in zip(end_state(tmp_path / "cut"), end_state(tmp_path / "whole"), strict=True):
        assert mine == theirs
    stages = {r["stage"] for r in RunDir(tmp_path / "cut").metrics()}
    assert stages == {"probe", "full"}


def sentences(old, tmp_path):
    """(what init_from names, what is said, more lines of the config)"""
    broken = {name: tmp_path / name for name in ("unfinished", "failed")}
    for place in broken.values():
        shutil.copytree(old.path, place)
    status = json.loads((old.path / "status.json").read_text())
    del status["finished"]
    (broken["unfinished"] / "status.json").write_text(json.dumps(status | {"state": "stopped", "step": 20}))
    status = json.loads((old.path / "status.json").read_text())
    (broken["failed"] / "status.json").write_text(json.dumps(status | {"state": "failed"}))
    kmer = dragon_jax.template(model="kmer", source="simulation", k=(2,))
    kmer.data.source.positives, kmer.data.source.negatives, kmer.data.source.length = 100, 100, 40
    kmer.evaluate.bootstrap = 20
    baseline = dragon_jax.train(kmer, tmp_path / "kmer", quiet=True)
    baseline.set_status("done", 0, finished="now")  # whether so few k-mers learn anything is not the point
    wider = "c.model.filters = (9,)"
    return [
        (tmp_path / "none", "no run directory: expected a finished one", ""),
        (broken["unfinished"], r"is not finished \(state: stopped, step 20\)", ""),
        (broken["failed"], "has failed: expected a run that learned", ""),
        (baseline.path, "holds the baseline 'kmer', which has no weights", ""),
        (tmp_path / "new", "is the --workdir itself", ""),
        (old.path, r"'head/kernel' is to be copied: expected the shape \[9, 1\], found \[8, 1\]", wider),
        (old.path, r"rules\[0\].match: 'trunc/.\*' matches no weight", "c.transfer.rules = ({'match': 'trunc/.*'},)"),
        (old.path, "train.motif_start: expected 0 with init_from", "c.train.motif_start = 0.5"),
    ]


def test_what_cannot_be_started_from_is_said_in_one_sentence_and_leaves_nothing(old, tmp_path):
    for name, match, extra in sentences(old, tmp_path):
        config = tiny(tmp_path, old, extra)
        config.init_from = os.fspath(name)
        with pytest.raises(InputError, match=match) as said:
            dragon_jax.train(config, tmp_path / "new", quiet=True)
        assert "\n" not in str(said.value) and not (tmp_path / "new").exists(), match
    config = dragon_jax.template(model="deepbind", source="simulation")
    config.init_from = str(old.path)
    with pytest.raises(InputError, match="holds the network 'convnet': expected 'deepbind', as model.name says"):
        dragon_jax.train(config, tmp_path / "new", quiet=True)
    assert not (tmp_path / "new").exists()


def test_a_reference_that_changed_before_the_first_checkpoint_is_refused(old, tmp_path):
    settings, run = parse(tiny(tmp_path, old)), RunDir(tmp_path)
    found = find_reference(run, settings)
    assert found is not None
    run.update(
        "provenance.json", transfer=dict(found.record)
    )  # as if it had been killed before a checkpoint was written
    assert find_reference(run, settings) is not None
    run.update("provenance.json", transfer=dict(found.record) | {"weights_sha256": "0" * 64})
    with pytest.raises(InputError, match="are no more those that .* began with"):
        find_reference(run, settings)


def test_transfer_without_a_run_to_start_from_is_refused_and_old_configs_are_read(old, tmp_path):
    config = load_config(str(write_config(tmp_path, "c.transfer.rank = 4")))
    with pytest.raises(InputError, match="transfer.rank: given, but init_from is empty"):
        parse(config)
    plain = {k: v for k, v in old.config.items() if k not in ("init_from", "transfer")}
    assert parse(plain) == parse(old.config)
    assert "transfer" not in old.provenance and not old["transfer.txt"].exists()
    assert all("stage" not in row for row in old.metrics())
    steps = Checkpoints(old["checkpoints"])
    assert set(steps.loop(steps.steps()[-1])) == {"early", "reason"}


def test_rules_and_stages_can_be_given_on_the_command_line(tmp_path):
    words = [
        "--config.init_from=runs/x",
        "--config.transfer.stages=({'name': 'probe', 'train': 'head/.*', 'epochs': 5},)",
    ]
    words += ["--config.transfer.rules=({'match': '.*', 'do': 'copy', 'task_map': {'a': 'b'}},)"]
    settings = parse(load_config(str(write_config(tmp_path)), words))
    stage = settings.transfer.stages[0]
    assert (stage.name, stage.patterns, stage.epochs, stage.patience) == ("probe", ("head/.*",), 5.0, None)
    assert settings.transfer.rules[0].task_map == {"a": "b"} and settings.init_from == "runs/x"
