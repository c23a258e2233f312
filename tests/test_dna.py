"""DNA as codes: what goes in comes out, strands mirror, shuffles keep every dinucleotide, k-mers are counted right."""

from __future__ import annotations

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.dna import (
    canonical,
    decode,
    decode_many,
    dinucleotide_shuffle,
    encode,
    encode_many,
    gc_content,
    kmer_counts,
    kmer_names,
    letters,
    one_hot,
    reverse_complement,
)
from dragon_jax.errors import InputError


def random_codes(n: int, length: int, seed: int = 0, unknown: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length)).astype(np.uint8)
    codes[rng.random(codes.shape) < unknown] = 4
    return codes


def dinucleotides(row: np.ndarray) -> Counter:
    return Counter(zip(row[:-1].tolist(), row[1:].tolist(), strict=True))


def test_encode_knows_case_rna_and_ambiguity():
    assert encode("ACGTacgtUu").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 3, 3]
    assert set(encode("RYSWKMBDHVNryswkmbdhvn").tolist()) == {4}
    assert encode(b"ACGT").dtype == np.uint8
    assert encode("").shape == (0,)


@pytest.mark.parametrize("letter", list("EFIJLOPQXZ*-.0 >\n") + ["é", "\x00"])
def test_encode_refuses_other_letters_by_place(letter):
    with pytest.raises(InputError, match=r"letter .* in peak_9, position 3: expected IUPAC nucleotides"):
        encode("AC" + letter + "T", "peak_9")


def test_encode_many_is_encode_row_by_row_and_decodes_back():
    codes = random_codes(50, 37)
    texts = decode_many(codes)
    assert texts == [decode(row) for row in codes]
    np.testing.assert_array_equal(encode_many(texts), codes)
    np.testing.assert_array_equal(encode_many([t.lower().encode() for t in texts]), codes)
    np.testing.assert_array_equal(np.stack([encode(t) for t in texts]), codes)


@pytest.mark.parametrize(
    ("sequences", "sentence"),
    [
        ([], "no sequence in a.fa"),
        (["", ""], "sequences in a.fa have no bases"),
        (
            ["ACG", "AC", "A"],
            "2 of 3 sequences in a.fa differ in length: expected 3 bases as in the first, found 2 in number 2",
        ),
        (["ACG", "AXG"], "letter 'X' in a.fa, number 2, position 2: expected IUPAC"),
        (["ACG", "AéG"], "letter 'é' in a.fa, number 2, position 2"),
    ],
)
def test_encode_many_refuses(sequences, sentence):
    with pytest.raises(InputError, match=sentence):
        encode_many(sequences, "a.fa")


def test_one_hot_of_unknown_is_zero_or_a_quarter():
    codes = random_codes(6, 20, unknown=0.3)
    hot = np.asarray(one_hot(jnp.asarray(codes)))
    assert hot.shape == (6, 20, 4)
    assert hot.dtype == np.float32
    np.testing.assert_array_equal(hot.argmax(-1)[codes < 4], codes[codes < 4])
    np.testing.assert_array_equal(hot.sum(-1), codes < 4)
    quarter = np.asarray(one_hot(jnp.asarray(codes), unknown=0.25))
    np.testing.assert_array_equal(quarter.sum(-1), 1)
    np.testing.assert_array_equal(quarter[codes == 4], 0.25)
    np.testing.assert_array_equal(quarter[codes < 4], hot[codes < 4])
    assert one_hot(jnp.asarray(codes), "bfloat16").dtype == jnp.bfloat16


def test_reverse_complement_on_host_and_device():
    assert decode(reverse_complement(encode("AACGTN"))) == "NACGTT"
    codes = random_codes(30, 21)
    np.testing.assert_array_equal(reverse_complement(reverse_complement(codes)), codes)
    device = jax.jit(reverse_complement)(jnp.asarray(codes))
    assert device.dtype == jnp.uint8
    np.testing.assert_array_equal(device, reverse_complement(codes))
    hot = np.asarray(one_hot(jnp.asarray(codes)))
    np.testing.assert_array_equal(np.asarray(one_hot(device)), hot[:, ::-1, ::-1])


def test_canonical_is_the_smaller_strand_and_the_same_for_both():
    codes = np.concatenate([random_codes(500, 5, unknown=0.1), random_codes(500, 6, seed=1, unknown=0.1)[:, :5]])
    both = canonical(codes)
    np.testing.assert_array_equal(both, canonical(reverse_complement(codes)))
    np.testing.assert_array_equal(both, canonical(both))
    for row, kept in zip(codes, both, strict=True):
        assert tuple(kept) == min(tuple(row), tuple(reverse_complement(row[None])[0]))


@pytest.mark.parametrize(("length", "unknown"), [(101, 0.0), (100, 0.1), (7, 0.0), (4, 0.0), (3, 0.0), (1, 0.0)])
def test_shuffle_keeps_dinucleotides_and_ends(length, unknown):
    codes = random_codes(300, length, seed=length, unknown=unknown)
    shuffled = dinucleotide_shuffle(codes, 5)
    assert shuffled.dtype == np.uint8
    for before, after in zip(codes, shuffled, strict=True):
        assert dinucleotides(before) == dinucleotides(after)
        assert (before[0], before[-1]) == (after[0], after[-1])
    if length > 50:
        assert (codes != shuffled).any(1).all()
    np.testing.assert_array_equal(shuffled, dinucleotide_shuffle(codes, 5))
    if length > 4:
        assert (shuffled != dinucleotide_shuffle(codes, 6)).any()


def test_shuffle_of_rows_without_another_order():
    codes = np.stack([encode("A" * 30), encode("AC" * 15), encode("N" * 30)])
    np.testing.assert_array_equal(dinucleotide_shuffle(codes, 0), codes)
    assert dinucleotide_shuffle(codes[:0], 0).shape == (0, 30)


@pytest.mark.parametrize("text", ["ACAGATACGA", "AACCAACGCC", "GATTACANGATA"])
def test_shuffle_is_uniform_over_all_possible_rows(text):
    """Chi-square against equal shares of every word with these dinucleotides, found by trying all walks."""
    row = encode(text)
    wanted = dinucleotides(row)
    words, stack = set(), [((int(row[0]),), wanted)]
    while stack:
        word, left = stack.pop()
        if not left:
            words.add(word)
        for edge in left:
            if edge[0] == word[-1]:
                stack.append((word + (edge[1],), left - Counter([edge])))
    assert len(words) > 5
    n = 400 * len(words)
    drawn = Counter(map(tuple, dinucleotide_shuffle(np.tile(row, (n, 1)), 11).tolist()))
    assert set(drawn) == words
    statistic = sum((drawn[w] - 400) ** 2 / 400 for w in words)
    freedom = len(words) - 1
    assert abs(statistic - freedom) < 4 * np.sqrt(2 * freedom)  # four standard deviations of a chi-square


@pytest.mark.parametrize("both_strands", [True, False])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 6])
def test_kmer_counts_agree_with_a_plain_loop(k, both_strands):
    codes = random_codes(40, 60, seed=k, unknown=0.08)
    names = kmer_names(k, both_strands)
    assert len(set(names)) == len(names)
    counts = kmer_counts(codes, k, both_strands)
    assert counts.shape == (40, len(names))
    assert counts.dtype == np.float32
    complement = str.maketrans("ACGT", "TGCA")
    for row, text in zip(counts, decode_many(codes), strict=True):
        expected: Counter = Counter()
        for i in range(len(text) - k + 1):
            word = text[i : i + k]
            if "N" not in word:
                expected[min(word, word.translate(complement)[::-1]) if both_strands else word] += 1
        assert {n: c for n, c in zip(names, row.tolist(), strict=True) if c} == dict(expected)


def test_kmer_names_cover_every_word_once():
    assert kmer_names(2, canonical=False) == tuple(map("".join, itertools.product("ACGT", repeat=2)))
    assert [len(kmer_names(k)) for k in (1, 2, 3, 4)] == [2, 10, 32, 136]  # (4^k + palindromes) / 2
    codes = random_codes(20, 50)
    np.testing.assert_array_equal(kmer_counts(codes, 5), kmer_counts(reverse_complement(codes), 5))


def test_kmer_counts_of_short_rows_and_wrong_k():
    assert kmer_counts(random_codes(3, 2), 3).sum() == 0
    for k in (0, 11):
        with pytest.raises(ValueError, match=f"k={k} is not in 1..10"):
            kmer_counts(random_codes(1, 20), k)


def test_kmer_counts_do_not_depend_on_the_block():
    codes = random_codes(5000, 12, seed=3)
    np.testing.assert_array_equal(kmer_counts(codes, 3)[4090:4100], kmer_counts(codes[4090:4100], 3))


def test_gc_content_counts_known_bases():
    values = gc_content(encode_many(["GCGC", "ATAT", "GCAT", "GNNN", "NNNN"]))
    np.testing.assert_array_equal(values, [1, 0, 0.5, 1, np.nan])


def test_letters_takes_strings_codes_and_one_hot():
    codes = random_codes(5, 9, unknown=0.2)
    texts, hot = decode_many(codes), np.asarray(one_hot(jnp.asarray(codes)))
    quarter = np.asarray(one_hot(jnp.asarray(codes), unknown=0.25))
    for given in (texts, np.array(texts), codes.astype(np.int64), hot, hot.transpose(0, 2, 1), quarter):
        result = letters(given)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, codes)
    np.testing.assert_array_equal(letters("ACGT"), [[0, 1, 2, 3]])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (np.array([[0, 5]]), "sequence codes run from 0 to 5: expected 0-4"),
        (np.array([[-1, 2]]), "sequence codes run from -1"),
        (np.zeros((2, 4, 4), np.float32), "cannot tell positions from letters when L is 4"),
        (
            np.ones((2, 6, 4), np.float32),
            r"sequence 0, position 0: expected one 1 and three 0, found \[1.0, 1.0, 1.0, 1.0\]",
        ),
        (np.zeros((2, 6), np.float32), r"an array of shape \(2, 6\) and type float32 is no DNA"),
    ],
)
def test_letters_refuses_what_is_no_dna(given, sentence):
    with pytest.raises(InputError, match=sentence):
        letters(given)
