"""The printed summary of a network: layers, shapes, parameters, receptive field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dragon_jax.models.base import StrandModel
from dragon_jax.models.bpnet import ProfileModel


def parameter_count(params: Any) -> int:
    """Returns the number of trainable numbers in a tree of arrays or shapes."""
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))


def summarise_model(model: StrandModel | ProfileModel, inputs: Mapping[str, np.ndarray]) -> str:
    """Returns the summary as aligned text; nothing is computed, only shapes are followed.

    Args:
        inputs: one example: codes uint8 `[1, L]` and what else the network reads.
    """
    rows: list[tuple[str, str, int]] = []
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), dict(inputs), train=False))

    def follow(variables):
        logits, seen = model.apply(
            variables, dict(inputs), train=False, capture_intermediates=True, mutable=["intermediates"]
        )
        rows.extend(_layers(seen["intermediates"], variables["params"], ""))
        return logits

    jax.eval_shape(follow, variables)
    params = variables["params"]
    length = inputs["codes"].shape[1]
    read = f"2 strands ({model.config.strands})" if model.config.reads(False) == 2 else "1 strand"
    if model.config.reads(True) != model.config.reads(False):
        read += ", 1 strand while training"
    lines = [
        f"{model.config.name}: {length} bases, {read}, {model.num_tasks} task{'s' if model.num_tasks != 1 else ''}"
    ]
    width = max([len(r[0]) for r in rows] + [5])
    shapes = max([len(r[1]) for r in rows] + [12])
    lines.append(f"  {'layer':<{width}}  {'output shape':<{shapes}}  {'parameters':>12}")
    lines += [f"  {name:<{width}}  {shape:<{shapes}}  {count:>12,}" for name, shape, count in rows]
    lines.append(f"  {'total':<{width}}  {'':<{shapes}}  {parameter_count(params):>12,}")
    lines.append(f"  receptive field: {model.config.receptive_field(length):,} of {length:,} bases")
    return "\n".join(lines)


def _layers(seen: Mapping[str, Any], params: Mapping[str, Any], prefix: str) -> list[tuple[str, str, int]]:
    """Rows of the modules that own parameters themselves, in the order in which the example passed them."""
    rows = []
    for name, inner in seen.items():
        if name == "__call__" or not isinstance(inner, Mapping):
            continue
        own = params.get(name, {})
        path = f"{prefix}{name}"
        children = {k: v for k, v in inner.items() if k != "__call__" and isinstance(v, Mapping)}
        direct = {k: v for k, v in own.items() if not isinstance(v, Mapping)} if isinstance(own, Mapping) else {}
        if direct and "__call__" in inner:
            shape = inner["__call__"][0].shape
            rows.append((path, " x ".join(str(s) for s in shape[1:]), parameter_count(direct)))
        rows += _layers(children, own, path + "/")
    return rows
