#!/usr/bin/env python3
"""How long our training step and prediction take beside the same network in PyTorch, on this machine.

    python scripts/benchmark.py --out=benchmark            (a few minutes on two cores; needs the extra `bench`)
    python scripts/benchmark.py --only=deepbind --rounds=11

Each side lives in a process of its own, and they take turns: while one works, the others sleep. All get the same
weights, batches, threads and float32; before anything is timed, logits must agree to 1e-4, and again (to 1e-3) after
training steps on all sides. A row's ratio is the time of the other side over ours, worked out round by round: above 1,
ours is faster. Times are medians over rounds, ranges are smallest and largest.

PyTorch runs twice, with OpenMP threads that wait actively (its default) and passively, and each row is timed against
the faster of the two: on a machine that does other work besides, active waiting alone can make it look ten times slower
than it is.

What is timed. Training: one whole step on a batch that lies on the device, loss, gradients and Adam included; ours
starts from one-byte codes and makes the one-hot inside the step, keeps training sums and checks for non-finite values,
PyTorch starts from ready one-hot float32. Prediction: 256 sequences from host memory to logits in host memory.
Compilation (ours) and the first call (PyTorch) are reported apart, and so is the share of the machine's peak that each
side's fastest turn reached: operations of a training step, by formula, over those of the best float32 matrix product that
either side managed in the same run. Networks: `benchmark_networks.py`. Beside the networks: k-mer counts against
scikit-learn's CountVectorizer, and auROC of 919 tasks x 20,000 examples against a loop over roc_auc_score.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_networks import NETWORKS
from benchmark_sides import CASES, Case, clock, examples, pin, serve, versions

CHECK_STEPS = 3  # training steps on all sides before the second comparison
PARTS = (*NETWORKS, "sklearn", "windows", "scan")
WAITING = ("active", "passive")  # of PyTorch's OpenMP threads
Timed = tuple[float, float]  # seconds of wall clock and of CPU time


class Side:
    """Calls methods of a worker that lives in a process of its own."""

    def __init__(self, side: str, options: argparse.Namespace, waiting: str = ""):
        context = multiprocessing.get_context("spawn")
        self.side = side
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, side, options.threads, options.torch_compile, waiting)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def __call__(self, name: str, *arguments: Any) -> Any:
        try:
            self._pipe.send((name, arguments))
            return self._pipe.recv()
        except (EOFError, OSError):
            raise SystemExit(f"benchmark: the process of side {self.side} failed; its message is above") from None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self.process.join(10)


def alternate(sides: list[Callable[[], Timed]], rounds: int) -> list[list[Timed]]:
    """Times all sides in turns; another one begins in every round."""
    times: list[list[Timed]] = [[] for _ in sides]
    for i in range(rounds):
        for k in range(len(sides)):
            which = (i + k) % len(sides)
            times[which].append(sides[which]())
    return times


def row(name: str, ours: list[Timed], other: list[Timed], **more: Any) -> dict[str, Any]:
    """Medians, ranges and round-by-round ratios of two lists of times."""

    def spread(values: list[float]) -> dict[str, float]:
        return {"median": statistics.median(values), "min": min(values), "max": max(values)}

    def summary(which: int) -> dict[str, Any]:
        a, b = [t[which] for t in ours], [t[which] for t in other]
        return {"ours": spread(a), "other": spread(b), "ratio": spread([y / x for x, y in zip(a, b, strict=True)])}

    return {"name": name, "rounds": len(ours), **summary(0), "cpu_time": summary(1)} | more


def agree(what: str, a: np.ndarray, b: np.ndarray, tolerance: float) -> float:
    """Returns the largest difference, or ends the program: times of different numbers are worth nothing."""
    difference = float(np.max(np.abs(a - b) / (1 + np.abs(a))))
    if not difference <= tolerance:
        raise SystemExit(f"benchmark: {what} differ by {difference:.1e}: expected at most {tolerance:.0e}")
    return difference


def compare(sides: list[Side], network: str, what: str, tolerance: float) -> float:
    """Returns the largest difference between our logits and those of the other sides, on sequences new to all."""
    codes = examples(network, NETWORKS[network].compared, 99)[0]
    ours, *others = (side("predict", network, codes) for side in sides)
    return max(agree(what, ours, other, tolerance) for other in others)


def networks(cases: list[Case], options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Times all cases and returns their rows, and what both sides say about themselves."""
    ours = Side("ours", options)
    others = {waiting: Side("torch", options, waiting) for waiting in WAITING}
    every = [ours, *others.values()]
    rows = []
    try:
        about = {"ours": ours("about"), "torch": others["active"]("about")}
        for name, side in (("ours", ours), ("torch", others["active"])):
            about[name] = {**about[name], "matrix_product_flops": side("peak")}
        peak = max(each["matrix_product_flops"] for each in about.values())
        for network in dict.fromkeys(case.network for case in cases):
            mine = [case for case in cases if case.network == network]
            with tempfile.TemporaryDirectory() as folder:
                for side in every:  # ours comes first and writes the weights
                    side("build", network, str(Path(folder) / "weights.npz"))
            first = {case: [side("prepare", case) for side in every] for case in mine}
            checked = {"difference": compare(every, network, f"logits of {network}", 1e-4)}
            if training := [case for case in mine if case.task == "train"]:
                for side in every:
                    side("time", training[0], CHECK_STEPS)
                what = f"logits of {network} after {CHECK_STEPS} training steps"
                checked["difference_after_steps"] = compare(every, network, what, 1e-3)
            for case in mine:
                count = max(1, int(options.seconds / min(side("time", case, 3)[0] for side in every)))
                turns = [functools.partial(side, "time", case, count) for side in every]
                trial = [statistics.median(wall for wall, _ in times) for times in alternate(turns[1:], 5)]
                better = trial.index(min(trial))
                timed = alternate([turns[0], turns[1 + better]], options.rounds)
                more = {"compile_s": first[case][0], "torch_first_call_s": first[case][1]}
                more |= {"calls_per_turn": count, "torch_waits": WAITING[better]}
                if case.task == "train":
                    flops = NETWORKS[network].step_flops(case.batch)
                    best = [min(wall for wall, _ in times) for times in timed]
                    more |= {"gflop": flops / 1e9, "share_of_peak": [flops / (peak * t) for t in best]}
                rows.append(row(case.name, *timed, **more, **checked))
                print_rows(rows[-1:])
    finally:
        for side in every:
            side.close()
    return rows, about


def against_sklearn(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Times k-mer counts and auROC of many tasks against scikit-learn, here, after checking that they agree."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.metrics import roc_auc_score

    from dragon_jax import dna, metrics

    rng = np.random.default_rng(0)
    sequences = ["".join(s) for s in rng.choice(list("ACGT"), (2000, 101))]
    words = list(dna.kmer_names(6, canonical=False))
    vectorizer = CountVectorizer(analyzer="char", ngram_range=(6, 6), lowercase=False, vocabulary=words)
    predictions = rng.random((20_000, 919), np.float32)
    targets = (rng.random(predictions.shape) < 0.05).astype(np.float32)
    kinds = ["binary"] * 919

    def our_counts() -> np.ndarray:
        return dna.kmer_counts(dna.encode_many(sequences), 6, canonical=False)

    def their_counts() -> np.ndarray:
        return vectorizer.transform(sequences).toarray()

    def our_auroc() -> np.ndarray:
        return metrics.task_metrics(predictions, targets, kinds, ["auroc"])["auroc"]

    def their_auroc() -> np.ndarray:
        return np.array([roc_auc_score(targets[:, t], predictions[:, t]) for t in range(919)])

    rows = []
    for name, mine, theirs, rounds in (
        ("6-mer counts, 2,000 x 101 bp (CountVectorizer)", our_counts, their_counts, options.rounds),
        ("auROC, 919 x 20,000 (loop over roc_auc_score)", our_auroc, their_auroc, min(3, options.rounds)),
    ):
        difference = agree(name, np.asarray(mine(), np.float64), np.asarray(theirs(), np.float64), 1e-6)
        timed = alternate([functools.partial(clock, mine), functools.partial(clock, theirs)], rounds)
        rows.append(row(name, *timed, difference=difference))
        print_rows(rows[-1:])
    return rows


def against_readers(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Times random windows of a genome against the libraries that read them one by one, where these are installed."""
    from benchmark_windows import pairs

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in pairs(Path(folder)):
            difference = agree(pair.name, pair.ours().astype(float), pair.theirs().astype(float), 0.0)
            timed = alternate(
                [functools.partial(clock, pair.ours), functools.partial(clock, pair.theirs)], min(5, options.rounds)
            )
            rows.append(row(pair.name, *timed, difference=difference))
            print_rows(rows[-1:])
    return rows


def against_scanners(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Times motif scanning against MOODS and memelite."""
    from benchmark_scan import scans

    found = scans(min(7, options.rounds), options.threads)
    return found["rows"], {name: about for name, about in found["sides"].items() if name != "ours"}


def installed(part: str) -> bool:
    """Whether the other sides of a part are there; says which extra brings them where not."""
    needed = {"windows": ("pyfaidx",), "scan": ("MOODS", "memelite")}.get(part, ("torch",))
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    if absent:
        print(f"benchmark: {', '.join(absent)} not installed, part '{part}' left out. Run ./scripts/setup bench")
    return not absent


HEADINGS = (
    "what",
    "ours, ms",
    "other, ms",
    "other / ours",
    "compile, s",
    "torch's first, s",
    "of peak, ours and other",
)
_LINE = "{:<48} {:>24} {:>24} {:>18} {:>10} {:>16} {:>24}"


def cells(r: dict[str, Any]) -> tuple[str, ...]:
    """One row of the table as text."""

    def span(values: dict[str, float], scale: float) -> str:
        median, low, high = (f"{values[k] * scale:.2f}" for k in ("median", "min", "max"))
        return f"{median} ({low}-{high})"

    once = (f"{r[k]:.2f}" if k in r else "" for k in ("compile_s", "torch_first_call_s"))
    peak = " and ".join(f"{x:.0%}" for x in r.get("share_of_peak", ()))
    return r["name"], span(r["ours"], 1e3), span(r["other"], 1e3), span(r["ratio"], 1), *once, peak


def print_rows(rows: list[dict[str, Any]]) -> None:
    for r in rows:
        print(_LINE.format(*cells(r)), flush=True)


def markdown(report: dict[str, Any]) -> str:
    """The table as Markdown, with machine and versions below."""
    machine = report["machine"]
    lines = [f"`{report['command']}`, {report['date']}", ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(cells(r)) + " |" for r in report["rows"]]
    lines += [
        "",
        "Median (smallest-largest) over alternating rounds; ratios round by round, above 1 ours is faster.",
        "",
    ]
    lines += [f"- {machine['cpu']}, {machine['threads']} of {machine['cores']} cores; load average {machine['load']}"]
    for side, about in report["sides"].items():
        device = f"{about['device']}; " if "device" in about else ""
        lines.append(f"- {side}: {device}" + ", ".join(f"{k} {v}" for k, v in about["versions"].items()))
        if "matrix_product_flops" in about:
            lines[-1] += f"; best matrix product {about['matrix_product_flops'] / 1e9:.0f} GFLOP/s"
    lines.append(f"- Python {machine['python']}, NumPy {machine['numpy']}, scikit-learn {machine['scikit-learn']}")
    worst = max(max(r["difference"], r.get("difference_after_steps", 0.0)) for r in report["rows"])
    return "\n".join([*lines, f"- largest difference between the sides, before timing: {worst:.1e}", ""])


def cpu_model() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default=",".join(PARTS), help=f"these parts, of {', '.join(PARTS)} (default all)")
    parser.add_argument("--threads", type=int, default=2, help="CPU cores for each side (default 2)")
    parser.add_argument("--rounds", type=int, default=21, help="alternating rounds per row (default 21)")
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="length of one turn of the faster side (default 0.3)"
    )
    parser.add_argument(
        "--torch-compile", action="store_true", help="use torch.compile (needs a C++ compiler on a CPU)"
    )
    parser.add_argument("--out", help="also write OUT.json and OUT.md")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    if unknown := [part for part in options.only if part not in PARTS]:
        parser.error(f"--only: expected {', '.join(PARTS)}, separated by commas, got {', '.join(unknown)}")
    if min(options.threads, options.rounds) < 1 or not options.seconds > 0:
        parser.error("--threads, --rounds and --seconds: expected numbers above 0")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    cases = [case for case in CASES if case.network in options.only]
    if cases and importlib.util.find_spec("torch") is None:
        print(
            "benchmark: PyTorch is not installed: expected the extra 'bench'. Run ./scripts/setup bench, "
            "or pass --only=sklearn",
            file=sys.stderr,
        )
        return 2
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # all processes share one GPU
    load = os.getloadavg()
    if load[0] > 0.5:
        print(f"note: load average {load[0]:.1f}: other work on this machine makes times unsteady", file=sys.stderr)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pin(options.threads)
    print(_LINE.format(*HEADINGS))
    rows, sides = [], {}
    if cases:
        rows, sides = networks(cases, options)
    if "sklearn" in options.only:
        rows += against_sklearn(options)
    if "windows" in options.only and installed("windows"):
        rows += against_readers(options)
    if "scan" in options.only and installed("scan"):
        more, others = against_scanners(options)
        rows, sides = rows + more, sides | others
    report = {
        "command": " ".join(["scripts/benchmark.py", *(sys.argv[1:] if arguments is None else arguments)]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {
            "cpu": cpu_model(),
            "cores": cores,
            "threads": options.threads,
            "load": " ".join(f"{x:.2f}" for x in load),
            "platform": platform.platform(),
            "python": platform.python_version(),
            **versions("numpy", "scikit-learn"),
        },
        "sides": sides,
        "rows": rows,
    }
    if options.out:
        Path(f"{options.out}.json").write_text(json.dumps(report, indent=1) + "\n")
        Path(f"{options.out}.md").write_text(markdown(report))
        print(f"written: {options.out}.json, {options.out}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
