"""Training a population of DeepBind networks: each member with its own settings, all on the same batches, in one step.

The step is a pure function `(state, batch) -> state`, as that of a single network. Its random key is folded from the
step and each member's own number, so a member trains alike in whatever company. A member whose loss or weights stop
being finite is frozen at its last good state; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Float64

from dragon_jax.data.order import eval_batches
from dragon_jax.models.deepbind_population import Population, members_of, scores, shapes
from dragon_jax.training.trials import Trial

PyTree = Any
EVAL_ROWS = 64  # sequences at a time: responses of 30 members stay at 30 MB


class PopulationState(struct.PyTreeNode):
    """What a restart needs.

    Attributes:
        step: int32, number of finished steps.
        params, trace: weights of all members (see `models.deepbind_population`), and their momentum.
        bad_step: int32 `[M]`, the step whose loss or weights were not finite, or -1.
        keys: uint32 `[M, 2]`, key data of each member.
    """

    step: PyTree
    params: PyTree
    trace: PyTree
    bad_step: PyTree
    keys: PyTree


def init_population(trials: Sequence[Trial], detectors: int, width: int, seed: int, first: int = 0) -> PopulationState:
    """Returns the state at step 0, on the host; members without a hidden layer must come first in `trials`.

    Weights are normal with the scales of each trial, biases 0. Member i is a function of (seed, first + i) and its trial.
    """
    linear = sum(not t.hidden for t in trials)
    if any(t.hidden for t in trials[:linear]) or len({t.hidden for t in trials[linear:]}) > 1:
        raise ValueError("members without a hidden layer come first, and the others have the same number of units")
    sizes = shapes(len(trials), linear, detectors, width, trials[-1].hidden)
    numbers = range(first, first + len(trials))
    params: Population = {}
    for group, arrays in sizes.items():
        part = members_of(group, {"linear": {"biases1": range(linear)}})
        params[group] = {}
        for order, (name, shape) in enumerate(arrays.items()):
            params[group][name] = np.zeros(shape, np.float32)
            if name in ("thresholds", "biases1", "biases2"):
                continue
            for row, (number, trial) in enumerate(list(zip(numbers, trials, strict=True))[part]):
                scale = trial.detector_scale if name == "detectors" else trial.dense_scale
                params[group][name][row] = scale * np.random.default_rng([seed, number, order]).normal(size=shape[1:])
    return PopulationState(
        step=np.zeros((), np.int32),
        params=params,
        trace=jax.tree.map(np.zeros_like, params),
        bad_step=np.full(len(trials), -1, np.int32),
        keys=np.stack([np.random.SeedSequence([seed, n]).generate_state(2) for n in numbers]),
    )


def per_member(values: Any, shape: Sequence[int]) -> Array:
    """Returns `[M]` values with as many axes of size 1 behind as arrays of this shape need."""
    return jnp.asarray(values).reshape(-1, *[1] * (len(shape) - 1))


def make_population_step(
    trials: Sequence[Trial], l1_from: int
) -> Callable[[PopulationState, Array, Array], PopulationState]:
    """Builds `step(state, codes uint8 [B, L], targets float32 [B]) -> state`; the caller jits it.

    The loss of a member is the mean logistic loss on 0 and 1; from step `l1_from` on, `decay * sum |w|` is added.
    Dropout leaves units out without scaling the others up, as published; `settled` makes up for it.
    """
    rate, momentum, dropout = (
        np.array([getattr(t, name) for t in trials], np.float32) for name in ("learning_rate", "momentum", "dropout")
    )
    decays = {
        "detectors": np.array([t.l1_detectors for t in trials], np.float32),
        "weights1": np.array([t.l1_dense for t in trials], np.float32),
    }
    decays["weights2"] = decays["weights1"]

    def step(state: PopulationState, codes: Array, targets: Array) -> PopulationState:
        keep = _keep(state, len(codes), dropout) if dropout.any() else None

        def objective(params: Population) -> tuple[Any, Any]:
            losses = logistic(scores(params, codes, keep), targets[:, None]).mean(0)
            return losses.sum(), losses  # members share no weight: each has the gradient of its own loss

        (_, losses), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
        params, trace = {}, {}
        finite = jnp.isfinite(losses)
        for group, arrays in state.params.items():
            part = members_of(group, state.params)
            params[group], trace[group] = {}, {}
            for name, w in arrays.items():
                g = grads[group][name]
                if name in decays:
                    decay = jnp.where(state.step >= l1_from, jnp.asarray(decays[name][part]), 0.0)
                    g = g + per_member(decay, w.shape) * jnp.sign(w)
                mu = per_member(momentum[part], w.shape)
                t = g + mu * state.trace[group][name]
                new = w - per_member(rate[part], w.shape) * (g + mu * t)  # Nesterov's step
                params[group][name], trace[group][name] = new, t
                sound = jnp.isfinite(new).all(axis=tuple(range(1, new.ndim)))
                finite = finite.at[part].set(finite[part] & sound)
        healthy = finite & (state.bad_step < 0)

        def chosen(new: Population, old: Population) -> Population:
            rows = {group: healthy[members_of(group, state.params)] for group in old}
            return {
                group: {k: jnp.where(per_member(rows[group], w.shape), w, old[group][k]) for k, w in arrays.items()}
                for group, arrays in new.items()
            }

        bad = jnp.where((state.bad_step < 0) & ~finite, state.step, state.bad_step)
        return state.replace(
            step=state.step + 1, params=chosen(params, state.params), trace=chosen(trace, state.trace), bad_step=bad
        )

    return step


def _keep(state: PopulationState, batch: int, dropout: np.ndarray) -> Float[Array, "B 2 M D"]:
    """Factors 0 and 1 of the pooled detectors, drawn by each member for itself."""
    features = state.params["trunk"]["thresholds"].shape[1]

    def one(words: Array) -> Array:
        key = jax.random.wrap_key_data(words, impl="threefry2x32")
        return jax.random.uniform(jax.random.fold_in(key, state.step), (batch, 2, features))

    uniform = jnp.moveaxis(jax.vmap(one)(state.keys), 0, 2)
    return (uniform >= jnp.asarray(dropout)[None, None, :, None]).astype(jnp.float32)


def logistic(z: Array, y: Array) -> Array:
    """Negative log-likelihood of labels 0 and 1 under logits."""
    return jnp.logaddexp(0.0, z) - y * z


def settled(params: Population, trials: Sequence[Trial]) -> Population:
    """Returns the weights for use: what dropout left out in training, the first dense layer now expects of all units."""
    share = 1 - np.array([t.dropout for t in trials], np.float32)
    result = {group: dict(arrays) for group, arrays in params.items()}
    for group in {"linear", "hidden"} & set(params):
        w = result[group]["weights1"]
        result[group]["weights1"] = w * per_member(share[members_of(group, params)], w.shape)
    return result


_scores = jax.jit(scores)  # one program for all folds


class Losses:
    """Mean loss of every member on some rows; with a share, as if that share of the rows were positive."""

    def __init__(self, codes: np.ndarray, targets: np.ndarray, share: float):
        """Prepares rows: codes uint8 `[N, L]`, targets 0 or 1 `[N]`; `share` 0 = every row counts alike."""
        self.codes, self.targets = codes, targets
        counts = np.array([(targets < 0.5).sum(), (targets > 0.5).sum()], np.float64)
        class_weight = np.array([1 - share, share]) / counts if share else np.full(2, 1 / counts.sum())
        self.weights = class_weight[(targets > 0.5).astype(int)]

    def __call__(self, params: Population) -> Float64[np.ndarray, " M"]:
        parts, waiting = [], None
        for rows, valid in eval_batches(len(self.codes), EVAL_ROWS):
            result = _scores(params, self.codes[rows])  # in flight while the last one is fetched
            if waiting is not None:
                parts.append(np.asarray(waiting[0])[waiting[1]])
            waiting = (result, valid)
        assert waiting is not None
        parts.append(np.asarray(waiting[0])[waiting[1]])
        z = np.concatenate(parts).astype(np.float64)
        with np.errstate(invalid="ignore"):  # weights may be finite and scores not
            return self.weights @ (np.logaddexp(0, z) - self.targets[:, None] * z)
