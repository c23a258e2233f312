"""Which extra inputs of a data set a model reads, and what is said of those that it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dragon_jax.data.input_spec import InputSpec
from dragon_jax.errors import InputError, listing


def read_inputs(model: Any) -> tuple[str, ...]:
    """Returns the names of the extra inputs that a network may read; a baseline reads none."""
    return tuple(getattr(model, "read_inputs", ()))


def unread_inputs(model: Any, specs: Mapping[str, InputSpec]) -> list[str]:
    """Returns the names of the inputs that are there and that the model does not read."""
    return [name for name in specs if name not in read_inputs(model)]


def check_inputs(model: Any, specs: Mapping[str, InputSpec], called: str) -> None:
    """Refuses data that lack an input without which the model cannot work.

    Raises:
        InputError: with the inputs that it needs and those that there are.
    """
    lacking = [name for name in getattr(model, "required_inputs", ()) if name not in specs]
    if lacking:
        raise InputError(
            f"model '{called}' needs the input{'s' * (len(lacking) > 1)} {listing(map(repr, lacking))}: expected among those of "
            f"the data, found {listing(map(repr, specs)) or 'none'}. Add to data.source, or choose another model"
        )


def remarks(model: Any, specs: Mapping[str, InputSpec], called: str) -> list[str]:
    """Returns lines for the summary of a run: what the model reads besides the sequence, and what it leaves unread."""
    unread = unread_inputs(model, specs)
    lines = [_described(name, spec) for name, spec in specs.items() if name not in unread]
    lines = [f"  reads {line}" for line in lines]
    if unread:
        lines.append(
            f"  warning: {called} does not read the input{'s' * (len(unread) > 1)} {listing(unread)} of the data; "
            f"it is as if {'they were' if len(unread) > 1 else 'it was'} not there"
        )
    return lines


def _described(name: str, spec: InputSpec) -> str:
    columns = f" ({listing(spec.columns, 12)})" if spec.columns else ""
    pairs = sum(i != own for i, own in enumerate(spec.partners)) // 2
    swap = f", {pairs} pair{'s' * (pairs > 1)} of tracks change places on the other strand" if pairs else ""
    return f"{spec.kind} '{name}'{columns}{swap}"


def wanted(specs: Sequence[str]) -> str:
    """Returns how a user gives these inputs when predicting."""
    return (
        f"--inputs=FILE with the array{'s' * (len(specs) > 1)} {listing(specs)}, or for regions of a genome a BED file "
        "instead of sequences"
    )
