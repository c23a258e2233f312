"""The report of whole, partial and damaged runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.reports import page as page_module
from dragon_jax.reports.history import best_evaluation
from dragon_jax.reports.page import write_report
from dragon_jax.reports.read import read_run
from dragon_jax.training.early import EarlyStop
from tests.reports.helpers import NASTY, Reader


def read(folder: Path) -> Reader:
    path = write_report(folder)
    assert path == folder / "report.html" and not list(folder.glob(".*tmp*"))
    return Reader(path.read_text(encoding="utf-8"))


def headings(found: Reader) -> set[str]:
    return {a["id"] for tag, a in found.elements if tag == "section" and a.get("id")}  # type: ignore[misc]


def test_one_task_has_every_part_and_the_numbers_of_the_results(make_run):
    folder = make_run()
    found = read(folder)
    parts = {"summary", "curves", "split-test", "split-valid", "tasks", "model", "data", "provenance", "config"}
    assert headings(found) == parts
    links = {a["href"] for tag, a in found.elements if tag == "a"}
    assert links == {f"#{part}" for part in parts}
    results = json.loads((folder / "results.json").read_text())
    for split in ("valid", "test"):
        task = results[split]["per_task"]["CTCF"]
        row = dict(zip(found.rows[f"table-{split}-binary"][0], found.rows[f"table-{split}-binary"][1], strict=True))
        for name, key in (("auROC", "auroc"), ("auPRC", "auprc"), ("recall at 10% FDR", "recall_at_fdr10")):
            low, high = task[f"{key}_ci"]
            assert row[name].split(" ", 1) == [f"{task[key]:.3f}", f"[{low:.3f}, {high:.3f}]"]
        assert row["measured"] == "600" and row["missing"] == "0" and row["positive"] == f"{task['n_positive']}"
        rates = dict(zip(found.rows[f"rates-{split}"][0], found.rows[f"rates-{split}"][1], strict=True))
        assert [int(rates[k]) for k in ("TP", "FP", "TN", "FN")] == [
            task["confusion"][k] for k in ("tp", "fp", "tn", "fn")
        ]
        assert rates["chosen on"] == "valid"
    for caption in ("ROC", "Precision and recall", "Calibration", "Scores by class", "Loss", "auROC (monitored)"):
        assert caption in found.text
    assert "chosen on valid (largest F1) and applied here unchanged" in found.text
    assert "The test split was opened once, 2025-11-20T10:00:00+00:00." in found.text
    assert "--config=configs/x.py '--workdir=runs/run a'" in found.text
    assert f"prevalence {results['test']['per_task']['CTCF']['prevalence']:.3f}" in found.text


def test_page_loads_nothing_and_has_unique_ids(make_run):
    folder = make_run(tasks=(Task("a"), Task("b", "real"), Task("c", "count")))
    found = read(folder)
    for _, attributes in found.elements:
        assert not {"src", "xlink:href", "srcset", "action", "onclick"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"https?://|url\(|@import", (folder / "report.html").read_text())
    ids = [a["id"] for _, a in found.elements if a.get("id")]
    assert len(ids) == len(set(ids))


def test_names_are_text_wherever_they_appear(make_run):
    tasks = [Task(NASTY), Task(NASTY + "2", "real"), *(Task(f"t{i}{NASTY}") for i in range(7))]
    change = {"model": {"name": NASTY}, NASTY: NASTY}
    folder = make_run("run<title><b>&", tasks, config=change)
    (folder / "model.txt").write_text(f"layer {NASTY}\nsecond line\n")
    found = read(folder)
    assert not any(tag == "b" and "</b>" in str(a) for tag, a in found.elements)
    assert sum(tag == "script" for tag, _ in found.elements) == 1
    assert found.rows["table-valid-binary"][1][0] == NASTY
    assert f"layer {NASTY} second line" in found.text and "run<title><b>&" in found.text
    titles = [w for w in found.words if NASTY in w]
    assert len(titles) > 20


def test_many_tasks_are_summed_up_with_worst_best_and_a_table(make_run):
    tasks = [Task(f"TF {i}") for i in range(109)]
    folder = make_run(tasks=tasks, n=400, bootstrap=10)
    found = read(folder)
    results = json.loads((folder / "results.json").read_text())["valid"]
    assert len(found.rows["table-valid-binary"]) == 110
    order = sorted(results["per_task"], key=lambda t: results["per_task"][t]["auroc"])
    for title, names in (("Worst", order[:3]), ("Best", order[-3:])):
        for name in names:
            assert f"{title}: {name}, auROC {results['per_task'][name]['auroc']:.3f}" in found.text
    assert f"{results['mean']['auroc']:.3f}" in found.text and "mean of 109 tasks" in found.text
    for caption in ("ROC over tasks", "auPRC against prevalence", "auROC of every task"):
        assert caption in found.text
    assert any(tag == "input" and a.get("data-for") == "table-valid-binary" for tag, a in found.elements)
    assert (folder / "report.html").stat().st_size < 2_000_000


def test_more_than_a_few_tasks_of_each_kind(make_run):
    tasks = [Task(f"{kind} {i}", kind) for kind in ("binary", "real", "count") for i in range(3)]
    found = read(make_run(tasks=tasks, n=300))
    assert {f"table-valid-{kind}" for kind in ("binary", "real", "count")} <= set(found.rows)
    assert "3 real tasks" in found.text and "Pearson r of every task" in found.text


@pytest.mark.parametrize("n", [40, 3000])
def test_real_and_count_tasks_show_predicted_against_measured(make_run, n):
    tasks = (Task("signal", "real"), Task("reads", "count"))
    folder = make_run(tasks=tasks, n=n)
    found = read(folder)
    result = json.loads((folder / "results.json").read_text())["valid"]["per_task"]["signal"]
    assert (
        f"Pearson r {result['pearson']:.3f}; Spearman rho {result['spearman']:.3f}; R² {result['r2']:.3f}."
        in found.text
    )
    assert "predicted count + 1" in found.text and "predicted value" in found.text
    hexagons = [a for tag, a in found.elements if (a.get("class") or "").startswith("hex")]
    assert bool(hexagons) == (n > 1500)


def test_undefined_cases_are_said_in_words(make_run):
    def holes(split: str, targets: np.ndarray) -> None:
        targets[:, 0] = np.nan
        targets[:, 1] = 0.0
        targets[:, 2] = 1.0

    tasks = [Task("nothing"), Task("all negative"), Task("all positive"), Task("fine"), Task("constant", "real")]
    found = read(make_run(tasks=tasks, change=holes))
    assert "no measured example" in found.text
    assert "one class only (all negative)" in found.text and "one class only (all positive)" in found.text
    assert "No curves: one class only (all negative)." in found.text
    assert "3 tasks have no value on valid" in found.text and "nothing, all negative, all positive" in found.text
    row = found.rows["table-valid-binary"][1]
    assert row[0] == "nothing" and row[1] == "–" and "0" not in row[1]
    hints = [a.get("title") for tag, a in found.elements if tag == "td" and a.get("data-v") == ""]
    assert "no measured example" in hints and "one class only (all negative)" in hints


def test_all_tasks_undefined_among_many(make_run):
    found = read(make_run(tasks=[Task(f"t{i}") for i in range(9)], change=lambda split, y: y.fill(np.nan), n=50))
    assert "9 tasks have no value on valid" in found.text


def test_interrupted_run_is_reported_as_far_as_it_is(make_run):
    folder = make_run(state="running", splits=(), evaluations=3)
    with open(folder / "metrics.jsonl", "a") as out:
        out.write('{"step": 800, "split": "val')
    found = read(folder)
    assert "still going on, or was killed at step 500" in found.text
    assert "metrics.jsonl: line 7 is torn" in found.text
    assert "No evaluation yet" in found.text and "The test split was not opened." in found.text
    assert "Best step by mean valid auROC: 600" in found.text and "1 task (1 binary)" in found.text


def test_a_torn_line_in_the_middle_costs_no_other(make_run):
    folder = make_run(state="running", splits=(), evaluations=3)
    whole = (folder / "metrics.jsonl").read_bytes()
    assert "Best step by mean valid auROC: 600" in read(folder).text
    (folder / "metrics.jsonl").write_bytes(b'{"step": 10, \xff\n' + whole)
    found = read(folder)
    assert "metrics.jsonl: line 1 is torn" in found.text
    assert "Best step by mean valid auROC: 600" in found.text and "No learning curve" not in found.text


def test_run_that_has_only_just_begun(tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    found = read(folder)
    for words in ("No learning curve", "No per-task results", "No model summary", "No provenance", "No config"):
        assert words in found.text


def test_failed_run_says_why(make_run):
    folder = make_run(state="failed")
    status = {"state": "failed", "step": 20, "reason": "loss is not finite at step 20"}
    (folder / "status.json").write_text(json.dumps(status))
    assert "This run failed at step 20. Reason: loss is not finite at step 20." in read(folder).text


def test_without_predictions_there_are_numbers_but_no_curves(make_run):
    found = read(make_run(predictions=False))
    assert "No predictions of test are saved" in found.text and "Calibration" not in found.text
    assert "called positive" in found.text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("results.json", '{"valid": {"n": 3', "results.json is not a complete JSON object"),
        ("results.json", "[1, 2]", "results.json is not a complete JSON object"),
        ("config.json", "\x00", "config.json is not a complete JSON object"),
        ("predictions/valid.npz", "PK nonsense", "predictions/valid.npz could not be read"),
        (
            "provenance.json",
            '{"data": 3, "versions": [], "command": 4, "test_opened": 5}',
            "The test split was opened once, 5",
        ),
        ("status.json", "17", "status.json is not a complete JSON object"),
        (
            "results.json",
            '{"valid": {"per_task": {"CTCF": {"auroc": "x", "confusion": 3}}, "mean": 4}}',
            "1 task has no value",
        ),
    ],
)
def test_damaged_parts_are_named_and_the_rest_is_shown(make_run, name, content, words):
    folder = make_run()
    (folder / name).write_text(content)
    found = read(folder)
    assert words in found.text and "Learning curves" in found.text


def test_predictions_whose_arrays_do_not_fit_or_hold_objects_are_refused(make_run):
    folder = make_run()
    parts = dict(np.load(folder / "predictions" / "valid.npz"))
    np.savez(folder / "predictions" / "valid.npz", **(parts | {"targets": parts["targets"][:-1]}))
    assert "predictions/valid.npz: its arrays do not fit together" in read(folder).text
    np.savez(folder / "predictions" / "valid.npz", **(parts | {"ids": parts["ids"].astype(object)}))
    assert "predictions/valid.npz could not be read (ValueError)" in read(folder).text


def test_test_split_opened_several_times_is_said(make_run):
    folder = make_run()
    record = json.loads((folder / "provenance.json").read_text()) | {"test_opened": ["Monday", "Tuesday"]}
    (folder / "provenance.json").write_text(json.dumps(record))
    assert "opened 2 times (Monday, Tuesday)" in read(folder).text


def test_not_a_run_directory(tmp_path):
    with pytest.raises(InputError, match="no run directory .*absent: expected a folder made by dragon train"):
        write_report(tmp_path / "absent")
    with pytest.raises(InputError, match="is not a run directory: expected config.json or results.json"):
        write_report(tmp_path)


def test_old_report_survives_when_making_the_new_one_fails(make_run, monkeypatch):
    folder = make_run(n=100)
    before = write_report(folder).read_bytes()

    def fail(run):
        raise RuntimeError("broken")

    monkeypatch.setattr(page_module, "report", fail)
    with pytest.raises(RuntimeError):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before
    assert sorted(p.name for p in folder.glob("*report*")) == ["report.html"]


@pytest.mark.parametrize(
    ("metric", "mode", "delta"), [("auroc", "auto", 0.0), ("loss", "auto", 0.05), ("odd", "min", 0.0)]
)
def test_best_step_is_the_one_early_stopping_keeps(make_run, metric, mode, delta):
    values = np.random.default_rng(3).normal(size=30)
    values[4] = np.nan
    train = {"monitor": metric, "mode": mode, "min_delta": delta}
    folder = make_run(config={"train": train}, splits=())
    rule = EarlyStop(metric, metric == "auroc", patience=0, min_delta=delta)
    with open(folder / "metrics.jsonl", "w") as out:
        for i, value in enumerate(values):
            shown = None if np.isnan(value) else value
            row = {
                "step": 10 * i,
                "split": "valid",
                "loss": shown if metric == "loss" else 1.0,
                "mean": {metric: shown},
            }
            out.write(json.dumps(row) + "\n")
            rule.update(10 * i, float(value))
    best = best_evaluation(read_run(folder))
    assert best is not None and (best.step, best.value) == (rule.best_step, rule.best_value)
