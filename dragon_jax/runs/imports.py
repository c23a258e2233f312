"""Published weights become a run directory that predicts like any other."""

from __future__ import annotations

import os

from dragon_jax.baselines.deepbind_published import DeepBindPublishedConfig
from dragon_jax.config import build, defaults, plain
from dragon_jax.data.dataset import Kind, Task
from dragon_jax.errors import InputError, show
from dragon_jax.runs.directory import RunDir, write_json
from dragon_jax.runs.provenance import now, provenance
from dragon_jax.sections import EvaluateConfig
from dragon_jax.training.checkpoints import Checkpoints


def deepbind_model(file: str | os.PathLike, window: str = "whole") -> DeepBindPublishedConfig:
    """Returns the config of a released DeepBind model after its file has been read once, for its sentences.

    Raises:
        InputError: a file that is none, or an unknown window.
    """
    model = build(DeepBindPublishedConfig, {"file": os.fspath(file), "window": window}, "model")
    model.read([Task("score")])
    return model


def new_run(workdir: str | os.PathLike) -> RunDir:
    """Returns the run directory of an import.

    Raises:
        InputError: there is a run already.
    """
    run = RunDir(workdir)
    if run.exists():
        raise InputError(
            f"{run} holds a run already: expected a new directory to import into. Choose another --workdir"
        )
    return run


def import_deepbind(
    file: str | os.PathLike,
    workdir: str | os.PathLike,
    *,
    window: str = "whole",
    task: str | None = None,
    kind: Kind = "binary",
) -> RunDir:
    """Writes a run directory, without data, whose predictor is a released DeepBind model.

    Args:
        file: parameter file, see `models.deepbind_files`.
        workdir: new directory.
        window: `whole`, `program` or `kipoi`, see `models.deepbind_windows`.
        task: name of the column of predictions; None = name of the file without its ending.
        kind: `binary`: predictions are the sigmoid of the score (ChIP-seq, SELEX); `real`: the score itself (PBM,
            RNAcompete).

    Raises:
        InputError: a file that is none, an unknown window or kind, or a directory that holds something.
    """
    model, run = deepbind_model(file, window), new_run(workdir)
    if kind not in ("binary", "real"):
        raise InputError(f"kind: expected binary or real, found '{show(kind)}'")
    name = os.path.basename(os.fspath(file)).removesuffix(".gz").removesuffix(".txt") if task is None else task
    if not name:
        raise InputError("task: expected a name, found an empty one")
    fitted = model.read([Task(name, kind)])
    config = {"seed": 0, "model": {"name": model.name, "file": model.file, "window": window}}
    config["evaluate"] = plain(defaults(EvaluateConfig))
    task_entry = {"name": name, "kind": kind, "measured": 0.0, "mean": 0.0, "scale": 1.0}
    with run.claim():
        try:
            Checkpoints(run["checkpoints"]).save(fitted.state(), 0, {"early": {}, "reason": "imported"})
            write_json(run["model.json"], {"length": None, "inputs": {}, "tasks": [task_entry]})
            run.write_text("model.txt", fitted.describe() + "\n")
            record = provenance("none: nothing was trained", 0) | {"reason": "imported", "finished": now(), "data": {}}
            write_json(run["provenance.json"], record | dict(fitted.origin))
            run.set_status("done", 0, finished=now())
            write_json(run["config.json"], config)  # last: with it, this is a run
        except BaseException:
            run.discard()
            raise
    return run
