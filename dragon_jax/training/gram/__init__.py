"""Gradients of many tasks seen through their inner products: how to get the Gram matrix, and what to solve with it."""

from dragon_jax.training.gram.closed import aligned_mtl, config, dbmtl, gradnorm, imtl_g
from dragon_jax.training.gram.equilibrium import fairgrad, nash
from dragon_jax.training.gram.geometry import (
    conflict,
    cosines,
    full_gram,
    last_layer_gram,
    representation_gram,
    sketch_gram,
)
from dragon_jax.training.gram.projection import gradvac, pcgrad, upgrad
from dragon_jax.training.gram.simplex import cagrad, mgda

__all__ = [
    "aligned_mtl",
    "cagrad",
    "config",
    "conflict",
    "cosines",
    "dbmtl",
    "fairgrad",
    "full_gram",
    "gradnorm",
    "gradvac",
    "imtl_g",
    "last_layer_gram",
    "mgda",
    "nash",
    "pcgrad",
    "representation_gram",
    "sketch_gram",
    "upgrad",
]
