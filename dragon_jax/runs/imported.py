"""What every importer hands over: enough for a run directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dragon_jax.data.dataset import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """Weights from elsewhere, read and checked.

    Attributes:
        config: all sections of a config but `data`.
        outputs: what `model.json` of a run holds: `length` (None = any), `inputs`, and `tasks` with their statistics.
        leaves: arrays by path as a checkpoint has them: `params/...` (`ema/...` where config.optim.ema is positive) and
            `model_state/...` of a network, the `state()` of a baseline.
        text: the printed summary. origin: where they come from, for the provenance.
        notes: what the user is told of the files, a sentence each.
    """

    config: Mapping[str, Any]
    outputs: Mapping[str, Any]
    leaves: Mapping[str, np.ndarray]
    text: str
    origin: Mapping[str, Any]
    notes: Sequence[str] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the columns of predictions are."""
        return tuple(Task(t["name"], t["kind"]) for t in self.outputs["tasks"])
