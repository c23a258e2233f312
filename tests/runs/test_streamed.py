"""Runs on a folder made by `dragon prepare`: training rows stay on the disk, and nothing else changes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import dragon_jax
from dragon_jax.data.load import data_config
from dragon_jax.data.prepare import prepare
from dragon_jax.data.records import TfdsSplit
from dragon_jax.errors import InputError
from dragon_jax.runs.directory import RunDir
from dragon_jax.training.losses import part_statistics, task_statistics
from tests.runs.helpers import dragon, environment, write_config
from tests.runs.test_restart import end_state, newest_step, start, wait_for


def quiet(line: str) -> None:
    pass


DATA = {
    "source": {"name": "simulation", "positives": 150, "negatives": 150, "length": 40},
    "split": {"valid": 0.2, "test": 0.2, "duplicates": "drop"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare({"seed": 0, "data": DATA}, tmp_path_factory.mktemp("sets"), name="sim", say=quiet).path


def data_of(folder, **changes) -> dict:
    split = {"name": "files"} | changes.pop("split", {})
    return {"source": {"name": "tfds", "path": str(folder)}, "split": split, **changes}


def config_of(folder, placement="stream", balance=0.0):
    c = dragon_jax.template(model="convnet", source="tfds")
    c.data.source.path, c.data.split.name = str(folder), "files"
    c.model.filters, c.model.widths, c.model.pool_width = (4,), (8,), 0
    c.train.steps, c.train.batch_size, c.train.placement, c.train.tensorboard = 6, 16, placement, False
    c.train.balance, c.evaluate.bootstrap = balance, 0
    return c


def test_only_what_is_asked_for_is_read(folder, monkeypatch):
    read = []
    inner = TfdsSplit.dataset
    monkeypatch.setattr(TfdsSplit, "dataset", lambda self: (read.append(self.split), inner(self))[1])
    config = data_config(data_of(folder))
    loaded = config.load(0, stream=("train",))
    assert read == ["valid"] and list(loaded.parts) == ["valid"] and list(loaded.streamed) == ["train"]
    whole = data_config(DATA).load(0)
    assert loaded.part("train").fingerprint() == whole.parts["train"].fingerprint()
    assert loaded.part("train").row_fingerprint() == whole.parts["train"].row_fingerprint()
    assert loaded.unseen == whole.unseen  # so that the test split is known again when it is opened
    assert any("stays on the disk" in line for line in loaded.summary)
    assert list(config.load(0, ("test",)).parts) == ["test"] and read == ["valid", "test"]


def test_statistics_are_those_of_the_rows(folder):
    loaded, whole = data_config(data_of(folder)).load(0, stream=("train",)), data_config(DATA).load(0).parts["train"]
    found, expected = part_statistics(loaded.part("train")), task_statistics(whole.targets, whole.tasks)
    for field in ("measured", "mean", "scale"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))


def test_a_stricter_split_is_audited_and_a_division_reads_everything(folder):
    for other in (data_of(folder, split={"gap": 5}), data_of(folder, negatives={"name": "dinucleotide"})):
        assert not data_config(other).load(0, stream=("train",)).streamed


def test_a_task_without_labels_is_refused_without_reading(tmp_path):
    table = tmp_path / "t.tsv"
    rows = ["ACGTACGTAC\t1\tNA\ta", "ACGTACTTAC\t0\tNA\ta", "AGGTACGTAA\t1\t1\tb", "ACGGACGTAC\t0\t0\tb"]
    table.write_text("sequence\tx\ty\tpart\n" + "\n".join(rows) + "\n")
    data = {
        "source": {"name": "table", "paths": {"all": str(table)}, "label_columns": ["x", "y"]},
        "split": {"name": "column", "column": "part", "valid_values": ["b"]},
    }
    path = prepare({"data": data}, tmp_path / "out", name="t", say=quiet).path
    with pytest.raises(InputError, match=r"task 'y' has no label in split 'train' \(2 missing\)"):
        data_config(data_of(path)).load(0, stream=("train",))


@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_streamed_and_in_memory_end_with_the_same_weights(folder, tmp_path, balance):
    runs = [
        dragon_jax.train(config_of(folder, placement, balance), tmp_path / placement, quiet=True)
        for placement in ("stream", "memory")
    ]
    a, b = (end_state(run.path) for run in runs)
    assert a[0] == b[0] and a[4] == b[4]  # every leaf of every checkpoint, and every prediction
    one, other = (json.loads((run.path / "provenance.json").read_text()) for run in runs)
    assert one["data"] == other["data"] and one["unseen_sequences"] == other["unseen_sequences"]
    result = dragon_jax.evaluate(tmp_path / "stream", "test")
    assert result["times_opened"] == 1


def test_a_killed_streamed_run_ends_bit_for_bit(folder, tmp_path):
    lines = f'c.data = dragon_jax.template(model="convnet", source="tfds").data\nc.data.source.path = "{folder}"\n'
    config = write_config(tmp_path, lines + 'c.data.split.name, c.train.placement = "files", "stream"')
    assert (done := dragon("train", f"--config={config}", f"--workdir={tmp_path / 'whole'}")).returncode == 0, (
        done.stderr
    )
    process = start(config, tmp_path / "run")
    assert wait_for(lambda: newest_step(tmp_path / "run" / "checkpoints") >= 9, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert RunDir(tmp_path / "run").status["state"] == "running"
    assert dragon("train", f"--config={config}", f"--workdir={tmp_path / 'run'}").returncode == 0
    for mine, theirs in zip(end_state(tmp_path / "run"), end_state(tmp_path / "whole"), strict=True):
        assert mine == theirs


def test_other_data_under_the_same_path_are_refused(tmp_path):
    import shutil

    other = {**DATA, "source": {**DATA["source"], "positives": 151}}
    sets = [prepare({"data": data}, tmp_path / "sets", name="sim", say=quiet).path for data in (DATA, other)]
    place = tmp_path / "place"
    shutil.copytree(sets[0], place)
    dragon_jax.train(config_of(place), tmp_path / "run", quiet=True)
    shutil.rmtree(place)
    shutil.copytree(sets[1], place)
    with pytest.raises(InputError, match="fingerprint differs"):
        dragon_jax.train(config_of(place), tmp_path / "run", quiet=True)


LARGE = """
import resource, sys
import numpy as np
import dragon_jax
from dragon_jax.data.builders import write_tfds
from dragon_jax.data.dataset import Dataset, Task

class Rows:
    tasks, length, notes = (Task("a"),), 400, {{}}
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def chunk(self, start, stop):
        rng = np.random.default_rng(start)
        codes = rng.integers(0, 4, (stop - start, 400)).astype(np.uint8)
        i = np.arange(start, stop)
        return Dataset(codes, (i % 2).astype(np.float32)[:, None], self.tasks, i.astype(str))

path = write_tfds({{"train": Rows({n}), "valid": Rows(64)}}, {out!r}, name="large", shard_rows=65536, about={{"audited": True}})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
c = dragon_jax.template(model="convnet", source="tfds")
c.data.source.path, c.data.split.name = str(path), "files"
c.model.filters, c.model.widths = (4,), (8,)
c.train.steps, c.train.batch_size, c.train.placement, c.train.tensorboard = 40, 64, "stream", False
c.train.eval_every, c.evaluate.bootstrap = 40, 0
dragon_jax.train(c, {run!r}, quiet=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_training_data_larger_than_the_memory_spent(tmp_path):
    peaks = []
    for n in (2_000, 800_000):  # 1 and 350 MB
        code = textwrap.dedent(LARGE).format(n=n, out=str(tmp_path / f"set{n}"), run=str(tmp_path / f"run{n}"))
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment()
        )
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout))
    assert sum(p.stat().st_size for p in tmp_path.glob("set800000/*/*/*")) > 150e6
    assert peaks[1] - peaks[0] < 80, peaks
