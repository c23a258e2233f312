"""Learning curves: what metrics.jsonl says about a run, and which step was best."""

from __future__ import annotations

import math
from typing import NamedTuple

from dragon_jax.reports.read import Run, number, section
from dragon_jax.reports.style import figure, grid, note
from dragon_jax.reports.svg import Panel, span
from dragon_jax.reports.tables import label, write_number
from dragon_jax.sections import MONITORS


class Best(NamedTuple):
    """The evaluation whose weights a run keeps: step, epoch (NaN = unknown) and value of the monitored metric."""

    step: int
    epoch: float
    value: float


def monitor(run: Run) -> tuple[str, bool]:
    """Returns the metric that chose the best step and whether more is better; the loss if the config does not say."""
    train = section(run.config, "train")
    name = str(train.get("monitor") or "loss")
    mode = train.get("mode")
    if mode not in ("min", "max"):
        mode = MONITORS.get(name, "min")
    return name, mode == "max"


def best_evaluation(run: Run) -> Best | None:
    """Returns the best evaluation on valid by the rule of early stopping, or None before the first defined one."""
    name, larger = monitor(run)
    min_delta = number(section(run.config, "train").get("min_delta", 0.0))
    best: Best | None = None
    for row in run.history("valid"):
        value = _monitored(row, name)
        gain = math.inf if best is None else (value - best.value) * (1 if larger else -1)
        if math.isfinite(value) and gain > (0.0 if math.isnan(min_delta) else min_delta):
            best = Best(int(row["step"]), number(row.get("epoch")), value)
    return best


def curves(run: Run) -> str:
    """Returns the learning curves as HTML: loss on train and valid, and mean metrics on valid, the best step marked."""
    train, valid = run.history("train"), run.history("valid")
    if not train and not valid:
        return note(
            "No learning curve: metrics.jsonl holds no evaluation. Baselines are fitted in one go, without any."
        )
    best, (name, _) = best_evaluation(run), monitor(run)
    panels = [_losses(train, valid, best if name == "loss" else best and best._replace(value=math.nan))]
    means = {m for row in valid for m in section(row, "mean")}
    shown = [m for m in dict.fromkeys([name, "auroc", "auprc", "pearson", "spearman", "r2"]) if m in means]
    panels += [_metric(valid, m, best, monitored=m == name) for m in shown]
    text = ""
    if best is not None:
        epoch = f" (epoch {best.epoch:.3g})" if math.isfinite(best.epoch) else ""
        text = f"<p>Best step by mean valid {label(name)}: {best.step:,}{epoch}, value {write_number(best.value)}.</p>"
    return text + grid(panels)


def _monitored(row: dict, name: str) -> float:
    return number((row if name == "loss" else section(row, "mean")).get(name))


def _losses(train: list[dict], valid: list[dict], best: Best | None) -> str:
    rows = {"train": train, "valid": valid}
    steps = {k: [r["step"] for r in v] for k, v in rows.items()}
    losses = {k: [number(r.get("loss")) for r in v] for k, v in rows.items()}
    if not any(math.isfinite(x) for v in losses.values() for x in v):
        return ""
    panel = Panel("training step", "loss", span(*steps.values()), span(*losses.values()), description="Loss over steps")
    legend = []
    for split, style in (("train", "s2"), ("valid", "s1")):
        if steps[split]:
            panel.line(steps[split], losses[split], style, dashed=split == "train")
            if len(steps[split]) <= 60:
                panel.points(steps[split], losses[split], style, radius=2.2)
            legend.append((f"{style} dash" if split == "train" else style, split))
    if best is not None:
        panel.vertical(float(best.step))
        legend.append(("muted dash", f"best step {best.step:,}"))
        if math.isfinite(best.value):
            panel.points([best.step], [best.value], "s4", radius=5.0)
    remark = (
        "Train: mean over the steps since the previous evaluation, as optimised. "
        "Valid: plain loss of the weights at that step."
    )
    return figure("Loss", panel.render(), legend, remark)


def _metric(valid: list[dict], name: str, best: Best | None, monitored: bool) -> str:
    steps = [r["step"] for r in valid]
    values = [_monitored(r, name) for r in valid]
    if not any(math.isfinite(v) for v in values):
        return ""
    title = f"mean valid {label(name)}"
    panel = Panel("training step", title, span(steps), span(values), description=f"{title} over steps")
    panel.line(steps, values, "s1")
    if len(steps) <= 60:
        panel.points(steps, values, "s1", radius=2.2)
    legend = [("s1", "valid")]
    if best is not None:
        panel.vertical(float(best.step))
        legend.append(("muted dash", f"best step {best.step:,}"))
        if monitored:
            panel.points([best.step], [best.value], "s4", radius=5.0, titles=[f"step {best.step:,}: {best.value:.5g}"])
    return figure(label(name) + (" (monitored)" if monitored else ""), panel.render(), legend)
