"""Many tasks in one network: weights over time, effective number, conflict, curves of single tasks, which tasks are alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dragon_jax.reports.history import best_evaluation, monitor
from dragon_jax.reports.read import Run, number, per_task
from dragon_jax.reports.style import figure, grid, note
from dragon_jax.reports.svg import HEIGHT, WIDTH, Panel, escape, span
from dragon_jax.reports.tables import label

FEW = 5  # tasks that get a line each
NAMED = 60  # tasks whose names fit beside a heat map
_STYLES = ("s1", "s2", "s3", "s4", "s5")
Affinity = tuple[str, list[str], np.ndarray]


def multitask_section(run: Run) -> str:
    """Returns the section as HTML, or an empty string for a run of one task or without learning curve."""
    train, valid = run.history("train"), run.history("valid")
    names = list(per_task(train[-1])) if train else []
    if len(names) < 2:
        return ""
    steps = [row["step"] for row in train]
    weights = np.array([[number(per_task(row).get(n, {}).get("weight")) for n in names] for row in train])
    figures = []
    if np.isfinite(weights).all() and np.ptp(weights) > 1e-6:
        figures.append(_many(steps, weights, names, "mean weight since the last evaluation", "Weights of the tasks"))
    # 1 decimal suffices to tell that nothing happens: equal weights need no curve
    numbers = [number(row.get("effective_tasks")) for row in train]
    if any(math.isfinite(x) and x < len(names) - 0.05 for x in numbers):
        figures.append(_single(steps, numbers, "effective number of tasks", (0.0, len(names) * 1.05)))
    conflicts = [number(row.get("conflict")) for row in train]
    if any(map(math.isfinite, conflicts)):
        figures.append(_single(steps, conflicts, "share of pairs in conflict", (-0.02, 1.02)))
    name, _ = monitor(run)
    scores = np.array([[number(per_task(row).get(n, {}).get(name)) for n in names] for row in valid])
    if scores.size and np.isfinite(scores).any():
        best = best_evaluation(run)
        at = [row["step"] for row in valid]
        figures.append(_many(at, scores, names, f"valid {label(name)}", "Tasks one by one", best and best.step))
    maps = [heat_map(found) for found in _affinities(run.path)]
    return grid(figures) + grid(maps)


def _many(
    steps: Sequence, values: np.ndarray, names: Sequence[str], axis: str, title: str, best: int | None = None
) -> str:
    """A line each for few tasks; for many the median, two bands, and the lowest and highest task by name."""
    panel = Panel("training step", axis, span(steps), span(values), description=title)
    legend, remark = [], ""
    if len(names) <= FEW:
        for i, task in enumerate(names):
            panel.line(steps, values[:, i], _STYLES[i])
            legend.append((_STYLES[i], task))
    else:
        some = np.isfinite(values).any(1)
        at, seen = np.asarray(steps)[some], values[some]
        for low, high in ((5, 95), (25, 75)):
            edges = np.nanpercentile(seen, [low, high], axis=1)
            panel.band(at, edges[0], edges[1], "s1")
        panel.line(at, np.nanmedian(seen, axis=1), "s1")
        last = np.where(np.isfinite(seen[-1]), seen[-1], np.nan)
        lowest, highest = int(np.nanargmin(last)), int(np.nanargmax(last))
        panel.line(steps, values[:, lowest], "s2").line(steps, values[:, highest], "s3")
        legend = [("s1", f"median of {len(names)} tasks"), ("band s1", "50 % and 90 % of the tasks")]
        legend += [("s3", f"{names[highest]}, highest at the end"), ("s2", f"{names[lowest]}, lowest")]
    if best is not None:
        panel.vertical(float(best))
        legend.append(("muted dash", f"best step {best:,}"))
    return figure(title, panel.render(), legend, remark)


def _single(steps: Sequence, values: Sequence[float], axis: str, limits: tuple[float, float]) -> str:
    panel = Panel("training step", axis, span(steps), limits, description=axis)
    panel.line(steps, values, "s1").points(steps, values, "s1", radius=2.2)
    remarks = {
        "effective number of tasks": "(sum of weights)\u00b2 / sum of squares, of the mean weights since the last evaluation.",
        "share of pairs in conflict": "Pairs of tasks whose gradients by the representation have a negative cosine.",
    }
    return figure(axis.capitalize(), panel.render(), remark=remarks[axis])


def _affinities(path: Path) -> list[Affinity]:
    """What the run wrote on how alike its tasks are: caption, names, cosines."""
    result = []
    for file, caption in (
        ("affinity.tsv", "Cosine of the tasks' gradients"),
        ("head_affinity.tsv", "Cosine of the tasks' head weights"),
    ):
        found = read_affinity(path / file)
        if found is not None:
            step, names, values = found
            result.append((f"{caption}, {step}", names, values))
    return result


def read_affinity(path: Path) -> Affinity | None:
    """Returns step, task names and cosines `[T, T]` of a table that training wrote, or None where it is missing or torn."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        step, *names = lines[0].split("\t")
        values = np.array([[float(x) for x in line.split("\t")[1:]] for line in lines[1:]])
    except (OSError, ValueError, IndexError):
        return None
    return (step, names, values) if values.shape == (len(names), len(names)) and names else None


def clustered(cosines: np.ndarray) -> np.ndarray:
    """Returns the order of the tasks in which like ones lie together: average linkage of `1 - cosine`, leaves ordered best."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(cosines) < 3:
        return np.arange(len(cosines))
    distance = 1 - np.nan_to_num((cosines + cosines.T) / 2)
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(np.maximum(distance, 0), checks=False), "average", optimal_ordering=True))


def heat_map(found: Affinity) -> str:
    """Returns the cosines as a picture, tasks in the order of their clusters; blue is alike, orange against each other."""
    caption, names, values = found
    order = clustered(values)
    values, names = values[np.ix_(order, order)], [names[i] for i in order]
    n = len(names)
    named = n <= NAMED
    left = min(130.0, 10 + 6.8 * max(map(len, names))) if named else 8.0
    side = min(WIDTH - left - 8, HEIGHT - 16.0 if not named else WIDTH - left - 8)
    cell = side / n
    cells = []
    for i in range(n):
        for j in range(n):
            value = values[i, j]
            if not math.isfinite(value) or abs(value) < 0.005:
                continue
            style = "s1" if value > 0 else "s2"
            place = f'x="{left + j * cell:.2f}" y="{8 + i * cell:.2f}" width="{cell:.2f}" height="{cell:.2f}"'
            body = f"<title>{escape(names[i])}, {escape(names[j])}: {value:.2f}</title>" if n <= 40 else ""
            cells.append(f'<rect class="hex {style}" fill-opacity="{min(abs(value), 1):.2f}" {place}>{body}</rect>')
    size = min(11.0, cell)
    texts = [
        f'<text x="{left - 4:.1f}" y="{8 + (i + 0.5) * cell + size * 0.35:.1f}" text-anchor="end" '
        f'style="font-size:{size:.1f}px">{escape(name)}</text>'
        for i, name in enumerate(names)
        if named
    ]
    frame = f'<path class="frame" d="M{left:.1f} 8h{side:.1f}v{side:.1f}h{-side:.1f}z" fill="none"/>'
    box = f"0 0 {WIDTH} {side + 16:.0f}"
    drawing = (
        f'<svg class="chart" viewBox="{box}" role="img" aria-label="{escape(caption)}">'
        f"{''.join(cells)}{frame}{''.join(texts)}</svg>"
    )
    legend = [("bar s1", "alike (1)"), ("bar s2", "opposed (-1)")]
    pairs = values[np.triu_indices(n, 1)]
    pairs = pairs[np.isfinite(pairs)]
    remark = "Tasks in the order of average linkage."
    if pairs.size:
        remark += (
            f" Mean cosine of two tasks {pairs.mean():.2f}, negative for {100 * (pairs < 0).mean():.0f} % of pairs."
        )
    return figure(caption, drawing, legend, remark) if n > 1 else note("One task: nothing to compare.")
