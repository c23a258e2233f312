"""Filters that start at motifs of the training set."""

import dataclasses

import jax
import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError
from dragon_jax.models.registry import MODELS, make_model, model_config
from dragon_jax.training.losses import task_statistics
from dragon_jax.training.motif_start import describe, find_starts, get_kernel, start_kernel, with_kernel
from dragon_jax.training.trainer import Trainer, example
from tests.models.small import SMALL
from tests.training.test_trainer import spec

WORDS = {"a": "GATTACAGG", "b": "CCGTATTCG"}


def data(n=600, kinds=("binary", "binary"), seed=0, noise=0.0):
    """Sequences of 60 bases in which each task's word stands where its value is high."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, 60)).astype(np.uint8)
    targets = np.zeros((n, len(kinds)), np.float32)
    for i, (kind, word) in enumerate(zip(kinds, WORDS.values(), strict=False)):
        holds = rng.random(n) < 0.5
        at = rng.integers(5 + 25 * i, 20 + 25 * i, n)
        for row in np.flatnonzero(holds):
            codes[row, at[row] : at[row] + len(word)] = dna.encode(word)
        flipped = holds ^ (rng.random(n) < noise)
        targets[:, i] = flipped if kind == "binary" else 3 * flipped + rng.random(n)
    targets[rng.random(targets.shape) < 0.1] = np.nan
    tasks = tuple(Task(name, kind) for name, kind in zip(WORDS, kinds, strict=False))
    return Dataset(codes=codes, targets=targets, tasks=tasks, ids=np.array([f"s{i}" for i in range(n)]))


def is_of(motif, task):
    """Whether the matrix spells the middle of the task's word on either strand."""
    letters = motif.log_odds.argmax(1).astype(np.uint8)
    return any(WORDS[task][1:-1] in dna.decode(strand) for strand in (letters, dna.reverse_complement(letters)))


@pytest.mark.parametrize("kinds", [("binary", "binary"), ("real", "binary"), ("count", "real")])
def test_every_task_gets_its_own_motif(kinds):
    found = find_starts(data(kinds=kinds), 4, 12, 0)
    first = {}
    for task, motif in found:
        first.setdefault(task, motif)
    assert set(first) == set(WORDS) and all(is_of(motif, task) for task, motif in first.items())
    assert describe(found, 8).startswith(f"{len(found)} of 8 filters start at motifs")


def test_labels_that_are_not_measured_do_not_count():
    whole = data(kinds=("binary",))
    targets = np.where(np.isnan(whole.targets), np.nan, 0).astype(np.float32)
    targets[:5] = 1
    assert find_starts(dataclasses.replace(whole, targets=np.full_like(targets, np.nan)), 4, 12, 0) == []
    assert "all filters start at random" in describe([], 8)


def test_two_tasks_with_one_motif_do_not_start_two_filters_at_it():
    one = data(kinds=("binary",))
    both = dataclasses.replace(one, targets=np.repeat(one.targets, 2, 1), tasks=(Task("a"), Task("again")), ids=one.ids)
    assert [task for task, _ in find_starts(both, 6, 12, 0)].count("again") == 0


def test_a_filter_at_a_motif_answers_most_to_its_word_and_is_as_long_as_others():
    _, motif = find_starts(data(kinds=("binary",)), 1, 12, 0)[0]
    random = np.random.default_rng(0).normal(0, 0.15, (12, 4, 6)).astype(np.float32)
    before = random.copy()
    kernel = start_kernel(random, [motif])
    np.testing.assert_array_equal(random, before)
    np.testing.assert_array_equal(kernel[:, :, 1:], random[:, :, 1:])
    typical = np.sqrt((random**2).sum((0, 1)).mean())
    assert 0.6 * typical < np.linalg.norm(kernel[:, :, 0]) < 1.4 * typical
    site = motif.log_odds.argmax(1)
    answer = kernel[np.arange(12), site, 0].sum()
    others = np.random.default_rng(1).integers(0, 4, (2000, 12))
    assert answer > kernel[np.arange(12), others, 0].sum(1).max()


@pytest.mark.parametrize("name", [n for n in MODELS if n != "dense"])
def test_every_network_with_a_convolution_says_where_its_first_kernel_is(name):
    train = data(8)
    model = make_model(model_config({"name": name, **SMALL.get(name, {})}), 2)
    params = model.init(jax.random.key(0), example(train), train=False)["params"]
    path = model.config.first_kernel
    kernel = get_kernel(params, path)
    assert kernel.ndim == 3 and kernel.shape[1] == 4
    changed = with_kernel(params, path, np.zeros_like(kernel))
    assert not get_kernel(changed, path).any() and get_kernel(params, path).any()
    assert jax.tree.structure(changed) == jax.tree.structure(params)


def trainer(folder, share, name="hybrid", **train):
    config = {"hybrid": {"filters": 8, "width": 10, "words": (), "dense": ()}, "dense": {"widths": (4,)}}[name]
    model = make_model(model_config({"name": name, **config}), 2)
    parts = data(600, noise=0.1), data(200, seed=5)
    stats = task_statistics(parts[0].targets, parts[0].tasks)
    return Trainer(spec(motif_start=share, monitor="auroc", **train), model, *parts, stats, folder, quiet=True)


def test_a_network_with_motif_starts_knows_more_after_a_few_steps(tmp_path):
    values = {s: trainer(tmp_path / str(s), s, steps=12, eval_every=12).run().best_value for s in (0.0, 0.5)}
    assert values[0.5] > values[0.0] + 0.1 and values[0.5] > 0.85


def test_a_network_without_convolution_refuses(tmp_path):
    with pytest.raises(InputError, match="train.motif_start: expected 0 for model.name 'dense'"):
        trainer(tmp_path, 0.5, "dense", steps=2).run()
