"""What holds for every reader of text: packing does not matter, a cut file is refused, the bad last record is named."""

from __future__ import annotations

import gzip
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon_jax.data.fasta_source import FastaSource
from dragon_jax.data.table_source import TableSource
from dragon_jax.errors import InputError
from dragon_jax.genome.aliases import read_aliases
from dragon_jax.genome.bed import read_bed
from dragon_jax.genome.fasta import read_fasta
from dragon_jax.genome.genome import Genome
from dragon_jax.genome.signal import read_bedgraph
from dragon_jax.genome.sizes import read_sizes
from dragon_jax.motifs.files import read_motifs
from tests.motifs import helpers

# A name that looks like a number, one like a missing value, a long one, one outside of ASCII.
NAMES = ["1", "NA", "x" * 500, "chrÄ"]
BED = [f"{name}\t{10 * i}\t{10 * i + 9}\tp{i}\t{i}.5\t+" for i, name in enumerate(NAMES)]


def intervals(path: Path) -> Any:
    return [(k, v.tolist()) for k, v in read_bed(path).columns().items()]


def bedgraph(path: Path) -> Any:
    track = read_bedgraph(path)
    return [(n, track.values(n, np.array([0]), np.array([50])).tolist()) for n in track.chroms]


def table(path: Path) -> Any:
    return (
        TableSource(paths={"all": str(path)}, label_columns=("y",), id_column="name")
        .load_parts()["all"]
        .row_fingerprint()
    )


def examples(path: Path) -> Any:
    return FastaSource(positives={"all": str(path)}).load_parts()["all"].row_fingerprint()


def motifs(path: Path) -> Any:
    return [(m.name, m.probabilities.tolist()) for m in read_motifs(path)]


def records(path: Path) -> Any:
    return list(read_fasta(path))


def genome(path: Path) -> Any:
    return Genome(path).digest


READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "r.fa": (records, "".join(f">{n} text\nACGTN\nacgt\n" for n in NAMES)),
    "e.fa": (examples, "".join(f">{n} text\nACGTN\nacgt\n" for n in NAMES)),
    "g.fa": (genome, "".join(f">{n} text\nACGTN\nacgt\n" for n in NAMES)),
    "c.sizes": (read_sizes, "".join(f"{n}\t{i}000\n" for i, n in enumerate(NAMES))),
    "c.tsv": (read_aliases, "".join(f"{n}\tchr{i}\n" for i, n in enumerate(NAMES))),
    "p.bed": (intervals, "".join(f"{row}\n" for row in BED)),
    "p.narrowPeak": (intervals, "".join(f"{row}\t1.5\t-1\t-1\t3\n" for row in BED)),
    "p.broadPeak": (intervals, "".join(f"{row}\t1.5\t-1\t-1\n" for row in BED)),
    "s.bedgraph": (bedgraph, "".join(f"{n}\t{i}\t{i + 9}\t{i}.25\n" for i, n in enumerate(NAMES))),
    "t.tsv": (table, "name\tsequence\ty\n" + "".join(f"{n}\tACGTN\t{i % 2}\n" for i, n in enumerate(NAMES))),
    "m.meme": (motifs, helpers.FORMATS["meme"]()),
    "m.jaspar": (motifs, helpers.FORMATS["jaspar"]()),
    "m.dat": (motifs, helpers.FORMATS["transfac"]()),
}


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.setenv("DRAGON_CACHE", "")


def write(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("name", READERS)
def test_packing_does_not_matter(tmp_path, name):
    read, text = READERS[name]
    data = text.encode()
    expected = read(write(tmp_path, name, data))
    crlf = data.replace(b"\n", b"\r\n")
    for form in (crlf, data[:-1], crlf[:-2], data + b"\n", gzip.compress(data), gzip.compress(crlf)):
        assert read(write(tmp_path, name, form)) == expected
    assert read(write(tmp_path, f"{name}.gz", gzip.compress(data))) == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f"{name}.gz"])  # no index, no cache


@pytest.mark.parametrize("name", READERS)
def test_a_cut_off_archive_is_never_taken_for_the_whole(tmp_path, name):
    read, text = READERS[name]
    packed = gzip.compress(text.encode())
    for at in [*range(1, len(packed), 50), len(packed) - 1]:
        path = write(tmp_path, f"{name}.gz", packed[:at])
        with pytest.raises(InputError, match=r"ends in the middle of a block|is not a gzip file") as e:
            read(path)
        assert str(path) in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("name", "row", "bad", "sentence"),
    [
        ("c.sizes", "c{}\t5\n", "x\t-5\n", "line 100001: expected a length of 0 to 2^62 bases for 'x', found -5"),
        ("p.narrowPeak", "c\t{}\t999999\tp\t1\t.\t1\t-1\t-1\t-1\n", "c\t1\t2\tp\t1\t.\t1\t-1\t-1\t9\n", "line 100001: summit 9"),
        ("s.bedgraph", "c\t{}\t{}\t1\n", "c\t9\t5\t1\n", "line 100001: expected start < end, found 9 >= 5"),
        ("t.tsv", "n{}\tACGT\t1\n", "n\tACGT\t2\n", "row 100000 (line 100001), column 'y': expected 0 or 1"),
    ],
)  # fmt: skip
def test_the_bad_last_record_of_many_is_named_by_its_line(tmp_path, name, row, bad, sentence):
    read, head = READERS[name][0], "name\tsequence\ty\n" if name == "t.tsv" else ""
    rows = [row.format(i, i + 1) for i in range(100_000 - bool(head))]
    with pytest.raises(InputError) as e:
        read(write(tmp_path, name, (head + "".join(rows) + bad).encode()))
    assert sentence in str(e.value)


def read_again(name: str, path: Path) -> Any:
    return READERS[name][0](path)


def test_four_processes_read_the_same(tmp_path):
    paths = {name: write(tmp_path, name, text.encode()) for name, (_, text) in READERS.items()}
    alone = {name: read_again(name, path) for name, path in paths.items()}
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        tasks = {(name, i): pool.submit(read_again, name, path) for name, path in paths.items() for i in range(4)}
        for (name, _), task in tasks.items():
            assert task.result() == alone[name]
