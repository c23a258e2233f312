"""Runs side by side: true values, paired intervals, and a refusal where the examples are not the same."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest

from dragon_jax import metrics
from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.evaluation.bootstrap import paired_difference
from dragon_jax.reports.compare import compare_runs
from dragon_jax.reports.pairing import mean_difference, pair
from dragon_jax.reports.read import read_run
from tests.reports.helpers import NASTY, Reader

THREE = (Task("CTCF"), Task("REST"), Task("signal", "real"))


def change_npz(folder, split="valid", **changes):
    path = folder / "predictions" / f"{split}.npz"
    parts = dict(np.load(path))
    np.savez(path, **(parts | {k: f(parts[k]) for k, f in changes.items()}))


def results(folder, split="valid"):
    return json.loads((folder / "results.json").read_text())[split]


def test_values_intervals_and_differences_are_those_of_the_results(make_run):
    a, b = make_run("a", THREE), make_run("b", THREE, skill=2.5, seed=1)
    found = compare_runs([a, b], bootstrap=100)
    assert list(found.metrics) == ["auroc", "auprc", "pearson", "spearman", "r2"] and found.names == ("a", "b")
    for metric, m in found.metrics.items():
        kept = [t for t, task in enumerate(THREE) if task.kind in metrics.METRICS[metric].kinds]
        for r, folder in enumerate((a, b)):
            per_task = results(folder)["per_task"]
            for t in kept:
                assert m.values[r, t] == per_task[THREE[t].name][metric]
                assert m.ends[r, t].tolist() == per_task[THREE[t].name][f"{metric}_ci"]
            assert m.means[r] == pytest.approx(results(folder)["mean"][metric])
        assert m.averaged == len(kept) and np.isnan(np.delete(m.values, kept, 1)).all()
        for t in kept:
            d = m.differences[1][t]
            assert d.value == pytest.approx(m.values[1, t] - m.values[0, t]) and d.low < d.value < d.high
        assert m.mean_differences[1].low < m.mean_differences[1].value < m.mean_differences[1].high
    assert found.metrics["auroc"].verdicts(1) == (2, 0)


def test_interval_of_a_task_is_that_of_the_evaluation(make_run):
    a, b = make_run("a", bootstrap=0), make_run("b", seed=1, bootstrap=0)
    found = compare_runs([a, b], metrics=["auroc"], bootstrap=80, seed=5)
    parts = [np.load(f / "predictions" / "valid.npz") for f in (b, a)]
    scores = [p["predictions"][:, 0] for p in parts]
    expected = paired_difference(*scores, parts[0]["targets"][:, 0], "auroc", n=80, seed=5)
    d = found.metrics["auroc"].differences[1][0]
    assert d == pytest.approx(expected[:3])
    assert found.metrics["auroc"].mean_differences[1] == d  # one task: its mean is itself


def test_mean_difference_agrees_with_plain_resampling(make_run):
    tasks = tuple(Task(f"t{i}") for i in range(3))
    a, b = make_run("a", tasks, n=200), make_run("b", tasks, n=200, seed=1, skill=2.0)
    both = pair(read_run(a), read_run(b), "valid", [t.name for t in tasks])
    assert both is not None
    got = mean_difference(both, "auroc", n=400, seed=0, level=0.9)
    rng = np.random.default_rng(1)

    def mean(scores, rows):
        return np.mean([float(metrics.auroc(scores[rows, t], both.targets[rows, t])) for t in range(3)])

    rows = [rng.integers(0, 200, 200) for _ in range(400)]
    plain = [mean(both.other, r) - mean(both.first, r) for r in rows]
    everything = np.arange(200)
    assert got.value == pytest.approx(mean(both.other, everything) - mean(both.first, everything))
    width = np.std(plain)
    np.testing.assert_allclose([got.low, got.high], np.quantile(plain, [0.05, 0.95]), atol=0.35 * width)


def test_a_run_does_not_differ_from_itself(make_run):
    a = make_run("a", THREE)
    found = compare_runs([a, a], bootstrap=30)
    assert found.names == ("a (1)", "a (2)") and not found.config
    for m in found.metrics.values():
        assert m.mean_differences[1] == (0.0, 0.0, 0.0) and m.verdicts(1) == (0, 0)


def test_other_order_of_the_same_rows_is_put_right(make_run):
    a, b = make_run("a", THREE), make_run("b", THREE, seed=1)
    expected = compare_runs([a, b], bootstrap=40)
    order = np.random.default_rng(0).permutation(600)
    change_npz(b, predictions=lambda x: x[order], targets=lambda x: x[order], ids=lambda x: x[order])
    found = compare_runs([a, b], bootstrap=40)
    for metric, m in found.metrics.items():
        np.testing.assert_array_equal(m.differences[1], expected.metrics[metric].differences[1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"ids": lambda x: np.char.add(x, "x")},
            "600 of 600 ids of the first are not in the second, such as chr10:119000",
        ),
        ({"targets": lambda x: np.where(np.arange(len(x))[:, None] == 5, 1 - x, x)}, "other labels of task CTCF"),
        ({k: lambda x: x[:-1] for k in ("ids", "targets", "predictions", "raw")}, "600 and 599 examples"),
    ],
)
def test_other_examples_are_refused_unless_asked_for(make_run, change, reason):
    a, b = make_run("a"), make_run("b", seed=1)
    change_npz(b, **change)
    with pytest.raises(InputError, match=f"evaluated on different data of split 'valid': {re.escape(reason)}") as e:
        compare_runs([a, b])
    assert "\n" not in str(e.value) and "--allow-different-data" in str(e.value)
    found = compare_runs([a, b], allow_different_data=True)
    assert np.isnan(found.metrics["auroc"].mean_differences[1].low)
    assert any(reason in n for n in found.notes) and reason in found.text()


def test_repeated_ids_in_another_order_are_refused(make_run):
    a, b = make_run("a"), make_run("b", seed=1)
    for folder, shift in ((a, 0), (b, 1)):
        change_npz(folder, ids=lambda x, shift=shift: np.roll(np.repeat(x[:300], 2), shift))
    with pytest.raises(InputError, match="repeated ids leave open which row is which"):
        compare_runs([a, b])


def test_without_predictions_fingerprints_decide(make_run):
    a, b = make_run("a", predictions=False), make_run("b", seed=1, predictions=False)
    other = make_run("c", predictions=False, data_seed=8)
    found = compare_runs([a, b])
    assert "checked by fingerprints" in found.notes[0] and np.isnan(found.metrics["auroc"].mean_differences[1].low)
    with pytest.raises(InputError, match="fingerprints 00070007... and 00080008..."):
        compare_runs([a, other])


def test_without_fingerprints_counts_decide(make_run):
    a, b = (make_run(n, predictions=False, data_seed=s, splits=("valid", "test")) for n, s in (("a", 7), ("b", 8)))
    with pytest.raises(InputError, match=r"\d+ and \d+ positives of task CTCF"):
        compare_runs([a, b], split="test")
    assert "counts only" in compare_runs([a, a], split="test").notes[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "train"}, "a has no results on split 'train': expected an entry in results.json, found valid, test"),
        ({"metrics": ["auROC"]}, "metric 'auROC' is not in all results; did you mean auroc?"),
        ({"tasks": ["CTFC"]}, "task 'CTFC' is not in all runs; did you mean CTCF?"),
        ({"bootstrap": -1}, "bootstrap: expected n >= 0"),
        ({"level": 1.5}, "level of bootstrap intervals: expected 0 < level < 1"),
    ],
)
def test_what_is_not_there_is_named(make_run, arguments, message):
    a, b = make_run("a"), make_run("b")
    with pytest.raises(InputError, match=re.escape(message)):
        compare_runs([a, b], **arguments)


def test_a_model_imported_without_data_is_not_to_be_evaluated_but_imported_again(make_run):
    a, b = make_run("a"), make_run("b", splits=())
    with pytest.raises(InputError, match="found none. Run dragon evaluate .*b --split=valid"):
        compare_runs([a, b])
    for name, change in (("config.json", {"data": None}), ("provenance.json", {"reason": "imported"})):
        parts = {k: v for k, v in (json.loads((b / name).read_text()) | change).items() if v is not None}
        (b / name).write_text(json.dumps(parts))
    with pytest.raises(InputError, match="imported without. Import it again with --config=CONFIG") as error:
        compare_runs([a, b])
    assert "dragon evaluate" not in str(error.value)


def test_fewer_than_two_runs_other_tasks_and_other_kinds(make_run):
    a, b, c = make_run("a"), make_run("b", (Task("REST"),)), make_run("c", (Task("CTCF", "real"),))
    with pytest.raises(InputError, match="at least two run directories, found 1"):
        compare_runs([a])
    with pytest.raises(InputError, match="no task in common: CTCF in the first, REST in the second"):
        compare_runs([a, b])
    with pytest.raises(InputError, match="task 'CTCF' is binary in the first run and real in another"):
        compare_runs([a, c])


def test_tasks_that_not_all_runs_have_are_left_out_and_named(make_run):
    a, b = make_run("a", (Task("CTCF"), Task("REST"))), make_run("b", (Task("REST"), Task("SRF")))
    found = compare_runs([a, b], allow_different_data=True)
    assert list(found.tasks) == ["REST"] and found.notes[0] == "2 tasks are not in all runs and left out: CTCF, SRF."
    assert found.metrics["auroc"].means[0] == results(a)["per_task"]["REST"]["auroc"]


def test_mean_is_over_tasks_that_every_run_has_a_value_for(make_run):
    def blind(split, targets):
        targets[:, 1] = 0.0

    tasks = (Task("a"), Task("b"), Task("c"))
    found = compare_runs([make_run("x", tasks, change=blind), make_run("y", tasks, change=blind, seed=1)], bootstrap=20)
    m = found.metrics["auroc"]
    assert m.averaged == 2 and np.isfinite(m.means).all() and np.isfinite(m.mean_ends).all()
    assert np.isnan(m.values[:, 1]).all() and "mean over 2 tasks" in found.text()
    some = compare_runs([found.runs[0].path, found.runs[1].path], tasks=["c", "a"], bootstrap=20)
    assert list(some.tasks) == ["c", "a"] and some.metrics["auroc"].means == pytest.approx(m.means)


def test_config_fields_that_differ(make_run):
    a = make_run("a")
    b = make_run("b", seed=1, config={"model": {"name": "deepbind", "dropout": 0.2, "filters": [16]}})
    found = compare_runs([a, b])
    assert found.config == [
        ("seed", ["0", "1"]),
        ("model.name", ['"convnet"', '"deepbind"']),
        ("model.filters", ["[320, 480, 960]", "[16]"]),
    ]


def test_text_is_aligned_and_says_what_it_shows(make_run):
    found = compare_runs([make_run("a", THREE), make_run("longer name", THREE, seed=1)], bootstrap=20)
    lines = str(found).splitlines()
    at = lines.index("auROC, mean over 2 tasks")
    table = lines[at + 1 : at + 4]
    assert table[0].split() == ["run", "mean", "difference", "better", "on", "worse", "on"]
    assert len({line.index("]") for line in table[1:]}) == 1  # intervals end in one column
    value = f"{found.metrics['auroc'].means[1]:.4f}"
    assert table[2].startswith("longer name  " + value) and max(map(len, lines)) < 140
    assert "auROC by task" in lines and any(line.startswith("REST ") for line in lines)


def test_of_many_tasks_the_text_shows_those_that_differ_most(make_run):
    tasks = tuple(Task(f"t{i}") for i in range(50))
    runs = [make_run("a", tasks, n=150), make_run("b", tasks, n=150, seed=1)]
    found = compare_runs(runs, metrics=["auroc"], bootstrap=0)
    lines = found.text().splitlines()
    at = lines.index("auROC by task, the 20 of 50 that differ most")
    shown = [line.split()[0] for line in lines[at + 2 : at + 22]]
    m = found.metrics["auroc"]
    order = np.argsort(-np.abs(m.values[1] - m.values[0]), kind="stable")
    assert shown == [tasks[t].name for t in order[:20]]


def test_tsv_holds_everything_in_full_precision(make_run):
    found = compare_runs(
        [make_run("a", THREE), make_run("b", THREE, seed=1), make_run("c", THREE, seed=2)], bootstrap=20
    )
    rows = list(csv.DictReader(found.tsv().splitlines(), delimiter="\t"))
    assert len(rows) == 5 * 3 * (1 + 3)
    row = next(r for r in rows if r["metric"] == "auprc" and r["task"] == "REST" and r["run"] == "c")
    m = found.metrics["auprc"]
    assert float(row["value"]) == m.values[2, 1] and float(row["difference"]) == m.differences[2][1].value
    assert [float(row[k]) for k in ("difference_low", "difference_high")] == list(m.differences[2][1][1:])
    first = next(r for r in rows if r["run"] == "a" and r["over"] == "mean")
    assert first["difference"] == "" and float(first["value"]) == found.metrics["auroc"].means[0]


def test_page_is_whole_escaped_and_written_beside_the_table(make_run, tmp_path):
    tasks = (Task(NASTY), Task("CTCF"), Task("signal", "real"))
    runs = [make_run("a", tasks), make_run("b<i>", tasks, seed=1), make_run("c", tasks, seed=2, predictions=False)]
    found = compare_runs(runs, bootstrap=20)
    table, page = found.write(tmp_path / "new" / "folder")
    assert table.read_text() == found.tsv() and page.name == "comparison.html"
    got = Reader(page.read_text())
    assert not any(tag == "i" for tag, _ in got.elements) and "b<i>" in got.text
    assert got.rows["tasks-auroc"][1][0] == NASTY and NASTY in table.read_text()
    assert (
        f"{found.metrics['auroc'].means[1]:.3f}" in got.text
        and "No saved predictions of c: the difference of c has no interval" in got.text
    )
    assert not re.search(r"https?://", page.read_text())


def test_page_of_one_task_overlays_the_curves(make_run):
    found = compare_runs([make_run("a"), make_run("b", seed=1)], bootstrap=10)
    got = Reader(found.html())
    area = results(found.runs[1].path)["per_task"]["CTCF"]["auroc"]
    assert "ROC: CTCF" in got.text and f"b {area:.3f}" in got.text


def test_loss_can_be_compared_without_an_interval(make_run):
    found = compare_runs([make_run("a"), make_run("b", seed=1)], metrics=["loss"])
    m = found.metrics["loss"]
    assert not m.higher and m.mean_differences[1].value == pytest.approx(m.means[1] - m.means[0])
    assert np.isnan(m.mean_differences[1].low) and "loss" in found.text()
