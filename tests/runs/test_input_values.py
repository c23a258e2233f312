"""Values of extra inputs that a network cannot read are one sentence, in training, in Python and on the command line."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import dragon_jax
from dragon_jax import cli, dna
from dragon_jax.data.genome_config import GenomeConfig
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.errors import InputError
from dragon_jax.models.bpnet import BPNetConfig
from dragon_jax.runs import region_inputs as regions
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.model_inputs import check_scales
from dragon_jax.runs.predictor import NetworkPredictor

LENGTH = 32


def make_config(folder, control):
    """A small `bpnet` on random counts, whose control is `control` `[24, L, 1]`."""
    draw = np.random.default_rng(0)
    for split in ("train", "valid"):
        codes, counts = draw.integers(0, 4, (24, LENGTH)), draw.poisson(1.0, (24, LENGTH, 1))
        np.savez(folder / f"{split}.npz", codes=codes, chip=counts, control=control)
    c = dragon_jax.template(model="bpnet", source="arrays", control="control")
    c.data.source.paths = {s: str(folder / f"{s}.npz") for s in ("train", "valid")}
    c.data.source.counts, c.data.source.signals = {"chip": "chip"}, {"control": "control"}
    c.data.split.name, c.evaluate.bootstrap = "files", 0
    c.model.update(filters=2, stem_width=3, layers=1, profile_width=3)
    c.train.update(batch_size=8, steps=2, eval_every=2, tensorboard=False)
    return c


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("control")
    return dragon_jax.train(make_config(folder, np.ones((24, LENGTH, 1), np.float32)), folder / "run", quiet=True)


def test_a_negative_control_is_refused_before_training(tmp_path):
    control = np.ones((24, LENGTH, 1), np.float32)
    control[5, 7] = -2
    with pytest.raises(
        InputError,
        match=r"input 'control' of split 'train', row 'row_6': expected counts of at least 0.*found -2 .*negate",
    ):
        dragon_jax.train(make_config(tmp_path, control), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_negative_control_is_refused_in_prediction(run, tmp_path, capsys):
    (tmp_path / "x.fa").write_text(f">a\n{'A' * LENGTH}\n>b\n{'C' * LENGTH}\n")
    control = np.ones((2, LENGTH, 1), np.float32)
    control[1, 3] = -1
    np.savez(tmp_path / "x.npz", control=control)
    out = tmp_path / "x.tsv"
    words = [str(tmp_path / "x.fa"), f"--inputs={tmp_path / 'x.npz'}", f"--out={out}"]
    assert cli.main(["predict", str(run.path), *words]) == 2
    said = capsys.readouterr().err
    assert "input 'control', row 'b': expected counts of at least 0 in this input, found -1 (1 such rows)" in said
    assert said.count("\n") == 1 and not out.exists()
    model = dragon_jax.load(run.path)
    with pytest.raises(InputError, match="input 'control', row 2: expected counts of at least 0"):
        model.profiles(["A" * LENGTH, "C" * LENGTH], inputs={"control": control})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones((1, LENGTH, 1)), "inputs: expected a mapping of names to arrays, found ndarray"),
        ({"control": None}, "input 'control': expected an array of numbers, found NoneType"),
        ({"control": np.full((1, LENGTH, 1), "1")}, r"input 'control': expected an array of numbers, found <U1 \[1, 32, 1\]"),
        ({"control": [[1, 2], [3]]}, "input 'control': expected an array of numbers, found list of rows"),
        ({"control": np.ones((1, LENGTH, 1), complex)}, "expected an array of numbers, found complex128"),
        ({"control": 3}, r"expected the shape \[1, 32, 1\], found \[\]"),
        ({"control": np.full((1, LENGTH, 1), 1e300)}, "expected finite numbers in an input, found inf"),
        ({1: np.ones((1, LENGTH, 1))}, "inputs of this model: expected control, found 1"),
        ({}, "inputs of this model: expected control, found none"),
    ],
)  # fmt: skip
def test_inputs_of_python_that_are_no_arrays(run, inputs, message):
    model = dragon_jax.load(run.path)
    for call in (model.predict, model.profiles):
        with pytest.raises(InputError, match=message):
            call(["A" * LENGTH], inputs=inputs)


def test_numbers_of_any_type_are_inputs(run):
    model, ones = dragon_jax.load(run.path), np.ones((1, LENGTH, 1))
    wanted = model.predict(["A" * LENGTH], inputs={"control": ones})
    for values in (ones.tolist(), ones.astype(bool), jnp.ones((1, LENGTH, 1), jnp.bfloat16)):
        np.testing.assert_array_equal(model.predict(["A" * LENGTH], inputs={"control": values}), wanted)


def test_predictions_that_are_no_numbers_are_not_written(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.fa").write_text(f">a\n{'A' * LENGTH}\n>b\n{'C' * LENGTH}\n")
    np.savez(tmp_path / "x.npz", control=np.ones((2, LENGTH, 1), np.float32))
    monkeypatch.setattr(NetworkPredictor, "predict", lambda self, codes, **_: np.array([[1.0], [np.nan]], np.float32))
    out = tmp_path / "x.tsv"
    words = [str(tmp_path / "x.fa"), f"--inputs={tmp_path / 'x.npz'}", f"--out={out}"]
    assert cli.main(["predict", str(run.path), *words]) == 3
    said = capsys.readouterr().err
    assert "prediction of 'b' for task 'chip': expected a finite number, found nan (1 such rows among 2)" in said
    assert said.count("\n") == 1 and not out.exists()


def test_a_control_that_holds_no_counts_any_more(tmp_path):
    """As the genome source of a small `bpnet` says it; the refusal comes from `train` itself, before it writes anything."""
    bases = dna.decode_many(np.random.default_rng(0).integers(0, 4, (3, 128)).astype(np.uint8))
    (tmp_path / "g.fa").write_text("".join(f">chr{i}\n{text}\n" for i, text in enumerate(bases, 1)))
    (tmp_path / "c.bg").write_text("".join(f"{c}\t0\t128\t2\n" for c in ("chr1", "chr2", "chr3")))
    c = dragon_jax.template(model="bpnet", source="genome", control="control")
    c.data.source.genome, c.data.source.length = str(tmp_path / "g.fa"), LENGTH
    with c.data.source.unlocked():
        c.data.source.counts = {"chip": (str(tmp_path / "c.bg"),)}
        c.data.source.profiles = {"control": (str(tmp_path / "c.bg"),)}
        c.data.source.profile_log1p = True
    c.data.split.name, c.data.split.valid_values, c.data.split.test_values = "chromosome", ("chr2",), ("chr3",)
    with pytest.raises(InputError, match=r"data.source.profile_log1p: expected False, as bpnet reads the counts of"):
        dragon_jax.train(c, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    source = GenomeConfig(
        genome="g.fa", files={"t": "t.bed"}, profiles={"control": ("c.bg",)}, profile_scale={"control": (0.5,)}
    )
    model = BPNetConfig(control="control")
    assert check_scales(model, source, "bpnet") == [
        "warning: bpnet expects counts in 'control', and data.source.profile_scale multiplies them by 0.5"
    ]
    assert check_scales(model, dataclasses.replace(source, profile_scale={}), "bpnet") == []
    assert check_scales(BPNetConfig(), dataclasses.replace(source, profile_log1p=True), "bpnet") == []


def test_a_column_of_metadata_that_nothing_gives_is_named(monkeypatch):
    specs, run = {"metadata": InputSpec("vector", ("pc1", "isl"))}, RunDir("runs/lab")
    monkeypatch.setattr(regions, "_trained_on", lambda run: None)
    with pytest.raises(
        InputError, match=r"found none for isl. For isl give --metadata=isl=NUMBER or --annotation=isl=FILE"
    ):
        regions.region_inputs(run, specs, LENGTH, genome="g.fa", metadata={"pc1": 1.0})
    trained = GenomeConfig(genome="g.fa", files={"t": "t.bed"}, metadata={"pc1": 2.0}, annotations={"isl": "isl.bed"})
    monkeypatch.setattr(regions, "_trained_on", lambda run: trained)
    made = regions.region_inputs(run, specs, LENGTH, metadata={"isl": 1.0}, annotations={"pc1": "pc1.bed"}).source
    assert made.metadata == {"isl": 1.0} and made.annotations == {"pc1": "pc1.bed"}
