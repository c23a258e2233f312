"""From windows of a genome to the rows of each split: divided by position, negatives matched per split, leaks audited.

A split is one bit for each candidate window. Loci need the windows of one contig at hand, matched negatives those of
their pool.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from dragon_jax.data.dataset import SPLITS, Dataset, Task
from dragon_jax.data.genome_audit import audited, shadow
from dragon_jax.data.genome_config import GenomeConfig
from dragon_jax.data.grid import Choice
from dragon_jax.data.labelled import Labelled
from dragon_jax.data.matched import Features, MatchReport, match_windows
from dragon_jax.data.negatives import NegativesConfig
from dragon_jax.data.splits import SplitConfig, by_locus, divide
from dragon_jax.data.territories import territories
from dragon_jax.data.windows import Windows, joined, touching
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
        positive = windows.where(lambda block, _: labelled.positive(block)).gathered()
        if not len(positive):
            raise InputError(
                "data.negatives.name: 'matched' needs positive windows, found none. Check data.source.label"
            )
        pool = _pool(labelled, windows).gathered()
        if split.name == "loci":  # windows that tile the genome would make one locus of each contig
            member = _by_locus(Choice.every(positive), split)
            pool_member = territories(positive, member, pool, max(split.gap, split.distance + 1))
        else:
            of_contig = _of_contig(positive.contigs, np.union1d(positive.chrom, pool.chrom), split)
            member, pool_member = of_contig[positive.chrom], of_contig[pool.chrom]
        chosen, report = _matched(labelled, positive, member, pool, pool_member, negatives, seed)
        both, member = joined(positive, pool.take(chosen)), np.r_[member, pool_member[chosen]]
        order = both.order()
        windows, member = Choice.every(both.take(order)), member[order]
        parts = _parts(windows, lambda block, before: member[before : before + len(block)])
    elif split.name == "loci":
        member = _by_locus(windows, split)
        parts = _parts(windows, lambda block, before: member[before : before + len(block)])
    else:
        of_contig = _of_contig(windows.contigs, windows.used(), split)
        parts = _parts(windows, lambda block, _: of_contig[block.chrom])
    left_out: dict[str, int] = {}
    parts = audited(labelled, parts, split, left_out)
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


def _pool(labelled: Labelled, bins: Choice) -> Choice:
    """Windows without any peak in or at them, to choose negatives from."""
    source = labelled.source
    if source.windows != "bins":
        bins = labelled.usable(labelled.grid())
        return bins.where(lambda block, _: ~touching(block, labelled.peaks, source.label.margin))
    return bins.where(
        lambda block, _: ~(labelled.positive(block) | touching(block, labelled.peaks, source.label.margin))
    )


def _by_locus(windows: Choice, split: SplitConfig) -> np.ndarray:
    """Index in SPLITS of each window, neighbours together."""
    return by_locus((windows.on(i, i).regions() for i in windows.used().tolist()), split, ("valid", "test"))


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
    rows = shadow(first, np.zeros((len(first), 0), np.uint8))
    for name, part in divide({"all": rows}, split, sizes).items():
        result[used[part.inputs["row"]]] = SPLITS.index(name)
    return result


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
        shortage=config.shortage,
    )
    return theirs[rows], report
