"""The fields of source `genome`: which files, which windows, which labels."""

from __future__ import annotations

import dataclasses
from typing import Literal

from dragon_jax.config import check_range
from dragon_jax.data.counts import check_window
from dragon_jax.data.dataset import Kind
from dragon_jax.data.genome_inputs import InputConfig
from dragon_jax.data.labels import LabelRule
from dragon_jax.data.tracks import Track, from_pattern, from_table
from dragon_jax.data.windows import Edge
from dragon_jax.errors import listing


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenomeConfig(InputConfig):
    """Windows of a genome labelled by peak files and signal tracks; inputs besides the bases are those of `InputConfig`.

    Attributes:
        sizes: chrom.sizes to check the genome against; empty = none.
        peaks: pattern of peak files (or signal) with `{task}` where the name of the task stands.
        tracks: table of files instead: columns task, path, and perhaps kind, assay, cell, contigs.
        files: paths by task instead.
        counts: base-resolution counts to predict instead: by task, the bigWig of all counts, or those of the forward and
            the reverse strand. Target is log(1 + total); what is counted where goes to `bpnet`, see `data.counts`.
        counts_length: central bases whose counts are predicted; 0 = the whole window.
        counts_margin: further bases on either side that are kept, so that `augment.shift` may move a window.
        kind: kind of the tasks, where the table does not say.
        missing_contigs: intervals on contigs that the genome lacks are refused or skipped with a count.
        chromosomes: use these contigs only; empty = all. exclude: but never these.
        windows: `bins` (a grid over the genome), `peaks` (one window around each peak centre of any task), or `regions`
            (around the midpoints of the BED file `regions`).
        length: bases of a window. stride: distance of bins; 0 = `label.core` where that is set, else `length`.
        label: the rule by which windows are labelled.
        edge: windows over the end of a contig are dropped, padded, shifted inside, or refused.
        blacklist: BED files; windows that touch them are dropped.
        unknown: largest share of bases other than ACGT in a window; windows with more are dropped.
        min_positives: binary tasks with fewer positive windows in train are left out, and counted.
    """

    sizes: str = ""
    peaks: str = ""
    tracks: str = ""
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    counts: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    counts_length: int = 0
    counts_margin: int = 0
    kind: Kind = "binary"
    missing_contigs: Literal["refuse", "skip"] = "refuse"
    chromosomes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    windows: Literal["bins", "peaks", "regions"] = "bins"
    regions: str = ""
    length: int = 500
    stride: int = 0
    label: LabelRule = dataclasses.field(default_factory=LabelRule)
    edge: Edge = "drop"
    blacklist: tuple[str, ...] = ()
    unknown: float = 0.5
    min_positives: int = 0

    def __post_init__(self):
        super().__post_init__()
        if sum(map(bool, (self.peaks, self.tracks, self.files, self.counts))) != 1:
            raise ValueError("peaks, tracks, files, counts: expected one of the four, found none or several")
        for task, paths in self.counts.items():
            if len(paths) not in (1, 2):
                raise ValueError(f"counts: expected one bigWig, or two of task {task!r}, found {len(paths)}")
        if self.counts:
            check_window(self.profile_length(), self.counts_margin, self.length, ("counts_length", "counts_margin"))
        if (self.windows == "regions") != bool(self.regions):
            raise ValueError("regions: expected a BED file with windows='regions' and only there")
        check_range("length", self.length, 1, 100_000_000)
        check_range("stride", self.stride, 0, 100_000_000)
        check_range("unknown", self.unknown, 0, 1)
        check_range("min_positives", self.min_positives, 0, float("inf"))
        if self.label.core > self.length:
            raise ValueError(
                f"label.core: expected at most the {self.length} bases of a window, found {self.label.core}"
            )
        if both := set(self.chromosomes) & set(self.exclude):
            raise ValueError(f"chromosomes, exclude: expected different contigs, found {listing(sorted(both))} in both")

    def step(self) -> int:
        """Returns the distance of bins in bases."""
        return self.stride or self.label.core or self.length

    def core(self) -> int:
        """Returns the width of the labelled core in bases."""
        return self.label.core or (min(self.step(), self.length) if self.windows == "bins" else self.length)

    def profile_length(self) -> int:
        """Returns the number of bases whose counts are predicted."""
        return self.counts_length or self.length

    def track_list(self) -> list[Track]:
        """Returns the tracks in the order of the tasks; none of base-resolution counts."""
        if self.peaks:
            return from_pattern(self.peaks, self.kind, self.contigs)
        if self.tracks:
            return from_table(self.tracks, self.kind, self.contigs)
        return [Track(task, path, self.kind, contigs=self.contigs) for task, path in self.files.items()]

    def paths(self) -> list[str]:
        """Returns every file that is read, once."""
        singles = [self.genome, self.sizes, self.tracks, self.regions, *self.blacklist]
        counts = [path for paths in self.counts.values() for path in paths]
        found = [*singles, *(t.path for t in self.track_list()), *self.input_paths(), *counts]
        return list(dict.fromkeys(path for path in found if path))
