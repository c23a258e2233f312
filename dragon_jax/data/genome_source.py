"""Source `genome`: a genome, peaks and signal become windows with labels, divided by position, negatives matched.

Everything up to the choice of rows works on window numbers alone; bases and labels are read chunk by chunk, so that a
data set may be larger than the memory.
"""

from __future__ import annotations

import dataclasses

from dragon_jax.data.genome_config import GenomeConfig
from dragon_jax.data.genome_rows import GenomeRows, open_rows
from dragon_jax.data.matched import MatchReport
from dragon_jax.data.negatives import NegativesConfig
from dragon_jax.data.splits import SplitConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenomeSource(GenomeConfig):
    """Windows of a genome labelled by peak files and signal tracks; the fields are those of `GenomeConfig`."""

    def open(
        self, seed: int, split: SplitConfig, negatives: NegativesConfig
    ) -> tuple[dict[str, GenomeRows], dict[str, int], MatchReport | None]:
        """Returns the rows of every split, what was put in order, and how negatives match; see `genome_rows.open_rows`."""
        return open_rows(self, seed, split, negatives)
