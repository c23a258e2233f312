"""FASTA: right files are read record by record however they are packed, wrong ones are refused by record and line."""

from __future__ import annotations

import gzip
import io
import multiprocessing
import random
import re
from concurrent.futures import ProcessPoolExecutor

import pytest

from dragon_jax.errors import InputError
from dragon_jax.genome import fasta
from dragon_jax.genome.fasta import Piece, Record, read_fasta, read_pieces

MINIMAL = b">peak_1 first\nACGTN\nacg\n>peak_2\nRYSWKMBDHVN\n"
EXPECTED = [Record("peak_1", 1, b"ACGTNacg"), Record("peak_2", 4, b"RYSWKMBDHVN")]


def write(path, data: bytes):
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        MINIMAL,
        MINIMAL.replace(b"\n", b"\r\n"),
        MINIMAL[:-1],
        MINIMAL.replace(b"\n", b"\r\n")[:-2],
        MINIMAL + b"\n",
        MINIMAL + b"\n\n",
        MINIMAL.replace(b">peak", b"> peak"),
        MINIMAL.replace(b"peak_1 first", b"peak_1\tfirst"),
    ],
)
@pytest.mark.parametrize("name", ["pos.fa", "pos.fa.gz"])
def test_variants_of_a_right_file_read_the_same(tmp_path, data, name):
    assert list(read_fasta(write(tmp_path / name, data))) == EXPECTED


def test_standard_input(monkeypatch):
    for data in (MINIMAL, gzip.compress(MINIMAL)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert list(read_fasta("-")) == EXPECTED


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no sequence in pos.fa: expected a line starting with '>', file is empty"),
        (b"\n\n", "no sequence in pos.fa: expected a line starting with '>', found 2 blank lines"),
        (b"ACGT\n", "text before the first header in pos.fa, line 1: expected '>', found 'ACGT'"),
        (b"\xef\xbb\xbf>a\nA\n", r"text before the first header in pos.fa, line 1: expected '>', found '\\ufeff>a'"),
        (b"\n; note\n>a\nA\n", "text before the first header in pos.fa, line 2"),
        (b">a\n>b\nA\n", "sequence 'a' in pos.fa, line 1 has no bases: expected some below the header. Remove"),
        (b">a\nA\n>b\n", "sequence 'b' in pos.fa, line 3 has no bases"),
        (
            b">a\nAC\nA*C\n",
            r"letter '\*' in pos.fa, sequence 'a', line 3: expected IUPAC nucleotides. Is this a protein or",
        ),
        (b">a\nAC-GT\n", "letter '-' in pos.fa, sequence 'a', line 2"),
        (b">a\nAC GT\n", "letter ' ' in pos.fa, sequence 'a', line 2: expected IUPAC nucleotides. Remove the blanks"),
        (b">a\nMKLV\n", "letter 'L' in pos.fa, sequence 'a', line 2"),
        (b">a\nA\x00C\n", r"letter '\\x00' in pos.fa, sequence 'a', line 2"),
        (b">\nACGT\n", "header without a name in pos.fa, line 1: expected '>name', found '>'. Name the record"),
        (b">a\nACG\rTTT\n", r"carriage returns without line feeds in pos.fa, line 2: .* Convert with: tr '\\r' '\\n'"),
        (b">a\rACG\r", "carriage returns without line feeds in pos.fa, line 1"),
        (
            b">a\r\nACG\nTT\n",
            "mixed line ends in pos.fa, line 2: expected CRLF as before, found LF. Convert with: tr -d",
        ),
        (b">a\nACG\r\n", "mixed line ends in pos.fa, line 2: expected LF as before, found CRLF"),
        (
            b">a\nACGT\n>b\nACGU\n",
            r"letters T and U in pos.fa \(records of lines 1 and 3\): expected DNA or RNA, found both",
        ),
        (b">caf\xe9\nACGT\n", "byte 0xe9 in pos.fa, line 1: expected UTF-8 text, found 'caf"),
    ],
)
def test_refusals(tmp_path, monkeypatch, data, sentence):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "pos.fa", data)
    before = list(tmp_path.iterdir())
    with pytest.raises(InputError, match=sentence):
        list(read_fasta("pos.fa"))
    assert list(tmp_path.iterdir()) == before


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_records_in_pieces(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(fasta, "_LINES", lines)
    path = write(tmp_path / "a.fa", MINIMAL)
    assert list(read_fasta(path)) == EXPECTED
    pieces = list(read_pieces(path))
    assert len(pieces) == {1: 5, 2: 3, 3: 2}[lines]
    assert pieces[-1] == Piece("peak_2", 4, b"" if lines == 1 else b"RYSWKMBDHVN", True)
    assert sum(piece.last for piece in pieces) == 2


def test_what_is_wrong_in_a_late_piece_is_told_as_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(fasta, "_LINES", 1)
    path = write(tmp_path / "a.fa", b">a\nAC\nG\nA*\nA-\n>b\nT\nU\n>b\n>c\nAT\n>b\nA\n")
    seen = []
    with pytest.raises(InputError, match=r"letter '\*' in .*a.fa, sequence 'a', line 4: .*; also line 6, line 9. Is"):
        for piece in read_pieces(path):
            seen.append(piece.bases)
    assert seen == [b"AC", b"G"]
    write(path, b">a\nG\nT\n>b\nC\nU\n>c\nT\n")
    with pytest.raises(InputError, match=r"T and U in .*a.fa \(records of lines 1 and 4\): expected DNA or RNA"):
        list(read_fasta(path))


def test_rna_without_t_is_let_through(tmp_path):
    assert [r.bases for r in read_fasta(write(tmp_path / "a.fa", b">a\nACGU\n>b\nuuu\n"))] == [b"ACGU", b"uuu"]


def test_names_of_records(tmp_path):
    names = ["NA", "1", "nan", "chr1:1-2(+)", "Δ-peak", "x" * 5000, "a|b;c"]
    data = "".join(f">{name} text\nACGT\n" for name in names).encode()
    assert [r.name for r in read_fasta(write(tmp_path / "a.fa", data))] == names


def test_as_a_genome(tmp_path):
    path = write(tmp_path / "genome.fa", b">chr1\nAC\n>chrM\n>chr1 again\nGT\n")
    assert [r.name for r in read_fasta(path, noun="contig", allow_empty=True)] == ["chr1", "chrM", "chr1"]
    sentence = "contig 'chr1' twice in .*genome.fa, lines 1 and 4: expected unique names. Remove or rename one"
    with pytest.raises(InputError, match=sentence):
        list(read_fasta(path, noun="contig", allow_empty=True, unique=True))


def test_all_offenders_are_counted_and_five_shown(tmp_path):
    data = b"".join(b">s%d\nAC%sGT\n" % (i, b"" if i % 2 else b"*") for i in range(40))
    records = read_fasta(write(tmp_path / "a.fa", data))
    with pytest.raises(InputError) as e:
        list(records)
    expected = (
        r"letter '\*' in .*a\.fa, sequence 's0', line 2: expected IUPAC nucleotides; also line 5, line 9, line 13, "
        r"line 17, \.\.\. and 15 more\. Is this a protein or alignment file\?"
    )
    assert re.fullmatch(expected, str(e.value))


def test_standard_input_is_refused_at_once(monkeypatch):
    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            block = b">a\nAC*T\n" * 100
            buffer[: len(block)] = block[: len(buffer)]
            return min(len(block), len(buffer))

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    with pytest.raises(InputError, match="letter '.' in standard input, sequence 'a', line 2"):
        list(read_fasta("-"))


def test_what_is_written_is_read(tmp_path):
    rng = random.Random(0)
    for trial in range(30):
        records = [
            (f"s{i}", "".join(rng.choices("ACGTNacgtnRYK", k=rng.randint(1, 200)))) for i in range(rng.randint(1, 30))
        ]
        rng.shuffle(records)
        width, end = rng.choice([1, 7, 60, 1000]), rng.choice(["\n", "\r\n"])
        text = "".join(
            f">{name} d{end}" + "".join(s[i : i + width] + end for i in range(0, len(s), width)) for name, s in records
        )
        path = write(tmp_path / f"{trial}.fa{rng.choice(['', '.gz'])}", text.encode())
        assert [(r.name, r.bases.decode()) for r in read_fasta(path)] == records


def test_cut_off_gzip_is_refused_at_every_fiftieth_byte(tmp_path):
    rng = random.Random(1)
    whole = gzip.compress(
        b"".join(b">s%d\n%s\n" % (i, "".join(rng.choices("ACGT", k=50)).encode()) for i in range(200))
    )
    for end in range(0, len(whole), 50):
        (tmp_path / "a.fa.gz").write_bytes(whole[:end])
        with pytest.raises(InputError):
            list(read_fasta(tmp_path / "a.fa.gz"))


def test_the_bad_last_record_of_many_is_named_by_its_line(tmp_path):
    n = 200_000
    path = write(tmp_path / "a.fa", b">s\nACGTACGTAC\n" * n + b">last\nACGTAC9TAC\n")
    count = 0
    with pytest.raises(InputError, match=f"letter '9' in .*, sequence 'last', line {2 * n + 2}:"):
        for _ in read_fasta(path):
            count += 1
    assert count == n


def records_of(path: str) -> list[Record]:
    return list(read_fasta(path))


def test_four_spawned_workers_read_the_same(tmp_path):
    path = str(write(tmp_path / "a.fa.gz", MINIMAL * 100))
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(records_of, [path] * 4))
    assert results == [records_of(path)] * 4
