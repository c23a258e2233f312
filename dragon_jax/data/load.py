"""From the `data` part of a config to splits that may be trained on: read, divide, audit, add negatives, check."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dragon_jax.config import build
from dragon_jax.data.dataset import SPLITS, Dataset
from dragon_jax.data.negatives import NegativesConfig, add_negatives
from dragon_jax.data.sources import source_class
from dragon_jax.data.splits import SplitConfig, audit, divide
from dragon_jax.data.table_source import TableSource
from dragon_jax.errors import InputError, listing, nearest, show


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What `DataConfig.load` gives.

    Attributes:
        parts: the splits that were asked for.
        notes: what was put in order, dropped or made, by name.
        summary: the same and the size of each split, as lines to print.
        unseen: digest of the sequences and ids of each split that was not asked for; labels do not enter it.
    """

    parts: dict[str, Dataset]
    notes: dict[str, int]
    summary: list[str]
    unseen: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The typed view of `config.data`.

    Attributes:
        source: an instance of a class of `sources.SOURCES`.
    """

    source: Any
    split: SplitConfig
    negatives: NegativesConfig

    def load(self, seed: int, splits: Sequence[str] = ("train", "valid")) -> Loaded:
        """Reads everything, divides it, audits all splits, makes negatives, and returns the splits that are asked for.

        The sequences of every split are read, because the audit needs them. Labels of a split that is not asked for are
        not returned, nor used for anything but to see whether it needs negatives.

        Raises:
            InputError: bad files, leaks between splits, a split that is missing, empty or without what its tasks need.
        """
        if unknown := [name for name in splits if name not in SPLITS]:
            raise InputError(
                f"split '{show(unknown[0])}': expected one of {', '.join(SPLITS)}{nearest(unknown[0], SPLITS)}"
            )
        if self.split.name == "column":
            if not isinstance(self.source, TableSource):
                raise InputError(
                    "data.split.name: 'column' needs the source 'table', found another. Split by hash, folds or files"
                )
            parts = self.source.load_parts(seed, keep=self.split.column)
        else:
            parts = self.source.load_parts(seed)
        whole, audited = audit(divide(parts, self.split), self.split)
        if missing := [name for name in splits if name not in whole]:
            raise InputError(
                f"there is no split {missing[0]!r}: the source and data.split make {listing(whole)} only. "
                "Change data.split, or name a file"
            )
        complete, made = add_negatives(whole, self.negatives, seed)
        notes: dict[str, int] = {}
        for name in splits:
            check_labels(name, complete[name])
        for counts in (*(data.notes for data in parts.values()), audited, *(made[name] for name in splits)):
            for key, count in counts.items():
                notes[key] = notes.get(key, 0) + count
        summary = [describe(name, complete[name], made[name]) for name in splits]
        rest = [f"{name} {len(data):,}" for name, data in complete.items() if name not in splits]
        if rest:
            summary.append(f"not returned: {', '.join(rest)} sequences")
        known = {key for counts in made.values() for key in counts}
        summary += [f"{count:,} {key}" for key, count in notes.items() if key not in known]
        unseen = {name: sequence_digest(data) for name, data in complete.items() if name not in splits}
        return Loaded({name: complete[name] for name in splits}, notes, summary, unseen)


def data_config(raw: Mapping[str, Any]) -> DataConfig:
    """Builds the typed view of a plain dictionary `{"source": {"name": ...}, "split": {...}, "negatives": {...}}`.

    Raises:
        InputError: an unknown, missing or mistyped field, with its dotted name.
    """
    known = ("source", "split", "negatives")
    for name in raw:
        if name not in known:
            raise InputError(
                f"data.{show(name)}: no such field{nearest('data.' + str(name), ['data.' + k for k in known])}"
            )
    source = dict(raw.get("source") or {})
    if not isinstance(source.get("name"), str):
        raise InputError(f"data.source.name: expected the name of a source, found {show(repr(source.get('name')))}")
    cls = source_class(source.pop("name"))
    return DataConfig(
        source=build(cls, source, "data.source"),
        split=build(SplitConfig, dict(raw.get("split") or {}), "data.split"),
        negatives=build(NegativesConfig, dict(raw.get("negatives") or {}), "data.negatives"),
    )


def sequence_digest(data: Dataset) -> str:
    """Returns a hex digest of the sequences and ids of a split, in order, and of nothing that was measured."""
    names = "\0".join(map(str, data.ids)).encode()
    return hashlib.sha256(repr(data.codes.shape).encode() + data.codes.tobytes() + names).hexdigest()


def check_labels(split: str, data: Dataset) -> None:
    """Refuses a split that cannot serve: a task of train without labels or with one class, or no task with both.

    Raises:
        InputError: with the name of the task and the counts.
    """
    measured = (~np.isnan(data.targets)).sum(0)
    if split == "train":
        for task, count in zip(data.tasks, measured, strict=True):
            if not count:
                raise InputError(
                    f"task '{show(task.name)}' has no label in split 'train' ({len(data):,} missing): expected some. "
                    "Remove it or change the split"
                )
    elif not measured.any():
        raise InputError(f"no label in split {split!r} ({len(data):,} rows): expected some. Change the split")
    binary = [i for i, task in enumerate(data.tasks) if task.kind == "binary"]
    lacking: list[tuple[str, str]] = []
    for i in binary:
        values = data.targets[:, i]
        for label, noun in ((1, "positive"), (0, "negative")):
            if not (values == label).any():
                lacking.append((data.tasks[i].name, noun))
                break
    if not lacking or (split != "train" and (len(lacking) < len(binary) or len(binary) < len(data.tasks))):
        return
    name, noun = lacking[0]
    more = f" (and {len(lacking) - 1:,} other tasks lack a class)" if len(lacking) > 1 else ""
    mend = " or set data.negatives.name=dinucleotide" if noun == "negative" else ""
    raise InputError(
        f"task '{show(name)}' has no {noun} in split {split!r} ({len(data):,} rows){more}: expected labels 0 and 1. "
        f"Remove it, change the split{mend}"
    )


def describe(name: str, data: Dataset, made: Mapping[str, int]) -> str:
    """Returns one line about a split: rows, bases, tasks, share of positives, what was made."""
    text = (
        f"{name}: {len(data):,} sequences of {data.length:,} bp, {len(data.tasks):,} task{'s' * (len(data.tasks) != 1)}"
    )
    binary = data.targets[:, [task.kind == "binary" for task in data.tasks]]
    measured = int((~np.isnan(binary)).sum())
    if measured:
        text += f", {100 * float(np.nansum(binary)) / measured:.1f} % of labels positive"
    absent = int(np.isnan(data.targets).sum())
    text += f", {absent:,} labels not measured" if absent else ""
    return text + "".join(f", {count:,} {key}" for key, count in made.items())
