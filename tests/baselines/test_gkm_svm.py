"""The gkm-SVM baseline: what it finds, how it calibrates, what it refuses, and that it comes back from its arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.svm import SVC

from dragon_jax import dna, metrics
from dragon_jax.baselines import REGISTRY
from dragon_jax.baselines.gkm_kernels import KINDS
from dragon_jax.baselines.gkm_operator import Operator, norms, words
from dragon_jax.baselines.gkm_radial import matrix
from dragon_jax.baselines.gkmsvm import GkmConfig
from dragon_jax.baselines.gkmsvm_fit import cross_validate, platt
from dragon_jax.config import build, defaults
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError

MOTIF = dna.encode("TGACTCA")
SMALL = {"l": 6, "k": 4, "d": 2}


def dataset(n=200, seed=0, tasks=1, length=40):
    """Random sequences, the motif with one wrong letter planted on either strand in every second row."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length), np.uint8)
    has = np.arange(n) % 2 == 1
    for row in np.flatnonzero(has):
        at, motif = rng.integers(0, length - len(MOTIF)), MOTIF.copy()
        motif[rng.integers(len(MOTIF))] = rng.integers(4)
        codes[row, at : at + len(MOTIF)] = motif if rng.random() < 0.5 else dna.reverse_complement(motif)
    targets = np.stack([has] + [rng.permutation(has) for _ in range(tasks - 1)], 1).astype(np.float32)
    return Dataset(
        codes=codes, targets=targets, tasks=tuple(Task(f"t{i}") for i in range(tasks)), ids=np.arange(n).astype(str)
    )


@pytest.fixture(scope="module")
def fitted():
    train, valid = dataset(tasks=2), dataset(120, 9, tasks=2)
    return GkmConfig(**SMALL).fit(train, valid), train, valid


@pytest.mark.parametrize("kind", KINDS)
def test_decision_values_are_those_of_libsvm_on_the_matrix(kind):
    train, test = dataset(100), dataset(50, 11)
    config = GkmConfig(**SMALL, kind=kind, tolerance=1e-5, positive_weight=2.0, calibration_folds=2, gamma=0.7)
    model = config.fit(train)
    left, right = (words(d.codes, config.kernel) for d in (train, test))
    own, theirs = norms(left, config.kernel), norms(right, config.kernel)
    square, across = matrix(config.kernel, left, own, left, own), matrix(config.kernel, right, theirs, left, own)
    if not config.kernel.radial:
        product = Operator(config.kernel).matrix(left, own)
        np.testing.assert_allclose(np.stack([product(e) for e in np.eye(100)], 1), square, atol=1e-5)
    libsvm = SVC(kernel="precomputed", tol=1e-6, shrinking=False, class_weight={1: 2.0}).fit(
        square, train.targets[:, 0]
    )
    np.testing.assert_allclose(model.predict(test.codes, raw=True)[:, 0], libsvm.decision_function(across), atol=5e-4)
    assert metrics.auroc(model.predict(test.codes)[:, 0], test.targets[:, 0]) > 0.7


def test_cross_validation_scores_every_row_by_a_machine_that_has_not_seen_it():
    data, config = dataset(91), GkmConfig(**SMALL, calibration_folds=2)
    targets = data.targets.copy()
    targets[90] = np.nan
    data = dataclasses.replace(data, targets=targets)
    fold = np.arange(91) % 3 + 7
    found = cross_validate(config, data, fold)
    np.testing.assert_array_equal(np.isnan(found[:, 0]), np.arange(91) == 90)
    out = np.flatnonzero(fold[:90] == 8)
    rest = config.fit(data.take(np.flatnonzero(fold[:90] != 8)))
    np.testing.assert_allclose(found[out], rest.predict(data.codes[out], raw=True), atol=2e-3)
    drawn = cross_validate(config, data, 3, seed=1)
    assert metrics.auroc(drawn[:90, 0], targets[:90, 0]) > 0.7
    for folds, said in (
        (1, "expected 2 to 91, found 1"),
        (fold[:5], "for each of 91 rows"),
        (0 * fold, "two or more folds"),
    ):
        with pytest.raises(InputError, match=said):
            cross_validate(config, data, folds)


def test_too_many_sequences_for_a_radial_kernel_are_refused_at_once():
    codes = np.zeros((40_000, 6), np.uint8)
    targets = (np.arange(40_000) % 2).astype(np.float32)[:, None]
    data = Dataset(codes=codes, targets=targets, tasks=(Task("a"),), ids=np.arange(40_000).astype(str))
    with pytest.raises(
        InputError, match="40,000 x 40,000 sequences: expected at most 4 GiB of memory, found 6.0. Use fewer"
    ):
        GkmConfig(**SMALL, kind="gkmrbf").fit(data)


def test_finds_the_planted_motif_and_scores_words(fitted):
    model, _, valid = fitted
    assert metrics.auroc(model.predict(valid.codes)[:, 0], valid.targets[:, 0]) > 0.8
    best = [word for word, _ in model.top_words("t0", 3)]
    parts = {dna.decode(dna.canonical(MOTIF[None, i : i + 6])[0]) for i in (0, 1)}
    assert parts & set(best)
    word, score = model.top_words("t0", 1)[0]
    assert word == min(word, dna.decode(dna.reverse_complement(dna.encode(word))))
    np.testing.assert_allclose(score, model.predict([word], raw=True)[0, 0] + model.rho[0], rtol=1e-4)
    scores = model.word_scores("t0")
    index = int("".join(str(c) for c in dna.encode(word)), 4)
    assert scores.shape == (4**6,) and scores[index] == np.float32(score)
    with pytest.raises(InputError, match="no task called 't'"):
        model.top_words("t")


def test_one_strand_only_scores_words_as_it_predicts():
    model = GkmConfig(**SMALL, both_strands=False, calibration_folds=2).fit(dataset(80))
    word, score = model.top_words("t0", 1)[0]
    np.testing.assert_allclose(score, model.predict([word], raw=True)[0, 0] + model.rho[0], rtol=1e-4)


def test_a_task_is_fitted_as_if_it_were_alone(fitted):
    model, train, valid = fitted
    for t, task in enumerate(train.tasks):
        parts = [dataclasses.replace(d, tasks=(task,), targets=d.targets[:, t : t + 1]) for d in (train, valid)]
        alone = GkmConfig(**SMALL).fit(*parts)
        np.testing.assert_allclose(alone.predict(valid.codes)[:, 0], model.predict(valid.codes)[:, t], atol=1e-5)


def test_rows_without_a_label_and_without_weight_are_as_good_as_absent():
    full = dataset(120)
    keep = np.arange(120) < 80
    config, test = GkmConfig(**SMALL, calibration_folds=2), dataset(20, 5).codes
    expected = config.fit(full.take(keep)).predict(test, raw=True)
    masked = dataclasses.replace(full, targets=np.where(keep[:, None], full.targets, np.float32(np.nan)))
    weighted = dataclasses.replace(full, weights=keep.astype(np.float32))
    for other in (masked, weighted):
        np.testing.assert_allclose(config.fit(other).predict(test, raw=True), expected, atol=1e-4)
    doubled = config.fit(dataclasses.replace(full.take(keep), weights=np.full(80, 2, np.float32)))
    np.testing.assert_allclose(
        doubled.predict(test, raw=True),
        dataclasses.replace(config, strengths=(2.0,)).fit(full.take(keep)).predict(test, raw=True),
        atol=1e-4,
    )


def test_padding_is_no_part_of_a_sequence(fitted):
    model, _, valid = fitted
    short = valid.codes[:20, :25]
    filled = np.full((20, 40), dna.UNKNOWN, np.uint8)
    filled[:, :25] = short
    np.testing.assert_allclose(model.predict(filled), model.predict(short), rtol=1e-5)
    literal = dataclasses.replace(model, config=dataclasses.replace(model.config, padded=False))
    np.testing.assert_allclose(literal.predict(filled), model.predict(np.where(filled == 4, 0, filled)), rtol=1e-5)
    with pytest.raises(InputError, match="expected at least 6, the length of a word"):
        model.predict(["ACGTN"])


def test_both_strands_read_the_same(fitted):
    model, _, valid = fitted
    other = dna.reverse_complement(valid.codes)
    np.testing.assert_allclose(model.predict(other), model.predict(valid.codes), rtol=1e-5)


def test_input_may_be_letters_and_comes_back_in_order_whatever_the_batch(fitted):
    model, _, valid = fitted
    expected = model.predict(valid.codes)
    assert expected.dtype == np.float32 and expected.shape == (120, 2)
    np.testing.assert_array_equal(model.predict(dna.decode_many(valid.codes)), expected)
    np.testing.assert_allclose(model.predict(valid.codes, batch_size=7), expected, rtol=1e-5)
    assert model.predict(valid.codes[:1]).shape == (1, 2)


def test_probabilities_follow_valid_or_else_folds_of_train(fitted):
    model, train, valid = fitted
    raw = model.predict(valid.codes, raw=True).astype(np.float64)
    np.testing.assert_allclose(
        model.predict(valid.codes), 1 / (1 + np.exp(-raw * model.slope - model.offset)), rtol=1e-5
    )
    alone = GkmConfig(**SMALL, strengths=(1.0,)).fit(train)
    one_class = GkmConfig(**SMALL).fit(train, valid.take(valid.targets[:, 0] == 1))
    assert alone.slope[0] == one_class.slope[0] != model.slope[0]
    for each in (model, alone):
        truth = dataset(600, 21, tasks=2)
        measured = metrics.measure(each.predict(truth.codes)[:, :1], truth.targets[:, :1], ["binary"])[0]
        assert measured["ece"] < 0.15 and measured["log_loss"] < 0.6


def test_calibration_finds_the_log_odds_and_stays_finite_where_classes_are_apart():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=20_000)
    positive = rng.random(20_000) < 1 / (1 + np.exp(-(2 * scores - 1)))
    np.testing.assert_allclose(platt(scores, positive), (2, -1), atol=0.1)
    slope, offset = platt(np.array([-1.0, -0.9, 0.9, 1.0]), np.array([False, False, True, True]))
    assert 0 < slope < 10 and abs(offset) < 1e-6


def test_price_is_the_one_that_is_best_on_valid():
    train, valid = dataset(200), dataset(200, 9)
    strengths = (10.0, 1.0, 0.001)
    single = {s: GkmConfig(**SMALL, strengths=(s,)).fit(train, valid) for s in strengths}
    auroc = {s: metrics.auroc(m.predict(valid.codes, raw=True)[:, 0], valid.targets[:, 0]) for s, m in single.items()}
    lines = []
    chosen = GkmConfig(**SMALL, strengths=strengths).fit(train, valid, progress=lines.append)
    assert chosen.strengths[0] == max(strengths, key=lambda s: auroc[s]) and len(set(auroc.values())) > 1
    assert sum("auroc on valid" in line for line in lines) == 3
    np.testing.assert_allclose(
        chosen.predict(valid.codes, raw=True), single[chosen.strengths[0]].predict(valid.codes, raw=True), atol=3e-3
    )


def test_state_brings_the_model_back_bit_for_bit(fitted, tmp_path):
    model, _, valid = fitted
    np.savez(tmp_path / "model.npz", **model.state())
    with np.load(tmp_path / "model.npz", allow_pickle=False) as stored:
        again = model.config.from_state(model.tasks, model.length, dict(stored))
    np.testing.assert_array_equal(again.predict(valid.codes), model.predict(valid.codes))
    assert again.describe() == model.describe()
    assert "gkm_esttrunc (l=6, k=4, d=2), both strands" in model.describe() and "duality gap" in model.describe()
    with pytest.raises(InputError, match=r"coefficients: expected \(\d+, 1\), found \(\d+, 2\)"):
        model.config.from_state(model.tasks[:1], model.length, model.state())
    with pytest.raises(InputError, match="vectors: expected .* found none"):
        model.config.from_state(model.tasks, model.length, {})


def test_what_it_cannot_fit_is_refused():
    train, config = dataset(20), GkmConfig(**SMALL)
    with pytest.raises(InputError, match="task 't0' is real: expected binary tasks"):
        config.fit(dataclasses.replace(train, tasks=(Task("t0", "real"),)))
    with pytest.raises(InputError, match="has only the label 1 in split 'train'"):
        config.fit(train.take(train.targets[:, 0] == 1))
    with pytest.raises(InputError, match="names 2 strengths: expected a valid split"):
        dataclasses.replace(config, strengths=(1.0, 2.0)).fit(train)
    with pytest.raises(InputError, match="sequence 1 has 40 bases: expected at least 12|has 5 bases"):
        config.fit(dataclasses.replace(train, codes=train.codes[:, :5]))
    many = dataset(20)
    with pytest.raises(InputError, match="not linear in words"):
        dataclasses.replace(config, kind="gkmrbf", calibration_folds=2).fit(many).top_words("t0")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"l": 13}, "model.l: expected 3 <= x <= 12, found 13"),
        ({"d": 4, "k": 8}, "model.d: expected 0 <= x <= 3, found 4"),
        ({"kind": "kmer"}, "model.kind: expected 'gkm_cnt' or"),
        ({"strengths": (0.0,)}, "model.strengths: expected one or more positive numbers"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(fields, said):
    with pytest.raises(InputError, match=said):
        build(REGISTRY["gkmsvm"], fields, "model")


def test_defaults_build_the_config():
    assert build(GkmConfig, defaults(GkmConfig).to_dict()) == GkmConfig()
