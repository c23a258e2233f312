"""How well any model can do on a simulated grammar: test auROC of the likelihood ratio that knows motifs and grammar.

Exact for one planted motif. For several, sums over their positions let instances overlap, which is rare enough not to matter.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from dragon_jax.data.grammar import Grammar, Plant
from dragon_jax.data.load import DataConfig


def ratios(codes: np.ndarray, matrix: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each window under the motif over that under the background, `[N, P]`, forward and reverse."""
    scores = np.log(matrix) - np.log(background)
    width = len(scores)
    windows = np.lib.stride_tricks.sliding_window_view(codes, width, axis=1)
    turned = scores[::-1, ::-1]
    logs = [sum(table[i][windows[:, :, i]] for i in range(width)) for table in (scores, turned)]
    return np.exp(logs[0]), np.exp(logs[1])


def subsets(x: np.ndarray, most: int) -> np.ndarray:
    """Mean over all subsets of k columns of the product of `x [N, P]`, for k = 0..most: `[most + 1, N]`."""
    sums = np.zeros((most + 1, len(x)))
    sums[0] = 1
    for j in range(x.shape[1]):
        for k in range(most, 0, -1):
            sums[k] += sums[k - 1] * x[:, j]
    return sums / np.array([math.comb(x.shape[1], k) for k in range(most + 1)])[:, None]


def likelihood(plant: Plant, one: list[tuple[np.ndarray, np.ndarray]], length: int, widths: list[int]) -> np.ndarray:
    """Probability of sequences with a plant over that of background, `[N]`."""
    if len(plant.motifs) == 2:
        if plant.orientation != "same" or plant.order != "fixed":
            raise ValueError("the likelihood is written out for pairs in one orientation and order")
        a, b = plant.motifs
        least, most = plant.spacing
        terms = []
        for gap in range(least, most + 1):
            count = length - widths[a] - gap - widths[b] + 1
            second = widths[a] + gap
            terms.append((one[a][0][:, :count] * one[b][0][:, second : second + count]).mean(1))
            if plant.both_strands:  # read from the other strand, the second motif comes first
                first = widths[b] + gap
                terms.append((one[b][1][:, :count] * one[a][1][:, first : first + count]).mean(1))
        return np.mean(terms, 0)
    (m,) = plant.motifs
    forward, reverse = one[m]
    x = (forward + reverse) / 2 if plant.both_strands else forward
    x = x[:, plant.place.starts(length, widths[m])[: x.shape[1]]]
    p = plant.number.probabilities()
    return (p[:, None] * subsets(x, len(p) - 1)).sum(0)


def ceiling(config: DataConfig) -> dict[str, float]:
    """Returns, for each task of a config with source `grammar`, the auROC of the exact score on test."""
    source: Any = config.source
    data = config.load(0, ("test",)).parts["test"]
    motifs, background = source.matrices(), source.background.build().composition
    tasks, parts = source.built().design(source.motifs, source.task)
    one = [ratios(data.codes, m.probabilities, background) for m in motifs]
    widths = [len(m.probabilities) for m in motifs]
    result = {}
    for i, task in enumerate(tasks):
        if len(parts) == 1:
            score = held(
                i, parts[0].grammar, [likelihood(p, one, data.length, widths) for p in parts[0].grammar.plants]
            )
        else:
            ways = [[likelihood(p, one, data.length, widths) for p in part.grammar.plants] for part in parts]
            positive, negative = (np.prod(w, axis=0) if w else np.ones(len(data)) for w in ways)
            score = np.log(positive) - np.log(negative)
        result[task] = float(roc_auc_score(data.targets[:, i], score))
    return result


def held(i: int, grammar: Grammar, plants: list[np.ndarray]) -> np.ndarray:
    """Log odds `[N]` that plant i is among those chosen, given the likelihood of each: a sum over all subsets."""
    count = len(plants)
    sizes = np.ones(count + 1) if grammar.choose is None else np.pad(grammar.choose.probabilities(), (0, count))
    odds = [np.zeros_like(plants[0]), np.zeros_like(plants[0])]
    for chosen in itertools.product((0, 1), repeat=count):
        k = sum(chosen)
        share = sizes[k] / math.comb(count, k)
        odds[chosen[i]] += share * np.prod([x for x, c in zip(plants, chosen, strict=True) if c], axis=0)
    return np.log(odds[1]) - np.log(odds[0])
