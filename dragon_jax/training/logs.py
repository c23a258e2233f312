"""What a run writes while it trains: `metrics.jsonl`, TensorBoard files, and a line on the terminal.

`metrics.jsonl` holds no times, so that a resumed run's file equals the undisturbed one's to the byte.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dragon_jax.errors import RunError, listing


def jsonable(value: Any) -> Any:
    """Returns `value` with NumPy numbers made plain and NaN or infinity made None."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def read_metrics(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Returns the whole lines of a `metrics.jsonl` and the 1-based numbers of those that are torn, which are skipped.

    A line is whole when it is a JSON object with a whole number `step`: what a killed process, a full disk or a power
    cut leaves of a line is no such thing.
    """
    rows, torn = [], []
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:  # of JSON or of UTF-8
            row = None
        if isinstance(row, dict) and type(row.get("step")) is int:
            rows.append(row)
        else:
            torn.append(number)
    return rows, torn


def torn_sentence(path: str | Path, torn: list[int]) -> str:
    """Returns one sentence on the torn lines of a `metrics.jsonl`, or an empty string when there are none."""
    if not torn:
        return ""
    which = f"line {torn[0]} is" if len(torn) == 1 else f"lines {listing(torn)} are"
    return f"{path}: {which} torn (expected a whole JSON object with a step) and left out; all other lines are kept"


class MetricsLog:
    """Appends evaluations to `metrics.jsonl` and TensorBoard.

    Attributes:
        note: a sentence on torn lines that were taken out of the file, or an empty string.
    """

    def __init__(self, folder: Path, *, tensorboard: bool, tasks: list[str], resume_step: int):
        """Cuts what was written after `resume_step`: those steps are about to be done again."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        rows, torn = read_metrics(self.path)
        kept = [r for r in rows if r["step"] <= resume_step]
        self.note = torn_sentence(self.path, torn)
        if torn or len(kept) != len(rows) or not _ends_whole(self.path):
            temporary = self.path.with_suffix(".tmp")
            with open(temporary, "w") as out:
                out.writelines(json.dumps(r) + "\n" for r in kept)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, self.path)
        self._few = tasks if len(tasks) <= 20 else []
        self._board = None
        if tensorboard:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from tensorboardX import SummaryWriter

                purge = resume_step + 1 if resume_step else None
                self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=purge, flush_secs=30)

    def write(self, row: dict[str, Any], extra: Mapping[str, float]) -> None:
        """Writes one evaluation; `extra` (rates, times) goes to TensorBoard only."""
        try:
            with open(self.path, "a") as out:
                out.write(json.dumps(jsonable(row)) + "\n")
                out.flush()
                os.fsync(out.fileno())
        except OSError as e:
            raise RunError(
                f"could not write {self.path}: {e.strerror}. Make room and give the same command again: it goes on from the "
                "last checkpoint"
            ) from e
        if self._board is None:
            return
        split, step = row["split"], row["step"]
        scalars = {f"{split}/loss": row["loss"], **{f"{split}/{k}": v for k, v in row.get("mean", {}).items()}}
        for task in self._few:
            scalars |= {f"{split}_tasks/{task}/{k}": v for k, v in row["per_task"][task].items()}
        for name, value in {**scalars, **extra}.items():
            if value is not None and math.isfinite(value):
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _ends_whole(path: Path) -> bool:
    """Whether the last line has its end, so that the next one will not be joined to it."""
    return not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")


class Progress:
    """A bar with rate and time left on a terminal; on anything else a line at each evaluation only."""

    def __init__(self, total: int, start: int, batch_size: int, quiet: bool = False):
        self.batch_size, self.quiet = batch_size, quiet
        self.first_step: float | None = None
        self._bar = None
        self._began = self._mark = time.monotonic()
        self._done = self._marked = start
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=start, unit="step", dynamic_ncols=True, leave=False, smoothing=0.1)

    def step(self, step: int, loss: float | None = None) -> None:
        """Says that `step` steps are finished."""
        if self._bar is not None:
            self._bar.update(step - self._done)
            if loss is not None:
                self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        self._done = step

    def rate(self) -> float:
        """Returns examples per second since the last call."""
        now = time.monotonic()
        rate = (self._done - self._marked) * self.batch_size / max(now - self._mark, 1e-9)
        self._mark, self._marked = now, self._done
        return rate

    def restart_clock(self) -> None:
        """Leaves the time since the last `rate` (an evaluation, a save) out of the next one."""
        self._mark = time.monotonic()

    def say(self, text: str) -> None:
        """Prints a line without breaking the bar."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
