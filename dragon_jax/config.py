"""The typed view of a config: a `ConfigDict` on the command line, frozen dataclasses inside the package.

`build` turns a plain dictionary into a dataclass and refuses what does not fit, every complaint with the dotted name of
its field. Defaults live in the dataclasses and nowhere else; `defaults` turns them into a `ConfigDict` for a config file.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from dragon_jax.errors import InputError, nearest, show
from dragon_jax.metrics import METRICS, QUICK

T = typing.TypeVar("T")
# What training can watch on valid, and whether it is to grow or to shrink.
MONITORS = {"loss": "min"} | {name: "max" if METRICS[name].higher else "min" for name in QUICK}
_complaints: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("complaints", default=None)


@contextlib.contextmanager
def together(title: str) -> Iterator[None]:
    """Collects the complaints of every `build` inside and raises them as one `InputError` at the end."""
    found: list[str] = []
    token = _complaints.set(found)
    try:
        yield
    except InputError as e:
        if str(e) not in found:
            found.append(str(e))
    finally:
        _complaints.reset(token)
    if found:
        raise InputError(
            "; ".join(found) if len(found) == 1 else f"{title}: {len(found)} problems: " + "; ".join(found)
        )


def build(cls: type[T], raw: Mapping[str, Any], where: str = "") -> T:
    """Makes dataclass `cls` from a dictionary, nested dataclasses included.

    Args:
        cls: a dataclass whose fields all have defaults or appear in `raw`.
        raw: plain values; lists become tuples and whole numbers become floats where the field says so.
        where: dotted name of this part of the config, for messages.

    Raises:
        InputError: unknown, missing or mistyped fields, or a value that the class itself refuses; all at once.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    wrong: list[str] = []
    values: dict[str, Any] = {}
    for name in raw:
        if name not in fields:
            wrong.append(f"{prefix}{name}: no such field{nearest(prefix + name, [prefix + f for f in fields])}")
    for name, field in fields.items():
        if name not in raw:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                wrong.append(f"{prefix}{name}: missing")
            continue
        try:
            values[name] = _fit(raw[name], hints[name], prefix + name)
        except InputError as e:
            wrong.append(str(e))
    if not wrong:
        try:
            return cls(**values)
        except ValueError as e:
            wrong.append(prefix + str(e) if where and not str(e).startswith(prefix) else str(e))
    found = _complaints.get()
    if found is not None:
        found.extend(w for w in wrong if w not in found)
    raise InputError("; ".join(wrong))


def _fit(value: Any, hint: Any, where: str) -> Any:
    """Returns `value` as the type `hint` asks for, or raises with the field's name."""
    from beartype.door import is_bearable

    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, where)
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    origins = {typing.get_origin(o) or o for o in options}
    # beartype looks at one random item of a container only, so items are fitted one by one
    if isinstance(value, (list, tuple)) and tuple in origins:
        inner = next((typing.get_args(o) for o in options if typing.get_origin(o) is tuple), ())
        if len(inner) == 2 and inner[1] is Ellipsis:
            inner = (inner[0],) * len(value)
        if len(inner) == len(value):
            value = tuple(_fit(v, h, f"{where}[{k}]") for k, (v, h) in enumerate(zip(value, inner, strict=True)))
    if isinstance(value, Mapping) and dict in origins:
        inner = next((typing.get_args(o) for o in options if typing.get_origin(o) is dict), (Any, Any))
        value = {k: _fit(v, inner[1], f"{where}.{k}") for k, v in value.items()}
    if type(value) is int and float in origins and int not in origins:
        value = float(value)
    if isinstance(value, bool) and bool not in origins and Any not in origins:
        raise InputError(f"{where}: expected {_spell(hint)}, found {value}")
    if not is_bearable(value, hint):
        raise InputError(f"{where}: expected {_spell(hint)}, found {show(repr(value))}")
    return value


def _spell(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(a) for a in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def defaults(cls: type, **changes: Any):
    """Returns the default values of dataclass `cls` as a `ConfigDict` (optional fields as typed placeholders)."""
    from ml_collections import ConfigDict, config_dict

    hints, result = typing.get_type_hints(cls), ConfigDict()
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        hint = hints[field.name]
        if field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        elif typing.get_origin(hint) is dict:
            value = {}  # for the user to fill; an empty one is refused by the class itself
        else:
            value = None
        if dataclasses.is_dataclass(value):
            value = defaults(type(value))
        elif isinstance(value, dict):
            value = ConfigDict(value)
        if value is None:
            kinds = [a for a in typing.get_args(hint) if a is not type(None)] or [hint]
            base = typing.get_origin(kinds[0]) or kinds[0]
            value = config_dict.placeholder(str if base is Literal else base)
        result[field.name] = value
    for name, value in changes.items():
        result[name] = value
    return result


def plain(config: Any) -> dict[str, Any]:
    """Returns a config as plain dictionaries, tuples as lists: what `config.json` holds."""
    raw = config.to_dict() if hasattr(config, "to_dict") else config

    def simple(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(k): simple(v) for k, v in value.items()}
        if isinstance(value, (tuple, list)):
            return [simple(v) for v in value]
        return value

    return simple(raw)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns `{dotted.path: value}` of the leaves of nested dictionaries."""
    result: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            result |= flatten(value, path + ".")
        else:
            result[path] = value
    return result


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns `path old -> new` for every leaf that differs between two plain configs."""
    a, b = flatten(old), flatten(new)
    missing = "(absent)"
    return [
        f"{k} {show(a.get(k, missing), 30)} -> {show(b.get(k, missing), 30)}"
        for k in sorted(a | b)
        if a.get(k, missing) != b.get(k, missing)
    ]


def digest(config: Mapping[str, Any]) -> str:
    """Returns a hex digest of a plain config that does not depend on the order of its fields."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def check_range(name: str, value: float | int, low: float | int, high: float | int, *, open_low: bool = False, open_high: bool = False):
    """Raises `name: expected low <= value < high, found ...` when the value lies outside."""
    inside = (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
    if not inside:
        text = f"{low} {'<' if open_low else '<='} x {'<' if open_high else '<='} {high}"
        raise ValueError(f"{name}: expected {text}, found {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimiser: a name of `training.optimizers.OPTIMIZERS`, a schedule, decay, clipping, averaging.

    Attributes:
        learning_rate: peak value of the schedule.
        schedule: `constant`, `cosine` (to `final_scale`), `linear`, `exponential` (to `final_scale`), each after a linear warm-up.
        warmup_fraction: share of all steps that the warm-up takes.
        weight_decay: decoupled, on kernels of the trunk and head only (never on biases or scales).
        l1: penalty `l1 * sum |kernel|` added to the loss (DeepBind's decay).
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
    clip_norm: float = 0.0
    ema: float = 0.0

    def __post_init__(self):
        check_range("learning_rate", self.learning_rate, 0, float("inf"), open_low=True, open_high=True)
        for name in ("warmup_fraction", "momentum", "b1", "b2", "ema"):
            check_range(name, getattr(self, name), 0, 1, open_high=True)
        for name in ("weight_decay", "l1", "clip_norm", "final_scale"):
            check_range(name, getattr(self, name), 0, float("inf"), open_high=True)
        if self.schedule == "exponential" and self.final_scale == 0:
            raise ValueError("final_scale: expected > 0 for the exponential schedule, found 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Per-task losses: logistic for binary, square (on standardised values) for real, Poisson for count tasks.

    Attributes:
        class_weight: `none`, or `balanced`: n/(2 n+) and n/(2 n-) per binary task, at most `class_weight_cap`.
        label_smoothing: binary targets become `y (1 - s) + s/2`.
    """

    class_weight: Literal["none", "balanced"] = "none"
    class_weight_cap: float = 50.0
    label_smoothing: float = 0.0

    def __post_init__(self):
        check_range("class_weight_cap", self.class_weight_cap, 1, float("inf"), open_high=True)
        check_range("label_smoothing", self.label_smoothing, 0, 1, open_high=True)


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
