"""A model as two files that need nothing of this project to be read: `model.safetensors` and `model.json`.

The weights lie in `tensors.py`'s format under their paths. The JSON holds what turns them into predictions: the sections of
the config that decide the architecture and its probabilities (where the data lay is left out), length, inputs, tasks with
their statistics, and for each output of a network `shift`, `center`, `scale` and `link`: the prediction is
`link((logit - shift) * scale + center)`. Type and shape of every array are in both files, and the digest of the weights in
the JSON, so that what is read back is what was written, or refused with the name of what is not.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dragon_jax.data.dataset import Task
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.errors import InputError, listing, show
from dragon_jax.files import expand
from dragon_jax.runs.directory import RunDir, read_json, write_json
from dragon_jax.runs.imported import Imported
from dragon_jax.runs.predictor import NetworkPredictor, load
from dragon_jax.runs.provenance import code_digest, now, versions
from dragon_jax.runs.settings import Settings, parse
from dragon_jax.tensors import read_tensors, write_tensors
from dragon_jax.training.balance import balanced_share
from dragon_jax.training.checkpoints import file_digest, to_leaves
from dragon_jax.training.losses import TaskStatistics, logit_shift
from dragon_jax.training.profile_losses import losses_for

FORMAT = "dragon_jax exported model"
VERSION = 1
_WEIGHTS, _TEXT = "model.safetensors", "model.json"
_LINKS = {"binary": "logistic", "real": "identity", "count": "exp"}
_LARGEST = 100_000_000  # bases of a sequence, values of an input: no more is believed
_FIELDS = {
    "format": str, "version": int, "family": str, "config": dict, "length": (int, type(None)), "inputs": dict, "tasks": list,
    "outputs": list, "weights": dict, "sha256": str, "settings_sha256": str, "summary": str, "provenance": dict,
}  # fmt: skip


def export_run(run: RunDir, out: str | os.PathLike, step: int | None = None) -> Path:
    """Writes the best weights of a run, or those of a step, as a new folder and returns its path.

    Raises:
        InputError: no run or checkpoint there, or something where the folder should be.
        RunError: the disk is full; nothing is left behind.
    """
    predictor = load(run, step)
    settings, outputs = parse(run.config, imported=True), read_json(run["model.json"])
    if isinstance(predictor, NetworkPredictor):
        arrays = to_leaves(predictor.variables)
        if broken := [k for k, v in arrays.items() if not np.isfinite(v.astype(np.float64)).all()]:
            raise InputError(f"weights of {run}: expected finite numbers, found others in {listing(broken)}")
    else:
        arrays = {k: np.asarray(v) for k, v in predictor.model.state().items()}
    record = run.provenance
    kept = ("code", "versions", "device", "best_step", "reason", "finished", "data_fingerprint", "imported")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "family": "network" if settings.is_network else "baseline",
        "config": {k: v for k, v in run.config.items() if k != "data"},
        "length": outputs["length"],
        "inputs": outputs["inputs"],
        "tasks": outputs["tasks"],
        "outputs": links(settings, outputs),
        "weights": {k: _entry(v) for k, v in sorted(arrays.items())},
        "summary": run["model.txt"].read_text().rstrip("\n"),
        "provenance": {k: record[k] for k in kept if k in record}
        | {"exported": now(), "exported_by": {"code": code_digest(), "versions": versions()}},
    }
    content["settings_sha256"] = _settings_digest(content)
    target = Path(os.path.abspath(expand(out)))
    if target.exists():
        raise InputError(
            f"{show(os.fspath(out), 300)} exists: expected a new folder to export into. Choose another --out"
        )
    if not target.parent.is_dir():
        raise InputError(f"cannot write {show(os.fspath(out), 300)}: there is no folder {target.parent}. Make it first")
    temporary = target.with_name(f".{target.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir()
        write_tensors(temporary / _WEIGHTS, arrays, {"format": FORMAT, "version": str(VERSION)})
        write_json(temporary / _TEXT, content | {"sha256": file_digest(temporary / _WEIGHTS)})
        os.rename(temporary, target)
    except PermissionError as e:
        raise InputError(f"cannot write {show(os.fspath(out), 300)}: {e.strerror}. Choose another --out") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def read_exported(folder: str | os.PathLike) -> Imported:
    """Reads a folder of `export_run` back, every weight checked against the JSON and the architecture.

    Raises:
        InputError: no such folder, a field that is missing or of another type, or weights that are missing, surplus, of
            another shape or type, not finite, or changed; each by its path.
    """
    place, name = Path(expand(folder)), show(os.fspath(folder), 300)
    content = _read_json(place / _TEXT, name)
    config, outputs = content["config"], _outputs(content, name)
    settings = parse(config, imported=True)
    if content["family"] != ("network" if settings.is_network else "baseline"):
        raise InputError(f"family in {name}: expected that of model '{show(settings.model.name)}', found another")
    arrays, _ = read_tensors(place / _WEIGHTS)
    _refuse_other_weights(arrays, content["weights"], settings.is_network, name)
    if (found := file_digest(place / _WEIGHTS)) != content["sha256"]:
        raise InputError(
            f"{_WEIGHTS} in {name}: expected sha256 {show(content['sha256'][:16])}..., found {found[:16]}...: its numbers were "
            "changed. Export it again"
        )
    origin = {"file": os.fspath(folder), "sha256": found, "format": FORMAT, "provenance": content["provenance"]}
    leaves = _as_checkpoint(arrays, settings) if settings.is_network else arrays
    if settings.is_network:
        NetworkPredictor(settings, outputs, leaves, name)  # refuses weights that are not those of the architecture
        if links(settings, outputs) != content["outputs"]:
            raise InputError(
                f"outputs in {name}: expected those that follow from its config and tasks, found others: probabilities would "
                "not be what they were. Export it again"
            )
    else:
        settings.model.from_state(
            tuple(Task(t["name"], t["kind"]) for t in outputs["tasks"]), outputs["length"], arrays
        )
    if _settings_digest(content) != content["settings_sha256"]:
        raise InputError(
            f"{_TEXT} in {name}: its config, length, inputs, tasks or outputs were changed after the export, and predictions "
            "would not be what they were. Export it again"
        )
    return Imported(config=config, outputs=outputs, leaves=leaves, text=content["summary"], origin={"imported": origin})


def _settings_digest(content: Mapping[str, Any]) -> str:
    """Returns the digest of what, beside the weights, decides predictions."""
    deciding = {k: content[k] for k in ("family", "config", "length", "inputs", "tasks", "outputs")}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def links(settings: Settings, outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How the logits of a network become predictions; empty for baselines, which have a rule each."""
    if settings.spec is None:
        return []
    entries = outputs["tasks"]
    tasks = tuple(Task(t["name"], t["kind"]) for t in entries)
    stats = TaskStatistics(*(np.array([t[k] for t in entries], np.float64) for k in ("measured", "mean", "scale")))
    losses = losses_for(settings.model, tasks, stats, settings.spec.loss)
    shift = logit_shift(tasks, stats, losses, balanced_share(tasks, settings.spec.train))
    return [
        {"task": t.name, "link": _LINKS[t.kind], "shift": float(s), "center": float(c), "scale": float(k)}
        for t, s, c, k in zip(tasks, shift, losses.center, losses.scale, strict=True)
    ]


def _entry(array: np.ndarray) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype), "finite": _finite(array)}


def _finite(array: np.ndarray) -> bool:
    return array.dtype.kind in "biu" or bool(np.isfinite(array.astype(np.float64)).all())


def _as_checkpoint(arrays: Mapping[str, np.ndarray], settings: Settings) -> dict[str, np.ndarray]:
    """Paths as `best_variables` looks for them: averaged weights are kept apart, and so is what is no parameter."""
    assert settings.spec is not None
    params = "ema" if settings.spec.optim.ema > 0 else "params"
    place = lambda k: f"{params}/{k[len('params/') :]}" if k.startswith("params/") else f"model_state/{k}"  # noqa: E731
    return {place(k): v for k, v in arrays.items()}


def _refuse_other_weights(arrays: Mapping[str, np.ndarray], told: Mapping[str, Any], strict: bool, name: str) -> None:
    wrong = []
    for path in sorted({*arrays, *told}):
        if path not in arrays:
            wrong.append(f"{show(path)}: missing")
        elif path not in told:
            wrong.append(f"{show(path)}: surplus")
        else:
            expected, found = told[path], _entry(arrays[path])
            if not isinstance(expected, dict) or {k: expected.get(k) for k in ("shape", "dtype")} != {
                k: found[k] for k in ("shape", "dtype")
            }:
                wrong.append(f"{show(path)}: expected {_said(expected)}, found {_said(found)}")
            elif not found["finite"] and (strict or expected.get("finite") is not False):
                wrong.append(f"{show(path)}: expected finite numbers, found others")
    if wrong:
        more = f"; ... and {len(wrong) - 5:,} more" if len(wrong) > 5 else ""
        raise InputError(f"weights in {name} do not fit its {_TEXT}: {'; '.join(wrong[:5])}{more}. Export it again")


def _said(entry: Any) -> str:
    return f"{entry.get('shape')} {show(entry.get('dtype'))}" if isinstance(entry, dict) else show(entry)


def _read_json(path: Path, name: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"{name}: expected a folder with {_TEXT} and {_WEIGHTS}, as 'dragon export' writes it, found none"
        )
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as e:
        raise InputError(f"{_TEXT} in {name} cannot be read: {show(str(e))}. Export it again") from e
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(
            f"{_TEXT} in {name}: expected format '{FORMAT}', found another. Is it a folder of 'dragon export'?"
        )
    if content.get("version") != VERSION:
        raise InputError(
            f"{_TEXT} in {name}: expected version {VERSION}, found {show(content.get('version'))}. Use the release that wrote it"
        )
    wrong = [k for k, kind in _FIELDS.items() if k not in content or not isinstance(content[k], kind)]
    if wrong:
        raise InputError(f"{_TEXT} in {name}: {listing(wrong)} missing or of another type. Export it again")
    return content


def _outputs(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Length, inputs and tasks, with values that can be believed."""
    length, inputs, tasks = content["length"], content["inputs"], content["tasks"]
    size = lambda x: type(x) is int and 0 < x <= _LARGEST  # noqa: E731
    number = lambda x: type(x) in (int, float) and np.isfinite(x)  # noqa: E731
    keys = {"name", "kind", "measured", "mean", "scale"}
    good = (length is None or size(length)) and tasks
    shape = lambda x: isinstance(x, list) and len(x) < 5 and all(map(size, x))  # noqa: E731
    try:
        for entry in inputs.values():
            good = good and shape(entry if isinstance(entry, list) else entry["shape"])
            if isinstance(entry, dict):  # runs of an older release have shapes alone
                spec = InputSpec.of(entry)
                good = good and spec.kind in ("signal", "vector") and all(isinstance(c, str) for c in spec.columns)
    except (KeyError, TypeError) as e:
        raise InputError(
            f"{_TEXT} in {name}: expected inputs with kind, columns and shape, found others. Export it again"
        ) from e
    good = good and all(
        isinstance(t, dict)
        and set(t) == keys
        and isinstance(t["name"], str)
        and t["kind"] in _LINKS
        and all(number(t[k]) for k in ("measured", "mean", "scale"))
        for t in tasks
    )
    if not good or len({t["name"] for t in tasks}) != len(tasks):
        raise InputError(
            f"{_TEXT} in {name}: expected length, inputs, and tasks with unique name, kind, measured, mean and scale, found "
            "others. Export it again"
        )
    return {"length": length, "inputs": inputs, "tasks": tasks}
