"""The scanner against a plain loop over windows, and against MOODS."""

import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.errors import InputError
from dragon_jax.motifs import kernels, pvalues, scan
from dragon_jax.motifs.motif import Motif
from dragon_jax.motifs.scan import Scanner

WIDTHS = (1, 2, 4, 5, 6, 9, 10, 11, 15, 16, 22, 31)


def random_pssms(widths=WIDTHS, seed=0):
    rng = np.random.default_rng(seed)
    return {f"m{i}": np.log2(rng.dirichlet([0.4] * 4, w) * 0.96 + 0.01) + 2 for i, w in enumerate(widths)}


def random_sequences(lengths=(300, 0, 1, 8, 77, 150, 301), unknown=0.02, seed=1):
    rng = np.random.default_rng(seed)
    share = [(1 - unknown) / 4] * 4 + [unknown]
    return [rng.choice(5, n, p=share).astype(np.uint8) for n in lengths]


def window_scores(codes, matrix, sign):
    """Score of each window of a sequence, letter by letter; NaN over an unknown base."""
    scores = []
    for start in range(len(codes) - len(matrix) + 1):
        window = codes[start : start + len(matrix)]
        window = window if sign == "+" else dna.reverse_complement(window)
        known = (window < 4).all()
        scores.append(sum(row[c] for row, c in zip(matrix, window, strict=True)) if known else np.nan)
    return np.array(scores)


def every_hit(pssms, sequences, thresholds, signs="+-"):
    return [
        (i, int(start), m, sign)
        for i, codes in enumerate(sequences)
        for m, (matrix, t) in enumerate(zip(pssms.values(), thresholds, strict=True))
        for sign in signs
        for start in np.flatnonzero(window_scores(codes, matrix, sign) >= t)
    ]


def listed(hits):
    columns = (hits.sequence, hits.start, hits.motif, hits.strand)
    return list(zip(*(c.tolist() for c in columns), strict=True))


@pytest.mark.parametrize(("strands", "signs"), [("both", "+-"), ("forward", "+"), ("reverse", "-")])
@pytest.mark.parametrize("pvalue", [1e-2, 2e-3])
def test_hits_are_those_of_a_plain_loop(strands, signs, pvalue):
    pssms, sequences = random_pssms(), random_sequences((1500, 0, 1, 8, 77, 900, 301), 0.005)
    scanner = Scanner(pssms, pvalue=pvalue, strands=strands)
    found = scanner.hits(sequences)
    wanted = every_hit(pssms, sequences, scanner.thresholds, signs)
    assert len(wanted) > 15_000 * pvalue
    assert sorted(listed(found)) == sorted(wanted)
    assert listed(found) == sorted(listed(found))  # "+" is before "-"
    for row in range(0, len(found), 7):
        matrix = scanner.matrices[found.motif[row]]
        scores = window_scores(sequences[found.sequence[row]], matrix, found.strand[row])
        assert found.score[row] == scores[found.start[row]]
        assert found.end[row] - found.start[row] == len(matrix)
        one = pvalues.pvalue(matrix, found.score[row])
        assert found.pvalue[row] == pytest.approx(float(one), rel=1e-9) and one <= pvalue


def test_thresholds_that_are_given_count_also_where_all_or_no_windows_reach_them():
    pssms = random_pssms((5, 7, 12))
    sequences = random_sequences()
    thresholds = [-1000.0, 6.0, 1000.0]
    found = Scanner(pssms, thresholds=thresholds).hits(sequences)
    assert sorted(listed(found)) == sorted(every_hit(pssms, sequences, thresholds))
    assert set(found.motif.tolist()) == {0, 1}
    assert found.pvalue.max() > 0.99 and found.pvalue.min() > 0


def test_a_score_equal_to_the_threshold_reaches_it():
    matrix = random_pssms((9,), seed=4)["m0"]
    codes = random_sequences((500,), 0.0)[0]
    scores = window_scores(codes, matrix, "+")
    for s in np.sort(scores)[-5:]:
        found = Scanner({"m": matrix}, thresholds=[s], strands="forward").hits([codes])
        assert len(found) == (scores >= s).sum()


def test_moods_finds_the_same_hits():
    scanning, tools = pytest.importorskip("MOODS.scan"), pytest.importorskip("MOODS.tools")
    pssms, sequences = random_pssms(range(5, 30), seed=7), random_sequences((2000, 900, 40), 0.005)
    matrices = [[tuple(row) for row in m.T.tolist()] for m in pssms.values()]
    flat = list(pvalues.UNIFORM)
    limits = [tools.threshold_from_p(m, flat, 1e-3) for m in matrices]
    peer = scanning.Scanner(7)
    peer.set_motifs(matrices + [tools.reverse_complement(m) for m in matrices], flat, limits * 2)
    theirs = [
        (i, match.pos, c % len(matrices), "+-"[c // len(matrices)])
        for i, codes in enumerate(sequences)
        for c, matches in enumerate(peer.scan(dna.decode(codes)))
        for match in matches
    ]
    found = Scanner(pssms, thresholds=limits).hits(sequences)
    assert len(theirs) > 100
    assert listed(found) == sorted(theirs)


@pytest.mark.parametrize("strands", ["both", "reverse"])
def test_best_is_the_best_window_and_nothing_where_there_is_none(strands):
    pssms, sequences = random_pssms(), random_sequences()
    scanner = Scanner(pssms, strands=strands)
    score, position, strand = scanner.best(sequences)
    signs = "+-" if strands == "both" else "-"
    for i, codes in enumerate(sequences):
        for m, matrix in enumerate(pssms.values()):
            by_sign = {sign: window_scores(codes, matrix, sign) for sign in signs}
            known = np.concatenate([s[~np.isnan(s)] for s in by_sign.values()])
            if not known.size:
                assert score[i, m] == -np.inf and position[i, m] == -1 and strand[i, m] == "."
                continue
            assert score[i, m] == pytest.approx(known.max(), abs=len(matrix) * scanner.unit)
            assert by_sign[strand[i, m]][position[i, m]] == pytest.approx(known.max(), abs=1e-4)
    assert (strand == ".").sum() > 5


def test_ties_go_to_the_first_window_and_the_forward_strand():
    palindrome = np.log2(np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]) * 4)  # AT
    codes = dna.encode_many(["GGATGGGATG"])
    best = Scanner({"at": palindrome}).best(codes)
    assert best.position.tolist() == [[2]] and best.strand.tolist() == [["+"]]
    found = Scanner({"at": palindrome}, thresholds=[2.9]).hits(codes)
    assert listed(found) == [(0, 2, 0, "+"), (0, 2, 0, "-"), (0, 7, 0, "+"), (0, 7, 0, "-")]
    assert len(set(found.score.tolist())) == 1


def test_a_palindromic_site_scores_the_same_on_both_strands_to_the_last_bit():
    half = random_pssms((11,), seed=9)["m0"]
    palindrome = np.concatenate([half, half[::-1, ::-1]])
    codes = random_sequences((400,), 0.0)
    found = Scanner({"p": palindrome}, thresholds=[-1000.0]).hits(codes)
    ahead, back = found.take(found.strand == "+"), found.take(found.strand == "-")
    np.testing.assert_allclose(ahead.score, back.score, atol=1e-12)
    best = Scanner({"p": palindrome}).best(codes)
    assert best.strand.tolist() == [["+"]]


@pytest.mark.parametrize("base", [2.0, np.e])
def test_log_sum_adds_the_odds_of_all_windows_on_both_strands(base):
    pssms, sequences = random_pssms(), random_sequences((300, 1, 8, 150, 900))
    found = Scanner(pssms).log_sum(sequences, base=base)
    for i, codes in enumerate(sequences):
        for m, matrix in enumerate(pssms.values()):
            scores = np.concatenate([window_scores(codes, matrix, sign) for sign in "+-"])
            scores = scores[~np.isnan(scores)]
            if scores.size:
                assert found[i, m] == pytest.approx(np.log((base**scores).sum()) / np.log(base), abs=1e-4)
            else:
                assert found[i, m] == -np.inf


def test_small_slabs_pieces_and_calls_change_nothing(monkeypatch):
    pssms, sequences = random_pssms(), random_sequences((300, 0, 900, 20, 700, 5, 64, 64))
    scanner = Scanner(pssms, pvalue=1e-2)
    hits, best, total = scanner.hits(sequences), scanner.best(sequences), scanner.log_sum(sequences)
    monkeypatch.setattr(scan, "SLAB", 200)
    monkeypatch.setattr(scan, "POSITIONS", 256)
    monkeypatch.setattr(scan, "WINDOWS", 1)
    again = scanner.hits(sequences)
    assert listed(again) == listed(hits) and (again.score == hits.score).all()
    for a, b in zip(scanner.best(sequences), best, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(scanner.log_sum(sequences), total, atol=1e-5)


def test_packed_masks_of_other_devices_say_the_same(monkeypatch):
    scanner, sequences = Scanner(random_pssms(), pvalue=1e-2), random_sequences()
    plain = listed(scanner.hits(sequences))
    monkeypatch.setattr(scan.jax, "default_backend", lambda: "gpu")
    assert listed(scanner.hits(sequences)) == plain
    mask = np.random.default_rng(0).random((50, 16)) < 0.1
    places = kernels.set_places(np.packbits(mask, axis=1), True)
    np.testing.assert_array_equal(places, np.flatnonzero(mask))


def test_motifs_bring_their_pssm_and_the_background_is_the_same_on_both_strands():
    motif = Motif.from_sites("GATA", ["GGATAA", "CGATAA", "CGATAT", "GGATAT"])
    skewed = (0.4, 0.1, 0.2, 0.3)
    scanner = Scanner([motif], background=skewed, pseudocount=0.05)
    np.testing.assert_allclose(scanner.background, [0.35, 0.15, 0.15, 0.35])
    np.testing.assert_allclose(scanner.matrices[0], motif.pssm(0.05, scanner.background))
    assert scanner.thresholds[0] == pvalues.threshold(scanner.matrices[0], 1e-4, scanner.background)
    np.testing.assert_allclose(Scanner([motif], background=skewed, strands="forward").background, skewed)
    found = Scanner([motif], pvalue=1e-3).hits(dna.encode_many(["CCGGATAACC", "GGTTATCCGG", "CCCCCCCCCC"]))
    assert listed(found) == [(0, 2, 0, "+"), (1, 2, 0, "-")]


def test_no_sequences_no_hits():
    scanner = Scanner(random_pssms((6, 8)))
    for nothing in ([], [np.zeros(0, np.uint8)], np.full((2, 30), 4, np.uint8)):
        assert len(scanner.hits(nothing)) == 0
        best = scanner.best(nothing)
        assert best.score.shape == (len(nothing), 2) and (best.score == -np.inf).all()
        assert (scanner.log_sum(nothing) == -np.inf).all()


@pytest.mark.parametrize(
    ("motifs", "options", "said"),
    [
        ({}, {}, "no motif to scan with"),
        ({"a": np.full((3, 4), -np.inf)}, {}, "PSSM of motif 'a' .* not finite.* Add a pseudocount"),
        (random_pssms((3,)), dict(thresholds=[1.0, 2.0]), "one number for each of 1 motifs"),
        (random_pssms((3,)), dict(pvalue=2.0), "expected a number above 0"),
    ],
)
def test_what_cannot_be_scanned_with_is_refused(motifs, options, said):
    with pytest.raises(InputError, match=said):
        Scanner(motifs, **options)


def test_names_must_differ():
    motif = Motif.from_sites("x", ["ACGT"])
    with pytest.raises(InputError, match="motif name 'x' twice"):
        Scanner([motif, motif])
