"""Signals and vectors beside the sequences in NPZ and HDF5 files, their names and what is refused."""

import h5py
import numpy as np
import pytest

from dragon_jax.data.array_source import ArraySource
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.errors import InputError

N, L = 7, 12
RNG = np.random.default_rng(0)
ARRAYS = {
    "codes": RNG.integers(0, 4, (N, L)).astype(np.uint8),
    "targets": RNG.integers(0, 2, (N, 1)).astype(float),
    "cuts": RNG.normal(size=(N, L, 2)),
    "one": RNG.integers(0, 9, (N, L)).astype(np.uint16),
    "vec": RNG.normal(size=(N, L)),
    "age": np.arange(N),
}
FIELDS = {
    "signals": {"signal": "cuts", "single": "one"},
    "vectors": {"metadata": "vec", "age": "age"},
    "input_columns": {"signal": ("x_fwd", "x_rev")},
}


def save(path, **changed):
    arrays = {k: v for k, v in (ARRAYS | changed).items() if v is not None}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
    return str(path)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_a_field_of_the_config_says_what_an_array_is(tmp_path, suffix):
    data = ArraySource(paths={"all": save(tmp_path / f"x{suffix}")}, **FIELDS).load_parts()["all"]
    assert {k: v.shape for k, v in data.inputs.items()} == {
        "signal": (N, L, 2), "single": (N, L, 1), "metadata": (N, L), "age": (N, 1)
    }  # fmt: skip
    assert all(v.dtype == np.float32 for v in data.inputs.values())
    np.testing.assert_array_equal(data.inputs["single"][..., 0], ARRAYS["one"])
    assert data.specs["signal"].partners == (1, 0)
    assert data.specs["metadata"] == InputSpec("vector")  # as long as the sequence, and yet no signal


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cuts": None}, "'cuts'"),
        ({"cuts": np.zeros((N, L + 1, 2))}, r"input 'signal': expected a signal \[N, 12, C\], found the shape \[7, 13, 2\]"),
        ({"cuts": np.zeros((N, L, 3))}, "input 'signal': expected 2 columns"),
        ({"cuts": np.zeros(N)}, r"array 'cuts': expected numbers, a signal \[N, L, C\] or \[N, L\], found float64"),
        ({"vec": np.zeros((N + 1, 2))}, "7 sequences, but 8 rows in .*array 'vec'"),
        ({"vec": np.array(["a"] * N)}, r"array 'vec': expected numbers, a vector \[N, Q\] or \[N\], found text"),
        ({"vec": np.where(np.arange(N)[:, None] == 4, np.inf, 0.0)}, "array 'vec', row 4: expected finite .*, found inf"),
        ({"vec": np.full((N, 1), 1e300)}, "row 0: expected finite numbers in an input, found inf"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_input(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        ArraySource(paths={"all": save(tmp_path / "x.npz", **changed)}, **FIELDS).load_parts()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vectors": {"signal": "vec"}}, "signals, vectors: expected different names"),
        ({"vectors": {"weight": "vec"}}, "is a name of the batch itself"),
        ({"input_columns": {"other": ("a",)}}, "'other' is none of signals and vectors"),
    ],
)
def test_settings_that_cannot_work(fields, message):
    with pytest.raises(ValueError, match=message):
        ArraySource(paths={"all": "x.npz"}, **(FIELDS | fields))


def test_files_of_one_data_set_hold_the_same_inputs(tmp_path):
    paths = {"train": save(tmp_path / "a.npz"), "valid": save(tmp_path / "b.npz", vec=np.zeros((N, 3)))}
    with pytest.raises(
        InputError, match=r"input 'metadata': expected the shape \[12\] of a row as in .*a.npz, found \[3\]"
    ):
        ArraySource(paths=paths, **FIELDS).load_parts()
