"""Weights that losses do not change: equal, given by hand, by number of labels, by the null loss, at random."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dragon_jax.errors import InputError, listing, nearest
from dragon_jax.sections import WeightingConfig
from dragon_jax.training.weighting.base import Aux, State, TaskFacts, Weighting, normalised


def _constant(weights: np.ndarray, literal: bool) -> Weighting:
    fixed = np.asarray(weights, np.float32)

    def apply(state: State, losses: Float[Array, " T"], aux: Aux):
        return normalised(jnp.asarray(fixed), aux.present), state

    return Weighting(lambda num_tasks: {}, apply, literal)


def equal(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Every task weighs 1: the mean of the losses, which favours tasks of large loss."""
    return _constant(np.ones(len(facts.names)), True)


def static(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Weights given by name (`weighting.weights`), 1 for the others.

    Raises:
        InputError: a name that is no task, or no weight above 0.
    """
    fixed = by_task(config.weights, facts, "weighting.weights", 1.0)
    if not fixed.sum() > 0:
        raise InputError("weighting.weights: expected at least one weight above 0")
    return _constant(fixed, config.weight_heads)


def label_count(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Weights `n_t^(1 / temperature)`, n_t the labels of task t: 1 adds up the labels of all tasks, infinity is one vote a task."""
    share = facts.measured / max(facts.measured.max(), 1.0)
    return _constant(share ** (1.0 / config.temperature), config.weight_heads)


def null_normalised(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Weights `1 / L_t^null`, so that every task counts by the share of its null loss that is left.

    The null loss is at least a hundredth of the largest: a task of ten positives must not take all.
    """
    floor = 1e-2 * max(facts.null_loss.max(), 1e-12)
    return _constant(1.0 / np.maximum(facts.null_loss, floor), config.weight_heads)


def random_weights(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Weights drawn anew each step, `T softmax(normal)`: the control that a method has to beat (Lin et al., TMLR 2022)."""

    def apply(state: State, losses: Float[Array, " T"], aux: Aux):
        drawn = jax.random.normal(aux.randomness, losses.shape)
        return normalised(jax.nn.softmax(drawn), aux.present), state

    return Weighting(lambda num_tasks: {}, apply, config.weight_heads, draws=True)


def by_task(given: dict[str, float], facts: TaskFacts, field: str, default: float) -> np.ndarray:
    """Returns float64 `[T]` of values given by task name.

    Raises:
        InputError: a name that is no task.
    """
    if unknown := sorted(set(given) - set(facts.names)):
        names = list(facts.names)
        raise InputError(
            f"{field}: no task called {listing(unknown)}{nearest(unknown[0], names)} (tasks: {listing(names)})"
        )
    return np.array([given.get(name, default) for name in facts.names], np.float64)
