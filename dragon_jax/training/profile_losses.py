"""The loss of base-resolution tasks: where the reads fell given their number, and how many there were.

The loss of one example is the multinomial negative log-likelihood of its profile, coefficient included, summed over
strands, plus `count_weight` times the squared error of log(1 + counts) (Avsec et al., Nat. Genet. 53, 354-366, 2021).
Natural logarithms. BPNet adds up the losses of all tasks, the project takes their weighted mean as it does everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Float32

from dragon_jax.data.dataset import PROFILE, Dataset, Task
from dragon_jax.data.records import TfdsSplit
from dragon_jax.errors import InputError, listing, show
from dragon_jax.models.base import ModelConfig
from dragon_jax.models.bpnet import BPNetConfig
from dragon_jax.sections import LossConfig
from dragon_jax.training.losses import TaskLosses, TaskStatistics, make_losses

Profiles = Mapping[str, Array]  # counts [B, P, S] by `profile:TASK`


@dataclasses.dataclass(frozen=True)
class ProfileLosses(TaskLosses):
    """The losses of base-resolution tasks; logits are log(1 + counts) as they stand. Build with `losses_for`.

    Attributes:
        names: tasks in the order of the columns.
        joint: one distribution over the bases of all strands, else one of each strand.
        count_weight: factor on the squared error of log(1 + counts).
    """

    names: tuple[str, ...] = ()
    joint: bool = True
    count_weight: float = 10.0

    def sums(
        self,
        logits: Any,
        targets: Float32[Array, "B T"],
        weight: Float32[Array, " B"] | None = None,
        profiles: Profiles | None = None,
    ) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
        """Returns numerator and denominator of each task's mean loss over measured examples.

        Args:
            logits: the outputs of a `ProfileModel`. profiles: counts `[B, P, S]` by `profile:TASK`, P at least the output
                window; an example counts where its target and every base of the window are measured.
        """
        counts, measured = self.counts(targets, profiles or {}, logits["profile"].shape[2])
        entropy = cross_entropy(logits["profile"], counts, self.joint)
        loss = entropy - log_coefficient(counts, self.joint) + self.count_weight * square_error(logits, counts)
        mask = measured.astype(jnp.float32) if weight is None else measured * weight[:, None]
        return (loss * mask).sum(0), mask.sum(0)

    def counts(
        self, targets: Float32[Array, "B T"], profiles: Profiles, width: int
    ) -> tuple[Float[Array, "B T W S"], Bool[Array, "B T"]]:
        """Returns the counts in the output window, 0 where an example was not measured, and where it was."""
        each = [profiles[PROFILE + name] for name in self.names]
        start = (each[0].shape[1] - width) // 2
        counts = jnp.stack([x[:, start : start + width] for x in each], 1)
        measured = ~(jnp.isnan(targets) | jnp.isnan(counts.sum((2, 3))))
        return jnp.where(measured[..., None, None], counts, 0.0), measured


def log_probabilities(logits: Float[Array, "B T W S"], joint: bool) -> Float[Array, "B T W S"]:
    """Returns the logarithm of the distribution over bases, of each strand or of all strands together."""
    return jax.nn.log_softmax(logits, axis=(2, 3) if joint else 2)


def cross_entropy(logits: Float[Array, "B T W S"], counts: Float[Array, "B T W S"], joint: bool) -> Float[Array, "B T"]:
    """Returns -sum(counts x log probability), the part of the multinomial loss that a network can change."""
    return -(counts * log_probabilities(logits, joint)).sum((2, 3))


def log_coefficient(counts: Float[Array, "B T W S"], joint: bool) -> Float[Array, "B T"]:
    """Returns log(n! / (k_1! k_2! ...)), summed over strands where each is a distribution of its own."""
    totals = counts.sum((2, 3))[..., None] if joint else counts.sum(2)
    return gammaln(totals + 1).sum(-1) - gammaln(counts + 1).sum((2, 3))


def square_error(outputs: Mapping[str, Array], counts: Float[Array, "B T W S"]) -> Float[Array, "B T"]:
    """Returns the squared error of log(1 + counts), the mean over strands where the counts of each are predicted."""
    predicted = outputs["log_counts"]
    totals = counts.sum((2, 3))[..., None] if predicted.shape[-1] == 1 else counts.sum(2)
    return jnp.square(predicted - jnp.log1p(totals)).mean(-1)


def losses_for(
    model: ModelConfig, tasks: Sequence[Task], stats: TaskStatistics, config: LossConfig
) -> TaskLosses | ProfileLosses:
    """Returns the losses that the outputs of this network have on these tasks."""
    plain = make_losses(tasks, stats, config)
    if not isinstance(model, BPNetConfig):
        return plain
    zeros, ones = np.zeros(len(tasks), np.float32), np.ones(len(tasks), np.float32)
    fields: dict[str, Any] = {f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)}
    fields |= {"center": zeros, "scale": ones}
    names = tuple(task.name for task in tasks)
    return ProfileLosses(**fields, names=names, joint=model.profile_softmax == "both", count_weight=config.count_weight)


def check_profiles(model: ModelConfig, part: Dataset | TfdsSplit, shift: int) -> None:
    """Refuses data that do not hold what the heads of a base-resolution network predict; other networks take any data.

    Args:
        shift: largest shift of training examples, in bases (0 for a split that is not shifted).

    Raises:
        InputError: a task without profile, or with one of other strands, too short, or that is not what its target sums up.
    """
    if not isinstance(model, BPNetConfig):
        return
    first = part.take(np.arange(min(len(part), 256))) if isinstance(part, Dataset) else part.chunk(0, 256)
    if without := [t.name for t in first.tasks if t.name not in first.profiles]:
        raise InputError(
            f"model.name: 'bpnet' predicts counts base by base, task {listing(without)} has none. Set data.source.counts of "
            "source genome or arrays, or choose another model"
        )
    width = model.window(first.length)
    for column, task in enumerate(first.tasks):
        profile = first.profiles[task.name]
        bases, tracks = profile.shape[1:]
        if tracks != model.tracks:
            raise InputError(
                f"model.tracks: expected {tracks}, the strands of task '{show(task.name)}', found {model.tracks}. Set it so"
            )
        if bases < width + 2 * shift:
            raise InputError(
                f"model.output_length: {width} bases moved by up to {shift} (augment.shift) need counts of {width + 2 * shift} "
                f"bases, task '{show(task.name)}' has {bases}. Set it to data.source.counts_length, and counts_margin to at "
                "least the shift"
            )
        start = (bases - width) // 2
        totals = np.log1p(profile[:, start : start + width].sum((1, 2), dtype=np.float64))
        seen = ~np.isnan(first.targets[:, column])
        if not np.allclose(totals[seen], first.targets[seen, column], rtol=1e-4, atol=1e-4):
            raise InputError(
                f"model.output_length: the {width} central bases do not add up to the target of task '{show(task.name)}'. Set "
                "it to data.source.counts_length"
            )
