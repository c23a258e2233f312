"""Released FactorNet models as runs: outputs of independent forward passes, motifs where the data page sees them, strands."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

import dragon_jax
from dragon_jax import cli, dna
from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.models.factornet_files import read_factornet
from dragon_jax.motifs.files import read_motifs
from dragon_jax.runs.directory import RunDir
from dragon_jax.training.checkpoints import Checkpoints, nest
from tests.models.factornet_twin import numpy_factornet
from tests.models.keras_made import folder, parameters, read_arrays

SCRIPTS = Path(__file__).parents[2] / "scripts"
RELEASED = {"HNF4A": "HNF4A/onePeak_Unique35_DGF", "E2F1": "E2F1/GENCODE_Unique35_DGF"}
quiet = {"say": lambda line: None}


def rows(n, length, seed=0, metadata=6):
    """Sequences with some unknown bases, uniqueness and cuts, annotations; and what both strands see."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length)).astype(np.uint8)
    codes[rng.random(codes.shape) < 0.01] = 4
    inputs = {"signal": rng.gamma(0.5, 1, (n, length, 2)).astype(np.float32)}
    inputs |= {"metadata": rng.integers(0, 2, (n, metadata)).astype(np.float32)} if metadata else {}
    return codes, inputs


@pytest.mark.parametrize("metadata", [6, 0])
def test_an_imported_run_gives_the_outputs_of_the_stored_arrays(tmp_path, capsys, metadata):
    place, layers = folder(tmp_path / "m", tasks=2, metadata=metadata)
    assert cli.main(["import", "factornet", str(place), f"--workdir={tmp_path / 'run'}"]) == 0
    err = capsys.readouterr().err
    count = sum(a.size for arrays in layers.values() for a in arrays.values())
    assert "factornet: 41 bases, 2 strands (probability), 2 tasks" in err and f"{count:,}" in err
    (place / "final_model.hdf5").unlink()  # the run holds the numbers
    model = dragon_jax.load(tmp_path / "run")
    assert (model.tasks, model.length) == ((Task("TF0"), Task("TF1")), 41)
    codes, inputs = rows(5, 41, metadata=metadata)
    expected = numpy_factornet(parameters(layers), model.model.config, {"codes": codes, **inputs})
    got = model.predict(codes, inputs=inputs)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(codes, raw=True, inputs=inputs), np.log(got / (1 - got)), atol=1e-4)
    swapped = dict(inputs, signal=inputs["signal"][:, ::-1])
    np.testing.assert_allclose(model.predict(dna.reverse_complement(codes), inputs=swapped), got, atol=1e-6)
    with pytest.raises(InputError, match="inputs of this model: expected signal"):
        model.predict(codes)
    imported = RunDir(tmp_path / "run").provenance["imported"]
    assert imported["file"].endswith("final_model.hdf5") and "10.1016/j.ymeth.2019.03.020" in imported["citation"]


def test_task_names_and_refusals(tmp_path, capsys):
    place, _ = folder(tmp_path / "m")
    run = dragon_jax.import_weights("factornet", place / "final_model.hdf5", tmp_path / "run", task="HNF4A", **quiet)
    assert dragon_jax.load(run.path).tasks == (Task("HNF4A"),)
    assert run.config["model"]["name"] == "factornet" and "data" not in run.config
    assert cli.main(["evaluate", str(run.path)]) == 2
    assert "imported without data" in capsys.readouterr().err
    two, _ = folder(tmp_path / "two", tasks=2)
    with pytest.raises(InputError, match="task: expected a name only where there is one task, found 2"):
        dragon_jax.import_weights("factornet", two, tmp_path / "r2", task="A", **quiet)
    with pytest.raises(InputError, match="import factornet: it has no --window"):
        dragon_jax.import_weights("factornet", two, tmp_path / "r2", window="kipoi", **quiet)
    assert not (tmp_path / "r2").exists()


def test_what_the_files_do_not_say_is_said_to_the_user_and_kept(tmp_path, capsys):
    place, _ = folder(tmp_path / "m")
    (place / "bigwig.txt").unlink()
    assert cli.main(["import", "factornet", str(place), f"--workdir={tmp_path / 'run'}"]) == 0
    (note,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert "no bigwig.txt" in note and "names of its tracks are lost" in note
    assert [f"note: {n}" for n in RunDir(tmp_path / "run").provenance["imported"]["notes"]] == [note]


def test_an_imported_network_is_exported_and_comes_back(tmp_path):
    place, _ = folder(tmp_path / "m")
    run = dragon_jax.import_weights("factornet", place, tmp_path / "run", **quiet)
    dragon_jax.export(run.path, tmp_path / "out")
    back = dragon_jax.import_weights("exported", tmp_path / "out", tmp_path / "back", **quiet)
    codes, inputs = rows(3, 41)
    a, b = (dragon_jax.load(r.path).predict(codes, raw=True, inputs=inputs) for r in (run, back))
    np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Returns the predictor, the parameters as stored arrays say, and the file of a released model; each made once."""

    @functools.cache
    def make(place):
        run = dragon_jax.import_weights("factornet", place, tmp_path_factory.mktemp("released") / "run", **quiet)
        return dragon_jax.load(run.path), parameters(read_arrays(place / "final_model.hdf5")), run

    return make


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_released_weights_in_numpy_and_with_the_strands_swapped(dragon_data, released, name):
    model, params, run = released(dragon_data(f"factornet_models/{RELEASED[name]}"))
    codes, inputs = rows(4, 1002, metadata=6 if name == "E2F1" else 0)
    assert [len(s.columns) for s in model.specs.values()] == ([2, 6] if name == "E2F1" else [2])
    assert model.tasks == (Task(name),) and "Unique35" in model.specs["signal"].columns
    got = model.predict(codes, inputs=inputs)
    expected = numpy_factornet(params, model.model.config, {"codes": codes, **inputs})
    np.testing.assert_allclose(got, expected, atol=1e-5)
    swapped = dict(inputs, signal=inputs["signal"][:, ::-1])
    np.testing.assert_allclose(model.predict(dna.reverse_complement(codes), inputs=swapped), got, atol=1e-5)
    leaves = nest(Checkpoints(run["checkpoints"]).load(0))["params"]
    assert sum(a.size for a in _arrays(leaves)) == {"HNF4A": 257_857, "E2F1": 262_401}[name]


def _arrays(tree):
    for value in tree.values():
        yield from _arrays(value) if isinstance(value, dict) else [value]


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_released_weights_in_pytorch(dragon_data, released, name, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import torch_factornet

    model, params, _ = released(dragon_data(f"factornet_models/{RELEASED[name]}"))
    codes, inputs = rows(8, 1002, seed=1, metadata=6 if name == "E2F1" else 0)
    twin = torch_factornet.FactorNet(params, 17, 32, "hard_sigmoid")
    late = torch.from_numpy(inputs["metadata"]) if "metadata" in inputs else None
    with torch.no_grad():
        expected = twin(*torch_factornet.strands(codes, inputs["signal"]), late).numpy()
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(model.predict(codes, inputs=inputs), expected, atol=1e-5)


def best_match(kernel, motif):
    """Largest correlation of a filter with a motif: log-odds against weights, both centred per position, any offset and strand."""
    score = motif.pssm(pseudocount=0.01)
    score = (score - score.mean(1, keepdims=True))[: len(kernel)]
    weights = kernel - kernel.mean(1, keepdims=True)
    windows = np.lib.stride_tricks.sliding_window_view(weights, len(score), axis=0)  # [offset, 4, K, w]
    lengths = np.sqrt((windows**2).sum((1, 3)))
    both = [np.einsum("ockw,wc->ok", windows, s) / np.linalg.norm(s) / lengths for s in (score, score[::-1, ::-1])]
    return float(np.max(both))


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_filters_find_the_motif_of_their_factor_among_all_of_hocomoco_only_when_reversed(dragon_data, name):
    """The null: all other motifs. HNF4A as on the data page, 0.94 reversed and 0.43 as stored."""
    motifs = read_motifs(dragon_data("motifs/H12CORE_meme_format.meme"))
    kernel = read_factornet(dragon_data(f"factornet_models/{RELEASED[name]}")).params["trunk/conv/kernel"]
    found, stored = ({m.name: best_match(k, m) for m in motifs} for k in (kernel, kernel[::-1]))
    best = max(found, key=found.__getitem__)
    assert best.startswith(f"{name}.") and found[best] > 0.87
    assert stored[best] < max(stored.values())
    if name == "HNF4A":
        assert found[best] == pytest.approx(0.94, abs=0.01) and stored[best] == pytest.approx(0.43, abs=0.01)
        assert sum(v > stored[best] for v in stored.values()) > 500


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_an_inserted_site_raises_the_output_only_with_reversed_kernels(dragon_data, released, name):
    motifs = read_motifs(dragon_data("motifs/H12CORE_meme_format.meme"))
    site = next(m for m in reversed(motifs) if m.name.startswith(f"{name}."))
    site = np.asarray(site.probabilities).argmax(1).astype(np.uint8)
    model, params, _ = released(dragon_data(f"factornet_models/{RELEASED[name]}"))
    codes = np.random.default_rng(2).integers(0, 4, (6, 1002)).astype(np.uint8)
    planted = codes.copy()
    for at in (440, 501, 560):
        planted[:, at : at + len(site)] = site
    signal = np.stack([np.ones(1002), np.zeros(1002)], -1).astype(np.float32)
    inputs = {"signal": np.tile(signal, (6, 1, 1))}
    if name == "E2F1":
        inputs["metadata"] = np.tile(np.array([1, 0, 0, 1, 1, 0], np.float32), (6, 1))
    before, after = (model.predict(c, inputs=inputs).mean() for c in (codes, planted))
    conv = {k: v[::-1] if v.ndim > 1 else v for k, v in params["trunk"]["conv"].items()}
    stored = params | {"trunk": params["trunk"] | {"conv": conv}}
    wrong = [numpy_factornet(stored, model.model.config, {"codes": c, **inputs}).mean() for c in (codes, planted)]
    rise, rise_as_stored = (np.log(b / (1 - b)) - np.log(a / (1 - a)) for a, b in ((before, after), wrong))
    assert rise > (10 if name == "HNF4A" else 2.5) and abs(rise_as_stored) < 1
    if name == "HNF4A":
        assert before < 0.01 and after > 0.9
