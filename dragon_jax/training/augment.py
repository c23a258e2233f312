"""Augmentation of a batch inside the compiled step: other strand, shifts, random mutations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt8

from dragon_jax import dna
from dragon_jax.data.dataset import PROFILE
from dragon_jax.models.base import flip
from dragon_jax.sections import AugmentConfig


def shift_rows(values: Array, by: Int[Array, " B"], largest: int, fill: float | int) -> Array:
    """Moves every row of `[B, L, ...]` right by its own `by` (negative: left), filling what comes in with `fill`.

    Example: ACGT moved by 1 with fill N becomes NACG.
    """
    length = values.shape[1]
    pads = ((0, 0), (largest, largest)) + ((0, 0),) * (values.ndim - 2)
    padded = jnp.pad(values, pads, constant_values=fill)
    index = jnp.arange(length)[None] + largest - by[:, None]
    return jnp.take_along_axis(padded, index.reshape(index.shape + (1,) * (values.ndim - 2)), axis=1)


def mutate(codes: UInt8[Array, "B L"], rate: float, key: Array) -> UInt8[Array, "B L"]:
    """Replaces each known base with probability `rate` by one of the three others, drawn evenly."""
    where, by = jax.random.split(key)
    hit = (jax.random.uniform(where, codes.shape) < rate) & (codes < 4)
    step = jax.random.randint(by, codes.shape, 1, 4).astype(jnp.uint8)
    return jnp.where(hit, (codes + step) % 4, codes)


def augment(inputs: dict[str, Array], config: AugmentConfig, key: Array) -> dict[str, Array]:
    """Returns the inputs of a batch (codes `[B, L]` and extra inputs `[B, ...]`), changed as the config says.

    Extra inputs whose second axis is as long as the sequence follow it: reversed with the strand, shifted with zeros. So do
    base-resolution targets `profile:TASK`, whose strands change places, and into which NaN is shifted.
    """
    codes = inputs["codes"]
    length = codes.shape[1]
    along = {k for k, v in inputs.items() if v.ndim >= 2 and (v.shape[1] == length or k.startswith(PROFILE))}
    strand_key, shift_key, mutate_key = jax.random.split(key, 3)
    out = dict(inputs)
    if config.reverse_complement:
        turn = jax.random.bernoulli(strand_key, config.reverse_complement, (codes.shape[0],))
        for name, value in out.items():
            if name.startswith(PROFILE):
                other = value[:, ::-1, ::-1]  # strands change places too
            else:
                other = dna.reverse_complement(value) if name == "codes" else flip(value, length)
            out[name] = jnp.where(turn.reshape((-1,) + (1,) * (value.ndim - 1)), other, value)
    if config.shift:
        by = jax.random.randint(shift_key, (codes.shape[0],), -config.shift, config.shift + 1)
        for name in along:
            fill = dna.UNKNOWN if name == "codes" else float("nan") if name.startswith(PROFILE) else 0
            out[name] = shift_rows(out[name], by, config.shift, fill)
    if config.mutate:
        out["codes"] = mutate(out["codes"], config.mutate, mutate_key)
    return out
