"""Two data sets from the yeast genome, each with a network and the k-mer baseline on the same windows.

    python experiments/yeast/run.py --workdir=runs/yeast [--sets=yeast_chipexo,yeast_atac] [--seeds=3]

Finished runs are kept, so the same command goes on where it stopped. Each test chromosome is opened once per run, after
training; nothing is chosen by it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import dragon_jax
from dragon_jax.config_flags import load_config
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.provenance import cores, versions

HERE = Path(__file__).resolve().parent
MODELS = ("kmer", "hybrid")
FIGURES = {"yeast_chipexo": ("auroc", "auprc"), "yeast_atac": ("pearson", "spearman", "r2")}


def one_run(name: str, model: str, seed: int, workdir: Path) -> dict[str, Any]:
    """Trains (or finds trained) one run and returns what the tables need of it."""
    folder = workdir / name / model / f"seed{seed}"
    spec = f"{HERE.parent.parent}/configs/{name}.py:{model}"
    run = dragon_jax.train(load_config(spec, [f"--config.seed={seed}"]), folder)
    if "test" not in run.results:
        dragon_jax.evaluate(folder, "test")
    run = RunDir(folder)
    return {
        "set": name,
        "model": model,
        "seed": seed,
        "state": run.status["state"],
        "results": {split: run.results[split] for split in ("valid", "test")},
        "times_opened": run.results["test"]["times_opened"],
        "seconds": round(run.provenance["seconds"]["all"], 1),
        "code": run.provenance["code"],
    }


def interval(values: list[float]) -> str:
    """A mean over seeds with half the width of its 95 % t-interval."""
    x = np.array(values, float)
    if len(x) < 2:
        return f"{x.mean():.4f}"
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return f"{x.mean():.4f} ± {half:.4f}"


def summary(rows: list[dict[str, Any]], name: str) -> str:
    """One line per model: mean over the tasks that have both classes, then over seeds."""
    figures = FIGURES[name]
    head = (
        "| model | runs | failed | "
        + " | ".join(f"{s} {f}" for s in ("valid", "test") for f in figures)
        + " | seconds |"
    )
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for model in MODELS:
        mine = [r for r in rows if r["set"] == name and r["model"] == model]
        if not mine:
            continue
        cells = [interval([r["results"][s]["mean"][f] for r in mine]) for s in ("valid", "test") for f in figures]
        failed = sum(r["state"] != "done" for r in mine)
        seconds = np.median([r["seconds"] for r in mine])
        lines.append(f"| {model} | {len(mine)} | {failed} | " + " | ".join(cells) + f" | {seconds:.0f} |")
    return "\n".join(lines)


def per_task(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    """Every task: prevalence on test, and each figure of each model as the mean over its seeds."""
    table: dict[str, dict[str, Any]] = {}
    for model in MODELS:
        mine = [r["results"]["test"]["per_task"] for r in rows if r["set"] == name and r["model"] == model]
        for task in mine[0] if mine else ():
            row = table.setdefault(task, {"task": task})
            for key in ("measured", "positives", "prevalence"):
                if key in mine[0][task]:
                    row[key] = mine[0][task][key]
            for figure in FIGURES[name]:
                values = [np.nan if run[task][figure] is None else run[task][figure] for run in mine]
                row[f"{model}_{figure}"] = round(float(np.mean(values)), 4)
    return pd.DataFrame(table.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/yeast"))
    parser.add_argument("--sets", default=",".join(FIGURES))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the network; the baseline has nothing random")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    rows = []
    for name in args.sets.split(","):
        for model in args.models.split(","):
            for seed in range(1 if model == "kmer" else args.seeds):
                rows.append(one_run(name, model, seed, args.workdir))
                print(name, model, seed, {s: rows[-1]["results"][s]["mean"] for s in ("valid", "test")}, flush=True)
    for name in args.sets.split(","):
        per_task(rows, name).to_csv(args.out / f"{name}_tasks.tsv", sep="\t", index=False)
        (args.out / f"{name}.md").write_text(summary(rows, name) + "\n")
    keys = ("set", "model", "seed", "state", "times_opened", "seconds", "code")
    pd.DataFrame([{k: r[k] for k in keys} for r in rows]).to_csv(args.out / "runs.tsv", sep="\t", index=False)
    print({k: versions()[k] for k in ("python", "jax", "flax", "optax", "numpy")}, f"{cores()} CPU cores")


if __name__ == "__main__":
    main()
