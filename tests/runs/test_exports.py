"""What is exported comes back as it was, bit for bit, or not at all."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import dragon_jax
from dragon_jax import cli, dna
from dragon_jax.baselines import REGISTRY
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError
from dragon_jax.models.registry import make_model
from dragon_jax.runs.directory import RunDir, write_json
from dragon_jax.runs.imported import Imported
from dragon_jax.runs.imports import FAMILIES, _write
from dragon_jax.runs.settings import parse
from dragon_jax.tensors import read_tensors, write_tensors
from dragon_jax.training.checkpoints import file_digest, to_leaves
from tests.runs.helpers import write_config
from tests.runs.test_imports import MODEL

LENGTH = 40
TASKS = [
    {"name": "a", "kind": "binary", "measured": 100.0, "mean": 0.1, "scale": 1.0},
    {"name": "b", "kind": "real", "measured": 90.0, "mean": -1 / 3, "scale": 2.7},
    {"name": "c", "kind": "count", "measured": 80.0, "mean": 3.0, "scale": 1.0},
]
SMALL = {
    "convnet": {"filters": (4,), "widths": (8,), "pool_width": 0, "strands": "shared"},
    "deepbind": {"detectors": 4, "width": 8, "mean_pool": True, "hidden": 16},
    "deepstarr": {"filters": (4, 4), "widths": (5, 3), "pools": (2, 2), "dense": (8,)},  # has batch statistics
    "dense": {"widths": (8,)},
}


def network(folder, name, tasks=TASKS, **fields):
    """A run directory of a network with random weights, balanced batches, class weights and averaged weights."""
    template = dragon_jax.template(model=name, source="simulation", **(SMALL[name] | fields))
    template.train.balance, template.loss.class_weight, template.optim.ema = 0.3, "balanced", 0.9
    config = {k: v for k, v in json.loads(template.to_json_best_effort()).items() if k != "data"}
    settings = parse(config, imported=True)
    model = make_model(settings.model, len(tasks))
    variables = jax.jit(lambda key: model.init(key, {"codes": np.zeros((1, LENGTH), np.uint8)}, train=False))
    leaves = {k: np.asarray(v) for k, v in to_leaves(variables(jax.random.key(3))).items()}
    rng = np.random.default_rng(1)
    leaves = {
        (f"ema/{k[7:]}" if k.startswith("params/") else f"model_state/{k}"): v
        + rng.uniform(-0.2, 0.2, v.shape).astype(v.dtype)
        for k, v in leaves.items()
    }
    outputs = {"length": LENGTH, "inputs": {}, "tasks": list(tasks)}
    run = RunDir(folder)
    _write(run, Imported(config=config, outputs=outputs, leaves=leaves, text="text", origin={}), None)
    return run


def codes(n=7, length=LENGTH):
    return np.random.default_rng(0).integers(0, 5, (n, length), np.uint8)


def same(one, two):
    left, right = (dragon_jax.load(r.path) for r in (one, two))
    for raw in (False, True):
        found = left.predict(codes(), raw=raw)
        np.testing.assert_array_equal(found, right.predict(codes(), raw=raw))
        assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ["convnet", "deepbind", "deepstarr"])
def test_a_network_comes_back_bit_for_bit(name, tmp_path):
    run = network(tmp_path / "run", name)
    assert cli.main(["export", str(run), f"--out={tmp_path / 'out'}"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["model.json", "model.safetensors"]
    assert cli.main(["import", "exported", str(tmp_path / "out"), f"--workdir={tmp_path / 'again'}"]) == 0
    same(run, RunDir(tmp_path / "again"))
    dragon_jax.export(tmp_path / "again", tmp_path / "out2")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        tmp_path / "out2" / "model.safetensors"
    ).read_bytes()


def test_the_json_says_how_logits_become_predictions(tmp_path):
    run = network(tmp_path / "run", "convnet")
    dragon_jax.export(run.path, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "model.json").read_text())
    model = dragon_jax.load(run.path)
    logits = model.logits(codes(), {}, 8)
    links = {"logistic": lambda x: 1 / (1 + np.exp(-x)), "identity": lambda x: x, "exp": np.exp}
    for t, entry in enumerate(content["outputs"]):
        value = links[entry["link"]](
            (logits[:, t].astype(np.float64) - entry["shift"]) * entry["scale"] + entry["center"]
        )
        np.testing.assert_allclose(model.predict(codes())[:, t], value, rtol=1e-6)
    assert content["outputs"][0]["shift"] != 0 and content["outputs"][1]["scale"] == pytest.approx(2.7)
    arrays, _ = read_tensors(tmp_path / "out" / "model.safetensors")
    assert {k: list(v.shape) for k, v in arrays.items()} == {k: v["shape"] for k, v in content["weights"].items()}
    assert "data" not in content["config"] and content["length"] == LENGTH


def baseline(folder, name):
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 4, (60, LENGTH), np.uint8)
    rows[::2, 10:18] = dna.encode("TGACTCAG")
    data = Dataset(
        codes=rows,
        targets=np.array([[1], [0]] * 30, np.float32),
        tasks=(Task("a"),),
        ids=np.arange(60).astype(str),
    )
    fields = {
        "kmer": {"k": 3},
        "gkmsvm": {"l": 5, "k": 3, "d": 2, "strengths": (0.5,)},
        "pwm": {"motifs": str(folder.parent / "m.meme")},
    }[name]
    (folder.parent / "m.meme").write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF m\nletter-probability matrix: alength= 4 w= 3\n"
        "0.7 0.1 0.1 0.1\n0.1 0.1 0.1 0.7\n0.1 0.1 0.7 0.1\n"
    )
    config = REGISTRY[name](**fields)
    model = config.fit(data, data)
    section = json.loads(json.dumps(dataclasses.asdict(config)))
    outputs = {"length": LENGTH, "inputs": {}, "tasks": TASKS[:1]}
    run = RunDir(folder)
    config = {"seed": 0, "model": section, "evaluate": {}}
    leaves = {k: np.asarray(v) for k, v in model.state().items()}
    _write(run, Imported(config=config, outputs=outputs, leaves=leaves, text=model.describe(), origin={}), None)
    return run


@pytest.mark.parametrize("name", ["kmer", "pwm", "gkmsvm"])
def test_a_baseline_comes_back_bit_for_bit(name, tmp_path):
    run = baseline(tmp_path / "run", name)
    dragon_jax.export(run.path, tmp_path / "out")
    again = dragon_jax.import_weights("exported", tmp_path / "out", tmp_path / "again", say=lambda line: None)
    same(run, again)
    assert again.provenance["imported"]["format"] == "dragon_jax exported model"
    if name == "gkmsvm":  # and as LS-GKM reads it
        dragon_jax.export(run.path, tmp_path / "m.txt", "lsgkm")
        third = dragon_jax.import_weights("lsgkm", tmp_path / "m.txt", tmp_path / "third", say=lambda line: None)
        known = np.where(codes() > 3, 0, codes()).astype(np.uint8)
        left, right = (dragon_jax.load(r.path).predict(known, raw=True) for r in (run, third))
        np.testing.assert_allclose(left, right, atol=1e-6)


def test_a_gkmsvm_from_lsgkm_may_hold_what_is_not_measured(tmp_path):
    """Its duality gap is NaN, because another program fitted it: the one kind of weight that may be."""
    (tmp_path / "m.txt").write_text(MODEL.format(kind="gkm_cnt"))
    run = dragon_jax.import_weights("lsgkm", tmp_path / "m.txt", tmp_path / "run", say=lambda line: None)
    dragon_jax.export(run.path, tmp_path / "out")
    again = dragon_jax.import_weights("exported", tmp_path / "out", tmp_path / "again", say=lambda line: None)
    texts = ["ACGTTGACATT", "GGGTTTCCC"]
    np.testing.assert_array_equal(*(dragon_jax.load(r.path).predict(texts) for r in (run, again)))


@pytest.mark.parametrize(
    ("fields", "task"),
    [({}, "a"), ({"hidden": 0, "mean_pool": False, "strands": "none"}, "a"), ({"hidden": 0}, "b")],
)
def test_a_network_deepbind_as_released_parameters(fields, task, tmp_path):
    run = network(tmp_path / "run", "deepbind", TASKS[:2], **fields)
    assert cli.main(["export", str(run), f"--out={tmp_path / 'D.txt'}", "--format=deepbind", f"--task={task}"]) == 0
    again = dragon_jax.import_weights("deepbind", tmp_path / "D.txt", tmp_path / "again", say=lambda line: None)
    column = "ab".index(task)
    expected = dragon_jax.load(run.path).predict(codes(), raw=True)[:, column]
    found = dragon_jax.load(again.path).predict(codes(), raw=True)[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found) > 1e-3


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    run = network(folder / "run", "convnet")
    dragon_jax.export(run.path, folder / "out")
    return folder / "out"


def change_json(folder, change):
    content = json.loads((folder / "model.json").read_text())
    change(content)
    write_json(folder / "model.json", content)


def change_weights(folder, change):
    arrays, metadata = read_tensors(folder / "model.safetensors")
    change(arrays)
    write_tensors(folder / "model.safetensors", arrays, metadata)


def rename(arrays):
    arrays["params/trunk/other"] = arrays.pop("params/head/bias")


KERNEL = "params/head/kernel"


@pytest.mark.parametrize(
    ("where", "change", "said"),
    [
        ("weights", lambda a: a.pop(KERNEL), f"{KERNEL}: missing"),
        ("weights", rename, "params/head/bias: missing; params/trunk/other: surplus"),
        ("weights", lambda a: a.update({KERNEL: a[KERNEL][:, :2]}), rf"{KERNEL}: expected \[\d+, 3\] float32, found \[\d+, 2\]"),
        ("weights", lambda a: a.update({KERNEL: a[KERNEL].astype("f8")}), f"{KERNEL}: expected .* float32, found .* float64"),
        ("weights", lambda a: a.update({KERNEL: a[KERNEL] * np.float32("nan")}), f"{KERNEL}: expected finite numbers"),
        ("weights", lambda a: a.update({KERNEL: a[KERNEL] * np.float32(2)}), "expected sha256 .* were changed"),
        ("json", lambda c: c.update(format="other"), "expected format 'dragon_jax exported model'"),
        ("json", lambda c: c.update(version=2), "expected version 1, found 2"),
        ("json", lambda c: c.pop("tasks"), "tasks missing or of another type"),
        ("json", lambda c: c["tasks"][0].update(mean="x"), "expected length, inputs, and tasks"),
        ("json", lambda c: c["tasks"][0].update(mean=0.2), "outputs in .* expected those that follow"),
        ("json", lambda c: c.update(length=10**12), "expected length, inputs, and tasks"),
        ("json", lambda c: c["config"]["model"].update(widths=[9]), "conv_0/kernel: expected .9, 4, 4. float32"),
        ("json", lambda c: c["config"].update(seed=99), "its config, length, .* were changed after the export"),
        ("json", lambda c: c["config"]["model"].update(name="none"), "model.name: expected one of"),
        ("json", lambda c: c["config"]["model"].update(depth=9), "model.depth: no such field"),
    ],
)  # fmt: skip
def test_what_was_changed_is_named_and_nothing_is_written(where, change, said, exported, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(exported, folder)
    (change_weights if where == "weights" else change_json)(folder, change)
    with pytest.raises(InputError, match=said):
        dragon_jax.import_weights("exported", folder, tmp_path / "run", say=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_a_weight_that_both_files_hold_but_not_the_architecture(exported, tmp_path):
    """A spare bias in both files: the architecture has no place for it, so it must not be dropped in silence."""
    folder = tmp_path / "out"
    shutil.copytree(exported, folder)
    change_weights(folder, lambda a: a.update({"params/trunk/spare": np.zeros(2, np.float32)}))

    def admit(content):
        content["weights"]["params/trunk/spare"] = {"shape": [2], "dtype": "float32", "finite": True}
        content["sha256"] = file_digest(folder / "model.safetensors")

    change_json(folder, admit)
    with pytest.raises(InputError, match=r"params/trunk/spare: expected nothing, found \(2,\) float32"):
        dragon_jax.import_weights("exported", folder, tmp_path / "run", say=lambda line: None)


def test_an_exported_network_is_evaluated_with_data_that_fit(exported, tmp_path, capsys):
    run = network(tmp_path / "one", "convnet", [TASKS[0] | {"name": "motif"}])
    dragon_jax.export(run.path, tmp_path / "out")
    config = write_config(tmp_path)
    words = ["import", "exported", str(tmp_path / "out"), f"--workdir={tmp_path / 'run'}", f"--config={config}"]
    assert cli.main(["import", "exported", str(exported), *words[3:]]) == 2
    assert "expected the tasks of the imported model, a (binary), b (real), c (count), found" in capsys.readouterr().err
    assert cli.main([*words, "--config.data.source.length=50"]) == 2
    assert "expected sequences of 40 bases as the imported model reads, found 50" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert cli.main([*words, "--config.evaluate.bootstrap=0"]) == 0
    assert cli.main(["evaluate", str(tmp_path / "run"), "--split=test"]) == 0
    assert "auroc" in RunDir(tmp_path / "run").results["test"]["mean"]


def test_refusals_of_an_export(tmp_path, capsys):
    run = network(tmp_path / "run", "dense")
    (tmp_path / "there").mkdir()
    words = ["export", str(run), f"--out={tmp_path / 'x'}"]
    for more, said in (
        ([f"--out={tmp_path / 'there'}"], "exists: expected a new folder"),
        ([f"--out={tmp_path / 'no' / 'x'}"], "there is no folder"),
        (["--format=lsgkm"], "holds no gkm-SVM"),
        (["--format=deepbind"], "holds no network 'deepbind'"),
        (["--task=a"], "a folder holds all tasks"),
        (["--step=7"], "no checkpoint 7"),
    ):
        assert cli.main([*words, *more]) == 2
        assert said in capsys.readouterr().err
    assert cli.main(["export", str(tmp_path / "none"), f"--out={tmp_path / 'x'}"]) == 2
    net = network(tmp_path / "net", "deepbind", strands="average")
    for task, said in ((None, "holds one task"), ("z", "no task called 'z'"), ("a", "model.strands 'average'")):
        with pytest.raises(InputError, match=said):
            dragon_jax.export(net.path, tmp_path / "x", "deepbind", task=task)
    with pytest.raises(InputError, match="as 'dragon export' writes it, found none"):
        dragon_jax.import_weights("exported", tmp_path / "there", tmp_path / "r2", say=lambda line: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net", "run", "there"]
    assert {"deepbind", "lsgkm", "exported"} <= set(FAMILIES)
