"""A run directory as it lies on disk, read for showing.

A report is also made of a run that still goes on, was killed or holds no predictions. So nothing here insists: what is
absent is empty, what cannot be read is empty and named in `problems`, and the page says so in words.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dragon_jax.errors import InputError, show
from dragon_jax.training.logs import read_metrics, torn_sentence

_PARTS = ("config.json", "provenance.json", "status.json", "results.json", "metrics.jsonl", "model.txt")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a run predicted for one split, beside what was measured.

    Attributes:
        values: float32 `[N, T]`: probability (binary), value (real), rate (count).
        targets: float32 `[N, T]`, NaN = not measured.
        ids: text `[N]`. tasks, kinds: T names.
    """

    values: np.ndarray
    targets: np.ndarray
    ids: np.ndarray
    tasks: tuple[str, ...]
    kinds: tuple[str, ...]

    def columns(self, task: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns predictions and targets, float32 `[N]` each, of one task."""
        at = self.tasks.index(task)
        return np.ascontiguousarray(self.values[:, at]), np.ascontiguousarray(self.targets[:, at])


@dataclasses.dataclass(frozen=True)
class Run:
    """The parts of one run directory.

    Attributes:
        outputs: name and kind of every task, as the run wrote them into model.json when it started.
        results: per split `{"n", "loss", "mean", "median", "per_task"}`, as evaluation wrote it.
        log: the lines of metrics.jsonl in order.
        model: the printed summary of the model.
        problems: what could not be read, a sentence each.
    """

    path: Path
    config: dict[str, Any]
    provenance: dict[str, Any]
    status: dict[str, Any]
    results: dict[str, dict[str, Any]]
    log: list[dict[str, Any]]
    model: str
    outputs: dict[str, str]
    problems: list[str]

    @property
    def name(self) -> str:
        return self.path.resolve().name or str(self.path)

    def history(self, split: str) -> list[dict[str, Any]]:
        """Returns the lines of metrics.jsonl about `split` that carry a step, in order of steps."""
        rows = [r for r in self.log if r.get("split") == split and math.isfinite(number(r.get("step")))]
        return sorted(rows, key=lambda r: r["step"])

    @functools.cached_property
    def _predictions(self) -> dict[str, Predictions | None]:
        return {}

    def predictions(self, split: str) -> Predictions | None:
        """Returns the saved predictions of `split`, or None; damage is added to `problems` once."""
        if split not in self._predictions:
            self._predictions[split] = _read_predictions(self.path / "predictions" / f"{split}.npz", self.problems)
        return self._predictions[split]

    def tasks(self) -> dict[str, str]:
        """Returns name and kind of every task, in their order, from whatever part of the run names them."""
        found = dict(self.outputs)
        for split in self.splits():
            for task, values in per_task(self.results.get(split, {})).items():
                found.setdefault(task, str(values.get("kind", "binary")))
            if (saved := self.predictions(split)) is not None:
                for task, kind in zip(saved.tasks, saved.kinds, strict=True):
                    found.setdefault(task, kind)
        return found

    def splits(self) -> list[str]:
        """Returns the splits with results or predictions: train, valid, test, then others by name."""
        saved = {p.stem for p in (self.path / "predictions").glob("*.npz")}
        order = {"train": 0, "valid": 1, "test": 2}
        return sorted(saved | set(self.results), key=lambda s: (order.get(s, 3), s))


def read_run(run_dir: str | Path) -> Run:
    """Reads what a run directory holds.

    Raises:
        InputError: there is no such directory, or it holds none of the files of a run.
    """
    path = Path(run_dir)
    if not path.is_dir():
        raise InputError(
            f"no run directory {show(run_dir, 200)}: expected a folder made by dragon train. Check the path"
        )
    if not any((path / part).is_file() for part in _PARTS):
        raise InputError(
            f"{show(run_dir, 200)} is not a run directory: expected config.json or results.json in it, found neither. "
            "Pass the --workdir of dragon train"
        )
    problems: list[str] = []
    results = _read_json(path / "results.json", problems)
    return Run(
        path=path,
        config=_read_json(path / "config.json", problems),
        provenance=_read_json(path / "provenance.json", problems),
        status=_read_json(path / "status.json", problems),
        results={k: v for k, v in results.items() if isinstance(v, dict)},
        log=_read_lines(path / "metrics.jsonl", problems),
        model=_read_text(path / "model.txt", problems),
        outputs=_outputs(_read_json(path / "model.json", problems)),
        problems=problems,
    )


def per_task(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the per-task part of one split's results; empty where there is none."""
    return {k: v for k, v in section(results, "per_task").items() if isinstance(v, dict)}


def section(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Returns a dictionary inside another; empty where it is absent or something else."""
    found = tree.get(key)
    return found if isinstance(found, dict) else {}


def number(value: object) -> float:
    """Returns a JSON value as a float; everything that is not a number (null, text, true) is NaN."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def interval(values: Mapping[str, Any], metric: str) -> tuple[float, float]:
    """Returns the interval `METRIC_ci` beside a metric, NaN where there is none."""
    found = values.get(f"{metric}_ci")
    if isinstance(found, list | tuple) and len(found) == 2:
        return number(found[0]), number(found[1])
    return math.nan, math.nan


def _outputs(model: Mapping[str, Any]) -> dict[str, str]:
    tasks = model.get("tasks")
    entries = [t for t in tasks if isinstance(t, dict)] if isinstance(tasks, list) else []
    return {str(t["name"]): str(t["kind"]) for t in entries if "name" in t and "kind" in t}


def _read_text(path: Path, problems: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as e:
        problems.append(f"{path.name} could not be read ({type(e).__name__}).")
        return ""


def _read_json(path: Path, problems: list[str]) -> dict[str, Any]:
    text = _read_text(path, problems)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    problems.append(f"{path.name} is not a complete JSON object; its part of the page is empty.")
    return {}


def _read_lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    try:
        rows, torn = read_metrics(path)
    except OSError as e:
        problems.append(f"{path.name} could not be read ({type(e).__name__}).")
        return []
    if torn:
        problems.append(f"{torn_sentence(path.name, torn)}.")
    return rows


def _read_predictions(path: Path, problems: list[str]) -> Predictions | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            values, targets = (np.asarray(file[k], np.float32) for k in ("predictions", "targets"))
            ids, tasks, kinds = (np.asarray(file[k]) for k in ("ids", "tasks", "kinds"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
        problems.append(f"predictions/{path.name} could not be read ({type(e).__name__}); its figures are left out.")
        return None
    vectors = ids.ndim == tasks.ndim == kinds.ndim == 1 and kinds.shape == tasks.shape
    if not vectors or not values.shape == targets.shape == (len(ids), len(tasks)):
        problems.append(f"predictions/{path.name}: its arrays do not fit together; its figures are left out.")
        return None
    return Predictions(values, targets, ids, tuple(map(str, tasks)), tuple(map(str, kinds)))
