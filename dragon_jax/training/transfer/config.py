"""The section `transfer` of a config."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal

from dragon_jax.config import check_range
from dragon_jax.errors import show

Action = Literal["copy", "init", "freeze"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuleConfig:
    """What happens to some weights. Running statistics follow the weights of their module.

    Attributes:
        match: regular expression for whole names of weights, such as `trunk/conv_0/kernel`.
        do: `copy` takes them from the reference, `freeze` does so and never trains them, `init` starts them fresh.
        rate: factor on their learning rate; 0 freezes them whatever `do` says.
        task_map: for weights of the head, which task of the reference each task takes its columns from; a task that is
            not named takes those of the same name, and where there are none it starts fresh.
    """

    match: str
    do: Action = "copy"
    rate: float = 1.0
    task_map: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_pattern("match", self.match)
        check_range("rate", self.rate, 0, float("inf"), open_high=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageConfig:
    """A part of training with its own optimiser, schedule and early stopping; it starts from the best weights of the one before.

    Attributes:
        name: stands in `metrics.jsonl`.
        train: regular expressions for whole names of the weights that learn; empty = all that `top` leaves.
        top: how many layers below the head learn besides the head; 0 = `train` alone decides.
        epochs, steps: how long; `steps`, when given, overrides; None = as in the section `train`.
        learning_rate, patience: None = as in the sections `optim` and `train`.
    """

    name: str
    train: str | tuple[str, ...] = ()
    top: int = 0
    epochs: float | None = None
    steps: int | None = None
    learning_rate: float | None = None
    patience: int | None = None

    def __post_init__(self):
        if not self.name:
            raise ValueError("name: expected one, found an empty text")
        for pattern in self.patterns:
            check_pattern("train", pattern)
        check_range("top", self.top, 0, 100_000)
        if self.top and self.patterns:
            raise ValueError(f"top: expected 0 beside train, found {self.top}. Give one of the two")
        for name in ("epochs", "learning_rate"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 0, float("inf"), open_low=True, open_high=True)
        for name, low in (("steps", 1), ("patience", 0)):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), low, float("inf"), open_high=True)

    @property
    def patterns(self) -> tuple[str, ...]:
        """`train` as a tuple."""
        return as_tuple(self.train)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """How a run that starts from another (`init_from`) uses its weights.

    Attributes:
        rules: the first that matches a weight decides; together they must cover all. Empty = copy everything, in the head the
            columns of the tasks that both have.
        discriminative: the learning rate falls by this factor from each layer to the one below it, from the head down (Howard &
            Ruder, ACL 2018, with 1/2.6); 1 = the same everywhere.
        stages: one after the other; empty = one, in which all that is not frozen learns.
        adapter: `lora` adds `A B` of low rank to matrices `[C, D]` (Hu et al., ICLR 2022, arXiv:2106.09685), `locon` also to
            kernels of convolutions `[W, C, D]`: one of width W to `rank` channels, then one of width 1. The weights themselves
            stay as they were, only A and B learn; when training ends they have been added to the weights.
        adapter_match: regular expression for the names of the kernels that get one.
        adapter_train: regular expressions for what learns beside the adapters, as it is.
        rank: r, columns of A and rows of B. alpha: the addition is `alpha / r * A B`.
    """

    rules: tuple[RuleConfig, ...] = ()
    discriminative: float = 1.0
    stages: tuple[StageConfig, ...] = ()
    adapter: Literal["none", "lora", "locon"] = "none"
    adapter_match: str = "(?!head/).*kernel"
    adapter_train: str | tuple[str, ...] = ("head/.*",)
    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self):
        check_range("discriminative", self.discriminative, 0, 1, open_low=True)
        check_range("rank", self.rank, 1, 100_000)
        check_range("alpha", self.alpha, 0, float("inf"), open_low=True, open_high=True)
        check_pattern("adapter_match", self.adapter_match)
        for pattern in as_tuple(self.adapter_train):
            check_pattern("adapter_train", pattern)
        names = [stage.name for stage in self.stages]
        if twice := [n for n in names if names.count(n) > 1]:
            raise ValueError(f"stages: expected names that differ, found '{show(twice[0])}' twice")


def as_tuple(patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Returns one regular expression or several as a tuple."""
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def check_pattern(name: str, pattern: str) -> None:
    """Raises ValueError when `pattern` is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as e:
        raise ValueError(f"{name}: expected a regular expression, found '{show(pattern)}' ({e})") from e
