"""`dragon check`: the numbers of a data set, worst tasks first, and nothing that was measured on test."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dragon_jax.data.builders import write_tfds
from dragon_jax.data.checkup import check_config, check_folder
from dragon_jax.data.dataset import Dataset, Regions, Task
from dragon_jax.data.prepare import prepare
from dragon_jax.errors import InputError
from dragon_jax.reports.checkup_page import checkup_page, write_checkup
from dragon_jax.reports.checkup_text import checkup_text

TASKS = (Task("often"), Task("rare <b>"), Task("depth", "count"), Task("never"), Task("level", "real"))


def make(n: int, seed: int, marker: float = 0.3) -> Dataset:
    rng = np.random.default_rng(seed)
    targets = np.stack(
        [rng.random(n) < marker, rng.random(n) < 0.02, rng.poisson(3, n), np.full(n, np.nan), rng.normal(7, 2, n)], 1
    ).astype(np.float32)
    targets[rng.random(n) < 0.25, 4] = np.nan
    start = np.arange(n) * 100
    return Dataset(
        codes=rng.integers(0, 4, (n, 60)).astype(np.uint8),
        targets=targets,
        tasks=TASKS,
        ids=np.array([f"w{i}" for i in range(n)]),
        regions=Regions(np.full(n, "chr1"), start, start + 60),
        inputs={"signal": np.zeros((n, 60), np.float32)},
        notes={"lower-case bases": 12},
    )


@pytest.fixture
def folder(tmp_path):
    parts = {"train": make(900, 0), "valid": make(200, 1), "test": make(170, 2, 0.7177)}
    return write_tfds(parts, tmp_path, name="small")


def test_numbers_and_order_of_tasks(folder):
    found = check_folder(folder)
    train = make(900, 0)
    assert [found.tasks[t].name for t in found.worst_first()] == ["never", "rare <b>", "often", "level", "depth"]
    assert found.parts["train"].positives is not None
    assert found.parts["train"].positives[0] == int(train.targets[:, 0].sum())
    assert found.parts["train"].measured[4] == int((~np.isnan(train.targets[:, 4])).sum())
    np.testing.assert_allclose(found.parts["train"].spread[4], np.nanstd(train.targets[:, 4]), rtol=1e-5)
    assert found.warning(3) == "no label in train; no label in valid; no label in test"
    assert "fewer than 100 of the rarer class" in found.warning(1) and found.warning(0) == ""
    assert found.parts["valid"].known == 200 * 60


def test_the_text_names_what_matters(folder):
    text = checkup_text(check_folder(folder))
    assert "1,270 sequences of 60 bp, 5 tasks (3 binary, 1 real, 1 count)" in text
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Tasks"))
    assert [line.split()[0] for line in lines[first + 2 : first + 7]] == ["never", "rare", "often", "level", "depth"]
    assert "2 of 5 tasks with a warning" in text
    assert "chr1:100-160" in text and "36 lower-case bases" in text
    assert "Not audited" in text


def test_labels_of_test_are_nowhere(folder):
    """Neither the share of positives of test nor a value of its rows: only how many were measured."""
    found = check_folder(folder)
    test = make(170, 2, 0.7177)
    assert found.parts["test"].positives is found.parts["test"].mean is found.parts["test"].spread is None
    assert [row["labels"] for row in found.parts["test"].examples] == ["not shown"] * 3
    positives = int(test.targets[:, 0].sum())
    for shown in (checkup_text(found, every=True), re.sub(r"<style>.*?</style>|<path[^>]*>", "", checkup_page(found))):
        assert not re.search(rf"\b{positives}\b", shown)
        for value in test.targets[:3, 4].tolist():
            assert f"{value:g}" not in shown or np.isnan(value)


def test_the_page_stands_alone_and_escapes(folder, tmp_path):
    path = write_checkup(check_folder(folder), tmp_path / "page.html")
    page = path.read_text()
    assert "rare &lt;b&gt;" in page and "rare <b>" not in page
    assert not re.search(r"(src|href)=\"(?!#)", page)
    for part in ("GC content", "Valid against train", "Missing labels", "Leak audit", "First rows"):
        assert part in page
    assert page.count('<svg class="chart"') == 3


def test_hundreds_of_tasks_stay_readable(tmp_path):
    n, tasks = 300, tuple(Task(f"cell{i}|factor{i}") for i in range(400))
    rng = np.random.default_rng(0)
    share = np.linspace(0.5, 0.01, 400)
    data = Dataset(
        codes=rng.integers(0, 4, (n, 20)).astype(np.uint8),
        targets=(rng.random((n, 400)) < share).astype(np.float32),
        tasks=tasks,
        ids=np.arange(n).astype(str),
    )
    found = check_folder(write_tfds({"train": data}, tmp_path, name="many"))
    text = checkup_text(found)
    assert len(text.splitlines()) < 45 and "and 385 more" in text
    assert len(checkup_text(found, every=True).splitlines()) > 400
    assert checkup_page(found).count("cell399|factor399") >= 1


def test_config_and_prepared_folder_agree(tmp_path):
    config = {
        "seed": 0,
        "data": {
            "source": {"name": "simulation", "positives": 300, "negatives": 300, "length": 50},
            "split": {"valid": 0.2, "test": 0.2, "duplicates": "drop"},
        },
    }
    mine = check_config(config, "here")
    theirs = check_folder(prepare(config, tmp_path, name="sim", say=lambda line: None).path)
    assert checkup_text(mine).splitlines()[1:] == checkup_text(theirs).splitlines()[1:]
    assert "No sequence of one split is a copy" in checkup_text(mine) and "duplicates=drop" in checkup_text(mine)
    assert theirs.settings["source.positives"] == 300


def test_leaks_and_wrong_places_are_refused(tmp_path):
    table = tmp_path / "t.tsv"
    rows = ["ACGTACGTACGT\t1\ta", "ACGTACGTACGA\t0\ta", "ACGTACGTACGT\t1\tb", "ACGTACGTACTT\t0\tb"]
    table.write_text("sequence\ty\tpart\n" + "\n".join(rows) + "\n")
    config = {
        "data": {
            "source": {"name": "table", "paths": {"all": str(table)}, "label_columns": ["y"]},
            "split": {"name": "column", "column": "part", "valid_values": ["b"]},
        }
    }
    with pytest.raises(InputError, match="1 sequence occurs in two splits"):
        check_config(config, "here")
    with pytest.raises(InputError, match="no data set at"):
        check_folder(tmp_path / "nowhere")
