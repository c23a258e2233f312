"""`hybrid`: motif detectors with local context, beside a learned bag of k-mers. Our design for short ChIP-seq windows.

Two views of one window meet before the head. The deep view is a stack of residual convolutions whose features are pooled
over all positions by maximum (is the motif there?) and by mean (how much of it is there?). The wide view looks every
k-mer up in a table of learned vectors and adds them up, as a k-mer regression does, which a convolution learns only
slowly: on the ENCODE sets of this project k-mer regression beats a plain convolutional network on some factors.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax.config import check_range
from dragon_jax.models.base import ApartStrands, Inputs, ModelConfig
from dragon_jax.models.dense import check_widths
from dragon_jax.models.layers import Activation, Conv, DenseStack, activate, max_pool


@dataclasses.dataclass(frozen=True, kw_only=True)
class HybridConfig(ModelConfig):
    """Both views and how they meet.

    Attributes:
        filters, width: detectors of the first convolution and their width in bases.
        first_activation: of the detectors.
        pool_width: max pooling after the detectors, in bases; 1 = none.
        dilations: one residual convolution for each, with this dilation (in pooled positions) and `block_width` taps.
        bins: parts of the window that are pooled each on its own, so that the head sees where a feature lies; 1 = the
            whole window.
        whole: pool the whole window too, beside the bins: what matters anywhere is then learned as fast as with one.
        conv_dropout: share of units zeroed before each of them.
        dense, dense_dropout: hidden layers on the pooled features.
        words: lengths k of the words of the bags; empty = no wide view.
        word_dim: numbers looked up for each word.
        word_scale: factor on the summed words, which sets how fast the wide view learns beside the deep one.
        word_dropout: share of the summed numbers zeroed while training.
    """

    name: str = "hybrid"
    strands: ApartStrands = "average"
    filters: int = 128
    width: int = 15
    first_activation: Activation = "relu"
    dilations: tuple[int, ...] = ()
    block_width: int = 5
    pool_width: int = 1
    bins: int = 1
    whole: bool = False
    conv_dropout: float = 0.0
    dense: tuple[int, ...] = (64,)
    dense_dropout: float = 0.0
    words: tuple[int, ...] = (6,)
    word_dim: int = 8
    word_scale: float = 1.0
    word_dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_widths("dilations", self.dilations)
        check_widths("dense", self.dense)
        check_range("filters", self.filters, 0, 100_000)
        check_range("width", self.width, 1, 1000)
        check_range("word_dim", self.word_dim, 1, 10_000)
        for name in ("conv_dropout", "dense_dropout", "word_dropout"):
            check_range(name, getattr(self, name), 0, 1, open_high=True)
        check_range("pool_width", self.pool_width, 1, 10_000)
        check_range("bins", self.bins, 1, 10_000)
        check_range("word_scale", self.word_scale, 0, float("inf"), open_low=True, open_high=True)
        for k in self.words:
            check_range("words", k, 1, 10)
        if not self.filters and not self.words:
            raise ValueError("filters: expected at least 1 where words is empty, found 0")

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        return HybridTrunk(self, dtype)

    @property
    def representation_dropout(self) -> float:
        return 0.0  # the pooled features are dropped out inside the trunk, before its dense layers

    @property
    def first_kernel(self) -> tuple[str, ...]:
        return ("trunk", "detectors", "kernel") if self.filters else ()

    def receptive_field(self, length: int) -> int:
        deep = self.pool_width * (1 + sum(d * (self.block_width - 1) for d in self.dilations)) + self.width - 1
        return min(length, max([deep if self.filters else 0, *self.words]))

    def check_length(self, length: int) -> None:
        if length < max([self.pool_width * self.bins, *self.words]):
            raise ValueError(f"words: sequences of {length} bases are shorter than a word or the pooling windows")


class WordBag(nn.Module):
    """Mean over positions of a learned vector per k-mer; words with unknown bases count as nothing."""

    k: int
    features: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"]) -> Float[Array, "B D"]:
        table = self.param("table", nn.initializers.zeros, (4**self.k, self.features))
        windows = x.shape[1] - self.k + 1
        letters = x.argmax(-1)
        known = x.max(-1) > 0.5
        word = jnp.zeros((x.shape[0], windows), jnp.int32)
        whole = jnp.ones((x.shape[0], windows), bool)
        for i in range(self.k):
            word = word * 4 + letters[:, i : i + windows]
            whole &= known[:, i : i + windows]
        values = table.astype(self.dtype).at[word].get(mode="promise_in_bounds")
        return jnp.where(whole[..., None], values, 0).sum(1)


class HybridTrunk(nn.Module):
    config: HybridConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "B L 4"], extra: Inputs, *, train: bool) -> Float[Array, "B d"]:
        c = self.config
        parts = []
        if c.filters:
            h = Conv(c.filters, c.width, "same", dtype=self.dtype, name="detectors")(x)
            h = activate(h, c.first_activation, "activation", self.dtype)
            if c.pool_width > 1:
                h = max_pool(h, c.pool_width)
            for i, dilation in enumerate(c.dilations):
                h = nn.Dropout(c.conv_dropout)(h, deterministic=not train)
                y = Conv(c.filters, c.block_width, "same", dilation, dtype=self.dtype, name=f"block_{i}")(h)
                h = h + nn.relu(y)
            pooled = self._pooled(h)
            pooled = nn.Dropout(c.dropout)(pooled, deterministic=not train)
            parts.append(DenseStack(c.dense, "relu", c.dense_dropout, self.dtype, name="dense")(pooled, train=train))
        for k in c.words:
            bag = c.word_scale * WordBag(k, c.word_dim, self.dtype, name=f"words_{k}")(x)
            parts.append(nn.Dropout(c.word_dropout)(bag, deterministic=not train))
        return jnp.concatenate(parts, -1)

    def _pooled(self, h: Float[Array, "B L C"]) -> Float[Array, "B d"]:
        """Maximum and mean of every feature in each bin of positions, cut as evenly as they go and alike from both ends.

        With `whole`, the same of all positions comes last.
        """
        n, bins = h.shape[1], self.config.bins
        edges = [round(i * n / bins) for i in range(bins // 2 + 1)]
        starts = [*edges, *(n - e for e in reversed(edges if bins % 2 else edges[:-1]))]
        parts = [h[:, a:b] for a, b in zip(starts, starts[1:], strict=False)]
        if self.config.whole and bins > 1:
            parts.append(h)
        return jnp.concatenate([f for p in parts for f in (p.max(1), p.mean(1))], -1)
