"""Simulations as files: what they say is what was planted, byte for byte again, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

from dragon_jax.data.grammar_source import GrammarSource
from dragon_jax.data.simulate import simulate_to
from dragon_jax.dna import decode, encode, reverse_complement
from dragon_jax.errors import InputError, RunError
from dragon_jax.genome.fasta import read_fasta
from tests.data.test_grammar_source import TWO, source


def pair(**more) -> GrammarSource:
    return source("heterodimer_grammar", TWO, **more)


def contents(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_files_hold_sequences_labels_and_every_site(tmp_path):
    written = simulate_to(tmp_path / "out", pair())
    assert (written.fresh, written.sequences, written.sites) == (True, 1000, 2000)
    made = pair().draw()
    records = {r.name: r.bases.decode() for r in read_fasta(tmp_path / "out" / "sequences.fa")}
    assert list(records) == made.data.ids.tolist()
    assert (np.array([encode(s) for s in records.values()]) == made.data.codes).all()
    labels = [line.split("\t") for line in (tmp_path / "out" / "labels.tsv").read_text().splitlines()]
    assert labels[0] == ["id", "bound"] and labels[1] == ["positive_1", "1"] and labels[-1] == ["negative_400", "0"]
    bed = [line.split("\t") for line in (tmp_path / "out" / "truth.bed").read_text().splitlines()]
    assert len(bed) == 2000
    for name, start, end, motif, score, strand, task in bed:
        word = records[name][int(start) : int(end)]
        if strand == "-":
            word = decode(reverse_complement(encode(word)))
        assert word == {"A1": "GATTACA", "B2": "CCGTC"}[motif] and task == "bound" and float(score) > 9


def test_record_suffices_to_draw_the_same_again(tmp_path):
    simulate_to(tmp_path / "a", pair(seed=3))
    record = json.loads((tmp_path / "a" / "simulation.json").read_text())
    for name, digest in record["sha256"].items():
        assert hashlib.sha256((tmp_path / "a" / name).read_bytes()).hexdigest() == digest
    assert record["seed"] == 3 and record["recipe"]["spacing"] == [2, 5] and record["positives"] == {"bound": 600}
    assert record["motifs"]["A1"][0] == [0.0, 0.0, 1.0, 0.0]
    from dragon_jax.data.load import data_config

    simulate_to(tmp_path / "b", data_config({"source": record["source"]}).source)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    simulate_to(tmp_path / "c", pair(seed=None), 3)
    same = {k: v for k, v in contents(tmp_path / "c").items() if k != "simulation.json"}
    assert same.items() <= contents(tmp_path / "a").items()


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is as good as none
    assert simulate_to(out, pair()).fresh
    before = contents(out)
    assert not simulate_to(out, pair()).fresh
    with pytest.raises(InputError, match="holds another simulation"):
        simulate_to(out, pair(seed=1))
    (out / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="not empty.*'mine.txt'"):
        simulate_to(out, pair())
    (out / "mine.txt").unlink()
    assert contents(out) == before
    (out / "labels.tsv").unlink()
    with pytest.raises(InputError, match="no labels.tsv"):
        simulate_to(out, pair())
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match="expected a folder, found a file"):
        simulate_to(file, pair())
    with pytest.raises(InputError, match="there is no folder"):
        simulate_to(tmp_path / "no" / "out", pair())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "out"]


def test_nothing_is_left_when_the_disk_is_full(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="disk is full"):
        simulate_to(tmp_path / "out", pair())
    assert list(tmp_path.iterdir()) == []
