"""The run that another starts from: found, checked, and read once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from dragon_jax.errors import InputError, show
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.predictor import NetworkPredictor, load
from dragon_jax.runs.settings import Settings, parse
from dragon_jax.training.checkpoints import Checkpoints
from dragon_jax.training.transfer.graft import Reference, Scale
from dragon_jax.training.transfer.names import flat


def find_reference(run: RunDir, settings: Settings) -> Reference | None:
    """Returns the finished run that `settings.init_from` names; None where it names none or `run` has its weights already.

    Args:
        run: the run that is to start, or to go on.

    Raises:
        InputError: no run there, an unfinished or failed one, a baseline, another network, `run` itself, or other weights
            than those that `run` began with.
    """
    if not settings.init_from or Checkpoints(run["checkpoints"]).steps():
        return None
    folder = RunDir(settings.init_from)
    name = show(str(folder), 200)
    if folder.path.resolve() == run.path.resolve():
        raise InputError(f"init_from: {name} is the --workdir itself: expected another, finished run")
    if not folder.exists():
        raise InputError(f"init_from: {name} is no run directory: expected a finished one, made by 'dragon train'")
    status = folder.status
    if not status.get("finished"):
        raise InputError(
            f"init_from: {name} is not finished (state: {status['state']}, step {status['step']}). Let 'dragon train' end it, "
            "or name another run"
        )
    if status["state"] != "done":
        raise InputError(f"init_from: {name} has {status['state']}: expected a run that learned. Name another run")
    theirs, ours = parse(folder.config, imported=True).model, settings.model
    if not parse(folder.config, imported=True).is_network:
        raise InputError(
            f"init_from: {name} holds the baseline '{theirs.name}', which has no weights that a network could start from. Name "
            f"a run of the network '{ours.name}'"
        )
    if theirs.name != ours.name:
        raise InputError(
            f"init_from: {name} holds the network '{theirs.name}': expected '{ours.name}', as model.name says"
        )
    reference = read_reference(folder)
    if run["provenance.json"].exists():
        before = run.provenance.get("transfer", reference.record)["weights_sha256"]
        if before != reference.record["weights_sha256"]:
            raise InputError(
                f"init_from: the weights of {name} are no more those that {run} began with. Put them back or use a new --workdir"
            )
    return reference


def read_reference(folder: RunDir) -> Reference:
    """Returns the best weights of a finished run of a network, and what its provenance tells of them."""
    predictor = load(folder)
    assert isinstance(predictor, NetworkPredictor)
    weights = {
        collection: {name: np.asarray(x) for name, x in flat(tree).items()}
        for collection, tree in predictor.variables.items()
    }
    shift, center, scale = predictor.units
    told = folder.provenance
    record = {"run": str(folder.path.resolve()), "weights_sha256": digest(weights)}
    record |= {k: told[k] for k in ("code", "best_step", "data_fingerprint", "finished", "imported") if k in told}
    return Reference(str(folder), predictor.tasks, Scale(shift, center, scale), weights, record)


def digest(weights: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Returns the SHA-256 of weights by name, the same however they are stored."""
    result = hashlib.sha256()
    for collection in sorted(weights):
        for name, values in sorted(weights[collection].items()):
            result.update(f"{collection}/{name} {values.dtype} {values.shape} ".encode() + values.tobytes())
    return result.hexdigest()
