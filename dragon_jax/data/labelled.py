"""A genome with its tracks open: candidate windows, and what makes rows of them, chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon_jax import dna
from dragon_jax.data.counts import CountLabels
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.genome_config import GenomeConfig
from dragon_jax.data.genome_inputs import GenomeInputs, open_signal
from dragon_jax.data.grid import Choice, Grid
from dragon_jax.data.labels import PeakLabels, SignalLabels
from dragon_jax.data.windows import Windows, apply_edge, around, touching
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.genome.bed import read_bed
from dragon_jax.genome.genome import Genome
from dragon_jax.genome.intervals import Intervals, concatenate
from dragon_jax.genome.sizes import check_sizes, read_sizes
from dragon_jax.genome.track import Track

_READ = 1 << 22  # bases that are looked at together


class Labelled:
    """A genome source with its files open: the candidate windows, and what makes rows of them.

    Attributes:
        genome: the genome. contigs: lengths of the contigs in use.
        peaks: all peaks of all peak tasks, in names of the genome.
        blacklist: regions to stay away from.
        inputs: what windows have besides bases and labels.
        notes: what was put in order or dropped, by name.
    """

    def __init__(self, source: GenomeConfig, masked: bool = False):
        self.source = source
        self.notes: dict[str, int] = {}
        self.genome = Genome(source.genome, masked="keep" if masked else "upper")
        self._note(self.genome.notes)
        if source.sizes:
            check_sizes(read_sizes(source.sizes), self.genome.contigs, (source.sizes, source.genome))
        self.contigs = self._chosen()
        number = {name: i for i, name in enumerate(self.genome.contigs)}
        self._numbers = np.array([number[name] for name in self.contigs], np.int64)
        self._makers: list[PeakLabels | SignalLabels | CountLabels] = []
        every: list[Intervals] = []
        for track in source.track_list():
            if track.is_signal:
                self._makers.append(SignalLabels(track, self._signal(track.path, track.contigs), source.label))
                continue
            peaks = self._read(track.path, track.contigs, points=True)
            every.append(Intervals(peaks.chrom, peaks.start, peaks.end, summit=peaks.centres()))
            self._makers.append(PeakLabels(track, peaks, self.contigs, source.label))
        for task, paths in source.counts.items():
            signals = [self._signal(path, source.contigs) for path in paths]
            self._makers.append(CountLabels(task, paths, signals, source.profile_length(), source.counts_margin))
        self.peaks = concatenate(every) if every else _nothing()
        black = [self._read(path, source.contigs, points=False) for path in source.blacklist]
        self.blacklist = concatenate(black) if black else _nothing()
        self.inputs = GenomeInputs(source, self.genome.contigs, source.core())
        self._note(self.inputs.notes)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What is predicted, in the order of the targets' columns."""
        return tuple(Task(m.track.task, m.track.kind) for m in self._makers)

    def leave_out(self, train: Choice) -> None:
        """Leaves out the binary tasks that have too few positive windows in train.

        Raises:
            InputError: none is left.
        """
        least, core = self.source.min_positives, self.source.core()
        if not least:
            return
        positives = np.zeros(len(self._makers), np.int64)
        for _, block in train.blocks():
            positives += [0 if m.track.kind != "binary" else int((m(block, core) == 1).sum()) for m in self._makers]
        counted = zip(self._makers, positives.tolist(), strict=True)
        kept = [m for m, count in counted if m.track.kind != "binary" or count >= least]
        if not kept:
            raise InputError(f"no task has {least:,} positive windows in train: expected some. Lower min_positives")
        self._note(
            {f"tasks left out with fewer than {least:,} positive windows in train": len(self._makers) - len(kept)}
        )
        self._makers = kept

    def candidates(self) -> Choice:
        """Returns the windows that the source asks for, sorted by contig and start, as far as they may be used."""
        source = self.source
        if source.windows == "bins":
            return self.usable(self.grid())
        if source.windows == "peaks":
            if not len(self.peaks):
                raise InputError(
                    "data.source.windows: 'peaks' needs peak files, found signal only. Use bins or regions"
                )
            windows = around(self.contigs, self.peaks.chrom, self.peaks.centres(), source.length)
        else:
            regions = self._read(source.regions, source.contigs, points=True)
            windows = around(self.contigs, regions.chrom, regions.centres(), source.length)
        return self.usable(windows)

    def grid(self) -> Grid:
        """Returns the grid of bins."""
        return Grid(self.contigs, self.source.length, self.source.step())

    def usable(self, windows: Grid | Windows) -> Choice:
        """Returns the windows that lie on their contig as the edge policy says, off the blacklist, and have bases."""
        if isinstance(windows, Windows):  # a grid ends inside
            windows, notes = apply_edge(windows, self.source.edge, show(self.source.genome, 200))
            self._note(notes)
        touched = unknown = 0

        def passes(block: Windows, _: int) -> np.ndarray:
            nonlocal touched, unknown
            fine = ~touching(block, self.blacklist)
            touched += int((~fine).sum())
            if self.source.unknown < 1:
                share = self.measure(block.take(fine), lambda codes: (codes > 3).mean(1))
                unknown += int((share > self.source.unknown).sum())
                fine[fine] = share <= self.source.unknown
            return fine

        chosen = Choice.every(windows).where(passes)
        self._note({"windows dropped that touch the blacklist": touched})
        self._note({f"windows dropped with over {100 * self.source.unknown:g} % unknown bases": unknown})
        if not len(chosen):
            raise InputError(f"no window is left of {show(self.source.genome, 200)}: expected some. Check data.source")
        return chosen

    def measure(self, windows: Windows, of: Any) -> np.ndarray:
        """Returns a number for each window, worked out from its codes uint8 `[n, L]`, some windows at a time."""
        step = max(1, _READ // windows.length)
        starts = range(0, len(windows), step)
        parts = [of(self.codes(windows.take(slice(start, start + step)))) for start in starts]
        return np.concatenate(parts) if parts else np.zeros(0)

    def codes(self, windows: Windows) -> np.ndarray:
        """Returns uint8 `[N, L]`, bases beyond a contig's end unknown."""
        codes = self.genome.windows(self._numbers[windows.chrom], windows.start, windows.length, edge="pad")
        self.genome.let_go()
        return codes

    def gc(self, windows: Windows) -> np.ndarray:
        """Returns float64 `[N]`, the share of G and C among the known bases of each window."""
        return self.measure(windows, dna.gc_content)

    def masked(self, windows: Windows) -> np.ndarray:
        """Returns float64 `[N]`, the share of soft-masked bases of each window."""
        share = self.genome.masked_share(self._numbers[windows.chrom], windows.start, windows.length, edge="pad")
        return share.astype(np.float64)

    def labels(self, windows: Windows) -> np.ndarray:
        """Returns targets float32 `[N, T]`."""
        core = self.source.core()
        return np.stack([maker(windows, core) for maker in self._makers], 1)

    def positive(self, windows: Windows) -> np.ndarray:
        """Returns bool `[N]`: some binary task is positive; and where none is binary, every window."""
        binary = [i for i, task in enumerate(self.tasks) if task.kind == "binary"]
        if not binary:
            return np.ones(len(windows), bool)
        result = np.zeros(len(windows), bool)
        for i in binary:
            result |= self._makers[i](windows, self.source.core()) == 1
        return result

    def dataset(self, windows: Windows) -> Dataset:
        """Returns the rows of these windows, bases, labels and further inputs."""
        regions = windows.regions()
        ids = [f"{c}:{s}-{e}" for c, s, e in zip(regions.chrom, regions.start, regions.end, strict=True)]
        return Dataset(
            codes=self.codes(windows),
            targets=self.labels(windows),
            tasks=self.tasks,
            ids=np.array(ids, np.str_) if ids else np.zeros(0, np.str_),
            regions=regions,
            inputs=self.inputs(windows),
            specs=self.inputs.specs,
            profiles={m.track.task: m.profile(windows) for m in self._makers if isinstance(m, CountLabels)},
        )

    def _chosen(self) -> dict[str, int]:
        """The contigs in use, in the genome's order."""
        known = self.genome.contigs
        for field in ("chromosomes", "exclude"):
            for name in getattr(self.source, field):
                if name not in known:
                    raise InputError(
                        f"data.source.{field}: contig '{show(name)}' is not in {show(self.source.genome, 200)}: "
                        f"expected some of {listing(known, 8)}{nearest(name, list(known))}"
                    )
        wanted = self.source.chromosomes or tuple(known)
        return {n: size for n, size in known.items() if n in wanted and n not in self.source.exclude}

    def _read(self, path: str, how: str, points: bool) -> Intervals:
        """Intervals of a file on the contigs in use, in names of the genome."""
        found = read_bed(
            path,
            contigs=self.genome.contigs,
            rename=how,
            points=points,
            missing=self.source.missing_contigs,
            genome=self.source.genome,
        )
        self._note(found.notes)
        return found.take(np.isin(found.chrom.astype(str), list(self.contigs)))

    def _signal(self, path: str, how: str) -> Track:
        """A signal file under the names of the genome."""
        uncovered = self.source.label.uncovered
        signal = open_signal(path, how, self.genome.contigs, self.source.genome, uncovered)
        taken_as = "0" if uncovered == "zero" else "not measured"
        self._note({f"signal files whose uncovered bases count as {taken_as} (data.source.label.uncovered)": 1})
        return signal

    def _note(self, notes: Mapping[str, int]) -> None:
        for key, count in notes.items():
            if count:
                self.notes[key] = self.notes.get(key, 0) + count


def _nothing() -> Intervals:
    zero = np.zeros(0, np.int64)
    return Intervals(np.zeros(0, np.str_), zero, zero)
