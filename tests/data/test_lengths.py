"""One length for all: what each policy keeps, what it refuses, and where the window then lies on the genome."""

from __future__ import annotations

import numpy as np
import pytest

from dragon_jax.data.dataset import Regions
from dragon_jax.data.lengths import Fitter, check_policy, moved, text_array
from dragon_jax.dna import decode_many
from dragon_jax.errors import InputError


def place(i: int) -> tuple[str, str]:
    return f"sequence 's{i}' in a.fa, line {2 * i + 1}", f"line {2 * i + 1}"


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("fit_left", ["ACGT", "ACGT", "ACNN", "ACGT"]),
        ("fit_right", ["ACGT", "TACG", "NNAC", "GTAC"]),
        ("fit_centre", ["ACGT", "CGTA", "NACN", "CGTA"]),
    ],
)
def test_where_the_window_lies(fit, expected):
    fitted = Fitter("a.fa", 4, fit).block([b"ACGT", b"ACGTACG", b"AC", b"ACGTAC"], place)
    assert decode_many(fitted.codes) == expected
    assert fitted.notes["sequences cropped"] == 2
    assert fitted.notes["sequences padded"] == 1
    side = fit.partition("_")[2]
    assert decode_many(Fitter("a.fa", 4, f"crop_{side}").block([b"ACGTACG"], place).codes) == [expected[1]]
    assert decode_many(Fitter("a.fa", 4, f"pad_{side}").block([b"AC"], place).codes) == [expected[2]]


@pytest.mark.parametrize("window", [5, 6])
@pytest.mark.parametrize("size", [1, 2, 9, 10])
def test_centre_lays_the_middle_base_at_the_middle(window, size):
    bases = b"A" * (size // 2) + b"C" + b"A" * (size - size // 2 - 1)
    fitted = Fitter("a.fa", window, "fit_centre").block([bases], place)
    assert fitted.codes[0, window // 2] == 1
    assert (fitted.codes == 1).sum() == 1


def test_repairs_are_counted():
    fitted = Fitter("a.fa", None, "refuse").block([b"ACGT", b"acNu", b"RUuG"], place)
    assert fitted.notes == {"lower-case bases": 4, "bases U read as T": 3, "unknown bases": 2}
    assert fitted.codes.tolist() == [[0, 1, 2, 3], [0, 1, 4, 3], [4, 3, 3, 2]]


@pytest.mark.parametrize(
    ("length", "fit", "sequences", "sentence"),
    [
        (
            None,
            "refuse",
            [b"ACG", b"ACG", b"AC"],
            "sequence 's2' in a.fa, line 5: expected 3 bases as in the first record, found 2. "
            "Set length=3 and fit=fit_centre (crop and pad), or mend the file",
        ),
        (4, "refuse", [b"ACG", b"ACG"], "line 1: expected 4 bases, found 3; also line 3. Set length=4"),
        (4, "crop_left", [b"ACGTA", b"ACG"], "line 3: expected at least 4 bases, found 3"),
        (4, "pad_left", [b"ACGTA", b"ACG"], "line 1: expected at most 4 bases, found 5"),
        (4, "fit_left", [b"ACGTA", b""], "line 3: expected bases, found none. Remove the record or fill it in"),
        (None, "refuse", [b"", b"ACGTA"], "line 1: expected bases, found none"),
        (
            None,
            "refuse",
            [b"ACGT", b"AC*T"],
            "letter '*' in sequence 's1' in a.fa, line 3, position 3: expected IUPAC nucleotides",
        ),
        (None, "refuse", [b"ACGT", "ACéT".encode()], "letter 'é' in sequence 's1' in a.fa, line 3, position 3"),
    ],
)
def test_refusals(length, fit, sequences, sentence):
    fitter = Fitter("a.fa", length, fit)
    fitter.block(sequences, place)
    with pytest.raises(InputError) as e:
        fitter.refuse()
    assert sentence in str(e.value)


def test_blocks_are_as_good_as_one():
    rng = np.random.default_rng(0)
    sequences = [bytes(rng.choice(list(b"ACGTN"), rng.integers(1, 30))) for _ in range(50)]
    whole = Fitter("a.fa", 12, "fit_centre").block(sequences, place)
    fitter = Fitter("a.fa", 12, "fit_centre")
    parts = [fitter.block(sequences[i : i + 7], place) for i in range(0, 50, 7)]
    np.testing.assert_array_equal(np.concatenate([p.codes for p in parts]), whole.codes)


def test_policies_that_cannot_work():
    for length, fit in ((0, "refuse"), (-1, "fit_left"), (None, "fit_left"), (None, "crop_centre")):
        with pytest.raises(ValueError, match="length: "):
            check_policy(length, fit)


def test_regions_follow_the_window():
    genome = b"ACGTTGCAAC" * 10
    regions = Regions(np.array(["c"] * 3, dtype=object), np.array([10, 20, 30]), np.array([19, 26, 40]))
    sequences = [genome[s:e] for s, e in zip(regions.start, regions.end, strict=True)]
    for fit in ("fit_left", "fit_centre", "fit_right"):
        fitted = Fitter("a.fa", 7, fit).block(sequences, place)
        shown = moved(regions, fitted, 7)
        for text, start, end in zip(decode_many(fitted.codes), shown.start, shown.end, strict=True):
            assert text.strip("N") == genome[start:end].decode()
        mirrored = moved(regions, fitted, 7, np.array([True] * 3))
        assert (mirrored.end - mirrored.start == shown.end - shown.start).all()
        np.testing.assert_array_equal(mirrored.start - regions.start, regions.end - shown.end)
    other = Regions(regions.chrom, regions.start, regions.end + 1)  # not the region of the sequence: left alone
    np.testing.assert_array_equal(moved(other, fitted, 7).end, other.end)


def test_text_arrays_do_not_explode():
    assert text_array(["a", "bcd"]).dtype == np.dtype("<U3")
    assert text_array([]).shape == (0,)
    long = ["x" * 100_000, *("y" for _ in range(10_000))]
    assert text_array(long).dtype == object
    assert text_array(long).tolist() == long
