"""Tables: every cell is where its header says, numbers are numbers, and each refusal names row, line and column."""

from __future__ import annotations

import csv
import gzip
import io
import random

import numpy as np
import pytest

from dragon_jax.data.cells import NumberFaults, integers, numbers
from dragon_jax.data.tables import Block, Table, delimiter_of
from dragon_jax.errors import InputError
from dragon_jax.files import TextFile

MINIMAL = b"id\tseq\ty\np1\tACGT\t1\np2\tGGTA\t0\n"


def read(
    path, delimiter: str = "\t", header: bool = True, size: int = 8192
) -> tuple[list[str], list[list[str]], list[int]]:
    with TextFile(path) as file:
        table = Table(file, delimiter, header)
        rows, lines = [], []
        for block in table.blocks(size):
            rows += [list(row) for row in zip(*(block.text(c) for c in range(len(table.names))), strict=True)]
            lines += block.lines.tolist()
        return table.names, rows, lines


def one_block(tmp_path, text: str, delimiter: str = "\t") -> Block:
    (tmp_path / "t.tsv").write_text(text)
    with TextFile(tmp_path / "t.tsv") as file:
        return next(Table(file, delimiter).blocks())


@pytest.mark.parametrize(
    "data",
    [
        MINIMAL,
        MINIMAL.replace(b"\n", b"\r\n"),
        MINIMAL[:-1],
        MINIMAL.replace(b"\n", b"\r\n")[:-2],
        MINIMAL.replace(b"\n", b"\r\n")[:-1],
        MINIMAL + b"\n",
        MINIMAL + b"\n\r\n\n",
        b"\xef\xbb\xbf" + MINIMAL,
        MINIMAL.replace(b"p1", b'"p1"').replace(b"seq", b'"seq"'),
        gzip.compress(MINIMAL),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 8192])
def test_variants_of_a_right_file_read_the_same(tmp_path, data, size):
    (tmp_path / "t.tsv").write_bytes(data)
    assert read(tmp_path / "t.tsv", size=size) == (
        ["id", "seq", "y"],
        [["p1", "ACGT", "1"], ["p2", "GGTA", "0"]],
        [2, 3],
    )


def test_without_header_columns_are_numbered(tmp_path):
    (tmp_path / "t.seq").write_bytes(b"\xef\xbb\xbfACGT\t1\nGG\t0\n")
    assert read(tmp_path / "t.seq", header=False) == (["0", "1"], [["ACGT", "1"], ["GG", "0"]], [1, 2])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.tsv", "\t"),
        ("a.TXT.GZ", "\t"),
        ("x_AC.seq.gz", "\t"),
        ("a.tab", "\t"),
        ("d.tsv/a.csv", ","),
        ("a.csv.bgz", ","),
    ],
)
def test_delimiter_by_suffix(path, expected):
    assert delimiter_of(path) == expected
    assert delimiter_of(path, ";") == ";"


def test_delimiter_refusals():
    with pytest.raises(
        InputError, match=r"the name of a.bed does not say how its columns .* found '.bed'. Set the delimiter"
    ):
        delimiter_of("a.bed")
    for wrong in ("", "||", '"', "\n"):
        with pytest.raises(InputError, match="delimiter: expected one character such as a tab or a comma, found"):
            delimiter_of("a.tsv", wrong)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no row in t.tsv: expected a table, file is empty"),
        (b"a\tb\n", "no row in t.tsv: expected rows below the header, found 1 line"),
        (b"a\tb\n\n\n", "no row in t.tsv: expected rows below the header, found 3 lines"),
        (b"a\tb\ta\n1\t2\t3\n", "column 'a' twice in t.tsv, line 1: expected unique names. Rename one"),
        (b"a\tb\n1\t2\n3\n", "t.tsv, line 3: expected 2 fields, found 1. Mend"),
        (b"a\tb\n1\t2\t3\n", "t.tsv, line 2: expected 2 fields, found 3"),
        (b"a\tb\n1\n1\n1\t2\n1\n", "t.tsv, line 2: expected 2 fields, found 1; also line 3, line 5. Mend the lines"),
        (b"a\tb\n1\t2\n\n3\t4\n", "blank line in t.tsv, line 3: expected 2 fields. Remove the line"),
        (b"a\n1\n\n3\n", "blank line in t.tsv, line 3: expected 1 field"),
        (b"a\tb\r1\t2\r", r"carriage returns without line feeds in t.tsv, line 1: .* Convert with: tr '\\r' '\\n'"),
        (b"a\tb\n1\t2\n1\r\t2\n", "carriage returns without line feeds in t.tsv, line 3"),
        (b"a\tb\n1\t\x00\n", r"a zero byte in t.tsv, line 2: expected UTF-8 text. Is this a binary or UTF-16 file\?"),
        ("a\tb\n1\té\n".encode("latin-1"), r"byte 0xe9 in t.tsv, line 2: expected UTF-8 text"),
        ("a\té\n1\t2\n".encode("latin-1"), r"byte 0xe9 in t.tsv, line 1"),
        (b'a\tb\n1\t"2\n', "quotes in t.tsv, line 2: expected '\"' around whole fields, closed on the same line"),
        (b'a\tb\n1\t"2"3\n', "quotes in t.tsv, line 2"),
    ],
)
def test_refusals(tmp_path, monkeypatch, data, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.tsv").write_bytes(data)
    for size in (1, 2, 8192):
        with pytest.raises(InputError, match=sentence):
            read("t.tsv", size=size)


def test_a_missing_column_is_named_with_the_nearest(tmp_path):
    (tmp_path / "labels.csv").write_text("seq,y1,y2\nA,1,0\n")
    with TextFile(tmp_path / "labels.csv") as file:
        table = Table(file, ",")
        assert table.column("y2", "x") == 2
        with pytest.raises(
            InputError, match=r"labels.csv: expected a column 'sequ', found 'seq', 'y1', 'y2'; did you mean seq\? Set x"
        ):
            table.column("sequ", "x")


@pytest.mark.parametrize(
    ("data", "delimiter", "sentence"),
    [
        (
            b"seq,y\nACGT,1\n",
            "\t",
            r"t.x, line 1: expected columns with tabs between them, found one column with commas in it \('seq,y'\). "
            "Set the delimiter to ',', or call the file .csv",
        ),
        (
            b"a\tb\n1\t2\n",
            ",",
            r"found one column with tabs in it .* Set the delimiter to '\\t', or call the file .tsv",
        ),
        (b"a;b;c\n1;2;3\n", ",", r"expected columns with commas .*, found one column with semicolons .* to ';'$"),
    ],
)
@pytest.mark.parametrize("header", [True, False])
def test_another_delimiter_is_seen(tmp_path, monkeypatch, data, delimiter, sentence, header):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.x").write_bytes(data)
    with pytest.raises(InputError, match=sentence):
        read("t.x", delimiter, header)


def test_one_column_may_hold_other_delimiters(tmp_path):
    for data in (b"a,b\nx\n", b"y\n0,5\n", b"a,b\n"):
        (tmp_path / "t.tsv").write_bytes(data)
        with TextFile(tmp_path / "t.tsv") as file:
            assert len(Table(file, "\t").names) == 1


@pytest.mark.parametrize(
    ("encoding", "remedy"),
    [
        ("utf-16-le", "is UTF-16LE text: expected UTF-8. .* iconv -f UTF-16LE -t UTF-8"),
        ("utf-16-be", "is UTF-16BE text: .* iconv -f UTF-16BE"),
        (
            "utf-16",
            "is UTF-16(LE|BE) text: expected UTF-8. Save it as UTF-8, or convert it with: iconv -f UTF-16 -t UTF-8",
        ),
    ],
)
def test_utf16_is_named(tmp_path, encoding, remedy):
    data = "id\tsequence\r\na\tACGT\r\n".encode(encoding)
    for content in (data, gzip.compress(data)):
        (tmp_path / "t.tsv").write_bytes(content)
        with pytest.raises(InputError, match=remedy):
            read(tmp_path / "t.tsv")


def test_a_first_line_of_data_is_no_header(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.tsv").write_text("ACGTNacg\t1\nGGTACCAA\t0\n")
    with TextFile("t.tsv") as file:
        table = Table(file, "\t")
        with pytest.raises(InputError, match="looks like data .*no line of names, set --sequence-column=0"):
            table.column("sequence", "--sequence-column=0")
        with pytest.raises(InputError) as e:
            table.column("sequence", "data.source.sequence_column")
    assert str(e.value) == (
        "t.tsv: expected a column 'sequence', found a first line that looks like data ('ACGTNacg', '1'). If the file has "
        "no line of names, set data.source.header=False and call the columns '0', '1', ..."
    )
    (tmp_path / "l.tsv").write_text("1\t0\t1\n0\t0\t1\n")
    with pytest.raises(InputError, match="column '1' twice in l.tsv, line 1: .* read it without header"):
        read("l.tsv")


def test_names_are_never_changed(tmp_path):
    names = ["NA", "nan", "1", "01", "1e5", "", " a b ", "é Δ", "x" * 200_000, "None", "-", '"', 'a""b', "True"]
    body = "".join('"' + name.replace('"', '""') + '"\tx\n' for name in names) + "NA\tx\n"
    (tmp_path / "t.tsv").write_text("name\tb\n" + body)
    assert [row[0] for row in read(tmp_path / "t.tsv")[1]] == [*names, "NA"]


def test_tables_written_by_csv_are_read_back(tmp_path):
    rng = random.Random(0)
    alphabet = ["a", "NA", "1", "", " ", '"', ",", "\t", "é", "0.5", "x y"]
    for trial in range(60):
        columns, rows = rng.randint(2, 5), rng.randint(1, 40)
        table = [["".join(rng.choices(alphabet, k=rng.randint(0, 3))) for _ in range(columns)] for _ in range(rows)]
        table = [row if any(row) else ["x"] * columns for row in table]
        delimiter, end = rng.choice(["\t", ","]), rng.choice(["\n", "\r\n"])
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
        writer.writerow([f"c{i}" for i in range(columns)])
        writer.writerows(table)
        data = text.getvalue().encode()
        (tmp_path / "t").write_bytes(gzip.compress(data) if trial % 3 == 0 else data)
        size = rng.choice([1, 3, 8192])
        assert read(tmp_path / "t", delimiter, size=size)[1] == table


def test_numbers_and_what_counts_as_missing(tmp_path):
    cells = ["0", "1", "7", "0.5", "-1.25e-3", "+3", ".5", "2.", " 4 ", "1e38", "", "NA", "NaN", "nan", "."]
    block = one_block(tmp_path, "a\ty\n" + "".join(f"x\t{c}\n" for c in cells))
    faults = NumberFaults()
    values = numbers(block, [1], ["y"], faults)[:, 0]
    faults.faults.refuse()
    expected = [0, 1, 7, 0.5, -1.25e-3, 3, 0.5, 2, 4, 1e38] + [np.nan] * 5
    np.testing.assert_array_equal(values, np.array(expected, np.float32))
    assert values.dtype == np.float32


def test_numbers_agree_with_float_everywhere(tmp_path):
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(500, 7)) * 10.0 ** rng.integers(-30, 30, (500, 7))).astype(object)
    values[rng.random(values.shape) < 0.3] = 1
    text = "\t".join("abcdefg") + "\n" + "".join("\t".join(map(repr, row)) + "\n" for row in values.tolist())
    result = numbers(one_block(tmp_path, text), [6, 0, 3], list("gad"), NumberFaults())
    np.testing.assert_array_equal(result, values[:, [6, 0, 3]].astype(np.float64).astype(np.float32))


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("0,5", "row 2 (line 3), column 'CTCF': expected a number, found '0,5'. Use a point as decimal sign"),
        ("inf", "expected a number, found 'inf'. Mend the cell"),
        ("-Infinity", "expected a number, found '-Infinity'"),
        ("1e39", "expected a number, found '1e39'"),
        ("1e999", "expected a number, found '1e999'"),
        ("1_000", "found '1_000'"),
        ("0x10", "found '0x10'"),
        ("x", "found 'x'"),
        ("1e", "found '1e'"),
        ("--", "found '--'"),
        ("٣", "found '٣'"),
        ("n/a", "found 'n/a'"),
    ],
)
def test_cells_that_are_no_numbers(tmp_path, cell, sentence):
    block = one_block(tmp_path, f"CTCF\tx\n1\tx\n{cell}\tx\n0.5\tx\n")
    faults = NumberFaults()
    numbers(block, [0], ["CTCF"], faults)
    with pytest.raises(InputError) as e:
        faults.faults.refuse()
    assert sentence in str(e.value)
    assert "t.tsv, row 2 (line 3), column 'CTCF'" in str(e.value)


def test_missing_cells_where_none_may_be(tmp_path):
    block = one_block(tmp_path, "a\tb\n1\tNA\n.\t2\n\t3\n")
    faults = NumberFaults()
    numbers(block, [0, 1], ["a", "b"], faults, missing=False)
    assert faults.faults.count == 3


def test_integers(tmp_path):
    block = one_block(tmp_path, "s\tx\n0012\t\n-3\t\n1e+06\t\n100.0\t\nx\t\n99999999999999999999\t\n")
    faults = NumberFaults()
    values, good = integers(block, 0, "start", faults)
    assert values[:2].tolist() == [12, -3]
    assert good.tolist() == [True, True, False, False, False, False]
    with pytest.raises(
        InputError,
        match=r"column 'start': expected an integer start, found '1e\+06'; also line 5, .*Write whole numbers",
    ):
        faults.faults.refuse()


def test_the_bad_last_line_of_many_is_named(tmp_path):
    n = 200_000
    (tmp_path / "t.tsv").write_bytes(b"a\tb\n" + b"x\t1\n" * n + b"x\n")
    with pytest.raises(InputError, match=f"t.tsv, line {n + 2}: expected 2 fields, found 1"):
        read(tmp_path / "t.tsv")
