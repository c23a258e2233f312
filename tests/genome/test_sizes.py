"""Chromosome sizes: right tables read the same however they are packed; wrong ones and other assemblies are refused."""

from __future__ import annotations

import gzip
import random
import re

import pytest

from dragon_jax.errors import InputError
from dragon_jax.genome.sizes import check_sizes, read_sizes

MINIMAL = b"chr1\t248956422\nchrM\t16569\nempty\t0\n"
EXPECTED = {"chr1": 248956422, "chrM": 16569, "empty": 0}


@pytest.mark.parametrize(
    "data",
    [
        MINIMAL,
        MINIMAL.replace(b"\n", b"\r\n"),
        MINIMAL[:-1],
        MINIMAL + b"\n",
        MINIMAL.replace(b"\t", b"  "),
        b"#chrom\tsize\n" + MINIMAL,
        b"\xef\xbb\xbf" + MINIMAL,
        MINIMAL.replace(b"\t16569", b"\t16569\t"),
        gzip.compress(MINIMAL),
    ],
)
def test_variants_of_a_right_table_read_the_same(tmp_path, data):
    (tmp_path / "chrom.sizes").write_bytes(data)
    assert list(read_sizes(tmp_path / "chrom.sizes").items()) == list(EXPECTED.items())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no contig in chrom.sizes: expected lines with a name and a length"),
        (b"# chrom size\n\n", "no contig in chrom.sizes"),
        (b"chrom\tsize\nchr1\t5\n", "chrom.sizes, line 1: expected an integer length, found 'size'. Remove the header line"),
        (b"chr1\t1e+06\n", r"chrom.sizes, line 1: expected an integer length, found '1e\+06'. Write whole numbers"),
        (b"chr1\t100.0\n", "expected an integer length, found '100.0'"),
        (b"chr1\t1,000\n", "expected an integer length, found '1,000'"),
        (b"chr1\t1_000\n", "expected an integer length, found '1_000'"),
        ("chr1\t١٢\n".encode(), "expected an integer length"),
        (b"chr1\t" + b"9" * 5000 + b"\n", "expected an integer length"),
        (b"chr1\t9223372036854775807\n", r"expected a length of 0 to 2\^62 bases for 'chr1'"),
        (b"chr1\t5\nchr2\t-5\n", r"chrom.sizes, line 2: expected a length of 0 to 2\^62 bases for 'chr2', found -5. Correct"),
        (b"chr1\t5\n\nchr1\t5\n", "contig 'chr1' twice in chrom.sizes, lines 1 and 3: expected unique names. Remove or"),
        (b"chr1\n", r"chrom.sizes, line 1: expected 2 columns \(name and length\), found 'chr1'. Separate"),
        (b"chr1\t5\t6\t60\t61\n", r"chrom.sizes, line 1: expected 2 columns \(name and length\), found 5. Keep the first two"),
        (b"chr1 5\rchr2 6\r", r"carriage returns without line feeds in chrom.sizes, line 1. Convert with: tr '\\r' '\\n'"),
        (b"caf\xe9\t5\n", "byte 0xe9 in chrom.sizes, line 1: expected UTF-8 text"),
        (gzip.compress(MINIMAL)[:-9], "chrom.sizes ends in the middle of a block"),
    ],
)  # fmt: skip
def test_refusals(tmp_path, monkeypatch, data, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chrom.sizes").write_bytes(data)
    with pytest.raises(InputError, match=sentence):
        read_sizes("chrom.sizes")
    assert [p.name for p in tmp_path.iterdir()] == ["chrom.sizes"]


def test_all_offenders_are_counted(tmp_path):
    (tmp_path / "s.txt").write_text("".join(f"chr{i}\t{'x' if i % 2 else i}\n" for i in range(20)))
    with pytest.raises(
        InputError, match=r"s.txt, line 2: .*; also line 4, line 6, line 8, line 10, \.\.\. and 5 more\."
    ):
        read_sizes(tmp_path / "s.txt")


def test_what_is_written_is_read(tmp_path):
    rng = random.Random(0)
    names = ["NA", "1", "Δ", "x" * 5000, *(f"contig_{i}" for i in range(500))]
    for trial in range(10):
        rng.shuffle(names)
        sizes = {name: rng.randrange(10**9) for name in names}
        path = tmp_path / f"{trial}.sizes"
        path.write_text("".join(f"{n}{rng.choice([chr(9), ' '])}{size}\n" for n, size in sizes.items()), "utf-8")
        assert list(read_sizes(path).items()) == list(sizes.items())


def test_other_assemblies_are_refused():
    names = ("chrom.sizes", "genome.fa")
    genome = {"chr1": 248956422, "chr2": 100, "chr3": 5}
    check_sizes({"chr1": 248956422, "chr9": 7}, genome, names)
    sentence = (
        "length of chr1: 248956422 in genome.fa, 249250621 in chrom.sizes; also chr3. These are different assemblies"
    )
    with pytest.raises(InputError, match=re.escape(sentence)):
        check_sizes({"chr1": 249250621, "chr2": 100, "chr3": 6}, genome, names)
    with pytest.raises(
        InputError, match=r"'1' style names in chrom.sizes \(1\), 'chr1' style names in genome.fa .*: no name"
    ):
        check_sizes({"1": 248956422}, genome, names)


def test_yeast(dragon_data):
    sizes = read_sizes(dragon_data("yeast/chrom.sizes"))
    assert len(sizes) == 15
    assert sizes["chrIV"] == 1531933
    check_sizes(sizes, sizes, ("a", "b"))
