"""How well profiles are predicted, example by example: multinomial loss, Jensen-Shannon divergence, error of the log counts.

Sums over bases are made on the device, where the predicted profiles are; they never lie on the host as a whole. The
multinomial coefficient, which no prediction changes, is added on the host in float64, because float32 loses it in the
difference of two large numbers where many reads were counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64
from scipy.special import gammaln, xlogy

from dragon_jax.data.batches import columns
from dragon_jax.data.counts import central
from dragon_jax.data.dataset import Dataset
from dragon_jax.models.bpnet import ProfileModel
from dragon_jax.training.devices import Devices
from dragon_jax.training.predict import BatchFunction
from dragon_jax.training.profile_losses import ProfileLosses, cross_entropy, log_probabilities, square_error

_ROWS = 512  # rows whose counts are looked at together on the host


class ProfileScores:
    """`scores(variables, data)` of a base-resolution network: by name float64 `[N, T]`, NaN where nothing was measured.

    `logits` are log(1 + counts) and never NaN; `nll` the multinomial loss with its coefficient, summed over strands; `error`
    the squared error of log(1 + counts); `loss` what is trained on; `jsd` the Jensen-Shannon divergence between observed and
    predicted profile in bits, 0 (equal) to 1, the mean over strands that were hit, NaN where nothing was counted.
    """

    def __init__(self, model: ProfileModel, losses: ProfileLosses, devices: Devices):
        self._function, self._losses = BatchFunction(_make_step(model, losses), devices), losses
        self._width = model.config.window

    def __call__(self, variables: Any, data: Dataset, batch_size: int) -> dict[str, np.ndarray]:
        found = self._function(variables, columns(data), batch_size)
        found = {k: v.astype(np.float64) for k, v in found.items()}
        counts = stacked(data, self._losses.names, self._width(data.length))
        coefficient = np.stack([coefficients(c, self._losses.joint) for c in counts], 1)
        found["nll"] = found.pop("entropy") - coefficient
        found["loss"] = found["nll"] + self._losses.count_weight * found["error"]
        return found


def stacked(data: Dataset, names: tuple[str, ...], width: int) -> list[np.ndarray]:
    """Returns the counts in the output window, float32 `[N, W, S]` of each task, NaN throughout where its target is."""
    result = []
    for name in names:
        column = [task.name for task in data.tasks].index(name)
        counts = central(data.profiles[name], width)
        missing = np.isnan(data.targets[:, column])
        result.append(np.where(missing[:, None, None], np.float32(np.nan), counts) if missing.any() else counts)
    return result


def coefficients(counts: np.ndarray, joint: bool) -> Float64[np.ndarray, " N"]:
    """Returns log(n! / (k_1! k_2! ...)) of counts `[N, W, S]`, summed over strands where each is one distribution."""
    parts = []
    for block in _blocks(counts):
        totals = block.sum((1, 2), keepdims=True) if joint else block.sum(1, keepdims=True)
        parts.append(gammaln(totals + 1).sum((1, 2)) - gammaln(block + 1).sum((1, 2)))
    return np.concatenate(parts)


def against(counts: np.ndarray, fixed: np.ndarray, joint: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a fixed profile `[W, S]` scores on counts `[N, W, S]`: multinomial loss and divergence in bits, `[N]`."""
    nll, jsd = [], []
    axes = (1, 2) if joint else (1,)
    q = fixed / fixed.sum(axis=None if joint else 0, keepdims=True)
    for block in _blocks(counts):
        nll.append(-xlogy(block, q).sum((1, 2)))
        totals = block.sum(axes, keepdims=True)
        p = block / np.where(totals > 0, totals, np.nan)
        middle = (p + q) / 2
        each = (xlogy(p, p) + xlogy(q, q)) / 2 - xlogy(middle, middle)
        bits = each.sum(axes, keepdims=True) / np.log(2)
        there = ~np.isnan(bits)
        jsd.append(np.where(there, bits, 0).sum((1, 2)) / np.where(there.any((1, 2)), there.sum((1, 2)), np.nan))
    return np.concatenate(nll) - coefficients(counts, joint), np.concatenate(jsd)


def divergence(logits: Float[Array, "B T W S"], counts: Float[Array, "B T W S"], joint: bool) -> Float[Array, "B T"]:
    """Returns the Jensen-Shannon divergence of observed and predicted profiles in bits, NaN where nothing was counted."""
    axes = (2, 3) if joint else (2,)
    log_q = log_probabilities(logits, joint)
    totals = counts.sum(axes, keepdims=True)
    p, q = counts / jnp.maximum(totals, 1e-12), jnp.exp(log_q)
    middle = (p + q) / 2
    xlogx = jax.scipy.special.xlogy
    each = (xlogx(p, p) + q * log_q) / 2 - xlogx(middle, middle)
    bits = each.sum(axes, keepdims=True) / jnp.log(2.0)
    hit = (totals > 0).astype(jnp.float32)
    return (bits * hit).sum((2, 3)) / jnp.where(hit.sum((2, 3)) > 0, hit.sum((2, 3)), jnp.nan)


def _make_step(model: ProfileModel, losses: ProfileLosses) -> Callable[[Any, dict[str, Any]], dict[str, Any]]:
    width = model.config.window

    def step(variables: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
        outputs: Any = model.apply(variables, batch, train=False)
        counts, measured = losses.counts(batch["targets"], batch, width(batch["codes"].shape[1]))
        found = {
            "entropy": cross_entropy(outputs["profile"], counts, losses.joint),
            "error": square_error(outputs, counts),
            "jsd": divergence(outputs["profile"], counts, losses.joint),
        }
        return {"logits": outputs["logits"]} | {k: jnp.where(measured, v, jnp.nan) for k, v in found.items()}

    return step


def _blocks(counts: np.ndarray) -> Any:
    return (counts[i : i + _ROWS].astype(np.float64) for i in range(0, max(len(counts), 1), _ROWS))
