"""The figures of one task: ROC, precision and recall, calibration, scores by class, predicted against measured.

Every function returns a figure as HTML. Undefined cases are the caller's: a curve must have points.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from dragon_jax.evaluation.calibration import Reliability
from dragon_jax.evaluation.curves import Curve
from dragon_jax.metrics import pearson, r2, spearman
from dragon_jax.ranking import Sample
from dragon_jax.reports.style import figure
from dragon_jax.reports.svg import Panel, span
from dragon_jax.reports.tables import label, write_number

_DOTS = 1500  # more points than this are shown as hexagons
_EDGE = (-0.02, 1.02)


def roc(curve: Curve, at: tuple[float, float] | None = None) -> str:
    """Returns the ROC curve; `at` marks the chosen threshold as (FPR, sensitivity)."""
    panel = Panel("false positive rate", "sensitivity (true positive rate)", _EDGE, _EDGE, description="ROC curve")
    panel.line([0, 1], [0, 1], "muted", dashed=True).line(curve.x, curve.y, "s1")
    legend = [("s1", f"{label('auroc')} {write_number(curve.area)}"), ("muted dash", "chance 0.500")]
    legend = _mark(panel, legend, at)
    return figure("ROC", panel.render(), legend)


def precision_recall(curve: Curve, at: tuple[float, float] | None = None) -> str:
    """Returns the precision-recall curve over the prevalence; `at` marks the chosen threshold as (recall, precision).

    Drawn as the steps whose area is the average precision: each precision holds from the recall before it.
    """
    panel = Panel("recall (sensitivity)", "precision", _EDGE, _EDGE, description="Precision-recall curve")
    panel.horizontal(curve.chance).line(*steps(curve), "s1")
    legend = [
        ("s1", f"{label('auprc')} {write_number(curve.area)}"),
        ("muted dash", f"prevalence {write_number(curve.chance)}"),
    ]
    legend = _mark(panel, legend, at)
    return figure("Precision and recall", panel.render(), legend)


def steps(curve: Curve) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, " P"]]:
    """Returns the corners of a precision-recall curve."""
    return np.repeat(curve.x, 2)[1:-1], np.repeat(curve.y[1:], 2)


def calibration(found: Reliability) -> str:
    """Returns the reliability diagram."""
    some = found.count > 0
    mean, share = found.predicted[some], found.observed[some]
    panel = Panel("mean predicted probability", "share of positives", _EDGE, _EDGE, description="Calibration")
    panel.line([0, 1], [0, 1], "muted", dashed=True)
    panel.whiskers(mean, found.low[some], found.high[some], "s1").line(mean, share, "s1")
    titles = [
        f"{n:,} examples, predicted {p:.3f}, seen {s:.3f}"
        for n, p, s in zip(found.count[some], mean, share, strict=True)
    ]
    panel.points(mean, share, "s1", radius=4.0, titles=titles)
    legend = [("dot s1", "bin with 95% interval"), ("muted dash", "perfect")]
    bins = f"{len(found.count)} bins of equal width, {int(some.sum())} of them with examples"
    remark = f"Calibration error {write_number(found.error)} over {bins}."
    return figure("Calibration", panel.render(), legend, remark)


def scores_by_class(sample: Sample, threshold: float = np.nan) -> str:
    """Returns the distribution of predicted probabilities of positives and of negatives, each summing to 1."""
    edges = np.linspace(0, 1, 31)
    shares = []
    for wanted in (False, True):
        counts, _ = np.histogram(sample.probabilities[sample.labels == wanted], edges)
        shares.append(counts / max(counts.sum(), 1))
    top = max(float(s.max()) for s in shares) or 1.0
    panel = Panel(
        "predicted probability",
        "share of the class",
        (0.0, 1.0),
        (0.0, top * 1.05),
        description="Scores of both classes",
    )
    panel.bars(edges[:-1], edges[1:], shares[0], "s2").bars(edges[:-1], edges[1:], shares[1], "s1")
    negatives = len(sample) - sample.n_positive
    legend = [("bar s2", f"{negatives:,} negatives"), ("bar s1", f"{sample.n_positive:,} positives")]
    if np.isfinite(threshold):
        panel.vertical(threshold)
        legend.append(("muted dash", f"threshold {threshold:.3g}"))
    return figure("Scores by class", panel.render(), legend)


def measured_against_predicted(sample: Sample, kind: str) -> str:
    """Returns predicted against measured values of a real or count task: dots, or hexagons when there are many."""
    x, y = sample.targets.astype(np.float64), sample.scores.astype(np.float64)
    log = kind == "count" and bool(x.max() > 30)
    what = "count + 1" if log else "value" if kind == "real" else "count"
    x, y = (x + 1, y + 1) if log else (x, y)
    limits = (0.8, float(max(x.max(), y.max())) * 1.25) if log else span(x, y)
    panel = Panel(
        f"measured {what}",
        f"predicted {what}",
        limits,
        limits,
        x_log=log,
        y_log=log,
        description="Predicted against measured",
    )
    if len(x) <= _DOTS:
        panel.points(x, y, "s1", radius=2.6)
        remark = f"{len(x):,} examples."
    else:
        most = panel.hexagons(x, y, "s1")
        remark = f"{len(x):,} examples; the fullest cell holds {most:,}, shade on a log scale."
    panel.line(limits, limits, "muted", dashed=True)
    found = "; ".join(f"{label(m.name)} {write_number(m.of(sample))}" for m in (pearson, spearman, r2))
    return figure("Predicted against measured", panel.render(), [("muted dash", "equal")], f"{found}. {remark}")


def residuals(sample: Sample) -> str:
    """Returns the distribution of predicted minus measured."""
    error = sample.scores.astype(np.float64) - sample.targets.astype(np.float64)
    low, high = np.quantile(error, [0.005, 0.995])
    low, high = span([low, high])
    counts, edges = np.histogram(np.clip(error, low, high), 30, (low, high))
    panel = Panel("predicted - measured", "examples", (low, high), (0.0, counts.max() * 1.05), description="Residuals")
    panel.bars(edges[:-1], edges[1:], counts, "s1").vertical(0.0)
    remark = (
        f"Mean {error.mean():.3g}, standard deviation {error.std():.3g}. The outermost bars also hold what lies beyond."
    )
    return figure("Residuals", panel.render(), [], remark)


def _mark(panel: Panel, legend: list[tuple[str, str]], at: tuple[float, float] | None) -> list[tuple[str, str]]:
    if at is None or not np.isfinite(at).all():
        return legend
    panel.points([at[0]], [at[1]], "s4", radius=5.0)
    return [*legend, ("dot s4", "chosen threshold")]
