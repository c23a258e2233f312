"""A run whose heads were trained on the frozen network of another run: every task on its own, all at once.

The new run has the config, data and network of the reference and, for each task, the head that was best on valid among all
settings tried, or the reference's own head where none was better. So no task is worse on valid than it was.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dragon_jax.data.dataset import Dataset
from dragon_jax.errors import InputError
from dragon_jax.models.base import StrandModel
from dragon_jax.runs.directory import RunDir, read_json, write_json
from dragon_jax.runs.fit import data_fingerprint, describe_data, load_data, refuse_other_data
from dragon_jax.runs.model_inputs import read_inputs
from dragon_jax.runs.predictor import NetworkPredictor, load
from dragon_jax.runs.provenance import now, provenance
from dragon_jax.runs.settings import parse
from dragon_jax.training import heads
from dragon_jax.training.balance import balanced_share
from dragon_jax.training.checkpoints import Checkpoints
from dragon_jax.training.devices import Devices
from dragon_jax.training.losses import logit_shift, make_losses, part_statistics


@dataclasses.dataclass(frozen=True)
class FinetuneOptions:
    """How heads are trained.

    Attributes:
        rates, decays: learning rates of Adam and weight decays; every pair is tried for every task, and valid chooses.
        batch_size, epochs, patience: see `heads.HeadSettings`.
        shifts: bases by which training rows are moved, one look each.
    """

    rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3)
    decays: tuple[float, ...] = (0.0, 0.03)
    batch_size: int = 256
    epochs: int = 30
    patience: int = 4
    shifts: tuple[int, ...] = (0,)

    def __post_init__(self):
        for name, low in (("rates", 0), ("decays", 0)):
            values = getattr(self, name)
            good = [np.isfinite(v) and (v > low if name == "rates" else v >= low) for v in values]
            if not values or not all(good):
                raise InputError(f"{name}: expected one or more numbers above 0 (decays: or 0), found {values}")
        if not self.shifts:
            raise InputError("shifts: expected one or more whole numbers, found none")

    @property
    def pairs(self) -> list[tuple[float, float]]:
        return [(rate, decay) for rate in self.rates for decay in self.decays]


def finetune_heads(
    reference: str | os.PathLike,
    workdir: str | os.PathLike,
    options: FinetuneOptions | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> RunDir:
    """Writes the run directory `workdir`; `heads.tsv` in it says of each task what was chosen and what it gained on valid.

    Raises:
        InputError: the reference is no finished run of a network with linear heads, its data are not what they were, or the
            directory holds something.
    """
    options = options or FinetuneOptions()
    source, run = RunDir(os.fspath(reference)), RunDir(workdir)
    if run.exists():
        raise InputError(
            f"{run} holds a run already: expected a new directory to fine-tune into. Choose another --workdir"
        )
    predictor = load(source)
    if not isinstance(predictor, NetworkPredictor) or not isinstance(predictor.model, StrandModel):
        raise InputError(f"{source}: expected a network with linear heads to fine-tune, found another kind of model")
    settings = parse(source.config, imported=True)
    spec = settings.spec
    assert spec is not None
    if "data" not in source.config:
        raise InputError(f"{source} was imported without data: there is nothing to train its heads on")
    loaded = load_data(settings)
    refuse_other_data(source, loaded, settings)
    train, valid = loaded.part("train"), loaded.parts["valid"]
    if not isinstance(train, Dataset):
        raise InputError(f"{source} streams its rows: expected data that fit in memory. Set train.placement=memory")
    if max(map(abs, options.shifts)) >= train.length:
        raise InputError(
            f"shifts: expected less than the {train.length} bases of a row, found {max(map(abs, options.shifts))}"
        )
    began = time.monotonic()
    with run.claim():
        try:
            leaves, table = _train(predictor, settings.model, spec, train, valid, options, settings.seed, source, say)
            record: dict[str, Any] = provenance(Devices().describe(), settings.seed) | {"reason": "heads fine-tuned"}
            record |= {"unseen_sequences": loaded.unseen, "data_notes": dict(loaded.notes)}
            record |= {"data_fingerprint": data_fingerprint(loaded, settings), "data": describe_data(loaded)}
            record |= {"finetuned": {"reference": os.fspath(reference), "code": source.provenance.get("code")}}
            record["finetuned"] |= dataclasses.asdict(options)
            Checkpoints(run["checkpoints"]).save(leaves, 0, {"early": {"best_step": 0}, "reason": "heads fine-tuned"})
            write_json(run["model.json"], read_json(source["model.json"]))
            run.write_text("model.txt", source["model.txt"].read_text())
            run.write_text("heads.tsv", table)
            write_json(
                run["provenance.json"], record | {"seconds": {"all": time.monotonic() - began}, "finished": now()}
            )
            run.set_status("done", 0, finished=now())
            write_json(run["config.json"], source.config)  # last: with it, this is a run
        except BaseException:
            run.discard()
            raise
    return run


def _train(predictor, config, spec, train: Dataset, valid: Dataset, options, seed: int, source: RunDir, say):
    """Returns the leaves of a checkpoint with the new heads, and the table of what was chosen."""
    model: StrandModel = predictor.model
    read = read_inputs(config)
    train, valid = train.only_inputs(read), valid.only_inputs(read)
    devices = Devices()
    features = heads.head_features(model, predictor.variables, train, devices, shifts=options.shifts)
    valid_features = heads.head_features(model, predictor.variables, valid, devices)
    stats = part_statistics(train)
    losses = make_losses(train.tasks, stats, spec.loss)
    shift = logit_shift(train.tasks, stats, losses)
    # What balanced batches did to the logits is not in those that are trained here, which see rows as they come.
    balance = logit_shift(train.tasks, stats, losses, balanced_share(train.tasks, spec.train)) - shift
    head = predictor.variables["params"]["head"]
    kernel, bias = np.asarray(head["kernel"]), (np.asarray(head["bias"]) - balance).astype(np.float32)
    pairs, tasks = options.pairs, len(train.tasks)
    every = len(pairs)
    columns = heads.HeadSettings(
        np.tile(np.array([rate for rate, _ in pairs], np.float32), tasks),
        np.tile(np.array([decay for _, decay in pairs], np.float32), tasks),
        options.batch_size,
        options.epochs,
        options.patience,
    )
    say(f"features of {len(train):,} rows ({features.nbytes / 2**20:,.0f} MiB); {tasks} heads in {every} settings each")
    found = heads.fit_heads(
        model,
        features,
        heads.expanded(train.targets, every),
        valid_features,
        heads.expanded(valid.targets, every),
        heads.repeated(losses, every),
        heads.expanded(shift, every),
        heads.expanded(kernel, every),
        heads.expanded(bias, every),
        columns,
        seed,
        train.weights,
    )
    best, which = heads.chosen(found, every)
    before = heads.valid_losses(model, valid_features, valid.targets, losses, shift, kernel, bias)
    table = _table([t.name for t in train.tasks], before, best, [pairs[i] for i in which])
    gained = np.nansum(best.valid_loss < before)
    say(
        f"{int(gained)} of {tasks} heads have a lower loss on valid, mean {np.nanmean(before):.4f} to {np.nanmean(best.valid_loss):.4f}"
    )
    checkpoints = Checkpoints(source["checkpoints"])
    newest = max(checkpoints.steps())
    leaves = dict(checkpoints.load(int(checkpoints.loop(newest)["early"].get("best_step", newest))))
    group = "ema" if spec.optim.ema > 0 else "params"
    leaves = {k: v for k, v in leaves.items() if k.startswith((f"{group}/", "model_state/"))}
    leaves[f"{group}/head/kernel"] = best.kernel
    leaves[f"{group}/head/bias"] = (best.bias + balance).astype(np.float32)
    return leaves, table


def _table(
    names: Sequence[str], before: np.ndarray, best: heads.FittedHeads, pairs: Sequence[tuple[float, float]]
) -> str:
    lines = ["task\tvalid_loss_before\tvalid_loss\tlearning_rate\tweight_decay\tbest_epoch\tepochs"]
    for i, name in enumerate(names):
        rate, decay = pairs[i] if best.best_epoch[i] else (0.0, 0.0)
        lines.append(
            f"{name}\t{before[i]:.6f}\t{best.valid_loss[i]:.6f}\t{rate:g}\t{decay:g}\t{best.best_epoch[i]}\t{best.epochs[i]}"
        )
    return "\n".join(lines) + "\n"
