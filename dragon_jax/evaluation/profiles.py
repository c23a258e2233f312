"""How well profiles are predicted, beside what needs no sequence: an even profile, and the mean profile of train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from dragon_jax.data.dataset import Dataset
from dragon_jax.evaluation.evaluate import json_ready
from dragon_jax.training.profile_scores import against, stacked

SHOWN = (1.0, 0.99, 0.9, 0.5)  # examples to look at, by where their number of reads stands among those with reads
SHOWN_TASKS, SHOWN_VALUES = 6, 1000


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


def profile_examples(
    data: Dataset, spread: Callable[[Dataset], Float32[np.ndarray, "N T W S"]], width: int
) -> list[dict[str, Any]]:
    """Returns some examples of the first tasks to look at, observed beside predicted.

    They are picked by their number of reads alone, never by how well they are predicted: the example with most, and those
    at the 99th, 90th and 50th percentile of the examples with a read.

    Args:
        spread: gives the expected reads at each base of examples.
        width: W, bases of the output window; of longer ones neighbouring bases are added up to at most `SHOWN_VALUES`.

    Returns:
        Of each: `task`, `id`, `percentile`, `bin` (bases in one value), `observed` and `predicted`, lists `[S][values]`.
    """
    names = tuple(task.name for task in data.tasks)
    picked = []
    for t, counts in enumerate(stacked(data, names, width)[:SHOWN_TASKS]):
        totals = np.nan_to_num(counts.sum((1, 2), dtype=np.float64))
        order = np.argsort(totals, kind="stable")
        order = order[totals[order] > 0]
        seen: set[int] = set()
        for share in SHOWN if len(order) else ():
            row = int(order[round(share * (len(order) - 1))])
            if row not in seen:
                picked.append((t, row, share, counts[row]))
            seen.add(row)
    if not picked:
        return []
    predicted = spread(data.take(np.array([row for _, row, _, _ in picked])))
    step = -(-width // SHOWN_VALUES)

    def listed(values: np.ndarray) -> list[list[float]]:
        summed = np.add.reduceat(values.astype(np.float64), np.arange(0, width, step), 0)
        return np.round(summed.T, 4).tolist()

    return json_ready(
        [
            {
                "task": names[t],
                "id": str(data.ids[row]),
                "percentile": 100 * share,
                "bin": step,
                "observed": listed(counts),
                "predicted": listed(predicted[i, t]),
            }
            for i, (t, row, share, counts) in enumerate(picked)
        ]
    )
