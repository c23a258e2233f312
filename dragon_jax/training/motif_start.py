"""Filters of the first convolution that start at motifs enriched in the training set, instead of at random.

From random filters a network meets a weak motif by luck: of four seeds on the SIX5 grammar of this project one stayed at chance for
four epochs. A few seconds of counting words (`motifs.enriched`) find where the filters have to go; training then
does what counting cannot: weights, places, combinations. Only labels of the training split are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.records import TfdsSplit
from dragon_jax.motifs.enriched import EnrichedMotif, enriched_motifs

_BASES = 3_000_000  # of each of the two sides of a task: enough for motifs in one of a hundred sequences
_NEGATIVES = 10  # sequences without for one with: more cost time for each task and hardly sharpen the background
_BLOCKS = 64  # where rows stay on the disk, these many stretches of them are read
_TAIL = 0.2  # of a real or count task, the upper fifth is held against the lower
_RANDOM = 0.3  # what is kept of the random start, so that equal motifs do not give equal filters

Found = list[tuple[str, EnrichedMotif]]


def find_starts(train: Dataset | TfdsSplit, filters: int, width: int, seed: int) -> Found:
    """Returns at most `filters` (task, motif) pairs: each task's clearest first, then each one's second, and so on.

    Of the motifs of one rank the clearest comes first, and one that an earlier one resembles is left out.

    Args:
        width: positions of the filters. seed: draws the rows that are looked at, where there are more than needed.
    """
    if filters < 1:
        return []
    codes, targets = _sample(train, seed)
    each = -(-filters // len(train.tasks))
    ranked: list[Found] = [[] for _ in range(each)]
    for i, task in enumerate(train.tasks):
        positives, negatives = _sides(codes, targets[:, i], task)
        for found, motif in zip(ranked, enriched_motifs(positives, negatives, width=width, most=each), strict=False):
            found.append((task.name, motif))
    chosen: Found = []
    for found in ranked:
        for name, motif in sorted(found, key=lambda pair: -pair[1].z):
            if len(chosen) < filters and not any(motif.like(other) for _, other in chosen):
                chosen.append((name, motif))
    return chosen


def start_kernel(kernel: Float32[np.ndarray, "W 4 D"], motifs: Sequence[EnrichedMotif]) -> Float32[np.ndarray, "W 4 D"]:
    """Returns the kernel with its first filters at the motifs, each as long (Euclidean norm) as random ones are on average."""
    result = np.array(kernel, np.float32)
    norm = np.sqrt((result**2).sum((0, 1)).mean())
    for j, motif in enumerate(motifs):
        filter_ = motif.log_odds - motif.log_odds.mean(1, keepdims=True)
        result[:, :, j] = filter_ / np.linalg.norm(filter_) * norm + _RANDOM * result[:, :, j]
    return result


def with_kernel(params: dict[str, Any], path: Sequence[str], kernel: np.ndarray) -> dict[str, Any]:
    """Returns the parameters with the one at `path` replaced; nothing is changed in place."""
    head, *rest = path
    return params | {head: with_kernel(params[head], rest, kernel) if rest else jnp.asarray(kernel)}


def get_kernel(params: dict[str, Any], path: Sequence[str]) -> np.ndarray:
    """Returns the parameter at `path`, on the host."""
    for name in path:
        params = params[name]
    return np.asarray(params)


def describe(found: Found, filters: int) -> str:
    """Returns the line for the user."""
    if not found:
        return "no motif is enriched in train: all filters start at random"
    shown = ", ".join(f"{m.word} ({task}, z {m.z:.0f})" for task, m in found[:6])
    return f"{len(found)} of {filters} filters start at motifs enriched in train: {shown}{', ...' * (len(found) > 6)}"


def _sample(train: Dataset | TfdsSplit, seed: int) -> tuple[UInt8[np.ndarray, "n L"], np.ndarray]:
    """Rows to look at: all, or as many as hold four times `_BASES`, drawn or (on the disk) read in stretches."""
    enough = max(4 * _BASES // train.length, 1000)
    if isinstance(train, Dataset):
        if len(train) > enough:
            rows = np.sort(np.random.default_rng([seed, 211]).choice(len(train), enough, replace=False))
            return train.codes[rows], train.targets[rows]
        return train.codes, train.targets
    if len(train) <= enough:
        part = train.chunk(0, len(train))
        return part.codes, part.targets
    size = -(-enough // _BLOCKS)
    starts = np.linspace(0, len(train) - size, _BLOCKS).astype(int)
    parts = [train.chunk(int(s), int(s) + size) for s in starts]
    return np.concatenate([p.codes for p in parts]), np.concatenate([p.targets for p in parts])


def _sides(codes: np.ndarray, values: np.ndarray, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Sequences that have what the task is about, and those that have not; at most `_BASES` of each, evenly spaced."""
    if task.kind == "binary":
        chosen = values == 1, values == 0
    else:
        measured = ~np.isnan(values)
        if not measured.any():
            return codes[:0], codes[:0]
        low, high = np.quantile(values[measured], [_TAIL, 1 - _TAIL])
        chosen = values >= high, values <= low
        if high == low:  # mostly one value: the rest stands against it
            chosen = values > high, values == low
    most = max(_BASES // codes.shape[1], 1)
    positives = _spread(np.flatnonzero(chosen[0]), most)
    negatives = _spread(np.flatnonzero(chosen[1]), min(most, _NEGATIVES * len(positives)))
    return codes[positives], codes[negatives]


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """Returns at most `most` of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)]
