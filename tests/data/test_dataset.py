"""The one table: rows stay together, parts agree, and the fingerprint sees what a model sees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dragon_jax.data.dataset import Dataset, Regions, Task, concatenate
from dragon_jax.errors import InputError


def make(n: int = 6, seed: int = 0, **changes) -> Dataset:
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 1000, n)
    fields = {
        "codes": rng.integers(0, 5, (n, 8)).astype(np.uint8),
        "targets": np.where(rng.random((n, 2)) < 0.2, np.nan, rng.integers(0, 2, (n, 2))).astype(np.float32),
        "tasks": (Task("CTCF"), Task("signal", "real")),
        "ids": np.array([f"s{i}" for i in range(n)]),
        "regions": Regions(np.array(["NA"] * n), start, start + 8),
        "inputs": {"atac": rng.random((n, 8)).astype(np.float32)},
        "weights": rng.random(n).astype(np.float32),
        "notes": {"dropped": 2},
    }
    return Dataset(**(fields | changes))


def test_take_keeps_rows_together():
    data = make()
    for rows in (np.array([4, 0, 4]), np.array([True, False, True, False, False, True])):
        part = data.take(rows)
        index = np.arange(6)[rows]
        assert len(part) == 3
        np.testing.assert_array_equal(part.ids, [f"s{i}" for i in index])
        np.testing.assert_array_equal(part.codes, data.codes[index])
        np.testing.assert_array_equal(part.targets, data.targets[index])
        np.testing.assert_array_equal(part.inputs["atac"], data.inputs["atac"][index])
        np.testing.assert_array_equal(part.weights, data.weights[index])
        np.testing.assert_array_equal(part.regions.start, data.regions.start[index])
        np.testing.assert_array_equal(part.regions.end, data.regions.end[index])
    assert data.length == 8


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"targets": np.zeros((5, 2), np.float32)}, "6 sequences but 5 targets"),
        ({"ids": np.array(["a"])}, "6 sequences but 1 ids"),
        ({"weights": np.ones(7, np.float32)}, "6 sequences but 7 weights"),
        ({"inputs": {"x": np.ones(3)}}, "6 sequences but 3 x"),
        ({"codes": np.zeros((6, 8), np.int64)}, "codes must be uint8"),
        ({"targets": np.zeros((6, 2))}, r"targets must be float32 \[N, 2\], found float64"),
        ({"targets": np.zeros((6, 3), np.float32)}, r"found float32 \(6, 3\)"),
        ({"tasks": (Task("a"), Task("a"))}, "task names must be non-empty and unique, found a, a"),
        ({"tasks": (Task("a"), Task(""))}, "task names must be non-empty"),
    ],
)
def test_columns_that_do_not_fit_are_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        make(**changes)


def test_fingerprint_sees_what_a_model_sees_and_nothing_else():
    data = make()
    same = dataclasses.replace(data, ids=np.array(["x"] * 6), regions=None, notes={})
    assert same.fingerprint() == data.fingerprint()
    codes, targets = data.codes.copy(), data.targets.copy()
    codes[3, 3] = (codes[3, 3] + 1) % 5
    targets[0, 1] = 0.5
    others = [
        dataclasses.replace(data, codes=codes),
        dataclasses.replace(data, targets=targets),
        dataclasses.replace(data, tasks=(Task("CTCF"), Task("signal", "count"))),
        dataclasses.replace(data, weights=None),
        dataclasses.replace(data, inputs={}),
        dataclasses.replace(data, inputs={"other": data.inputs["atac"]}),
        data.take(np.array([1, 0, 2, 3, 4, 5])),
        data.take(np.arange(5)),
    ]
    prints = {d.fingerprint() for d in [data, *others]}
    assert len(prints) == 1 + len(others)


def test_concatenate_undoes_a_cut():
    data = make()
    cut = [data.take(np.arange(2)), data.take(np.arange(2, 6))]
    joined = concatenate(cut)
    assert joined.fingerprint() == data.fingerprint()
    np.testing.assert_array_equal(joined.regions.chrom, data.regions.chrom)
    np.testing.assert_array_equal(joined.ids, data.ids)
    assert joined.notes == {"dropped": 4}  # notes of the parts add up
    assert concatenate([data, dataclasses.replace(data, regions=None)]).regions is None


def test_concatenate_refuses_parts_that_differ():
    data = make()
    with pytest.raises(InputError, match="sequences of 8 and 7 bases in one data set"):
        concatenate([data, dataclasses.replace(data, codes=data.codes[:, :7])])
    with pytest.raises(InputError, match="different tasks or inputs"):
        concatenate([data, dataclasses.replace(data, tasks=(Task("CTCF"), Task("other", "real")))])
    with pytest.raises(InputError, match="different tasks or inputs"):
        concatenate([data, dataclasses.replace(data, inputs={})])
