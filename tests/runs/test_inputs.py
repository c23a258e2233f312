"""Signal and metadata all the way: labels that depend on nothing else are learned, and the command predicts the same."""

import dataclasses
import json
import shutil
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pybigtools
import pytest

import dragon_jax
from dragon_jax import cli, dna
from dragon_jax.data.checkup import check_config, check_folder
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.data.prepare import prepare
from dragon_jax.errors import InputError
from dragon_jax.models.base import ModelConfig
from dragon_jax.models.registry import MODELS
from dragon_jax.reports.checkup_page import checkup_page
from dragon_jax.reports.checkup_text import checkup_text
from dragon_jax.runs.directory import read_json
from dragon_jax.runs.region_inputs import region_inputs
from dragon_jax.runs.settings import parse

SIZES = {"chr1": 9000, "chr2": 3000, "chr3": 3000}
LENGTH = 60


class Trunk(nn.Module):
    """The largest value of every track, and the metadata; of the bases nothing."""

    @nn.compact
    def __call__(self, x, extra, *, train):
        return jnp.concatenate([extra["signal"].max(1), extra["metadata"]], 1).astype(x.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReaderConfig(ModelConfig):
    """A network that cannot work without signal and metadata."""

    name: str = "reader"

    def trunk(self, dtype):
        return Trunk()

    @property
    def required_inputs(self):
        return ("signal", "metadata")


@pytest.fixture(scope="module", autouse=True)
def registered():
    MODELS["reader"] = ReaderConfig
    yield
    del MODELS["reader"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random genome. `pulse` lies where the forward track is high, `island` where the annotation is."""
    path, rng = tmp_path_factory.mktemp("genome"), np.random.default_rng(0)
    bases = {name: dna.decode(rng.integers(0, 4, size).astype(np.uint8)) for name, size in SIZES.items()}
    (path / "genome.fa").write_text("".join(f">{name}\n{text}\n" for name, text in bases.items()))
    for task in ("pulse", "island"):
        centres = {
            n: np.flatnonzero(rng.random(size // LENGTH) < 0.4) * LENGTH + LENGTH // 2 for n, size in SIZES.items()
        }
        (path / f"{task}.bed").write_text("".join(f"{n}\t{c}\t{c + 1}\n" for n, cs in centres.items() for c in cs))
        if task == "pulse":
            tracks = {"cuts_fwd": [(n, int(c) - 3, int(c) + 9, 3.0) for n, cs in centres.items() for c in cs]}
    tracks["cuts_rev"] = [(n, 10 * i, 10 * i + 5, 1.0) for n, size in SIZES.items() for i in range(size // 20)]
    for name, intervals in tracks.items():
        pybigtools.open(str(path / f"{name}.bw"), "w").write(SIZES, intervals)
    (path / "cells.tsv").write_text("cell\tpc1\tpc2\nHeLa\t0.5\t-1\nK562\t0.25\t2\n")
    return path


def config(folder, model="reader", **source):
    c = dragon_jax.template(model=model, source="genome")
    c.data.source.genome = str(folder / "genome.fa")
    c.data.source.files = {task: str(folder / f"{task}.bed") for task in ("pulse", "island")}
    c.data.source.length, c.data.source.label.core = LENGTH, LENGTH
    with c.data.source.unlocked():
        c.data.source.profiles = {"signal": (str(folder / "cuts_fwd.bw"), str(folder / "cuts_rev.bw"))}
        c.data.source.profile_scale = {"signal": (0.5,)}
        c.data.source.annotations = {"island": str(folder / "island.bed")}
        c.data.source.metadata = {"dose": 1.5}
        for key, value in (
            {"profile_log1p": True, "metadata_table": str(folder / "cells.tsv"), "metadata_row": "K562"} | source
        ).items():
            c.data.source[key] = value
    c.data.split.name, c.data.split.valid_values, c.data.split.test_values = "chromosome", ("chr2",), ("chr3",)
    c.evaluate.bootstrap = 20
    if model in MODELS:
        c.augment.reverse_complement, c.optim.learning_rate, c.train.tensorboard = 0.0, 0.2, False
        c.train.steps, c.train.batch_size, c.train.eval_every = 90, 32, 45
    return c


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return dragon_jax.train(config(folder), tmp_path_factory.mktemp("runs") / "run", quiet=True)


def scores(path):
    lines = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return [line[0] for line in lines], np.array([line[1:] for line in lines], np.float32)


def test_windows_carry_scaled_signal_and_metadata_of_their_place(folder):
    data = parse(config(folder).to_dict()).data.load(0).parts["valid"]
    assert data.specs["signal"].columns == ("cuts_fwd", "cuts_rev") and data.specs["signal"].partners == (1, 0)
    assert data.specs["metadata"].columns == ("pc1", "pc2", "dose", "island")
    assert [t.name for t in data.tasks] == ["island", "pulse"]
    np.testing.assert_array_equal(data.inputs["metadata"][:, :3], np.tile([0.25, 2, 1.5], (len(data), 1)))
    np.testing.assert_array_equal(data.inputs["metadata"][:, 3], data.targets[:, 0])
    assert data.inputs["signal"].shape == (len(data), LENGTH, 2)
    high = data.inputs["signal"][..., 0]
    np.testing.assert_allclose(np.unique(high), [0, np.log1p(1.5)], rtol=1e-6)
    np.testing.assert_array_equal(high.max(1) > 0, data.targets[:, 1] == 1)
    np.testing.assert_array_equal(np.flatnonzero(high[high.max(1) > 0][0]), np.arange(27, 39))


def test_labels_that_depend_on_inputs_alone_are_learned_and_predicted_by_the_command(folder, run, tmp_path):
    assert min(t["auroc"] for t in run.results["valid"]["per_task"].values()) == 1
    assert "1 pair of tracks change places" in run["model.txt"].read_text()
    saved = np.load(run["predictions"] / "valid.npz")
    regions = [i.replace(":", "\t").replace("-", "\t") for i in saved["ids"].tolist()][::-1]
    (tmp_path / "x.bed").write_text("\n".join(regions) + "\n")
    out = tmp_path / "x.tsv"
    assert cli.main(["predict", run.path.as_posix(), str(tmp_path / "x.bed"), f"--out={out}"]) == 0
    ids, values = scores(out)
    assert ids == saved["ids"].tolist()[::-1]
    np.testing.assert_allclose(values, saved["predictions"][::-1], atol=1e-6)
    # the same from sequences and arrays, by row and by name
    data = parse(run.config).data.load(0).parts["valid"]
    (tmp_path / "x.fa").write_text(
        "".join(f">{i}\n{s}\n" for i, s in zip(data.ids, dna.decode_many(data.codes), strict=True))
    )
    arrays: dict[str, Any] = dict(data.inputs)
    np.savez(tmp_path / "rows.npz", **arrays)
    order = np.random.default_rng(0).permutation(len(data))
    arrays = {k: v[order] for k, v in arrays.items()}
    np.savez(tmp_path / "named.npz", ids=data.ids[order], **arrays)
    for file in ("rows.npz", "named.npz"):
        assert (
            cli.main(
                ["predict", run.path.as_posix(), str(tmp_path / "x.fa"), f"--inputs={tmp_path / file}", f"--out={out}"]
            )
            == 0
        )
        np.testing.assert_allclose(scores(out)[1], saved["predictions"], atol=1e-6)
    # other files: without the forward track nothing is a pulse
    flip = f"--signal=signal={folder / 'cuts_rev.bw'},{folder / 'cuts_rev.bw'}"
    assert cli.main(["predict", run.path.as_posix(), str(tmp_path / "x.bed"), flip, f"--out={out}"]) == 0
    assert scores(out)[1][:, 1].max() < saved["predictions"][:, 1].max()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.fa"], "this model reads signal, metadata besides the sequence, found none. Give --inputs=FILE"),
        (["x.fa", "--inputs=short.npz"], "short.npz has 1 rows: expected one for each sequence, found more"),
        (["x.fa", "--inputs=long.npz"], "long.npz has 3 rows, but there are 2 sequences"),
        (["x.fa", "--inputs=named.npz"], "1 sequences have no row in {}/named.npz, array 'ids' (first: 'b')"),
        (["x.fa", "--inputs=part.npz"], "array 'metadata'"),
        (["x.fa", "--inputs=narrow.npz"], "expected the shape [2, 60, 2] that the model was trained on, found [2, 59, 2]"),
        (["x.fa", "--inputs=nan.npz"], "array 'signal', row 1: expected finite numbers in an input, found nan"),
        (["long.fa", "--inputs=rows.npz"], "expected 60 bases, found 61. Cut sequences and signals to 60 bases: signals are not"),
        (["strange.bed"], "genome.fa (chr1, chr2, chr3): no name in common. Rename one, or give the --genome that has its names"),
        (["x.bed", "--signal=signal=one.bg,one.bg"], "no name in common. Rename one, or give the --genome that has its names"),
        (["x.fa", "--genome=g.fa"], "--genome belongs to regions"),
        (["x.bed", "--inputs=rows.npz"], "--inputs belongs to sequences"),
        (["far.bed"], "genome.fa (chr9). Remove them, or give the --genome that they lie on"),
        (["x.bed", "--signal=signal=a.bw"], "--signal signal: expected 2 files (cuts_fwd, cuts_rev), found 1"),
        (["x.bed", "--signal=singal=a.bw"], "reads no signal of that name (it reads signal); did you mean signal"),
        (["x.bed", "--metadata=pc1=high"], "--metadata pc1: expected a finite number, found 'high'"),
        (["x.bed", "--metadata=pc9=1"], "reads no column of 'metadata' of that name"),
        (["x.bed", "--annotation=island=absent.bed"], "absent.bed"),
        (["x.bed", "--signal=signal"], "--signal signal: expected NAME=VALUE"),
    ],
)  # fmt: skip
def test_every_mistake_is_one_sentence(run, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.fa").write_text(f">a\n{'A' * 60}\n>b\n{'C' * 60}\n")
    (tmp_path / "x.bed").write_text("chr1\t100\t160\n")
    (tmp_path / "long.fa").write_text(f">a\n{'A' * 60}\n>b\n{'C' * 61}\n")
    (tmp_path / "strange.bed").write_text("1\t100\t160\n")
    (tmp_path / "one.bg").write_text("1\t100\t160\t2\n")
    (tmp_path / "far.bed").write_text("chr1\t100\t160\nchr9\t100\t160\n")

    def save(name, n, length=60, **more):
        inputs = {"signal": np.zeros((n, length, 2), np.float32), "metadata": np.zeros((n, 4), np.float32)}
        np.savez(tmp_path / f"{name}.npz", **(inputs | more))

    save("short", 1)
    save("long", 3)
    save("rows", 2)
    save("narrow", 2, 59)
    save("named", 2, ids=np.array(["a", "c"]))
    save("nan", 2, signal=np.where(np.arange(2)[:, None, None], np.nan, np.zeros((2, 60, 2))))
    np.savez(tmp_path / "part.npz", signal=np.zeros((2, 60, 2)))
    assert cli.main(["predict", run.path.as_posix(), *words, "--out=out.tsv"]) == 2
    said = capsys.readouterr().err
    assert message.format(tmp_path).replace(f"{tmp_path}/", "") in said
    assert said.count("\n") == 1 and not (tmp_path / "out.tsv").exists()


def test_a_model_that_needs_what_is_not_there_fails_before_training(folder, tmp_path):
    with pytest.raises(InputError, match="model 'reader' needs the input 'signal': expected among .* found 'metadata'"):
        dragon_jax.train(config(folder, profiles={}, profile_scale={}), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["kmer", "dense"])
def test_inputs_that_nothing_reads_are_said_and_change_nothing(folder, tmp_path, capsys, model):
    c = config(folder, model)
    if model == "dense":
        c.model.widths, c.train.steps = (2,), 5
    said: list[str] = []
    run = dragon_jax.train(c, tmp_path / "run", say=said.append)
    line = f"warning: {model} does not read the inputs signal, metadata of the data"
    assert sum(line in text for text in said) == 1 and line in run["model.txt"].read_text()
    assert run.provenance["inputs_not_read"] == ["signal", "metadata"]
    assert read_json(run["model.json"])["inputs"] == {}
    with pytest.raises(InputError, match="reads nothing but the sequence"):
        from dragon_jax.scoring import score_file

        score_file(dragon_jax.load(run.path), "x.fa", "-", inputs="x.npz")
    (tmp_path / "x.bed").write_text("chr2\t0\t60\tfirst\nchr2\t2965\t3000\t.\n")
    out = tmp_path / "x.tsv"
    assert cli.main(["predict", run.path.as_posix(), str(tmp_path / "x.bed"), f"--out={out}"]) == 0
    assert scores(out)[0] == ["first", "chr2:2965-3000"]
    assert "1 windows over the end of a contig: bases there are unknown" in capsys.readouterr().err
    np.testing.assert_allclose(
        scores(out)[1][0], np.load(run["predictions"] / "valid.npz")["predictions"][0], atol=1e-6
    )


def test_a_prepared_folder_keeps_what_the_inputs_are(folder, run, tmp_path):
    done = prepare(config(folder), tmp_path, name="x", say=lambda line: None)
    c = dragon_jax.template(model="reader", source="tfds")
    c.data.source.path, c.data.split.name = str(done.path), "files"
    data, again = (parse(own.to_dict()).data.load(0).parts["valid"] for own in (config(folder), c))
    assert again.input_specs == data.input_specs
    np.testing.assert_array_equal(again.inputs["signal"], data.inputs["signal"])
    found, same = check_config(config(folder).to_dict(), "x"), check_folder(done.path)
    assert found.parts["train"].inputs == same.parts["train"].inputs
    text = checkup_text(same)
    row = next(line for line in map(str.split, text.splitlines()) if line[:3] == ["metadata:", "pc2", "train"])
    assert row == ["metadata:", "pc2", "train", "vector", "4", "2", "2", "2", "0.0", "%", "0.0", "%"]
    assert "metadata: island" in checkup_page(same)
    # a run that streams the folder learns from the inputs, and still knows the genome that it was made of
    for key in ("batch_size", "steps", "eval_every", "tensorboard"):
        c.train[key] = config(folder).train[key]
    c.optim.learning_rate, c.train.placement, c.evaluate.bootstrap = 0.2, "stream", 20
    streamed = dragon_jax.train(c, tmp_path / "run", quiet=True)
    assert streamed.results["valid"]["mean"]["auroc"] == 1
    (tmp_path / "x.bed").write_text("chr2\t0\t60\n")
    out = tmp_path / "x.tsv"
    assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "x.bed"), f"--out={out}"]) == 0
    np.testing.assert_allclose(
        scores(out)[1][0], np.load(streamed["predictions"] / "valid.npz")["predictions"][0], atol=1e-6
    )
    made = region_inputs(streamed, data.specs, LENGTH, metadata={"pc1": 9.0})
    assert made.source.metadata == {"pc1": 9.0, "pc2": 2.0, "dose": 1.5} and made.core == LENGTH


def test_prepared_folders_of_two_cell_types_join(folder, tmp_path):
    swapped = {"signal": (str(folder / "cuts_rev.bw"), str(folder / "cuts_fwd.bw"))}
    columns = {"signal": ("cuts_fwd", "cuts_rev")}
    configs = [config(folder), config(folder, metadata_row="HeLa", profiles=swapped, profile_columns=columns)]
    paths = [str(prepare(c, tmp_path, name=f"x{i}", say=lambda line: None).path) for i, c in enumerate(configs)]
    c = dragon_jax.template(model="reader", source="tfds")
    c.data.source.path, c.data.source.more, c.data.split.name = paths[0], (paths[1],), "files"
    data = parse(c.to_dict()).data.load(0).parts["train"]
    half = len(data) // 2
    assert set(data.inputs["metadata"][:half, 0].tolist()) == {0.25}
    assert set(data.inputs["metadata"][half:, 0].tolist()) == {0.5}
    np.testing.assert_array_equal(data.codes[:half], data.codes[half:])
    np.testing.assert_array_equal(data.inputs["signal"][:half], data.inputs["signal"][half:, :, ::-1])
    other = config(folder, annotations={})
    c.data.source.more = (str(prepare(other, tmp_path, name="y", say=lambda line: None).path),)
    with pytest.raises(InputError, match=r"split 'train' of .* does not go with that of .*: expected the same length"):
        parse(c.to_dict()).data.load(0)


def test_a_run_of_an_older_release_says_shapes_alone(run, tmp_path):
    """Its `model.json` held the shape of a row; what has two axes was a signal, whose tracks had no names."""
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    record = json.loads((copy / "model.json").read_text())
    record["inputs"] = {name: own["shape"] for name, own in record["inputs"].items()}
    (copy / "model.json").write_text(json.dumps(record))
    model = dragon_jax.load(copy)
    assert model.specs == {"signal": InputSpec("signal"), "metadata": InputSpec("vector")}
    data = parse(run.config).data.load(0).parts["valid"]
    saved = np.load(run["predictions"] / "valid.npz")["predictions"]
    np.testing.assert_allclose(model.predict(data.codes, inputs=data.inputs), saved, atol=1e-6)
