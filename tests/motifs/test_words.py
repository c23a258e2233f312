"""Words of the sequence, their tables, and pieces of sequences."""

import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.motifs import words

K = 3


def test_rows_of_words_are_their_numbers_and_known_beginnings_have_rows_of_their_own():
    codes = np.array([0, 1, 2, 3, 4, 3, 3], np.uint8)
    rows = words.word_rows(codes, K)
    assert rows.tolist() == [6, 27, 64 + 1 + 4 + 11, 64 + 1 + 3, 64, 64 + 1 + 4 + 15, 64 + 1 + 3]
    assert words.unknown_row(K) == 64 and words.row_count(K) == 85
    assert rows.max() < words.row_count(K)


def test_sums_of_table_rows_are_window_scores_and_unknown_bases_refuse_motifs_that_reach_them():
    rng = np.random.default_rng(0)
    widths = np.array([1, 2, 3, 4, 6])
    columns = rng.integers(-50, 50, (5, 6, 4)).astype(np.int32)
    for c, width in enumerate(widths):
        columns[c, width:] = 0
    codes = rng.choice(5, 400, p=[0.24, 0.24, 0.24, 0.24, 0.04]).astype(np.uint8)
    rows = words.word_rows(np.append(codes, np.full(K, 4, np.uint8)), K)
    first, second = words.tables(columns, widths, K, -10_000)
    assert first.dtype == np.int32 and first.shape == (85, 5)
    found = first[rows[:400]] + second[rows[K : 400 + K]]
    refused = 0
    for c, width in enumerate(widths):
        for i in range(400):
            window = codes[i : i + width]
            if len(window) < width or (window > 3).any():
                assert found[i, c] < -9_000
                refused += 1
            else:
                assert found[i, c] == columns[c, np.arange(width), window].sum()
    assert refused > 100


@pytest.mark.parametrize(("piece", "limit"), [(7, 30), (100, 40), (1, 5), (1000, 10_000)])
def test_every_position_belongs_to_one_piece_and_sees_what_follows(piece, limit):
    rng = np.random.default_rng(1)
    sequences = [rng.integers(0, 5, n).astype(np.uint8) for n in (5, 0, 33, 7, 14, 1)]
    seen, order = {}, []
    for slab in words.slabs(sequences, piece, 3, limit):
        for begin, size, sequence, offset in zip(slab.begin, slab.size, slab.sequence, slab.offset, strict=True):
            order.append((sequence, offset))
            for i in range(size):
                wanted = sequences[sequence][offset + i : offset + i + 4]
                assert slab.codes[begin + i : begin + i + len(wanted)].tolist() == wanted.tolist()
                if len(wanted) < 4:
                    assert slab.codes[begin + i + len(wanted)] == 4
                seen[sequence, offset + i] = seen.get((sequence, offset + i), 0) + 1
    assert order == sorted(order)
    assert seen == {(s, i): 1 for s, codes in enumerate(sequences) for i in range(len(codes))}


def test_pieces_are_as_long_as_equal_sequences_and_shorter_for_mixed_ones():
    assert words.piece_length([101] * 50) == 101
    assert words.piece_length([]) == 1
    assert words.piece_length([100_000]) == 512
    assert words.piece_length([200, 400, 600, 1000]) in (64, 128, 256)


def test_what_is_no_code_is_refused():
    with pytest.raises(InputError, match="sequence 2: expected uint8 codes"):
        words.checked([np.zeros(3, np.uint8), np.zeros(3, np.int64)])
    with pytest.raises(InputError, match="found 7"):
        words.checked([np.full(3, 7, np.uint8)])
