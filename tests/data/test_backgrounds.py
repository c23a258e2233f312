"""Backgrounds: the composition and the words that they promise."""

from __future__ import annotations

import numpy as np
import pytest

from dragon_jax.config import build
from dragon_jax.data.backgrounds import BackgroundConfig, Composition, Markov, Sequences
from dragon_jax.dna import decode_many, encode, kmer_counts
from dragon_jax.errors import InputError


def test_composition():
    p = np.array([0.1, 0.0, 0.6, 0.3])
    codes = Composition(p).draw(400, 500, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(codes.ravel(), minlength=4) / codes.size, p, atol=0.005)
    assert (codes != 1).all()


def test_markov_chain_has_its_transitions_from_the_first_base_on():
    table = np.array([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.0, 0.5, 0.5, 0.0], [0.2, 0.3, 0.1, 0.4]])
    chain = Markov(table)
    codes = chain.draw(20_000, 12, np.random.default_rng(1))
    pairs = np.zeros((4, 4))
    np.add.at(pairs, (codes[:, :-1], codes[:, 1:]), 1)
    np.testing.assert_allclose(pairs / pairs.sum(1, keepdims=True), table, atol=0.012)
    np.testing.assert_allclose(chain.composition @ table, chain.composition, atol=1e-9)
    for position in (0, 11):  # stationary: as at the end, so at the beginning
        np.testing.assert_allclose(np.bincount(codes[:, position], minlength=4) / 20_000, chain.composition, atol=0.015)


def test_markov_chain_of_order_two_is_fitted_and_drawn():
    rng = np.random.default_rng(2)
    truth = Markov(rng.dirichlet(np.ones(4), 16))
    learned = Markov.fit(list(truth.draw(500, 400, rng)), order=2, pseudocount=1.0)
    np.testing.assert_allclose(learned.transitions, truth.transitions, atol=0.04)
    np.testing.assert_allclose(learned.words, truth.words, atol=0.01)
    assert Markov.fit([encode("ACGTNNACGT")], 1, 0.5).transitions[0, 1] == (2 + 0.5) / (
        2 + 2
    )  # words with N count nowhere


def test_periodic_chain_settles():
    swap = np.array([[0, 0, 0, 1.0], [0, 0, 1.0, 0], [0, 1.0, 0, 0], [1.0, 0, 0, 0]])
    np.testing.assert_allclose(Markov(swap).words, 0.25, atol=1e-9)


def test_real_sequences_each_once_or_shuffled():
    pool = list(Composition(np.array([0.1, 0.2, 0.3, 0.4])).draw(30, 50, np.random.default_rng(3)))
    real = Sequences(pool, shuffle=False)
    drawn = decode_many(real.draw(10, 40, np.random.default_rng(4))) + decode_many(
        real.draw(20, 40, np.random.default_rng(5))
    )
    wholes = decode_many(np.array(pool))
    owners = [next(i for i, whole in enumerate(wholes) if piece in whole) for piece in drawn]
    assert sorted(owners) == list(range(30))
    with pytest.raises(InputError, match="holds 30 sequences: expected at least 31"):
        real.draw(1, 40, np.random.default_rng(6))
    shuffled = Sequences(pool, shuffle=True).draw(90, 50, np.random.default_rng(7))
    counts = sorted(kmer_counts(shuffled, 2, False).tolist())
    assert counts == sorted(kmer_counts(np.array(pool), 2, False).tolist() * 3)
    with pytest.raises(InputError, match="record 1 in background: expected at least 60 bases, found 50; also record 2"):
        real.draw(1, 60, np.random.default_rng(8))


def test_config_builds_each_kind(tmp_path):
    path = tmp_path / "real.fa"
    path.write_text("".join(f">s{i}\n{'ACGGT' * 6}\n" for i in range(3)))
    assert build(BackgroundConfig, {"gc": 0.3}).build().composition.tolist() == [0.35, 0.15, 0.15, 0.35]
    given = build(BackgroundConfig, {"name": "markov", "transitions": [[1, 1, 1, 1]] * 4}).build()
    assert isinstance(given, Markov) and given.order == 1
    fitted = build(BackgroundConfig, {"name": "markov", "order": 2, "path": str(path)}).build()
    assert isinstance(fitted, Markov) and fitted.order == 2
    real = build(BackgroundConfig, {"name": "sequences", "path": str(path)}).build()
    assert decode_many(real.draw(1, 30, np.random.default_rng(0))) == ["ACGGT" * 6]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"gc": 1.2}, "gc: expected 0 <= x <= 1"),
        ({"probabilities": (0.5, 0.5, 0.1, 0.1)}, "probabilities: expected four numbers"),
        ({"path": "x.fa"}, "path: not used by name='composition'"),
        ({"name": "markov"}, "path, transitions: expected one of them"),
        ({"name": "sequences"}, "path: needed by name='sequences'"),
        ({"name": "markov", "order": 9, "path": "x.fa"}, "order: expected 1 <= x <= 8"),
    ],
)
def test_settings_that_cannot_work(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        BackgroundConfig(**fields)


@pytest.mark.parametrize(
    ("rows", "order", "sentence"),
    [
        (((1, 2, 3, 4),) * 3, 1, "4, 16, 64"),
        (((1, 2, 3, 4),) * 16, 1, "expected 4 rows for order 1, found 16"),
        (((0, 0, 0, 0),) * 4, 1, "some above 0 in each row"),
        (("ACGT",) * 4, 1, "expected rows of four numbers"),
    ],
)
def test_tables_that_are_none(rows, order, sentence):
    with pytest.raises(InputError, match=sentence):
        BackgroundConfig(name="markov", transitions=rows, order=order).build()
