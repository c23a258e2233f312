"""The typed sections of a config that decide how a network trains and how a run is evaluated."""

from __future__ import annotations

import dataclasses
from typing import Literal

from dragon_jax.config import check_range
from dragon_jax.errors import nearest
from dragon_jax.metrics import METRICS, QUICK

# What training can watch on valid, and whether it is to grow or to shrink.
MONITORS = {"loss": "min"} | {name: "max" if METRICS[name].higher else "min" for name in QUICK}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimiser: a name of `training.optimizers.OPTIMIZERS`, a schedule, decay, clipping, averaging.

    Attributes:
        learning_rate: peak value of the schedule.
        schedule: `constant`, `cosine` (to `final_scale`), `linear`, `exponential` (to `final_scale`), each after a linear warm-up.
        warmup_fraction: share of all steps that the warm-up takes.
        weight_decay: decoupled, on kernels of the trunk and head only (never on biases or scales).
        l1, l2: penalties `l1 * sum |kernel|` (DeepBind's decay) and `l2 * sum kernel^2` added to the loss.
        l1_activations: penalty `l1_activations * sum |unit|` added to the loss: units of the last hidden layer before its
            dropout, summed per example and strand and averaged over these (DeepSEA).
        max_norm: largest Euclidean norm of each unit's kernel, over all its inputs, restored after every step; 0 = none.
            A moving average (`ema`) is taken over the weights thus held.
        clip_norm: largest global norm of the gradient; 0 = none.
        ema: decay of the moving average of the weights that is evaluated and kept; 0 = none.
    """

    name: Literal["adam", "adamw", "sgd", "rmsprop", "adagrad", "lion", "nadam"] = "adam"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "linear", "exponential"] = "constant"
    warmup_fraction: float = 0.0
    final_scale: float = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    l1_activations: float = 0.0
    max_norm: float = 0.0
    clip_norm: float = 0.0
    ema: float = 0.0

    def __post_init__(self):
        check_range("learning_rate", self.learning_rate, 0, float("inf"), open_low=True, open_high=True)
        for name in ("warmup_fraction", "momentum", "b1", "b2", "ema"):
            check_range(name, getattr(self, name), 0, 1, open_high=True)
        for name in ("weight_decay", "l1", "l2", "l1_activations", "max_norm", "clip_norm", "final_scale"):
            check_range(name, getattr(self, name), 0, float("inf"), open_high=True)
        if self.schedule == "exponential" and self.final_scale == 0:
            raise ValueError("final_scale: expected > 0 for the exponential schedule, found 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Per-task losses: logistic for binary, square (on standardised values) for real, Poisson for count tasks.

    Attributes:
        class_weight: `none`, or `balanced`: n/(2 n+) and n/(2 n-) per binary task, at most `class_weight_cap`.
        label_smoothing: binary targets become `y (1 - s) + s/2`.
        count_weight: for base-resolution networks, factor on the squared error of log(1 + counts) beside the profile loss.
    """

    class_weight: Literal["none", "balanced"] = "none"
    class_weight_cap: float = 50.0
    label_smoothing: float = 0.0
    count_weight: float = 10.0

    def __post_init__(self):
        check_range("class_weight_cap", self.class_weight_cap, 1, float("inf"), open_high=True)
        check_range("label_smoothing", self.label_smoothing, 0, 1, open_high=True)
        check_range("count_weight", self.count_weight, 0, float("inf"), open_high=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightingConfig:
    """How task losses become one scalar: a name of `training.weighting.WEIGHTINGS`.

    Attributes:
        weights: for `static`, weight by task name; tasks that are not named weigh 1.
        weight_heads: also weight the gradient of each head's own parameters (the literal weighted sum).
    """

    name: Literal["equal", "static"] = "equal"
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    weight_heads: bool = False

    def __post_init__(self):
        for task, weight in self.weights.items():
            check_range(f"weights.{task}", weight, 0, float("inf"), open_high=True)
        if self.weights and self.name == "equal":
            raise ValueError("weights: given, but name is 'equal'. Set name='static'")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Changes of each training example, drawn inside the compiled step.

    Attributes:
        reverse_complement: probability of reading an example on the other strand.
        shift: largest shift in bases, either way; bases shifted in are unknown.
        mutate: probability that a base is replaced by a random one.
    """

    reverse_complement: float = 0.0
    shift: int = 0
    mutate: float = 0.0

    def __post_init__(self):
        check_range("reverse_complement", self.reverse_complement, 0, 1)
        check_range("mutate", self.mutate, 0, 1)
        check_range("shift", self.shift, 0, 100_000)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and on what terms a network trains.

    Attributes:
        epochs: passes over the training set; `steps`, when given, overrides it.
        eval_every: steps between evaluations on valid; 0 = once per epoch.
        monitor: metric on valid that chooses the best checkpoint: `loss`, or a mean over tasks such as `auroc`, `auprc`, `pearson`.
        mode: whether `monitor` is to grow (`max`) or shrink (`min`); `auto` knows the project's metrics.
        patience: evaluations without improvement before training stops; 0 = never.
        min_delta: smallest change that counts as improvement.
        balance: share of positives of the first binary task in every batch; 0 = as they come.
        motif_start: share of the filters of the first convolution that start at motifs enriched in train (as far as some are
            found) instead of at random, see `training.motif_start`; 0 = none.
        placement: where examples wait: `memory`, `device`, `stream` (from the ArrayRecord files of a `tfds` source), `auto`.
        compute_dtype: of activations; parameters, losses and optimiser stay float32.
        eval_batch_size: examples per prediction step.
        checkpoint_every: steps between saves besides those at evaluations; 0 = none.
        keep_checkpoints: how many latest checkpoints stay, besides the best.
    """

    batch_size: int = 128
    epochs: float = 20.0
    steps: int | None = None
    eval_every: int = 0
    monitor: str = "loss"
    mode: Literal["auto", "min", "max"] = "auto"
    patience: int = 5
    min_delta: float = 0.0
    balance: float = 0.0
    motif_start: float = 0.0
    placement: Literal["auto", "memory", "device", "stream"] = "auto"
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    eval_batch_size: int = 512
    checkpoint_every: int = 0
    keep_checkpoints: int = 2
    tensorboard: bool = True

    def __post_init__(self):
        for name, low in (("batch_size", 1), ("eval_every", 0), ("patience", 0), ("eval_batch_size", 1)):
            check_range(name, getattr(self, name), low, float("inf"), open_high=True)
        check_range("keep_checkpoints", self.keep_checkpoints, 2, 1000)
        check_range("epochs", self.epochs, 0, float("inf"), open_low=True, open_high=True)
        check_range("balance", self.balance, 0, 1, open_high=True)
        check_range("motif_start", self.motif_start, 0, 1)
        if self.steps is not None:
            check_range("steps", self.steps, 1, float("inf"), open_high=True)
        if self.mode == "auto" and self.monitor not in MONITORS:
            raise ValueError(
                f"monitor: {self.monitor!r} is unknown{nearest(self.monitor, list(MONITORS))}, or set mode to min or max"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What `results.json` holds: threshold rule (chosen on valid) and bootstrap intervals."""

    threshold: Literal["f1", "youden", "fdr"] = "f1"
    fdr: float = 0.1
    bootstrap: int = 200
    level: float = 0.95
    predictions: bool = True

    def __post_init__(self):
        check_range("fdr", self.fdr, 0, 1, open_low=True, open_high=True)
        check_range("level", self.level, 0, 1, open_low=True, open_high=True)
        check_range("bootstrap", self.bootstrap, 0, 1_000_000)
