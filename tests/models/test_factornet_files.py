"""Released FactorNet files: every array in its place, side files that fit, and refusals that name what does not."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from dragon_jax.data.input_spec import InputSpec
from dragon_jax.errors import InputError
from dragon_jax.models.factornet_files import read_factornet
from dragon_jax.models.keras_files import read_keras
from tests.models import keras_made
from tests.models.keras_made import arrays_of, described, folder, parameters, write_hdf5


def flat(tree, path=""):
    for name, value in tree.items():
        yield from flat(value, f"{path}{name}/") if isinstance(value, dict) else [(path + name, value)]


@pytest.mark.parametrize("metadata", [6, 0])
def test_a_folder_becomes_a_config_and_parameters(tmp_path, metadata):
    place, layers = folder(tmp_path / "m", tasks=2, metadata=metadata)
    found = read_factornet(place)
    c = found.config
    assert (c.kernels, c.width, c.pool_width, c.recurrent, c.dense, c.gate) == (6, 5, 4, 3, 7, "hard_sigmoid")
    assert (c.conv_dropout, c.recurrent_dropout, c.dropout, c.input_dropout, c.state_dropout) == (
        0.15,
        0.5,
        0,
        0.1,
        0.2,
    )
    assert (found.length, found.tasks, c.strands) == (41, ("TF0", "TF1"), "probability")
    specs = {"signal": InputSpec("signal", ("Unique35", "DGF"))}
    if metadata:
        specs["metadata"] = InputSpec("vector", ("cpg_island", "cds", "intron", "promoter", "utr5", "utr3"))
    assert found.specs == specs
    expected = dict(flat(parameters(layers)))
    assert set(found.params) == set(expected)
    for path, array in expected.items():
        np.testing.assert_array_equal(found.params[path], array, err_msg=path)


def test_a_file_that_describes_its_layers_is_enough_and_what_is_lost_is_said(tmp_path):
    sizes = {"width": 34, "pool": 17, "length": 1002, "metadata": 0, "tracks": 1}
    file = write_hdf5(tmp_path / "w.hdf5", arrays_of(3, **sizes), whole=True)
    with pytest.raises(
        InputError, match="expected model.json beside it, or a description of the layers inside, found n"
    ):
        read_factornet(file)
    with h5py.File(file, "a") as opened:
        opened.attrs["model_config"] = json.dumps(described(**sizes)).encode()
    found = read_factornet(file)
    assert (found.length, found.tasks) == (1002, ("task_1", "task_2", "task_3"))
    assert found.specs == {"signal": InputSpec("signal", ("track_1",))} and found.config.recurrent_dropout == 0.5
    layers, tracks = found.notes
    assert "no model.json" in layers and "model_config" in layers
    assert "no bigwig.txt" in tracks and "track_1" in tracks and "NAME_fwd" in tracks
    (tmp_path / "bigwig.txt").write_text("DGF\n")
    (tmp_path / "model.json").write_text(json.dumps(described(**sizes)))
    assert read_factornet(file).notes == ()
    (tmp_path / "model.json").write_text(json.dumps(described(**sizes | {"length": None})))
    assert read_factornet(file).length == 1002
    write_hdf5(file, arrays_of(1, **sizes | {"length": 1019}))
    with pytest.raises(InputError, match=r"expected 342 inputs of the first hidden layer \(57 positions.*found 348"):
        read_factornet(file)


def position(layers, name):
    return next(i for i, layer in enumerate(layers) if layer["name"] == name)


def test_layers_that_would_give_other_numbers_are_refused(tmp_path):
    place, _ = folder(tmp_path / "m")

    def refused(change, match):
        text = described()
        layers = text["config"]["layers"]
        merged = {"class_name": "Merge", "name": "merge_1", "config": {"mode": "concat", "concat_axis": -1}}
        merged["inbound_nodes"] = [[["dense_2", 0, 0], ["input_3", 0, 0]]]
        layers.insert(0, {"class_name": "InputLayer", "name": "input_3", "config": {"batch_input_shape": [None, 41]}})
        layers.insert(position(layers, "dense_3"), merged)
        change({layer["name"]: layer for layer in layers}, layers)
        (place / "model.json").write_text(json.dumps(text))
        if not match:
            return read_factornet(place)
        with pytest.raises(InputError, match=match):
            read_factornet(place)

    def lstm(**fields):
        return lambda named, layers: named["bidirectional_1"]["config"]["layer"]["config"].update(fields)

    assert refused(lambda named, layers: None, "") is not None
    refused(lstm(go_backwards=True), "expected go_backwards of the LSTM False, found True")
    refused(lstm(stateful=True), "expected stateful of the LSTM False, found True")
    refused(lstm(return_sequences=False), "expected return_sequences of the LSTM True, found False")
    refused(lambda n, _: n["merge_1"]["config"].update(mode="sum"), "expected mode of the merge with metadata 'concat'")
    refused(lambda n, _: n["merge_1"]["inbound_nodes"][0].reverse(), "expected metadata last in the merge")
    refused(
        lambda n, x: x.append({**n["dense_9"], "class_name": "Lambda"}), "kinds of layers that FactorNet has, found Lam"
    )
    refused(
        lambda n, x: x.insert(2, x.pop(position(x, "maxpooling1d_1"))), "expected layers in the order Convolution1D"
    )


def test_moments_of_the_optimiser_are_left_and_the_best_model_comes_first(tmp_path):
    place, _ = folder(tmp_path / "m")
    layers = arrays_of(seed=5)
    write_hdf5(place / "best_model.hdf5", layers, whole=True)
    found = read_factornet(place)
    assert found.file.endswith("best_model.hdf5")
    np.testing.assert_array_equal(found.params["head/bias"], layers["dense_4"]["dense_4_b"])
    assert read_keras(place / "best_model.hdf5").count == sum(a.size for g in layers.values() for a in g.values())


def rewrite(place, change):
    """Changes the arrays of a folder's file."""
    layers = keras_made.read_arrays(place / "final_model.hdf5")
    order = list(arrays_of())
    change(layers)
    write_hdf5(place / "final_model.hdf5", {n: layers[n] for n in [*order, *layers] if n in layers})


def dropped(layer, name):
    return lambda layers: layers[layer].pop(name)


def replaced(layer, name, shape):
    return lambda layers: layers[layer].update({name: np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (dropped("bidirectional_1", "forward_lstm_1_U_f"), "layer 'bidirectional_1': expected W, U and b of the gates"),
        (dropped("dense_3", "dense_3_b"), "layer 'dense_3': expected one kernel ..._W and one bias"),
        (lambda x: x.pop("timedistributed_1"), "expected the layers of FactorNet"),
        (lambda x: x.update({"dense_5": x["dense_4"], "dense_6": x["dense_4"]}), "expected the layers of FactorNet"),
        (lambda x: x.update({"lstm_1": x["dense_4"]}), "found 'lstm_1'"),
        (
            replaced("convolution1d_1", "convolution1d_1_W", (6, 6, 5, 1)),
            r"expected a kernel \[width, 1, 4 \+ tracks, k",
        ),
        (replaced("dense_2", "dense_2_W", (12, 7)), "expected 54 inputs of the first hidden layer"),
        (replaced("bidirectional_1", "forward_lstm_1_W_c", (5, 3)), "expected gates of one shape"),
        (replaced("bidirectional_1", "forward_lstm_1_X_c", (5, 3)), "found 'forward_lstm_1_X_c'"),
        (replaced("dense_4", "dense_4_W", (7, 2)), r"found \[7, 2\] and \[1\]"),
        (lambda x: x["dense_4"].update({"dense_4_b": np.array([np.nan], np.float32)}), "expected finite weights"),
        (lambda x: x["dense_4"].update({"dense_4_b": np.array([3])}), "expected floating-point weights"),
    ],
)
def test_weights_that_are_not_factornets_are_refused(tmp_path, change, match):
    place, _ = folder(tmp_path / "m")
    rewrite(place, change)
    with pytest.raises(InputError, match=match):
        read_factornet(place)


def test_arrays_beyond_the_list_or_missing_from_it_are_refused(tmp_path):
    place, _ = folder(tmp_path / "m")
    with h5py.File(place / "final_model.hdf5", "a") as file:
        file["dense_4"].create_dataset("more", data=np.zeros(3, np.float32))
    with pytest.raises(
        InputError, match="layer 'dense_4': expected the arrays that it lists, found more not in the list"
    ):
        read_factornet(place)
    with h5py.File(place / "final_model.hdf5", "a") as file:
        del file["dense_4/more"], file["dense_4/dense_4_b"]
    with pytest.raises(InputError, match="found dense_4_b missing"):
        read_factornet(place)
    with h5py.File(place / "final_model.hdf5", "a") as file:
        file.create_group("stray")
    with pytest.raises(InputError, match="expected the layers that it lists, found stray not in the list"):
        read_factornet(place)


def test_links_out_of_the_file_are_refused(tmp_path):
    place, _ = folder(tmp_path / "m")
    with h5py.File(place / "final_model.hdf5", "a") as file:
        del file["dense_4"]
        file["dense_4"] = h5py.ExternalLink("other.h5", "/dense_4")
    with pytest.raises(InputError, match="expected data stored in this file"):
        read_factornet(place)


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("bigwig.txt", "DGF\n", r"bigwig.txt in .*: expected the names of 2 tracks, found 1 \(DGF\)"),
        ("bigwig.txt", "a_fwd\nb\n", "track 'a_fwd': expected its partner"),
        ("chip.txt", "A\nB\n", "chip.txt beside .*: expected the names of 1 tasks, found 2"),
        ("feature.txt", "bigwig\nmeta\n", "expected features that make 6 metadata, found bigwig, meta, which make 8"),
        ("model.json", "[1]", "expected a JSON object"),
        ("model.json", "{", "expected JSON as Keras writes it"),
        ("model.json", "{}", "expected the layers of a FactorNet model, found another description"),
        ("model.json", '"merge_mode": "sum"', "expected merge_mode of the LSTM 'concat', found 'sum'"),
        ("model.json", '"border_mode": "same"', "expected border_mode of the convolution 'valid', found 'same'"),
        ("model.json", '"inner_activation": "relu"', "gate: expected 'sigmoid' or 'hard_sigmoid', found 'relu'"),
        ("model.json", '"pool_length": 5', "expected stride of the pooling 5, found 4"),
    ],
)
def test_side_files_that_do_not_fit_are_refused(tmp_path, name, text, match):
    place, _ = folder(tmp_path / "m")
    if text.startswith('"'):
        key = text.partition(":")[0]
        full = (place / name).read_text()
        start = full.index(key)
        end = min(i for i in (full.find(",", start), full.find("}", start)) if i > 0)
        text = full[:start] + text + full[end:]
        json.loads(text)
    (place / name).write_text(text)
    with pytest.raises(InputError, match=match):
        read_factornet(place)


def test_files_that_are_no_weights_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected best_model.hdf5 or final_model.hdf5, found no HDF5 file"):
        read_factornet(tmp_path / "empty")
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    with pytest.raises(InputError, match="expected weights that Keras saved as HDF5, found a NumPy file"):
        read_factornet(tmp_path / "a.npz")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(InputError, match="found another HDF5 file"):
        read_factornet(tmp_path / "b.h5")
    place, _ = folder(tmp_path / "m")
    whole = (place / "final_model.hdf5").read_bytes()
    for size in range(50, len(whole), 1501):
        (place / "final_model.hdf5").write_bytes(whole[:size])
        with pytest.raises(InputError):
            read_factornet(place)


def test_a_description_says_what_the_weights_do_not(tmp_path):
    place, _ = folder(tmp_path / "m")
    changed = described()
    changed["config"]["layers"][5]["config"]["layer"]["config"]["inner_activation"] = "sigmoid"
    (place / "model.json").write_text(json.dumps(changed))
    assert read_factornet(place).config.gate == "sigmoid"
