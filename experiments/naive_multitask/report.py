"""The tables and the plot of the study: gain of every way of training over a network for each track, on the test fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dragon_jax.evaluation.gains import blocks_of, discoveries, paired_gain
from dragon_jax.metrics import auprc, auroc
from dragon_jax.runs.provenance import cores, versions

METRICS = {"auroc": auroc, "auprc": auprc}
Run = tuple[str, str, int]


def predictions(folder: Path) -> dict[str, np.ndarray]:
    """Returns what a run predicted on test: `predictions` `[N, T]`, `targets`, `ids`, `tasks`."""
    with np.load(folder / "predictions" / "test.npz") as file:
        return {k: file[k] for k in ("predictions", "targets", "ids", "tasks")}


def column(found: Mapping[str, np.ndarray], track: str, ids: np.ndarray) -> np.ndarray:
    """Returns the predictions of a track in the order of `ids`."""
    at = {name: i for i, name in enumerate(found["ids"].tolist())}
    rows = np.array([at[name] for name in ids.tolist()])
    return found["predictions"][rows, found["tasks"].tolist().index(track)]


def gains(folders: Mapping[Run, Path], tracks: Sequence[str], replicates: int = 500) -> pd.DataFrame:
    """Returns a row for each way, metric and track: mean of the way, of single-task training, gain, interval, p, seeds."""
    loaded = {run: predictions(folder) for run, folder in folders.items()}
    ways = list(dict.fromkeys((kind, name) for kind, name, _ in folders if kind != "single"))
    rows = []
    for track in tracks:
        single = {seed: f for (kind, name, seed), f in loaded.items() if (kind, name) == ("single", track)}
        for kind, name in ways:
            other = {seed: f for (k, n, seed), f in loaded.items() if (k, n) == (kind, name)}
            seeds = sorted(set(single) & set(other))
            if not seeds:
                continue
            base = single[seeds[0]]
            ids, truth = base["ids"], base["targets"][:, 0].astype(float)
            blocks = blocks_of(ids.tolist())
            theirs = [column(single[s], track, ids) for s in seeds]
            ours = [column(other[s], track, ids) for s in seeds]
            known = ~np.isnan(truth)
            for label, metric in METRICS.items():
                found = paired_gain(metric, ours, theirs, truth, blocks, replicates)
                means = [float(np.mean([metric(r[known], truth[known]) for r in runs])) for runs in (theirs, ours)]
                rows.append(
                    {
                        "way": f"{kind} {name}",
                        "metric": label,
                        "track": track,
                        "prevalence": float(truth[known].mean()),
                        "single": means[0],
                        "value": means[1],
                        "gain": found.gain,
                        "low": found.low,
                        "high": found.high,
                        "p": found.p,
                        "seeds": len(seeds),
                    }
                )
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame) -> str:
    """Returns the table of ways: mean, median, 5th percentile and worst gain, and how many tracks are harmed and rescued."""
    lines = []
    for metric, part in frame.groupby("metric", sort=False):
        lines += [
            f"\n{'auROC' if metric == 'auroc' else 'auPRC'}, gain over one network a track:\n",
            "| way | mean of the way | single | mean gain | median | 5th percentile | worst | harmed | rescued | seeds |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for way, rows in part.groupby("way", sort=False):
            gain, found = rows["gain"].to_numpy(), discoveries(rows["p"].to_numpy())
            worst = rows.iloc[int(gain.argmin())]
            lines.append(
                f"| {way} | {rows['value'].mean():.4f} | {rows['single'].mean():.4f} | {gain.mean():+.4f} | {np.median(gain):+.4f} | "
                f"{np.quantile(gain, 0.05):+.4f} | {worst['gain']:+.4f} ({worst['track']}) | "
                f"{int((found & (gain < 0)).sum())} of {len(gain)} | {int((found & (gain > 0)).sum())} | {rows['seeds'].min()} |"
            )
    return "\n".join(lines)


def escape(text: str) -> str:
    """Returns a name that may hold `|` as a cell of a table."""
    return text.replace("|", "\\|")


def plot(frame: pd.DataFrame, path: Path) -> None:
    """Draws the auPRC gain of every track and way over prevalence, with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    part = frame[frame["metric"] == "auprc"]
    ways = list(dict.fromkeys(part["way"]))
    fig, axes = pyplot.subplots(1, len(ways), figsize=(2.6 * len(ways), 3.4), sharey=True, squeeze=False)
    for ax, way in zip(axes[0], ways, strict=True):
        rows = part[part["way"] == way]
        ax.axhline(0, color="0.6", lw=0.8)
        gain, low, high, share = (np.asarray(rows[k], float) for k in ("gain", "low", "high", "prevalence"))
        ax.errorbar(share, gain, np.maximum([gain - low, high - gain], 0), fmt="o", ms=4, lw=1, color="#0072b2")
        ax.set_xscale("log")
        ax.set_title(way, fontsize=9)
        ax.set_xlabel("prevalence")
    axes[0][0].set_ylabel("auPRC gain over single-task")
    fig.tight_layout()
    fig.savefig(path, dpi=110)


def write_tables(folders: Mapping[Run, Path], tracks: Sequence[str], planned: int, failed: list, out: Path) -> str:
    """Writes `gains.tsv`, `table.md` and `gains.png`, and returns the text of the table."""
    frame = gains(folders, tracks)
    if frame.empty:
        return "no track has both a network of its own and a joint one yet"
    frame.to_csv(out / "gains.tsv", sep="\t", index=False, float_format="%.5f")
    plot(frame, out / "gains.png")
    found = versions()
    about = ", ".join(f"{k} {found[k]}" for k in ("python", "jax", "flax", "numpy"))
    text = (
        summary(frame.assign(track=frame["track"].map(escape))).strip()
        + f"\n\n{len(folders)} of {planned} planned runs finished, {len(failed)} failed; {about}; {cores()} CPU cores. Harmed and rescued: "
        "tracks with a gain below or above 0 at a false discovery rate of 5 %, over seeds and blocks of 5 Mb.\n"
    )
    (out / "table.md").write_text(text)
    return text
