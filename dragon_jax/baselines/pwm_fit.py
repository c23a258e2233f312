"""Fitting the PWM baseline: motifs from their file, the choice on train, the calibration on valid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float32

from dragon_jax import metrics
from dragon_jax.baselines import regression
from dragon_jax.baselines.pwm import PwmConfig, PwmModel, combined
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.records import sha256
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.files import locate
from dragon_jax.motifs.files import read_motifs
from dragon_jax.motifs.motif import Motif

_STRENGTH = 1e-4  # penalty on the slope of a standardised score: finite where a score separates the classes
_BLOCK = 64  # motifs whose scores on train are held at a time


def fit(config: PwmConfig, train: Dataset, valid: Dataset | None, progress: Callable[[str], None]) -> PwmModel:
    """Returns the fitted model; see `PwmConfig.fit`."""
    tasks = [t.name for t in train.tasks]
    if strangers := [t for t in config.assign if t not in tasks]:
        raise InputError(
            f"model.assign.{show(strangers[0])}: no such task{nearest(strangers[0], tasks)}. Tasks: {listing(tasks)}"
        )
    open_tasks = [t for t, name in enumerate(tasks) if not config.assigned(name)]
    motifs = _motifs(config, train, bool(open_tasks))
    wanted = {t: list(config.assigned(name)) for t, name in enumerate(tasks)}
    if open_tasks:
        pool = [m for m in motifs if (not config.candidates or m.name in config.candidates) and len(m) <= train.length]
        if not pool:
            raise InputError(
                f"no motif of {config.motifs} is as short as the sequences: expected at most {train.length} bases, found at "
                f"least {min(map(len, motifs))}. Use longer sequences or trim the motifs"
            )
        progress(f"choosing among {len(pool):,} motifs for {len(open_tasks):,} tasks on {len(train):,} training rows")
        for t, motif, said in _chosen(config, train, pool, open_tasks):
            wanted[t] = [motif]
            if len(open_tasks) <= 10:
                progress(f"{tasks[t]}: {motif} ({said} on train)")
    used = [m for m in motifs if any(m.name in names for names in wanted.values())]
    members = np.array([[m.name in wanted[t] for m in used] for t in range(len(tasks))])
    matrices = tuple(config.pssm(m) for m in used)
    slope, offset = np.ones(len(tasks)), np.zeros(len(tasks))
    if config.calibrate:
        slope, offset = _calibrated(config, matrices, members, train, valid)
    return PwmModel(
        config,
        train.tasks,
        train.length,
        names=tuple(m.name for m in used),
        matrices=matrices,
        members=members,
        slope=slope,
        offset=offset,
        origin={"motif_file": config.motifs, "motif_file_sha256": sha256(locate(config.motifs))},
    )


def _motifs(config: PwmConfig, train: Dataset, choosing: bool) -> list[Motif]:
    """The motifs that may be needed: those that are named, in the order of the file, or all."""
    named = {name for t in train.tasks for name in config.assigned(t.name)}
    motifs = read_motifs(config.motifs, config.format)
    known = [m.name for m in motifs]
    if missing := [name for name in [*sorted(named), *config.candidates] if name not in set(known)]:
        raise InputError(
            f"motif {listing(missing)} not in {config.motifs}: expected some of its {len(known):,} names, such as "
            f"{listing(known, 3)}{nearest(missing[0], known)}"
        )
    if long := [m for m in motifs if m.name in named and len(m) > train.length]:
        raise InputError(
            f"motif '{show(long[0].name)}' of {config.motifs} has {len(long[0])} bases: expected at most {train.length}, the "
            "length of the sequences. Use longer sequences or trim the motif"
        )
    if choosing and not config.candidates:
        return motifs
    return [m for m in motifs if m.name in named or (choosing and m.name in config.candidates)]


def _chosen(
    config: PwmConfig, train: Dataset, pool: Sequence[Motif], open_tasks: Sequence[int]
) -> list[tuple[int, str, str]]:
    """Returns task, motif and a word on how well it does; the first of equals wins.

    Raises:
        InputError: a task by which no motif can be judged.
    """
    values: dict[int, list[np.ndarray]] = {t: [] for t in open_tasks}
    for at in range(0, len(pool), _BLOCK):
        scores = config.scores([config.pssm(m) for m in pool[at : at + _BLOCK]], train.codes)
        for t in open_tasks:
            kind, metric = _judge(train.tasks[t])
            y = np.broadcast_to(train.targets[:, t : t + 1], scores.shape)
            table = metrics.task_metrics(scores, y, [kind] * scores.shape[1], [metric])
            values[t].append(table.get(metric, np.full(scores.shape[1], np.nan)))
    result = []
    for t, parts in values.items():
        value = np.concatenate(parts)
        if np.isnan(value).all():
            raise InputError(
                f"task {train.tasks[t].name!r}: no motif can be chosen, because its labels in split 'train' are all the "
                "same or missing. Name its motif in model.assign, or change the split"
            )
        best = int(np.nanargmax(value))
        result.append((t, pool[best].name, f"{_judge(train.tasks[t])[1]} {value[best]:.4f}"))
    return result


def _judge(task: Task) -> tuple[str, str]:
    """Kind of target and metric by which motifs are compared for a task; a count correlates like a real value."""
    return ("binary", "auroc") if task.kind == "binary" else ("real", "pearson")


def _calibrated(
    config: PwmConfig,
    matrices: Sequence[np.ndarray],
    members: Bool[np.ndarray, "T M"],
    train: Dataset,
    valid: Dataset | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns slope and offset float64 `[T]` of every task; from train for tasks that valid cannot calibrate."""
    slope, offset = np.full((2, len(train.tasks)), np.nan)
    for data in [d for d in (valid, train) if d is not None and len(d)]:
        todo = [t for t in np.flatnonzero(np.isnan(slope)) if _enough(data.targets[:, t], train.tasks[t].kind)]
        if not todo:
            continue
        scores = combined(config.scores(matrices, data.codes), members)
        for t in todo:
            slope[t], offset[t] = _line(scores[:, t], data.targets[:, t], data.weights, train.tasks[t].kind)
    if np.isnan(slope).any():
        name = train.tasks[int(np.flatnonzero(np.isnan(slope))[0])].name
        raise InputError(
            f"task {name!r} cannot be calibrated: its labels in splits 'valid' and 'train' are all the same or missing. "
            "Change the split, or set model.calibrate=False"
        )
    return slope, offset


def _enough(y: np.ndarray, kind: str) -> bool:
    seen = y[~np.isnan(y)]
    if kind == "binary":
        return bool(seen.size and seen.min() < seen.max())
    return bool(seen.size > 1 and (kind == "real" or seen.any()))


def _line(
    scores: Float32[np.ndarray, " N"], y: np.ndarray, weights: np.ndarray | None, kind: str
) -> tuple[float, float]:
    """Slope and offset of one task. A score that ranks the wrong way gets slope 0: calibration never turns a motif round."""
    seen = ~np.isnan(y)
    z = scores[seen].astype(np.float64)
    mean, spread = z.mean(), z.std()

    def solve(feature: np.ndarray) -> np.ndarray:
        x = np.stack([feature, np.ones_like(feature)], 1).astype(np.float32)
        w = None if weights is None else weights[seen]
        if kind == "real":
            return regression.ridge(x, y[seen, None], w, [_STRENGTH])[0, :, 0]
        family = regression.LOGISTIC if kind == "binary" else regression.POISSON
        return regression.generalised(x, y[seen, None], w, [_STRENGTH], family)[0, :, 0]

    a, b = solve((z - mean) / spread) if spread > 0 else (0.0, 0.0)
    if a <= 0:
        return 0.0, float(solve(np.zeros_like(z))[1])
    return float(a / spread), float(b - a * mean / spread)
