"""`deepbind_published`: a released DeepBind model as it is, for sequences of any length. Nothing is fitted.

`dragon import deepbind FILE` makes a run of it; with data, it is evaluated and compared like any model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32

from dragon_jax.baselines.kmer import values
from dragon_jax.baselines.ragged import each
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.records import sha256
from dragon_jax.errors import InputError, listing
from dragon_jax.files import locate
from dragon_jax.models.deepbind_files import CITATION, FORMAT, DeepBindParameters, read_deepbind, shapes
from dragon_jax.models.deepbind_windows import Window, score_windows


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepBindPublishedConfig:
    """Which parameters, and how sequences longer than a window are scored.

    Attributes:
        file: parameter file, see `models.deepbind_files`.
        window: `whole`, `program` or `kipoi`, see `models.deepbind_windows`.
    """

    TRAINED_ELSEWHERE: ClassVar[bool] = True  # a config may do without data
    ON_DEVICE: ClassVar[bool] = True  # read by JAX

    name: str = "deepbind_published"
    file: str = ""
    window: Window = "whole"

    def __post_init__(self):
        if self.file in ("", "-"):
            raise ValueError(f"file: expected the path of a DeepBind parameter file, found {self.file or 'none'!r}")

    def fit(
        self,
        train: Dataset,
        valid: Dataset | None = None,
        seed: int = 0,
        progress: Callable[[str], None] = lambda line: None,
    ) -> DeepBindPublishedModel:
        """Reads the file for the one task of `train`; neither rows nor labels are looked at.

        Raises:
            InputError: a bad file, or tasks that are not one binary or real task.
        """
        return self.read(train.tasks)

    def read(self, tasks: Sequence[Task]) -> DeepBindPublishedModel:
        """Returns the model of the file, whose score is the prediction of the one task in `tasks`.

        Raises:
            InputError: as `fit`.
        """
        if len(tasks) != 1 or tasks[0].kind == "count":
            raise InputError(
                f"a DeepBind model scores one binary or real task, found {len(tasks)} ({listing(t.name for t in tasks)}): "
                "choose one column of labels"
            )
        parameters = read_deepbind(self.file)
        imported = {"file": self.file, "sha256": sha256(locate(self.file)), "format": FORMAT, "citation": CITATION}
        return DeepBindPublishedModel(self, tuple(tasks), parameters, {"imported": imported})

    def from_state(
        self, tasks: Sequence[Task], length: int | None, state: Mapping[str, np.ndarray]
    ) -> DeepBindPublishedModel:
        """Returns the model whose `state()` this is; the file is not needed, and `length` is of no matter.

        Raises:
            InputError: the arrays do not fit each other or these tasks.
        """
        parameters = stored_parameters(tasks, state)
        return DeepBindPublishedModel(self, tuple(tasks), parameters)


@dataclasses.dataclass(frozen=True)
class DeepBindPublishedModel:
    """A released model with the face of all predictors.

    Attributes:
        tasks: the one task. length: None, sequences may have any length.
        origin: what the provenance of a run should say of where this comes from.
    """

    config: DeepBindPublishedConfig
    tasks: tuple[Task, ...]
    parameters: DeepBindParameters
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    length: None = None

    def predict(
        self, sequences: Iterable[str] | Iterable[np.ndarray] | np.ndarray, *, raw: bool = False, batch_size: int = 256
    ) -> Float32[np.ndarray, "N 1"]:
        """Returns float32 `[N, 1]` in the order of the input: sigmoid of the score for a binary task, else the score.

        Args:
            sequences: strings or codes `[L]` of any lengths, codes `[N, L]` or one-hot.
            raw: the original score.
            batch_size: sequences (windows) at a time, at most.

        Raises:
            InputError: no sequences, empty ones, or letters that are no nucleotides.
        """
        scores = score_windows(self.parameters, each(sequences), self.config.window, batch_size)[:, None]
        return scores if raw else values(scores, self.tasks)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `from_state` needs, as arrays."""
        return store_parameters(self.parameters)

    def describe(self) -> str:
        """Returns the printed summary: detectors, pooling, hidden units, strands, windows."""
        p = self.parameters
        windows = {
            "whole": "the whole sequence is one window",
            "program": f"best window of {3 * p.width // 2} bases by itself",
            "kipoi": f"best window of {3 * p.width // 2} bases, which sees its neighbours",
        }[self.config.window]
        hidden = f"{p.hidden} hidden units" if p.hidden else "no hidden layer"
        return (
            f"deepbind_published: {len(p.thresholds)} detectors of {p.width} bases, maximum{' and mean' * p.mean_pool}, {hidden}, "
            f"{'both strands' if p.reverse_complement else 'one strand'}\n"
            f"  sequences of any length; {windows}\n"
            f"  parameters: {p.count:,}"
        )


def store_parameters(parameters: DeepBindParameters) -> dict[str, np.ndarray]:
    """Returns parameters as the arrays of a checkpoint."""
    stored = {k: v for k, v in parameters.arrays().items() if v.size}
    return stored | {"flags": np.array([parameters.reverse_complement, parameters.mean_pool], np.int64)}


def stored_parameters(tasks: Sequence[Task], state: Mapping[str, np.ndarray]) -> DeepBindParameters:
    """Returns the parameters that `store_parameters` made these arrays of.

    Raises:
        InputError: the arrays do not fit each other or these tasks.
    """
    arrays = {k: np.asarray(v) for k, v in state.items()}
    detectors, flags = arrays.get("detectors", np.zeros(0)), arrays.pop("flags", np.zeros(0))
    wrong = detectors.ndim != 3 or flags.shape != (2,) or len(tasks) != 1
    if not wrong:
        hidden = len(arrays.get("weights2", ()))
        expected = shapes(detectors.shape[2], detectors.shape[0], bool(flags[1]), hidden)
        for name in ("weights2", "biases2"):  # empty arrays are not stored
            arrays.setdefault(name, np.zeros(expected[name], np.float32))
        wrong = {k: v.shape for k, v in arrays.items()} != expected
    if wrong:
        raise InputError("stored DeepBind parameters do not fit each other or the task. Was the run changed?")
    return DeepBindParameters(reverse_complement=bool(flags[0]), mean_pool=bool(flags[1]), **arrays)
