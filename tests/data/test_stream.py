"""Sequences to be scored: every format gives the same, in order, in flat memory; refusals name record and line."""

from __future__ import annotations

import gzip
import io
import tracemalloc

import numpy as np
import pytest

from dragon_jax.data.stream import stream_sequences
from dragon_jax.dna import decode, decode_many, encode_many
from dragon_jax.errors import InputError

SEQUENCES = ["ACGTA", "GGGTT", "CCATN", "TTTTT", "ACACA"]
NAMES = ["a", "NA", "1", "é", "a"]
FORMATS = {
    "x.fa": "".join(f">{n} more\n{s}\n" for n, s in zip(NAMES, SEQUENCES, strict=True)),
    "x.tsv": "id\tsequence\n" + "".join(f"{n}\t{s}\n" for n, s in zip(NAMES, SEQUENCES, strict=True)),
    "x.csv": "y,seq,name\n" + "".join(f"0,{s},{n}\n" for n, s in zip(NAMES, SEQUENCES, strict=True)),
}


def read(path, **options) -> tuple[list[str], list[str]]:
    ids, texts = [], []
    for names, codes in stream_sequences(path, **options):
        assert codes.dtype == np.uint8
        assert len(names) == len(codes) <= options.get("chunk", 4096)
        ids += names
        texts += decode_many(codes)
    return ids, texts


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("chunk", [1, 3])
def test_sequences_of_any_length_come_as_they_are(folder, chunk):
    texts = ["ACGTA", "N", "ggt" * 40, "ACT"]
    (folder / "x.fa").write_text("".join(f">s{i}\n{s}\n" for i, s in enumerate(texts)))
    (folder / "x.tsv").write_text("id\tseq\n" + "".join(f"s{i}\t{s}\n" for i, s in enumerate(texts)))
    for name in ("x.fa", "x.tsv"):
        chunks = list(stream_sequences(name, ragged=True, chunk=chunk))
        assert sum((names for names, _ in chunks), []) == ["s0", "s1", "s2", "s3"]
        assert [decode(c) for _, codes in chunks for c in codes] == ["ACGTA", "N", "GGT" * 40, "ACT"]
    for text, said in (
        (">a\nAC\n>b\nA*\n", r"letter '\*' in bad, sequence 'b'"),
        ("id\tseq\na\tAC\nb\t\n", "expected bases"),
    ):
        (folder / "bad").write_text(text)
        with pytest.raises(InputError, match=said):
            list(stream_sequences("bad", ragged=True))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "change",
    [lambda b: b, lambda b: b.replace(b"\n", b"\r\n"), lambda b: b[:-1], lambda b: b + b"\n", gzip.compress],
)
@pytest.mark.parametrize("chunk", [1, 2, 4096])
def test_every_format_packed_in_every_way(folder, monkeypatch, name, change, chunk):
    data = change(FORMATS[name].encode())
    (folder / name).write_bytes(data)
    assert read(name, chunk=chunk) == (NAMES, SEQUENCES)
    (folder / "no_suffix").write_bytes(data)
    assert read("no_suffix", chunk=chunk) == (NAMES, SEQUENCES)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert read("-", chunk=chunk) == (NAMES, SEQUENCES)


@pytest.mark.parametrize(
    "text", ["".join(f"{s}\n" for s in SEQUENCES), "sequence\n" + "".join(f"{s}\n" for s in SEQUENCES)]
)
def test_one_sequence_a_line(folder, text):
    for name in ("x.seq", "x.txt", "x"):
        (folder / name).write_text(text)
        assert read(name) == (["1", "2", "3", "4", "5"], SEQUENCES)
        assert read(name, format="lines", chunk=2) == (["1", "2", "3", "4", "5"], SEQUENCES)


def test_columns_by_name_and_by_number(folder):
    (folder / "x.tsv").write_text(
        "id\tref\talt\n" + "".join(f"{n}\tAAAAA\t{s}\n" for n, s in zip(NAMES, SEQUENCES, strict=True))
    )
    assert read("x.tsv", sequence_column="alt") == (NAMES, SEQUENCES)
    assert read("x.tsv", sequence_column="alt", id_column="ref")[0] == ["AAAAA"] * 5
    (folder / "x.seq").write_text("".join(f"{s}\t1\t{n}\n" for n, s in zip(NAMES, SEQUENCES, strict=True)))
    assert read("x.seq", sequence_column="0") == (["1", "2", "3", "4", "5"], SEQUENCES)
    assert read("x.seq", sequence_column="0", id_column="2") == (NAMES, SEQUENCES)


@pytest.mark.parametrize(
    ("name", "text", "options", "sentence"),
    [
        ("x.fa", "", {}, "no sequence in x.fa: expected FASTA, a table or one sequence a line, file is empty"),
        ("x.fa", "\n\n", {}, "no sequence in x.fa"),
        ("x.fa", ">a\nACGT\n>b\nAC\n", {}, "'b' in x.fa, line 3: expected 4 bases as in the first record, found 2"),
        ("x.fa", ">a\nACGT\n", {"length": 5}, "'a' in x.fa, line 1: expected 5 bases, found 4. Set length=5 and"),
        ("x.fa", ">a\nACGT\n>b\nAC!T\n", {}, "letter '!' in x.fa, sequence 'b', line 4: expected IUPAC nucleotides"),
        ("x.fa", "\ufeff>a\nACGT\n", {}, "text before the first header in x.fa, line 1"),
        ("x.fa", "ACGT\n", {"format": "fasta"}, "text before the first header in x.fa, line 1"),
        ("x.tsv", "a\tb\nACGT\t1\n", {}, "x.tsv: expected a column 'sequence', found 'a', 'b'. Set sequence_column"),
        ("x.tsv", "ACGT\t1\n", {}, "(0 for the first of a table without header)"),
        ("x.tsv", "id\tseq\nx\tACGT\ny\tAXGT\n", {}, "x.tsv, row 2 (line 3), column 'seq', position 2: expected IUPAC"),
        ("x.tsv", "id\tseq\nx\tACGT\ny\n", {}, "x.tsv, line 3: expected 2 fields, found 1"),
        ("x.tsv", "id\tseq\n", {}, "no row in x.tsv: expected rows below the header"),
        ("x.seq", "ACGT\nAC GT\n", {}, "letter ' ' in x.seq, row 2 (line 2), column '0', position 3"),
        ("x.seq", "ACGT\n\nACGT\n", {}, "blank line in x.seq, line 2"),
        ("x.tsv", "id\tseq\nx\tACGT\n", {"sequence_column": "sq"}, "found 'id', 'seq'; did you mean seq?"),
        ("x.csv", "id,seq\nx,ACGT\n", {"id_column": "Id"}, "found 'id', 'seq'; did you mean id? Set id_column"),
    ],
)  # fmt: skip
def test_refusals(folder, name, text, options, sentence):
    (folder / name).write_text(text)
    with pytest.raises(InputError) as e:
        read(name, **options)
    assert sentence in str(e.value)
    assert [p.name for p in folder.iterdir()] == [name]


def test_lengths_are_fitted(folder):
    (folder / "x.fa").write_text(">a\nACGTACG\n>b\nAC\n")
    assert read("x.fa", length=4, fit="fit_centre")[1] == ["CGTA", "NACN"]


def test_chunks_of_nothing_are_refused(folder):
    with pytest.raises(ValueError, match="chunk: expected at least 1, found 0"):
        read("x.fa", chunk=0)


def test_cut_off_gzip_is_refused(folder):
    rng = np.random.default_rng(0)
    whole = gzip.compress(
        "".join(f"{s}\n" for s in decode_many(rng.integers(0, 4, (300, 40)).astype(np.uint8))).encode()
    )
    for end in range(0, len(whole), 50):
        (folder / "x.seq.gz").write_bytes(whole[:end])
        with pytest.raises(InputError):
            read("x.seq.gz")


@pytest.mark.parametrize("kind", ["fa", "tsv"])
def test_memory_is_flat_and_the_bad_last_record_is_named(folder, kind):
    """Twice the records, the same memory; the sequences alone would take 8 and 16 MB."""
    record, header, lines = {"fa": (">s\n{}\n", "", 2), "tsv": ("s\t{}\n", "id\tsequence\n", 1)}[kind]
    peaks = []
    for n in (20_000, 40_000):
        text = header + record.format("ACGT" * 100) * n
        (folder / "x").write_text(text + record.format("ACGT" * 99 + "AC.T"))
        tracemalloc.start()
        count = 0
        with pytest.raises(InputError, match=rf"letter '\.' in x, .*line {n * lines + 2}\b"):
            for names, _ in stream_sequences("x", chunk=1000):
                count += len(names)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == n
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 6e6


def test_what_is_written_is_read(folder):
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 5, (999, 31)).astype(np.uint8)
    texts = decode_many(codes)
    (folder / "x.fa").write_text("".join(f">{i}\n{t[:20]}\n{t[20:].lower()}\n" for i, t in enumerate(texts)))
    ids, back = read("x.fa", chunk=100)
    assert ids == [str(i) for i in range(999)]
    np.testing.assert_array_equal(encode_many(back), codes)
