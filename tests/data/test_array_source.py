"""Source `arrays`: the same rows from every container and layout, and refusals before anything large is made."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import random
import re
import tracemalloc
import zipfile
from concurrent.futures import ProcessPoolExecutor

import h5py
import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.data import containers, numpy_files
from dragon_jax.data import hdf5 as hdf5_files
from dragon_jax.data.array_source import ArraySource
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.inputs import input_files
from dragon_jax.errors import InputError

N, L = 30, 12
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 5, (N, L)).astype(np.uint8)
HOT = np.eye(5, 4)[CODES]
TARGETS = RNG.integers(0, 2, (N, 2)).astype(float)
TARGETS[3, 1] = np.nan
NAMES = np.array(["NA", "1", "peak Δ", "x" * 300, *(f"p{i}" for i in range(4, N))])
REGIONS = np.array([f"chr1:{100 * i}-{100 * i + L}" for i in range(N)])
WHOLE = {"codes": CODES, "targets": TARGETS, "names": NAMES, "tasks": np.array(["A", "B"]), "regions": REGIONS}


def save(path, arrays, **options):
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                text = np.asarray(values).dtype.kind == "U"
                file.create_dataset(
                    name, data=[v.encode() for v in values] if text else values, **({} if text else options)
                )
    else:
        (np.savez_compressed if options else np.savez)(path, allow_pickle=True, **arrays)
    return str(path)


def load(path, **fields) -> Dataset:
    return ArraySource(paths={"all": str(path)}, **fields).load_parts()["all"]


def said(path, **fields) -> str:
    with pytest.raises(InputError) as caught:
        load(path, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), path.name)


def equal(data: Dataset, other: Dataset) -> bool:
    assert data.regions is not None and other.regions is not None
    return (
        data.row_fingerprint() == other.row_fingerprint()
        and data.tasks == other.tasks
        and data.regions.start.tolist() == other.regions.start.tolist()
    )


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "chunks": True}])
@pytest.mark.parametrize("block", [1, 100, 1 << 25])
def test_every_layout_and_type_reads_the_same(tmp_path, monkeypatch, suffix, options, block):
    monkeypatch.setattr(numpy_files, "BLOCK_BYTES", block)
    monkeypatch.setattr(hdf5_files, "BLOCK_BYTES", block)
    data = load(save(tmp_path / f"a{suffix}", WHOLE, **options))
    assert data.codes.dtype == np.uint8 and np.array_equal(data.codes, CODES)
    assert data.targets.dtype == np.float32 and np.array_equal(data.targets, TARGETS, equal_nan=True)
    assert data.ids.tolist() == NAMES.tolist() and data.tasks == (Task("A"), Task("B"))
    assert data.regions is not None and data.regions.start.tolist() == [100 * i for i in range(N)]
    assert data.notes == {"unknown bases": int((CODES == 4).sum())}
    quarter = np.where((CODES == 4)[..., None], 0.25, HOT)
    forms = [
        ("codes", CODES.astype(">i8")),
        ("sequences", np.asfortranarray(CODES.astype(np.int16))),
        ("onehot", HOT.astype(bool)),
        ("onehot", HOT.transpose(0, 2, 1).astype(np.float16)),
        ("sequences", quarter.astype("<f4")),
        ("onehot", np.asfortranarray(quarter.transpose(0, 2, 1))),
    ]
    for i, (name, values) in enumerate(forms):
        arrays = {name: values} | {k: v for k, v in WHOLE.items() if k != "codes"}
        arrays["names"] = np.array([v.encode() for v in NAMES])
        assert equal(load(save(tmp_path / f"b{i}{suffix}", arrays, **options)), data)


def test_digests_know_every_file(tmp_path):
    a, b = save(tmp_path / "a.npz", WHOLE), save(tmp_path / "b.h5", WHOLE)
    assert input_files(ArraySource(paths={"all": a}, target_paths={"all": b})) == [a, b]
    assert load(a).fingerprint() == load(b).fingerprint()


def test_npy_files_hold_one_array_each(tmp_path):
    np.save(tmp_path / "x.npy", HOT)
    np.save(tmp_path / "y.npy", TARGETS[:, 0])
    data = load(tmp_path / "x.npy", target_paths={"all": str(tmp_path / "y.npy")}, task_kind="real")
    assert np.array_equal(data.codes, CODES) and data.targets.tolist() == TARGETS[:, :1].tolist()
    assert data.tasks == (Task("task_0", "real"),) and data.ids[:2].tolist() == ["row_1", "row_2"]
    assert any(note.startswith("tasks named task_0") for note in data.notes)
    assert "is an NPY file and holds one array" in said(tmp_path / "x.npy")
    assert "expected an array 'ids', found 'the only array'" in said(
        tmp_path / "x.npy", target_paths={"all": str(tmp_path / "y.npy")}, names="ids"
    )


def test_one_file_for_all_splits_and_groups(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        for part, rows in (("train", slice(0, 20)), ("valid", slice(20, 30))):
            file[f"{part}/x"], file[f"{part}/y"] = HOT[rows], TARGETS[rows]
    source = ArraySource(
        paths={"train": str(path), "valid": str(path)}, sequences="{split}/x", targets="{split}/y", names=""
    )
    parts = source.load_parts()
    assert {k: len(v) for k, v in parts.items()} == {"train": 20, "valid": 10}
    assert np.array_equal(parts["valid"].codes, CODES[20:])
    assert "dataset 'all/x', found none. Set data.source.sequences" in said(path, sequences="{split}/x")
    assert "dataset 'train/x', expected" not in said(path, sequences="train", targets="train/y")
    assert "found a group. Name a dataset in it" in said(path, sequences="train", targets="train/y")


def test_variable_width_text_is_read_from_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(save(path, WHOLE), "a") as file:
        del file["names"]
        file.create_dataset("names", data=NAMES.tolist(), dtype=h5py.string_dtype())
    assert load(path).ids.tolist() == NAMES.tolist()


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize(
    ("change", "fields", "sentence"),
    [
        ({"codes": None}, {}, r"expected one (array|dataset) of sequences, codes, onehot, found none of them \('na|'re|'ta"),
        ({"onehot": HOT}, {}, "found codes, onehot .* Set data.source.sequences to the one meant"),
        ({"targets": None}, {}, "'targets', found .* Set data.source.targets to the one meant"),
        ({}, {"targets": "target"}, "'target', found .*; did you mean targets. Set data.source.targets"),
        ({}, {"names": "ids"}, "'ids', found .* Set data.source.names to the one meant"),
        ({"codes": CODES + 1}, {}, r"'codes', sequence \d, position \d+: expected a code of 0-4 .*, found 5. Recode"),
        ({"codes": CODES - 1.5}, {}, r"expected integer codes .*, found float64 of shape \(30, 12\). Save it"),
        ({"codes": np.array(["ACGT"] * N)}, {}, r"expected integer codes .*, found text of shape \(30,\). Letters are"),
        ({"codes": CODES[:0]}, {}, r"expected sequences, found the shape \(0, 12\)|0 sequences in"),
        ({"codes": np.zeros((N, 4, 4))}, {}, r"cannot tell positions from letters in the shape \(30, 4, 4\)"),
        ({"codes": HOT}, {"layout": "n4l"}, r"expected \[N, 4, L\] as data.source.layout says, found the shape \(30, 12,"),
        ({"codes": np.zeros((N, 3, 5))}, {}, r"expected integer codes .* found float64 of shape \(30, 3, 5\)"),
        ({"targets": TARGETS[:-2]}, {}, r"30 sequences in .*'codes', but 28 targets in .*'targets': expected one row"),
        ({"targets": TARGETS + 1j}, {}, r"expected numbers \[N\] or \[N, T\], found complex numbers of shape"),
        ({"targets": np.array(["1"] * N)}, {}, r"expected numbers \[N\] or \[N, T\], found text of shape \(30,\)"),
        ({"targets": np.where(TARGETS == 1, np.inf, 0)}, {"task_kind": "real"}, "row \\d+, column \\d: expected a finite"),
        ({"targets": TARGETS * 1e300}, {"task_kind": "real"}, "expected a finite number, found 1e.300"),
        ({"targets": TARGETS * 3}, {}, "task '[AB]': expected 0 or 1 for a classification task, found 3. Give each class"),
        ({"targets": -TARGETS}, {"task_kind": "count"}, "expected a count of at least 0, found -1"),
        ({"targets": TARGETS[:, 0]}, {}, r"'tasks': expected 1 names of tasks as text, found text of shape \(2,\)"),
        ({"tasks": np.array(["A", "A"])}, {}, "'tasks': expected 2 different names, one for each column .* found 'A', 'A'"),
        ({}, {"task_names": ("A",)}, "task_names: expected 2 different names, one for each column of targets, found 'A'"),
        ({}, {"kinds": {"AA": "real"}}, "data.source.kinds: 'AA' is no task of .*: expected one of A, B"),
        ({"names": np.arange(N)}, {}, r"'names': expected 30 names as text, found int64 of shape \(30,\)"),
        ({"names": NAMES[:5]}, {}, r"'names': expected 30 names as text, found text of shape \(5,\)"),
        ({"names": np.array([b"caf\xe9"] * N)}, {}, "byte 0xe9 in .*'names', row 0: expected UTF-8 text"),
        ({"regions": np.array(["chr1"] * N)}, {}, "'regions', row 0: expected a name such as chr1:100-200, found 'chr1'"),
        ({"regions": np.array(["c:1-9"] * N)}, {}, r"expected 8 bases .*, found 12; also row 1, .* data.source.regions to ''"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit(tmp_path, suffix, change, fields, sentence):
    path = tmp_path / f"data{suffix}"
    arrays = {k: v for k, v in (WHOLE | change).items() if v is not None}
    with np.errstate(all="ignore"):
        save(path, arrays)
    assert re.search(sentence, found := said(path, **fields)), found
    assert found.startswith(("data", "30 sequences in data", "0 sequences", "byte 0xe9 in data"))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("wrong", [[1, 1, 0, 0], [1, 1, -1, 0], [2, 0, 0, 0], [0.5, 0.5, 0, 0], [np.nan, 1, 0, 0]])
def test_a_position_that_is_no_base_is_named(tmp_path, wrong):
    hot = HOT.copy()
    hot[12, 4] = wrong
    path = tmp_path / "data.npz"
    save(path, WHOLE | {"codes": hot})
    listed = ", ".join(f"{v:g}" for v in wrong)
    assert said(path).startswith(
        f"data.npz, array 'codes', sequence 12, position 4: expected one 1 and three 0, found [{listed}]"
    )
    with pytest.raises(InputError, match="sequence 12, position 4"):
        dna.letters(hot)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def test_objects_are_never_unpickled(tmp_path):
    trap = np.array([Trap()] * N, dtype=object)
    path = tmp_path / "data.npz"
    for name in ("codes", "targets", "names"):
        save(path, WHOLE | {name: trap})
        assert said(path).startswith(f"data.npz, array '{name}': holds Python objects, which can run code when read")
    np.save(tmp_path / "x.npy", trap, allow_pickle=True)
    assert "x.npy: holds Python objects" in said(tmp_path / "x.npy", target_paths={"all": str(path)})
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(trap))
    assert "x.pkl is a pickle and can run code when read" in said(tmp_path / "x.pkl")
    record = np.zeros(N, dtype=[("a", "i4"), ("b", "O")])
    save(path, WHOLE | {"codes": record})
    assert "array 'codes': holds Python objects" in said(path)
    save(path, WHOLE | {"codes": record[["a"]].astype([("a", "i4")])})
    assert "expected numbers or fixed-width text, found the type" in said(path)


def npz(path, **members: bytes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


def npy(shape, descr="|u1", data=b"", version=b"\x01\x00") -> bytes:
    head = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY" + version + len(head).to_bytes(2 if version[:1] == b"\x01" else 4, "little") + head + data


def test_what_declares_much_more_than_it_stores_is_refused_before_it_is_made(tmp_path):
    path = npz(tmp_path / "data.npz", codes=npy((26800, 10000), data=bytes(268_000_000)), targets=npy((26800,)))
    tracemalloc.start()
    try:
        sentence = (
            r"data.npz, array 'codes' declares 268 MB in 0.26\d? MB \(more than 1,000 times\): expected at most 0.25 GB of such. "
            "Raise data.source.max_array_gb if this is right"
        )
        assert re.fullmatch(sentence, said(path))
        assert "array 'targets': expected as many values as declared" in said(path, max_array_gb=1.0)
        with h5py.File(tmp_path / "data.h5", "w") as file:
            file.create_dataset("codes", (2**21, 2**21), "u1", chunks=(64, 64))
            file["targets"] = TARGETS
        assert said(tmp_path / "data.h5").startswith(
            "data.h5, dataset 'codes' declares 4.4 TB in 0 bytes (more than 1,000"
        )
        with h5py.File(tmp_path / "data.h5", "w") as file:  # small, but one piece of it would be unpacked to 4 GB
            file.create_dataset(
                "codes", (N, 4), "u1", maxshape=(None, None), chunks=(2**16, 2**16 - 1), compression="gzip"
            )
            file["targets"] = TARGETS
        assert "dataset 'codes' declares 4.29 GB in 0 bytes" in said(tmp_path / "data.h5", max_array_gb=0.5)
        npz(path, codes=npy((10**9, 10**9)), targets=npy((10**9,)))
        assert "declares 1e+06 TB in" in said(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (npy((30, -12)), r"expected a shape of whole numbers, found \(30, -12\)"),
        (npy((30, 12), data=b"abc"), "expected as many values as declared, found 360 bytes declared, 3 in the file"),
        (b"", "expected an array in NPY form, found first bytes ''"),
        (b"<html></html>", "expected an array in NPY form, found first bytes '<html></'"),
        (npy((30, 12))[:30], "expected the head of an array"),
        (npy("x"), "expected the head of an array"),
        (npy((30, 12), descr="|Z9"), "expected the head of an array"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 99, "expected numbers or fixed-width text, found a record type"),
        (npy((30, 12), descr="<M8[s]"), "found the type datetime64"),
    ],
)
def test_heads_that_lie(tmp_path, member, sentence):
    buffer = io.BytesIO()
    np.save(buffer, TARGETS)
    path = npz(tmp_path / "data.npz", codes=member, targets=buffer.getvalue())
    found = said(path)
    assert found.startswith("data.npz, array 'codes'") and re.search(sentence, found), found


def test_what_leads_out_of_an_hdf5_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other.h5"
    save(other, WHOLE)
    path = tmp_path / "data.h5"

    def made(put) -> str:
        with h5py.File(path, "w") as file:
            file["targets"] = TARGETS
            put(file)
        return said(path)

    def virtual(file):
        layout = h5py.VirtualLayout((N, L), "u1")
        layout[:] = h5py.VirtualSource(str(other), "codes", shape=(N, L))
        file.create_virtual_dataset("codes", layout)

    def link(to):
        return lambda file: file.__setitem__("codes", to)

    wanted = ": expected data stored in this file."
    assert made(link(h5py.ExternalLink("other.h5", "codes"))).startswith(
        f"data.h5, dataset 'codes' is an external link to other.h5{wanted}"
    )
    assert made(link(h5py.SoftLink("/targets"))).startswith(
        f"data.h5, dataset 'codes' is a soft link to /targets{wanted}"
    )
    assert f"dataset 'codes' is a virtual dataset, a view of others{wanted}" in made(virtual)
    (tmp_path / "raw.bin").write_bytes(CODES.tobytes())
    assert f"dataset 'codes' is stored outside, in raw.bin{wanted}" in made(
        lambda file: file.create_dataset("codes", (N, L), "u1", external=[("raw.bin", 0, N * L)])
    )
    assert "holds Python objects" in made(lambda file: file.create_dataset("codes", (N,), h5py.vlen_dtype(np.uint8)))
    assert "expected values, found an empty dataset" in made(
        lambda file: file.create_dataset("codes", data=h5py.Empty("u1"))
    )


def test_a_locked_file_is_said_to_be_locked(tmp_path):
    path = tmp_path / "data.h5"
    save(path, WHOLE)
    with h5py.File(path, "a"):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(4, mp_context=context) as pool:
            for found in pool.map(refusal_in_child, [str(path)] * 4):
                assert "is locked by another program or the file system has no locks" in found
            many = [str(path).replace(".h5", ".npz")] * 4
            save(tmp_path / "data.npz", WHOLE)
            assert set(pool.map(refusal_in_child, many)) == {load(tmp_path / "data.npz").row_fingerprint()}


def refusal_in_child(path: str) -> str:
    try:
        return load(path).row_fingerprint()
    except InputError as e:
        return str(e)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "data.x is neither NPZ, NPY nor HDF5 (the file is empty)"),
        (b"<html>", "data.x is neither NPZ, NPY nor HDF5 (first bytes '<html>'). Was an error page downloaded"),
        (b"PK\x05\x06" + bytes(18), "no array in data.x: expected members such as targets.npy, found none"),
        (
            b"PK\x03\x04" + bytes(18),
            "data.x is cut off or damaged: expected a whole NPZ file, found File is not a zip file",
        ),
        (b"\x89HDF\r\n\x1a\n" + bytes(18), "data.x is cut off or damaged: expected a whole HDF5 file, found"),
    ],
)
def test_other_files(tmp_path, data, sentence):
    path = tmp_path / "data.x"
    path.write_bytes(data)
    assert said(path).startswith(sentence)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".npy"])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}])
def test_cut_off_at_every_fiftieth_byte(tmp_path, suffix, options):
    path, fields = tmp_path / f"data{suffix}", {}
    if suffix == ".npy":
        np.save(path, CODES)
        fields = {"target_paths": {"all": save(tmp_path / "y.npz", WHOLE)}}
    else:
        save(path, {k: WHOLE[k] for k in ("codes", "targets")}, **options)
    data = path.read_bytes()
    assert np.array_equal(load(path, **fields).codes, CODES)
    for at in [*range(0, len(data), 50), len(data) - 1]:
        path.write_bytes(data[:at])
        assert re.search(r"cut off|damaged|neither NPZ|shorter than it declares|cannot be read", said(path, **fields))


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}])
def test_flipped_bits_in_an_npz_are_noticed(tmp_path, options):
    path = tmp_path / "data.npz"
    save(path, {k: WHOLE[k] for k in ("codes", "targets")}, **options)
    data, rng = path.read_bytes(), random.Random(1)
    whole = load(path).row_fingerprint()
    for _ in range(200):
        at, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
        path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        try:
            assert load(path).row_fingerprint() == whole  # a time stamp, or another part that means nothing
        except InputError as e:
            assert "\n" not in str(e)


def test_flipped_bits_in_an_hdf5_file_end_in_a_sentence_or_a_value(tmp_path):
    path = tmp_path / "data.h5"
    save(path, {k: WHOLE[k] for k in ("codes", "targets")}, compression="gzip", fletcher32=True)
    data, rng = path.read_bytes(), random.Random(1)
    for _ in range(200):
        at, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
        path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        try:
            load(path)
        except InputError as e:
            assert "\n" not in str(e)


def test_settings_that_cannot_work():
    for fields, sentence in (
        ({"paths": {"valid": "a"}}, "paths: expected files under 'all'"),
        ({"paths": {"all": "a"}, "target_paths": {"train": "b"}}, "target_paths: expected the keys of paths"),
        ({"paths": {"all": "a"}, "targets": ""}, "targets: expected the name of an array"),
        ({"paths": {"all": "a"}, "max_array_gb": 0.0}, "max_array_gb: expected 0 < x"),
        ({"paths": {"all": "a"}, "task_names": ("A", "A")}, "task_names: expected different names"),
    ):
        with pytest.raises(ValueError, match=sentence):
            ArraySource(**fields)


def test_parts_must_agree(tmp_path):
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    save(a, WHOLE)
    save(b, WHOLE | {"codes": CODES[:, 1:], "regions": REGIONS})
    source = ArraySource(paths={"train": str(a), "valid": str(b)}, regions="")
    with pytest.raises(InputError, match="sequences of several lengths: expected one length in all files, found 12 in"):
        source.load_parts()
    save(b, WHOLE | {"tasks": np.array(["A", "C"])})
    with pytest.raises(InputError, match="tasks of 'train' and 'valid'"):
        source.load_parts()


def test_a_wide_type_is_never_whole_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(numpy_files, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(hdf5_files, "BLOCK_BYTES", 1 << 16)
    codes = RNG.integers(0, 4, (2000, 100)).astype(np.uint8)
    arrays = {"onehot": np.eye(4)[codes], "targets": np.arange(2000) % 2}  # 6.4 MB as float64
    assert containers.Form((2000, 100, 4), np.dtype(float)).bytes == 6_400_000
    for suffix in (".npz", ".h5"):
        path = save(tmp_path / f"a{suffix}", arrays, compression="gzip", chunks=True)
        tracemalloc.start()
        data = load(path, names="")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.array_equal(data.codes, codes) and peak < 3e6
