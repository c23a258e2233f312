"""The networks that `benchmark.py` times, one line each: ours, its twin in PyTorch, and what a training step multiplies.

Dropout is off on both sides and gates of LSTMs are logistic, so that both give the same numbers; both train on what
`fields` say, with Adam. The numbers of multiplications follow from the layers: a forward pass takes one multiply-add per
weight and place where it is used (places beyond the ends too, where a layer keeps the length), a training step three times
that, but twice in the layer that reads DNA, which needs no gradient of its input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of the benchmark.

    Attributes:
        length, tasks: bases and outputs.
        twin: makes the PyTorch module for a `Network`, input `[B, 4, L]`.
        first: multiply-adds of one forward pass of one example in the layer that reads DNA; rest: in all others.
        fields: of our config, where they differ from its defaults.
        unknown: value of the four channels at an unknown base.
        flat: positions that are flattened before this layer by name, to reorder its weights for PyTorch.
        compared: sequences on which the sides are compared.
        rate: of Adam; large steps of deep networks blow rounding up, and the sides could not be compared.
    """

    length: int
    tasks: int
    twin: Callable[[Network], Any]
    first: float
    rest: float
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unknown: float = 0.0
    flat: tuple[str, int] | None = None
    compared: int = 256
    rate: float = 1e-3

    def step_flops(self, batch: int) -> float:
        """Floating point operations of one training step, additions counted beside multiplications."""
        return 2 * batch * (2 * self.first + 3 * self.rest)


def as_torch(name: str, value: np.ndarray, network: Network) -> dict[str, np.ndarray]:
    """Turns one of our parameters into PyTorch's: kernels transposed, flattened features reordered to channels first."""
    *path, leaf = name.removeprefix("trunk/").removeprefix("tower/").replace("hidden/dense_0", "hidden").split("/")
    layer = "_".join(path)
    if layer == "lstm":
        direction, kind = leaf.split("_")
        end = "_reverse" if direction == "backward" else ""
        if kind == "bias":
            return {f"lstm.bias_ih_l0{end}": value, f"lstm.bias_hh_l0{end}": np.zeros_like(value)}
        return {f"lstm.weight_{'ih' if kind == 'kernel' else 'hh'}_l0{end}": np.ascontiguousarray(value.T)}
    if leaf == "kernel" and value.ndim == 3:
        value = value.transpose(2, 1, 0)
    elif leaf == "kernel" and network.flat and network.flat[0] == layer:  # (position, channel) -> (channel, position)
        units = value.shape[1]
        value = value.reshape(network.flat[1], -1, units).transpose(2, 1, 0).reshape(units, -1)
    elif leaf == "kernel":
        value = value.T
    return {f"{layer}.{'weight' if leaf == 'kernel' else leaf}": np.ascontiguousarray(value)}


# Twins as a PyTorch user writes them; pooling before ReLU where they commute.


def convnet(network: Network) -> Any:
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

    class ConvNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_0, self.conv_1, self.conv_2 = nn.Conv1d(4, 15, 15), nn.Conv1d(15, 15, 15), nn.Conv1d(15, 15, 15)
            self.head = nn.Linear(27 * 15, 1)

        def forward(self, x):
            x = F.relu(self.conv_0(x))
            x = F.relu(self.conv_1(x))
            x = F.relu(F.max_pool1d(self.conv_2(x), 35))
            return self.head(x.flatten(1))

    return ConvNet()


def both_strands(x: Any) -> Any:
    """A C G T backwards is T G C A: both flips give the other strand."""
    import torch  # pyright: ignore[reportMissingImports]

    return torch.cat([x, x.flip((1, 2))])


def deepbind(network: Network) -> Any:
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

    class DeepBind(nn.Module):
        def __init__(self):
            super().__init__()
            self.detectors, self.hidden, self.head = nn.Conv1d(4, 16, 24), nn.Linear(16, 32), nn.Linear(32, 1)

        def forward(self, x):
            x = F.relu(self.detectors(F.pad(both_strands(x), (23, 23), value=0.25)).max(2).values)
            forward, reverse = self.head(F.relu(self.hidden(x))).chunk(2)
            return torch.maximum(forward, reverse)

    return DeepBind()


def deepsea(network: Network) -> Any:
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

    one, two, three = network.fields["filters"]
    (units,), left = network.fields["dense"], ((network.length - 7) // 4 - 7) // 4 - 7

    class DeepSEA(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_0, self.conv_1, self.conv_2 = (
                nn.Conv1d(4, one, 8),
                nn.Conv1d(one, two, 8),
                nn.Conv1d(two, three, 8),
            )
            self.dense_0, self.head = nn.Linear(left * three, units), nn.Linear(units, network.tasks)
            self.rectify = nn.Threshold(0, 1e-6)

        def forward(self, x):
            x = self.rectify(F.max_pool1d(self.conv_0(x), 4))
            x = self.rectify(F.max_pool1d(self.conv_1(x), 4))
            x = self.rectify(self.conv_2(x))
            return self.head(self.rectify(self.dense_0(x.flatten(1))))

    return DeepSEA()


def factornet(network: Network) -> Any:
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

    class FactorNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.position_dense = nn.Conv1d(4, 32, 34), nn.Linear(32, 32)
            self.lstm = nn.LSTM(32, 32, batch_first=True, bidirectional=True)
            self.lstm.bias_hh_l0.requires_grad_(False)  # of two biases that are added, one is enough
            self.lstm.bias_hh_l0_reverse.requires_grad_(False)
            self.dense_0, self.head = nn.Linear(57 * 64, 64), nn.Linear(64, 1)

        def forward(self, x):
            x = F.relu(self.conv(both_strands(x))).transpose(1, 2)
            x = F.relu(F.max_pool1d(self.position_dense(x).transpose(1, 2), 17))
            x = self.lstm(x.transpose(1, 2))[0].flatten(1)
            forward, reverse = self.head(F.relu(self.dense_0(x))).sigmoid().chunk(2)
            return torch.logit((forward + reverse) / 2)

    return FactorNet()


def dilated(network: Network) -> Any:
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

    class Dilated(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv1d(4, 64, 21, padding="same"), nn.Linear(128, 1)
            for i in range(8):
                self.add_module(f"layer_{i}", nn.Conv1d(64, 64, 3, padding="same", dilation=2 << i))

        def forward(self, x):
            x = F.relu(self.stem(x))
            for i in range(8):
                x = x + F.relu(self.get_submodule(f"layer_{i}")(x))
            return self.head(torch.cat([x.max(2).values, x.mean(2)], 1))

    return Dilated()


DEEPSEA = {"filters": (320, 480, 960), "dense": (925,), "conv_dropout": (0.0, 0.0, 0.0)}
DEEPSEA |= {"strands": "none", "train_strands": "same"}  # one strand, as it is trained
_WITHOUT = ("dropout", "conv_dropout", "recurrent_dropout", "metadata_dropout", "input_dropout", "state_dropout")
FACTORNET = dict.fromkeys(_WITHOUT, 0.0) | {"gate": "sigmoid"}
NETWORKS: dict[str, Network] = {
    "convnet": Network(1000, 1, convnet, 986 * 900, (972 + 958) * 3375 + 405, flat=("head", 27)),
    # a filter on the other strand is its reverse complement on this one: both strands are two passes
    "deepbind": Network(101, 1, deepbind, 2 * 124 * 1536, 2 * 544, {"hidden": 32}, unknown=0.25),
    "deepsea": Network(
        1000, 919, deepsea, 993 * 10_240, 241 * 1_228_800 + 53 * 3_686_400 + 47_064_000 + 850_075, DEEPSEA, compared=8
    ),
    "factornet": Network(
        1002, 1, factornet, 2 * 969 * 4352, 2 * (969 * 1024 + 57 * 16_384 + 233_472 + 64), FACTORNET, compared=32
    ),
    "dilated": Network(1000, 1, dilated, 1000 * 5376, 8 * 1000 * 12_288 + 128, compared=32, rate=1e-4),
}
