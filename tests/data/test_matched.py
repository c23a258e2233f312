"""Matched negatives: same split, same composition, none twice, and a refusal that is right when the pool is too small."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from scipy.stats import ks_2samp

from dragon_jax.data.matched import Features, ks_distance, match_windows
from dragon_jax.errors import InputError

SPLITS = np.array(["train", "valid", "test"])


def windows(n: int, mean: float, seed: int, repeats: bool = False) -> Features:
    rng = np.random.default_rng(seed)
    return Features(
        np.clip(rng.normal(mean, 0.06, n), 0, 1),
        rng.choice(SPLITS, n, p=[0.8, 0.1, 0.1]),
        rng.beta(0.5, 0.7, n) if repeats else None,
    )


@pytest.mark.parametrize("bins", ["width", "quantile"])
@pytest.mark.parametrize("ratio", [0.5, 1, 2])
def test_negatives_have_the_composition_of_the_positives(bins, ratio):
    positives, pool = windows(3000, 0.46, 0), windows(150_000, 0.41, 1)
    rows, report = match_windows(positives, pool, ratio, 7, bins=bins, width=0.01, tolerance=0.06)
    assert len(set(rows.tolist())) == len(rows)
    for name in SPLITS.tolist():
        mine, chosen = positives.gc[positives.split == name], pool.take(rows[pool.split[rows] == name])
        assert len(chosen) == int(ratio * len(mine) + 0.5)
        found = report.splits[name]
        assert found["gc"]["ks_chosen"] == pytest.approx(ks_2samp(mine, chosen.gc).statistic)
        assert found["gc"]["ks_chosen"] < 0.09 < 0.25 < found["gc"]["ks_pool"]
        assert abs(chosen.gc.mean() - mine.mean()) < 0.005
        assert sum(found["gc"]["chosen"]) == found["chosen"] == len(chosen)
        assert sum(found["gc"]["positives"]) == len(mine)
    assert json.loads(json.dumps(report.as_dict())) == report.as_dict()
    assert report.lines()[0].startswith(f"test: {report.splits['test']['chosen']:,} negatives for ")


def test_repeats_are_matched_too_when_they_are_given():
    positives, pool = windows(4000, 0.45, 0, True), windows(200_000, 0.43, 1, True)
    rng = np.random.default_rng(2)
    few = Features(positives.gc, positives.split, positives.repeats * (rng.random(4000) < 0.4))  # 60 % without any
    pool = Features(pool.gc, pool.split, pool.repeats * (rng.random(200_000) < 0.8))
    rows, report = match_windows(few, pool, 1, 0)
    found = report.splits["train"]["repeats"]
    assert found["ks_chosen"] < 0.05 < 0.3 < found["ks_pool"]
    chosen = pool.take(rows[pool.split[rows] == "train"])
    assert (chosen.repeats == 0).sum() == (few.repeats[few.split == "train"] == 0).sum()
    np.testing.assert_allclose(found["mean"]["chosen"], found["mean"]["positives"], atol=0.01)
    assert np.histogram(chosen.repeats, found["edges"])[0].tolist() == found["chosen"]
    blind = match_windows(Features(few.gc, few.split), Features(pool.gc, pool.split), 1, 0)[0]
    assert ks_distance(pool.repeats[blind], few.repeats) > 0.3


def test_bins_are_filled_exactly_while_the_pool_lasts():
    positives = Features(np.repeat([0.305, 0.505], [30, 10]), np.full(40, "train"))
    pool = Features(np.repeat([0.305, 0.315, 0.505, 0.905], [100, 50, 100, 100]), np.full(350, "train"))
    rows, report = match_windows(positives, pool, 2, 0, width=0.01)
    assert np.unique(pool.gc[rows], return_counts=True)[1].tolist() == [60, 20]
    assert report.splits["train"]["from_other_bins"] == 0
    short = pool.take(np.r_[0:40, 100:300])  # 40 of the 60 that the first bin wants, 50 in the next bin
    rows, report = match_windows(positives, short, 2, 0, width=0.01, tolerance=0.01)
    assert np.unique(short.gc[rows], return_counts=True)[1].tolist() == [40, 20, 20]
    assert report.splits["train"]["from_other_bins"] == 20


def test_a_choice_is_found_whenever_there_is_one():
    """Bin b can be served by its neighbours, but only if these are served by theirs: a chain."""
    positives = Features(np.array([0.15, 0.25, 0.35]), np.full(3, 0))
    pool = Features(np.array([0.25, 0.35, 0.45]), np.full(3, 0))
    rows, report = match_windows(positives, pool, 1, 0, width=0.1, tolerance=0.1)
    assert rows.tolist() == [0, 1, 2]
    assert report.splits["0"]["from_other_bins"] == 1
    with pytest.raises(InputError, match="too few candidate windows"):
        match_windows(positives, pool, 1, 0, width=0.1, tolerance=0)


def test_against_all_assignments():
    """The number served is the largest matching between positives and candidates within the tolerance."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    rng = np.random.default_rng(0)
    for _ in range(25):
        a, b = rng.integers(0, 12, 20), rng.integers(0, 20, 25)
        positives, pool = (Features((x + 0.5) * 0.05, np.zeros(len(x), np.int64)) for x in (a, b))
        rows, report = match_windows(positives, pool, 1, 0, width=0.05, tolerance=0.1, shortage="allow")
        allowed = csr_array((np.abs(a[:, None] - b) <= 2).astype(np.int8))
        best = int((maximum_bipartite_matching(allowed) >= 0).sum())
        assert len(rows) == best == 20 - report.splits["0"]["missing"]


def test_a_pool_that_is_too_small_is_refused_with_the_bin():
    positives = Features(np.full(30, 0.61), np.full(30, "valid"))
    pool = Features(np.r_[np.full(4, 0.61), np.full(3, 0.63), np.full(500, 0.4)], np.full(507, "valid"))
    with pytest.raises(InputError) as e:
        match_windows(positives, pool, 1, 0, tolerance=0.02)
    assert str(e.value) == (
        "too few candidate windows to match split 'valid': 30 negatives needed, the pool of 507 windows can give 7. Worst "
        "bin GC 0.6 to 0.62: expected 30 windows, found 4 in it and 7 within 0.02 GC, which other bins share. Lower "
        "data.negatives.per_positive, raise data.negatives.gc_tolerance, or set data.negatives.shortage=allow to do with "
        "fewer"
    )
    rows, report = match_windows(positives, pool, 1, 0, tolerance=0.02, shortage="allow")
    assert rows.tolist() == list(range(7))
    assert report.splits["valid"]["missing"] == 23
    assert report.lines()[0].endswith("23 that the pool does not hold are missing")
    with pytest.raises(InputError, match="the pool of 0 windows can give 0"):
        match_windows(positives, Features(pool.gc, np.full(507, "train")), 1, 0)


def test_the_draw_depends_on_seed_and_split_alone():
    positives, pool = windows(500, 0.45, 0), windows(20_000, 0.42, 1)
    rows, _ = match_windows(positives, pool, 1, 3)
    np.testing.assert_array_equal(rows, match_windows(positives, pool, 1, 3)[0])
    assert set(rows.tolist()) != set(match_windows(positives, pool, 1, 4)[0].tolist())
    train = positives.take(positives.split == "train")
    np.testing.assert_array_equal(match_windows(train, pool, 1, 3)[0], rows[pool.split[rows] == "train"])
    twin = Features(np.r_[train.gc, train.gc], np.repeat(["a", "b"], len(train)))
    both = Features(np.r_[pool.gc, pool.gc], np.repeat(["a", "b"], len(pool)))
    rows, _ = match_windows(twin, both, 1, 3)
    a, b = rows[rows < len(pool)], rows[rows >= len(pool)] - len(pool)
    assert len(np.intersect1d(a, b)) < 0.5 * len(a)  # splits draw on their own


def test_every_window_of_a_bin_is_as_likely():
    positives, pool = Features(np.full(5, 0.5), np.zeros(5)), Features(np.full(20, 0.5), np.zeros(20))
    drawn = np.bincount(np.concatenate([match_windows(positives, pool, 1, s)[0] for s in range(800)]), minlength=20)
    assert ((drawn - 200) ** 2 / 150).sum() < 19 + 5 * np.sqrt(38)  # chi-square of draws without replacement


def test_windows_without_known_bases_are_not_drawn():
    pool = Features(np.r_[np.full(50, np.nan), np.full(10, 0.5)], np.zeros(60))
    assert match_windows(Features(np.full(10, 0.5), np.zeros(10)), pool, 1, 0)[0].tolist() == list(range(50, 60))
    with pytest.raises(
        InputError, match="GC content of 2 positive windows: expected 0 to 1, found nan, nan. They have no"
    ):
        match_windows(Features(np.array([0.5, np.nan, np.nan]), np.zeros(3)), pool, 1, 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ratio": 0}, "ratio of negatives to positives: expected a number above 0, found 0"),
        ({"ratio": float("nan")}, "ratio"),
        ({"width": 0}, "width of the bins"),
        ({"quantiles": 0}, "quantiles"),
        ({"tolerance": -0.1}, "tolerance: expected at least 0"),
    ],
)
def test_settings_that_cannot_work(changes, sentence):
    data = Features(np.full(3, 0.5), np.zeros(3))
    with pytest.raises(InputError, match=sentence):
        match_windows(data, data, **({"ratio": 1, "seed": 0} | changes))


def test_features_that_cannot_be_right():
    one = Features(np.full(3, 0.5), np.zeros(3), np.full(3, 0.5))
    with pytest.raises(InputError, match="found for the positives only"):
        match_windows(one, Features(one.gc, one.split), 1, 0)
    with pytest.raises(InputError, match=r"found 41\.0, 41\.0, 41\.0. Use shares, not percents"):
        match_windows(one, Features(np.full(3, 41.0), one.split, one.repeats), 1, 0)
    with pytest.raises(InputError, match="expected columns of 3 rows, found 2"):
        Features(np.zeros(3), np.zeros(2))


def test_ks_distance_agrees_with_scipy():
    rng = np.random.default_rng(0)
    for n, m in ((1, 1), (5, 300), (1000, 17)):
        a, b = rng.random(n).round(1), rng.random(m).round(2)
        assert ks_distance(a, b) == pytest.approx(ks_2samp(a, b).statistic)
    assert np.isnan(ks_distance(a, a[:0]))


def test_a_million_candidates_take_seconds():
    positives, pool = windows(50_000, 0.46, 0, True), windows(1_000_000, 0.42, 1, True)
    start = time.perf_counter()
    rows, _ = match_windows(positives, pool, 1, 0, shortage="allow")
    assert time.perf_counter() - start < 20  # about one second on two idle cores
    assert len(rows) > 49_900
