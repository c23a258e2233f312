"""A motif's matrices, information and consensus: against Biopython, against published numbers, and by their symmetries."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from dragon_jax.dna import decode, encode, reverse_complement
from dragon_jax.errors import InputError
from dragon_jax.motifs.motif import Motif, check_background

SKEWED = (0.31, 0.19, 0.22, 0.28)
PRIMER = ["GGATAA", "CGATAA", "CGATAT", "GGATAT"]
# The matrix that the primer prints for these sites, and the sequence of 13 bases that its printed scan belongs to.
PRINTED = np.array(
    [
        [-5.7, 0.5, 0.5, -5.7],
        [-3.2, -3.2, 3.7, -3.2],
        [3.7, -3.2, -3.2, -3.2],
        [-3.2, -3.2, -3.2, 3.7],
        [3.7, -3.2, -3.2, -3.2],
        [0.6, -5.7, -5.7, 0.6],
    ]
)
PRINTED_SCAN = [2.0, -4.3, -24, -17, -18, -11, -12, 16, -5.5, -8.5, -5.2]


def random_motif(seed: int, width: int = 9, sites: int = 30) -> Motif:
    counts = np.random.default_rng(seed).multinomial(sites, [0.4, 0.1, 0.3, 0.2], width)
    return Motif.from_counts(f"m{seed}", counts.astype(np.float64))


def biopython(motif: Motif):
    motifs = pytest.importorskip("Bio.motifs")
    assert motif.counts is not None
    return motifs.Motif(counts={b: motif.counts[:, i].tolist() for i, b in enumerate("ACGT")})


def table(matrix) -> np.ndarray:
    return np.array([matrix[base] for base in "ACGT"]).T


@pytest.mark.parametrize("seed", range(5))
def test_matrices_agree_with_biopython(seed):
    motif = random_motif(seed)
    other = biopython(motif)
    background = dict(zip("ACGT", SKEWED, strict=True))
    pwm = other.counts.normalize(pseudocounts=0.5)
    np.testing.assert_allclose(motif.pwm(0.5, unit="count"), table(pwm), rtol=1e-12)
    np.testing.assert_allclose(motif.pssm(0.5, unit="count"), table(pwm.log_odds()), rtol=1e-9, atol=1e-12)
    shared = other.counts.normalize(pseudocounts={b: 2 * f for b, f in background.items()})  # 4 x 0.5, by background
    np.testing.assert_allclose(
        motif.pssm(0.5, SKEWED, unit="count"), table(shared.log_odds(background)), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(motif.information(), other.relative_entropy, rtol=1e-9, atol=1e-12)
    other.background = background
    np.testing.assert_allclose(motif.information(SKEWED), other.relative_entropy, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_consensus_agrees_with_biopython(seed):
    motif = random_motif(seed, width=40, sites=4 + seed % 5)  # few sites: ties, halves and quarters
    other = biopython(motif)
    assert motif.consensus() == str(other.consensus)
    assert motif.consensus(iupac=True) == str(other.degenerate_consensus)


def test_the_primers_counts_give_the_natural_log_odds_of_its_recipe():
    motif = Motif.from_sites("GATA", PRIMER)
    assert motif.sites == 4
    assert motif.counts is not None
    np.testing.assert_array_equal(motif.counts[0], [0, 2, 2, 0])
    np.testing.assert_array_equal(motif.counts[1:5].argmax(1), [2, 0, 3, 0])
    pssm = motif.pssm(0.001, base=math.e)
    np.testing.assert_allclose(pssm[1:5].max(1), 1.383, atol=5e-4)
    np.testing.assert_allclose(pssm[0, [1, 2]], 0.691, atol=5e-4)
    np.testing.assert_allclose(pssm[5, [0, 3]], 0.691, atol=5e-4)
    np.testing.assert_allclose(pssm[motif.counts == 0], -5.525, atol=5e-4)
    assert motif.consensus() == "CGATAA"
    assert motif.consensus(iupac=True) == "SGATAW"
    # The printed matrix differs by a constant in each column, so it cannot come from these counts (and no other rule
    # of letter and count gives it: a base never seen is worth -5.7 in one column and -3.2 in another).
    shift = PRINTED - pssm
    assert np.ptp(shift, axis=1).max() < 0.15
    assert np.abs(shift).max() > 2
    assert len(set(PRINTED[motif.counts == 0])) > 1


def test_the_primers_printed_scan_follows_from_its_printed_matrix():
    codes = encode("CCATTACCGATAA")
    padded = np.concatenate([(codes[:, None] == np.arange(4)).astype(float), np.zeros((3, 4))])
    scan = [(padded[i : i + 6] * PRINTED).sum() for i in range(11)]
    np.testing.assert_allclose(scan, PRINTED_SCAN, atol=0.35)
    assert int(np.argmax(scan)) == 7
    assert decode(codes[7:]) == "CGATAA"


def test_pseudocounts_of_hocomoco_and_kipoi():
    """The first row of AHR in HOCOMOCO v10, with the values of either conversion."""
    row = [40.51343240527031, 18.259112547756697, 56.41253757072521, 38.77363485291994]
    motif = Motif.from_counts("AHR", np.array([row]))
    kipoi = motif.pssm(0.001, base=math.e)
    np.testing.assert_allclose(kipoi, [[0.0510, -0.7413, 0.3810, 0.0073]], atol=6e-5)
    np.testing.assert_allclose(motif.pssm("log", base=math.e), [[0.0497, -0.7112, 0.3722, 0.0071]], atol=6e-5)
    n = sum(row)
    assert motif.pwm("sqrt")[0, 0] == pytest.approx((row[0] + math.sqrt(n) / 4) / (n + math.sqrt(n)))


def test_without_pseudocount_zeros_stay():
    motif = Motif.from_sites("one", ["ACGT"])
    np.testing.assert_array_equal(motif.pwm(), motif.probabilities)
    assert np.isneginf(motif.pssm(0.0)).sum() == 12
    assert np.isfinite(motif.pssm()).all()


def test_small_sample_correction():
    motif = Motif.from_sites("GATA", PRIMER)
    np.testing.assert_allclose(motif.information() - motif.information(correct=True), 3 / (2 * math.log(2) * 4))
    np.testing.assert_allclose(motif.information(), [1, 2, 2, 2, 2, 1])


def test_reverse_complement_scores_the_other_strand():
    motif = random_motif(1)
    other = motif.reverse_complement()
    codes = np.random.default_rng(0).integers(0, 4, 9).astype(np.uint8)

    def score(pssm, row):
        return pssm[np.arange(9), row].sum()

    assert score(motif.pssm(), codes) == pytest.approx(score(other.pssm(), reverse_complement(codes)))
    assert other.counts is not None and motif.counts is not None
    np.testing.assert_array_equal(other.reverse_complement().counts, motif.counts)
    named = Motif("b", motif.probabilities, background=np.array(SKEWED)).reverse_complement()
    np.testing.assert_array_equal(named.background, SKEWED[::-1])
    text = motif.consensus().translate(str.maketrans("ACGT", "TGCA"))[::-1]
    ties = (motif.probabilities == motif.probabilities.max(1, keepdims=True)).sum(1) > 1
    assert [a for a, tie in zip(other.consensus(), ties[::-1], strict=True) if not tie] == [
        a for a, tie in zip(text, ties[::-1], strict=True) if not tie
    ]


def test_trim_takes_off_flanks_only():
    flat, sharp = np.full((2, 4), 0.25), np.eye(4)
    motif = Motif("m", np.concatenate([flat, sharp[:2], flat, sharp[2:], flat]))
    trimmed = motif.trim(0.5)
    np.testing.assert_array_equal(trimmed.probabilities, motif.probabilities[2:8])
    assert len(Motif.from_sites("GATA", PRIMER).trim(1.5)) == 4
    with pytest.raises(InputError, match="motif 'm': expected a position with at least 3 bits, found 2.000 at most"):
        motif.trim(3)


def test_pickle():
    motif = random_motif(3)
    again = pickle.loads(pickle.dumps(motif))
    np.testing.assert_array_equal(again.counts, motif.counts)
    assert (again.name, again.sites, again.notes) == (motif.name, motif.sites, motif.notes)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Motif("m", np.full((2, 4), 0.3)), "motif 'm': expected rows of probabilities that sum to 1"),
        (lambda: Motif("m", np.array([[1.5, -0.5, 0, 0]])), "expected rows of probabilities"),
        (lambda: Motif("m", np.zeros((0, 4))), "W > 0"),
        (lambda: Motif("", np.eye(4)), "motif without a name"),
        (lambda: Motif("m", np.eye(4), sites=0.0), "expected a number of sites > 0"),
        (lambda: Motif.from_counts("m", np.zeros((2, 4))), "expected counts >= 0"),
        (lambda: Motif.from_counts("m", np.array([[-1.0, 2, 2, 2]])), "expected counts >= 0"),
        (lambda: Motif.from_sites("m", ["ACGT", "ACG"]), "differ in length"),
        (lambda: Motif.from_sites("m", ["ACGT", "ACNT"]), "site 2 of motif 'm': expected A C G T only, found 'ACNT'"),
        (
            lambda: Motif("m", np.eye(4)).pwm(1.0, unit="count"),
            "expected a number of sites for a pseudocount in counts",
        ),
        (lambda: Motif("m", np.eye(4)).pwm("sqrt"), "expected a number of sites for pseudocount 'sqrt'"),
        (lambda: Motif("m", np.eye(4)).pwm(-1.0), "pseudocount: expected a number >= 0"),
        (lambda: Motif("m", np.eye(4)).information(correct=True), "for the small-sample correction"),
        (lambda: check_background((0.5, 0.5, 0, 0)), "background: expected four frequencies above 0"),
        (lambda: check_background((0.5, 0.5, 0.5, 0.5)), "that sum to 1"),
        (lambda: check_background((math.nan, 0.5, 0.25, 0.25)), "that sum to 1"),
        (lambda: check_background((0.5, 0.5)), "expected four frequencies"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
