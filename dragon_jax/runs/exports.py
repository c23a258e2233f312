"""`dragon export`: what a run can be written as."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dragon_jax.baselines.gkmsvm import GkmModel
from dragon_jax.baselines.lsgkm_files import write_model
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.models.deepbind import DeepBindConfig
from dragon_jax.models.deepbind_files import DeepBindParameters, write_deepbind
from dragon_jax.runs.directory import RunDir, read_json
from dragon_jax.runs.exported import export_run, links
from dragon_jax.runs.predictor import BaselinePredictor, NetworkPredictor, load
from dragon_jax.runs.settings import parse
from dragon_jax.training.checkpoints import to_leaves


def _safetensors(run: RunDir, out: str | os.PathLike, step: int | None, task: str | None) -> None:
    if task is not None:
        raise InputError(
            "export: a folder holds all tasks of a model. Leave --task out, or choose --format=lsgkm or deepbind"
        )
    export_run(run, out, step)


def _lsgkm(run: RunDir, out: str | os.PathLike, step: int | None, task: str | None) -> None:
    predictor = load(run, step)
    model = predictor.model if isinstance(predictor, BaselinePredictor) else None
    if not isinstance(model, GkmModel):
        raise InputError(f"{run} holds no gkm-SVM: expected a run of model 'gkmsvm' to write as LS-GKM reads it")
    write_model(model, out, task)


def _deepbind(run: RunDir, out: str | os.PathLike, step: int | None, task: str | None) -> None:
    predictor = load(run, step)
    ready = getattr(predictor.model, "parameters", None) if isinstance(predictor, BaselinePredictor) else None
    if isinstance(ready, DeepBindParameters):
        _column(predictor, task)
        return write_deepbind(out, ready)
    if not isinstance(predictor, NetworkPredictor) or not isinstance(predictor.model.config, DeepBindConfig):
        raise InputError(f"{run} holds no network 'deepbind': expected one to write as released parameters are")
    settings, outputs = parse(run.config, imported=True), read_json(run["model.json"])
    write_deepbind(out, deepbind_parameters(predictor, links(settings, outputs)[_column(predictor, task)]))


# Format -> how it is written: run, path, step or None, task or None.
FORMATS: dict[str, Callable[[RunDir, str | os.PathLike, int | None, str | None], None]] = {
    "safetensors": _safetensors,
    "lsgkm": _lsgkm,
    "deepbind": _deepbind,
}


def export(
    run: str | os.PathLike,
    out: str | os.PathLike,
    format: str = "safetensors",
    *,
    step: int | None = None,
    task: str | None = None,
) -> Path:
    """Writes the best weights of a run, or those of a step, for use elsewhere; `runs.imports` reads them back.

    Args:
        run: run directory.
        out: new folder for `safetensors`; a file for `lsgkm` (of a `gkmsvm`) and `deepbind` (of a network `deepbind` with
            the released architecture, calibrated, trained or imported), which hold one task each.
        task: which, where a model has several.

    Raises:
        InputError: no run, an unknown format, a model or task that the format cannot hold, or a path that cannot be written.
    """
    if format not in FORMATS:
        raise InputError(f"export: expected {listing(FORMATS)}, found '{show(format)}'{nearest(format, list(FORMATS))}")
    FORMATS[format](RunDir(run), out, step, task)
    return Path(out)


def _column(predictor: NetworkPredictor | BaselinePredictor, task: str | None) -> int:
    names = [t.name for t in predictor.tasks]
    if task is None and len(names) > 1:
        raise InputError(
            f"a DeepBind parameter file holds one task: expected one of {listing(names)}, found none named"
        )
    if task is not None and task not in names:
        raise InputError(f"no task called '{show(task)}'{nearest(task, names)}. Tasks: {listing(names)}")
    return 0 if task is None else names.index(task)


def deepbind_parameters(predictor: NetworkPredictor, link: Mapping[str, Any]) -> DeepBindParameters:
    """Returns one output of a network `deepbind` as released parameters, whose score is its `raw` prediction.

    The correction of balanced or weighted training, and mean and scale of a real task, go into the last layer.

    Args:
        link: the entry of the output in `exported.links`.

    Raises:
        InputError: what the file cannot say: averaged strands, unknown bases that do not count 0.25, or a count.
    """
    config = predictor.model.config
    assert isinstance(config, DeepBindConfig)
    if config.strands not in ("maximum", "none") or config.unknown != 0.25 or link["link"] == "exp":
        raise InputError(
            f"model.strands '{config.strands}', model.unknown {config.unknown:g}, link {link['link']}: expected 'maximum' or 'none', "
            "0.25 and a binary or real task, as in the released models. Export it as safetensors"
        )
    column = [t.name for t in predictor.tasks].index(link["task"])
    found = {k.removeprefix("params/"): np.asarray(v, np.float32) for k, v in to_leaves(predictor.variables).items()}
    head, bias = found["head/kernel"][:, [column]].astype(np.float64), found["head/bias"][[column]].astype(np.float64)
    last = [(head * link["scale"]), (bias - link["shift"]) * link["scale"] + link["center"]]
    last = [x.astype(np.float32) for x in last]
    first = last
    if config.hidden:
        first = [found["trunk/hidden/dense_0/kernel"], found["trunk/hidden/dense_0/bias"]]
    return DeepBindParameters(
        reverse_complement=config.strands == "maximum",
        mean_pool=config.mean_pool,
        detectors=found["trunk/detectors/kernel"],
        thresholds=found["trunk/detectors/bias"],
        weights1=first[0],
        biases1=first[1],
        weights2=last[0] if config.hidden else np.zeros((0, 1), np.float32),
        biases2=last[1] if config.hidden else np.zeros(0, np.float32),
    )
