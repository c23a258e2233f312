"""What there is to know about a data set before a model is trained on it: sizes, labels, GC, leaks, a few rows.

Labels of test stay closed: of them only how many were measured is told, never what was measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dragon_jax import dna
from dragon_jax.config import flatten, plain
from dragon_jax.data.builders import open_stream
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.load import data_config
from dragon_jax.data.prepare import open_noted, recipe_of
from dragon_jax.data.records import metadata_of, read_digests
from dragon_jax.data.rows import Rows
from dragon_jax.data.survey import survey
from dragon_jax.errors import InputError

CLOSED = "test"  # the split whose labels are not shown
FEW = 100  # examples of the rarer class below which a task is worth a warning
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Part:
    """One split.

    Attributes:
        rows: how many there are.
        measured: int64 `[T]`, rows with a value.
        positives: int64 `[T]`, rows of the positive class, 0 for tasks that are not binary; None where labels are closed.
        mean, spread: float64 `[T]`, mean and standard deviation of the values, NaN without any; None where closed.
        gc: int64 `[G]`, rows by GC share, see `survey.gc_histogram`.
        known, strong: known bases, and those that are G or C.
        examples: a few rows as columns of text.
        inputs: what `input_survey.Seen.record` says of each extra input, by name.
    """

    rows: int
    measured: np.ndarray
    positives: np.ndarray | None
    mean: np.ndarray | None
    spread: np.ndarray | None
    gc: np.ndarray
    known: int
    strong: int
    examples: tuple[dict[str, str], ...]
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Checkup:
    """A data set as `dragon check` shows it.

    Attributes:
        name: config or folder. length: bases of a row.
        notes: what was put in order, dropped or made, by name.
        audit: lines about rows that two splits share.
        settings: how the data are made, by dotted name. files: SHA-256 of input files, where they are known.
        matching: by split, the histograms of `matched.MatchReport.splits`, where negatives were matched.
    """

    name: str
    tasks: tuple[Task, ...]
    length: int
    parts: Mapping[str, Part]
    notes: Mapping[str, int]
    audit: tuple[str, ...]
    settings: Mapping[str, Any]
    files: Mapping[str, str]
    matching: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def scarce(self) -> np.ndarray:
        """Returns int64 `[T]`, what there is to learn each task from: training rows of its rarer class, or with a value."""
        part = self.parts.get("train") or next(iter(self.parts.values()))
        if part.positives is None:
            return part.measured
        rarer = np.minimum(part.positives, part.measured - part.positives)
        return np.where([task.kind == "binary" for task in self.tasks], rarer, part.measured)

    def worst_first(self) -> list[int]:
        """Returns the columns of the tasks, those with least to learn from first."""
        return np.argsort(self.scarce(), kind="stable").tolist()

    def warning(self, column: int) -> str:
        """Returns what is wrong with a task, or nothing."""
        task, found = self.tasks[column], []
        for split, part in self.parts.items():
            count = int(part.measured[column])
            if not count:
                found.append(f"no label in {split}")
            elif part.positives is not None and task.kind == "binary" and part.positives[column] in (0, count):
                found.append(f"only {'positives' if part.positives[column] else 'negatives'} in {split}")
            elif part.spread is not None and task.kind != "binary" and part.spread[column] == 0:
                found.append(f"one value only in {split}")
        if not found and self.scarce()[column] < FEW:
            found.append(f"fewer than {FEW} {'of the rarer class' if task.kind == 'binary' else 'values'} in train")
        return "; ".join(found)


def check_config(config: Any, name: str) -> Checkup:
    """Reads the data of a config (`ConfigDict` or plain), all splits of it, and returns what was found.

    Raises:
        InputError: bad settings or files, or rows that stand in two splits where the config refuses that.
    """
    raw = plain(config)
    if not isinstance(raw.get("data"), Mapping):
        raise InputError("data: expected this section in the config, found none")
    settings = data_config(raw["data"])
    opened, notes = open_noted(settings, int(raw.get("seed", 0)))
    parts = {split: _part(split, survey(rows).record(), rows) for split, rows in opened.parts.items()}
    first = next(iter(opened.parts.values()))
    recipe = recipe_of(settings, str(raw["data"]["source"]["name"]))
    audit, matching = _open_only(_audit(recipe, notes), opened.matching, opened.report.splits if opened.report else {})
    return Checkup(name, first.tasks, first.length, parts, notes, audit, flatten(recipe), {}, matching)


def check_folder(path: str | Path) -> Checkup:
    """Returns what a TFDS folder of ours says about itself; of its rows only a few are read.

    Raises:
        InputError: no such folder, or one that is damaged.
    """
    read_digests(path)
    meta = metadata_of(path)
    if not meta:
        raise InputError(f"data set {path} is damaged: expected its metadata.json. Build or copy it again")
    parts, tasks = {}, tuple(Task(name, kind) for name, kind in meta["tasks"])
    notes: dict[str, int] = {}
    for split, record in meta["splits"].items():
        parts[split] = _part(split, record, open_stream(path, split))
        for key, count in record["notes"].items():
            notes[key] = notes.get(key, 0) + count
    about = meta.get("about") or {}
    if "recipe" in about:
        recipe, notes = about["recipe"]["data"], about["notes"]
        report = about.get("match_report", {}).get("splits", {})
        audit, matching = _open_only(_audit(recipe, notes), about["matching"], report)
    else:
        recipe, matching = {}, {}
        audit = ("Not audited: this folder was not made by 'dragon prepare'. A run that reads it audits it first.",)
    length = meta["columns"]["codes"][1][0]
    files = about.get("files", {})
    return Checkup(str(path), tasks, length, parts, notes, audit, flatten(recipe), files, matching)


def _open_only(
    audit: Sequence[str], lines: Sequence[str], splits: Mapping[str, Any]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The audit with how negatives match, and their histograms, without those of the closed split: they tell its labels."""
    shown = [line for line in lines if not line.startswith(f"{CLOSED}:")]
    return (*audit, *shown), {name: found for name, found in splits.items() if name != CLOSED}


def _part(split: str, record: Mapping[str, Any], rows: Rows) -> Part:
    found, closed = record["statistics"], split == CLOSED
    measured = np.array(found["measured"], np.int64)
    mean = np.array([np.nan if m is None else m for m in found["mean"]], np.float64)
    deviations = np.array(found["deviations"], np.float64)
    return Part(
        rows=record["rows"],
        measured=measured,
        positives=None if closed else np.array([n or 0 for n in found["positives"]], np.int64),
        mean=None if closed else mean,
        spread=None if closed else np.where(measured > 0, np.sqrt(deviations / np.maximum(measured, 1)), np.nan),
        gc=np.array(record["gc"]["histogram"], np.int64),
        known=record["gc"]["known_bases"],
        strong=record["gc"]["gc_bases"],
        examples=tuple(_examples(rows.chunk(0, min(_SHOWN, len(rows))), closed)),
        inputs=record.get("inputs", {}),
    )


def _examples(data: Dataset, closed: bool) -> list[dict[str, str]]:
    result = []
    for i, sequence in enumerate(dna.decode_many(data.codes)):
        row = {"id": str(data.ids[i])}
        if data.regions is not None:
            row["region"] = f"{data.regions.chrom[i]}:{data.regions.start[i]:,}-{data.regions.end[i]:,}"
        row["sequence"] = sequence if len(sequence) <= 45 else f"{sequence[:42]}..."
        if closed:
            row["labels"] = "not shown"
        else:
            values = ["NA" if np.isnan(v) else f"{v:g}" for v in data.targets[i, :8].tolist()]
            row["labels"] = " ".join(values) + (f" ... ({len(data.tasks):,})" if len(data.tasks) > 8 else "")
        if data.inputs:
            row["inputs"] = ", ".join(f"{k} {list(v.shape[1:])}" for k, v in data.inputs.items())
        result.append(row)
    return result


def _audit(recipe: Mapping[str, Any], notes: Mapping[str, int]) -> tuple[str, ...]:
    """What the audit of the splits found; that it let the data pass is known from there being any."""
    split = recipe.get("split", {})
    copies, overlaps = split.get("duplicates", "refuse"), split.get("overlaps", "refuse")
    lines = [
        "No sequence of one split is a copy or the reverse complement of one in another "
        f"(data.split.duplicates={copies})."
    ]
    if overlaps == "ignore":
        lines.append("Overlapping windows in two splits were let be (data.split.overlaps=ignore): they share bases.")
    else:
        gap = f" or lies within {split['gap']:,} bases of" if split.get("gap") else ""
        lines.append(
            f"No window of one split overlaps{gap} one in another, where coordinates are known "
            f"(data.split.overlaps={overlaps})."
        )
    words = ("dropped from", "moved", "overlap", "copies", "homolog")
    lines += [f"{count:,} {key}." for key, count in notes.items() if any(word in key for word in words)]
    return tuple(lines)
