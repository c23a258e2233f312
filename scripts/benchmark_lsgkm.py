"""The side of `benchmark_gkm.py --lsgkm`: built copies of LS-GKM's programs beside us, on the same cores, one after the other.

Both sides are processes of their own, held to one core or to all. Seconds are on the wall and of the processor: on a machine with
other work only the second are those of the program. Theirs are of `gkmtrain` from start to model file, and of `gkmpredict` for 256
sequences less those for one, so that reading the model is not counted. Ours are of the second fit (the first compiles), and of
decision values from a model whose table exists.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import benchmark_gkm as common
import numpy as np

from dragon_jax import dna

# becomes the program, once it is held to its cores and its seconds
_HOLD = """
import os, resource, sys
os.sched_setaffinity(0, {int(c) for c in sys.argv[1].split(",")})
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2]) + 5))
os.execv(sys.argv[3], sys.argv[3:])
"""
AGREE = 2e-3  # of decision values: both sides stop at violations below 1e-3


@dataclasses.dataclass(frozen=True)
class Spent:
    """What a process took: seconds on the wall and of the processor, and whether it came to its end."""

    wall: float
    cpu: float
    ended: bool = True

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall - other.wall, self.cpu - other.cpu, self.ended and other.ended)


def run(command: Sequence[str | Path], cores: set[int], limit: float) -> Spent:
    """Runs a program on these cores; it is stopped after `limit` seconds of the processor."""

    held = [sys.executable, "-c", _HOLD, ",".join(map(str, cores)), str(int(limit)), *map(str, command)]
    began = time.perf_counter()
    process = subprocess.Popen(held, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    spent = Spent(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, status == 0)
    if status and spent.cpu < 0.9 * limit:
        raise SystemExit(
            f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}: expected 0. Nothing was compared"
        )
    return spent


def write_fasta(path: Path, codes: np.ndarray) -> Path:
    """Writes sequences named by their numbers."""
    path.write_text("".join(f">s{i}\n{s}\n" for i, s in enumerate(dna.decode_many(codes))))
    return path


def ours(folder: Path, n: int) -> None:
    """Our side, in a process of its own: fits twice, predicts 11 times, and leaves seconds and decision values in files."""
    codes, labels = common.sequences(n, 0)
    test, _ = common.sequences(256, 1)
    common.train(codes, labels)
    times = [_clock(lambda: common.train(codes, labels)) for _ in range(3 if n <= 5000 else 1)]
    found, own, solution = common.train(codes, labels)
    table = common.OPERATOR.table(found, solution.coefficients / own)
    scores = common.decide(test, table, solution.rho)
    reads = [_clock(lambda: common.decide(test, table, solution.rho)) for _ in range(10)]
    middle = lambda s: [statistics.median(x.wall for x in s), statistics.median(x.cpu for x in s)]  # noqa: E731
    np.save(folder / "ours.npy", scores)
    (folder / "ours.json").write_text(json.dumps({"train": middle(times), "predict": middle(reads)}))


def _clock(call) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def compare(programs: Path, folder: Path, n: int, cores: set[int], threads: int, limit: float) -> list[list[str]]:
    """Returns rows of the table for n sequences: what, ours, theirs, ratio on the wall, ratio of the processor."""
    codes, labels = common.sequences(n, 0)
    test, _ = common.sequences(256, 1)
    files = [write_fasta(folder / f"{k}.fa", c) for k, c in (("pos", codes[labels > 0]), ("neg", codes[labels < 0]))]
    many, one = write_fasta(folder / "test.fa", test), write_fasta(folder / "one.fa", test[:1])
    run([sys.executable, __file__, folder, str(n)], cores, 10 * limit)
    mine = {k: Spent(*v) for k, v in json.loads((folder / "ours.json").read_text()).items()}
    k, model = common.KERNEL, folder / "theirs.model.txt"
    kernel = ["-t", "2", "-l", k.l, "-k", k.k, "-d", k.d, "-c", "1", "-e", "0.001", "-m", "4000"]
    train = [programs / "gkmtrain", *map(str, kernel), "-v", "0", "-T", str(threads), *files, folder / "theirs"]
    theirs = run(train, cores, limit)
    where = f"{len(cores)} core{'s' * (len(cores) > 1)}, -T {threads}"
    rows = [_row(f"train on {n:,}, {where}", mine["train"], theirs)]
    if not theirs.ended:
        return rows
    predict = [programs / "gkmpredict", "-v", "0", "-T", str(threads)]
    start = run([*predict, one, model, folder / "one.txt"], cores, limit)
    spent = run([*predict, many, model, folder / "many.txt"], cores, limit) - start
    scores = np.array([float(line.split()[1]) for line in (folder / "many.txt").read_text().splitlines()])
    worst = float(np.abs(scores - np.load(folder / "ours.npy")).max())
    if worst > AGREE:
        raise SystemExit(f"decision values differ by {worst:.1e}: expected at most {AGREE}. Nothing was compared")
    return [*rows, [*_row(f"predict 256, model of {n:,}, {where}", mine["predict"], spent), f"{worst:.1e}"]]


def _row(what: str, mine: Spent, theirs: Spent) -> list[str]:
    more = "" if theirs.ended else "> "
    show = lambda s: f"{s.wall:.3g} ({s.cpu:.3g})"  # noqa: E731
    return [
        what,
        show(mine),
        more + show(theirs),
        f"{more}{theirs.wall / mine.wall:.0f}",
        f"{more}{theirs.cpu / mine.cpu:.0f}",
    ]


def table(rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Returns the rows as Markdown."""
    head = [
        "what",
        "ours, s (processor)",
        "LS-GKM, s (processor)",
        "ratio",
        "ratio, processor",
        "decision values differ by",
    ]
    lines = [head, ["---"] * len(head), *([*r, *[""] * (len(head) - len(r))] for r in rows)]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *(f"- {n}" for n in notes)]) + "\n"


if __name__ == "__main__":
    ours(Path(sys.argv[1]), int(sys.argv[2]))
