"""Thresholds are the best ones, and the rates of a confusion table obey their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as sk

from dragon_jax.errors import InputError
from dragon_jax.evaluation import choose_threshold, confusion
from dragon_jax.evaluation.confusion import COUNTS, RATES


def data(n: int = 400, prevalence: float = 0.3, levels: int | None = 40, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < prevalence).astype(np.float32)
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * y - 1)))
    return (np.round(p * levels) / levels if levels else p).astype(np.float32), y


def test_rates_agree_with_scikit_learn():
    p, y = data()
    table = confusion(p, y, 0.4)
    called = p.astype(np.float64) >= 0.4
    tn, fp, fn, tp = sk.confusion_matrix(y, called).ravel()
    assert [table[k] for k in COUNTS] == [tp, fp, tn, fn]
    assert set(table) == {*COUNTS, *RATES}
    assert table["sensitivity"] == pytest.approx(sk.recall_score(y, called), abs=1e-12)
    assert table["specificity"] == pytest.approx(sk.recall_score(y, called, pos_label=0), abs=1e-12)
    assert table["precision"] == pytest.approx(sk.precision_score(y, called), abs=1e-12)
    assert table["npv"] == pytest.approx(sk.precision_score(y, called, pos_label=0), abs=1e-12)
    assert table["accuracy"] == pytest.approx(sk.accuracy_score(y, called), abs=1e-12)
    assert table["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, called), abs=1e-12)
    assert table["f1"] == pytest.approx(sk.f1_score(y, called), abs=1e-12)
    assert table["mcc"] == pytest.approx(sk.matthews_corrcoef(y, called), abs=1e-12)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.55, 0.8])
def test_rates_that_complement_each_other(threshold):
    p, y = data(seed=1)
    t = confusion(p, y, threshold)
    assert t["tp"] + t["fp"] + t["tn"] + t["fn"] == len(y)
    for rate, other in (("sensitivity", "fnr"), ("specificity", "fpr"), ("precision", "fdr"), ("npv", "for")):
        assert t[rate] + t[other] == pytest.approx(1, abs=1e-12)
    harmonic = 2 * t["precision"] * t["sensitivity"] / (t["precision"] + t["sensitivity"])
    assert t["f1"] == pytest.approx(harmonic, abs=1e-12)


def test_a_score_at_the_threshold_is_called_and_missing_rows_are_not_counted():
    table = confusion(np.array([0.5, 0.4, 0.9]), np.array([1.0, 0.0, np.nan]), 0.5)
    assert [table[k] for k in COUNTS] == [1, 0, 1, 0]


def test_rates_without_a_denominator_say_why():
    nothing_called = confusion(np.array([0.1, 0.2]), np.array([0.0, 1.0]), 0.5)
    assert nothing_called["precision"].reason == "nothing is called positive"
    assert math.isnan(nothing_called["fdr"])
    assert nothing_called["f1"] == 0
    assert nothing_called["mcc"].reason == "nothing is called positive"
    no_positives = confusion(np.array([0.1, 0.9]), np.array([0.0, 0.0]), 0.5)
    assert no_positives["sensitivity"].reason == "no positive example"
    assert no_positives["balanced_accuracy"].reason == "no positive example"
    assert no_positives["specificity"] == 0.5
    nowhere = confusion(np.array([0.1, 0.2]), np.array([0.0, 0.0]), 0.5)
    assert nowhere["f1"].reason == "no positive example and nothing is called positive"
    assert nowhere["mcc"].reason == "no positive example; nothing is called positive"
    all_called = confusion(np.array([0.8, 0.9]), np.array([1.0, 1.0]), 0.5)
    assert all_called["npv"].reason == "nothing is called negative"
    assert all_called["fpr"].reason == "no negative example"


def test_nothing_to_count_is_an_empty_table():
    assert confusion(np.array([0.5]), np.array([np.nan]), 0.5) == {}
    assert confusion(np.array([np.nan]), np.array([1.0]), 0.5) == {}
    assert confusion(np.array([0.5]), np.array([0.3]), 0.5) == {}


@pytest.mark.parametrize("levels", [None, 40, 5])
@pytest.mark.parametrize("rule", ["f1", "youden", "fdr"])
def test_no_threshold_is_better_than_the_chosen_one(rule, levels):
    p, y = data(levels=levels, seed=2)
    chosen = choose_threshold(p, y, rule, fdr=0.25)

    def merit(threshold: float) -> float:
        t = confusion(p, y, threshold)
        if rule == "fdr":
            return t["sensitivity"] if t["fdr"] <= 0.25 else -1.0
        return t["f1"] if rule == "f1" else t["sensitivity"] + t["specificity"] - 1

    everywhere = np.unique(p.astype(np.float64))
    best = max(merit(t) for t in everywhere)
    assert merit(chosen) == pytest.approx(best, abs=1e-12)
    higher = [t for t in everywhere if t > chosen and merit(t) > best - 1e-12]
    calls = [(p >= t).sum() for t in higher]
    assert all(c == (p.astype(np.float64) >= chosen).sum() for c in calls)  # equally good: the fewest calls


def test_of_equally_good_thresholds_the_one_with_fewest_calls_wins():
    p = np.array([0.9, 0.7, 0.5, 0.3])
    assert choose_threshold(p, np.array([1.0, 0.0, 0.0, 1.0]), "f1") == pytest.approx(
        0.8
    )  # 2/3 with one call and with four
    assert choose_threshold(p, np.array([1.0, 0.0, 1.0, 0.0]), "youden") == pytest.approx(0.8)


def test_thresholds_lie_between_scores():
    y = np.array([1.0, 1.0, 0.0, 0.0])
    assert choose_threshold(np.array([0.9, 0.7, 0.3, 0.1]), y) == pytest.approx(0.5)
    assert choose_threshold(np.array([0.9, 0.7, 0.3, 0.1]), 1 - y, "youden") == pytest.approx(0.1)  # calls everything
    close = np.array([np.nextafter(0.5, 1), 0.5])
    threshold = choose_threshold(close, np.array([1.0, 0.0]))
    assert list(close >= threshold) == [True, False]
    rounded = np.array([np.nextafter(np.float32(0.5), np.float32(1)), 0.5], np.float32)
    threshold = choose_threshold(rounded, np.array([1.0, 0.0]))
    assert confusion(rounded, np.array([1.0, 0.0]), threshold)["accuracy"] == 1


def test_unreachable_fdr_calls_nothing():
    p, y = np.array([0.9, 0.5]), np.array([0.0, 1.0])
    threshold = choose_threshold(p, y, "fdr", fdr=0.1)
    assert threshold > 0.9
    assert confusion(p, y, threshold)["tp"] + confusion(p, y, threshold)["fp"] == 0


def test_levels_are_met_up_to_rounding():
    assert 0.29 * 100 < 29
    y = np.repeat([1.0, 0.0], [71, 29])
    p = np.append(np.full(100, 0.9), 0.1)
    assert confusion(p, np.append(y, 0), choose_threshold(p, np.append(y, 0), "fdr", fdr=0.29))["tp"] == 71


def test_a_fixed_number_stands_for_itself_and_one_class_chooses_nothing():
    p = np.array([0.9, 0.5])
    assert choose_threshold(p, np.array([0.0, 1.0]), 0.25) == 0.25
    for y, reason in (
        ([1.0, 1.0], "one class only (all positive)"),
        ([np.nan, np.nan], "no measured example"),
        ([0.0, 0.5], "targets other than 0 and 1"),
    ):
        value = choose_threshold(p, np.array(y))
        assert math.isnan(value)
        assert value.reason == reason


def test_bad_rules_are_refused():
    p, y = data()
    with pytest.raises(InputError, match="expected f1, youden, fdr or a number, found 'best'"):
        choose_threshold(p, y, "best")
    with pytest.raises(InputError, match="finite"):
        confusion(p, y, math.nan)
    with pytest.raises(InputError, match="0 < fdr < 1"):
        choose_threshold(p, y, "fdr", fdr=1.5)
