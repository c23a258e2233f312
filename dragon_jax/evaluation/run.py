"""Evaluation of a run on one of its splits, with the test split opened on the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dragon_jax.data.dataset import SPLITS, Dataset
from dragon_jax.data.load import sequence_digest
from dragon_jax.errors import InputError
from dragon_jax.evaluation.evaluate import chosen_thresholds, evaluate_predictions
from dragon_jax.evaluation.profiles import evaluate_profiles, profile_examples
from dragon_jax.files import atomic_write
from dragon_jax.runs.directory import RunDir, write_json
from dragon_jax.runs.predictor import load
from dragon_jax.runs.profile_predictor import ProfilePredictor
from dragon_jax.runs.provenance import now
from dragon_jax.runs.settings import parse


def evaluate_run(path: str | RunDir, split: str = "valid", data: Dataset | None = None) -> dict[str, Any]:
    """Evaluates the best weights of a run on a split, writes `results.json` and `predictions/SPLIT.npz`.

    Thresholds are chosen on valid and carried over to the other splits. Opening `test` is recorded in
    `provenance.json`, each time, because a number from a test split that was looked at often means less.

    Args:
        data: the split, when the caller has it in memory already; else it is read from the run's own source.

    Returns:
        The entry of `results.json` of this split.

    Raises:
        InputError: unknown or empty split, no checkpoint, or data that are not those the run was trained on.
    """
    if split not in SPLITS:
        raise InputError(f"--split: expected train, valid or test, found {split!r}")
    run = path if isinstance(path, RunDir) else RunDir(path)
    settings = parse(run.config, imported=True)
    predictor = load(run)
    if data is None:
        loaded = settings.data.load(settings.seed, splits=(split,))
        if split not in loaded.parts:
            raise InputError(f"{run}: its data have no split {split!r}")
        data = loaded.parts[split]
    recorded, found = run.provenance["data"], data.row_fingerprint()
    sequences = run.provenance.get("unseen_sequences", {}).get(split)
    if sequences is not None and sequences != sequence_digest(data):
        raise InputError(
            f"split {split!r} of {run}: its sequences are not those that were there while training. Restore the files"
        )
    if recorded.get(split, {}).get("fingerprint", found) != found:
        raise InputError(
            f"split {split!r} of {run} is not what it was when first read: data or their files have changed"
        )
    if predictor.length not in (None, data.length) or data.tasks != predictor.tasks:
        raise InputError(f"split {split!r} of {run} has other tasks or another length than the model")
    batch = settings.spec.train.eval_batch_size if settings.spec else 4096
    scores: dict[str, np.ndarray] = {}
    if isinstance(predictor, ProfilePredictor):
        scores = predictor.scores(data, batch)
        predictions = raw = predictor.values(scores["logits"])
    else:
        predictions, raw = predictor.predict_both(data, batch)
    before = run.results
    chosen = None
    if split != "valid" and "valid" in before:
        chosen = chosen_thresholds(before["valid"])
    e = settings.evaluate
    result = evaluate_predictions(
        predictions,
        raw,
        data.targets,
        data.tasks,
        thresholds=chosen,
        threshold_rule=e.threshold,
        fdr=e.fdr,
        bootstrap=e.bootstrap,
        seed=settings.seed,
        level=e.level,
    )
    if isinstance(predictor, ProfilePredictor):
        drawn = {"bootstrap": e.bootstrap, "seed": settings.seed, "level": e.level}
        means = predictor.mean_profiles()
        result["profiles"] = evaluate_profiles(
            scores, data, means, width=predictor.width, joint=predictor.joint, **drawn
        )
        result["profiles"]["examples"] = profile_examples(data, _spread(predictor, batch), predictor.width)
    result["evaluated"] = now()
    if split not in recorded:
        run.update(
            "provenance.json", data=recorded | {split: {"n": len(data), "length": data.length, "fingerprint": found}}
        )
    if split == "test":
        opened = [*run.provenance.get("test_opened", []), result["evaluated"]]
        run.update("provenance.json", test_opened=opened)
        result["times_opened"] = len(opened)
    if e.predictions:
        extra = {f"profile_{k}": scores[k].astype(np.float32) for k in ("nll", "jsd") if k in scores}
        _write_predictions(run, split, predictions, raw, data, extra)
    write_json(run["results.json"], before | {split: result})
    return result


def _spread(predictor: ProfilePredictor, batch_size: int) -> Callable[[Dataset], np.ndarray]:
    """Expected reads at each base of examples."""

    def spread(data: Dataset) -> np.ndarray:
        inputs = {k: v for k, v in data.inputs.items() if k in predictor.input_shapes}
        return predictor.profiles(data.codes, batch_size=batch_size, inputs=inputs).counts

    return spread


def _write_predictions(
    run: RunDir,
    split: str,
    predictions: np.ndarray,
    raw: np.ndarray,
    data: Dataset,
    extra: Mapping[str, np.ndarray],
) -> None:
    run["predictions"].mkdir(exist_ok=True)
    with atomic_write(run["predictions"] / f"{split}.npz", binary=True) as out:
        np.savez(
            out,
            predictions=predictions,
            raw=raw,
            targets=data.targets,
            ids=data.ids.astype(np.str_),
            tasks=np.array([t.name for t in data.tasks]),
            kinds=np.array([t.kind for t in data.tasks]),
            **extra,  # pyright: ignore[reportArgumentType]
        )
