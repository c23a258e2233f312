"""Whether a model has learned anything: its valid metrics against what chance alone would give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SIGMAS = 3.0


def above_chance(task: Mapping[str, Any]) -> bool | None:
    """Returns whether one task's result lies more than three standard errors above chance, None when undefined.

    Under no association the auROC of n+ positives and n- negatives has mean 1/2 and variance (n+ + n- + 1)/(12 n+ n-)
    (Mann and Whitney, Ann. Math. Stat. 18, 50-60, 1947); a correlation of n pairs has mean 0 and variance about 1/(n-1).
    """
    if task["kind"] == "binary":
        value, up = task.get("auroc"), task["n_positive"]
        if value is None or not up or up == task["n"]:
            return None
        down = task["n"] - up
        return value > 0.5 + SIGMAS * math.sqrt((up + down + 1) / (12 * up * down))
    value = task.get("spearman")
    return None if value is None or task["n"] < 3 else value > SIGMAS / math.sqrt(task["n"] - 1)


def verdict(results: Mapping[str, Any], *, network: bool = True) -> str:
    """Returns an empty string when at least one task is above chance, else the sentence for `status.json`."""
    judged = [j for j in (above_chance(t) for t in results["per_task"].values()) if j is not None]
    if any(judged):
        return ""
    if not judged:
        return "failed to train: no task has a defined metric on valid (one class only, or nothing measured)"
    return (
        f"failed to train: no task (of {len(judged)}) is more than {SIGMAS:.0f} standard errors above chance on valid. "
        + (
            "Try more epochs or patience, another optim.learning_rate or seed, and"
            if network
            else "Try other settings of the model and"
        )
        + " look at the data"
    )
