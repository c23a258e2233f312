"""Motif grammars: which motifs are planted in a sequence, how many, where, how far apart, on which strands.

A grammar is a background and plants; a plant is one motif, or two that stay together at a spacing. `simulate` draws
sequences and keeps every planted site. Instances are drawn base by base from the motif, independent of all else.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from dragon_jax.config import check_range
from dragon_jax.data.backgrounds import Background, draw_codes, running
from dragon_jax.data.placement import Blocks, Place, Placement, arrange
from dragon_jax.dna import reverse_complement

Orientation = Literal["same", "convergent", "divergent", "opposite", "random"]
# Strands (0 forward, 1 reverse) of the left and right member; one row is drawn.
_STRANDS = {
    "same": ((0, 0),),
    "convergent": ((0, 1),),
    "divergent": ((1, 0),),
    "opposite": ((0, 1), (1, 0)),
    "random": ((0, 0), (0, 1), (1, 0), (1, 1)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Number:
    """A distribution over how many copies a sequence gets.

    Attributes:
        low, high: smallest and largest number.
        law: `uniform` over low..high (fixed where they are equal), or `poisson` with mean `rate` given low..high
            (truncated: what falls outside is drawn again).
        zeros: share of sequences that get none, whatever the law says (zero-inflated).
    """

    low: int = 1
    high: int = 1
    law: Literal["uniform", "poisson"] = "uniform"
    rate: float = 0.0
    zeros: float = 0.0

    def __post_init__(self):
        check_range("low", self.low, 0, 10_000)
        check_range("high", self.high, self.low, 10_000)
        check_range("zeros", self.zeros, 0, 1)
        check_range("rate", self.rate, 0, float("inf"), open_low=self.law == "poisson", open_high=True)
        if self.law == "uniform" and self.rate:
            raise ValueError(f"rate: expected with law='poisson' only, found {self.rate}")

    def probabilities(self) -> Float64[np.ndarray, " K"]:
        """Returns the probability of each number 0, 1, ..., high."""
        p = np.zeros(self.high + 1)
        numbers = np.arange(self.low, self.high + 1)
        if self.law == "poisson":
            log = numbers * math.log(self.rate) - np.array([math.lgamma(k + 1) for k in numbers])
            p[self.low :] = np.exp(log - log.max())
        else:
            p[self.low :] = 1.0
        p *= (1 - self.zeros) / p.sum()
        p[0] += self.zeros
        return p

    def draw(self, n: int, rng: np.random.Generator) -> Int64[np.ndarray, " N"]:
        p = self.probabilities()
        return np.searchsorted(running(p)[:-1], rng.random(n), side="right").astype(np.int64)


def fixed(n: int) -> Number:
    """Returns the distribution that always gives n."""
    return Number(low=n, high=n)


class Matrix(NamedTuple):
    """A motif as it is planted.

    Attributes:
        name: of the motif. probabilities: float64 `[W, 4]`, rows add up to 1.
    """

    name: str
    probabilities: Float64[np.ndarray, "W 4"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plant:
    """One motif, or two that stay together.

    Attributes:
        motifs: indices of one or two motifs, left to right on the strand of the block.
        task: name of the task that the plant is about.
        number: copies in a sequence.
        place: where a copy may lie; a pair lies there as a whole, with what is between.
        spacing: fewest and most bases between the members of a pair, each number equally often.
        orientation: strands of the two members: `same` (+ +), `convergent` (+ -), `divergent` (- +), `opposite` (either of
            these), or `random` (each on its own).
        order: `fixed` as in `motifs`, or `either`, half of the copies the other way round.
        both_strands: half of the copies, pairs as a whole, are reverse-complemented.
    """

    motifs: tuple[int, ...]
    task: str
    number: Number = Number()
    place: Place = Place()
    spacing: tuple[int, int] = (0, 0)
    orientation: Orientation = "same"
    order: Literal["fixed", "either"] = "fixed"
    both_strands: bool = True

    def __post_init__(self):
        if len(self.motifs) not in (1, 2):
            raise ValueError(f"motifs: expected one or two, found {len(self.motifs)}")
        if not 0 <= self.spacing[0] <= self.spacing[1]:
            raise ValueError(f"spacing: expected 0 <= least <= most, found {self.spacing}")


@dataclasses.dataclass(frozen=True)
class Grammar:
    """Attributes: what is planted, and how many of the plants, drawn at random for each sequence (None = all of them)."""

    plants: tuple[Plant, ...] = ()
    choose: Number | None = None

    def __post_init__(self):
        if self.choose is not None and self.choose.high > len(self.plants):
            raise ValueError(f"choose: expected at most {len(self.plants)} plants, found {self.choose.high}")


@dataclasses.dataclass(frozen=True)
class Sites:
    """The truth: every planted motif instance, by sequence and start.

    Attributes:
        sequence: int64 `[M]`, row. start, end: int64 `[M]`, 0-based half-open, forward strand, inside the sequence.
        reverse: uint8 `[M]`, 1 where the instance lies on the other strand.
        motif: int64 `[M]`, index of the motif. task: text `[M]`.
        block: int64 `[M]`, number of the plant's copy in all sequences; the members of a pair share it.
        score: float64 `[M]`, log2 of the probability of the instance under the motif over that under the background.
    """

    sequence: Int64[np.ndarray, " M"]
    start: Int64[np.ndarray, " M"]
    end: Int64[np.ndarray, " M"]
    reverse: UInt8[np.ndarray, " M"]
    motif: Int64[np.ndarray, " M"]
    task: np.ndarray
    block: Int64[np.ndarray, " M"]
    score: Float64[np.ndarray, " M"]

    def __len__(self) -> int:
        return len(self.sequence)

    def take(self, rows: np.ndarray) -> Sites:
        return Sites(*(getattr(self, f.name)[rows] for f in dataclasses.fields(self)))


def join_sites(parts: Sequence[Sites], offsets: Sequence[int]) -> Sites:
    """Returns the sites of parts whose sequences are put behind each other; `offsets` is the first row of each."""
    columns = {f.name: [getattr(p, f.name) for p in parts] for f in dataclasses.fields(Sites)}
    blocks = np.cumsum([0] + [int(p.block.max(initial=-1)) + 1 for p in parts])[:-1]
    columns["sequence"] = [s + o for s, o in zip(columns["sequence"], offsets, strict=True)]
    columns["block"] = [b + o for b, o in zip(columns["block"], blocks.tolist(), strict=True)]
    return Sites(**{name: np.concatenate(values) for name, values in columns.items()})


def simulate(
    grammar: Grammar,
    motifs: Sequence[Matrix],
    background: Background,
    n: int,
    length: int,
    rng: np.random.Generator,
    placement: Placement = "uniform",
) -> tuple[UInt8[np.ndarray, "N L"], Sites]:
    """Draws n sequences of a grammar, uint8 `[n, length]`, and the sites planted in them.

    Raises:
        InputError: the plants of a sequence do not fit into it, or the background has too few sequences.
    """
    codes = background.draw(n, length, rng)
    members, blocks = _blocks(grammar, motifs, n, rng)
    begin = arrange(blocks, length, rng, placement)
    start = begin[members.block] + members.offset
    score = np.zeros(len(start))
    end = start.copy()
    log_background = np.log2(background.composition)
    for index in np.unique(members.motif):
        rows = np.flatnonzero(members.motif == index)
        matrix = motifs[index].probabilities
        end[rows] += len(matrix)
        words = draw_codes(running(matrix), rng.random((len(rows), len(matrix))))
        logs = np.log2(np.maximum(matrix, 1e-300)) - log_background
        score[rows] = logs[np.arange(len(matrix)), words].sum(1)
        words = np.where(members.reverse[rows, None] == 1, reverse_complement(words), words)
        codes[blocks.row[members.block[rows], None], start[rows, None] + np.arange(len(matrix))] = words
    tasks = np.array([plant.task for plant in grammar.plants] or [""])
    sites = Sites(
        sequence=blocks.row[members.block],
        start=start,
        end=end,
        reverse=members.reverse.astype(np.uint8),
        motif=members.motif,
        task=tasks[members.plant],
        block=members.block,
        score=score,
    )
    return codes, sites.take(np.lexsort((start, sites.sequence)))


class _Members(NamedTuple):
    """Motif instances of blocks, int64 `[M]`: their block, motif, plant, strand, and first base within the block."""

    block: np.ndarray
    motif: np.ndarray
    plant: np.ndarray
    reverse: np.ndarray
    offset: np.ndarray


def _blocks(grammar: Grammar, motifs: Sequence[Matrix], n: int, rng: np.random.Generator) -> tuple[_Members, Blocks]:
    """Draws what each sequence gets: number, order, strands and spacing, everything but the place."""
    widths = np.array([len(m.probabilities) for m in motifs] or [0])
    chosen = _choice(grammar, n, rng)
    row, plant = (np.zeros(0, np.int64) for _ in range(2))
    for index, one in enumerate(grammar.plants):
        copies = one.number.draw(n, rng) * chosen[:, index]
        row = np.concatenate([row, np.repeat(np.arange(n), copies)])
        plant = np.concatenate([plant, np.full(int(copies.sum()), index)])
    order = np.lexsort((rng.random(len(row)), row))  # in random order within a sequence, which `sequential` follows
    row, plant = row[order], plant[order]
    width = np.zeros(len(row), np.int64)
    parts = []
    for index, one in enumerate(grammar.plants):
        mine = np.flatnonzero(plant == index)
        first, last = one.motifs[0], one.motifs[-1]
        swapped = rng.integers(0, 2, len(mine)) if one.order == "either" else np.zeros(len(mine), np.int64)
        turned = rng.integers(0, 2, len(mine)) if one.both_strands else np.zeros(len(mine), np.int64)
        if len(one.motifs) == 1:
            width[mine] = widths[first]
            parts.append(_Members(mine, np.full(len(mine), first), plant[mine], turned, np.zeros(len(mine), np.int64)))
            continue
        strands = np.array(_STRANDS[one.orientation])
        strand = strands[rng.integers(0, len(strands), len(mine))] ^ turned[:, None]
        strand = np.where(turned[:, None] == 1, strand[:, ::-1], strand)
        order_flipped = (swapped ^ turned) == 1
        left, right = np.where(order_flipped, last, first), np.where(order_flipped, first, last)
        gap = rng.integers(one.spacing[0], one.spacing[1] + 1, len(mine))
        width[mine] = widths[first] + gap + widths[last]
        nothing = np.zeros(len(mine), np.int64)
        parts.append(_Members(mine, left, plant[mine], strand[:, 0], nothing))
        parts.append(_Members(mine, right, plant[mine], strand[:, 1], widths[left] + gap))
    empty = _Members(*(np.zeros(0, np.int64) for _ in _Members._fields))
    members = _Members(*(np.concatenate(c).astype(np.int64) for c in zip(empty, *parts, strict=True)))
    places = tuple(one.place for one in grammar.plants)
    return members, Blocks(row, width, plant, places)


def _choice(grammar: Grammar, n: int, rng: np.random.Generator) -> np.ndarray:
    """Returns int64 `[n, P]`, 1 where a sequence gets a plant."""
    count = len(grammar.plants)
    if grammar.choose is None:
        return np.ones((n, count), np.int64)
    rank = rng.random((n, count)).argsort(1).argsort(1)
    return (rank < grammar.choose.draw(n, rng)[:, None]).astype(np.int64)
