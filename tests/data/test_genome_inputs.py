"""Inputs of windows of a genome: what stands for a missing value, factors, annotations of cores, rows of tables, refusals."""

from typing import Any

import numpy as np
import pytest

from dragon_jax.data.genome_inputs import GenomeInputs, InputConfig, read_row
from dragon_jax.data.windows import Windows
from dragon_jax.errors import InputError

CONTIGS = {"chrI": 100, "chrII": 80, "chrIII": 50}


def windows(*places, length=10):
    names = list(CONTIGS)
    chrom = np.array([names.index(c) for c, _ in places], np.int32)
    return Windows(CONTIGS, chrom, np.array([s for _, s in places], np.int64), length)


def made(core=10, places=(("chrI", 0),), **fields):
    inputs = GenomeInputs(InputConfig(genome="genome.fa", **fields), CONTIGS, core)
    return inputs, inputs(windows(*places))


@pytest.fixture
def write(tmp_path):
    def file(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return file


def test_what_no_file_measured_is_0(write):
    a = write("a.bedgraph", "chrI\t2\t4\t1.5\nchrI\t4\t5\tNaN\nchrII\t0\t80\t2\n")
    places = (("chrI", 0), ("chrI", -3), ("chrI", 95), ("chrIII", 5), ("chrII", 75))
    _, found = made(places=places, profiles={"signal": (a,)})
    expected = np.zeros((5, 10))
    expected[0, 2:4] = expected[1, 5:7] = 1.5
    expected[4, :5] = 2  # the contig ends there
    np.testing.assert_array_equal(found["signal"][..., 0], expected)


def test_factors_come_before_the_logarithm_and_may_differ_by_column(write):
    files = tuple(write(f"{n}.bg", f"chrI\t0\t10\t{v}\n") for n, v in (("a", 3), ("b", 5)))
    for scale, values in (((0.5,), (1.5, 2.5)), ((0.5, 2.0), (1.5, 10)), (None, (3, 5))):
        fields: dict[str, Any] = {} if scale is None else {"profile_scale": {"s": scale}}
        inputs, found = made(profiles={"s": files}, **fields)
        np.testing.assert_allclose(found["s"][0], np.tile(values, (10, 1)))
        logs = made(profiles={"s": files}, profile_log1p=True, **fields)[1]["s"]
        np.testing.assert_allclose(logs, np.log1p(found["s"]), rtol=1e-6)
    assert inputs.specs["s"].columns == ("a", "b")


def test_annotations_look_at_the_core_alone(write):
    bed = write("x.bed", "chr1\t18\t20\nchrM\t0\t5\n")  # names in another style; a contig that the genome lacks
    places = tuple(("chrI", start) for start in (10, 12, 13, 14, 15, 16, 17))
    inputs, found = made(core=4, places=places, contigs="roman", annotations={"x": bed}, metadata={"b": 2.0, "a": 1.0})
    assert inputs.specs["metadata"].columns == ("a", "b", "x")  # cores start 3 bases in: [13, 17), [15, 19), ...
    np.testing.assert_array_equal(found["metadata"], [[1, 2, x] for x in (0, 1, 1, 1, 1, 1, 0)])
    inputs, again = made(
        core=4, places=places, contigs="roman", annotations={"x": bed}, metadata={"b": 2.0, "a": 1.0}, metadata_columns=("x", "b", "a")
    )  # fmt: skip
    np.testing.assert_array_equal(again["metadata"], found["metadata"][:, [2, 1, 0]])
    assert inputs.specs["metadata"].columns == ("x", "b", "a")


def test_rows_of_a_table_by_their_name(write):
    path = write("cells.csv", "cell,g2,g1\nNA,1,2\n1,-3.5,4e2\n")
    assert read_row(path, "NA") == {"g2": 1, "g1": 2}
    inputs, found = made(metadata_table=path, metadata_row="1")
    assert inputs.specs["metadata"].columns == ("g2", "g1")
    np.testing.assert_array_equal(found["metadata"], [[-3.5, 400]])
    with pytest.raises(InputError, match="'g1' of .*cells.csv comes again in the config"):
        made(metadata_table=path, metadata_row="1", metadata={"g1": 0.0})
    with pytest.raises(InputError, match=r"one row called '2' in its first column .* found none \(rows: NA, 1\)"):
        read_row(path, "2")
    with pytest.raises(InputError, match="found two or more"):
        read_row(write("twice.tsv", "cell\ta\nx\t1\nx\t2\n"), "x")
    with pytest.raises(InputError, match=r"line 2\), column 'a': expected a number, found 'NaN'"):
        read_row(write("nan.tsv", "cell\ta\nx\tNaN\n"), "x")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"profiles": {"codes": ("a.bw",)}}, "profiles: codes is a name of the batch itself"),
        ({"profiles": {"metadata": ("a.bw",)}, "metadata": {"x": 1.0}}, "metadata is a name of the batch itself"),
        ({"profiles": {"s": ()}}, "profiles.s: expected at least one file"),
        ({"profiles": {"s": ("x/a.bw", "y/a.bw")}}, "profile_columns.s: columns of an input: expected different names"),
        ({"profiles": {"s": ("a_fwd.bw",)}}, "track 'a_fwd': expected its partner"),
        ({"profiles": {"s": ("a.bw",)}, "profile_columns": {"t": ("a",)}}, "'t' is none of profiles"),
        (
            {"profiles": {"s": ("a.bw",)}, "profile_columns": {"s": ("a", "b")}},
            "expected 1, one for each file, found 2",
        ),
        ({"profiles": {"s": ("a.bw",)}, "profile_scale": {"s": (0.0,)}}, "profile_scale"),
        ({"metadata": {"x": float("nan")}}, "metadata.x: expected a finite number"),
        ({"metadata": {"x": 1.0}, "annotations": {"x": "x.bed"}}, "found x in both"),
        ({"metadata_table": "x.tsv"}, "metadata_table, metadata_row: expected both or none"),
    ],
)
def test_settings_that_cannot_work(fields, message):
    with pytest.raises(ValueError, match=message):
        InputConfig(genome="genome.fa", **fields)


def test_files_that_cannot_serve(write):
    with pytest.raises(InputError, match="metadata_columns: expected the columns of 'metadata' in some order"):
        made(metadata={"x": 1.0}, metadata_columns=("x", "y"))
    with pytest.raises(InputError, match=r"a.bg, window chrI:0-10: expected more than -1 for log\(1 \+ x\), found -4"):
        made(profiles={"s": (write("a.bg", "chrI\t0\t10\t-2\n"),)}, profile_scale={"s": (2.0,)}, profile_log1p=True)
    with pytest.raises(InputError, match="chrI"):
        made(profiles={"s": (write("long.bg", "chrI\t0\t101\t1\n"),)})
    with pytest.raises(InputError, match="no name in common"):
        made(profiles={"s": (write("other.bg", "1\t0\t10\t1\n"),)})
