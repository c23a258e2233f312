"""Time of one prediction of 256 sequences, in a process of its own, on one core and on all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

N, CALLS = 256, 10


def prediction_times(folder: Path) -> dict[str, Any]:
    """Returns the median milliseconds of ten calls after a first one, batch of 256: on one core, and on all."""
    times = {}
    for name, cores in (("ms_one_core", 1), ("ms_all_cores", 0)):
        done = subprocess.run(
            [sys.executable, __file__, str(folder), str(cores)], capture_output=True, text=True, check=True
        )
        times[name] = json.loads(done.stdout)
    return times


def measure(folder: str) -> float:
    """Returns the median milliseconds of `predict` on 256 random sequences given as codes."""
    import statistics
    import time

    import numpy as np

    from dragon_jax.runs.directory import RunDir
    from dragon_jax.runs.predictor import load

    run = RunDir(folder)
    predictor, rng = load(run), np.random.default_rng(0)
    codes = rng.integers(0, 4, (N, predictor.length or 101), np.uint8)
    shapes = getattr(predictor, "input_shapes", {})
    inputs = {k: rng.random((N, *shape), np.float32) for k, shape in shapes.items()}
    more = {"inputs": inputs} if inputs else {}
    predictor.predict(codes, batch_size=N, **more)  # compiles
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        predictor.predict(codes, batch_size=N, **more)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


if __name__ == "__main__":
    if int(sys.argv[2]) and hasattr(os, "sched_setaffinity"):  # before JAX and NumPy count the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = sys.argv[2]
    print(json.dumps(measure(sys.argv[1])))
