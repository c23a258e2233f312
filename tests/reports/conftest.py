"""Run directories made of random numbers, whole or with parts missing, written as the package writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from dragon_jax.data.dataset import Task
from dragon_jax.evaluation.evaluate import chosen_thresholds, evaluate_predictions


def scores(
    rng: np.random.Generator, targets: np.ndarray, tasks: Sequence[Task], skill: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns predictions and raw predictions, float32 `[N, T]`, that know the targets more or less well."""
    filled = np.nan_to_num(targets, nan=0.0).astype(np.float64)
    raw = np.empty_like(filled)
    for t, task in enumerate(tasks):
        noise = rng.normal(size=len(targets))
        if task.kind == "binary":
            raw[:, t] = skill * (0.5 + t / len(tasks)) * (2 * filled[:, t] - 1) + noise - 1
        elif task.kind == "real":
            raw[:, t] = skill * filled[:, t] + noise
        else:
            raw[:, t] = np.log(filled[:, t] + 1) + 0.4 * noise
    values = raw.copy()
    for t, task in enumerate(tasks):
        if task.kind == "binary":
            values[:, t] = 1 / (1 + np.exp(-raw[:, t]))
        elif task.kind == "count":
            values[:, t] = np.exp(raw[:, t])
    return values.astype(np.float32), raw.astype(np.float32)


def measured(rng: np.random.Generator, n: int, tasks: Sequence[Task]) -> np.ndarray:
    """Returns targets, float32 `[N, T]`: rarer positives in later tasks, a few labels missing."""
    targets = np.empty((n, len(tasks)), np.float32)
    for t, task in enumerate(tasks):
        if task.kind == "binary":
            targets[:, t] = rng.random(n) < 0.5 / (1 + t / 3)
        elif task.kind == "real":
            targets[:, t] = rng.normal(size=n)
        else:
            targets[:, t] = rng.poisson(rng.gamma(1.0, 20.0, n))
    if len(tasks) > 1:
        targets[rng.random(targets.shape) < 0.05] = np.nan
    return targets


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes a run directory and gives its path."""

    def make(
        name: str = "run",
        tasks: Sequence[Task] = (Task("CTCF"),),
        *,
        n: int = 600,
        skill: float = 1.5,
        seed: int = 0,
        data_seed: int = 7,
        state: str = "done",
        splits: Sequence[str] = ("valid", "test"),
        predictions: bool = True,
        bootstrap: int = 50,
        change: Callable[[str, np.ndarray], None] = lambda split, targets: None,
        config: dict | None = None,
        evaluations: int = 12,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        rng = np.random.default_rng(seed)
        monitor = "auroc" if tasks[0].kind == "binary" else "pearson"
        base = {
            "seed": seed,
            "data": {"source": {"name": "table", "path": "$DRAGON_DATA/peaks.tsv.gz"}},
            "model": {"name": "convnet", "filters": [320, 480, 960], "dropout": 0.2},
            "train": {
                "batch_size": 128,
                "epochs": 20.0,
                "monitor": monitor,
                "mode": "auto",
                "patience": 5,
                "min_delta": 0.0,
            },
            "evaluate": {"threshold": "f1", "bootstrap": bootstrap},
        }
        write(folder / "config.json", base | (config or {}))
        write(folder / "model.json", {"length": 200, "tasks": [{"name": t.name, "kind": t.kind} for t in tasks]})
        results: dict = {}
        recorded = {
            "train": {
                "n": 8 * n,
                "length": 200,
                "fingerprint": "aa11" * 16,
                "tasks": {t.name: {"measured": 8 * n, "mean": 0.31} for t in tasks},
            }
        }
        for split in splits:
            targets = measured(np.random.default_rng([data_seed, len(split)]), n, tasks)
            change(split, targets)
            values, raw = scores(rng, targets, tasks, skill)
            results[split] = evaluate_predictions(
                values,
                raw,
                targets,
                tasks,
                thresholds=chosen_thresholds(results["valid"]) if "valid" in results else None,
                bootstrap=bootstrap,
            )
            if split != "test":
                recorded[split] = {"n": n, "length": 200, "fingerprint": f"{data_seed:04d}" * 16, "tasks": {}}
            if predictions:
                (folder / "predictions").mkdir(exist_ok=True)
                np.savez(
                    folder / "predictions" / f"{split}.npz",
                    predictions=values,
                    raw=raw,
                    targets=targets,
                    ids=np.array([f"chr{1 + i % 22}:{1000 * i}-{1000 * i + 200}" for i in range(n)]),
                    tasks=np.array([t.name for t in tasks]),
                    kinds=np.array([t.kind for t in tasks]),
                )
        if results:
            write(folder / "results.json", results)
        provenance = {
            "started": "2025-11-20T09:00:00+00:00",
            "command": ["dragon", "train", "--config=configs/x.py", f"--workdir=runs/{name} a"],
            "code": "0123456789abcdef",
            "versions": {"python": "3.11.2", "dragon_jax": "0.1.0", "jax": "0.10.2"},
            "device": "cpu",
            "seed": seed,
            "data_fingerprint": f"{data_seed:04d}{seed:04d}" * 8,
            "data": recorded,
            "data_notes": {"duplicates dropped": 12},
            "seconds": {"to_first_step": 3.2, "all": 61.0},
        }
        if "test" in splits:
            provenance["test_opened"] = ["2025-11-20T10:00:00+00:00"]
        write(folder / "provenance.json", provenance)
        write(
            folder / "status.json",
            {"state": state, "step": 200 * evaluations, "finished": "2025-11-20T09:10:00+00:00"}
            if state == "done"
            else {"state": state, "step": 500},
        )
        with open(folder / "metrics.jsonl", "w") as out:
            for i in range(evaluations):
                common = {"step": 200 * (i + 1), "epoch": (i + 1) / 4}
                per_task = {t.name: {"loss": 0.5} for t in tasks}
                out.write(
                    json.dumps({**common, "split": "train", "loss": 0.69 * 0.85**i + 0.1, "per_task": per_task}) + "\n"
                )
                value = 0.95 - 0.4 * 0.7**i - 0.004 * max(0, i - 7)
                row = {
                    **common,
                    "split": "valid",
                    "loss": 0.69 * 0.88**i + 0.18 + 0.006 * i,
                    "mean": {monitor: value, "spearman" if monitor == "pearson" else "auprc": value - 0.06},
                }
                out.write(json.dumps(row | {"per_task": per_task}) + "\n")
        (folder / "model.txt").write_text("layer     shape         parameters\nconv_1    [188, 320]        16,960\n")
        return folder

    return make


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))
