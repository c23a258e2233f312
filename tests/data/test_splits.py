"""Splits: membership follows the data and nothing else, and nothing stands on two sides."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from dragon_jax.data.dataset import Dataset, Regions, Task
from dragon_jax.data.splits import SplitConfig, audit, digests, divide, overlapping, uniform_hash
from dragon_jax.data.table_source import KEPT
from dragon_jax.dna import canonical, reverse_complement
from dragon_jax.errors import InputError


def make(n: int = 2000, seed: int = 0, length: int = 30, **changes) -> Dataset:
    rng = np.random.default_rng(seed)
    fields = {
        "codes": rng.integers(0, 4, (n, length)).astype(np.uint8),
        "targets": rng.integers(0, 2, (n, 1)).astype(np.float32),
        "tasks": (Task("CTCF"),),
        "ids": np.array([f"s{i}" for i in range(n)]),
    }
    return Dataset(**(fields | changes))


def located(chrom, start, end, seed: int = 0) -> Dataset:
    n = len(start)
    chrom = np.array([chrom] * n if isinstance(chrom, str) else chrom)
    return make(n, seed, regions=Regions(chrom, np.array(start, np.int64), np.array(end, np.int64)))


def ids(data: Dataset) -> set[str]:
    return set(data.ids.tolist())


def test_hash_does_not_depend_on_order_or_strand():
    data, config = make(), SplitConfig(valid=0.2, test=0.1)
    splits = divide({"all": data}, config)
    assert list(splits) == ["train", "valid", "test"]
    assert sum(map(len, splits.values())) == len(data)
    for name, share in (("train", 0.7), ("valid", 0.2), ("test", 0.1)):
        assert abs(len(splits[name]) / 2000 - share) < 5 * np.sqrt(share * (1 - share) / 2000)
    order = np.random.default_rng(1).permutation(2000)
    mirrored = dataclasses.replace(data, codes=reverse_complement(data.codes)).take(order)
    for name, part in divide({"all": mirrored}, config).items():
        assert ids(part) == ids(splits[name])
    for part in splits.values():  # rows keep their order
        assert (np.diff([int(i[1:]) for i in part.ids]) > 0).all()
    salted = divide({"all": data}, dataclasses.replace(config, salt="b"))
    assert ids(salted["valid"]) != ids(splits["valid"])
    less = divide({"all": data.take(np.arange(500))}, config)
    assert ids(less["valid"]) == ids(splits["valid"]) & ids(data.take(np.arange(500)))


def test_hash_is_the_same_on_every_machine():
    values = uniform_hash(np.array([[0, 1, 2, 3, 4], [0, 0, 0, 0, 0]], np.uint8))
    np.testing.assert_allclose(values, [0.9477928606, 0.1195262719], atol=1e-9)
    many = uniform_hash(make(20_000).codes)
    assert (many.min(), many.max() < 1) >= (0, True)
    counts = np.histogram(many, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 19 + 5 * np.sqrt(38)  # chi-square, 19 degrees of freedom


def test_digests_are_equal_for_copies_and_reverse_complements_only():
    codes = make(3000, length=4).codes  # 256 words: many twins
    codes[::7, 0] = 4
    twice = np.concatenate([codes, reverse_complement(codes)])
    keys = [k.tobytes() for k in digests(twice)]
    words = [row.tobytes() for row in canonical(twice)]
    assert len(set(keys)) == len(set(words)) == len(set(zip(keys, words, strict=True)))


def test_shares_of_zero_make_no_split():
    assert list(divide({"all": make(200)}, SplitConfig(valid=0.2, test=0.0))) == ["train", "valid"]
    with pytest.raises(InputError, match=r"split 'valid' is empty: expected rows, found none of 2. Change data.split"):
        divide({"all": make(2)}, SplitConfig(valid=1e-9))


def test_folds_take_turns():
    data = make()
    held = [divide({"all": data}, SplitConfig(name="folds", folds=4, fold=k)) for k in range(4)]
    assert set().union(*(ids(s["test"]) for s in held)) == ids(data)
    assert sum(len(s["test"]) for s in held) == len(data)
    for k in range(4):
        assert ids(held[k]["valid"]) == ids(held[(k + 1) % 4]["test"])
        assert sum(map(len, held[k].values())) == len(data)
    given = divide({"train": data, "test": make(5, 9)}, SplitConfig(name="folds", folds=4, fold=2))
    assert ids(given["valid"]) == ids(held[2]["test"])
    assert len(given["test"]) == 5
    two = divide({"train": data, "test": make(5, 9)}, SplitConfig(name="folds", folds=2))
    assert list(two) == ["train", "valid", "test"]
    with pytest.raises(
        InputError, match="data.split.folds: expected at least 3 folds when valid and test are both cut"
    ):
        divide({"all": data}, SplitConfig(name="folds", folds=2))


def test_column_and_chromosome():
    values = np.array(["a", "b", "NA", "1"] * 25)
    data = make(100, inputs={KEPT: values, "dose": np.ones((100, 1), np.float32)})
    config = SplitConfig(name="column", column="set", valid_values=("NA",), test_values=("1", "b"))
    splits = divide({"all": data}, config)
    assert {k: len(v) for k, v in splits.items()} == {"train": 25, "valid": 25, "test": 50}
    assert ids(splits["valid"]) == {f"s{i}" for i in range(2, 100, 4)}
    assert all(set(part.inputs) == {"dose"} for part in splits.values())
    with pytest.raises(
        InputError,
        match="data.split.test_values: column 'set', value 'B' occurs in no row: expected one of '1', 'NA', 'a', 'b'",
    ):
        divide({"all": data}, dataclasses.replace(config, test_values=("B",)))
    with pytest.raises(InputError, match="data.split.name: 'column' needs a source with named columns"):
        divide({"all": make(10)}, config)
    placed = located(values, np.arange(100) * 50, np.arange(100) * 50 + 30)
    chromosomes = SplitConfig(name="chromosome", valid_values=("1",))
    splits = divide({"all": placed}, chromosomes)
    assert {k: len(v) for k, v in splits.items()} == {"train": 75, "valid": 25}
    assert set(splits["valid"].regions.chrom) == {"1"}
    with pytest.raises(InputError, match="chromosome 'chr1' occurs in no row: expected one of '1', 'NA', 'a', 'b'"):
        divide({"all": placed}, dataclasses.replace(chromosomes, valid_values=("chr1",)))
    with pytest.raises(InputError, match="'chromosome' needs regions, found none. Name chrom_column"):
        divide({"all": data}, chromosomes)


def by_column(values: list[str], **fields) -> dict[str, int]:
    data = make(len(values), inputs={KEPT: np.array(values)})
    fields = {"valid_values": ("valid",), "test_values": ("test",), **fields}
    return {k: len(v) for k, v in divide({"all": data}, SplitConfig(name="column", column="set", **fields)).items()}


@pytest.mark.parametrize("slip", ["tets", "Test", " test", "tes t", "tet", "holdout", "", "train2"])
def test_values_that_make_no_split_do_not_train_in_silence(slip):
    values = ["train"] * 6 + ["valid", "test", slip, slip]
    with pytest.raises(InputError) as e:
        by_column(values)
    found = ", ".join(map(repr, sorted({*values})))
    close = "." if slip in ("holdout", "", "train2") else "; did you mean 'test'?"
    assert str(e.value) == (
        f"column 'set': 2 rows have values that make no split ({slip!r} 2 times; first row 's8'): expected one of "
        f"'train', 'valid', 'test', found {found}{close} Mend the cells, or name every value that is to train in "
        "data.split.train_values ('*' alone: whatever is left)"
    )
    assert by_column(values, train_values=("*",)) == {"train": 8, "valid": 1, "test": 1}
    assert by_column(values, train_values=("train", slip)) == {"train": 8, "valid": 1, "test": 1}


def test_named_training_values_are_all_there_is():
    values = ["HepG2", "K562", "liver", "valid", "test"]
    assert by_column(values) == {"train": 3, "valid": 1, "test": 1}  # not names of splits: the rest trains
    with pytest.raises(InputError, match=r"1 row has a value that makes no split \('liver' 1 times; first row 's2'\)"):
        by_column(values, train_values=("HepG2", "K562"))
    with pytest.raises(InputError, match="data.split.train_values: column 'set', value 'K563' occurs in no row"):
        by_column(values, train_values=("HepG2", "K563", "liver"))


def test_numbered_groups_are_no_slips_but_misspelt_names_are():
    folds = {"valid_values": ("fold_1",), "test_values": ("fold_10",)}
    assert by_column([f"fold_{k}" for k in range(12)], **folds) == {"train": 10, "valid": 1, "test": 1}
    with pytest.raises(
        InputError, match=r"make no split \('Fold_1' 1 times, 'fodl_1' 1 times; .*did you mean 'fold_1'"
    ):
        by_column([*(f"fold_{k}" for k in range(12)), "fodl_1", "Fold_1"], **folds)
    assert by_column(["a", "b", "c", "A"], valid_values=("b",), test_values=("c",)) == {
        "train": 2,
        "valid": 1,
        "test": 1,
    }


def test_given_files_stay_as_they_are():
    train, valid, test = make(300), make(20, 1), make(30, 2)
    splits = divide({"train": train, "test": test}, SplitConfig(valid=0.3, test=0.5))
    assert splits["test"] is test
    assert len(splits["train"]) + len(splits["valid"]) == 300
    assert 60 < len(splits["valid"]) < 120
    files = divide({"test": test, "valid": valid, "train": train}, SplitConfig(name="files"))
    assert list(files) == ["train", "valid", "test"]
    assert files["train"].fingerprint() == train.fingerprint()
    assert list(divide({"train": train}, SplitConfig(name="files"))) == ["train"]
    with pytest.raises(
        InputError, match="'files' expects files under train, valid and perhaps test, found them under 'all'"
    ):
        divide({"all": train}, SplitConfig(name="files"))
    for parts in ({"test": test}, {"train": train, "validation": valid}):
        with pytest.raises(
            InputError, match="the source holds .*: expected 'all', or 'train' and perhaps 'valid', 'test'"
        ):
            divide(parts, SplitConfig())


def leaking() -> dict[str, Dataset]:
    """Train holds a copy of valid row 0, the reverse complement of test row 1; valid holds a copy of test row 2."""
    train, valid, test = make(50, 1), make(20, 2), make(20, 3)
    train.codes[4], train.codes[9] = valid.codes[0], reverse_complement(test.codes[1:2])[0]
    train.codes[5] = train.codes[6]  # twins on one side are nobody's business
    valid.codes[7] = test.codes[2]
    return {"train": train, "valid": valid, "test": test}


def test_copies_on_two_sides_are_refused_with_the_list():
    with pytest.raises(InputError) as e:
        audit(leaking(), SplitConfig())
    assert str(e.value) == (
        "3 sequences occur in two splits, as a copy or reverse complement "
        "('s7' of valid and 's2' of test; 's4' of train and 's0' of valid; 's9' of train and 's1' of test): "
        "expected each on one side. Set data.split.duplicates to drop or group"
    )
    many = leaking()
    many["train"].codes[20:40] = many["test"].codes
    with pytest.raises(InputError, match=r"^23 sequences occur .*, \.\.\. and 18 more\): expected"):
        audit(many, SplitConfig())
    clean = leaking()
    parts = {"train": clean["train"].take(np.arange(10, 50)), "test": clean["test"]}
    assert audit(parts, SplitConfig())[1] == {}


def test_copies_are_dropped_where_they_count_less():
    splits, notes = audit(leaking(), SplitConfig(duplicates="drop"))
    assert notes == {"copies dropped from valid": 1, "copies dropped from train": 2}
    assert list(splits) == ["train", "valid", "test"]
    assert "s4" not in ids(splits["train"])
    assert "s9" not in ids(splits["train"])
    assert "s7" not in ids(splits["valid"])
    assert len(splits["test"]) == 20
    audit(splits, SplitConfig())


def test_copies_are_grouped_where_they_count_most():
    parts = leaking()
    splits, notes = audit(parts, SplitConfig(duplicates="group"))
    assert notes == {"copies moved out of valid": 1, "copies moved out of train": 2}
    assert {k: len(v) for k, v in splits.items()} == {"train": 48, "valid": 20, "test": 22}
    assert splits["test"].ids.tolist()[-2:] == ["s7", "s9"]
    assert splits["valid"].ids.tolist()[-1] == "s4"
    audit(splits, SplitConfig())


def test_a_split_that_is_all_copies_is_refused():
    test = make(5)
    with pytest.raises(InputError, match="split 'train' is empty: every row of it occurs in another split too"):
        audit({"train": test.take(np.arange(3)), "test": test}, SplitConfig(duplicates="drop"))


def naive(a: Regions, b: Regions, gap: int) -> np.ndarray:
    close = (a.start[:, None] < b.end[None] + gap) & (a.end[:, None] + gap > b.start[None])
    return (close & (a.chrom[:, None] == b.chrom[None])).any(1)


@pytest.mark.parametrize("gap", [0, 1, 7])
def test_overlaps_agree_with_trying_all_pairs(gap):
    rng = np.random.default_rng(gap)
    for _ in range(30):
        regions = []
        for n in rng.integers(0, 40, 2):
            start = rng.integers(0, 300, n)
            regions.append(Regions(rng.choice(["chr1", "chr2", "NA"], n), start, start + rng.integers(1, 40, n)))
        np.testing.assert_array_equal(overlapping(*regions, gap), naive(*regions, gap))


def test_touching_windows_do_not_overlap():
    a = located("chr1", [100], [200]).regions
    for start, gap, hit in [(200, 0, False), (199, 0, True), (205, 5, False), (205, 6, True)]:
        assert overlapping(a, located("chr1", [start], [start + 10]).regions, gap).tolist() == [hit]
        assert overlapping(located("chr1", [start], [start + 10]).regions, a, gap).tolist() == [hit]
    with pytest.raises(InputError, match="expected genome coordinates"):
        overlapping(a, located("chr2", [1], [2**61]).regions)


def test_overlaps_between_splits():
    splits = {
        "train": located("chr1", [1000, 5000, 90], [2000, 6000, 110], 1),
        "valid": located("chr2", [1000], [2000], 2),
        "test": located("chr1", [1900, 1950], [2900, 2000], 3),
    }
    with pytest.raises(InputError) as e:
        audit(splits, SplitConfig())
    assert str(e.value).startswith(
        "1 windows of 'train' overlap 'test' (first: chr1:1000-2000 and chr1:1900-2900): expected no shared bases."
    )
    assert audit(splits, SplitConfig(overlaps="ignore")) == (splits, {})
    clean, notes = audit(splits, SplitConfig(overlaps="drop"))
    assert notes == {"windows dropped from train that overlap test": 1}
    assert clean["train"].regions.start.tolist() == [5000, 90]
    with pytest.raises(InputError, match="overlap or lie within 2500 bases of 'test'"):
        audit(clean, SplitConfig(gap=2500))
    bare = {"train": make(5, 1), "test": splits["test"]}
    assert audit(bare, SplitConfig())[1] == {}


def test_fifty_thousand_rows_are_audited_in_about_a_second():
    data = make(50_000, length=100)
    start = time.perf_counter()
    splits = divide({"all": data}, SplitConfig())
    audit(splits, SplitConfig())
    assert time.perf_counter() - start < 10  # about half a second on two idle cores


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"valid": 1.0}, "valid: expected"),
        ({"valid": 0.6, "test": 0.4}, "valid, test: expected shares that leave some rows to train"),
        ({"name": "folds", "folds": 1}, "fold: expected 0 <= fold < folds and at least 2 folds"),
        ({"name": "folds", "fold": 5}, "found fold 5 of 5"),
        ({"name": "column"}, "column: expected with name='column'"),
        ({"column": "x"}, "column: expected with name='column'"),
        ({"name": "chromosome"}, "valid_values, test_values: needed by name='chromosome'"),
        (
            {"name": "chromosome", "valid_values": ("1", "2"), "test_values": ("2",)},
            "expected different values, found 2",
        ),
        ({"gap": -1}, "gap"),
        ({"train_values": ("a",)}, "train_values: expected with name='column' only"),
        (
            {"name": "column", "column": "x", "valid_values": ("a",), "train_values": ("a", "b")},
            "train_values: expected values of no other split, found a in another too",
        ),
        (
            {"name": "column", "column": "x", "valid_values": ("a",), "train_values": ("*", "b")},
            r"train_values: expected values, or '\*' alone",
        ),
    ],
)
def test_settings_that_cannot_work(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        SplitConfig(**fields)
