"""Early stopping on any metric, in either direction, as plain numbers that travel with the checkpoint."""

from __future__ import annotations

import dataclasses
import math

from dragon_jax.sections import MONITORS, TrainConfig


@dataclasses.dataclass
class EarlyStop:
    """Remembers the best evaluation and counts those without improvement.

    Attributes:
        best_step, best_value: of the best evaluation so far; -1 and None before the first defined one.
        stale: evaluations since then.
    """

    monitor: str
    maximise: bool
    patience: int
    min_delta: float
    best_step: int = -1
    best_value: float | None = None
    stale: int = 0

    @classmethod
    def of(cls, config: TrainConfig) -> EarlyStop:
        mode = MONITORS[config.monitor] if config.mode == "auto" else config.mode
        return cls(config.monitor, mode == "max", config.patience, config.min_delta)

    def update(self, step: int, value: float) -> bool:
        """Takes the metric of an evaluation and returns whether it is the best; an undefined one (NaN) never is.

        The first evaluation counts as best even when undefined, so that every run has a checkpoint to use.
        """
        gain = math.inf
        if self.best_value is not None and not math.isnan(self.best_value):
            gain = (value - self.best_value) * (1 if self.maximise else -1)
        better = self.best_step < 0 or (not math.isnan(value) and (gain > self.min_delta))
        if better:
            self.best_step, self.best_value, self.stale = step, value, 0
        else:
            self.stale += 1
        return bool(better)

    @property
    def done(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.patience <= self.stale

    def state(self) -> dict[str, float | int | None]:
        """Returns what a checkpoint must keep (JSON: NaN as None)."""
        value = None if self.best_value is None or math.isnan(self.best_value) else self.best_value
        return {"best_step": self.best_step, "best_value": value, "stale": self.stale}

    def restore(self, state: dict) -> None:
        """Takes over what `state` returned."""
        self.best_step, self.stale = int(state["best_step"]), int(state["stale"])
        self.best_value = math.nan if state["best_value"] is None and self.best_step >= 0 else state["best_value"]
