"""Windows by number: where they lie, and what happens at the ends of contigs."""

import numpy as np
import pytest

from dragon_jax.data.grid import Grid
from dragon_jax.data.windows import Windows, apply_edge, around, touching
from dragon_jax.errors import InputError
from dragon_jax.genome.intervals import Intervals

CONTIGS = {"chr1": 100, "chr2": 35, "chr3": 9}


def spell(windows):
    return [
        f"{c}:{s}-{s + windows.length}" for c, s in zip(windows.names().tolist(), windows.start.tolist(), strict=True)
    ]


def test_tiles_lie_inside_and_end_at_the_end():
    windows = Grid(CONTIGS, 10, 30).take(slice(None))
    assert spell(windows) == ["chr1:0-10", "chr1:30-40", "chr1:60-70", "chr1:90-100", "chr2:0-10"]
    assert len(Grid(CONTIGS, 9, 1).take(slice(None))) == 92 + 27 + 1


@pytest.mark.parametrize("length", [10, 11])
def test_windows_around_positions_have_them_in_the_middle_once(length):
    names, positions = np.array(["chr2", "chr1", "chr1", "chrM"]), np.array([20, 50, 50, 3])
    windows = around(CONTIGS, names, positions, length)
    assert windows.names().tolist() == ["chr1", "chr2"]
    assert (windows.start + length // 2).tolist() == [50, 20] == windows.centres().tolist()


def off_the_end():
    return Windows(CONTIGS, np.array([0, 0, 1, 1], np.int32), np.array([-1, 90, 26, 0], np.int64), 10)


def test_edge_drop_counts_and_warns_above_one_percent():
    kept, notes = apply_edge(off_the_end(), "drop", "g.fa")
    assert spell(kept) == ["chr1:90-100", "chr2:0-10"]
    ((said, count),) = notes.items()
    assert count == 2 and "wrong assembly? largest end 36 on chr2 (35 bases in g.fa)" in said


def test_edge_pad_and_shift():
    kept, notes = apply_edge(off_the_end(), "pad", "g.fa")
    assert spell(kept) == spell(off_the_end())
    assert list(notes.values()) == [2]
    moved, _ = apply_edge(off_the_end(), "shift", "g.fa")
    assert spell(moved) == ["chr1:0-10", "chr1:90-100", "chr2:25-35", "chr2:0-10"]


def test_windows_moved_onto_each_other_become_one():
    windows = Windows(CONTIGS, np.zeros(2, np.int32), np.array([-5, -3], np.int64), 10)
    assert spell(apply_edge(windows, "shift", "g.fa")[0]) == ["chr1:0-10"]


def test_edge_error_drop_of_most_and_shift_on_a_short_contig_are_refused():
    with pytest.raises(InputError, match=r"2 of 4 windows fall off their contig; largest end 36 on chr2"):
        apply_edge(off_the_end(), "error", "g.fa")
    with pytest.raises(InputError, match=r"3 of 3 windows fall off .*at most half of them. Wrong assembly\?"):
        apply_edge(Windows(CONTIGS, np.zeros(3, np.int32), np.array([95, 96, 97], np.int64), 10), "drop", "g.fa")
    with pytest.raises(InputError, match="contig chr3 of g.fa has 9 bases: expected at least the 10 of a window"):
        apply_edge(Windows(CONTIGS, np.array([2], np.int32), np.array([0], np.int64), 10), "shift", "g.fa")


@pytest.mark.parametrize("margin", [0, 3])
def test_touching_equals_the_loop(margin):
    rng = np.random.default_rng(margin)
    windows = Grid({"a": 300, "b": 200}, 20, 7).take(slice(None))
    start = rng.integers(0, 180, 12)
    names = rng.choice(["a", "b"], 12)
    intervals = Intervals(names, start.astype(np.int64), (start + rng.integers(1, 15, 12)).astype(np.int64))
    expected = [
        any(
            n == c and a < s + 20 + margin and b > s - margin
            for n, a, b in zip(intervals.chrom, intervals.start, intervals.end, strict=True)
        )
        for c, s in zip(windows.names(), windows.start, strict=True)
    ]
    assert touching(windows, intervals, margin).tolist() == expected
    assert any(expected) and not all(expected)
