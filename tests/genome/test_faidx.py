"""A `.fai` is never used, but a wrong one is told: other programs return wrong bases with it."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest

from dragon_jax.genome.genome import Genome

CONTIGS = {"chr1": "ACGT" * 40, "chr2": "GGC" * 50, "empty": "", "chr3": "T" * 60, "last": "ACG"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    return tmp_path / "data"


def fasta(width: int = 60, end: str = "\n", contigs=CONTIGS, extra: str = " text") -> bytes:
    lines = []
    for name, bases in contigs.items():
        lines += [f">{name}{extra}", *(bases[i : i + width] for i in range(0, len(bases), width))]
    return (end.join(lines) + end).encode()


def index(data: bytes, width: int = 60, end: int = 1) -> str:
    """What samtools faidx writes."""
    rows, at, name, length, begin = [], 0, None, 0, 0
    for line in data.splitlines(keepends=True):
        at += len(line)
        if line.startswith(b">"):
            if name is not None:
                rows.append((name, length, begin))
            name, length, begin = line[1:].split()[0].decode(), 0, at
        else:
            length += len(line.strip())
    rows.append((name, length, begin))
    return "".join(
        f"{name}\t{length}\t{begin}\t{min(width, length)}\t{min(width, length) + end * (length > 0)}\n"
        for name, length, begin in rows
    )


def stale(genome: Genome) -> list[str]:
    assert genome.windows("chr1", np.array([0]), 4).tolist() == [[0, 1, 2, 3]]
    return [note for note in genome.notes if "index" in note]


@pytest.mark.parametrize("width", [7, 60, 500])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("extra", ["", " text", " " + "long " * 3000])
def test_a_right_index_is_no_news(here, width, end, extra):
    data = fasta(width, end, extra=extra)
    (here / "genome.fa").write_bytes(data)
    (here / "genome.fa.fai").write_text(index(data, width, len(end)))
    assert stale(Genome("genome.fa")) == []
    (here / "genome.fa").write_bytes(data.removesuffix(end.encode()))
    assert stale(Genome("genome.fa")) == []
    (here / "genome.fa.fai").unlink()
    assert stale(Genome("genome.fa")) == []


@pytest.mark.parametrize("other", ["pyfaidx", "pysam"])
def test_an_index_of_another_program_is_right(here, other):
    module = pytest.importorskip(other)
    (here / "genome.fa").write_bytes(fasta())
    if other == "pyfaidx":
        module.Faidx("genome.fa").close()
    else:
        module.faidx("genome.fa")
    assert (here / "genome.fa.fai").exists()
    assert stale(Genome("genome.fa")) == []


RIGHT = index(fasta())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (index(fasta(extra=" texts")), r"contig chr1: expected a header before byte 12"),
        (index(fasta(extra="")), r"contig chr1: expected a header before byte 6"),
        (index(fasta(contigs=CONTIGS | {"chr1": "A" * 150})), "contig chr1: 150 bases in the index, 160 in the file"),
        (index(fasta(contigs={"chr0": "ACGT"} | CONTIGS)), "contig chr0: 4 bases in the index, no such contig in the file"),
        (RIGHT.replace("chr2", "chrX").replace("chr1", "chr2").replace("chrX", "chr1"), "contig chr2: 160 bases in the index, 150"),
        (index(fasta(contigs={k: v for k, v in CONTIGS.items() if k != "chr3"}), 60), "contig last: expected a header"),
        ("".join(RIGHT.splitlines(keepends=True)[:-1]), "contig last is missing"),
        ("", "contig chr1 is missing"),
        (RIGHT.replace("\t60\t61", "\t50\t51", 1), "contig chr1: expected lines of 50 bases"),
        (RIGHT.replace("\t60\t61", "\t60\t60", 1), "contig chr1: expected lines of 60 bases"),
        (RIGHT.replace("\t60\t61", "\t0\t61", 1), "contig chr1: expected lines of at least one base, found 0"),
        (RIGHT.replace("chr1\t160\t11", "chr1\t160\t99999999"), "contig chr1: expected a header before byte 99999999"),
        (RIGHT.replace("\t60\t61", "\t1\t61", 1), r"contig chr1: expected 9711 bytes or more, found \d+"),
        (RIGHT.replace("\t60\t61", "", 1), "line 1: expected 5 columns, found 3"),
        (RIGHT.replace("\t160\t", "\t-160\t"), "line 1: expected whole numbers, found '-160 11 60 61'"),
        ("\x00\x01\xff", "line 1: expected 5 columns, found 1"),
    ],
)  # fmt: skip
def test_a_wrong_index_is_told_and_not_used(here, text, reason):
    (here / "genome.fa").write_bytes(fasta())
    (here / "genome.fa.fai").write_bytes(text.encode("latin-1"))
    (note,) = stale(Genome("genome.fa"))
    start = "index genome.fa.fai does not match genome.fa ("
    assert note.startswith(start)
    assert note.endswith("); it is not used. Make it anew: samtools faidx genome.fa")
    found = note[len(start) :]
    assert re.match(reason, found), found


def test_of_a_compressed_file_names_and_lengths_are_compared(here):
    (here / "genome.fa.gz").write_bytes(gzip.compress(fasta()))
    (here / "genome.fa.gz.fai").write_text(RIGHT)
    assert stale(Genome("genome.fa.gz")) == []
    (here / "genome.fa.gz.fai").write_text(RIGHT.replace("160", "161"))
    (note,) = stale(Genome("genome.fa.gz"))
    assert "contig chr1: 161 bases in the index, 160 in the file" in note


def test_an_index_that_cannot_be_read_is_told(here):
    (here / "genome.fa").write_bytes(fasta())
    (here / "genome.fa.fai").mkdir()
    (note,) = stale(Genome("genome.fa"))
    assert "(Is a directory)" in note
