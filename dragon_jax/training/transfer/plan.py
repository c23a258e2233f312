"""The plan of a transfer: for every weight of the new network where it comes from, how fast and in which stages it learns.

A plan follows from the config and the new network alone, so that a run that goes on needs its reference no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dragon_jax.errors import InputError, listing, show
from dragon_jax.training.transfer.adapters import adaptable
from dragon_jax.training.transfer.config import Action, RuleConfig, StageConfig, TransferConfig, as_tuple
from dragon_jax.training.transfer.names import layers, matches, module_of, near

DEFAULT_RULES = (RuleConfig(match=".*"),)


@dataclasses.dataclass(frozen=True)
class Weight:
    """What a plan says of one weight.

    Attributes:
        name, shape: of the new network. action: see `RuleConfig`.
        task_map: which task of the reference each named task takes its columns from.
        rate: factor on the learning rate; 0 = never learns.
        adapted: whether it learns through a low-rank addition, itself frozen.
        statistics: name of the collection, where it is a running statistic and no parameter; empty for parameters.
    """

    name: str
    shape: tuple[int, ...]
    action: Action
    task_map: Mapping[str, str]
    rate: float
    adapted: bool = False
    statistics: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The whole plan.

    Attributes:
        weights: parameters and running statistics by name (names of collections do not overlap in our networks).
        stages: at least one; a config without stages gets one that is called `all`.
        learning: for each stage the names of the parameters that learn in it, themselves or through their adapter.
        config: what it was made from.
    """

    weights: dict[str, Weight]
    stages: tuple[StageConfig, ...]
    learning: tuple[frozenset[str], ...]
    config: TransferConfig

    @property
    def adapted(self) -> tuple[str, ...]:
        """Names of the kernels that get a low-rank addition."""
        return tuple(w.name for w in self.weights.values() if w.adapted)

    def still(self, stage: int) -> frozenset[str]:
        """Modules with running statistics none of whose own parameters changes in a stage: they use what they have stored."""
        parameters = [w for w in self.weights.values() if not w.statistics]
        moving = {module_of(w.name) for w in parameters if w.name in self.learning[stage]}
        return frozenset(module_of(w.name) for w in self.weights.values() if w.statistics) - moving


def make_plan(shapes: Mapping[str, Mapping[str, Any]], order: Sequence[str], config: TransferConfig) -> Plan:
    """Settles what happens to every weight.

    Args:
        shapes: `{collection: {name: array or shape}}` of the new network. order: its modules, both from `names.follow`.

    Raises:
        InputError: a weight without a rule; a rule, adapter or stage that matches nothing; a stage in which nothing learns.
    """
    params = shapes["params"]
    names, rules = sorted(params), config.rules or DEFAULT_RULES
    chosen = _choose(names, rules)
    falls = {name: config.discriminative**i for i, layer in enumerate(layers(params, order)) for name in layer}
    adapted = _adapted(params, chosen, rules, config)
    weights = {}
    for name in names:
        rule = rules[chosen[name]]
        rate = 0.0 if rule.do == "freeze" else rule.rate * falls[name]
        if config.adapter != "none" and name not in adapted and not matches(as_tuple(config.adapter_train), name):
            rate = 0.0
        weights[name] = Weight(name, tuple(params[name].shape), rule.do, rule.task_map, rate, name in adapted)
    for collection, leaves in shapes.items():
        for name, leaf in leaves.items() if collection != "params" else ():
            own = [weights[n] for n in names if module_of(n) == module_of(name)]
            copied = bool(own) and all(w.action != "init" for w in own)
            weights[name] = Weight(
                name, tuple(leaf.shape), "copy" if copied else "init", {}, 0.0, statistics=collection
            )
    stages = config.stages or (StageConfig(name="all"),)
    learning = tuple(_learning(stage, weights, params, order) for stage in stages)
    return Plan(weights, stages, learning, config)


def _choose(names: Sequence[str], rules: Sequence[RuleConfig]) -> dict[str, int]:
    """Returns the number of the first rule that matches each name."""
    chosen = {name: next((i for i, r in enumerate(rules) if matches([r.match], name)), -1) for name in names}
    for i, rule in enumerate(rules):
        if i in chosen.values():
            continue
        if taken := [n for n in names if matches([rule.match], n)]:
            raise InputError(
                f"transfer.rules[{i}].match: '{show(rule.match)}' decides nothing: all that it matches ({listing(taken, 3)}) is "
                "decided by a rule before it. Move it up or leave it out"
            )
        raise InputError(f"transfer.rules[{i}].match: '{show(rule.match)}' matches no weight{near(rule.match, names)}")
    if left := [n for n in names if chosen[n] < 0]:
        raise InputError(
            f"transfer.rules: no rule matches {listing(left)}: expected rules for all {len(names)} weights. Add one, for "
            "example {'match': '.*', 'do': 'copy'} as the last"
        )
    return chosen


def _adapted(
    params: Mapping[str, Any], chosen: Mapping[str, int], rules: Sequence[RuleConfig], config: TransferConfig
) -> set[str]:
    """Returns the names of the kernels that get a low-rank addition."""
    if config.adapter == "none":
        return set()
    matched = [n for n in params if matches([config.adapter_match], n)]
    if not matched:
        raise InputError(
            f"transfer.adapter_match: '{show(config.adapter_match)}' matches no weight{near(config.adapter_match, sorted(params))}"
        )
    fit = [n for n in matched if adaptable(params[n].shape, config.adapter)]
    found = {n for n in fit if rules[chosen[n]].do == "copy" and rules[chosen[n]].rate > 0}
    if not found:
        why = "none of them is copied and free to learn" if fit else f"'{config.adapter}' fits none of them"
        hint = "; 'locon' adds to convolutions" if config.adapter == "lora" and not fit else ""
        raise InputError(f"transfer.adapter: expected kernels to add to among {listing(matched)}, but {why}{hint}")
    return found


def _learning(
    stage: StageConfig, weights: Mapping[str, Weight], params: Mapping[str, Any], order: Sequence[str]
) -> frozenset[str]:
    """Returns the names of the parameters that learn in a stage."""
    named = sorted(params)
    where = f"transfer.stages '{show(stage.name)}'"
    for pattern in stage.patterns:
        if not any(matches([pattern], name) for name in named):
            raise InputError(f"{where}: train: '{show(pattern)}' matches no weight{near(pattern, named)}")
    if stage.patterns:
        wanted = {name for name in named if matches(stage.patterns, name)}
    elif stage.top:
        wanted = {name for layer in layers(params, order)[: stage.top + 1] for name in layer}
    else:
        wanted = set(named)
    learning = frozenset(name for name in wanted if weights[name].rate > 0)
    if not learning:
        raise InputError(
            f"{where}: nothing learns, all of {listing(sorted(wanted), 3)} is frozen. Free some by a rule or name others"
        )
    return learning
