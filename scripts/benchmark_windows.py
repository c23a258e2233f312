#!/usr/bin/env python3
"""How fast windows at random places of a genome come, beside loops over pyfaidx and pysam.

    python scripts/benchmark_windows.py                    (a random genome of 12 million bases)
    python scripts/benchmark_windows.py --genome=genome.fa (an own one; it is copied, as pyfaidx and pysam write beside it)

All sides begin with an open file and end with the same uint8 `[20,000, 1,000]` codes on the host. Theirs is the loop that
a user writes, one fetch a window, and one call that turns all letters into codes. What comes before, once per file (our
copy, their index), is reported apart. `benchmark.py` takes the rows from `pairs`.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

CONTIGS, CONTIG_BASES = 16, 750_000
WINDOWS, LENGTH = 20_000, 1_000


class Pair(NamedTuple):
    """Two functions to be timed in turns, after it was seen that they give the same numbers.

    Attributes:
        name: of the row. ours, theirs: without arguments, giving equal arrays.
        opening_s: seconds that ours and the other took once for a file not seen before.
    """

    name: str
    ours: Callable[[], np.ndarray]
    theirs: Callable[[], np.ndarray]
    opening_s: tuple[float, float]


def write_random_genome(path: Path, seed: int = 0) -> None:
    """Writes a FASTA file with lines of 60 bases, one base in a hundred unknown."""
    rng = np.random.default_rng(seed)
    width = 60
    with open(path, "wb") as file:
        for i in range(CONTIGS):
            letters = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, CONTIG_BASES)]
            letters[rng.random(CONTIG_BASES) < 0.01] = ord("N")
            lines = np.full((CONTIG_BASES // width, width + 1), ord("\n"), np.uint8)
            lines[:, :width] = letters.reshape(-1, width)
            file.write(f">contig_{i}\n".encode() + lines.tobytes())


def random_windows(contigs: dict[str, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns contig and start of windows that lie inside, evenly over the genome."""
    rng = np.random.default_rng(seed)
    names = [name for name, size in contigs.items() if size >= LENGTH]
    room = np.array([contigs[name] - LENGTH + 1 for name in names])
    chosen = rng.choice(len(names), WINDOWS, p=room / room.sum())
    return np.array(names)[chosen], (rng.random(WINDOWS) * room[chosen]).astype(np.int64)


def pairs(folder: Path, genome: Path | None = None) -> Iterator[Pair]:
    """Yields ours beside every other reader that is installed.

    Args:
        folder: where genome, indices and cache are written; it must be empty.
        genome: a FASTA file of one's own, plain or gzip.
    """
    from dragon_jax.dna import encode_many
    from dragon_jax.files import TextFile
    from dragon_jax.genome.genome import Genome

    fasta = folder / "genome.fa"
    if genome is None:
        write_random_genome(fasta)
    else:
        with TextFile(genome) as source, open(fasta, "wb") as copy:
            copy.writelines(source)
    started = time.perf_counter()
    ours = Genome(fasta, cache=folder / "cache")
    opening = time.perf_counter() - started
    chrom, start = random_windows(ours.contigs)
    places = list(zip(chrom.tolist(), start.tolist(), strict=True))

    def read() -> np.ndarray:
        return ours.windows(chrom, start, LENGTH)

    def read_theirs(fetch: Callable[[str, int, int], str]) -> np.ndarray:
        return encode_many([fetch(name, at, at + LENGTH) for name, at in places])

    for reader, fetcher in (("pyfaidx", pyfaidx_fetcher), ("pysam", pysam_fetcher)):
        if importlib.util.find_spec(reader) is None:
            print(f"note: {reader} is not installed, its row is left out", file=sys.stderr)
            continue
        Path(f"{fasta}.fai").unlink(missing_ok=True)
        started = time.perf_counter()
        fetch = fetcher(str(fasta))
        seconds = time.perf_counter() - started
        name = f"{WINDOWS:,} windows x {LENGTH:,} bp (loop over {reader})"
        yield Pair(name, read, functools.partial(read_theirs, fetch), (opening, seconds))


def pyfaidx_fetcher(path: str) -> Callable[[str, int, int], str]:
    import pyfaidx  # pyright: ignore[reportMissingImports]

    fasta = pyfaidx.Fasta(path, as_raw=True)
    return lambda name, start, end: fasta[name][start:end]  # pyright: ignore[reportReturnType]


def pysam_fetcher(path: str) -> Callable[[str, int, int], str]:
    import pysam  # pyright: ignore[reportMissingImports]

    return pysam.FastaFile(path).fetch


def main(arguments: list[str] | None = None) -> int:
    from benchmark import _LINE, HEADINGS, agree, alternate, print_rows, row
    from benchmark_sides import clock

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--genome", type=Path, help="FASTA file instead of a random one")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds per row (default 5)")
    options = parser.parse_args(arguments)
    print(_LINE.format(*HEADINGS))
    with tempfile.TemporaryDirectory() as folder:
        for pair in pairs(Path(folder), options.genome):
            difference = agree(pair.name, pair.ours().astype(float), pair.theirs().astype(float), 0.0)
            sides: list[Callable[[], tuple[float, float]]]
            sides = [functools.partial(clock, pair.ours), functools.partial(clock, pair.theirs)]
            found = row(pair.name, *alternate(sides, options.rounds), difference=difference)
            print_rows([found])
            rates = [WINDOWS / found[side]["median"] for side in ("ours", "other")]
            print(
                f"  windows per second: {rates[0]:,.0f} and {rates[1]:,.0f}; "
                f"first opening {pair.opening_s[0]:.2f} s and {pair.opening_s[1]:.2f} s"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
