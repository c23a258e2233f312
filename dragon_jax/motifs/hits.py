"""The table of motif hits, and its BED file."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int

from dragon_jax.errors import InputError
from dragon_jax.genome.intervals import Intervals, write_bed

COLUMNS = ("sequence", "start", "end", "strand", "motif", "score", "pvalue")


@dataclasses.dataclass(frozen=True)
class Hits:
    """H motif hits, sorted by sequence, start, motif and strand (`+` before `-`).

    Attributes:
        sequence: int64 `[H]`, number of the sequence that was scanned.
        start, end: int64 `[H]`, 0-based and half-open, on the forward strand of the sequence.
        strand: text `[H]`, `-` where the motif reads on the other strand.
        motif: int64 `[H]`, number of the motif.
        score: float64 `[H]`, sum of PSSM entries.
        pvalue: float64 `[H]`, probability of at least this score in one random word.
        names: names of the motifs.
    """

    sequence: Int[np.ndarray, " H"]
    start: Int[np.ndarray, " H"]
    end: Int[np.ndarray, " H"]
    strand: np.ndarray
    motif: Int[np.ndarray, " H"]
    score: Float64[np.ndarray, " H"]
    pvalue: Float64[np.ndarray, " H"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: np.ndarray) -> Hits:
        """Returns the hits of the rows (numbers or mask), in their order."""
        return dataclasses.replace(self, **{k: getattr(self, k)[rows] for k in COLUMNS})

    def counts(self, sequences: int) -> Int[np.ndarray, "N M"]:
        """Returns how many hits each motif has in each of `sequences` sequences."""
        cells = np.bincount(self.sequence * len(self.names) + self.motif, minlength=sequences * len(self.names))
        return cells.reshape(sequences, len(self.names))

    def intervals(
        self,
        names: Sequence[str] | np.ndarray | None = None,
        regions: Intervals | None = None,
        score: Literal["pvalue", "score"] = "pvalue",
    ) -> Intervals:
        """Returns the hits as intervals, named after their motifs.

        Args:
            names: name of each sequence, the chromosome column; not with `regions`.
            regions: where each sequence was cut from the genome. Hits are then placed on its chromosomes; a region on
                the strand `-` is taken to have been scanned as its reverse complement, so places and strands turn round.
            score: `pvalue` gives -10 log10 p, as MEME's FIMO writes it, rounded to 3 digits; `score` the PSSM score.

        Raises:
            InputError: neither or both of `names` and `regions`, or fewer of them than sequences with hits.
        """
        if (names is None) == (regions is None):
            raise InputError("expected either names of the sequences or their regions in a genome, one of both")
        known = len(names) if names is not None else len(regions) if regions is not None else 0
        if len(self) and self.sequence.max() >= known:
            raise InputError(
                f"hits lie in sequence number {int(self.sequence.max()) + 1:,}: expected as many names or regions, "
                f"found {known:,}. Pass one for each sequence scanned"
            )
        start, end, strand = self.start, self.end, self.strand
        if regions is None:
            chrom = np.asarray(names, dtype=str)[self.sequence]
        else:
            chrom = regions.chrom.astype(str)[self.sequence]
            first, last = regions.start[self.sequence], regions.end[self.sequence]
            turned = np.zeros(len(self), bool)
            if regions.strand is not None:
                turned = regions.strand.astype(str)[self.sequence] == "-"
            start, end = np.where(turned, last - end, first + start), np.where(turned, last - start, first + end)
            strand = np.where(turned, np.where(strand == "+", "-", "+"), strand)
        if score == "pvalue":
            values = np.round(-10 * np.log10(np.maximum(self.pvalue, 1e-300)), 3) + 0.0
        else:
            values = self.score
        return Intervals(chrom, start, end, strand, np.array(self.names, dtype=str)[self.motif], values)

    def write_bed(
        self,
        path: str | os.PathLike | io.TextIOBase,
        names: Sequence[str] | np.ndarray | None = None,
        regions: Intervals | None = None,
        score: Literal["pvalue", "score"] = "pvalue",
    ) -> None:
        """Writes BED6, one line per hit in their order: see `intervals` for the arguments and what is refused.

        Column 5 is -10 log10 p or the PSSM score: a number with decimals, not the whole number of 0 to 1,000 that genome
        browsers shade by.
        """
        write_bed(path, self.intervals(names, regions, score))
