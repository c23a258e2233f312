"""Arrays in the safetensors format: round trip, the same bytes each time, and damage by name."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.tensors import read_tensors, write_tensors

ARRAYS = {
    "a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a/bias": np.array([np.nan, -0.0]),
    "half": np.array([1.5, 2], ml_dtypes.bfloat16),
    "flags": np.array([True, False, True]),
    "codes": np.arange(5, dtype=np.uint8),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 4), np.float32),
    "turned": np.arange(6, dtype=np.int32).reshape(2, 3).T,
}


def test_what_is_written_is_read_again(tmp_path):
    write_tensors(tmp_path / "a.safetensors", ARRAYS, {"format": "ours"})
    found, metadata = read_tensors(tmp_path / "a.safetensors")
    assert metadata == {"format": "ours"} and set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name
    write_tensors(tmp_path / "b.safetensors", dict(reversed(ARRAYS.items())), {"format": "ours"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_bytes_are_those_of_the_format(tmp_path):
    """Written out by hand from the format's description."""
    header = b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  '
    expected = len(header).to_bytes(8, "little") + header + b"\0\0\x80?\0\0\0@"
    write_tensors(tmp_path / "x", {"x": np.array([1, 2], ">f4")})  # another byte order on the way in
    assert (tmp_path / "x").read_bytes() == expected


def test_the_package_of_that_name_agrees(tmp_path):
    theirs = pytest.importorskip("safetensors.numpy")
    plain = {k: np.ascontiguousarray(v) for k, v in ARRAYS.items() if k != "half"}
    write_tensors(tmp_path / "ours", plain)
    theirs.save_file(plain, tmp_path / "theirs")
    for found in (theirs.load_file(tmp_path / "ours"), read_tensors(tmp_path / "theirs")[0]):
        for name, array in plain.items():
            assert found[name].tobytes() == array.tobytes() and found[name].shape == array.shape


def made(path, header, data=b"\0" * 8, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"[1]", "expected a JSON object"),
        (b"{x}", "expected JSON"),
        (b'{"x":1,"x":2}', "'x' twice"),
        ({"x": 3}, "array 'x' in .* expected dtype, shape and data_offsets"),
        ({"x": entry() | {"more": 1}}, "expected dtype, shape and data_offsets"),
        ({"x": entry("F8")}, "expected a type of F64, .* found 'F8'"),
        ({"x": entry(shape=(-2,))}, "expected a shape of whole numbers"),
        ({"x": entry(shape=(2.0,))}, "expected a shape of whole numbers"),
        ({"x": entry(offsets=(8, 0))}, "expected data_offsets"),
        ({"x": entry(shape=(3,))}, "expected 12 bytes for shape \\[3\\] of F32, found 8"),
        ({"x": entry(shape=(1,), offsets=(4, 8))}, "expected its bytes from 0 on.* found 4: a gap"),
        ({"x": entry(), "y": entry(shape=(1,), offsets=(4, 8))}, "'y' .* found 4: an overlap"),
        ({"x": entry(shape=(1,), offsets=(0, 4))}, "expected 4 bytes of arrays as its header says, found 8"),
        ({"x": entry(shape=(3,), offsets=(0, 12))}, "expected 12 bytes of arrays as its header says, found 8"),
        ({"x": entry("BOOL", (8,))}, "expected 0 or 1 for true and false, found 2"),
        ({"__metadata__": {"a": 1}, "x": entry()}, "expected texts"),
    ],
)
def test_damage_is_named(tmp_path, header, said):
    data = b"\2" * 8 if "true" in said else b"\0" * 8
    with pytest.raises(InputError, match=said):
        read_tensors(made(tmp_path / "x.safetensors", header, data))


def test_files_that_are_none(tmp_path):
    for length in (0, 10**9, 2**63):
        with pytest.raises(InputError, match="expected a safetensors file, found"):
            read_tensors(made(tmp_path / "x", {"x": entry()}, length=length))
    (tmp_path / "short").write_bytes(b"\1\0")
    with pytest.raises(InputError, match="found 2 bytes"):
        read_tensors(tmp_path / "short")
    with pytest.raises(InputError, match="none: expected an existing file"):
        read_tensors(tmp_path / "none")
    with pytest.raises(InputError, match="type complex128: expected one of F64"):
        write_tensors(tmp_path / "c", {"c": np.zeros(2, complex)})
    assert not (tmp_path / "c").exists()
