"""From the `data` part of a config to splits that may be trained on: read, divide, audit, add negatives, check."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dragon_jax.config import build
from dragon_jax.data.contrast import add_contrast
from dragon_jax.data.dataset import IDS, SPLITS, Dataset, Task
from dragon_jax.data.fingerprints import digest_columns
from dragon_jax.data.matched import MatchReport
from dragon_jax.data.negatives import NegativesConfig, add_negatives
from dragon_jax.data.prepared import is_prepared, open_prepared, split_line
from dragon_jax.data.records import TfdsSplit
from dragon_jax.data.rows import MemoryRows, Rows, gathered
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
        streamed: splits that were asked for and stay on the disk.
    """

    parts: dict[str, Dataset]
    notes: dict[str, int]
    summary: list[str]
    unseen: dict[str, str] = dataclasses.field(default_factory=dict)
    streamed: dict[str, TfdsSplit] = dataclasses.field(default_factory=dict)

    def part(self, split: str) -> Dataset | TfdsSplit:
        """Returns a split, in memory or on disk."""
        return self.streamed[split] if split in self.streamed else self.parts[split]


@dataclasses.dataclass(frozen=True)
class Opened:
    """What `DataConfig.open` gives: every split, rows not necessarily in memory.

    Attributes:
        parts: rows by split.
        notes: what was put in order or dropped, by name.
        made: negatives made, by split.
        files: every input file, where the source can tell; None where it cannot.
        report: how well drawn negatives match, where some were drawn.
    """

    parts: Mapping[str, Rows]
    notes: dict[str, int]
    made: dict[str, dict[str, int]]
    files: tuple[str, ...] | None = None
    report: MatchReport | None = None

    @property
    def matching(self) -> tuple[str, ...]:
        """How well drawn negatives match, as lines to print."""
        return () if self.report is None else tuple(self.report.lines())


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The typed view of `config.data`.

    Attributes:
        source: an instance of a class of `sources.SOURCES`.
    """

    source: Any
    split: SplitConfig
    negatives: NegativesConfig

    def load(self, seed: int, splits: Sequence[str] = ("train", "valid"), stream: Sequence[str] = ()) -> Loaded:
        """Reads everything, divides it, audits all splits, makes negatives, and returns the splits that are asked for.

        Of a folder that `dragon prepare` made, and that is taken as it is, only the splits that are asked for are read,
        and those in `stream` are opened and not read at all.

        The sequences of every split are read, because the audit needs them. Labels of a split that is not asked for are
        not returned, nor used for anything but to see whether it needs negatives.

        Raises:
            InputError: bad files, leaks between splits, a split that is missing, empty or without what its tasks need.
        """
        if unknown := [name for name in splits if name not in SPLITS]:
            raise InputError(
                f"split '{show(unknown[0])}': expected one of {', '.join(SPLITS)}{nearest(unknown[0], SPLITS)}"
            )
        if is_prepared(self.source, self.split, self.negatives):
            return _load_prepared(self.source.path, splits, stream)
        opened = self.open(seed)
        if missing := [name for name in splits if name not in opened.parts]:
            raise InputError(
                f"there is no split {missing[0]!r}: the source and data.split make {listing(opened.parts)} only. "
                "Change data.split, or name a file"
            )
        parts = {name: gathered(opened.parts[name]) for name in splits}
        notes = dict(opened.notes)
        for name in splits:
            check_labels(name, parts[name])
            for key, count in opened.made[name].items():
                notes[key] = notes.get(key, 0) + count
        summary = [describe(name, parts[name], opened.made[name]) for name in splits]
        rest = {name: rows for name, rows in opened.parts.items() if name not in splits}
        if rest:
            summary.append(
                f"not returned: {', '.join(f'{name} {len(rows):,}' for name, rows in rest.items())} sequences"
            )
        known = {key for counts in opened.made.values() for key in counts}
        summary += [f"{count:,} {key}" for key, count in notes.items() if key not in known]
        unseen = {name: sequence_digest(gathered(rows)) for name, rows in rest.items()}
        return Loaded(parts, notes, summary, unseen)

    def open(self, seed: int) -> Opened:
        """Divides and audits everything and draws negatives; the rows of a genome are read when they are asked for.

        Raises:
            InputError: bad files, leaks between splits, or negatives that cannot be drawn.
        """
        if hasattr(self.source, "open"):
            parts, notes, report = self.source.open(seed, self.split, self.negatives)
            if self.negatives.name != "dinucleotide" and not self.negatives.contrast:
                return Opened(parts, notes, {name: {} for name in parts}, tuple(self.source.paths()), report)
            whole = {name: gathered(rows) for name, rows in parts.items()}
            complete, made = self._with_negatives(whole, seed)
            return Opened(_in_memory(complete), notes, made, tuple(self.source.paths()))
        if self.negatives.name == "matched":
            raise InputError(
                "data.negatives.name: 'matched' needs the source 'genome', found another. Use dinucleotide"
            )
        if self.split.name == "column":
            if not isinstance(self.source, TableSource):
                raise InputError(
                    "data.split.name: 'column' needs the source 'table', found another. Split by hash, folds or files"
                )
            given = self.source.load_parts(seed, keep=self.split.column)
        else:
            given = self.source.load_parts(seed)
        whole, audited = audit(divide(given, self.split), self.split)
        complete, made = self._with_negatives(whole, seed)
        notes: dict[str, int] = {}
        for counts in (*(data.notes for data in given.values()), audited):
            for key, count in counts.items():
                notes[key] = notes.get(key, 0) + count
        return Opened(_in_memory(complete), notes, made)

    def _with_negatives(
        self, whole: dict[str, Dataset], seed: int
    ) -> tuple[dict[str, Dataset], dict[str, dict[str, int]]]:
        complete, made = add_negatives(whole, self.negatives, seed)
        copies = self.negatives.contrast
        if not copies:
            return complete, made
        complete = add_contrast(complete, copies, seed if self.negatives.seed is None else self.negatives.seed)
        made["train"]["shuffles for the task 'contrast'"] = len(complete["train"]) * copies // (copies + 1)
        return complete, made


def _load_prepared(path: str, splits: Sequence[str], stream: Sequence[str]) -> Loaded:
    parts, streamed, meta = open_prepared(path, splits, stream)
    notes: dict[str, int] = {}
    for name in splits:
        if name in streamed:
            found = streamed[name].statistics
            positives = np.array([n or 0 for n in found["positives"]])
            check_counts(name, streamed[name].tasks, len(streamed[name]), np.array(found["measured"]), positives)
        else:
            check_labels(name, parts[name])
        for key, count in meta["splits"][name]["notes"].items():
            notes[key] = notes.get(key, 0) + count
    summary = [describe(name, parts[name], {}) if name in parts else split_line(meta, name) for name in splits]
    rest = {name: own for name, own in meta["splits"].items() if name not in splits}
    if rest:
        sizes = [f"{name} {own['rows']:,}" for name, own in rest.items()]
        summary.append(f"not returned: {', '.join(sizes)} sequences")
    if streamed:
        summary.append(f"{listing(streamed)} stays on the disk and is read batch by batch")
    summary += [f"{count:,} {key}" for key, count in notes.items()]
    return Loaded(parts, notes, summary, {name: own["sequence_digest"] for name, own in rest.items()}, streamed)


def _in_memory(parts: Mapping[str, Dataset]) -> dict[str, Rows]:
    return {name: MemoryRows(data) for name, data in parts.items()}


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
    return digest_columns({"codes": data.codes, IDS: data.ids})


def check_labels(split: str, data: Dataset) -> None:
    """Refuses a split that cannot serve: a task of train without labels or with one class, or no task with both.

    Raises:
        InputError: with the name of the task and the counts.
    """
    measured, positives = (~np.isnan(data.targets)).sum(0), (data.targets == 1).sum(0)
    check_counts(split, data.tasks, len(data), measured, positives)


def check_counts(split: str, tasks: Sequence[Task], rows: int, measured: np.ndarray, positives: np.ndarray) -> None:
    """The same from the number of labels, and of positive ones, of each task.

    Raises:
        InputError: with the name of the task and the counts.
    """
    if split == "train":
        for task, count in zip(tasks, measured, strict=True):
            if not count:
                raise InputError(
                    f"task '{show(task.name)}' has no label in split 'train' ({rows:,} missing): expected some. "
                    "Remove it or change the split (peaks of a genome: data.source.label.absent=zero counts contigs that a "
                    "file does not name as without peaks, data.source.min_positives leaves out tasks with too few)"
                )
    elif not measured.any():
        raise InputError(f"no label in split {split!r} ({rows:,} rows): expected some. Change the split")
    binary = [i for i, task in enumerate(tasks) if task.kind == "binary"]
    lacking: list[tuple[str, str]] = []
    for i in binary:
        for count, noun in ((positives[i], "positive"), (measured[i] - positives[i], "negative")):
            if not count:
                lacking.append((tasks[i].name, noun))
                break
    if not lacking or (split != "train" and (len(lacking) < len(binary) or len(binary) < len(tasks))):
        return
    name, noun = lacking[0]
    more = f" (and {len(lacking) - 1:,} other tasks lack a class)" if len(lacking) > 1 else ""
    mend = " or set data.negatives.name=dinucleotide" if noun == "negative" else ""
    raise InputError(
        f"task '{show(name)}' has no {noun} in split {split!r} ({rows:,} rows){more}: expected labels 0 and 1. "
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
