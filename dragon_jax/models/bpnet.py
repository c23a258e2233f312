"""`bpnet`: a dilated tower under two base-resolution heads: where reads fall, and how many.

BPNet (Avsec et al., Nat. Genet. 53, 354-366, 2021) predicts the profile of reads over a window as a distribution over its
bases, and beside it the logarithm of their number. A control track (input DNA, naked-DNA cuts) may enter both heads, so that
the tower need not learn what the control explains. Two ways to build the heads:

* `original`: a deconvolution of stride 1, which is a convolution, gives each task its profile on each strand; the mean over
  the whole sequence and a dense layer give log(1 + counts) of each strand. Control: its tracks and their sum over 50 bases
  are weighted and added to the profile of both strands, log(1 + control counts) to the log counts; no bias.
* `lite`, as in bpnet-lite: the profile convolution reads the control beside the channels; the mean over the output window
  and what its convolution reaches beyond it, with log(1 + control counts), gives log(1 + counts) of all strands together.

Parameters as published: 130,960 for four tasks on two strands with `original`, `stem_width` 25, nine layers and
`profile_width` 25, and 5 more per task with two control tracks; 114,224 and 109,122 with the settings of bpnet-lite.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from dragon_jax import dna
from dragon_jax.config import check_range
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.models.base import Inputs, other_strand
from dragon_jax.models.dilated import DilatedTowerConfig, Tower
from dragon_jax.models.layers import Conv, glorot_uniform

Outputs = Mapping[str, Array]
LARGEST_LOG = 30.0  # log counts beyond this mean nothing, and their exponential must stay finite


@dataclasses.dataclass(frozen=True, kw_only=True)
class BPNetConfig(DilatedTowerConfig):
    """A dilated tower under profile and count heads; tasks are those of `data.source.counts`.

    Attributes:
        output_length: central bases whose counts are predicted, the `counts_length` of the source; 0 = all of the sequence.
        tracks: 1 for counts without strand, 2 for forward and reverse.
        heads: `original` or `lite`, see the module.
        profile_width: taps of the profile convolution, odd.
        profile_softmax: `strand` makes one distribution of each strand, `both` one of all strands together.
        control: name of an extra input `[L, C]` with counts of a control experiment; empty = none. Tracks of two strands
            change places with the strand where their names say so, see `data.input_spec`.
        control_window: bases over which `original` sums the control (odd = exact symmetry of the strands).
    """

    name: str = "bpnet"
    strands: Literal["none", "average"] = "none"
    output_length: int = 0
    tracks: Literal[1, 2] = 1
    heads: Literal["original", "lite"] = "lite"
    profile_width: int = 75
    profile_softmax: Literal["strand", "both"] = "both"
    control: str = ""
    control_window: int = 50

    def __post_init__(self):
        super().__post_init__()
        check_range("output_length", self.output_length, 0, 100_000_000)
        check_range("profile_width", self.profile_width, 1, 10_001)
        check_range("control_window", self.control_window, 1, 10_000)
        if self.profile_width % 2 == 0:
            raise ValueError(f"profile_width: expected an odd number, found {self.profile_width}")
        if self.heads == "lite" and self.tracks == 2 and self.profile_softmax == "strand":
            raise ValueError(
                "profile_softmax: 'strand' needs the counts of each strand, which heads='lite' does not predict. Use 'both' or "
                "heads='original'"
            )

    @property
    def required_inputs(self) -> tuple[str, ...]:
        return (self.control,) if self.control else ()

    @property
    def count_inputs(self) -> tuple[str, ...]:
        return self.required_inputs

    @property
    def first_kernel(self) -> tuple[str, ...]:
        return ("trunk", "stem", "kernel")

    @property
    def count_tracks(self) -> int:
        """Numbers that the count head gives for each task: one per strand, or one for all."""
        return self.tracks if self.heads == "original" else 1

    def window(self, length: int) -> int:
        """Returns the number of bases that are predicted of a sequence of `length`."""
        return self.output_length or length

    def receptive_field(self, length: int) -> int:
        """Bases that one position of the profile sees."""
        return min(length, self.reach + self.stem_width - 1 + self.profile_width - 1)

    def check_length(self, length: int) -> None:
        if self.output_length > length or (length - self.window(length)) % 2:
            raise ValueError(
                f"output_length: expected at most the {length} bases of a sequence, and as many left on either side, found "
                f"{self.output_length}"
            )

    def start(self, params: Mapping[str, Any], bias: np.ndarray) -> dict[str, Any]:
        """Returns parameters whose count head starts at log(1 + counts) of `bias` `[T]`, shared evenly among strands."""
        each = np.log1p(np.expm1(np.asarray(bias, np.float64)) / self.count_tracks)
        counts = {
            **params["head"]["counts"],
            "bias": jnp.asarray(np.repeat(each, self.count_tracks), jnp.float32),
        }
        return {**params, "head": {**params["head"], "counts": counts}}


class ProfileModel(nn.Module):
    """The network of a `BPNetConfig`, with the face of `StrandModel` but for its outputs.

    `apply(variables, {"codes": uint8 [B, L], ...}, train=...)` gives a dictionary: `logits` `[B, T]`, log(1 + counts) of all
    strands; `log_counts` `[B, T, K]`, the same of each strand, or `logits` again (K = 1); `profile` `[B, T, W, S]`, logits
    over the W bases of the output window. All float32. `specs` says what the extra inputs are, as in `StrandModel`.
    """

    config: BPNetConfig
    num_tasks: int
    dtype: jnp.dtype = jnp.float32
    specs: Mapping[str, InputSpec] = dataclasses.field(default_factory=dict)

    def setup(self):
        self.trunk = Tower(self.config, self.dtype)
        self.drop = nn.Dropout(self.config.representation_dropout)
        self.head = ProfileHeads(self.config, self.num_tasks, self.dtype)

    def represent(self, inputs: Inputs, *, train: bool) -> dict[str, Array]:
        """Returns what the heads read: `features` `[SB, L, C]`, strands stacked along the first axis, and the control."""
        codes, c = inputs["codes"], self.config
        both = c.reads(train) == 2
        if both:
            codes = jnp.concatenate([codes, dna.reverse_complement(codes)])
        x = dna.one_hot(codes, self.dtype.name, c.unknown)
        features = self.trunk(x, train=train)
        self.sow("intermediates", "hidden", features)  # kept only where asked for (optim.l1_activations)
        result = {"features": self.drop(features, deterministic=not train)}
        if c.control:
            control = jnp.asarray(inputs[c.control], jnp.float32)
            other = other_strand(control, self.specs.get(c.control))
            result["control"] = jnp.concatenate([control, other]) if both else control
        return result

    def read_out(self, representation: Mapping[str, Array], *, train: bool) -> dict[str, Array]:
        """Returns the outputs, the strands combined: the reverse one's turned round, then the mean of both."""
        log_counts, profile = self.head(representation["features"], representation.get("control"))
        if self.config.reads(train) == 2:
            (counts, other_counts), (own, other) = jnp.split(log_counts, 2), jnp.split(profile, 2)
            log_counts = (counts + other_counts[..., ::-1]) / 2
            profile = (own + other[:, :, ::-1, ::-1]) / 2
        return {"logits": log_of_all(log_counts), "log_counts": log_counts, "profile": profile}

    def __call__(self, inputs: Inputs, *, train: bool) -> dict[str, Array]:
        return self.read_out(self.represent(inputs, train=train), train=train)


def log_of_all(log_counts: Float[Array, "B T K"]) -> Float[Array, "B T"]:
    """Returns log(1 + total) from log(1 + counts) of each strand; a strand below 0 counts as none."""
    if log_counts.shape[-1] == 1:
        return log_counts[..., 0]
    return jnp.log1p(jnp.expm1(jnp.clip(log_counts, 0.0, LARGEST_LOG)).sum(-1))


class ProfileHeads(nn.Module):
    config: BPNetConfig
    num_tasks: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, x: Float[Array, "B L C"], control: Float[Array, "B L E"] | None
    ) -> tuple[Float[Array, "B T K"], Float[Array, "B T W S"]]:
        """Returns log(1 + counts), of each strand or of all, and the logits of the profile."""
        c, tasks = self.config, self.num_tasks
        lite = c.heads == "lite"
        width = c.window(x.shape[1])
        half = c.profile_width // 2
        start, stop = (x.shape[1] - width) // 2, (x.shape[1] + width) // 2
        reached = _cut(x, start - half, stop + half)
        if lite and control is not None:
            reached = jnp.concatenate([reached, _cut(control, start - half, stop + half).astype(x.dtype)], -1)
        profile = Conv(tasks * c.tracks, c.profile_width, dtype=self.dtype, name="profile")(reached)
        profile = profile.astype(jnp.float32).reshape(-1, width, tasks, c.tracks).swapaxes(1, 2)
        inner = slice(max(0, start - half), stop + half) if lite else slice(None)
        pooled = x[:, inner].astype(jnp.float32).mean(1)
        if lite and control is not None:
            pooled = jnp.concatenate([pooled, jnp.log1p(control[:, inner].sum((1, 2)))[:, None]], -1)
        dense = nn.Dense(tasks * c.count_tracks, kernel_init=glorot_uniform, dtype=jnp.float32, name="counts")
        log_counts = dense(pooled).reshape(-1, tasks, c.count_tracks)
        if not lite and control is not None:
            added, counts = self._control(control, start, stop)
            profile, log_counts = profile + added[..., None], log_counts + counts[..., None]
        return log_counts, profile

    def _control(
        self, control: Float[Array, "B L E"], start: int, stop: int
    ) -> tuple[Float[Array, "B T W"], Float[Array, "B T"]]:
        """What the original heads add to the profile logits and the log counts of both strands."""
        window = self.config.control_window
        before = (window - 1) // 2
        total = jnp.pad(control.sum(-1), ((0, 0), (before, window - 1 - before)))
        summed = jnp.pad(jnp.cumsum(total, 1), ((0, 0), (1, 0)))
        smooth = summed[:, window:] - summed[:, :-window]
        tracks = jnp.concatenate([control, smooth[..., None]], -1)[:, start:stop]
        no_bias = {"use_bias": False, "kernel_init": glorot_uniform, "dtype": jnp.float32}
        added = nn.Dense(self.num_tasks, name="profile_control", **no_bias)(tracks).swapaxes(1, 2)
        counts = jnp.log1p(control[:, start:stop].sum(1))
        return added, nn.Dense(self.num_tasks, name="counts_control", **no_bias)(counts)


def _cut(x: Float[Array, "B L C"], start: int, stop: int) -> Float[Array, "B M C"]:
    """Positions `[start, stop)`, zero where they lie beyond the ends."""
    before, behind = max(0, -start), max(0, stop - x.shape[1])
    return jnp.pad(x[:, max(0, start) : stop], ((0, 0), (before, behind), (0, 0)))
