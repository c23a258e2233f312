"""DragoNN's stored networks (Keras 0.3 weights written with Theano, and their layers as JSON) as `models.convnet`.

Theano saves the kernels of a true convolution. The first one reads a picture of 4 rows (A, C, G, T) by L columns and lies
flipped in both, so that the filter is the reverse complement of what is stored; the later ones, one row high, lie flipped
along the bases alone. Features are flattened channel by channel there and position by position here.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon_jax.config import build
from dragon_jax.errors import InputError, listing, show
from dragon_jax.files import expand
from dragon_jax.models.convnet import ConvNetConfig
from dragon_jax.models.keras_files import read_architecture, read_keras

CITATION = "DragoNN, github.com/kundajelab/dragonn, paper_supplement (MIT)"
# What the file of weights ends in, and the description beside it.
_BESIDE = ((r"_model\.weights\.(hd5|h5|hdf5)$", "_arch.arch.json"), (r"\.weights\.(hd5|h5|hdf5)$", ".arch.json"))


@dataclasses.dataclass(frozen=True)
class DragonnFile:
    """A stored network: its config, length of sequences, number of tasks, parameters by path below `params`."""

    config: ConvNetConfig
    length: int
    tasks: int
    params: Mapping[str, np.ndarray]


def read_dragonn(path: str | os.PathLike) -> DragonnFile:
    """Reads `X_model.weights.hd5` and `X_arch.arch.json` beside it (or `X.weights.h5` and `X.arch.json`).

    Raises:
        InputError: a file that is missing or none of this kind, layers that are not those of a SequenceDNN, or weights that
            do not fit them.
    """
    weights, name = read_keras(path), os.fspath(path)
    beside = [re.sub(end, other, name) for end, other in _BESIDE if re.search(end, name)]
    described = next((b for b in beside if expand(b).is_file()), None)
    if described is None:
        expected = f"'{show(beside[0], 300)}'" if beside else "a name that ends in .weights.hd5, and .arch.json"
        raise InputError(f"{show(name, 300)}: expected its layers beside it, {expected}, found none. Copy both files")
    try:
        convs, length, pool, tasks = _read(read_architecture(expand(described))["layers"])
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as e:
        raise InputError(
            f"{show(described, 300)}: expected the layers of a DragoNN SequenceDNN (convolutions with ReLU, max pooling, dense, "
            f"sigmoid), found others"
        ) from e
    positions = (length - sum(w - 1 for _, w in convs)) // pool
    channels = [1, *(f for f, _ in convs)]
    shapes: list[tuple[int, ...]] = []
    for i, (features, width) in enumerate(convs):
        shapes += [(features, channels[i], 1 if i else 4, width), (features,)]
    shapes += [(channels[-1] * positions, tasks), (tasks,)]
    arrays = [array for layer in weights.layers for array in layer.arrays.values()]
    if [a.shape for a in arrays] != shapes:
        raise InputError(
            f"{weights.name}: expected arrays of the shapes {listing(map(list, shapes), 12)}, found "
            f"{listing((list(a.shape) for a in arrays), 12)}. Do weights and layers belong together?"
        )
    params = {}
    for i in range(len(convs)):
        kernel = arrays[2 * i][..., ::-1]
        kernel = kernel[:, :, 0].transpose(2, 1, 0) if i else kernel[:, 0, ::-1].transpose(2, 1, 0)
        params |= {f"trunk/conv_{i}/kernel": kernel, f"trunk/conv_{i}/bias": arrays[2 * i + 1]}
    head = arrays[-2].reshape(channels[-1], positions, tasks).transpose(1, 0, 2).reshape(-1, tasks)
    params |= {"head/kernel": head, "head/bias": arrays[-1]}
    fields = {"filters": [f for f, _ in convs], "widths": [w for _, w in convs], "pool_width": pool}
    config = build(ConvNetConfig, {"name": "convnet", **fields}, weights.name)
    return DragonnFile(config, length, tasks, {k: np.ascontiguousarray(v) for k, v in params.items()})


def _read(layers: list[Mapping[str, Any]]) -> tuple[list[tuple[int, int]], int, int, int]:
    """Filters and width of the convolutions, length, pooling, tasks. Raises ValueError for another order or settings."""
    left = [layer for layer in layers if layer["name"] not in ("Dropout", "Flatten")]
    convs, length = [], 0
    while left[0]["name"] == "Convolution2D":
        conv, activation, *left = left
        if (conv["border_mode"], conv["activation"], conv["subsample"], conv["dim_ordering"]) != (
            "valid",
            "linear",
            [1, 1],
            "th",
        ):
            raise ValueError
        if conv["nb_row"] != (1 if convs else 4) or (activation["name"], activation["activation"]) != (
            "Activation",
            "relu",
        ):
            raise ValueError
        length = length or int(conv["input_shape"][2])
        convs.append((int(conv["nb_filter"]), int(conv["nb_col"])))
    pool, dense, last = left
    width = int(pool["pool_size"][1])
    if (pool["name"], pool["pool_size"], pool["strides"]) != ("MaxPooling2D", [1, width], [1, width]):
        raise ValueError
    if (dense["name"], dense["activation"], last["activation"]) != ("Dense", "linear", "sigmoid") or not convs:
        raise ValueError
    return convs, length, width, int(dense["output_dim"])
