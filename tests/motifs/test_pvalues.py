"""The dynamic programme against all words, and against MOODS."""

import itertools

import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.motifs import pvalues

SKEWED = (0.4, 0.1, 0.2, 0.3)


def every_word(matrix, background):
    """Scores and probabilities of all 4^W words, by enumeration."""
    words = np.array(list(itertools.product(range(4), repeat=len(matrix))))
    positions = np.arange(len(matrix))
    return matrix[positions, words].sum(1), np.array(background)[words].prod(1)


def random_pssm(width, seed, step=None):
    rng = np.random.default_rng(seed)
    matrix = np.log2(rng.dirichlet([0.4] * 4, width) * 0.96 + 0.01) + 2
    return matrix if step is None else np.rint(matrix / step) * step


@pytest.mark.parametrize("background", [pvalues.UNIFORM, SKEWED])
@pytest.mark.parametrize("width", range(1, 9))
def test_on_the_grid_pvalues_and_thresholds_are_those_of_all_words(width, background):
    matrix = random_pssm(width, width, step=1 / 64)
    scores, weights = every_word(matrix, background)
    asked = np.unique(scores)
    truth = np.array([weights[scores >= s].sum() for s in asked])
    np.testing.assert_allclose(pvalues.pvalue(matrix, asked, background, 1 / 64), truth, rtol=1e-12)
    for p in (1e-4, 1e-3, 0.02, 0.5, 1.0):
        t = pvalues.threshold(matrix, p, background, 1 / 64)
        assert weights[scores >= t].sum() <= p * (1 + 1e-9)
        one_lower = weights[scores >= t - 1 / 64].sum()
        assert one_lower > p or t <= scores.min() or t > scores.max()


@pytest.mark.parametrize("granularity", [0.1, 0.01, 1e-3])
def test_off_the_grid_the_bounds_hold_the_truth(granularity):
    matrix = random_pssm(7, 3)
    scores, weights = every_word(matrix, SKEWED)
    found = pvalues.score_distribution(matrix, SKEWED, granularity)
    asked = np.concatenate([scores[::37], scores[::91] + 0.003, [scores.max() + 1, scores.min() - 1]])
    truth = np.array([weights[scores >= s].sum() for s in asked])
    low, high = found.bounds(asked)
    assert (low <= truth * (1 + 1e-9)).all() and (truth <= high * (1 + 1e-9)).all()
    e = found.slack + granularity / 2  # the error that the module states for `pvalue`
    for s, p in zip(asked, found.pvalue(asked), strict=True):
        assert weights[scores >= s + e].sum() * (1 - 1e-9) <= p <= weights[scores >= s - e].sum() * (1 + 1e-9)


def test_a_fine_grid_makes_the_bounds_meet_at_the_truth():
    matrix = random_pssm(4, 5)
    scores, weights = every_word(matrix, pvalues.UNIFORM)
    between = (np.unique(scores)[1:] + np.unique(scores)[:-1]) / 2
    wide = between[np.diff(np.unique(scores)) > 1e-3]
    low, high = pvalues.score_distribution(matrix, granularity=1e-5).bounds(wide)
    assert len(wide) > 50
    np.testing.assert_array_equal(low, high)
    np.testing.assert_allclose(low, [weights[scores >= s].sum() for s in wide], rtol=1e-12)


@pytest.mark.parametrize("background", [pvalues.UNIFORM, SKEWED])
def test_a_tail_is_the_upper_end_of_the_whole(background):
    for width in (3, 12, 25):
        matrix = random_pssm(width, width + 50)
        whole = pvalues.score_distribution(matrix, background)
        assert whole.complete and whole.tail[-1] == 1.0
        tail = pvalues.score_distribution(matrix, background, tail=1e-4)
        assert not tail.complete and tail.tail[-1] >= 1e-4
        np.testing.assert_allclose(tail.tail, whole.tail[: len(tail.tail)], rtol=1e-12)
        assert tail.threshold(1e-4) == whole.threshold(1e-4)
        down = pvalues.score_distribution(matrix, background, down_to=5.0)
        assert down.pvalue(5.0) == pytest.approx(float(whole.pvalue(5.0)), rel=1e-12)
        assert np.isnan(down.pvalue(-30.0))


def test_the_best_word_is_never_impossible_and_nothing_scores_above():
    for seed in range(30):  # rounding moves the grid score of the best word up or down
        matrix = random_pssm(6, seed)
        found = pvalues.score_distribution(matrix, granularity=0.05)
        best = matrix.max(1).sum()
        assert 0.25**6 <= found.pvalue(best) < 0.01
        assert found.pvalue(best + 0.01) == 0
        assert found.threshold(1e-5) > best  # 4^-6 is more than that
        assert found.threshold(1.0) <= matrix.min(1).sum() + found.slack


def test_a_constant_matrix_has_one_score():
    found = pvalues.score_distribution(np.full((3, 4), 1.5))
    assert found.pvalue(4.5) == 1 and found.pvalue(4.6) == 0
    assert found.threshold(1.0) == 4.5 and found.threshold(0.5) > 4.5


def test_moods_finds_the_same_thresholds():
    tools = pytest.importorskip("MOODS.tools")
    for width in (8, 11, 15, 21):
        matrix = random_pssm(width, width)
        for background in (pvalues.UNIFORM, SKEWED):
            theirs = tools.threshold_from_p([tuple(row) for row in matrix.T.tolist()], list(background), 1e-4)
            ours = pvalues.threshold(matrix, 1e-4, background)
            assert abs(ours - theirs) < width * 1e-3  # both round each entry to half a step at most


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(pssm=np.zeros((3, 3))), "expected one row of four scores"),
        (dict(pssm=np.array([[0, -np.inf, 0, 0.0]])), "Add a pseudocount"),
        (dict(background=(0.5, 0.5, 0.0, 0.0)), "expected four frequencies"),
        (dict(granularity=0), "expected a step above 0"),
        (dict(granularity=1e-9), "Use a larger step"),
        (dict(granularity=1e-30), "too small"),
        (dict(tail=0.0), "expected a number above 0 and at most 1"),
    ],
)
def test_what_cannot_be_worked_out_is_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        pvalues.score_distribution(**(dict(pssm=random_pssm(5, 1)) | arguments))


def test_a_threshold_beyond_the_tail_is_refused():
    with pytest.raises(InputError, match="longer tail"):
        pvalues.score_distribution(random_pssm(12, 1), tail=1e-5).threshold(0.5)
