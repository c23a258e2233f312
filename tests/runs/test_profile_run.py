"""A base-resolution network from data to report: planted motifs whose reads are known, stopped, resumed, used."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dragon_jax
from dragon_jax import dna
from dragon_jax.errors import InputError
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.profile_predictor import ProfilePredictor
from dragon_jax.scoring import score_file
from dragon_jax.training.checkpoints import Checkpoints
from dragon_jax.training.trainer import Stopped
from tests.runs.helpers import dragon

LENGTH, BASES, WIDTH = 80, 56, 48
MOTIFS = {1: np.array([2, 0, 3, 3, 0, 2, 1], np.uint8), 4: np.array([1, 1, 3, 2, 0, 0, 3], np.uint8)}  # by height


def simulated(seed, n):
    """One of two motifs a row, on either strand: reads pile up in front of it on its own strand, behind it on the other,
    few at the one and many at the other."""
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, 4, (n, LENGTH)).astype(np.uint8)
    rate = np.full((n, LENGTH, 2), 0.1)
    for row in range(n):
        place = int(draw.integers(24, 48))
        height = int(draw.choice([1, 4]))
        codes[row, place : place + 7] = MOTIFS[height]
        rate[row, place - 4 : place - 1, 0] += 4 * height
        rate[row, place + 9 : place + 12, 1] += 2 * height
        if draw.random() < 0.5:
            codes[row] = dna.reverse_complement(codes[row][None])[0]
            rate[row] = rate[row, ::-1, ::-1]
    edge = (LENGTH - BASES) // 2
    return codes, draw.poisson(rate)[:, edge:-edge].astype(np.float32)


def make_config(folder, **model):
    for seed, (split, n) in enumerate({"train": 600, "valid": 150}.items()):
        codes, counts = simulated(seed, n)
        counts[0] = np.nan if split == "valid" else counts[0]
        np.savez(folder / f"{split}.npz", codes=codes, chip=counts)
    c = dragon_jax.template(model="bpnet", source="arrays")
    c.data.source.paths = {s: str(folder / f"{s}.npz") for s in ("train", "valid")}
    c.data.source.counts, c.data.source.counts_length = {"chip": "chip"}, WIDTH
    c.data.split.name = "files"
    c.model.update(filters=12, stem_width=9, layers=1, profile_width=13, output_length=WIDTH, tracks=2, **model)
    c.augment.reverse_complement, c.augment.shift = 0.5, 4
    c.loss.count_weight, c.optim.learning_rate, c.optim.ema = 30.0, 0.02, 0.9
    c.train.update(batch_size=32, steps=120, eval_every=40, checkpoint_every=7, patience=0, tensorboard=False)
    c.evaluate.bootstrap = 20
    return c


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile")
    config = make_config(folder)
    return config, dragon_jax.train(config, folder / "run", quiet=True), folder


def test_a_planted_motif_is_found_and_beats_the_mean_profile(trained):
    _, run, _ = trained
    result = run.results["valid"]
    table = result["profiles"]["per_task"]["chip"]
    assert table["n"] == 149  # the row that was not measured is left out
    assert table["jsd"] < 0.6 * table["jsd_mean"] and table["jsd_mean"] <= table["jsd_flat"] + 0.02
    assert table["nll"] < 0.7 * table["nll_mean"] and table["jsd_gain_ci"][0] > 0.1
    assert result["mean"]["pearson"] > 0.5  # of log(1 + reads)
    saved = np.load(run["predictions"] / "valid.npz")
    assert np.nanmean(saved["profile_jsd"]) == pytest.approx(table["jsd"], rel=1e-5)
    rows = [json.loads(line) for line in run["metrics.jsonl"].read_text().splitlines()]
    losses = [r["loss"] for r in rows if r["split"] == "valid"]
    assert losses[-1] < losses[0] and min(losses) == pytest.approx(table["loss"], rel=1e-4)


def test_the_report_shows_profiles(trained):
    _, run, _ = trained
    page = run["report.html"].read_text()
    table = run.results["valid"]["profiles"]["per_task"]["chip"]
    assert "Profiles" in page and f"{table['jsd']:.4f}" in page and f"{table['nll_mean']:,.2f}" in page


def test_the_report_draws_examples_picked_by_their_reads_alone(trained):
    _, run, folder = trained
    drawn = run.results["valid"]["profiles"]["examples"]
    assert [e["percentile"] for e in drawn] == [100, 99, 90, 50]
    with np.load(folder / "valid.npz") as saved:
        counts = np.nan_to_num(saved["chip"][:, 4:-4])
    totals = counts.sum((1, 2))
    assert np.sum(drawn[0]["observed"]) == totals.max() > np.sum(drawn[2]["observed"]) > np.sum(drawn[3]["observed"])
    row = int(totals.argmax())
    np.testing.assert_array_equal(np.array(drawn[0]["observed"]).T, counts[row])
    predictor = dragon_jax.load(run.path)
    codes = simulated(1, 150)[0][row]
    expected = predictor.profiles(codes[None]).counts[0, 0]
    np.testing.assert_allclose(np.array(drawn[0]["predicted"]).T, expected, atol=1e-3)
    page = run["report.html"].read_text()
    assert f"observed, {totals.max():,.0f} reads" in page and "percentile 50 by reads" in page


def test_the_predictor_spreads_reads_over_bases(trained):
    _, run, _ = trained
    predictor = dragon_jax.load(run.path)
    assert isinstance(predictor, ProfilePredictor)
    codes, counts = simulated(9, 40)
    found = predictor.profiles(codes, batch_size=16)
    assert found.probabilities.shape == found.counts.shape == (40, 1, WIDTH, 2)
    np.testing.assert_allclose(found.probabilities.sum((2, 3)), 1, rtol=1e-5)
    values = predictor.predict(codes)
    np.testing.assert_allclose(found.counts.sum((2, 3)), np.expm1(values), rtol=1e-4)
    inner = counts[:, 4:-4]
    hit = found.probabilities[:, 0].reshape(40, -1).argmax(1)
    assert (inner.reshape(40, -1)[np.arange(40), hit] > 1).mean() > 0.8  # where most is expected, reads are
    one = predictor.profiles([dna.decode(codes[3])])
    np.testing.assert_allclose(one.probabilities[0], found.probabilities[3], rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="sequences of 79 bases: expected 80"):
        predictor.profiles(codes[:, :-1])


def test_profiles_of_a_file_are_written_piece_by_piece(trained, tmp_path):
    _, run, _ = trained
    codes = simulated(7, 5000)[0]  # more than one piece
    (tmp_path / "in.tsv").write_text(
        "id\tsequence\n" + "".join(f"r{i}\t{dna.decode(c)}\n" for i, c in enumerate(codes))
    )
    out, profiles, plain = (tmp_path / name for name in ("out.tsv", "out.npy", "plain.tsv"))
    done = dragon("predict", str(run.path), str(tmp_path / "in.tsv"), f"--out={out}", f"--profiles={profiles}")
    assert done.returncode == 0, done.stderr
    predictor = dragon_jax.load(run.path)
    assert score_file(predictor, str(tmp_path / "in.tsv"), str(plain)) == 5000
    both = [np.loadtxt(f, skiprows=1, usecols=1) for f in (out, plain)]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-5, atol=1e-6)
    found = np.load(profiles, mmap_mode="r")
    assert found.shape == (5000, 1, WIDTH, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found, predictor.profiles(codes).counts, rtol=1e-4, atol=1e-6)


def test_a_failure_leaves_neither_table_nor_profiles(trained, tmp_path):
    _, run, _ = trained
    rows = [f"r{i}\t{'ACGT' * 20}\n" for i in range(5000)]
    (tmp_path / "in.tsv").write_text("id\tsequence\n" + "".join(rows) + "short\tACGT\n")
    with pytest.raises(InputError, match="row 5001"):
        score_file(
            dragon_jax.load(run.path),
            str(tmp_path / "in.tsv"),
            str(tmp_path / "o.tsv"),
            profiles=str(tmp_path / "o.npy"),
        )
    (tmp_path / "one.fa").write_text(">a\n" + "ACGT" * 20 + "\n")
    both = str(tmp_path / "both")
    with pytest.raises(InputError, match="expected two files"):
        score_file(dragon_jax.load(run.path), str(tmp_path / "one.fa"), both, profiles=both)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["in.tsv", "one.fa"]


def test_a_stopped_run_ends_bit_for_bit_where_the_other_does(trained):
    config, run, folder = trained
    asked = iter(range(1000))
    with pytest.raises(Stopped):
        dragon_jax.train(config, folder / "again", quiet=True, stop=lambda: 15 if next(asked) > 52 else 0)
    again = dragon_jax.train(config, folder / "again", quiet=True)
    first, second = (Checkpoints(r["checkpoints"]) for r in (run, again))
    assert first.steps() == second.steps()
    for step in first.steps():
        a, b = first.load(step), second.load(step)
        assert {k: v.tobytes() for k, v in a.items()} == {k: v.tobytes() for k, v in b.items()}
    drop = {"evaluated": None}
    assert run.results["valid"] | drop == again.results["valid"] | drop
    assert RunDir(run.path)["metrics.jsonl"].read_bytes() == RunDir(again.path)["metrics.jsonl"].read_bytes()


def test_data_without_profiles_are_refused_before_anything_is_written(tmp_path):
    config = make_config(tmp_path, strands="average")
    config.model.output_length = 40
    with pytest.raises(InputError, match="model.output_length: the 40 central bases do not add up"):
        dragon_jax.train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
