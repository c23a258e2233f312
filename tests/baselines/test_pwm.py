"""The PWM baseline: scores as a slow loop gives them, Kipoi's numbers, choices on train, calibration, refusals, state."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import math

import numpy as np
import pytest

import dragon_jax
from dragon_jax import dna, metrics
from dragon_jax.baselines import REGISTRY
from dragon_jax.baselines.pwm import KIPOI, PwmConfig
from dragon_jax.baselines.pwm_score import scan
from dragon_jax.config import build
from dragon_jax.config_flags import load_config
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError
from dragon_jax.motifs.motif import Motif
from dragon_jax.motifs.scan import Scanner
from tests.motifs.helpers import meme, pcm

AP1 = dna.encode("TGACTCA")
AHR = [40.51343240527031, 18.259112547756697, 56.41253757072521, 38.77363485291994]


def pfm(**sites: str) -> str:
    """A count file of one motif per argument, 20 equal sites each."""
    rows = {name: [[20 * (b == x) for b in "ACGT"] for x in text] for name, text in sites.items()}
    return "".join(f">{n}\n" + "".join("\t".join(map(str, r)) + "\n" for r in m) for n, m in rows.items())


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "motifs.pcm"
    path.write_text(pfm(AP1="TGACTCA", OTHER="GGCGCCAAT", EBOX="CACGTG"))
    return str(path)


def dataset(n=400, seed=0, kind="binary", length=40):
    """Rows of which every second one holds AP1 on either strand."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length), np.uint8)
    has = np.arange(n) % 2 == 1
    for row in np.flatnonzero(has):
        at = rng.integers(0, length - len(AP1))
        codes[row, at : at + len(AP1)] = AP1 if rng.random() < 0.5 else dna.reverse_complement(AP1)
    y = {"binary": has, "real": 3 - 2.0 * ~has + rng.normal(0, 0.3, n), "count": rng.poisson(np.where(has, 9, 1))}[kind]
    return Dataset(
        codes=codes,
        targets=np.asarray(y, np.float32)[:, None],
        tasks=(Task("t", kind),),
        ids=np.arange(n).astype(str),
    )


def slow(matrix, codes, score, unknown, base):
    """One strand of one sequence, window by window in float64; minus infinity where there is no window."""
    rows = np.concatenate([matrix, matrix.mean(1, keepdims=True)], 1)
    found = []
    for at in range(len(codes) - len(matrix) + 1):
        window = codes[at : at + len(matrix)]
        if unknown == "mean" or (window < 4).all():
            found.append(sum(rows[j, c] for j, c in enumerate(window)))
    if not found:
        return -np.inf
    return max(found) if score == "best" else np.log(sum(base**f for f in found)) / np.log(base)


@pytest.mark.parametrize("strand", ["forward", "max", "sum"])
@pytest.mark.parametrize("score", ["best", "logsum"])
@pytest.mark.parametrize("unknown", ["mean", "skip"])
def test_scores_are_those_of_a_loop_over_windows(strand, score, unknown):
    rng = np.random.default_rng(1)
    matrices = [rng.normal(0, 1, (w, 4)) for w in (1, 5, 9, 12, 30, *range(2, 20))]  # 30 is longer than the sequences
    codes = rng.integers(0, 5, (9, 21)).astype(np.uint8)
    codes[0], codes[1, 3:] = 4, codes[1, 3:] % 4
    base = 2.0
    got = scan(matrices, codes, strand=strand, score=score, unknown=unknown, log_base=base, batch_size=4)
    assert got.dtype == np.float32 and got.shape == (9, len(matrices))
    for (n, row), (m, matrix) in itertools.product(enumerate(codes), enumerate(matrices)):
        a, b = (slow(x, row, score, unknown, base) for x in (matrix, matrix[::-1, ::-1]))
        together = {"forward": a, "max": max(a, b), "sum": np.logaddexp2(a, b)}[strand]
        expected = together if np.isfinite(together) else matrix.min(1).sum()
        assert got[n, m] == pytest.approx(expected, abs=2e-4 if score == "logsum" else 2e-5)


def test_scores_agree_with_the_scanner_of_motifs():
    rng = np.random.default_rng(2)
    motifs = [Motif.from_counts(f"m{i}", rng.gamma(0.4, 10, (4 + i, 4)) + 0.01) for i in range(9)]
    codes = rng.integers(0, 4, (50, 60)).astype(np.uint8)
    scanner, matrices = Scanner(motifs, pseudocount=0.01), [m.pssm(0.01) for m in motifs]
    np.testing.assert_allclose(scan(matrices, codes), scanner.best(codes).score, atol=1e-4)
    total = scan(matrices, codes, strand="sum", score="logsum", log_base=2.0)
    np.testing.assert_allclose(total, scanner.log_sum(codes), atol=1e-3)


def test_kipois_models_of_hocomoco(tmp_path):
    """The first row of AHR in HOCOMOCO v10 with Kipoi's values, scanned forward only and rectified."""
    path = tmp_path / "ahr.pcm"
    path.write_text(">AHR\n" + "\n".join(["\t".join(map(str, AHR))] * 3) + "\n")
    config = PwmConfig(motifs=str(path), assign={"t": "AHR"}, **KIPOI)
    model = config.fit(dataset(20))
    np.testing.assert_allclose(model.matrices[0][0], [0.0510, -0.7413, 0.3810, 0.0073], atol=6e-5)
    assert sum(m.size + 1 for m in model.matrices) == 4 * 3 + 1 and "parameters: 13" in model.describe()
    best, worst, unknown = (model.predict([x * 40])[0, 0] for x in "GCN")
    assert best == pytest.approx(3 * 0.3810, abs=2e-4) and worst == 0
    assert unknown == pytest.approx(max(0, 3 * np.mean([0.0510, -0.7413, 0.3810, 0.0073])), abs=2e-4)
    half = model.predict(["C" * 37 + "GGG"])[0, 0], model.predict(["C" * 37 + "CCC"])[0, 0]
    assert half == (pytest.approx(best), 0)  # C C C is G G G on the other strand, which is not read
    hocomoco = PwmConfig(motifs=str(path), assign={"t": "AHR"}, pseudocount_kind="log", strand="forward")
    row = hocomoco.fit(dataset(20)).matrices[0][0]
    np.testing.assert_allclose(row, [0.0497, -0.7112, 0.3722, 0.0071], atol=6e-5)


def test_the_primers_gata_example(tmp_path):
    path = tmp_path / "gata.pfm"
    path.write_text(">GATA\nA 0 0 4 0 4 2\nC 2 0 0 0 0 0\nG 2 4 0 0 0 0\nT 0 0 0 4 0 2\n")
    model = PwmConfig(motifs=str(path), assign={"t": "GATA"}, **KIPOI).fit(dataset(20, length=13))
    score = model.predict(["CCATTACCGATAA", "CCCCCCCCCCCCC"])[:, 0]
    assert score[0] == pytest.approx(4 * 1.383 + 2 * 0.691, abs=3e-3) and score[1] == 0


@pytest.mark.parametrize("kind", ["probability", "count", "sqrt", "log"])
def test_pseudocounts_backgrounds_and_bases_are_those_of_the_motif(tmp_path, kind):
    path = tmp_path / "m.pcm"
    path.write_text(pcm())
    skewed = (0.4, 0.2, 0.1, 0.3)
    fields = {"pseudocount_kind": kind, "pseudocount": 0.5, "background": skewed, "log_base": 2.0}
    motif = Motif.from_counts("M2::x", np.array([[0, 0, 0, 8], [2, 2, 2, 2], [8, 0, 0, 0]], np.float64))
    amount, unit = (kind, "probability") if kind in ("sqrt", "log") else (0.5, kind)
    for strand, background in (("forward", skewed), ("max", (0.35, 0.15, 0.15, 0.35))):
        config = PwmConfig(motifs=str(path), assign={"t": "M2::x"}, strand=strand, **fields)
        expected = motif.pssm(amount, background, unit=unit)
        np.testing.assert_allclose(config.fit(dataset(20)).matrices[0], expected, rtol=1e-12)


def test_any_format_of_motifs_is_read(tmp_path):
    path = tmp_path / "m.meme"
    path.write_text(meme())
    assert PwmConfig(motifs=str(path), assign={"t": ("M1", "M2::x")}).fit(dataset(50)).names == ("M1", "M2::x")


def test_the_motif_is_chosen_on_train_alone(files):
    said = []
    train, valid, test = dataset(), dataset(100, 1), dataset(300, 2)
    model = PwmConfig(motifs=files).fit(train, valid, progress=said.append)
    assert model.names == ("AP1",) and "t: AP1 (auroc " in said[-1]
    assert metrics.auroc(model.predict(test.codes)[:, 0], test.targets[:, 0]) > 0.95
    turned = dataclasses.replace(valid, targets=1 - valid.targets)  # valid would choose another
    assert PwmConfig(motifs=files).fit(train, turned).names == ("AP1",)
    others = PwmConfig(motifs=files, candidates=("OTHER", "EBOX")).fit(train, valid)
    assert others.names[0] in ("OTHER", "EBOX")


@pytest.mark.parametrize("kind", ["real", "count"])
def test_tasks_of_other_kinds_are_chosen_by_correlation_and_calibrated_in_their_terms(files, kind):
    model = PwmConfig(motifs=files).fit(dataset(kind=kind), dataset(200, 1, kind))
    test = dataset(400, 2, kind)
    assert model.names == ("AP1",)
    predictions = model.predict(test.codes)
    assert abs(predictions.mean() / test.targets.mean() - 1) < 0.15
    scores = metrics.measure(predictions, test.targets, [kind])[0]
    assert scores["spearman"] > 0.6 and (kind == "count" or scores["r2"] > 0.5)


def test_several_motifs_serve_a_task_by_the_best_of_them(files):
    train = dataset()
    two = dataclasses.replace(train, tasks=(Task("a"), Task("b")), targets=np.repeat(train.targets, 2, 1))
    model = PwmConfig(motifs=files, assign={"a": ("AP1", "EBOX")}, candidates=("OTHER",)).fit(two)
    assert model.names == ("AP1", "OTHER", "EBOX")  # as in the file
    np.testing.assert_array_equal(model.members, [[1, 0, 1], [0, 1, 0]])
    each = model.config.scores(model.matrices, train.codes)
    raw = model.predict(train.codes, raw=True)
    np.testing.assert_array_equal(raw, np.stack([each[:, [0, 2]].max(1), each[:, 1]], 1))


def test_calibration_gives_probabilities_and_keeps_the_order(files):
    train, valid, test = dataset(), dataset(400, 1), dataset(2000, 2)
    model = PwmConfig(motifs=files, assign={"t": "AP1"}, score="logsum", strand="sum").fit(train, valid)
    p, raw = (model.predict(test.codes, raw=raw)[:, 0] for raw in (False, True))
    assert metrics.ece(p, test.targets[:, 0]) < 0.06
    assert (np.diff(p[np.argsort(raw)]) >= 0).all() and raw.max() > 1
    bare = PwmConfig(motifs=files, assign={"t": "AP1"}, score="logsum", strand="sum", calibrate=False).fit(train, valid)
    np.testing.assert_array_equal(bare.predict(test.codes)[:, 0], raw)
    # valid with one class only: train calibrates; a motif that ranks the wrong way is not turned round
    one = dataclasses.replace(valid, targets=np.ones_like(valid.targets))
    fallback = PwmConfig(motifs=files, assign={"t": "AP1"}, score="logsum", strand="sum").fit(train, one)
    assert 0.4 < fallback.predict(test.codes).mean() < 0.6
    wrong = PwmConfig(motifs=files, assign={"t": "AP1"}).fit(
        train, dataclasses.replace(valid, targets=1 - valid.targets)
    )
    np.testing.assert_allclose(wrong.predict(test.codes), 0.5, atol=1e-6)
    assert "found no use for it" in wrong.describe()


def test_strands_read_the_same_unless_only_one_is_read(files):
    codes = dataset(50, 3).codes
    turned = np.ascontiguousarray(dna.reverse_complement(codes))
    for strand in ("forward", "max", "sum"):
        model = PwmConfig(motifs=files, assign={"t": "AP1"}, strand=strand).fit(dataset())
        same = np.allclose(model.predict(codes, raw=True), model.predict(turned, raw=True), atol=1e-4)
        assert same == (strand != "forward")


def test_state_brings_the_model_back_without_the_motif_file(files, tmp_path):
    model = PwmConfig(motifs=files).fit(dataset(), dataset(100, 1))
    np.savez(tmp_path / "model.npz", **model.state())
    (tmp_path / "motifs.pcm").unlink()
    with np.load(tmp_path / "model.npz", allow_pickle=False) as stored:
        again = model.config.from_state(model.tasks, model.length, dict(stored))
    codes = dataset(30, 11).codes
    np.testing.assert_array_equal(again.predict(codes), model.predict(codes))
    assert again.describe() == model.describe() and len(model.origin["motif_file_sha256"]) == 64
    with pytest.raises(InputError, match=r"members: expected \(2, 1\), found \(1, 1\)"):
        model.config.from_state((Task("a"), Task("b")), 40, model.state())
    with pytest.raises(InputError, match="lacks names"):
        model.config.from_state(model.tasks, 40, {k: v for k, v in model.state().items() if k != "names"})
    with pytest.raises(InputError, match="sequences of 39 bases: expected 40"):
        again.predict(codes[:, 1:])


@pytest.mark.parametrize(
    ("fields", "length", "sentence"),
    [
        ({"assign": {"u": "AP1"}}, 40, "model.assign.u: no such task.*Tasks: t"),
        ({"assign": {"t": "AP2"}}, 40, "motif AP2 not in .*motifs.pcm: expected some of its 3 names.*mean AP1"),
        ({"candidates": ("XYZ",)}, 40, "motif XYZ not in"),
        ({"assign": {"t": "OTHER"}}, 8, "motif 'OTHER' of .* has 9 bases: expected at most 8"),
        ({"candidates": ("OTHER",)}, 8, "no motif of .* is as short as the sequences: .* 8 bases, found at least 9"),
    ],
)
def test_motifs_and_tasks_that_do_not_fit_are_refused(files, fields, length, sentence):
    with pytest.raises(InputError, match=sentence):
        PwmConfig(motifs=files, **fields).fit(dataset(20, length=length))


def test_a_task_that_judges_no_motif_is_refused(files):
    data = dataclasses.replace(dataset(20), targets=np.ones((20, 1), np.float32))
    with pytest.raises(InputError, match="task 't': no motif can be chosen"):
        PwmConfig(motifs=files).fit(data)
    with pytest.raises(InputError, match="task 't' cannot be calibrated"):
        PwmConfig(motifs=files, assign={"t": "AP1"}).fit(data)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "model.motifs: expected the path of a motif file, found none"),
        ({"motifs": "-"}, "model.motifs: expected the path of a motif file that can be read again"),
        ({"motifs": "x", "pseudocount": 0.0}, "model.pseudocount: expected > 0"),
        ({"motifs": "x", "log_base": 1.0}, "model.log_base: expected 1 < x"),
        ({"motifs": "x", "background": (0.5, 0.5)}, "model.background: expected four frequencies"),
        ({"motifs": "x", "assign": {"t": ()}}, "model.assign.t: expected one or more names"),
        ({"motifs": "x", "strand": "both"}, "model.strand: expected 'forward' or 'max' or 'sum'"),
    ],
)
def test_bad_config_fields_are_named(fields, sentence):
    with pytest.raises(InputError) as e:
        build(REGISTRY["pwm"], fields, "model")
    assert str(e.value).startswith(sentence)


def test_gabpa_peaks_are_told_from_shuffles_and_the_motif_is_found(dragon_data):
    """GABPA of the DeepBind set: 500 peaks and their shuffles halved; the whole ENCODE collection is on offer."""
    path = dragon_data("motifs/encode_motifs.txt.gz")
    with gzip.open(dragon_data("deepbind_encode/GABPA_GM12878_GABP_HudsonAlpha_B.seq.gz"), "rt") as file:
        rows = [line.split("\t") for line in file][1:]
    data = Dataset(
        codes=dna.encode_many([r[2] for r in rows]),
        targets=np.array([[float(r[3])] for r in rows], np.float32),
        tasks=(Task("GABPA"),),
        ids=np.array([r[1] for r in rows]),
    )
    half = np.arange(len(rows)) // 2 % 2 == 0
    model = PwmConfig(motifs=str(path), score="logsum", strand="sum").fit(data.take(half))
    assert model.names[0].split("_")[0] in ("GABPA", "ETS", "ELK1", "ELK3", "ELK4", "ELF1", "ETV1")
    assert metrics.auroc(model.predict(data.codes[~half])[:, 0], data.targets[~half, 0]) > 0.9
    assert math.isfinite(model.slope[0]) and model.slope[0] > 0


@pytest.mark.parametrize("kipoi", [False, True])
def test_a_whole_run_that_outlives_its_motif_file(files, tmp_path, kipoi):
    """Config file with an override, training, test split, loading; scores that are no probabilities are evaluated too."""
    data = dataset(300)
    rows = zip(dna.decode_many(data.codes), data.targets[:, 0], strict=True)
    (tmp_path / "t.tsv").write_text("sequence\tt\n" + "".join(f"{s}\t{int(y)}\n" for s, y in rows))
    (tmp_path / "c.py").write_text(
        "import dragon_jax\nfrom dragon_jax.baselines.pwm import KIPOI\n\n\ndef get_config():\n"
        f"    c = dragon_jax.template(model='pwm', source='table', **(KIPOI if {kipoi} else {{}}))\n"
        f"    c.data.source.paths = {{'all': {str(tmp_path / 't.tsv')!r}}}\n"
        "    c.data.source.label_columns = ('t',)\n"
        f"    c.model.motifs, c.evaluate.bootstrap = {files!r}, 0\n"
        "    return c\n"
    )
    config = load_config(str(tmp_path / "c.py"), ["--config.model.assign.t=('AP1', 'EBOX')"])
    run = dragon_jax.train(config, tmp_path / "run", quiet=True)
    assert run.provenance["motif_file"] == files and len(run.provenance["motif_file_sha256"]) == 64
    (tmp_path / "motifs.pcm").unlink()
    result = dragon_jax.evaluate(run.path, "test")
    assert result["mean"]["auroc"] > (0.7 if kipoi else 0.9)
    assert (result["per_task"]["t"].get("log_loss") is None) == kipoi
    model = dragon_jax.load(run.path)
    score, prediction = (model.predict(data.codes, raw=raw) for raw in (True, False))
    assert (score.max() > 5) and (prediction.max() > 5) == kipoi
