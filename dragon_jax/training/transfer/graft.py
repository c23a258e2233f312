"""Weights of a finished network brought into a new one: whole, or column by column where columns are tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.training.transfer.names import HEAD, flat, near, nested
from dragon_jax.training.transfer.plan import Plan, Weight


@dataclasses.dataclass(frozen=True)
class Scale:
    """How logits `[T]` become what users read; float64 `[T]` each.

    Attributes:
        shift: subtracted from the logits of binary tasks, see `losses.logit_shift`.
        center, scale: a real value is `logit * scale + center`.
    """

    shift: np.ndarray
    center: np.ndarray
    scale: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reference:
    """A finished network.

    Attributes:
        name: of its run, for sentences. tasks, scale: of its outputs.
        weights: `{collection: {name: array}}`, its best weights.
        record: what `provenance.json` of a run says that starts from it.
    """

    name: str
    tasks: tuple[Task, ...]
    scale: Scale
    weights: Mapping[str, Mapping[str, np.ndarray]]
    record: Mapping[str, Any]


def sources(plan: Plan, reference: Reference, tasks: Sequence[Task]) -> dict[str, str]:
    """Returns for each weight, in words, where its values come from.

    Raises:
        InputError: the reference has no such weight, has it in another shape, or a task map names what is not there.
    """
    found = {}
    for weight in plan.weights.values():
        if weight.action == "init":
            found[weight.name] = "fresh"
        elif _in_head(weight):
            found[weight.name] = _told(_columns(weight, reference, tasks), tasks)
        else:
            _whole(weight, reference)
            found[weight.name] = "reference"
    return found


def graft(
    plan: Plan,
    reference: Reference,
    params: Mapping[str, Any],
    model_state: Mapping[str, Any],
    tasks: Sequence[Task],
    scale: Scale,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns parameters and other collections with the weights of the reference where the plan says so.

    In a head that is one linear layer (`head/kernel`, `head/bias`) a copied column also takes the units of its new task: it gives
    the same probability or value as before, whatever mean, spread or class weights the new training set has.

    Args:
        params, model_state: fresh. tasks, scale: of the new network.

    Raises:
        InputError: see `sources`.
    """
    new = {"params": flat(params)} | {collection: flat(tree) for collection, tree in model_state.items()}
    for weight in plan.weights.values():
        if weight.action == "init":
            continue
        leaves = new[weight.statistics or "params"]
        if _in_head(weight):
            leaves[weight.name] = _with_columns(weight, reference, np.asarray(leaves[weight.name]), tasks, scale)
        else:
            leaves[weight.name] = jnp.asarray(_whole(weight, reference))
    trees = {collection: nested(leaves) for collection, leaves in new.items()}
    return trees.pop("params"), trees


def _in_head(weight: Weight) -> bool:
    return weight.name.startswith(f"{HEAD}/") and not weight.statistics


def _find(weight: Weight, reference: Reference) -> np.ndarray:
    known = reference.weights.get(weight.statistics or "params", {})
    if weight.name not in known:
        raise InputError(
            f"transfer: '{weight.name}' is to be copied, but {reference.name} has no such weight{near(weight.name, sorted(known))}. "
            "Give it a rule with do='init'"
        )
    return known[weight.name]


def _whole(weight: Weight, reference: Reference) -> np.ndarray:
    values = _find(weight, reference)
    if values.shape != weight.shape:
        _refuse_shape(weight, values.shape, reference)
    return values


def _refuse_shape(weight: Weight, found: tuple[int, ...], reference: Reference) -> None:
    raise InputError(
        f"transfer: '{weight.name}' is to be copied: expected the shape {list(weight.shape)}, found {list(found)} in "
        f"{reference.name}. Give it a rule with do='init', or set the fields of model as there"
    )


def _columns(weight: Weight, reference: Reference, tasks: Sequence[Task]) -> list[int]:
    """For each task the column of the reference's task it starts from, or -1; checks what there is to check."""
    names, old = [t.name for t in tasks], {t.name: i for i, t in enumerate(reference.tasks)}
    for task, source in weight.task_map.items():
        for name, known, where in ((task, names, "the new data"), (source, list(old), reference.name)):
            if name not in known:
                raise InputError(
                    f"transfer.rules: task_map: no task called '{show(name)}' in {where}{nearest(name, known)} (tasks: {listing(known)})"
                )
    columns = [old.get(weight.task_map.get(name, name), -1) for name in names]
    for task, column in zip(tasks, columns, strict=True):
        if column >= 0 and reference.tasks[column].kind != task.kind:
            raise InputError(
                f"transfer: task '{show(task.name)}' is {task.kind}, but '{show(reference.tasks[column].name)}' of {reference.name} is "
                f"{reference.tasks[column].kind}: its columns cannot be copied. Give {HEAD}/.* a rule with do='init'"
            )
    if weight.action == "freeze" and -1 in columns:
        lacking = [n for n, c in zip(names, columns, strict=True) if c < 0]
        raise InputError(
            f"transfer: '{weight.name}' is to be frozen, but {reference.name} has no task for {listing(lacking)}, which would never "
            "learn. Name one in task_map or use do='copy'"
        )
    if max(columns) >= 0:
        values = _find(weight, reference)
        width, rest = divmod(weight.shape[-1], len(tasks))
        if rest or values.shape != (*weight.shape[:-1], width * len(reference.tasks)):
            _refuse_shape(weight, values.shape, reference)
    return columns


def _told(columns: Sequence[int], tasks: Sequence[Task]) -> str:
    copied = [task.name for task, column in zip(tasks, columns, strict=True) if column >= 0]
    fresh = [task.name for task, column in zip(tasks, columns, strict=True) if column < 0]
    parts = [f"reference for {listing(copied, 3)}"] * bool(copied) + [f"fresh for {listing(fresh, 3)}"] * bool(fresh)
    return ", ".join(parts)


def _with_columns(
    weight: Weight, reference: Reference, fresh: np.ndarray, tasks: Sequence[Task], scale: Scale
) -> jnp.ndarray:
    columns = _columns(weight, reference, tasks)
    result = np.array(fresh)
    width = fresh.shape[-1] // len(tasks)
    for task, column in enumerate(columns):
        if column < 0:
            continue
        values = _find(weight, reference)[..., column * width : (column + 1) * width]
        gain = reference.scale.scale[column] / scale.scale[task]
        offset = scale.shift[task] - reference.scale.shift[column]
        offset += (reference.scale.center[column] - scale.center[task]) / scale.scale[task]
        if weight.name in (f"{HEAD}/kernel", f"{HEAD}/bias") and (gain != 1 or offset != 0):
            values = values * gain + (offset if weight.name == f"{HEAD}/bias" else 0.0)
        result[..., task * width : (task + 1) * width] = values
    return jnp.asarray(result)
