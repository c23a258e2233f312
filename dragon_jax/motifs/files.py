"""Motif files of every kind through one door: the format is told from the content, names are checked once."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.files import Faults
from dragon_jax.motifs.matrices import parse_matrices
from dragon_jax.motifs.meme import parse_meme, write_meme
from dragon_jax.motifs.motif import Motif
from dragon_jax.motifs.text import Found, Text, read_text, words
from dragon_jax.motifs.transfac import parse_transfac

__all__ = ["Format", "notes_of", "read_motifs", "write_meme"]

Format = Literal["auto", "meme", "jaspar", "pfm", "pcm", "transfac", "encode"]
_MEME = re.compile(r"(MEME version|ALPHABET|MOTIF[ \t]|letter-probability matrix)")
_TRANSFAC = re.compile(r"([A-Z][A-Z0-9]([ \t].*)?|//)")
_BEGINS = {"meme": "'MOTIF name'", "transfac": "'AC name'"}


def read_motifs(
    path: str | os.PathLike,
    format: Format = "auto",
    names: Sequence[str] | None = None,
    rename_duplicates: bool = False,
) -> list[Motif]:
    """Reads the motifs of a file, plain or gzip; `-` is standard input.

    Args:
        path: the file.
        format: `meme`; `transfac`; `encode` (a consensus letter and four frequencies a position); `jaspar` (four rows
            A C G T, counts or frequencies); `pcm` (four numbers a position, HOCOMOCO); `pfm` (either of these two, told
            by the shape); `auto` = told from the content.
        names: which motifs to return, in this order; None = all, in the order of the file.
        rename_duplicates: give a name that comes again `_2`, `_3`, ... instead of refusing it.

    Returns:
        Motifs as the file states them: no pseudocount is added, rows that miss a sum of 1 by rounding are renormalised
        (counted in `Motif.notes`).

    Raises:
        InputError: whatever the file holds that it should not, all offenders counted; a name that is not there.
    """
    text = read_text(path)
    kind = _told(text) if format == "auto" else format
    faults = Faults()
    if kind == "meme":
        found = parse_meme(text, faults)
    elif kind == "transfac":
        found = parse_transfac(text, faults)
    else:
        found = parse_matrices(text, "auto" if kind == "matrices" else kind, faults)
    motifs = _unique(found, text, faults, rename_duplicates)
    faults.refuse()
    if not motifs:
        raise _none(text, _BEGINS.get(kind, "'>name'"))
    return motifs if names is None else _chosen(motifs, [names] if isinstance(names, str) else names, text.name)


def notes_of(motifs: Iterable[Motif]) -> dict[str, int]:
    """Returns what was put in order while reading, counted over all motifs."""
    total: dict[str, int] = {}
    for motif in motifs:
        for note, count in motif.notes.items():
            total[note] = total.get(note, 0) + count
    return total


def _told(text: Text) -> Literal["meme", "transfac", "matrices"]:
    """Returns the family of formats, from the first line that says anything, or from any line that only MEME text has."""
    if any(_MEME.match(line) for line in text.lines):
        return "meme"
    lines = (line.strip(" \t") for line in text.lines)
    first = next((line for line in lines if line and not line.startswith("#")), None)
    if first is None:
        raise _none(text, "'MEME version', '>name' or 'AC name'")
    if first.startswith(">"):
        return "matrices"
    if _TRANSFAC.fullmatch(first):
        return "transfac"
    raise InputError(
        f"cannot tell the motif format of {text.name}: expected a line 'MEME version 4', '>name' or 'AC name', "
        f"found '{show(first)}'. Pass format=meme, jaspar, pfm, pcm, transfac or encode"
    )


def _none(text: Text, begins: str) -> InputError:
    lines = len(text.lines)
    found = f"found {lines:,} lines without one" if any(map(words, text.lines)) else "file is empty"
    return InputError(f"no motif in {text.name}: expected a line {begins}, {found}. Is it the right file?")


def _unique(found: list[Found], text: Text, faults: Faults, rename: bool) -> list[Motif]:
    taken = {f.motif.name for f in found}
    lines: dict[str, int] = {}
    motifs = []
    for motif, line in found:
        if motif.name not in lines:
            lines[motif.name] = line
        elif not rename:
            faults.add(
                f"line {line}",
                f"motif name '{show(motif.name)}' twice in {text.name}, lines {lines[motif.name]} and {line}: "
                "expected unique names",
                "Pass rename_duplicates=True to add _2",
            )
        else:
            count = 2
            while (name := f"{motif.name}_{count}") in taken:
                count += 1
            taken.add(name)
            motif = dataclasses.replace(motif, name=name, notes={**motif.notes, "duplicate names changed": 1})
        motifs.append(motif)
    return motifs


def _chosen(motifs: list[Motif], names: Sequence[str], path: str) -> list[Motif]:
    by_name = {m.name: m for m in motifs}
    if missing := [name for name in names if name not in by_name]:
        raise InputError(
            f"{len(missing):,} of {len(names):,} motifs not in {path} ({listing(missing)}): expected some of its "
            f"{len(motifs):,} names, such as {listing(by_name, 3)}{nearest(missing[0], list(by_name))}"
        )
    return [by_name[name] for name in names]
