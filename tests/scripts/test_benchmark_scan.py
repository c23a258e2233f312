"""The scan benchmark compares equal results, and stops where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def benchmark_scan(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_scan

    return benchmark_scan


def test_without_data_motifs_have_the_widths_of_the_collection(benchmark_scan, monkeypatch, tmp_path):
    monkeypatch.setenv("DRAGON_DATA", str(tmp_path))
    source, found = benchmark_scan.motifs()
    assert source == "random motifs" and len(found) == 1443
    assert {len(m) for m in found.values()} == set(benchmark_scan.WIDTHS)


def test_our_hits_are_those_of_moods(benchmark_scan, tmp_path):
    pytest.importorskip("MOODS.scan")
    rng = np.random.default_rng(3)
    motifs = {f"m{i}": rng.dirichlet([0.3] * 4, w) for i, w in enumerate((7, 11, 14, 19))}
    texts = benchmark_scan.sequences(40)
    ours, moods = (side(motifs, texts, str(tmp_path)) for side in (benchmark_scan.Ours, benchmark_scan.Moods))
    assert set(ours.prepare()) == {"thresholds_s", "first_scan_s", "second_scan_s"}
    moods.prepare(ours.thresholds())
    mine, theirs = ours.hits(), moods.hits()
    assert len(mine) > 5
    found = benchmark_scan.agree(mine, theirs, mine)
    assert found["hits"] == len(mine) and found["difference"] < 1e-9


def test_different_hits_or_scores_end_the_benchmark(benchmark_scan):
    one, other = {(0, 1, 2, "+"): 5.0}, {(0, 1, 2, "-"): 5.0}
    with pytest.raises(SystemExit, match="2 hits are ours or MOODS' alone"):
        benchmark_scan.agree(one, other, one)
    with pytest.raises(SystemExit, match="hits or scores differ"):
        benchmark_scan.agree(one, {(0, 1, 2, "+"): 5.1}, one)
    with pytest.raises(SystemExit, match="hits or scores differ"):
        benchmark_scan.agree(one, one, {**one, (0, 9, 2, "-"): 4.0})
