"""Source `table`: sequences, labels, names, regions and further inputs come from their columns and stay together."""

from __future__ import annotations

import gzip
import multiprocessing
import random
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.table_source import KEPT, TableSource
from dragon_jax.dna import decode_many
from dragon_jax.errors import InputError

TABLE = (
    "name\tchrom\tstart\tend\tseq\tCTCF\tREST\tw\tx1\tx2\n"
    "p1\tNA\t10\t14\tACGT\t1\t\t1\t0.5\t1\n"
    "p2\t1\t7\t11\tggta\t0\tNA\t2.5\t-1\t2\n"
    "p3\tchrX\t0\t4\tTTTN\t.\t1\t0\t3\t3\n"
)
COLUMNS = {
    "sequence_column": "seq", "id_column": "name",
    "chrom_column": "chrom", "start_column": "start", "end_column": "end",
    "weight_column": "w", "input_columns": {"dose": ("x2", "x1"), "other": ("x1",)},
}  # fmt: skip


def load(path, labels=None, **fields) -> Dataset:
    fields = {"label_columns": ("*",), **fields}
    label_paths = {} if labels is None else {"all": str(labels)}
    return TableSource(paths={"all": str(path)}, label_paths=label_paths, **fields).load_parts()["all"]


def same(a: Dataset, b: Dataset) -> bool:
    return a.fingerprint() == b.fingerprint() and a.ids.tolist() == b.ids.tolist() and a.notes == b.notes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_column_finds_its_place(folder):
    (folder / "t.tsv").write_text(TABLE)
    data = load("t.tsv", **COLUMNS)
    assert decode_many(data.codes) == ["ACGT", "GGTA", "TTTN"]
    assert data.tasks == (Task("CTCF"), Task("REST"))
    np.testing.assert_array_equal(data.targets, np.array([[1, np.nan], [0, np.nan], [np.nan, 1]], np.float32))
    assert data.ids.tolist() == ["p1", "p2", "p3"]
    assert data.regions.chrom.tolist() == ["NA", "1", "chrX"]
    assert data.regions.start.tolist() == [10, 7, 0]
    assert data.regions.end.tolist() == [14, 11, 4]
    np.testing.assert_array_equal(data.weights, np.array([1, 2.5, 0], np.float32))
    np.testing.assert_array_equal(data.inputs["dose"], np.array([[1, 0.5], [2, -1], [3, 3]], np.float32))
    assert data.inputs["other"].shape == (3, 1)
    assert data.notes == {"lower-case bases": 4, "unknown bases": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.replace(b"\n", b"\r\n"),
        lambda b: b[:-1],
        lambda b: b + b"\n",
        lambda b: b"\xef\xbb\xbf" + b,
        gzip.compress,
    ],
)
def test_variants_read_the_same(folder, change):
    (folder / "t.tsv").write_text(TABLE)
    (folder / "v.tsv").write_bytes(change(TABLE.encode()))
    (folder / "v.csv").write_bytes(change(TABLE.replace("\t", ",").encode()))
    assert same(load("v.tsv", **COLUMNS), load("t.tsv", **COLUMNS))
    assert same(load("v.csv", **COLUMNS), load("t.tsv", **COLUMNS))


def test_columns_may_stand_in_any_order(folder):
    rows = [line.split("\t") for line in TABLE.splitlines()]
    (folder / "t.tsv").write_text(TABLE)
    for seed in range(5):
        order = random.Random(seed).sample(range(10), 10)
        (folder / "v.tsv").write_text("".join("\t".join(row[i] for i in order) + "\n" for row in rows))
        fields = {**COLUMNS, "label_columns": ("CTCF", "REST")}
        assert same(load("v.tsv", **fields), load("t.tsv", **fields))


def test_names_of_rows_without_an_id_column(folder):
    (folder / "t.tsv").write_text("chrom\tstart\tend\tseq\ty\nchr1\t0\t4\tACGT\t1\nchr1\t0\t4\tACGA\t0\n")
    region = {"chrom_column": "chrom", "start_column": "start", "end_column": "end"}
    assert load("t.tsv", sequence_column="seq", **region).ids.tolist() == ["chr1:0-4", "chr1:0-4"]
    assert load("t.tsv", sequence_column="seq", label_columns=("y",)).ids.tolist() == ["row_1", "row_2"]


def test_kinds_of_tasks(folder):
    (folder / "t.csv").write_text("sequence,a,b,c\nACGT,1,-0.5,3\nACGA,0,2,0\n")
    kinds = {"b": "real", "c": "count"}
    assert load("t.csv", kinds=kinds).tasks == (Task("a"), Task("b", "real"), Task("c", "count"))
    named = load("t.csv", label_columns=("c", "a"), task_names=("reads", "bound"), kinds={"reads": "count"})
    assert named.tasks == (Task("reads", "count"), Task("bound"))
    np.testing.assert_array_equal(named.targets, np.array([[3, 1], [0, 0]], np.float32))
    with pytest.raises(InputError, match="kinds: 'd' is no task of t.csv: expected one of a, b, c."):
        load("t.csv", kinds={"d": "real"})


def test_without_header(folder):
    (folder / "t.seq").write_text("ACGT\t1\nACGA\t0\n")
    data = load("t.seq", header=False, sequence_column="0", label_columns=("1",), task_names=("bound",))
    assert data.targets[:, 0].tolist() == [1, 0]
    with pytest.raises(
        InputError, match=r"t.seq: expected a column 'sequence', found '0', '1' \(the table is read without header"
    ):
        load("t.seq", header=False, label_columns=("1",))


REGION = {"chrom_column": "chrom", "start_column": "from", "end_column": "to"}


def test_coordinates_are_no_labels_unless_asked_for(folder):
    (folder / "t.tsv").write_text("#Chrom\tSTART\tend\tsequence\ty\n1\t0\t1\tACGT\t1\n1\t1\t1\tACGA\t0\n")
    with pytest.raises(InputError) as e:
        load("t.tsv", task_kind="real")
    assert str(e.value) == (
        r"t.tsv: label_columns=('*',) would learn '#Chrom', 'START', 'end', named like coordinates: expected labels only. "
        "Set chrom_column, start_column and end_column, or list the labels in data.source.label_columns"
    )
    listed = load("t.tsv", task_kind="real", label_columns=("START", "y"))
    assert [t.name for t in listed.tasks] == ["START", "y"]
    (folder / "r.tsv").write_text(
        "chrom\tfrom\tto\tstrand\tstart\tsequence\ty\n1\t0\t4\t1\t0\tACGT\t1\n1\t9\t13\t1\t9\tACGA\t0\n"
    )
    assert [t.name for t in load("r.tsv", task_kind="real", **REGION).tasks] == ["y"]
    (folder / "l.tsv").write_text("chrom\tEnd\tz\n1\t4\t1\n1\t13\t0\n")
    assert [t.name for t in load("r.tsv", "l.tsv", task_kind="real", **REGION).tasks] == ["z"]


def test_the_column_of_the_split_is_no_label_in_any_file(folder):
    (folder / "a.tsv").write_text("sequence\ty\tg\nACGT\t1\t0\n")
    (folder / "b.tsv").write_text("sequence\ty\tg\nGGGT\t0\t1\n")
    source = TableSource(paths={"train": "a.tsv", "test": "b.tsv"}, label_columns=("*",))
    assert {part: data.tasks for part, data in source.load_parts(keep="g").items()} == {
        "train": (Task("y"),),
        "test": (Task("y"),),
    }


def test_labels_in_a_second_file_by_row(folder):
    (folder / "s.tsv").write_text("set\tsequence\nx\tACGT\ny\tACGA\n")
    (folder / "l.tsv").write_text("A|1\tB|2\n1\t0\n0\t\n")
    data = load("s.tsv", "l.tsv")
    assert [t.name for t in data.tasks] == ["A|1", "B|2"]
    np.testing.assert_array_equal(data.targets, np.array([[1, 0], [0, np.nan]], np.float32))
    (folder / "l.tsv").write_text("A\n1\n")
    sentence = (
        "2 sequences in s.tsv but 1 rows of labels in l.tsv: expected one row for each, in the same order. Set id"
    )
    with pytest.raises(InputError, match=sentence):
        load("s.tsv", "l.tsv")


def test_labels_in_a_second_file_by_name(folder):
    rng = random.Random(0)
    names = ["NA", "1", "01", "é", *(f"s{i}" for i in range(30))]
    rows = [(n, "".join(rng.choices("ACGT", k=6)), rng.randint(0, 1)) for n in names]
    (folder / "s.tsv").write_text("id\tsequence\n" + "".join(f"{n}\t{s}\n" for n, s, _ in rows))
    shuffled = rng.sample(rows, len(rows))
    (folder / "l.csv").write_text("y,id\n" + "".join(f"{y},{n}\n" for n, _, y in shuffled))
    data = load("s.tsv", "l.csv", id_column="id")
    assert data.targets[:, 0].tolist() == [y for *_, y in rows]
    assert data.ids.tolist() == names
    (folder / "l.csv").write_text(
        "y,id\n" + "".join(f"{y},{n}\n" for n, _, y in shuffled if n not in ("01", "s3")) + "1,zz\n"
    )
    sentence = (
        r"2 of 34 sequences in s.tsv have no row in l.csv \(first: '01'\), 1 rows without sequence: "
        "expected the same names in both"
    )
    with pytest.raises(InputError, match=sentence):
        load("s.tsv", "l.csv", id_column="id")
    (folder / "l.csv").write_text("y,id\n1,NA\n0,1\n1,NA\n")
    with pytest.raises(InputError, match="id 'NA' twice in l.csv, lines 2 and 4: expected unique names. Remove one"):
        load("s.tsv", "l.csv", id_column="id")
    (folder / "s.tsv").write_text("id\tsequence\na\tACG\na\tACG\n")
    with pytest.raises(InputError, match="id 'a' twice in s.tsv, lines 2 and 3"):
        load("s.tsv", "l.csv", id_column="id")


@pytest.mark.parametrize(
    ("text", "fields", "sentence"),
    [
        (
            "seq\ty\nACG\t1\n",
            {},
            "t.tsv: expected a column 'sequence', found 'seq', 'y'; did you mean seq? "
            "Set data.source.sequence_column to the column meant",
        ),
        (
            "sequence\tBound\nACG\t1\n",
            {"label_columns": ("bound",)},
            "expected a column 'bound', found 'sequence', 'Bound'; did you mean Bound? Set data.source.label_columns",
        ),
        ("sequence\nACG\n", {}, "t.tsv: expected label columns besides sequence, found none"),
        (
            "sequence\ty\nACG\t2\n",
            {},
            "t.tsv, row 1 (line 2), column 'y': expected 0 or 1 for a classification task, found '2'. Mend the cell",
        ),
        ("sequence\ty\nACG\t0.5\nACG\tx\n", {}, "column 'y': expected a number, found 'x'; also line 2. Mend"),
        ("sequence\ty\nACG\t-1\n", {"task_kind": "count"}, "expected a count of at least 0, found '-1'"),
        ("sequence\ty\nACG\tinf\n", {"task_kind": "real"}, "expected a number, found 'inf'"),
        ("sequence\ty\nACG\t0,5\n", {"task_kind": "real"}, "found '0,5'. Use a point as decimal sign"),
        (
            "sequence\ty\nACG\t1\nAC\t1\n",
            {},
            "t.tsv, row 2 (line 3), column 'sequence': expected 3 bases as in the first record, found 2. Set length=3",
        ),
        ("sequence\ty\nACG\t1\n\t1\n", {}, "t.tsv, row 2 (line 3), column 'sequence': expected bases, found none"),
        (
            "sequence\ty\nA-G\t1\n",
            {},
            "letter '-' in t.tsv, row 1 (line 2), column 'sequence', position 2: expected IUPAC nucleotides",
        ),
        ("sequence\ty\tw\nACG\t1\t\n", {"weight_column": "w"}, "column 'w': expected a number, found ''"),
        (
            "sequence\ty\tw\nACG\t1\t-2\n",
            {"weight_column": "w"},
            "column 'w': expected a weight of at least 0, found '-2'",
        ),
        (
            "sequence\ty\tx\nACG\t1\tNA\n",
            {"input_columns": {"d": ("x",)}},
            "column 'x': expected a number, found 'NA'",
        ),
        ("sequence\ty\nACG\t1\n", {"delimiter": ","}, "with tabs in it ('sequence\\ty'). Set the delimiter"),
    ],
)
def test_refusals(folder, text, fields, sentence):
    (folder / "t.tsv").write_text(text)
    with pytest.raises(InputError) as e:
        load("t.tsv", **fields)
    assert sentence in str(e.value)


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        ("1e+06", "5", "column 'start': expected an integer start, found '1e+06'. Write whole numbers"),
        ("x", "5", "column 'start': expected an integer start, found 'x'. Mend the cell"),
        ("-3", "5", "column 'start': expected a start of at least 0, found '-3'"),
        ("7", "7", "column 'end': expected start < end, found '7 >= 7'"),
    ],
)
def test_refusals_of_coordinates(folder, start, end, sentence):
    (folder / "t.csv").write_text(f"sequence,c,start,end,y\nACGT,chr1,0,4,1\nACGT,chr1,{start},{end},1\n")
    with pytest.raises(InputError) as e:
        load("t.csv", chrom_column="c", start_column="start", end_column="end")
    assert f"t.csv, row 2 (line 3), {sentence}" in str(e.value)


def test_regions_of_another_length_are_counted(folder):
    (folder / "t.csv").write_text("sequence,c,s,e,y\nACGT,chr1,0,4,1\nACGT,chr1,10,15,1\n")
    data = load("t.csv", chrom_column="c", start_column="s", end_column="e")
    assert data.notes == {"regions of another length than their sequence": 1}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"paths": {}}, "paths: expected files under 'all', or under 'train'"),
        ({"paths": {"test": "a"}}, "paths: expected files under 'all'"),
        ({"paths": {"all": "a", "train": "b"}}, "paths: expected files under 'all'"),
        ({"label_paths": {"train": "a"}}, r"label_paths: expected the keys of paths \(all\), found train"),
        ({"label_columns": ()}, "label_columns: expected the columns to learn"),
        ({"label_columns": ("*", "y")}, r"label_columns: expected names, or '\*' alone"),
        ({"label_columns": ("y", "y")}, "label_columns: expected each column once"),
        ({"task_names": ("a", "b"), "label_columns": ("y",)}, "task_names: expected one name for each"),
        ({"task_names": ("a",)}, "task_names"),
        ({"chrom_column": "c"}, "chrom_column, start_column, end_column: expected all three or none"),
        ({"input_columns": {"codes": ("a",)}}, "input_columns: codes is a name of the batch itself"),
        ({"fit": "fit_left"}, "length: needed by fit='fit_left'"),
    ],
)
def test_settings_that_cannot_work(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        TableSource(**({"paths": {"all": "t.tsv"}, "label_columns": ("*",)} | fields))


def test_files_by_split(folder):
    (folder / "a.tsv").write_text("sequence\ty\ng\nACGT\t1\tx\n".replace("\ng", "\tg"))
    (folder / "b.tsv").write_text("sequence\ty\nGGGT\t0\n")
    source = TableSource(paths={"train": "a.tsv", "test": "b.tsv"}, label_columns=("y",))
    parts = source.load_parts(keep="g")
    assert list(parts) == ["train", "test"]
    assert parts["train"].inputs[KEPT].tolist() == ["x"]  # only what is to be divided carries the column
    assert not parts["test"].inputs
    with pytest.raises(InputError, match="a.tsv: expected a column 'h', found .* Set data.split.column"):
        source.load_parts(keep="h")
    (folder / "b.tsv").write_text("sequence\ty\nGGGTA\t0\n")
    with pytest.raises(
        InputError, match="sequences of several lengths: .* found 4 in a.tsv, 5 in b.tsv. Set length and fit"
    ):
        source.load_parts()
    (folder / "a.tsv").write_text("sequence\ty\tg\nACGT\t1\t0\n")
    (folder / "b.tsv").write_text("sequence\ty\tz\nGGGT\t0\t1\n")
    rest = TableSource(paths=source.paths, label_columns=("*",))
    sentence = "tasks of 'train' and 'test': expected the same label columns, found g, z in one of them only"
    with pytest.raises(InputError, match=sentence):
        rest.load_parts()
    (folder / "b.tsv").write_text("sequence\tg\ty\nGGGT\t0\t1\n")
    with pytest.raises(InputError, match="expected the same label columns, found another order"):
        rest.load_parts()


def test_cut_off_gzip_is_refused(folder):
    whole = gzip.compress(
        ("sequence\ty\n" + "".join(f"{'ACGT'[i % 4]}{'ACGT'[i % 3]}G\t{i % 2}\n" for i in range(2000))).encode()
    )
    for end in range(0, len(whole), 50):
        (folder / "t.tsv.gz").write_bytes(whole[:end])
        with pytest.raises(InputError):
            load("t.tsv.gz")


def test_shuffled_rows_give_shuffled_data(folder):
    rng = random.Random(3)
    rows = [f"s{i}\t{''.join(rng.choices('ACGT', k=12))}\t{rng.choice(['0', '1', 'NA'])}\n" for i in range(500)]
    order = rng.sample(range(500), 500)
    (folder / "a.tsv").write_text("id\tsequence\ty\n" + "".join(rows))
    (folder / "b.tsv").write_text("id\tsequence\ty\n" + "".join(rows[i] for i in order))
    a, b = (load(f, id_column="id") for f in ("a.tsv", "b.tsv"))
    assert same(a.take(np.array(order)), b)


def test_four_spawned_workers_read_the_same(folder):
    (folder / "t.tsv").write_text(TABLE)
    source = TableSource(paths={"all": str(folder / "t.tsv")}, label_columns=("*",), **COLUMNS)
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(source.load_parts, range(4)))
    assert all(same(r["all"], source.load_parts()["all"]) for r in results)


def test_fifty_thousand_rows_of_a_hundred_tasks_in_seconds(folder):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (50_000, 100)).astype(np.uint8)
    cells = np.full((50_000, 200), ord("\t"), np.uint8)
    cells[:, ::2], cells[:, -1] = labels + 48, ord("\n")
    letters = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, (50_000, 101))]
    letters[:, -1] = ord("\n")
    (folder / "s.tsv").write_bytes(b"sequence\n" + letters.tobytes())
    (folder / "l.tsv").write_bytes("\t".join(f"t{i}" for i in range(100)).encode() + b"\n" + cells.tobytes())
    start = time.perf_counter()
    data = load("s.tsv", "l.tsv")
    assert time.perf_counter() - start < 20  # about half a second on two idle cores
    np.testing.assert_array_equal(data.targets, labels)


def test_published_tables(dragon_data):
    source = TableSource(
        paths={
            "train": str(dragon_data("deepbind_encode/ELK1_GM12878_ELK1_(1277-1)_Stanford_AC.seq.gz")),
            "test": str(dragon_data("deepbind_encode/ELK1_GM12878_ELK1_(1277-1)_Stanford_B.seq.gz")),
        },
        sequence_column="seq",
        id_column="EventID",
        label_columns=("Bound",),
    )
    parts = source.load_parts()
    assert (len(parts["train"]), len(parts["test"]), parts["test"].length) == (5084, 1000, 101)
    assert parts["train"].targets.min() == 1
    assert parts["test"].targets.mean() == 0.5
    assert parts["test"].ids[0] == "seq_00002_peak"
    labels = str(dragon_data("encode_dream_multitask/labels_train.tsv.gz"))
    data = load(
        dragon_data("encode_dream_multitask/sequences_train.tsv.gz"), labels,
        chrom_column="chrom", start_column="start", end_column="end",
    )  # fmt: skip
    assert data.targets.shape == (51_657, 109)
    assert abs(float(data.targets.mean()) - 0.109) < 0.0005
    assert data.ids[0] == "chr14:21560777-21560877"


def test_fasta_records_are_joined_to_a_label_table_by_name(tmp_path):
    sequences = {"p1": "ACGTACGT", "p2": "TTTTAAAA", "p3": "GGGGCCCA"}
    (tmp_path / "s.fa").write_text("".join(f">{n} peak\n{s[:4]}\n{s[4:]}\n" for n, s in sequences.items()))
    (tmp_path / "l.tsv").write_text("peak\tCTCF\tSPI1\np3\t1\t\np1\t0\t1\np2\t1\t0\n")
    paths = {"paths": {"all": str(tmp_path / "s.fa")}, "label_paths": {"all": str(tmp_path / "l.tsv")}}
    data = TableSource(**paths, id_column="peak", label_columns=("*",)).load_parts(0)["all"]
    assert data.ids.tolist() == ["p1", "p2", "p3"]
    assert decode_many(data.codes) == list(sequences.values())
    np.testing.assert_array_equal(data.targets, np.array([[0, 1], [1, 0], [1, np.nan]], np.float32))
    assert [t.name for t in data.tasks] == ["CTCF", "SPI1"]
    with pytest.raises(InputError, match="s.fa is FASTA: expected label_paths with the labels and id_column"):
        TableSource(**paths, label_columns=("*",)).load_parts(0)
    (tmp_path / "l.tsv").write_text("peak\tCTCF\np1\t0\np2\t1\n")
    with pytest.raises(InputError, match=r"1 of 3 sequences in .*s\.fa have no row in .*l\.tsv \(first: 'p3'\)"):
        TableSource(**paths, id_column="peak", label_columns=("*",)).load_parts(0)
    (tmp_path / "s.fa").write_text(">p1\nACGT\n>p1\nACGA\n")
    with pytest.raises(InputError, match="1 names occur twice in .*s.fa .first: 'p1'"):
        TableSource(**paths, id_column="peak", label_columns=("*",)).load_parts(0)
