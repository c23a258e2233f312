"""The hit table and its BED file."""

import io

import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.genome.intervals import Intervals
from dragon_jax.motifs.hits import Hits


@pytest.fixture
def hits():
    return Hits(
        sequence=np.array([0, 0, 2]),
        start=np.array([3, 5, 0]),
        end=np.array([7, 9, 6]),
        strand=np.array(["+", "-", "-"]),
        motif=np.array([1, 1, 0]),
        score=np.array([8.25, 7.5, 12.0]),
        pvalue=np.array([1e-4, 5e-5, 0.0]),
        names=("GATA1", "CTCF"),
    )


def test_bed_of_named_sequences(hits):
    file = io.StringIO()
    hits.write_bed(file, ["s1", "s2", "s3"])
    assert file.getvalue().splitlines() == [
        "s1\t3\t7\tCTCF\t40\t+",
        "s1\t5\t9\tCTCF\t43.01\t-",
        "s3\t0\t6\tGATA1\t3000\t-",
    ]
    file = io.StringIO()
    hits.write_bed(file, ["s1", "s2", "s3"], score="score")
    assert [line.split("\t")[4] for line in file.getvalue().splitlines()] == ["8.25", "7.5", "12"]


def test_bed_on_the_genome_turns_round_where_the_region_was_read_backwards(hits, tmp_path):
    regions = Intervals(
        np.array(["chr1", "chr2", "chr3"]), np.array([100, 0, 50]), np.array([120, 9, 70]), np.array([".", "+", "-"])
    )
    hits.write_bed(tmp_path / "hits.bed", regions=regions)
    rows = [line.split("\t") for line in (tmp_path / "hits.bed").read_text().splitlines()]
    assert [(r[0], r[1], r[2], r[5]) for r in rows] == [
        ("chr1", "103", "107", "+"),
        ("chr1", "105", "109", "-"),
        ("chr3", "64", "70", "+"),
    ]


def test_counts_and_rows(hits):
    assert hits.counts(4).tolist() == [[0, 2], [0, 0], [1, 0], [0, 0]]
    some = hits.take(hits.motif == 1)
    assert len(some) == 2 and some.names == hits.names and some.score.tolist() == [8.25, 7.5]


def test_names_or_regions_but_not_both_and_enough_of_them(hits):
    with pytest.raises(InputError, match="one of both"):
        hits.intervals()
    with pytest.raises(InputError, match="sequence number 3: expected as many"):
        hits.intervals(["s1", "s2"])


def test_no_hits_make_an_empty_file(hits, tmp_path):
    hits.take(np.zeros(0, np.int64)).write_bed(tmp_path / "none.bed", [])
    assert (tmp_path / "none.bed").read_text() == ""
