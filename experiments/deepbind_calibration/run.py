"""Calibrated DeepBind against one fixed setting and the published test auROC, on some ENCODE experiments with several seeds.

    python experiments/deepbind_calibration/run.py --workdir=runs/deepbind_calibration [--sets=ELK1,GABPA] [--seeds=3] [--steps=4000]

Finished runs are kept and unfinished ones go on, so the same command continues where it stopped. A test set is opened when
all training of its run is over, once per run, and nothing is chosen by it. The fixed setting is `configs/deepbind_encode.py`
as measured in `experiments/encode_chipseq`. `--table` trains nothing and makes the table of all runs that are finished.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import dragon_jax
from dragon_jax.config_flags import load_config
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.provenance import cores, versions

HERE = Path(__file__).resolve().parent
# Prefix and published test auROC of DeepBind trained on all peaks ("DeepBind*"), supplementary table of Alipanahi et al. 2015.
SETS = {
    "ELK1": ("ELK1_GM12878_ELK1_(1277-1)_Stanford", 0.95285),
    "GABPA": ("GABPA_GM12878_GABP_HudsonAlpha", 0.97970),
    "REST": ("REST_GM12878_NRSF_HudsonAlpha", 0.99934),
    "ARID3A": ("ARID3A_K562_ARID3A_(sc-8821)_Stanford", 0.88754),
    "ZBTB7A": ("ZBTB7A_HepG2_ZBTB7A_(SC-34508)_HudsonAlpha", 0.87414),
    "SP1": ("SP1_GM12878_SP1_HudsonAlpha", 0.90003),
    "USF1": ("USF1_HepG2_USF-1_HudsonAlpha", 0.99298),
}
FIXED = HERE.parent / "encode_chipseq" / "runs.tsv"


def folder_of(workdir: Path, name: str, seed: int) -> Path:
    return workdir / name / f"seed{seed}"


def train(workdir: Path, name: str, seed: int, steps: int) -> None:
    """Trains one run, or goes on with it, and opens its test set once when it is finished."""
    folder = folder_of(workdir, name, seed)
    spec = f"{HERE.parent.parent}/configs/deepbind_calibrated.py:{SETS[name][0]}"
    run = dragon_jax.train(load_config(spec, [f"--config.seed={seed}", f"--config.model.steps={steps}"]), folder)
    if "test" not in run.results:
        dragon_jax.evaluate(folder, "test")


def row(workdir: Path, name: str, seed: int) -> dict | None:
    """Returns the row of a finished run, else None."""
    run = RunDir(folder_of(workdir, name, seed))
    if not run.exists() or "test" not in run.results:
        return None
    valid, test = (run.results[s]["per_task"]["Bound"] for s in ("valid", "test"))
    record = run.provenance
    found = record["calibration"]
    best = found["settings"][found["chosen"]["setting"]]
    result = {
        "set": name,
        "seed": seed,
        "state": run.status["state"],
        "valid_auroc": valid["auroc"],
        "test_auroc": test["auroc"],
        "test_low": test["auroc_ci"][0],
        "test_high": test["auroc_ci"][1],
        "times_opened": run.results["test"]["times_opened"],
        "trials": len(found["settings"]),
        "non_finite": found["non_finite"],
        "never_learned": found["never_learned"],
        "held_out_loss": found["chosen"]["loss"],
        "steps": found["chosen"]["steps"],
        "steps_at_most": found["checkpoints"][-1],
    }
    result |= {k: best[k] for k in ("hidden", "learning_rate", "momentum", "dropout", "l1_detectors", "l1_dense")}
    return result | {"seconds": round(record["seconds"]["all"], 1), "code": record["code"]}


def interval(column: pd.Series) -> str:
    """Mean and half the width of the 95 % t-interval over seeds."""
    values = column.to_numpy(float)
    if len(values) < 2:
        return f"{values.mean():.4f}"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.4f} ± {half:.4f}"


def table(rows: pd.DataFrame) -> str:
    """Returns the Markdown table: a row per set, mean over seeds of valid and test auROC, and what became of the trials."""
    fixed = pd.read_csv(FIXED, sep="\t")
    fixed = fixed[fixed.config == "deepbind_encode"]
    lines = [
        "| set | DeepBind* (published), test | calibrated, test | fixed setting, test | calibrated, valid | fixed, valid | seeds | "
        "trials not finite / that never learned |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(rows.set):
        mine, theirs = rows[rows.set == name], fixed[fixed.experiment == SETS[name][0]]
        cells = [interval(f[k]) for k in ("test_auroc", "valid_auroc") for f in (mine, theirs)]
        counts = mine[["non_finite", "never_learned", "trials"]].to_numpy().astype(int).tolist()
        failed = ", ".join(f"{a} / {b} of {n}" for a, b, n in counts)
        lines.append(
            f"| {name} | {SETS[name][1]:.4f} | {' | '.join(cells)} | {len(mine)} and {len(theirs)} | {failed} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/deepbind_calibration"))
    parser.add_argument("--sets", default="ELK1,GABPA")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    wanted = [(name, seed) for seed in range(args.seeds) for name in args.sets.split(",")]
    for name, seed in wanted:
        if not args.table:
            train(args.workdir, name, seed, args.steps)
    rows = [r for w in wanted if (r := row(args.workdir, *w))]
    if not rows:
        sys.exit("no finished run yet")
    frame = pd.DataFrame(rows)
    frame.to_csv(args.out / "runs.tsv", sep="\t", index=False, float_format="%.6g")
    packages = ", ".join(f"{k} {v}" for k, v in versions().items() if k in ("python", "jax", "flax", "numpy"))
    failed = int((frame.state != "done").sum())
    text = f"{table(frame)}\n\n{len(frame)} runs, {failed} failed; {packages}; {cores()} CPU core(s).\n"
    (args.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
