"""Digests of columns that grow row after row: the same whether the rows come at once, in pieces, or from finished parts.

A column is cut into blocks of `BLOCK` rows. Its digest is the SHA-256 of its type, its number of rows and the SHA-256
of each block, so that one pass over data larger than memory gives the digest of every column, and a build that was
interrupted goes on from the blocks that it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BLOCK = 1024  # rows; part of the definition, and never changed without a new FORMAT of the folders


class RunningDigests:
    """Digests of columns of equally many rows.

    Attributes:
        rows: rows seen so far.
    """

    def __init__(self):
        self.rows = 0
        self._heads: dict[str, str] = {}
        self._done: dict[str, bytearray] = {}  # 32 bytes for each whole block
        self._rest: dict[str, list[bytes]] = {}  # pieces of the block that is not whole yet

    def update(self, columns: Mapping[str, np.ndarray]) -> None:
        """Takes further rows `[n, ...]` of every column; text is read as UTF-8, numbers in the byte order of x86 and ARM.

        Raises:
            ValueError: columns differ in length, or are not those of the rows before.
        """
        sizes = {len(values) for values in columns.values()}
        heads = {name: _head(values) for name, values in columns.items()}
        if len(sizes) != 1 or (self._heads and heads != self._heads):
            raise ValueError(f"columns {heads} of {sizes} rows: expected {self._heads or 'one length'}")
        if not self._heads:
            self._heads = heads
            self._done = {name: bytearray() for name in heads}
            self._rest = {name: [] for name in heads}
        (count,) = sizes
        if not count:
            return
        edges = [0, *range(BLOCK - self.rows % BLOCK, count, BLOCK), count]
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            whole = (self.rows + stop - start) % BLOCK == 0
            for name, values in columns.items():
                self._rest[name].append(_bytes(values[start:stop]))
                if whole:
                    self._done[name] += hashlib.sha256(b"".join(self._rest[name])).digest()
                    self._rest[name] = []
            self.rows += stop - start

    def extend(self, other: RunningDigests) -> None:
        """Takes the rows of `other` behind the own ones, which must be whole blocks."""
        if self.rows % BLOCK or (self._heads and other._heads and other._heads != self._heads):
            raise ValueError(f"{self.rows} rows of {self._heads} cannot be followed by {other._heads}")
        if not other._heads:
            return
        if not self._heads:
            self._heads, self._done = dict(other._heads), {name: bytearray() for name in other._heads}
        for name in self._heads:
            self._done[name] += other._done[name]
        self._rest = {name: list(pieces) for name, pieces in other._rest.items()}
        self.rows += other.rows

    def digest(self, names: Sequence[str] | None = None, salt: str = "") -> str:
        """Returns a hex digest of some columns (None: all), whatever order they are named in, and of `salt`."""
        total = hashlib.sha256(f"{self.rows}|{BLOCK}|{salt}|".encode())
        for name in sorted(self._heads if names is None else names):
            last = b"".join(self._rest[name])
            blocks = bytes(self._done[name]) + (hashlib.sha256(last).digest() if self.rows % BLOCK else b"")
            total.update(f"{name}|{self._heads[name]}|".encode() + hashlib.sha256(blocks).digest())
        return total.hexdigest()

    @property
    def names(self) -> list[str]:
        return list(self._heads)

    def state(self) -> dict[str, Any]:
        """Returns everything as plain values, for `RunningDigests.of`."""
        columns = {
            name: [head, self._done[name].hex(), b"".join(self._rest[name]).hex()] for name, head in self._heads.items()
        }
        return {"rows": self.rows, "columns": columns}

    @staticmethod
    def of(state: Mapping[str, Any]) -> RunningDigests:
        """Returns digests as they were when `state` was taken."""
        result = RunningDigests()
        result.rows = state["rows"]
        for name, (head, done, rest) in state["columns"].items():
            result._heads[name] = head
            result._done[name] = bytearray.fromhex(done)
            result._rest[name] = [bytes.fromhex(rest)] if rest else []
        return result


def digest_columns(columns: Mapping[str, np.ndarray], salt: str = "") -> str:
    """Returns the digest of columns that are in memory as a whole."""
    running = RunningDigests()
    running.update(columns)
    return running.digest(salt=salt)


def _is_text(values: np.ndarray) -> bool:
    return values.dtype.kind in "UO"


def _head(values: np.ndarray) -> str:
    return "text" if _is_text(values) else f"{values.dtype.name} {list(values.shape[1:])}"


def _bytes(values: np.ndarray) -> bytes:
    if _is_text(values):
        return b"".join(len(raw).to_bytes(4, "little") + raw for raw in (str(v).encode() for v in values.tolist()))
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
