"""Negatives made from positives: shuffles that keep every dinucleotide count, for splits that have positives only."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from dragon_jax.config import check_range
from dragon_jax.data.dataset import SPLITS, Dataset, concatenate
from dragon_jax.data.lengths import text_array
from dragon_jax.data.splits import digests
from dragon_jax.dna import dinucleotide_shuffle
from dragon_jax.errors import listing


@dataclasses.dataclass(frozen=True, kw_only=True)
class NegativesConfig:
    """How negatives are made.

    Attributes:
        name: `none`; `dinucleotide`, shuffles (Altschul and Erickson 1985, see `dna.dinucleotide_shuffle`); or `matched`,
            windows of the genome without a peak whose share of G and C is that of the positives (source `genome`).
        per_positive: negatives for each positive.
        gc_tolerance: for `matched`, how far the share of G and C may lie from the bin of the positives.
        shortage: for `matched`, what happens where the genome holds too few such windows: `refuse`, or `allow`, which draws
            what there is and says how many are missing.
        match_repeats: for `matched`, match the share of soft-masked bases too.
        splits: splits that get negatives, where they have none of their own.
        contrast: shuffles of each row of train for one more task that tells sequences from shuffles, see `contrast`.
            Shuffles, of this kind too, keep the inputs of the row that they are made of: its signal and metadata.
        seed: seed of the shuffles; None = the seed of the run.
    """

    name: Literal["none", "dinucleotide", "matched"] = "none"
    per_positive: int = 1
    gc_tolerance: float = 0.04
    match_repeats: bool = False
    shortage: Literal["refuse", "allow"] = "refuse"
    splits: tuple[str, ...] = SPLITS
    seed: int | None = None
    contrast: int = 0

    def __post_init__(self):
        check_range("contrast", self.contrast, 0, 100)
        check_range("per_positive", self.per_positive, 1, 1000)
        check_range("gc_tolerance", self.gc_tolerance, 0, 1)
        if self.seed is not None:
            check_range("seed", self.seed, 0, float("inf"))
        if unknown := set(self.splits) - set(SPLITS):
            raise ValueError(f"splits: expected some of {', '.join(SPLITS)}, found {listing(sorted(unknown))}")


def add_negatives(
    splits: dict[str, Dataset], config: NegativesConfig, seed: int
) -> tuple[dict[str, Dataset], dict[str, dict[str, int]]]:
    """Returns the splits, those without any negative completed by shuffles, and for each split what was made.

    A shuffle has label 0 in every binary task and is not measured in the others. A shuffle that equals a given sequence
    or a shuffle of an earlier split (train, valid, test), on either strand, is left out: low-complexity sequences may
    have no other order. The shuffles of a split depend on its rows and the seed, not on which splits are asked for.
    """
    made: dict[str, dict[str, int]] = {name: {} for name in splits}
    chosen = [n for n in SPLITS if n in splits and n in config.splits and positives_only(splits[n])]
    if config.name != "dinucleotide" or not chosen:
        return splits, made
    result = dict(splits)
    taken = np.concatenate([digests(data.codes) for data in splits.values()])
    for name in chosen:
        data, extra = splits[name], []
        for copy in range(1, config.per_positive + 1):
            start = [seed if config.seed is None else config.seed, SPLITS.index(name), copy]
            extra.append(_shuffled(data, start, "_shuffle" + str(copy)))
        negatives = concatenate(extra)
        keys = digests(negatives.codes)
        fresh = ~np.isin(_sortable(keys), _sortable(taken))
        taken = np.concatenate([taken, keys[fresh]])
        made[name]["shuffled negatives"] = int(fresh.sum())
        if left_out := int((~fresh).sum()):
            made[name]["shuffles left out because they equal a sequence"] = left_out
        negatives = dataclasses.replace(negatives.take(fresh), notes={})
        result[name] = concatenate([data, negatives])
    return result, made


def positives_only(data: Dataset) -> bool:
    """Whether binary labels were measured and all of them are 1."""
    binary = np.array([task.kind == "binary" for task in data.tasks])
    labels = data.targets[:, binary]
    return bool((labels == 1).any() and not (labels == 0).any())


def _shuffled(data: Dataset, seed: list[int], suffix: str) -> Dataset:
    binary = np.array([task.kind == "binary" for task in data.tasks])
    targets = np.where(binary & ~np.isnan(data.targets), 0, np.nan).astype(np.float32)
    ids = text_array([f"{name}{suffix}" for name in data.ids.tolist()])
    return dataclasses.replace(data, codes=dinucleotide_shuffle(data.codes, seed), targets=targets, ids=ids)


def _sortable(keys: np.ndarray) -> np.ndarray:
    """Digests as complex-free numbers that `isin` can sort: their first eight bytes tell 2^64 sequences apart."""
    return keys.view("<u8").reshape(len(keys), -1)[:, 0]
