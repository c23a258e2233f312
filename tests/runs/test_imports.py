"""Published weights as a run: it predicts the original scores, evaluates with data, says where it comes from, refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dragon_jax
from dragon_jax import cli, dna
from dragon_jax.baselines.deepbind_published import DeepBindPublishedConfig
from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.models.deepbind_files import read_deepbind, write_deepbind
from dragon_jax.models.deepbind_windows import score_windows
from dragon_jax.runs.directory import RunDir
from tests.models.test_deepbind_files import made
from tests.runs.helpers import write_config

SEQUENCES = ["ACGTTGCATTGACTCAGGGATCCAAATTTG", "A", "NNNACGTNN", "TTGACCATGGCATGCAACG"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "D1.txt"
    write_deepbind(path, made(mean_pool=True, hidden=4))
    return path


def test_an_imported_run_predicts_sequences_of_any_length(file, tmp_path, capsys):
    assert cli.main(["import", "deepbind", str(file), f"--workdir={tmp_path / 'run'}", "--window=program"]) == 0
    assert "3 detectors of 5 bases, maximum and mean, 4 hidden units, both strands" in capsys.readouterr().err
    expected = score_windows(read_deepbind(file), [dna.encode(s) for s in SEQUENCES], "program")
    file.unlink()  # the run holds the numbers
    model = dragon_jax.load(tmp_path / "run")
    assert (model.tasks, model.length) == ((Task("D1"),), None)
    raw = model.predict(SEQUENCES, raw=True)
    np.testing.assert_allclose(raw[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(SEQUENCES), 1 / (1 + np.exp(-raw)), rtol=1e-5)
    np.testing.assert_array_equal(model.predict(dna.encode_many(SEQUENCES[:1]), raw=True), raw[:1])
    (tmp_path / "s.fa").write_text("".join(f">s{i}\n{s}\n" for i, s in enumerate(SEQUENCES)))
    assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "s.fa"), "--raw"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["id", "D1"] and [r[0] for r in rows[1:]] == ["s0", "s1", "s2", "s3"]
    np.testing.assert_array_equal(np.array([r[1] for r in rows[1:]], np.float32), raw[:, 0])
    (tmp_path / "s.tsv").write_text("id\tsequence\n" + "".join(f"s\t{s}\n" for s in SEQUENCES))
    assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "s.tsv"), "--raw"]) == 0
    assert [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()[1:]] == [r[1] for r in rows[1:]]


def test_a_run_without_hidden_layer_and_with_a_real_task(tmp_path):
    p = made(both=False)
    write_deepbind(tmp_path / "p.txt", p)
    run = dragon_jax.import_weights(
        "deepbind", tmp_path / "p.txt", tmp_path / "run", task="RBFOX1", kind="real", say=lambda line: None
    )
    model = dragon_jax.load(run.path)
    assert model.tasks == (Task("RBFOX1", "real"),)
    np.testing.assert_array_equal(model.predict(SEQUENCES), model.predict(SEQUENCES, raw=True))
    expected = score_windows(p, [dna.encode(s) for s in SEQUENCES], "whole")
    np.testing.assert_allclose(model.predict(SEQUENCES)[:, 0], expected, atol=1e-6)


def test_provenance_and_status_say_where_it_comes_from(file, tmp_path):
    run = dragon_jax.import_weights("deepbind", file, tmp_path / "run", say=lambda line: None)
    imported = run.provenance["imported"]
    assert imported["file"] == str(file) and "doi:10.1038/nbt.3300" in imported["citation"]
    import hashlib

    assert imported["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert run.status["state"] == "done" and run.config["model"]["window"] == "whole"
    assert dragon_jax.report(run.path).exists()
    assert not (run.path / "lease.json").exists()


def test_with_a_config_the_run_has_its_data_and_is_evaluated(file, tmp_path, capsys):
    config = write_config(tmp_path)  # of a network: its data and evaluation count
    words = ["import", "deepbind", str(file), f"--workdir={tmp_path / 'run'}", f"--config={config}"]
    assert cli.main([*words, "--config.data.source.positives=80"]) in (0, 3)  # random weights stay at chance
    run = RunDir(tmp_path / "run")
    assert run.config["data"]["source"]["positives"] == 80 and set(run.config) == {"seed", "data", "model", "evaluate"}
    assert "auroc" in run.results["valid"]["mean"] and "sha256" in run.provenance["imported"]
    assert cli.main(["evaluate", str(run), "--split=test"]) == 0
    test = np.load(run["predictions"] / "test.npz")
    assert test["raw"].shape == test["targets"].shape
    model = dragon_jax.load(run.path)
    assert model.length is None and model.predict(SEQUENCES).shape == (4, 1)


def refusal(capsys, *words):
    assert cli.main(list(map(str, words))) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dragon ")]
    return line


def test_refusals_leave_nothing(file, tmp_path, capsys):
    run, bad = tmp_path / "run", tmp_path / "bad.txt"
    bad.write_text(">seq\nACGT\n")
    assert "bad.txt, line 1: expected '# deepbind 0.1'" in refusal(
        capsys, "import", "deepbind", bad, f"--workdir={run}"
    )
    assert "none.txt: expected an existing file" in refusal(
        capsys, "import", "deepbind", tmp_path / "none.txt", f"--workdir={run}"
    )
    assert not run.exists()
    with pytest.raises(SystemExit) as e:
        cli.main(["import", "deepbind", str(file), f"--workdir={run}", "--window=half"])
    assert e.value.code == 2 and "invalid choice: 'half'" in capsys.readouterr().err
    with pytest.raises(InputError, match="model.window: expected 'whole' or 'program' or 'kipoi', found 'half'"):
        dragon_jax.import_weights("deepbind", file, run, window="half")
    with pytest.raises(InputError, match="expected 'deepbind', found 'keras'"):
        dragon_jax.import_weights("keras", file, run)
    assert not run.exists()
    assert cli.main(["import", "deepbind", str(file), f"--workdir={run}"]) == 0
    capsys.readouterr()
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    assert "holds a run already" in refusal(capsys, "import", "deepbind", file, f"--workdir={run}")
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()} == before
    assert "holds other files" in refusal(capsys, "import", "deepbind", file, f"--workdir={tmp_path}")
    assert "imported without data: there is nothing to evaluate" in refusal(capsys, "evaluate", run)
    (tmp_path / "s.txt").write_text("ACGT\n")
    assert "Leave --fit out" in refusal(capsys, "predict", run, tmp_path / "s.txt", "--fit=fit_centre")
    (tmp_path / "e.fa").write_text(">a\nACGT\n>b\n")
    assert "'b' in" in refusal(capsys, "predict", run, tmp_path / "e.fa")
    words = (
        "import",
        "deepbind",
        file,
        f"--workdir={tmp_path / 'r2'}",
        "--task=x",
        f"--config={write_config(tmp_path)}",
    )
    assert "Leave --task and --kind out" in refusal(capsys, *words)
    assert not (tmp_path / "r2").exists()


def test_a_run_whose_arrays_or_tasks_were_changed_is_refused(file, tmp_path):
    config = DeepBindPublishedConfig(file=str(file))
    state = config.read([Task("a")]).state()
    for change in ({"detectors": state["detectors"][1:, :, :2]}, {"flags": np.zeros(3)}, {"more": np.zeros(2)}):
        with pytest.raises(InputError, match="stored DeepBind parameters do not fit"):
            config.from_state([Task("a")], None, state | change)
    for tasks in ([Task("a"), Task("b")], [Task("a", "count")]):
        with pytest.raises(InputError, match="scores one binary or real task"):
            config.read(tasks)
    run = dragon_jax.import_weights("deepbind", file, tmp_path / "run", say=lambda line: None)
    changed = json.loads(run["config.json"].read_text())
    changed["model"]["window"] = "kipoi"  # a convention may be chosen later: the numbers are the same
    run["config.json"].write_text(json.dumps(changed))
    expected = score_windows(read_deepbind(file), [dna.encode(SEQUENCES[0])], "kipoi")
    np.testing.assert_allclose(dragon_jax.load(run.path).predict(SEQUENCES[:1], raw=True)[:, 0], expected, atol=1e-6)


def test_a_released_model_scores_its_test_set_as_published(dragon_data, tmp_path):
    """USF1 by `dragon import` with the data of its experiment, then `dragon evaluate --split=test`."""
    name = "USF1_HepG2_USF-1_HudsonAlpha"
    file, data = dragon_data("deepbind_models/params/D00700.006.txt"), dragon_data(f"deepbind_encode/{name}_B.seq.gz")
    config = dragon_jax.template(model="kmer", source="table")
    other = dragon_data("deepbind_encode/ELK1_GM12878_ELK1_(1277-1)_Stanford_B.seq.gz")  # train is not looked at
    config.data.source.paths = {"train": str(other), "test": str(data)}
    config.data.source.sequence_column, config.data.source.id_column = "seq", "EventID"
    config.data.source.label_columns = ("Bound",)
    config.data.split.name, config.data.split.valid, config.data.split.test = "hash", 0.2, 0.0
    config.data.split.duplicates, config.evaluate.bootstrap = "group", 0
    run = dragon_jax.import_weights("deepbind", file, tmp_path / "run", config=config, say=lambda line: None)
    assert dragon_jax.evaluate(run.path, "test")["mean"]["auroc"] == pytest.approx(0.99298, abs=0.003)
