"""A run that takes seconds, as a config file and as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TINY = """
import dragon_jax


def get_config():
    c = dragon_jax.template(model="convnet", source="simulation")
    c.data.source.positives, c.data.source.negatives, c.data.source.length = 150, 150, 40
    c.data.split.valid, c.data.split.test = 0.2, 0.2
    c.model.filters, c.model.widths, c.model.pool_width = (8,), (16,), 0
    c.model.strands, c.model.dropout = "average", 0.2
    c.augment.shift, c.augment.mutate, c.augment.reverse_complement = 2, 0.01, 0.5
    c.optim.learning_rate, c.optim.ema = 0.02, 0.9
    c.train.batch_size, c.train.steps, c.train.eval_every, c.train.checkpoint_every = 16, 120, 20, 3
    c.train.patience, c.train.monitor = 4, "auroc"
    c.train.tensorboard = False
    c.evaluate.bootstrap = 20
    return c
"""


def write_config(folder: Path, extra: str = "") -> Path:
    """Writes the tiny config; `extra` lines go before its return."""
    path = folder / "tiny.py"
    lines = "".join(f"    {line}\n" for line in extra.splitlines())
    path.write_text(TINY.replace("    return c\n", lines + "    return c\n"))
    return path


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "dragon_jax.cli", *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"} | more


def dragon(*words: str | Path, **kwargs) -> subprocess.CompletedProcess:
    """Runs the command and returns its code and what it printed."""
    env = environment(**kwargs.pop("env", {}))
    return subprocess.run(command(*words), capture_output=True, text=True, env=env, timeout=300, **kwargs)
