"""Heads fine-tuned on a finished run: a run like any other, no task worse on valid than before."""

import json

import jax
import numpy as np
import pytest

import dragon_jax
from dragon_jax import cli
from dragon_jax.config_flags import load_config
from tests.runs.helpers import write_config


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    config = load_config(str(write_config(folder, "c.train.balance = 0.6\nc.loss.class_weight = 'balanced'")))
    return dragon_jax.train(config, folder / "run", quiet=True).path


def test_a_finetuned_run_predicts_evaluates_and_is_no_worse_on_valid(reference, tmp_path, capsys):
    words = [
        "finetune",
        str(reference),
        f"--workdir={tmp_path / 'new'}",
        "--rates=1e-3,1e-2",
        "--decays=0,0.1",
        "--shifts=-1,0,1",
    ]
    assert cli.main([*words, "--epochs=15"]) == 0
    out = capsys.readouterr().err
    assert "1 heads in 4 settings each" in out and "report:" in out
    rows = [line.split("\t") for line in (tmp_path / "new/heads.tsv").read_text().splitlines()]
    table = dict(zip(rows[0], rows[1], strict=True))
    before, after = float(table["valid_loss_before"]), float(table["valid_loss"])
    assert after < before and int(table["best_epoch"]) > 0
    results = [json.loads((p / "results.json").read_text())["valid"]["loss"] for p in (reference, tmp_path / "new")]
    np.testing.assert_allclose(results, [before, after], atol=2e-6)  # class weights and balance are taken out as before
    old, new = (dragon_jax.load(p) for p in (reference, tmp_path / "new"))
    sequences = ["ACGT" * 10, "GATAA" * 8]
    assert np.abs(old.predict(sequences) - new.predict(sequences)).max() > 1e-6
    trunks = [jax.tree.leaves(p.variables["params"]["trunk"]) for p in (old, new)]
    for a, b in zip(*trunks, strict=True):
        np.testing.assert_array_equal(a, b)
    record = json.loads((tmp_path / "new/provenance.json").read_text())
    assert record["finetuned"]["reference"] == str(reference) and record["finetuned"]["rates"] == [1e-3, 1e-2]
    assert cli.main(words) == 2 and "holds a run already" in capsys.readouterr().err


def test_heads_that_cannot_gain_stay_bit_for_bit(reference, tmp_path):
    dragon_jax.finetune(reference, tmp_path / "same", rates=(1e3,), decays=(0.0,), epochs=2, say=lambda line: None)
    old, new = (dragon_jax.load(p) for p in (reference, tmp_path / "same"))
    sequences = ["ACGT" * 10, "GATAA" * 8]
    np.testing.assert_allclose(old.predict(sequences), new.predict(sequences), atol=1e-6)


def test_refusals(reference, tmp_path, capsys):
    def refused(*words):
        assert cli.main(["finetune", *words, f"--workdir={tmp_path / 'new'}"]) == 2
        assert not (tmp_path / "new").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "rates: expected one or more numbers above 0" in refused(str(reference), "--rates=0")
    assert "--rates" in refused(str(reference), "--rates=x")
    assert "whole numbers of bases, found 0.5" in refused(str(reference), "--shifts=0.5")
    assert "less than the 40 bases" in refused(str(reference), "--shifts=40")
    assert "none" in refused(str(tmp_path / "none"))
    config = dragon_jax.template(model="kmer", source="simulation")
    config.data.source.positives, config.data.source.negatives, config.data.source.length = 60, 60, 40
    config.data.split.valid, config.evaluate.bootstrap = 0.2, 5
    dragon_jax.train(config, tmp_path / "kmer", quiet=True)
    assert "expected a network with linear heads" in refused(str(tmp_path / "kmer"))
