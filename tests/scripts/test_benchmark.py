"""The benchmark compares like with like: the PyTorch twins give our numbers, before and after training."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def sides(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_sides

    return benchmark_sides


@pytest.fixture
def benchmark(sides):
    import benchmark

    return benchmark


@pytest.mark.parametrize("network", ["convnet", "deepbind", "deepsea", "factornet", "dilated"])
def test_twins_agree_before_and_after_training_steps(sides, tmp_path, network, monkeypatch):
    pytest.importorskip("torch")
    about = sides.NETWORKS[network]
    if network == "deepsea":  # narrow, and short
        narrow = {**about.fields, "filters": (8, 6, 10), "dense": (12,)}
        monkeypatch.setitem(sides.NETWORKS, network, dataclasses.replace(about, length=250, tasks=3, fields=narrow))
    ours, twin = sides.Ours(1), sides.Torch(1, False)
    for side in (ours, twin):
        side.build(network, str(tmp_path / "weights.npz"))
    codes, _ = sides.examples(network, 8, 5)
    start = ours.predict(network, codes)
    np.testing.assert_allclose(twin.predict(network, codes), start, rtol=1e-5, atol=1e-5)
    case = sides.Case(network, "train", 8)
    for side in (ours, twin):
        side.prepare(case)
        side.run(case, 5)
    trained = ours.predict(network, codes)
    np.testing.assert_allclose(twin.predict(network, codes), trained, rtol=1e-3, atol=1e-3)
    assert np.abs(trained - start).max() > 0.01


@pytest.mark.parametrize("network", ["convnet", "deepsea", "dilated"])
def test_operations_of_a_step_are_those_that_the_compiler_counts(sides, network):
    """Of a forward pass. XLA leaves products with padding out and counts sums and maxima, and the extra tap of paired positions."""
    jax = pytest.importorskip("jax")
    from dragon_jax.models.registry import make_model, model_config

    about = sides.NETWORKS[network]
    model = make_model(model_config({"name": network, **about.fields}), about.tasks)
    codes = sides.examples(network, 1, 0)[0]
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), {"codes": codes}, train=False))
    lowered = jax.jit(lambda v: model.apply(v, {"codes": codes}, train=False)).lower(shapes)
    counted = lowered.cost_analysis()["flops"]
    formula = 2 * (about.first + about.rest)
    assert about.step_flops(3) == 3 * (3 * formula - 2 * about.first)
    assert 0.95 < counted / formula < 1.1


def test_ratios_are_worked_out_round_by_round(benchmark):
    found = benchmark.row("x", [(1.0, 1.0), (2.0, 1.0), (4.0, 1.0)], [(2.0, 3.0), (2.0, 3.0), (2.0, 3.0)])
    assert found["ratio"] == {"median": 1.0, "min": 0.5, "max": 2.0}
    assert found["cpu_time"]["ratio"]["median"] == 3.0


def test_turns_alternate(benchmark):
    calls: list[str] = []

    def timed(name):
        return lambda: (calls.append(name), (len(calls), 0.0))[1]

    assert benchmark.alternate([timed("a"), timed("b")], 3) == [
        [(1, 0.0), (4, 0.0), (5, 0.0)],
        [(2, 0.0), (3, 0.0), (6, 0.0)],
    ]
    assert calls == list("abbaab")


def test_different_numbers_end_the_program(benchmark):
    with pytest.raises(SystemExit, match=r"logits differ by .*expected at most 1e-04"):
        benchmark.agree("logits", np.ones(3), np.ones(3) * 1.1, 1e-4)
    with pytest.raises(SystemExit, match="logits differ by nan"):
        benchmark.agree("logits", np.ones(3), np.full(3, np.nan), 1e-4)


def test_a_missing_pytorch_is_one_sentence(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert benchmark.main([]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "expected the extra 'bench'. Run ./scripts/setup bench" in said.err


def test_the_command_writes_its_table(tmp_path):
    pytest.importorskip("torch")
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), "--only=deepbind", "--rounds=2", "--seconds=0.001"]
    done = subprocess.run([*command, f"--out={tmp_path / 'b'}"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "b.json").read_text())
    assert [r["name"] for r in report["rows"]] == [
        "deepbind, training step, n = 64",
        "deepbind, training step, n = 128",
        "deepbind, prediction, n = 256",
    ]
    for r in report["rows"]:
        assert r["difference"] <= 1e-4
        assert r["ours"]["min"] <= r["ours"]["median"] <= r["ours"]["max"]
        assert r["compile_s"] > 0
        assert f"| {r['name']} |" in (tmp_path / "b.md").read_text()
    assert report["sides"]["torch"]["versions"]["torch"]
    assert {"cpu", "cores", "threads", "load"} <= set(report["machine"])
