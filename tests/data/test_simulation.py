"""Source `simulation`: the motif is where it is said to be, the background is what it is said to be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dragon_jax.data.simulation import SimulationSource, simulate
from dragon_jax.dna import encode, gc_content, reverse_complement


def instances(source: SimulationSource, seed: int = 0):
    drawn = simulate(source, seed)
    n, width = source.positives, len(source.frequencies())
    words = drawn.codes[np.arange(n)[:, None], drawn.start[:n, None] + np.arange(width)]
    back = drawn.reverse[:n, None] == 1
    return drawn, np.where(back, reverse_complement(words), words)


def test_motif_lies_where_it_is_said_to_lie():
    source = SimulationSource(motif="GATTACA", mutation=0.0, length=40, positives=500, negatives=300, position=(5, 20))
    drawn, words = instances(source)
    assert (words == encode("GATTACA")).all()
    assert drawn.targets[:, 0].tolist() == [1] * 500 + [0] * 300
    assert (drawn.start[:500].min(), drawn.start[:500].max()) == (5, 20)
    assert (drawn.start[500:] == -1).all()
    assert 0.4 < drawn.reverse[:500].mean() < 0.6
    assert simulate(dataclasses.replace(source, both_strands=False), 0).reverse.sum() == 0


def test_frequencies_of_consensus_and_of_counts():
    source = SimulationSource(motif="AWN", mutation=0.2, gc=0.4)
    base = np.array([0.3, 0.2, 0.2, 0.3])
    np.testing.assert_allclose(source.background(), base)
    expected = 0.8 * np.array([[1, 0, 0, 0], [0.5, 0, 0, 0.5], base]) + 0.2 * base
    np.testing.assert_allclose(source.frequencies(), expected)
    counts = ((0, 2, 2, 0), (0, 0, 4, 0), (4, 0, 0, 0), (0, 0, 0, 4), (4, 0, 0, 0), (2, 0, 0, 2))
    aligned = SimulationSource(counts=counts, length=30, positives=4000, negatives=1)
    np.testing.assert_allclose(aligned.frequencies(), np.array(counts) / 4)
    _, words = instances(aligned)
    seen = np.stack([(words == base).mean(0) for base in range(4)], 1)
    np.testing.assert_allclose(seen, aligned.frequencies(), atol=0.04)  # five standard errors
    assert seen[aligned.frequencies() == 0].max() == 0


def test_background_has_the_gc_content_asked_for():
    for gc in (0.0, 0.3, 0.65, 1.0):
        drawn = simulate(SimulationSource(gc=gc, positives=1, negatives=2000), 1)
        assert abs(gc_content(drawn.codes[1:]).mean() - gc) < 0.006
        assert drawn.codes.max() <= 3


def test_data_are_a_function_of_their_own_seed():
    source = SimulationSource(positives=20, negatives=10)
    a, b = (source.load_parts(seed)["all"] for seed in (1, 2))
    assert a.fingerprint() == b.fingerprint()
    assert (len(a), a.length, a.ids[0], a.ids[-1]) == (30, 100, "positive_1", "negative_10")
    follow = dataclasses.replace(source, seed=None)
    assert follow.load_parts(1)["all"].fingerprint() != follow.load_parts(2)["all"].fingerprint()
    assert follow.load_parts(0)["all"].fingerprint() == a.fingerprint()
    assert dataclasses.replace(source, seed=7).load_parts(0)["all"].fingerprint() != a.fingerprint()


def test_defaults_can_be_learned_but_not_without_effort():
    """The exact likelihood ratio of the two classes is the best any model can do."""
    source = SimulationSource(positives=1500, negatives=1500)
    drawn = simulate(source, 3)
    score = np.log(source.frequencies()) - np.log(source.background())
    windows = np.lib.stride_tricks.sliding_window_view(drawn.codes, len(score), axis=1)
    both = [sum(table[i][windows[:, :, i]] for i in range(len(score))) for table in (score, score[::-1, ::-1])]
    ratio = np.exp(np.concatenate(both, 1)).mean(1)
    rank = ratio.argsort().argsort()
    auroc = (rank[:1500].mean() - 749.5) / 1500
    assert 0.99 < auroc < 0.9999
    counts = (drawn.codes == 0).sum(1).argsort().argsort()
    assert abs((counts[:1500].mean() - 749.5) / 1500 - 0.5) < 0.1  # base composition alone says next to nothing


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"motif": "GAXA"}, "motif: expected IUPAC letters"),
        ({"motif": ""}, "motif: expected IUPAC letters"),
        ({"counts": ((1, 2, 3),)}, "counts: expected rows of four counts A C G T"),
        ({"counts": ((0, 0, 0, 0),)}, "counts: expected rows"),
        ({"counts": ((1, 2, 3, -1),)}, "counts: expected rows"),
        ({"mutation": 1.5}, "mutation: expected 0 <= x <= 1, found 1.5"),
        ({"gc": -0.1}, "gc: expected 0 <= x <= 1"),
        ({"positives": 0}, "positives: expected at least 1"),
        ({"length": 17}, "length: expected at least the 18 bases of the motif, found 17"),
        ({"position": (3, 83)}, r"position: expected 0 <= first <= last <= 82, found \(3, 83\)"),
        ({"position": (5, 4)}, "position: expected"),
        ({"task": ""}, "task: expected a name"),
    ],
)
def test_settings_that_cannot_work(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        SimulationSource(**fields)
