"""Low-rank additions to kernels, as another way of writing the weights: `kernel + alpha / r * A B`.

LoRA (Hu et al., ICLR 2022, arXiv:2106.09685) for a matrix `[C, D]`: A `[C, r]`, B `[r, D]`. For a kernel `[W, C, D]` of a
convolution A is `[W, C, r]`: a convolution of the same width to r channels, followed by one of width 1, B `[r, D]` (LoCon, the
form for convolutions in LyCORIS, Yeh et al., ICLR 2024, arXiv:2309.14859). Since both are linear, the sum is a kernel of the old
shape, so that any network can be adapted as it is, and what comes out are ordinary weights. B starts at 0.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dragon_jax.training.transfer.names import flat, nested

ADAPTERS = "adapters"  # the key of the factors among the parameters, beside `trunk` and `head`


def adaptable(shape: Sequence[int], adapter: str) -> bool:
    """Whether a kernel of this shape can be added to: matrices by both adapters, kernels of convolutions by `locon`."""
    return len(shape) == 2 or (len(shape) == 3 and adapter == "locon")


def init_factors(shapes: Mapping[str, Sequence[int]], rank: int, key: Array) -> dict[str, Array]:
    """Returns `{name/a: [..., r], name/b: [r, D]}`, float32, for kernels `[..., D]` by name.

    A is drawn as He et al. draw the weights of a layer (uniform with variance 2 / fan-in, here of the r channels), B is 0. The
    key is folded with each name, so that factors do not depend on which others there are.
    """
    factors = {}
    draw = jax.nn.initializers.he_uniform()
    for name, shape in shapes.items():
        own = jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)
        factors[f"{name}/a"] = draw(own, (*shape[:-1], rank), jnp.float32)
        factors[f"{name}/b"] = jnp.zeros((rank, shape[-1]), jnp.float32)
    return factors


def addition(a: Float[Array, "*N r"], b: Float[Array, "r D"], scale: float) -> Float[Array, "*N D"]:
    """Returns `scale * a b` in full float32, also where a device multiplies matrices in less."""
    return scale * jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def with_factors(params: Mapping[str, Any], factors: Mapping[str, Array]) -> dict[str, Any]:
    """Returns the parameters with the factors beside them."""
    return {**params, ADAPTERS: nested(factors)} if factors else dict(params)


def merged(params: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Returns ordinary parameters: the factors added to their kernels. Without factors these are `params` as they are."""
    if ADAPTERS not in params:
        return dict(params)
    leaves, factors = flat({k: v for k, v in params.items() if k != ADAPTERS}), flat(params[ADAPTERS])
    for name in {key.rpartition("/")[0] for key in factors}:
        leaves[name] = leaves[name] + addition(factors[f"{name}/a"], factors[f"{name}/b"], scale)
    return nested(leaves)
