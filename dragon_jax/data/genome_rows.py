"""From windows of a genome to the rows of each split: divided by position, negatives matched per split, leaks audited.

A split is one bit for each candidate window. Bases are read a few thousand windows at a time, and 8-byte digests are kept
of valid and test, which train must not repeat. Loci need the windows of one contig at hand, matched negatives those of
their pool, and a search for near-duplicates all.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dragon_jax.data.dataset import SPLITS, Dataset, Task
from dragon_jax.data.digests import digests
from dragon_jax.data.genome_config import GenomeConfig
from dragon_jax.data.grid import Choice
from dragon_jax.data.labelled import Labelled
from dragon_jax.data.leaks import PROTECTED, without_near
from dragon_jax.data.matched import Features, MatchReport, match_windows
from dragon_jax.data.negatives import NegativesConfig
from dragon_jax.data.splits import SplitConfig, by_locus, divide, overlapping
from dragon_jax.data.windows import Windows, touching
from dragon_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class GenomeRows:
    """The rows of one split of a genome (`rows.Rows`).

    Attributes:
        labelled: genome, tracks and rules. windows: which windows, in order.
        notes: what was put in order or dropped on the way to these rows.
    """

    labelled: Labelled
    windows: Choice
    notes: Mapping[str, int]

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.labelled.tasks

    @property
    def length(self) -> int:
        return self.windows.length

    def __len__(self) -> int:
        return len(self.windows)

    def chunk(self, start: int, stop: int) -> Dataset:
        return self.labelled.dataset(self.windows.take(slice(start, stop)))


def open_rows(
    source: GenomeConfig, seed: int, split: SplitConfig, negatives: NegativesConfig
) -> tuple[dict[str, GenomeRows], dict[str, int], MatchReport | None]:
    """Returns the rows of every split, what was put in order, and how negatives match where they were drawn.

    Raises:
        InputError: bad files, windows that leak between splits, a pool too small for the negatives asked for.
    """
    labelled = Labelled(source, negatives.match_repeats)
    windows = labelled.candidates()
    report: MatchReport | None = None
    if negatives.name == "matched":
        if split.name == "loci":
            raise InputError(
                "data.negatives.name: 'matched' draws from windows that lie side by side, so data.split.name 'loci' would "
                "make one group of each chromosome. Split by chromosome or chromosome_folds"
            )
        positive = windows.where(lambda block, _: labelled.positive(block)).gathered()
        if not len(positive):
            raise InputError(
                "data.negatives.name: 'matched' needs positive windows, found none. Check data.source.label"
            )
        pool = _pool(labelled, windows).gathered()
        of_contig = _of_contig(positive.contigs, np.union1d(positive.chrom, pool.chrom), split)
        chosen, report = _matched(
            labelled, positive, of_contig[positive.chrom], pool, of_contig[pool.chrom], negatives, seed
        )
        both = _joined(positive, pool.take(chosen))
        windows = Choice.every(both.take(both.order()))
        parts = _parts(windows, lambda block, _: of_contig[block.chrom])
    elif split.name == "loci":
        member = by_locus((windows.on(i, i).regions() for i in windows.used().tolist()), split, ("valid", "test"))
        parts = _parts(windows, lambda block, before: member[before : before + len(block)])
    else:
        of_contig = _of_contig(windows.contigs, windows.used(), split)
        parts = _parts(windows, lambda block, _: of_contig[block.chrom])
    left_out: dict[str, int] = {}
    parts = _audited(labelled, parts, split, left_out)
    labelled.leave_out(parts["train"])
    notes = {**labelled.notes, **left_out}
    return {name: GenomeRows(labelled, part, {}) for name, part in parts.items()}, notes, report


def _parts(windows: Choice, member: Callable[[Windows, int], np.ndarray]) -> dict[str, Choice]:
    """The splits that have windows; `member` tells the index in SPLITS of each window of a block."""

    def of(split: int) -> Choice:
        return windows.where(lambda block, before: member(block, before) == split)

    found = {name: of(i) for i, name in enumerate(SPLITS)}
    if not len(found["train"]):
        raise InputError(f"split 'train' is empty: expected rows, found none of {len(windows):,}. Change data.split")
    return {name: part for name, part in found.items() if len(part)}


def _joined(a: Windows, b: Windows) -> Windows:
    return Windows(a.contigs, np.r_[a.chrom, b.chrom], np.r_[a.start, b.start], a.length)


def _pool(labelled: Labelled, bins: Choice) -> Choice:
    """Windows without any peak in or at them, to choose negatives from."""
    source = labelled.source
    if source.windows != "bins":
        bins = labelled.usable(labelled.grid())
        return bins.where(lambda block, _: ~touching(block, labelled.peaks, source.label.margin))
    return bins.where(
        lambda block, _: ~(labelled.positive(block) | touching(block, labelled.peaks, source.label.margin))
    )


def _of_contig(contigs: Mapping[str, int], used: np.ndarray, split: SplitConfig) -> np.ndarray:
    """Index in SPLITS of the windows of each contig, of which those with windows are `used`; -1 for the others."""
    if split.name in ("hash", "folds", "column", "files"):
        raise InputError(
            f"data.split.name: {split.name!r} divides sequences, found a genome whose windows may overlap. "
            "Use chromosome, chromosome_folds or loci"
        )
    # whole contigs are divided, so one window of each says it all
    first = Windows(contigs, used.astype(np.int32), np.zeros(len(used), np.int64), 1)
    names = list(contigs)
    sizes = {names[i]: contigs[names[i]] for i in used.tolist()}
    result = np.full(len(names), -1, np.int8)
    shadow = _shadow(first, np.zeros((len(first), 0), np.uint8))
    for name, part in divide({"all": shadow}, split, sizes).items():
        result[used[part.inputs["row"]]] = SPLITS.index(name)
    return result


def _shadow(windows: Windows, codes: np.ndarray, split: int = 0) -> Dataset:
    """Rows without labels, for the parts of the house that look at positions or bases alone."""
    regions = windows.regions()
    names = [f"{c}:{s}-{e}" for c, s, e in zip(regions.chrom, regions.start, regions.end, strict=True)]
    return Dataset(
        codes=codes,
        targets=np.zeros((len(windows), 1), np.float32),
        tasks=(Task("position"),),
        ids=np.array(names if codes.shape[1] else [""] * len(windows), np.str_),
        regions=regions,
        inputs={"row": np.arange(len(windows)), "split": np.full(len(windows), split)},
    )


def _matched(
    labelled: Labelled,
    windows: Windows,
    member: np.ndarray,
    pool: Windows,
    pool_member: np.ndarray,
    config: NegativesConfig,
    seed: int,
) -> tuple[np.ndarray, MatchReport]:
    """Rows of the pool chosen for all splits, and how well they match."""
    wanted = [SPLITS.index(name) for name in config.splits]

    def features(which: Windows, split: np.ndarray) -> Features:
        repeats = labelled.masked(which) if config.match_repeats else None
        return Features(labelled.gc(which), np.array(SPLITS)[split], repeats)

    mine = np.isin(member, wanted)
    theirs = np.flatnonzero(np.isin(pool_member, wanted))
    rows, report = match_windows(
        features(windows.take(mine), member[mine]),
        features(pool.take(theirs), pool_member[theirs]),
        float(config.per_positive),
        seed if config.seed is None else config.seed,
        tolerance=config.gc_tolerance,
    )
    return theirs[rows], report


def _audited(
    labelled: Labelled, parts: dict[str, Choice], split: SplitConfig, notes: dict[str, int]
) -> dict[str, Choice]:
    """The parts without windows that overlap or repeat those of a more protected split.

    Raises:
        InputError: there are some and the config says to refuse, or a split is left empty.
    """
    order = [name for name in PROTECTED if name in parts]
    for i, strong in enumerate(order):
        for weak in order[i + 1 :]:
            parts[weak] = _apart(parts, strong, weak, split, notes)
    taken = np.zeros(0, np.uint64)  # sorted digests of the splits that others must not repeat; train is not among them
    for name in order:
        before = parts[name]
        own = np.zeros(len(before) if name != order[-1] else 0, np.uint64)
        parts[name] = before.where(functools.partial(_original, labelled, taken, own))
        if (count := len(before) - len(parts[name])) and split.duplicates == "refuse":
            first = _first_outside(before, parts[name])
            raise InputError(
                f"{count:,} windows of {name!r} occur in a more protected split too, as a copy or reverse "
                f"complement (first: {first}): expected each on one side. Set data.split.duplicates=drop"
            )
        if count:
            notes[f"copies dropped from {name}"] = count
        taken = np.concatenate([taken, own])
        taken.sort()
        if not len(parts[name]):
            raise InputError(
                f"split {name!r} is empty: every window of it occurs in another split too. Change data.split"
            )
    return parts if split.near_duplicates == "ignore" else _unlike(labelled, parts, split, notes)


def _original(labelled: Labelled, taken: np.ndarray, own: np.ndarray, block: Windows, before: int) -> np.ndarray:
    """Which windows have no digest that is taken; puts the digests into `own`, where there is room for them.

    8 bytes tell 10 million windows apart but for odds of 1 in 370,000 that any two share them by chance.
    """
    if not len(taken) and not len(own):
        return np.ones(len(block), bool)
    found = labelled.measure(block, lambda codes: digests(codes, size=8).view(np.uint64))
    if len(own):
        own[before : before + len(block)] = found
    if not len(taken):
        return np.ones(len(block), bool)
    return taken[np.minimum(np.searchsorted(taken, found), len(taken) - 1)] != found


def _first_outside(before: Choice, after: Choice) -> str:
    """The place of the first window that was chosen and is no more."""
    left = Choice(before.source, before.bits & ~after.bits)
    first = left.take(slice(0, 1)).regions()
    return f"{first.chrom[0]}:{first.start[0]}-{first.end[0]}"


def _unlike(
    labelled: Labelled, parts: dict[str, Choice], split: SplitConfig, notes: dict[str, int]
) -> dict[str, Choice]:
    """The parts without windows like one of another split; the bases of all are in memory for that."""
    lists = {name: part.gathered() for name, part in parts.items()}
    shadows = {n: _shadow(part, labelled.codes(part), i) for i, (n, part) in enumerate(lists.items())}
    policy: Any = split.near_duplicates
    kept, found = without_near(shadows, policy, split.similarity, split.homology_table)
    notes.update(found)
    result = {}
    for name, data in kept.items():
        rows, owner = data.inputs["row"], data.inputs["split"]
        pieces = [part.take(rows[owner == i]) for i, part in enumerate(lists.values())]
        joined = functools.reduce(_joined, pieces)
        if not len(joined):
            raise InputError(
                f"split {name!r} is empty: every window of it is like one of another split. Change data.split"
            )
        result[name] = Choice.every(joined.take(joined.order()))
    return result


def _apart(parts: dict[str, Choice], strong: str, weak: str, split: SplitConfig, notes: dict[str, int]) -> Choice:
    """The windows of the weaker split that stay clear of the stronger one."""
    windows = parts[weak]
    if split.overlaps == "ignore":
        return windows
    if not len(np.intersect1d(windows.used(), parts[strong].used())):
        return windows

    def clear(block: Windows, _: int) -> np.ndarray:
        there = parts[strong].on(int(block.chrom[0]), int(block.chrom[-1]))
        return ~overlapping(block.regions(), there.regions(), split.gap)

    kept = windows.where(clear)
    if not (count := len(windows) - len(kept)):
        return windows
    if split.overlaps == "refuse":
        near = f" or lie within {split.gap} bases of" if split.gap else ""
        raise InputError(
            f"{count:,} windows of {weak!r} overlap{near} {strong!r} (first: {_first_outside(windows, kept)}): "
            "expected no shared bases. Split by chromosome, or set data.split.overlaps=drop"
        )
    notes[f"windows dropped from {weak} that overlap {strong}"] = count
    return kept
