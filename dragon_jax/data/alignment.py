"""How alike two sequences are when they are laid on each other at a known shift and strand.

Three looks, each dearer and at fewer pairs: the 32 bases on either side of a common k-mer, as packed words; all bases on
the diagonal through it; and the edit distance in a band around this diagonal, for pairs with insertions and deletions.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from dragon_jax.data.sketches import Sketches
from dragon_jax.dna import reverse_complement

BAND = 16  # bases that insertions and deletions may shift in all
_CHUNK = 1 << 21  # bases compared at a time
_LOW = np.array([(1 << 2 * n) - 1 for n in range(33)], np.uint64)  # the last n of 32 bases
_HIGH = ~_LOW[::-1]  # the first n of 32 bases
_EVEN = np.uint64(0x5555555555555555)
_BEYOND = 5  # a base beyond the end: equal to none, not even unknown


_EXPECTED = 0.01  # likenesses that may turn up by chance among all pairs of rows, shifts and strands
_EQUAL, _EDITED = 0.3, 0.4  # share of bases that agree by chance, of skewed composition, without gaps and with gaps


class Aligner:
    """Compares pairs of rows of one array.

    Args:
        codes: uint8 `[N, L]`.
        sketches: their sketches, which say where pairs meet.
    """

    def __init__(self, codes: UInt8[np.ndarray, "N L"], sketches: Sketches):
        self._codes, self._sketches, self.length = codes, sketches, codes.shape[1]
        self._packed = np.stack([_packed(codes), _packed(codes, reverse=True)])
        pairs = max(1.0, len(codes) * (len(codes) - 1) / 2)
        self._chance = np.log2(pairs * 2 * max(1, self.length) / _EXPECTED)
        self._known = np.concatenate([(c < 4).sum(1) for c in _parts(codes)] or [np.zeros(0, np.int64)])

    def fewest(self, first: Int64[np.ndarray, " P"], second: Int64[np.ndarray, " P"]) -> Int64[np.ndarray, " P"]:
        """Returns how many known bases the row of each pair has that has fewer of them."""
        return np.minimum(self._known[first], self._known[second])

    def place(
        self, first: Int64[np.ndarray, " P"], second: Int64[np.ndarray, " P"], bin_: int
    ) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"], Bool[np.ndarray, " P"]]:
        """Returns where the common k-mer of a bin begins in the first and in the second row, and whether the second is
        read on the other strand (the position is then that on this strand)."""
        places, k = self._sketches.places, self._sketches.k
        a, b = places[first, bin_], places[second, bin_]
        turned = ((a ^ b) & 1).astype(bool)
        here, there = (a >> 1).astype(np.int64), (b >> 1).astype(np.int64)
        return here, np.where(turned, self.length - k - there, there), turned

    def alike_nearby(
        self,
        first: Int64[np.ndarray, " P"],
        second: Int64[np.ndarray, " P"],
        here: Int64[np.ndarray, " P"],
        there: Int64[np.ndarray, " P"],
        turned: Bool[np.ndarray, " P"],
        similarity: float,
    ) -> Bool[np.ndarray, " P"]:
        """Returns which pairs may reach `similarity`, judged by up to 32 bases on either side of their common k-mer.

        The limit lies half way between that share of equal bases and the quarter that chance gives.
        """
        k, strand = self._sketches.k, turned.astype(np.int64)
        none = np.zeros_like(strand)
        left = np.minimum(np.minimum(here, there), 32)
        right = np.minimum(self.length - k - np.maximum(here, there), 32)
        differ = _different(self._word(none, first, here - 32), self._word(strand, second, there - 32), _LOW[left])
        differ += _different(self._word(none, first, here + k), self._word(strand, second, there + k), _HIGH[right])
        around = left + right
        return around - differ >= around * (0.25 + similarity) / 2

    def _word(
        self, strand: Int64[np.ndarray, " P"], row: Int64[np.ndarray, " P"], start: Int64[np.ndarray, " P"]
    ) -> np.ndarray:
        """The 32 bases from `start` on, two bits a base; `start` may lie 32 bases before the sequence."""
        word, rest = np.divmod(start + 32, 32)
        rest = (2 * rest).astype(np.uint64)
        high, low = self._packed[strand, row, word], self._packed[strand, row, word + 1]
        return (high << rest) | ((low >> np.uint64(1)) >> (np.uint64(63) - rest))

    def on_diagonal(
        self,
        first: Int64[np.ndarray, " P"],
        second: Int64[np.ndarray, " P"],
        shift: Int64[np.ndarray, " P"],
        turned: Bool[np.ndarray, " P"],
        overlap: float,
    ) -> Float32[np.ndarray, " P"]:
        """Returns the share of equal bases where the rows overlap, base i of the first on base i + shift of the second.

        Positions with an unknown base do not count. 0 where fewer than `overlap` of the known bases of the row that has
        fewer of them are compared, or so few at a shift that such a share turns up by chance among all pairs.
        """
        result = np.zeros(len(first), np.float32)
        needed = np.maximum(1, overlap * self.fewest(first, second))
        needed_bits = np.where(shift == 0, 0, self._chance)  # in register, likeness is by design and not by search
        step = max(1, _CHUNK // max(1, self.length))
        for begin in range(0, len(first), step):
            part = slice(begin, begin + step)
            a, b = self._laid(first[part], second[part], shift[part], turned[part])
            both = (a < 4) & (b < 4)
            count = both.sum(1)
            share = ((a == b) & both).sum(1) / np.maximum(count, 1)
            good = (count >= needed[part]) & (_bits(share, count, _EQUAL) >= needed_bits[part])
            result[part] = np.where(good, share, 0)
        return result

    def in_band(
        self,
        first: Int64[np.ndarray, " P"],
        second: Int64[np.ndarray, " P"],
        shift: Int64[np.ndarray, " P"],
        turned: Bool[np.ndarray, " P"],
    ) -> Float32[np.ndarray, " P"]:
        """Returns 1 - edit distance / overlap, in a band of `BAND` bases around the diagonal, ends of the second free.

        Unknown bases fit anything and do not count in the overlap. 0 where such a value turns up by chance.
        """
        result = np.zeros(len(first), np.float32)
        step = max(1, _CHUNK // max(1, 4 * self.length))
        for begin in range(0, len(first), step):
            part = slice(begin, begin + step)
            a, b = self._laid(first[part], second[part], shift[part], turned[part], BAND)
            inside = b[:, BAND : BAND + self.length] != _BEYOND
            edits = _edits(np.ascontiguousarray(a.T), np.ascontiguousarray(b.T), inside.T)
            count = (inside & (a < 4)).sum(1)
            share = np.maximum(0, 1 - edits / np.maximum(1, count))
            result[part] = np.where(_bits(share, count, _EDITED) >= self._chance, share, 0)
        return result

    def _laid(
        self, first: np.ndarray, second: np.ndarray, shift: np.ndarray, turned: np.ndarray, margin: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first rows `[P, L]` and the second rows at their shift `[P, L + 2 margin]`."""
        there = self._codes[second]
        there[turned] = reverse_complement(there[turned])
        index = np.arange(-margin, self.length + margin) + shift[:, None]
        inside = (index >= 0) & (index < self.length)
        laid = np.take_along_axis(there, np.clip(index, 0, self.length - 1), 1)
        laid[~inside] = _BEYOND
        return self._codes[first], laid


def _bits(share: np.ndarray, count: np.ndarray, chance: float) -> np.ndarray:
    """Relative entropy of `share` to `chance`, times the bases: 2^-bits bounds the probability (Chernoff)."""
    rest = 1 - share
    bits = share * np.log2(np.maximum(share, 1e-12) / chance) + rest * np.log2(np.maximum(rest, 1e-12) / (1 - chance))
    return np.where(share > chance, bits * count, 0)


def _edits(a: np.ndarray, b: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Edit distance of the columns of `a [L, P]` to those of `b [L + 2 BAND, P]`, over the rows that lie `inside`."""
    width, pairs = 2 * BAND + 1, a.shape[1]
    rank = np.arange(width, dtype=np.int16)[:, None]
    best = np.zeros((width, pairs), np.int16)
    for i in range(len(a)):
        ahead = b[i : i + width]
        fresh = best + ((ahead != a[i]) & (a[i] < 4) & (ahead != 4))
        fresh[:-1] = np.minimum(fresh[:-1], best[1:] + 1)  # the base of `a` stands alone
        fresh = np.minimum.accumulate(fresh - rank, axis=0) + rank  # bases of `b` stand alone
        best = np.where(inside[i], fresh, best)
    return best.min(0)


def _packed(codes: UInt8[np.ndarray, "N L"], reverse: bool = False) -> np.ndarray:
    """uint64 `[N, W]`: two bits a base, 32 bases a word, one empty word in front and two behind; unknown as A or T."""
    n, length = codes.shape
    words = -(-length // 32)
    result = np.zeros((n, words + 3), np.uint64)
    begin = 0
    for block in _parts(codes):
        padded = np.zeros((len(block), words * 32), np.uint8)
        padded[:, :length] = (reverse_complement(block) if reverse else block) & np.uint8(3)
        quads = padded.reshape(len(block), -1, 4) @ np.array([64, 16, 4, 1], np.uint8)
        result[begin : begin + len(block), 1 : words + 1] = quads.view(">u8")
        begin += len(block)
    return result


def _parts(codes: np.ndarray) -> list[np.ndarray]:
    step = max(1, _CHUNK // max(1, codes.shape[1]))
    return [codes[i : i + step] for i in range(0, len(codes), step)]


def _different(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> Int64[np.ndarray, " P"]:
    """How many of the bases under the mask differ."""
    x = a ^ b
    return np.bitwise_count((x | (x >> np.uint64(1))) & _EVEN & mask).astype(np.int64)
