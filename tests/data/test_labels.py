"""Labels of windows against loops over all peaks, and what is ambiguous or was not measured."""

import numpy as np
import pytest

from dragon_jax.data.grid import Grid
from dragon_jax.data.labels import LabelRule, PeakLabels, SignalLabels
from dragon_jax.data.tracks import Track
from dragon_jax.errors import InputError
from dragon_jax.genome.intervals import Intervals
from dragon_jax.genome.signal import read_bedgraph

CONTIGS = {"a": 1000, "b": 700, "c": 400}


def peaks(seed=0, n=25):
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 650, n).astype(np.int64)
    width = rng.integers(1, 60, n)
    summit = start + rng.integers(0, width)
    score = rng.random(n) * 100
    return Intervals(rng.choice(["a", "b"], n), start, start + width, summit=summit, score=score)


def label(found, rule, windows, core, kind="binary"):
    return PeakLabels(Track("t", "t.bed", kind), found, CONTIGS, rule)(windows, core)


def rows(windows):
    return zip(windows.names().tolist(), windows.start.tolist(), strict=True)


def centres_between(found, chrom, low, high):
    return [i for i in range(len(found)) if found.chrom[i] == chrom and low <= found.summit[i] < high]


@pytest.mark.parametrize("margin", [0, 15])
def test_centre_rule_equals_the_loop(margin):
    windows, found = Grid(CONTIGS, 51, 13).take(slice(None)), peaks()
    result = label(found, LabelRule(margin=margin, absent="zero"), windows, 20)
    for value, (chrom, start) in zip(result, rows(windows), strict=True):
        low = start + 25 - 10
        if centres_between(found, chrom, low, low + 20):
            assert value == 1
        elif centres_between(found, chrom, low - margin, low + 20 + margin):
            assert np.isnan(value)
        else:
            assert value == 0
    assert (result == 1).any() and (result == 0).any() and np.isnan(result).any() == bool(margin)


def test_summit_rule_goes_by_the_distance_of_the_centres():
    windows, found = Grid(CONTIGS, 50, 10).take(slice(None)), peaks(1)
    result = label(found, LabelRule(rule="summit", distance=12, absent="zero"), windows, 50)
    for value, (chrom, start) in zip(result, rows(windows), strict=True):
        assert value == bool(centres_between(found, chrom, start + 25 - 12, start + 25 + 13))
    assert 0 < result.mean() < 1


def test_fraction_rule_gives_the_largest_value_of_the_peaks_in_the_core():
    """Whether or not a peak's centre lies there too: the core may be well inside a wide peak."""
    windows, found = Grid(CONTIGS, 40, 9).take(slice(None)), peaks(2)
    rule = LabelRule(rule="fraction", fraction=0.5, ambiguous=0.1, absent="zero")
    result = label(found, rule, windows, 30, "real")
    inside = 0
    for value, (chrom, start) in zip(result, rows(windows), strict=True):
        low, high = start + 20 - 15, start + 20 + 15
        sharing = [
            i for i in range(len(found)) if found.chrom[i] == chrom and found.start[i] < high and found.end[i] > low
        ]
        covered = np.zeros(high - low, bool)
        for i in sharing:
            covered[max(found.start[i] - low, 0) : max(found.end[i] - low, 0)] = True
        if covered.mean() >= 0.5:
            assert value == pytest.approx(max(found.score[i] for i in sharing), rel=1e-6)
            inside += not centres_between(found, chrom, low, high)
        else:
            assert np.isnan(value) if covered.mean() > 0.1 else value == 0
    assert inside  # some of them hold no centre


def test_fraction_rule_equals_counting_covered_bases():
    windows, found = Grid(CONTIGS, 40, 9).take(slice(None)), peaks(2)
    result = label(found, LabelRule(rule="fraction", fraction=0.5, ambiguous=0.1, absent="zero"), windows, 30)
    seen = set()
    for value, (chrom, start) in zip(result, rows(windows), strict=True):
        core = range(start + 20 - 15, start + 20 + 15)
        share = np.mean(
            [any(found.chrom[i] == chrom and found.start[i] <= p < found.end[i] for i in range(25)) for p in core]
        )
        expected = 1.0 if share >= 0.5 else (np.nan if share > 0.1 else 0.0)
        np.testing.assert_equal(value, np.float32(expected))
        seen.add(str(value))
    assert seen == {"0.0", "1.0", "nan"}


@pytest.mark.parametrize("log1p", [False, True])
def test_real_labels_are_the_largest_score_within_reach(log1p):
    windows, found = Grid(CONTIGS, 50, 10).take(slice(None)), peaks(3)
    result = label(found, LabelRule(absent="zero", log1p=log1p), windows, 50, "real")
    for value, (chrom, start) in zip(result, rows(windows), strict=True):
        inside = centres_between(found, chrom, start, start + 50)
        expected = max([found.score[i] for i in inside], default=0.0)
        np.testing.assert_allclose(value, np.log1p(expected) if log1p else expected, rtol=1e-6)


def test_a_contig_that_the_file_never_names_was_not_measured():
    windows = Grid(CONTIGS, 50, 50).take(slice(None))
    result = label(peaks(), LabelRule(), windows, 50)
    absent = windows.names() == "c"
    assert np.isnan(result[absent]).all() and not np.isnan(result[~absent]).any()
    assert (label(peaks(), LabelRule(absent="zero"), windows, 50)[absent] == 0).all()


def test_no_peak_crosses_from_one_contig_to_the_next():
    found = Intervals(np.array(["b"]), np.array([0], np.int64), np.array([1], np.int64))
    windows = Grid(CONTIGS, 50, 50).take(slice(None))
    rule = LabelRule(rule="summit", distance=5000, absent="zero")
    assert (label(found, rule, windows, 50) == (windows.names() == "b")).all()


def test_real_labels_without_a_score_are_refused():
    bare = Intervals(np.array(["a"]), np.array([5], np.int64), np.array([9], np.int64))
    with pytest.raises(
        InputError, match=r"t.bed has no column for the score of its peaks, which task 't' of kind real needs"
    ):
        label(bare, LabelRule(), Grid(CONTIGS, 50, 50).take(slice(None)), 50, "real")


@pytest.mark.parametrize("summary", ["mean", "max", "sum"])
def test_signal_labels_summarise_the_core(tmp_path, summary):
    values = np.random.default_rng(0).integers(0, 9, 1000).astype(float)
    path = tmp_path / "x.bedgraph"
    path.write_text("".join(f"a\t{i}\t{i + 1}\t{v:g}\n" for i, v in enumerate(values)))
    windows = Grid(CONTIGS, 60, 37).take(slice(None))
    signal = read_bedgraph(path)
    result = SignalLabels(Track("t", str(path), "real"), signal, LabelRule(summary=summary))(windows, 20)
    for value, (chrom, start) in zip(result, rows(windows), strict=True):
        if chrom == "a":
            expected = getattr(np, summary)(values[start + 20 : start + 40])
            np.testing.assert_allclose(value, expected, rtol=1e-6)
        else:
            assert np.isnan(value)  # the file does not name b and c


@pytest.mark.parametrize("value", [-1, -1.5])
def test_logarithms_that_are_no_number_are_refused(tmp_path, value):
    path = tmp_path / "x.bedgraph"
    path.write_text(f"a\t0\t500\t-0.5\na\t500\t600\t{value}\n")
    windows = Grid({"a": 1000}, 60, 100).take(slice(None))
    labels = SignalLabels(Track("t", str(path), "real"), read_bedgraph(path), LabelRule(log1p=True))
    assert labels(windows.take(slice(0, 3)), 20) == pytest.approx(np.log(0.5))
    with pytest.raises(
        InputError, match=rf"x.bedgraph, a:520-540: expected more than -1 for log.* found {value}. Set data."
    ):
        labels(windows, 20)
    found = peaks()
    found.score[7] = value
    place = f"{found.chrom[7]}:{found.start[7]}-{found.end[7]}"
    with pytest.raises(InputError, match=rf"t.bed, {place}: expected more than -1 for log.* found {value}"):
        label(found, LabelRule(log1p=True), windows, 20, "real")
    label(found, LabelRule(log1p=True), windows, 20)  # no value is read of a binary task


def test_negative_counts_are_refused(tmp_path):
    path = tmp_path / "x.bedgraph"
    path.write_text("a\t0\t1000\t-1\n")
    labels = SignalLabels(Track("t", str(path), "count"), read_bedgraph(path), LabelRule())
    with pytest.raises(
        InputError, match=r"x.bedgraph, a:20-40: expected counts, found -1. Set the kind of task 't' to real"
    ):
        labels(Grid({"a": 1000}, 60, 100).take(slice(None)), 20)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rule": "fraction", "margin": 5}, "margin: has no meaning for rule='fraction'"),
        ({"ambiguous": 0.2}, "ambiguous: has a meaning for rule='fraction' only"),
        ({"fraction": 0.0}, "fraction: expected 0 < x"),
    ],
)
def test_rules_that_mean_nothing_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        LabelRule(**fields)
