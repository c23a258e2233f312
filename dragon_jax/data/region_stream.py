"""Regions of a genome to be scored, block by block: bases, signal and annotations made as training made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from dragon_jax.data.genome_inputs import GenomeInputs, InputConfig
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.data.windows import Windows
from dragon_jax.errors import InputError, listing, show
from dragon_jax.genome.bed import read_bed
from dragon_jax.genome.genome import Genome

BLOCK_BYTES = 1 << 27  # of bases and inputs that are read together
ENDINGS = (".bed", ".narrowpeak", ".broadpeak")
_STRANGE = "give the --genome that has its names"  # the contigs of a run are those of its config
Piece = tuple[list[str], np.ndarray, dict[str, np.ndarray]]


def is_regions(path: str) -> bool:
    """Whether a file is called like one with regions, plain or gzip."""
    return path.lower().removesuffix(".gz").endswith(ENDINGS)


def stream_regions(
    path: str,
    source: InputConfig,
    length: int,
    core: int,
    specs: Mapping[str, InputSpec],
    chunk: int,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Piece]:
    """Yields (names, codes uint8 `[n, L]`, inputs `[n, ...]` by name) of the window around each region, in the order of the file.

    A window covers `length` bases around the summit or midpoint of its region; where it reaches over the end of a contig,
    bases are unknown and signals 0. A region without a name is called `contig:start-end`.

    Args:
        path: BED or narrowPeak file. source: genome and files of the inputs. core: see `GenomeInputs`.
        specs: what the model reads. chunk: most regions at a time. say: takes lines about what was put in order.

    Raises:
        InputError: a file that cannot be read, a contig that the genome lacks, or files that make other inputs than the model
            reads.
    """
    genome = Genome(source.genome)
    found = read_bed(
        path,
        contigs=genome.contigs,
        rename=source.contigs,
        points=True,
        noun="region",
        genome=source.genome,
        remedy="Remove them, or give the --genome that they lie on",
        strange=_STRANGE,
    )
    inputs = GenomeInputs(source, genome.contigs, core, _STRANGE)
    _fitting(inputs.specs, specs)
    number = {name: i for i, name in enumerate(genome.contigs)}
    names = found.chrom.tolist()
    chrom = np.fromiter((number[name] for name in names), np.int32, len(names))
    windows = Windows(genome.contigs, chrom, found.centres() - length // 2, length)
    outside = int(((windows.start < 0) | (windows.start + length > windows.sizes())).sum())
    counts = {
        **found.notes,
        **inputs.notes,
        "windows over the end of a contig: bases there are unknown, signals 0": outside,
    }
    for key, count in counts.items():
        if count:
            say(f"{count:,} {key}")
    called = [""] * len(names) if found.name is None else found.name.tolist()
    width = length * (1 + 4 * sum(len(spec.columns) for spec in specs.values() if spec.kind == "signal"))
    step = max(1, min(chunk, BLOCK_BYTES // width))
    for first in range(0, len(windows), step):
        rows = slice(first, first + step)
        part = windows.take(rows)
        codes = genome.windows(part.chrom.astype(np.int64), part.start, length, edge="pad")
        genome.let_go()
        ids = [
            name if name not in ("", ".") else f"{contig}:{start}-{end}"
            for name, contig, start, end in zip(
                called[rows], names[rows], found.start[rows], found.end[rows], strict=True
            )
        ]
        made = inputs(part) if specs else {}
        yield ids, codes, {name: made[name] for name in specs}


def _fitting(made: Mapping[str, InputSpec], wanted: Mapping[str, InputSpec]) -> None:
    """Refuses files that make other inputs than a model reads."""
    for name, spec in wanted.items():
        if name not in made:
            raise InputError(
                f"input '{show(name)}' of this model: expected files to make it from, found none. Give them with "
                f"{'--signal ' + name + '=FILE,...' if spec.kind == 'signal' else '--metadata COLUMN=NUMBER'}"
            )
        own = made[name]
        if own.kind != spec.kind or (spec.columns and own.columns != spec.columns):
            raise InputError(
                f"input '{show(name)}' of this model: expected the {spec.kind} {listing(spec.columns, 20)}, found the {own.kind} "
                f"{listing(own.columns, 20)}. Give the files or numbers in this order"
            )
