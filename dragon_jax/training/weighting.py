"""How the losses of many tasks become one: weighting as pure pairs.

Every method is a pair `init(num_tasks) -> state` and `apply(state, losses, aux) -> (weights, state)`: arrays only, so that
it can be jitted, mapped over a population and stored with the optimiser. Weights sum to T, so that a learning rate tuned
for equal weights stays comparable. A task without a measured example in the batch gets weight 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dragon_jax.errors import InputError, listing, nearest
from dragon_jax.sections import WeightingConfig

State = Any


class Aux(NamedTuple):
    """What a method may look at besides the losses.

    Attributes:
        measured: `[T]`, number (or summed weight) of measured examples of each task in the whole batch.
        step: scalar int32, the training step.
    """

    measured: Float[Array, " T"]
    step: Array


class Weighting(NamedTuple):
    """A weighting method; `literal` says that its weights act on the heads as well as on the trunk."""

    init: Callable[[int], State]
    apply: Callable[[State, Float[Array, " T"], Aux], tuple[Float[Array, " T"], State]]
    literal: bool


def _normalised(weights: Float[Array, " T"], measured: Float[Array, " T"]) -> Float[Array, " T"]:
    present = jnp.where(measured > 0, weights, 0.0)
    return present * (weights.shape[0] / jnp.maximum(present.sum(), 1e-12))


def _equal(config: WeightingConfig, names: list[str]) -> Weighting:
    def apply(state: State, losses: Float[Array, " T"], aux: Aux):
        return _normalised(jnp.ones_like(losses), aux.measured), state

    return Weighting(lambda num_tasks: {}, apply, True)


def _static(config: WeightingConfig, names: list[str]) -> Weighting:
    if unknown := sorted(set(config.weights) - set(names)):
        raise InputError(
            f"weighting.weights: no task called {listing(unknown)}{nearest(unknown[0], names)} (tasks: {listing(names)})"
        )
    fixed = np.array([config.weights.get(n, 1.0) for n in names], np.float32)
    if not fixed.sum() > 0:
        raise InputError("weighting.weights: expected at least one weight above 0")

    def apply(state: State, losses: Float[Array, " T"], aux: Aux):
        return _normalised(jnp.asarray(fixed), aux.measured), state

    return Weighting(lambda num_tasks: {}, apply, config.weight_heads)


WEIGHTINGS: Mapping[str, Callable[[WeightingConfig, list[str]], Weighting]] = {"equal": _equal, "static": _static}


def make_weighting(config: WeightingConfig, names: list[str]) -> Weighting:
    """Returns the method that the config names, for tasks with these names.

    Raises:
        InputError: a weight for a task that does not exist.
    """
    return WEIGHTINGS[config.name](config, names)
