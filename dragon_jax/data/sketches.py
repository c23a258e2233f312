"""MinHash sketches of sequences and the pairs that they bring together, without comparing all with all.

Every k-mer is read on the strand whose number is smaller and mixed by a hash that no two k-mers share. The hashes are cut
into bins by their first bits, and the smallest of each bin is kept (one-permutation hashing, Li, Owen and Zhang, NIPS
2012): two sequences agree in a bin with probability J, the share of k-mers they have in common. A bin is one band of
locality-sensitive hashing, so a pair is found with probability 1 - (1 - J)^bins. The place of each kept k-mer is kept too:
a pair comes with the shift and the strand on which it can be compared base by base.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped, UInt8, UInt32

BINS = 128
CROWD = 64  # neighbours in a bin that each row is paired with; what lies farther is counted as crowded
EMPTY = np.uint32(2**32 - 1)
_NONE = np.uint64(2**64 - 1)
_BLOCK = 1 << 15  # bases handled at a time: the arrays of a block stay in the cache


@dataclasses.dataclass(frozen=True)
class Sketches:
    """Sketches of N sequences.

    Attributes:
        words: uint32 `[N, BINS]` smallest hash of each bin.
        places: uint32 `[N, BINS]` twice the position of its first k-mer, plus 1 where that was read on the reverse
            strand; `EMPTY` where no k-mer falls into the bin.
        k: length of the k-mers.
    """

    words: np.ndarray
    places: np.ndarray
    k: int

    def plausible(
        self,
        first: Int64[np.ndarray, " P"],
        second: Int64[np.ndarray, " P"],
        similarity: float,
        overlap: Float64[np.ndarray, " P"],
    ) -> Bool[np.ndarray, " P"]:
        """Returns which pairs agree in as many bins as rows of this similarity do that overlap by this share.

        Such rows share overlap * similarity^k of their k-mers; two standard deviations fewer are allowed.
        """
        result = np.zeros(len(first), bool)
        for begin in range(0, len(first), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            full = [self.places[rows[part]] != EMPTY for rows in (first, second)]
            agree = ((self.words[first[part]] == self.words[second[part]]) & full[0]).sum(1)
            common = overlap[part] * similarity**self.k
            expected = common / (2 - common) * (full[0] | full[1]).sum(1)
            result[part] = agree >= expected - 2 * np.sqrt(expected)
        return result


def word_length(rows: int, length: int) -> int:
    """Returns the k (11, 13 or 15) at which a k-mer meets few others by chance among all bases of the data.

    k is odd, so that no k-mer is its own reverse complement. Short words find more distant relatives.
    """
    return next((k for k in (11, 13) if 4 * 4**k >= rows * length), 15)


def sketch(codes: UInt8[np.ndarray, "N L"], k: int) -> Sketches:
    """Returns the sketch of every row of codes; k-mers with unknown bases are left out. `k` is odd and at most 15."""
    if not (k % 2 and 1 <= k <= 15):
        raise ValueError(f"k: expected an odd number up to 15, found {k}")
    n, length = codes.shape
    words, places = np.zeros((n, BINS), np.uint32), np.full((n, BINS), EMPTY, np.uint32)
    count = length - k + 1
    if count < 1:
        return Sketches(words, places, k)
    shift = np.uint64(64 - (BINS.bit_length() - 1))
    position = (2 * np.arange(count)).astype(np.uint64)
    step = max(1, _BLOCK // length)
    for begin in range(0, n, step):
        block = codes[begin : begin + step]
        forward, reverse = _kmers(block, k)
        key = _mixed(np.minimum(forward, reverse)).astype(np.uint64) << np.uint64(32)
        key |= position + (reverse < forward)
        if (block > 3).any():
            known = np.zeros((len(block), length + 1), np.int32)
            np.cumsum(block < 4, axis=1, out=known[:, 1:])
            key[known[:, k:] - known[:, :-k] < k] = _NONE
        slot = (key >> shift).astype(np.int64) + (np.arange(len(block)) * BINS)[:, None]
        best = np.full(len(block) * BINS, _NONE)
        np.minimum.at(best, slot.ravel(), key.ravel())
        best = best.reshape(-1, BINS)
        words[begin : begin + step] = best >> np.uint64(32)
        places[begin : begin + step] = best & np.uint64(EMPTY)  # that of no k-mer is EMPTY already
    return Sketches(words, places, k)


def _kmers(block: UInt8[np.ndarray, "R L"], k: int) -> tuple[UInt32[np.ndarray, "R K"], UInt32[np.ndarray, "R K"]]:
    """Returns the number of each k-mer and of its reverse complement, put together from words of 1, 2, 4, 8 letters."""
    forward = (block & np.uint8(3)).astype(np.uint32)
    reverse = np.uint32(3) - forward
    result = None
    size = 1
    while True:
        if k & size:
            result = (forward, reverse, size) if result is None else _joined(*result, forward, reverse, size)
        size *= 2
        if size > k:
            assert result is not None
            return result[0], result[1]
        forward, reverse, _ = _joined(forward, reverse, size // 2, forward, reverse, size // 2)


def _joined(
    forward: np.ndarray, reverse: np.ndarray, size: int, next_forward: np.ndarray, next_reverse: np.ndarray, more: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Words of `size` letters and the words of `more` letters that follow each of them, as one."""
    count = next_forward.shape[1] - size
    ahead, ahead_reverse = next_forward[:, size:], next_reverse[:, size:]
    both = forward[:, :count] << np.uint32(2 * more) | ahead
    return both, ahead_reverse << np.uint32(2 * size) | reverse[:, :count], size + more


def _mixed(word: Shaped[np.ndarray, "*S"]) -> Shaped[np.ndarray, "*S"]:
    """The finaliser of MurmurHash3 (A. Appleby): uint32 to uint32, one to one."""
    word = word ^ (word >> np.uint32(16))
    word *= np.uint32(0x85EBCA6B)
    word ^= word >> np.uint32(13)
    word *= np.uint32(0xC2B2AE35)
    return word ^ (word >> np.uint32(16))


@dataclasses.dataclass
class Candidates:
    """Pairs of rows that share the smallest hash of a bin, bin after bin.

    Attributes:
        crowded: after the pass, in how many cases a row was not paired with all that share its hash.
    """

    sketches: Sketches
    crowded: int = 0

    def __iter__(self) -> Iterator[tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"], int]]:
        """Yields arrays of first and second rows and the bin in which they meet.

        Rows of a bin are put in order by its hash and then by the hash of the next bin, and each is paired with the
        following ones of the same hash, at most `CROWD`: in families of repeats the nearest relatives come first.
        """
        words, places = self.sketches.words, self.sketches.places
        for bin_ in range(BINS):
            rows = np.flatnonzero(places[:, bin_] != EMPTY)
            hashes: UInt32[np.ndarray, " R"] = words[rows, bin_]
            order = np.argsort(
                (hashes.astype(np.uint64) << np.uint64(32)) | words[rows, (bin_ + 1) % BINS], kind="stable"
            )
            rows, hashes = rows[order], hashes[order]
            alive = np.arange(len(rows))
            for step in range(1, CROWD + 2):
                alive = alive[: np.searchsorted(alive, len(rows) - step)]
                alive = alive[hashes[alive] == hashes[alive + step]]
                if not len(alive):
                    break
                if step > CROWD:
                    self.crowded += len(alive)
                    break
                yield rows[alive], rows[alive + step], bin_
