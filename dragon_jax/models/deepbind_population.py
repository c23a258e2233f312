"""Many DeepBind networks read the same sequences at once: one wide convolution, and a gradient that looks only at the winners.

`vmap` over networks turns their convolutions into one grouped convolution, which is slow. The sequences are the same for
all members, so their detectors stand side by side instead, those of the other strand beside them: M members of D
detectors are one convolution with 2 M D filters, wide enough to fill the vector units.

The pooled maximum of a detector depends on one window of the sequence only, and only on the strand with the larger score.
The gradient of the kernels is therefore summed from B x M x D windows of m bases, gathered where the maxima are, in the
place of a second convolution over all positions: 2 ms against 8 to 12 ms (30 members of 16 detectors, 64 sequences of 101
bases, one core, jax 0.10.2).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from dragon_jax.dna import one_hot
from dragon_jax.models.convolution import conv1d
from dragon_jax.models.deepbind_files import DeepBindParameters

# {"trunk": {detectors [M, m, 4, D], thresholds [M, D]}, "linear": heads of the first A members, "hidden": of the others}; heads
# have the arrays of `DeepBindParameters` with the member in front. A population without such members lacks the group.
Population = dict[str, dict[str, Any]]
Codes = UInt8[Array, "B L"] | UInt8[np.ndarray, "B L"]
_BLOCK = 4


def shapes(members: int, linear: int, detectors: int, width: int, hidden: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """Returns the shapes of a population's arrays; the first `linear` members have no hidden layer."""
    result = {"trunk": {"detectors": (members, width, 4, detectors), "thresholds": (members, detectors)}}
    if linear:
        result["linear"] = {"weights1": (linear, detectors, 1), "biases1": (linear, 1)}
    if rest := members - linear:
        layer = {"weights1": (rest, detectors, hidden), "biases1": (rest, hidden)}
        result["hidden"] = layer | {"weights2": (rest, hidden, 1), "biases2": (rest, 1)}
    return result


def members_of(group: str, params: Population) -> slice:
    """Returns which members the arrays of a group belong to."""
    linear = len(params["linear"]["biases1"]) if "linear" in params else 0
    return {"trunk": slice(None), "linear": slice(0, linear), "hidden": slice(linear, None)}[group]


def scores(params: Population, codes: Codes, keep: Float[Array, "B 2 M D"] | None = None) -> Float[Array, "B M"]:
    """Returns every member's score of every sequence; of the two strands the larger one counts and alone has a gradient.

    Args:
        keep: factors of the pooled detectors, by strand: 0 where dropout leaves one out.
    """
    trunk = params["trunk"]
    pooled = jax.nn.relu(strongest(trunk["detectors"], codes) + trunk["thresholds"][None, None])
    if keep is not None:
        pooled = pooled * keep
    parts = []
    if "linear" in params:
        head, mine = params["linear"], pooled[:, :, members_of("linear", params)]
        parts.append(jnp.einsum("bsmd,mdo->bsmo", mine, head["weights1"]) + head["biases1"][None, None])
    if "hidden" in params:
        head, mine = params["hidden"], pooled[:, :, members_of("hidden", params)]
        units = jax.nn.relu(jnp.einsum("bsmd,mdk->bsmk", mine, head["weights1"]) + head["biases1"][None, None])
        parts.append(jnp.einsum("bsmk,mko->bsmo", units, head["weights2"]) + head["biases2"][None, None])
    forward, reverse = jnp.moveaxis(jnp.concatenate(parts, 2)[..., 0], 1, 0)
    return jnp.where(forward >= reverse, forward, reverse)


def member(params: Population, index: int) -> DeepBindParameters:
    """Returns one network of a population."""
    linear = members_of("linear", params).stop
    group, row = ("linear", index) if index < linear else ("hidden", index - linear)
    arrays = {k: v[index] for k, v in params["trunk"].items()} | {k: v[row] for k, v in params[group].items()}
    arrays = {"weights2": np.zeros((0, 1)), "biases2": np.zeros(0)} | arrays
    return DeepBindParameters(
        reverse_complement=True, mean_pool=False, **{k: np.asarray(v, np.float32) for k, v in arrays.items()}
    )


@jax.custom_vjp
def strongest(
    detectors: Float[Array, "M m 4 D"] | Float[np.ndarray, "M m 4 D"], codes: Codes
) -> Float[Array, "B 2 M D"]:
    """Returns each detector's largest response (no threshold yet) on either strand, the sequence padded by unknown bases.

    The gradient holds for losses in which at most one strand of a detector receives any, as in `scores`.
    """
    return _by_strand(_responses(detectors, codes).max(1), detectors)


def _with_places(detectors: Any, codes: Any) -> Any:
    # The barriers keep XLA from working convolution and places out again inside whatever reads them.
    best, places = lax.optimization_barrier(_best(lax.optimization_barrier(_responses(detectors, codes))))
    return _by_strand(best, detectors), (_by_strand(places, detectors), detectors, codes)


def _best(responses: Float[Array, "B N F"]) -> tuple[Float[Array, "B F"], Int[Array, "B F"]]:
    """Largest response and the first place where it is: the block of four places first, then the place in it.

    4 ms where `argmax` takes 34: minima and maxima of floats are vectorised, and only one place in four is compared.
    """
    if rest := responses.shape[1] % _BLOCK:
        responses = jnp.pad(responses, ((0, 0), (0, _BLOCK - rest), (0, 0)), constant_values=-jnp.inf)
    batch, count, features = responses.shape
    blocks = lax.optimization_barrier(responses.reshape(batch, count // _BLOCK, _BLOCK, features).max(2))
    best = lax.optimization_barrier(blocks.max(1))
    numbers = jnp.arange(count // _BLOCK, dtype=jnp.float32)[None, :, None]
    block = jnp.where(blocks == best[:, None], numbers, jnp.float32(count // _BLOCK - 1)).min(1).astype(jnp.int32)
    start = (jnp.arange(batch)[:, None] * count + block * _BLOCK) * features + jnp.arange(features)[None]
    inside = jnp.zeros_like(block)
    for j in reversed(range(_BLOCK)):
        here = jnp.take(responses.reshape(-1), start + j * features, mode="clip")  # also where all is NaN
        inside = jnp.where(here == best, j, inside)
    return best, jnp.minimum(block * _BLOCK + inside, count - 1)


def _backward(residuals: Any, g: Float[Array, "B 2 M D"]) -> Any:
    places, detectors, codes = residuals
    members, width, _, features = detectors.shape
    windows = _windows(_padded(codes, width), width)
    batch, count = windows.shape[:2]
    # On the other strand a window reads backwards, positions and bases alike: so do its 4 m numbers.
    both = jnp.concatenate([windows, windows[..., ::-1]], 1).reshape(2 * batch * count, -1)
    place = jnp.where(g[:, 1] != 0, places[:, 1] + count, places[:, 0]).reshape(batch, -1)
    found = jnp.take(both, (place + 2 * count * jnp.arange(batch)[:, None]).reshape(-1), axis=0, mode="clip")
    kernel = jnp.einsum("bf,bfk->fk", g.sum(1).reshape(batch, -1), found.reshape(batch, members * features, -1))
    return jnp.moveaxis(kernel.reshape(members, features, width, 4), 1, -1), None


strongest.defvjp(_with_places, _backward)


def _responses(detectors: Any, codes: Any) -> Float[Array, "B N F"]:
    """Responses at all N = L + m - 1 places: F = 2 M D filters, those of the forward strand first."""
    _, width, _, _ = detectors.shape
    kernel = jnp.moveaxis(detectors, 0, 2).reshape(width, 4, -1)
    return conv1d(_padded(codes, width), jnp.concatenate([kernel, kernel[::-1, ::-1]], -1))


def _padded(codes: Any, width: int) -> Float[Array, "B P 4"]:
    return jnp.pad(one_hot(codes, "float32", 0.25), ((0, 0), (width - 1, width - 1), (0, 0)), constant_values=0.25)


def _windows(x: Float[Array, "B P 4"], width: int) -> Float[Array, "B N Q"]:
    count = x.shape[1] - width + 1
    return jnp.stack([x[:, i : i + count] for i in range(width)], 2).reshape(x.shape[0], count, 4 * width)


def _by_strand(flat: Float[Array, "B F"] | Int[Array, "B F"], detectors: Any) -> Any:
    return flat.reshape(flat.shape[0], 2, detectors.shape[0], detectors.shape[3])
