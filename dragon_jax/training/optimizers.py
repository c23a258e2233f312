"""Optax optimisers and schedules by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dragon_jax.sections import OptimConfig

OPTIMIZERS: Mapping[str, Callable[[OptimConfig], optax.GradientTransformation]] = {
    "adam": lambda c: optax.scale_by_adam(c.b1, c.b2, c.eps),
    "adamw": lambda c: optax.scale_by_adam(c.b1, c.b2, c.eps),
    "nadam": lambda c: optax.scale_by_adam(c.b1, c.b2, c.eps, nesterov=True),
    "sgd": lambda c: optax.trace(c.momentum, c.nesterov),
    "rmsprop": lambda c: optax.scale_by_rms(decay=c.b2, eps=c.eps),
    "adagrad": lambda c: optax.scale_by_rss(),
    "lion": lambda c: optax.scale_by_lion(c.b1, c.b2),
}


def make_schedule(config: OptimConfig, total_steps: int) -> optax.Schedule:
    """Returns the learning rate as a function of the step: linear warm-up, then the named schedule to the last step."""
    warmup = int(round(config.warmup_fraction * total_steps))
    rest = max(total_steps - warmup, 1)
    peak, last = config.learning_rate, config.learning_rate * config.final_scale
    after = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, rest, config.final_scale),
        "linear": lambda: optax.linear_schedule(peak, last, rest),
        "exponential": lambda: optax.exponential_decay(peak, rest, config.final_scale),
    }[config.schedule]()
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(peak / warmup, peak, warmup), after], [warmup])


def is_kernel(path: tuple, leaf) -> bool:
    """Whether a parameter is a weight matrix or filter bank: what decay acts on (never biases, slopes or scales)."""
    return leaf.ndim >= 2


def hold_norms(params: Any, most: float) -> Any:
    """Returns the parameters with every unit's kernel (last axis: units) scaled down to norm `most` where it is larger."""

    def held(path: tuple, x: Any) -> Any:
        if not is_kernel(path, x):
            return x
        norm = jnp.sqrt(jnp.square(x).sum(tuple(range(x.ndim - 1)), keepdims=True))
        return x * jnp.minimum(1.0, most / jnp.maximum(norm, 1e-12))

    return jax.tree_util.tree_map_with_path(held, params)


def make_optimizer(config: OptimConfig, total_steps: int) -> optax.GradientTransformation:
    """Returns clipping, the optimiser's rule, decoupled weight decay on kernels, and the schedule, in this order."""
    parts = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    parts.append(OPTIMIZERS[config.name](config))
    if config.weight_decay:
        mask = lambda params: jax.tree_util.tree_map_with_path(is_kernel, params)  # noqa: E731
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=mask))
    parts.append(optax.scale_by_learning_rate(make_schedule(config, total_steps)))
    return optax.chain(*parts)
