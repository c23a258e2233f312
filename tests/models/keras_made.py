"""Small FactorNet models as Keras 1 saves them, and how their arrays are to be read, worked out here by itself."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

SIZES = {"tracks": 2, "kernels": 6, "width": 5, "pool": 4, "recurrent": 3, "dense": 7, "metadata": 6, "length": 41}


def arrays_of(tasks: int = 1, seed: int = 0, **changes: int) -> dict[str, dict[str, np.ndarray]]:
    """Returns random arrays by layer and name, in Keras' order."""
    z = SIZES | changes
    rng = np.random.default_rng(seed)
    draw = lambda *shape: (0.5 * rng.normal(size=shape)).astype(np.float32)  # noqa: E731
    k, r, d = z["kernels"], z["recurrent"], z["dense"]
    layers = {
        "convolution1d_1": {"convolution1d_1_W": draw(z["width"], 1, 4 + z["tracks"], k), "convolution1d_1_b": draw(k)}
    }
    layers["timedistributed_1"] = {"dense_1_W": draw(k, k), "dense_1_b": draw(k)}
    if r > 0:
        layers["bidirectional_1"] = {
            f"{way}_lstm_1_{kind}_{gate}": draw(*{"W": (k, r), "U": (r, r), "b": (r,)}[kind])
            for way in ("forward", "backward")
            for gate in "icfo"
            for kind in "WUb"
        }
    rows = (z["length"] - z["width"] + 1) // z["pool"] * 2 * r if r > 0 else k
    sizes = [rows, d, *([d] if z["metadata"] else []), tasks]
    for i in range(len(sizes) - 1):
        extra = z["metadata"] if i == 1 and z["metadata"] else 0
        name = f"dense_{i + 2}"
        layers[name] = {f"{name}_W": draw(sizes[i] + extra, sizes[i + 1]), f"{name}_b": draw(sizes[i + 1])}
    return layers


def write_hdf5(path: Path, layers: dict[str, dict[str, np.ndarray]], *, whole: bool = False) -> Path:
    """Writes a file of weights or, with `whole`, of a model with moments of the optimiser."""
    with h5py.File(path, "w") as file:
        top = file.create_group("model_weights") if whole else file
        top.attrs["layer_names"] = np.array([b"input_1", *(n.encode() for n in layers)])
        top.create_group("input_1").attrs["weight_names"] = np.zeros(0)
        for layer, arrays in layers.items():
            group = top.create_group(layer)
            group.attrs["weight_names"] = np.array([n.encode() for n in arrays])
            for name, array in arrays.items():
                group.create_dataset(name, data=array)
        if whole:
            file.create_group("optimizer_weights").create_dataset("moment", data=np.zeros(9, np.float32))
            file.attrs["keras_version"] = b"1.1.1"
    return path


def described(**changes: int) -> dict:
    """Returns what Keras writes into `model.json`."""
    z = SIZES | changes
    conv = {"activation": "relu", "border_mode": "valid", "subsample_length": 1}
    lstm = {
        "activation": "tanh",
        "return_sequences": True,
        "inner_activation": "hard_sigmoid",
        "dropout_W": 0.1,
        "dropout_U": 0.2,
    }

    def layer(kind: str, name: str, config: dict, *before: str) -> dict:
        return {"class_name": kind, "name": name, "config": config, "inbound_nodes": [[[b, 0, 0]] for b in before]}

    layers = [
        layer("InputLayer", "input_1", {"batch_input_shape": [None, z["length"], 4 + z["tracks"]]}),
        layer("Convolution1D", "convolution1d_1", conv, "input_1"),
        layer("Dropout", "dropout_1", {"p": 0.15}, "convolution1d_1"),
        layer("TimeDistributed", "timedistributed_1", {"layer": {"class_name": "Dense", "config": {"activation": "relu"}}}),
        layer("MaxPooling1D", "maxpooling1d_1", {"pool_length": z["pool"], "stride": z["pool"], "border_mode": "valid"}),
        layer("Bidirectional", "bidirectional_1", {"merge_mode": "concat", "layer": {"class_name": "LSTM", "config": lstm}}),
        layer("Dropout", "dropout_2", {"p": 0.5}, "bidirectional_1"),
        *(layer("Dense", f"dense_{i}", {"activation": "relu"}) for i in range(2, 4 if z["metadata"] else 3)),
        layer("Dense", "dense_9", {"activation": "sigmoid"}),
        layer("Merge", "merge_9", {"mode": "ave"}, "dense_9"),
    ]  # fmt: skip
    return {"class_name": "Model", "keras_version": "1.1.1", "config": {"layers": layers}}


def folder(path: Path, tasks: int = 1, **changes: int) -> tuple[Path, dict[str, dict[str, np.ndarray]]]:
    """Writes the folder of a released model."""
    layers = arrays_of(tasks, **changes)
    path.mkdir()
    write_hdf5(path / "final_model.hdf5", layers)
    (path / "model.json").write_text(json.dumps(described(**changes)))
    (path / "bigwig.txt").write_text("Unique35\nDGF\n")
    (path / "chip.txt").write_text("".join(f"TF{k}\n" for k in range(tasks)))
    (path / "feature.txt").write_text("bigwig\ngencode\n" if (SIZES | changes)["metadata"] else "bigwig\n")
    return path, layers


def parameters(layers: dict[str, dict[str, np.ndarray]]) -> dict:
    """Returns the parameters that Theano's arrays mean, nested as `numpy_factornet` takes them.

    A true convolution multiplies the last row of a kernel with the first base; gates lie apart.
    """
    get = lambda layer, end: next(a for n, a in layers[layer].items() if n.endswith(end))  # noqa: E731
    pair = lambda layer: {"kernel": get(layer, "_W"), "bias": get(layer, "_b")}  # noqa: E731
    kernel = np.flip(get("convolution1d_1", "_W"), 0).squeeze(1)
    trunk = {"conv": {"kernel": kernel[:, :4], "tracks": kernel[:, 4:], "bias": get("convolution1d_1", "_b")}}
    trunk["position_dense"] = pair("timedistributed_1")
    names = sorted((n for n in layers if n.startswith("dense_")), key=lambda n: int(n[6:]))
    trunk |= {f"dense_{i}": pair(n) for i, n in enumerate(names[:-1])}
    if "bidirectional_1" in layers:
        own = layers["bidirectional_1"]
        trunk["lstm"] = {
            f"{way}_{ours}": np.concatenate([own[f"{way}_lstm_1_{theirs}_{gate}"] for gate in "ifco"], -1)
            for way in ("forward", "backward")
            for ours, theirs in (("kernel", "W"), ("recurrent", "U"), ("bias", "b"))
        }
    return {"trunk": trunk, "head": pair(names[-1])}


def read_arrays(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Returns the arrays of a released file by layer and name."""
    with h5py.File(path, "r") as file:
        return {layer: {n: a[()] for n, a in group.items()} for layer, group in file.items() if len(group)}
