"""The one door between training and use: a run directory becomes something that predicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from dragon_jax import dna
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.input_spec import InputSpec, refuse_negative, refuse_not_finite
from dragon_jax.errors import InputError, listing
from dragon_jax.models.registry import make_model
from dragon_jax.runs.directory import RunDir, read_json
from dragon_jax.runs.model_inputs import as_arrays, count_inputs, wanted
from dragon_jax.runs.settings import Settings, parse
from dragon_jax.runtime import check_device
from dragon_jax.training.balance import balanced_share
from dragon_jax.training.checkpoints import Checkpoints, restore, to_leaves
from dragon_jax.training.devices import Devices
from dragon_jax.training.losses import TaskStatistics, logit_shift
from dragon_jax.training.predict import LogitFunction
from dragon_jax.training.profile_losses import losses_for
from dragon_jax.training.trainer import best_variables

# Strings, codes `[N, L]` or one-hot; codes `[L]` of each where a model takes any length.
Sequences = Iterable[str] | Iterable[np.ndarray] | np.ndarray


@runtime_checkable
class Predictor(Protocol):
    """What every model of the project can do.

    Attributes:
        tasks: what the columns of its predictions are. length: bases of its input, None = any number.
    """

    tasks: tuple[Task, ...]

    @property
    def length(self) -> int | None: ...

    def predict(self, sequences: Sequences, *, raw: bool = False, batch_size: int = 256) -> np.ndarray:
        """Returns float32 `[N, T]`: probability, value or rate; with `raw` the logit, value or log rate."""
        ...


class NetworkPredictor:
    """Predictions of a trained network.

    Attributes:
        specs: the extra inputs that it reads, by name; see `data.input_spec`. input_shapes: shape of a row of each.
        count_inputs: those that must be at least 0.
    """

    def __init__(self, settings: Settings, outputs: Mapping[str, Any], leaves: dict[str, np.ndarray], where: str):
        spec = settings.spec
        assert spec is not None
        self.tasks = tuple(Task(t["name"], t["kind"]) for t in outputs["tasks"])
        self.length: int = outputs["length"]
        self.input_shapes, self.specs = _inputs_of(outputs["inputs"])
        self.count_inputs = count_inputs(settings.model)
        stats = TaskStatistics(*(np.array([t[k] for t in outputs["tasks"]]) for k in ("measured", "mean", "scale")))
        self._losses = losses_for(settings.model, self.tasks, stats, spec.loss)
        self._shift = logit_shift(self.tasks, stats, self._losses, balanced_share(self.tasks, spec.train))
        model = make_model(settings.model, len(self.tasks), spec.train.compute_dtype, self.specs)
        self._devices = Devices()
        self._logits = LogitFunction(model, self._devices)
        self.variables = self._devices.copy(_fitting(model, self._example(), leaves, spec.optim.ema > 0, where))
        self.model = model

    @property
    def units(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What turns logits into predictions, float64 `[T]` each: subtracted shift; centre and scale of real values."""
        return self._shift, self._losses.center.astype(np.float64), self._losses.scale.astype(np.float64)

    def _example(self) -> dict[str, np.ndarray]:
        extra = {k: np.zeros((1, *shape), np.float32) for k, shape in self.input_shapes.items()}
        return {"codes": np.zeros((1, self.length), np.uint8), **extra}

    def logits(self, codes: np.ndarray, inputs: Mapping[str, np.ndarray], batch_size: int) -> np.ndarray:
        """Returns float32 `[N, T]` as the network gives them, class weights and balancing not yet taken out."""
        self.check(codes, inputs)
        return self._logits(self.variables, {"codes": codes, **inputs}, batch_size)

    def check(self, codes: np.ndarray, inputs: Mapping[str, np.ndarray]) -> None:
        """Raises InputError when sequences or inputs are not those that this network reads."""
        if codes.shape[1] != self.length:
            raise InputError(
                f"sequences of {codes.shape[1]} bases: expected {self.length}, the length this model was trained on. Crop or pad them"
            )
        if set(inputs) != set(self.input_shapes):
            mend = f". Give {wanted(list(self.input_shapes))}" if self.input_shapes and not inputs else ""
            raise InputError(
                f"inputs of this model: expected {listing(self.input_shapes) or 'none'}, found {listing(inputs) or 'none'}{mend}"
            )
        for name, shape in self.input_shapes.items():
            found = inputs[name].shape
            if found != (len(codes), *shape):
                raise InputError(
                    f"input '{name}' of this model: expected the shape {[len(codes), *shape]}, found {list(found)}"
                )
            refuse_not_finite(np.asarray(inputs[name]), f"input '{name}'")
            if name in self.count_inputs:
                refuse_negative(np.asarray(inputs[name]), f"input '{name}'")

    def predict(
        self,
        sequences: Sequences,
        *,
        raw: bool = False,
        batch_size: int = 256,
        inputs: Any = None,
    ) -> np.ndarray:
        """Returns float32 `[N, T]` in the order of the input.

        Args:
            sequences: strings, codes `[N, L]` or one-hot; all of `length` bases.
            raw: logit, value or log rate instead of probability, value or rate.
            inputs: mapping of names to further inputs `[N, ...]` for models that read them: those that `specs` names, all of them.

        Raises:
            InputError: wrong lengths, letters or inputs.
        """
        codes = dna.letters(sequences)
        logits = self.logits(codes, as_arrays(inputs), batch_size)
        return (self._losses.raw if raw else self._losses.values)(logits, shift=self._shift)

    def predict_both(self, data: Dataset, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns predictions and raw predictions of a data set from one pass."""
        logits = self.logits(data.codes, {k: v for k, v in data.inputs.items() if k in self.input_shapes}, batch_size)
        return self._losses.values(logits, shift=self._shift), self._losses.raw(logits, shift=self._shift)


def _inputs_of(record: Mapping[str, Any]) -> tuple[dict[str, list[int]], dict[str, InputSpec]]:
    """Shapes and specs of the inputs in `model.json`; in runs of an older release there are shapes alone."""
    shapes, specs = {}, {}
    for name, own in record.items():
        shapes[name] = own if isinstance(own, list) else own["shape"]
        plain = {"kind": "signal" if len(own) == 2 else "vector", "columns": []} if isinstance(own, list) else own
        specs[name] = InputSpec.of(plain)
    return shapes, specs


def _fitting(model, example: dict[str, np.ndarray], leaves: dict[str, np.ndarray], ema: bool, where: str) -> Any:
    """Returns the kept weights after checking that they fit this network, each mismatch by its path."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), example, train=False))
    template = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    return restore(template, to_leaves(best_variables(leaves, ema)), where)


class BaselinePredictor:
    """Predictions of a baseline, with the same face; it reads no inputs but the sequence."""

    def __init__(self, model: Any):
        self.model = model
        self.specs: dict[str, InputSpec] = {}
        self.tasks: tuple[Task, ...] = model.tasks
        self.length: int | None = model.length
        self.shortest: int = getattr(model, "shortest", 1)

    def predict(
        self,
        sequences: Sequences,
        *,
        raw: bool = False,
        batch_size: int = 256,
        inputs: Any = None,
    ) -> np.ndarray:
        """Returns float32 `[N, T]`; see `Predictor`. Raises InputError when it is given `inputs`."""
        if given := as_arrays(inputs):
            raise InputError(
                f"inputs of this model: expected none, it reads the sequence alone, found {listing(given)}"
            )
        return self.model.predict(sequences, raw=raw, batch_size=batch_size)

    def predict_both(self, data: Dataset, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns predictions and raw predictions of a data set."""
        return tuple(self.model.predict(data.codes, raw=raw, batch_size=batch_size) for raw in (False, True))  # type: ignore[return-value]


def load(run: str | RunDir, step: int | None = None) -> NetworkPredictor | BaselinePredictor:
    """Returns the predictor of a run: its best weights, or those of a checkpoint.

    Nothing of the run is executed: `config.json` holds plain values.

    Raises:
        InputError: no run there, no checkpoint yet, or a damaged one (the sentence names an intact one).
    """
    check_device()
    folder = run if isinstance(run, RunDir) else RunDir(run)
    settings, outputs = parse(folder.config, imported=True), read_json(folder["model.json"])
    checkpoints = Checkpoints(folder["checkpoints"])
    steps = checkpoints.steps()
    if not steps:
        state = folder.status["state"]
        if folder.status.get("finished"):
            raise InputError(
                f"{folder} has no checkpoint any more (state: {state}): expected weights in {folder['checkpoints']}. "
                "Put them back, or train in a new --workdir"
            )
        raise InputError(f"{folder} has no checkpoint yet (state: {state}). Let 'dragon train' go on first")
    if step is None:
        newest = max(steps)
        step = int(checkpoints.loop(newest)["early"].get("best_step", newest)) if settings.is_network else newest
    leaves = checkpoints.load(step)
    where = f"checkpoint {step} of {folder}"
    if settings.is_network:
        if settings.model.name == "bpnet":
            from dragon_jax.runs.profile_predictor import ProfilePredictor

            return ProfilePredictor(settings, outputs, leaves, where)
        return NetworkPredictor(settings, outputs, leaves, where)
    tasks = tuple(Task(t["name"], t["kind"]) for t in outputs["tasks"])
    return BaselinePredictor(settings.model.from_state(tasks, outputs["length"], leaves))
