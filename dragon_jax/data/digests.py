"""Sequences as short opaque values: equal for copies and reverse complements, the same on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Float64, UInt8

from dragon_jax.dna import canonical

_CHUNK = 1 << 24  # bases turned to the other strand at a time


def digests(codes: UInt8[np.ndarray, "N L"], salt: str = "", size: int = 16) -> np.ndarray:
    """Returns `[N]` opaque values of `size` bytes, equal for copies and reverse complements and for no others."""
    key = hashlib.sha256(salt.encode()).digest()[:16] if salt else b""
    n, length = codes.shape
    raw = bytearray()
    for begin in range(0, n, step := max(1, _CHUNK // max(1, length))):
        rows = canonical(codes[begin : begin + step]).tobytes()
        starts = range(0, len(rows), length)
        raw += b"".join([hashlib.blake2b(rows[i : i + length], digest_size=size, key=key).digest() for i in starts])
    return np.frombuffer(raw, np.dtype((np.void, size)))


def uniform_hash(codes: UInt8[np.ndarray, "N L"], salt: str = "") -> Float64[np.ndarray, " N"]:
    """Returns numbers in [0, 1), one for each sequence: the same on every machine, in any order, on either strand."""
    words = np.frombuffer(digests(codes, salt, 8).tobytes(), "<u8")
    return (words >> np.uint64(11)) * 2.0**-53
