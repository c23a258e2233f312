"""Predictors that are not networks: what a network has to beat."""

from __future__ import annotations

from dragon_jax.baselines.deepbind_published import DeepBindPublishedConfig
from dragon_jax.baselines.gkmsvm import GkmConfig
from dragon_jax.baselines.kmer import KmerConfig
from dragon_jax.baselines.pwm import PwmConfig

# Name in a config -> config class. Such a class fits itself, `fit(train, valid, seed, progress)`, and brings a stored
# fit back, `from_state(tasks, length, state)`; both give a predictor with `describe()` and `state()`. What a predictor
# holds in `origin`, where it has one, goes into the provenance of its run. `ON_DEVICE` says whether JAX computes it, on its
# device, or NumPy and scikit-learn, on the CPU.
REGISTRY: dict[str, type[KmerConfig | PwmConfig | GkmConfig | DeepBindPublishedConfig]] = {
    "kmer": KmerConfig,
    "pwm": PwmConfig,
    "gkmsvm": GkmConfig,
    "deepbind_published": DeepBindPublishedConfig,
}
