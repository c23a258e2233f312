"""The tables of the study: the primer's, with our measured columns, and one line per data set and system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from dragon_jax.runs.provenance import cores, versions

KIND = {
    "pwm": ("PWM scan", "sequence, motif file"),
    "deepbind": ("convolutional network, one layer", "sequence"),
    "gkmsvm": ("gapped k-mer SVM", "sequence"),
    "deepsea": ("convolutional network, three layers", "sequence"),
    "factornet": ("convolutional and recurrent network", "sequence"),
    "factornet_atac": ("convolutional and recurrent network", "sequence, ATAC signal"),
    "kmer": ("regression on 6-mers", "sequence"),
    "hybrid": ("convolutional network beside a bag of k-mers", "sequence"),
    "dilated": ("residual dilated convolutions", "sequence"),
    "transformer": ("convolutional stem, attention", "sequence"),
}
# Test auROC on chromosomes 1 and 2, which are not in the data set: Shrikumar et al. 2019 and the data page of the project.
PUBLISHED = {
    "nanog": "Published, trained on all rows here and tested on chr1 and chr2: LS-GKM 0.831, 6-mer regression 0.802"
}


def half_interval(values: np.ndarray) -> float:
    """Half the width of the 95 % t-interval of a mean; NaN for a single value."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def figure(rows: pd.DataFrame, metric: str) -> dict[str, float]:
    """Mean over folds and seeds, its interval over seeds, and over examples.

    Over examples: half widths of the bootstrap intervals of the folds, which share no example, added in quadrature and
    divided by the number of folds; mean over seeds.
    """
    by_seed = rows.groupby("seed")[metric].mean().to_numpy()
    halves = rows.groupby("seed")[f"{metric}_half"].apply(lambda h: np.sqrt((h**2).sum()) / len(h))
    return {"mean": by_seed.mean(), "seeds": half_interval(by_seed), "examples": float(halves.mean())}


def cell(f: dict[str, float]) -> str:
    seeds = "" if np.isnan(f["seeds"]) else f" ± {f['seeds']:.3f}"
    return f"{f['mean']:.3f}{seeds} (± {f['examples']:.3f})"


def size(count: float) -> str:
    return f"{count / 1e6:,.2f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def table(rows: pd.DataFrame, about: pd.DataFrame, data: str) -> str:
    """The primer's table of one data set."""
    mine, lines = rows[rows.data == data], []
    head = ["system", "type", "inputs", "numbers", "size", "n = 256: one core", "all cores", "length", "auROC", "auPRC"]
    lines += ["| " + " | ".join([*head, "runs"]) + " |", "|" + "---|" * (len(head) + 1)]
    for system in dict.fromkeys(mine.system):
        part, a = mine[mine.system == system], about[(about.data == data) & (about.system == system)].iloc[0]
        complete = part.groupby("seed").fold.nunique()
        part = part[part.seed.isin(complete[complete == part.fold.nunique()].index)]
        kind, inputs = KIND[system]
        cells = [system, kind, inputs, f"{int(a.parameters):,}", size(a.bytes)]
        cells += [f"{a.ms_one_core:.1f} ms", f"{a.ms_all_cores:.1f} ms", f"{int(a.length)}"]
        cells += [cell(figure(part, "test_auroc")), cell(figure(part, "test_auprc"))]
        cells += [f"{part.seed.nunique()} x {part.fold.nunique()}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows: pd.DataFrame, path: Path) -> None:
    """One dot per run and a bar at the mean, a panel for each data set."""
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(rows.data))
    figure = Figure(figsize=(4.2 * len(sets), 3.8), layout="constrained")
    for axes, data in zip(np.atleast_1d(figure.subplots(1, len(sets))), sets, strict=True):
        mine = rows[rows.data == data]
        order = mine.groupby("system").test_auroc.mean().sort_values()
        for i, (system, mean) in enumerate(order.items()):
            values = mine[mine.system == system].test_auroc.to_numpy()
            axes.plot(values, np.full(len(values), i), "o", ms=4, color="C0", alpha=0.6)
            axes.plot([mean, mean], [i - 0.3, i + 0.3], color="0.2", lw=2)
        axes.set_yticks(range(len(order)), list(order.index))
        axes.set_xlabel("test auROC: runs (dots), their mean (bar)")
        axes.set_title(data)
        axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=130)


def write_tables(
    rows: pd.DataFrame, about: pd.DataFrame, failed: list[tuple[Any, ...]], planned: int, out: Path
) -> str:
    """Writes `table.md` and returns its text."""
    parts = []
    for data in dict.fromkeys(rows.data):
        mine = rows[rows.data == data]
        prevalence = f"{int(mine.tasks.iloc[0])} task{'s' if mine.tasks.iloc[0] > 1 else ''}"
        note = f" {PUBLISHED[data]}." if data in PUBLISHED else ""
        parts += [f"## {data}: {prevalence}\n", table(rows, about, data), f"\nRuns: seeds x folds.{note}\n"]
    packages = ", ".join(f"{k} {v}" for k, v in versions().items() if k in ("python", "jax", "flax", "numpy"))
    not_done = int((rows.state != "done").sum())
    opened = int(rows.times_opened.max())
    parts.append(
        f"{len(rows)} of {planned} planned runs finished, {not_done + len(failed)} failed; test folds opened at most "
        f"{opened} time{'s' if opened > 1 else ''} each; {packages}; {cores()} CPU cores. First interval: 95 % over seeds; in brackets: "
        "over examples (bootstrap).\n"
    )
    text = "\n".join(parts)
    (out / "table.md").write_text(text)
    plot(rows, out / "test_auroc.png")
    return text
