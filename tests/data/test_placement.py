"""Placement: no overlap, nothing outside, and the stated distribution exactly, however crowded a sequence is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dragon_jax.data.placement import Blocks, Counting, Place, arrange
from dragon_jax.errors import InputError

ANYWHERE = (Place(),)


def blocks(rows: int, widths, places=ANYWHERE, place=None) -> Blocks:
    k = len(widths)
    which = np.zeros(k, np.int64) if place is None else np.array(place)
    return Blocks(np.repeat(np.arange(rows), k), np.tile(np.array(widths), rows), np.tile(which, rows), tuple(places))


def arrangements(widths, length, starts):
    """Every way to put blocks at allowed starts without overlap, by brute force."""
    found = []
    for at in itertools.product(*starts):
        spans = sorted((s, s + w) for s, w in zip(at, widths, strict=True))
        if all(a[1] <= b[0] for a, b in itertools.pairwise(spans)):
            found.append(at)
    return found


def frequencies(start: np.ndarray, ways) -> np.ndarray:
    keys = {way: i for i, way in enumerate(ways)}
    return np.bincount([keys[tuple(row)] for row in start.tolist()], minlength=len(ways)) / len(start)


@pytest.mark.parametrize(
    ("widths", "length", "places", "place"),
    [
        ((3, 3), 9, (Place(),), (0, 0)),
        ((2, 3), 8, (Place(),), (0, 0)),
        ((2, 2, 2), 7, (Place(),), (0, 0, 0)),  # one free base: nearly full, rejection alone would hardly end
        ((2, 4), 12, (Place(), Place(name="centre", width=6)), (0, 1)),
        ((2, 2, 3), 12, (Place(), Place(name="outside", width=4)), (1, 1, 0)),
        ((1, 2), 6, (Place(name="window", first=1, last=5), Place(name="start", first=2)), (0, 1)),
    ],
)
def test_uniform_placement_gives_every_arrangement_the_same_probability(widths, length, places, place):
    starts = [np.flatnonzero(places[p].starts(length, w)).tolist() for w, p in zip(widths, place, strict=True)]
    ways = arrangements(widths, length, starts)
    assert len(ways) > 1
    rows = 400 * len(ways)
    start = arrange(blocks(rows, widths, places, place), length, np.random.default_rng(1)).reshape(rows, -1)
    seen = frequencies(start, ways)  # a KeyError here would be an arrangement that must not be
    np.testing.assert_allclose(seen, 1 / len(ways), atol=5 / len(ways) / np.sqrt(400))


def test_counting_alone_has_the_same_distribution():
    """What rejection leaves over is drawn by counting; forced here for every row, with two kinds of block."""
    widths, length = (2, 2, 3), 10
    masks = [Place().starts(length, 2), Place(name="window", first=1, last=9).starts(length, 3)]
    starts = [np.flatnonzero(masks[i]).tolist() for i in (0, 0, 1)]
    ways = arrangements(widths, length, starts)
    drawn = Counting([2, 1], [2, 3], masks, length).draw(300 * len(ways), np.random.default_rng(2))
    np.testing.assert_allclose(frequencies(drawn, ways), 1 / len(ways), atol=5 / len(ways) / np.sqrt(300))


def test_sequential_placement_follows_the_rule_it_states():
    """First block uniform, second uniform over what is left: worked out by hand for two blocks of 3 in 8 bases."""
    widths, length, rows = (3, 3), 8, 60_000
    start = arrange(blocks(rows, widths), length, np.random.default_rng(3), "sequential").reshape(rows, -1)
    expected = {}
    for a in range(6):
        free = [b for b in range(6) if b + 3 <= a or b >= a + 3]
        expected |= {(a, b): 1 / 6 / len(free) for b in free}
    ways = list(expected)
    np.testing.assert_allclose(frequencies(start, ways), list(expected.values()), atol=0.01)
    uniform = arrange(blocks(rows, widths), length, np.random.default_rng(3)).reshape(rows, -1)
    assert abs(frequencies(uniform, ways) - list(expected.values())).max() > 0.02  # the two rules differ here


@pytest.mark.parametrize("placement", ["uniform", "sequential"])
def test_many_blocks_never_overlap_and_stay_inside(placement):
    rng = np.random.default_rng(4)
    counts = rng.integers(0, 8, 3000)
    row = np.repeat(np.arange(3000), counts)
    width = rng.integers(4, 16, len(row))
    start = arrange(Blocks(row, width, np.zeros(len(row), np.int64), (Place(),)), 200, rng, placement)
    assert start.min() >= 0 and (start + width).max() <= 200
    order = np.lexsort((start, row))
    r, s, e = row[order], start[order], (start + width)[order]
    assert (s[1:] >= e[:-1])[r[1:] == r[:-1]].all()


def test_crowded_rows_are_filled_to_the_last_base():
    start = arrange(blocks(50, (10,) * 10), 100, np.random.default_rng(5)).reshape(50, -1)
    assert (np.sort(start, 1) == np.arange(0, 100, 10)).all()
    assert len({tuple(row) for row in start.tolist()}) > 40  # which copy lies where still varies


def test_places():
    inside = np.flatnonzero(Place(name="centre", width=150).starts(1000, 10))
    assert (inside.min(), inside.max()) == (425, 565)
    outside = np.flatnonzero(Place(name="outside", width=150).starts(1000, 10))
    assert (
        outside.max() == 990 and set(range(1000)) - set(outside) >= set(range(416, 575)) and {415, 575} <= set(outside)
    )
    assert np.flatnonzero(Place(name="start", first=7).starts(20, 5)).tolist() == [7]
    assert np.flatnonzero(Place(name="window", first=2, last=8).starts(20, 5)).tolist() == [2, 3]


def test_what_cannot_be_placed_is_refused_and_never_cut():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="cannot hold a block of 30 bases"):
        arrange(blocks(2, (30,)), 20, rng)
    with pytest.raises(InputError, match="the central 8 bases of a sequence of 50 bases cannot hold a block of 9"):
        arrange(blocks(2, (9,), (Place(name="centre", width=8),)), 50, rng)
    with pytest.raises(InputError, match="3 x 10 bases do not fit into sequences of 29 bases"):
        arrange(blocks(2, (10, 10, 10)), 29, rng)
    with pytest.raises(InputError, match="too crowded"):
        arrange(blocks(1, np.arange(1, 31)), 470, rng)
    with pytest.raises(InputError, match="leaves no room for block 3"):
        arrange(blocks(200, (10, 10, 10)), 31, rng, "sequential")
    with pytest.raises(ValueError, match="last: expected more than first=5"):
        Place(name="window", first=5, last=5)


def test_nothing_to_place():
    none = np.zeros(0, np.int64)
    for placement in ("uniform", "sequential"):
        assert len(arrange(Blocks(none, none, none, (Place(),)), 10, np.random.default_rng(0), placement)) == 0
