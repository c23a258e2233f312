"""Weights from elsewhere become a run directory that predicts, and with data is evaluated, like any other."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dragon_jax.baselines.deepbind_published import DeepBindPublishedConfig
from dragon_jax.baselines.lsgkm_files import CITATION, read_model
from dragon_jax.config import build, defaults, plain
from dragon_jax.data.dataset import Task
from dragon_jax.data.load import Loaded
from dragon_jax.data.records import sha256
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.files import locate
from dragon_jax.models.dragonn_files import CITATION as DRAGONN
from dragon_jax.models.dragonn_files import read_dragonn
from dragon_jax.models.factornet_files import CITATION as FACTORNET
from dragon_jax.models.factornet_files import read_factornet
from dragon_jax.runs.directory import RunDir, write_json
from dragon_jax.runs.exported import read_exported
from dragon_jax.runs.fit import data_fingerprint, describe_data, load_data
from dragon_jax.runs.imported import Imported
from dragon_jax.runs.imported_network import of_network
from dragon_jax.runs.provenance import now, provenance
from dragon_jax.runs.settings import parse
from dragon_jax.sections import EvaluateConfig
from dragon_jax.training.checkpoints import Checkpoints
from dragon_jax.training.trainer import example


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may say of a file of weights; a family reads those that its entry in `FAMILIES` names.

    Attributes:
        window: `whole`, `program` or `kipoi`, see `models.deepbind_windows`.
        task: name of the column of predictions; None = name of the file without its ending.
        kind: `binary`: predictions are the sigmoid of the score; `real`: the score itself.
    """

    window: str = "whole"
    task: str | None = None
    kind: str = "binary"


def read_published_deepbind(file: str | os.PathLike, options: Options, tasks: Sequence[Task] | None) -> Imported:
    """Reads a parameter file of a released DeepBind model, see `models.deepbind_files`."""
    path = os.fspath(file)
    model = build(DeepBindPublishedConfig, {"file": path, "window": options.window}, "model")
    tasks = [_one_task(path, options)] if tasks is None else tasks
    fitted = model.read(tasks)
    section = {"name": model.name, "file": model.file, "window": options.window}
    return _of_baseline(fitted, section, tasks, fitted.origin)


def read_lsgkm(file: str | os.PathLike, options: Options, tasks: Sequence[Task] | None) -> Imported:
    """Reads a model file of LS-GKM, see `baselines.lsgkm_files`; it becomes a `gkmsvm`."""
    path = os.fspath(file)
    tasks = [_one_task(path, options)] if tasks is None else tasks
    if len(tasks) != 1 or tasks[0].kind != "binary":
        found = listing(f"{t.name} ({t.kind})" for t in tasks)
        raise InputError(
            f"a model of LS-GKM scores one binary task, found {len(tasks)} ({found}): choose one column of labels"
        )
    fitted = read_model(path, tasks[0].name)
    origin = {"file": path, "sha256": sha256(locate(path)), "format": "LS-GKM model", "citation": CITATION}
    return _of_baseline(fitted, dataclasses.asdict(fitted.config), tasks, {"imported": origin})


def read_released_factornet(path: str | os.PathLike, options: Options, tasks: Sequence[Task] | None) -> Imported:
    """Reads a folder or file of a released FactorNet model, see `models.factornet_files`."""
    found = read_factornet(path)
    names = found.tasks if options.task is None else (options.task,)
    if tasks is not None and len(tasks) == len(names) and all(t.kind == "binary" for t in tasks):
        names = tuple(t.name for t in tasks)  # of the data, in the order of the outputs
    if len(names) != len(found.tasks) or not all(names):
        raise InputError(
            f"task: expected a name only where there is one task, found {len(found.tasks)} tasks in {found.file}"
        )
    origin = {"file": found.file, "sha256": sha256(locate(found.file)), "format": "Keras 1 HDF5", "citation": FACTORNET}
    origin |= {"notes": list(found.notes)} if found.notes else {}
    shapes = {n: (found.length,) * (s.kind == "signal") + (len(s.columns),) for n, s in found.specs.items()}
    network = of_network(found.config, found.length, found.specs, shapes, names, found.params, origin)
    return dataclasses.replace(network, notes=found.notes)


def read_stored_dragonn(path: str | os.PathLike, options: Options, tasks: Sequence[Task] | None) -> Imported:
    """Reads weights of a DragoNN network with its layers beside them, see `models.dragonn_files`; it becomes a `convnet`."""
    found = read_dragonn(path)
    stem = os.path.basename(os.fspath(path)).partition(".")[0].removesuffix("_model")
    names = (stem,) if found.tasks == 1 else tuple(f"task_{k}" for k in range(1, found.tasks + 1))
    names = names if options.task is None else (options.task,)
    if tasks is not None and len(tasks) == len(names) and all(t.kind == "binary" for t in tasks):
        names = tuple(t.name for t in tasks)
    if len(names) != found.tasks or not all(names):
        raise InputError(f"task: expected a name only where there is one task, found {found.tasks} tasks")
    origin = {"file": os.fspath(path), "sha256": sha256(locate(path)), "format": "Keras 0.3 HDF5", "citation": DRAGONN}
    return of_network(found.config, found.length, {}, {}, names, found.params, origin)


# Family -> how it is read, and which options count. A reader takes file, options, and the tasks where data name them.
Reader = Callable[[str | os.PathLike, Options, Sequence[Task] | None], Imported]
FAMILIES: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "deepbind": (read_published_deepbind, ("window", "task", "kind")),
    "lsgkm": (read_lsgkm, ("task",)),
    "exported": (lambda folder, options, tasks: read_exported(folder), ()),
    "factornet": (read_released_factornet, ("task",)),
    "dragonn": (read_stored_dragonn, ("task",)),
}


def import_run(
    family: str,
    file: str | os.PathLike,
    workdir: str | os.PathLike,
    *,
    config: Any = None,
    options: Options | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> RunDir:
    """Writes a run directory of weights from elsewhere.

    Args:
        family: a name of `FAMILIES`. file: the weights.
        workdir: new directory.
        config: a config whose parts `data`, `evaluate` and `seed` become those of the run; None = without data.
        say: takes lines for the user.

    Raises:
        InputError: unknown family, a file that is none, options that do not belong to the family or to data, data of
            another length or with other tasks, or a directory that holds something.
    """
    if family not in FAMILIES:
        raise InputError(
            f"import: expected {listing(map(repr, FAMILIES))}, found '{show(family)}'{nearest(family, list(FAMILIES))}"
        )
    options = options or Options()
    read, known = FAMILIES[family]
    given = [f.name for f in dataclasses.fields(options) if getattr(options, f.name) != f.default]
    if surplus := [f"--{name}" for name in given if name not in known]:
        raise InputError(f"import {family}: it has no {listing(surplus)}. Leave {listing(surplus)} out")
    if config is not None and {"task", "kind"} & set(given):
        raise InputError(
            "import: name and kind of the task come from the data of --config. Leave --task and --kind out"
        )
    run = _new_run(workdir)
    found, loaded = read(file, options, None), None
    if config is not None:
        raw = plain(config)
        parts = {k: raw[k] for k in ("seed", "data", "evaluate") if k in raw}
        settings = parse({**found.config, **parts})
        loaded = load_data(settings)
        for line in loaded.summary:
            say(line)
        found = read(file, options, loaded.part("train").tasks)
        found = dataclasses.replace(found, config={**found.config, **parts})
        _refuse_other_rows(found, loaded)
    _write(run, found, loaded)
    say(found.text)
    for note in found.notes:
        say(f"note: {note}")
    return run


def _new_run(workdir: str | os.PathLike) -> RunDir:
    run = RunDir(workdir)
    if run.exists():
        raise InputError(
            f"{run} holds a run already: expected a new directory to import into. Choose another --workdir"
        )
    return run


def _one_task(path: str, options: Options) -> Task:
    """The task that the options name, else the file."""
    if options.kind not in ("binary", "real"):
        raise InputError(f"kind: expected binary or real, found '{show(options.kind)}'")
    name = os.path.basename(path).removesuffix(".gz").removesuffix(".txt").removesuffix(".model")
    name = name if options.task is None else options.task
    if not name:
        raise InputError("task: expected a name, found an empty one")
    return Task(name, options.kind)  # type: ignore[arg-type]


def _of_baseline(fitted: Any, section: Mapping[str, Any], tasks: Sequence[Task], origin: Mapping[str, Any]) -> Imported:
    entries = [{"name": t.name, "kind": t.kind, "measured": 0.0, "mean": 0.0, "scale": 1.0} for t in tasks]
    return Imported(
        config={"seed": 0, "model": dict(section), "evaluate": plain(defaults(EvaluateConfig))},
        outputs={"length": fitted.length, "inputs": {}, "tasks": entries},
        leaves={k: np.asarray(v) for k, v in fitted.state().items()},
        text=fitted.describe(),
        origin=origin,
    )


def _refuse_other_rows(found: Imported, loaded: Loaded) -> None:
    """Raises InputError where the data do not fit the imported model."""
    train, length = loaded.part("train"), found.outputs["length"]
    if train.tasks != found.tasks:
        text = lambda tasks: listing(f"{t.name} ({t.kind})" for t in tasks)  # noqa: E731
        raise InputError(
            f"data of --config: expected the tasks of the imported model, {text(found.tasks)}, found {text(train.tasks)}. "
            "Choose and name the columns of labels like them"
        )
    if length not in (None, train.length):
        raise InputError(
            f"data of --config: expected sequences of {length} bases as the imported model reads, found {train.length}. "
            "Set data.source.length and data.source.fit"
        )
    first = example(train)
    for name, entry in found.outputs["inputs"].items():
        shape = list(first[name].shape[1:]) if name in first else None
        if shape != entry["shape"] or train.input_specs[name].columns not in ((), tuple(entry["columns"])):
            raise InputError(
                f"data of --config: expected the further input '{show(name)}' of the imported model, {entry['shape']} "
                f"({listing(entry['columns'])}), found {shape or 'none'} ({listing(train.input_specs[name].columns) if shape else ''})"
            )


def _write(run: RunDir, found: Imported, loaded: Loaded | None) -> None:
    settings = parse(found.config, imported=True)
    with run.claim():
        try:
            Checkpoints(run["checkpoints"]).save(dict(found.leaves), 0, {"early": {}, "reason": "imported"})
            write_json(run["model.json"], found.outputs)
            run.write_text("model.txt", found.text + "\n")
            record = provenance("none: nothing was trained", settings.seed) | {"reason": "imported", "data": {}}
            if loaded is not None:
                record |= {"unseen_sequences": loaded.unseen, "data_notes": dict(loaded.notes)}
                record |= {"data_fingerprint": data_fingerprint(loaded, settings), "data": describe_data(loaded)}
            write_json(run["provenance.json"], record | dict(found.origin) | {"finished": now()})
            run.set_status("done", 0, finished=now())
            write_json(run["config.json"], found.config)  # last: with it, this is a run
        except BaseException:
            run.discard()
            raise
