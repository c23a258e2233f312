"""What the `model.json` of a released FactorNet says and its weights do not: length, pooling, gates, dropouts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from dragon_jax.errors import InputError, listing, show

# A dropout counts for what it follows.
_DROPOUTS = {
    "Convolution1D": "conv_dropout",
    "Bidirectional": "recurrent_dropout",
    "MaxPooling1D": "recurrent_dropout",
    "GlobalMaxPooling1D": "recurrent_dropout",
    "Merge": "metadata_dropout",
    "Dense": "dropout",
}


_OTHERS = {"InputLayer", "Dropout", "TimeDistributed", "Flatten"}  # with those above, all kinds that there are
_ORDER = ("Convolution1D", "TimeDistributed", "MaxPooling1D", "GlobalMaxPooling1D", "Bidirectional", "Dense")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Facts of a description.

    Attributes:
        length: bases of a sequence; None = any.
        pool: width of the pooling, 0 = over all positions.
        gate: of the LSTM, `sigmoid` or `hard_sigmoid`.
        dropouts: rate by field of `FactorNetConfig`; a place without dropout has 0.
    """

    length: int | None
    pool: int
    gate: str
    dropouts: Mapping[str, float]

    def fields(self) -> dict[str, Any]:
        """Returns the fields of `FactorNetConfig` that are no sizes."""
        return dict(self.dropouts) | {"gate": self.gate}


def read_layout(described: Mapping[str, Any], where: str) -> Layout:
    """Reads the description of a model as Keras 1 writes it.

    Args:
        where: the file, for messages.

    Raises:
        InputError: another kind of model, or settings with which the same weights would mean another network.
    """
    try:
        return _read(described["config"]["layers"], where)
    except InputError:
        raise
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as e:
        raise InputError(f"{where}: expected the layers of a FactorNet model, found another description") from e


def _read(layers: list[dict[str, Any]], where: str) -> Layout:
    kinds = {layer["name"]: layer["class_name"] for layer in layers}
    configs: dict[str, list[dict[str, Any]]] = {}
    for layer in layers:
        configs.setdefault(layer["class_name"], []).append(layer["config"])
    if unknown := sorted(set(configs) - _OTHERS - set(_DROPOUTS)):
        raise InputError(f"{where}: expected the kinds of layers that FactorNet has, found {listing(unknown)}")
    order = [_ORDER.index(layer["class_name"]) for layer in layers if layer["class_name"] in _ORDER]
    if order != sorted(order):
        found = [_ORDER[k] for k in order]
        raise InputError(f"{where}: expected layers in the order {listing(_ORDER, 9)}, found {listing(found, 9)}")
    conv, (merge, *_) = configs["Convolution1D"][0], configs["Merge"][::-1]
    dense = [c["activation"] for c in configs["Dense"]]
    position = configs["TimeDistributed"][0]["layer"]
    facts = [
        ("activation of the convolution", conv["activation"], "relu"),
        ("border_mode of the convolution", conv["border_mode"], "valid"),
        ("subsample_length of the convolution", conv["subsample_length"], 1),
        ("layer at every position", position["class_name"], "Dense"),
        ("activation of the layer at every position", position["config"]["activation"], "relu"),
        ("activations of the dense layers", dense, ["relu"] * (len(dense) - 1) + ["sigmoid"]),
        ("mode of the last merge", merge["mode"], "ave"),
    ]
    for layer in layers:
        if (
            layer["class_name"] == "Merge" and layer["config"] is not merge
        ):  # metadata after the last dense layer before
            own = layer["config"]
            facts += [("mode of the merge with metadata", own["mode"], "concat")]
            facts += [("concat_axis of the merge with metadata", own.get("concat_axis", -1), -1)]
            ends = [[kinds[source[0]] == "InputLayer" for source in node] for node in layer["inbound_nodes"]]
            facts += [("metadata last in the merge", ends, [[False, True]] * len(ends))]
    gate, rates = "hard_sigmoid", dict.fromkeys(_DROPOUTS.values(), 0.0)
    rates |= {"input_dropout": 0.0, "state_dropout": 0.0}
    for outer in configs.get("Bidirectional", ()):
        own = outer["layer"]["config"]
        facts += [("merge_mode of the LSTM", outer["merge_mode"], "concat")]
        facts += [("layer in both directions", outer["layer"]["class_name"], "LSTM")]
        facts += [("activation of the LSTM", own["activation"], "tanh")]
        facts += [("return_sequences of the LSTM", own["return_sequences"], True)]
        facts += [(f"{flag} of the LSTM", own.get(flag, False), False) for flag in ("go_backwards", "stateful")]
        gate = own["inner_activation"]
        rates |= {"input_dropout": float(own["dropout_W"]), "state_dropout": float(own["dropout_U"])}
    pool = 0
    for own in configs.get("MaxPooling1D", ()):
        pool = int(own["pool_length"])
        facts += [("stride of the pooling", own["stride"], pool)]
        facts += [("border_mode of the pooling", own["border_mode"], "valid")]
    for what, found, expected in facts:
        if found != expected:
            raise InputError(f"{where}: expected {what} {show(repr(expected))}, found {show(repr(found))}")
    for layer in layers:
        if layer["class_name"] == "Dropout":
            sources = {kinds[source[0]] for node in layer["inbound_nodes"] for source in node}
            rates |= {_DROPOUTS[kind]: float(layer["config"]["p"]) for kind in sources}
    length = configs["InputLayer"][0]["batch_input_shape"][1]
    return Layout(None if length is None else int(length), pool, str(gate), rates)
