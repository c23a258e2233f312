"""The report's section on many tasks: weights, effective number, conflict, single tasks, heat maps."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dragon_jax.data.dataset import Task
from dragon_jax.reports.multitask import clustered, heat_map, multitask_section, read_affinity
from dragon_jax.reports.read import read_run
from dragon_jax.training.diagnosis import write_affinity


def weighted(folder, names, weights, **more):
    """Rewrites the learning curve of a run so that its tasks carry weights."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows):
        for t, name in enumerate(names):
            row["per_task"][name] |= {"weight": weights(t, i)} if row["split"] == "train" else {"auroc": 0.5 + 0.01 * t}
        if row["split"] == "train":
            row |= more
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return read_run(folder)


def test_one_task_has_no_such_section(make_run):
    assert multitask_section(read_run(make_run())) == ""


@pytest.mark.parametrize("count", [3, 9])
def test_what_moved_is_drawn_and_what_did_not_is_left_out(make_run, count):
    names = [f"t{i}" for i in range(count)]
    folder = make_run(tasks=[Task(n) for n in names])
    run = weighted(
        folder, names, lambda t, i: 1.0 + 0.1 * (t - (count - 1) / 2) * i, effective_tasks=2.0, conflict=0.25
    )
    found = multitask_section(run)
    for caption in (
        "Weights of the tasks",
        "Effective number of tasks",
        "Share of pairs in conflict",
        "Tasks one by one",
    ):
        assert caption in found
    assert ("median of 9 tasks" in found) == (count == 9) and f"t{count - 1}" in found
    still = multitask_section(weighted(folder, names, lambda t, i: 1.0, effective_tasks=float(count), conflict=None))
    assert "Weights of the tasks" not in still and "Effective" not in still and "conflict" not in still


def test_a_heat_map_puts_like_tasks_together(make_run, tmp_path):
    rng = np.random.default_rng(0)
    group = np.array([0, 1, 0, 1, 1, 0, 0, 1])
    cosines = np.where(group[:, None] == group[None], 0.8, -0.3) + rng.normal(0, 0.01, (8, 8))
    cosines = (cosines + cosines.T) / 2
    np.fill_diagonal(cosines, 1)
    order = group[clustered(cosines)]
    assert (np.diff(order) != 0).sum() == 1
    names = [f"<{i}>" for i in range(8)]
    folder = make_run(tasks=[Task(n) for n in names])
    write_affinity(folder / "affinity.tsv", names, cosines, 400)
    found = multitask_section(weighted(folder, names, lambda t, i: 1.0))
    assert "gradients, step 400" in found and "&lt;3&gt;" in found and "<3>" not in found
    assert f"negative for {100 * 16 / 28:.0f} % of pairs" in found
    step, read, values = read_affinity(folder / "affinity.tsv") or ("", [], np.zeros(0))
    assert (step, read) == ("step 400", names)
    np.testing.assert_allclose(values, cosines, atol=1e-4)


def test_undefined_cosines_and_torn_files_are_left_out(tmp_path):
    cosines = np.array([[1, np.nan, 0.5], [np.nan, np.nan, np.nan], [0.5, np.nan, 1]])
    assert "Mean cosine of two tasks 0.50" in heat_map(("x", ["a", "b", "c"], cosines))
    (tmp_path / "affinity.tsv").write_text("step 3\ta\tb\na\t1.0")
    assert read_affinity(tmp_path / "affinity.tsv") is None
    (tmp_path / "affinity.tsv").write_text("")
    assert read_affinity(tmp_path / "affinity.tsv") is None and read_affinity(tmp_path / "none.tsv") is None
