#!/usr/bin/env python3
"""How long our training step and prediction take beside the same network in PyTorch, on this machine.

    python scripts/benchmark.py --out=benchmark            (about four minutes on two cores; needs the extra `bench`)
    python scripts/benchmark.py --only=deepbind --rounds=11

Each side lives in a process of its own, and the two take turns: while one works, the other sleeps. Both get the same
weights, batches, threads and float32; before anything is timed, logits must agree to 1e-4, and again after training
steps on both sides. A row's ratio is the time of the other side over ours, worked out round by round: above 1, ours is
faster. Times are medians over rounds, ranges are smallest and largest.

What is timed. Training: one whole step on a batch that lies on the device, loss, gradients and Adam included; ours
starts from one-byte codes and makes the one-hot inside the step, keeps training sums and checks for non-finite values,
PyTorch starts from ready one-hot float32. Prediction: 256 sequences from host memory to logits in host memory.
Compilation (ours) and the first call (PyTorch) are reported apart. Beside the networks: k-mer counts against
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
from benchmark_sides import CASES, PREDICTED, Case, examples, pin, serve, versions

CHECK_STEPS = 3  # training steps on both sides before the second comparison


class Side:
    """The other end of the pipe: calls methods of a worker in its process."""

    def __init__(self, side: str, threads: int, compiled: bool):
        self.side = side
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, side, threads, compiled), daemon=True)
        self.process.start()
        theirs.close()

    def __call__(self, name: str, *arguments: Any) -> Any:
        self._pipe.send((name, arguments))
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit(
                f"benchmark: the {self.side} process failed, its message is above. Nothing was written"
            ) from None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self.process.join(10)


def alternate(first: Callable[[], float], second: Callable[[], float], rounds: int) -> tuple[list[float], list[float]]:
    """Times both in turns, each going first in every other round."""
    a, b = [], []
    for i in range(rounds):
        for timed, into in ((first, a), (second, b))[:: 1 if i % 2 == 0 else -1]:
            into.append(timed())
    return a, b


def row(name: str, ours: list[float], other: list[float], **more: Any) -> dict[str, Any]:
    """Medians, ranges and round-by-round ratios of two lists of seconds."""
    ratios = [b / a for a, b in zip(ours, other, strict=True)]

    def spread(values: list[float]) -> dict[str, float]:
        return {"median": statistics.median(values), "min": min(values), "max": max(values)}

    return {
        "name": name,
        "rounds": len(ours),
        "ours": spread(ours),
        "other": spread(other),
        "ratio": spread(ratios),
    } | more


def agree(what: str, a: np.ndarray, b: np.ndarray, tolerance: float) -> float:
    difference = float(np.max(np.abs(a - b) / (1 + np.abs(a))))
    if not difference <= tolerance:
        raise SystemExit(
            f"benchmark: {what} differ by {difference:.1e}: expected at most {tolerance:.0e}. Nothing was timed"
        )
    return difference


def networks(cases: list[Case], options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Times all cases and returns their rows, and what both sides say about themselves."""
    ours, other = (Side(s, options.threads, options.torch_compile) for s in ("ours", "torch"))
    rows = []
    try:
        about = {"ours": ours("about"), "torch": other("about")}
        for network in dict.fromkeys(case.network for case in cases):
            with tempfile.TemporaryDirectory() as folder:
                weights = str(Path(folder) / "weights.npz")
                ours("build", network, weights)
                other("build", network, weights)
            codes = examples(network, PREDICTED, 99)[0]
            mine = [case for case in cases if case.network == network]
            first = {case: (ours("prepare", case), other("prepare", case)) for case in mine}
            before = agree(
                f"logits of {network}", ours("predict", network, codes), other("predict", network, codes), 1e-4
            )
            after = before
            if training := [case for case in mine if case.task == "train"]:
                ours("time", training[0], CHECK_STEPS)
                other("time", training[0], CHECK_STEPS)
                trained = ours("predict", network, codes), other("predict", network, codes)
                after = agree(f"logits of {network} after {CHECK_STEPS} training steps", *trained, 1e-3)
            for case in mine:
                slowest = max(ours("time", case, 2), other("time", case, 2))
                count = max(1, int(options.seconds / slowest))
                turns = [functools.partial(side, "time", case, count) for side in (ours, other)]
                timed = alternate(turns[0], turns[1], options.rounds)
                seconds = dict(zip(("compile_s", "torch_first_call_s"), first[case], strict=True))
                checked = {"difference": before, "difference_after_steps": after, "calls_per_round": count}
                rows.append(row(case.name, *timed, **seconds, **checked))
                print_rows(rows[-1:])
    finally:
        ours.close()
        other.close()
    return rows, about


def against_sklearn(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Times k-mer counts and auROC of many tasks against scikit-learn, in this process, after checking that they agree."""
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

    def ours_counts():
        return dna.kmer_counts(dna.encode_many(sequences), 6, canonical=False)

    def ours_auroc():
        return metrics.task_metrics(predictions, targets, kinds, ["auroc"])["auroc"]

    def their_counts():
        return vectorizer.transform(sequences).toarray()

    def their_auroc():
        return np.array([roc_auc_score(targets[:, t], predictions[:, t]) for t in range(919)])

    rows = []
    for name, mine, theirs, rounds in (
        ("6-mer counts, 2,000 x 101 bp (scikit-learn CountVectorizer)", ours_counts, their_counts, options.rounds),
        ("auROC, 919 x 20,000 (loop over roc_auc_score)", ours_auroc, their_auroc, min(3, options.rounds)),
    ):
        difference = agree(name, np.asarray(mine(), np.float64), np.asarray(theirs(), np.float64), 1e-6)
        rows.append(row(name, *alternate(timer(mine), timer(theirs), rounds), difference=difference))
        print_rows(rows[-1:])
    return rows


def timer(function: Callable[[], Any]) -> Callable[[], float]:
    def timed() -> float:
        started = time.perf_counter()
        function()
        return time.perf_counter() - started

    return timed


# ---------------------------------------------------------------------------------------------------- the report

HEADINGS = ("what", "ours, ms", "other, ms", "other / ours", "compile, s", "first call of PyTorch, s")


def cells(r: dict[str, Any]) -> tuple[str, ...]:
    def span(values: dict[str, float], scale: float, digits: int) -> str:
        median, low, high = (f"{values[k] * scale:.{digits}f}" for k in ("median", "min", "max"))
        return f"{median} ({low}-{high})"

    compile_s, first = (f"{r[k]:.2f}" if k in r else "" for k in ("compile_s", "torch_first_call_s"))
    return r["name"], span(r["ours"], 1e3, 2), span(r["other"], 1e3, 2), span(r["ratio"], 1, 2), compile_s, first


def print_rows(rows: list[dict[str, Any]]) -> None:
    for r in rows:
        print("{:<62} {:>26} {:>26} {:>20} {:>6} {:>6}".format(*cells(r)), flush=True)


def markdown(report: dict[str, Any]) -> str:
    machine = report["machine"]
    lines = [f"`{report['command']}`, {report['date']}", ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(cells(r)) + " |" for r in report["rows"]]
    lines += [
        "",
        "Median (smallest-largest) over alternating rounds; ratios round by round, above 1 ours is faster.",
        "",
    ]
    lines += [f"- {machine['cpu']}, {machine['threads']} of {machine['cores']} cores, load average {machine['load']}"]
    for side, about in report["sides"].items():
        lines.append(f"- {side}: {about['device']}; " + ", ".join(f"{k} {v}" for k, v in about["versions"].items()))
    lines.append(f"- Python {machine['python']}, NumPy {machine['numpy']}, scikit-learn {machine['scikit-learn']}")
    worst = max((max(r["difference"], r.get("difference_after_steps", 0.0)) for r in report["rows"]), default=0.0)
    return "\n".join(
        [*lines, f"- largest difference between the two sides before timing, and after steps: {worst:.1e}", ""]
    )


def cpu_model() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=["convnet", "deepbind", "sklearn"], help="one part instead of all three")
    parser.add_argument("--threads", type=int, default=2, help="CPU cores for each side (default 2)")
    parser.add_argument("--rounds", type=int, default=21, help="alternating rounds per row (default 21)")
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="length of one turn of the slower side (default 0.3)"
    )
    parser.add_argument(
        "--torch-compile", action="store_true", help="use torch.compile (needs a C++ compiler on a CPU)"
    )
    parser.add_argument("--out", help="also write OUT.json and OUT.md")
    options = parser.parse_args()
    if min(options.threads, options.rounds) < 1 or not options.seconds > 0:
        parser.error("--threads, --rounds and --seconds: expected numbers above 0")
    if options.only != "sklearn" and importlib.util.find_spec("torch") is None:
        print(
            "benchmark: PyTorch is not installed: expected the extra 'bench'. Run ./scripts/setup bench, or pass --only=sklearn",
            file=sys.stderr,
        )
        return 2
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # two processes share one GPU
    load = os.getloadavg() if hasattr(os, "getloadavg") else (0.0,)
    if load[0] > 0.5:
        print(
            f"note: load average is {load[0]:.1f}; other work on this machine makes these times unreliable",
            file=sys.stderr,
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pin(options.threads)
    print("{:<62} {:>26} {:>26} {:>20} {:>6} {:>6}".format(*HEADINGS[:4], "comp.", "first"))
    rows, sides = [], {}
    if options.only != "sklearn":
        rows, sides = networks([c for c in CASES if options.only in (None, c.network)], options)
    if options.only in (None, "sklearn"):
        rows += against_sklearn(options)
    report = {
        "command": " ".join(["scripts/benchmark.py", *sys.argv[1:]]),
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
