"""DNA as numbers: one byte a base from disk to device.

Codes are uint8 with A C G T = 0 1 2 3; everything else is 4, the unknown base, whose one-hot column is all zero. Host
functions take and give NumPy arrays; `one_hot` and `reverse_complement` also work on JAX arrays inside a compiled step.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon_jax.errors import InputError, show

ALPHABET = "ACGT"
UNKNOWN = 4
_IUPAC = "ACGTURYSWKMBDHVN"


@functools.cache
def _letter_table() -> np.ndarray:
    """Code of each byte value; 255 marks bytes that are not IUPAC nucleotides."""
    table = np.full(256, 255, np.uint8)
    for letter in _IUPAC:
        code = ALPHABET.find("T" if letter == "U" else letter)
        for byte in (letter, letter.lower()):
            table[ord(byte)] = UNKNOWN if code < 0 else code
    return table


def encode(sequence: str | bytes, name: str = "sequence") -> np.ndarray:
    """Returns the codes, uint8 `[L]`, of one sequence; lower case counts as upper, U as T, IUPAC ambiguity as 4.

    Raises:
        InputError: a letter is not an IUPAC nucleotide; `name` says which sequence.
    """
    try:
        raw = sequence.encode("ascii") if isinstance(sequence, str) else bytes(sequence)
    except UnicodeEncodeError as e:
        raise InputError(
            f"letter {show(sequence[e.start])!r} in {name}, position {e.start + 1}: expected IUPAC nucleotides"
        ) from e
    codes = _letter_table()[np.frombuffer(raw, np.uint8)]
    if codes.size and codes.max() == 255:
        at = int(np.argmax(codes == 255))
        letter = show(chr(raw[at]))
        raise InputError(
            f"letter {letter!r} in {name}, position {at + 1}: expected IUPAC nucleotides (ACGTUN and ambiguity codes). "
            "Is this a protein or alignment file?"
        )
    return codes


def encode_many(sequences: Sequence[str | bytes], name: str = "sequences") -> np.ndarray:
    """Returns the codes, uint8 `[N, L]`, of sequences that all have the same length.

    Raises:
        InputError: no sequence, an empty one, unequal lengths or a letter that is not a nucleotide.
    """
    if not len(sequences):
        raise InputError(f"no sequence in {name}")
    lengths = np.fromiter((len(s) for s in sequences), np.int64, len(sequences))
    wrong = np.flatnonzero(lengths != lengths[0])
    if wrong.size:
        raise InputError(
            f"{wrong.size:,} of {len(sequences):,} sequences in {name} differ in length: expected {lengths[0]} bases as in "
            f"the first, found {lengths[wrong[0]]} in number {wrong[0] + 1}. Crop or pad them to one length"
        )
    if lengths[0] == 0:
        raise InputError(f"sequences in {name} have no bases")
    joined = b"".join(s.encode("ascii", "replace") if isinstance(s, str) else bytes(s) for s in sequences)
    codes = _letter_table()[np.frombuffer(joined, np.uint8)].reshape(len(sequences), -1)
    if codes.max() == 255:
        row = int(np.argmax((codes == 255).any(1)))
        encode(sequences[row], f"{name}, number {row + 1}")  # raises, naming letter and position
    return codes


def decode(codes: np.ndarray) -> str:
    """Returns the letters of codes `[L]`; 4 becomes N."""
    return np.frombuffer(b"ACGTN", np.uint8)[np.asarray(codes)].tobytes().decode("ascii")


def decode_many(codes: np.ndarray) -> list[str]:
    """Returns one string for each row of codes `[N, L]`."""
    return [decode(row) for row in codes]


def one_hot(codes, dtype="float32", unknown: float = 0.0):
    """Returns one-hot `[..., L, 4]` of codes `[..., L]`, on the device when codes are there.

    Args:
        codes: integer codes 0-4.
        dtype: type of the result.
        unknown: value of all four columns where the base is unknown: 0 (DragoNN, FactorNet) or 0.25 (DeepBind, Kipoi).
    """
    import jax
    import jax.numpy as jnp

    hot = jax.nn.one_hot(codes, 4, dtype=dtype)  # a code of 4 is out of range: all zero
    return hot if unknown == 0.0 else jnp.where(codes[..., None] > 3, jnp.asarray(unknown, dtype), hot)


def reverse_complement(codes):
    """Returns codes `[..., L]` read on the other strand: A<->T, C<->G, order reversed, 4 stays 4. NumPy or JAX arrays."""
    if isinstance(codes, np.ndarray):
        return np.array([3, 2, 1, 0, 4], codes.dtype)[codes][..., ::-1]
    import jax.numpy as jnp

    return jnp.where(codes < 4, 3 - codes, codes)[..., ::-1].astype(codes.dtype)


def canonical(codes: np.ndarray) -> np.ndarray:
    """Returns, row by row, the alphabetically smaller of codes `[N, L]` and their reverse complement.

    Two sequences get the same row exactly when they are equal or reverse complements of each other.
    """
    other = reverse_complement(codes)
    differs = codes != other
    first = differs.argmax(1)
    rows = np.arange(len(codes))
    return np.where((other[rows, first] < codes[rows, first])[:, None], other, codes)


def dinucleotide_shuffle(codes: np.ndarray, seed: int | Sequence[int]) -> np.ndarray:
    """Shuffles every row of codes `[N, L]` so that all its dinucleotide counts, first and last base stay exactly the same.

    A random Eulerian path (Altschul and Erickson, Mol. Biol. Evol. 2, 526-538, 1985): each letter's last exit is drawn
    at random and drawn anew until the last exits lead to the final base from everywhere, the other exits are shuffled,
    and the path is walked. All rows walk in step, so the cost is L vector operations. Unknown bases are a fifth letter.

    Args:
        codes: uint8 `[N, L]`.
        seed: seed of the random draw; the result is a function of (codes, seed).

    Returns:
        uint8 `[N, L]`, uniformly drawn among all rows with these dinucleotide counts and this first base.
    """
    codes = np.ascontiguousarray(codes, np.uint8)
    n, length = codes.shape
    if n == 0 or length < 4:  # with three bases or fewer the counts fix the order
        return codes.copy()
    rng = np.random.default_rng(seed)
    keys = _exit_order_keys(codes, rng)
    source = codes[:, :-1]
    # Edges grouped by the letter they leave, in the order in which they will be used.
    order = np.argsort(source + keys, axis=1, kind="stable").astype(np.int64)
    targets = np.take_along_axis(codes[:, 1:], order, 1)
    counts = np.stack([(source == letter).sum(1) for letter in range(5)], 1)
    cursor = np.concatenate([np.zeros((n, 1), np.int64), counts.cumsum(1)[:, :-1]], 1).ravel()
    flat, row_edges, row_letters = targets.ravel(), np.arange(n) * (length - 1), np.arange(n) * 5
    result = np.empty((length, n), np.uint8)
    here = codes[:, 0].copy()
    result[0] = here
    for i in range(1, length):
        slot = row_letters + here
        edge = cursor[slot]
        cursor[slot] = edge + 1
        here = flat[row_edges + edge]
        result[i] = here
    return np.ascontiguousarray(result.T)


def _exit_order_keys(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random keys in [0, 1), `[N, L-1]`: the largest key of each letter marks a last exit that leads on to the end."""
    source, target = codes[:, :-1], codes[:, 1:]
    keys = rng.random(source.shape)
    todo = np.arange(len(codes))
    while todo.size:
        here, there, draw = source[todo], target[todo], keys[todo]
        rows = np.arange(len(todo))
        step = np.tile(np.arange(5), (len(todo), 1))  # a letter without exits stays where it is
        present = np.zeros((len(todo), 5), bool)
        for letter in range(5):
            mine = here == letter
            present[:, letter] = mine.any(1)
            last = np.where(mine, draw, -1.0).argmax(1)
            step[:, letter] = np.where(present[:, letter], there[rows, last], letter)
        final = codes[todo, -1]
        step[rows, final] = final  # the walk ends here, so this letter's last exit is free
        reach = step
        for _ in range(3):  # 2^3 steps reach any of 5 letters
            reach = np.take_along_axis(reach, reach, 1)
        bad = (present & (reach != final[:, None])).any(1)
        todo = todo[bad]
        keys[todo] = rng.random((todo.size, source.shape[1]))
    return keys


@functools.cache
def _kmer_columns(k: int, canonical_words: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Column of each of the 4^k words and the names of the columns."""
    words = np.arange(4**k)
    if not canonical_words:
        column, kept = words, words
    else:
        rest, reverse = words.copy(), np.zeros_like(words)
        for _ in range(k):
            reverse = reverse * 4 + (3 - rest % 4)
            rest //= 4
        kept, column = np.unique(np.minimum(words, reverse), return_inverse=True)
    digits = (kept[:, None] // 4 ** np.arange(k - 1, -1, -1)) % 4
    return column, tuple(decode(row) for row in digits)


def kmer_names(k: int, canonical: bool = True) -> tuple[str, ...]:
    """Returns the words, in the order of the columns of `kmer_counts`; `canonical` joins a word and its reverse complement."""
    return _kmer_columns(k, canonical)[1]


def kmer_counts(codes: np.ndarray, k: int, canonical: bool = True) -> np.ndarray:
    """Returns float32 `[N, F]`: how often each k-mer occurs in each row of codes `[N, L]`; words with unknown bases count nowhere.

    Raises:
        ValueError: k is not in 1..10 (4^10 columns are a million).
    """
    if not 1 <= k <= 10:
        raise ValueError(f"k={k} is not in 1..10")
    column, names = _kmer_columns(k, canonical)
    n, length = codes.shape
    result = np.zeros((n, len(names)), np.float32)
    if length < k:
        return result
    weights = 4 ** np.arange(k - 1, -1, -1)
    for start in range(0, n, 4096):  # blocks keep the word array small
        block = codes[start : start + 4096].astype(np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(block, k, axis=1)
        known = (windows < 4).all(-1)
        words = column[np.where(known, windows @ weights, 0)]
        rows = np.broadcast_to(np.arange(len(block))[:, None], words.shape)
        flat = rows[known] * len(names) + words[known]
        result[start : start + len(block)] = np.bincount(flat, minlength=len(block) * len(names)).reshape(
            len(block), -1
        )
    return result


def gc_content(codes: np.ndarray) -> np.ndarray:
    """Returns float64 `[N]`: share of G and C among the known bases of each row; NaN where a row has none."""
    known = (codes < 4).sum(1)
    strong = ((codes == 1) | (codes == 2)).sum(1)
    return np.divide(strong, known, out=np.full(len(codes), np.nan), where=known > 0)


def letters(sequences: Any) -> np.ndarray:
    """Returns codes uint8 `[N, L]` of whatever a caller has: strings, codes `[N, L]`, or one-hot `[N, L, 4]` / `[N, 4, L]`.

    Raises:
        InputError: unequal lengths, letters outside IUPAC, values that are neither codes nor one-hot, or `L == 4` one-hot,
            whose layout cannot be told.
    """
    if not isinstance(sequences, np.ndarray) and not hasattr(sequences, "__array__"):
        return encode_many([sequences] if isinstance(sequences, (str, bytes)) else list(sequences))
    array = np.asarray(sequences)
    if array.dtype.kind in "USO":
        return encode_many([str(s) for s in array.ravel()])
    if array.ndim == 3 and 4 in array.shape[1:]:
        return _from_one_hot(array)
    if array.ndim == 2 and (array.dtype.kind in "iu"):
        if array.size and (array.min() < 0 or array.max() > UNKNOWN):
            raise InputError(f"sequence codes run from {array.min()} to {array.max()}: expected 0-4 (A C G T unknown)")
        return array.astype(np.uint8)
    raise InputError(
        f"an array of shape {array.shape} and type {array.dtype} is no DNA: expected strings, codes [N, L] or one-hot [N, L, 4]"
    )


def _from_one_hot(array: np.ndarray) -> np.ndarray:
    if array.shape[1] == array.shape[2]:
        raise InputError(
            f"one-hot array of shape {array.shape}: cannot tell positions from letters when L is 4. Pass codes instead"
        )
    hot = array if array.shape[2] == 4 else array.transpose(0, 2, 1)
    codes, bad = codes_of(hot)
    if bad.any():
        row, position = np.argwhere(bad)[0]
        raise InputError(
            f"one-hot array, sequence {row}, position {position}: expected one 1 and three 0, found {show(hot[row, position].tolist())}"
        )
    return codes


def codes_of(hot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes uint8 `[..., L]` of one-hot `[..., L, 4]`, and which positions hold neither a base nor an unknown one.

    Four zeros or four quarters are an unknown base.
    """
    ones, zeros = hot == 1, hot == 0
    unknown = zeros.all(-1) | (hot == 0.25).all(-1)
    good = unknown | ((ones.sum(-1) == 1) & (zeros.sum(-1) == 3))
    return np.where(unknown, UNKNOWN, ones.argmax(-1)).astype(np.uint8), ~good
