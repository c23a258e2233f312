#!/usr/bin/env python3
"""How long a scan with a whole motif collection takes beside MOODS and memelite (a faster FIMO), on this machine.

    python scripts/benchmark_scan.py                    (about two minutes on two cores; needs MOODS-python and memelite)

The 1,443 motifs of HOCOMOCO v12 (from $DRAGON_DATA; otherwise random ones of the same widths) against 1,000 random
sequences of 200 to 1,000 bases, both strands, p = 1e-4, uniform background, log2((p + 1e-4) / 0.25) as memelite has it.
Each side lives in a process of its own on the same cores, and they take turns; a row's ratio is the time of the other
side over ours, worked out round by round. Before anything is timed, our hits must be those of MOODS at equal
thresholds, one by one, and contain those of memelite, whose thresholds lie on a coarser grid.

What is timed. All start from sequences as text; memelite reads them from a FASTA file, having no other way in for
unequal lengths. `prepared`: thresholds, tables and, on MOODS' side, its scanner exist already; MOODS' matches are left
where it keeps them, ours are a sorted table with p-values. memelite has no prepared form: its rows are whole calls, with
data frames or with counts alone. `from matrices`: everything from PSSMs to hits, at our usual grid of 0.001 and at 0.01
(memelite: 0.1). Compilation is reported apart.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import alternate, print_rows, row
from benchmark_sides import clock, pin, versions

PVALUE = 1e-4
EPSILON = 1e-4  # memelite adds it to each probability
COLLECTION = "motifs/H12CORE_meme_format.meme"
WIDTHS = {
    7: 5,
    8: 28,
    9: 55,
    10: 101,
    11: 175,
    12: 176,
    13: 133,
    14: 115,
    15: 86,
    16: 79,
    17: 79,
    18: 73,
    19: 60,
    20: 61,
}
WIDTHS |= {21: 32, 22: 19, 23: 101, 24: 16, 25: 26, 26: 4, 28: 1, 30: 3, 31: 15}
Hit = tuple[int, int, int, str]  # sequence, start, motif, strand


def motifs() -> tuple[str, dict[str, np.ndarray]]:
    """Returns where they come from, and probabilities `[W, 4]` by name."""
    path = Path(os.environ.get("DRAGON_DATA", "data")) / COLLECTION
    if path.exists():
        from dragon_jax.motifs.files import read_motifs

        return COLLECTION, {m.name: m.probabilities for m in read_motifs(path)}
    rng = np.random.default_rng(0)
    widths = np.repeat(list(WIDTHS), list(WIDTHS.values()))
    return "random motifs", {f"m{i}": rng.dirichlet([0.3] * 4, w) for i, w in enumerate(widths)}


def sequences(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    letters = np.frombuffer(b"ACGT", np.uint8)
    return [letters[rng.integers(0, 4, n)].tobytes().decode() for n in rng.integers(200, 1001, count)]


def pssms(probabilities: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.log2((p + EPSILON) / 0.25) for name, p in probabilities.items()}


class Ours:
    def __init__(self, probabilities: dict[str, np.ndarray], texts: list[str], folder: str):
        import jax

        self.matrices, self.texts = pssms(probabilities), texts
        self.about = {"device": str(jax.devices()[0]), "versions": versions("dragon_jax", "jax", "jaxlib")}

    def prepare(self) -> dict[str, float]:
        started = time.perf_counter()
        self.scanner = self._scanner(1e-3)
        self.scanner.thresholds  # noqa: B018
        ready = time.perf_counter()
        self.prepared()
        first = time.perf_counter()
        self.prepared()
        return {
            "thresholds_s": ready - started,
            "first_scan_s": first - ready,
            "second_scan_s": time.perf_counter() - first,
        }

    def _scanner(self, granularity: float) -> Any:
        from dragon_jax.motifs.scan import Scanner

        return Scanner(self.matrices, pvalue=PVALUE, granularity=granularity)

    def _codes(self) -> list[np.ndarray]:
        from dragon_jax.dna import encode

        return [encode(text) for text in self.texts]

    def thresholds(self) -> list[float]:
        return self.scanner.thresholds.tolist()

    def hits(self) -> dict[Hit, float]:
        h = self.scanner.hits(self._codes())
        columns = (h.sequence, h.start, h.motif, h.strand)
        return dict(zip(zip(*(c.tolist() for c in columns), strict=True), h.score.tolist(), strict=True))

    def prepared(self) -> None:
        self.scanner.hits(self._codes())

    def whole(self) -> None:
        self._scanner(1e-3).hits(self._codes())

    def whole_coarser(self) -> None:
        self._scanner(1e-2).hits(self._codes())

    def best(self) -> None:
        self.scanner.best(self._codes())

    def log_sum(self) -> None:
        self.scanner.log_sum(self._codes())


class Moods:
    def __init__(self, probabilities: dict[str, np.ndarray], texts: list[str], folder: str):
        self.matrices = [[tuple(r) for r in m.T.tolist()] for m in pssms(probabilities).values()]
        self.texts = texts
        self.about = {"device": "1 core (it has no threads)", "versions": versions("MOODS-python")}

    def prepare(self, limits: list[float]) -> None:
        self.scanner = self._scanner(limits)

    def _scanner(self, limits: list[float]) -> Any:
        import MOODS.scan  # pyright: ignore[reportMissingImports]
        import MOODS.tools  # pyright: ignore[reportMissingImports]

        scanner = MOODS.scan.Scanner(7)
        other = [MOODS.tools.reverse_complement(m) for m in self.matrices]
        scanner.set_motifs(self.matrices + other, [0.25] * 4, list(limits) * 2)
        return scanner

    def hits(self) -> dict[Hit, float]:
        count = len(self.matrices)
        return {
            (i, match.pos, c % count, "+-"[c // count]): match.score
            for i, text in enumerate(self.texts)
            for c, matches in enumerate(self.scanner.scan(text))
            for match in matches
        }

    def prepared(self) -> None:
        for text in self.texts:
            self.scanner.scan(text)

    def whole(self) -> None:
        import MOODS.tools  # pyright: ignore[reportMissingImports]

        self.scanner = self._scanner([MOODS.tools.threshold_from_p(m, [0.25] * 4, PVALUE) for m in self.matrices])
        self.prepared()


class Memelite:
    def __init__(self, probabilities: dict[str, np.ndarray], texts: list[str], folder: str):
        self.motifs = {name: np.ascontiguousarray(p.T) for name, p in probabilities.items()}
        self.fasta = str(Path(folder) / "sequences.fa")
        Path(self.fasta).write_text("".join(f">{i}\n{text}\n" for i, text in enumerate(texts)))
        self.about = {"device": "cpu", "versions": versions("memelite", "numba")}

    def _fimo(self, **options: Any) -> Any:
        from memelite import fimo  # pyright: ignore[reportMissingImports]

        return fimo(self.motifs, self.fasta, threshold=PVALUE, eps=EPSILON, **options)

    def prepare(self) -> float:
        started = time.perf_counter()
        self.frames()
        self.counts()
        return time.perf_counter() - started

    def hits(self) -> dict[Hit, float]:
        return {
            (int(r[0]), int(r[1]), m, r[2]): r[3]
            for m, frame in enumerate(self._fimo())
            for r in zip(frame["sequence_name"], frame["start"], frame["strand"], frame["score"], strict=True)
        }

    def frames(self) -> None:
        self._fimo()

    def counts(self) -> None:
        self._fimo(return_counts=True)


def serve(pipe: Any, side: Callable[..., Any], threads: int, *arguments: Any) -> None:
    """A process of one side: does what it is asked, one request at a time, and sleeps in between."""
    pin(threads)
    os.environ["NUMBA_NUM_THREADS"] = str(threads)  # read when memelite is imported
    worker = side(*arguments)
    while (request := pipe.recv()) is not None:
        name, *rest = request
        if name == "time":
            pipe.send(clock(getattr(worker, rest[0])))
        else:
            found = getattr(worker, name)
            pipe.send(found(*rest) if callable(found) else found)


class Process:
    """Calls methods of a side that lives in a process of its own."""

    def __init__(self, side: Callable[..., Any], threads: int, *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, side, threads, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def __call__(self, *request: Any) -> Any:
        try:
            self._pipe.send(request)
            return self._pipe.recv()
        except (EOFError, OSError):
            raise SystemExit("benchmark: a side failed; its message is above") from None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self.process.join(10)


def agree(ours: dict[Hit, float], moods: dict[Hit, float], memelite: dict[Hit, float]) -> dict[str, Any]:
    """Returns how well hits agree, or ends the program: times of different results are worth nothing."""
    if ours.keys() != moods.keys():
        raise SystemExit(f"benchmark: {len(ours.keys() ^ moods.keys()):,} hits are ours or MOODS' alone: expected none")
    shared = ours.keys() & memelite.keys()
    found = {
        "hits": len(ours),
        "hits_of_memelite": len(memelite),
        "of_them_ours": len(shared) / len(memelite),
        "difference": max(abs(s - moods[h]) for h, s in ours.items()),
        "difference_to_memelite": max(abs(ours[h] - memelite[h]) for h in shared),
    }
    if found["difference"] > 1e-9 or found["difference_to_memelite"] > 1e-3 or found["of_them_ours"] < 0.99:
        raise SystemExit(f"benchmark: hits or scores differ: {found}")
    return found


# Name of the row; what we do; what the other side does; its share of the rounds.
CASES = (
    ("hits, prepared (MOODS)", "prepared", "moods", "prepared", 1.0),
    ("hits, prepared (memelite's whole call)", "prepared", "memelite", "frames", 1.0),
    ("hits, prepared (memelite, counts only)", "prepared", "memelite", "counts", 1.0),
    ("hits, from matrices (MOODS)", "whole", "moods", "whole", 0.2),
    ("hits, from matrices (memelite)", "whole", "memelite", "frames", 1.0),
    ("hits, from matrices, grid 0.01 (memelite)", "whole_coarser", "memelite", "frames", 1.0),
)


def scans(rounds: int, threads: int, count: int = 1000) -> dict[str, Any]:
    """Times all cases; returns the rows, what the sides say about themselves, and how their hits agree."""
    source, probabilities = motifs()
    texts = sequences(count)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"ours": Ours, "moods": Moods, "memelite": Memelite}
        sides = {name: Process(kind, threads, probabilities, texts, folder) for name, kind in kinds.items()}
        try:
            first = sides["ours"]("prepare")
            sides["moods"]("prepare", sides["ours"]("thresholds"))
            first["memelite_first_calls_s"] = sides["memelite"]("prepare")
            agreement = agree(*(side("hits") for side in sides.values()))
            print(
                f"{len(probabilities):,} motifs ({source}), {sum(map(len, texts)):,} bases; {agreement}; {first}",
                flush=True,
            )
            rows = []
            for name, what, other, theirs, share in CASES:
                turns = [
                    functools.partial(sides["ours"], "time", what),
                    functools.partial(sides[other], "time", theirs),
                ]
                timed = alternate(turns, max(1, round(rounds * share)))
                rows.append(row(name, *timed, difference=agreement["difference"]))
                print_rows(rows[-1:])
                cpu = rows[-1]["cpu_time"]
                print(f"    CPU time {cpu['ours']['median']:.2f} s and {cpu['other']['median']:.2f} s", flush=True)
            for what in ("best", "log_sum"):  # neither of the others has them
                sides["ours"](what)
                first[f"{what}_s"] = min(sides["ours"]("time", what)[0] for _ in range(3))
            about = {name: side("about") for name, side in sides.items()}
        finally:
            for side in sides.values():
                side.close()
    return {"rows": rows, "sides": about, "agreement": agreement, "first": first}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="CPU cores for each side (default 2)")
    parser.add_argument("--rounds", type=int, default=9, help="alternating rounds per row (default 9)")
    parser.add_argument("--sequences", type=int, default=1000, help="how many sequences (default 1,000)")
    parser.add_argument("--out", help="write OUT.json as well")
    options = parser.parse_args(arguments)
    if min(options.threads, options.rounds, options.sequences) < 1:
        parser.error("--threads, --rounds and --sequences: expected numbers above 0")
    report = scans(options.rounds, options.threads, options.sequences)
    print(json.dumps(report["first"] | {"sides": report["sides"]}, indent=1))
    if options.out:
        Path(f"{options.out}.json").write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
