"""What can be put round any method: losses smoothed before it, weights smoothed after it, weights held for some steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dragon_jax.training.weighting.base import Aux, Losses, State, Weighting, normalised


def smooth_losses(method: Weighting, decay: float) -> Weighting:
    """Lets the method see a moving average of each task's loss over the steps in which the task was measured.

    The average starts at the first loss. What a step did to the losses (`observe`) stays as it was: it compares the same batch.
    """

    def init(num_tasks: int) -> State:
        return {"inner": method.init(num_tasks), "average": jnp.full((num_tasks,), jnp.nan, jnp.float32)}

    def apply(state: State, losses: Losses, aux: Aux):
        old = state["average"]
        average = jnp.where(jnp.isnan(old), losses, decay * old + (1 - decay) * losses)
        average = jnp.where(aux.present, average, old)
        weights, inner = method.apply(state["inner"], jnp.where(aux.present, average, 0.0), aux)
        return weights, {"inner": inner, "average": average}

    return method._replace(init=init, apply=apply, observe=_inside(method))


def smooth_weights(method: Weighting, decay: float) -> Weighting:
    """Follows a moving average of the method's weights, from equal ones on (CR-MOGM: Zhou et al., NeurIPS 2022).

    A task that is not in a batch keeps its average and weighs 0 in that step.
    """

    def init(num_tasks: int) -> State:
        return {"inner": method.init(num_tasks), "average": jnp.ones((num_tasks,), jnp.float32)}

    def apply(state: State, losses: Losses, aux: Aux):
        weights, inner = method.apply(state["inner"], losses, aux)
        average = jnp.where(aux.present, decay * state["average"] + (1 - decay) * weights, state["average"])
        return normalised(average, aux.present), {"inner": inner, "average": average}

    return method._replace(init=init, apply=apply, observe=_inside(method))


def held(method: Weighting, every: int) -> Weighting:
    """Asks the method at every `every`-th step and keeps its weights in between; its Gram matrix is made only then."""

    def init(num_tasks: int) -> State:
        return {"inner": method.init(num_tasks), "weights": jnp.ones((num_tasks,), jnp.float32)}

    def apply(state: State, losses: Losses, aux: Aux):
        def ask(state: State) -> State:
            weights, inner = method.apply(state["inner"], losses, aux)
            return {"inner": inner, "weights": jnp.where(aux.present, weights, state["weights"])}

        state = jax.lax.cond(aux.step % every == 0, ask, lambda s: s, state)
        return normalised(state["weights"], aux.present), state

    return method._replace(init=init, apply=apply, observe=_inside(method))


def _inside(method: Weighting):
    """The method's `observe` on a state that is wrapped; None where it has none."""
    inner = method.observe
    if inner is None:
        return None

    def observe(state: State, before: Losses, after: Losses, aux: Aux) -> State:
        return {**state, "inner": inner(state["inner"], before, after, aux)}

    return observe
