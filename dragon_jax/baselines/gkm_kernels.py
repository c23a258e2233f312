"""The gapped k-mer kernels: what a mismatch costs, what a place in the sequence weighs, and the spectrum that follows.

Two sequences are compared through all pairs of their words of l bases, each pair counting `h(m)`, m being the number of
places where the two words differ:

    K0(x, y) = sum over words u of x and v of y of  w_x(u) w_y(v) h(m(u, v))

u runs over one strand of x and v over both strands of y. Ghandi et al. (2014) derive three functions h of l and k, the
number of places that are looked at together; pairs with more than d mismatches count nothing (Lee 2016). K is K0 divided
by the root of both sequences' own values, and a radial kernel is `exp(g (K - 1))`.

All formulas were worked out from the papers; sources: Ghandi, Lee, Mohammad-Noori, Beer, PLoS Comput. Biol. 10, e1003711
(2014); Lee, Bioinformatics 32, 2196 (2016).
"""

from __future__ import annotations

import dataclasses
from math import comb
from typing import Literal

import numpy as np
from jaxtyping import Float64

from dragon_jax.config import check_range

Kind = Literal["gkm_cnt", "gkm_estfull", "gkm_esttrunc", "gkmrbf", "wgkm", "wgkmrbf"]
KINDS: tuple[Kind, ...] = ("gkm_cnt", "gkm_estfull", "gkm_esttrunc", "gkmrbf", "wgkm", "wgkmrbf")  # LS-GKM's -t 0..5
_MOST = 4  # mismatches that LS-GKM goes to
_LETTERS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kernel:
    """One of the six kernels.

    Attributes:
        kind: `gkm_cnt` counts shared gapped k-mers; `gkm_estfull` compares the counts of words that gapped k-mers let one
            estimate; `gkm_esttrunc` the same with the estimate cut off where it first falls to 0; `gkmrbf` is radial on
            top of that; `wgkm` and `wgkmrbf` are the last two with words in the middle of a sequence weighing more.
        l: bases of a word. k: places looked at together. d: largest number of mismatches.
        peak, halving: M and H of `wgkm`: the weight in the middle, and the distance over which it halves.
        gamma: g of the radial kernels.
        both_strands: a word and its reverse complement are the same.
    """

    kind: Kind = "gkm_esttrunc"
    l: int = 11
    k: int = 7
    d: int = 3
    peak: float = 50.0
    halving: float = 50.0
    gamma: float = 1.0
    both_strands: bool = True

    def __post_init__(self):
        check_range("l", self.l, 3, 12)  # 4^12 words are one table of 64 MiB
        check_range("k", self.k, 1, self.l)
        check_range("d", self.d, 0, min(_MOST, self.l - self.k))
        check_range("peak", self.peak, 1, 255)
        check_range("halving", self.halving, 0, float("inf"), open_low=True)
        check_range("gamma", self.gamma, 0, float("inf"), open_low=True)

    @property
    def weighted(self) -> bool:
        """Whether words weigh by their place."""
        return self.kind.startswith("w")

    @property
    def radial(self) -> bool:
        """Whether the kernel is `exp(g (K - 1))`, which is not linear in counts of words."""
        return self.kind.endswith("rbf")

    def mismatch(self) -> Float64[np.ndarray, " m"]:
        """Returns h, float64 `[d + 1]`: what a pair of words with m mismatches counts."""
        if self.kind == "gkm_cnt":
            h = [comb(self.l - m, self.k) for m in range(self.d + 1)]
        elif self.kind == "gkm_estfull":
            h = word_filter(self.l, self.k)[: self.d + 1]
        else:
            h = autocorrelation(truncated(word_filter(self.l, self.k)))[: self.d + 1]
        return np.array(h, np.float64)

    def eigenvalues(self) -> Float64[np.ndarray, " j"]:
        """Returns float64 `[l + 1]`: of the operator on all words, by the number j of places that a character depends on.

        See `gkm_operator` for why. Where one is negative, dropping what exceeds d has made the kernel indefinite.
        """
        h = self.mismatch()
        return np.array([sum(h[m] * krawtchouk(m, j, self.l) for m in range(len(h))) for j in range(self.l + 1)])

    def places(self, words: np.ndarray, width: int) -> Float64[np.ndarray, "N W"]:
        """Returns the weight of each word by its place, float64 `[N, width]`, 0 past the last.

        Args:
            words: int `[N]`, words of each sequence. A word's reverse complement weighs as much as the word.
        """
        place, count = np.arange(width)[None], np.asarray(words)[:, None]
        present = place < count
        if not self.weighted:
            return present.astype(np.float64)
        away = np.abs(place - count // 2)
        weight = np.floor(self.peak * np.exp2(-away / self.halving) + 1)
        return np.where(present, np.minimum(self.peak, weight), 0.0)


def krawtchouk(degree: int, x: int, l: int) -> int:
    """Returns the Krawtchouk polynomial of an alphabet of 4: the sum of a character that depends on `x` places over all
    words that differ from a given one in `degree` places. It is symmetric up to a factor, so it serves both ways."""
    return sum(
        (-1) ** s * (_LETTERS - 1) ** (degree - s) * comb(x, s) * comb(l - x, degree - s) for s in range(degree + 1)
    )


def word_filter(l: int, k: int) -> list[float]:
    """Returns c(0..l): the share of a word's count in the estimate of the count of a word m mismatches away.

    The estimate keeps the part of the counts that gapped k-mers determine, which is a projection: on the characters of
    at most k places.
    """
    return [sum(krawtchouk(j, m, l) for j in range(k + 1)) / _LETTERS**l for m in range(l + 1)]


def truncated(c: list[float]) -> list[float]:
    """Returns c with zeros from the first value on that is not positive."""
    end = next((m for m, value in enumerate(c) if value <= 0), len(c))
    return c[:end] + [0.0] * (len(c) - end)


def autocorrelation(c: list[float]) -> list[float]:
    """Returns the sum over all words of c(distance to one word) c(distance to another), by the distance m of the two.

    Where the two words agree, a third one differs from both in t places; where they differ, it differs from the first in
    p, of which it differs from the second as well in r.
    """
    l = len(c) - 1

    def ways(m: int, t: int, p: int, r: int) -> int:
        return comb(l - m, t) * comb(m, p) * comb(p, r) * (_LETTERS - 1) ** t * (_LETTERS - 2) ** r

    return [
        sum(
            ways(m, t, p, r) * c[t + p] * c[t + m - p + r]
            for t in range(l - m + 1)
            for p in range(m + 1)
            for r in range(p + 1)
        )
        for m in range(l + 1)
    ]
