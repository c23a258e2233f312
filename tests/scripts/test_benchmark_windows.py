"""The benchmark of windows times readers that give the same bases."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_windows

    for name, value in {"CONTIGS": 3, "CONTIG_BASES": 6_000, "WINDOWS": 50, "LENGTH": 100}.items():
        monkeypatch.setattr(benchmark_windows, name, value)
    return benchmark_windows


def test_readers_agree_on_a_random_genome(windows, tmp_path):
    for reader in ("pyfaidx", "pysam"):
        pytest.importorskip(reader)
    found = list(windows.pairs(tmp_path))
    assert [pair.name for pair in found] == [f"50 windows x 100 bp (loop over {r})" for r in ("pyfaidx", "pysam")]
    for pair in found:
        ours = pair.ours()
        assert ours.shape == (50, 100)
        assert set(np.unique(ours)) == {0, 1, 2, 3, 4}
        np.testing.assert_array_equal(pair.theirs(), ours)
        assert min(pair.opening_s) > 0


def test_an_own_genome_is_copied(windows, tmp_path):
    source = tmp_path / "own" / "g.fa.gz"
    source.parent.mkdir()
    source.write_bytes(gzip.compress(b">a\n" + b"ACGTN\n" * 40 + b">short\nACG\n"))
    (tmp_path / "work").mkdir()
    for pair in windows.pairs(tmp_path / "work", source):
        np.testing.assert_array_equal(pair.theirs(), pair.ours())
    assert [p.name for p in source.parent.iterdir()] == ["g.fa.gz"]


def test_a_reader_that_is_missing_is_said(windows, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(windows.importlib.util, "find_spec", lambda name: None)
    assert list(windows.pairs(tmp_path)) == []
    assert "pyfaidx is not installed, its row is left out" in capsys.readouterr().err


def test_the_command_prints_its_rows(windows, capsys):
    pytest.importorskip("pysam")
    assert windows.main(["--rounds=2"]) == 0
    assert "windows per second" in capsys.readouterr().out
