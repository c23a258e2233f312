"""A threshold, and what follows from calling every score at or above it positive.

A threshold is chosen on the valid split and then used on others, so it lies halfway between two scores that were seen:
the same examples stay on their sides when another machine rounds the last bit of a score differently.
"""

from __future__ import annotations

import math

import numpy as np

from dragon_jax.errors import InputError
from dragon_jax.metrics import Value, within_fdr
from dragon_jax.ranking import Sample, Undefined

RULES = ("f1", "youden", "fdr")
COUNTS = ("tp", "fp", "tn", "fn")
RATES = (
    *("sensitivity", "specificity", "precision", "npv", "fpr", "fnr", "fdr", "for"),
    *("accuracy", "balanced_accuracy", "f1", "mcc"),
)


def choose_threshold(scores: np.ndarray, targets: np.ndarray, rule: str | float = "f1", *, fdr: float = 0.1) -> Value:
    """Returns the threshold that a rule prefers on these examples of a binary task.

    Candidates are the K distinct scores: calling everything from that score upwards. The winner is placed halfway to
    the next lower score; the lowest score, where everything is called, stands for itself. Of equally good candidates
    the highest score wins, because it makes the fewest calls.

    Args:
        scores, targets: `[N]`; NaN targets are left out.
        rule: `f1` for the largest F1, `youden` for the largest sensitivity + specificity - 1 (Youden 1950), `fdr` for
            the largest recall at a false discovery rate of at most `fdr`; a number stands for itself.
        fdr: level of the rule `fdr`, in (0, 1). Where no candidate reaches it, the threshold lies just above all scores
            and nothing is called.

    Returns:
        The threshold; NaN with its reason where the examples cannot choose (one class only, nothing measured, scores
        that are not finite).

    Raises:
        InputError: the rule is unknown, a fixed number is not finite, the level lies outside (0, 1), or shapes differ.
    """
    check_rule(rule, fdr)
    if not isinstance(rule, str):
        return Value(rule)
    return choose_on(Sample(scores, targets), rule, fdr)


def check_rule(rule: str | float, fdr: float) -> None:
    """Raises InputError unless `choose_threshold` takes these."""
    if isinstance(rule, str) and rule not in RULES:
        raise InputError(f"threshold rule: expected {', '.join(RULES)} or a number, found {rule!r}")
    if not isinstance(rule, str) and not math.isfinite(rule):
        raise InputError(f"threshold: expected a finite number, found {rule}")
    if not 0 < fdr < 1:
        raise InputError(f"false discovery rate of the threshold: expected 0 < fdr < 1, found {fdr}")


def choose_on(sample: Sample, rule: str, fdr: float = 0.1) -> Value:
    """Does the work of `choose_threshold` on examples that other numbers share."""
    if sample.problem:
        return Value(np.nan, sample.problem)
    try:
        sample.need_both_classes()
    except Undefined as e:
        return Value(np.nan, str(e))
    true, false = sample.calls
    positive, negative = sample.n_positive, len(sample) - sample.n_positive
    if rule == "f1":
        merit = 2 * true / (true + false + positive)
    elif rule == "youden":
        merit = true * negative - false * positive  # whole numbers: equal merit is seen as equal
    else:
        merit = np.where(within_fdr(true, false, fdr), true, -1)
    best = int(np.argmax(merit))  # the first of equals, hence the highest score
    order, ends = sample.ranked
    score = sample.scores[order[ends]].astype(np.float64)
    if merit[best] < 0 and rule == "fdr":
        return Value(np.nextafter(score[0], np.inf))
    if best + 1 == len(score):
        return Value(score[best])
    halfway = 0.5 * score[best] + 0.5 * score[best + 1]
    return Value(halfway if halfway > score[best + 1] else score[best])  # neighbours in float64 have no middle


def confusion(scores: np.ndarray, targets: np.ndarray, threshold: float) -> dict[str, int | Value]:
    """Returns the confusion table of a binary task at `score >= threshold`, compared in float64.

    Args:
        scores, targets: `[N]`; NaN targets are left out.
        threshold: a finite number.

    Returns:
        `tp`, `fp`, `tn`, `fn` as whole numbers and the rates of `RATES`: sensitivity (recall, TPR) TP/P, specificity
            (TNR) TN/N, precision (PPV) TP/(TP+FP), `npv` TN/(TN+FN), `fpr` FP/N, `fnr` FN/P, `fdr` FP/(TP+FP), `for`
            FN/(FN+TN), accuracy, balanced accuracy (mean of sensitivity and specificity), `f1` 2TP/(2TP+FP+FN) and
            `mcc`, Matthews' (1975) correlation. A rate with nothing to divide by is NaN with its reason. An empty dict
            where nothing can be counted: no measured example, or scores that are not finite.

    Raises:
        InputError: the threshold is not finite, or shapes differ.
    """
    check_rule(threshold, 0.5)
    return confusion_on(Sample(scores, targets), threshold)


def confusion_on(sample: Sample, threshold: float) -> dict[str, int | Value]:
    """Does the work of `confusion` on examples that other numbers share."""
    if sample.problem:
        return {}
    try:
        labels = sample.labels
    except Undefined:
        return {}
    called = sample.scores.astype(np.float64) >= threshold
    tp, calls = int(np.count_nonzero(called & labels)), int(np.count_nonzero(called))
    fp, fn = calls - tp, sample.n_positive - tp
    tn = len(sample) - tp - fp - fn
    return {"tp": tp, "fp": fp, "tn": tn, "fn": fn, **_rates(tp, fp, tn, fn)}


def _rates(tp: int, fp: int, tn: int, fn: int) -> dict[str, Value]:
    positive, negative, called, left = tp + fn, fp + tn, tp + fp, fn + tn
    missing = {
        "no positive example": not positive,
        "no negative example": not negative,
        "nothing is called positive": not called,
        "nothing is called negative": not left,
    }
    reasons = [reason for reason, absent in missing.items() if absent]

    def rate(numerator: int, denominator: int | float, reason: str) -> Value:
        return Value(numerator / denominator) if denominator else Value(np.nan, reason)

    sensitivity, specificity = rate(tp, positive, "no positive example"), rate(tn, negative, "no negative example")
    both = bool(positive and negative)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": rate(tp, called, "nothing is called positive"),
        "npv": rate(tn, left, "nothing is called negative"),
        "fpr": rate(fp, negative, "no negative example"),
        "fnr": rate(fn, positive, "no positive example"),
        "fdr": rate(fp, called, "nothing is called positive"),
        "for": rate(fn, left, "nothing is called negative"),
        "accuracy": rate(tp + tn, positive + negative, "no measured example"),
        "balanced_accuracy": Value((sensitivity + specificity) / 2) if both else Value(np.nan, reasons[0]),
        "f1": rate(2 * tp, 2 * tp + fp + fn, "no positive example and nothing is called positive"),
        "mcc": rate(tp * tn - fp * fn, math.sqrt(positive * negative * called * left), "; ".join(reasons)),
    }
