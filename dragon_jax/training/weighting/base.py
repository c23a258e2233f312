"""How the losses of many tasks become one: what a weighting method is, and what it may look at.

A method is a pair of pure functions `init(num_tasks) -> state` and `apply(state, losses, aux) -> (weights, state)`: arrays
only, so that it can be jitted, mapped over a population of runs and stored with the optimiser. Weights sum to T, so that a
learning rate tuned for equal weights stays comparable. A task without a measured example in the batch gets weight 0 and
does not touch the state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

State = Any
Losses = Float[Array, " T"]
Space = Literal["", "representation", "last", "sketch", "full"]
EPS = 1e-8  # added to a loss before its logarithm or inverse


class Aux(NamedTuple):
    """What a method may look at besides the losses.

    Attributes:
        measured: `[T]`, number (or summed weight) of measured examples of each task in the whole batch.
        step: scalar int32, the training step.
        key: a random key of this step, for methods that draw.
        gram: `[T, T]`, inner products of the gradients of the tasks' mean losses, in the space that the method asked for, or
            a function that returns it, so that it is made only when needed; rows of absent tasks are 0. None for methods that
            ask for none.
    """

    measured: Float[Array, " T"]
    step: Array
    key: Array | None = None
    gram: Float[Array, "T T"] | Callable[[], Float[Array, "T T"]] | None = None

    @property
    def present(self) -> Bool[Array, " T"]:
        return self.measured > 0

    @property
    def randomness(self) -> Array:
        """The key of this step."""
        if self.key is None:
            raise ValueError("this method draws: aux.key is None")
        return self.key

    @property
    def products(self) -> Float[Array, "T T"]:
        """The Gram matrix, made now if it was not yet."""
        if self.gram is None:
            raise ValueError("this method needs the inner products of the gradients: aux.gram is None")
        return self.gram() if callable(self.gram) else self.gram


@dataclasses.dataclass(frozen=True)
class TaskFacts:
    """What a method may know of the tasks before training; arrays float64 `[T]`, from the training set alone.

    Attributes:
        names: of the tasks. measured: examples with a value. real: whether the loss is a square.
        null_loss: loss of the constant that fits best, in the units of the training loss (entropy of the prevalence, half the
            variance, Poisson loss of the mean rate less its least possible value).
        steps_per_epoch: for methods that compare epochs.
    """

    names: Sequence[str]
    measured: np.ndarray
    real: np.ndarray
    null_loss: np.ndarray
    steps_per_epoch: int = 1


class Weighting(NamedTuple):
    """A weighting method.

    Attributes:
        init, apply: see the module.
        literal: weights act on the heads as well as on the trunk.
        space: which Gram matrix `apply` needs in `aux.gram`; "" = none.
        probes: random directions of space "sketch".
        draws: whether `apply` needs `aux.key`.
        observe: `(state, before, after, aux) -> state`, called after the step with the losses of the same batch before and
            after it (same dropout), for methods that learn from what a step did. None = not needed.
    """

    init: Callable[[int], State]
    apply: Callable[[State, Float[Array, " T"], Aux], tuple[Float[Array, " T"], State]]
    literal: bool
    space: Space = ""
    probes: int = 0
    draws: bool = False
    observe: Callable[[State, Float[Array, " T"], Float[Array, " T"], Aux], State] | None = None


def normalised(weights: Float[Array, " T"], present: Bool[Array, " T"]) -> Float[Array, " T"]:
    """Returns weights of the present tasks scaled to sum T, 0 for the others; equal ones where all are 0 or one is not finite.

    Gradient methods may give negative weights: then the sum of their sizes is T, as their sum may be near 0.
    """
    count = weights.shape[0]
    kept = jnp.where(present, weights, 0.0)
    total = jnp.abs(kept).sum()
    usable = jnp.isfinite(total) & (total > 1e-30)
    kept = jnp.where(usable, kept / jnp.where(usable, total, 1.0), present / jnp.maximum(present.sum(), 1))
    return kept * count
