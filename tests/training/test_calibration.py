"""The calibration: folds that share nothing, the planted best wins, a stop anywhere ends with the same numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.data.dataset import Dataset, Kind, Task
from dragon_jax.errors import InputError, RunError
from dragon_jax.training.calibration import Plan, Rows, Workplace, calibrate
from dragon_jax.training.deepbind_calibrated import DeepBindCalibratedConfig
from dragon_jax.training.trainer import Stopped
from dragon_jax.training.trials import Trial, TrialRanges, assign_folds, choose_trial

PLAN = Plan(detectors=3, width=5, batch_size=16, balance=0.5, l1_from=2, seed=3)


def planted(n=90, length=16, seed=0) -> Rows:
    """Random sequences, a third of them with TGACG somewhere."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length)).astype(np.uint8)
    targets = (np.arange(n) % 3 == 0).astype(np.float32)
    for i in np.flatnonzero(targets):
        at = rng.integers(0, length - 5)
        codes[i, at : at + 5] = dna.encode("TGACG")
    return Rows(codes, targets)


def trial(rate: float, hidden: int = 0) -> Trial:
    return Trial(hidden, rate, 0.9, 0.3, 0.3, 0.0, 0.0, 0.0)


TRIALS = [trial(1e-5), trial(0.05), trial(1e30, hidden=2)]  # that hardly moves, that learns, that explodes


def run(place=None, say=lambda line: None):
    return calibrate(PLAN, TRIALS, planted(), folds=2, marks=(20, 40), retrained=2, place=place or Workplace(), say=say)


@pytest.fixture(scope="module")
def undisturbed():
    return run()


def test_folds_share_no_sequence_on_either_strand_and_hold_both_classes_alike():
    rows = planted(300)
    codes = np.concatenate([rows.codes, dna.reverse_complement(rows.codes[:50])])
    targets = np.concatenate([rows.targets, rows.targets[:50]])
    fold = assign_folds(codes, targets, 3, seed=0)
    np.testing.assert_array_equal(fold[300:], fold[:50])
    for label in (0, 1):
        sizes = np.bincount(fold[:300][targets[:300] == label], minlength=3)
        assert sizes.max() - sizes.min() <= 1
    assert (assign_folds(codes, targets, 3, seed=1) != fold).any()
    np.testing.assert_array_equal(assign_folds(codes, targets, 3, seed=0), fold)
    few = np.zeros(350, np.float32)
    few[:2] = 1
    with pytest.raises(InputError, match="3 or more different training sequences with label 1.*found 2"):
        assign_folds(codes, few, 3, seed=0)


def test_settings_are_drawn_from_the_published_ranges():
    trials = TrialRanges().draw(400, 32, seed=0)
    assert [t.hidden for t in trials] == [0] * 200 + [32] * 200
    rates, momenta, scales = (
        np.array([getattr(t, k) for t in trials]) for k in ("learning_rate", "momentum", "detector_scale")
    )
    assert 5e-4 <= rates.min() < 6e-4 and 0.045 < rates.max() <= 0.05
    assert np.median(np.log(rates)) == pytest.approx(np.log(5e-3), abs=0.3)
    assert np.median(momenta) == pytest.approx(0.95 + 0.04 * np.sqrt(0.5), abs=0.002)
    assert np.median(np.log10(scales)) == pytest.approx(-5, abs=0.3)
    assert {t.dropout for t in trials} == {0.0, 0.25, 0.5}
    assert np.mean([t.dropout == 0 for t in trials]) == pytest.approx(0.5, abs=0.08)
    assert TrialRanges().draw(10, 32, seed=0)[0] == trials[0]  # of (seed, number) alone
    assert TrialRanges().draw(3, 0, seed=1)[0].hidden == 0
    with pytest.raises(ValueError, match="learning_rate: expected 0 < lowest <= highest"):
        TrialRanges(learning_rate=(0.1, 0.01))


def test_the_smallest_mean_over_folds_wins_and_what_was_not_finite_cannot():
    losses = np.full((4, 3, 5), 0.6)
    losses[2, :, 3] = 0.3, 0.5, 0.4  # mean 0.40
    losses[1, :, 1] = 0.1, 0.6, 0.6  # the best single fold, mean 0.43
    losses[3] = 0.01
    losses[3, 1, 4:] = np.nan
    assert choose_trial(losses) == (2, 3)
    with pytest.raises(RunError, match="all 4 settings"):
        choose_trial(np.full((4, 3, 5), np.nan))


def test_the_planted_setting_is_chosen_and_the_exploded_one_counted(undisturbed):
    record = undisturbed.record
    assert record["chosen"] == {
        "setting": 1,
        "steps": 40,
        "loss": pytest.approx(np.mean([f[1] for f in record["settings"][1]["losses"]])),
    }
    assert record["non_finite"] == 1 and min(record["settings"][2]["non_finite_at"]) >= 0
    assert record["settings"][1]["non_finite_at"] == [-1, -1]
    assert np.isnan(record["settings"][2]["losses"]).any()
    assert record["chosen"]["loss"] < record["settings"][0]["mean_losses"][1] - 0.02
    assert sum(record["fold_rows"]) == 90
    final = record["retrained_losses"]
    assert len(set(final)) == 2 and record["kept"] == int(np.argmin(final))
    assert undisturbed.parameters.hidden == 0


def test_stopped_and_started_again_it_ends_with_the_same_numbers(undisturbed, tmp_path):
    done, said = 0, []
    for at in (25, 60, 81, 119):  # inside a fold, at a mark, at the start of the retrainings and just before their end
        left = iter([0] * (at - done - 1) + [15] + [0] * 1000)
        with pytest.raises(Stopped) as stopped:
            run(Workplace(tmp_path, lambda left=left: next(left)))
        done = stopped.value.step
        assert done == at
    again = run(Workplace(tmp_path), said.append)
    np.testing.assert_equal(again.record, undisturbed.record)
    for name, array in again.parameters.arrays().items():
        np.testing.assert_array_equal(array, undisturbed.parameters.arrays()[name])
    assert any("going on from step" in line for line in said)


def dataset(rows: Rows, kind: Kind = "binary", **more) -> Dataset:
    ids = np.array([f"r{i}" for i in range(len(rows.codes))])
    return Dataset(rows.codes, rows.targets[:, None], (Task("T", kind),), ids, **more)


CONFIG = DeepBindCalibratedConfig(
    detectors=3,
    width=5,
    hidden=2,
    trials=2,
    folds=2,
    steps=8,
    checkpoints=2,
    retrained=1,
    batch_size=8,
    ranges=TrialRanges(detector_scale=(0.1, 0.2), dense_scale=(0.1, 0.2)),
)


def test_the_share_of_the_batches_is_taken_out_of_the_score():
    rows = planted(60)
    fitted = CONFIG.fit(dataset(rows), seed=1)
    as_trained = np.log(0.5 / 0.5)
    assert fitted.predict(rows.codes).mean() == pytest.approx(rows.targets.mean(), abs=0.12)
    raw = fitted.predict(rows.codes, raw=True) - np.log(1 / 3 / (2 / 3)) + as_trained
    assert (1 / (1 + np.exp(-raw))).mean() == pytest.approx(0.5, abs=0.12)
    back = CONFIG.from_state(fitted.tasks, fitted.length, fitted.state())
    np.testing.assert_array_equal(back.predict(rows.codes), fitted.predict(rows.codes))
    assert "held-out loss" in fitted.describe() and "held-out" not in back.describe()
    with pytest.raises(InputError, match="sequences of 3 bases: expected 16"):
        fitted.predict(["ACG"])


def test_what_it_cannot_learn_is_refused():
    rows = planted(12)
    with pytest.raises(InputError, match="learns one binary task, found 1 \\(T: real\\)"):
        CONFIG.fit(dataset(rows, "real"))
    with pytest.raises(InputError, match="cannot weigh rows"):
        CONFIG.fit(dataset(rows, weights=np.ones(12, np.float32)))
    with pytest.raises(ValueError, match="steps"):
        dataclasses.replace(CONFIG, steps=1)
