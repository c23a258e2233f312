"""From a run directory to predictions: lengths, weights that do not fit, other checkpoints, baselines with the same face."""

import json
import warnings

import numpy as np
import pytest

import dragon_jax
from dragon_jax import dna
from dragon_jax.errors import InputError
from dragon_jax.runs.directory import RunDir
from dragon_jax.scoring import score_file
from dragon_jax.training.checkpoints import Checkpoints


def tiny(model="convnet", **fields):
    c = dragon_jax.template(model=model, source="simulation", **fields)
    c.data.source.positives, c.data.source.negatives, c.data.source.length = 200, 200, 30
    c.data.split.valid, c.data.split.test = 0.2, 0.2
    c.evaluate.bootstrap = 20
    return c


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    c = tiny(filters=(8,), widths=(16,), pool_width=0, strands="average")
    c.train.steps, c.train.batch_size, c.train.eval_every = 60, 16, 20
    c.train.tensorboard, c.optim.learning_rate = False, 0.03
    return dragon_jax.train(c, tmp_path_factory.mktemp("runs") / "network", quiet=True)


def test_predictions_do_not_depend_on_batches_and_follow_either_strand(network):
    model = dragon_jax.load(network.path)
    codes = np.random.default_rng(0).integers(0, 5, (70, 30)).astype(np.uint8)
    whole = model.predict(codes)
    assert whole.dtype == np.float32 and whole.shape == (70, 1)
    np.testing.assert_allclose(model.predict(codes, batch_size=7), whole, atol=1e-6)
    np.testing.assert_allclose(model.predict(dna.decode_many(codes)), whole, atol=1e-6)
    np.testing.assert_allclose(model.predict(np.ascontiguousarray(dna.reverse_complement(codes))), whole, atol=1e-5)
    raw = model.predict(codes, raw=True).astype(np.float64)
    np.testing.assert_allclose(1 / (1 + np.exp(-raw)), whole, rtol=1e-5)


def test_saved_predictions_are_those_of_the_loaded_run(network):
    saved = np.load(network["predictions"] / "valid.npz")
    data = dragon_jax.load(network.path)
    from dragon_jax.runs.settings import parse

    valid = parse(network.config).data.load(0, splits=("valid",)).parts["valid"]
    np.testing.assert_array_equal(saved["ids"], valid.ids)
    np.testing.assert_allclose(data.predict(valid.codes), saved["predictions"], atol=1e-6)


def test_other_lengths_and_inputs_are_refused(network, tmp_path):
    model = dragon_jax.load(network.path)
    with pytest.raises(InputError, match="sequences of 29 bases: expected 30"):
        model.predict(["A" * 29])
    (tmp_path / "x.txt").write_text("A" * 29 + "\n")
    with pytest.raises(InputError, match="expected 30 bases, found 29. Use --fit=fit_centre"):
        score_file(model, str(tmp_path / "x.txt"), "-")
    with pytest.raises(InputError, match="inputs of this model: expected none, found signal"):
        model.predict(["A" * 30], inputs={"signal": np.zeros((1, 2), np.float32)})
    with pytest.raises(InputError, match="IUPAC"):
        model.predict(["AC-T" * 7 + "AC"])


def test_any_kept_checkpoint_can_be_loaded_by_step(network):
    steps = Checkpoints(network["checkpoints"]).steps()
    codes = np.random.default_rng(0).integers(0, 4, (5, 30)).astype(np.uint8)
    values = {s: dragon_jax.load(network.path, step=s).predict(codes) for s in steps}
    assert len({v.tobytes() for v in values.values()}) == len(steps) > 1
    with pytest.raises(InputError, match="no checkpoint 7"):
        dragon_jax.load(network.path, step=7)


def test_weights_of_another_network_are_listed_by_path(network, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(network.path, copy)
    config = json.loads((copy / "config.json").read_text())
    config["model"]["filters"] = [9]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        InputError, match=r"params/trunk/conv_0/kernel: expected \(16, 4, 9\) float32, found \(16, 4, 8\) float32"
    ):
        dragon_jax.load(copy)


def test_a_directory_without_weights_says_so(tmp_path):
    with pytest.raises(InputError, match="expected a run directory"):
        dragon_jax.load(tmp_path)


def test_the_baseline_has_the_same_face_and_the_same_files(tmp_path):
    c = tiny(model="kmer", k=(3,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = dragon_jax.train(c, tmp_path / "kmer", quiet=True)
    assert run.status["state"] in ("done", "failed")
    assert {"config.json", "provenance.json", "results.json", "report.html", "model.txt"} <= {
        p.name for p in run.path.iterdir()
    }
    model = dragon_jax.load(run.path)
    saved = np.load(run["predictions"] / "valid.npz")
    from dragon_jax.runs.settings import parse

    valid = parse(run.config).data.load(0, splits=("valid",)).parts["valid"]
    np.testing.assert_allclose(model.predict(valid.codes), saved["predictions"], atol=1e-6)
    assert (model.tasks, model.length) == (valid.tasks, 30)
    before = RunDir(run.path).provenance
    assert dragon_jax.train(c, tmp_path / "kmer", quiet=True).provenance == before


def test_a_run_of_an_older_release_goes_on_when_new_fields_have_their_defaults(network, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(network.path, copy)
    old = json.loads((copy / "config.json").read_text())
    del old["model"]["pool_stride"]
    (copy / "config.json").write_text(json.dumps(old))
    config = json.loads((network.path / "config.json").read_text())
    assert dragon_jax.train(config, copy, quiet=True).status["state"] == "done"
    config["model"]["pool_stride"] = 3
    with pytest.raises(InputError, match=r"model\.pool_stride \(absent\) -> 3"):
        dragon_jax.train(config, copy, quiet=True)
