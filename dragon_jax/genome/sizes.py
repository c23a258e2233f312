"""Chromosome sizes: a table of names and lengths, and whether two of them speak of the same assembly."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from dragon_jax.errors import InputError, show
from dragon_jax.files import Faults, TextFile
from dragon_jax.genome import aliases

_WHOLE = re.compile(r"-?[0-9]{1,40}")
_LONGEST = 2**62  # positions are int64


def read_sizes(path: str | os.PathLike) -> dict[str, int]:
    """Returns `{name: length in bases}` of a table of two columns (tab or blanks), in file order; `#` lines are skipped.

    Raises:
        InputError: no row, another number of columns, a length that is no whole number or negative, a repeated name.
    """
    faults = Faults()
    sizes: dict[str, int] = {}
    lines: dict[str, int] = {}
    with TextFile(path) as file:
        for number, (name, length, *more) in aliases.two_columns(file, faults, "name and length"):
            place = f"line {number}"
            at = f"{file.name}, {place}"
            if more:
                said, remedy = (
                    f"{at}: expected 2 columns (name and length), found {2 + len(more)}",
                    "Keep the first two",
                )
            elif not _WHOLE.fullmatch(length):
                header = number == 1 and not re.search("[0-9]", length)
                remedy = "Remove the header line or begin it with '#'" if header else "Write whole numbers"
                said = f"{at}: expected an integer length, found '{show(length)}'"
            elif not 0 <= int(length) < _LONGEST:
                said = f"{at}: expected a length of 0 to 2^62 bases for '{show(name)}', found {show(length)}"
                remedy = "Correct it"
            elif name in sizes:
                said = f"contig '{show(name)}' twice in {file.name}, lines {lines[name]} and {number}: expected unique names"
                remedy = "Remove or rename one"
            else:
                sizes[name], lines[name] = int(length), number
                continue
            faults.add(place, said, remedy)
        faults.refuse()
        if not sizes:
            raise InputError(f"no contig in {file.name}: expected lines with a name and a length")
    return sizes


def check_sizes(sizes: Mapping[str, int], contigs: Mapping[str, int], names: tuple[str, str]) -> None:
    """Refuses lengths that belong to another assembly than the genome; contigs of only one side are let through.

    Args:
        sizes: `{name: length}` of a file, with names as in the genome.
        contigs: `{name: length}` of the genome.
        names: the file and the genome as the user named them, for messages.

    Raises:
        InputError: a contig of both has two lengths, or there is no name in common.
    """
    faults = Faults()
    for name in aliases.match(sizes, contigs, where=names):
        if sizes[name] != contigs[name]:
            said = f"length of {show(name)}: {contigs[name]} in {names[1]}, {sizes[name]} in {names[0]}"
            faults.add(show(name), said, "These are different assemblies")
    faults.refuse()
