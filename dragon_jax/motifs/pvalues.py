"""P-values of motif scores: how likely a random word scores at least as high.

The score of a word is the sum of one PSSM entry per position, so under an i.i.d. background its distribution is the
convolution of W small distributions (Staden, Comput. Appl. Biosci. 5, 89-96, 1989). Entries are rounded to a grid and
the convolution is done bin by bin in float64, without sampling and without a normal approximation (Touzet and Varre,
Algorithms Mol. Biol. 2, 15, 2007).

What the grid costs. Each entry moves by at most half a step g, so the grid score of a word differs from its true score
by at most the slack e = W g / 2, and the p-value of a score s lies between the true p-values of s + e + g / 2 and
s - e - g / 2. It is exact (up to float64 sums of positive terms) where the entries are multiples of g, and wherever no
word scores within e + g / 2 of s: `ScoreDistribution.bounds` says when, because both bounds are then equal. With the
default g = 0.001 bits and W = 14 the slack is 0.007 bits, which moves a p-value by about 0.5 percent at most.

Only the upper tail is worked out where no more is asked for: counted down from the best word, every column only adds to
the deficit, so bins beyond the wanted tail never come back.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from dragon_jax.errors import InputError
from dragon_jax.motifs.motif import UNIFORM, Background, check_background

GRANULARITY = 1e-3
_BINS = 1 << 26  # half a gigabyte of float64
_FACTORS = np.geomspace(0.03, 30, 25)  # of Chernoff's bound, over the widest spread of a position


@dataclasses.dataclass(frozen=True)
class ScoreDistribution:
    """Upper tail of the distribution of a PSSM's scores, on a grid.

    Attributes:
        granularity: step g of the grid, in units of the scores.
        highest: grid score of the best word, in steps.
        maximum: its true score.
        tail: float64 `[B]`, rising; `tail[i]` is the probability of a grid score of at least `highest - i` steps.
        slack: largest difference between the true and the grid score of a word, W g / 2.
        complete: `tail` goes down to the worst word and ends with 1.
    """

    granularity: float | int
    highest: int
    maximum: float
    tail: Float[np.ndarray, " B"]
    slack: float
    complete: bool

    def _at(self, deficit: np.ndarray) -> np.ndarray:
        inside = np.clip(deficit, 0, len(self.tail) - 1).astype(np.int64)
        below = 1.0 if self.complete else np.nan
        return np.where(deficit < 0, 0.0, np.where(deficit >= len(self.tail), below, self.tail[inside]))

    def pvalue(self, scores: float | int | np.ndarray) -> np.ndarray:
        """Returns float64: probability of a score of at least each of `scores`; NaN below the part that was worked out.

        Scores count as the nearest step of the grid; above the best word the probability is 0. See the module for the error.
        """
        scores = np.asarray(scores, np.float64)
        deficit = self.highest - np.rint(scores / self.granularity)
        possible = scores <= self.maximum + 1e-9 * (1 + abs(self.maximum))  # its grid score may be a little lower
        return self._at(np.where(possible, np.maximum(deficit, 0), -1))

    def bounds(self, scores: float | int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns a lower and an upper bound of the true p-value of each score; equal where it is known exactly.

        NaN where the part that was worked out does not reach.
        """
        scores = np.asarray(scores, np.float64)
        room = 1e-9 * (1 + np.abs(scores) / self.granularity)  # steps: float64 itself rounds the quotient
        above = np.ceil((scores + self.slack) / self.granularity + room)
        below = np.ceil((scores - self.slack) / self.granularity - room)
        return self._at(self.highest - above), self._at(self.highest - below)

    def threshold(self, pvalue: float | int) -> float:
        """Returns the smallest grid score whose p-value is at most `pvalue`.

        Above the best word where even that is more likely than `pvalue`: no window can reach it.

        Raises:
            InputError: `pvalue` is not in (0, 1], or lies beyond the part that was worked out.
        """
        check_pvalue(pvalue)
        kept = int(np.searchsorted(self.tail, pvalue * (1 + 1e-12), side="right"))
        if kept == len(self.tail) and not self.complete:
            raise InputError(
                f"p-value {pvalue:g} lies beyond the worked-out tail, which ends at {self.tail[-1]:g}: expected at most "
                "that. Ask score_distribution for a longer tail"
            )
        if kept == 0:
            return float(max(self.highest * self.granularity, self.maximum) + self.granularity)
        return float((self.highest - kept + 1) * self.granularity)


def check_pvalue(pvalue: float | int) -> None:
    """Raises InputError for a p-value outside (0, 1]."""
    if not 0 < pvalue <= 1:
        raise InputError(f"p-value {pvalue}: expected a number above 0 and at most 1")


def check_pssm(pssm: np.ndarray, name: str = "PSSM") -> Float[np.ndarray, "W 4"]:
    """Returns the matrix as float64 `[W, 4]`; refuses other shapes and entries that are not finite."""
    matrix = np.asarray(pssm, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != 4 or len(matrix) == 0:
        raise InputError(f"{name} has shape {matrix.shape}: expected one row of four scores (A, C, G, T) per position")
    if not np.isfinite(matrix).all():
        raise InputError(
            f"{name} holds {int((~np.isfinite(matrix)).sum())} scores that are not finite: expected log-odds of "
            "probabilities above 0. Add a pseudocount"
        )
    return matrix


def score_distribution(
    pssm: np.ndarray,
    background: Background | None = UNIFORM,
    granularity: float | int = GRANULARITY,
    tail: float | int = 1.0,
    down_to: float | int | None = None,
) -> ScoreDistribution:
    """Works out the distribution of the scores of random words.

    Args:
        pssm: scores `[W, 4]` of A, C, G, T, any logarithm.
        background: probabilities of A, C, G, T; letters are independent.
        granularity: step of the grid in units of the scores; the module says what it costs. Time and memory grow with its inverse.
        tail: only the best words, as many as are needed to reach this probability, are worked out; 1 means all.
        down_to: only words of at least this score are worked out; `tail` then does not count.

    Raises:
        InputError: a matrix that is none, an impossible background, granularity or tail, or more than 2^26 bins.
    """
    matrix, weights = check_pssm(pssm), check_background(background)
    check_pvalue(tail)
    if not (np.isfinite(granularity) and granularity > 0):
        raise InputError(f"granularity {granularity}: expected a step above 0 in units of the scores")
    if np.abs(matrix).max() / granularity > 2**52:
        raise InputError(f"granularity {granularity} is too small for scores up to {np.abs(matrix).max():g}")
    steps = np.rint(matrix / granularity).astype(np.int64)
    best = steps.max(1)
    deficits = best[:, None] - steps
    last = int(deficits.max(1).sum())
    whole = last
    if down_to is not None:
        last = int(np.clip(best.sum() - np.floor(down_to / granularity) + 1, 0, whole))
    elif tail < 1:
        likely = (matrix.max(1).sum() - _likely_threshold(matrix, weights, tail)) / granularity
        last = int(np.clip(likely, 0, whole - 1)) + 1 if whole else 0
    if last >= _BINS:
        raise InputError(
            f"granularity {granularity:g} needs {last:,} bins: expected fewer than {_BINS:,}. Use a larger step"
        )
    probabilities = _convolve(deficits, weights, last)
    summed = np.cumsum(probabilities)
    while down_to is None and last < whole and summed[-1] < tail:  # the estimate was too hopeful
        last = min(whole, 2 * last + 1)
        summed = np.cumsum(_convolve(deficits, weights, last))
    if last == whole:
        summed[-1] = 1.0
    slack = len(matrix) * granularity / 2
    return ScoreDistribution(
        granularity, int(best.sum()), float(matrix.max(1).sum()), np.minimum(summed, 1.0), slack, last == whole
    )


def _likely_threshold(matrix: np.ndarray, weights: np.ndarray, tail: float | int) -> float:
    """A score that random words reach with a probability of about `tail` or a little more, from Chernoff's bound.

    Pr(S >= t) <= E[exp(a S)] exp(-a t) for every a > 0. The bound is 3 to 10 times too high at usual thresholds, so it
    is asked for a tail 20 times as long.
    """
    highest = matrix.max(1)
    spread = max(float((highest - matrix.min(1)).max()), 1e-300)
    factors = _FACTORS / spread
    below = (matrix - highest[:, None])[None] * factors[:, None, None]
    generating = np.log(np.maximum(np.exp(below) @ weights, 1e-300)).sum(1)
    return float(highest.sum() + np.min((generating - np.log(min(20 * tail, 1.0))) / factors))


def _convolve(deficits: Int[np.ndarray, "W 4"], weights: np.ndarray, last: int) -> np.ndarray:
    """Probabilities of total deficits 0..last. Larger ones are dropped: deficits only grow, so they cannot come back."""
    # Where all letters are equally likely, words are counted, and weighed at the end.
    shared = float(weights[0]) if (weights == weights[0]).all() else 0.0
    worst = deficits.max(1)
    order = np.argsort(worst, kind="stable")  # narrow columns first: fewer bins are in use for longer
    now, new, scratch = np.zeros(last + 1), np.zeros(last + 1), np.empty(last + 1)
    now[0] = 1.0
    used = 1  # bins 0..used-1 may be above 0
    for row, furthest in zip(deficits[order].tolist(), worst[order].tolist(), strict=True):
        grown = min(last + 1, used + furthest)
        best = row.index(0)
        np.multiply(now[:used], 1.0 if shared else weights[best], out=new[:used])
        new[used:grown] = 0.0
        for letter, deficit in enumerate(row):
            stop = min(used, last + 1 - deficit)
            if letter != best and stop > 0:
                part = now[:stop] if shared else np.multiply(now[:stop], weights[letter], out=scratch[:stop])
                target = new[deficit : deficit + stop]
                np.add(target, part, out=target)
        now, new, used = new, now, grown
    return now * shared ** len(deficits) if shared else now


def threshold(
    pssm: np.ndarray,
    pvalue: float | int,
    background: Background | None = UNIFORM,
    granularity: float | int = GRANULARITY,
) -> float:
    """Returns the smallest grid score that a random word reaches with probability at most `pvalue`.

    A word whose true score is this threshold or more has a true p-value of at most that of threshold - W g / 2.
    """
    return score_distribution(pssm, background, granularity, tail=pvalue).threshold(pvalue)


def pvalue(
    pssm: np.ndarray,
    scores: float | int | np.ndarray,
    background: Background | None = UNIFORM,
    granularity: float | int = GRANULARITY,
) -> np.ndarray:
    """Returns float64, shape of `scores`: the probability that a random word scores at least as high, to the grid's error."""
    return score_distribution(pssm, background, granularity).pvalue(scores)
