"""From a config's dictionary to splits: what is returned, what is refused, and what is said about it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.load import check_labels, data_config
from dragon_jax.data.simulation import SimulationSource
from dragon_jax.data.sources import SOURCES, source_class
from dragon_jax.errors import InputError


def table(n: int = 300, seed: int = 0, label=lambda rng: str(rng.randint(0, 1))) -> str:
    rng = random.Random(seed)
    rows = [f"s{i}\t{''.join(rng.choices('ACGT', k=25))}\t{label(rng)}\t{rng.choice('abcd')}\n" for i in range(n)]
    return "id\tsequence\tCTCF\tgroup\n" + "".join(rows)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def raw(train="a.tsv", split=None, negatives=None, **more) -> dict:
    paths = {"all": train} if "test" not in more else {"train": train, "test": more.pop("test")}
    source = {"name": "table", "paths": paths, "id_column": "id", "label_columns": ["CTCF"], **more}
    return {"source": source, "split": split or {}, "negatives": negatives or {}}


def labels(targets, kinds=("binary",)) -> Dataset:
    targets = np.array(targets, np.float32).reshape(-1, len(kinds))
    tasks = tuple(Task(f"t{i}", kind) for i, kind in enumerate(kinds))
    n = len(targets)
    return Dataset(codes=np.zeros((n, 3), np.uint8), targets=targets, tasks=tasks, ids=np.array(["x"] * n))


def test_simulation_needs_nothing():
    config = data_config({"source": {"name": "simulation", "positives": 50, "negatives": 60}})
    assert isinstance(config.source, SimulationSource)
    loaded = config.load(0, ("train", "valid", "test"))
    assert list(loaded.parts) == ["train", "valid", "test"]
    assert sum(map(len, loaded.parts.values())) == 110
    again = config.load(5, ("valid",))
    assert again.parts["valid"].fingerprint() == loaded.parts["valid"].fingerprint()


def test_lists_from_json_become_tuples():
    counts = [[0, 2, 2, 0], [0, 0, 4, 0], [4, 0, 0, 0]]
    source = {"name": "simulation", "counts": counts, "position": [3, 9], "positives": 5, "negatives": 5}
    config = data_config({"source": source})
    assert config.source.position == (3, 9)
    assert config.source.frequencies().shape == (3, 4)


def test_splits_of_a_table_with_shuffled_negatives(folder):
    (folder / "a.tsv").write_text(table(label=lambda rng: "1"))
    (folder / "b.tsv").write_text(table(50, 1))
    config = data_config(raw(test="b.tsv", split={"valid": 0.2}, negatives={"name": "dinucleotide"}))
    loaded = config.load(3)
    assert list(loaded.parts) == ["train", "valid"]
    for part in loaded.parts.values():
        assert part.targets.mean() == 0.5
    made = sum(int((part.targets == 0).sum()) for part in loaded.parts.values())
    assert (made, loaded.notes["shuffled negatives"]) == (300, 300)
    test = config.load(3, ("test",))
    assert len(test.parts["test"]) == 50
    assert "shuffled negatives" not in test.notes
    everything = config.load(3, ("train", "valid", "test"))
    for name in ("train", "valid"):
        assert everything.parts[name].fingerprint() == loaded.parts[name].fingerprint()
    assert config.load(4).parts["train"].fingerprint() != loaded.parts["train"].fingerprint()
    train = loaded.parts["train"]
    assert loaded.summary[0] == (
        f"train: {len(train)} sequences of 25 bp, 1 task, 50.0 % of labels positive, "
        f"{len(train) // 2} shuffled negatives"
    )
    assert loaded.summary[2] == "not returned: test 50 sequences"


def test_split_by_column(folder):
    (folder / "a.tsv").write_text(table())
    split = {"name": "column", "column": "group", "valid_values": ["b"], "test_values": ["c"]}
    loaded = data_config(raw(split=split, label_columns=["*"])).load(0, ("train", "valid", "test"))
    group = {line.split("\t")[0]: line.split("\t")[3] for line in table().splitlines()[1:]}
    for name, values in (("train", {"a", "d"}), ("valid", {"b"}), ("test", {"c"})):
        part = loaded.parts[name]
        assert {group[i] for i in part.ids.tolist()} == values
        assert not part.inputs
        assert part.tasks == (Task("CTCF"),)  # `*` does not take the column of the split
    with pytest.raises(InputError, match="data.split.name: 'column' needs the source 'table', found another"):
        data_config({"source": {"name": "simulation"}, "split": split}).load(0)


def test_leaks_are_refused_over_all_splits(folder):
    (folder / "a.tsv").write_text(table())
    (folder / "b.tsv").write_text(table(40))  # the first forty rows again
    config = data_config(raw(test="b.tsv"))
    with pytest.raises(InputError, match=r"^40 sequences occur in two splits.* \('s\d+' of \w+ and 's\d+' of test"):
        config.load(0, ("train",))
    loaded = data_config(raw(test="b.tsv", split={"duplicates": "drop"})).load(0, ("train", "valid"))
    assert sum(map(len, loaded.parts.values())) == 260
    assert loaded.notes["copies dropped from train"] + loaded.notes["copies dropped from valid"] == 40
    assert any("copies dropped from train" in line for line in loaded.summary)


def test_notes_of_the_reader_reach_the_summary(folder):
    (folder / "a.tsv").write_text(table().replace("A", "a"))
    loaded = data_config(raw()).load(0)
    assert loaded.notes["lower-case bases"] > 0
    assert f"{loaded.notes['lower-case bases']:,} lower-case bases" in loaded.summary


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        (
            lambda rng: "1",
            "task 'CTCF' has no negative in split 'train' .*: expected labels 0 and 1. "
            "Remove it, change the split or set data.negatives.name=dinucleotide",
        ),
        (lambda rng: "0", "task 'CTCF' has no positive in split 'train'"),
        (
            lambda rng: "NA",
            r"task 'CTCF' has no label in split 'train' \(\d+ missing\): expected some. Remove it or change the split",
        ),
    ],
)
def test_splits_that_cannot_serve(folder, label, sentence):
    (folder / "a.tsv").write_text(table(label=label))
    with pytest.raises(InputError, match=sentence):
        data_config(raw()).load(0)


def test_labels_of_train_are_held_to_more_than_those_of_valid():
    nan = np.nan
    check_labels("train", labels([[0], [1], [nan]]))
    check_labels("train", labels([[0.5], [0.5]], ("real",)))
    check_labels(
        "valid", labels([[0, 1], [1, 1], [nan, nan]], ("binary",) * 2)
    )  # one task that can be judged is enough
    check_labels("valid", labels([[1, 0.5]], ("binary", "real")))
    for split, targets, kinds, sentence in [
        ("train", [[0, 1], [1, 1]], ("binary",) * 2, "task 't1' has no negative in split 'train'"),
        ("train", [[0, nan], [1, nan]], ("binary", "real"), r"task 't1' has no label in split 'train' \(2 missing\)"),
        ("train", [[1, 1, 0]], ("binary",) * 3, r"has no negative .* \(1 rows\) \(and 2 other tasks lack a class\)"),
        ("valid", [[1, 1], [1, 1]], ("binary",) * 2, "task 't0' has no negative in split 'valid'"),
        ("test", [[0], [0]], ("binary",), "task 't0' has no positive in split 'test'"),
        ("valid", [[nan]], ("real",), r"no label in split 'valid' \(1 rows\)"),
    ]:
        with pytest.raises(InputError, match=sentence):
            check_labels(split, labels(targets, kinds))


def test_splits_that_do_not_exist(folder):
    (folder / "a.tsv").write_text(table())
    config = data_config(raw(split={"valid": 0.0}))
    with pytest.raises(InputError, match="there is no split 'valid': the source and data.split make train, test only"):
        config.load(0)
    with pytest.raises(InputError, match="split 'vaild': expected one of train, valid, test; did you mean valid?"):
        config.load(0, ("vaild",))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "data.source.name: expected the name of a source, found None"),
        ({"source": {"name": "tabel"}}, "data.source.name: expected one of .* found 'tabel'; did you mean table?"),
        ({"source": {"name": "simulation"}, "splits": {}}, "data.splits: no such field; did you mean data.split?"),
        (
            {"source": {"name": "simulation", "lenght": 3}},
            "data.source.lenght: no such field; did you mean data.source.length?",
        ),
        ({"source": {"name": "simulation", "length": "3"}}, "data.source.length: expected int, found '3'"),
        ({"source": {"name": "simulation", "gc": 2.0}}, "data.source.gc: expected 0 <= x <= 1, found 2.0"),
        (
            {"source": {"name": "table", "paths": {"all": "a"}}},
            "data.source.label_columns: expected the columns to learn",
        ),
        ({"source": {"name": "simulation"}, "split": {"name": "random"}}, "data.split.name: expected 'hash' or"),
        ({"source": {"name": "simulation"}, "negatives": {"per_positive": 0}}, "data.negatives.per_positive"),
    ],
)
def test_configs_that_cannot_work(config, sentence):
    with pytest.raises(InputError, match=sentence):
        data_config(config)


def test_every_source_of_the_table_exists():
    for name in SOURCES:
        cls = source_class(name)
        assert callable(getattr(cls, "load_parts", None) or cls.open)


def test_an_encode_experiment(dragon_data):
    prefix = "deepbind_encode/ELK1_GM12878_ELK1_(1277-1)_Stanford"
    source = {
        "name": "table",
        "paths": {"train": str(dragon_data(f"{prefix}_AC.seq.gz")), "test": str(dragon_data(f"{prefix}_B.seq.gz"))},
        "sequence_column": "seq",
        "id_column": "EventID",
        "label_columns": ("Bound",),
    }
    loaded = data_config({"source": source, "negatives": {"name": "dinucleotide"}}).load(0, ("train", "valid", "test"))
    sizes = {name: len(part) for name, part in loaded.parts.items()}
    assert sizes["train"] + sizes["valid"] == 2 * 5084
    assert 800 < sizes["valid"] < 1250
    assert sizes["test"] == 1000
    assert all(part.targets.mean() == 0.5 for part in loaded.parts.values())
