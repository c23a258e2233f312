"""Sketches hold the smallest k-mer hashes, pairs that share one are found, and comparisons count what they say."""

from __future__ import annotations

import numpy as np
import pytest

from dragon_jax.data.alignment import BAND, Aligner
from dragon_jax.data.sketches import BINS, CROWD, EMPTY, Candidates, sketch, word_length
from dragon_jax.dna import reverse_complement


def random(n: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (n, length)).astype(np.uint8)


def fmix(h: int) -> int:
    h ^= h >> 16
    h = h * 0x85EBCA6B % 2**32
    h ^= h >> 13
    h = h * 0xC2B2AE35 % 2**32
    return h ^ (h >> 16)


def naive(row: list[int], k: int) -> dict[int, tuple[int, int]]:
    """Smallest (hash, place) of each bin of one sequence."""
    best: dict[int, tuple[int, int]] = {}
    for i in range(len(row) - k + 1):
        word = row[i : i + k]
        if max(word) > 3:
            continue
        forward = int("".join(map(str, word)), 4)
        reverse = int("".join(str(3 - x) for x in word[::-1]), 4)
        found = (fmix(min(forward, reverse)), 2 * i + (reverse < forward))
        bin_ = found[0] >> 25
        best[bin_] = min(best.get(bin_, found), found)
    return best


@pytest.mark.parametrize("k", [1, 3, 5, 11, 13, 15])
def test_sketches_agree_with_counting_by_hand(k):
    codes = random(40, 60, k)
    codes[::3, 10:50:7] = 4
    codes[5] = 4
    found = sketch(codes, k)
    for i, row in enumerate(codes.tolist()):
        expected = naive(row, k)
        assert set(np.flatnonzero(found.places[i] != EMPTY).tolist()) == set(expected)
        for bin_, (word, place) in expected.items():
            assert (found.words[i, bin_], found.places[i, bin_]) == (word, place)


def test_sketches_do_not_depend_on_the_strand():
    codes = random(300, 70)
    one, other = sketch(codes, 11), sketch(reverse_complement(codes), 11)
    np.testing.assert_array_equal(one.words, other.words)
    np.testing.assert_array_equal(one.places == EMPTY, other.places == EMPTY)


def test_sequences_shorter_than_the_words_have_no_sketch():
    assert (sketch(random(5, 10), 11).places == EMPTY).all()
    for k in (12, 17, 0):
        with pytest.raises(ValueError, match="k: expected an odd number up to 15"):
            sketch(random(5, 30), k)
    assert [word_length(n, 100) for n in (10, 10_000, 1_000_000, 10**8)] == [11, 11, 13, 15]


def test_candidates_are_all_pairs_that_share_a_hash():
    codes = np.concatenate([random(60, 40), random(60, 40)[:20]])
    codes[70, :30] = codes[3, 5:35]
    found = sketch(codes, 11)
    shared = (found.words[:, None] == found.words) & ((found.places != EMPTY)[:, None] & (found.places != EMPTY))
    expected = {(i, j, b) for i, j, b in np.argwhere(shared).tolist() if i < j}
    candidates = Candidates(found)
    pairs = [(min(i, j), max(i, j), b) for a, c, b in candidates for i, j in zip(a.tolist(), c.tolist(), strict=True)]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == expected
    assert candidates.crowded == 0


def test_crowds_are_cut_and_counted():
    codes = np.repeat(random(1, 40), 3 * CROWD, axis=0)
    candidates = Candidates(sketch(codes, 11))
    rows = sum(len(a) for a, _, _ in candidates)
    bins = (sketch(codes[:1], 11).places != EMPTY).sum()
    assert rows == bins * (3 * CROWD * CROWD - CROWD * (CROWD + 1) // 2)
    assert candidates.crowded == bins * (3 * CROWD - CROWD - 1)
    assert BINS == 128


def edit_distance(a: list[int], b: list[int]) -> int:
    """Smallest number of edits that turn `a` into any part of `b`."""
    row = [0] * (len(b) + 1)
    for x in a:
        last, row = row, [row[0] + 1]
        for j, y in enumerate(b):
            row.append(min(last[j] + (x != y), last[j + 1] + 1, row[-1] + 1))
    return min(row)


def test_edit_distances_agree_with_the_textbook():
    rng = np.random.default_rng(0)
    codes, shifts, turned = [], [], []
    for _ in range(40):
        a = rng.integers(0, 4, 60).astype(np.uint8)
        b = list(a)
        for _ in range(rng.integers(0, 8)):
            at = int(rng.integers(0, len(b)))
            b[at : at + int(rng.integers(0, 2))] = rng.integers(0, 4, rng.integers(0, 3)).tolist()
        b = np.array((b + rng.integers(0, 4, 60).tolist())[:60], np.uint8)
        turned.append(bool(rng.integers(2)))
        shifts.append(0)
        codes += [a, reverse_complement(b) if turned[-1] else b]
    codes = np.array(codes)
    first = np.arange(0, 80, 2)
    aligner = Aligner(codes, sketch(codes, 11))
    aligner._chance = 0.0
    found = aligner.in_band(first, first + 1, np.array(shifts), np.array(turned))
    for i, share in enumerate(found):
        b = codes[2 * i + 1]
        expected = edit_distance(codes[2 * i].tolist(), (reverse_complement(b) if turned[i] else b).tolist())
        assert expected <= BAND  # so that the band holds the best path
        # inside the band, bases beyond the ends of the second row cost one edit each, as a deletion does
        assert 60 * (1 - share) == pytest.approx(expected, abs=1e-3)


def test_diagonals_count_known_bases_where_rows_overlap():
    codes = random(4, 100)
    codes[1, 30:] = codes[0, :70]
    codes[1, 35] = 4
    codes[1, 40] ^= 1
    codes[2] = reverse_complement(codes[1:2])[0]
    aligner = Aligner(codes, sketch(codes, 11))
    pair = np.array([0]), np.array([1])
    for second, turned in ((1, False), (2, True)):
        share = aligner.on_diagonal(pair[0], np.array([second]), np.array([30]), np.array([turned]), 0.5)
        np.testing.assert_allclose(share, 68 / 69, rtol=1e-6)
    assert aligner.on_diagonal(*pair, np.array([30]), np.array([False]), 0.71)[0] == 0  # 69 of 99 are too few
    assert aligner.on_diagonal(np.array([1]), np.array([0]), np.array([-30]), np.array([False]), 0.5)[0] > 0.9
    assert (
        aligner.on_diagonal(np.array([0]), np.array([3]), np.array([30]), np.array([False]), 0.5)[0] == 0
    )  # by chance


def test_the_look_at_the_neighbourhood_counts_bases():
    codes = random(200, 150)
    rng = np.random.default_rng(1)
    codes[100:] = np.where(rng.random((100, 150)) < 0.15, rng.integers(0, 4, (100, 150)), codes[:100])
    codes[150:] = reverse_complement(codes[150:])
    found = sketch(codes, 11)
    aligner, seen = Aligner(codes, found), 0
    for first, second, bin_ in Candidates(found):
        here, there, turned = aligner.place(first, second, bin_)
        for similarity in (0.7, 0.9):
            kept = aligner.alike_nearby(first, second, here, there, turned, similarity)
            for n in range(len(first)):
                a, b = codes[first[n]], codes[second[n]]
                b = reverse_complement(b) if turned[n] else b
                i, j = int(here[n]), int(there[n])
                assert (a[i : i + 11] == b[j : j + 11]).all()
                left, right = min(i, j, 32), min(139 - i, 139 - j, 32)
                equal = (a[i - left : i] == b[j - left : j]).sum()
                equal += (a[i + 11 : i + 11 + right] == b[j + 11 : j + 11 + right]).sum()
                assert kept[n] == (equal >= (left + right) * (0.25 + similarity) / 2)
                seen += 1
    assert seen > 500
