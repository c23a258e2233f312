"""The benchmark of memory measures each stage in a process of its own."""

import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def index(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_index

    return benchmark_index


def test_stages_are_measured_and_written(index, tmp_path):
    assert index.main(["--windows", "2000", "--stages", "read", "open", "--out", str(tmp_path / "index")]) == 0
    read, opened = json.loads((tmp_path / "index.json").read_text())["rows"]
    assert read["stage"] == "read" and 10 < read["peak_mb"] < 2000 and 0 < read["anonymous_mb"] <= read["peak_mb"]
    assert set(opened["rows"]) == {"train", "valid", "test"}
    assert 1900 < sum(opened["rows"].values()) < 2200 and opened["seconds"] > 0
    page = (tmp_path / "index.md").read_text()
    assert "| 2,000 | open |" in page and page.startswith("`scripts/benchmark_index.py --windows 2000")


def test_prepare_writes_all_rows(index, tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "cache"))
    index.write_inputs(tmp_path, 800)
    assert index.stage("prepare", tmp_path)["peak_mb"] > 0
    assert list((tmp_path / "prepared").glob("index_*/1.0.0/*-train.array_record-00000"))
