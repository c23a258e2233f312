"""What DeepBind's calibration tries, on which folds, and which trial wins.

Ranges of Alipanahi, Delong, Weirauch, Frey, Nat. Biotechnol. 33, 831-838 (2015), doi:10.1038/nbt.3300, as in the scripts
released with it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from dragon_jax.config import check_range
from dragon_jax.data.digests import digests
from dragon_jax.errors import InputError, RunError

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Trial:
    """Settings of one network.

    Attributes:
        hidden: units of the hidden layer, 0 = none.
        learning_rate, momentum: of gradient descent with Nesterov momentum.
        detector_scale, dense_scale: standard deviations of the first weights.
        l1_detectors, l1_dense: decay of detectors and of dense weights, `decay * sum |w|`.
        dropout: share of the pooled detectors left out.
    """

    hidden: int
    learning_rate: float
    momentum: float
    detector_scale: float
    dense_scale: float
    l1_detectors: float
    l1_dense: float
    dropout: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialRanges:
    """From where settings are drawn; the defaults are those published.

    Attributes:
        learning_rate, detector_scale, dense_scale, l1_detectors, l1_dense: lowest and highest, the logarithm is uniform.
        momentum: lowest and highest, `low + (high - low) * sqrt(u)`: high ones are likelier.
        dropout: one of these, each as likely.
    """

    learning_rate: Range = (5e-4, 0.05)
    momentum: Range = (0.95, 0.99)
    detector_scale: Range = (1e-7, 1e-3)
    dense_scale: Range = (1e-5, 1e-2)
    l1_detectors: Range = (1e-15, 1e-3)
    l1_dense: Range = (1e-10, 1e-3)
    dropout: tuple[float, ...] = (0.0, 0.0, 0.25, 0.5)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.name in ("dropout", "momentum"):
                continue
            low, high = getattr(self, field.name)
            if not 0 < low <= high < float("inf"):
                raise ValueError(f"{field.name}: expected 0 < lowest <= highest, found {low}, {high}")
        if not 0 <= self.momentum[0] <= self.momentum[1] < 1:
            raise ValueError(f"momentum: expected 0 <= lowest <= highest < 1, found {self.momentum}")
        if not self.dropout:
            raise ValueError("dropout: expected one or more shares, found none")
        for share in self.dropout:
            check_range("dropout", share, 0, 1, open_high=True)

    def draw(self, n: int, hidden: int, seed: int) -> list[Trial]:
        """Returns n settings, the first half (or one more) without a hidden layer, the others with `hidden` units.

        Trial i depends on (seed, i) alone.
        """
        linear = (n + 1) // 2 if hidden else n
        return [self._one(0 if i < linear else hidden, np.random.default_rng([seed, i])) for i in range(n)]

    def _one(self, hidden: int, rng: np.random.Generator) -> Trial:
        def log_uniform(bounds: Range) -> float:
            low, high = np.log(bounds)
            return float(np.exp(low + (high - low) * rng.random()))

        low, high = self.momentum
        return Trial(
            hidden=hidden,
            learning_rate=log_uniform(self.learning_rate),
            momentum=float(low + (high - low) * np.sqrt(rng.random())),
            detector_scale=log_uniform(self.detector_scale),
            dense_scale=log_uniform(self.dense_scale),
            l1_detectors=log_uniform(self.l1_detectors),
            l1_dense=log_uniform(self.l1_dense),
            dropout=float(self.dropout[int(rng.random() * len(self.dropout))]),
        )


def assign_folds(codes: np.ndarray, targets: np.ndarray, folds: int, seed: int) -> Int[np.ndarray, " N"]:
    """Returns the fold of each row: as many positives and as many negatives in each, give or take.

    Equal sequences and reverse complements stay together, so no held-out sequence was trained on.

    Raises:
        InputError: a class with fewer different sequences than folds.
    """
    words = np.frombuffer(digests(codes, size=8).tobytes(), "<u8")
    _, first, family = np.unique(words, return_index=True, return_inverse=True)
    result = np.empty(len(first), np.int64)
    for label in (0, 1):
        mine = np.flatnonzero((targets[first] > 0.5) == label)
        if len(mine) < folds:
            raise InputError(
                f"calibration: expected {folds} or more different training sequences with label {label}, one for each fold, "
                f"found {len(mine)}. Lower model.folds or give more data"
            )
        result[np.random.default_rng([seed, label]).permutation(mine)] = np.arange(len(mine)) % folds
    return result[family]


def choose_trial(losses: Float[np.ndarray, "trials folds checkpoints"]) -> tuple[int, int]:
    """Returns trial and checkpoint with the smallest held-out loss, averaged over folds; the first of equals.

    A trial that was not finite anywhere is left out.

    Raises:
        RunError: all were.
    """
    sound = np.all(np.isfinite(losses), (1, 2))
    if not sound.any():
        raise RunError(
            f"calibration: all {len(losses)} settings ended with a loss that is not finite. Lower model.ranges.learning_rate"
        )
    mean = np.where(sound[:, None], losses.mean(1), np.inf)
    trial, checkpoint = np.unravel_index(int(mean.argmin()), mean.shape)
    return int(trial), int(checkpoint)
