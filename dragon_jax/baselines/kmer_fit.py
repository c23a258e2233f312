"""Fitting the k-mer baseline: features of train, all strengths, the choice on valid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dragon_jax import metrics
from dragon_jax.baselines import regression
from dragon_jax.baselines.kmer import KmerConfig, KmerModel, values
from dragon_jax.data.dataset import Dataset
from dragon_jax.errors import InputError

_CLOSED_FORM = 16_384  # largest number of features whose matrix (2 GiB in float64) ridge regression solves
_ROWS = 4096


def fit(config: KmerConfig, train: Dataset, valid: Dataset | None, progress: Callable[[str], None]) -> KmerModel:
    """Returns the fitted model; see `KmerConfig.fit`."""
    _check(config, train, valid)
    progress(f"counting words in {len(train):,} sequences")
    x = config.features(train.codes, extra=1)
    center, spread = _moments(x[:, :-1])
    common = np.full_like(spread, np.sqrt((spread.astype(np.float64) ** 2).mean()))
    divisor = common if config.scale == "common" else np.where(spread > 0, spread, np.float32(1))
    if not spread.any():
        raise InputError("all training sequences hold the same words: expected sequences that differ")

    def scaled(features: np.ndarray) -> np.ndarray:
        features[:, :-1] -= center
        features[:, :-1] /= divisor
        return features

    x = scaled(x)
    held = None if valid is None else scaled(config.features(valid.codes, extra=1))
    strengths = tuple(sorted(config.strengths, reverse=True))
    kinds = np.array([t.kind for t in train.tasks])
    theta = np.empty((len(strengths), x.shape[1], len(kinds)))
    for kind in [k for k in ("binary", "real", "count") if k in kinds]:
        mine = kinds == kind
        y = train.targets[:, mine]
        if kind == "real" or (kind == "binary" and config.kind == "linear"):
            progress(f"linear regression, {mine.sum()} {kind} task{'s' * bool(mine.sum() > 1)}")
            theta[:, :, mine] = regression.ridge(x, y, train.weights, strengths)
        else:
            family = regression.LOGISTIC if kind == "binary" else regression.POISSON
            theta[:, :, mine] = regression.generalised(x, y, train.weights, strengths, family, say=progress)
    binary = kinds == "binary"
    if config.kind == "linear" and binary.any():
        seen = [(x, train.targets[:, binary])]
        if held is not None and valid is not None:
            seen.insert(0, (held, valid.targets[:, binary]))
        theta[:, :, binary] = _as_log_odds(theta[:, :, binary], seen)
    chosen = np.zeros(len(kinds), np.int64)
    if held is not None and valid is not None:
        chosen = _choose(config, theta, held, valid)
    best = theta[chosen, :, np.arange(len(kinds))].T
    weights = best[:-1] / divisor[:, None]
    return KmerModel(
        config,
        train.tasks,
        train.length,
        weights=weights.astype(np.float32),
        bias=(best[-1] - center @ weights).astype(np.float32),
        scale=spread,
        strengths=np.array(strengths)[chosen],
    )


def _check(config: KmerConfig, train: Dataset, valid: Dataset | None) -> None:
    for task, y in zip(train.tasks, train.targets.T, strict=True):
        seen = y[~np.isnan(y)]
        if not seen.size:
            raise InputError(
                f"task {task.name!r} has no label in split 'train' ({len(y):,} missing). Remove it or change the split"
            )
        if task.kind == "binary" and seen.min() == seen.max():
            raise InputError(
                f"task {task.name!r} has only the label {seen[0]:g} in split 'train': expected 0 and 1. "
                "Remove it or change the split"
            )
        if task.kind == "count" and not seen.any():
            raise InputError(f"task {task.name!r} counts nothing in split 'train'. Remove it or change the split")
    closed = any(t.kind == "real" or (t.kind == "binary" and config.kind == "linear") for t in train.tasks)
    if closed and len(config.words) > _CLOSED_FORM:
        raise InputError(
            f"model.k={config.lengths} gives {len(config.words):,} features: expected at most {_CLOSED_FORM:,} for "
            "linear regression. Use shorter words"
        )
    if len(config.strengths) > 1 and (valid is None or not len(valid)):
        raise InputError(
            f"model.strengths names {len(config.strengths)} strengths: expected a valid split to choose by, found "
            "none. Give one strength or a valid split"
        )


def _moments(x: Float32[np.ndarray, "N F"]) -> tuple[Float32[np.ndarray, " F"], Float32[np.ndarray, " F"]]:
    """Mean and standard deviation of each column, summed in float64 a block of rows at a time."""
    blocks = range(0, len(x), _ROWS)
    mean, square = np.zeros((2, x.shape[1]))
    for i in blocks:
        mean += x[i : i + _ROWS].sum(0, dtype=np.float64) / len(x)
    for i in blocks:
        square += ((x[i : i + _ROWS] - mean) ** 2).sum(0) / len(x)
    return mean.astype(np.float32), np.sqrt(square).astype(np.float32)


def _as_log_odds(
    theta: Float64[np.ndarray, "S G T"], seen: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Float64[np.ndarray, "S G T"]:
    """Rescales linear scores of 0/1 targets, task by task, without changing their order.

    `seen` are features and targets that may show how the scores of both classes lie: valid, whose scores are not
    flattered by the fit, then train for tasks of which valid has too little.
    """
    slope, offset = np.zeros((2, theta.shape[0], theta.shape[2]))
    for features, targets in seen:
        for j, coefficients in enumerate(theta):
            todo = slope[j] == 0
            scores = features @ coefficients[:, todo].astype(np.float32)
            found = regression.calibrate(scores, targets[:, todo])
            usable = np.isfinite(found).all(0) & (found[0] > 0)
            slope[j, todo], offset[j, todo] = np.where(usable, found, 0)
    # Scores that tell nothing: the share of positives in train, last of `seen`, stands for all.
    positive, negative = ((seen[-1][1] == value).sum(0) for value in (1, 0))
    offset = np.where(slope == 0, np.log(positive / negative), offset)
    result = theta * slope[:, None]
    result[:, -1] += offset
    return result


def _choose(
    config: KmerConfig, theta: Float64[np.ndarray, "S G T"], held: Float32[np.ndarray, "N G"], valid: Dataset
) -> Int64[np.ndarray, " T"]:
    """Index of the strength with the best value on valid: of each task, or of all tasks of a kind together.

    Where a task's metric is undefined on valid (one class only), its kind decides; where that fails too, the strongest.
    """
    kinds = [t.kind for t in valid.tasks]
    wanted = {"binary": config.choose_by, "real": "mse", "count": "poisson_deviance"}
    score = np.full((len(theta), len(kinds)), np.nan)
    for j, coefficients in enumerate(theta):
        predictions = values(held @ coefficients.astype(np.float32), valid.tasks)
        table = metrics.task_metrics(predictions, valid.targets, kinds, sorted({wanted[k] for k in kinds}))
        for t, kind in enumerate(kinds):
            value = table[wanted[kind]][t] if wanted[kind] in table else np.nan
            score[j, t] = value if metrics.METRICS[wanted[kind]].higher else -value
    defined = ~np.isnan(score).any(0)
    chosen = np.where(defined, np.where(defined, score, 0).argmax(0), 0)
    for kind in set(kinds):
        mine = np.array([k == kind for k in kinds])
        if (mine & defined).any():
            together = score[:, mine & defined].mean(1).argmax()
            chosen[mine & ~defined if config.per_task else mine] = together
    return chosen
