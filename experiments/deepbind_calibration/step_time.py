"""Times one step of a population against the same members one by one, in one process on the same batch.

    python experiments/deepbind_calibration/step_time.py [--members=30] [--out=experiments/deepbind_calibration/step_time.md]

Rows: the population step; the same step with one member; the ordinary training step of model `deepbind` (network
with a hidden layer); and that network's gradient under `vmap`, which turns the convolutions into a grouped one.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dragon_jax.models.deepbind import DeepBindConfig
from dragon_jax.models.registry import make_model
from dragon_jax.runs.provenance import cores, versions
from dragon_jax.training.devices import Devices
from dragon_jax.training.population import init_population, logistic, make_population_step
from dragon_jax.training.trials import TrialRanges

BATCH, LENGTH = 64, 101


def median_ms(step, state, *batch, repeats: int) -> float:
    """Milliseconds of CPU time of `state = step(state, *batch)`, the median after one call that compiles.

    CPU time, because other processes may share the cores; on a device that is not the CPU it is time on the clock.
    """
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    state = jax.block_until_ready(step(state, *batch))
    times = []
    for _ in range(repeats):
        began = clock()
        state = jax.block_until_ready(step(state, *batch))
        times.append(1e3 * (clock() - began))
    return float(np.median(times))


def network_step(rate: float = 0.01, momentum: float = 0.98):
    """A step of the ordinary network, by automatic differentiation: `((params, trace), codes, targets) -> the same`."""
    model = make_model(DeepBindConfig(hidden=32, init_scale=0.01), 1)
    params = model.init(jax.random.key(0), {"codes": np.zeros((1, LENGTH), np.uint8)}, train=False)

    def step(state, codes, targets):
        params, trace = state

        def loss(params):
            return logistic(model.apply(params, {"codes": codes}, train=False)[:, 0], targets).mean()  # type: ignore[index]

        grads = jax.grad(loss)(params)
        trace = jax.tree.map(lambda g, t: g + momentum * t, grads, trace)
        return jax.tree.map(lambda w, g, t: w - rate * (g + momentum * t), params, grads, trace), trace

    return step, (params, jax.tree.map(jnp.zeros_like, params))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--members", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("step_time.md"))
    args = parser.parse_args()
    Devices()  # memory settings, as in training
    n = args.members
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (BATCH, LENGTH)).astype(np.uint8)
    targets = rng.integers(0, 2, BATCH).astype(np.float32)
    trials = TrialRanges().draw(n, 32, 0)
    # dropout and L1 act in all of the population's steps that are timed
    step = jax.jit(make_population_step(trials, 0))
    together = median_ms(step, init_population(trials, 16, 24, 0), codes, targets, repeats=args.repeats)
    one = [trials[-1]]
    step = jax.jit(make_population_step(one, 0))
    alone = median_ms(step, init_population(one, 16, 24, 0), codes, targets, repeats=5 * args.repeats)
    single, state = network_step()
    ordinary = median_ms(jax.jit(single), state, codes, targets, repeats=5 * args.repeats)
    many = jax.tree.map(lambda x: jnp.stack([x] * n), state)
    mapped = median_ms(
        jax.jit(jax.vmap(single, (0, None, None))), many, codes, targets, repeats=max(3, args.repeats // 5)
    )
    rows = [
        (f"population of {n}, one step", together),
        (f"{n} populations of one, a step each", n * alone),
        (f"{n} ordinary networks, a step each", n * ordinary),
        (f"ordinary network under vmap, {n} members", mapped),
    ]
    lines = ["| what | CPU ms | times the population's |", "|---|---|---|"]
    lines += [f"| {name} | {ms:.1f} | {ms / together:.1f} |" for name, ms in rows]
    packages = ", ".join(f"{k} {v}" for k, v in versions().items() if k in ("python", "jax", "numpy"))
    device = jax.devices()[0].device_kind
    lines += [
        "",
        f"Batch {BATCH}, {LENGTH} bases, 16 detectors of 24 bases; {packages}; {device}, {cores()} CPU core(s).",
    ]
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
