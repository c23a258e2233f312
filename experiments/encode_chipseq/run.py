"""Trains every config on every ENCODE experiment with several seeds, opens each test set once, and writes the tables.

    python experiments/encode_chipseq/run.py --workdir=runs/encode_chipseq [--configs=encode_kmer,...] [--seeds=3]

Finished runs are kept, so the same command goes on where it stopped. Nothing here reads a test label before a run is
finished, and nothing is chosen by one.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from scipy import stats

import dragon_jax
from dragon_jax.config_flags import load_config
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.provenance import cores, versions

HERE = Path(__file__).resolve().parent
# Published test auROC of DeepBind trained on all peaks ("DeepBind*"), supplementary table of Alipanahi et al. 2015.
DEEPBIND = {
    "ARID3A_K562_ARID3A_(sc-8821)_Stanford": 0.88754,
    "ELK1_GM12878_ELK1_(1277-1)_Stanford": 0.95285,
    "GABPA_GM12878_GABP_HudsonAlpha": 0.97970,
    "REST_GM12878_NRSF_HudsonAlpha": 0.99934,
    "SP1_GM12878_SP1_HudsonAlpha": 0.90003,
    "USF1_HepG2_USF-1_HudsonAlpha": 0.99298,
    "ZBTB7A_HepG2_ZBTB7A_(SC-34508)_HudsonAlpha": 0.87414,
}


def experiments() -> list[str]:
    """Returns the prefixes of all experiments in the data folder."""
    folder = Path(os.environ.get("DRAGON_DATA", "data")) / "deepbind_encode"
    return sorted(p.name.removesuffix("_AC.seq.gz") for p in folder.glob("*_AC.seq.gz"))


def one_run(config: str, name: str, seed: int, workdir: Path) -> dict:
    """Trains (or finds trained) one run and returns its row of the table."""
    folder = workdir / config / name.split("_")[0] / f"seed{seed}"
    spec = f"{HERE.parent.parent}/configs/{config}.py:{name}"
    run = dragon_jax.train(load_config(spec, [f"--config.seed={seed}"]), folder)
    if "test" not in run.results:
        dragon_jax.evaluate(folder, "test")
    run = RunDir(folder)
    valid, test = (run.results[s]["per_task"]["Bound"] for s in ("valid", "test"))
    return {
        "config": config,
        "experiment": name,
        "seed": seed,
        "state": run.status["state"],
        "valid_auroc": valid["auroc"],
        "valid_auprc": valid["auprc"],
        "test_auroc": test["auroc"],
        "test_low": test["auroc_ci"][0],
        "test_high": test["auroc_ci"][1],
        "test_auprc": test["auprc"],
        "times_opened": run.results["test"]["times_opened"],
        "best_step": run.provenance.get("best_step", 0),
        "seconds": round(run.provenance["seconds"]["all"], 1),
        "code": run.provenance["code"],
    }


def interval(values: np.ndarray) -> float:
    """Half the width of the 95 % t-interval of a mean over seeds."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def tables(rows: pd.DataFrame) -> str:
    """Returns the Markdown table: one row per experiment, mean test auROC over seeds with its 95 % interval."""
    configs = list(dict.fromkeys(rows.config))
    lines = [
        "| experiment | DeepBind* (published) | " + " | ".join(configs) + " |",
        "|---|---|" + "---|" * len(configs),
    ]
    for name in dict.fromkeys(rows.experiment):
        cells = []
        for config in configs:
            values = rows[(rows.config == config) & (rows.experiment == name)].test_auroc.to_numpy()
            cells.append(f"{values.mean():.4f} ± {interval(values):.4f}" if len(values) > 1 else f"{values.mean():.4f}")
        published = f"{DEEPBIND[name]:.4f}" if name in DEEPBIND else "-"
        lines.append(f"| {name.split('_')[0]} | {published} | " + " | ".join(cells) + " |")
    means = []
    for config in configs:
        by_seed = rows[rows.config == config].groupby("seed").test_auroc.mean().to_numpy()
        means.append(f"{by_seed.mean():.4f} ± {interval(by_seed):.4f}" if len(by_seed) > 1 else f"{by_seed.mean():.4f}")
    lines.append(
        f"| **mean** | {np.mean(list(DEEPBIND.values())):.4f} | " + " | ".join(f"**{m}**" for m in means) + " |"
    )
    return "\n".join(lines)


def plot(rows: pd.DataFrame, path: Path) -> None:
    """One dot per run, grouped by experiment, with the published value as a bar."""
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    names, configs = list(dict.fromkeys(rows.experiment)), list(dict.fromkeys(rows.config))
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, name in enumerate(names):
        if name in DEEPBIND:
            axes.plot(
                [i - 0.35, i + 0.35],
                [DEEPBIND[name]] * 2,
                color="0.3",
                lw=2,
                label="DeepBind*, published" if not i else None,
            )
        for j, config in enumerate(configs):
            values = rows[(rows.config == config) & (rows.experiment == name)].test_auroc.to_numpy()
            x = i + (j - (len(configs) - 1) / 2) * 0.2
            axes.plot([x] * len(values), values, "o", ms=5, color=f"C{j}", alpha=0.8, label=config if not i else None)
    axes.set_xticks(range(len(names)), [n.split("_")[0] for n in names])
    axes.set_ylabel("test auROC (500 peaks, 500 shuffles)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, ncols=2)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/encode_chipseq"))
    parser.add_argument("--configs", default="encode_kmer,deepbind_encode,encode_tf")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    names = experiments()
    if not names:
        sys.exit(
            "no *_AC.seq.gz in $DRAGON_DATA/deepbind_encode: set DRAGON_DATA to the folder that holds deepbind_encode"
        )
    rows = []
    for config in args.configs.split(","):
        for seed in range(args.seeds):
            for name in names:
                rows.append(one_run(config, name, seed, args.workdir))
                print(
                    f"{config} {name} seed {seed}: valid {rows[-1]['valid_auroc']:.4f}, test {rows[-1]['test_auroc']:.4f}",
                    flush=True,
                )
    frame = pd.DataFrame(rows)
    frame.to_csv(args.out / "runs.tsv", sep="\t", index=False, float_format="%.6f")
    packages = ", ".join(
        f"{k} {v}" for k, v in versions().items() if k in ("python", "jax", "flax", "optax", "numpy", "scikit-learn")
    )
    failed = int((frame.state != "done").sum())
    text = (
        f"{tables(frame)}\n\n{len(frame)} runs, {failed} failed; {args.seeds} seeds; {packages}; {cores()} CPU cores.\n"
    )
    (args.out / "table.md").write_text(text)
    plot(frame, args.out / "test_auroc.png")
    print(text)


if __name__ == "__main__":
    main()
