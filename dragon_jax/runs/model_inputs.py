"""Which extra inputs of a data set a model reads, and what is said of those that it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dragon_jax.data.dataset import Dataset
from dragon_jax.data.genome_inputs import InputConfig
from dragon_jax.data.input_spec import InputSpec, refuse_negative, refuse_not_finite
from dragon_jax.data.records import TfdsSplit
from dragon_jax.data.rows import chunks
from dragon_jax.errors import InputError, listing, show


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


def count_inputs(model: Any) -> tuple[str, ...]:
    """Returns the names of the extra inputs that a network takes for counts."""
    return tuple(getattr(model, "count_inputs", ()))


def check_scales(model: Any, source: InputConfig | None, called: str) -> list[str]:
    """Returns warnings about inputs that a network takes for counts and that a genome source rescales.

    Raises:
        InputError: the source gives their logarithm, of which the network would take another one.
    """
    if source is None:
        return []
    scaled = []
    for name in count_inputs(model):
        if name not in source.profiles:
            continue
        if source.profile_log1p:
            raise InputError(
                f"data.source.profile_log1p: expected False, as {called} reads the counts of '{show(name)}' and takes their "
                "logarithm itself, found True. Set it to False"
            )
        if any(factor != 1 for factor in source.profile_scale.get(name, ())):
            factors = listing(source.profile_scale[name])
            scaled.append(
                f"warning: {called} expects counts in '{name}', and data.source.profile_scale multiplies them by {factors}"
            )
    return scaled


def check_values(model: Any, data: Dataset | TfdsSplit, split: str) -> None:
    """Refuses inputs with values that a network cannot read; `data` hold those that it reads, and rows on the disk are only
    gone through where it takes some for counts.

    Raises:
        InputError: with the first row.
    """
    counts = count_inputs(model)
    if not isinstance(data, Dataset) and not counts:
        return
    for part in [data] if isinstance(data, Dataset) else chunks(data):
        for name, values in part.inputs.items():
            if isinstance(data, Dataset):
                refuse_not_finite(values, f"input '{name}' of split '{split}'")
            if name in counts:
                refuse_negative(
                    values, f"input '{name}' of split '{split}'", lambda i, ids=part.ids: f"row '{show(ids[i])}'"
                )


def as_arrays(inputs: Any) -> dict[str, np.ndarray]:
    """Returns the inputs of a call as float32 arrays by name; None is none of them.

    Raises:
        InputError: no mapping, or a value that is no array of numbers.
    """
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise InputError(
            f"inputs: expected a mapping of names to arrays, found {type(inputs).__name__}. Write inputs={{'signal': array}}"
        )
    result = {}
    for name, values in inputs.items():
        try:
            array = np.asarray(values)
            found = f"{array.dtype} {list(array.shape)}" if array.dtype != object else type(values).__name__
            with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused with its row
                # Numbers of 16 bits as JAX has them are of kind V for NumPy.
                numbers = array.astype(np.float32, copy=False) if array.dtype.kind in "fiubV" else None
        except (TypeError, ValueError):
            numbers, found = None, f"{type(values).__name__} of rows that make no array of numbers"
        if numbers is None:
            raise InputError(f"input '{show(name)}': expected an array of numbers, found {found}")
        result[str(name)] = numbers
    return result


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
