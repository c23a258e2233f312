"""bigWig and bedGraph: every value where the file says it lies, and files that cannot be right refused."""

from __future__ import annotations

import gzip
import multiprocessing
import pickle
import random
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pybigtools
import pytest

from dragon_jax.errors import InputError
from dragon_jax.genome import track
from dragon_jax.genome.bed import read_bed
from dragon_jax.genome.signal import BedGraph, BigWig, read_bedgraph
from dragon_jax.genome.track import Track

SIZES = {"chr1": 5000, "chr2": 300, "chr10": 40}
Record = tuple[str, int, int, float]


def random_records(seed: int, sizes=SIZES, widest: int = 9, gap: int = 6) -> list[Record]:
    rng = random.Random(seed)
    records = []
    for name, size in sizes.items():
        at = rng.randrange(gap)
        while at < size:
            end = min(at + rng.randrange(1, widest), size)
            records.append((name, at, end, float(np.float32(rng.choice([0, 1, 2.5, -3, 1e-7, 1e9])))))
            at = end + max(0, rng.randrange(-2, gap))
    return records


def write_bigwig(path, records: list[Record], sizes=SIZES):
    pybigtools.open(str(path), "w").write(dict(sizes), iter(records))
    return path


def write_bedgraph(path, records: list[Record]):
    text = "".join(f"{c}\t{a}\t{b}\t{v!r}\n" for c, a, b, v in records).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def opened(kind: str, folder, records: list[Record], **options) -> Track:
    if kind == "bigwig":
        return BigWig(write_bigwig(folder / "s.bw", records), **options)
    return read_bedgraph(write_bedgraph(folder / "s.bedgraph.gz", records), **options)


def by_base(records: list[Record], chrom: str, start: int, end: int, fill: float) -> np.ndarray:
    values = np.full(end - start, fill, np.float32)
    for name, a, b, value in records:
        if name == chrom and a < end and b > start:
            values[max(a, start) - start : b - start] = value
    return values


def some_windows(rng, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Inside, across both ends of and beyond the contigs, and on one that no file names."""
    return rng.choice(np.array([*SIZES, "chrUn"]), m), rng.integers(-150, 5200, m)


def said(call, *arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["bigwig", "bedgraph"])
@pytest.mark.parametrize("uncovered", ["zero", "nan"])
@pytest.mark.parametrize("piece", [64, track._PIECE])
def test_values_and_summaries_base_by_base(tmp_path, monkeypatch, kind, uncovered, piece):
    monkeypatch.setattr(track, "_PIECE", piece)
    monkeypatch.setattr(track, "_GAP", 20)
    fill = 0.0 if uncovered == "zero" else np.nan
    for seed in range(2):
        rng, records = np.random.default_rng(seed), random_records(seed)
        signal = opened(kind, tmp_path, records, uncovered=uncovered)
        for length in (0, 1, 7, 200):
            chrom, start = some_windows(rng, 60)
            values = signal.values(chrom, start, start + length)
            assert values.dtype == np.float32 and values.shape == (60, length)
            for row, c, s in zip(values, chrom.tolist(), start.tolist(), strict=True):
                assert np.array_equal(row, by_base(records, c, s, s + length, fill), equal_nan=True)
        chrom, start = some_windows(rng, 80)
        end = start + rng.integers(0, 400, 80)
        for how, fold in (("mean", np.mean), ("max", np.max), ("sum", np.sum)):
            found = signal.summary(chrom, start, end, how)
            assert found.dtype == np.float32
            for x, c, s, e in zip(found.tolist(), chrom.tolist(), start.tolist(), end.tolist(), strict=True):
                row = by_base(records, c, s, e, fill).astype(np.float64)
                row = row[~np.isnan(row)]
                assert np.isnan(x) if not len(row) else np.isclose(x, fold(row), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["bigwig", "bedgraph"])
@pytest.mark.parametrize("uncovered", ["zero", "nan"])
def test_nan_in_the_file_is_not_measured(tmp_path, kind, uncovered):
    records = [("chr1", 0, 3, 1.0), ("chr1", 3, 5, float("nan")), ("chr1", 5, 6, 0.0), ("chr2", 1, 2, 7.0)]
    signal = opened(kind, tmp_path, records, uncovered=uncovered)
    u = 0.0 if uncovered == "zero" else np.nan
    start, end = np.array([2]), np.array([9])
    expected = [[1, np.nan, np.nan, 0, u, u, u]]
    assert np.array_equal(signal.values("chr1", start, end), np.array(expected, np.float32), equal_nan=True)
    mean = np.nanmean(expected)
    assert signal.summary("chr1", start, end, "mean").tolist() == [np.float32(mean)]
    assert np.isnan(signal.summary("chr1", np.array([3]), np.array([5]), "sum")).all()


@pytest.mark.parametrize("kind", ["bigwig", "bedgraph"])
def test_renaming_and_contigs(tmp_path, kind):
    signal = opened(kind, tmp_path, random_records(0), rename={"chr1": "chrI", "chr10": "chrX"})
    largest = {c: max(b for name, _, b, _ in random_records(0) if name == c) for c in SIZES}
    ends = SIZES if kind == "bigwig" else largest
    assert signal.chroms == {"chrI": ends["chr1"], "chr2": ends["chr2"], "chrX": ends["chr10"]}
    one = np.array([0]), np.array([40])
    assert np.array_equal(signal.values("chrX", *one)[0], by_base(random_records(0), "chr10", 0, 40, 0))
    assert not signal.values("chr10", *one).any()
    signal.check({"chrI": 5000, "chr2": 300, "chrX": 40, "chrM": 5})


@pytest.mark.parametrize("kind", ["bigwig", "bedgraph"])
def test_wrong_use(tmp_path, kind):
    signal = opened(kind, tmp_path, random_records(0))
    name = signal.path
    assert signal.values("chr1", np.empty(0, np.int64), np.empty(0, np.int64)).shape == (0, 0)
    assert signal.summary("chr1", np.empty(0, np.int64), np.empty(0, np.int64), "max").shape == (0,)
    start = np.array([0, 5])
    assert said(signal.values, "chr1", start, start + [3, 4]) == f"windows on {name}: expected one length, found 3, 4"
    assert said(signal.summary, "chr1", start, start - [0, 1], "sum") == (
        f"window 2 on {name}: expected start <= end, found 5 > 4"
    )


class TestBigWigRefusals:
    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            (b"<html>", r"PATH is not a bigWig file (first bytes '<htm'). Was an error page downloaded?"),
            (b"", "PATH is not a bigWig file: it is empty. Copy it again"),
            (gzip.compress(b"x"), "PATH is not a bigWig file: it is compressed with gzip. Decompress it first"),
            (
                bytes.fromhex("ebf28987") + bytes(100),
                "PATH is a bigBed file: expected a bigWig file. Convert it, or pass the signal itself",
            ),
            (
                bytes.fromhex("26fc8f88") + bytes(100),
                "PATH is damaged: expected an index of blocks, found 0x88 at byte 0. Copy it again",
            ),
        ],
    )
    def test_other_content(self, tmp_path, data, sentence):
        path = tmp_path / "s.bw"
        path.write_bytes(data)
        found = said(lambda: BigWig(path).chroms).replace(str(path), "PATH")
        assert found == sentence or (b"\x26" == data[:1] and found.startswith("PATH is damaged: expected an index"))

    def test_missing_file(self, tmp_path):
        assert said(BigWig, tmp_path / "no.bw") == f"no file {tmp_path}/no.bw: expected an existing file"

    def test_cut_anywhere(self, tmp_path):
        """Only the last bytes, a closing mark that no reader needs, may be missing."""
        path = write_bigwig(tmp_path / "s.bw", random_records(1))
        data = path.read_bytes()
        whole = BigWig(path).values("chr1", np.array([0]), np.array([5000]))
        for at in [*range(1, len(data), 50), len(data) - 5, len(data) - 4]:
            path.write_bytes(data[:at])
            try:
                found = BigWig(path).values("chr1", np.array([0]), np.array([5000]))
            except InputError as e:
                assert "is shorter than its index says: expected at least" in str(e) or "is not a bigWig" in str(e)
                assert str(e).endswith(("Copy it again", "Was an error page downloaded?"))
            else:
                assert at >= len(data) - 4 and np.array_equal(found, whole)

    def test_damaged_block(self, tmp_path, capfd):
        path = write_bigwig(tmp_path / "s.bw", random_records(1))
        data = bytearray(path.read_bytes())
        middle = int.from_bytes(data[16:24], "little") + 60  # inside the first compressed block
        data[middle] ^= 0xFF
        path.write_bytes(data)
        signal = BigWig(path)
        capfd.readouterr()
        assert said(signal.values, "chr1", np.array([0]), np.array([900])) == (
            f"{path} is damaged: expected chr1:0-900 in a readable bigWig file, found bytes that do not unpack. Copy it again"
        )
        assert capfd.readouterr().err == ""  # the trace of the library's compiled part

    def test_infinite_values(self, tmp_path):
        records = [("chr1", 0, 3, 1.0), ("chr2", 100, 101, float("inf"))]
        signal = BigWig(write_bigwig(tmp_path / "s.bw", records))
        sentence = f"inf in {tmp_path}/s.bw, chr2:100-101: expected finite values. Remove or cap them"
        assert said(signal.check, SIZES) == sentence
        assert said(signal.values, "chr2", np.array([90]), np.array([120])) == sentence
        assert said(signal.summary, "chr2", np.array([90]), np.array([120]), "mean") == sentence
        assert signal.values("chr1", np.array([0]), np.array([4])).tolist() == [[1, 1, 1, 0]]

    def test_another_assembly(self, tmp_path):
        signal = BigWig(write_bigwig(tmp_path / "s.bw", random_records(0)))
        other = SIZES | {"chr2": 301}
        assert said(signal.check, other, "genome.fa") == (
            f"length of chr2: 301 in genome.fa, 300 in {tmp_path}/s.bw. These are different assemblies"
        )
        names = said(signal.check, {"1": 5000, "2": 300}, "genome.fa")
        assert names.startswith(f"'chr1' style names in {tmp_path}/s.bw (chr")
        assert "'1' style names in genome.fa (1, 2): no name in common" in names

    def test_two_names_that_become_one(self, tmp_path):
        signal = BigWig(write_bigwig(tmp_path / "s.bw", random_records(0)), rename={"chr1": "chr2"})
        assert said(lambda: signal.chroms) == (
            f"contigs chr1, chr2 of {tmp_path}/s.bw all become 'chr2': expected one name for each. Mend the renaming"
        )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no interval in PATH: file is empty"),
        ("chr1\t1\t2\n", "PATH, line 1: expected 4 columns, found 3. Mend the line"),
        ("chr1\tx\t2\t1\n", "PATH, line 1: expected an integer start, found 'x'. Remove the header line or begin it"),
        ("chr1\t5\t5\t1\n", "PATH, line 1: expected start < end, found 5 >= 5. Mend the line"),
        ("chr1\t-5\t5\t1\n", "PATH, line 1: start -5 is negative: expected at least 0. Mend the line"),
        ("chr1\t1\t2\t0,5\n", "PATH, line 1: expected a number as value, found '0,5'. Mend the line"),
        ("chr1\t1\t2\t-inf\n", "PATH, line 1: expected a finite value, found -inf (chr1:1-2). Remove or cap it"),
        (
            "#\nchr1\t1\t620\t1\nchr1\t500\t700\t2\n",
            "PATH, line 3: starts before the previous line ends (chr1:500 < 620). Sort and merge first",
        ),
        (
            "chr1\t100\t200\t1\nchr1\t5\t7\t2\nchr1\t6\t8\t2\n",
            "PATH, line 2: starts before the previous line ends (chr1:5 < 200); also line 3. Sort and merge first",
        ),
        (
            "chr1\t1\t2\t1\nchr2\t5\t7\t2\nchr1\t6\t8\t2\n",
            "PATH, line 3: chr1 comes again after another chromosome: expected each in one stretch. Sort and merge first",
        ),
    ],
)
def test_bedgraph_refusals(tmp_path, text, sentence):
    path = tmp_path / "cov.bedgraph"
    path.write_text(text)
    assert said(read_bedgraph, path).replace(str(path), "PATH").startswith(sentence)


def test_two_names_of_a_bedgraph_that_become_one(tmp_path):
    path = write_bedgraph(tmp_path / "c.bedgraph", [("chr1", 1, 5, 1.0), ("chr2", 5, 6, 1.0)])
    assert said(read_bedgraph, path, rename={"chr1": "chr2"}) == (
        f"two contigs of {path} become 'chr2': expected one. Mend the renaming"
    )


def test_bedgraph_beyond_its_contig(tmp_path):
    signal = read_bedgraph(write_bedgraph(tmp_path / "c.bedgraph", [("chr1", 1, 5, 1.0), ("chr1", 5, 5001, 1.0)]))
    assert isinstance(signal, BedGraph) and said(signal.check, SIZES, "genome.fa") == (
        f"{tmp_path}/c.bedgraph, line 2: end 5001 lies beyond chr1 (5,000 bases in genome.fa). Wrong assembly?"
    )
    assert "no name in common" in said(signal.check, {"1": 9})


def read_in_child(signal: Track) -> np.ndarray:
    return signal.values("chr1", np.array([0]), np.array([5000]))


def test_pickled_into_four_processes_and_used_by_threads(tmp_path):
    for kind in ("bigwig", "bedgraph"):
        signal = opened(kind, tmp_path, random_records(0))
        alone = read_in_child(signal)  # the handle is open now, and stays here
        assert np.array_equal(read_in_child(pickle.loads(pickle.dumps(signal))), alone)
        if kind == "bigwig":
            with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
                for other in pool.map(read_in_child, [signal] * 4):
                    assert np.array_equal(other, alone)
        found: list[np.ndarray] = []

        def work(signal=signal, found=found):
            found += [read_in_child(signal) for _ in range(10)]

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 40 and all(np.array_equal(x, alone) for x in found)


class TestYeast:
    """ATAC-seq cut sites, against the fragments that they were derived from."""

    def test_cut_sites_are_the_ends_of_the_fragments(self, dragon_data):
        signal = BigWig(dragon_data("yeast/atac/atac_cut_sites.bw"))
        fragments = read_bed(
            dragon_data("yeast/atac/yeast_500k_SRR1822137.no_chrVII_chrXVI.bedpe.gz"), contigs=signal.chroms
        )
        assert len(fragments) == 415_924
        for chrom, length in signal.chroms.items():
            here = fragments.take(fragments.chrom == chrom)
            expected = np.bincount(here.start, minlength=length) + np.bincount(here.end - 1, minlength=length)
            assert np.array_equal(signal.values(chrom, np.array([0]), np.array([length]))[0], expected)

    def test_many_windows_are_faster_than_one_by_one(self, dragon_data):
        path = dragon_data("yeast/atac/atac_cut_sites.bw")
        signal, reader = BigWig(path), pybigtools.open(str(path))
        rng = np.random.default_rng(0)
        chrom = rng.choice(np.array(list(signal.chroms)), 20_000)
        start = np.array([rng.integers(0, signal.chroms[c] - 500) for c in chrom.tolist()])
        times = []
        for _ in range(2):
            begin = time.process_time()
            values = signal.values(chrom, start, start + 500)
            middle = time.process_time()
            pairs = zip(chrom.tolist(), start.tolist(), strict=True)
            loop = np.stack([reader.values(c, s, s + 500, fillna=0.0) for c, s in pairs]).astype(np.float32)
            times.append((middle - begin, time.process_time() - middle))
            assert np.array_equal(values, loop)
        assert min(ours for ours, _ in times) < min(other for _, other in times)
