"""Trains the 109-task network and the k-mer ridge with several seeds on chr10-held-out data and writes the tables.

    python experiments/encode_multitask/run.py --workdir=runs/encode_multitask [--seeds=3]

Finished runs are kept. There is no test split here: all figures are of valid (chr10), which also chose the checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import dragon_jax
from dragon_jax.config_flags import load_config
from dragon_jax.runs.provenance import cores, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def ridge_config():
    """The reference: ridge regression on 6-mers, one strength for all tasks, on the same rows."""
    network = load_config(f"{ROOT}/configs/encode_multitask.py")
    c = dragon_jax.template(model="kmer", source="table", kind="linear", k=(6,), scale="each", per_task=False)
    c.data = network.data
    return c


def half_interval(values: np.ndarray) -> float:
    """Half the width of the 95 % t-interval of a mean over seeds."""
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/encode_multitask"))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    ridge = dragon_jax.train(ridge_config(), args.workdir / "ridge").results["valid"]
    runs = []
    for seed in range(args.seeds):
        config = load_config(f"{ROOT}/configs/encode_multitask.py", [f"--config.seed={seed}"])
        runs.append(dragon_jax.train(config, args.workdir / f"seed{seed}"))
    results = [r.results["valid"] for r in runs]
    tasks = pd.DataFrame(
        [
            {
                "task": name,
                "n_positive": ridge["per_task"][name]["n_positive"],
                "prevalence": ridge["per_task"][name]["prevalence"],
                "ridge_auroc": ridge["per_task"][name]["auroc"],
                "ridge_auprc": ridge["per_task"][name]["auprc"],
                "network_auroc": np.mean([r["per_task"][name]["auroc"] for r in results]),
                "network_auprc": np.mean([r["per_task"][name]["auprc"] for r in results]),
            }
            for name in ridge["per_task"]
        ]
    )
    tasks.to_csv(HERE / "tasks.tsv", sep="\t", index=False, float_format="%.5f")
    lines = [
        "| model | mean valid auROC | median | mean auPRC | tasks above ridge | seconds |",
        "|---|---|---|---|---|---|",
    ]
    mean = ridge["mean"]
    lines.append(
        f"| ridge on 6-mers | {mean['auroc']:.4f} | {ridge['median']['auroc']:.4f} | {mean['auprc']:.4f} | - | - |"
    )
    for seed, (run, r) in enumerate(zip(runs, results, strict=True)):
        better = sum(r["per_task"][t]["auroc"] > ridge["per_task"][t]["auroc"] for t in ridge["per_task"])
        seconds = run.provenance["seconds"]["all"]
        lines.append(
            f"| hybrid, seed {seed} | {r['mean']['auroc']:.4f} | {r['median']['auroc']:.4f} | {r['mean']['auprc']:.4f} | "
            f"{better} of {len(ridge['per_task'])} | {seconds:.0f} |"
        )
    values = np.array([r["mean"]["auroc"] for r in results])
    packages = ", ".join(f"{k} {v}" for k, v in versions().items() if k in ("python", "jax", "flax", "optax", "numpy"))
    failed = sum(r.status["state"] != "done" for r in runs)
    text = "\n".join(lines)
    if len(values) > 1:
        text += (
            f"\n\nHybrid over {len(values)} seeds: {values.mean():.4f} ± {half_interval(values):.4f} (95 % t-interval);"
        )
        text += f" {failed} failed."
    text += f"\n{packages}; {cores()} CPU cores.\n"
    (HERE / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
