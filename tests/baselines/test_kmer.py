"""The k-mer baseline: what it counts, what it finds, what it refuses, and that it comes back from its arrays."""

from __future__ import annotations

import dataclasses
import gzip

import numpy as np
import pytest

from dragon_jax import dna, metrics
from dragon_jax.baselines import REGISTRY
from dragon_jax.baselines.kmer import KmerConfig
from dragon_jax.config import build, defaults
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError

MOTIF = dna.encode("TGACTCA")
SMALL = {"k": (4,), "strengths": (1.0, 0.1, 0.01)}


def sequences(n, seed, length=40):
    """Random codes, the motif planted on either strand in every second row, and where it was."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length), np.uint8)
    has = np.arange(n) % 2 == 1
    for row in np.flatnonzero(has):
        at = rng.integers(0, length - len(MOTIF))
        codes[row, at : at + len(MOTIF)] = MOTIF if rng.random() < 0.5 else dna.reverse_complement(MOTIF)
    return codes, has


def dataset(n=600, seed=0, kinds=("binary", "real", "count"), gaps=0.0):
    codes, has = sequences(n, seed)
    rng = np.random.default_rng(seed + 1)
    columns = {"binary": has, "real": 5 + 2 * has + rng.normal(0, 0.5, n), "count": rng.poisson(np.where(has, 9, 1))}
    targets = np.stack([columns[k] for k in kinds], 1).astype(np.float32)
    targets[rng.random(targets.shape) < gaps] = np.nan
    tasks = tuple(Task(f"{k} task", k) for k in kinds)
    return Dataset(codes=codes, targets=targets, tasks=tasks, ids=np.arange(n).astype(str))


@pytest.fixture(scope="module")
def mixed():
    return KmerConfig(**SMALL).fit(dataset(gaps=0.2), dataset(200, 9, gaps=0.2))


def test_features_are_the_counts_of_the_words_of_each_length():
    codes = dna.encode_many(["ACGTACGN", "TTTTTTTT"])
    config = KmerConfig(k=(1, 2), canonical=False, transform="count")
    found = {w: list(c) for w, c in zip(config.words, config.features(codes).T, strict=True) if c.any()}
    expected = {"A": [2, 0], "C": [2, 0], "G": [2, 0], "T": [1, 8], "AC": [2, 0], "CG": [2, 0], "GT": [1, 0]}
    assert found == expected | {"TA": [1, 0], "TT": [0, 7]}
    joined = KmerConfig(k=2, transform="count")
    assert joined.features(codes)[:, joined.words.index("AC")].tolist() == [3, 0]  # AC and GT


@pytest.mark.parametrize(
    ("transform", "change"),
    [
        ("log1p", np.log1p),
        ("frequency", lambda c: c / np.maximum(c.sum(1, keepdims=True), 1)),
        ("present", lambda c: c > 0),
    ],
)
def test_transforms(transform, change):
    codes = np.concatenate([sequences(5, 0)[0], np.full((1, 40), 4, np.uint8)])  # the last row holds no word
    config = KmerConfig(k=(3, 2), transform=transform)
    expected = np.concatenate([change(dna.kmer_counts(codes, k)) for k in (3, 2)], 1)
    np.testing.assert_allclose(config.features(codes), expected, rtol=1e-6)
    assert (config.features(codes, extra=1)[:, -1] == 1).all()


@pytest.mark.parametrize("kind", ["logistic", "linear"])
@pytest.mark.parametrize("scale", ["common", "each"])
def test_finds_a_planted_motif(kind, scale):
    train, valid, test = (dataset(n, s, ("binary",)) for n, s in ((1500, 0), (300, 5), (400, 7)))
    model = KmerConfig(kind=kind, scale=scale, k=5).fit(train, valid)
    assert metrics.auroc(model.predict(test.codes)[:, 0], test.targets[:, 0]) > 0.97
    motif = {dna.decode(dna.canonical(MOTIF[None, i : i + 5])[0]) for i in range(3)}
    assert {word for word, _ in model.top_words("binary task", 3)} == motif


def test_each_kind_of_task_is_predicted_in_its_own_terms(mixed):
    test = dataset(400, 11)
    predictions, raw = mixed.predict(test.codes), mixed.predict(test.codes, raw=True)
    assert predictions.dtype == raw.dtype == np.float32
    np.testing.assert_allclose(predictions[:, 0], 1 / (1 + np.exp(-raw[:, 0])), rtol=1e-6)
    np.testing.assert_array_equal(predictions[:, 1], raw[:, 1])
    np.testing.assert_allclose(predictions[:, 2], np.exp(raw[:, 2]), rtol=1e-6)
    scores = metrics.measure(predictions, test.targets, [t.kind for t in test.tasks])
    assert scores[0]["auroc"] > 0.9 and scores[1]["r2"] > 0.5 and scores[2]["spearman"] > 0.5
    assert abs(predictions[:, 2].mean() - test.targets[:, 2].mean()) < 1


def test_choosing_by_log_loss_gives_truer_probabilities_than_choosing_by_rank():
    train, valid, test = (dataset(n, s, ("binary",)) for n, s in ((600, 0), (300, 5), (2000, 7)))
    models = {c: KmerConfig(k=4, choose_by=c).fit(train, valid) for c in ("auroc", "log_loss")}
    on_valid, on_test = (
        {c: metrics.measure(m.predict(d.codes), d.targets, ["binary"])[0] for c, m in models.items()}
        for d in (valid, test)
    )
    assert on_valid["auroc"]["auroc"] >= on_valid["log_loss"]["auroc"]
    assert on_valid["log_loss"]["log_loss"] <= on_valid["auroc"]["log_loss"]
    assert on_test["log_loss"]["ece"] < 0.06


def test_a_task_is_fitted_as_if_it_were_alone(mixed):
    train, valid, test = dataset(gaps=0.2), dataset(200, 9, gaps=0.2), dataset(50, 11)
    for t, task in enumerate(train.tasks):
        parts = [dataclasses.replace(d, tasks=(task,), targets=d.targets[:, t : t + 1]) for d in (train, valid)]
        alone = KmerConfig(**SMALL).fit(*parts)
        assert alone.strengths[0] == mixed.strengths[t]
        np.testing.assert_allclose(
            alone.predict(test.codes, raw=True)[:, 0], mixed.predict(test.codes, raw=True)[:, t], atol=5e-3
        )


def test_missing_rows_of_a_single_task_are_as_good_as_absent():
    full, valid = dataset(500, 0, ("binary",)), dataset(100, 3, ("binary",))
    hidden = np.arange(500) >= 300
    targets = np.where(hidden[:, None], np.nan, full.targets)
    config = KmerConfig(k=4, strengths=(0.1,), transform="present", kind="linear")
    masked = config.fit(dataclasses.replace(full, targets=targets), valid)
    weighted = config.fit(dataclasses.replace(full, weights=(~hidden).astype(np.float32)), valid)
    np.testing.assert_allclose(masked.weights, weighted.weights, rtol=1e-3, atol=1e-6)
    assert not np.allclose(masked.weights, config.fit(full, valid).weights, rtol=1e-2)


def test_both_strands_read_the_same_only_when_words_are_canonical():
    train, test = dataset(kinds=("binary",)), dataset(100, 11)
    for canonical in (True, False):
        model = KmerConfig(k=4, canonical=canonical, strengths=(0.1,)).fit(train)
        one, other = model.predict(test.codes), model.predict(dna.reverse_complement(test.codes))
        assert np.array_equal(one, other) == canonical


def test_input_may_be_letters_and_comes_back_in_order_whatever_the_batch(mixed):
    codes = dataset(30, 11).codes
    codes[3, 5:9] = dna.UNKNOWN
    expected = mixed.predict(codes)
    assert expected.shape == (30, 3)
    np.testing.assert_array_equal(mixed.predict(dna.decode_many(codes)), expected)
    np.testing.assert_allclose(mixed.predict(codes, batch_size=7), expected, rtol=1e-4)
    np.testing.assert_allclose(mixed.predict(codes[::-1]), expected[::-1], rtol=1e-4)
    with pytest.raises(InputError, match="sequences of 39 bases: expected 40"):
        mixed.predict(codes[:, 1:])


def test_state_brings_the_model_back_bit_for_bit(mixed, tmp_path):
    np.savez(tmp_path / "model.npz", **mixed.state())
    with np.load(tmp_path / "model.npz", allow_pickle=False) as stored:
        again = mixed.config.from_state(mixed.tasks, mixed.length, dict(stored))
    codes = dataset(30, 11).codes
    np.testing.assert_array_equal(again.predict(codes), mixed.predict(codes))
    assert again.describe() == mixed.describe() and again.top_words("real task") == mixed.top_words("real task")
    with pytest.raises(InputError, match=r"weights: expected \(512, 3\), found \(136, 3\)"):
        KmerConfig(k=5).from_state(mixed.tasks, mixed.length, mixed.state())
    with pytest.raises(InputError, match="bias: expected .*found none"):
        mixed.config.from_state(mixed.tasks, mixed.length, {"weights": mixed.weights})


def test_same_data_same_bits():
    train, valid = dataset(gaps=0.2), dataset(200, 9)
    first, second = (KmerConfig(**SMALL).fit(train, valid, seed) for seed in (0, 1))
    for name, array in first.state().items():
        np.testing.assert_array_equal(array, second.state()[name])


def test_strength_is_the_one_that_is_best_on_valid_per_task_or_for_all():
    train, valid = dataset(300, kinds=("binary", "real")), dataset(200, 9, ("binary", "real"))
    strengths = (100.0, 1.0, 0.01, 1e-4)
    single = {s: KmerConfig(k=4, strengths=(s,)).fit(train, valid).predict(valid.codes) for s in strengths}
    auroc = {s: metrics.auroc(p[:, 0], valid.targets[:, 0]) for s, p in single.items()}
    mse = {s: metrics.mse(p[:, 1], valid.targets[:, 1]) for s, p in single.items()}
    chosen = KmerConfig(k=4, strengths=strengths[::-1]).fit(train, valid).strengths
    assert chosen.tolist() == [max(strengths, key=lambda s: auroc[s]), min(strengths, key=lambda s: mse[s])]
    assert len(set(auroc.values())) > 1 and len(set(mse.values())) > 1


def test_one_strength_for_all_tasks_and_tasks_that_valid_cannot_judge():
    train, valid = dataset(400, kinds=("binary",)), dataset(100, 9, ("binary",))
    rng = np.random.default_rng(0)
    noise = (rng.random((400, 2)) < 0.5).astype(np.float32)
    tasks = (Task("motif"), Task("noise"), Task("one class"))
    train = dataclasses.replace(train, tasks=tasks, targets=np.concatenate([train.targets, noise], 1))
    unseen = np.concatenate([valid.targets, (rng.random((100, 1)) < 0.5), np.ones((100, 1))], 1).astype(np.float32)
    valid = dataclasses.replace(valid, tasks=tasks, targets=unseen)
    joint = KmerConfig(k=4, per_task=False).fit(train, valid).strengths
    assert len(set(joint)) == 1
    own = KmerConfig(k=4).fit(train, valid).strengths
    assert own[2] == joint[0]


def test_linear_scores_become_probabilities_without_changing_their_order():
    train, valid, test = (dataset(n, s, ("binary",)) for n, s in ((800, 0), (300, 5), (2000, 7)))
    rare = np.where(np.arange(800) % 4 == 1, np.nan, train.targets[:, 0])[:, None].astype(np.float32)
    model = KmerConfig(kind="linear", k=4, strengths=(0.1,)).fit(dataclasses.replace(train, targets=rare), valid)
    p = model.predict(test.codes)[:, 0]
    assert ((p >= 0) & (p <= 1)).all() and metrics.ece(p, test.targets[:, 0]) < 0.1
    real = dataclasses.replace(train, tasks=(Task("y", "real"),), targets=rare)
    ridge = KmerConfig(k=4, strengths=(0.1,)).fit(real).predict(test.codes)[:, 0]
    order = np.argsort(ridge)
    assert np.all(np.diff(model.predict(test.codes, raw=True)[order, 0]) >= -1e-4)
    # valid with one class only: train shows how the classes lie
    alone = dataclasses.replace(valid, targets=np.ones_like(valid.targets))
    fallback = KmerConfig(kind="linear", k=4, strengths=(0.1,)).fit(dataclasses.replace(train, targets=rare), alone)
    assert metrics.auroc(fallback.predict(test.codes)[:, 0], test.targets[:, 0]) == pytest.approx(
        metrics.auroc(p, test.targets[:, 0]), abs=1e-6
    )


def refused(change, **config):
    train = dataset(60, kinds=("binary", "count"))
    with pytest.raises(InputError) as e:
        KmerConfig(**{"k": 2, "strengths": (1.0,)} | config).fit(change(train))
    return str(e.value)


def test_tasks_that_cannot_be_fitted_are_refused_by_name():
    def column(t, value):
        def change(d):
            targets = d.targets.copy()
            targets[:, t] = value
            return dataclasses.replace(d, targets=targets)

        return change

    sentence = refused(column(0, np.nan))
    assert sentence.startswith("task 'binary task' has no label in split 'train' (60 missing)")
    assert "task 'binary task' has only the label 1 in split 'train'" in refused(column(0, 1))
    assert "task 'count task' counts nothing" in refused(column(1, 0))


def test_other_refusals():
    assert "3 strengths: expected a valid split" in refused(lambda d: d, strengths=(1.0, 2.0, 3.0))
    assert "65,536 features: expected at most 16,384" in refused(lambda d: d, k=8, canonical=False, kind="linear")
    same = refused(lambda d: dataclasses.replace(d, codes=np.zeros_like(d.codes)))
    assert "all training sequences hold the same words" in same
    model = KmerConfig(k=2, strengths=(1.0,)).fit(dataset(60, kinds=("binary",)))
    with pytest.raises(InputError, match="no task called 'binary tusk'; did you mean binary task"):
        model.top_words("binary tusk")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"k": (0,)}, "model.k: expected 1 <= x <= 8, found 0"),
        ({"k": 9}, "model.k: expected 1 <= x <= 8, found 9"),
        ({"k": (4, 4)}, "model.k: expected one or more different lengths"),
        ({"k": ()}, "model.k: expected one or more different lengths"),
        ({"strengths": (1.0, -1.0)}, "model.strengths: expected one or more positive numbers"),
        ({"strengths": ()}, "model.strengths: expected one or more positive numbers"),
        ({"transform": "log"}, "model.transform: expected 'count' or 'log1p'"),
        ({"strength": 1.0}, "model.strength: no such field; did you mean model.strengths"),
    ],
)
def test_bad_config_fields_are_named(fields, sentence):
    with pytest.raises(InputError) as e:
        build(REGISTRY["kmer"], fields, "model")
    assert str(e.value).startswith(sentence)


def test_config_file_defaults_build_the_default_config():
    raw = defaults(KmerConfig).to_dict()
    assert build(KmerConfig, raw) == KmerConfig()
    assert build(KmerConfig, raw | {"k": [4, 6], "strengths": [1, 0.1]}).words[-1] == "TTTAAA"


def test_summary_names_what_was_fitted(mixed):
    text = mixed.describe()
    assert "kmer: 40 bases, logistic regression for 1 binary task, linear regression for 1 real task, Poisson" in text
    assert "features: 136 canonical words of 4 bases (log1p)" in text and "parameters: 411" in text
    for strength in mixed.strengths:
        assert f"{strength:g} (" in text


def test_linear_regression_on_real_chip_seq(dragon_data):
    """The first sequences of the multi-task set, chr10 held out: well above chance on every well-measured task."""
    files = [dragon_data(f"encode_dream_multitask/{n}_train.tsv.gz") for n in ("sequences", "labels")]
    with gzip.open(files[0], "rt") as a, gzip.open(files[1], "rt") as b:
        names = next(b).rstrip("\n").split("\t")
        next(a)
        rows = [(s.rstrip("\n").split("\t"), y.split("\t")) for s, y in zip(a, b, strict=True)]
    rows = rows[::5]
    targets = np.array([y for _, y in rows], np.float32)
    held = np.array([s[0] == "chr10" for s, _ in rows])
    common = np.flatnonzero(targets.mean(0) > 0.2)[:6]
    data = Dataset(
        codes=dna.encode_many([s[4] for s, _ in rows]),
        targets=targets[:, common],
        tasks=tuple(Task(names[t]) for t in common),
        ids=np.arange(len(rows)).astype(str),
    )
    model = KmerConfig(kind="linear", k=5).fit(data.take(~held), data.take(held))
    auroc = metrics.task_metrics(
        model.predict(data.codes[held]), data.targets[held], ["binary"] * len(common), ["auroc"]
    )
    assert auroc["auroc"].min() > 0.7
