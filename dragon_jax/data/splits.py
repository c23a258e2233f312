"""Train, valid and test: how rows are told apart, and the audit that nothing stands on two sides.

Membership never depends on the order of the rows: it follows a column, a chromosome, a place on it, a file, or a hash of
the sequence read on the strand that sorts first, so that copies and reverse complements fall together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from dragon_jax.config import check_range
from dragon_jax.data.chromosomes import SCHEMES, balanced_folds, locus_groups, locus_hash, scheme_splits
from dragon_jax.data.contig_styles import refuse_two_styles
from dragon_jax.data.dataset import SPLITS, Dataset, Regions
from dragon_jax.data.digests import digests, uniform_hash
from dragon_jax.data.homology import LEAST
from dragon_jax.data.leaks import PROTECTED, without_copies, without_near
from dragon_jax.data.split_values import REST, check_the_rest
from dragon_jax.data.table_source import KEPT
from dragon_jax.errors import InputError, listing, show

__all__ = ["PROTECTED", "SplitConfig", "audit", "by_locus", "digests", "divide", "overlapping", "uniform_hash"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How the rows of `all`, or of `train` where valid or test have no file of their own, are divided.

    Attributes:
        name: `hash` (shares `valid` and `test` by hash of the sequence), `folds` (k equal parts by the same hash),
            `column` (values of a text column of a table), `chromosome`, `chromosome_folds` (k parts of whole chromosomes
            with about equally many rows, or a published scheme), `loci` (shares `valid` and `test` by hash of the place
            of groups of neighbours; negatives drawn from a genome go with the positives around them), or `files` (nothing is divided).
        valid, test: shares of the rows, for `hash`, or of the groups, for `loci`. A split that has its own file takes
            nothing from the others.
        column: for `column`, the column.
        valid_values, test_values: values of the column, or chromosomes, that make these splits; the rest is train.
        train_values: for `column`, the values that make train, every other one being refused; `("*",)` = all the rest,
            whatever it is called. Empty = the rest, but what looks like a slip of the pen is refused, see
            `check_the_rest`.
        folds, fold: for `folds` and `chromosome_folds`, how many parts there are and which of them is held out: it is
            test, the next one valid (where test has its own file, it is valid).
        scheme: for `chromosome_folds`, a published division by its name: `human5`, see `chromosomes.SCHEMES`. It says
            which chromosomes are test and valid in each fold.
        distance: for `loci`, rows with at most this many bases between them belong to one group.
        salt: changes the hash, for another division of the same kind.
        duplicates: equal sequences or reverse complements in two splits are refused, or all go to the most protected
            split that has one (`group`), or leave the less protected ones (`drop`). Order: test, valid, train.
        overlaps: the same for rows whose regions overlap; `ignore` lets them be.
        gap: regions closer than this many bases count as overlapping (set it to the largest shift of the augmentation).
        near_duplicates: what is done about rows of two splits that are alike but not equal: `ignore` does not look,
            `report` counts them, the others as for `duplicates`.
        similarity: share of equal bases from which rows are alike, 0.7 to 1, see `homology.find_near`.
        homology_table: a table of families of rows, by id or region, that is believed instead of the sequences, see
            `homology_table.read_groups`.
    """

    name: Literal["hash", "folds", "column", "chromosome", "chromosome_folds", "loci", "files"] = "hash"
    valid: float = 0.1
    test: float = 0.1
    column: str | None = None
    valid_values: tuple[str, ...] = ()
    test_values: tuple[str, ...] = ()
    train_values: tuple[str, ...] = ()
    folds: int = 5
    fold: int = 0
    scheme: Literal["human5"] | None = None
    distance: int = 0
    salt: str = ""
    duplicates: Literal["refuse", "group", "drop"] = "refuse"
    overlaps: Literal["refuse", "drop", "ignore"] = "refuse"
    gap: int = 0
    near_duplicates: Literal["ignore", "report", "refuse", "drop", "group"] = "ignore"
    similarity: float = 0.9
    homology_table: str | None = None

    def __post_init__(self):
        check_range("valid", self.valid, 0, 1, open_high=True)
        check_range("test", self.test, 0, 1, open_high=True)
        check_range("gap", self.gap, 0, float("inf"))
        check_range("distance", self.distance, 0, 10**12)
        check_range("similarity", self.similarity, LEAST, 1)
        if self.homology_table is not None and self.near_duplicates == "ignore":
            raise ValueError(
                "homology_table: expected with near_duplicates report, refuse, drop or group, found ignore"
            )
        if self.scheme is not None and self.name != "chromosome_folds":
            raise ValueError(f"scheme: expected with name='chromosome_folds' only, found with name={self.name!r}")
        if self.scheme is not None and self.folds != (count := len(SCHEMES[self.scheme].test)):
            raise ValueError(f"folds: scheme {self.scheme!r} has {count} folds, found {self.folds}")
        if self.valid + self.test >= 1:
            raise ValueError(
                f"valid, test: expected shares that leave some rows to train, found {self.valid} + {self.test}"
            )
        if self.name in ("folds", "chromosome_folds") and not (self.folds >= 2 and 0 <= self.fold < self.folds):
            raise ValueError(
                f"fold: expected 0 <= fold < folds and at least 2 folds, found fold {self.fold} of {self.folds}"
            )
        if (self.name == "column") != (self.column is not None):
            raise ValueError(
                f"column: expected with name='column' and only there, found {self.column!r} with name={self.name!r}"
            )
        if self.name in ("column", "chromosome") and not self.valid_values + self.test_values:
            raise ValueError(f"valid_values, test_values: needed by name={self.name!r}, found none")
        if both := set(self.valid_values) & set(self.test_values):
            raise ValueError(
                f"valid_values, test_values: expected different values, found {listing(sorted(both))} in both"
            )
        if self.train_values and self.name != "column":
            raise ValueError(f"train_values: expected with name='column' only, found with name={self.name!r}")
        if REST in self.train_values and len(self.train_values) > 1:
            raise ValueError(f"train_values: expected values, or '*' alone, found {listing(self.train_values)}")
        if both := set(self.train_values) & set(self.valid_values + self.test_values):
            raise ValueError(
                f"train_values: expected values of no other split, found {listing(sorted(both))} in another too"
            )


def divide(
    parts: dict[str, Dataset], config: SplitConfig, sizes: Mapping[str, int] | None = None
) -> dict[str, Dataset]:
    """Returns the splits that the given parts (`all`, or `train` and others) make.

    Args:
        sizes: for `chromosome_folds`, bases (or whatever is to be balanced) of each chromosome, those without rows
            included; None = balanced by the rows.

    Raises:
        InputError: the data lack what the split goes by, a value occurs in no row, or a split comes out empty.
    """
    source = "all" if "all" in parts else "train"
    if source not in parts or set(parts) - {source, "valid", "test"}:
        raise InputError(f"the source holds {listing(parts)}: expected 'all', or 'train' and perhaps 'valid', 'test'")
    given = {name: data for name, data in parts.items() if name != source}
    wanted = [name for name in ("valid", "test") if name not in given]
    whole = parts[source]
    member = np.zeros(len(whole), np.int64)  # index in SPLITS
    if config.name == "files":
        if source == "all":
            raise InputError(
                "data.split.name: 'files' expects files under train, valid and perhaps test, found them under 'all'"
            )
    elif wanted:
        if config.name in ("hash", "folds"):
            member = _by_hash(whole, config, wanted)
        elif config.name == "chromosome_folds":
            member = _by_chromosomes(whole, config, wanted, sizes)
        elif config.name == "loci":
            member = by_locus([_regions(whole, config)], config, wanted)
        else:
            member = _by_value(whole, config, wanted)
    inputs = {k: v for k, v in whole.inputs.items() if k != KEPT}
    whole = dataclasses.replace(whole, inputs=inputs)
    result = {}
    for index, name in enumerate(SPLITS):
        if name in given:
            result[name] = given[name]
            continue
        rows = np.flatnonzero(member == index)
        if name != "train" and not len(rows) and not _expected(name, config, wanted):
            continue
        result[name] = dataclasses.replace(whole.take(rows), notes=whole.notes if name == "train" else {})
    for name, data in result.items():
        if not len(data):
            raise InputError(f"split {name!r} is empty: expected rows, found none of {len(whole):,}. Change data.split")
    return result


def _expected(name: str, config: SplitConfig, wanted: list[str]) -> bool:
    """Whether the config asks for a split, so that an empty one is an error."""
    if name not in wanted or config.name == "files":
        return False
    if config.name in ("folds", "chromosome_folds"):
        return True
    return bool(getattr(config, name if config.name in ("hash", "loci") else f"{name}_values"))


def _by_hash(data: Dataset, config: SplitConfig, wanted: list[str]) -> Int64[np.ndarray, " N"]:
    share = uniform_hash(data.codes, config.salt)
    if config.name == "folds":
        return _held_out(np.minimum((share * config.folds).astype(np.int64), config.folds - 1), config, wanted)
    return _by_share(share, config, wanted)


def _held_out(fold: Int64[np.ndarray, " N"], config: SplitConfig, wanted: list[str]) -> Int64[np.ndarray, " N"]:
    member = np.zeros(len(fold), np.int64)
    held = [name for name in ("test", "valid") if name in wanted]
    if config.folds <= len(held):
        raise InputError(
            "data.split.folds: expected at least 3 folds when valid and test are both cut from them, found 2"
        )
    for step, name in enumerate(held):
        member[fold == (config.fold + step) % config.folds] = SPLITS.index(name)
    return member


def _by_share(share: Float64[np.ndarray, " N"], config: SplitConfig, wanted: Sequence[str]) -> Int64[np.ndarray, " N"]:
    valid, test = (getattr(config, name) if name in wanted else 0.0 for name in ("valid", "test"))
    return np.where(share < valid, 1, np.where(share < valid + test, 2, 0))


def _by_chromosomes(
    data: Dataset, config: SplitConfig, wanted: list[str], sizes: Mapping[str, int] | None
) -> Int64[np.ndarray, " N"]:
    chrom = _regions(data, config).chrom
    if config.scheme is not None:
        if len(wanted) < 2:
            raise InputError(
                f"data.split.scheme: '{config.scheme}' makes valid and test, found files for one of them too. "
                "Put all rows under 'all', or name no scheme"
            )
        member = np.zeros(len(data), np.int64)
        for name, rows in scheme_splits(chrom, config.scheme, config.fold).items():
            member[rows] = SPLITS.index(name)
        return member
    names, code, counts = np.unique(chrom.astype(str), return_inverse=True, return_counts=True)
    if sizes is None:
        sizes = dict(zip(names.tolist(), counts.tolist(), strict=True))
    elif strange := sorted(set(names.tolist()) - set(sizes)):
        raise InputError(f"chromosomes without a size: {listing(strange)}: expected one of {listing(sizes, 30)}")
    folds = balanced_folds(sizes, config.folds)
    return _held_out(np.array([folds[name] for name in names.tolist()], np.int64)[code], config, wanted)


def by_locus(parts: Iterable[Regions], config: SplitConfig, wanted: Sequence[str]) -> Int8[np.ndarray, " N"]:
    """Returns the index in SPLITS of each row of some regions, groups of neighbours together.

    Args:
        parts: one after the other; each chromosome lies in one of them as a whole.
        wanted: those of valid and test that are to be made.

    Raises:
        InputError: one of them is asked for and comes out empty.
    """
    found, groups, largest = [np.zeros(0, np.int8)], 0, 0
    for regions in parts:
        group = locus_groups(regions.chrom, regions.start, regions.end, config.distance)
        share = locus_hash(regions.chrom, regions.start, group, config.salt)
        found.append(_by_share(share, config, wanted).astype(np.int8))
        sizes = np.bincount(group)
        groups, largest = groups + len(sizes), max(largest, int(sizes.max(initial=0)))
    member = np.concatenate(found)
    for name in wanted:
        if getattr(config, name) and not (member == SPLITS.index(name)).any():
            raise InputError(
                f"split {name!r} is empty: the {len(member):,} rows make {groups:,} groups of loci at most "
                f"{config.distance:,} bases apart, the largest of {largest:,} rows. Lower data.split.distance, raise "
                f"data.split.{name}, or split by chromosome"
            )
    return member


def _regions(data: Dataset, config: SplitConfig) -> Regions:
    if data.regions is None:
        raise InputError(
            f"data.split.name: {config.name!r} needs regions, found none. "
            "Name chrom_column, start_column and end_column of the source"
        )
    return data.regions


def _by_value(data: Dataset, config: SplitConfig, wanted: list[str]) -> Int64[np.ndarray, " N"]:
    if config.name == "chromosome":
        values, noun = _regions(data, config).chrom, "chromosome"
    elif KEPT in data.inputs:
        values, noun = data.inputs[KEPT], f"column '{show(config.column)}', value"
    else:
        raise InputError("data.split.name: 'column' needs a source with named columns (table), found another")
    present = np.unique(values.astype(str))
    member = np.zeros(len(data), np.int64)
    for name in (*wanted, "train"):
        chosen = [] if config.train_values == (REST,) and name == "train" else list(getattr(config, f"{name}_values"))
        if absent := [v for v in chosen if v not in present]:
            found = listing(map(repr, present.tolist()), 30)
            raise InputError(
                f"data.split.{name}_values: {noun} '{show(absent[0])}' occurs in no row: expected one of {found}"
            )
        member[np.isin(values.astype(str), chosen)] = SPLITS.index(name)
    if config.name == "column":
        held = config.valid_values + config.test_values
        check_the_rest(show(config.column), values.astype(str), data.ids, held, config.train_values)
    return member


def audit(splits: dict[str, Dataset], config: SplitConfig) -> tuple[dict[str, Dataset], dict[str, int]]:
    """Returns splits without shared or (where asked) similar sequences and overlapping regions, and what that cost.

    Raises:
        InputError: some are shared or overlap and the config says to refuse, or a split is left empty.
    """
    splits, notes = without_copies(splits, config.duplicates)
    splits = _without_overlaps(splits, config, notes)
    if config.near_duplicates != "ignore":
        splits, found = without_near(splits, config.near_duplicates, config.similarity, config.homology_table)
        notes |= found
        if config.near_duplicates == "group":  # rows that were moved may overlap others now
            splits = _without_overlaps(splits, config, notes)
    for name, data in splits.items():
        if not len(data):
            raise InputError(f"split {name!r} is empty: every row of it occurs in another split too. Change data.split")
    return splits, notes


def _without_overlaps(splits: dict[str, Dataset], config: SplitConfig, notes: dict[str, int]) -> dict[str, Dataset]:
    """Splits whose regions share no base; `notes` counts what that cost."""
    if config.overlaps == "ignore":
        return splits
    refuse_two_styles([data.regions.chrom for data in splits.values() if data.regions is not None])
    result = dict(splits)
    order = [name for name in PROTECTED if name in splits and splits[name].regions is not None]
    for i, strong in enumerate(order):
        for weak in order[i + 1 :]:
            there, here = result[strong].regions, result[weak].regions
            assert there is not None and here is not None
            hit = overlapping(here, there, config.gap)
            if not hit.any():
                continue
            if config.overlaps == "refuse":
                row = int(np.argmax(hit))
                twin = int(np.argmax(overlapping(there, here.take(np.array([row])), config.gap)))
                near = f" or lie within {config.gap} bases of" if config.gap else ""
                raise InputError(
                    f"{int(hit.sum()):,} windows of {weak!r} overlap{near} {strong!r} (first: {_spell(here, row)} and "
                    f"{_spell(there, twin)}): expected no shared bases. Split by chromosome, or set "
                    "data.split.overlaps=drop"
                )
            result[weak] = result[weak].take(~hit)
            key = f"windows dropped from {weak} that overlap {strong}"
            notes[key] = notes.get(key, 0) + int(hit.sum())
    return result


def _spell(regions: Regions, row: int) -> str:
    return f"{show(regions.chrom[row])}:{regions.start[row]}-{regions.end[row]}"


def overlapping(a: Regions, b: Regions, gap: int = 0) -> Bool[np.ndarray, " N"]:
    """Returns which regions of `a` share a base with, or lie closer than `gap` bases to, some region of `b`."""
    if not len(b.start):
        return np.zeros(len(a.start), bool)
    names, code = np.unique(np.concatenate([a.chrom.astype(str), b.chrom.astype(str)]), return_inverse=True)
    ours, theirs = code[: len(a.chrom)], code[len(a.chrom) :]
    span = int(max(a.end.max(initial=0), b.end.max(initial=0))) + gap + 1  # chromosomes laid end to end, this far apart
    if span * len(names) >= 2**62:
        raise InputError(
            f"regions end at {span - gap - 1:,}: expected genome coordinates. Check the columns start and end"
        )
    start, end = b.start + theirs * span, b.end + theirs * span
    order = np.argsort(start, kind="stable")
    reach = np.maximum.accumulate(end[order])  # how far the regions up to each one reach
    before = np.searchsorted(start[order], a.end + ours * span + gap, "left")
    return (before > 0) & (reach[np.maximum(before - 1, 0)] > a.start + ours * span - gap)
