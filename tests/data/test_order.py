"""Order of rows: exact coverage, random access, shares that hold over time."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

from dragon_jax.data.order import BatchOrder, eval_batches, permutation
from dragon_jax.errors import InputError


@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (7, 3), (64, 64), (10, 4), (5, 23), (3, 64), (1000, 128)])
def test_every_row_comes_exactly_once_per_epoch(n, batch_size):
    order = BatchOrder(n=n, batch_size=batch_size, seed=3)
    epochs = max(3, 2 * batch_size // n)
    steps = -(-epochs * n // batch_size)
    stream = np.concatenate([order.rows(step) for step in range(steps)])
    assert stream.dtype == np.int64
    for epoch in range(epochs):
        np.testing.assert_array_equal(np.sort(stream[epoch * n : (epoch + 1) * n]), np.arange(n))
    if n >= 64:
        assert not np.array_equal(stream[:n], stream[n : 2 * n]), "two epochs in the same order"


@pytest.mark.parametrize("shares", [None, {0: 1, 1: 3}])
def test_a_step_does_not_depend_on_what_was_asked_before(shares):
    groups = None if shares is None else (np.arange(97) % 5 == 0).astype(int)

    def fresh():
        return BatchOrder(n=97, batch_size=16, seed=11, groups=groups, shares=shares)

    order = fresh()
    straight = {step: order.rows(step) for step in range(60)}
    backwards = fresh()
    for step in reversed(range(60)):
        np.testing.assert_array_equal(backwards.rows(step), straight[step])
    for step in (0, 17, 59):  # as after a restart
        np.testing.assert_array_equal(fresh().rows(step), straight[step])


def test_seeds_epochs_and_groups_have_their_own_permutations():
    seen = {tuple(permutation(50, *key)) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**64 - 1, 0, 0)]}
    assert len(seen) == 5
    np.testing.assert_array_equal(permutation(8, 0), permutation(8, 0))


def test_the_permutation_is_pinned():
    """A change here would break the restart of runs of earlier versions."""
    np.testing.assert_array_equal(permutation(10, 42, 1, 7), [9, 4, 1, 3, 6, 2, 7, 5, 8, 0])


def test_permutations_are_uniform():
    counts = np.zeros((4, 4), int)
    for epoch in range(4000):
        counts[np.arange(4), permutation(4, 5, 0, epoch)] += 1
    assert np.abs(counts - 1000).max() < 150  # 5.5 standard deviations of a binomial count


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64, 300])
@pytest.mark.parametrize("shares", [{0: 0.5, 1: 0.5}, {0: 0.9, 1: 0.1}, {0: 2, 1: 1}, {0: 1e-9, 1: 2e-9}])
def test_two_groups_keep_their_shares_in_every_batch_and_over_time(batch_size, shares):
    groups = (np.arange(50) < 5).astype(np.int32)
    order = BatchOrder(n=50, batch_size=batch_size, seed=0, groups=groups, shares=shares)
    expected = shares[1] / sum(shares.values())
    drawn = 0
    for step in range(200):
        rows = order.rows(step)
        mine = int(groups[rows].sum())
        assert abs(mine - expected * batch_size) < 1 + 1e-9
        drawn += mine
        assert abs(drawn - expected * batch_size * (step + 1)) < 1 + 1e-6


def test_each_group_cycles_through_all_its_rows():
    labels = np.repeat([7, -2, 3], [4, 30, 11])
    order = BatchOrder(n=45, batch_size=10, seed=1, groups=labels)  # no shares: equal
    stream = np.concatenate([order.rows(step) for step in range(300)])
    for label in (7, -2, 3):
        members = np.flatnonzero(labels == label)
        mine = stream[labels[stream] == label]
        assert abs(len(mine) - 1000) <= 2
        for epoch in range(len(mine) // len(members)):
            np.testing.assert_array_equal(np.sort(mine[epoch * len(members) : (epoch + 1) * len(members)]), members)


def test_many_groups_stay_close_to_their_shares_forever():
    labels = np.arange(40) % 8
    shares = {g: float(g) for g in range(8)}  # group 0 is never drawn
    order = BatchOrder(n=40, batch_size=13, seed=1, groups=labels, shares=shares)
    counts = np.zeros(8)
    for step in range(500):
        counts += np.bincount(labels[order.rows(step)], minlength=8)
    np.testing.assert_allclose(counts, 500 * 13 * np.arange(8) / 28, atol=8)
    assert counts[0] == 0
    late = np.bincount(labels[order.rows(10**12)], minlength=8)  # far steps cost nothing and do not overflow
    np.testing.assert_allclose(late, 13 * np.arange(8) / 28, atol=3)


def test_epoch_and_steps_per_epoch():
    order = BatchOrder(n=10, batch_size=4, seed=0)
    assert (order.steps_per_epoch, order.epoch(0), order.epoch(5)) == (3, 0.0, 2.0)


def test_threads_get_the_same_rows():
    order, reference = (BatchOrder(n=501, batch_size=32, seed=2) for _ in range(2))
    found: dict[int, np.ndarray] = {}

    def ask(first):
        for step in range(first, 120, 4):
            found[step] = order.rows(step)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for step in range(120):
        np.testing.assert_array_equal(found[step], reference.rows(step))


def test_few_permutations_are_kept():
    order = BatchOrder(n=100, batch_size=100, seed=0)
    for step in range(50):
        order.rows(step)
    assert len(order._cache) <= 4


def test_an_order_travels_to_another_process():
    order = BatchOrder(n=20, batch_size=6, seed=9, groups=np.arange(20) % 2)
    order.rows(0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(order)).rows(5), order.rows(5))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"groups": np.zeros(4, int), "shares": {0: 0.5, 1: 0.5}},
            "class 1 is to fill a share of every batch but has no row",
        ),
        ({"groups": np.arange(4), "shares": {0: 1}}, "class 1, 2, 3 has rows but no share"),
        ({"groups": np.arange(4) % 2, "shares": {0: float("nan"), 1: 1}}, "0 or more, found 0: nan"),
        ({"groups": np.arange(4) % 2, "shares": {0: 0, 1: 0}}, "at least one above 0"),
        ({"groups": np.arange(4) % 2, "shares": {0: 1e-9, 1: 1}}, "too far apart"),
        ({"n": 0}, "no row"),
    ],
)
def test_impossible_orders_are_refused(arguments, text):
    with pytest.raises(InputError, match=text):
        BatchOrder(**{"n": 4, "batch_size": 2, "seed": 0, **arguments})


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"seed": -1}, {"seed": 2**64}, {"shares": {0: 1}}])
def test_arguments_out_of_range_raise(wrong):
    with pytest.raises(ValueError, match="expected|is not in|without groups"):
        BatchOrder(**{"n": 4, "batch_size": 2, "seed": 0, **wrong})
    with pytest.raises(ValueError, match="step=-1"):
        BatchOrder(n=4, batch_size=2, seed=0).rows(-1)


@pytest.mark.parametrize(("n", "batch_size"), [(0, 4), (1, 4), (8, 4), (9, 4)])
def test_eval_batches_cover_all_rows_in_order(n, batch_size):
    parts = list(eval_batches(n, batch_size))
    assert all(len(rows) == len(valid) == batch_size and rows.max() < n for rows, valid in parts)
    kept = np.concatenate([rows[valid] for rows, valid in parts]) if parts else np.arange(0)
    np.testing.assert_array_equal(kept, np.arange(n))
    assert len(parts) == -(-n // batch_size)
