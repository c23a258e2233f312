"""Where data sets come from: one table, name -> class.

Every source is a frozen dataclass with a method `load_parts(seed) -> dict[str, Dataset]`, keyed by `all` or by
`train`, `valid`, `test`. Sources are imported when they are named, because some bring heavy packages with them.
"""

from __future__ import annotations

import importlib
from typing import Any

from dragon_jax.errors import InputError, listing, nearest, show

SOURCES: dict[str, str] = {
    "simulation": "dragon_jax.data.simulation:SimulationSource",
    "grammar": "dragon_jax.data.grammar_source:GrammarSource",
    "table": "dragon_jax.data.table_source:TableSource",
    "fasta": "dragon_jax.data.fasta_source:FastaSource",
    "arrays": "dragon_jax.data.array_source:ArraySource",
    "genome": "dragon_jax.data.genome_source:GenomeSource",
    "tfds": "dragon_jax.data.builders:TfdsSource",
}


def source_class(name: str) -> type[Any]:
    """Returns the dataclass of a source by its name; refuses an unknown one with the nearest right name."""
    if name not in SOURCES:
        close = nearest(str(name), list(SOURCES))
        raise InputError(f"data.source.name: expected one of {listing(SOURCES, 10)}, found '{show(name)}'{close}")
    module, _, attribute = SOURCES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
