#!/usr/bin/env python3
"""How long a gkm-SVM takes to train and to predict, beside a kernel matrix of all pairs of words and LIBSVM.

    python scripts/benchmark_gkm.py                     (about four minutes on two cores, nearly all of it the other side's)
    python scripts/benchmark_gkm.py --train=500 --large=0
    python scripts/benchmark_gkm.py --lsgkm=DIR --out=lsgkm       (DIR holds built copies of gkmtrain and gkmpredict)

Sequences of 101 random bases, half of them with a site of ten letters, one of them drawn anew; kernel gkm_esttrunc, l = 11,
k = 7, d = 3, C = 1. The other side compares all pairs of words with bit operations, compiled by XLA and in blocks, half of
a symmetric matrix only; and fits `SVC(kernel="precomputed")` of scikit-learn, which is LIBSVM, to the same tolerance. Both
sides are compiled beforehand, and both start from codes: training ends with the coefficients, prediction with the decision
values of 256 sequences from a model whose table, or support vectors' words and norms, exist already. Before times are
printed, decision values must agree to 2e-3, twice what the tolerance leaves open. `--large` sequences are fitted by us alone.

With `--lsgkm` the other side is LS-GKM itself, see `benchmark_lsgkm.py`: trained on `--train` and on `--large` sequences, with one
thread on one core and with four on all, each stopped after `--limit` seconds of the processor.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dragon_jax import dna
from dragon_jax.baselines.gkm_kernels import Kernel
from dragon_jax.baselines.gkm_operator import Operator, Words, compared, norms, words
from dragon_jax.baselines.gkm_solver import Solution, solve

KERNEL = Kernel()
OPERATOR = Operator(KERNEL)
SITE = dna.encode("TGACTCAGCA")
BLOCK = 16  # sequences of a side of a block: 16 x 16 x 91 x 182 pairs of words


def sequences(n: int, seed: int, length: int = 101) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes uint8 `[n, length]` and labels +1, -1 float64 `[n]`, in turn."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length), np.uint8)
    labels = np.where(np.arange(n) % 2, 1.0, -1.0)
    for row in np.flatnonzero(labels > 0):
        site, at = SITE.copy(), rng.integers(0, length - len(SITE))
        site[rng.integers(len(SITE))] = rng.integers(4)
        codes[row, at : at + len(SITE)] = site
    return codes, labels


def train(codes: np.ndarray, labels: np.ndarray) -> tuple[Words, np.ndarray, Solution]:
    """Our side: words, norms and the solved machine."""
    found = words(codes, KERNEL)
    own = norms(found, KERNEL)
    return found, own, solve(OPERATOR.matrix(found, own), labels, np.ones(len(labels)))


@jax.jit
def _block(left, left_weight, forward, reverse, weight, h) -> jax.Array:
    def pairs(other):
        values = compared(left[:, None, :, None], other[None, :, None, :], h) * weight[None, :, None, :]
        return (values.sum(3) * left_weight[:, None]).sum(2)

    return pairs(forward) + pairs(reverse)


def direct(left: Words, right: Words, symmetric: bool = False) -> np.ndarray:
    """The other side's K0 float32 `[N, M]`: every word with every word, one block of sequences after the other."""
    h = jnp.asarray(KERNEL.mismatch(), jnp.float32)
    n, m = len(left.forward), len(right.forward)
    result = np.zeros((n, m), np.float32)
    for i in range(0, n, BLOCK):
        rows = np.minimum(np.arange(i, i + BLOCK), n - 1)
        for j in range(i if symmetric else 0, m, BLOCK):
            columns = np.minimum(np.arange(j, j + BLOCK), m - 1)
            values = _block(left.forward[rows], left.weight[rows], *right.take(columns), h)
            result[i : i + BLOCK, j : j + BLOCK] = np.asarray(values)[: n - i, : m - j]
    return np.triu(result) + np.triu(result, 1).T if symmetric else result


def train_directly(codes: np.ndarray, labels: np.ndarray) -> tuple[Words, np.ndarray, Any, float]:
    """The other side: words, norms, the fitted SVC, and the seconds that it took of all."""
    from sklearn.svm import SVC

    found = words(codes, KERNEL)
    matrix = direct(found, found, symmetric=True)
    own = np.sqrt(np.diag(matrix).astype(np.float64))
    matrix = matrix / np.outer(own, own)
    began = time.perf_counter()
    machine = SVC(C=1.0, kernel="precomputed", tol=1e-3, shrinking=False, cache_size=1000).fit(matrix, labels)
    return found, own, machine, time.perf_counter() - began


def clock(call: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """Returns the least seconds of some calls, and what the last returned."""
    least = np.inf
    for _ in range(times):
        began = time.perf_counter()
        result = call()
        least = min(least, time.perf_counter() - began)
    return least, result


def decide(codes: np.ndarray, table: jax.Array, rho: float) -> np.ndarray:
    """Our prediction: read the table."""
    found = words(codes, KERNEL)
    return np.asarray(OPERATOR.read(table, found)) / norms(found, KERNEL) - rho


def against_lsgkm(flags: argparse.Namespace) -> None:
    """Times LS-GKM's own programs beside us, and prints and writes the table after every case."""
    import benchmark_lsgkm as sides

    every, rows = os.sched_getaffinity(0), []
    cases = {"1": ({min(every)}, 1), "all": (every, 4)}
    began = " ".join(f"{x:.1f}" for x in os.getloadavg())
    for n in filter(None, (flags.train, flags.large)):
        for setting in flags.settings.split(","):
            cores, threads = cases[setting]
            with tempfile.TemporaryDirectory() as folder:
                rows += sides.compare(flags.lsgkm, Path(folder), n, cores, threads, flags.limit)
            load = " ".join(f"{x:.1f}" for x in os.getloadavg())
            notes = [
                f"{jax.devices()[0].device_kind}, {len(every)} cores, load average {began} before and {load} after, jax {jax.__version__}",
                f"LS-GKM was stopped after {flags.limit:g} seconds of the processor where a figure begins with >",
            ]
            print(text := sides.table(rows, notes), flush=True)
            if flags.out:
                Path(f"{flags.out}.md").write_text(text)
                Path(f"{flags.out}.json").write_text(json.dumps({"rows": rows, "notes": notes}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=int, default=4000, help="sequences of both sides")
    parser.add_argument("--large", type=int, default=20_000, help="sequences that we alone are fitted to; 0 = none")
    parser.add_argument("--lsgkm", type=Path, help="folder with gkmtrain and gkmpredict: time these instead")
    parser.add_argument(
        "--limit", type=float, default=7200, help="with --lsgkm: seconds of the processor for each of its runs"
    )
    parser.add_argument("--settings", default="1,all", help="with --lsgkm: one core, all cores, or both (default)")
    parser.add_argument("--out", help="with --lsgkm: name of the .md and .json files to write")
    flags = parser.parse_args()
    if flags.lsgkm:
        return against_lsgkm(flags)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {len(jax.devices())} device(s)")
    codes, labels = sequences(flags.train, 0)
    test, _ = sequences(256, 1)
    train(codes, labels)  # compiles
    ours, (found, own, solution) = clock(functools.partial(train, codes, labels), 3)
    support = np.flatnonzero(solution.coefficients)
    table = OPERATOR.table(found.take(support), solution.coefficients[support] / own[support])
    decide(test, table, solution.rho)
    reads, decided = clock(lambda: decide(test, table, solution.rho), 10)

    direct(found.take(np.arange(BLOCK)), found.take(np.arange(BLOCK)))
    theirs, (_, _, machine, fitting) = clock(lambda: train_directly(codes, labels))
    vectors, there = found.take(machine.support_), own[machine.support_]

    def decide_directly() -> np.ndarray:
        mine = words(test, KERNEL)
        across = direct(mine, vectors) / np.outer(norms(mine, KERNEL), there)
        return across @ machine.dual_coef_[0] + machine.intercept_[0]

    compares, expected = clock(decide_directly)
    worst = float(np.abs(decided - expected).max())
    if worst > 2e-3:
        raise SystemExit(f"decision values differ by {worst:.1e}: expected at most 2e-3. Nothing was compared")
    print(
        f"decision values agree to {worst:.1e}; {len(support):,} and {len(machine.support_):,} support vectors; our duality "
        f"gap is {solution.gap / solution.objective:.1e} of the objective after {solution.products} products"
    )
    print(
        f"train on {len(codes):,}: ours {ours:.2f} s, all pairs + LIBSVM {theirs:.1f} s (LIBSVM {fitting:.2f}), ",
        end="",
    )
    print(f"ratio {theirs / ours:.0f}")
    print(f"predict 256: ours {1e3 * reads:.1f} ms, all pairs {1e3 * compares:.0f} ms, ratio {compares / reads:.0f}")
    if flags.large:
        codes, labels = sequences(flags.large, 2)
        train(codes, labels)
        seconds, (_, _, solution) = clock(functools.partial(train, codes, labels))
        gap = solution.gap / solution.objective
        print(f"train on {len(codes):,}: ours {seconds:.2f} s, {solution.products} products, gap {gap:.1e}")


if __name__ == "__main__":
    main()
