"""A calibrated DeepBind as a run: it trains by its config, goes on when stopped, says what it tried, loads and exports."""

from __future__ import annotations

import numpy as np
import pytest

import dragon_jax
from dragon_jax import dna
from dragon_jax.config import plain
from dragon_jax.errors import InputError
from dragon_jax.models.deepbind_files import read_deepbind
from dragon_jax.models.deepbind_windows import score_windows
from dragon_jax.runs.predictor import BaselinePredictor
from dragon_jax.training.checkpoints import Checkpoints
from dragon_jax.training.trainer import Stopped


def config():
    c = dragon_jax.template(model="deepbind_calibrated", source="simulation")
    c.data.source.positives, c.data.source.negatives, c.data.source.length = 60, 90, 30
    c.data.split.valid, c.data.split.test = 0.2, 0.2
    c.model.detectors, c.model.width, c.model.hidden, c.model.trials, c.model.folds = 3, 6, 2, 4, 2
    c.model.steps, c.model.checkpoints, c.model.retrained, c.model.batch_size = 40, 2, 2, 16
    c.model.ranges.detector_scale, c.model.ranges.dense_scale = (0.1, 0.5), (0.1, 0.5)
    c.evaluate.bootstrap = 0
    return c


def test_a_run_stopped_in_the_calibration_goes_on_and_is_a_run_like_any_other(tmp_path):
    whole = dragon_jax.train(config(), tmp_path / "whole", say=lambda line: None)
    calls = iter([0] * 55 + [15] * 10_000)
    with pytest.raises(Stopped):
        dragon_jax.train(config(), tmp_path / "stopped", say=lambda line: None, stop=lambda: next(calls))
    said = []
    run = dragon_jax.train(config(), tmp_path / "stopped", say=said.append)
    assert any("fold_2: going on from step" in line for line in said)
    np.testing.assert_equal(run.provenance["calibration"], whole.provenance["calibration"])
    for a, b in zip(*(Checkpoints(r["checkpoints"]).load(0).items() for r in (run, whole)), strict=True):
        assert a[0] == b[0]
        np.testing.assert_array_equal(a[1], b[1])

    record = run.provenance["calibration"]
    assert len(record["settings"]) == 4 and record["checkpoints"] == [20, 40]
    assert np.shape([s["losses"] for s in record["settings"]]) == (4, 2, 2)
    assert {"non_finite", "never_learned", "retrained_losses"} <= set(record)
    assert "cpu" in run.provenance["device"] and "scikit" not in run.provenance["device"]
    assert run.status["state"] in ("done", "failed") and run["report.html"].exists()
    assert "held-out loss" in run["model.txt"].read_text()

    predictor = dragon_jax.load(run.path)
    assert isinstance(predictor, BaselinePredictor)
    sequences = ["".join(np.random.default_rng(i).choice(list("ACGTN"), 30)) for i in range(9)]
    raw = predictor.predict(sequences, raw=True)
    dragon_jax.export(run.path, tmp_path / "p.txt", format="deepbind")
    exported = score_windows(read_deepbind(tmp_path / "p.txt"), dna.encode_many(sequences), "whole")
    np.testing.assert_allclose(raw[:, 0], exported, atol=1e-5)
    dragon_jax.export(run.path, tmp_path / "exported")
    again = dragon_jax.import_weights("exported", tmp_path / "exported", tmp_path / "imported", say=lambda line: None)
    np.testing.assert_array_equal(dragon_jax.load(again.path).predict(sequences, raw=True), raw)
    assert dragon_jax.evaluate(run.path, "test")["times_opened"] == 1


def test_wrong_fields_are_named_together():
    raw = plain(config())
    raw["model"] |= {"folds": "three", "step": 5}
    with pytest.raises(InputError, match="model.step: no such field.*model.folds"):
        dragon_jax.train(raw, "never")
    raw = plain(config())
    raw["model"]["ranges"]["learning_rate"] = [0.1, 0.01]
    with pytest.raises(InputError, match="model.ranges.learning_rate: expected 0 < lowest <= highest"):
        dragon_jax.train(raw, "never")
