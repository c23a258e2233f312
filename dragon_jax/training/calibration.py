"""DeepBind's calibration: all settings on all folds, the best of them, then some retrainings of it on all rows.

Random search by cross-validation (Alipanahi, Delong, Weirauch, Frey, Nat. Biotechnol. 33, 831-838, 2015,
doi:10.1038/nbt.3300): each setting is trained on all folds but one and measured on that one at evenly spaced steps, so the
number of steps is chosen with it; the smallest mean of the held-out losses wins. The winner is then trained anew several
times on all rows, and the network with the smallest training loss is kept.

Each fold, and the retrainings together, are one population (`training.population`), whose state is saved at every
measurement: a calibration that was stopped or killed goes on there and ends with the same numbers.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from dragon_jax.data.order import BatchOrder
from dragon_jax.errors import RunError
from dragon_jax.models.deepbind_files import DeepBindParameters
from dragon_jax.models.deepbind_population import member
from dragon_jax.training.checkpoints import Checkpoints, restore
from dragon_jax.training.devices import Devices
from dragon_jax.training.population import Losses, PopulationState, init_population, make_population_step, settled
from dragon_jax.training.trainer import SYNC_EVERY, Stopped
from dragon_jax.training.trials import Trial, assign_folds, choose_trial

CHANCE = float(np.log(2))  # loss of a network that says one half, on classes of equal weight


@dataclasses.dataclass(frozen=True)
class Workplace:
    """What a long fit works with.

    Attributes:
        folder: for states to go on from; None = none are kept.
        stop: returns the number of a signal that was received, or 0. beat: told the finished steps now and then.
    """

    folder: Path | None = None
    stop: Callable[[], int] = lambda: 0
    beat: Callable[[int], None] = lambda step: None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How populations are trained; see `training.deepbind_calibrated` for the fields of the same name."""

    detectors: int
    width: int
    batch_size: int
    balance: float
    l1_from: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Rows:
    """Training rows: codes uint8 `[N, L]`, targets 0 or 1, float32 `[N]`."""

    codes: np.ndarray
    targets: np.ndarray

    def take(self, mask: np.ndarray) -> Rows:
        return Rows(self.codes[mask], self.targets[mask])


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """What a calibration ends with.

    Attributes:
        parameters: the kept network. record: everything that was tried and chosen, as plain values.
    """

    parameters: DeepBindParameters
    record: dict[str, Any]


def calibrate(
    plan: Plan,
    trials: Sequence[Trial],
    rows: Rows,
    *,
    folds: int,
    marks: Sequence[int],
    retrained: int,
    place: Workplace,
    say: Callable[[str], None],
) -> Calibrated:
    """Searches, chooses and trains anew.

    Args:
        trials: settings, those without a hidden layer first.
        marks: steps after which held-out losses are measured, ascending.

    Raises:
        InputError: too few rows of a class for the folds.
        RunError: no setting, or none of the retrainings, stayed finite.
        Stopped: asked to stop; the state is saved where `place` has a folder.
    """
    Devices()  # memory settings of the host
    fold = assign_folds(rows.codes, rows.targets, folds, plan.seed)
    step = compiled_step(tuple(trials), plan.l1_from)
    losses, bad = [], []
    for k in range(folds):
        held_out = rows.take(fold == k)
        measure = Losses(held_out.codes, held_out.targets, plan.balance)
        stage = Stage(f"fold_{k + 1}", k, tuple(trials), tuple(marks), k * marks[-1])
        state, found = train_stage(stage, plan, rows.take(fold != k), step, measure, place, say)
        losses.append(found)
        bad.append(np.asarray(state.bad_step))
    table = np.stack(losses, 1).transpose(2, 1, 0)  # [checkpoints, folds, trials] -> [trials, folds, checkpoints]
    chosen, checkpoint = choose_trial(table)
    winner, steps = trials[chosen], marks[checkpoint]
    say(f"chosen: setting {chosen + 1} of {len(trials)} after {steps:,} steps, {describe_trial(winner)}")
    again = [winner] * retrained
    step = compiled_step(tuple(again), plan.l1_from)
    stage = Stage("retrained", folds, tuple(again), (steps,), folds * marks[-1])
    state, found = train_stage(
        stage, plan, rows, step, Losses(rows.codes, rows.targets, plan.balance), place, say, held_out=False
    )
    final = found[-1]
    if not np.isfinite(final).any():
        raise RunError(f"calibration: none of the {retrained} retrainings stayed finite. Use another seed")
    kept = int(np.nanargmin(final))
    mean = table.mean(1)
    non_finite = ~np.all(np.isfinite(table), (1, 2))
    never = np.min(np.where(non_finite[:, None], 0.0, mean), 1) > 0.99 * CHANCE
    record = {
        "settings": [
            dataclasses.asdict(t)
            | {"losses": table[i].tolist(), "mean_losses": mean[i].tolist(), "non_finite_at": [int(b[i]) for b in bad]}
            for i, t in enumerate(trials)
        ],
        "checkpoints": list(marks),
        "fold_rows": np.bincount(fold, minlength=folds).tolist(),
        "non_finite": int(non_finite.sum()),
        "never_learned": int(never.sum()),
        "chosen": {"setting": chosen, "steps": steps, "loss": float(mean[chosen, checkpoint])},
        "retrained_losses": final.tolist(),
        "kept": kept,
    }
    return Calibrated(member(jax.device_get(settled(state.params, again)), kept), record)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One population.

    Attributes:
        name: of its folder. number: makes its random numbers its own.
        marks: steps after which losses are measured; the last one ends it.
        before: steps of the stages before, for the status.
    """

    name: str
    number: int
    trials: tuple[Trial, ...]
    marks: tuple[int, ...]
    before: int

    def seed(self, seed: int) -> int:
        return int(np.random.SeedSequence([seed, self.number]).generate_state(1)[0] >> 1)


def train_stage(
    stage: Stage,
    plan: Plan,
    rows: Rows,
    step: Callable[[PopulationState, np.ndarray, np.ndarray], PopulationState],
    measure: Losses,
    place: Workplace,
    say: Callable[[str], None],
    *,
    held_out: bool = True,
) -> tuple[PopulationState, Float[np.ndarray, "checkpoints M"]]:
    """Trains a population on `rows` and returns it with the losses at every mark, NaN for members that are not finite.

    Raises:
        Stopped: asked to stop; the state is saved.
    """
    seed = stage.seed(plan.seed)
    state = init_population(stage.trials, plan.detectors, plan.width, seed)
    losses: list[list[float]] = []
    done, store = 0, None
    if place.folder is not None:
        store = Checkpoints(place.folder / stage.name)
        store.clean()
        if (newest := store.latest()) is not None:
            state = restore(state, store.load(newest), f"checkpoint {newest} of {store.folder}")
            done, losses = newest, store.loop(newest)["losses"]
            say(f"{stage.name}: going on from step {done:,} of {stage.marks[-1]:,}")
    groups = shares = None
    if plan.balance:
        groups, shares = (rows.targets > 0.5).astype(np.int64), {0: 1 - plan.balance, 1: plan.balance}
    order = BatchOrder(len(rows.codes), plan.batch_size, seed, groups, shares)
    for finished in itertools.takewhile(lambda s: s <= stage.marks[-1], itertools.count(done + 1)):
        batch = order.rows(finished - 1)
        state = step(state, rows.codes[batch], rows.targets[batch])
        if finished % SYNC_EVERY == 0:
            jax.block_until_ready(state.step)
            place.beat(stage.before + finished)
        signal = place.stop()
        if finished in stage.marks:
            bad = np.asarray(state.bad_step) >= 0
            losses.append(np.where(bad, np.nan, measure(settled(state.params, stage.trials))).tolist())
            say(_progress(stage, finished, losses[-1], held_out))
        if store is not None and (finished in stage.marks or signal):
            store.save(jax.device_get(state), finished, {"losses": losses})
            store.keep([finished])
        if signal:
            raise Stopped(signal, stage.before + finished)
    return state, np.array(losses)


@functools.lru_cache(maxsize=4)
def compiled_step(trials: tuple[Trial, ...], l1_from: int) -> Callable[..., PopulationState]:
    """Returns the step of a population; one program serves all folds."""
    return jax.jit(make_population_step(trials, l1_from), donate_argnums=0)


def describe_trial(trial: Trial) -> str:
    """Returns settings in one line."""
    layer = f"{trial.hidden} hidden units" if trial.hidden else "no hidden layer"
    return (
        f"{layer}, learning rate {trial.learning_rate:.2g}, momentum {trial.momentum:.3f}, dropout {trial.dropout:g}, scales "
        f"{trial.detector_scale:.1g} and {trial.dense_scale:.1g}, L1 {trial.l1_detectors:.1g} and {trial.l1_dense:.1g}"
    )


def _progress(stage: Stage, step: int, losses: Sequence[float], held_out: bool) -> str:
    finite = [x for x in losses if np.isfinite(x)]
    best = f"{min(finite):.4f}" if finite else "none"
    failed = len(losses) - len(finite)
    return (
        f"{stage.name}, step {step:,}/{stage.marks[-1]:,}: smallest {'held-out' if held_out else 'training'} loss of "
        f"{len(losses)} networks {best}{f', {failed} not finite' if failed else ''}"
    )
