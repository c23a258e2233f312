"""Scans sequences with thousands of motifs at once, on both strands, on CPU or GPU.

All windows of all motifs are scored by look-ups of words (`words.py`): a kernel takes one row per word from a table of
up to 128 motif strands, adds the rows of neighbouring words and reduces them before the next stretch is read, so that
nothing of size positions x motifs is ever kept.

Hits. A first kernel works in bytes. Each entry counts as its deficit below the best base of its position; the deficit
that the threshold leaves is 126 units, and words are rounded down, so a window whose sum is above 126 cannot be a hit.
The few that remain are scored in float64, entry by entry in the order of the motif (a site has the same score whichever
strand it is read from), and are hits if they reach the threshold; to miss it by 1e-9 (relative) counts as reaching it.

Best and log-sum. Entries are rounded to whole multiples of `Scanner.unit` (a power of two, 2e-6 or finer for PSSMs of
usual size) and added in int32: results depend on the order of sums neither on any device nor on any strand, and ties
are ties. A score is off by at most W unit / 2.

Unknown bases. A window with an unknown base (code 4) has no score: it is no hit, never the best and adds nothing to the
log-sum, as in MOODS. Nor are there windows that hang over the end.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float64, Int

from dragon_jax.dna import UNKNOWN
from dragon_jax.errors import InputError, show
from dragon_jax.motifs import kernels, words
from dragon_jax.motifs.hits import Hits
from dragon_jax.motifs.motif import Background, Motif, Pseudocount, check_background
from dragon_jax.motifs.pvalues import GRANULARITY, ScoreDistribution, check_pssm, check_pvalue, score_distribution
from dragon_jax.motifs.strands import COLUMNS, LETTERS, TIE, Block, StrandColumns, Strands, reaches

POSITIONS = 1 << 14  # in one call of the filter
WINDOWS = 1 << 19  # in one call of the other kernels: larger ones leave the cache, and pay for new pages of memory
SLAB = 1 << 22  # bases side by side
_WORKERS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
_NOWHERE = 2**62


class Best(NamedTuple):
    """The best window of each motif in each sequence; of equal ones the first, `+` before `-`.

    score float64 `[N, M]`, minus infinity where there is no window; position int64 `[N, M]`, where it begins on the forward
    strand, -1 where there is none; strand text `[N, M]`, `.` where there is none.
    """

    score: Float64[np.ndarray, "N M"]
    position: Int[np.ndarray, "N M"]
    strand: np.ndarray


class Scanner:
    """Motifs made ready for scanning. Tables are made on first use, for every later one as well.

    Attributes:
        names: of the M motifs.
        matrices: their PSSMs, float64 `[W, 4]`.
        background: float64 `[4]`, as it is used.
        unit: step of the integer scores of `best` and `log_sum`.
    """

    def __init__(
        self,
        motifs: Sequence[Motif] | Mapping[str, np.ndarray],
        *,
        background: Background | None = None,
        pseudocount: Pseudocount = 0.01,
        pvalue: float | int = 1e-4,
        thresholds: Sequence[float | int] | np.ndarray | None = None,
        strands: Strands = "both",
        granularity: float | int = GRANULARITY,
    ):
        """Checks everything and costs little.

        Args:
            motifs: motifs, or PSSMs `[W, 4]` by name, in any logarithm.
            background: base frequencies, None = uniform. Where both strands are scanned, the frequencies of A and T, and of
                C and G, are averaged first, as MEME's FIMO does: one threshold then serves both strands.
            pseudocount: for the PSSMs of motifs, see `Motif.pwm`; PSSMs that are given are taken as they are.
            pvalue: a hit scores as high as the best words of this probability (`pvalues.threshold`).
            thresholds: one score per motif, instead of the p-value.
            strands: which strands windows are read on.
            granularity: grid of the p-values.

        Raises:
            InputError: no motif, a name twice, a matrix with infinite scores, impossible p-value, background or thresholds.
        """
        check_pvalue(pvalue)
        self.background = check_background(background)
        if strands == "both":
            self.background = (self.background + self.background[::-1]) / 2
        if isinstance(motifs, Mapping):
            self.names, found = tuple(motifs), list(motifs.values())
        else:
            self.names = tuple(m.name for m in motifs)
            found = [m.pssm(pseudocount, self.background) for m in motifs]
        if not found:
            raise InputError("no motif to scan with: expected at least one")
        if len(set(self.names)) < len(self.names):
            twice = next(n for i, n in enumerate(self.names) if n in self.names[:i])
            raise InputError(f"motif name '{show(twice)}' twice: expected different names. Rename one")
        self.matrices = [check_pssm(m, f"PSSM of motif '{show(n)}'") for n, m in zip(self.names, found, strict=True)]
        if thresholds is not None:
            thresholds = np.asarray(thresholds, np.float64)
            if thresholds.shape != (len(found),) or not np.isfinite(thresholds).all():
                raise InputError(f"thresholds: expected one number for each of {len(found):,} motifs")
        self._given, self._pvalue, self._granularity = thresholds, pvalue, granularity
        self._columns = StrandColumns(self.matrices, strands)
        self.unit = self._columns.unit

    @functools.cached_property
    def distributions(self) -> list[ScoreDistribution]:
        """Upper tail of each motif's score distribution, as far down as its threshold."""
        weights, step = self.background, self._granularity
        if self._given is None:
            return [score_distribution(m, weights, step, tail=self._pvalue) for m in self.matrices]
        lowest = self._given - TIE * (1 + np.abs(self._given))
        return [
            score_distribution(m, weights, step, down_to=t) for m, t in zip(self.matrices, lowest.tolist(), strict=True)
        ]

    @functools.cached_property
    def thresholds(self) -> Float64[np.ndarray, " M"]:
        """Score from which on a window is a hit."""
        if self._given is not None:
            return self._given
        return np.array([d.threshold(self._pvalue) for d in self.distributions])

    def hits(self, codes: words.Sequences) -> Hits:
        """Returns all windows that reach their motif's threshold.

        Args:
            codes: uint8 codes `[N, L]`, or sequences of codes `[L]` of any lengths.
        """
        columns = self._columns
        nothing = (np.zeros(0, np.int64),) * 3 + (np.zeros(0),)
        found = [nothing]
        for slab in words.slabs(words.checked(codes), SLAB, columns.widest - 1, SLAB):
            position, column, score = self._slab_hits(slab)
            piece = np.searchsorted(slab.begin, position, side="right") - 1
            inside = position - slab.begin[piece]
            own = inside < slab.size[piece]
            piece, inside = piece[own], inside[own]
            found.append((slab.sequence[piece], slab.offset[piece] + inside, column[own], score[own]))
        sequence, start, column, score = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((2 * columns.motif[column] - columns.sign[column], start, sequence))
        sequence, start, column, score = sequence[order], start[order], column[order], score[order]
        motif = columns.motif[column]
        strand = np.where(columns.sign[column] > 0, "+", "-")
        pvalue = self._pvalues(motif, score)
        return Hits(sequence, start, start + columns.width[column], strand, motif, score, pvalue, self.names)

    def best(self, codes: words.Sequences) -> Best:
        """Returns the best window of each motif in each sequence, over the strands that are scanned.

        Args:
            codes: uint8 codes `[N, L]`, or sequences of codes `[L]` of any lengths.
        """
        shape = (len(codes), len(self._columns.motif))
        scores, places = np.full(shape, np.iinfo(np.int32).min, np.int32), np.full(shape, _NOWHERE)
        for slab, block, (top, at) in self._reduced(codes, kernels.best):
            first = np.flatnonzero(np.diff(slab.sequence, prepend=-1))
            which = np.ix_(slab.sequence[first], block.columns)
            best = np.maximum.reduceat(top, first)
            holds = top == np.repeat(best, np.diff(first, append=len(top)), 0)
            place = np.minimum.reduceat(np.where(holds, at + slab.offset[:, None], _NOWHERE), first)
            better = best > scores[which]  # an equal one in an earlier slab lies further to the left
            places[which] = np.where(better, place, places[which])
            scores[which] = np.maximum(best, scores[which])
        by_strand = (shape[0], shape[1] // len(self.names), len(self.names))
        scores, places = scores.reshape(by_strand), places.reshape(by_strand)
        top = scores.max(1, keepdims=True)
        place = np.where(scores == top, places, _NOWHERE).min(1, keepdims=True)
        strand = ((scores == top) & (places == place)).argmax(1)
        signs = np.where(self._columns.sign[:: len(self.names)] > 0, "+", "-")
        exists = top[:, 0] >= self._columns.lowest
        score = np.where(exists, top[:, 0] * self.unit, -np.inf)
        return Best(score, np.where(exists, place[:, 0], -1), np.where(exists, signs[strand], "."))

    def log_sum(self, codes: words.Sequences, base: float | int = 2.0) -> Float64[np.ndarray, "N M"]:
        """Returns log(sum of base^score), to that base, over all windows of each motif in each sequence and its strands.

        For log-odds scores that is the log of the summed odds, which rises with the number of sites as well as with their
        quality. The sum is good to about 1e-5 of itself (float32 within 512 windows, float64 beyond); it is minus
        infinity where there is no window.

        Args:
            codes: uint8 codes `[N, L]`, or sequences of codes `[L]` of any lengths.
            base: of the logarithm in the scores: 2 for `Motif.pssm` as it comes.
        """
        columns, rate = self._columns, self.unit * np.log(base)
        total = np.full((len(codes), len(columns.motif)), -np.inf)
        for slab, block, (top, sums) in self._reduced(codes, functools.partial(kernels.log_sum, rate=np.float32(rate))):
            exists = top >= columns.lowest
            logs = np.where(exists, top * rate + np.log(np.where(exists, sums.astype(np.float64), 1.0)), -np.inf)
            first = np.flatnonzero(np.diff(slab.sequence, prepend=-1))
            which = np.ix_(slab.sequence[first], block.columns)
            total[which] = np.logaddexp(total[which], np.logaddexp.reduceat(logs, first))
        by_strand = total.reshape(len(codes), total.shape[1] // len(self.names), len(self.names))
        return np.logaddexp.reduce(by_strand, axis=1) / np.log(base)

    @functools.cached_property
    def _filters(self) -> list[Block]:
        return self._columns.filters(self.thresholds)

    @functools.cached_property
    def _integers(self) -> list[Block]:
        return self._columns.integers()

    def _slab_hits(self, slab: words.Slab) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns positions in the slab, columns and scores of all its hits, in no order."""
        k, length, widest = LETTERS, len(slab.codes), self._columns.widest
        step = min(POSITIONS, 1 << max(8, (length - 1).bit_length()))  # few shapes, few compilations
        rows = np.full(-(-length // step) * step + widest + k, words.unknown_row(k), np.int32)
        rows[:length] = words.word_rows(slab.codes, k)
        codes = np.pad(slab.codes, widest, constant_values=UNKNOWN)
        packed = jax.default_backend() != "cpu"  # less to copy; on a CPU nothing is copied

        def confirmed(job: tuple[Block, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            block, at = job
            part = rows[at : at + step + k * (len(block.tables) - 1)]
            mask = np.asarray(kernels.passing(block.tables, part, letters=k, packed=packed))
            position, column = np.divmod(kernels.set_places(mask, packed), block.tables[0].shape[1])
            position, column = position + at, block.columns[column]
            score = self._columns.rescore(codes, column, position + widest)
            kept = reaches(score, self.thresholds[self._columns.motif[column]])
            return position[kept], column[kept], score[kept]

        jobs = [(block, at) for block in self._filters for at in range(0, length, step)]
        with ThreadPoolExecutor(_WORKERS) as pool:  # NumPy and XLA let go of the interpreter while they work
            found = list(pool.map(confirmed, jobs))
        position, column, score = (np.concatenate(part) for part in zip(*found, strict=True))
        return position, column, score

    def _reduced(
        self, codes: words.Sequences, kernel: Callable[..., tuple[Any, Any]]
    ) -> Iterator[tuple[words.Slab, Block, tuple[np.ndarray, np.ndarray]]]:
        """Yields what the kernel makes of each block of columns and slab: two arrays `[pieces, columns]`."""
        k, lowest, sequences = LETTERS, np.int32(self._columns.lowest), words.checked(codes)
        piece = words.piece_length([len(s) for s in sequences])
        for slab in words.slabs(sequences, piece, self._columns.widest - 1, SLAB // 4):
            pieces = len(slab.begin)
            count = min(max(1, WINDOWS // (piece * COLUMNS)), 1 << (pieces - 1).bit_length())  # rows in one call
            padding = -pieces % count
            size = np.pad(slab.size.astype(np.int32), (0, padding))
            row = np.append(words.word_rows(slab.codes, k), np.int32(words.unknown_row(k)))
            reach = np.arange(piece + k * (max(len(b.tables) for b in self._integers) - 1))
            begin = np.pad(slab.begin, (0, padding), constant_values=len(row))
            rows = row[np.minimum(begin[:, None] + reach, len(row) - 1)]

            def reduced(block: Block, rows=rows, size=size, count=count) -> tuple[np.ndarray, np.ndarray]:
                shape, width = (len(size), len(block.columns)), piece + k * (len(block.tables) - 1)
                results: list[np.ndarray] = []
                for at in range(0, len(size), count):
                    part = kernel(block.tables, rows[at : at + count, :width], size[at : at + count], lowest, letters=k)
                    for i, values in enumerate(part):
                        values = np.asarray(values)
                        if not at:
                            results.append(np.empty(shape, values.dtype))
                        results[i][at : at + count] = values[:, : shape[1]]
                return results[0], results[1]

            with ThreadPoolExecutor(_WORKERS) as pool:
                for block, (first, second) in zip(self._integers, pool.map(reduced, self._integers), strict=True):
                    yield slab, block, (first[:pieces], second[:pieces])

    @functools.cached_property
    def _tails(self) -> tuple[np.ndarray, ...]:
        """The tails of all motifs behind one another, and for each motif where its own begins and its highest step."""
        tails = [d.tail for d in self.distributions]
        begin = np.cumsum([0] + [len(t) for t in tails])
        return np.concatenate(tails), begin, np.array([d.highest for d in self.distributions])

    def _pvalues(self, motif: np.ndarray, score: np.ndarray) -> np.ndarray:
        """`ScoreDistribution.pvalue` for hits: scores that words have and that lie in the tails."""
        tails, begin, highest = self._tails
        deficit = highest[motif] - np.rint(score / self._granularity).astype(np.int64)
        return tails[begin[motif] + np.clip(deficit, 0, begin[motif + 1] - begin[motif] - 1)]
