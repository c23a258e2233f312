"""How a training step sees a network of which only a part learns.

`viewed` makes of a network one whose `apply` takes the weights as they are trained, holds still what does not learn and adds
the low-rank factors to their kernels, so that a step needs to know nothing of transfer. No gradient is asked of a frozen
weight, so that XLA leaves out the backward pass below the lowest layer that learns; and a frozen layer with running statistics
normalises with those it has stored, as it will when it predicts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from flax import linen as nn

from dragon_jax.models.base import StrandModel
from dragon_jax.models.bpnet import ProfileModel
from dragon_jax.training.step import TrainState
from dragon_jax.training.transfer.adapters import ADAPTERS, merged
from dragon_jax.training.transfer.names import flat, module_of, nested
from dragon_jax.training.transfer.plan import Plan


@dataclasses.dataclass(frozen=True)
class View:
    """What learns in one stage.

    Attributes:
        rates: factor on the learning rate of every number that learns, by the name of its array among the trained parameters:
            a weight, or a factor `adapters/trunk/conv_0/kernel/a`.
        still: modules whose running statistics stay as they are.
        scale: alpha / r of the low-rank additions.
    """

    rates: Mapping[str, float]
    still: frozenset[str]
    scale: float

    @classmethod
    def of(cls, plan: Plan, stage: int) -> View:
        """Returns the view of a plan's stage, counted from 0."""
        rates = {}
        for name in plan.learning[stage]:
            weight = plan.weights[name]
            arrays = [f"{ADAPTERS}/{name}/a", f"{ADAPTERS}/{name}/b"] if weight.adapted else [name]
            rates |= dict.fromkeys(arrays, weight.rate)
        return cls(rates, plan.still(stage), plan.config.alpha / plan.config.rank)

    def weights(self, trained: Mapping[str, Any]) -> dict[str, Any]:
        """Returns ordinary parameters whose gradient reaches only what learns."""
        leaves = {k: x if k in self.rates else jax.lax.stop_gradient(x) for k, x in flat(trained).items()}
        return merged(nested(leaves), self.scale)

    def mask(self, trained: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a tree that says of every array whether it learns."""
        return nested({name: name in self.rates for name in flat(trained)})

    def optimizer(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """Returns `tx` for what learns, with its rates; it keeps no state of the rest."""

        def frozen(tree: Any) -> Any:
            return jax.tree.map(lambda learns: not learns, self.mask(tree))

        def at_rates(updates: Any, params: Any = None) -> Any:
            return nested({name: u * self.rates.get(name, 1.0) for name, u in flat(updates).items()})

        parts: list[Any] = [optax.masked(optax.set_to_zero(), frozen), optax.masked(tx, self.mask)]
        if any(rate != 1 for rate in self.rates.values()):
            parts.append(optax.stateless(at_rates))
        return optax.chain(*parts)

    def hold(self, step: Callable[..., TrainState]) -> Callable[..., TrainState]:
        """Returns the step with everything put back that must not change.

        Gradients of 0 would leave it where it is but for rounding: a moving average of equal numbers is not always that
        number, and caps on norms and penalties ask for no gradient.
        """

        def learns(name: str) -> bool:
            return name in self.rates

        def moves(name: str) -> bool:
            return module_of(name) not in self.still

        def held(state: TrainState, *batch: Any) -> TrainState:
            new = step(state, *batch)
            others = {c: _mixed(tree, state.model_state[c], moves) for c, tree in new.model_state.items()}
            return new.replace(
                params=_mixed(new.params, state.params, learns),
                ema=_mixed(new.ema, state.ema, learns) if state.ema else new.ema,
                model_state=others,
            )

        return held


def _mixed(new: Mapping[str, Any], old: Mapping[str, Any], taken: Callable[[str], bool]) -> dict[str, Any]:
    before = flat(old)
    return nested({name: x if taken(name) else before[name] for name, x in flat(new).items()})


def viewed(model: StrandModel | ProfileModel, view: View) -> StrandModel | ProfileModel:
    """Returns the network as `view` shows it; its `apply` takes the parameters with the low-rank factors beside them."""

    def stored(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if "train" in kwargs and "/".join(context.module.path) in view.still:
            kwargs = {**kwargs, "train": False}
        return next_function(*args, **kwargs)

    class Viewed(type(model)):  # type: ignore[reportGeneralTypeIssues]  # the step asks for a network of ours
        @nn.nowrap
        def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
            shown = {**variables, "params": view.weights(variables["params"])}
            with nn.intercept_methods(stored):
                return model.apply(shown, *args, **kwargs)

    fields = {
        f.name: getattr(model, f.name) for f in dataclasses.fields(model) if f.init and f.name not in ("parent", "name")
    }
    return Viewed(**fields)
