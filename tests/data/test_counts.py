"""Base-resolution counts as targets: from arrays and from signal files, through records and back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.data.batches import columns
from dragon_jax.data.builders import TfdsSource, open_stream, write_tfds
from dragon_jax.data.counts import central, log_total, mean_profiles
from dragon_jax.data.dataset import Dataset, Task, concatenate
from dragon_jax.data.load import data_config
from dragon_jax.data.rows import MemoryRows
from dragon_jax.errors import InputError


def arrays(folder, n=12, length=20, bases=14, **changed):
    draw = np.random.default_rng(0)
    made = {
        "sequences": draw.integers(0, 4, (n, length)).astype(np.uint8),
        "plus_minus": draw.poisson(2, (n, bases, 2)).astype(np.int32),
        "all": draw.poisson(1, (n, length)).astype(np.float64),
    }
    made["all"][3, 10] = np.nan
    made |= changed
    np.savez(folder / "data.npz", **made)
    return made


def array_config(folder, **source):
    source = {"counts": {"chip": "plus_minus", "atac": "all"}, "counts_length": 10, **source}
    fields = {"name": "arrays", "paths": {"all": str(folder / "data.npz")}, **source}
    return data_config({"source": fields, "split": {"name": "hash", "valid": 0.3, "test": 0.0}})


def test_arrays_give_profiles_and_totals_of_the_central_window(tmp_path):
    made = arrays(tmp_path)
    data = array_config(tmp_path).source.load_parts()["all"]
    assert data.tasks == (Task("chip", "real"), Task("atac", "real"))
    np.testing.assert_array_equal(data.profiles["chip"], made["plus_minus"])
    np.testing.assert_array_equal(data.profiles["atac"][..., 0], made["all"].astype(np.float32))
    np.testing.assert_allclose(data.targets[:, 0], np.log1p(made["plus_minus"][:, 2:12].sum((1, 2))), rtol=1e-6)
    expected = np.log1p(made["all"][:, 5:15].sum(1))
    assert np.isnan(expected[3])
    np.testing.assert_allclose(data.targets[:, 1], expected, rtol=1e-6)


def test_rows_stay_together_and_are_seen_by_fingerprints(tmp_path):
    arrays(tmp_path)
    data = array_config(tmp_path).source.load_parts()["all"]
    rows = np.array([7, 1, 3])
    taken = data.take(rows)
    np.testing.assert_array_equal(taken.profiles["chip"], data.profiles["chip"][rows])
    both = concatenate([taken, data])
    np.testing.assert_array_equal(both.profiles["atac"][3:], data.profiles["atac"])
    assert set(columns(data)) == {"codes", "targets", "profile:chip", "profile:atac"}
    moved = {**data.profiles, "chip": data.profiles["chip"][:, ::-1].copy()}  # totals are the same, places are not
    changed = Dataset(data.codes, data.targets, data.tasks, data.ids, profiles=moved)
    assert changed.fingerprint() != data.fingerprint()
    with pytest.raises(InputError, match="different base-resolution targets"):
        concatenate([data, Dataset(data.codes, data.targets, data.tasks, data.ids)])
    loaded = array_config(tmp_path).load(0)
    assert len(loaded.parts["train"].profiles["chip"]) == len(loaded.parts["train"])


def test_records_give_back_the_same_bits(tmp_path):
    arrays(tmp_path)
    data = array_config(tmp_path).source.load_parts()["all"]
    path = write_tfds({"train": data}, tmp_path, name="counts")
    found = TfdsSource(path=str(path)).load_parts(0)["train"]
    assert found.fingerprint() == data.fingerprint() and not found.inputs
    for task in ("chip", "atac"):
        assert found.profiles[task].tobytes() == data.profiles[task].tobytes()
    rows = np.array([5, 0])
    stream = open_stream(path, "train")
    assert stream.read(rows)["profile:chip"].tobytes() == data.profiles["chip"][rows].tobytes()
    means, streamed = mean_profiles(MemoryRows(data)), mean_profiles(stream)
    for task in ("chip", "atac"):
        there = ~np.isnan(data.profiles[task]).any((1, 2))
        np.testing.assert_allclose(means[task], data.profiles[task][there].mean(0), rtol=1e-6)
        np.testing.assert_array_equal(streamed[task], means[task])
    assert mean_profiles(MemoryRows(Dataset(data.codes, data.targets, data.tasks, data.ids))) == {}


@pytest.mark.parametrize("length", [1, 4, 7])
def test_the_central_window_is_in_the_middle(length):
    profile = np.arange(7 if length % 2 else 8, dtype=np.float32).reshape(1, -1, 1)
    inner = central(profile, length)[0, :, 0]
    assert len(inner) == length and inner[0] - profile.min() == profile.max() - inner[-1]
    assert np.expm1(log_total(profile, length))[0] == pytest.approx(inner.sum(), rel=1e-6)


def test_a_genome_gives_the_counts_of_both_strands_at_their_place(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    sizes = {"chr1": 600, "chr2": 400}
    bases = {name: draw.integers(0, 4, size).astype(np.uint8) for name, size in sizes.items()}
    (tmp_path / "g.fa").write_text("".join(f">{name}\n{dna.decode(codes)}\n" for name, codes in bases.items()))
    counts = {}
    for strand in ("plus", "minus"):
        counts[strand] = {name: draw.poisson(0.7, size) for name, size in sizes.items()}
        lines = [
            f"{name}\t{i}\t{i + 1}\t{value}\n"
            for name, values in counts[strand].items()
            for i, value in enumerate(values.tolist())
            if value
        ]
        (tmp_path / f"{strand}.bedgraph").write_text("".join(lines))
    fields = {
        "name": "genome",
        "genome": str(tmp_path / "g.fa"),
        "counts": {"chip": tuple(str(tmp_path / f"{s}.bedgraph") for s in ("plus", "minus"))},
        "length": 50,
        "stride": 25,
        "counts_length": 20,
        "counts_margin": 3,
    }
    split = {"name": "chromosome", "valid_values": ("chr2",)}
    loaded = data_config({"source": fields, "split": split}).load(0)
    for part in loaded.parts.values():
        regions, profile = part.regions, part.profiles["chip"]
        assert profile.shape == (len(part), 26, 2) and part.tasks == (Task("chip", "real"),)
        for row, (chrom, start) in enumerate(zip(regions.chrom.tolist(), regions.start.tolist(), strict=True)):
            for s, strand in enumerate(("plus", "minus")):
                expected = counts[strand][chrom][start + 12 : start + 38]
                np.testing.assert_array_equal(profile[row, :, s], expected)
        np.testing.assert_allclose(np.expm1(part.targets[:, 0]), profile[:, 3:23].sum((1, 2)), rtol=1e-5)
    assert {"chr1"} == set(loaded.parts["train"].regions.chrom.tolist())
    assert len(data_config({"source": fields, "split": split}).source.paths()) == 3
    (tmp_path / "minus.bedgraph").write_text("chr1\t3\t40\t-2\nchr2\t3\t40\t1\n")
    with pytest.raises(
        InputError, match=r"minus.bedgraph, chr1:15: expected counts of at least 0, found -2.*negate them"
    ):
        data_config({"source": fields, "split": split}).load(0)


@pytest.mark.parametrize(
    ("source", "changed", "match"),
    [
        ({"counts_length": 16}, {}, "plus_minus.*expected data.source.counts_length of at most 14"),
        ({"counts_length": 9}, {}, "as many bases beyond it on either side, found 9"),
        ({}, {"plus_minus": np.full((12, 14, 2), -1)}, "row 0, position 0: expected a count of at least 0, found -1"),
        ({}, {"plus_minus": np.full((12, 14), np.inf)}, "row 0, position 0: expected a count of at least 0, found inf"),
        ({}, {"plus_minus": np.zeros((12, 14, 3))}, r"expected counts \[N, P\], or \[N, P, 2\] of two strands"),
        ({}, {"plus_minus": np.zeros((11, 14, 2))}, "12 sequences in .*, but 11 targets in .*plus_minus"),
        ({}, {"plus_minus": np.zeros((12, 22, 2))}, "profiles of task chip: expected float32"),
        ({"counts": {"chip": "reads"}}, {}, "data.source.counts"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, source, changed, match):
    arrays(tmp_path, **changed)
    with pytest.raises(InputError, match=match):
        array_config(tmp_path, **source).source.load_parts()


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"counts_length": 49}, "counts_length, counts_margin: expected"),
        ({"counts_length": 40, "counts_margin": 6}, "at most the 50 bases of a sequence"),
        ({"peaks": "{task}.bed"}, "peaks, tracks, files, counts: expected one of the four"),
        ({"counts": {"chip": ("a", "b", "c")}}, "expected one bigWig, or two of task 'chip', found 3"),
    ],
)
def test_wrong_settings_of_a_genome_are_named(fields, match):
    source = {"name": "genome", "genome": "g.fa", "counts": {"chip": ("a.bw",)}, "length": 50, **fields}
    with pytest.raises(InputError, match=match):
        data_config({"source": source})
