"""The extra task that tells training sequences from their shuffles."""

import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.data.contrast import add_contrast
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.load import data_config
from dragon_jax.errors import InputError


def dataset(n, seed, tasks=("a",)):
    rng = np.random.default_rng(seed)
    return Dataset(
        codes=rng.integers(0, 4, (n, 60)).astype(np.uint8),
        targets=rng.integers(0, 2, (n, len(tasks))).astype(np.float32),
        tasks=tuple(map(Task, tasks)),
        ids=np.array([f"s{i}" for i in range(n)]),
        notes={"kept": 1},
    )


def test_train_gets_shuffles_and_the_other_splits_an_empty_column():
    splits = {"train": dataset(10, 0), "valid": dataset(4, 1)}
    result = add_contrast(splits, 2, 5)
    train, valid = result["train"], result["valid"]
    assert [t.name for t in train.tasks] == ["a", "contrast"] == [t.name for t in valid.tasks]
    np.testing.assert_array_equal(train.codes[:10], splits["train"].codes)
    np.testing.assert_array_equal(train.targets[:10], np.c_[splits["train"].targets, np.ones(10)])
    assert np.isnan(train.targets[10:, 0]).all() and (train.targets[10:, 1] == 0).all() and len(train) == 30
    for copy in (train.codes[10:20], train.codes[20:]):
        np.testing.assert_array_equal(
            dna.kmer_counts(copy, 2, canonical=False), dna.kmer_counts(splits["train"].codes, 2, canonical=False)
        )
        assert (copy != splits["train"].codes).any(1).all()
    assert (train.codes[10:20] != train.codes[20:]).any()
    assert len(valid) == 4 and np.isnan(valid.targets[:, 1]).all()
    assert train.notes == {"kept": 1} and len(set(train.ids.tolist())) == 30


def test_it_is_a_function_of_the_seed():
    splits = {"train": dataset(6, 0)}
    first, again, other = (add_contrast(splits, 1, seed)["train"].codes for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_task_of_this_name_is_refused():
    with pytest.raises(InputError, match="a task is called 'contrast' already"):
        add_contrast({"train": dataset(4, 0, ("contrast",))}, 1, 0)


def test_a_config_asks_for_it():
    source = {"name": "simulation", "positives": 60, "negatives": 60}
    loaded = data_config({"source": source, "negatives": {"contrast": 1}}).load(0)
    train, valid = loaded.parts["train"], loaded.parts["valid"]
    assert int((train.targets[:, 1] == 0).sum()) == len(train) // 2
    assert loaded.notes["shuffles for the task 'contrast'"] == len(train) // 2
    assert np.isnan(valid.targets[:, 1]).all() and not np.isnan(valid.targets[:, 0]).any()
