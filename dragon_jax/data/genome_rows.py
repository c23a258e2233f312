"""From windows of a genome to the rows of each split: divided by position, negatives matched per split, leaks audited.

All of it works on window numbers and 8-byte digests; bases are read a few thousand windows at a time.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon_jax.data.dataset import SPLITS, Dataset, Task
from dragon_jax.data.digests import digests
from dragon_jax.data.genome_config import GenomeConfig
from dragon_jax.data.labelled import Labelled
from dragon_jax.data.leaks import PROTECTED, without_near
from dragon_jax.data.matched import Features, MatchReport, match_windows
from dragon_jax.data.negatives import NegativesConfig
from dragon_jax.data.splits import SplitConfig, divide, overlapping
from dragon_jax.data.windows import Windows, tile, touching
from dragon_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class GenomeRows:
    """The rows of one split of a genome (`rows.Rows`).

    Attributes:
        labelled: genome, tracks and rules. windows: which windows, in order.
        notes: what was put in order or dropped on the way to these rows.
    """

    labelled: Labelled
    windows: Windows
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
        positive = labelled.positive(windows)
        if not positive.any():
            raise InputError(
                "data.negatives.name: 'matched' needs positive windows, found none. Check data.source.label"
            )
        pool = _pool(labelled, windows.take(~positive))
        windows = windows.take(positive)
        member, pool_member = np.split(_member(_joined(windows, pool), split), [len(windows)])
        chosen, report = _matched(labelled, windows, member, pool, pool_member, negatives, seed)
        member = np.r_[member, pool_member[chosen]]
        windows = _joined(windows, pool.take(chosen))
        order = windows.order()
        windows, member = windows.take(order), member[order]
    else:
        member = _member(windows, split)
    parts = {name: windows.take(member == i) for i, name in enumerate(SPLITS) if (member == i).any()}
    left_out: dict[str, int] = {}
    parts = _audited(labelled, parts, split, left_out)
    labelled.leave_out(parts["train"])
    notes = {**labelled.notes, **left_out}
    return {name: GenomeRows(labelled, part, {}) for name, part in parts.items()}, notes, report


def _joined(a: Windows, b: Windows) -> Windows:
    return Windows(a.contigs, np.r_[a.chrom, b.chrom], np.r_[a.start, b.start], a.length)


def _pool(labelled: Labelled, bins: Windows) -> Windows:
    """Windows without any peak in or at them, to choose negatives from."""
    source = labelled.source
    if source.windows != "bins":
        bins = labelled.usable(tile(labelled.contigs, source.length, source.step()))
    return bins.take(~touching(bins, labelled.peaks, source.label.margin))


def _member(windows: Windows, split: SplitConfig) -> np.ndarray:
    """Index in SPLITS of each window, by its position alone."""
    if split.name in ("hash", "folds", "column", "files"):
        raise InputError(
            f"data.split.name: {split.name!r} divides sequences, found a genome whose windows may overlap. "
            "Use chromosome, chromosome_folds or loci"
        )
    if split.name == "loci":
        return _divided(windows, split, None)
    used = np.unique(windows.chrom)  # whole contigs are divided, so one window of each says it all
    first = Windows(windows.contigs, used, np.zeros(len(used), np.int64), windows.length)
    names = list(windows.contigs)
    of_contig = np.full(len(names), -1, np.int8)
    of_contig[used] = _divided(first, split, {names[i]: windows.contigs[names[i]] for i in used.tolist()})
    return of_contig[windows.chrom]


def _divided(windows: Windows, split: SplitConfig, sizes: dict[str, int] | None) -> np.ndarray:
    """Index in SPLITS of each window, -1 where it has none, as `splits.divide` says."""
    shadow = _shadow(windows, np.zeros((len(windows), 0), np.uint8))
    member = np.full(len(windows), -1, np.int8)
    for name, part in divide({"all": shadow}, split, sizes).items():
        member[part.inputs["row"]] = SPLITS.index(name)
    return member


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
    labelled: Labelled, parts: dict[str, Windows], split: SplitConfig, notes: dict[str, int]
) -> dict[str, Windows]:
    """The parts without windows that overlap or repeat those of a more protected split.

    Raises:
        InputError: there are some and the config says to refuse, or a split is left empty.
    """
    order = [name for name in PROTECTED if name in parts]
    for i, strong in enumerate(order):
        for weak in order[i + 1 :]:
            parts[weak] = _apart(parts, strong, weak, split, notes)
    taken = np.zeros(0, np.uint64)
    for name in order:
        # 8 bytes tell 10 million windows apart but for odds of 1 in 370,000 that any two share them by chance
        own = labelled.measure(parts[name], lambda codes: digests(codes, size=8).view(np.uint64))
        copies = np.isin(own, taken)
        if copies.any() and split.duplicates == "refuse":
            first = parts[name].regions().take(np.flatnonzero(copies)[:1])
            raise InputError(
                f"{int(copies.sum()):,} windows of {name!r} occur in a more protected split too, as a copy or reverse "
                f"complement (first: {first.chrom[0]}:{first.start[0]}-{first.end[0]}): expected each on one side. "
                "Set data.split.duplicates=drop"
            )
        if copies.any():
            parts[name] = parts[name].take(~copies)
            notes[f"copies dropped from {name}"] = int(copies.sum())
        taken = np.concatenate([taken, own[~copies]])
        if not len(parts[name]):
            raise InputError(
                f"split {name!r} is empty: every window of it occurs in another split too. Change data.split"
            )
    return parts if split.near_duplicates == "ignore" else _unlike(labelled, parts, split, notes)


def _unlike(
    labelled: Labelled, parts: dict[str, Windows], split: SplitConfig, notes: dict[str, int]
) -> dict[str, Windows]:
    """The parts without windows like one of another split; the bases of all are in memory for that."""
    shadows = {n: _shadow(part, labelled.codes(part), i) for i, (n, part) in enumerate(parts.items())}
    policy: Any = split.near_duplicates
    kept, found = without_near(shadows, policy, split.similarity, split.homology_table)
    notes.update(found)
    result = {}
    for name, data in kept.items():
        rows, owner = data.inputs["row"], data.inputs["split"]
        pieces = [part.take(rows[owner == i]) for i, part in enumerate(parts.values())]
        joined = functools.reduce(_joined, pieces)
        if not len(joined):
            raise InputError(
                f"split {name!r} is empty: every window of it is like one of another split. Change data.split"
            )
        result[name] = joined.take(joined.order())
    return result


def _apart(parts: dict[str, Windows], strong: str, weak: str, split: SplitConfig, notes: dict[str, int]) -> Windows:
    """The windows of the weaker split that stay clear of the stronger one."""
    windows = parts[weak]
    if split.overlaps == "ignore" or not np.isin(np.unique(windows.chrom), np.unique(parts[strong].chrom)).any():
        return windows
    here, there = windows.regions(), parts[strong].regions()
    hit = overlapping(here, there, split.gap)
    if not hit.any():
        return windows
    if split.overlaps == "refuse":
        row = int(np.argmax(hit))
        near = f" or lie within {split.gap} bases of" if split.gap else ""
        raise InputError(
            f"{int(hit.sum()):,} windows of {weak!r} overlap{near} {strong!r} (first: {here.chrom[row]}:"
            f"{here.start[row]}-{here.end[row]}): expected no shared bases. Split by chromosome, or set "
            "data.split.overlaps=drop"
        )
    notes[f"windows dropped from {weak} that overlap {strong}"] = int(hit.sum())
    return windows.take(~hit)
