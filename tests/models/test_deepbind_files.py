"""Released DeepBind models: their files read strictly and written back, their scores as published and as a slow loop has them."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest

from dragon_jax import dna, metrics
from dragon_jax.errors import InputError
from dragon_jax.models.deepbind_files import DeepBindParameters, read_deepbind, shapes, write_deepbind
from dragon_jax.models.deepbind_windows import score_windows

WINDOWS = ("whole", "program", "kipoi")
ENCODE = {  # experiment: model and published test auROC
    "ARID3A_K562_ARID3A_(sc-8821)_Stanford": ("D00736.002", 0.88754),
    "ELK1_GM12878_ELK1_(1277-1)_Stanford": ("D00360.007", 0.95285),
    "GABPA_GM12878_GABP_HudsonAlpha": ("D00409.004", 0.97970),
    "REST_GM12878_NRSF_HudsonAlpha": ("D00799.001", 0.99934),
    "SP1_GM12878_SP1_HudsonAlpha": ("D00650.007", 0.90003),
    "USF1_HepG2_USF-1_HudsonAlpha": ("D00700.006", 0.99298),
    "ZBTB7A_HepG2_ZBTB7A_(SC-34508)_HudsonAlpha": ("D00714.004", 0.87414),
}
SNV = {
    "BHLHE41_FL_TGTGCT20NCGG_3_AD": "D00312.002",
    "BRCA1_GM12878_BRCA1_(A300-000A)_Stanford": "D00747.001",
    "CENPB_FL_TGCTGT20NGTC_4_AD": "D00321.003",
    "CTCF_FL_TAGCGA20NGCT_4_AJ": "D00328.003",
    "EGR1_FL_TACTAT20NATC_4_AA": "D00351.006",
    "Pou2f2_DBD_TAGATA20NTAT_3_Z": "D00588.002",
    "ZBTB7A_DBD_TGAATA20NGA_4_W": "D00714.003",
}


def made(mean_pool=False, hidden=0, both=True, width=5, detectors=3, seed=0) -> DeepBindParameters:
    rng = np.random.default_rng(seed)
    sizes = shapes(detectors, width, mean_pool, hidden)
    arrays = {k: rng.normal(0, 1, s).astype(np.float32) for k, s in sizes.items()}
    return DeepBindParameters(reverse_complement=both, mean_pool=mean_pool, **arrays)


def slow(p: DeepBindParameters, codes: np.ndarray, window: str) -> float:
    """The score in float64, position by position."""
    if p.reverse_complement:
        one = DeepBindParameters(reverse_complement=False, mean_pool=p.mean_pool, **p.arrays())
        return max(slow(one, codes, window), slow(one, dna.reverse_complement(codes), window))
    m, w = p.width, int(1.5 * p.width)

    def responses(piece):
        hot = np.array([[0.25] * 4 if c > 3 else np.eye(4)[c] for c in [4] * (m - 1) + list(piece) + [4] * (m - 1)])
        sums = [np.einsum("mb,mbd->d", hot[i : i + m], p.detectors) for i in range(len(hot) - m + 1)]
        return np.maximum(np.array(sums) + p.thresholds, 0)

    def score(found):
        pooled = found.max(0)
        if p.mean_pool:
            pooled = np.stack([pooled, found.mean(0)], 1).ravel()
        x = pooled @ p.weights1 + p.biases1
        return float((np.maximum(x, 0) @ p.weights2 + p.biases2)[0] if p.hidden else x[0])

    if window == "whole" or len(codes) <= w:
        return score(responses(codes))
    starts = range(len(codes) - w + 1)
    if window == "program":
        return max(score(responses(codes[i : i + w])) for i in starts)
    found = responses(codes)
    return max(score(found[i : i + w + m - 1]) for i in starts)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("mean_pool", "hidden", "both"), [(False, 0, True), (True, 0, False), (True, 4, True)])
def test_scores_are_those_of_a_loop_for_sequences_of_any_length(window, mean_pool, hidden, both):
    p = made(mean_pool, hidden, both)
    rng = np.random.default_rng(1)
    sequences = [rng.integers(0, 5, n).astype(np.uint8) for n in (20, 1, 7, 8, 45, 3, 20, 33, 6)]
    expected = [slow(p, s, window) for s in sequences]
    np.testing.assert_allclose(score_windows(p, sequences, window), expected, atol=2e-5)
    np.testing.assert_allclose(score_windows(p, sequences, window, batch_size=2), expected, atol=2e-5)
    table = np.stack([sequences[0], sequences[6]])
    np.testing.assert_allclose(score_windows(p, table, window), [expected[0], expected[6]], atol=2e-5)


def test_a_sequence_with_more_windows_than_fit_is_scored_in_pieces(monkeypatch):
    monkeypatch.setattr("dragon_jax.models.deepbind_windows._CELLS", 700)  # 6 windows at a time
    p, codes = made(), np.random.default_rng(3).integers(0, 4, (2, 60)).astype(np.uint8)
    np.testing.assert_allclose(score_windows(p, codes, "program"), [slow(p, c, "program") for c in codes], atol=2e-5)


def test_conventions_differ_only_beyond_one_window():
    p, rng = made(mean_pool=True), np.random.default_rng(2)
    short, long = ([rng.integers(0, 4, n).astype(np.uint8) for _ in range(20)] for n in (7, 40))
    scores = {w: [score_windows(p, s, w) for s in (short, long)] for w in WINDOWS}
    for window in WINDOWS[1:]:
        np.testing.assert_allclose(scores[window][0], scores["whole"][0], atol=1e-5)
        assert not np.allclose(scores[window][1], scores["whole"][1], atol=0.05)
    assert not np.allclose(scores["program"][1], scores["kipoi"][1], atol=0.05)


@pytest.mark.parametrize(("mean_pool", "hidden"), [(False, 0), (True, 4)])
def test_what_is_written_reads_back_bit_for_bit(tmp_path, mean_pool, hidden):
    p = made(mean_pool, hidden, both=False)
    write_deepbind(tmp_path / "p.txt", p)
    again = read_deepbind(tmp_path / "p.txt")
    for name, array in p.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    assert (again.reverse_complement, again.mean_pool, again.hidden) == (False, mean_pool, hidden)
    packed = tmp_path / "p.txt.gz"
    packed.write_bytes(gzip.compress((tmp_path / "p.txt").read_bytes().replace(b"\n", b"\r\n")))
    np.testing.assert_array_equal(read_deepbind(packed).detectors, p.detectors)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: "", "no parameters in .*p.txt: expected a file that begins with '# deepbind 0.1'"),
        (lambda t: ">seq\nACGT\n", "p.txt, line 1: expected '# deepbind 0.1', found '>seq'. Is this a DeepBind"),
        (lambda t: t.replace("0.1", "0.2", 1), "line 1: expected version 'deepbind 0.1', found '# deepbind 0.2'"),
        (lambda t: t.replace("biases1", "biasses1"), "line 10: no such field 'biasses1'; did you mean biases1"),
        (lambda t: t + "num_hidden = 0\n", "line 13: field 'num_hidden' twice, lines 6 and 13"),
        (lambda t: t[: t.index("weights1")], "p.txt lacks weights1, biases1, weights2, biases2: expected all 11"),
        (lambda t: t.replace("num_detectors = 3", "num_detectors = 3.0"), "line 3: expected num_detectors as a whole"),
        (lambda t: t.replace("complement = 1", "complement = 2"), "line 2: expected reverse_complement as .* in 0..1"),
        (lambda t: t.replace("detector_len = 5", "detector_len = 0"), "line 4: expected detector_len .* in 1..1,000"),
        (lambda t: t.replace("detector_len = 5", "detector_len = 6"), r"line 7: expected 72 values .*\(6 x 4 x 3\), found 60"),
        (lambda t: t.replace("avg_pooling = 0", "avg_pooling = 1"), r"line 9: expected 6 values of weights1 \(6 x 1\), found 3"),
        (lambda t: t.replace("num_hidden = 0", "num_hidden = 2"), r"line 9: expected 6 values of weights1 \(3 x 2\)"),
        (lambda t: t.replace("thresholds = ", "thresholds = x"), "line 8: expected numbers in thresholds, found 'x.*as value 1"),
        (lambda t: re.sub(r"biases1 = .*", "biases1 = nan", t), "line 10: expected finite float32 .*biases1, found 'nan'"),
        (lambda t: re.sub(r"biases1 = .*", "biases1 = 1e39", t), "line 10: expected finite float32 .*biases1, found '1e39'"),
        (lambda t: t.rstrip("\n"), "p.txt: expected a line end after the last value, found none. Is it cut off"),
        (lambda t: t.replace("biases1 = ", "biases1 ; "), "line 10: expected 'name = values', found 'biases1 ;"),
    ],
)  # fmt: skip
def test_files_that_are_none_are_refused_with_line_and_field(tmp_path, change, sentence):
    path = tmp_path / "p.txt"
    write_deepbind(path, made())
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=sentence):
        read_deepbind(path)


def test_every_released_file_here_reads_and_is_written_as_it_was(dragon_data, tmp_path):
    files = sorted(dragon_data("deepbind_models/params").glob("*.txt"))
    assert len(files) > 70
    for path in files[::4]:
        p = read_deepbind(path)
        write_deepbind(tmp_path / "p.txt", p)
        texts = [[line.strip() for line in f.read_text().splitlines()] for f in (path, tmp_path / "p.txt")]
        assert texts[0] == texts[1]
        assert p.count in (929, 1489, 1073, 1313, 1329, 1569, 1585, 1873, 2081, 2129, 2337, 2641, 2897)


@pytest.mark.parametrize(
    ("window", "file"),
    [("program", "example.expected.tsv"), ("kipoi", "example.expected_windows_see_flanks.tsv")],
)
def test_printed_examples(dragon_data, window, file):
    folder = dragon_data("deepbind_models")
    expected = np.loadtxt(folder / file, skiprows=1)
    models = [line.split()[0] for line in (folder / "example.ids").read_text().splitlines()]
    sequences = [dna.encode(line) for line in (folder / "example.seq").read_text().split()]
    found = [score_windows(read_deepbind(folder / f"params/{m}.txt"), sequences, window) for m in models]
    np.testing.assert_allclose(np.stack(found, 1), expected, atol=1e-5)


@pytest.mark.parametrize("name", SNV)
def test_published_scores_of_variants(dragon_data, name):
    """Every 50th of 20,000 variants, reference and alternative: within rounding to 4 digits and a little."""
    model = read_deepbind(dragon_data(f"deepbind_models/params/{SNV[name]}.txt"))
    expected = np.load(dragon_data(f"deepbind_snv/pred_0_19999/{name}.npz"))["pred"].reshape(-1, 2)[::50].ravel()
    with gzip.open(dragon_data("deepbind_snv/snv_0_19999.seq.gz"), "rt") as file:
        lines = [line for i, line in enumerate(file) if i % 100 < 2]
    ends = (10, 41) if name.startswith("BRCA1") else (13, 38)
    codes = dna.encode_many([line.strip()[slice(*ends)] for line in lines])
    np.testing.assert_allclose(score_windows(model, codes, "whole"), expected, atol=1e-4)


@pytest.mark.parametrize("name", ENCODE)
def test_published_auroc_on_chip_seq(dragon_data, name):
    model, published = ENCODE[name]
    with gzip.open(dragon_data(f"deepbind_encode/{name}_B.seq.gz"), "rt") as file:
        rows = [line.split("\t") for line in file][1:]
    parameters = read_deepbind(dragon_data(f"deepbind_models/params/{model}.txt"))
    scores = score_windows(parameters, dna.encode_many([r[2] for r in rows]), "whole")
    assert metrics.auroc(scores, np.array([float(r[3]) for r in rows])) == pytest.approx(published, abs=0.003)
