"""Pooling of `hybrid`: bins see where, the whole window sees whether, and both strands stay alike."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.dna import reverse_complement
from dragon_jax.models.base import StrandModel
from dragon_jax.models.hybrid import HybridConfig, HybridTrunk

PLAIN = {"filters": 6, "width": 7, "words": (), "dense": (), "pool_width": 2}


def pooled(config: HybridConfig, h: np.ndarray) -> np.ndarray:
    return np.asarray(HybridTrunk(config, np.dtype("float32"))._pooled(jnp.asarray(h)))


def test_whole_window_comes_after_the_bins():
    h = np.random.default_rng(0).normal(size=(3, 10, 6)).astype(np.float32)
    bins, both = (pooled(HybridConfig(bins=3, whole=whole, **PLAIN), h) for whole in (False, True))
    everything = np.concatenate([h.max(1), h.mean(1)], -1)
    assert bins.shape == (3, 36) and both.shape == (3, 48)
    np.testing.assert_array_equal(both[:, :36], bins)
    np.testing.assert_allclose(both[:, 36:], everything, rtol=1e-6)
    one = pooled(HybridConfig(bins=1, whole=True, **PLAIN), h)  # one bin is the whole window already
    np.testing.assert_allclose(one, everything, rtol=1e-6)


@pytest.mark.parametrize("strands", ["average", "maximum"])
def test_strands_give_the_same_logits_with_bins_and_whole(strands):
    config = HybridConfig(bins=3, whole=True, strands=strands, **PLAIN)
    model = StrandModel(config, num_tasks=2, dtype=np.dtype("float32"))
    codes = np.random.default_rng(1).integers(0, 4, (4, 41)).astype(np.uint8)
    variables = model.init(jax.random.key(0), {"codes": codes}, train=False)
    forward, reverse = (model.apply(variables, {"codes": c}, train=False) for c in (codes, reverse_complement(codes)))
    np.testing.assert_allclose(forward, reverse, rtol=1e-5, atol=1e-6)
