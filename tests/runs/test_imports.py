"""Published weights as a run: it predicts the original scores, evaluates with data, says where it comes from, refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dragon_jax
from dragon_jax import cli, dna
from dragon_jax.baselines.deepbind_published import DeepBindPublishedConfig
from dragon_jax.baselines.gkm_kernels import Kernel
from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.models.deepbind_files import read_deepbind, write_deepbind
from dragon_jax.models.deepbind_windows import score_windows
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.imports import Options, read_lsgkm
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
    assert cli.main([*words, "--config.data.source.positives=80"]) == 0
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
    with pytest.raises(InputError, match="expected 'deepbind', 'lsgkm', 'exported'.*, found 'keras'"):
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


MODEL = """svm_type c_svc
kernel_type {kind}
L 6
k 4
d 2
M 20
H 10
gamma 0.5
norc 0
nr_class 2
total_sv 3
rho 0.25
label 1 -1
nr_sv 2 1
SV
0.5 ACGTTGACAG
0.25 acgnnttgacagttgac
-0.75 GGGTTTCCCAAAN
"""


@pytest.mark.parametrize("kind", ["gkm_cnt", "gkm_estfull", "gkm_esttrunc", "gkmrbf", "wgkm", "wgkmrbf"])
def test_a_model_of_lsgkm_predicts_decision_values_of_sequences_of_any_length(kind, tmp_path, capsys):
    file, run = tmp_path / "NFE2.model.txt", tmp_path / "run"
    file.write_text(MODEL.format(kind=kind))
    assert cli.main(["import", "lsgkm", str(file), f"--workdir={run}"]) == 0
    assert f"any number of bases, kernel {kind} (l=6, k=4, d=2" in capsys.readouterr().err
    file.unlink()  # the run holds the numbers
    model = dragon_jax.load(run)
    assert (model.tasks, model.length) == ((Task("NFE2"),), None)
    texts = ["ACGTTGACAT", "TTGACA", "ACGTTGACANNNCCGTAGTTCAGGATCAACN", "A" * 70]
    raw = model.predict(texts, raw=True)
    kernel = model.model.config.kernel
    for text, found in zip(texts, raw[:, 0], strict=True):  # pair by pair, as its definition says
        assert found == pytest.approx(decision(text, kernel), abs=2e-6)
    np.testing.assert_allclose(model.predict(texts), 1 / (1 + np.exp(-raw)), rtol=1e-5)
    (tmp_path / "s.fa").write_text("".join(f">s{i}\n{s}\n" for i, s in enumerate(texts)))
    assert cli.main(["predict", str(run), str(tmp_path / "s.fa"), "--raw"]) == 0
    cells = [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()]
    assert cells[0] == "NFE2"
    np.testing.assert_array_equal(np.array(cells[1:], np.float32), raw[:, 0])


def decision(text, kernel):
    """The decision value of `MODEL`, every word with every word of both strands, in float64."""
    h = [*kernel.mismatch(), *[0] * kernel.l]

    def words(s):
        codes = dna.encode(s.replace("N", "A").replace("n", "A"))
        n = len(codes) - kernel.l + 1
        both = [codes, dna.reverse_complement(codes)]
        weights = kernel.places(np.array([n]), n)[0]
        return [
            [(w[i : i + kernel.l], u) for i, u in enumerate(p)]
            for w, p in zip(both, (weights, weights[::-1]), strict=True)
        ]

    def k0(a, b):
        return sum(u * v * h[int((x != y).sum())] for x, u in words(a)[0] for strand in words(b) for y, v in strand)

    total = -0.25
    for line in MODEL.split("SV\n")[1].splitlines():
        coefficient, vector = line.split()
        k = k0(text, vector) / np.sqrt(k0(text, text) * k0(vector, vector))
        total += float(coefficient) * (np.exp(kernel.gamma * (k - 1)) if kernel.radial else k)
    return total


def test_a_model_of_lsgkm_goes_out_as_it_came_and_is_evaluated_with_data(tmp_path, capsys):
    file, run = tmp_path / "m.txt", tmp_path / "run"
    file.write_text(MODEL.format(kind="wgkm").replace("gamma 0.5\n", ""))
    words = ["import", "lsgkm", str(file), f"--workdir={run}", f"--config={write_config(tmp_path)}"]
    assert cli.main([*words, "--config.evaluate.bootstrap=0"]) == 0
    assert "valid: auroc" in capsys.readouterr().err and (run / "report.html").exists()
    assert RunDir(run).provenance["imported"]["format"] == "LS-GKM model"
    assert cli.main(["evaluate", str(run), "--split=test"]) == 0
    for name in ("one", "two"):
        assert cli.main(["export", str(run), f"--out={tmp_path / name}", "--format=lsgkm"]) == 0
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text()
    again = dragon_jax.import_weights("lsgkm", tmp_path / "one", tmp_path / "again", say=lambda line: None)
    texts = ["ACGTTGACATTGACCC", "GGGTTTC"]
    found = [dragon_jax.load(r).predict(texts, raw=True) for r in (run, again.path)]
    np.testing.assert_array_equal(*found)


def test_lsgkm_refusals(tmp_path, capsys):
    file, run = tmp_path / "m.txt", tmp_path / "run"
    file.write_text(MODEL.format(kind="gkm_cnt"))
    assert "it has no --window. Leave --window out" in refusal(
        capsys, "import", "lsgkm", file, f"--workdir={run}", "--window=kipoi"
    )
    assert "it has no --kind" in refusal(capsys, "import", "lsgkm", file, f"--workdir={run}", "--kind=real")
    assert not run.exists()
    assert cli.main(["import", "lsgkm", str(file), f"--workdir={run}", "--task=NFE2"]) == 0
    (tmp_path / "s.fa").write_text(">long\nACGTACGT\n>b\nACGTA\n")
    said = refusal(capsys, "predict", run, tmp_path / "s.fa")
    assert "sequence 'b' in" in said and "expected at least 6 bases, found 5" in said
    model = dragon_jax.load(run)
    with pytest.raises(InputError, match="sequence number 2: expected at least 6 bases, found 3"):
        model.predict(["ACGTACGT", "ACG"])
    with pytest.raises(InputError, match="scores one binary task, found 1 \\(x \\(count\\)\\)"):
        read_lsgkm(file, Options(), [Task("x", "count")])


def test_long_sequences_are_compared_by_the_operator(tmp_path):
    """More than `_LONG` words: the norm comes from transforms, and must be what comparing all pairs gives."""
    from dragon_jax.baselines import gkm_operator

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (2, 300), np.uint8)
    for kind in ("gkm_esttrunc", "wgkm"):
        kernel = Kernel(kind=kind, l=6, k=4, d=2)
        found = gkm_operator.words(codes, kernel)
        expected = gkm_operator.norms(found, kernel)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gkm_operator, "_LONG", 100)
            np.testing.assert_allclose(gkm_operator.norms(found, kernel), expected, rtol=1e-5)


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
