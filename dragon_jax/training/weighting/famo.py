"""FAMO: equal rates of decrease of all log losses, at the price of one more forward pass.

Liu, Feng, Stone, Liu, NeurIPS 2023, arXiv:2306.03792. With `z = softmax(xi)` the weights are `c z_t / (L_t - b_t)`; after the
step the same batch is read again, and xi moves so that tasks whose log loss fell least weigh more.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from dragon_jax.sections import WeightingConfig
from dragon_jax.training.weighting.adaptive import above, floors, keep_absent
from dragon_jax.training.weighting.base import Aux, Losses, State, TaskFacts, Weighting, normalised


def famo(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Returns FAMO with rate `learning_rate` and decay `decay` of xi (`gamma` of the paper)."""
    floor = floors(config, facts)
    # Decay enters the gradient before the moments, as in the published code.
    tx = optax.chain(optax.add_decayed_weights(config.decay), optax.adam(config.learning_rate))

    def init(num_tasks: int) -> State:
        xi = jnp.zeros((num_tasks,), jnp.float32)
        return {"xi": xi, "moments": tx.init(xi)}

    def shares(state: State, aux: Aux) -> Losses:
        seen = jnp.where(aux.present, state["xi"], -jnp.inf)
        return jax.nn.softmax(jnp.where(aux.present.any(), seen, 0.0))

    def apply(state: State, losses: Losses, aux: Aux):
        return normalised(shares(state, aux) / above(losses, floor), aux.present), state

    def observe(state: State, before: Losses, after: Losses, aux: Aux) -> State:
        gained = jnp.where(aux.present, jnp.log(above(before, floor)) - jnp.log(above(after, floor)), 0.0)
        z = shares(state, aux)
        slope = z * (gained - z @ gained)
        step, moments = tx.update(slope, state["moments"], state["xi"])
        return keep_absent(aux.present, {"xi": state["xi"] + step, "moments": moments}, state)

    return Weighting(init, apply, config.weight_heads, observe=observe)
