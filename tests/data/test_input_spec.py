"""Extra inputs say themselves what follows the bases and which tracks change places on the other strand."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.data.dataset import Dataset, Task, concatenate
from dragon_jax.data.input_spec import InputSpec, default_spec, refuse_not_finite
from dragon_jax.data.input_survey import InputSurvey
from dragon_jax.errors import InputError
from dragon_jax.models.base import other_strand
from dragon_jax.sections import AugmentConfig
from dragon_jax.training.augment import augment

PAIRED = InputSpec("signal", ("a_fwd", "map", "a_rev", "b_minus", "b_plus"))


def test_paired_tracks_change_places_and_all_are_reversed():
    assert PAIRED.partners == (2, 1, 0, 4, 3)
    values = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    turned = np.asarray(other_strand(values, PAIRED))
    np.testing.assert_array_equal(turned, values[:, ::-1][..., [2, 1, 0, 4, 3]])
    np.testing.assert_array_equal(other_strand(turned, PAIRED), values)


def test_a_vector_as_long_as_the_sequence_stays():
    vector, spec = np.arange(8).reshape(2, 4), InputSpec("vector", ("a_fwd", "a_rev", "b", "c"))
    np.testing.assert_array_equal(other_strand(vector, spec), vector)
    np.testing.assert_array_equal(other_strand(vector), vector)
    inputs = {"codes": jnp.zeros((2, 4), jnp.uint8), "metadata": jnp.asarray(vector)}
    out = augment(inputs, AugmentConfig(reverse_complement=1.0, shift=2), jax.random.key(0), {"metadata": spec})
    np.testing.assert_array_equal(out["metadata"], vector)


def test_the_augmentation_swaps_pairs_and_moves_signal_with_the_bases():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (50, 20)).astype(np.uint8)
    signal = np.stack([codes + 1, 4 - codes], -1).astype(np.float32)  # tells the base on this and on the other strand
    spec = {"signal": InputSpec("signal", ("x_fwd", "x_rev"))}
    inputs = {"codes": jnp.asarray(codes), "signal": jnp.asarray(signal)}
    out = augment(inputs, AugmentConfig(reverse_complement=0.5, shift=4), jax.random.key(1), spec)
    out_codes, out_signal = np.asarray(out["codes"]), np.asarray(out["signal"])
    known = out_codes < 4
    assert not known.all()
    assert (out_codes != codes).any()
    np.testing.assert_array_equal(out_signal[..., 0][known], out_codes[known] + 1)
    np.testing.assert_array_equal(out_signal[..., 1][known], 4 - out_codes[known])
    np.testing.assert_array_equal(out_signal[~known], 0)


def test_kinds_come_from_the_spec_or_from_the_number_of_axes():
    assert default_spec(np.zeros((2, 4, 1))).kind == "signal"
    assert default_spec(np.zeros((2, 4))).kind == default_spec(np.zeros(2)).kind == "vector"
    assert InputSpec.of(PAIRED.plain()) == PAIRED


@pytest.mark.parametrize(
    ("columns", "message"),
    [(("a_fwd", "b"), "track 'a_fwd': expected its partner .*'a_rev'"), (("a", "a"), "expected different names")],
)
def test_columns_that_make_no_sense_are_refused(columns, message):
    with pytest.raises(InputError, match=message):
        InputSpec("signal", columns)


def test_a_data_set_holds_its_inputs_to_their_specs():
    def make(specs, **inputs):
        rows = {"codes": np.zeros((3, 4), np.uint8), "targets": np.zeros((3, 1), np.float32), "tasks": (Task("t"),)}
        return Dataset(**rows, ids=np.array(list("abc")), inputs=inputs, specs=specs)

    x = np.zeros((3, 4, 2), np.float32)
    one = make({"x": InputSpec("signal", ("a", "b"))}, x=x)
    assert one.take(np.arange(2)).input_specs == one.input_specs == concatenate([one, one]).input_specs
    with pytest.raises(InputError, match="different tasks or inputs"):
        concatenate([one, make({"x": InputSpec("signal", ("b", "a"))}, x=x)])
    with pytest.raises(InputError, match=r"'x': expected a signal \[N, 4, C\], found the shape \[3, 4\]"):
        make({"x": InputSpec("signal")}, x=x[..., 0])
    with pytest.raises(InputError, match="'x': expected 1 columns"):
        make({"x": InputSpec("signal", ("a",))}, x=x)
    with pytest.raises(InputError, match="specs of inputs that are not there: y"):
        make({"y": InputSpec("signal")}, x=x)


def test_values_that_are_not_finite_are_refused_with_their_row():
    with pytest.raises(
        InputError, match=r"x.npz, row 2: expected finite numbers in an input, found nan \(2 such rows\)"
    ):
        refuse_not_finite(np.array([[0, 1], [np.nan, np.inf], [np.inf, 0]]), "x.npz")


def test_a_survey_in_parts_is_that_of_the_whole():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(20, 4, 2)).astype(np.float32)
    signal[3, 1] = 0, np.nan
    signal[:, 0, 1] = np.inf
    rows = {"codes": np.zeros((20, 4), np.uint8), "targets": np.zeros((20, 1), np.float32), "tasks": (Task("t"),)}
    inputs = {"signal": signal, "n": np.arange(20)}
    data = Dataset(
        **rows, ids=np.arange(20).astype(str), inputs=inputs, specs={"signal": InputSpec("signal", ("a", "b"))}
    )
    whole, first, second = InputSurvey(), InputSurvey(), InputSurvey()
    whole.add(data)
    first.add(data.take(np.arange(7)))
    second.add(data.take(np.arange(7, 20)))
    first.extend(InputSurvey.of(json.loads(json.dumps(second.state()))))
    found, expected = first.record(), whole.record()
    np.testing.assert_allclose(found["signal"].pop("mean"), expected["signal"].pop("mean"), rtol=1e-6)
    assert found == expected
    b = np.delete(signal[..., 1].ravel(), [4 * 3 + 1, *range(0, 80, 4)])
    assert expected["signal"]["missing"] == [0, 21 / 80] and expected["signal"]["zero"] == [1 / 80, 0]
    assert expected["signal"]["least"][1] == b.min() and expected["signal"]["most"][1] == b.max()
    assert expected["n"] == {
        "kind": "vector", "columns": [], "shape": [], "mean": [9.5], "least": [0], "most": [19], "zero": [0.05], "missing": [0]
    }  # fmt: skip
