"""Starting, resuming and finishing a run, network or baseline alike."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dragon_jax.config import differences, plain
from dragon_jax.data.batches import RowSource
from dragon_jax.data.builders import TfdsSource, open_stream
from dragon_jax.data.counts import mean_profiles
from dragon_jax.data.dataset import Dataset
from dragon_jax.data.load import Loaded
from dragon_jax.data.records import TfdsSplit
from dragon_jax.data.rows import MemoryRows
from dragon_jax.errors import InputError, RunError, listing
from dragon_jax.models.registry import make_model
from dragon_jax.models.summary import summarise_model
from dragon_jax.runs.directory import RunDir, write_json
from dragon_jax.runs.model_inputs import check_inputs, check_scales, check_values, read_inputs, remarks, unread_inputs
from dragon_jax.runs.provenance import now, provenance
from dragon_jax.runs.reference import find_reference
from dragon_jax.runs.region_inputs import genome_source
from dragon_jax.runs.settings import Settings, parse
from dragon_jax.training.calibration import Workplace
from dragon_jax.training.checkpoints import Checkpoints
from dragon_jax.training.devices import Devices
from dragon_jax.training.losses import TaskStatistics, part_statistics
from dragon_jax.training.profile_losses import check_profiles
from dragon_jax.training.trainer import Stopped, Trainer, example
from dragon_jax.training.transfer.graft import Reference
from dragon_jax.training.transfer.names import follow
from dragon_jax.training.transfer.plan import make_plan
from dragon_jax.training.transfer.table import describe_plan
from dragon_jax.training.transfer.trainer import TransferTrainer


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run whose weights are final.

    Attributes:
        settings: typed config. data: what was loaded.
        fresh: whether this call finished it (False: it had been finished before).
    """

    run: RunDir
    settings: Settings
    data: Loaded
    fresh: bool


def fit(
    config: Any,
    workdir: str,
    *,
    say: Callable[[str], None],
    stop: Callable[[], int] = lambda: 0,
    quiet: bool = False,
    after: Callable[[Trained], dict[str, Any]] = lambda trained: {},
) -> Trained:
    """Trains the config's model in `workdir`, going on where an earlier call stopped.

    Args:
        say: takes lines for the user. stop: returns the number of a received signal, or 0.
        after: finishes the run while it is still claimed (evaluation, report) and returns fields for `status.json`.

    Raises:
        InputError: bad config or data, another config or data set in this directory, or another writer.
        Stopped: a signal came and the state is saved.
        RunError: training failed; `status.json` says why.
    """
    settings = parse(config)
    raw = plain(config)
    run = RunDir(workdir)
    if run.exists():
        refuse_other_config(run, raw)
        status = run.status
        if status["state"] in ("done", "failed") and status.get("finished"):
            loaded = load_data(settings)
            refuse_other_data(run, loaded, settings)
            return Trained(run, settings, loaded, False)
    fresh = not run.exists()
    reference = find_reference(run, settings)
    with run.claim() as note:
        if note:
            say(f"note: {note}")
        if run.exists():
            refuse_other_config(run, raw)
        loaded = load_data(settings)
        for line in loaded.summary:
            say(line)
        stop()  # from here on a signal is answered after the next step, not by breaking off
        check_inputs(settings.model, loaded.part("train").input_specs, settings.model.name)
        for line in check_scales(settings.model, genome_source(settings.data.source), settings.model.name):
            say(line)
        _open(run, raw, settings, loaded)
        try:
            run.set_status("running", run.status["step"], since=now())
            if settings.is_network:
                _fit_network(run, settings, loaded, say, stop, quiet, reference)
            else:
                _fit_baseline(run, settings, loaded, say, stop, quiet)
            trained = Trained(run, settings, loaded, True)
            more = after(trained)
            run.update("provenance.json", finished=now())
            run.set_status(more.pop("state", "done"), run.status["step"], finished=now(), **more)
        except Stopped as e:
            run.set_status("stopped", e.step, signal=e.signal)
            raise
        except RunError as e:
            _try_status(run, str(e))
            raise
        except InputError:
            if fresh and not Checkpoints(run["checkpoints"]).steps():
                run.discard()  # nothing was trained: the corrected command may have the place
            raise
        return trained


def load_data(settings: Settings) -> Loaded:
    """Reads train and valid; rows that are to be streamed stay on the disk where that is possible, see `DataConfig.load`."""
    streams = settings.spec is not None and settings.spec.train.placement == "stream"
    return settings.data.load(settings.seed, stream=("train",) if streams else ())


def refuse_other_config(run: RunDir, raw: Mapping[str, Any]) -> None:
    """Raises InputError when the directory holds a run of another config, with the fields that differ.

    A field that a newer release has added counts as equal while it has its default.
    """
    changed = differences(run.config, json.loads(json.dumps(raw)))
    if changed and parse(run.config, imported=True) != parse(raw):
        raise InputError(f"{run} was started with another config ({listing(changed)}). Use a new --workdir")


def refuse_other_data(run: RunDir, loaded: Loaded, settings: Settings) -> None:
    """Raises InputError when the data, or what decides the order of batches, are not those the run was started with."""
    before, now_ = run.provenance["data_fingerprint"], data_fingerprint(loaded, settings)
    if before != now_:
        raise InputError(
            f"data of {run}: fingerprint differs ({before[:8]}... -> {now_[:8]}...), batches would not continue as before. "
            "Restore the old files or use a new --workdir"
        )


def data_fingerprint(loaded: Loaded, settings: Settings) -> str:
    """Returns a digest of the training and validation data and of what decides the order of batches."""
    digest = hashlib.sha256()
    for split in ("train", "valid"):
        digest.update(f"{split} {loaded.part(split).fingerprint()} ".encode())
    if settings.spec is not None:
        digest.update(repr((settings.seed, settings.spec.train.batch_size, settings.spec.train.balance)).encode())
        digest.update(repr(settings.spec.augment).encode())
    return digest.hexdigest()


def _open(run: RunDir, raw: Mapping[str, Any], settings: Settings, loaded: Loaded) -> None:
    """Writes what identifies the run, or checks it against what an earlier process wrote."""
    if run["provenance.json"].exists() and run["model.json"].exists():
        return refuse_other_data(run, loaded, settings)
    write_json(run["config.json"], raw)
    train = loaded.part("train")
    stats = part_statistics(train)
    write_json(run["model.json"], describe_outputs(train, stats, read_inputs(settings.model)))
    jax_counts = settings.is_network or settings.model.ON_DEVICE
    record = provenance(Devices().describe() if jax_counts else "cpu (NumPy, scikit-learn)", settings.seed)
    record |= {"unseen_sequences": loaded.unseen}  # of the splits that stay closed; no label goes into it
    record |= {
        "data_fingerprint": data_fingerprint(loaded, settings),
        "data_notes": dict(loaded.notes),
        "data": describe_data(loaded),
    }
    record |= {"inputs_not_read": unread_inputs(settings.model, train.input_specs)}
    write_json(run["provenance.json"], record)
    run.set_status("running", 0, since=now())


def describe_data(loaded: Loaded) -> dict[str, Any]:
    """Returns sizes, lengths and prevalences of each split for the provenance."""
    result = {}
    for split in sorted({*loaded.parts, *loaded.streamed}):
        data = loaded.part(split)
        stats = part_statistics(data)
        result[split] = {
            "n": len(data),
            "length": data.length,
            "fingerprint": data.row_fingerprint(),
            "tasks": {
                t.name: {"measured": int(m), "mean": float(v)}
                for t, m, v in zip(data.tasks, stats.measured, stats.mean, strict=True)
            },
        }
    return result


def describe_outputs(train: Dataset | TfdsSplit, stats: TaskStatistics, read: Sequence[str]) -> dict[str, Any]:
    """Returns what a predictor must know of the training set; exact float64 values. `read` names the inputs it will read."""
    first = example(train)
    profiles = mean_profiles(MemoryRows(train) if isinstance(train, Dataset) else train)
    return {
        "length": train.length,
        "inputs": {
            name: train.input_specs[name].plain() | {"shape": list(first[name].shape[1:])}
            for name in train.input_specs
            if name in read
        },
        "tasks": [
            {"name": t.name, "kind": t.kind, "measured": float(m), "mean": float(mean), "scale": float(scale)}
            for t, m, mean, scale in zip(train.tasks, stats.measured, stats.mean, stats.scale, strict=True)
        ],
        **({"profiles": {task: mean.tolist() for task, mean in profiles.items()}} if profiles else {}),
    }


def _fit_network(
    run: RunDir,
    settings: Settings,
    loaded: Loaded,
    say: Callable[[str], None],
    stop: Callable[[], int],
    quiet: bool,
    reference: Reference | None,
) -> None:
    spec = settings.spec
    assert spec is not None
    train, valid = loaded.part("train"), loaded.parts["valid"]
    try:
        settings.model.check_length(train.length)
    except ValueError as e:
        raise InputError(f"model.{e}") from e
    other = [t.name for t in train.tasks if t.kind != "binary"]
    if settings.model.strands == "probability" and other:
        raise InputError(
            f"model.strands: 'probability' averages probabilities, but {listing(other)} is no binary task. Use 'average'"
        )
    check_profiles(settings.model, train, spec.augment.shift)
    check_profiles(settings.model, valid, 0)
    read = read_inputs(settings.model)
    model = make_model(settings.model, len(train.tasks), spec.train.compute_dtype, train.input_specs)
    if isinstance(train, Dataset):
        train = train.only_inputs(read)  # what no layer reads need not travel to the device
    valid = valid.only_inputs(read)
    for split, data in (("train", train), ("valid", valid)):
        check_values(settings.model, data, split)
    first = {k: v for k, v in example(train).items() if k == "codes" or k in read}
    summary = summarise_model(model, first)
    summary = "\n".join([summary, *remarks(settings.model, loaded.part("train").input_specs, settings.model.name)])
    if not run["model.txt"].exists():
        run.write_text("model.txt", summary + "\n")
    say(summary)
    began = time.monotonic()
    make_trainer: Callable[..., Trainer] = Trainer
    if settings.init_from:
        plan = make_plan(*follow(model, first), settings.transfer)
        make_trainer = functools.partial(TransferTrainer, plan=plan, reference=reference)
        if reference is not None:
            table = describe_plan(plan, reference, train.tasks)
            run.write_text("transfer.txt", table + "\n")
            run.update("provenance.json", transfer=dict(reference.record))
            say(table)
    trainer = make_trainer(
        spec,
        model,
        train,
        valid,
        part_statistics(train),
        run.path,
        stream=open_rows(settings, train) if spec.train.placement == "stream" else None,
        stop=stop,
        beat=lambda step: run.set_status("running", step),
        quiet=quiet,
    )
    fitted = trainer.run()
    say(
        f"best {spec.train.monitor} on valid: {fitted.best_value:.4f} at step {fitted.best_step:,} of {fitted.steps:,} "
        f"({fitted.reason}); {time.monotonic() - began:.1f} s, {fitted.seconds['to_first_step']:.1f} s to the first step"
    )
    run.update("provenance.json", seconds=fitted.seconds, best_step=fitted.best_step, reason=fitted.reason)
    run.set_status("running", fitted.steps)


def open_rows(settings: Settings, train: Dataset | TfdsSplit) -> RowSource:
    """Returns the training rows on disk, for placement `stream`.

    Raises:
        InputError: the source has no files of that kind, or the rows were divided or added to after reading.
    """
    if not isinstance(train, Dataset):
        return train
    source = settings.data.source
    if not isinstance(source, TfdsSource):
        raise InputError("train.placement: 'stream' needs data.source.name 'tfds', found another. Use 'auto'")
    rows = open_stream(source.path, "train")
    if len(rows) != len(train):
        raise InputError(
            f"train.placement: 'stream' reads the {len(rows):,} training rows of {source.path} as they are, but data.split and "
            f"data.negatives make {len(train):,} of them. Set data.split.name=files and data.negatives.name=none"
        )
    return rows


def _fit_baseline(
    run: RunDir, settings: Settings, loaded: Loaded, say: Callable[[str], None], stop: Callable[[], int], quiet: bool
) -> None:
    checkpoints = Checkpoints(run["checkpoints"])
    checkpoints.clean()
    if checkpoints.latest() is not None:
        return
    began = time.monotonic()
    place = {}
    if getattr(settings.model, "RESUMES", False):
        place = {"place": Workplace(run["calibration"], stop, lambda step: run.set_status("running", step))}
    model = settings.model.fit(loaded.parts["train"], loaded.parts["valid"], settings.seed, progress=say, **place)
    specs = loaded.parts["train"].input_specs
    summary = "\n".join([model.describe(), *remarks(settings.model, specs, settings.model.name)])
    run.write_text("model.txt", summary + "\n")
    say(summary)
    origin = dict(getattr(model, "origin", {}))
    run.update("provenance.json", seconds={"all": time.monotonic() - began}, reason="fitted", **origin)
    # Last: once it is there, nothing of the above is done again.
    checkpoints.save({k: np.asarray(v) for k, v in model.state().items()}, 0, {"early": {}, "reason": "fitted"})


def _try_status(run: RunDir, reason: str) -> None:
    """Says why the run failed, if the disk still lets us."""
    try:
        run.set_status("failed", run.status["step"], reason=reason)
    except RunError:
        pass
