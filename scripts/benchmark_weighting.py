#!/usr/bin/env python3
"""What a task weighting costs a training step beside equal weights, for 10, 109 and 900 tasks, on this machine.

    python scripts/benchmark_weighting.py --out=weighting        (some minutes on two cores)

The network is a convolutional one of ordinary size (96 filters of 15, two residual blocks, 200 bp, batches of 128), all of it in one
process. Methods take turns, another one first in every round; a row's ratio is the time of `STEPS` steps over that of equal
weights in the same round, the median over rounds. Times are of whole steps: loss, gradients, Adam and the training sums.
Compilation is reported apart. Weights of heads are their own (`weight_heads` off), as is the default, for all but `equal`;
`static` shows what reading the heads twice costs by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_sides import pin, versions

TASKS = (10, 109, 900)
LENGTH, BATCH, STEPS = 200, 128, 3
LOSS_LEVEL = ("static", "null", "scale_invariant", "uncertainty", "imtl_l", "dwa", "random", "stch", "excess", "famo")
GRADIENT = (
    "gradnorm",
    "dbmtl",
    "mgda",
    "cagrad",
    "imtl_g",
    "config",
    "aligned",
    "nash",
    "fairgrad",
    "pcgrad",
    "gradvac",
)
GRADIENT += ("upgrad",)
HELD = ("nash", "upgrad")  # also asked every tenth step


def cases(tasks: int) -> list[tuple[str, dict[str, Any]]]:
    """Names and fields of the weightings that are timed for this number of tasks."""
    plain: list[tuple[str, dict[str, Any]]] = [
        (name, {"name": name}) for name in ("equal", *LOSS_LEVEL, *GRADIENT) if name != "upgrad" or tasks < 500
    ]
    return plain + [(f"{name}, every 10th step", {"name": name, "update_every": 10}) for name in HELD]


class Bench:
    """Compiled steps of one network for some methods, each with a state of its own."""

    def __init__(self, tasks: int, seed: int = 0):
        import jax

        from dragon_jax import sections
        from dragon_jax.data.dataset import Task
        from dragon_jax.models.registry import make_model, model_config
        from dragon_jax.training import losses, optimizers, step, weighting
        from dragon_jax.training.weighting.facts import task_facts

        self.jax = jax
        rng = np.random.default_rng(seed)
        names = tuple(Task(f"t{i}") for i in range(tasks))
        codes = rng.integers(0, 4, (BATCH, LENGTH)).astype(np.uint8)
        targets = (rng.random((BATCH, tasks)) < 0.2).astype(np.float32)
        stats = losses.task_statistics(targets, names)
        task_losses = losses.make_losses(names, stats, sections.LossConfig())
        fields = {"name": "hybrid", "filters": 96, "width": 15, "pool_width": 4, "bins": 5, "dilations": (1, 1)}
        fields |= {"block_width": 5, "dropout": 0.2, "dense": (256,), "words": ()}
        model = make_model(model_config(fields), tasks)
        optim = sections.OptimConfig()
        tx = optimizers.make_optimizer(optim, 1_000_000)
        facts = task_facts(names, stats, task_losses, 100)
        self.batch = jax.device_put({"codes": codes, "targets": targets})
        self.states, self.steps, self.compiled = {}, {}, {}
        for label, config in cases(tasks):
            method = weighting.make_weighting(sections.WeightingConfig(**config), facts)
            bias = np.zeros(tasks, np.float32)
            state = jax.device_put(step.init_state(model, {"codes": codes[:1]}, bias, tx, method, 0, False))
            train = step.make_train_step(model, task_losses, method, tx, optim, sections.AugmentConfig())
            began = time.perf_counter()
            compiled = jax.jit(train, donate_argnums=0).lower(state, self.batch, None).compile()
            self.compiled[label] = time.perf_counter() - began
            self.states[label], self.steps[label] = state, compiled
            self.run(label, 10)

    def run(self, label: str, steps: int) -> float:
        """Returns the seconds that some steps of a method take."""
        state, began = self.states[label], time.perf_counter()
        for _ in range(steps):
            state = self.steps[label](state, self.batch, None)
        self.jax.block_until_ready(state.step)
        self.states[label] = state
        if int(state.bad_step) >= 0:
            raise SystemExit(f"benchmark: {label} met a loss that is not finite")
        return time.perf_counter() - began


def measure(tasks: int, rounds: int) -> list[dict[str, Any]]:
    """Returns a row a method, equal weights first."""
    bench = Bench(tasks)
    labels = list(bench.steps)
    times: dict[str, list[float]] = {label: [] for label in labels}
    for r in range(rounds):
        for i in range(len(labels)):
            label = labels[(i + r) % len(labels)]
            count = 10 if "10th" in label else STEPS
            times[label].append(bench.run(label, count) / count)
    rows = []
    for label in labels:
        ratios = [t / e for t, e in zip(times[label], times["equal"], strict=True)]
        rows.append(
            {
                "tasks": tasks,
                "method": label,
                "step_ms": 1e3 * statistics.median(times[label]),
                "ratio": statistics.median(ratios),
                "low": float(np.quantile(ratios, 0.25)),
                "high": float(np.quantile(ratios, 0.75)),
                "compile_s": bench.compiled[label],
            }
        )
    return rows


def heads(tasks: int = 109, rows: int = 20_000, width: int = 128, epochs: int = 10, alone: int = 6) -> dict[str, Any]:
    """Times the training of all heads on cached features beside one by one (some of them, taken for all).

    Both by `fit_heads` for the same epochs; the largest difference of a weight is returned too. Compilation counts on both sides: it is
    part of what a user waits for, and small beside the epochs.
    """
    from dragon_jax import sections
    from dragon_jax.data.dataset import Task
    from dragon_jax.models.base import StrandModel
    from dragon_jax.models.registry import make_model, model_config
    from dragon_jax.training import heads as fitting
    from dragon_jax.training import losses as losses_

    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, rows, 2, width)).astype(np.float32)
    targets = (rng.random((rows, tasks)) < 0.1).astype(np.float32)
    names = tuple(Task(f"t{i}") for i in range(tasks))
    model = make_model(model_config({"name": "convnet", "strands": "average"}), tasks)

    assert isinstance(model, StrandModel)

    def fit(columns: slice) -> tuple[float, Any]:
        own, part = names[columns], targets[:, columns]
        losses = losses_.make_losses(own, losses_.task_statistics(part, own), sections.LossConfig())
        count = len(own)
        settings = fitting.HeadSettings(
            np.full(count, 1e-3, np.float32), np.zeros(count, np.float32), 256, epochs, epochs
        )
        start = np.zeros((width, count), np.float32), np.zeros(count, np.float32)
        began = time.perf_counter()
        found = fitting.fit_heads(
            model, features, part, features[:, :2000], part[:2000], losses, np.zeros(count), *start, settings
        )
        return time.perf_counter() - began, found

    fit(slice(0, 1))  # what is imported and compiled once
    together, all_heads = fit(slice(None))
    chosen = np.linspace(0, tasks - 1, alone).astype(int)
    times, differences = [], []
    for t in chosen:
        seconds, one = fit(slice(t, t + 1))
        times.append(seconds)
        differences.append(np.abs(one.kernel[:, 0] - all_heads.kernel[:, t]).max())
    single = statistics.median(times) * tasks
    return {
        "tasks": tasks,
        "rows": rows,
        "epochs": epochs,
        "together_s": together,
        "one_by_one_s": single,
        "ratio": single / together,
        "difference": float(max(differences)),
    }


def table(rows: list[dict[str, Any]], about: str) -> str:
    lines = ["| tasks | weighting | step, ms | over equal | quartiles | compilation, s |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r['tasks']} | {r['method']} | {r['step_ms']:.1f} | {r['ratio']:.3f} | {r['low']:.3f} to {r['high']:.3f} | "
        f"{r['compile_s']:.1f} |"
        for r in rows
    ]
    return "\n".join([*lines, "", about, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="", help="write OUT.json and OUT.md")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tasks", default=",".join(map(str, TASKS)), help="numbers of tasks, comma-separated")
    options = parser.parse_args()
    pin(options.threads)
    rows = []
    for tasks in map(int, options.tasks.split(",")):
        rows += measure(tasks, options.rounds)
        print(table(rows[-len(cases(tasks)) :], ""), flush=True)
    found_heads = heads()
    import jax

    device = jax.local_devices()[0]
    found = versions("jax", "flax", "optax", "numpy")
    about = (
        f"{found_heads['tasks']} heads on {found_heads['rows']:,} cached rows, {found_heads['epochs']} epochs: "
        f"{found_heads['together_s']:.1f} s together, {found_heads['one_by_one_s']:.0f} s one by one (median of 6 times "
        f"{found_heads['tasks']}), {found_heads['ratio']:.0f} times as long; largest difference of a weight "
        f"{found_heads['difference']:.1e}.\n\n"
        f"{options.rounds} rounds; {device.platform} ({device.device_kind}), {options.threads} threads; python "
        f"{platform.python_version()}, " + ", ".join(f"{k} {v}" for k, v in found.items()) + "."
    )
    print(about)
    if options.out:
        Path(f"{options.out}.json").write_text(
            json.dumps({"about": about, "rows": rows, "heads": found_heads}, indent=1) + "\n"
        )
        Path(f"{options.out}.md").write_text(table(rows, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
