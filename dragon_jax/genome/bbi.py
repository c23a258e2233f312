"""Whether a bigWig file is whole: its index is walked, so that a file that was cut off never passes for a short one.

Layout: Kent et al. 2010, BigWig and BigBed, supplementary table 5 ff. (header, zoom headers, R tree indices).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dragon_jax.errors import InputError, show

_BIGWIG, _BIGBED, _INDEX = 0x888FFC26, 0x8789F2EB, 0x2468ACE0
_HEADER, _ZOOM_HEADER, _INDEX_HEADER, _NODE = 64, 24, 48, 4


class _Short(Exception):
    """Bytes that the file speaks of are not there."""


class _Damaged(Exception):
    """What lies at a place is not what the file says lies there."""


def check_whole(place: Path, name: str) -> None:
    """Refuses what is not a whole bigWig file.

    Args:
        place: the file. name: how the user called it, for messages.

    Raises:
        InputError: other content, an index that does not fit the file, or data that the index names and the file lacks.
    """
    try:
        with open(place, "rb") as file:
            order = _byte_order(file.read(4), name)
            _walk(file, order)
    except _Short as e:
        raise InputError(
            f"{name} is shorter than its index says: expected at least {e} bytes, found "
            f"{place.stat().st_size:,}. Copy it again"
        ) from e
    except _Damaged as e:
        raise InputError(f"{name} is damaged: expected an index of blocks, found {e}. Copy it again") from e
    except OSError as e:
        raise InputError(
            f"cannot read {name}: expected a readable file, found {e.strerror or e}. Check the path"
        ) from e


def _byte_order(head: bytes, name: str) -> str:
    for order in "<>":
        if head == struct.pack(f"{order}I", _BIGWIG):
            return order
        if head == struct.pack(f"{order}I", _BIGBED):
            raise InputError(f"{name} is a bigBed file: expected a bigWig file. Convert it, or pass the signal itself")
    if not head:
        raise InputError(f"{name} is not a bigWig file: it is empty. Copy it again")
    if head.startswith(b"\x1f\x8b"):
        raise InputError(f"{name} is not a bigWig file: it is compressed with gzip. Decompress it first")
    raise InputError(f"{name} is not a bigWig file (first bytes {show(repr(head)[1:])}). Was an error page downloaded?")


def _walk(file: BinaryIO, order: str) -> None:
    """Visits every node of every index; raises _Short when a node or a block lies beyond the end of the file."""
    size = os.fstat(file.fileno()).st_size

    def read(offset: int, count: int) -> bytes:
        if offset + count > size:
            raise _Short(f"{offset + count:,}")
        file.seek(offset)
        return file.read(count)

    header = struct.unpack(f"{order}IHHQQQHHQQIQ", read(0, _HEADER))
    zooms = [struct.unpack(f"{order}IIQQ", read(_HEADER + i * _ZOOM_HEADER, _ZOOM_HEADER))[3] for i in range(header[2])]
    child = np.dtype([("bounds", f"{order}u4", 4), ("offset", f"{order}u8")])
    leaf = np.dtype([("bounds", f"{order}u4", 4), ("offset", f"{order}u8"), ("size", f"{order}u8")])
    for index in (header[5], *zooms):
        (magic,) = struct.unpack(f"{order}I", read(index, _INDEX_HEADER)[:4])
        if magic != _INDEX:
            raise _Damaged(f"0x{magic:08x} at byte {index:,}")
        seen, ahead = set(), [index + _INDEX_HEADER]
        while ahead:
            node = ahead.pop()
            if node in seen:
                raise _Damaged(f"a node twice at byte {node:,}")
            seen.add(node)
            is_leaf, _, count = struct.unpack(f"{order}BBH", read(node, _NODE))
            kind = leaf if is_leaf else child
            items = np.frombuffer(read(node + _NODE, count * kind.itemsize), kind)
            if not is_leaf:
                ahead += items["offset"].tolist()
            elif count and (end := int((items["offset"] + items["size"]).max())) > size:
                raise _Short(f"{end:,}")
