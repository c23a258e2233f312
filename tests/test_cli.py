"""The command as a user meets it: exit codes, one sentence, nothing half-written."""

import gzip
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import dragon_jax
from dragon_jax import dna
from dragon_jax.config_flags import load_config
from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.runs.directory import RunDir
from dragon_jax.scoring import score_file
from tests.runs.helpers import command, dragon, environment, write_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    config = write_config(folder)
    done = dragon("train", f"--config={config}", f"--workdir={folder / 'run'}")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def sentence(done, code=2):
    """The one line that a refusal prints."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("dragon ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_help_imports_nothing_heavy():
    code = "import sys, dragon_jax.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'jax','numpy','pandas','absl','flax','matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_profiles_belong_to_base_resolution_models(run, tmp_path):
    (tmp_path / "s.fa").write_text(">a\n" + "ACGT" * 25 + "\n")
    done = dragon("predict", str(run), str(tmp_path / "s.fa"), f"--profiles={tmp_path / 'p.npy'}")
    assert "expected a run of model 'bpnet'" in sentence(done) and not done.stdout
    assert not (tmp_path / "p.npy").exists()


def test_a_platform_that_is_not_there_is_one_sentence_and_nothing_is_written(tmp_path):
    config, workdir = write_config(tmp_path), tmp_path / "new"
    done = dragon("train", f"--config={config}", f"--workdir={workdir}", env={"JAX_PLATFORMS": "nonesuch"})
    said = sentence(done)
    assert "JAX_PLATFORMS=nonesuch: expected a platform that JAX finds here" in said and "Unset JAX_PLATFORMS" in said
    assert not workdir.exists()


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("no backend")])
def test_predict_and_evaluate_ask_for_the_platform_first(tmp_path, monkeypatch, error):
    def absent():
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr("jax.local_devices", absent)
    for verb in (dragon_jax.load, dragon_jax.evaluate):
        with pytest.raises(InputError, match=r"JAX_PLATFORMS=cuda: expected .*\./scripts/setup cuda"):
            verb(tmp_path / "absent")


def test_a_run_directory_holds_what_the_house_says(run):
    folder = RunDir(run)
    assert folder.status["state"] == "done"
    assert {
        "config.json",
        "provenance.json",
        "status.json",
        "metrics.jsonl",
        "results.json",
        "model.txt",
        "report.html",
    } <= {p.name for p in run.iterdir()}
    provenance = folder.provenance
    assert {
        "versions",
        "device",
        "seed",
        "command",
        "data_fingerprint",
        "code",
        "started",
        "finished",
    } <= provenance.keys()
    assert "test_opened" not in provenance and "test" not in folder.results and "test" not in provenance["data"]
    rows = folder.metrics()
    assert [r["split"] for r in rows[:2]] == ["train", "valid"]
    assert rows[1]["per_task"]["motif"]["auroc"] == rows[1]["mean"]["auroc"]
    assert folder.results["valid"]["mean"]["auroc"] == max(r["mean"]["auroc"] for r in rows if r["split"] == "valid")


def test_opening_the_test_split_is_recorded_each_time(run):
    for times in (1, 2):
        done = dragon("evaluate", run, "--split=test")
        assert done.returncode == 0, done.stderr
        assert f"opened {times} time" in done.stdout
    folder = RunDir(run)
    assert len(folder.provenance["test_opened"]) == 2
    task = folder.results["test"]["per_task"]["motif"]
    assert task["threshold"] == folder.results["valid"]["per_task"]["motif"]["threshold"]
    assert task["threshold_from"] == "valid"


def test_predictions_follow_the_input_and_keep_full_precision(run, tmp_path):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (300, 40)).astype(np.uint8)
    sequences = dna.decode_many(codes)
    fasta = "".join(f">s{i} note\n{s.lower() if i % 2 else s}\n" for i, s in enumerate(sequences))
    (tmp_path / "s.fa").write_text(fasta)
    with gzip.open(tmp_path / "s.fa.gz", "wt") as out:
        out.write(fasta)
    (tmp_path / "s.tsv").write_text("name\tsequence\n" + "".join(f"s{i}\t{s}\n" for i, s in enumerate(sequences)))
    expected = dragon_jax.load(run).predict(sequences)
    for source in ("s.fa", "s.fa.gz", "s.tsv"):
        done = dragon("predict", run, tmp_path / source, f"--out={tmp_path / 'o.tsv'}")
        assert done.returncode == 0, done.stderr
        rows = [line.split("\t") for line in (tmp_path / "o.tsv").read_text().splitlines()]
        assert rows[0] == ["id", "motif"]
        assert [r[0] for r in rows[1:]] == [f"s{i}" for i in range(300)]
        np.testing.assert_array_equal(np.array([r[1] for r in rows[1:]], np.float32), expected[:, 0])
    piped = subprocess.run(
        command("predict", run, "-", "--raw"), input=fasta, capture_output=True, text=True, env=environment()
    )
    raw = np.array([line.split("\t")[1] for line in piped.stdout.splitlines()[1:]], np.float32)
    np.testing.assert_allclose(1 / (1 + np.exp(-raw.astype(np.float64))), expected[:, 0], rtol=1e-6)


def test_predict_refuses_in_one_sentence_and_writes_nothing(run, tmp_path):
    cases = {
        "short.fa": (">a\n" + "A" * 40 + "\n>b\nACGT\n", "'b'"),
        "protein.fa": (">a\n" + "MEEPQSDPSV" * 4 + "\n", "IUPAC"),
        "empty.fa": ("", "empty"),
    }
    for name, (text, word) in cases.items():
        (tmp_path / name).write_text(text)
        line = sentence(dragon("predict", run, tmp_path / name, f"--out={tmp_path / 'out.tsv'}"))
        assert name in line and word in line
    assert "no_such.fa" in sentence(dragon("predict", run, tmp_path / "no_such.fa", f"--out={tmp_path / 'out.tsv'}"))
    (tmp_path / "ok.fa").write_text(">a\n" + "A" * 40 + "\n")
    line = sentence(dragon("predict", run, tmp_path / "ok.fa", "--tasks=motiv", f"--out={tmp_path / 'out.tsv'}"))
    assert "did you mean motif?" in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.fa", "ok.fa", "protein.fa", "short.fa"]
    line = sentence(dragon("predict", tmp_path / "nothing", tmp_path / "ok.fa"))
    assert "expected a run directory" in line


def test_a_pipe_gets_no_header_when_the_first_rows_are_refused(tmp_path, capsys):
    class Zeros:
        tasks, length = (Task("motif"),), 4

        def predict(self, sequences, *, raw=False, batch_size=256):
            return np.zeros((len(sequences), 1), np.float32)

    (tmp_path / "short.fa").write_text(">a\nACGT\n>b\nAC\n")
    with pytest.raises(InputError, match="'b'"):
        score_file(Zeros(), str(tmp_path / "short.fa"), "-")
    assert capsys.readouterr().out == ""
    (tmp_path / "ok.fa").write_text(">a\nACGT\n")
    assert score_file(Zeros(), str(tmp_path / "ok.fa"), "-") == 1
    assert capsys.readouterr().out == "id\tmotif\na\t0.0\n"


@pytest.mark.parametrize(
    ("word", "match"),
    [
        ("--config.optim.lr=1", "did you mean optim.learning_rate?"),
        ("--config.train.batch_size=0", "train.batch_size: expected 1 <= x"),
        ("--config.data.split.valid=0.0", "valid"),
        ("--config.train.monitor=auroq", "did you mean auroc"),
        ("--config.model.widths=99", "model.widths: sequences of 40 bases"),
    ],
)
def test_bad_configs_end_before_any_work(tmp_path, word, match):
    config = write_config(tmp_path)
    line = sentence(dragon("train", f"--config={config}", f"--workdir={tmp_path / 'run'}", word))
    assert match in line
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_non_finite_loss_stops_the_run_with_step_and_examples(tmp_path):
    config = write_config(
        tmp_path, "c.optim.learning_rate = 1e38\nc.optim.name = 'sgd'\nc.model.first_activation = 'exp'"
    )
    line = sentence(dragon("train", f"--config={config}", f"--workdir={tmp_path / 'run'}"), code=3)
    assert "is not finite at step" in line and "batch of 16 examples" in line and "optim.learning_rate" in line
    assert RunDir(tmp_path / "run").status["state"] == "failed"


def test_a_run_that_stays_at_chance_is_marked_failed_to_train(tmp_path):
    config = write_config(tmp_path, "c.optim.learning_rate = 1e-12\nc.train.steps = 40\nc.optim.ema = 0.0")
    done = dragon("train", f"--config={config}", f"--workdir={tmp_path / 'run'}", "--config.data.source.mutation=1.0")
    assert "failed to train" in sentence(done, code=3)
    status = RunDir(tmp_path / "run").status
    assert status["state"] == "failed" and status["reason"].startswith("failed to train")
    assert (tmp_path / "run" / "report.html").exists()


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(tmp_path):
    config = write_config(tmp_path)
    workdir = tmp_path / "run"
    process = subprocess.Popen(
        command("train", f"--config={config}", f"--workdir={workdir}"), stderr=subprocess.DEVNULL, env=environment()
    )
    while len(list((workdir / "checkpoints").glob("*.json"))) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    steps = sorted((workdir / "checkpoints").glob("*.json"))
    damaged = next(p for p in (workdir / "checkpoints" / steps[-1].stem).rglob("d/*") if p.is_file())
    damaged.write_bytes(damaged.read_bytes()[:-7])
    log = workdir / "metrics.jsonl"
    log.write_bytes(b'{"step": 3, "spl\n' + (log.read_bytes() if log.exists() else b""))
    done = dragon("train", f"--config={config}", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert f"checkpoint {int(steps[-1].stem)} of" in done.stderr and "does not match its recorded digest" in done.stderr
    assert done.stderr.count("metrics.jsonl: line 1 is torn") == 1 and len(RunDir(workdir).metrics()) >= 2


def test_changed_data_in_the_same_directory_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{s}\t{i % 2}" for i, s in enumerate(dna.decode_many(rng.integers(0, 4, (200, 40)).astype(np.uint8)))]
    (tmp_path / "t.tsv").write_text("sequence\ty\n" + "\n".join(rows) + "\n")
    text = (
        "import dragon_jax\n\n\ndef get_config():\n    c = dragon_jax.template(model='dense', source='table')\n"
        f"    c.data.source.paths = {{'all': {str(tmp_path / 't.tsv')!r}}}\n    c.data.source.label_columns = ('y',)\n"
        "    c.train.steps, c.train.tensorboard, c.train.batch_size = 60, False, 16\n"
        "    c.train.eval_every, c.train.checkpoint_every = 60, 1\n    return c\n"
    )
    (tmp_path / "c.py").write_text(text)
    process = subprocess.Popen(
        command("train", f"--config={tmp_path / 'c.py'}", f"--workdir={tmp_path / 'run'}"),
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    while not list((tmp_path / "run" / "checkpoints").glob("*.json")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    (tmp_path / "t.tsv").write_text("sequence\ty\n" + "\n".join(rows[::-1]) + "\n")
    line = sentence(dragon("train", f"--config={tmp_path / 'c.py'}", f"--workdir={tmp_path / 'run'}"))
    assert "fingerprint differs" in line


def test_reports_and_comparisons_are_made_anew(run, tmp_path):
    assert dragon("report", run).returncode == 0
    done = dragon("compare", run, run, f"--out={tmp_path / 'c'}")
    assert done.returncode == 0, done.stderr
    assert "auroc" in done.stdout.lower()
    assert {p.name for p in (tmp_path / "c").iterdir()} == {"comparison.tsv", "comparison.html"}


def test_versions_are_printed():
    done = dragon("--version")
    assert done.returncode == 0 and f"dragon_jax {dragon_jax.__version__}" in done.stdout


def test_results_are_plain_json(run):
    text = (run / "results.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text)["valid"]["n"] > 0


def test_a_refused_config_leaves_the_place_free_for_the_corrected_command(tmp_path):
    config = write_config(
        tmp_path, "c.train.steps, c.train.eval_every, c.train.patience = 20, 20, 0\nc.train.monitor = 'pearson'"
    )
    workdir = tmp_path / "run"
    line = sentence(dragon("train", f"--config={config}", f"--workdir={workdir}"))
    assert "train.monitor" in line and "pearson" in line
    assert not workdir.exists()
    done = dragon("train", f"--config={config}", f"--workdir={workdir}", "--config.train.monitor=loss")
    assert "was started with another config" not in done.stderr and (workdir / "results.json").exists()


def test_swapped_test_sequences_are_refused_at_the_first_opening_and_other_data_by_a_finished_run(tmp_path):
    rng = np.random.default_rng(0)
    sequences = dna.decode_many(rng.integers(0, 4, (300, 40)).astype(np.uint8))
    rows = [
        f"{'test' if i >= 240 else 'valid' if i >= 180 else 'train'}\t{s}\t{i % 2}" for i, s in enumerate(sequences)
    ]
    table = tmp_path / "t.tsv"

    def write(lines):
        table.write_text("part\tsequence\ty\n" + "\n".join(lines) + "\n")

    write(rows)
    text = (
        "import dragon_jax\n\n\ndef get_config():\n    c = dragon_jax.template(model='dense', source='table')\n"
        f"    c.data.source.paths = {{'all': {str(table)!r}}}\n    c.data.source.label_columns = ('y',)\n"
        "    c.data.split.name, c.data.split.column = 'column', 'part'\n"
        "    c.data.split.valid_values, c.data.split.test_values = ('valid',), ('test',)\n"
        "    c.train.steps, c.train.tensorboard, c.train.batch_size, c.evaluate.bootstrap = 20, False, 16, 20\n    return c\n"
    )
    (tmp_path / "c.py").write_text(text)
    config = load_config(str(tmp_path / "c.py"))
    dragon_jax.train(config, tmp_path / "run", quiet=True)
    write(rows[:240] + rows[240:][::-1])
    with pytest.raises(InputError, match="its sequences are not those that were there while training"):
        dragon_jax.evaluate(tmp_path / "run", "test")
    write([r[:-1] + ("1" if r[-1] == "0" else "0") if r.startswith("test") else r for r in rows])
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    dragon_jax.train(config, tmp_path / "again", quiet=True)
    assert (tmp_path / "again" / "metrics.jsonl").read_bytes() == before  # test labels reach nothing
    write(rows[:100] + rows[180:])
    with pytest.raises(InputError, match="fingerprint differs"):
        dragon_jax.train(config, tmp_path / "run", quiet=True)


def test_output_that_cannot_be_written_is_one_sentence(run, tmp_path):
    (tmp_path / "s.fa").write_text(">a\n" + "A" * 40 + "\n")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("predict", run, tmp_path / "s.fa"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
    assert done.returncode == 3 and "No space left" in done.stderr and "Traceback" not in done.stderr


SWALLOWED = """import time
try:
    time.sleep(30)
except BaseException:  # what Python does with exceptions inside callbacks of its garbage collector
    time.sleep(30)"""


@pytest.mark.parametrize("wait", ["import time\ntime.sleep(30)", SWALLOWED])
@pytest.mark.parametrize(
    ("verb", "number", "says"),
    [("train", signal.SIGTERM, "nothing to save yet"), ("prepare", signal.SIGINT, "what is whole is kept")],
)
def test_a_signal_before_training_is_said_and_ends_the_command(tmp_path, wait, verb, number, says):
    out = f"--workdir={tmp_path / 'run'}" if verb == "train" else f"--out={tmp_path / 'out'}"
    process = subprocess.Popen(
        command(verb, f"--config={write_config(tmp_path, wait)}", out),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    time.sleep(4)
    process.send_signal(number)
    _, text = process.communicate(timeout=20)
    assert process.returncode == 128 + number and says in text and "Traceback" not in text
