"""Weights that follow the losses: scale-invariant, geometric mean, uncertainty, IMTL-L, DWA, smooth Chebyshev, excess.

No method costs more than O(T) a step. `floor` `[T]` is a lower bound of each loss (`weighting.lower_bounds`); whatever
takes a logarithm or an inverse does so of `loss - floor + 1e-8`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from dragon_jax.errors import InputError
from dragon_jax.sections import WeightingConfig
from dragon_jax.training.weighting.base import EPS, Aux, Losses, State, TaskFacts, Weighting, normalised
from dragon_jax.training.weighting.fixed import by_task

LARGEST_LOG_VARIANCE = 6.0


def above(losses: Losses, floor: np.ndarray) -> Losses:
    """Returns `loss - floor + 1e-8`, at least 1e-8."""
    return jnp.maximum(losses - jnp.asarray(floor, losses.dtype), 0.0) + EPS


def keep_absent(present: Bool[Array, " T"], new: State, old: State) -> State:
    """Returns the new state with the `[T]` entries of absent tasks as they were; other leaves are new."""

    def pick(a: Array, b: Array) -> Array:
        return jnp.where(present, a, b) if a.shape == present.shape else a

    return jax.tree.map(pick, new, old)


def floors(config: WeightingConfig, facts: TaskFacts) -> np.ndarray:
    """Returns float64 `[T]`, the lower bounds of the losses; 0 where none is given."""
    return by_task(config.lower_bounds, facts, "weighting.lower_bounds", 0.0)


def scale_invariant(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Minimises the sum of the log losses, `w_t ~ 1 / L_t`: no unit of a loss matters.

    With weights that sum to T this is also the geometric mean of losses (GLS, Chennupati et al., CVPRW 2019,
    arXiv:1902.08325), whose gradient differs by a factor common to all tasks.
    """
    floor = floors(config, facts)

    def apply(state: State, losses: Losses, aux: Aux):
        return normalised(1.0 / above(losses, floor), aux.present), state

    return Weighting(lambda num_tasks: {}, apply, config.weight_heads)


def uncertainty(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Minimises `sum_t (k_t exp(-s_t) L_t + s_t / 2)` in s as well; k is 1/2 for real tasks and 1 for the others.

    Kendall, Gal, Cipolla, CVPR 2018, arXiv:1705.07115. s is clipped to [-6, 6], as it has no bound where a loss goes to 0.
    """
    kappa = np.where(facts.real, 0.5, 1.0).astype(np.float32)
    return _learned_scale(config, facts, sign=-1.0, kappa=kappa, pull=0.5)


def imtl_l(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Minimises `sum_t (exp(s_t) L_t - s_t)` in s as well (Liu et al., ICLR 2021): at its optimum weights are `1 / L_t`."""
    return _learned_scale(config, facts, sign=1.0, kappa=np.ones(len(facts.names), np.float32), pull=-1.0)


def _learned_scale(
    config: WeightingConfig, facts: TaskFacts, *, sign: float, kappa: np.ndarray, pull: float
) -> Weighting:
    """Weights `kappa exp(sign s)`, s by Adam on `kappa exp(sign s) L + pull s`; its own rate, no decay."""
    import optax

    tx, floor = optax.adam(config.learning_rate), floors(config, facts)

    def init(num_tasks: int) -> State:
        s = jnp.zeros((num_tasks,), jnp.float32)
        return {"s": s, "moments": tx.init(s)}

    def apply(state: State, losses: Losses, aux: Aux):
        s = state["s"]
        weights = jnp.asarray(kappa) * jnp.exp(sign * s)
        slope = sign * weights * above(losses, floor) + pull
        step, moments = tx.update(slope, state["moments"], s)
        moved = jnp.clip(s + step, -LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        new = keep_absent(aux.present, {"s": moved, "moments": moments}, state)
        return normalised(weights, aux.present), new

    return Weighting(init, apply, config.weight_heads)


def dwa(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Dynamic weight averaging: `softmax(r / temperature)`, r the ratio of the mean losses of the last two epochs.

    Liu, Johns, Davison, CVPR 2019, arXiv:1803.10704. Weights are equal for two epochs.
    """
    every, floor = facts.steps_per_epoch, floors(config, facts)

    def init(num_tasks: int) -> State:
        zeros = lambda: jnp.zeros((num_tasks,), jnp.float32)  # noqa: E731  one buffer each: states are donated
        return {"loss": zeros(), "measured": zeros(), "last": zeros(), "before": zeros()}

    def apply(state: State, losses: Losses, aux: Aux):
        turn = (aux.step > 0) & (aux.step % every == 0)
        mean = state["loss"] / jnp.maximum(state["measured"], 1e-12)
        seen = turn & (state["measured"] > 0)
        last = jnp.where(seen, mean, state["last"])
        before = jnp.where(seen, state["last"], state["before"])
        kept = jnp.where(turn, 0.0, 1.0)
        new = {
            "loss": kept * state["loss"] + jnp.where(aux.present, above(losses, floor), 0.0) * aux.measured,
            "measured": kept * state["measured"] + aux.measured,
            "last": last,
            "before": before,
        }
        ratio = jnp.where(before > 0, last / jnp.maximum(before, 1e-12), 1.0)
        shares = jax.nn.softmax(jnp.where(aux.present, ratio / config.temperature, -jnp.inf))
        return normalised(shares, aux.present), new

    return Weighting(init, apply, config.weight_heads)


def smooth_chebyshev(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Smooth Chebyshev scalarisation of `log(L_t / nadir_t)`: a soft worst case, in units of where each task started.

    Lin et al., ICML 2024, arXiv:2402.19078. For `warmup_epochs` it minimises the sum of log losses and averages the losses
    into the nadir; then `w_t ~ softmax(log(L_t / nadir_t) / mu)_t / L_t`. A small mu is a hard maximum.
    """
    warmup, floor = max(1, round(config.warmup_epochs * facts.steps_per_epoch)), floors(config, facts)

    def init(num_tasks: int) -> State:
        return {"sum": jnp.zeros((num_tasks,), jnp.float32), "count": jnp.zeros((num_tasks,), jnp.float32)}

    def apply(state: State, losses: Losses, aux: Aux):
        over = above(losses, floor)
        early = aux.step < warmup
        learn = (early & aux.present).astype(jnp.float32)
        new = {"sum": state["sum"] + learn * over, "count": state["count"] + learn}
        # A task first measured after the warm-up has no nadir yet: it is its own.
        nadir = jnp.where(new["count"] > 0, new["sum"] / jnp.maximum(new["count"], 1.0), over)
        rise = jnp.where(aux.present, (jnp.log(over) - jnp.log(nadir)) / config.mu, -jnp.inf)
        late = jax.nn.softmax(jnp.where(aux.present.any(), rise, 0.0)) / over
        return normalised(jnp.where(early, 1.0 / over, late), aux.present), new

    return Weighting(init, apply, config.weight_heads)


def excess(config: WeightingConfig, facts: TaskFacts) -> Weighting:
    """Group-DRO on the excess of each loss over what can be reached: `q_t <- q_t exp(eta (L_t - b_t) / s_t) / Z`.

    Sagawa et al., ICLR 2020, arXiv:1911.08731. b is `weighting.lower_bounds` (losses of single-task runs, say), and for tasks
    without one the lowest moving average so far; s is the null loss. Without b it would chase noise that no model can learn.
    """
    given = by_task(config.lower_bounds, facts, "weighting.lower_bounds", np.nan)
    scale = np.maximum(facts.null_loss, 1e-2 * max(facts.null_loss.max(), 1e-12)).astype(np.float32)

    def init(num_tasks: int) -> State:
        none = jnp.full((num_tasks,), jnp.inf, jnp.float32)
        return {"q": jnp.full((num_tasks,), 1.0 / num_tasks), "average": none, "best": jnp.copy(none)}

    def apply(state: State, losses: Losses, aux: Aux):
        average = jnp.where(jnp.isinf(state["average"]), losses, 0.99 * state["average"] + 0.01 * losses)
        best = jnp.minimum(state["best"], average)
        bound = jnp.where(jnp.isnan(given), best, jnp.asarray(given, losses.dtype))
        # The moving average stands for the loss where its own best is the bound: else every noisy batch were an excess.
        gap = jnp.where(jnp.isnan(given), average, losses) - bound
        grown = jnp.log(state["q"]) + config.eta * gap / jnp.asarray(scale)
        grown = jnp.where(aux.present, grown, jnp.log(state["q"]))
        new = keep_absent(aux.present, {"average": average, "best": best}, {k: state[k] for k in ("average", "best")})
        q = jax.nn.softmax(grown)
        return normalised(q, aux.present), {"q": q, **new}

    return Weighting(init, apply, config.weight_heads)


def check_bounds(config: WeightingConfig, name: str) -> None:
    """Raises InputError where lower bounds are given to a method that reads none."""
    if config.lower_bounds and name not in READ_BOUNDS:
        raise InputError(f"weighting.lower_bounds: given, but '{name}' reads none ({', '.join(READ_BOUNDS)} do)")


READ_BOUNDS = ("scale_invariant", "gls", "uncertainty", "imtl_l", "dwa", "stch", "excess", "famo", "mgda", "dbmtl")
