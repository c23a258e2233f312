"""Names of weights, and the layers of a network from the head down.

A weight is called by its path below its collection: `trunk/conv_0/kernel` among the parameters, `trunk/norm_0/mean` among
the running statistics. Trees of weights are nested dictionaries; `flat` and `nested` go between these and names.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from dragon_jax.errors import listing
from dragon_jax.models.base import StrandModel
from dragon_jax.models.bpnet import ProfileModel

HEAD = "head"


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `{"trunk/conv_0/kernel": leaf}` of nested dictionaries."""
    return flatten_dict(dict(tree), sep="/")


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the nested dictionaries of `flat`."""
    return unflatten_dict(dict(leaves), sep="/")


def module_of(name: str) -> str:
    """Returns the module that owns a weight: `trunk/conv_0` of `trunk/conv_0/kernel`."""
    return name.rpartition("/")[0]


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the regular expressions fits the whole name."""
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def near(pattern: str, names: Sequence[str]) -> str:
    """Returns the names that resemble a regular expression most, for a sentence on one that matches nothing."""
    plain = re.sub(r"[\\^$*+?|()\[\]{}]|\.(?=\*)", "", pattern)
    found = difflib.get_close_matches(plain, names, n=3, cutoff=0.4)
    return f"; the nearest are {listing(found)}" if found else f"; there are {listing(names)}"


def follow(
    model: StrandModel | ProfileModel, inputs: Mapping[str, np.ndarray]
) -> tuple[dict[str, dict[str, jax.ShapeDtypeStruct]], list[str]]:
    """Returns the shapes of all weights, `{collection: {name: shape}}`, and the modules in the order in which they finish.

    Args:
        inputs: one example: codes uint8 `[1, L]` and what else the network reads. Only shapes are followed.
    """
    order: list[str] = []

    def note(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        result = next_function(*args, **kwargs)
        order.append("/".join(context.module.path))
        return result

    def start() -> Any:
        with nn.intercept_methods(note):
            return model.init(jax.random.key(0), dict(inputs), train=False)

    shapes = jax.eval_shape(start)
    return {collection: flat(tree) for collection, tree in shapes.items()}, list(dict.fromkeys(order))


def layers(params: Mapping[str, Any], order: Sequence[str]) -> list[list[str]]:
    """Returns the names of the parameters layer by layer, the head first, then downwards to the sequence.

    A layer is a module with a kernel and the modules without one that follow it (normalisation, slopes); modules below a
    numbered one, such as `block_0` of the transformer, form one layer with it.

    Args:
        params: by name, arrays or shapes. order: modules as data pass them, see `follow`.
    """
    owners: dict[str, list[str]] = {}
    for name in params:
        owners.setdefault(module_of(name), []).append(name)
    ordered = [*(m for m in owners if m not in order), *(m for m in order if m in owners)]
    units: dict[str, list[str]] = {}
    for module in ordered:
        units.setdefault(_unit(module), []).extend(owners[module])
    head = units.pop(HEAD, [])
    found: list[list[str]] = []
    for members in units.values():
        if found and not any(len(params[name].shape) > 1 for name in members):
            found[-1].extend(members)
        else:
            found.append(members)
    return [head, *found[::-1]]


def _unit(module: str) -> str:
    parts = module.split("/")
    if parts[0] == HEAD:
        return HEAD
    for i, part in enumerate(parts):
        if re.search(r"_\d+$", part):
            return "/".join(parts[: i + 1])
    return module
