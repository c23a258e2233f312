"""Weights that Keras 0.3 to 2 saved as HDF5: layers in their order, each with its arrays by name.

Three layouts are known. Keras 1 and 2 list the layers in an attribute `layer_names` and the arrays of each in
`weight_names`, at the top of a file of weights or, in a file of a whole model, under `model_weights` beside the moments of
the optimiser, which are left. Keras 0.3 numbers both: `layer_0/param_0`. Only numbers are read, by the rules of HDF5 files
(`data.hdf5`), and what a layer holds beyond its list is refused, not passed over.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from dragon_jax.data.containers import open_container
from dragon_jax.data.hdf5 import Hdf5
from dragon_jax.errors import InputError, listing, show

_LARGEST = 10_000_000  # bytes of a description of layers


@dataclasses.dataclass(frozen=True)
class KerasLayer:
    """A layer of a file: its name there, and its arrays (float32) by theirs."""

    name: str
    arrays: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class KerasWeights:
    """The layers of a file that have weights, in the order of the model.

    Attributes:
        name: of the file, for messages.
        backend: `theano` or `tensorflow` where the file says it, else empty. Kernels that Theano saved are those of a true
            convolution.
        architecture: description of the layers where the file holds one (Keras 2 and files of whole models).
    """

    name: str
    layers: tuple[KerasLayer, ...]
    backend: str
    architecture: dict[str, Any] | None

    @property
    def count(self) -> int:
        """Number of parameters."""
        return sum(a.size for layer in self.layers for a in layer.arrays.values())


def read_keras(path: str | os.PathLike) -> KerasWeights:
    """Reads a file of weights or of a whole model.

    Raises:
        InputError: no HDF5 file, none that Keras wrote, a damaged one, an array that is listed and not there or there and
            not listed, or one with other values than finite float32.
    """
    with open_container(path) as file:
        if not isinstance(file, Hdf5):
            raise InputError(f"{file.path}: expected weights that Keras saved as HDF5, found a NumPy file")
        top = "model_weights" if "model_weights" in file.group() else ""
        if file.attribute(top, "layer_names") is not None:
            layers = _by_names(file, top)
        elif file.attribute("", "nb_layers") is not None:
            layers = _by_numbers(file)
        else:
            raise InputError(
                f"{file.path}: expected weights that Keras saved (an attribute 'layer_names' or 'nb_layers'), found another HDF5 "
                "file. Give the file of weights"
            )
        backend = file.attribute(top, "backend")
        described = file.attribute("", "model_config")
        architecture = None if described is None else _parsed(_text(described), f"{file.path}, its model_config")
        return KerasWeights(file.path, tuple(layers), "" if backend is None else _text(backend).lower(), architecture)


def read_architecture(path: str | os.PathLike) -> dict[str, Any]:
    """Returns the JSON description of a model.

    Raises:
        InputError: the file cannot be read or is no JSON object.
    """
    place, name = Path(path), show(os.fspath(path), 300)
    if place.stat().st_size > _LARGEST:
        raise InputError(f"{name}: expected a description of layers of at most {_LARGEST // 10**6} MB, found more")
    return _parsed(place.read_text("utf-8", errors="replace"), name)


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise InputError(f"{where}: expected JSON as Keras writes it, found {show(e)}") from e
    if not isinstance(found, dict):
        raise InputError(f"{where}: expected a JSON object as Keras writes it, found {type(found).__name__}")
    return found


def _by_names(file: Hdf5, top: str) -> list[KerasLayer]:
    names = _texts(file.attribute(top, "layer_names"))
    groups = set(file.group(top)) - ({"top_level_model_weights"} if top else set())
    _refuse_other(file.path, "layers", names, groups)
    layers = []
    for layer in names:
        group = f"{top}/{layer}" if top else layer
        listed = file.attribute(group, "weight_names")
        arrays = [] if listed is None else _texts(listed)
        _refuse_other(f"{file.path}, layer '{show(layer)}'", "arrays", arrays, _datasets(file, group))
        layers.append(_layer(file, layer, group, arrays))
    return [layer for layer in layers if layer.arrays]


def _by_numbers(file: Hdf5) -> list[KerasLayer]:
    names = [f"layer_{k}" for k in range(_whole(file, "", "nb_layers"))]
    _refuse_other(file.path, "layers", names, set(file.group()))
    layers = []
    for layer in names:
        arrays = [f"param_{k}" for k in range(_whole(file, layer, "nb_params"))]
        _refuse_other(f"{file.path}, layer '{layer}'", "arrays", arrays, _datasets(file, layer))
        layers.append(_layer(file, layer, layer, arrays))
    return [layer for layer in layers if layer.arrays]


def _layer(file: Hdf5, name: str, group: str, arrays: list[str]) -> KerasLayer:
    return KerasLayer(name, {a: _numbers(file, f"{group}/{a}") for a in arrays})


def _numbers(file: Hdf5, name: str) -> np.ndarray:
    form = file.look(name)
    if form.dtype.kind != "f":
        raise InputError(f"{file.where(name)}: expected floating-point weights, found {form.dtype}")
    values = file.read(name).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(
            f"{file.where(name)}: expected finite weights, found {int((~np.isfinite(values)).sum()):,} others. Was training "
            "broken off, or the file damaged?"
        )
    return values


def _datasets(file: Hdf5, group: str) -> set[str]:
    """Everything below a group, as names that may lead through groups (`lstm_1/kernel:0`)."""
    found: set[str] = set()
    pending = [""]
    while pending:
        inner = pending.pop()
        for name in file.group(f"{group}/{inner}" if inner else group):
            path = f"{inner}/{name}" if inner else name
            if file.is_group(f"{group}/{path}"):
                pending.append(path)
            else:
                found.add(path)
        if len(found) + len(pending) > 100_000:
            raise InputError(f"{file.where(group)}: expected the arrays of one layer, found more than 100,000")
    return found


def _refuse_other(where: str, what: str, listed: list[str], there: set[str]) -> None:
    if len(set(listed)) != len(listed):
        raise InputError(f"{where}: expected {what} with different names, found {listing(listed)}")
    missing, surplus = [n for n in listed if n not in there], sorted(there - set(listed))
    if missing or surplus:
        parts = [f"{listing(missing)} missing"] * bool(missing) + [f"{listing(surplus)} not in the list"] * bool(
            surplus
        )
        raise InputError(f"{where}: expected the {what} that it lists, found {' and '.join(parts)}. Is it cut off?")


def _whole(file: Hdf5, group: str, name: str) -> int:
    value = file.attribute(group, name)
    if value is None or value.shape != () or value.dtype.kind not in "iu" or not 0 <= int(value) <= 100_000:
        raise InputError(
            f"{file.path}: expected a number '{name}' of group '{show(group)}', found none. Is it cut off?"
        )
    return int(value)


def _texts(values: np.ndarray | None) -> list[str]:
    return [] if values is None else [_text(v) for v in values.ravel().tolist()]


def _text(value: Any) -> str:
    value = value.item() if isinstance(value, np.ndarray) and value.shape == () else value
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
