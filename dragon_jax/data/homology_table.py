"""Which rows belong together, from a table that another program made (clusters of sequences, families of repeats)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64

from dragon_jax.data.dataset import Regions
from dragon_jax.data.homology import linked
from dragon_jax.data.tables import Table, delimiter_of
from dragon_jax.errors import InputError, listing, show
from dragon_jax.files import Faults, TextFile

_REGION = re.compile(r"(.+):(\d{1,15})-(\d{1,15})")


def read_groups(path: str | os.PathLike, ids: np.ndarray, regions: Regions | None = None) -> Int64[np.ndarray, " N"]:
    """Returns the number of the group of each row, from a table with the columns `group` and `id` or `region`, or both.

    The delimiter follows from the suffix. A region is `chrom:start-end` (0-based, half-open) and takes in every row that
    shares a base with it; an empty id or region names nothing. Rows that several lines name join their groups; rows that
    no line names stand alone. Further columns are not read.

    Args:
        ids: text `[N]`; rows with the same id are named together.
        regions: where the rows lie, or None.

    Raises:
        InputError: the table cannot be read, lacks the columns, has an empty group or a region that is none, or names
            no row at all.
    """
    file = TextFile(path)
    try:
        table = Table(file, delimiter_of(path))
        groups, names, places = _read(table)
    finally:
        file.close()
    _, group = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    line, row = _expanded(*_ids(names, ids.astype(str)))
    if places is not None and regions is not None:
        more = _overlapping(places, regions)
        line, row = np.r_[line, more[0]], np.r_[row, more[1]]
    if not len(row):
        lacking = " (the data have no regions)" if places is not None and regions is None else ""
        shown = ([repr(show(ids[0]))] if len(ids) else []) + (
            [f"'{show(regions.chrom[0])}:{regions.start[0]}-{regions.end[0]}'"]
            if regions is not None and len(ids)
            else []
        )
        found = names if any(names) else [f"{c}:{s}-{e}" for c, s, e in zip(*places, strict=True)] if places else []
        raise InputError(
            f"{table.path} names none of the {len(ids):,} rows{lacking}: expected such as {listing(shown)}, found "
            f"{listing(map(repr, found), 3)}. Check the table"
        )
    return linked(len(ids) + int(group.max()) + 1, row, group[line] + len(ids))[: len(ids)]


def _read(table: Table) -> tuple[list[str], list[str], tuple[list[str], list[int], list[int]] | None]:
    """Group, id and region of each line; regions are None when there is no such column."""
    keys = [name for name in ("id", "region") if name in table.names]
    if not keys:
        raise InputError(
            f"{table.path}: expected a column 'id' or 'region' beside 'group', found {listing(map(repr, table.names), 12)}. "
            "Rename the column"
        )
    column = {name: table.column(name, "the header") for name in ("group", *keys)}
    groups: list[str] = []
    names: list[str] = []
    places: tuple[list[str], list[int], list[int]] = ([], [], [])
    faults = Faults()
    for block in table.blocks():
        cells = {name: block.text(index) for name, index in column.items()}
        groups += cells["group"]
        names += cells.get("id", [""] * len(block.lines))
        for i, group in enumerate(cells["group"]):
            if not group:
                said = f"{table.path}, {block.place(i)}, column 'group': expected a name, found an empty cell"
                faults.add(f"line {block.lines[i]}", said, "Fill it in or remove the line")
        for i, text in enumerate(cells.get("region", [])):
            match = _REGION.fullmatch(text)
            if text and (match is None or int(match[2]) >= int(match[3])):
                said = (
                    f"{table.path}, {block.place(i)}, column 'region': expected chrom:start-end, found '{show(text)}'"
                )
                faults.add(f"line {block.lines[i]}", said, "Write 0-based half-open regions such as chr1:1000-2000")
            chrom, start, end = match.groups() if match else ("", "0", "0")
            places[0].append(chrom)
            places[1].append(int(start))
            places[2].append(int(end))
    faults.refuse()
    return groups, names, places if "region" in keys else None


def _ids(names: Iterable[str], ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each line: where its rows begin and end in the order that is returned last."""
    wanted = np.array(list(names), dtype=object).astype(str)
    order = np.argsort(ids, kind="stable")
    low, high = (np.searchsorted(ids[order], wanted, side) for side in ("left", "right"))
    return low, np.where(wanted == "", low, high), order


def _expanded(low: np.ndarray, high: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lines and rows of all pairs in ranges of the order."""
    count = high - low
    line = np.repeat(np.arange(len(low)), count)
    step = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
    return line, order[low[line] + step]


def _overlapping(
    places: tuple[list[str], list[int], list[int]], regions: Regions
) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]:
    """Lines and rows of all pairs that share a base."""
    chrom, start, end = np.array(places[0], dtype=object).astype(str), np.array(places[1]), np.array(places[2])
    names, code = np.unique(np.concatenate([regions.chrom.astype(str), chrom]), return_inverse=True)
    ours, theirs = code[: len(regions.chrom)], code[len(regions.chrom) :]
    longest = int((regions.end - regions.start).max(initial=0))
    span = int(max(regions.end.max(initial=0), end.max(initial=0))) + longest + 1  # chromosomes laid end to end
    if span * len(names) >= 2**62:
        raise InputError(f"regions end at {span:,}: expected genome coordinates. Check the columns start and end")
    begin = regions.start + ours * span
    order = np.argsort(begin, kind="stable")
    low = np.searchsorted(begin[order], start + theirs * span - longest, "right")
    high = np.searchsorted(begin[order], end + theirs * span, "left")
    line, row = _expanded(low, np.where(end > start, np.maximum(low, high), low), order)
    keep = (ours[row] == theirs[line]) & (regions.end[row] > start[line]) & (regions.start[row] < end[line])
    return line[keep], row[keep]
