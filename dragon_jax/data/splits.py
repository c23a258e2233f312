"""Train, valid and test: how rows are told apart, and the audit that nothing stands on two sides.

Membership never depends on the order of the rows: it follows a column, a chromosome, a file, or a hash of the sequence
read on the strand that sorts first, so that copies and reverse complements fall together.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from dragon_jax.config import check_range
from dragon_jax.data.dataset import SPLITS, Dataset, Regions, concatenate
from dragon_jax.data.split_values import REST, check_the_rest
from dragon_jax.data.table_source import KEPT
from dragon_jax.dna import canonical
from dragon_jax.errors import InputError, listing, show

PROTECTED = ("test", "valid", "train")  # who keeps a row that two splits claim


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How the rows of `all`, or of `train` where valid or test have no file of their own, are divided.

    Attributes:
        name: `hash` (shares `valid` and `test` by hash of the sequence), `folds` (k equal parts by the same hash),
            `column` (values of a text column of a table), `chromosome`, or `files` (nothing is divided).
        valid, test: shares of the rows, for `hash`. A split that has its own file takes nothing from the others.
        column: for `column`, the column.
        valid_values, test_values: values of the column, or chromosomes, that make these splits; the rest is train.
        train_values: for `column`, the values that make train, every other one being refused; `("*",)` = all the rest,
            whatever it is called. Empty = the rest, but what looks like a slip of the pen is refused, see
            `check_the_rest`.
        folds, fold: for `folds`, how many parts there are and which of them is held out: it is test, the next one valid
            (where test has its own file, it is valid).
        salt: changes the hash, for another division of the same kind.
        duplicates: equal sequences or reverse complements in two splits are refused, or all go to the most protected
            split that has one (`group`), or leave the less protected ones (`drop`). Order: test, valid, train.
        overlaps: the same for rows whose regions overlap; `ignore` lets them be.
        gap: regions closer than this many bases count as overlapping (set it to the largest shift of the augmentation).
    """

    name: Literal["hash", "folds", "column", "chromosome", "files"] = "hash"
    valid: float = 0.1
    test: float = 0.1
    column: str | None = None
    valid_values: tuple[str, ...] = ()
    test_values: tuple[str, ...] = ()
    train_values: tuple[str, ...] = ()
    folds: int = 5
    fold: int = 0
    salt: str = ""
    duplicates: Literal["refuse", "group", "drop"] = "refuse"
    overlaps: Literal["refuse", "drop", "ignore"] = "refuse"
    gap: int = 0

    def __post_init__(self):
        check_range("valid", self.valid, 0, 1, open_high=True)
        check_range("test", self.test, 0, 1, open_high=True)
        check_range("gap", self.gap, 0, float("inf"))
        if self.valid + self.test >= 1:
            raise ValueError(
                f"valid, test: expected shares that leave some rows to train, found {self.valid} + {self.test}"
            )
        if self.name == "folds" and not (self.folds >= 2 and 0 <= self.fold < self.folds):
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


def divide(parts: dict[str, Dataset], config: SplitConfig) -> dict[str, Dataset]:
    """Returns the splits that the given parts (`all`, or `train` and others) make.

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
        member = (
            _by_hash(whole, config, wanted) if config.name in ("hash", "folds") else _by_value(whole, config, wanted)
        )
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
    if config.name == "folds":
        return True
    return bool(getattr(config, name)) if config.name == "hash" else bool(getattr(config, f"{name}_values"))


def _by_hash(data: Dataset, config: SplitConfig, wanted: list[str]) -> Int64[np.ndarray, " N"]:
    share = uniform_hash(data.codes, config.salt)
    if config.name == "folds":
        fold = np.minimum((share * config.folds).astype(np.int64), config.folds - 1)
        member = np.zeros(len(data), np.int64)
        held = [name for name in ("test", "valid") if name in wanted]
        if config.folds <= len(held):
            raise InputError(
                "data.split.folds: expected at least 3 folds when valid and test are both cut from them, found 2"
            )
        for step, name in enumerate(held):
            member[fold == (config.fold + step) % config.folds] = SPLITS.index(name)
        return member
    valid, test = (getattr(config, name) if name in wanted else 0.0 for name in ("valid", "test"))
    return np.where(share < valid, 1, np.where(share < valid + test, 2, 0))


def _by_value(data: Dataset, config: SplitConfig, wanted: list[str]) -> Int64[np.ndarray, " N"]:
    if config.name == "chromosome":
        if data.regions is None:
            raise InputError(
                "data.split.name: 'chromosome' needs regions, found none. "
                "Name chrom_column, start_column and end_column of the source"
            )
        values, noun = data.regions.chrom, "chromosome"
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


def digests(codes: UInt8[np.ndarray, "N L"], salt: str = "", size: int = 16) -> np.ndarray:
    """Returns `[N]` opaque values of `size` bytes, equal for copies and reverse complements and for no others."""
    rows, length = canonical(codes).tobytes(), codes.shape[1]
    key = hashlib.sha256(salt.encode()).digest()[:16] if salt else b""
    starts = range(0, len(rows), length)
    raw = b"".join([hashlib.blake2b(rows[i : i + length], digest_size=size, key=key).digest() for i in starts])
    return np.frombuffer(raw, np.dtype((np.void, size)))


def uniform_hash(codes: UInt8[np.ndarray, "N L"], salt: str = "") -> Float64[np.ndarray, " N"]:
    """Returns numbers in [0, 1), one for each sequence: the same on every machine, in any order, on either strand."""
    words = np.frombuffer(digests(codes, salt, 8).tobytes(), "<u8")
    return (words >> np.uint64(11)) * 2.0**-53


def audit(splits: dict[str, Dataset], config: SplitConfig) -> tuple[dict[str, Dataset], dict[str, int]]:
    """Returns splits without shared sequences and overlapping regions, and how many rows that moved or cost.

    Raises:
        InputError: some are shared or overlap and the config says to refuse, or a split is left empty.
    """
    splits, notes = _without_copies(splits, config)
    if config.overlaps != "ignore":
        splits, dropped = _without_overlaps(splits, config)
        notes |= dropped
    for name, data in splits.items():
        if not len(data):
            raise InputError(f"split {name!r} is empty: every row of it occurs in another split too. Change data.split")
    return splits, notes


def _without_copies(splits: dict[str, Dataset], config: SplitConfig) -> tuple[dict[str, Dataset], dict[str, int]]:
    order = [name for name in PROTECTED if name in splits]
    if len({splits[name].length for name in order}) > 1:
        return splits, {}
    keys = np.concatenate([digests(splits[name].codes) for name in order])
    owner = np.concatenate([np.full(len(splits[name]), i) for i, name in enumerate(order)])
    _, group = np.unique(keys, return_inverse=True)
    first = np.full(group.max() + 1, len(order))
    np.minimum.at(first, group, owner)  # the most protected split that has each sequence
    stray = owner != first[group]
    if not stray.any():
        return splits, {}
    if config.duplicates == "refuse":
        raise InputError(_copies_sentence(splits, order, owner, group, first, stray))
    notes: dict[str, int] = {}
    begin = np.concatenate([[0], np.cumsum([len(splits[name]) for name in order])])
    result = {}
    for i, name in enumerate(order):
        mine = slice(begin[i], begin[i + 1])
        result[name] = splits[name].take(~stray[mine])
        verb = "dropped from" if config.duplicates == "drop" else "moved out of"
        if count := int(stray[mine].sum()):
            notes[f"copies {verb} {name}"] = count
    if config.duplicates == "group":
        for i, name in enumerate(order):
            movers = [
                splits[o].take((stray & (first[group] == i))[begin[j] : begin[j + 1]]) for j, o in enumerate(order)
            ]
            result[name] = _joined([result[name], *(m for m in movers if len(m))])
    return {name: result[name] for name in splits}, notes


def _joined(parts: list[Dataset]) -> Dataset:
    notes = parts[0].notes
    return dataclasses.replace(concatenate(parts), notes=notes) if len(parts) > 1 else parts[0]


def _copies_sentence(
    splits: dict[str, Dataset],
    order: list[str],
    owner: np.ndarray,
    group: np.ndarray,
    first: np.ndarray,
    stray: np.ndarray,
) -> str:
    ids = np.concatenate([splits[name].ids.astype(object) for name in order])
    pairs = []
    for row in np.flatnonzero(stray)[:5]:
        twin = np.flatnonzero((group == group[row]) & (owner == first[group[row]]))[0]
        pairs.append(f"'{show(ids[row])}' of {order[owner[row]]} and '{show(ids[twin])}' of {order[owner[twin]]}")
    count = int(stray.sum())
    more = f", ... and {count - 5:,} more" if count > 5 else ""
    sequences = "sequence occurs" if count == 1 else "sequences occur"
    return (
        f"{count:,} {sequences} in two splits, as a copy or reverse complement ({'; '.join(pairs)}{more}): "
        "expected each on one side. Set data.split.duplicates to drop or group"
    )


def _without_overlaps(splits: dict[str, Dataset], config: SplitConfig) -> tuple[dict[str, Dataset], dict[str, int]]:
    result, notes = dict(splits), {}
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
            notes[f"windows dropped from {weak} that overlap {strong}"] = int(hit.sum())
    return result, notes


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
