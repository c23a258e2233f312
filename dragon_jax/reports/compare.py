"""Several runs side by side on one split: means, every task, and how much each run differs from the first."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dragon_jax.config import flatten
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.evaluation.bootstrap import check_settings
from dragon_jax.files import atomic_write
from dragon_jax.metrics import METRICS
from dragon_jax.reports import pairing
from dragon_jax.reports.measured import Measured, measure
from dragon_jax.reports.read import Run, per_task, read_run

_DEFAULT = ("auroc", "auprc", "pearson", "spearman", "r2")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compare_runs` found. `print` shows it as a table.

    Attributes:
        runs: what was read of each. names: a short unique name of each; the first is the reference.
        tasks: kind of each task by name. metrics: by name, in order.
        config: fields whose values are not the same in all runs: name, and a value for each run.
        notes: sentences on what was left out or could not be checked.
        level: of all intervals.
    """

    split: str
    runs: tuple[Run, ...]
    names: tuple[str, ...]
    tasks: dict[str, str]
    metrics: dict[str, Measured]
    config: list[tuple[str, list[str]]]
    notes: list[str]
    level: float

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Returns aligned tables for a terminal; of many tasks those that differ most."""
        from dragon_jax.reports.comparison_text import text

        return text(self)

    def tsv(self) -> str:
        """Returns one row for each metric, run and task, and for each mean, in full precision."""
        from dragon_jax.reports.comparison_text import tsv

        return tsv(self)

    def html(self) -> str:
        """Returns the page."""
        from dragon_jax.reports.comparison_page import comparison_page

        return comparison_page(self)

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Writes `comparison.tsv` and `comparison.html` into a folder, made when absent, and returns their paths.

        Raises:
            InputError: the folder cannot be written. RunError: the disk is full.
        """
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise InputError(f"folder {show(folder, 200)} cannot be made: {e.strerror}. Choose another --out") from e
        paths = place / "comparison.tsv", place / "comparison.html"
        for path, content in zip(paths, (self.tsv(), self.html()), strict=True):
            with atomic_write(path) as file:
                file.write(content)
        return paths


def compare_runs(
    run_dirs: Sequence[str | Path],
    split: str = "valid",
    metrics: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    *,
    allow_different_data: bool = False,
    bootstrap: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compares what runs reached on one split. Reads results and saved predictions; evaluates nothing anew.

    Differences to the first run get an interval where both runs saved predictions for the same rows: examples are
    drawn once for both (`evaluation.bootstrap.paired_difference`), so what is hard for both cancels.

    Args:
        run_dirs: at least two run directories; the first is the reference.
        metrics: names of metrics, or `loss`; the main ones of each kind of task where None.
        tasks: names; all that the runs have in common where None.
        allow_different_data: compare runs that were evaluated on different examples, without intervals of differences.
        bootstrap, seed, level: resamples, seed and level of the intervals of differences.

    Raises:
        InputError: fewer than two runs, no results on this split, no task or metric in common, an unknown name, or
            different data.
    """
    check_settings(bootstrap, seed, level)
    if len(run_dirs) < 2:
        raise InputError(f"expected at least two run directories, found {len(run_dirs)}")
    runs = tuple(read_run(d) for d in run_dirs)
    found = [_results(run, split) for run in runs]
    kinds, notes = _common_tasks(runs, found, tasks)
    names = _short_names(runs)
    chosen = _metrics(found, list(kinds), metrics)
    pairs: list[pairing.Pair | None] = [None]
    for run, name in zip(runs[1:], names[1:], strict=True):
        reason = pairing.different_data(runs[0], run, split, list(kinds))
        if reason and not allow_different_data:
            raise InputError(
                f"{show(runs[0].path, 200)} and {show(run.path, 200)} were evaluated on different data of split "
                f"'{split}': {reason}. Evaluate them on the same split, or pass --allow-different-data"
            )
        pairs.append(None if reason else pairing.pair(runs[0], run, split, list(kinds)))
        if reason:
            notes.append(
                f"{names[0]} and {name} were evaluated on different data ({reason}): no interval of differences."
            )
        elif pairs[-1] is None:
            without = [n for n, r in ((names[0], runs[0]), (name, run)) if r.predictions(split) is None]
            notes.append(
                f"No saved predictions of {' and '.join(without) or 'some tasks'}: the difference of {name} has no "
                f"interval; that the data are the same was checked by {pairing.checked_by(runs[0], run, split)}."
            )
    settings = {"n": bootstrap, "seed": seed, "level": level}
    return Comparison(
        split=split,
        runs=runs,
        names=names,
        tasks=kinds,
        metrics={m: measure(m, runs, split, list(kinds), pairs, settings) for m in chosen},
        config=_config_differences(runs),
        notes=notes + [f"{n}: {p}" for n, run in zip(names, runs, strict=True) for p in run.problems],
        level=level,
    )


def _results(run: Run, split: str) -> dict[str, dict[str, Any]]:
    found = per_task(run.results.get(split, {}))
    if not found:
        have = listing(run.results) if run.results else "none"
        if run.provenance.get("reason") == "imported" and "data" not in run.config:
            raise InputError(
                f"{show(run.path, 200)} has no results on split '{split}': expected a run with data, found a model that was "
                "imported without. Import it again with --config=CONFIG, whose part 'data' is then its own"
            )
        raise InputError(
            f"{show(run.path, 200)} has no results on split '{split}': expected an entry in results.json, "
            f"found {have}. Run dragon evaluate {show(run.path, 200)} --split={split}"
        )
    return found


def _common_tasks(
    runs: Sequence[Run], found: Sequence[dict[str, dict[str, Any]]], wanted: Sequence[str] | None
) -> tuple[dict[str, str], list[str]]:
    """Tasks that all runs have, with their kinds, and notes on those left out."""
    common = [t for t in found[0] if all(t in f for f in found)]
    for task in wanted or ():
        if task not in common:
            raise InputError(
                f"task {show(task)!r} is not in all runs{nearest(task, common)}. In all: {listing(common)}"
            )
    if not common:
        raise InputError(
            f"{show(runs[0].path, 200)} and the others have no task in common: {listing(found[0])} in the first, "
            f"{listing(found[1])} in the second. Compare runs on the same tasks"
        )
    others = sorted({t for f in found for t in f} - set(common))
    notes = [f"{len(others):,} tasks are not in all runs and left out: {listing(others)}."] if others else []
    kinds = {t: str(found[0][t].get("kind", "binary")) for t in (common if wanted is None else dict.fromkeys(wanted))}
    for task, kind in kinds.items():
        if other := {str(f[task].get("kind", "binary")) for f in found} - {kind}:
            raise InputError(f"task {show(task)!r} is {kind} in the first run and {listing(sorted(other))} in another")
    return kinds, notes


def _short_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """Names of the folders, or whole paths where those are not unique, numbered where a folder comes twice."""
    for names in ([run.name for run in runs], [str(run.path) for run in runs]):
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{run.name} ({i})" for i, run in enumerate(runs, 1))


def _metrics(found: Sequence[dict[str, dict[str, Any]]], tasks: list[str], wanted: Sequence[str] | None) -> list[str]:
    known = [m for m in ("loss", *METRICS) if all(any(m in f[t] for t in tasks) for f in found)]
    if wanted is None:
        chosen = [m for m in _DEFAULT if m in known] or known[:1]
    else:
        chosen = list(dict.fromkeys(wanted))
    for metric in chosen:
        if metric not in known:
            hint = nearest(metric.lower(), known)
            raise InputError(f"metric {show(metric)!r} is not in all results{hint}. In all: {listing(known, 20)}")
    if not chosen:
        raise InputError("the runs have no metric in common: expected auroc, auprc or others in results.json of each")
    return chosen


def _config_differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    leaves = [flatten(run.config) for run in runs]
    rows = []
    for field in dict.fromkeys(k for leaf in leaves for k in leaf):
        texts = [json.dumps(leaf[field], ensure_ascii=False) if field in leaf else "(absent)" for leaf in leaves]
        if len(set(texts)) > 1:
            rows.append((field, texts))
    return rows
