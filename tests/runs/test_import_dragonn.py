"""DragoNN's stored networks: the outputs of a true convolution over a picture, and a CTCF site that the CTCF model sees."""

from __future__ import annotations

import gzip
import json

import h5py
import numpy as np
import pytest

import dragon_jax
from dragon_jax import dna
from dragon_jax.errors import InputError
from dragon_jax.motifs.files import read_motifs

quiet = {"say": lambda line: None}


def made(folder, convs=((4, 5), (3, 4)), length=30, pool=6, tasks=2, seed=0):
    """Weights and layers as DragoNN stores them; returns the file and the arrays."""
    rng = np.random.default_rng(seed)
    layers, arrays, channels = [], [], 1
    for i, (features, width) in enumerate(convs):
        own = {
            "nb_filter": features,
            "nb_col": width,
            "nb_row": 1 if i else 4,
            "border_mode": "valid",
            "activation": "linear",
        }
        own |= {"subsample": [1, 1], "dim_ordering": "th", "input_shape": [1, 4, length]}
        layers += [
            {"name": "Convolution2D", **own},
            {"name": "Activation", "activation": "relu"},
            {"name": "Dropout", "p": 0.0},
        ]
        arrays += [rng.normal(size=(features, channels, 1 if i else 4, width)), rng.normal(size=features)]
        channels = features
    layers += [{"name": "MaxPooling2D", "pool_size": [1, pool], "strides": [1, pool]}, {"name": "Flatten"}]
    layers += [
        {"name": "Dense", "activation": "linear", "output_dim": tasks},
        {"name": "Activation", "activation": "sigmoid"},
    ]
    positions = (length - sum(w - 1 for _, w in convs)) // pool
    arrays += [rng.normal(size=(channels * positions, tasks)), rng.normal(size=tasks)]
    arrays = [(0.4 * a).astype(np.float32) for a in arrays]
    (folder / "x_arch.arch.json").write_text(json.dumps({"layers": layers}))
    with h5py.File(folder / "x_model.weights.hd5", "w") as file:
        file.attrs["nb_layers"] = len(layers)
        rest = iter(arrays)
        for i, layer in enumerate(layers):
            group = file.create_group(f"layer_{i}")
            count = 2 if layer["name"] in ("Convolution2D", "Dense") else 0
            group.attrs["nb_params"] = count
            for k in range(count):
                group.create_dataset(f"param_{k}", data=next(rest))
    return folder / "x_model.weights.hd5", arrays


def theano(arrays, codes, pool):
    """The network as Theano works it out: pictures [B, channel, row, column], true convolution, channels slow when flat."""
    x = np.eye(5)[codes][..., :4].transpose(0, 2, 1)[:, None]
    for kernel, bias in zip(arrays[0:-2:2], arrays[1:-2:2], strict=True):
        rows, columns = kernel.shape[2:]
        out = np.zeros((len(x), len(bias), x.shape[2] - rows + 1, x.shape[3] - columns + 1))
        for i in range(rows):
            for j in range(columns):  # output[y] sums input[y + size - 1 - k] kernel[k]
                part = x[:, :, rows - 1 - i : x.shape[2] - i, columns - 1 - j : x.shape[3] - j]
                out += np.einsum("bcrl,fc->bfrl", part, kernel[:, :, i, j])
        x = np.maximum(out + bias[:, None, None], 0)
    x = x[:, :, 0]
    x = np.stack([x[..., s : s + pool].max(-1) for s in range(0, x.shape[2] - pool + 1, pool)], -1)
    return 1 / (1 + np.exp(-(x.reshape(len(x), -1) @ arrays[-2] + arrays[-1])))


def test_outputs_are_those_of_theano(tmp_path):
    file, arrays = made(tmp_path)
    model = dragon_jax.load(dragon_jax.import_weights("dragonn", file, tmp_path / "run", **quiet).path)
    codes = np.random.default_rng(1).integers(0, 5, (5, 30)).astype(np.uint8)
    expected = theano(arrays, codes, 6)
    assert [t.name for t in model.tasks] == ["task_1", "task_2"] and np.ptp(expected) > 0.1
    np.testing.assert_allclose(model.predict(codes), expected, atol=1e-6)


def test_refusals(tmp_path):
    file, _ = made(tmp_path)
    description = tmp_path / "x_arch.arch.json"
    whole = description.read_text()
    for old, new, match in (
        ('"valid"', '"same"', "expected the layers of a DragoNN SequenceDNN"),
        ('"relu"', '"tanh"', "expected the layers of a DragoNN SequenceDNN"),
        ('"pool_size": [1, 6]', '"pool_size": [1, 3]', "expected the layers of a DragoNN SequenceDNN"),
        ('"output_dim": 2', '"output_dim": 3', "expected arrays of the shapes"),
        ('"layers"', '"other"', "expected the layers of a DragoNN SequenceDNN"),
    ):
        description.write_text(whole.replace(old, new))
        with pytest.raises(InputError, match=match):
            dragon_jax.import_weights("dragonn", file, tmp_path / "run", **quiet)
    description.unlink()
    with pytest.raises(InputError, match="expected its layers beside it"):
        dragon_jax.import_weights("dragonn", file, tmp_path / "run", **quiet)
    assert not (tmp_path / "run").exists()


def test_the_stored_ctcf_model_tells_genomic_sequences_with_a_planted_site(dragon_data, tmp_path):
    """auROC of 200 sequences of the genome with one site drawn from HOCOMOCO's motif, against the same without."""
    file = dragon_data("dragonn_examples/models/in_vivo_ctcf_balanced_model.weights.hd5")
    motifs = read_motifs(dragon_data("motifs/H12CORE_meme_format.meme"))
    motif = np.asarray(next(m for m in motifs if m.name.startswith("CTCF.")).probabilities)
    with gzip.open(dragon_data("dragonn_examples/example_neg_sequences.fa.gz"), "rt") as lines:
        codes = dna.encode_many([line.strip() for line in lines if not line.startswith(">")][:200])
    run = dragon_jax.import_weights("dragonn", file, tmp_path / "run", **quiet)
    assert "8,101" in run["model.txt"].read_text()
    model, rng = dragon_jax.load(run.path), np.random.default_rng(0)
    planted = codes.copy()
    for row in planted:
        site = np.array([rng.choice(4, p=p / p.sum()) for p in motif], np.uint8)
        row[490 : 490 + len(site)] = site if rng.random() < 0.5 else dna.reverse_complement(site[None])[0]
    without, with_site = (model.predict(c, raw=True)[:, 0] for c in (codes, planted))
    assert (with_site[:, None] > without[None]).mean() > 0.96  # 0.98
    assert (with_site > without).mean() > 0.97
