"""Predictions of a base-resolution network: log counts like any other, and the profiles they are spread over."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Float64

from dragon_jax import dna
from dragon_jax.data.counts import central
from dragon_jax.data.dataset import Dataset
from dragon_jax.models.bpnet import ProfileModel
from dragon_jax.runs.model_inputs import as_arrays
from dragon_jax.runs.predictor import NetworkPredictor, Sequences
from dragon_jax.runs.settings import Settings
from dragon_jax.training.predict import BatchFunction
from dragon_jax.training.profile_losses import ProfileLosses, log_probabilities
from dragon_jax.training.profile_scores import ProfileScores


@dataclasses.dataclass(frozen=True)
class Profiles:
    """What is predicted of N sequences, T tasks, W bases and S strands.

    Attributes:
        probabilities: where a read falls: sums to 1 over the bases of each strand, or of all strands together
            (`model.profile_softmax`).
        counts: expected reads at each base: probability times the predicted number of reads.
        log_counts: log(1 + reads) of all strands, what `predict` gives.
    """

    probabilities: Float32[np.ndarray, "N T W S"]
    counts: Float32[np.ndarray, "N T W S"]
    log_counts: Float32[np.ndarray, "N T"]


class ProfilePredictor(NetworkPredictor):
    """A trained `bpnet`. `predict` gives log(1 + counts) of all strands over the output window.

    Attributes:
        width, strands: W, bases of the output window, and S.
        joint: whether probabilities sum to 1 over all strands together.
    """

    def __init__(self, settings: Settings, outputs: Mapping[str, Any], leaves: dict[str, np.ndarray], where: str):
        super().__init__(settings, outputs, leaves, where)
        model, losses = self.model, self._losses
        assert isinstance(model, ProfileModel) and isinstance(losses, ProfileLosses)
        self.width, self.joint = model.config.window(self.length), losses.joint
        self.strands: int = model.config.tracks
        self._means = {k: np.array(v, np.float64) for k, v in outputs.get("profiles", {}).items()}
        self._rows = [t["measured"] for t in outputs["tasks"]]
        self._scores = ProfileScores(model, losses, self._devices)

        def spread(variables: Any, inputs: dict[str, Any]) -> dict[str, Any]:
            found: Any = model.apply(variables, inputs, train=False)
            probability = jnp.exp(log_probabilities(found["profile"], losses.joint))
            # One number for all strands goes with one distribution over all strands, or there is one strand only.
            logs = found["logits"][..., None] if losses.joint else found["log_counts"]
            counts = jnp.maximum(jnp.expm1(logs), 0)[:, :, None]
            return {"probabilities": probability, "counts": probability * counts, "log_counts": found["logits"]}

        self._spread = BatchFunction(spread, self._devices)

    def profiles(self, sequences: Sequences, *, batch_size: int = 256, inputs: Any = None) -> Profiles:
        """Returns profiles in the order of the input; 8 N T W S bytes.

        Args:
            sequences, inputs: as for `predict`.

        Raises:
            InputError: wrong lengths, letters or inputs.
        """
        codes = dna.letters(sequences)
        given = as_arrays(inputs)
        self.check(codes, given)
        found = self._spread(self.variables, {"codes": codes, **given}, batch_size)
        return Profiles(**found | {"log_counts": self.values(found["log_counts"])})

    def scores(self, data: Dataset, batch_size: int) -> dict[str, Float64[np.ndarray, "N T"]]:
        """Returns what each example of a data set scores, see `ProfileScores`."""
        return self._scores(self.variables, data, batch_size)

    def values(self, logits: np.ndarray) -> Float32[np.ndarray, "N T"]:
        """Returns what `predict` gives for logits."""
        return self._losses.values(logits, shift=self._shift)

    def mean_profiles(self) -> list[Float64[np.ndarray, "W S"] | None]:
        """Returns the mean profile of each task over train, one read added at every base, so that none is impossible; None
        where it is not known, as in a run of imported weights."""
        means = [self._means.get(task.name) for task in self.tasks]
        return [
            None if mean is None else central(mean[None], self.width)[0] * rows + 1
            for mean, rows in zip(means, self._rows, strict=True)
        ]
