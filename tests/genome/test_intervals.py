"""Intervals keep their rows together; what is written as BED is read back as it was."""

from __future__ import annotations

import io

import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.genome.bed import read_bed
from dragon_jax.genome.intervals import Intervals, concatenate, text_array, write_bed


def some(n: int = 4, **columns) -> Intervals:
    start = np.arange(n) * 10
    return Intervals(text_array([f"chr{i}" for i in range(n)]), start, start + np.arange(n) + 2, **columns)


def same(a: Intervals, b: Intervals) -> bool:
    x, y = a.columns(), b.columns()
    return x.keys() == y.keys() and all(
        np.array_equal(x[k], y[k], equal_nan=k in ("score", "signal")) and x[k].shape == y[k].shape for k in x
    )


def test_midpoints_and_centres():
    x = some()
    assert x.midpoints().tolist() == [1, 11, 22, 32]  # start + length // 2
    assert x.centres().tolist() == x.midpoints().tolist()
    assert some(summit=np.array([1, 2, 3, 4])).centres().tolist() == [1, 2, 3, 4]


def test_take_moves_every_column():
    x = some(name=text_array(list("abcd")), score=np.array([1, 2, np.nan, 4]), notes={"odd": 1})
    y = x.take(np.array([3, 0]))
    assert y.name is not None and y.score is not None
    assert (y.chrom.tolist(), y.start.tolist(), y.end.tolist()) == (["chr3", "chr0"], [30, 0], [35, 2])
    assert (y.name.tolist(), y.score.tolist(), y.notes) == (["d", "a"], [4, 1], {"odd": 1})
    assert len(x.take(x.start > 10)) == 2


def test_concatenate_keeps_what_all_parts_have_and_adds_notes():
    a = some(name=text_array(["a", "bb", "c", "d"]), score=np.ones(4), notes={"odd": 1})
    b = some(2, name=text_array(["long name", ""]), notes={"odd": 2, "even": 1})
    both = concatenate([a, b])
    assert set(both.columns()) == {"chrom", "start", "end", "name"} and len(both) == 6
    assert both.name is not None and both.name.tolist() == ["a", "bb", "c", "d", "long name", ""]
    assert both.notes == {"odd": 3, "even": 1}
    assert len(concatenate([])) == 0


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"score": np.ones(3)}, r"score: expected one value for each of 4 starts, found \(3,\)"),
        ({"summit": np.ones(4)}, "summit: expected int64, found float64"),
    ],
)
def test_columns_that_do_not_fit(columns, sentence):
    with pytest.raises(InputError, match=sentence):
        some(**columns)


def test_a_few_long_texts_do_not_widen_every_row():
    texts = ["a" * 100_000, *["b"] * 1000]
    assert text_array(texts).dtype == object and text_array(texts).tolist() == texts
    assert text_array(["a", "bcd"]).dtype == "<U3" and text_array([]).shape == (0,)


@pytest.mark.parametrize(
    "columns", [(), ("name",), ("name", "score"), ("score",), ("strand",), ("name", "score", "strand")]
)
def test_written_and_read_again(tmp_path, columns):
    rng = np.random.default_rng(0)
    n = 300
    start = rng.integers(0, 10**9, n)
    every = {
        "name": text_array(["NA", "peak 1", "ä", *(f"p{i}" for i in range(n - 3))]),
        "score": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n) * 10.0 ** rng.integers(-20, 20, n)),
        "strand": rng.choice(np.array(["+", "-", "."]), n),
    }
    x = Intervals(
        text_array([f"chr{i}" for i in rng.integers(0, 5, n)]),
        start,
        start + rng.integers(1, 1000, n),
        **{k: every[k] for k in columns},
    )
    write_bed(tmp_path / "x.bed", x)
    y = read_bed(tmp_path / "x.bed")
    assert same(x, Intervals(**{k: v for k, v in y.columns().items() if k in x.columns()}))
    handle = io.StringIO()
    write_bed(handle, x)
    assert handle.getvalue() == (tmp_path / "x.bed").read_text()
    assert len(handle.getvalue().splitlines()[0].split("\t")) == max(
        [3, *({"name": 4, "score": 5, "strand": 6}[k] for k in columns)]
    )


@pytest.mark.parametrize(
    ("chrom", "name", "sentence"),
    [
        ("chr1", "a\tb", r"name of interval 2: expected text that fits in a field of BED, found 'a\\tb'. Rename it"),
        ("", "a", "chrom of interval 2: expected text that fits in a field of BED, found ''. Rename it"),
        ("#1", "a", "chrom of interval 2: .* found '#1'"),
        ("chr 1", "a", "chrom of interval 2: .* found 'chr 1'"),
        ("track", "a", "chrom of interval 2: .* found 'track'"),
    ],
)
def test_what_no_reader_would_take_is_not_written(tmp_path, chrom, name, sentence):
    x = Intervals(text_array(["chr1", chrom]), np.array([1, 2]), np.array([2, 3]), name=text_array(["x", name]))
    with pytest.raises(InputError, match=sentence):
        write_bed(tmp_path / "x.bed", x)
    assert list(tmp_path.iterdir()) == []
