"""What every network shares: one-hot input, the two strands, a representation, and a linear head for all tasks.

A trunk turns one-hot DNA into a representation; `StrandModel` reads one or both strands with it and puts one linear
head on top. `represent` and `read_out` are separate so that task weighting can see the last tensor common to all tasks.

Besides the sequence a trunk gets `extra[name]`, the inputs that its config says it reads (`required_inputs`,
`optional_inputs`), as the strand that is read sees them: signals `[B, L, C]` and vectors `[B, Q]`, see
`data.input_spec`. Usual names: `signal` for tracks along the bases, `metadata` for numbers about the whole row.
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
from dragon_jax.data.input_spec import InputSpec, default_spec
from dragon_jax.models.layers import glorot_uniform

Strands = Literal["none", "average", "probability", "maximum", "shared"]
ApartStrands = Literal["none", "average", "probability", "maximum"]  # of trunks in which nothing can be exchanged
Inputs = Mapping[str, Array | np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Fields that all networks have.

    Attributes:
        strands: `none` reads the given strand; `average` and `maximum` read both with the same weights and combine the
            logits; `probability` averages the probabilities of the two strands instead (DeepSEA, FactorNet; of all
            tasks, so only for binary ones); `shared` averages logits and lets the strands exchange features at every
            convolution after the first. All but `none` give a sequence and its reverse complement the same logits.
        train_strands: `same` trains on what `strands` says; `one` reads the given strand while training and both
            afterwards, as DeepSEA does (its training set holds both strands: augment.reverse_complement=0.5).
        dropout: share of units of the representation set to zero while training.
        bottleneck: width of a linear layer common to all tasks just before the head, without bias and activation; 0 = none.
            The weights of many tasks then have this rank, and `weighting.space` may be `last`.
        unknown: value of the four one-hot columns at an unknown base.
    """

    name: str = ""
    strands: Strands = "none"
    train_strands: Literal["same", "one"] = "same"
    dropout: float = 0.0
    bottleneck: int = 0
    unknown: float = 0.0

    def __post_init__(self):
        if self.train_strands == "one" and self.strands in ("none", "shared"):
            raise ValueError(
                f"train_strands: 'one' needs strands 'average', 'probability' or 'maximum', found {self.strands!r}"
            )
        check_range("dropout", self.dropout, 0, 1, open_high=True)
        check_range("bottleneck", self.bottleneck, 0, 100_000)
        check_range("unknown", self.unknown, 0, 0.25)

    def trunk(self, dtype: jnp.dtype) -> nn.Module:
        """Returns the module `(one_hot [B, L, 4], extra, train) -> [B, d]`; `extra` holds the inputs it reads, by name."""
        raise TypeError(f"{type(self).__name__} is only the base of the networks")

    def reads(self, train: bool) -> int:
        """Returns how many strands are read: 1 or 2."""
        return 1 if self.strands == "none" or (train and self.train_strands == "one") else 2

    @property
    def required_inputs(self) -> tuple[str, ...]:
        """Names of the extra inputs without which the trunk cannot work; a run whose data lack one fails before training."""
        return ()

    @property
    def optional_inputs(self) -> tuple[str, ...]:
        """Names of the extra inputs that the trunk reads where the data have them. All others never reach it."""
        return ()

    @property
    def read_inputs(self) -> tuple[str, ...]:
        """Names of all extra inputs that the trunk may read."""
        return (*self.required_inputs, *self.optional_inputs)

    @property
    def count_inputs(self) -> tuple[str, ...]:
        """Names of the extra inputs that must be counts, at least 0, as of a logarithm; data with less are refused."""
        return ()

    @property
    def representation_dropout(self) -> float:
        """Dropout just before the head."""
        return self.dropout

    @property
    def first_kernel(self) -> tuple[str, ...]:
        """Where the parameters hold the kernel `[W, 4, D]` of a convolution over one-hot DNA; empty = there is none."""
        return ()

    def start(self, params: Mapping[str, Any], bias: np.ndarray) -> dict[str, Any]:
        """Returns the parameters with the constant logits `[T]` that the head starts from."""
        return {**params, "head": {**params["head"], "bias": jnp.asarray(bias)}}

    def receptive_field(self, length: int) -> int:
        """Returns how many bases one unit sees just before positions are pooled or flattened for good."""
        return length

    def check_length(self, length: int) -> None:
        """Raises ValueError when sequences of this many bases cannot pass through the layers."""


class StrandModel(nn.Module):
    """A network from a config: `apply(variables, {"codes": uint8 [B, L], ...}, train=...)` gives logits float32 `[B, T]`.

    Attributes:
        specs: what the extra inputs are, by name; one that is not named here is what its axes say.
    """

    config: ModelConfig
    num_tasks: int
    dtype: jnp.dtype = jnp.float32
    specs: Mapping[str, InputSpec] = dataclasses.field(default_factory=dict)

    def setup(self):
        self.trunk = self.config.trunk(self.dtype)
        self.drop = nn.Dropout(self.config.representation_dropout)
        if self.config.bottleneck:
            self.bottleneck = nn.Dense(
                self.config.bottleneck, use_bias=False, kernel_init=glorot_uniform, dtype=jnp.float32
            )
        self.head = nn.Dense(self.num_tasks, kernel_init=glorot_uniform, dtype=jnp.float32)

    def features(self, inputs: Inputs, *, train: bool) -> Float[Array, "SB d"]:
        """Returns what the trunk makes of the inputs, strands stacked as [forward; reverse] along the first axis."""
        codes = inputs["codes"]
        extra = {k: inputs[k] for k in self.config.read_inputs if k in inputs}
        if self.config.reads(train) == 2:
            codes = jnp.concatenate([codes, dna.reverse_complement(codes)])
            extra = {k: jnp.concatenate([v, other_strand(v, self.specs.get(k))]) for k, v in extra.items()}
        x = dna.one_hot(codes, self.dtype.name, self.config.unknown)
        hidden = self.trunk(x, extra, train=train)
        self.sow("intermediates", "hidden", hidden)  # kept only where asked for (optim.l1_activations)
        return self.drop(hidden, deterministic=not train)

    def project(self, features: Float[Array, "SB d"]) -> Float[Array, "SB k"]:
        """Returns the features after the linear layer common to all tasks, or as they are where there is none."""
        return self.bottleneck(features.astype(jnp.float32)) if self.config.bottleneck else features

    def represent(self, inputs: Inputs, *, train: bool) -> Float[Array, "SB k"]:
        """Returns the last tensor common to all tasks, strands stacked as [forward; reverse] along the first axis."""
        return self.project(self.features(inputs, train=train))

    def read_strands(self, representation: Float[Array, "SB k"]) -> Float[Array, "SB T"]:
        """Returns the logits of each strand that was read."""
        return self.head(representation.astype(jnp.float32))

    def combine(self, logits: Float[Array, "SB T"], *, train: bool) -> Float[Array, "B T"]:
        """Returns the logits of the strands as one."""
        if self.config.reads(train) == 1:
            return logits
        forward, reverse = jnp.split(logits, 2)
        if self.config.strands == "maximum":
            return jnp.maximum(forward, reverse)
        if self.config.strands == "probability":
            return logit_of_mean_probability(forward, reverse)
        return (forward + reverse) / 2

    def read_out(self, representation: Float[Array, "SB k"], *, train: bool) -> Float[Array, "B T"]:
        """Returns the logits, the strands combined."""
        return self.combine(self.read_strands(representation), train=train)

    def __call__(self, inputs: Inputs, *, train: bool) -> Float[Array, "B T"]:
        return self.read_out(self.represent(inputs, train=train), train=train)


def logit_of_mean_probability(a: Float[Array, "*N"], b: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """Returns the logit of `(sigmoid(a) + sigmoid(b)) / 2`, without leaving log space: finite for any finite logits."""
    yes = jnp.logaddexp(nn.log_sigmoid(a), nn.log_sigmoid(b))
    no = jnp.logaddexp(nn.log_sigmoid(-a), nn.log_sigmoid(-b))
    return yes - no


def logits_of(outputs: Any) -> Array:
    """Returns the logits `[B, T]` among the outputs of a network, which are these alone or a dictionary of heads."""
    return outputs["logits"] if isinstance(outputs, Mapping) else outputs


def other_strand(values: Array | np.ndarray, spec: InputSpec | None = None) -> Array | np.ndarray:
    """Returns an extra input `[B, ...]` as the other strand sees it: a signal reversed along its bases, its paired tracks
    in each other's place; a vector as it is."""
    spec = spec or default_spec(values)
    if spec.kind == "vector":
        return values
    turned = values[:, ::-1]
    return turned[..., np.array(spec.partners)] if spec.partners else turned
