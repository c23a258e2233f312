"""Methods that look at how the tasks' gradients lie to one another: solvers of `training.gram` as weighting methods.

Each asks for the Gram matrix of the gradients in the space `weighting.space`, solves for weights, and gives them the sum T: the
direction is the method's, its length that of equal weights. Weights may be negative for `imtl_g` and `config`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from dragon_jax.sections import WeightingConfig
from dragon_jax.training import gram
from dragon_jax.training.weighting.adaptive import above, floors
from dragon_jax.training.weighting.base import EPS, Aux, Losses, State, TaskFacts, Weighting, normalised

MOST_FULL = 16  # tasks whose gradients are kept whole
Factory = Callable[[WeightingConfig, TaskFacts], Weighting]


def _weighting(config: WeightingConfig, init: Callable[[int], State], apply: Any, draws: bool = False) -> Weighting:
    return Weighting(init, apply, config.weight_heads, config.space, config.probes, draws)


def _of(
    solver: Callable[..., Float[Array, " T"]], options: Callable[[WeightingConfig], dict] = lambda c: {}
) -> Factory:
    """A method without state whose solver reads the Gram matrix alone."""

    def make(config: WeightingConfig, facts: TaskFacts) -> Weighting:
        given = options(config)

        def apply(state: State, losses: Losses, aux: Aux):
            return normalised(solver(aux.products, aux.present, **given), aux.present), state

        return _weighting(config, lambda num_tasks: {}, apply)

    return make


def mgda(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """The shortest vector in the convex hull of the gradients (Sener and Koltun, NeurIPS 2018, arXiv:1810.04650).

    Gradients are first divided by `normalise`: without that the task of the smallest gradient takes all.
    """
    by_norm, by_loss = config.normalise in ("l2", "both"), config.normalise in ("loss", "both")
    floor = floors(config, facts)

    def apply(state: State, losses: Losses, aux: Aux):
        products = aux.products
        size = jnp.ones_like(losses)
        if by_norm:
            size = size * jnp.sqrt(jnp.maximum(jnp.diagonal(products), 0.0))
        if by_loss:
            size = size * above(losses, floor)
        # A gradient of 0 stays as it is: it cannot be made to have length 1.
        size = jnp.where(size > EPS * size.max(), size, 1.0)
        weights = gram.mgda(products / (size[:, None] * size[None]), aux.present) / size
        return normalised(weights, aux.present), state

    return _weighting(config, lambda num_tasks: {}, apply)


def pcgrad(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Each gradient loses its part against every other in a random order (Yu et al., NeurIPS 2020, arXiv:2001.06782)."""

    def apply(state: State, losses: Losses, aux: Aux):
        return normalised(gram.pcgrad(aux.products, aux.present, aux.randomness), aux.present), state

    return _weighting(config, lambda num_tasks: {}, apply, draws=True)


def gradvac(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """PCGrad with, in place of 0, the moving average of each pair's cosine as target (Wang et al., ICLR 2021, arXiv:2010.05874)."""

    def apply(state: State, losses: Losses, aux: Aux):
        weights, cosines = gram.gradvac(aux.products, aux.present, aux.randomness, state["cosines"])
        return normalised(weights, aux.present), {"cosines": cosines}

    def init(num_tasks: int) -> State:
        return {"cosines": jnp.zeros((num_tasks, num_tasks), jnp.float32)}

    return _weighting(config, init, apply, draws=True)


def gradnorm(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Learns weights that give every task's gradient the length due to how slowly it trains (Chen et al., ICML 2018).

    arXiv:1711.02257. Where a task began is its null loss, steadier than the loss of the first batch.
    """
    start = jnp.asarray(facts.null_loss, jnp.float32)
    alpha = 1.5 if config.alpha is None else config.alpha

    def apply(state: State, losses: Losses, aux: Aux):
        weights = gram.gradnorm(
            aux.products, aux.present, losses, start, state["weights"], learning_rate=config.learning_rate, alpha=alpha
        )
        kept = jnp.where(aux.present, weights, state["weights"])
        return normalised(kept, aux.present), {"weights": kept}

    return _weighting(config, lambda num_tasks: {"weights": jnp.ones((num_tasks,), jnp.float32)}, apply)


def dbmtl(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Log losses, their gradients brought to the length of the longest (Lin et al., 2023, arXiv:2308.12029), without memory."""
    floor = floors(config, facts)

    def apply(state: State, losses: Losses, aux: Aux):
        return normalised(gram.dbmtl(aux.products, aux.present, above(losses, floor)), aux.present), state

    return _weighting(config, lambda num_tasks: {}, apply)


METHODS: Mapping[str, Factory] = {
    "gradnorm": gradnorm,
    "mgda": mgda,
    "pcgrad": pcgrad,
    "gradvac": gradvac,
    "cagrad": _of(gram.cagrad, lambda c: {"c": c.conflict_radius}),
    "imtl_g": _of(gram.imtl_g),
    "nash": _of(gram.nash),
    "fairgrad": _of(gram.fairgrad, lambda c: {"alpha": 2.0 if c.alpha is None else c.alpha}),
    "aligned": _of(gram.aligned_mtl),
    "upgrad": _of(gram.upgrad),
    "dbmtl": dbmtl,
    "config": _of(gram.config),
}
