"""Windows of a genome on two sides of a split: overlaps, copies and near-duplicates, found block by block and settled.

Valid and test keep 8-byte digests, which train must not repeat; train is checked as it streams by. A search for
near-duplicates has the bases of all windows in memory.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.digests import digests
from dragon_jax.data.grid import Choice
from dragon_jax.data.labelled import Labelled
from dragon_jax.data.leaks import PROTECTED, without_near
from dragon_jax.data.splits import SplitConfig, overlapping
from dragon_jax.data.windows import Windows, joined
from dragon_jax.errors import InputError


def audited(
    labelled: Labelled, parts: dict[str, Choice], split: SplitConfig, notes: dict[str, int]
) -> dict[str, Choice]:
    """Returns the parts without windows that overlap or repeat those of a more protected split.

    Args:
        labelled: where bases come from. split: what to do with such windows.
        parts: the windows of each split, chosen from the same grid or list.
        notes: gets the counts of windows dropped and moved.

    Raises:
        InputError: there are some and the config says to refuse, or a split is left empty.
    """
    parts = _without_overlaps(parts, split, notes)
    parts = _without_copies(labelled, parts, split, notes)
    _check_rows_left(parts)
    if split.near_duplicates != "ignore":
        parts = _unlike(labelled, parts, split, notes)
    if "group" in (split.duplicates, split.near_duplicates):  # windows that were moved may overlap others now
        parts = _without_overlaps(parts, split, notes)
        _check_rows_left(parts)
    return parts


def _check_rows_left(parts: dict[str, Choice]) -> None:
    for name, part in parts.items():
        if not len(part):
            raise InputError(
                f"split {name!r} is empty: every window of it occurs in another split too. Change data.split"
            )


def _without_overlaps(parts: dict[str, Choice], split: SplitConfig, notes: dict[str, int]) -> dict[str, Choice]:
    """The parts, the weaker ones without windows that overlap those of a stronger one."""
    order = [name for name in PROTECTED if name in parts]
    result = dict(parts)
    for i, strong in enumerate(order):
        for weak in order[i + 1 :]:
            result[weak] = _apart(result, strong, weak, split, notes)
    return result


def _apart(parts: dict[str, Choice], strong: str, weak: str, split: SplitConfig, notes: dict[str, int]) -> Choice:
    """The windows of the weaker split that stay clear of the stronger one."""
    windows = parts[weak]
    if split.overlaps == "ignore":
        return windows
    if not len(np.intersect1d(windows.used(), parts[strong].used())):
        return windows

    def clear(block: Windows, _: int) -> np.ndarray:
        there = parts[strong].on(int(block.chrom[0]), int(block.chrom[-1]))
        return ~overlapping(block.regions(), there.regions(), split.gap)

    kept = windows.where(clear)
    if not (count := len(windows) - len(kept)):
        return windows
    if split.overlaps == "refuse":
        near = f" or lie within {split.gap} bases of" if split.gap else ""
        raise InputError(
            f"{count:,} windows of {weak!r} overlap{near} {strong!r} (first: {_first_outside(windows, kept)}): "
            "expected no shared bases. Split by chromosome, or set data.split.overlaps=drop"
        )
    key = f"windows dropped from {weak} that overlap {strong}"
    notes[key] = notes.get(key, 0) + count  # windows that were moved are looked at twice
    return kept


def _without_copies(
    labelled: Labelled, parts: dict[str, Choice], split: SplitConfig, notes: dict[str, int]
) -> dict[str, Choice]:
    """The parts without copies of a window in two of them: dropped from the weaker, or moved to the strongest."""
    order = [name for name in PROTECTED if name in parts]
    result = dict(parts)
    taken: list[np.ndarray] = []  # sorted digests of each split that others must not repeat; train is not among them
    for name in order:
        before = parts[name]
        own = np.zeros(len(before) if name != order[-1] else 0, np.uint64)
        result[name] = before.where(functools.partial(_original, labelled, taken, own))
        own.sort()
        copies = _outside(before, result[name])
        if len(copies) and split.duplicates == "refuse":
            raise InputError(
                f"{len(copies):,} windows of {name!r} occur in a more protected split too, as a copy or reverse "
                f"complement (first: {_first_outside(before, result[name])}): expected each on one side. "
                "Set data.split.duplicates to drop or group"
            )
        if len(copies):
            notes[f"copies {'moved out of' if split.duplicates == 'group' else 'dropped from'} {name}"] = len(copies)
        if split.duplicates == "group":
            # the parts are bits over the same windows, so to move one is to set its bit elsewhere
            for strong, held in zip(
                order, taken, strict=False
            ):  # the strongest first: whoever has it there stays there
                rest = copies.where(functools.partial(_original, labelled, [held], np.zeros(0, np.uint64)))
                moved = _outside(copies, rest)
                result[strong] = Choice(before.source, result[strong].bits | moved.bits)
                copies = rest
        taken.append(own)
    return {name: result[name] for name in parts}


def _digests(labelled: Labelled, windows: Windows) -> np.ndarray:
    """8 bytes for each window, equal for reverse complements.

    They tell 10 million windows apart but for odds of 1 in 370,000 that any two share them by chance.
    """
    return labelled.measure(windows, lambda codes: digests(codes, size=8).view(np.uint64).ravel()).astype(np.uint64)


def _original(labelled: Labelled, taken: list[np.ndarray], own: np.ndarray, block: Windows, before: int) -> np.ndarray:
    """Which windows have no digest that is taken; puts the digests into `own`, where there is room for them."""
    result = np.ones(len(block), bool)
    held = [keys for keys in taken if len(keys)]
    if not held and not len(own):
        return result
    found = _digests(labelled, block)
    if len(own):
        own[before : before + len(block)] = found
    for keys in held:
        result &= keys[np.minimum(np.searchsorted(keys, found), len(keys) - 1)] != found
    return result


def _outside(before: Choice, after: Choice) -> Choice:
    """The windows that were chosen and are no more."""
    return Choice(before.source, before.bits & ~after.bits)


def _first_outside(before: Choice, after: Choice) -> str:
    """The place of the first window that was chosen and is no more."""
    first = _outside(before, after).take(slice(0, 1)).regions()
    return f"{first.chrom[0]}:{first.start[0]}-{first.end[0]}"


def _unlike(
    labelled: Labelled, parts: dict[str, Choice], split: SplitConfig, notes: dict[str, int]
) -> dict[str, Choice]:
    """The parts without windows like one of another split; the bases of all are in memory for that."""
    lists = {name: part.gathered() for name, part in parts.items()}
    shadows = {n: shadow(part, labelled.codes(part), i) for i, (n, part) in enumerate(lists.items())}
    policy: Any = split.near_duplicates
    kept, found = without_near(shadows, policy, split.similarity, split.homology_table)
    notes.update(found)
    result = {}
    for name, data in kept.items():
        rows, owner = data.inputs["row"], data.inputs["split"]
        pieces = [part.take(rows[owner == i]) for i, part in enumerate(lists.values())]
        all_ = functools.reduce(joined, pieces)
        if not len(all_):
            raise InputError(
                f"split {name!r} is empty: every window of it is like one of another split. Change data.split"
            )
        result[name] = Choice.every(all_.take(all_.order()))
    return result


def shadow(windows: Windows, codes: np.ndarray, split: int = 0) -> Dataset:
    """Rows without labels, for the parts of the house that look at positions or bases alone."""
    regions = windows.regions()
    names = [f"{c}:{s}-{e}" for c, s, e in zip(regions.chrom, regions.start, regions.end, strict=True)]
    return Dataset(
        codes=codes,
        targets=np.zeros((len(windows), 1), np.float32),
        tasks=(Task("position"),),
        ids=np.array(names if codes.shape[1] else [""] * len(windows), np.str_),
        regions=regions,
        inputs={"row": np.arange(len(windows)), "split": np.full(len(windows), split)},
    )
