"""The two sides of `benchmark.py`: our networks and their twins in PyTorch, each a worker in a process of its own.

Which networks these are, `benchmark_networks.py` says.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from benchmark_networks import NETWORKS, as_torch

PREDICTED = 256
BATCHES = 8  # different batches that the steps go round


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table: a network, what it does, on how many examples at once."""

    network: str
    task: str  # "train" or "predict"
    batch: int

    @property
    def name(self) -> str:
        return f"{self.network}, {'training step' if self.task == 'train' else 'prediction'}, n = {self.batch}"


CASES = [
    Case("convnet", "train", 128),
    Case("convnet", "predict", PREDICTED),
    Case("deepbind", "train", 64),
    Case("deepbind", "train", 128),
    Case("deepbind", "predict", PREDICTED),
    Case("deepsea", "train", 16),
    Case("deepsea", "predict", PREDICTED),
    Case("factornet", "train", 32),
    Case("factornet", "predict", PREDICTED),
    Case("dilated", "train", 32),
    Case("dilated", "predict", PREDICTED),
]


def examples(network: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes uint8 `[n, L]`, one base in a hundred unknown, and targets float32 `[n, T]`."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, NETWORKS[network].length), np.uint8)
    codes[rng.random(codes.shape) < 0.01] = 4
    return codes, rng.integers(0, 2, (n, NETWORKS[network].tasks)).astype(np.float32)


def pin(threads: int) -> None:
    """Keeps this process on the first `threads` cores that it may use; XLA and OpenMP size their pools by that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


# ------------------------------------------------------------------------------------------------------ our side


class Ours:
    """Our networks, with the step that `dragon train` runs."""

    def __init__(self, threads: int):
        import jax

        from dragon_jax.training.devices import Devices

        self.jax, self.devices = jax, Devices()
        if jax.default_backend() != "cpu":
            jax.config.update("jax_default_matmul_precision", "highest")  # float32 as on the other side, no TF32
        self.about = {
            "device": self.devices.describe(),
            "versions": versions("dragon_jax", "jax", "jaxlib", "flax", "optax"),
        }
        self.states: dict[str, Any] = {}
        self.steps: dict[Case, Any] = {}
        self.predictors: dict[str, Any] = {}
        self.predicted: dict[Case, np.ndarray] = {}  # drawn beforehand, as on the other side

    def peak(self) -> float:
        """Operations per second of the best matrix product here."""
        jnp, product = self.jax.numpy, self.jax.jit(self.jax.numpy.matmul)

        def multiply(n: int) -> Callable[[], Any]:
            a = jnp.ones((n, n), jnp.float32)
            return lambda: self.jax.block_until_ready(product(a, a))

        return best_rate(multiply)

    def build(self, network: str, weights: str) -> None:
        """Makes the network and writes its fresh weights to `weights`, with names of our own parameter tree."""
        from dragon_jax import sections
        from dragon_jax.data.dataset import Task
        from dragon_jax.models.registry import make_model, model_config
        from dragon_jax.training import losses, optimizers, predict, step, weighting

        about = NETWORKS[network]
        self.model = make_model(model_config({"name": network, **about.fields}), about.tasks)
        codes, targets = examples(network, 4, 0)
        tasks = tuple(Task(f"bound_{i}") for i in range(about.tasks))
        task_losses = losses.make_losses(tasks, losses.task_statistics(targets, tasks), sections.LossConfig())
        weigh = weighting.make_weighting(sections.WeightingConfig(), weighting.plain_facts([t.name for t in tasks]))
        optim = sections.OptimConfig(learning_rate=about.rate)
        tx = optimizers.make_optimizer(optim, 1_000_000)
        state = step.init_state(self.model, {"codes": codes}, np.zeros(about.tasks, np.float32), tx, weigh, 0, False)
        self.states[network] = self.devices.copy(state)
        self.train_step = step.make_train_step(self.model, task_losses, weigh, tx, optim, sections.AugmentConfig())
        self.predictors[network] = predict.LogitFunction(self.model, self.devices)
        path = functools.partial(self.jax.tree_util.keystr, simple=True, separator="/")
        leaves = {path(p): np.asarray(x) for p, x in self.jax.tree_util.tree_leaves_with_path(state.params)}
        np.savez(weights, **leaves)  # pyright: ignore[reportArgumentType]

    def prepare(self, case: Case) -> float:
        """Compiles one case; returns the seconds that it took."""
        started = time.perf_counter()
        if case.task == "predict":
            self.predicted[case] = examples(case.network, case.batch, 1)[0]
            started = time.perf_counter()
            self.predict(case.network, self.predicted[case])
            return time.perf_counter() - started
        jitted = self.jax.jit(self.train_step, donate_argnums=0)
        batches = []
        for seed in range(BATCHES):
            codes, targets = examples(case.network, case.batch, seed)
            batches.append(self.devices.put({"codes": codes, "targets": targets}))
        started = time.perf_counter()
        self.steps[case] = jitted.lower(self.states[case.network], batches[0], None).compile(), batches
        return time.perf_counter() - started

    def predict(self, network: str, codes: np.ndarray) -> np.ndarray:
        params = {"params": self.states[network].params}
        return self.predictors[network](params, {"codes": codes}, len(codes))

    def run(self, case: Case, count: int) -> None:
        if case.task == "predict":
            for _ in range(count):
                self.predict(case.network, self.predicted[case])
            return
        step, batches = self.steps[case]
        state = self.states[case.network]
        for i in range(count):
            state = step(state, batches[i % BATCHES], None)
        self.states[case.network] = self.jax.block_until_ready(state)


# ---------------------------------------------------------------------------------------------- the PyTorch side


class Torch:
    """The same networks, losses and optimiser in PyTorch."""

    def __init__(self, threads: int, compiled: bool):
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(threads)
        self.torch, self.compiled = torch, compiled
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        self.about = {"device": f"1 {self.device.type} ({name})", "versions": versions("torch")}
        self.models: dict[str, Any] = {}
        self.optimizers: dict[str, Any] = {}
        self.batches: dict[Case, Any] = {}

    def peak(self) -> float:
        """Operations per second of the best matrix product here."""

        def multiply(n: int) -> Callable[[], Any]:
            a = self.torch.ones((n, n), device=self.device)
            return lambda: float((a @ a)[0, 0])  # reading a number waits for a GPU

        return best_rate(multiply)

    def build(self, network: str, weights: str) -> None:
        about, state = NETWORKS[network], {}
        model = about.twin(about)
        with np.load(weights) as ours:
            for name in ours.files:
                state |= as_torch(name, ours[name], about)
        model.load_state_dict({k: self.torch.from_numpy(v) for k, v in state.items()})
        model = model.to(self.device)
        self.optimizers[network] = self.torch.optim.Adam(model.parameters(), lr=about.rate, fused=True)
        self.loss = self.torch.nn.BCEWithLogitsLoss()
        self.models[network] = self.torch.compile(model) if self.compiled else model

    def one_hot(self, codes: np.ndarray, network: str) -> Any:
        hot = (codes[:, None, :] == np.arange(4, dtype=np.uint8)[:, None]).astype(np.float32)
        hot[np.broadcast_to(codes[:, None, :] > 3, hot.shape)] = NETWORKS[network].unknown
        return self.torch.from_numpy(hot)

    def prepare(self, case: Case) -> float:
        """Makes the inputs of a case and calls the network once on both; returns the seconds of that first call."""
        if case.task == "predict":
            self.batches[case] = self.one_hot(examples(case.network, case.batch, 1)[0], case.network)
        else:
            made = [examples(case.network, case.batch, seed) for seed in range(BATCHES)]
            self.batches[case] = [
                (self.one_hot(codes, case.network).to(self.device), self.torch.from_numpy(targets).to(self.device))
                for codes, targets in made
            ]
        started = time.perf_counter()
        model = self.models[case.network]
        if case.task == "predict":
            self.run(case, 1)
        else:
            inputs, targets = self.batches[case][0]
            self.loss(model(inputs), targets).backward()  # no optimiser step: the weights stay as they are
        return time.perf_counter() - started

    def predict(self, network: str, codes: np.ndarray) -> np.ndarray:
        return self._predict(network, self.one_hot(codes, network))

    def _predict(self, network: str, inputs: Any) -> np.ndarray:
        model = self.models[network].eval()
        with self.torch.inference_mode():
            return model(inputs.to(self.device)).cpu().numpy()

    def run(self, case: Case, count: int) -> None:
        batches = self.batches[case]
        if case.task == "predict":
            for _ in range(count):
                self._predict(case.network, batches)
            return
        model, optimizer = self.models[case.network].train(), self.optimizers[case.network]
        for i in range(count):
            inputs, targets = batches[i % BATCHES]
            optimizer.zero_grad(set_to_none=True)
            self.loss(model(inputs), targets).backward()
            optimizer.step()
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()


def best_rate(multiply: Callable[[int], Callable[[], Any]], sizes: tuple[int, ...] = (1024, 2048)) -> float:
    """Returns the most float32 operations per second of square matrix products; `multiply(n)` makes the call of size n."""
    best = 0.0
    for n in sizes:
        call = multiply(n)
        call()
        best = max([best, *(2 * n**3 / clock(call)[0] for _ in range(5))])
    return best


def versions(*packages: str) -> dict[str, str]:
    return {p: importlib.metadata.version(p) for p in packages}


def clock(function: Callable[[], Any], count: int = 1) -> tuple[float, float]:
    """Returns the seconds of wall clock and of CPU time that one of `count` repeats took."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def serve(pipe: Any, side: str, threads: int, compiled: bool, waiting: str) -> None:
    """A process of one side: does what it is asked, one request at a time, and sleeps in between."""
    pin(threads)
    if waiting == "passive":
        os.environ["OMP_WAIT_POLICY"] = "passive"  # read when PyTorch is imported, which is not before the next line
    worker = Ours(threads) if side == "ours" else Torch(threads, compiled)
    while (request := pipe.recv()) is not None:
        name, arguments = request
        if name == "about":
            pipe.send(worker.about)
        elif name == "time":
            case, count = arguments
            pipe.send(clock(functools.partial(worker.run, case, count), count))
        else:
            pipe.send(getattr(worker, name)(*arguments))
