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
        class_weight: weights of positives and negatives of each binary task, at most `class_weight_cap` each: `balanced`,
            n/(2 n+) and n/(2 n-); `sqrt`, their square roots; `effective`, (1 - beta)/(1 - beta^n) of either class, scaled to
            weigh 1 on average over examples (Cui et al., CVPR 2019, arXiv:1901.05555); or `none`. Probabilities are corrected.
        effective_beta: beta of `effective`: 0 is no weight, nearly 1 is inverse frequency.
        focal_gamma: focal loss of binary tasks, `(1 - p_y)^gamma` times the logistic loss, p_y the probability given to the
            label (Lin et al., ICCV 2017, arXiv:1708.02002); 0 = none. Probabilities are then not calibrated.
        label_smoothing: binary targets become `y (1 - s) + s/2`.
        count_weight: for base-resolution networks, factor on the squared error of log(1 + counts) beside the profile loss.
    """

    class_weight: Literal["none", "balanced", "sqrt", "effective"] = "none"
    class_weight_cap: float = 50.0
    effective_beta: float = 0.999
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0
    count_weight: float = 10.0

    def __post_init__(self):
        check_range("class_weight_cap", self.class_weight_cap, 1, float("inf"), open_high=True)
        check_range("label_smoothing", self.label_smoothing, 0, 1, open_high=True)
        check_range("effective_beta", self.effective_beta, 0, 1, open_high=True)
        if self.focal_gamma != 0:  # below 1 the gradient has no bound
            check_range("focal_gamma", self.focal_gamma, 1, 10)
        check_range("count_weight", self.count_weight, 0, float("inf"), open_high=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightingConfig:
    """How task losses become one scalar. Fields that a method does not read have no effect on it.

    Attributes:
        name: a name of `training.weighting.WEIGHTINGS`, which says what each does.
        weights: for `static`, weight by task name; tasks that are not named weigh 1.
        weight_heads: also weight the gradient of each head's own parameters (the literal weighted sum).
        temperature: `label_count`: weights are (number of labels)^(1/temperature); `dwa`: softness of its shares.
        learning_rate: of what a method learns itself: `uncertainty`, `imtl_l`, `famo`, `gradnorm`.
        decay: `famo`: pull of its logits to 0 (gamma).
        mu: `stch`: softness of the maximum. warmup_epochs: `stch`: epochs that set the nadir.
        eta: `excess`: rate of its multiplicative update.
        lower_bounds: least loss that can be reached, by task name, of methods that take its logarithm or excess.
        space: gradient methods: inner products are of gradients by the representation (`representation`, exact and
            cheap), by the last linear layer common to all tasks (`last`, needs model.bottleneck), by all parameters of the
            trunk along `probes` random directions (`sketch`), or exactly (`full`, at most 16 tasks).
        probes: `sketch`: forward-mode passes a step.
        update_every: gradient methods: steps between two solutions; weights stay in between.
        alpha: `gradnorm`: pull to equal training rates (None: 1.5); `fairgrad`: fairness (None: 2).
        conflict_radius: `cagrad`: how far from the mean gradient, in units of its norm.
        normalise: `mgda`: what the gradient of a task is divided by before: its norm, its loss, both or nothing.
        smoothing: moving average over steps of the weights (0 = none). loss_smoothing: of the losses a method sees.
        diagnose: training batches whose gradients are compared at each evaluation (conflict, affinity of tasks); 0 = none.
    """

    name: Literal[
        "equal",
        "static",
        "label_count",
        "null",
        "random",
        "scale_invariant",
        "gls",
        "uncertainty",
        "imtl_l",
        "dwa",
        "stch",
        "excess",
        "famo",
        "gradnorm",
        "mgda",
        "pcgrad",
        "gradvac",
        "cagrad",
        "imtl_g",
        "nash",
        "fairgrad",
        "aligned",
        "upgrad",
        "dbmtl",
        "config",
    ] = "equal"
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    weight_heads: bool = False
    temperature: float = 2.0
    learning_rate: float = 0.025
    decay: float = 1e-3
    mu: float = 0.1
    warmup_epochs: float = 1.0
    eta: float = 0.01
    lower_bounds: dict[str, float] = dataclasses.field(default_factory=dict)
    space: Literal["representation", "last", "sketch", "full"] = "representation"
    probes: int = 8
    update_every: int = 1
    alpha: float | None = None
    conflict_radius: float = 0.4
    normalise: Literal["none", "l2", "loss", "both"] = "l2"
    smoothing: float = 0.0
    loss_smoothing: float = 0.0
    diagnose: int = 0

    def __post_init__(self):
        for task, weight in self.weights.items():
            check_range(f"weights.{task}", weight, 0, float("inf"), open_high=True)
        if self.weights and self.name != "static":
            raise ValueError(f"weights: given, but name is {self.name!r}. Set name='static'")
        for name in ("learning_rate", "mu", "eta", "temperature"):
            check_range(name, getattr(self, name), 0, float("inf"), open_low=True, open_high=True)
        for name in ("decay", "warmup_epochs", "alpha"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 0, float("inf"), open_high=True)
        for name in ("smoothing", "loss_smoothing", "conflict_radius"):
            check_range(name, getattr(self, name), 0, 1, open_high=True)
        for name, low in (("probes", 1), ("update_every", 1), ("diagnose", 0)):
            check_range(name, getattr(self, name), low, 1_000_000)


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
