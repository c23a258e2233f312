"""Predictors that are not networks: what a network has to beat."""

from __future__ import annotations

from dragon_jax.baselines.gkmsvm import GkmConfig
from dragon_jax.baselines.kmer import KmerConfig

# Name in a config -> config class. Such a class fits itself, `fit(train, valid, seed, progress)`, and brings a stored
# fit back, `from_state(tasks, length, state)`; both give a predictor with `describe()` and `state()`.
REGISTRY: dict[str, type[KmerConfig] | type[GkmConfig]] = {"kmer": KmerConfig, "gkmsvm": GkmConfig}
