"""Shuffled negatives: made where there are none, labelled 0, never a sequence that is there already."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from dragon_jax.data.dataset import Dataset, Regions, Task
from dragon_jax.data.negatives import NegativesConfig, add_negatives, positives_only
from dragon_jax.dna import encode_many


def positives(n: int = 40, seed: int = 0, **changes) -> Dataset:
    rng = np.random.default_rng(seed)
    start = np.arange(n) * 1000
    fields = {
        "codes": rng.integers(0, 4, (n, 60)).astype(np.uint8),
        "targets": np.ones((n, 1), np.float32),
        "tasks": (Task("CTCF"),),
        "ids": np.array([f"p{i}" for i in range(n)]),
        "regions": Regions(np.array(["chr1"] * n), start, start + 60),
        "inputs": {"dose": rng.random((n, 2)).astype(np.float32)},
        "weights": rng.random(n).astype(np.float32),
        "notes": {"unknown bases": 3},
    }
    return Dataset(**(fields | changes))


def dinucleotides(row: np.ndarray) -> Counter:
    return Counter(zip(row[:-1].tolist(), row[1:].tolist(), strict=True))


def test_every_positive_gets_its_shuffles():
    data = positives()
    config = NegativesConfig(name="dinucleotide", per_positive=2)
    splits, made = add_negatives({"train": data}, config, 5)
    full = splits["train"]
    assert made == {"train": {"shuffled negatives": 80}}
    assert len(full) == 120
    assert full.targets[:, 0].tolist() == [1] * 40 + [0] * 80
    assert full.ids.tolist() == [
        *data.ids,
        *(f"p{i}_shuffle1" for i in range(40)),
        *(f"p{i}_shuffle2" for i in range(40)),
    ]
    assert full.notes == data.notes
    for copy in (1, 2):
        rows = np.arange(40) + 40 * copy
        for parent, child in zip(data.codes, full.codes[rows], strict=True):
            assert dinucleotides(parent) == dinucleotides(child)
        np.testing.assert_array_equal(full.weights[rows], data.weights)
        np.testing.assert_array_equal(full.inputs["dose"][rows], data.inputs["dose"])
        np.testing.assert_array_equal(full.regions.start[rows], data.regions.start)
    assert (full.codes[40:80] != full.codes[80:]).any(1).all()


def test_only_splits_without_negatives_get_some():
    both = positives(seed=1, targets=np.tile(np.array([[1], [0]], np.float32), (20, 1)))
    splits = {"train": positives(), "valid": positives(10, 2), "test": both}
    result, made = add_negatives(splits, NegativesConfig(name="dinucleotide"), 0)
    assert [len(result[s]) for s in ("train", "valid", "test")] == [80, 20, 40]
    assert made["test"] == {}
    assert result["test"] is both
    result, _ = add_negatives(splits, NegativesConfig(name="dinucleotide", splits=("valid",)), 0)
    assert [len(result[s]) for s in ("train", "valid", "test")] == [40, 20, 40]
    assert add_negatives(splits, NegativesConfig(), 0)[0] is splits


def test_shuffles_depend_on_seed_and_split_alone():
    config = NegativesConfig(name="dinucleotide")
    splits = {"train": positives(), "valid": positives(10, 2)}
    a, b = (add_negatives(splits, config, 3)[0] for _ in range(2))
    assert a["train"].fingerprint() == b["train"].fingerprint()
    alone = add_negatives({"train": splits["train"]}, config, 3)[0]
    assert alone["train"].fingerprint() == a["train"].fingerprint()
    other = add_negatives(splits, config, 4)[0]
    assert other["train"].fingerprint() != a["train"].fingerprint()
    fixed = dataclasses.replace(config, seed=3)
    assert add_negatives(splits, fixed, 99)[0]["train"].fingerprint() == a["train"].fingerprint()
    twins, _ = add_negatives({"train": positives(), "valid": positives()}, config, 3)
    assert (twins["train"].codes[40:] != twins["valid"].codes[40:]).any()


def test_shuffles_that_are_there_already_are_left_out():
    codes = encode_many(["A" * 12, "T" * 12, "ACACACACACAC", "AACAGATACGTA"])
    data = positives(4).take(np.arange(4))
    data = dataclasses.replace(data, codes=codes)
    splits, made = add_negatives({"train": data}, NegativesConfig(name="dinucleotide"), 0)
    assert made["train"] == {"shuffled negatives": 1, "shuffles left out because they equal a sequence": 3}
    assert splits["train"].ids.tolist() == ["p0", "p1", "p2", "p3", "p3_shuffle1"]


def test_no_shuffle_stands_in_two_splits():
    only = dataclasses.replace(positives(1), codes=encode_many(["AACA"]))  # the one other order is ACAA
    made = []
    for seed in range(12):
        splits, _ = add_negatives({"train": only, "valid": only}, NegativesConfig(name="dinucleotide"), seed)
        made.append((len(splits["train"]) - 1, len(splits["valid"]) - 1))
    assert set(made) == {(0, 0), (1, 0), (0, 1)}


def test_other_kinds_of_tasks_are_not_measured_on_shuffles():
    tasks = (Task("a"), Task("b"), Task("signal", "real"), Task("reads", "count"))
    targets = np.array([[1, 1, 0.5, 3], [1, np.nan, -2, 0]], np.float32)
    data = dataclasses.replace(positives(2), targets=targets, tasks=tasks)
    full = add_negatives({"train": data}, NegativesConfig(name="dinucleotide"), 0)[0]["train"]
    expected = np.array([[0, 0, np.nan, np.nan], [0, np.nan, np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(full.targets[2:], expected)


def test_what_has_positives_only():
    assert positives_only(positives())
    for targets in ([[0.0]], [[np.nan]]):
        assert not positives_only(positives(1, targets=np.array(targets, np.float32)))
    assert not positives_only(positives(1, tasks=(Task("signal", "real"),)))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"per_positive": 0}, "per_positive"),
        ({"splits": ("trian",)}, "splits: expected some of"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_cannot_work(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        NegativesConfig(**fields)
