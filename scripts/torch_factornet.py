"""FactorNet in PyTorch, with our weights: the other side of comparisons, in tests and benchmarks. Needs the extra `bench`.

With `gate="sigmoid"` the LSTM is PyTorch's own; it has no hard sigmoid, so with that one (released weights) the gates are
worked out here, position by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]


class FactorNet(nn.Module):
    """Probabilities `[B, T]` of float32 `[B, 4 + C, L]` on the two strands, and metadata `[B, Q]`.

    Args:
        params: parameters of `models.factornet` (nested, below `params`); their shapes say every size.
        pool_width, recurrent, gate: as in its config.
    """

    def __init__(self, params: Mapping[str, Any], pool_width: int, recurrent: int, gate: str):
        super().__init__()
        trunk = params["trunk"]
        self.pool_width, self.recurrent, self.gate = pool_width, recurrent, gate
        kernel = np.concatenate([np.asarray(trunk["conv"][k]) for k in ("kernel", "tracks") if k in trunk["conv"]], 1)
        self.conv = nn.Conv1d(kernel.shape[1], kernel.shape[2], kernel.shape[0])
        _fill(self.conv, weight=kernel.transpose(2, 1, 0), bias=trunk["conv"]["bias"])
        self.position_dense, self.dense_0 = _linear(trunk["position_dense"]), _linear(trunk["dense_0"])
        self.dense_1 = _linear(trunk["dense_1"]) if "dense_1" in trunk else None
        self.head = _linear(params["head"])
        if recurrent > 0:
            self.lstm = nn.LSTM(kernel.shape[2], recurrent, batch_first=True, bidirectional=True)
            own = {}
            for name, suffix in (("forward", "_l0"), ("backward", "_l0_reverse")):
                own[f"weight_ih{suffix}"] = np.asarray(trunk["lstm"][f"{name}_kernel"]).T
                own[f"weight_hh{suffix}"] = np.asarray(trunk["lstm"][f"{name}_recurrent"]).T
                own[f"bias_ih{suffix}"] = trunk["lstm"][f"{name}_bias"]
                own[f"bias_hh{suffix}"] = np.zeros_like(trunk["lstm"][f"{name}_bias"])
            _fill(self.lstm, **own)

    def forward(
        self, forward: torch.Tensor, reverse: torch.Tensor, metadata: torch.Tensor | None = None
    ) -> torch.Tensor:
        both = torch.cat([forward, reverse])
        logits = self._one(both, None if metadata is None else torch.cat([metadata, metadata]))
        return torch.sigmoid(logits).view(2, len(forward), -1).mean(0)

    def _one(self, x: torch.Tensor, metadata: torch.Tensor | None) -> torch.Tensor:
        x = self.position_dense(F.relu(self.conv(x)).transpose(1, 2)).transpose(1, 2)
        x = F.relu(F.max_pool1d(x, self.pool_width if self.recurrent >= 0 else x.shape[2])).transpose(1, 2)
        if self.recurrent > 0:
            x = self.lstm(x)[0] if self.gate == "sigmoid" else self._hard(x)
        x = F.relu(self.dense_0(x.flatten(1)))
        if self.dense_1 is not None:
            assert metadata is not None
            x = F.relu(self.dense_1(torch.cat([x, metadata], 1)))
        return self.head(x)

    def _hard(self, x: torch.Tensor) -> torch.Tensor:
        directions = []
        for suffix, turned in (("_l0", x), ("_l0_reverse", x.flip(1))):
            w, u, b = (getattr(self.lstm, k + suffix) for k in ("weight_ih", "weight_hh", "bias_ih"))
            h = c = x.new_zeros(len(x), self.recurrent)
            states = []
            for position in turned.unbind(1):
                i, f, n, o = (F.linear(position, w, b) + F.linear(h, u)).chunk(4, 1)
                c = _hard_sigmoid(f) * c + _hard_sigmoid(i) * torch.tanh(n)
                h = _hard_sigmoid(o) * torch.tanh(c)
                states.append(h)
            directions.append(torch.stack(states, 1))
        return torch.cat([directions[0], directions[1].flip(1)], 2)


def strands(codes: np.ndarray, signal: np.ndarray | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the two inputs of the network from codes `[B, L]` and signal `[B, L, C]` whose tracks have no strand."""
    x = np.eye(5, dtype=np.float32)[codes][..., :4]
    turned = x[:, ::-1, ::-1]  # A C G T backwards is its complement
    if signal is not None:
        x, turned = np.concatenate([x, signal], 2), np.concatenate([turned, signal[:, ::-1]], 2)
    return tuple(torch.from_numpy(np.ascontiguousarray(v.transpose(0, 2, 1), np.float32)) for v in (x, turned))  # type: ignore[return-value]


def _hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    return (0.2 * x + 0.5).clamp(0, 1)


def _linear(weights: Mapping[str, Any]) -> nn.Linear:
    layer = nn.Linear(*np.shape(weights["kernel"]))
    return _fill(layer, weight=np.asarray(weights["kernel"]).T, bias=weights["bias"])


def _fill(layer: Any, **values: Any) -> Any:
    with torch.no_grad():
        for name, value in values.items():
            getattr(layer, name).copy_(torch.from_numpy(np.array(value, np.float32)))
    return layer
