"""Trains one config on each classic motif grammar with several seeds, opens each test set once, and writes the tables.

    python experiments/motif_grammars/run.py --workdir=runs/motif_grammars [--variants=TAL1,...] [--seeds=6]

Finished runs are kept, so the same command goes on where it stopped. Nothing here reads a test label before a run is
finished, and nothing is chosen by one. The sequences of a variant are the same for all seeds; weights, order and dropout differ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from ceiling import ceiling
from scipy import stats

import dragon_jax
from dragon_jax.config_flags import load_config
from dragon_jax.data.contrast import CONTRAST
from dragon_jax.data.load import data_config
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.provenance import cores, versions

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "configs" / "motif_grammar.py"
VARIANTS = (
    "TAL1",
    "CTCF",
    "ZNF143",
    "SIX5",
    "density",
    "localisation",
    "multitask",
    "heterodimer",
    "heterodimer_strandless",
)
# Test auROC of the single runs that DragoNN's tutorials store; the multi-task and the heterodimer network did not train.
CLASSIC = {
    ("TAL1", "bound"): 0.924, ("CTCF", "bound"): 0.958, ("ZNF143", "bound"): 0.961, ("SIX5", "bound"): 0.827,
    ("density", "bound"): 0.978, ("localisation", "bound"): 0.994, ("heterodimer", "bound"): 0.542,
    ("multitask", "CTCF_known1"): 0.526, ("multitask", "ZNF143_known2"): 0.499, ("multitask", "SIX5_known1"): 0.493,
}  # fmt: skip


def one_run(variant: str, seed: int, workdir: Path, smoke: bool) -> list[dict]:
    """Trains (or finds trained) one run, opens test once, and returns its rows of the table, one for each task."""
    folder = workdir / variant / f"seed{seed}"
    config = load_config(f"{PAGE}:{variant}{',smoke' if smoke else ''}", [f"--config.seed={seed}"])
    run = dragon_jax.train(config, folder, quiet=True)
    if "test" not in run.results:
        dragon_jax.evaluate(folder, "test")
    run = RunDir(folder)
    valid, test = (run.results[s]["per_task"] for s in ("valid", "test"))
    shared = {
        "variant": variant,
        "seed": seed,
        "state": run.status["state"],
        "best_step": run.provenance.get("best_step", 0),
        "seconds": round(run.provenance["seconds"]["all"], 1),
        "times_opened": run.results["test"]["times_opened"],
        "code": run.provenance["code"],
    }
    return [
        {
            "task": task,
            "valid_auroc": valid[task]["auroc"],
            "test_auroc": test[task]["auroc"],
            "test_auprc": test[task]["auprc"],
        }
        | shared
        for task in valid
        if task != CONTRAST  # exists in train alone
    ]


def interval(values: np.ndarray) -> float:
    """Half the width of the 95 % t-interval of a mean over seeds."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def summary(rows: pd.DataFrame, ceilings: dict[tuple[str, str], float]) -> pd.DataFrame:
    """One row for each variant and task: mean over seeds, its interval, the extremes, failed runs, and what to compare with."""
    lines = []
    for (variant, task), group in rows.groupby(["variant", "task"], sort=False):
        test = group.test_auroc.to_numpy()
        lines.append(
            {
                "variant": variant,
                "task": task,
                "seeds": len(group),
                "valid_auroc": group.valid_auroc.mean(),
                "test_auroc": test.mean(),
                "interval": interval(test),
                "lowest": test.min(),
                "highest": test.max(),
                "failed": int((group.state != "done").sum()),
                "classic": CLASSIC.get((variant, task), float("nan")),
                "ceiling": ceilings[(variant, task)],
            }
        )
    return pd.DataFrame(lines)


def markdown(table: pd.DataFrame) -> str:
    """Returns the Markdown table of a summary."""
    lines = [
        "| grammar | task | stored classic run | this config, test auROC | lowest seed | best possible |",
        "|---|---|---|---|---|---|",
    ]
    for r in table.itertuples():
        spread = f" ± {r.interval:.4f}" if r.seeds > 1 else ""
        classic = "" if np.isnan(r.classic) else f"{r.classic:.3f}"
        lines.append(
            f"| {r.variant} | {r.task} | {classic} | {r.test_auroc:.4f}{spread} | {r.lowest:.4f} | {r.ceiling:.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/motif_grammars"))
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--smoke", action="store_true", help="a few steps on few sequences, to see that it runs")
    args = parser.parse_args()
    variants = args.variants.split(",")
    rows: list[dict] = []
    for seed in range(args.seeds):
        for variant in variants:
            found = one_run(variant, seed, args.workdir, args.smoke)
            rows += found
            said = ", ".join(f"{r['task']} valid {r['valid_auroc']:.4f} test {r['test_auroc']:.4f}" for r in found)
            print(f"{variant} seed {seed}: {said}", flush=True)
    frame = pd.DataFrame(rows)
    frame.to_csv(args.out / "runs.tsv", sep="\t", index=False, float_format="%.6f")
    ceilings = {}
    for variant in variants:
        config = data_config(load_config(f"{PAGE}:{variant}{',smoke' if args.smoke else ''}").data.to_dict())
        for task, value in ceiling(config).items():
            ceilings[(variant, task)] = value
    table = summary(frame, ceilings)
    table.to_csv(args.out / "results.tsv", sep="\t", index=False, float_format="%.6f")
    runs = frame.drop_duplicates(["variant", "seed"])
    failed = int((runs.state != "done").sum())
    packages = ", ".join(f"{k} {v}" for k, v in versions().items() if k in ("python", "jax", "flax", "optax", "numpy"))
    text = f"{markdown(table)}\n\n{len(runs)} runs, {failed} failed; {args.seeds} seeds; {packages}; {cores()} CPU cores.\n"
    (args.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
