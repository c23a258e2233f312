"""How the losses of many tasks become one, by name: `WEIGHTINGS`, and `make_weighting` for a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dragon_jax.errors import InputError
from dragon_jax.sections import WeightingConfig
from dragon_jax.training.weighting import adaptive, fixed, gradient, wrappers
from dragon_jax.training.weighting.base import Aux, TaskFacts, Weighting, normalised
from dragon_jax.training.weighting.famo import famo

__all__ = ["WEIGHTINGS", "Aux", "TaskFacts", "Weighting", "make_weighting", "normalised", "plain_facts"]

WEIGHTINGS: Mapping[str, Callable[[WeightingConfig, TaskFacts], Weighting]] = {
    "equal": fixed.equal,
    "static": fixed.static,
    "label_count": fixed.label_count,
    "null": fixed.null_normalised,
    "random": fixed.random_weights,
    "scale_invariant": adaptive.scale_invariant,
    "gls": adaptive.scale_invariant,
    "uncertainty": adaptive.uncertainty,
    "imtl_l": adaptive.imtl_l,
    "dwa": adaptive.dwa,
    "stch": adaptive.smooth_chebyshev,
    "excess": adaptive.excess,
    "famo": famo,
    **gradient.METHODS,
}


def make_weighting(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Returns the method that the config names, with the smoothing and holding that it asks for round it.

    Args:
        facts: of the tasks, from the training set.

    Raises:
        InputError: a weight or bound of a task that does not exist, bounds for a method that reads none, `space` 'full' with
            more than 16 tasks.
    """
    adaptive.check_bounds(config, config.name)
    if config.name in gradient.METHODS and config.space == "full" and len(facts.names) > gradient.MOST_FULL:
        raise InputError(
            f"weighting.space: 'full' takes a backward pass for each of at most {gradient.MOST_FULL} tasks, found "
            f"{len(facts.names)}. Use 'representation' or 'sketch'"
        )
    method = WEIGHTINGS[config.name](config, facts)
    if config.loss_smoothing:
        method = wrappers.smooth_losses(method, config.loss_smoothing)
    if config.update_every > 1 and method.space:
        method = wrappers.held(method, config.update_every)
    return wrappers.smooth_weights(method, config.smoothing) if config.smoothing else method


def plain_facts(names: Sequence[str], measured: float = 1.0, null_loss: float = 1.0) -> TaskFacts:
    """Returns facts of binary tasks that differ in nothing but their names."""
    n = len(names)
    return TaskFacts(list(names), np.full(n, measured), np.zeros(n, bool), np.full(n, null_loss))
