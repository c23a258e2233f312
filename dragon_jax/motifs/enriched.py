"""Motifs that some sequences hold more often than others, found word by word: quick estimates to start a network from.

The word of k bases with the largest excess, alone or together with the words one mismatch away, is looked up on both
strands; what the sequences have there beyond the background sequences gives a matrix as wide as asked for. Its sites are
then erased, and the next word is sought in what is left. (The idea of growing matrices out of enriched words and erasing their
sites is that of DREME: Bailey, Bioinformatics 27, 1653-1659, 2011. There is no refinement and no exact p-value here.)
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float64, Int, UInt8

from dragon_jax.dna import UNKNOWN, decode
from dragon_jax.motifs.words import word_rows

_PSEUDO_SITES = 5.0  # shared out by the background: columns that hardly differ from it then carry next to nothing


@dataclasses.dataclass(frozen=True)
class EnrichedMotif:
    """One estimate.

    Attributes:
        word: the k bases it was grown from.
        z: excess of the word (or of it and its neighbours): signed root of the likelihood ratio of two Poisson counts, which for
            large counts is the difference in standard deviations.
        sites: how many windows the matrix comes from.
        log_odds: float64 `[W, 4]`, natural logarithm of frequency over background.
    """

    word: str
    z: float
    sites: int
    log_odds: Float64[np.ndarray, "W 4"]

    def like(self, other: EnrichedMotif, correlation: float = 0.8) -> bool:
        """Whether the two agree on either strand, shifted by up to half a width."""
        mine = self.log_odds.ravel()
        width = len(self.log_odds)
        for theirs in (other.log_odds, other.log_odds[::-1, ::-1]):
            for shift in range(-(width // 2), width // 2 + 1):
                moved = np.zeros_like(theirs)
                start, stop = max(shift, 0), min(width + shift, width)
                moved[start:stop] = theirs[start - shift : stop - shift]
                norm = np.linalg.norm(mine) * np.linalg.norm(moved)
                if norm and mine @ moved.ravel() > correlation * norm:
                    return True
        return False


def enriched_motifs(
    positives: UInt8[np.ndarray, "P L"],
    negatives: UInt8[np.ndarray, "N L"],
    *,
    width: int,
    most: int,
    k: int = 8,
    least_z: float = 6.0,
) -> list[EnrichedMotif]:
    """Returns at most `most` motifs that `positives` hold more often than `negatives`, the clearest first.

    Args:
        positives, negatives: codes; both strands are read.
        width: positions of the matrices; the word lies in their middle.
        most: number of motifs after which the search ends.
        k: bases of the words; at most `width` are used.
        least_z: the search ends when no word exceeds this. Of 65,536 words the largest by chance is about 4.7.
    """
    if not len(positives) or not len(negatives):
        return []
    k = min(k, width, positives.shape[1])
    if k < 1:
        return []
    here, there = _Text(positives, width, k), _Text(negatives, width, k)
    background = np.bincount(here.letters[here.letters < UNKNOWN], minlength=4) + 1.0
    background /= background.sum()
    found: list[EnrichedMotif] = []
    while len(found) < most and here.words and there.words:
        ratio = here.words / there.words
        alone = _z(here.counts, there.counts, ratio)
        around = _z(_neighbourhood(here.counts, k), _neighbourhood(there.counts, k), ratio)
        z = np.maximum(alone, around)
        word = int(z.argmax())
        if not z[word] > least_z:
            break
        wanted = _within_one_mismatch(word, k)
        mine, sites = here.windows(wanted)
        theirs, _ = there.windows(wanted)
        excess = np.maximum(mine - theirs * ratio, 0) + _PSEUDO_SITES * background
        log_odds = np.log(excess / excess.sum(1, keepdims=True) / background)
        found.append(EnrichedMotif(_spell(word, k), float(z[word]), sites, log_odds))
        here.erase(wanted)
        there.erase(wanted)
    return found


class _Text:
    """Sequences laid end to end with `width` unknown bases between them, so that no window reaches two of them."""

    def __init__(self, codes: np.ndarray, width: int, k: int):
        self.width, self.k = width, k
        gap = np.full((len(codes), width), UNKNOWN, np.uint8)
        self.letters = np.concatenate([gap[0], np.concatenate([codes, gap], 1).ravel()])
        self._reverse = _reverse_words(k)
        self._count()

    def _count(self) -> None:
        self._rows = word_rows(self.letters, self.k)
        known = self._rows[self._rows < 4**self.k]
        self.words = len(known)
        counts = np.bincount(known, minlength=4**self.k).astype(np.float64)
        self.counts = np.where(np.arange(4**self.k) == self._reverse, counts, counts + counts[self._reverse])

    def _hits(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts of the wanted words on the forward strand, and of those that are wanted only on the reverse strand."""
        table = np.zeros(int(self._rows.max()) + 1, np.uint8)
        table[self._reverse[wanted][self._reverse[wanted] < len(table)]] = 2
        table[wanted[wanted < len(table)]] = 1
        hit = table[self._rows]
        return np.flatnonzero(hit == 1), np.flatnonzero(hit == 2)

    def windows(self, wanted: Int[np.ndarray, " M"]) -> tuple[Float64[np.ndarray, "W 4"], int]:
        """Returns how often each base stands at each place of the windows around the wanted words, and how many these are."""
        left = (self.width - self.k) // 2
        forward, reverse = self._hits(wanted)
        counts = np.zeros((self.width, 4))
        for i in range(self.width):
            counts[i] += np.bincount(self.letters[forward - left + i], minlength=5)[:4]
            mirrored = self.letters[reverse + self.k - 1 + left - i]
            counts[i] += np.bincount(mirrored, minlength=5)[3::-1]  # complement: A C G T = T G C A
        return counts, len(forward) + len(reverse)

    def erase(self, wanted: Int[np.ndarray, " M"]) -> None:
        """Makes the wanted words unknown, on both strands."""
        starts = np.concatenate(self._hits(wanted))
        for i in range(self.k):
            self.letters[starts + i] = UNKNOWN
        self._count()


def _z(here: np.ndarray, there: np.ndarray, ratio: float) -> np.ndarray:
    """Signed root of the likelihood ratio (G) of two Poisson counts, where equal rates mean `here = there * ratio`.

    Near zero a difference over its estimated standard deviation would miss what is plain: 18 sites against 0.5 expected.
    """
    both, share = here + there, ratio / (1 + ratio)
    with np.errstate(divide="ignore", invalid="ignore"):
        g = np.nan_to_num(here * np.log(here / (both * share))) + np.nan_to_num(
            there * np.log(there / (both * (1 - share)))
        )
    return np.sign(here - there * ratio) * np.sqrt(2 * np.maximum(g, 0))


def _neighbourhood(counts: np.ndarray, k: int) -> np.ndarray:
    """Sum of the counts of each word and of all words with one other base."""
    cube = counts.reshape((4,) * k)
    total = (1 - k) * cube  # each of the k sums below holds the word itself once
    for axis in range(k):
        total = total + cube.sum(axis, keepdims=True)
    return total.reshape(-1)


def _within_one_mismatch(word: int, k: int) -> np.ndarray:
    places = 4 ** np.arange(k)
    others = [word + (base - (word // p) % 4) * p for p in places for base in range(4)]
    return np.unique(others)


def _reverse_words(k: int) -> np.ndarray:
    rest, reverse = np.arange(4**k), np.zeros(4**k, np.int64)
    for _ in range(k):
        reverse = reverse * 4 + 3 - rest % 4
        rest //= 4
    return reverse


def _spell(word: int, k: int) -> str:
    return decode(((word // 4 ** np.arange(k - 1, -1, -1)) % 4).astype(np.uint8))
