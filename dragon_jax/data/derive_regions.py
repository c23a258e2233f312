"""Recipes that know coordinates: a genome without some contigs, cut sites of fragments, labels of regions under peaks."""

from __future__ import annotations

import errno
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dragon_jax.data.derive_rows import Sources, Words, lines_of
from dragon_jax.genome.algebra import covers, largest_overlap
from dragon_jax.genome.intervals import Intervals, text_array
from dragon_jax.genome.quiet import without_traces

_PLACE = re.compile(r"([^\s:>]+):(\d+)-(\d+)")
_PEAKS = re.compile(r"ChIPseq\.([^.]+)\.([^.]+)\.")
_WRAP = 50  # bases a line, as the genome has it
_LEAST = 100  # bases of one peak that a region must share to count as bound


def contigs(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the name and the upper-case bases of each record of a FASTA file."""
    name, parts = None, []
    for line in lines_of(path):
        if line.startswith(b">"):
            if name is not None:
                yield name, b"".join(parts).upper()
            name, parts = (line[1:].split() or [b""])[0].decode(), []
        else:
            parts.append(line.strip())
    if name is None:
        raise ValueError("expected a FASTA file, found no line that begins with '>'")
    yield name, b"".join(parts).upper()


def genome_without(words: Words, sources: Sources) -> Iterator[bytes]:
    """The genome without the contigs named, 50 upper-case bases a line."""
    for name, bases in contigs(sources[0]):
        if name not in words:
            yield b">" + name.encode() + b"\n"
            yield b"".join(bases[i : i + _WRAP] + b"\n" for i in range(0, len(bases), _WRAP))


def sizes_without(words: Words, sources: Sources) -> Iterator[bytes]:
    """Names and lengths of the contigs that stay."""
    return (f"{name}\t{len(bases)}\n".encode() for name, bases in contigs(sources[0]) if name not in words)


def cut_sites(words: Words, sources: Sources, target: Path) -> None:
    """Writes a bigWig file with the number of fragment ends at each base: `start` and `end - 1` of every fragment.

    Args:
        words: contigs to leave out. sources: the genome, then fragments as BEDPE with columns chrom, start, end.
    """
    import pybigtools

    sizes = {name: len(bases) for name, bases in contigs(sources[0]) if name not in words}
    counts = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
    places: dict[str, list[int]] = {name: [] for name in sizes}
    for line in lines_of(sources[1]):
        chrom, start, end = line.split(None, 3)[:3]
        if (name := chrom.decode()) in sizes:
            places[name] += (int(start), int(end) - 1)
        elif name not in words:
            raise ValueError(f"expected contigs of the genome, found {name}")
    for name, found in places.items():
        if found and not 0 <= min(found) <= max(found) < sizes[name]:
            raise ValueError(f"expected fragments within {name} ({sizes[name]:,} bases), found one outside")
        np.add.at(counts[name], found, 1)
    values = (
        (name, int(i), int(i) + 1, float(counts[name][i]))
        for name in sorted(sizes)
        for i in np.flatnonzero(counts[name])
    )
    try:
        with without_traces():
            pybigtools.open(str(target), "w").write(sizes, values)
    except BaseException as e:
        if type(e).__name__ != "PanicException":  # no Exception: the compiled part breaks off where it cannot write
            raise
        raise OSError(errno.EIO, "that the bigWig library broke off. Is the disk full?") from e


def sequences(words: Words, sources: Sources) -> Iterator[bytes]:
    """A table of the records of FASTA files whose names hold `chrom:start-end`, without the chromosomes named."""
    yield b"chrom\tstart\tend\tset\tsequence\n"
    for source in sources:
        for (chrom, start, end), bases in _regions(source, words):
            yield f"{chrom}\t{start}\t{end}\t{source.name.split('.')[0]}\t{bases}\n".encode()


def centre_labels(words: Words, sources: Sources) -> Iterator[bytes]:
    """One 0/1 row for each row of `sequences`, one column for each peak file: 1 where the centre base lies in a peak.

    Args:
        words: chromosomes to leave out. sources: FASTA files, then narrowPeak files called `ChIPseq.CELL.FACTOR...`.
    """
    tracks = [path for path in sources if _PEAKS.match(path.name)]
    regions = [place for path in sources if path not in tracks for place, _ in _regions(path, words)]
    chrom, centre = (
        text_array([c for c, _, _ in regions]),
        np.array([a + (b - a) // 2 for _, a, b in regions], np.int64),
    )
    columns = [covers(_peaks(path), chrom, centre) for path in tracks]
    yield ("\t".join("|".join(_track(path)) for path in tracks) + "\n").encode()
    yield from _digits(columns, [""] * len(regions))


def region_labels(words: Words, sources: Sources) -> Iterator[bytes]:
    """Regions with a 0/1 column for each factor: 1 where at least 100 of their bases overlap one and the same peak.

    Args:
        words: chromosomes to leave out. sources: two FASTA files called `NAME_train...`, then narrowPeak files.
    """
    tracks = [path for path in sources if _PEAKS.match(path.name)]
    found = [(p, path.name.split("_")[0]) for path in sources if path not in tracks for p, _ in _regions(path, words)]
    regions = Intervals(
        chrom=text_array([p[0] for p, _ in found]),
        start=np.array([p[1] for p, _ in found], np.int64),
        end=np.array([p[2] for p, _ in found], np.int64),
    )
    columns = [largest_overlap(regions, _peaks(path)) >= _LEAST for path in tracks]
    yield ("\t".join(["chrom", "start", "end", "set", *(_track(path)[1] for path in tracks)]) + "\n").encode()
    yield from _digits(columns, [f"{p[0]}\t{p[1]}\t{p[2]}\t{name}\t" for p, name in found])


def _regions(path: Path, left_out: Words) -> Iterator[tuple[tuple[str, int, int], str]]:
    """Place and letters, in their case, of each record of a FASTA file, without some chromosomes."""
    lines = (line.decode().strip() for line in lines_of(path))
    header = ""
    for named, group in itertools.groupby(lines, lambda line: line.startswith(">")):
        if named:
            header = list(group)[-1]
            continue
        place = _PLACE.search(header)
        if place is None:
            raise ValueError(f"expected records called chrom:start-end in {path.name}, found '{header[:60]}'")
        if place[1] not in left_out:
            yield (place[1], int(place[2]), int(place[3])), "".join(group)


def _peaks(path: Path) -> Intervals:
    rows = [line.split(None, 3)[:3] for line in lines_of(path) if not line.startswith((b"#", b"track", b"\n"))]
    if any(len(row) < 3 for row in rows):
        raise ValueError(f"expected rows of chrom, start, end in {path.name}, found fewer columns")
    return Intervals(
        chrom=text_array([row[0].decode() for row in rows]),
        start=np.array([int(row[1]) for row in rows], np.int64),
        end=np.array([int(row[2]) for row in rows], np.int64),
    )


def _track(path: Path) -> tuple[str, str]:
    """Cell and factor of a peak file."""
    named = _PEAKS.match(path.name)
    assert named is not None, path
    return named[1], named[2]


def _digits(columns: list[np.ndarray], before: list[str]) -> Iterator[bytes]:
    """Lines of tab-separated 0 and 1, each behind a text."""
    table = np.where(np.column_stack(columns), "1", "0")
    return ((text + "\t".join(row) + "\n").encode() for text, row in zip(before, table, strict=True))
