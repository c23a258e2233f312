#!/usr/bin/env python3
"""How much memory it takes to index the windows of a genome and to prepare a data set of them, as their number grows.

    python scripts/benchmark_index.py --out=index                        (100,000, 1 and 10 million windows; minutes)
    python scripts/benchmark_index.py --windows 1000000 --stages read open prepare

Windows of 200 bases lie 20 apart on 8 contigs of a random genome; one task has a peak every 10,000 bases or so; two
contigs are valid and test. Each stage runs in a process of its own: `read` reads the FASTA file for the first time,
`open` decides which windows stand in which split (edges, unknown bases, copies between splits), `prepare` is the whole
of `dragon prepare`, files written. Peak is the largest resident memory that the system saw (`VmHWM` in
`/proc/self/status`; `ru_maxrss` may be that of the process which started this one); its anonymous part, and the part
that is the mapped genome and libraries and can be dropped at any time, are read 50 times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

LENGTH, STRIDE, CONTIGS = 200, 20, 8
WIDTH = 60  # bases of a line
STAGES = ("read", "open", "prepare")


def write_inputs(folder: Path, windows: int) -> None:
    """Writes a random genome that has about so many windows, and peaks, some lines at a time."""
    rng = np.random.default_rng(0)
    lines = -(-(windows * STRIDE // CONTIGS + LENGTH) // WIDTH)
    with open(folder / "genome.fa", "wb") as genome, open(folder / "peaks.bed", "w") as peaks:
        for contig in range(CONTIGS):
            genome.write(f">chr{contig + 1}\n".encode())
            for at in range(0, lines, 100_000):
                block = np.full((min(100_000, lines - at), WIDTH + 1), ord("\n"), np.uint8)
                block[:, :WIDTH] = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, (len(block), WIDTH), np.uint8)]
                genome.write(block.tobytes())
            for start in np.sort(rng.integers(0, lines * WIDTH - 200, max(1, lines * WIDTH // 10_000))).tolist():
                peaks.write(f"chr{contig + 1}\t{start}\t{start + 200}\n")


def config(folder: Path) -> dict[str, Any]:
    """The `data` part of a config for these files."""
    source = {"name": "genome", "genome": str(folder / "genome.fa"), "files": {"one": str(folder / "peaks.bed")}}
    source |= {"length": LENGTH, "stride": STRIDE}
    split = {"name": "chromosome", "valid_values": ("chr7",), "test_values": ("chr8",)}
    return {"source": source, "split": split}


class Watch(threading.Thread):
    """Follows the resident memory of this process, anonymous and mapped from files, in kB."""

    def __init__(self):
        super().__init__(daemon=True)
        self.largest = {"RssAnon": 0, "RssFile": 0, "VmHWM": 0}
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            self.look()

    def look(self) -> None:
        """Takes note of the memory at this moment, and of its peak so far, which the system keeps."""
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in self.largest:
                self.largest[name] = max(self.largest[name], int(value.split()[0]))


def stage(name: str, folder: Path) -> dict[str, Any]:
    """Does one stage in this process and returns what it took."""
    watch = Watch()
    watch.start()
    started = time.perf_counter()
    rows: dict[str, int] = {}
    if name == "read":
        from dragon_jax.genome.genome import Genome

        Genome(folder / "genome.fa")
    elif name == "open":
        from dragon_jax.data.load import data_config

        rows = {split: len(part) for split, part in data_config(config(folder)).open(0).parts.items()}
    else:
        from dragon_jax.data.prepare import prepare

        prepare({"data": config(folder)}, folder / "prepared", name="index")
    seconds = time.perf_counter() - started
    watch.ended.set()
    watch.join()
    watch.look()
    return {
        "seconds": seconds,
        "peak_mb": watch.largest["VmHWM"] / 1000,
        "anonymous_mb": watch.largest["RssAnon"] / 1000,
        "mapped_mb": watch.largest["RssFile"] / 1000,
        "rows": rows,
    }


def measure(windows: int, stages: list[str]) -> list[dict[str, Any]]:
    """Returns one row for each stage over a genome of about so many windows."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, windows)
        environment = {**os.environ, "DRAGON_CACHE": str(folder / "cache")}
        for each in stages:
            command = [sys.executable, __file__, "--stage", each, str(folder)]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
            row = {"windows": windows, "stage": each, **json.loads(done.stdout.splitlines()[-1])}
            found.append(row)
            print(line(row), flush=True)
    return found


def line(row: dict[str, Any]) -> str:
    sizes = " | ".join(f"{row[key]:,.0f}" for key in ("peak_mb", "anonymous_mb", "mapped_mb"))
    return f"| {row['windows']:,} | {row['stage']} | {sizes} | {row['seconds']:,.1f} |"


def markdown(report: dict[str, Any]) -> str:
    heading = [
        "| windows | stage | peak, MB | anonymous, MB | mapped, MB | s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    about = f"{report['cpu']}, {report['cores']} cores; Python {report['python']}, NumPy {report['numpy']}"
    return "\n".join([f"`{report['command']}`", "", *heading, *map(line, report["rows"]), "", about, ""])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--windows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--stages", choices=STAGES, nargs="+", default=["read", "open"])
    parser.add_argument("--out", help="also write OUT.json and OUT.md")
    parser.add_argument("--stage", nargs=2, metavar=("STAGE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.stage:
        print(json.dumps(stage(options.stage[0], Path(options.stage[1]))))
        return 0
    from benchmark import cpu_model

    rows = [row for windows in options.windows for row in measure(windows, options.stages)]
    report = {
        "command": " ".join(["scripts/benchmark_index.py", *(sys.argv[1:] if arguments is None else arguments)]),
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "rows": rows,
    }
    if options.out:
        Path(f"{options.out}.json").write_text(json.dumps(report, indent=1) + "\n")
        Path(f"{options.out}.md").write_text(markdown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
