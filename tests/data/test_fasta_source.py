"""Source `fasta`: positives and negatives, one length, and coordinates that names tell."""

from __future__ import annotations

import gzip
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.fasta_source import FastaSource
from dragon_jax.dna import decode_many
from dragon_jax.errors import InputError

POSITIVES = b">p1 x\nACGT\nAC\n>NA\nGGGTTN\n"
NEGATIVES = b">n1\nacgtac\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(**fields) -> Dataset:
    return FastaSource(positives={"all": "pos.fa"}, **fields).load_parts()["all"]


def test_positives_come_first(folder):
    (folder / "pos.fa").write_bytes(POSITIVES)
    (folder / "neg.fa.gz").write_bytes(gzip.compress(NEGATIVES))
    data = load(negatives={"all": "neg.fa.gz"}, task="GATA1")
    assert decode_many(data.codes) == ["ACGTAC", "GGGTTN", "ACGTAC"]
    assert data.targets[:, 0].tolist() == [1, 1, 0]
    assert data.tasks == (Task("GATA1"),)
    assert data.ids.tolist() == ["p1", "NA", "n1"]
    assert data.regions is None
    assert data.notes == {"unknown bases": 1, "lower-case bases": 6}
    assert load().targets[:, 0].tolist() == [1, 1]


@pytest.mark.parametrize(
    "change", [lambda b: b.replace(b"\n", b"\r\n"), lambda b: b[:-1], lambda b: b + b"\n", gzip.compress]
)
def test_variants_read_the_same(folder, change):
    (folder / "pos.fa").write_bytes(POSITIVES)
    plain = load()
    (folder / "pos.fa").write_bytes(change(POSITIVES))
    assert load().fingerprint() == plain.fingerprint()
    assert load().ids.tolist() == plain.ids.tolist()


def test_files_by_split_and_one_length(folder):
    (folder / "pos.fa").write_bytes(POSITIVES)
    (folder / "neg.fa").write_bytes(NEGATIVES)
    (folder / "long.fa").write_bytes(b">a\nACGTACGT\n")
    files = {"train": "pos.fa", "test": "pos.fa"}
    parts = FastaSource(positives=files, negatives={"test": "neg.fa"}).load_parts()
    assert [len(parts[p]) for p in ("train", "test")] == [2, 3]
    sentence = "sequence 'a' in long.fa, line 1: expected 6 bases, found 8. Set length=6 and fit=fit_centre"
    with pytest.raises(InputError, match=sentence):
        FastaSource(positives={"train": "pos.fa", "test": "long.fa"}).load_parts()
    with pytest.raises(InputError, match=sentence):
        load(negatives={"all": "long.fa"})
    fitted = load(negatives={"all": "long.fa"}, length=4, fit="fit_left")
    assert decode_many(fitted.codes) == ["ACGT", "GGGT", "ACGT"]
    assert fitted.notes["sequences cropped"] == 3


def test_unequal_records_are_counted(folder):
    (folder / "pos.fa").write_bytes(b">a\nACGT\n" + b">b\nACG\n" * 10)
    sentence = (
        "sequence 'b' in pos.fa, line 3: expected 4 bases as in the first record, found 3; "
        "also line 5, line 7, line 9, line 11, ... and 5 more. Set length=4"
    )
    with pytest.raises(InputError, match=sentence):
        load()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chr1:100-106", ("chr1", 100, 106)),  # bedtools getfasta: 0-based half-open
        ("chr1:101-106", ("chr1", 100, 106)),  # samtools faidx: 1-based inclusive
        ("NA:0-6(+)", ("NA", 0, 6)),
        ("peak_3::chr2:100-106(-)", ("chr2", 100, 106)),
    ],
)
def test_regions_from_names(folder, name, expected):
    (folder / "pos.fa").write_bytes(f">{name}\nACGTAC\n".encode())
    data = load(regions_from_names=True)
    assert (data.regions.chrom[0], data.regions.start[0], data.regions.end[0]) == expected
    assert data.ids[0] == name
    assert data.notes.get("regions on the reverse strand", 0) == name.endswith("(-)")
    left = load(regions_from_names=True, length=2, fit="crop_left").regions
    first = expected[2] - 2 if name.endswith("(-)") else expected[1]
    assert (left.start[0], left.end[0]) == (first, first + 2)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "peak_1",
            "sequence 'peak_1' in pos.fa, line 3: expected a name such as chr1:100-200, found 'peak_1'; also line 5",
        ),
        (
            "chr1:5-9",
            r"line 3: expected 4 bases \(0-based half-open\) or 5 \(1-based inclusive\) as its name says, found 6",
        ),
        ("chr1:9-5", "line 3: expected -4 bases"),
        ("chr1:a-5", "line 3: expected a name such as"),
    ],
)
def test_names_that_are_no_regions(folder, name, sentence):
    (folder / "pos.fa").write_bytes(f">chr1:0-6\nACGTAC\n>{name}\nACGTAC\n>{name}\nACGTAC\n".encode())
    with pytest.raises(InputError, match=sentence):
        load(regions_from_names=True)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"positives": {"valid": "a"}}, "positives: expected files under 'all', or under 'train'"),
        ({"negatives": {"test": "a"}}, r"negatives: expected keys of positives \(all\), found test"),
        ({"task": ""}, "task: expected a name"),
        ({"fit": "pad_left"}, "length: needed by fit='pad_left'"),
    ],
)
def test_settings_that_cannot_work(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        FastaSource(**({"positives": {"all": "pos.fa"}} | fields))


def test_four_spawned_workers_read_the_same(folder):
    (folder / "pos.fa").write_bytes(POSITIVES * 50)
    source = FastaSource(positives={"all": str(folder / "pos.fa")})
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        prints = {r["all"].fingerprint() for r in pool.map(source.load_parts, range(4))}
    assert prints == {source.load_parts()["all"].fingerprint()}


def test_published_sets(dragon_data):
    files = {key: str(dragon_data(f"nanog_h1/{key}_train.fa.gz")) for key in ("positives", "negatives")}
    source = FastaSource(
        positives={"all": files["positives"]}, negatives={"all": files["negatives"]}, regions_from_names=True
    )
    data = source.load_parts()["all"]
    assert (len(data), data.length, int(data.targets.sum())) == (4_687 + 5_017, 200, 4_687)
    assert (data.regions.end - data.regions.start == 200).all()
    assert not np.isin(data.regions.chrom, ["chr1", "chr2"]).any()
