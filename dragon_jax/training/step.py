"""One training step as a pure function `(state, batch) -> state`, and the prediction step beside it.

The random key is folded from the step, so a restart repeats the run. Sums for the training curves are kept on the
device and travel with the checkpoint; a non-finite loss or gradient freezes the state at the last good step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from dragon_jax.data.dataset import PROFILE
from dragon_jax.models.base import StrandModel, logits_of
from dragon_jax.models.bpnet import ProfileModel
from dragon_jax.sections import AugmentConfig, OptimConfig
from dragon_jax.training.augment import augment
from dragon_jax.training.losses import TaskLosses
from dragon_jax.training.optimizers import hold_norms, is_kernel
from dragon_jax.training.task_gradients import EXACT_SPACES, exact_products, parameter_products
from dragon_jax.training.weighting import Aux, Weighting

PyTree = Any
NOT_INPUTS = ("targets", "weight", "rows")


class TrainState(struct.PyTreeNode):
    """What a restart needs, and nothing else. A leaf is an array, or stands for one.

    Attributes:
        step: int32, number of finished steps.
        params, model_state: trainable weights, and other collections (running statistics) by name.
        opt_state, ema: of the optimiser, and the moving average of the weights (empty when not used).
        weighting: state of the task weighting.
        sums: numerators, denominators and counts of the training curves since the last evaluation.
        bad_step: int32, the first step whose loss or gradient was not finite, or -1.
        key: uint32 key data of the run.
    """

    step: PyTree
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    ema: PyTree
    weighting: PyTree
    sums: PyTree
    bad_step: PyTree
    key: PyTree


class Outputs(NamedTuple):
    """What one forward pass gives.

    Attributes:
        trunk, heads: logits. The same where one gradient reaches everything; else the first ones' goes to the trunk alone, and
            the second ones' to the heads alone.
        changed: collections that the pass changed.
        representation: the last tensor common to all tasks. features: what a common linear layer makes it of. None unless
            a method needs it.
    """

    trunk: Any
    heads: Any
    changed: Any
    representation: Any = None
    features: Any = None


def zero_sums(num_tasks: int) -> dict[str, jax.Array]:
    """Returns empty sums of the training curves."""
    shapes = {"loss": (num_tasks,), "measured": (num_tasks,), "weights": (num_tasks,), "grad_norm": (), "steps": ()}
    return {name: jnp.zeros(shape, jnp.float32) for name, shape in shapes.items()}  # one buffer each: all are donated


def init_state(
    model: StrandModel | ProfileModel,
    inputs: dict[str, np.ndarray],
    bias: np.ndarray,
    tx: optax.GradientTransformation,
    weighting: Weighting,
    seed: int,
    ema: bool,
) -> TrainState:
    """Returns the state at step 0. `inputs` is any batch of one example; `bias` `[T]` starts the head's bias."""
    key = jax.random.key(seed)
    variables = jax.jit(lambda k, x: model.init(k, x, train=False))(jax.random.fold_in(key, 0), inputs)
    params = model.config.start(variables["params"], bias)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state={k: v for k, v in variables.items() if k != "params"},
        opt_state=tx.init(params),
        ema=jax.tree.map(jnp.copy, params) if ema else {},
        weighting=weighting.init(len(bias)),
        sums=zero_sums(len(bias)),
        bad_step=jnp.full((), -1, jnp.int32),
        key=jax.random.key_data(jax.random.fold_in(key, 1)),
    )


def make_train_step(
    model: StrandModel | ProfileModel,
    losses: TaskLosses,
    weighting: Weighting,
    tx: optax.GradientTransformation,
    optim: OptimConfig,
    augmentation: AugmentConfig,
    fetch: Callable[[PyTree, PyTree], PyTree] | None = None,
) -> Callable[[TrainState, PyTree, PyTree], TrainState]:
    """Builds `train_step(state, batch, arrays) -> state`; the caller jits it.

    Args:
        fetch: turns `(arrays, batch["rows"])` into the batch when examples wait on the device; None = batch is complete.
    """

    keep = ["intermediates"] if optim.l1_activations else []
    separate = not weighting.literal or weighting.space in EXACT_SPACES

    def run(params, model_state, inputs, dropout_key) -> Outputs:
        variables = {"params": params, **model_state}
        common = {"rngs": {"dropout": dropout_key}, "mutable": [*model_state, *keep]}
        if not separate:
            logits, changed = model.apply(variables, inputs, train=True, **common)
            return Outputs(logits, logits, changed)
        if weighting.space == "last":
            features, changed = model.apply(variables, inputs, train=True, method="features", **common)
            represent = model.apply(variables, features, method="project")
        else:
            features = None
            represent, changed = model.apply(variables, inputs, train=True, method="represent", **common)
        if weighting.literal:
            trunk_logits = head_logits = model.apply(variables, represent, train=True, method="read_out")
        else:
            fixed = {**variables, "params": {**params, "head": jax.lax.stop_gradient(params["head"])}}
            trunk_logits = model.apply(fixed, represent, train=True, method="read_out")
            head_logits = model.apply(variables, jax.lax.stop_gradient(represent), train=True, method="read_out")
        return Outputs(trunk_logits, head_logits, changed, represent, features)

    def train_step(state: TrainState, batch: PyTree, arrays: PyTree = None) -> TrainState:
        if fetch is not None:
            batch = fetch(arrays, batch["rows"])
        step_key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        dropout_key, augment_key = jax.random.split(step_key)
        inputs = {k: v for k, v in batch.items() if k not in NOT_INPUTS}
        inputs = augment(inputs, augmentation, augment_key, model.specs)
        # Base-resolution targets are turned and shifted with the sequence, and are no inputs.
        profiles = {k: inputs.pop(k) for k in list(inputs) if k.startswith(PROFILE)}

        def per_task_losses(logits):
            """Numerator, denominator and quotient of the task losses, over the whole batch whatever the devices."""
            total, measured = losses.sums(logits, batch["targets"], batch.get("weight"), profiles)
            return total, measured, total / jnp.where(measured > 0, measured, 1.0)

        def above_floor(per_task, measured):
            floor = losses.floor(batch["targets"], measured, batch.get("weight"))
            return jax.lax.stop_gradient(per_task) - floor

        def losses_of_trunk(shared):
            """Task losses of the weights that tasks share, the heads and the dropout being those of this step."""
            params = {**state.params, **shared}
            return per_task_losses(run(params, state.model_state, inputs, dropout_key).trunk)[2]

        def products(outputs):
            """The Gram matrix that the method asks for."""
            if weighting.space in EXACT_SPACES:
                loss = lambda logits: per_task_losses(logits)[2].sum()  # noqa: E731
                return exact_products(model, state.params, outputs.representation, outputs.features, loss)
            shared = {k: v for k, v in state.params.items() if k != "head"}
            return parameter_products(weighting.space, losses_of_trunk, shared, weigh_key, weighting.probes)

        weigh_key = jax.random.fold_in(step_key, 2) if weighting.draws or weighting.space == "sketch" else None

        def objective(params):
            outputs = run(params, state.model_state, inputs, dropout_key)
            changed = outputs.changed
            total, measured, per_task = per_task_losses(outputs.trunk)
            gram = (lambda: products(outputs)) if weighting.space else None
            aux = Aux(measured, state.step, weigh_key, gram)
            before = above_floor(per_task, measured)
            weights, new_weighting = weighting.apply(state.weighting, before, aux)
            value = (weights * per_task).mean()
            if not weighting.literal:
                value = value + per_task_losses(outputs.heads)[2].mean()
            if optim.l1 or optim.l2:
                kernels = [x for p, x in jax.tree_util.tree_leaves_with_path(params) if is_kernel(p, x)]
                if optim.l1:
                    value = value + optim.l1 * sum(jnp.abs(x).sum() for x in kernels)
                if optim.l2:
                    value = value + optim.l2 * sum(jnp.square(x).sum() for x in kernels)
            if keep:
                changed = dict(changed)
                hidden = changed.pop("intermediates")["hidden"][0].astype(jnp.float32)
                value = value + optim.l1_activations * jnp.abs(hidden).sum() / hidden.shape[0]
            return value, (total, measured, before, weights, new_weighting, changed)

        (value, aux), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
        total, measured, before, weights, new_weighting, changed = aux
        norm = optax.tree.norm(grads)

        def update(state, grads, changed, new_weighting):
            updates, opt_state = tx.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            if optim.max_norm:
                params = hold_norms(params, optim.max_norm)
            ema = optim.ema
            sums = state.sums
            return state.replace(
                step=state.step + 1,
                params=params,
                model_state={**state.model_state, **changed},
                opt_state=opt_state,
                ema=jax.tree.map(lambda a, b: ema * a + (1 - ema) * b, state.ema, params) if ema else {},
                weighting=new_weighting,
                sums={
                    "loss": sums["loss"] + total,
                    "measured": sums["measured"] + measured,
                    "weights": sums["weights"] + weights,
                    "grad_norm": sums["grad_norm"] + norm,
                    "steps": sums["steps"] + 1,
                },
            )

        def freeze(state, *_):
            return state.replace(bad_step=jnp.where(state.bad_step < 0, state.step, state.bad_step))

        healthy = jnp.isfinite(value) & jnp.isfinite(norm) & (state.bad_step < 0)
        # A branch works in the donated buffers; choosing between old and new states needs room for both, and took
        # four times as long for the 53 million weights of DeepSEA on a CPU.
        old_model_state = state.model_state
        state = jax.lax.cond(healthy, update, freeze, state, grads, changed, new_weighting)
        if weighting.observe is None:
            return state
        # The same batch, dropout and statistics read with the weights after the step. Outside of the branches: a convolution
        # inside one is slow on a CPU.
        logits = run(state.params, old_model_state, inputs, dropout_key).trunk
        after = above_floor(per_task_losses(logits)[2], measured)
        seen = weighting.observe(state.weighting, before, after, Aux(measured, state.step - 1, weigh_key))
        keep_new = healthy & jnp.isfinite(after).all()
        return state.replace(
            weighting=jax.tree.map(lambda new, old: jnp.where(keep_new, new, old), seen, state.weighting)
        )

    return train_step


def make_predict_step(model: StrandModel | ProfileModel) -> Callable[[PyTree, dict[str, Any]], jax.Array]:
    """Builds `predict_step(variables, inputs) -> logits float32 [B, T]`; the caller jits it."""

    def predict_step(variables: PyTree, inputs: dict[str, Any]) -> Any:
        return logits_of(model.apply(variables, inputs, train=False))

    return predict_step


def evaluation_variables(state: TrainState) -> PyTree:
    """Returns the weights that are evaluated and kept: the moving average where there is one."""
    return {"params": state.ema or state.params, **state.model_state}
