"""From peaks and signal to targets of windows: which rule makes a window positive, what is ambiguous, what not measured.

A label belongs to the central bases of a window (its core), so that a model may see more than it is asked about. The
half-covered bin is DeepSEA's (Zhou and Troyanskaya, Nat. Methods 12, 931-934, 2015: 200 bp in 1,000); ambiguous bins
that do not count are those of the ENCODE-DREAM challenge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64

from dragon_jax.config import check_range
from dragon_jax.data import tracks
from dragon_jax.data.windows import Windows
from dragon_jax.errors import InputError, show
from dragon_jax.genome.algebra import overlap_bases
from dragon_jax.genome.intervals import Intervals
from dragon_jax.genome.track import Track

Rule = Literal["centre", "fraction", "summit"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelRule:
    """How a peak or a signal becomes the target of a window.

    Attributes:
        rule: a window is positive when its core holds the centre of a peak (`centre`: summit where there is one, else the
            midpoint), when at least `fraction` of its core is covered by peaks (`fraction`), or when such a centre lies
            at most `distance` bases from the window's own (`summit`).
        core: width of the core in bases; 0 = the stride of bins, or the whole window of peaks and regions.
        fraction: for `fraction`.
        distance: for `summit`, in bases.
        margin: bases beyond the reach of `centre` or `summit` in which a peak makes the label ambiguous (NaN).
        ambiguous: for `fraction`: a core covered by more than this share but less than `fraction` is NaN; 1 = never.
        value: for tasks of kind real or count from peaks: the largest `score` or `signal` of the peaks that the rule
            finds, 0 without any.
        summary: for signal: `mean`, `max` or `sum` over the core.
        log1p: targets become log(1 + x), for signal and peak values.
        absent: a contig on which the file of a task names nothing was `nan` (not measured) or is `zero` (no peak).
        uncovered: bases that a signal file does not cover are `zero` (coverage) or `nan`.
    """

    rule: Rule = "centre"
    core: int = 0
    fraction: float = 0.5
    distance: int = 100
    margin: int = 0
    ambiguous: float = 1.0
    value: Literal["score", "signal"] = "score"
    summary: Literal["mean", "max", "sum"] = "mean"
    log1p: bool = False
    absent: Literal["nan", "zero"] = "nan"
    uncovered: Literal["zero", "nan"] = "zero"

    def __post_init__(self):
        check_range("core", self.core, 0, 100_000_000)
        check_range("fraction", self.fraction, 0, 1, open_low=True)
        check_range("ambiguous", self.ambiguous, 0, 1)
        check_range("distance", self.distance, 0, 100_000_000)
        check_range("margin", self.margin, 0, 100_000_000)
        if self.margin and self.rule == "fraction":
            raise ValueError("margin: has no meaning for rule='fraction', set ambiguous instead")
        if self.ambiguous < 1 and self.rule != "fraction":
            raise ValueError(f"ambiguous: has a meaning for rule='fraction' only, found rule={self.rule!r}")


class PeakLabels:
    """The labels that the peaks of one task give.

    Attributes:
        track: the task and its file.
        peaks: its intervals, names of the genome.
        measured: indices of the contigs on which the file names something.
    """

    def __init__(self, track: tracks.Track, peaks: Intervals, contigs: Mapping[str, int], rule: LabelRule):
        self.track, self.peaks, self._rule, self._contigs = track, peaks, rule, contigs
        index = {name: i for i, name in enumerate(contigs)}
        codes = np.array([index.get(name, -1) for name in peaks.chrom.astype(str).tolist()], np.int64)
        self.measured = np.unique(codes[codes >= 0]).astype(np.int64)
        # Contigs laid end to end, so far apart that no reach crosses from one to the next.
        self._span = max([1, *contigs.values()]) * 4 + 4 * (rule.margin + rule.distance + rule.core)
        place = peaks.centres() + codes * self._span
        order = np.argsort(place, kind="stable")
        order = order[codes[order] >= 0]
        self._places, self._values = place[order], None
        if track.kind != "binary":
            values = peaks.score if rule.value == "score" else peaks.signal
            if values is None:
                raise InputError(
                    f"{show(track.path, 200)} has no column for the {rule.value} of its peaks, which task "
                    f"'{show(track.task)}' of kind {track.kind} needs. Set its kind to binary, or value in data.source.label"
                )
            self._values = values[order]
            by_start = np.argsort(peaks.start + codes * self._span, kind="stable")
            by_start = by_start[codes[by_start] >= 0]
            base = codes[by_start] * self._span
            self._spans = base + peaks.start[by_start], base + peaks.end[by_start], values[by_start]
            if rule.log1p:
                start, end = peaks.start[order], peaks.end[order]
                names = peaks.chrom[order]
                refuse_log1p(self._values, track.path, lambda i: f"{names[i]}:{start[i]}-{end[i]}", "label.log1p")

    def __call__(self, windows: Windows, core: int) -> Float32[np.ndarray, " N"]:
        """Returns the target of each window, NaN where it is ambiguous or was not measured."""
        rule = self._rule
        if rule.rule == "fraction":
            result = self._covered(windows, core)
        else:
            if rule.rule == "centre":
                start, end = windows.core(core)
            else:
                start, end = windows.centres() - rule.distance, windows.centres() + rule.distance + 1
            inside = self._found(windows, start, end)
            result = self._value_of(*inside)
            if rule.margin:
                near = self._found(windows, start - rule.margin, end + rule.margin)
                result[(near[1] > near[0]) & (inside[1] == inside[0])] = np.nan
        if rule.absent == "nan":
            result[~np.isin(windows.chrom, self.measured)] = np.nan
        return result

    def _found(
        self, windows: Windows, start: np.ndarray, end: np.ndarray
    ) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
        """First and behind the last of the sorted centres that lie in `[start, end)` of each window's contig."""
        base = windows.chrom.astype(np.int64) * self._span
        return np.searchsorted(self._places, base + start, "left"), np.searchsorted(self._places, base + end, "left")

    def _value_of(self, first: np.ndarray, last: np.ndarray) -> Float32[np.ndarray, " N"]:
        hit = last > first
        if self._values is None:
            return hit.astype(np.float32)
        result = np.zeros(len(first), np.float32)
        rows = np.flatnonzero(hit)
        if len(rows):  # the largest value of each run of peaks; odd entries of reduceat are the gaps between runs
            edges = np.stack([first[rows], last[rows]], 1).ravel()
            padded = np.append(self._values, -np.inf)
            result[rows] = np.maximum.reduceat(padded, edges)[::2]
        return np.log1p(result) if self._rule.log1p else result

    def _covered(self, windows: Windows, core: int) -> Float32[np.ndarray, " N"]:
        start, end = windows.core(core)
        share = overlap_bases(Intervals(windows.names(), start, end), self.peaks) / core
        positive = share >= self._rule.fraction
        if self._values is not None:
            values = self._largest(windows.chrom.astype(np.int64) * self._span, start, end)
            result = np.where(positive, values, 0).astype(np.float32)
        else:
            result = positive.astype(np.float32)
        result[(share > self._rule.ambiguous) & ~positive] = np.nan
        return result

    def _largest(self, base: np.ndarray, start: np.ndarray, end: np.ndarray) -> Float32[np.ndarray, " N"]:
        """Largest value of the peaks that share a base with `[start, end)` of each window's contig, 0 without any."""
        starts, ends, values = self._spans
        longest = int((ends - starts).max(initial=0))
        first = np.searchsorted(starts, base + start - longest, "right")
        count = np.maximum(np.searchsorted(starts, base + end, "left") - first, 0)
        row = np.repeat(np.arange(len(start)), count)
        peak = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
        shares = ends[peak] > (base + start)[row]
        result = np.full(len(start), -np.inf)
        np.maximum.at(result, row[shares], values[peak[shares]])
        result = np.where(np.isfinite(result), result, 0).astype(np.float32)
        return np.log1p(result) if self._rule.log1p else result


class SignalLabels:
    """The labels that a signal file gives: one number for the core of each window."""

    def __init__(self, track: tracks.Track, signal: Track, rule: LabelRule):
        self.track, self._signal, self._rule = track, signal, rule

    def __call__(self, windows: Windows, core: int) -> Float32[np.ndarray, " N"]:
        """Returns the summary of each window's core; NaN on contigs that the file does not name, where so asked."""
        rule = self._rule
        start, end = windows.core(core)
        names = windows.names()
        result = self._signal.summary(names, start, end, rule.summary).astype(np.float32)
        if rule.absent == "nan":
            result[~np.isin(names, list(self._signal.chroms))] = np.nan
        if self.track.kind == "count" and (result < 0).any():
            row = int(np.argmax(result < 0))
            raise InputError(
                f"{show(self.track.path, 200)}, {names[row]}:{start[row]}-{end[row]}: expected counts, found "
                f"{result[row]:g}. Set the kind of task '{show(self.track.task)}' to real"
            )
        if rule.log1p:
            refuse_log1p(result, self.track.path, lambda i: f"{names[i]}:{start[i]}-{end[i]}", "label.log1p")
            return np.log1p(result)
        return result


def refuse_log1p(values: np.ndarray, path: str, place: Callable[[int], str], setting: str) -> None:
    """Refuses values `[N, ...]` of which log(1 + x) is no number, with the file and the place of the first row.

    Args:
        place: names the place of a row. setting: the field of `data.source` that asks for the logarithm.
    """
    wrong = values <= -1  # -1 itself would become minus infinity; NaN is not measured and stays so
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        raise InputError(
            f"{show(path, 200)}, {place(row)}: expected more than -1 for log(1 + x), found {values[wrong][0]:g}. "
            f"Set data.source.{setting} to False, or mend the file"
        )
