"""Motifs that some sequences hold more often than others: planted ones are found, and chance is not taken for one."""

import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.motifs.enriched import enriched_motifs

FIRST, SECOND = "GATTACAGGC", "ACCGGAAGTG"


def background(n, length=100, seed=0):
    return np.random.default_rng(seed).integers(0, 4, (n, length)).astype(np.uint8)


def planted(word, n, seed, share=1.0, both_strands=True, length=100):
    """Random sequences, a share of them with the word somewhere, on either strand, one base of it in four random."""
    rng = np.random.default_rng(seed)
    codes = background(n, length, seed + 1000)
    for row in codes:
        if rng.random() >= share:
            continue
        site = dna.encode(word)
        noisy = rng.random(len(site)) < 0.1
        site = np.where(noisy, rng.integers(0, 4, len(site)), site).astype(np.uint8)
        if both_strands and rng.random() < 0.5:
            site = dna.reverse_complement(site)
        at = rng.integers(0, length - len(site) + 1)
        row[at : at + len(site)] = site
    return codes


def spelled(motif):
    """The consensus on the strand on which it was found, unsure places as N."""
    odds = motif.log_odds
    letters = dna.decode(odds.argmax(1).astype(np.uint8))
    return "".join(c if best > 0.7 else "N" for c, best in zip(letters, odds.max(1), strict=True))


def on_either_strand(text):
    return text, dna.decode(dna.reverse_complement(dna.encode(text)))


def test_a_planted_motif_is_found_beyond_its_word_on_both_strands():
    found = enriched_motifs(planted(FIRST, 600, 1), background(600, seed=2), width=16, most=3)
    assert len(found) == 1 and found[0].z > 20
    assert any(FIRST in text for text in on_either_strand(spelled(found[0]))), spelled(found[0])
    # 600 sites of 10 bases, each base kept with probability 0.925: most of them hold a word within one mismatch
    assert 400 < found[0].sites < 700


def test_two_motifs_come_one_after_the_other_and_their_sites_are_erased():
    codes = np.concatenate([planted(FIRST, 500, 1), planted(SECOND, 300, 2)])
    found = enriched_motifs(codes, background(800, seed=3), width=14, most=5)
    assert len(found) >= 2 and found[0].z > found[1].z
    assert any(found[0].word in text for text in on_either_strand(FIRST))
    assert any(found[1].word in text for text in on_either_strand(SECOND))
    assert not found[0].like(found[1])


def test_chance_is_not_a_motif():
    for seed in range(5):
        found = enriched_motifs(background(500, seed=seed), background(1500, seed=seed + 50), width=12, most=4)
        assert found == []


def test_what_both_sides_hold_is_not_enriched():
    assert enriched_motifs(planted(FIRST, 400, 1), planted(FIRST, 800, 2), width=12, most=2) == []


def test_a_rare_motif_in_few_sequences_is_seen_against_many():
    """20 sites against 2,000 sequences without any: plain, though their number is no larger than its error would say."""
    found = enriched_motifs(planted(FIRST, 40, 1, share=0.5), background(2000, seed=2), width=12, most=1)
    assert found and any(found[0].word in text for text in on_either_strand(FIRST))


def test_a_word_and_its_reverse_complement_give_mirrored_matrices():
    codes, other = planted(FIRST, 500, 1, both_strands=False), background(500, seed=2)
    forward = enriched_motifs(codes, other, width=12, most=1)[0]
    reverse = enriched_motifs(dna.reverse_complement(codes), dna.reverse_complement(other), width=12, most=1)[0]
    assert forward.z == pytest.approx(reverse.z) and forward.like(reverse)


def test_the_input_is_not_changed_and_equal_calls_agree():
    codes, other = planted(FIRST, 300, 1), background(300, seed=2)
    before = codes.copy(), other.copy()
    a, b = (enriched_motifs(codes, other, width=12, most=2) for _ in range(2))
    np.testing.assert_array_equal(codes, before[0])
    np.testing.assert_array_equal(other, before[1])
    np.testing.assert_array_equal(a[0].log_odds, b[0].log_odds)


def test_windows_do_not_reach_into_the_next_sequence():
    """Each sequence is the word alone: what lies beside it is unknown, so that the flanks keep the background."""
    codes = np.tile(dna.encode(FIRST), (300, 1))
    found = enriched_motifs(codes, background(300, 10, seed=2), width=20, most=1)[0]
    flanks = np.concatenate([found.log_odds[:3], found.log_odds[-3:]])
    np.testing.assert_allclose(flanks, 0, atol=1e-12)


@pytest.mark.parametrize("positives, negatives", [(0, 5), (5, 0)])
def test_one_empty_side_has_no_motif(positives, negatives):
    assert enriched_motifs(background(positives), background(negatives), width=12, most=2) == []


def test_short_sequences_and_narrow_filters_shorten_the_word():
    assert enriched_motifs(background(50, 4), background(50, 4, seed=1), width=12, most=1) == []
    found = enriched_motifs(planted(FIRST, 300, 1), background(300, seed=2), width=5, most=1)
    assert len(found[0].word) == 5 and found[0].log_odds.shape == (5, 4)
