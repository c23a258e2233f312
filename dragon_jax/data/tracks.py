"""Which file measures which task: a table, a pattern with `{task}`, or names and paths in the config."""

from __future__ import annotations

import dataclasses
import glob
from pathlib import Path

from dragon_jax.data.dataset import Kind
from dragon_jax.data.tables import Table, delimiter_of
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.files import TextFile, expand

SIGNAL = (".bw", ".bigwig", ".bedgraph", ".bg", ".bedgraph.gz", ".bg.gz")
KINDS = ("binary", "real", "count")
_COLUMNS = ("task", "path", "kind", "assay", "cell", "contigs")


@dataclasses.dataclass(frozen=True)
class Track:
    """One file and what it says about one task.

    Attributes:
        task: name of the task. path: peaks or signal, as the user named it.
        kind: what the labels are.
        assay, cell: words of the user about the track; kept in the metadata.
        contigs: how its contig names become those of the genome, see `aliases.match`.
    """

    task: str
    path: str
    kind: Kind
    assay: str = ""
    cell: str = ""
    contigs: str = "exact"

    @property
    def is_signal(self) -> bool:
        return self.path.lower().endswith(SIGNAL)


def from_pattern(pattern: str, kind: Kind, contigs: str) -> list[Track]:
    """Returns one track for each file that fits a pattern such as `peaks/{task}_CX.bed.gz`, sorted by task.

    Raises:
        InputError: the pattern lacks `{task}` or no file fits.
    """
    if pattern.count("{task}") != 1:
        raise InputError(f"data.source.peaks: expected a path with {{task}} once, found '{show(pattern)}'")
    full = str(expand(pattern))
    before, after = full.split("{task}")
    paths = sorted(glob.glob(glob.escape(before) + "*" + glob.escape(after)))
    if not paths:
        raise InputError(f"data.source.peaks: no file fits '{show(pattern, 200)}'. Check the folder and DRAGON_DATA")
    names = [path[len(before) : len(path) - len(after)] for path in paths]
    given_before, given_after = pattern.split("{task}")
    tracks = [Track(name, given_before + name + given_after, kind, contigs=contigs) for name in names]
    return sorted(tracks, key=lambda t: t.task)


def from_table(path: str, kind: Kind, contigs: str) -> list[Track]:
    """Returns the tracks of a table with the columns task and path, and perhaps kind, assay, cell, contigs.

    Paths are relative to the folder of the table.

    Raises:
        InputError: a missing column, an unknown kind, an empty cell, a task that comes twice.
    """
    with TextFile(path) as file:
        table = Table(file, delimiter_of(path, None), True)
        for need in ("task", "path"):
            if need not in table.names:
                found = listing(table.names)
                close = nearest(need, table.names)
                raise InputError(f"{path}: expected the columns 'task' and 'path', found {found}{close}")
        places = {name: table.names.index(name) for name in _COLUMNS if name in table.names}
        tracks = []
        for block in table.blocks(100_000):
            cells = {name: block.text(place) for name, place in places.items()}
            for i in range(len(block.rows)):
                row = {name: str(values[i]) for name, values in cells.items()}
                where = f"{path}, line {block.lines[i]}"
                if not row["task"] or not row["path"]:
                    raise InputError(f"{where}: expected a task and a path, found an empty cell")
                if row.get("kind") and row["kind"] not in KINDS:
                    close = nearest(row["kind"], KINDS)
                    raise InputError(f"{where}: expected kind {', '.join(KINDS)}, found '{show(row['kind'])}'{close}")
                row = {name: value for name, value in row.items() if value}
                place = expand(row["path"])
                if not place.is_absolute():
                    row["path"] = str(Path(path).parent / row["path"])
                tracks.append(Track(**{"kind": kind, "contigs": contigs, **row}))  # pyright: ignore[reportArgumentType]
    names = [t.task for t in tracks]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise InputError(f"{path}: task {listing(map(repr, twice))} comes twice: expected one file for each task")
    if not tracks:
        raise InputError(f"{path}: expected at least one track below the header, found none")
    return tracks
