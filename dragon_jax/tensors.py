"""Named arrays in one file of the safetensors format, written and read with strict checks; nothing is executed.

    8 bytes             length of the header, little-endian
    header              JSON: {name: {"dtype": "F32", "shape": [3, 4], "data_offsets": [begin, end]}, ...}, blanks at its end;
                        "__metadata__" may hold texts
    the rest            bytes of the arrays, row-major and little-endian, side by side without gaps

Format: https://github.com/huggingface/safetensors, section Format. The package of that name reads what is written here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from dragon_jax.errors import InputError, show
from dragon_jax.files import atomic_write, locate

METADATA = "__metadata__"
_HEADER = 100_000_000  # bytes: the largest header that the format allows
_TYPES: dict[str, np.dtype] = {
    name: np.dtype(kind)
    for name, kind in {
        "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "I64": "<i8", "I32": "<i4", "I16": "<i2",
        "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
    }.items()
}  # fmt: skip
_NAMES = {kind: name for name, kind in _TYPES.items()}


def write_tensors(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None):
    """Writes arrays under their names; the same arrays give the same bytes.

    Args:
        path: the file, which appears whole or not at all. metadata: texts for the header.

    Raises:
        InputError: an array of a type that the format does not have, or a folder that is missing.
        RunError: the disk is full.
    """
    plain = {name: np.ascontiguousarray(a).reshape(np.shape(a)) for name, a in arrays.items()}
    plain = {name: a.astype(a.dtype.newbyteorder("<"), copy=False) for name, a in plain.items()}
    for name, array in plain.items():
        if array.dtype not in _NAMES or name == METADATA:
            raise InputError(
                f"array '{show(name)}' of type {array.dtype}: expected one of {', '.join(_NAMES.values())}"
            )
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    order = sorted(plain, key=lambda name: (-plain[name].itemsize, name))  # every array then starts at its alignment
    end = 0
    for name in order:
        array, begin = plain[name], end
        end += array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path, binary=True) as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            out.write(plain[name].tobytes())


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays by name, and the texts of the header.

    Raises:
        InputError: no such file, or one that is cut off, has bytes to spare, gaps, overlaps, a name twice, an unknown type
            or a shape that does not fit its bytes; file and array are said.
    """
    name = show(os.fspath(path), 300)
    with open(locate(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_HEADER, size - 8):
            raise InputError(
                f"{name}: expected a safetensors file, found {size:,} bytes whose header would have {length:,}. Was it cut off, "
                "or is it something else?"
            )
        header = _header(file.read(length), name)
        metadata = header.pop(METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise InputError(f"{METADATA} in {name}: expected texts, found '{show(metadata)}'. Write the file anew")
        total = size - 8 - length
        places = {key: _place(entry, f"array '{show(key)}' in {name}") for key, entry in header.items()}
        end = 0
        for key, (_, _, first, last) in sorted(places.items(), key=lambda item: item[1][2:]):
            if first != end:
                found = "a gap" if first > end else "an overlap"
                raise InputError(
                    f"array '{show(key)}' in {name}: expected its bytes from {end:,} on, right behind those before it, found "
                    f"{first:,}: {found}. Write the file anew"
                )
            end = last
        if end != total:
            raise InputError(
                f"{name}: expected {end:,} bytes of arrays as its header says, found {total:,}. Was it cut off? Copy it again"
            )
        data = np.frombuffer(file.read(total), np.uint8)
    if len(data) != total:
        raise InputError(f"{name} became shorter while it was read. Copy it again")
    arrays = {}
    for key, (kind, shape, first, last) in places.items():
        part = data[first:last]
        if kind == np.bool_ and part.size and part.max() > 1:
            raise InputError(f"array '{show(key)}' in {name}: expected 0 or 1 for true and false, found {part.max()}")
        arrays[key] = np.frombuffer(part.tobytes(), kind).reshape(shape)
    return arrays, metadata


def _header(text: bytes, name: str) -> dict[str, Any]:
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = set()
        twice.extend(k for k, _ in pairs if k in seen or seen.add(k))
        return dict(pairs)

    try:
        header = json.loads(text.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as e:
        raise InputError(f"header of {name}: expected JSON, found {show(str(e))}. Is this a safetensors file?") from e
    if twice:
        raise InputError(f"header of {name}: '{show(twice[0])}' twice, expected unique names. Write the file anew")
    if not isinstance(header, dict):
        raise InputError(
            f"header of {name}: expected a JSON object, found '{show(header)}'. Is this a safetensors file?"
        )
    return header


def _place(entry: Any, where: str) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """Returns type, shape, first byte and the byte after the last of a header's entry."""
    whole = lambda x: type(x) is int and 0 <= x < 2**63  # noqa: E731
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise InputError(f"{where}: expected dtype, shape and data_offsets, found '{show(entry)}'. Write the file anew")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise InputError(f"{where}: expected a type of {', '.join(_TYPES)}, found '{show(kind)}'. Convert the array")
    if not isinstance(shape, list) or len(shape) > 32 or not all(map(whole, shape)):
        raise InputError(f"{where}: expected a shape of whole numbers, found '{show(shape)}'. Write the file anew")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(whole, offsets)) or offsets[0] > offsets[1]:
        raise InputError(f"{where}: expected data_offsets [begin, end], found '{show(offsets)}'. Write the file anew")
    needed = math.prod(shape) * _TYPES[kind].itemsize
    if needed != offsets[1] - offsets[0]:
        raise InputError(
            f"{where}: expected {needed:,} bytes for shape {shape} of {kind}, found {offsets[1] - offsets[0]:,}. Write it anew"
        )
    return _TYPES[kind], tuple(shape), offsets[0], offsets[1]
