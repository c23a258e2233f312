"""Rows that stand on two sides of a split, as copies or as near-duplicates: counted, refused, dropped or moved together."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64

from dragon_jax.data.dataset import Dataset, Regions, concatenate
from dragon_jax.data.digests import digests
from dragon_jax.data.homology import find_near
from dragon_jax.data.homology_table import read_groups
from dragon_jax.dna import UNKNOWN
from dragon_jax.errors import InputError, show

PROTECTED = ("test", "valid", "train")  # who keeps a row that two splits claim
Splits = dict[str, Dataset]
_SHOWN = 5


def without_copies(splits: Splits, policy: Literal["refuse", "group", "drop"]) -> tuple[Splits, dict[str, int]]:
    """Returns splits that share no sequence, read on either strand, and how many rows that moved or cost.

    Raises:
        InputError: some are shared and the policy is to refuse.
    """
    order = [name for name in PROTECTED if name in splits]
    if len({splits[name].length for name in order}) > 1:
        return splits, {}
    keys = np.concatenate([digests(splits[name].codes) for name in order])
    owner = _owner(splits, order)
    _, group = np.unique(keys, return_inverse=True)
    target = _presence(group, owner, len(order)).argmax(1)  # the most protected split that has each sequence
    stray = np.flatnonzero(target != owner)
    if not len(stray):
        return splits, {}
    if policy == "refuse":
        twins = [_member(group, owner, row, int(target[row])) for row in stray[:_SHOWN].tolist()]
        sequences = "sequence occurs" if len(stray) == 1 else "sequences occur"
        raise InputError(
            f"{len(stray):,} {sequences} in two splits, as a copy or reverse complement "
            f"({_pairs(splits, order, owner, stray, twins)}): "
            "expected each on one side. Set data.split.duplicates to drop or group"
        )
    return _settled(splits, order, owner, target, policy, "copies")


def without_near(
    splits: Splits,
    policy: Literal["report", "refuse", "drop", "group"],
    similarity: float = 0.9,
    table: str | None = None,
) -> tuple[Splits, dict[str, int]]:
    """Returns splits without near-duplicates between them, and how many rows that moved or cost; `report` only counts.

    `refuse` and `drop` look for rows that are alike themselves; a row dropped because of valid may have been like one of
    valid that is dropped because of test. `group` moves whole families, linked by any chain of pairs, to the most
    protected split that has a member.

    Args:
        similarity: least share of equal bases, see `homology.find_near`.
        table: a table of families (`homology_table.read_groups`) that is believed instead of looking at the sequences.

    Raises:
        InputError: there are some and the policy is to refuse; or the table is bad.
    """
    order = [name for name in PROTECTED if name in splits]
    owner, notes = _owner(splits, order), {}
    group = found = None
    if table is not None:
        ids = np.concatenate([splits[name].ids.astype(str) for name in order])
        group = read_groups(table, ids, _regions(splits, order))
        near = _presence(group, owner, len(order))
    else:
        found = find_near(_codes(splits, order), similarity, labels=None if policy == "group" else owner)
        if policy == "group":
            group = found.clusters()
        near = found.near(owner) if group is None else _presence(group, owner, len(order))
        if found.crowded:
            notes["searches for near-duplicates cut short at k-mers that very many sequences share"] = found.crowded
    near[np.arange(len(owner)), owner] = True
    if policy == "report":
        for strong, name in enumerate(order):
            for weak in range(strong + 1, len(order)):
                here, there = ((owner == a) & near[:, b] for a, b in ((weak, strong), (strong, weak)))
                if here.any():
                    notes[f"sequences of {order[weak]} with a near-duplicate in {name}"] = int(here.sum())
                    notes[f"sequences of {name} with a near-duplicate in {order[weak]}"] = int(there.sum())
        return splits, notes
    target = near.argmax(1)
    stray = np.flatnonzero(target != owner)
    if not len(stray):
        return splits, notes
    if policy == "refuse":
        shown, alike = stray[:_SHOWN].tolist(), []
        if found is None:
            assert group is not None
            twins = [_member(group, owner, row, int(target[row])) for row in shown]
            said = f"belong to a family of {show(table)} that a more protected split has"
        else:
            twins = []
            for row in shown:
                at, twin = _partner(found.first, found.second, owner, int(found.same[row]), int(target[row]))
                twins.append(twin)
                alike.append(f" ({100 * found.similarity[at]:.0f} % alike)")
            said = f"have a near-duplicate, at least {100 * similarity:g} % alike, in a more protected split"
        raise InputError(
            f"{len(stray):,} sequences {said} ({_pairs(splits, order, owner, stray, twins, alike)}): expected each "
            "family on one side. Set data.split.near_duplicates to drop, group or report"
        )
    result, moved = _settled(splits, order, owner, target, policy, "near-duplicates")
    return result, moved | notes


def _owner(splits: Splits, order: list[str]) -> Int64[np.ndarray, " N"]:
    """The split of each row, as an index in `order`, rows of all splits one after the other."""
    return np.repeat(np.arange(len(order)), [len(splits[name]) for name in order])


def _codes(splits: Splits, order: list[str]) -> np.ndarray:
    """All sequences, the shorter ones filled up with unknown bases."""
    length = max(splits[name].length for name in order)
    result = np.full((sum(len(splits[name]) for name in order), length), UNKNOWN, np.uint8)
    begin = 0
    for name in order:
        codes = splits[name].codes
        result[begin : begin + len(codes), : codes.shape[1]] = codes
        begin += len(codes)
    return result


def _regions(splits: Splits, order: list[str]) -> Regions | None:
    parts = [part for name in order if (part := splits[name].regions) is not None]
    if len(parts) < len(order):
        return None
    chrom, start, end = (np.concatenate([getattr(part, f) for part in parts]) for f in ("chrom", "start", "end"))
    return Regions(chrom, start, end)


def _presence(group: Int64[np.ndarray, " N"], owner: Int64[np.ndarray, " N"], splits: int) -> Bool[np.ndarray, "N S"]:
    """In which splits the group of each row has a member."""
    result = np.zeros((int(group.max(initial=-1)) + 1, splits), bool)
    result[group, owner] = True
    return result[group]


def _member(group: np.ndarray, owner: np.ndarray, row: int, split: int) -> int:
    """The first row of a split that is in the group of `row`."""
    return int(np.flatnonzero((group == group[row]) & (owner == split))[0])


def _partner(first: np.ndarray, second: np.ndarray, owner: np.ndarray, row: int, split: int) -> tuple[int, int]:
    """The first pair of `row` with a row of a split, and that row."""
    for one, other in ((first, second), (second, first)):
        at = np.flatnonzero((one == row) & (owner[other] == split))
        if len(at):
            return int(at[0]), int(other[at[0]])
    raise AssertionError("a row is near a split only through a pair")


def _pairs(
    splits: Splits,
    order: list[str],
    owner: np.ndarray,
    stray: np.ndarray,
    twins: list[int],
    remarks: list[str] | None = None,
) -> str:
    """The first strays and their twins by name, the rest counted."""
    ids = np.concatenate([splits[name].ids.astype(object) for name in order])
    texts = [
        f"'{show(ids[row])}' of {order[owner[row]]} and '{show(ids[twin])}' of {order[owner[twin]]}{remark}"
        for row, twin, remark in zip(stray, twins, remarks or [""] * len(twins), strict=False)
    ]
    more = f", ... and {len(stray) - _SHOWN:,} more" if len(stray) > _SHOWN else ""
    return "; ".join(texts) + more


def _settled(
    splits: Splits,
    order: list[str],
    owner: Int64[np.ndarray, " N"],
    target: Int64[np.ndarray, " N"],
    policy: str,
    noun: str,
) -> tuple[Splits, dict[str, int]]:
    """Drops the rows that do not stand where they belong, or moves them there (`group`); counts them."""
    stray, notes, result = target != owner, {}, {}
    begin = np.concatenate([[0], np.cumsum([len(splits[name]) for name in order])])
    mine = [slice(a, b) for a, b in zip(begin[:-1], begin[1:], strict=True)]
    for i, name in enumerate(order):
        kept = splits[name].take(~stray[mine[i]])
        moved = [splits[o].take((stray & (target == i))[mine[j]]) for j, o in enumerate(order)]
        moved = [part for part in moved if policy == "group" and len(part)]
        result[name] = dataclasses.replace(concatenate([kept, *moved]), notes=kept.notes) if moved else kept
        if count := int(stray[mine[i]].sum()):
            notes[f"{noun} {'moved out of' if policy == 'group' else 'dropped from'} {name}"] = count
    return {name: result[name] for name in splits}, notes
