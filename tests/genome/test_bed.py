"""BED and peak files: right ones are read however they are packed, wrong ones are refused by line."""

from __future__ import annotations

import dataclasses
import gzip
import io
import multiprocessing
import random
import re
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.genome import columns
from dragon_jax.genome.bed import read_bed
from dragon_jax.genome.intervals import Intervals

MINIMAL = b"chr1\t10\t20\tpeak_1\t5.5\t+\nchr2\t0007\t9\tNA\t1000\t-\nchr1\t10\t20\tpeak_1\t0\t.\n"
NARROW = (
    b"chr1\t10\t20\ta\t0\t.\t1.5\t-1\t2e1\t0\n"
    b"chr1\t30\t41\tb\t0\t.\t.25\t3\t-1\t-1\n"
    b"chr2\t5\t10\tc\t0\t+\t7\t3\t-1\t4\n"
)
GENOME = {"chr1": 100, "chr2": 50, "chr3": 1000}


def rows(x: Intervals) -> list[tuple]:
    return list(zip(*(column.tolist() for column in x.columns().values()), strict=True))


def write(path, data: bytes):
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def refusal(path, data: bytes, **options) -> str:
    with pytest.raises(InputError) as caught:
        read_bed(write(path, data), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), path.name)


@pytest.mark.parametrize(
    ("data", "notes"),
    [
        (MINIMAL, {}),
        (MINIMAL.replace(b"\n", b"\r\n"), {}),
        (MINIMAL[:-1], {"last line without an end": 1}),
        (MINIMAL.replace(b"\n", b"\r\n")[:-2], {"last line without an end": 1}),
        (MINIMAL + b"\n", {}),
        (MINIMAL + b"\n \n\r\n", {}),
        (b"# a\n#b\ntrack name=x\nbrowser position chr1\n\n" + MINIMAL, {}),
        (MINIMAL.replace(b"chr2", b"track\nchr2"), {}),
        (b"\xef\xbb\xbf" + MINIMAL, {"byte-order mark removed": 1}),
        (MINIMAL.replace(b"peak_1", b" peak_1  "), {"fields with blanks around them trimmed": 2}),
        (MINIMAL.replace(b"chr2", b"  chr2"), {"fields with blanks around them trimmed": 1}),
        (MINIMAL.replace(b"\t", b"  "), {"lines split on blanks": 3}),
        (
            MINIMAL.replace(b"chr2\t0007\t", b" chr2 0007 ").replace(b"NA\t1000\t-", b"NA 1000 - "),
            {"lines split on blanks": 1},
        ),
    ],
)
@pytest.mark.parametrize("name", ["peaks.bed", "peaks.bed.gz"])
@pytest.mark.parametrize("size", [1, 2, columns.BLOCK])
def test_variants_of_a_right_file_read_the_same(tmp_path, monkeypatch, data, notes, name, size):
    monkeypatch.setattr(columns, "BLOCK", size)
    x = read_bed(write(tmp_path / name, data), contigs=GENOME)
    assert rows(x) == [
        ("chr1", 10, 20, "+", "peak_1", 5.5),
        ("chr2", 7, 9, "-", "NA", 1000.0),
        ("chr1", 10, 20, ".", "peak_1", 0.0),
    ]
    assert x.notes == notes
    assert [c.dtype.kind for c in x.columns().values()] == list("UiiUUf")


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 8, 9, 11, 12])
def test_3_to_12_columns(tmp_path, n):
    fields = b"chr1 1 5 a 3 - 1 5 0,0,0 1 4 0".split()
    x = read_bed(write(tmp_path / "x.bed", b"\t".join(fields[:n]) + b"\n"))
    expected = {"chrom": "chr1", "start": 1, "end": 5, "name": "a", "score": 3.0, "strand": "-"}
    kept = list(expected)[:n]
    assert {k: v.tolist() for k, v in x.columns().items()} == {k: [expected[k]] for k in kept} and x.notes == {}


def test_narrow_and_broad_peaks(tmp_path):
    for name in ("x.narrowPeak", "x.narrowpeak.gz", "x.bed"):
        x = read_bed(write(tmp_path / name, NARROW), format="narrowPeak" if name == "x.bed" else "auto")
        assert x.summit is not None and x.signal is not None and x.strand is not None
        assert x.summit.tolist() == [10, 35, 9] == x.centres().tolist()
        assert (x.signal.tolist(), x.strand.tolist()) == ([1.5, 0.25, 7], [".", ".", "+"])
        assert x.notes == {"peaks without summit, midpoint used": 1}
    broad = b"".join(line.rpartition(b"\t")[0] + b"\n" for line in NARROW.splitlines())
    x = read_bed(write(tmp_path / "x.broadPeak", broad))
    assert x.summit is None and x.signal is not None and x.signal.tolist() == [1.5, 0.25, 7]
    x = read_bed(write(tmp_path / "y.bed", NARROW))
    assert x.summit is None and x.centres().tolist() == [15, 35, 7]
    assert x.notes == {"rows of 10 columns read as BED (format=narrowPeak would use their summits)": 3}


def test_scores_that_are_no_number_are_counted(tmp_path):
    x = read_bed(write(tmp_path / "x.bed", b"a\t1\t2\tn\t.\na\t1\t2\tn\tGATA1\na\t1\t2\tn\tnan\na\t1\t2\tn\t-1e3\n"))
    assert x.score is not None and np.array_equal(x.score, [np.nan, np.nan, np.nan, -1000], equal_nan=True)
    assert x.notes == {"scores that are no number": 3}


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(MINIMAL))))
    assert len(read_bed("-")) == 3


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no interval in peaks.bed: file is empty"),
        (b"# a\n#b\ntrack x\n", "no interval in peaks.bed: file holds 3 comment lines only"),
        (b"\n# a\n\n", "no interval in peaks.bed: file holds 1 comment line and 2 blank lines only"),
        (
            b"#\n" + b"chr1\t1\t2\n" * 10 + b"chr1\t5\n",
            "peaks.bed, line 12: expected at least 3 columns (chrom, start, end), found 2. Mend the line",
        ),
        (b"chr1\t5\n", "peaks.bed, line 1: expected at least 3 columns (chrom, start, end), found 2. Mend the line"),
        (b"chr1 5\n", "peaks.bed, line 1: expected at least 3 columns (chrom, start, end), found 2. Mend the line"),
        (
            b"a\t1\t2" + b"\tx" * 10 + b"\n",
            "peaks.bed, line 1: expected 3 to 12 columns, found 13. Mend the line",
        ),
        (
            MINIMAL + b"chr1\t1\t2\tx\n",
            "peaks.bed, line 4: expected 6 columns as before, found 4. Mend the line",
        ),
        (
            b"chrom\tstart\tend\nchr1\t1\t2\n",
            "peaks.bed, line 1: expected an integer start, found 'start'. Remove the header line or begin it with '#'",
        ),
        (
            b"#\nchrom\tstart\tend\nchr1\t1\t2\n",
            "peaks.bed, line 2: expected an integer start, found 'start'. Remove the header line or begin it with '#'",
        ),
        (
            b"chr1\t1\t2\nchrom\tstart\tend\n",
            "peaks.bed, line 2: expected an integer start, found 'start'. Mend the line",
        ),
        (
            b"chr1\t1e+06\t2000000\n",
            "peaks.bed, line 1: expected an integer start, found '1e+06'. "
            "Write whole numbers (in R: options(scipen=999))",
        ),
        (
            b"chr1\t1\t100.0\n",
            "peaks.bed, line 1: expected an integer end, found '100.0'. Write whole numbers (in R: options(scipen=999))",
        ),
        (
            b"chr1\t1,000\t2,000\n",
            "peaks.bed, line 1: expected an integer start, found '1,000'. Write numbers without commas",
        ),
        (b"chr1\t\t5\n", "peaks.bed, line 1: expected an integer start, found ''. Remove the header line or begin it"),
        (
            b"chr1\t1\t12345678901234567890\n",
            "peaks.bed, line 1: expected an integer end below 10^18, found '12345678901234567890'. Mend the line",
        ),
        (
            b"chr1\t1\t\xd9\xa3\xd9\xa4\n",
            "peaks.bed, line 1: expected an integer end, found '\u0663\u0664'. Remove the header line or begin it with '#'",
        ),
        (b"chr1\t500\t400\n", "peaks.bed, line 1: expected start < end, found 500 >= 400. Mend the line"),
        (
            b"chr1\t400\t400\n",
            "peaks.bed, line 1: expected start < end, found 400 >= 400. Set a window length to take it as a point",
        ),
        (b"chr1\t-3\t400\n", "peaks.bed, line 1: start -3 is negative: expected at least 0. Mend the line"),
        (b"a\t1\t2\tx\t0\t*\n", "peaks.bed, line 1: expected '+', '-' or '.', found '*'. Mend the line"),
        (b"a\t1\t2\tx\t0\t+-\n", "peaks.bed, line 1: expected '+', '-' or '.', found '+-'. Mend the line"),
        (b"a\t1\t2\tx\t0\t\n", "peaks.bed, line 1: expected '+', '-' or '.', found ''. Mend the line"),
        (
            b'chr1\t1\t2\n"chr2"\t1\t2\n',
            "peaks.bed, line 2: expected an unquoted name, found '\"chr2\"'. Rename the contig",
        ),
        (
            b"chr 1\t1\t2\n",
            "peaks.bed, line 1: expected a name without blanks, quotes or control characters, found 'chr 1'. "
            "Rename the contig",
        ),
        (
            b"chr\x1b1\t1\t2\n",
            "peaks.bed, line 1: expected a name without blanks, quotes or control characters, found 'chr\\x1b1'. "
            "Rename the contig",
        ),
        (
            b"\t1\t2\n",
            "peaks.bed, line 1: expected a name without blanks, quotes or control characters, found ''. Rename the contig",
        ),
        (
            b"chr1\t1\t2\rchr1\t1\t2\r",
            "carriage returns without line feeds in peaks.bed, line 1: expected lines that end in LF or CRLF. "
            "Convert with: tr '\\r' '\\n'",
        ),
        (
            b"chr1\t1\t2\nchr1\0\t1\t2\n",
            "a zero byte in peaks.bed, line 2: expected UTF-8 text. Is this a binary file?",
        ),
        (b"a\t1\t2\nb\t1\t2\ncaf\xe9\t1\t2\n", "byte 0xe9 in peaks.bed, line 3: expected UTF-8 text, found"),
        (
            b"chr1\t5\t1\n" * 8,
            "peaks.bed, line 1: expected start < end, found 5 >= 1; also line 2, line 3, line 4, line 5, ... and 3 more. "
            "Mend the line",
        ),
        (
            b"a\t1\t2\na\t9\t1\na\tx\ty\na\t1\n",
            "peaks.bed, line 2: expected start < end, found 9 >= 1; also line 3, line 4. Mend the line",
        ),
    ],
)
@pytest.mark.parametrize("size", [1, columns.BLOCK])
def test_refusals(tmp_path, monkeypatch, data, sentence, size):
    monkeypatch.setattr(columns, "BLOCK", size)
    said = refusal(tmp_path / "peaks.bed", data)
    assert said == sentence or (not sentence.endswith("Mend the line") and said.startswith(sentence))
    assert [p.name for p in tmp_path.iterdir()] == ["peaks.bed"]


BED_INSTEAD = "For plain BED name the file .bed (windows are then centred on midpoints)"


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        (
            "peaks.narrowPeak",
            b"#\n#\nchr1\t1\t2\n",
            f"peaks.narrowPeak, line 3: expected 10 columns, found 3. {BED_INSTEAD}",
        ),
        (
            "peaks.broadPeak",
            NARROW[: NARROW.index(b"\n") + 1],
            f"peaks.broadPeak, line 1: expected 9 columns, found 10. {BED_INSTEAD}",
        ),
        (
            "peaks.narrowPeak",
            NARROW + b"chr1\t0\t500\ta\t0\t.\t1\t1\t1\t742\n",
            "peaks.narrowPeak, line 4: summit 742 lies outside the peak (length 500): expected 0 to 499, or -1 for none. "
            "Mend the line",
        ),
        (
            "peaks.narrowPeak",
            NARROW.replace(b"\t4\n", b"\t5\n"),
            "peaks.narrowPeak, line 3: summit 5 lies outside the peak (length 5): expected 0 to 4, or -1 for none. "
            "Mend the line",
        ),
        (
            "peaks.narrowPeak",
            NARROW.replace(b"\t4\n", b"\t-2\n"),
            "peaks.narrowPeak, line 3: summit -2 lies outside the peak (length 5): expected 0 to 4, or -1 for none. "
            "Mend the line",
        ),
        (
            "peaks.narrowPeak",
            NARROW.replace(b"\t4\n", b"\t.\n"),
            "peaks.narrowPeak, line 3: expected an integer summit, found '.'. Mend the line",
        ),
        (
            "peaks.narrowPeak",
            NARROW.replace(b"1.5", b"inf"),
            "peaks.narrowPeak, line 1: expected a number as signalValue (column 7), found 'inf'. Mend the line",
        ),
        ("peaks.narrowPeak", b"", "no peak in peaks.narrowPeak: file is empty"),
    ],
)
def test_refused_peaks(tmp_path, name, data, sentence):
    assert refusal(tmp_path / name, data, noun="peak") == sentence


def test_points(tmp_path):
    path = write(tmp_path / "x.bed", b"chr1\t5\t5\nchr1\t5\t9\nchr1\t99\t99\n")
    x = read_bed(path, points=True, contigs=GENOME)
    assert x.midpoints().tolist() == [5, 7, 99] and x.notes == {"points (start = end)": 2}
    said = refusal(path, b"chr1\t5\t5\nchr1\t100\t100\n", points=True, contigs=GENOME)
    assert said == "x.bed, line 2: start 100 lies beyond chr1 (100 bases in the genome). Wrong assembly?"
    assert "found 9 >= 5" in refusal(path, b"chr1\t9\t5\n", points=True)


class TestGenome:
    def test_the_end_of_a_contig_is_inside_it(self, tmp_path):
        assert len(read_bed(write(tmp_path / "x.bed", b"chr1\t0\t100\n"), contigs=GENOME)) == 1

    def test_beyond_a_contig(self, tmp_path):
        data = b"chr3\t1\t2\n" * 6 + b"chr1\t1\t250000000\n"
        said = refusal(tmp_path / "peaks.bed", data, contigs=GENOME | {"chr1": 248_956_422}, genome="genome.fa")
        assert said == (
            "peaks.bed, line 7: end 250000000 lies beyond chr1 (248,956,422 bases in genome.fa). Wrong assembly?"
        )
        said = refusal(tmp_path / "peaks.bed", b"chr1\t1\t101\n" * 3, contigs=GENOME)
        assert said.endswith("lies beyond chr1 (100 bases in the genome); also line 2, line 3. Wrong assembly?")

    def test_unknown_contigs(self, tmp_path):
        data = b"chr1\t1\t2\nchrUn\t1\t2000\nchr2\t3\t4\nchrM\t1\t2\nchrUn\t3\t4\n"
        path = tmp_path / "peaks.bed"
        assert refusal(path, data, contigs=GENOME, genome="genome.fa") == (
            "3 of 5 intervals in peaks.bed lie on contigs absent from genome.fa (chrUn, chrM). "
            "Set data.source.missing_contigs=skip to leave them out"
        )
        x = read_bed(path, contigs=GENOME, genome="genome.fa", missing="skip")
        assert rows(x) == [("chr1", 1, 2), ("chr2", 3, 4)]
        assert x.notes == {"intervals on contigs absent from genome.fa left out": 3}

    def test_no_name_in_common(self, tmp_path):
        for missing in ("refuse", "skip"):
            said = refusal(
                tmp_path / "peaks.bed", b"1\t1\t2\nX\t1\t2\n", contigs=GENOME, genome="g.fa", missing=missing
            )
            assert said.startswith(
                "'1' style names in peaks.bed (1, X), 'chr1' style names in g.fa (chr1, chr2, chr3): no name in common"
            )

    def test_renaming(self, tmp_path):
        path = write(tmp_path / "peaks.bed", b"1\t1\t2\nchr2\t1\t2\n")
        assert read_bed(path, rename={"1": "chr1"}).chrom.tolist() == ["chr1", "chr2"]
        assert read_bed(path, rename={"1": "chr1"}, contigs=GENOME).chrom.tolist() == ["chr1", "chr2"]
        assert read_bed(path, rename="add_chr", contigs=GENOME).chrom.tolist() == ["chr1", "chr2"]
        with pytest.raises(ValueError, match="rename='roman' needs contigs"):
            read_bed(path, rename="roman")


def random_file(rng: random.Random, n: int, width: int) -> tuple[bytes, list[tuple]]:
    lines, expected = [], []
    for _ in range(n):
        chrom = rng.choice(["chr1", "1", "NA", "nan", "chrÄ", "x" * 3000, "c;=#|"])
        start = rng.randrange(10 ** rng.randrange(1, 15))
        end = start + rng.randrange(1, 10**6)
        name, strand = rng.choice(["a b", "NA", "1", "é", '"q"']), rng.choice("+-.")
        score = rng.choice([0.0, 1e-9, 12.5, 1000.0])
        row = [chrom, str(start), str(end), name, repr(score), strand]
        lines.append("\t".join(row[:width]))
        expected.append(
            (chrom, start, end, *((strand,) if width == 6 else ()), *((name,), (name, score))[width > 4][: width - 3])
        )
        if rng.random() < 0.2:
            lines.append(rng.choice(["", "# comment", "track x", "\r"]))
    return "\n".join(lines).encode() + b"\n", expected


@pytest.mark.parametrize("width", [4, 5, 6])
def test_random_files_are_read_as_written(tmp_path, monkeypatch, width):
    for seed in range(20):
        rng = random.Random(seed)
        data, expected = random_file(rng, rng.randrange(1, 60), width)
        monkeypatch.setattr(columns, "BLOCK", rng.randrange(1, 50))
        assert rows(read_bed(write(tmp_path / "x.bed", data))) == expected


def test_shuffled_records_give_the_same_rows(tmp_path):
    rng = random.Random(3)
    data, expected = random_file(rng, 200, 6)
    lines = [line for line in data.splitlines(keepends=True) if line.count(b"\t") == 5]
    rng.shuffle(lines)
    assert sorted(rows(read_bed(write(tmp_path / "x.bed", b"".join(lines))))) == sorted(expected)


def test_a_cut_file_never_passes_for_the_whole(tmp_path):
    """Plain text cut inside a line is refused, or its last row carries a note; cut gzip is always refused."""
    data = b"".join(b"chr%d\t%d\t%d\tp%d\t0\t+\n" % (i % 3, i * 100, i * 100 + 55, i) for i in range(100))
    whole = rows(read_bed(write(tmp_path / "x.bed", data)))
    for at in range(1, len(data), 50):
        (tmp_path / "x.bed").write_bytes(data[:at])
        try:
            x = read_bed(tmp_path / "x.bed")
        except InputError as e:
            assert re.search(rf"line {data[:at].count(10) + 1}\b", str(e))
            continue
        full = data[:at].count(b"\n")
        assert rows(x)[:full] == whole[:full]
        assert len(x) == full or x.notes == {"last line without an end": 1}
    packed = gzip.compress(data)
    for at in range(1, len(packed), 50):
        (tmp_path / "x.bed.gz").write_bytes(packed[:at])
        with pytest.raises(InputError, match=r"ends in the middle of a block|is not a gzip file|is damaged"):
            read_bed(tmp_path / "x.bed.gz")


def test_a_million_lines(tmp_path):
    """Time and memory are linear, and the refusal of a bad last record names its line."""
    rng = np.random.default_rng(0)
    n = 1_000_000
    start = rng.integers(0, 2 * 10**8, n).tolist()
    chrom = rng.integers(1, 23, n).tolist()
    lines = [
        f"chr{c}\t{s}\t{s + 500}\tp{i}\t{i % 1000}\t+\n" for i, (c, s) in enumerate(zip(chrom, start, strict=True))
    ]
    path = tmp_path / "x.bed"
    path.write_text("".join(lines))
    begin = time.monotonic()
    x = read_bed(path)
    assert time.monotonic() - begin < 30  # 1 s on a quiet machine
    assert x.start.tolist() == start and x.chrom[-1] == f"chr{chrom[-1]}" and len(x) == n
    with path.open("a") as file:
        file.write("chr1\t5\t4\tp\t0\t+\n")
    with pytest.raises(InputError, match=r"x.bed, line 1000001: expected start < end, found 5 >= 4. Mend the line$"):
        read_bed(path)
    peaks = []
    for m in (40_000, 160_000):
        path.write_text("".join(lines[:m]))
        tracemalloc.start()
        read_bed(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 4.5 * peaks[0]


def test_four_processes_read_the_same(tmp_path):
    path = write(tmp_path / "x.bed.gz", MINIMAL * 100)
    alone = read_bed(path)
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        for other in pool.map(read_bed, [path] * 4):
            assert rows(other) == rows(alone) and dataclasses.replace(other).notes == alone.notes


class TestYeast:
    """Published files, as they come."""

    def test_301_chip_exo_peak_sets(self, dragon_data):
        from dragon_jax.genome.sizes import read_sizes

        contigs = read_sizes(dragon_data("yeast/chrom.sizes"))
        total, found = 0, 0
        for path in sorted(dragon_data("yeast/peaks").glob("*.bed.gz")):
            x = read_bed(path, contigs=contigs, rename="roman")
            assert (x.end - x.start == 1).all() and set(x.chrom.tolist()) <= set(contigs)
            assert x.name is not None
            _, number, *_ = zip(*(name.split("_") for name in x.name.tolist()), strict=True)
            assert [int(p) for p in number] == x.start.tolist()
            total, found = total + len(x), found + 1
        assert (found, total) == (301, 121_794)

    def test_names_of_another_style_are_refused(self, dragon_data):
        from dragon_jax.genome.sizes import read_sizes

        path = dragon_data("yeast/peaks/Abf1_CX.bed.gz")
        with pytest.raises(InputError, match=r"no name in common.*contigs=.*roman"):
            read_bed(path, contigs=read_sizes(dragon_data("yeast/chrom.sizes")), genome="sacCer3.fa.gz")

    def test_narrow_peaks_behind_a_track_line(self, dragon_data):
        path = dragon_data("yeast/atac/hmmratac_yeast500k_accessible_regions.narrowPeak.gz")
        x = read_bed(path)
        lines = [line.split("\t") for line in gzip.open(path, "rt").read().splitlines()[1:]]
        assert x.summit is not None
        assert x.summit.tolist() == [int(f[1]) + int(f[9]) for f in lines]
        assert x.notes == {}
