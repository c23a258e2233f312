"""Released FactorNet models (Keras 1 HDF5, written with Theano) as a config and parameters of `models.factornet`.

A folder holds `best_model.hdf5` or `final_model.hdf5` and `model.json` (layers; the file of a whole model may describe
them itself) and, where they were kept, `chip.txt` (factors), `bigwig.txt` (tracks, in the order of their channels),
`feature.txt` and `meta.txt` (what the metadata are). Theano saves the kernels of a true convolution: they are reversed
along the bases here. Gates lie apart as i, c, f, o there and together as i, f, c, o here. Moments of the optimiser are
left; every other number must have its place.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dragon_jax.config import build
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.errors import InputError, listing, show
from dragon_jax.files import expand
from dragon_jax.models.factornet import FactorNetConfig
from dragon_jax.models.factornet_layout import Layout, read_layout
from dragon_jax.models.keras_files import KerasWeights, read_architecture, read_keras

CITATION = "Quang, Xie. Methods 166, 40-47 (2019), doi:10.1016/j.ymeth.2019.03.020"
_WEIGHTS = ("best_model.hdf5", "final_model.hdf5")
_LENGTHS = {34: 1002, 26: 1000}  # width -> length, of the released models and of the program
_GENCODE = ("cpg_island", "cds", "intron", "promoter", "utr5", "utr3")
_EXPRESSION = tuple(f"GEPC{k}" for k in range(1, 9))
_LAYER = re.compile(r"(convolution1d|timedistributed|bidirectional|dense)_\d+")
_GATE = re.compile(r"(forward|backward)_lstm_\d+_([WUb])_([icfo])")
_LSTM = {"W": "kernel", "U": "recurrent", "b": "bias"}


@dataclasses.dataclass(frozen=True)
class FactorNetFile:
    """A released model.

    Attributes:
        file: of the weights. config, length: of the network and its sequences (bases).
        tasks: factors. specs: inputs beside the sequence, by name.
        params: parameters by path below `params`, float32.
        notes: what the files do not say, and what is lost by it; a sentence each, for the user.
    """

    file: str
    config: FactorNetConfig
    length: int
    tasks: tuple[str, ...]
    specs: Mapping[str, InputSpec]
    params: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()


def read_factornet(path: str | os.PathLike) -> FactorNetFile:
    """Reads the folder of a model, or its file of weights and what lies beside it.

    Raises:
        InputError: no such file or folder, no description of the layers beside or in the file, layers that are not
            FactorNet's, sizes that do not fit each other, or lists of tracks, factors and features that do not fit the weights.
    """
    file = _weights_in(path)
    folder, weights = expand(file).parent, read_keras(file)
    layers = _layers(weights)
    params = _parameters(weights, layers)
    kernels, dense = params["trunk/position_dense/bias"].size, params["trunk/dense_0/bias"].size
    forward = params.get("trunk/lstm/forward_bias")
    layout, notes = _described(folder, weights)
    width, rows = len(params["trunk/conv/kernel"]), params["trunk/dense_0/kernel"].shape[0]
    recurrent = 0 if forward is None else forward.size // 4
    if not recurrent and rows == kernels and not layout.pool:
        recurrent = -1
    pool, length = _sizes(width, layout, recurrent, weights.name)
    sizes = {"kernels": kernels, "width": width, "pool_width": pool, "recurrent": recurrent, "dense": dense}
    config = build(FactorNetConfig, {**layout.fields(), **sizes}, weights.name)
    positions = 1 if recurrent < 0 else (length - width + 1) // pool
    expected = positions * (2 * recurrent if recurrent > 0 else kernels)
    if rows != expected:
        raise InputError(
            f"{weights.name}: expected {expected:,} inputs of the first hidden layer ({positions} positions left of {length} "
            f"bases), found {rows:,}. Is model.json that of these weights?"
        )
    if "trunk/conv/tracks" in params and not _lines(folder, "bigwig.txt"):
        notes.append(
            f"no bigwig.txt beside {weights.name}: the names of its tracks are lost, they are called track_1, track_2, ... in the "
            "order of the channels; and no two change places on the other strand, as NAME_fwd and NAME_rev would. Put "
            "bigwig.txt beside it and import again where that matters"
        )
    late = params["trunk/dense_1/kernel"].shape[0] - dense if "trunk/dense_1/kernel" in params else 0
    return FactorNetFile(
        file,
        config,
        length,
        _tasks(folder, params["head/bias"].size, weights.name),
        _specs(folder, params, late),
        params,
        tuple(notes),
    )


def _described(folder: Path, weights: KerasWeights) -> tuple[Layout, list[str]]:
    """The description beside the weights, else that in their file, which the user is told."""
    described = folder / "model.json"
    if described.is_file():
        return read_layout(read_architecture(described), show(described, 300)), []
    if weights.architecture is None:
        raise InputError(
            f"{weights.name}: expected model.json beside it, or a description of the layers inside, found neither: weights alone "
            "do not tell gates, pooling and length"
        )
    note = f"no model.json beside {weights.name}: its layers are those that the file itself describes (model_config)"
    return read_layout(weights.architecture, f"{weights.name}, its model_config"), [note]


def _weights_in(path: str | os.PathLike) -> str:
    """The file of weights that a folder holds, or the file itself."""
    place, name = expand(path), os.fspath(path)
    if not place.is_dir():
        return name
    found = [n for n in _WEIGHTS if (place / n).is_file()]
    if not found:
        found = sorted(p.name for p in place.iterdir() if p.suffix in (".hdf5", ".h5"))
    if not found or (len(found) > 1 and found[0] not in _WEIGHTS):
        raise InputError(
            f"{show(name, 300)}: expected {' or '.join(_WEIGHTS)}, found {listing(found) or 'no HDF5 file'}. Give the file"
        )
    return os.path.join(name, found[0])


def _layers(weights: KerasWeights) -> dict[str, list[tuple[str, dict[str, np.ndarray]]]]:
    """Layers by kind, in their order."""
    kinds: dict[str, list[tuple[str, dict[str, np.ndarray]]]] = {}
    for layer in weights.layers:
        kind = _LAYER.fullmatch(layer.name)
        if kind is None:
            raise InputError(f"{weights.name}: expected the layers of FactorNet, found '{show(layer.name)}'")
        kinds.setdefault(kind[1], []).append((f"{weights.name}, layer '{layer.name}'", layer.arrays))
    counts = {k: len(v) for k, v in kinds.items()}
    bare = {k: v for k, v in counts.items() if k != "bidirectional"}
    if counts.get("bidirectional", 0) > 1 or bare not in (
        {"convolution1d": 1, "timedistributed": 1, "dense": n} for n in (2, 3)
    ):
        raise InputError(
            f"{weights.name}: expected the layers of FactorNet (convolution1d, timedistributed, at most one bidirectional, 2 or 3 "
            f"dense), found {listing(f'{v} {k}' for k, v in counts.items()) or 'none'}"
        )
    return kinds


def _parameters(weights: KerasWeights, layers: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every array in its place; what has none, or does not fit the layer before, is refused."""
    where, arrays = layers["convolution1d"][0]
    kernel, bias = _pair(where, arrays)
    if kernel.ndim != 4 or kernel.shape[1] != 1 or kernel.shape[2] < 4 or kernel.shape[3:] != bias.shape:
        raise InputError(
            f"{where}: expected a kernel [width, 1, 4 + tracks, kernels], found the shape {list(kernel.shape)}. Other layouts "
            "than that of Keras 1.1 are not known"
        )
    kernel = kernel[:, 0] if weights.backend == "tensorflow" else kernel[::-1, 0]
    params = {"trunk/conv/kernel": kernel[:, :4], "trunk/conv/bias": bias}
    if kernel.shape[1] > 4:
        params["trunk/conv/tracks"] = kernel[:, 4:]
    dense = layers["dense"]
    places = {"position_dense": layers["timedistributed"][0], "dense_0": dense[0]}
    if len(dense) == 3:
        places["dense_1"] = dense[1]
    for name, (where, arrays) in {**{f"trunk/{k}": v for k, v in places.items()}, "head": dense[-1]}.items():
        params[f"{name}/kernel"], params[f"{name}/bias"] = _pair(where, arrays)
        if params[f"{name}/kernel"].shape[1:] != params[f"{name}/bias"].shape:
            raise InputError(
                f"{where}: expected a kernel [inputs, units] and a bias [units], found {list(params[f'{name}/kernel'].shape)} "
                f"and {list(params[f'{name}/bias'].shape)}"
            )
    for where, arrays in layers.get("bidirectional", ()):
        params |= {f"trunk/lstm/{k}": v for k, v in _lstm(where, arrays).items()}
    return {k: np.ascontiguousarray(v) for k, v in params.items()}


def _pair(where: str, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    by_end = {name.rpartition("_")[2]: array for name, array in arrays.items()}
    if len(arrays) != 2 or set(by_end) != {"W", "b"} or by_end["b"].ndim != 1 or by_end["W"].ndim < 2:
        raise InputError(f"{where}: expected one kernel ..._W and one bias ..._b, found {listing(arrays) or 'none'}")
    return by_end["W"], by_end["b"]


def _lstm(where: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        match = _GATE.fullmatch(name)
        if match is None:
            raise InputError(f"{where}: expected gates of an LSTM such as 'forward_lstm_1_W_i', found '{show(name)}'")
        parts.setdefault(f"{match[1]}_{_LSTM[match[2]]}", {})[match[3]] = array
    complete = len(parts) == 6 and all(set(gates) == set("icfo") for gates in parts.values())
    if not complete or len({a.shape for a in (parts["forward_bias"] | parts["backward_bias"]).values()}) != 1:
        raise InputError(f"{where}: expected W, U and b of the gates i, c, f and o in both directions, found others")
    try:
        return {name: np.concatenate([gates[g] for g in "ifco"], -1) for name, gates in parts.items()}
    except ValueError as e:
        raise InputError(f"{where}: expected gates of one shape, found {show(e)}") from e


def _sizes(width: int, layout: Layout, recurrent: int, name: str) -> tuple[int, int]:
    """Pooling and length as described; where any length will do, that of the released models with this width."""
    length = layout.length or _LENGTHS.get(width)
    if length is None:
        raise InputError(
            f"{name}: expected a description with the length of sequences, found one for any length, and kernels of {width} bases "
            "do not tell it"
        )
    return layout.pool if recurrent >= 0 else 1, length


def _lines(folder: Path, name: str) -> list[str]:
    place = folder / name
    if not place.is_file() or place.stat().st_size > 1_000_000:
        return []
    return [line.strip() for line in place.read_text("utf-8", errors="replace").splitlines() if line.strip()]


def _tasks(folder: Path, count: int, name: str) -> tuple[str, ...]:
    listed = _lines(folder, "chip.txt")
    if not listed:
        return tuple(f"task_{k}" for k in range(1, count + 1)) if count > 1 else ("bound",)
    if len(listed) != count or len(set(listed)) != count:
        raise InputError(
            f"chip.txt beside {name}: expected the names of {count} tasks, found {len(listed)} ({listing(listed)})"
        )
    return tuple(listed)


def _specs(folder: Path, params: Mapping[str, np.ndarray], late: int) -> dict[str, InputSpec]:
    """Inputs beside the sequence; their columns as the files beside the weights call them."""
    specs = {}
    tracks = params["trunk/conv/tracks"].shape[1] if "trunk/conv/tracks" in params else 0
    listed = _lines(folder, "bigwig.txt")
    if listed and len(listed) != tracks:
        raise InputError(
            f"bigwig.txt in {show(folder)}: expected the names of {tracks} tracks, found {len(listed)} ({listing(listed)})"
        )
    if tracks:
        specs["signal"] = InputSpec("signal", tuple(listed) or tuple(f"track_{k}" for k in range(1, tracks + 1)))
    features, meta = _lines(folder, "feature.txt"), tuple(_lines(folder, "meta.txt"))
    known = {6: _GENCODE, 8: meta or _EXPRESSION, 14: (*(meta or _EXPRESSION), *_GENCODE)}
    columns = known.get(late, ())
    if features:
        columns = (*((meta or _EXPRESSION) if "meta" in features else ()), *(_GENCODE if "gencode" in features else ()))
        if len(columns) != late:
            raise InputError(
                f"feature.txt in {show(folder)}: expected features that make {late} metadata, found {listing(features)}, which "
                f"make {len(columns)}"
            )
    if late:
        if len(columns) != late:
            columns = tuple(f"metadata_{k}" for k in range(1, late + 1))
        specs["metadata"] = InputSpec("vector", columns)
    return specs
