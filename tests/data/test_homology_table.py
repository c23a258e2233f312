"""Families of rows from a table: by id, by region, joined where a row is named twice, refused where it cannot be right."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from dragon_jax.data.dataset import Regions
from dragon_jax.data.homology_table import read_groups
from dragon_jax.errors import InputError

IDS = np.array(["a", "b", "c", "d", "e"])
PLACES = Regions(
    np.array(["chr1", "chr1", "chr2", "chr10", "chr1"]),
    np.array([100, 300, 100, 100, 350]),
    np.array([200, 400, 200, 200, 360]),
)


@pytest.fixture
def write(tmp_path):
    def make(text: str, name: str = "t.tsv") -> str:
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return str(path)

    return make


def families(groups: np.ndarray) -> list[str]:
    return sorted("".join(IDS[groups == g]) for g in set(groups.tolist()))


@pytest.mark.parametrize("name", ["t.tsv", "t.csv", "t.tsv.gz"])
def test_groups_by_id(write, name):
    text = "id\tgroup\nc\tx\na\tx\nb\ty\nzz\ty\n"
    text = text.replace("\t", ",") if ".csv" in name else text
    assert families(read_groups(write(text, name), IDS)) == ["ac", "b", "d", "e"]


def test_a_row_with_two_groups_joins_them(write):
    path = write("group\tid\tscore\nx\ta\t1\nx\tb\t2\ny\tb\t3\ny\tc\t4\nz\td\t5\n")
    assert families(read_groups(path, IDS)) == ["abc", "d", "e"]


def test_rows_of_one_name_go_together(write):
    ids = np.array(["a", "b", "a", "c", "b"])
    groups = read_groups(write("id\tgroup\na\tx\nc\tx\n"), ids)
    assert groups[0] == groups[2] == groups[3]
    assert len(set(groups.tolist())) == 3


def test_groups_by_region_take_what_shares_a_base(write):
    text = "region\tgroup\nchr1:199-301\tx\nchr2:200-300\tx\nchr10:0-101\tx\nchr1:355-356\ty\n"
    groups = read_groups(write(text), IDS, PLACES)
    assert groups[0] == groups[1] == groups[3]  # through x
    assert groups[1] == groups[4]  # b holds e's place: both lie in y
    assert groups[2] not in groups[[0, 1, 3, 4]]  # chr2:200-300 only touches c


def test_ids_and_regions_in_one_table(write):
    text = "id\tregion\tgroup\na\t\tx\n\tchr2:150-160\tx\nd\tchr1:350-351\ty\n"
    assert families(read_groups(write(text), IDS, PLACES)) == ["ac", "bde"]
    assert families(read_groups(write(text), IDS)) == ["a", "b", "c", "d", "e"]


def test_regions_agree_with_trying_all_pairs(write):
    rng = np.random.default_rng(0)
    n = 200
    start = rng.integers(0, 5000, n)
    regions = Regions(rng.choice(["chr1", "chr2"], n), start, start + rng.integers(1, 60, n))
    chrom, begin = rng.choice(["chr1", "chr2"], 30), rng.integers(0, 5000, 30)
    end = begin + rng.integers(1, 200, 30)
    lines = [f"{c}:{s}-{e}\tg{i}\n" for i, (c, s, e) in enumerate(zip(chrom, begin, end, strict=True))]
    groups = read_groups(write("region\tgroup\n" + "".join(lines)), np.arange(n).astype(str), regions)
    label = np.arange(n)
    for i in range(30):
        inside = (regions.chrom == chrom[i]) & (regions.start < end[i]) & (regions.end > begin[i])
        touched = np.isin(label, label[inside])
        if inside.any():
            label[touched] = label[inside][0]
    np.testing.assert_array_equal(groups[:, None] == groups, label[:, None] == label)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id\tcluster\na\tx\n", r"expected a column 'group', found 'id', 'cluster'"),
        ("name\tgroup\na\tx\n", r"expected a column 'id' or 'region' beside 'group', found 'name', 'group'"),
        (
            "id\tgroup\na\t\nb\tx\nc\t\n",
            r"row 1 \(line 2\), column 'group': expected a name, found an empty cell; also line 4",
        ),
        ("region\tgroup\nchr1\tx\n", "column 'region': expected chrom:start-end, found 'chr1'"),
        ("region\tgroup\nchr1:9-9\tx\n", "expected chrom:start-end, found 'chr1:9-9'"),
        ("id\tgroup\nq\tx\nr\tx\n", r"names none of the 5 rows: expected such as 'a', found 'q', 'r'. Check the table"),
        ("region\tgroup\nchr1:1-2\tx\n", r"names none of the 5 rows \(the data have no regions\)"),
        ("", "file is empty"),
    ],
)
def test_tables_that_cannot_be_right(write, text, sentence):
    with pytest.raises(InputError, match=sentence):
        read_groups(write(text), IDS)
    with pytest.raises(InputError, match="no file"):
        read_groups("absent.tsv", IDS)
