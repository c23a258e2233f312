"""The verbs of the project in Python; the command line adds nothing but flags and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dragon_jax.config import plain
from dragon_jax.data.dataset import Kind
from dragon_jax.data.grammar_source import GrammarSource
from dragon_jax.data.load import data_config
from dragon_jax.data.prepare import prepare
from dragon_jax.data.simulate import Written, simulate_to
from dragon_jax.errors import InputError, show
from dragon_jax.evaluation.chance import verdict
from dragon_jax.evaluation.run import evaluate_run
from dragon_jax.reports.compare import Comparison, compare_runs
from dragon_jax.reports.page import write_report
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.exports import export
from dragon_jax.runs.finetune import FinetuneOptions, finetune_heads
from dragon_jax.runs.fit import Trained, fit
from dragon_jax.runs.imports import Options, import_run
from dragon_jax.runs.predictor import BaselinePredictor, NetworkPredictor
from dragon_jax.runs.predictor import load as _load
from dragon_jax.runs.settings import template
from dragon_jax.runtime import check_device, enable_compilation_cache

__all__ = [
    "compare",
    "evaluate",
    "export",
    "import_weights",
    "load",
    "prepare",
    "report",
    "simulate",
    "template",
    "train",
]


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def train(
    config: Any,
    workdir: str | os.PathLike,
    *,
    say: Callable[[str], None] = _print,
    stop: Callable[[], int] = lambda: 0,
    quiet: bool = False,
) -> RunDir:
    """Trains, evaluates on valid and writes the report; goes on where an earlier call stopped.

    A finished run is not trained again; results or a report that have been deleted are made again from its best
    checkpoint.

    Args:
        config: an `ml_collections.ConfigDict` (see `template`) or plain dictionaries.
        workdir: the run directory, new, or that of the same config.
        say: takes lines for the user. stop: returns the number of a signal to stop for, or 0.
        quiet: no progress at all.

    Raises:
        InputError: bad config or data, or a directory that belongs to something else.
        RunError: the run failed (for example a non-finite loss).
        dragon_jax.training.trainer.Stopped: `stop` asked; everything is saved.
    """
    check_device()
    enable_compilation_cache()
    if quiet:
        say = lambda line: None  # noqa: E731

    def after(trained: Trained) -> dict[str, Any]:
        result = evaluate_run(trained.run, "valid", trained.data.parts["valid"])
        say(headline(result, "valid"))
        problem = verdict(result, network=trained.settings.is_network)
        return {"state": "failed", "reason": problem} if problem else {}

    trained = fit(config, str(workdir), say=say, stop=stop, quiet=quiet, after=after)
    rebuilt = not trained.fresh and _rebuild_results(trained, say)
    if trained.fresh or rebuilt or not trained.run["report.html"].exists():
        say(f"report: {write_report(trained.run.path)}")
    return trained.run


def _rebuild_results(trained: Trained, say: Callable[[str], None]) -> bool:
    """Evaluates a finished run on valid again when its results are gone; returns whether that was so."""
    run = trained.run
    finished = f"{run} is finished already ({run.status['state']})"
    if "valid" in run.results:
        say(f"{finished}; nothing to do" if run["report.html"].exists() else f"{finished}; its report is gone")
        return False
    say(f"{finished}, but its results on valid are gone; worked out again from its best checkpoint")
    with run.claim():
        result = evaluate_run(run, "valid", trained.data.parts["valid"])
    say(headline(result, "valid"))
    if run.provenance.get("test_opened") and "test" not in run.results:
        say(f"note: its results on test are gone too; dragon evaluate {run} --split=test opens the split once more")
    return True


def headline(result: dict[str, Any], split: str) -> str:
    """Returns one line with the mean metrics of a result and their intervals."""
    parts = []
    tables = list(result["per_task"].values())
    for name in ("auroc", "auprc", "pearson", "spearman", "r2", "poisson_deviance"):
        value = result["mean"].get(name)
        if value is not None:
            interval = tables[0].get(f"{name}_ci") if len(tables) == 1 else (result.get("mean_ci") or {}).get(name)
            parts.append(f"{name} {value:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""))
    if profiles := result.get("profiles"):
        shown = [profiles["mean"].get(k) for k in ("jsd", "jsd_mean", "jsd_flat")]
        if None not in shown:
            parts.append("profile divergence {:.4f} bits (mean profile of train {:.4f}, even {:.4f})".format(*shown))
    return f"{split}: {f'mean over {len(tables)} tasks: ' if len(tables) > 1 else ''}{', '.join(parts) or 'no metric is defined'}"


def load(run: str | os.PathLike, step: int | None = None) -> NetworkPredictor | BaselinePredictor:
    """Returns the predictor of a run directory: `load("runs/X").predict(sequences)`; see `runs.predictor.load`."""
    enable_compilation_cache()
    return _load(os.fspath(run), step)


def import_weights(
    family: str,
    file: str | os.PathLike,
    workdir: str | os.PathLike,
    *,
    config: Any = None,
    window: str = "whole",
    task: str | None = None,
    kind: Kind = "binary",
    say: Callable[[str], None] = _print,
) -> RunDir:
    """Makes a run directory of published weights: it predicts, and with data it is evaluated, like any other.

    Args:
        family: `deepbind`, the parameter files of the released DeepBind models; `lsgkm`, a model file of LS-GKM;
            `factornet`, the folder or HDF5 file of a released FactorNet model; `dragonn`, weights of
            DragoNN with their layers beside them; `exported`, a folder of `export`; all in `runs.imports.FAMILIES`.
        file: the weights. workdir: new run directory.
        config: a config of any model; its parts `data`, `evaluate` and `seed` become those of the run, which is evaluated on
            valid at once. None = without data.
        window, task, kind: see `runs.imports.Options`; with a config its own task counts.
        say: takes lines for the user.

    Raises:
        InputError: unknown family, a file that is none, a directory that holds a run, or bad data.
    """
    check_device()
    enable_compilation_cache()
    options = Options(window=window, task=task, kind=kind)
    run = import_run(family, file, workdir, config=config, options=options, say=say)
    if config is not None:
        say(headline(evaluate_run(run, "valid"), "valid"))
        say(f"report: {write_report(run.path)}")
    return run


def finetune(
    run: str | os.PathLike, workdir: str | os.PathLike, *, say: Callable[[str], None] = _print, **options: Any
) -> RunDir:
    """Trains the heads of all tasks on the frozen network of a run, each on its own, and evaluates the new run on valid.

    Args:
        run: the reference. workdir: new run directory.
        options: fields of `runs.finetune.FinetuneOptions`.

    Raises:
        InputError: see `runs.finetune.finetune_heads`.
    """
    check_device()
    enable_compilation_cache()
    made = finetune_heads(run, workdir, FinetuneOptions(**options), say=say)
    say(headline(evaluate_run(made, "valid"), "valid"))
    say(f"report: {write_report(made.path)}")
    return made


def evaluate(run: str | os.PathLike, split: str = "valid") -> dict[str, Any]:
    """Evaluates a run on a split and returns what `results.json` holds; see `evaluation.run.evaluate_run`."""
    check_device()
    enable_compilation_cache()
    result = evaluate_run(os.fspath(run), split)
    write_report(Path(RunDir(run).path))
    return result


def simulate(config: Any, out: str | os.PathLike, *, seed: int | None = None) -> Written:
    """Writes the simulation of a config with source `grammar` into a folder; see `data.simulate.simulate_to`.

    Args:
        config: a config, or a plain dictionary with only `{"data": {"source": {"name": "grammar", ...}}}`.
        out: new folder. seed: of the draw, instead of that of the source.

    Raises:
        InputError: bad config, another source, or a folder that holds something else.
    """
    raw = plain(config)
    data = raw.get("data") or {}
    if seed is not None:
        data = data | {"source": dict(data.get("source") or {}) | {"seed": seed}}
    source = data_config(data).source
    if not isinstance(source, GrammarSource):
        raise InputError(f"data.source.name: expected 'grammar' to simulate, found '{show(data['source']['name'])}'")
    return simulate_to(out, source, raw.get("seed", 0))


def report(run: str | os.PathLike) -> Path:
    """Writes `report.html` of a run anew and returns its path."""
    folder = RunDir(run)
    if not folder.exists():
        raise InputError(f"{folder} is no run directory: expected one made by 'dragon train'")
    return write_report(folder.path)


def compare(
    runs: Sequence[str | os.PathLike],
    *,
    split: str = "valid",
    allow_different_data: bool = False,
    out: str | os.PathLike | None = None,
) -> Comparison:
    """Compares runs on one split; see `reports.compare.compare_runs`. With `out`, also writes TSV and page there."""
    comparison = compare_runs([os.fspath(r) for r in runs], split, allow_different_data=allow_different_data)
    if out is not None:
        comparison.write(os.fspath(out))
    return comparison
