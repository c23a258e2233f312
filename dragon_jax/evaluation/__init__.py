"""How good predictions are: thresholds, confusion tables, curves, calibration, intervals; all of it for a split."""

from dragon_jax.evaluation.bootstrap import (
    Interval,
    PairedDifference,
    mean_intervals,
    paired_difference,
    task_intervals,
)
from dragon_jax.evaluation.calibration import Reliability, reliability
from dragon_jax.evaluation.confusion import choose_threshold, confusion
from dragon_jax.evaluation.curves import Curve, precision_recall_curve, roc_curve
from dragon_jax.evaluation.evaluate import chosen_thresholds, evaluate_predictions

__all__ = [
    "Curve",
    "Interval",
    "PairedDifference",
    "Reliability",
    "choose_threshold",
    "chosen_thresholds",
    "confusion",
    "evaluate_predictions",
    "mean_intervals",
    "paired_difference",
    "precision_recall_curve",
    "reliability",
    "roc_curve",
    "task_intervals",
]
