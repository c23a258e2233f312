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
from dragon_jax.data.territories import territories
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
        positive = labelled.positive(windows)
        if not positive.any():
            raise InputError(
                "data.negatives.name: 'matched' needs positive windows, found none. Check data.source.label"
            )
        pool = _pool(labelled, windows.take(~positive))
        windows = windows.take(positive)
        if split.name == "loci":  # windows that tile the genome would make one locus of each contig
            member = _member(windows, split)
            pool_member = territories(windows, member, pool, split.gap)
        else:
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
    parts = _without_overlaps(parts, split, notes)
    parts = _without_copies(labelled, parts, split, notes)
    if split.near_duplicates != "ignore":
        parts = _unlike(labelled, parts, split, notes)
    if "group" in (split.duplicates, split.near_duplicates):  # windows that were moved may overlap others now
        parts = _without_overlaps(parts, split, notes)
    for name, part in parts.items():
        if not len(part):
            raise InputError(
                f"split {name!r} is empty: every window of it occurs in another split too. Change data.split"
            )
    return parts


def _without_overlaps(parts: dict[str, Windows], split: SplitConfig, notes: dict[str, int]) -> dict[str, Windows]:
    """The parts, the weaker ones without windows that overlap those of a stronger one."""
    order = [name for name in PROTECTED if name in parts]
    result = dict(parts)
    for i, strong in enumerate(order):
        for weak in order[i + 1 :]:
            result[weak] = _apart(result, strong, weak, split, notes)
    return result


def _without_copies(
    labelled: Labelled, parts: dict[str, Windows], split: SplitConfig, notes: dict[str, int]
) -> dict[str, Windows]:
    """The parts without copies of a window in two of them: dropped from the weaker, or moved to the strongest."""
    order = [name for name in PROTECTED if name in parts]
    # 8 bytes tell 10 million windows apart but for odds of 1 in 370,000 that any two share them by chance
    keys = [
        labelled.measure(parts[name], lambda codes: digests(codes, size=8).view(np.uint64).ravel()).astype(np.uint64)
        for name in order
    ]
    owner = np.repeat(np.arange(len(order)), list(map(len, keys)))
    _, group = np.unique(np.concatenate(keys), return_inverse=True)
    best = np.full(int(group.max(initial=-1)) + 1, len(order))
    np.minimum.at(best, group, owner)
    target = best[group]
    begin = np.cumsum([0, *map(len, keys)])
    targets = [target[a:b] for a, b in zip(begin[:-1], begin[1:], strict=True)]
    result = {}
    for i, name in enumerate(order):
        copies = targets[i] != i
        if copies.any() and split.duplicates == "refuse":
            first = parts[name].regions().take(np.flatnonzero(copies)[:1])
            raise InputError(
                f"{int(copies.sum()):,} windows of {name!r} occur in a more protected split too, as a copy or reverse "
                f"complement (first: {first.chrom[0]}:{first.start[0]}-{first.end[0]}): expected each on one side. "
                "Set data.split.duplicates to drop or group"
            )
        result[name] = parts[name].take(~copies)
        if copies.any():
            notes[f"copies {'moved out of' if split.duplicates == 'group' else 'dropped from'} {name}"] = int(
                copies.sum()
            )
        if split.duplicates == "group":
            moved = [parts[other].take(targets[j] == i) for j, other in enumerate(order) if j != i]
            joined = functools.reduce(_joined, moved, result[name])
            result[name] = joined.take(joined.order())
    return {name: result[name] for name in parts}


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
