"""The report of a run: one self-contained page, `report.html`, from what lies in the run directory."""

from __future__ import annotations

from pathlib import Path

from dragon_jax.files import atomic_write
from dragon_jax.reports import records
from dragon_jax.reports.detail import split_section
from dragon_jax.reports.history import curves
from dragon_jax.reports.multitask import multitask_section
from dragon_jax.reports.profiles import profile_section
from dragon_jax.reports.read import Run, read_run, section
from dragon_jax.reports.style import Section, anchor, page
from dragon_jax.reports.summary import header, summary
from dragon_jax.reports.svg import escape

_FIRST = {"test": 0, "valid": 1}


def write_report(run_dir: str | Path) -> Path:
    """Writes `report.html` into a run directory and returns its path. A run that goes on is shown as far as it is.

    Raises:
        InputError: not a run directory, or one that cannot be written.
        RunError: the disk is full; an older report stays as it was.
    """
    run = read_run(run_dir)
    path = run.path / "report.html"
    text = report(run)
    with atomic_write(path) as file:
        file.write(text)
    return path


def report(run: Run) -> str:
    """Returns the page as text."""
    splits = sorted(run.splits(), key=lambda s: _FIRST.get(s, 2))
    tasks = run.tasks()
    sections = [Section("curves", "Learning curves", curves(run))]
    if together := multitask_section(run):
        sections.append(Section("together", "Tasks together", together))
    sections += [Section(f"split-{anchor(s)}", s.capitalize(), split_section(run, s, tasks)) for s in splits]
    if profiles := profile_section(run, splits):
        sections.append(Section("profiles", "Profiles", profiles))
    sections += [
        Section("tasks", "Per-task table", records.task_tables(run, splits, tasks)),
        Section("model", "Model", records.model_summary(run)),
        Section("data", "Data", records.data_summary(run, tasks)),
        Section("provenance", "Provenance", records.provenance(run)),
        Section("config", "Config", records.config(run)),
    ]
    # Last, because reading the parts may have found problems to name.
    sections.insert(0, Section("summary", "Summary", summary(run, splits)))
    version = section(run.provenance, "versions").get("dragon_jax")
    by = f"dragon_jax {version}" if version else "dragon_jax"
    footer = f"Run by {escape(by)}; this page was made from the files of the run directory and loads nothing."
    return page(f"{run.name}: dragon_jax report", header(run, tasks), sections, footer)
