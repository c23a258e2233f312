"""`transformer`: motif detectors, pooled into tokens, then self-attention between tokens at any distance.

The stem is that of our other networks; blocks normalise before each part (Xiong et al., ICML 2020), attention sees
distances between tokens by rotating queries and keys (Su et al., Neurocomputing 568, 127063, 2024), and the head reads the
tokens through learned attention, their mean or their maximum. A modern reference beside the convolutional networks.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.config import check_range
from dragon_jax.models.base import Inputs, ModelConfig, Strands
from dragon_jax.models.layers import FUNCTIONS, Conv, exchange_strands, glorot_uniform, max_pool


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig(ModelConfig):
    """Stem, blocks and pooling.

    Attributes:
        filters, width: detectors over the sequence and their width in bases (padding keeps the length).
        first_activation: of the detectors.
        pool_width: bases that become one token, by maximum; a rest at the end is cut off.
        dim: numbers per token.
        blocks: how many blocks of attention and two dense layers follow each other; 0 = none.
        heads: of each attention; they share `dim`, and each needs an even part of it.
        hidden: units between the two dense layers of a block.
        positions: `rotary` lets attention depend on the distance between tokens; `none` does not.
        block_dropout: share of units zeroed before each sum of a block, and of the tokens before the first.
        pooling: how tokens become one vector: `attention` (one learned query per head), `mean` or `max`.
        strands: with `shared`, detectors of the two strands at the same place are joined before tokens are made.
    """

    name: str = "transformer"
    strands: Strands = "average"
    filters: int = 128
    width: int = 15
    first_activation: Literal["relu", "gelu", "silu", "exp", "softplus"] = "relu"
    pool_width: int = 4
    dim: int = 64
    blocks: int = 2
    heads: int = 4
    hidden: int = 128
    positions: Literal["rotary", "none"] = "rotary"
    block_dropout: float = 0.1
    pooling: Literal["attention", "mean", "max"] = "attention"

    def __post_init__(self):
        super().__post_init__()
        for name in ("filters", "width", "pool_width", "dim", "heads", "hidden"):
            check_range(name, getattr(self, name), 1, 100_000)
        check_range("blocks", self.blocks, 0, 1000)
        check_range("block_dropout", self.block_dropout, 0, 1, open_high=True)
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim: expected a multiple of {2 * self.heads} (twice the heads), found {self.dim}")

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return TransformerTrunk(self, dtype)

    @property
    def first_kernel(self) -> tuple[str, ...]:
        return ("trunk", "detectors", "kernel")

    def receptive_field(self, length: int) -> int:
        return length if self.blocks else min(length, self.width + self.pool_width - 1)

    def check_length(self, length: int) -> None:
        if length < self.pool_width:
            raise ValueError(
                f"pool_width: sequences of {length} bases are shorter than one token, found {self.pool_width}"
            )


class TransformerTrunk(nn.Module):
    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], extra: Inputs, *, train: bool) -> Float[Array, "B d"]:
        c = self.config
        x = FUNCTIONS[c.first_activation](Conv(c.filters, c.width, "same", dtype=self.dtype, name="detectors")(x))
        x = max_pool(x, c.pool_width)
        if c.strands == "shared":
            x = exchange_strands(x)
        x = nn.Dense(c.dim, kernel_init=glorot_uniform, dtype=self.dtype, name="tokens")(x)
        x = nn.Dropout(c.block_dropout)(x, deterministic=not train)
        for i in range(c.blocks):
            x = Block(c, self.dtype, name=f"block_{i}")(x, train=train)
        x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
        if c.pooling == "mean":
            return x.mean(1)
        if c.pooling == "max":
            return x.max(1)
        score = nn.Dense(c.heads, use_bias=False, kernel_init=glorot_uniform, dtype=jnp.float32, name="query")(x)
        share = nn.softmax(score, axis=1).astype(self.dtype)
        parts = x.reshape(*x.shape[:2], c.heads, -1)
        return jnp.einsum("bth,bthe->bhe", share, parts).reshape(x.shape[0], c.dim)


class Block(nn.Module):
    """Self-attention, then two dense layers with GELU; each reads normalised tokens and is added to them."""

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B P D"], *, train: bool) -> Float[Array, "B P D"]:
        c = self.config

        def dense(units: int, name: str) -> nn.Dense:
            return nn.Dense(units, kernel_init=glorot_uniform, dtype=self.dtype, name=name)

        h = nn.LayerNorm(dtype=self.dtype, name="attention_norm")(x)
        q, k, v = (dense(c.dim, n)(h).reshape(*h.shape[:2], c.heads, -1) for n in ("query", "key", "value"))
        if c.positions == "rotary":
            q, k = rotate(q), rotate(k)
        h = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
        x = x + nn.Dropout(c.block_dropout)(dense(c.dim, "out")(h), deterministic=not train)
        h = nn.LayerNorm(dtype=self.dtype, name="dense_norm")(x)
        h = dense(c.dim, "down")(nn.gelu(dense(c.hidden, "up")(h), approximate=False))
        return x + nn.Dropout(c.block_dropout)(h, deterministic=not train)


def rotate(x: Float[Array, "B P H E"]) -> Float[Array, "B P H E"]:
    """Turns number pairs (j, j + E/2) at position p by the angle p / 10000^(2j/E).

    Products of a turned query and a turned key then depend on their places only through the distance.
    """
    positions, half = x.shape[1], x.shape[3] // 2
    rates = 10_000.0 ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = (jnp.arange(positions, dtype=jnp.float32)[:, None] * rates[None])[None, :, None]
    sin, cos = jnp.sin(angles), jnp.cos(angles)
    a, b = jnp.split(x.astype(jnp.float32), 2, -1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1).astype(x.dtype)
