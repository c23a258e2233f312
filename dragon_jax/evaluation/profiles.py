"""How well profiles are predicted, beside what needs no sequence: an even profile, and the mean profile of train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from dragon_jax.data.dataset import Dataset
from dragon_jax.evaluation.evaluate import json_ready
from dragon_jax.training.profile_scores import against, stacked


def evaluate_profiles(
    scores: Mapping[str, Float64[np.ndarray, "N T"]],
    data: Dataset,
    means: Sequence[Float64[np.ndarray, "W S"] | None],
    *,
    width: int,
    joint: bool,
    bootstrap: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Returns what `results.json` holds under `profiles` of a split.

    Args:
        scores: of every example, see `ProfileScores`.
        data: the examples. means: a profile of each task that is the same for all sequences, None where there is none.
        width: W, bases of the output window.
        joint: whether all strands make one distribution.
        bootstrap, seed, level: intervals over examples; 0 gives none.

    Returns:
        `per_task`: by name, `n` measured examples, `n_counted` those with a read, `loss` as trained on, `nll` multinomial
        negative log-likelihood (mean over measured examples, natural logarithm), `jsd` Jensen-Shannon divergence in bits
        (mean over counted examples), and for both `_mean` (mean profile of train) and `_flat` (even profile) in their
        place; `jsd_ci`, and `jsd_gain_ci`, the interval of `jsd_mean` - `jsd`. `mean`: the means over tasks.
    """
    names = tuple(task.name for task in data.tasks)
    tables: dict[str, dict[str, Any]] = {}
    for t, (counts, mean) in enumerate(zip(stacked(data, names, width), means, strict=True)):
        flat = np.ones(counts.shape[1:])
        nll_flat, jsd_flat = against(counts, flat, joint)
        nll_mean, jsd_mean = (np.full(len(data), np.nan),) * 2 if mean is None else against(counts, mean, joint)
        own = {k: scores[k][:, t] for k in ("loss", "nll", "jsd")}
        each = own | {"nll_mean": nll_mean, "nll_flat": nll_flat, "jsd_mean": jsd_mean, "jsd_flat": jsd_flat}
        measured, counted = ~np.isnan(own["nll"]), ~np.isnan(own["jsd"])
        table: dict[str, Any] = {"n": int(measured.sum()), "n_counted": int(counted.sum())}
        for name, values in each.items():
            rows = counted if name.startswith("jsd") else measured
            table[name] = float(values[rows].mean()) if rows.any() else np.nan
        if bootstrap and counted.sum() > 1:
            drawn = np.random.default_rng([seed, t])
            for name, values in (("jsd", own["jsd"]), ("jsd_gain", jsd_mean - own["jsd"])):
                table[f"{name}_ci"] = _interval(values[counted], bootstrap, drawn, level)
        tables[names[t]] = table
    keys = [k for k in next(iter(tables.values())) if not k.startswith("n_") and k != "n" and not k.endswith("_ci")]
    over = {k: [table[k] for table in tables.values() if np.isfinite(table[k])] for k in keys}
    return json_ready({"per_task": tables, "mean": {k: float(np.mean(v)) if v else np.nan for k, v in over.items()}})


def _interval(values: np.ndarray, resamples: int, drawn: np.random.Generator, level: float) -> list[float]:
    """Percentile interval of the mean, examples drawn again."""
    means = [values[drawn.integers(0, len(values), len(values))].mean() for _ in range(resamples)]
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2]).tolist()
