"""Paired gains: intervals that hold the truth, blocks that widen them, and the procedure of Benjamini and Hochberg."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from dragon_jax.evaluation.gains import blocks_of, discoveries, paired_gain


def agreement(scores, truth):
    return float(((scores > 0) == (truth > 0)).mean())


def predictions(rng, truth, right, seeds=3):
    return [np.where(rng.random(len(truth)) < right, truth, 1 - truth) - 0.5 for _ in range(seeds)]


def test_a_gain_is_found_with_its_size_and_no_gain_is_none():
    rng = np.random.default_rng(0)
    truth = (rng.random(2000) < 0.3).astype(float)
    blocks = np.arange(2000) // 20
    better, same, base = (predictions(rng, truth, r) for r in (0.85, 0.7, 0.7))
    up = paired_gain(agreement, better, base, truth, blocks)
    assert up.low < 0.15 < up.high and up.low > 0.1 and up.p < 0.01
    down = paired_gain(agreement, base, better, truth, blocks)
    assert (down.gain, down.low, down.high) == pytest.approx((-up.gain, -up.high, -up.low), abs=0.01)
    none = paired_gain(agreement, same, base, truth, blocks)
    assert none.low < 0 < none.high and none.p > 0.05


def test_examples_that_are_copies_count_once_where_blocks_say_so():
    rng = np.random.default_rng(1)
    truth = np.repeat((rng.random(60) < 0.5).astype(float), 30)
    a, b = ([np.repeat(x[0][::30], 30)] for x in (predictions(rng, truth, 0.8, 1), predictions(rng, truth, 0.7, 1)))
    alone = paired_gain(agreement, a, b, truth, np.arange(len(truth)))
    together = paired_gain(agreement, a, b, truth, np.arange(len(truth)) // 30)
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_seeds_that_disagree_widen_the_interval():
    rng = np.random.default_rng(2)
    truth = (rng.random(4000) < 0.5).astype(float)
    blocks = np.arange(4000) // 10
    base = predictions(rng, truth, 0.7, 4)
    steady = predictions(rng, truth, 0.75, 4)
    moody = [predictions(rng, truth, r, 1)[0] for r in (0.6, 0.9, 0.65, 0.85)]
    width = lambda g: g.high - g.low  # noqa: E731
    assert width(paired_gain(agreement, moody, base, truth, blocks)) > 3 * width(
        paired_gain(agreement, steady, base, truth, blocks)
    )


def test_what_is_not_measured_is_left_out_and_nothing_measured_is_undefined():
    rng = np.random.default_rng(3)
    truth = (rng.random(500) < 0.5).astype(float)
    a, b = predictions(rng, truth, 0.9, 2), predictions(rng, truth, 0.6, 2)
    some = truth.copy()
    some[250:] = np.nan
    half = paired_gain(agreement, [x[:250] for x in a], [x[:250] for x in b], truth[:250], np.arange(250))
    assert paired_gain(agreement, a, b, some, np.arange(500)).gain == pytest.approx(half.gain)
    undefined = paired_gain(lambda s, t: np.nan, a, b, truth, np.arange(500), replicates=5)
    assert np.isnan([undefined.gain, undefined.low, undefined.p]).all()


def test_blocks_come_from_the_places_of_the_examples():
    ids = ["chr1:100-200", "chr1:4999999-5000099", "chr1:5000000-5000100", "chr2:100-200", "x", "y"]
    assert blocks_of(ids).tolist()[0] == blocks_of(ids).tolist()[1]
    assert len(set(blocks_of(ids))) == 5


def test_discoveries_are_those_of_benjamini_and_hochberg():
    p = np.random.default_rng(4).random(50) ** 3
    np.testing.assert_array_equal(discoveries(p), false_discovery_control(p) <= 0.05)
    assert discoveries(np.array([np.nan, 0.001])).tolist() == [False, True]
    assert not discoveries(np.array([0.9, 0.8])).any() and not discoveries(np.zeros(0)).any()
