"""`deepbind_calibrated`: DeepBind with the settings chosen as published, by a random search with cross-validation inside train.

Seen from a run it is a model that fits itself, like the baselines; what it ends with is one DeepBind network. The split
`valid` takes no part in the choice and is not trained on either: it says how good the chosen network is, before test.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32

from dragon_jax import dna
from dragon_jax.baselines.deepbind_published import store_parameters, stored_parameters
from dragon_jax.baselines.kmer import values
from dragon_jax.config import check_range
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError, listing
from dragon_jax.models.base import StrandModel
from dragon_jax.models.bpnet import ProfileModel
from dragon_jax.models.deepbind_files import DeepBindParameters
from dragon_jax.models.deepbind_network import to_network
from dragon_jax.models.registry import make_model
from dragon_jax.training.calibration import Plan, Rows, Workplace, calibrate, describe_trial
from dragon_jax.training.devices import Devices
from dragon_jax.training.predict import LogitFunction
from dragon_jax.training.trials import Trial, TrialRanges


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepBindCalibratedConfig:
    """What is searched, and for how long.

    Attributes:
        detectors, width: number and bases of the detectors; their maxima over positions of both strands count.
        hidden: units of the hidden layer that half of the trials have; 0 = no trial has one.
        trials: settings that are tried. folds: of the cross-validation.
        steps: of each trial, at most (published: 20,000; the default is what minutes on two CPU cores allow).
        checkpoints: evenly spaced steps at which the loss on the held-out fold is measured.
        retrained: networks trained on all rows with the winning settings; the one with the smallest training loss is kept.
        batch_size: sequences per step.
        balance: share of positives in every batch and in the losses that are compared; it is taken out of the scores again.
            0 = as they come.
        l1_from: step from which the L1 decays act.
        ranges: from where settings are drawn.
    """

    ON_DEVICE: ClassVar[bool] = True
    RESUMES: ClassVar[bool] = True  # `fit` takes a `Workplace` and goes on where it was

    name: str = "deepbind_calibrated"
    detectors: int = 16
    width: int = 24
    hidden: int = 32
    trials: int = 30
    folds: int = 3
    steps: int = 4000
    checkpoints: int = 5
    retrained: int = 6
    batch_size: int = 64
    balance: float = 0.5
    l1_from: int = 100
    ranges: TrialRanges = dataclasses.field(default_factory=TrialRanges)

    def __post_init__(self):
        for name, low, high in (
            ("detectors", 1, 100_000),
            ("width", 1, 1000),
            ("hidden", 0, 100_000),
            ("trials", 1, 10_000),
            ("folds", 2, 100),
            ("checkpoints", 1, 1000),
            ("retrained", 1, 1000),
            ("batch_size", 1, 1_000_000),
            ("l1_from", 0, 1_000_000_000),
        ):
            check_range(name, getattr(self, name), low, high)
        check_range("steps", self.steps, self.checkpoints, 100_000_000)
        check_range("balance", self.balance, 0, 1, open_high=True)

    @property
    def marks(self) -> list[int]:
        """The steps at which trials are measured."""
        return [round(self.steps * (i + 1) / self.checkpoints) for i in range(self.checkpoints)]

    def fit(
        self,
        train: Dataset,
        valid: Dataset | None = None,
        seed: int = 0,
        progress: Callable[[str], None] = lambda line: None,
        place: Workplace | None = None,
    ) -> DeepBindCalibratedModel:
        """Calibrates on the rows of `train` where the one binary task is measured.

        Args:
            valid: for the face that all models share; it is not looked at.
            place: where states are kept to go on from.

        Raises:
            InputError: another number or kind of tasks, weights of rows, or too few rows.
            RunError, Stopped: as `training.calibration.calibrate`.
        """
        if len(train.tasks) != 1 or train.tasks[0].kind != "binary":
            raise InputError(
                f"model.name: 'deepbind_calibrated' learns one binary task, found {len(train.tasks)} "
                f"({listing(f'{t.name}: {t.kind}' for t in train.tasks)}). Choose one column of labels, or model 'deepbind'"
            )
        if train.weights is not None:
            raise InputError("model.name: 'deepbind_calibrated' cannot weigh rows. Leave the weights out")
        known = ~np.isnan(train.targets[:, 0])
        rows = Rows(train.codes[known], train.targets[known, 0])
        found = calibrate(
            Plan(
                detectors=self.detectors,
                width=self.width,
                batch_size=self.batch_size,
                balance=self.balance,
                l1_from=self.l1_from,
                seed=seed,
            ),
            self.ranges.draw(self.trials, self.hidden, seed),
            rows,
            folds=self.folds,
            marks=self.marks,
            retrained=self.retrained,
            place=place or Workplace(),
            say=progress,
        )
        parameters = found.parameters
        if self.balance:
            share = float(rows.targets.mean())
            shift = np.log(self.balance / (1 - self.balance)) - np.log(share / (1 - share))
            last = "biases2" if parameters.hidden else "biases1"
            parameters = dataclasses.replace(
                parameters, **{last: (getattr(parameters, last) - shift).astype(np.float32)}
            )
        origin = {"calibration": found.record}
        return DeepBindCalibratedModel(self, tuple(train.tasks), train.length, parameters, origin)

    def from_state(
        self, tasks: Sequence[Task], length: int, state: Mapping[str, np.ndarray]
    ) -> DeepBindCalibratedModel:
        """Returns the model whose `state()` this is.

        Raises:
            InputError: the arrays do not fit each other or these tasks.
        """
        return DeepBindCalibratedModel(self, tuple(tasks), length, stored_parameters(tasks, state))


@dataclasses.dataclass(frozen=True)
class DeepBindCalibratedModel:
    """The kept network.

    Attributes:
        tasks: the one task. length: bases of its input.
        parameters: as `models.deepbind_files.write_deepbind` writes them, with the same scores.
        origin: what the provenance of a run should say of the calibration; empty when loaded.
    """

    config: DeepBindCalibratedConfig
    tasks: tuple[Task, ...]
    length: int
    parameters: DeepBindParameters
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def network(self) -> tuple[StrandModel | ProfileModel, dict[str, Any]]:
        """The network and its variables, as for model `deepbind`."""
        config, variables = to_network(self.parameters)
        return make_model(config, 1), variables

    @functools.cached_property
    def _logits(self) -> LogitFunction:
        return LogitFunction(self.network[0], Devices())

    def predict(
        self, sequences: Iterable[str] | Iterable[np.ndarray] | np.ndarray, *, raw: bool = False, batch_size: int = 256
    ) -> Float32[np.ndarray, "N 1"]:
        """Returns float32 `[N, 1]` in the order of the input: probability, or the score with `raw`.

        Args:
            sequences: strings, codes `[N, L]` or one-hot, all of `length` bases.

        Raises:
            InputError: wrong lengths or letters.
        """
        codes = dna.letters(sequences)
        if codes.shape[1] != self.length:
            raise InputError(
                f"sequences of {codes.shape[1]} bases: expected {self.length}, the length this model was trained on. "
                "Crop or pad them"
            )
        scores = self._logits(self.network[1], {"codes": codes}, batch_size)
        return scores if raw else values(scores, self.tasks)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `from_state` needs, as arrays."""
        return store_parameters(self.parameters)

    def describe(self) -> str:
        """Returns the printed summary: the network, and how it was chosen where that is known."""
        p = self.parameters
        lines = [
            f"deepbind_calibrated: {self.length} bases, {len(p.thresholds)} detectors of {p.width} bases, maximum, "
            f"{f'{p.hidden} hidden units' if p.hidden else 'no hidden layer'}, both strands",
            f"  parameters: {p.count:,}",
        ]
        if record := self.origin.get("calibration"):
            chosen, fields = record["chosen"], {f.name for f in dataclasses.fields(Trial)}
            settings = record["settings"]
            best = Trial(**{k: v for k, v in settings[chosen["setting"]].items() if k in fields})
            lines += [
                f"  setting {chosen['setting'] + 1} of {len(settings)} after {chosen['steps']:,} steps, held-out loss "
                f"{chosen['loss']:.4f} in {len(record['fold_rows'])} folds; {record['non_finite']} settings were not finite, "
                f"{record['never_learned']} never learned",
                f"  {describe_trial(best)}",
                f"  kept network {record['kept'] + 1} of {len(record['retrained_losses'])} by training loss",
            ]
        return "\n".join(lines)
