"""Near-duplicates between splits: counted, refused, dropped or moved with their family; and splits by place."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dragon_jax.data.chromosomes import SCHEMES, balanced_folds
from dragon_jax.data.dataset import Dataset, Regions, Task
from dragon_jax.data.load import data_config
from dragon_jax.data.splits import SplitConfig, audit, divide
from dragon_jax.dna import decode_many, reverse_complement
from dragon_jax.errors import InputError


def make(n: int, seed: int, length: int = 200, **changes) -> Dataset:
    rng = np.random.default_rng(seed)
    fields = {
        "codes": rng.integers(0, 4, (n, length)).astype(np.uint8),
        "targets": rng.integers(0, 2, (n, 1)).astype(np.float32),
        "tasks": (Task("CTCF"),),
        "ids": np.array([f"{'abcdef'[seed]}{i}" for i in range(n)]),
    }
    return Dataset(**(fields | changes))


def like(row: np.ndarray, bases: int, seed: int = 0, length: int = 200) -> np.ndarray:
    row = row.copy()
    at = np.random.default_rng(seed).choice(length, bases, replace=False)
    row[at] ^= 1
    return reverse_complement(row[None])[0] if seed % 2 else row


def leaking() -> dict[str, Dataset]:
    """b is train, c valid, d test: b3 is like c4, b5 like d6, b7 like b5, c8 like d9."""
    splits = {"train": make(40, 1), "valid": make(20, 2), "test": make(20, 3)}
    train, valid, test = (splits[name].codes for name in splits)
    train[3], train[5], valid[8] = like(valid[4], 10, 1), like(test[6], 9, 2), like(test[9], 8, 3)
    train[7] = like(train[5], 14, 4)
    train[20] = like(train[21], 3)  # relatives on one side are nobody's business
    return splits


def ids(data: Dataset) -> set[str]:
    return set(data.ids.tolist())


def test_they_are_let_be_unless_something_is_asked():
    assert audit(leaking(), SplitConfig())[1] == {}


def test_they_are_counted():
    given = leaking()
    splits, notes = audit(given, SplitConfig(near_duplicates="report"))
    assert splits == given
    assert notes == {
        "sequences of valid with a near-duplicate in test": 1,
        "sequences of test with a near-duplicate in valid": 1,
        "sequences of train with a near-duplicate in test": 1,
        "sequences of test with a near-duplicate in train": 1,
        "sequences of train with a near-duplicate in valid": 1,
        "sequences of valid with a near-duplicate in train": 1,
    }
    wider = audit(leaking(), SplitConfig(near_duplicates="report", similarity=0.85))[1]
    assert wider["sequences of train with a near-duplicate in test"] == 2  # b7 differs from d6 in up to 23 bases
    assert audit(leaking(), SplitConfig(near_duplicates="report", similarity=0.99))[1] == {}


def test_they_are_refused_with_the_list():
    with pytest.raises(InputError) as e:
        audit(leaking(), SplitConfig(near_duplicates="refuse"))
    assert str(e.value) == (
        "3 sequences have a near-duplicate, at least 90 % alike, in a more protected split "
        "('c8' of valid and 'd9' of test (96 % alike); 'b3' of train and 'c4' of valid (95 % alike); "
        "'b5' of train and 'd6' of test (96 % alike)): expected each family on one side. "
        "Set data.split.near_duplicates to drop, group or report"
    )


def test_they_are_dropped_where_they_count_less():
    splits, notes = audit(leaking(), SplitConfig(near_duplicates="drop"))
    assert notes == {"near-duplicates dropped from valid": 1, "near-duplicates dropped from train": 2}
    assert {k: len(v) for k, v in splits.items()} == {"train": 38, "valid": 19, "test": 20}
    assert not ids(splits["train"]) & {"b3", "b5"}
    assert "b7" in ids(splits["train"])  # it is like b5 only
    assert audit(splits, SplitConfig(near_duplicates="refuse"))[1] == {}


def test_families_move_as_a_whole():
    splits, notes = audit(leaking(), SplitConfig(near_duplicates="group"))
    assert notes == {"near-duplicates moved out of valid": 1, "near-duplicates moved out of train": 3}
    assert splits["test"].ids.tolist()[-3:] == ["c8", "b5", "b7"]
    assert splits["valid"].ids.tolist()[-1] == "b3"
    assert audit(splits, SplitConfig(near_duplicates="refuse"))[1] == {}


def test_a_table_of_families_is_believed(tmp_path):
    path = tmp_path / "families.tsv"
    path.write_text("id\tgroup\nb1\tx\nd1\tx\nc2\tx\nb2\ty\nb3\ty\n")
    with pytest.raises(
        InputError, match=r"2 sequences belong to a family of .* \('c2' of valid and 'd1' of test; 'b1' of"
    ):
        audit(leaking(), SplitConfig(near_duplicates="refuse", homology_table=str(path)))
    splits, notes = audit(leaking(), SplitConfig(near_duplicates="drop", homology_table=str(path)))
    assert notes == {"near-duplicates dropped from valid": 1, "near-duplicates dropped from train": 1}
    assert not ids(splits["train"]) & {"b1"}
    splits, _ = audit(leaking(), SplitConfig(near_duplicates="group", homology_table=str(path)))
    assert splits["test"].ids.tolist()[-2:] == ["c2", "b1"]
    notes = audit(leaking(), SplitConfig(near_duplicates="report", homology_table=str(path)))[1]
    assert notes["sequences of train with a near-duplicate in valid"] == 1


def test_a_table_by_region(tmp_path):
    path = tmp_path / "families.csv"
    path.write_text("region,group\nchr1:150-160,x\nchr9:120-130,x\n")
    splits = {
        "train": make(2, 1, regions=Regions(np.array(["chr1", "chr1"]), np.array([0, 500]), np.array([200, 700]))),
        "test": make(1, 3, regions=Regions(np.array(["chr9"]), np.array([100]), np.array([300]))),
    }
    dropped, _ = audit(splits, SplitConfig(near_duplicates="drop", homology_table=str(path)))
    assert dropped["train"].ids.tolist() == ["b1"]


def test_moved_windows_are_checked_for_overlaps_again():
    """c0 moves to test, where it overlaps a window of train."""

    def place(chrom, start):
        return Regions(np.array(chrom), np.array(start), np.array(start) + 200)

    test = make(2, 3, regions=place(["chr1", "chr1"], [0, 1000]))
    valid = make(2, 2, regions=place(["chr2", "chr2"], [0, 1000]))
    train = make(2, 1, regions=place(["chr3", "chr3"], [0, 1000]))
    valid.codes[0] = like(test.codes[0], 5)
    valid.regions.chrom[0], valid.regions.start[0], valid.regions.end[0] = "chr3", 400, 600
    train.regions.start[0], train.regions.end[0] = 390, 400  # beside it
    splits = {"train": train, "valid": valid, "test": test}
    assert len(audit(splits, SplitConfig(near_duplicates="group"))[0]["test"]) == 3
    with pytest.raises(InputError, match="1 windows of 'valid' overlap"):
        valid.regions.chrom[1], valid.regions.start[1], valid.regions.end[1] = "chr3", 500, 700
        audit(splits, SplitConfig(near_duplicates="group"))


def test_splits_of_other_lengths_are_compared_too():
    train, test = make(20, 1, 240), make(10, 3, 200)
    train.codes[4, 30:230] = like(test.codes[2], 6, 1)
    splits, notes = audit({"train": train, "test": test}, SplitConfig(near_duplicates="drop"))
    assert notes == {"near-duplicates dropped from train": 1}
    assert "b4" not in ids(splits["train"])


def test_from_the_config_on(tmp_path):
    data = make(300, 0)
    data.codes[150:] = np.array([like(row, 8, i) for i, row in enumerate(data.codes[:150])])
    rows = [
        f"{i}\t{s}\t{int(t)}\n" for i, s, t in zip(data.ids, decode_many(data.codes), data.targets[:, 0], strict=True)
    ]
    path = tmp_path / "t.tsv"
    path.write_text("id\tsequence\tCTCF\n" + "".join(rows))
    source = {"name": "table", "paths": {"all": str(path)}, "id_column": "id", "label_columns": ["CTCF"]}
    split = {"near_duplicates": "group", "similarity": 0.85, "valid": 0.2, "test": 0.2}
    loaded = data_config({"source": source, "split": split}).load(0, ("train", "valid", "test"))
    for part in loaded.parts.values():
        numbers = {int(i[1:]) for i in part.ids}
        assert {n + 150 for n in numbers if n < 150} == {n for n in numbers if n >= 150}
    assert any("near-duplicates moved out of train" in line for line in loaded.summary)
    with pytest.raises(InputError, match="data.split.similarity: expected 0.7 <= x <= 1, found 0.2"):
        data_config({"source": source, "split": {"similarity": 0.2}})
    with pytest.raises(InputError, match="data.split.scheme: expected"):
        data_config({"source": source, "split": {"name": "chromosome_folds", "scheme": "mouse"}})


def placed(chrom, start=None, seed: int = 0, width: int = 30) -> Dataset:
    chrom = np.array(chrom)
    start = np.arange(len(chrom)) * 1000 if start is None else np.array(start)
    return make(len(chrom), seed, width, regions=Regions(chrom, start, start + width))


def test_folds_of_chromosomes_take_turns():
    rng = np.random.default_rng(0)
    data = placed(rng.choice([f"chr{i}" for i in range(1, 13)], 3000, p=np.arange(1, 13) / 78))
    config = SplitConfig(name="chromosome_folds", folds=4)
    held = [divide({"all": data}, dataclasses.replace(config, fold=k)) for k in range(4)]
    assert set().union(*(ids(s["test"]) for s in held)) == ids(data)
    assert sum(len(s["test"]) for s in held) == len(data)
    for k in range(4):
        assert 700 < len(held[k]["test"]) < 800  # balanced by the rows
        assert ids(held[k]["valid"]) == ids(held[(k + 1) % 4]["test"])
        chroms = [set(part.regions.chrom.tolist()) for part in held[k].values()]
        assert not chroms[0] & chroms[1]
        assert not chroms[0] & chroms[2]
        assert not chroms[1] & chroms[2]
    order = rng.permutation(3000)
    assert ids(divide({"all": data.take(order)}, config)["test"]) == ids(held[0]["test"])
    given = divide({"train": data, "test": placed(["chrX"], seed=1)}, config)
    assert ids(given["valid"]) == ids(held[0]["test"])
    sizes = {f"chr{i}": 13 - i for i in range(1, 14)}
    by_size = divide({"all": data}, config, sizes)["test"]
    folds = balanced_folds(sizes, 4)
    assert set(by_size.regions.chrom.tolist()) == {c for c, f in folds.items() if f == 0 and c != "chr13"}


def test_the_human_scheme():
    data = placed([f"chr{c}" for c in [*range(1, 23), "X", "Y"]] * 5)
    for fold in range(5):
        splits = divide({"all": data}, SplitConfig(name="chromosome_folds", scheme="human5", fold=fold))
        for name in ("test", "valid"):
            assert set(splits[name].regions.chrom.tolist()) == set(getattr(SCHEMES["human5"], name)[fold])
        assert sum(map(len, splits.values())) == len(data)
    config = SplitConfig(name="chromosome_folds", scheme="human5")
    with pytest.raises(InputError, match="'human5' makes valid and test, found files for one of them too"):
        divide({"train": data, "test": data}, config)
    with pytest.raises(InputError, match="1 rows lie on chromosomes that scheme 'human5' does not place"):
        divide({"all": placed(["chr1", "chrM"])}, config)


def test_loci_stay_together_whatever_the_order():
    rng = np.random.default_rng(0)
    n = 4000
    data = placed(rng.choice(["chr1", "chr2", "chr3"], n), rng.integers(0, 3_000_000, n))
    config = SplitConfig(name="loci", distance=200, valid=0.2, test=0.1)
    splits = divide({"all": data}, config)
    for name, share in (("valid", 0.2), ("test", 0.1), ("train", 0.7)):
        assert abs(len(splits[name]) / n - share) < 0.04
    audit(splits, dataclasses.replace(config, gap=200, duplicates="drop"))  # no two splits come that close
    assert SplitConfig(gap=200).overlaps == "refuse"
    order = rng.permutation(n)
    for name, part in divide({"all": data.take(order)}, config).items():
        assert ids(part) == ids(splits[name])
    assert ids(divide({"all": data}, dataclasses.replace(config, salt="b"))["test"]) != ids(splits["test"])
    less = divide({"all": data.take(data.regions.chrom != "chr2")}, config)
    assert ids(less["test"]) < ids(splits["test"])
    given = divide({"train": data, "test": placed(["chr9"], seed=1)}, config)
    assert ids(given["valid"]) == ids(splits["valid"])


def test_loci_and_folds_that_cannot_be_made():
    chain = placed(["chr1"] * 50, np.arange(50) * 100)
    with pytest.raises(
        InputError, match=r"the 50 rows make 1 groups of loci at most 500 bases apart, the largest of 50"
    ):
        divide({"all": chain}, SplitConfig(name="loci", distance=500))
    for name in ("loci", "chromosome_folds", "chromosome"):
        with pytest.raises(InputError, match=f"'{name}' needs regions, found none. Name chrom_column"):
            divide({"all": make(10, 0)}, SplitConfig(name=name, valid_values=("chr1",) if name == "chromosome" else ()))
    with pytest.raises(InputError, match=r"5 folds of chromosomes: expected at least 5 chromosomes, found 1 \(chr1\)"):
        divide({"all": chain}, SplitConfig(name="chromosome_folds"))
    with pytest.raises(InputError, match="chromosomes without a size: chr1: expected one of 1, 2"):
        divide({"all": chain}, SplitConfig(name="chromosome_folds"), {"1": 5, "2": 6})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"homology_table": "x.tsv"}, "homology_table: expected with near_duplicates report, refuse, drop or group"),
        ({"scheme": "human5"}, "scheme: expected with name='chromosome_folds' only"),
        ({"name": "chromosome_folds", "scheme": "human5", "folds": 4}, "folds: scheme 'human5' has 5 folds, found 4"),
        ({"name": "chromosome_folds", "fold": 5}, "fold: expected 0 <= fold < folds"),
        ({"distance": -1}, "distance"),
        ({"similarity": 0.69}, "similarity: expected 0.7 <= x <= 1"),
    ],
)
def test_settings_that_cannot_work(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        SplitConfig(**fields)
