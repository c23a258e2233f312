"""The training loop of a run that starts from another: one stage after the other, each from the best weights before it.

Steps are counted through all stages, so that batches, keys and `metrics.jsonl` go on as in one run. A checkpoint says in which
stage it was written. Its `params` (and `ema`) are ordinary weights, low-rank additions included, which every other command
reads; where there are such additions, their factors and the kernels without them lie beside, under `adapters`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dragon_jax.data.batches import Batches
from dragon_jax.errors import InputError
from dragon_jax.models.base import StrandModel
from dragon_jax.models.bpnet import ProfileModel
from dragon_jax.training.checkpoints import restore
from dragon_jax.training.early import EarlyStop
from dragon_jax.training.logs import MetricsLog, Progress
from dragon_jax.training.optimizers import make_optimizer
from dragon_jax.training.step import TrainState, evaluation_variables, zero_sums
from dragon_jax.training.trainer import Fitted, Trainer
from dragon_jax.training.transfer.adapters import ADAPTERS, init_factors, merged, with_factors
from dragon_jax.training.transfer.graft import Reference, Scale, graft
from dragon_jax.training.transfer.names import flat, nested
from dragon_jax.training.transfer.plan import Plan
from dragon_jax.training.transfer.view import View, viewed


class TransferTrainer(Trainer):
    """`Trainer` by a plan. `early` is that of the stage, `overall` that of all stages."""

    def __init__(self, *args: Any, plan: Plan, reference: Reference | None, **kwargs: Any):
        """Takes what `Trainer` takes, and the plan.

        Args:
            reference: where the weights come from; None where the run has a checkpoint and needs it no more.

        Raises:
            InputError: settings that cannot stand beside a transfer.
        """
        super().__init__(*args, **kwargs)
        self.plan, self.reference = plan, reference
        if self.spec.train.motif_start:
            raise InputError(
                f"train.motif_start: expected 0 with init_from, which decides how filters start, found {self.spec.train.motif_start}"
            )
        if plan.adapted and self.spec.optim.max_norm:
            raise InputError(
                f"optim.max_norm: expected 0 with transfer.adapter, whose factors are no kernels, found {self.spec.optim.max_norm}"
            )
        self.overall = EarlyStop.of(dataclasses.replace(self.spec.train, patience=0))
        self.lengths = [self._steps_of(i) for i in range(len(plan.stages))]
        self.longest = sum(self.lengths)
        self._before = -1  # the checkpoint that the stage started from; -1 = the reference
        self._ended = ""  # why the stage has ended, where the run was killed before the next one
        self._merge: Callable = jax.jit(lambda params: merged(params, self.view.scale))
        self._enter(0, 0)

    def _steps_of(self, index: int) -> int:
        stage, train = self.plan.stages[index], self.spec.train
        if steps := stage.steps or (train.steps if stage.epochs is None else None):
            return steps
        epochs = train.epochs if stage.epochs is None else stage.epochs
        return max(1, round(epochs * self.order.n / train.batch_size))

    def _enter(self, index: int, began: int) -> None:
        """Makes everything that belongs to a stage which begins after `began` steps."""
        stage, train, optim = self.plan.stages[index], self.spec.train, self.spec.optim
        self.index, self.began, self.total = index, began, began + self.lengths[index]
        self.eval_every = min(train.eval_every or self.order.steps_per_epoch, self.lengths[index])
        self.view = View.of(self.plan, index)
        if stage.learning_rate is not None:
            optim = dataclasses.replace(optim, learning_rate=stage.learning_rate)
        self.tx = self.view.optimizer(make_optimizer(optim, self.lengths[index]))
        patience = train.patience if stage.patience is None else stage.patience
        self.early = EarlyStop.of(dataclasses.replace(train, patience=patience))

    @property
    def _last(self) -> bool:
        return self.index == len(self.plan.stages) - 1

    def _start(self) -> tuple[TrainState, int, str]:
        newest = self.checkpoints.latest()
        self.checkpoints.notes.clear()  # only a look: the stage decides what the state of the optimiser is made of
        if newest is not None:
            stage = self.checkpoints.loop(newest)["stage"]
            self._enter(stage["index"], stage["began"])
        return super()._start()

    def _first(self, state: TrainState) -> TrainState:
        """The state at step 0: the plan carried out."""
        if self.reference is None:
            raise InputError(f"{self.folder} has no checkpoint and no reference to start from: give init_from again")
        scale = Scale(self.shift, self.losses.center.astype(np.float64), self.losses.scale.astype(np.float64))
        params, others = graft(self.plan, self.reference, state.params, state.model_state, self.train.tasks, scale)
        return self._with(state, with_factors(params, self._factors(params)), others)

    def _with(self, state: TrainState, params: dict[str, Any], others: dict[str, Any]) -> TrainState:
        """The state with other weights, which its optimiser and its averages have not seen yet."""
        ema = jax.tree.map(jnp.copy, params) if state.ema else state.ema
        return state.replace(params=params, model_state=others, opt_state=self.tx.init(params), ema=ema)

    def _factors(self, params: Mapping[str, Any]) -> dict[str, Any]:
        leaves = flat(params)
        shapes = {name: leaves[name].shape for name in self.plan.adapted}
        return init_factors(shapes, self.plan.config.rank, jax.random.fold_in(jax.random.key(self.spec.seed), 2))

    def _step(self, model: StrandModel | ProfileModel, on_device: bool) -> Callable[..., TrainState]:
        return self.view.hold(super()._step(viewed(model, self.view), on_device))

    def _loop(self, state, step, batches: Batches, log: MetricsLog, bar: Progress) -> tuple[TrainState, int, str]:
        reason, self._ended = self._ended, ""
        while True:
            if not reason:
                state, step, reason = super()._loop(state, step, batches, log, bar)
            if self._last:
                return state, step, reason
            state, reason = self._advance(state, step, reason, bar), ""

    def _advance(self, state: TrainState, step: int, reason: str, bar: Progress) -> TrainState:
        """The state in which the next stage begins: the best weights of this one, everything else new but step and key."""
        best, ended = self.early.best_step, self.plan.stages[self.index].name
        state = jax.device_get(state)
        kept = self._restored(state, best)
        self._before = best
        self._enter(self.index + 1, step)
        bar.say(
            f"stage '{ended}' has ended ({reason}); '{self.plan.stages[self.index].name}' goes on from step {best:,}"
        )
        kept = kept.replace(step=state.step, sums=zero_sums(len(self.names)))
        return self.devices.copy(self._with(kept, kept.ema or kept.params, kept.model_state))

    def _labels(self) -> dict[str, str]:
        return {"stage": self.plan.stages[self.index].name} if self.plan.config.stages else {}

    def _evaluated(self, state: TrainState) -> Any:
        variables = evaluation_variables(state)
        return {**variables, "params": self._ordinary(variables["params"])}

    def _ordinary(self, params: Any) -> Any:
        return self._merge(params) if ADAPTERS in params else params

    def _judge(self, step: int, value: float) -> bool:
        self.overall.update(step, value)
        return self.early.update(step, value)

    def _worth_keeping(self) -> list[int]:
        return [self.early.best_step, self.overall.best_step, self._before]

    def _loop_state(self, reason: str) -> dict[str, Any]:
        stage = {
            "index": self.index,
            "name": self.plan.stages[self.index].name,
            "began": self.began,
            "before": self._before,
            "early": self.early.state(),
            "reason": reason,
        }
        return {"early": self.overall.state(), "reason": reason if self._last else "", "stage": stage}

    def _take_up(self, loop: dict[str, Any]) -> str:
        stage = loop["stage"]
        self.overall.restore(loop["early"])
        self.early.restore(stage["early"])
        self._before, self._ended = stage["before"], "" if self._last else stage["reason"]
        return loop["reason"]

    def _packed(self, state: TrainState) -> Any:
        """The state with ordinary weights, and what they were made from beside them."""
        if not self.plan.adapted:
            return state
        fields = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
        beside: dict[str, Any] = {"base": nested({k: flat(state.params)[k] for k in self.plan.adapted})}
        for name in ("params", "ema"):
            if fields[name]:
                beside[name] = fields[name][ADAPTERS]
                fields[name] = self._ordinary(fields[name])
        return fields | {ADAPTERS: beside}

    def _restored(self, state: TrainState, step: int) -> TrainState:
        where = f"checkpoint {step} of {self.folder}"
        if self.plan.adapted and ADAPTERS not in state.params:
            state = self._with(state, with_factors(state.params, self._factors(state.params)), state.model_state)
        found = restore(self._packed(state), self.checkpoints.load(step), where)
        if not self.plan.adapted:
            return found
        beside = found.pop(ADAPTERS)
        for name in ("params", "ema"):
            if found[name]:
                base = flat(found[name]) | flat(beside["base"])
                found[name] = {**nested(base), ADAPTERS: beside[name]}
        return type(state)(**found)

    def _finish(self, step: int, reason: str) -> Fitted:
        self.early = self.overall
        return super()._finish(step, reason)
