"""What a weighting method may know of the tasks before training, and which methods a network and its tasks allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.models.base import StrandModel
from dragon_jax.models.bpnet import ProfileModel
from dragon_jax.sections import WeightingConfig
from dragon_jax.training.losses import TaskLosses, TaskStatistics, null_losses
from dragon_jax.training.weighting.base import TaskFacts

# Methods that look for directions in which the matrix is flat, of which a sketch has some that are not there.
INVERT = ("mgda", "cagrad", "imtl_g", "nash", "fairgrad", "aligned", "upgrad", "config")
READ_NULL_LOSS = ("null", "gradnorm", "excess")
GRADIENT = "gradnorm mgda pcgrad gradvac cagrad imtl_g nash fairgrad aligned upgrad dbmtl config".split()


def task_facts(tasks: Sequence[Task], stats: TaskStatistics, losses: TaskLosses, steps_per_epoch: int = 1) -> TaskFacts:
    """Returns the facts of these tasks, from the statistics of the training set."""
    real = np.array([t.kind == "real" for t in tasks])
    null = null_losses(tasks, stats, losses)
    return TaskFacts([t.name for t in tasks], stats.measured, real, null, steps_per_epoch)


def check_weighting(config: WeightingConfig, model: StrandModel | ProfileModel, tasks: Sequence[Task]) -> None:
    """Refuses a method that cannot work with this network.

    Raises:
        InputError: closed-form gradients without linear heads, `space` 'last' without a common linear layer, a sketch of too
            low a rank, or a method that needs the null loss where a profile is predicted.
    """
    profile = isinstance(model, ProfileModel)
    if profile and config.name in READ_NULL_LOSS:
        raise InputError(
            f"weighting.name: '{config.name}' needs the loss of a constant, which profiles of reads do not have. Use another"
        )
    if config.name not in GRADIENT:
        return
    if profile and config.space in ("representation", "last"):
        raise InputError(
            f"weighting.space: '{config.space}' needs linear heads, those of 'bpnet' are not. Use 'sketch' or, for at most 16 "
            "tasks, 'full'"
        )
    if config.space == "sketch" and config.name in INVERT and config.probes < 2 * len(tasks):
        raise InputError(
            f"weighting.space: 'sketch' of {config.probes} probes has rank {min(config.probes, len(tasks))}, too little for "
            f"'{config.name}' with {len(tasks)} tasks. Set weighting.probes to {2 * len(tasks)} or more, or use gradnorm"
        )
    if config.space == "last" and isinstance(model, StrandModel) and not model.config.bottleneck:
        raise InputError("weighting.space: 'last' needs a linear layer common to all tasks. Set model.bottleneck")
