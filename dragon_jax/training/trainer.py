"""The loop: batches in, steps, evaluations on valid, checkpoints, early stopping. Resumes bit for bit where it stopped."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dragon_jax import metrics
from dragon_jax.data.batches import Batches, RowSource, gather
from dragon_jax.data.dataset import Dataset
from dragon_jax.data.records import TfdsSplit
from dragon_jax.errors import InputError, RunError, listing
from dragon_jax.models.base import StrandModel
from dragon_jax.models.bpnet import ProfileModel
from dragon_jax.sections import AugmentConfig, LossConfig, OptimConfig, TrainConfig, WeightingConfig
from dragon_jax.training import motif_start
from dragon_jax.training.balance import balanced_share, make_order
from dragon_jax.training.checkpoints import Checkpoints, nest, restore
from dragon_jax.training.devices import Devices
from dragon_jax.training.diagnosis import (
    Diagnosis,
    conflict,
    effective_number,
    first_batches,
    head_cosines,
    write_affinity,
)
from dragon_jax.training.early import EarlyStop
from dragon_jax.training.logs import MetricsLog, Progress
from dragon_jax.training.losses import TaskLosses, TaskStatistics, head_bias, logit_shift, plain_loss
from dragon_jax.training.optimizers import make_optimizer
from dragon_jax.training.predict import LogitFunction
from dragon_jax.training.profile_losses import ProfileLosses, losses_for
from dragon_jax.training.profile_scores import ProfileScores
from dragon_jax.training.step import TrainState, evaluation_variables, init_state, make_train_step, zero_sums
from dragon_jax.training.weighting import make_weighting
from dragon_jax.training.weighting.facts import check_weighting, task_facts

SYNC_EVERY = 20  # steps between looks at the device: often enough for the bar and for non-finite losses


class Stopped(Exception):
    """The run was asked to stop and has saved its state.

    Attributes:
        signal: number of the signal that asked.
        step: finished steps in the checkpoint.
    """

    def __init__(self, signal: int, step: int):
        super().__init__(f"stopped by signal {signal} at step {step}")
        self.signal, self.step = signal, step


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """The parts of a config that training reads."""

    seed: int
    optim: OptimConfig
    loss: LossConfig
    weighting: WeightingConfig
    augment: AugmentConfig
    train: TrainConfig


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What training ends with.

    Attributes:
        variables: the weights of the best evaluation, on the host.
        best_step, best_value: of the monitored metric.
        steps: finished steps. reason: why it ended.
        seconds: to the first finished step, spent waiting for batches, and of all (this process only).
    """

    variables: Any
    best_step: int
    best_value: float
    steps: int
    reason: str
    seconds: dict[str, float]


class Trainer:
    """Trains one network on one data set inside one folder."""

    def __init__(
        self,
        spec: TrainSpec,
        model: StrandModel | ProfileModel,
        train: Dataset | TfdsSplit,
        valid: Dataset,
        stats: TaskStatistics,
        folder: Path,
        *,
        stream: RowSource | None = None,
        stop: Callable[[], int] = lambda: 0,
        beat: Callable[[int], None] = lambda step: None,
        quiet: bool = False,
    ):
        """Prepares everything that is a function of config and data.

        Args:
            stream: reads training rows on demand instead of `train` (placement `stream`).
            stop: returns the number of a signal that was received, or 0.
            beat: told the finished steps now and then (status file).
        """
        self.spec, self.model, self.train, self.valid, self.folder = spec, model, train, valid, folder
        self.names = [t.name for t in train.tasks]
        self.kinds = [t.kind for t in train.tasks]
        self.devices = Devices()
        self.devices.check("train.batch_size", spec.train.batch_size)
        fitting = ["loss", *(m for m in metrics.QUICK if set(metrics.METRICS[m].kinds) & set(self.kinds))]
        if spec.train.monitor not in fitting:
            raise InputError(
                f"train.monitor: expected one of {', '.join(fitting)} for tasks of kind {listing(sorted(set(self.kinds)))}, "
                f"found {spec.train.monitor!r}"
            )
        self.losses: TaskLosses = losses_for(model.config, train.tasks, stats, spec.loss)
        self.order = make_order(train, spec.train, spec.seed)
        facts = task_facts(train.tasks, stats, self.losses, self.order.steps_per_epoch)
        check_weighting(spec.weighting, model, train.tasks)
        self.weighting = make_weighting(spec.weighting, facts)
        self.total = spec.train.steps or max(1, round(spec.train.epochs * self.order.n / spec.train.batch_size))
        self.eval_every = min(spec.train.eval_every or self.order.steps_per_epoch, self.total)
        self.longest = self.total  # steps of a run that nothing ends early
        self.tx = make_optimizer(spec.optim, self.total)
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.logits = LogitFunction(model, self.devices)
        self.scores = None
        if isinstance(model, ProfileModel) and isinstance(self.losses, ProfileLosses):
            self.scores = ProfileScores(model, self.losses, self.devices)
        self._diagnosis = None
        if spec.weighting.diagnose and len(self.names) > 1 and isinstance(model, StrandModel):
            self._diagnosis = Diagnosis(model, self.losses, self.devices)
        self.early = EarlyStop.of(spec.train)
        self.shift = logit_shift(train.tasks, stats, self.losses, balanced_share(train.tasks, spec.train))
        self._bias = head_bias(train.tasks, stats, self.losses)
        self._source = stream or train
        self._example = example(train)
        self._stop, self._beat, self._quiet = stop, beat, quiet
        self._began = time.monotonic()
        self._clock: dict[str, float] = {}

    def run(self) -> Fitted:
        """Trains, from the newest intact checkpoint if there is one, and returns the best weights.

        Raises:
            Stopped: asked to stop; the state is saved.
            RunError: a non-finite loss, or a save that failed.
        """
        state, step, reason = self._start()
        log = MetricsLog(self.folder, tensorboard=self.spec.train.tensorboard, tasks=self.names, resume_step=step)
        bar = Progress(self.longest, step, self.spec.train.batch_size, self._quiet)
        if log.note:
            bar.say(f"note: {log.note}")
        placement = self.spec.train.placement
        batches = Batches(self._source, self.order, placement, sharding=self.devices.replicated)
        try:
            if not reason:
                state, step, reason = self._loop(state, step, batches, log, bar)
        finally:
            bar.close()
            log.close()
            batches.close()
        return self._finish(step, reason)

    def _start(self) -> tuple[TrainState, int, str]:
        tx, ema = self.tx, self.spec.optim.ema > 0
        state = init_state(self.model, self._example, self._bias, tx, self.weighting, self.spec.seed, ema)
        if unfinished := self.checkpoints.clean():
            self.checkpoints.notes.append(
                f"{unfinished} unfinished checkpoint files were left by a killed save; ignored"
            )
        step = self.checkpoints.latest()
        for note in self.checkpoints.notes:
            Progress(0, 0, 1, self._quiet).say(f"note: {note}")
        if step is None:
            return self.devices.copy(self._first(state)), 0, ""
        for later in [s for s in self.checkpoints.steps() if s > step]:
            self.checkpoints.keep([s for s in self.checkpoints.steps() if s != later])
        state = self._restored(state, step)
        return self.devices.copy(state), step, self._take_up(self.checkpoints.loop(step))

    def _restored(self, state: TrainState, step: int) -> TrainState:
        """The state of a checkpoint; `state` says what belongs to one."""
        return restore(state, self.checkpoints.load(step), f"checkpoint {step} of {self.folder}")

    def _take_up(self, loop: dict[str, Any]) -> str:
        """Takes over what `_loop_state` returned when the checkpoint was written; returns why training ended, if it did."""
        self.early.restore(loop["early"])
        return loop["reason"]

    def _loop_state(self, reason: str) -> dict[str, Any]:
        """What a checkpoint keeps besides arrays, as JSON."""
        return {"early": self.early.state(), "reason": reason}

    def _first(self, state: TrainState) -> TrainState:
        """The state at step 0 with `train.motif_start` of the first filters at motifs enriched in train."""
        share, path = self.spec.train.motif_start, self.model.config.first_kernel
        if not share:
            return state
        if not path:
            raise InputError(
                f"train.motif_start: expected 0 for model.name '{self.model.config.name}', which has no convolution "
                f"over the sequence, found {share}"
            )
        kernel = motif_start.get_kernel(state.params, path)
        found = motif_start.find_starts(self.train, round(share * kernel.shape[2]), kernel.shape[0], self.spec.seed)
        Progress(0, 0, 1, self._quiet).say(motif_start.describe(found, kernel.shape[2]))
        kernel = motif_start.start_kernel(kernel, [motif for _, motif in found])
        params = motif_start.with_kernel(state.params, path, kernel)
        return state.replace(params=params, ema=jax.tree.map(jnp.copy, params) if state.ema else state.ema)

    def _loop(self, state, step, batches: Batches, log: MetricsLog, bar: Progress) -> tuple[TrainState, int, str]:
        step_function = jax.jit(self._step(self.model, batches.placement == "device"), donate_argnums=0)
        every = self.spec.train.checkpoint_every
        for at, batch in self._waited(batches.iterate(step, self.total)):
            state = step_function(state, self.devices.put(batch), batches.arrays)
            step = at + 1
            if "first_step" not in self._clock:
                jax.block_until_ready(state.step)
                self._clock["first_step"] = time.monotonic() - self._began
                bar.restart_clock()
            if step % SYNC_EVERY == 0:
                self._check_finite(state, step)
                bar.step(step)
                self._beat(step)
            reason = ""
            evaluating = step % self.eval_every == 0 or step == self.total
            if evaluating:
                self._check_finite(state, step)
                bar.step(step)
                state = self._evaluate(state, step, log, bar)
                if self.early.done:
                    reason = f"no better {self.early.monitor} in {self.early.stale} evaluations"
                elif step == self.total:
                    reason = f"all {self.total:,} steps done"
            signal = self._stop()
            if evaluating or signal or (every and step % every == 0):
                self._check_finite(state, step)
                self._save(state, step, reason)
            if reason:
                return state, step, reason
            if signal:
                raise Stopped(signal, step)
        raise RunError(f"training of {self.folder} ended without a reason")  # the loop always reaches `total`

    def _step(self, model: StrandModel | ProfileModel, on_device: bool) -> Callable[..., TrainState]:
        """One training step of `model` as a pure function, see `make_train_step`."""
        fetch = gather if on_device else None
        optim, augmentation = self.spec.optim, self.spec.augment
        return make_train_step(model, self.losses, self.weighting, self.tx, optim, augmentation, fetch)

    def _waited(self, batches: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        """The same batches; the time until each is there is added up, after the first: what training is starved by."""
        first = True
        while True:
            began = time.monotonic()
            try:
                item = next(batches)
            except StopIteration:
                return
            if not first:
                self._clock["input"] = self._clock.get("input", 0.0) + time.monotonic() - began
            first = False
            yield item

    def _check_finite(self, state: TrainState, step: int) -> None:
        bad = int(state.bad_step)
        if bad < 0:
            return
        rows = self.order.rows(bad)
        ids = getattr(self._source, "ids", None)
        names = [str(ids[r]) for r in rows] if ids is not None else [f"row {r}" for r in rows]
        last = self.checkpoints.steps()
        kept = f"checkpoint {last[-1]} is intact" if last else "no checkpoint was saved before"
        raise RunError(
            f"loss or gradient of {self.folder} is not finite at step {bad} (epoch {self.order.epoch(bad):.2f}), batch of "
            f"{len(rows)} examples: {listing(names)}. Lower optim.learning_rate or set optim.clip_norm; {kept}"
        )

    def _evaluate(self, state: TrainState, step: int, log: MetricsLog, bar: Progress) -> TrainState:
        """Writes the training curve since the last evaluation and the metrics on valid; returns the state with fresh sums."""
        rate = bar.rate()
        epoch = round(self.order.epoch(step), 6)
        sums = jax.device_get(state.sums)
        per_task = np.where(sums["measured"] > 0, sums["loss"] / np.maximum(sums["measured"], 1e-12), np.nan)
        steps = float(sums["steps"])
        at = {"step": step, "epoch": epoch, **self._labels()}
        row = {**at, "split": "train", "loss": mean(per_task)}
        row["grad_norm"] = float(sums["grad_norm"]) / max(steps, 1)
        weights = sums["weights"] / max(steps, 1)
        if len(self.names) > 1:
            row["effective_tasks"] = effective_number(weights)
        if self._diagnosis is not None:
            cosines = self._diagnosis(self._evaluated(state), self._fixed_batches())
            row["conflict"] = conflict(cosines)
            write_affinity(self.folder / "affinity.tsv", self.names, cosines, step)
        row["per_task"] = {
            n: {"loss": float(a), "weight": float(w)} for n, a, w in zip(self.names, per_task, weights, strict=True)
        }
        log.write(row, {"train/examples_per_second": rate})
        loss, summary, tasks = self.measure(self._evaluated(state), self.valid)
        log.write({**at, "split": "valid", "loss": loss, "mean": summary, "per_task": tasks}, {})
        value = loss if self.early.monitor == "loss" else summary.get(self.early.monitor, math.nan)
        best = self._judge(step, value)
        shown = "  ".join(f"{k} {v:.4f}" for k, v in summary.items() if k in ("auroc", "auprc", "pearson", "spearman"))
        labels = "".join(f"{label}: " for label in self._labels().values())
        bar.say(
            f"{labels}step {step:,}/{self.total:,}  epoch {epoch:.1f}  train loss {row['loss']:.4f}  valid loss {loss:.4f}  {shown}"
            f"{'  *' if best else ''}  [{rate:,.0f} examples/s]"
        )
        bar.restart_clock()
        return state.replace(sums=self.devices.copy(zero_sums(len(self.names))))

    @functools.cache  # noqa: B019  a trainer lives as long as its run
    def _fixed_batches(self) -> list[dict[str, np.ndarray]]:
        return first_batches(self._source, self.order, self.spec.weighting.diagnose)

    def _labels(self) -> dict[str, str]:
        """What every line of `metrics.jsonl` says besides step and epoch."""
        return {}

    def _evaluated(self, state: TrainState) -> Any:
        """The weights that are measured on valid and kept."""
        return evaluation_variables(state)

    def _judge(self, step: int, value: float) -> bool:
        """Takes the monitored metric of an evaluation; returns whether it is the best so far."""
        return self.early.update(step, value)

    def measure(self, variables: Any, data: Dataset) -> tuple[float, dict[str, float], dict[str, dict[str, float]]]:
        """Returns mean loss, mean metrics, and both per task, of some weights on a data set with labels.

        The loss is the plain one (no class weights, no smoothing), so that runs with different losses can be compared.
        """
        if self.scores is not None:
            scored = self.scores(variables, data, self.spec.train.eval_batch_size)
            logits, per_loss = scored["logits"], np.array([mean(column) for column in scored["loss"].T])
        else:
            logits = self.predict_logits(variables, data)
            per_loss = plain_loss(self.losses, logits.astype(np.float64) - self.shift, data.targets)
        values = self.losses.values(logits, shift=self.shift)
        per_metric = metrics.quick_metrics(values, data.targets, self.kinds)
        summary = metrics.summarise(per_metric)
        tasks = {
            name: {"loss": float(per_loss[i])}
            | {k: float(v[i]) for k, v in per_metric.items() if self.kinds[i] in metrics.METRICS[k].kinds}
            for i, name in enumerate(self.names)
        }
        return mean(per_loss), summary, tasks

    def predict_logits(self, variables: Any, data: Dataset) -> np.ndarray:
        """Returns float32 `[N, T]` logits of a data set."""
        inputs = {"codes": data.codes, **data.inputs}
        return self.logits(variables, inputs, self.spec.train.eval_batch_size)

    def _save(self, state: TrainState, step: int, reason: str) -> None:
        self.checkpoints.save(jax.device_get(self._packed(state)), step, self._loop_state(reason))
        latest = self.checkpoints.steps()[-self.spec.train.keep_checkpoints :]
        self.checkpoints.keep([*latest, *self._worth_keeping()])
        self._beat(step)

    def _packed(self, state: TrainState) -> Any:
        """The tree of arrays that a checkpoint holds: every other command looks for weights in it."""
        return state

    def _worth_keeping(self) -> list[int]:
        """Steps whose checkpoints stay although they are not the latest."""
        return [self.early.best_step]

    def _finish(self, step: int, reason: str) -> Fitted:
        """Loads the best weights from disk, so that a resumed run ends with the same bytes as one that was not."""
        best = self.early.best_step
        leaves = self.checkpoints.load(best)
        variables = best_variables(leaves, self.spec.optim.ema > 0)
        if len(self.names) > 2 and isinstance(self.model, StrandModel):
            heads = head_cosines(variables["params"]["head"]["kernel"])
            write_affinity(self.folder / "head_affinity.tsv", self.names, heads, best)
        value = math.nan if self.early.best_value is None else self.early.best_value
        seconds = {
            "to_first_step": self._clock.get("first_step", math.nan),
            "input": self._clock.get("input", 0.0),
            "all": time.monotonic() - self._began,
        }
        return Fitted(variables, best, value, step, reason, seconds)


def example(train: Dataset | TfdsSplit) -> dict[str, np.ndarray]:
    """Returns what a model reads of the first row, as a batch of one."""
    first = train.take(np.arange(1)) if isinstance(train, Dataset) else train.chunk(0, 1)
    return {"codes": first.codes, **first.inputs}


def best_variables(leaves: dict[str, np.ndarray], ema: bool) -> dict[str, Any]:
    """Returns what `model.apply` needs from the leaves of a checkpoint."""
    tree = nest(leaves)
    return {"params": tree["ema"] if ema else tree["params"], **tree.get("model_state", {})}


def mean(values: np.ndarray) -> float:
    """Returns the mean over defined values, NaN when there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan
