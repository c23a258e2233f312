"""Augmentation of a batch inside the compiled step: other strand, shifts, random mutations."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt8

from dragon_jax import dna
from dragon_jax.data.dataset import PROFILE
from dragon_jax.data.input_spec import InputSpec, default_spec
from dragon_jax.models.base import other_strand
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


def augment(
    inputs: dict[str, Array], config: AugmentConfig, key: Array, specs: Mapping[str, InputSpec] | None = None
) -> dict[str, Array]:
    """Returns the inputs of a batch (codes `[B, L]` and extra inputs `[B, ...]`), changed as the config says.

    Signals follow the bases: they are turned with the strand, their paired tracks changing places, and shifted with
    zeros coming in. Vectors stay as they are. Base-resolution targets `profile:TASK` follow the bases too: their strands
    change places, and NaN comes in, because what lies outside was not measured.

    Args:
        specs: what the extra inputs are, by name; see `data.input_spec`.
    """
    codes = inputs["codes"]
    known = {name: (specs or {}).get(name) or default_spec(v) for name, v in inputs.items() if name != "codes"}
    strand_key, shift_key, mutate_key = jax.random.split(key, 3)
    out = dict(inputs)
    if config.reverse_complement:
        turn = jax.random.bernoulli(strand_key, config.reverse_complement, (codes.shape[0],))
        for name, value in out.items():
            if name.startswith(PROFILE):
                other = value[:, ::-1, ::-1]
            else:
                other = dna.reverse_complement(value) if name == "codes" else other_strand(value, known[name])
            out[name] = jnp.where(turn.reshape((-1,) + (1,) * (value.ndim - 1)), other, value)
    if config.shift:
        by = jax.random.randint(shift_key, (codes.shape[0],), -config.shift, config.shift + 1)
        out["codes"] = shift_rows(out["codes"], by, config.shift, dna.UNKNOWN)
        for name, spec in known.items():
            if spec.kind == "signal":
                outside = float("nan") if name.startswith(PROFILE) else 0
                out[name] = shift_rows(out[name], by, config.shift, outside)
    if config.mutate:
        out["codes"] = mutate(out["codes"], config.mutate, mutate_key)
    return out
