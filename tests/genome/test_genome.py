"""Genome: windows are what the file says, on both strands, over the ends, in any process; wrong files are refused."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import pickle
import random
import re
import struct
import tracemalloc
import zlib
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from dragon_jax.dna import decode, encode, reverse_complement
from dragon_jax.errors import InputError
from dragon_jax.genome.genome import Genome
from dragon_jax.genome.sizes import check_sizes, read_sizes

MINIMAL = b">chr1 first\nACGTN\nacg\n>empty\n>chrM\nRYSWKMBDHVN\nacgtuu\n".replace(b"uu", b"nn")
CONTIGS = {"chr1": 8, "empty": 0, "chrM": 17}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Every test starts without any cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DRAGON_CACHE", str(folder))
    return folder


def bgzip(data: bytes, block: int = 200) -> bytes:
    """The blocked gzip of the SAM specification, section 4.1, with its empty last block."""
    packed = b""
    for start in [*range(0, len(data), block), len(data)]:
        part = data[start : start + block]
        deflate = zlib.compressobj(wbits=-15)
        body = deflate.compress(part) + deflate.flush()
        packed += struct.pack("<4BI2B4H", 31, 139, 8, 4, 0, 0, 255, 6, 0x4342, 2, len(body) + 25)
        packed += body + struct.pack("<II", zlib.crc32(part), len(part))
    return packed


def write(path, data: bytes):
    path.write_bytes(data)
    return path


def fasta(contigs: dict[str, str], width: int = 60, end: str = "\n") -> bytes:
    text = ""
    for name, bases in contigs.items():
        text += f">{name} some text{end}" + "".join(bases[i : i + width] + end for i in range(0, len(bases), width))
    return text.encode()


def random_contigs(seed: int, count: int = 6, longest: int = 400, letters: str = "ACGTNacgtnRY") -> dict[str, str]:
    rng = random.Random(seed)
    return {f"chr{i}": "".join(rng.choices(letters, k=rng.randint(0, longest))) for i in range(count)} | {
        "chrLast": "".join(rng.choices(letters, k=longest))
    }


def expected_window(bases: str, start: int, length: int, strand: str = "+") -> str:
    window = "".join(bases[i] if 0 <= i < len(bases) else "N" for i in range(start, start + length)).upper()
    window = re.sub("[^ACGT]", "N", window)
    return window if strand != "-" else window[::-1].translate(str.maketrans("ACGT", "TGCA"))


@pytest.mark.parametrize(
    "data",
    [
        MINIMAL,
        MINIMAL.replace(b"\n", b"\r\n"),
        MINIMAL[:-1],
        MINIMAL + b"\n\n",
        MINIMAL.replace(b">", b"> "),
        MINIMAL.replace(b"N\nacg", b"Nacg"),
        gzip.compress(MINIMAL),
        bgzip(MINIMAL, 13),
    ],
)
def test_variants_of_a_right_file_are_the_same_genome(tmp_path, data):
    genome = Genome(write(tmp_path / "genome.fa", data))
    assert list(genome.contigs.items()) == list(CONTIGS.items())
    assert decode(genome.codes("chr1", 0, 8)) == "ACGTNACG"
    assert decode(genome.codes("chrM", 0, 17)) == "NNNNNNNNNNNACGTNN"
    assert genome.codes("empty", 0, 0).shape == (0,)
    assert genome.digest == Genome(write(tmp_path / "other.fa", MINIMAL)).digest
    assert genome.notes == {
        "genome bases in lower case, read as upper case": 9,
        "genome bases other than A, C, G and T, read as unknown": 14,
    }


def test_rna_is_read_as_dna_and_counted(tmp_path):
    genome = Genome(write(tmp_path / "g.fa", b">a\nACGUu\n"))
    assert decode(genome.codes("a", 0, 5)) == "ACGTT"
    assert genome.notes["genome bases U, read as T"] == 2


def test_the_digest_tells_genomes_apart(tmp_path):
    files = [
        b">a\nACGT\n>b\nAC\n",
        b">a\nACGTA\n>b\nC\n",
        b">b\nACGT\n>a\nAC\n",
        b">a\nACGA\n>b\nAC\n",
        b">a\nACGTAC\n",
    ]
    digests = [Genome(write(tmp_path / f"{i}.fa", data)).digest for i, data in enumerate(files)]
    assert len(set(digests)) == len(files)
    assert Genome(write(tmp_path / "same.fa", b">a\nacgt\n>b\nac\n")).digest == digests[0]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no sequence in genome.fa: expected a line starting with '>', file is empty"),
        (b"ACGT\n", "text before the first header in genome.fa, line 1: expected '>', found 'ACGT'"),
        (b"\xef\xbb\xbf>a\nA\n", r"text before the first header in genome.fa, line 1: expected '>', found '\\ufeff>a'"),
        (
            b">chr1\nA\n>b\nA\n>chr1\nC\n",
            "contig 'chr1' twice in genome.fa, lines 1 and 5: expected unique names. Remove or rename one",
        ),
        (
            b">chr3\nAC\nA*C\n",
            r"letter '\*' in genome.fa, contig 'chr3', line 3: expected IUPAC nucleotides. Is this a protein or alignment",
        ),
        *((b">c\nA%cA\n" % x, f"letter '{chr(x)}' in genome.fa, contig 'c', line 2") for x in b"5-EFIJLOPQZ"),
        (b">a\nACGT\n>b\nACGU\n", "letters T and U in genome.fa"),
        (b">a\rACG\r", r"carriage returns without line feeds in genome.fa, line 1.* Convert with: tr '\\r' '\\n'"),
        (b">a\r\nACG\nTT\n", "mixed line ends in genome.fa, line 2"),
        (
            gzip.compress(MINIMAL)[:-9],
            "genome.fa ends in the middle of a block: expected a complete bgzip/gzip file. Copy",
        ),
        (bgzip(MINIMAL, 13)[:-28], "genome.fa ends in the middle of a block"),
        (b"BZh91AY", "genome.fa is compressed with bzip2"),
    ],
)
def test_refusals_name_the_file_and_leave_nothing(tmp_path, monkeypatch, own_cache, data, sentence):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "genome.fa", data)
    with pytest.raises(InputError, match=sentence):
        Genome("genome.fa")
    assert [p.name for p in tmp_path.iterdir()] == ["genome.fa"]
    assert not [p for p in own_cache.rglob("*") if p.is_file()]


def test_paths_that_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no file absent.fa: expected an existing file"):
        Genome("absent.fa")
    with pytest.raises(InputError, match="is a directory: expected a file"):
        Genome(tmp_path)
    with pytest.raises(InputError, match="genome: expected a file, found standard input"):
        Genome("-")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is no regular file: expected one that can be read twice"):
        Genome("pipe")
    write(tmp_path / "page.fa.gz", b"<html>")
    with pytest.raises(InputError, match="page.fa.gz is not a gzip file"):
        Genome("page.fa.gz")


def test_a_cut_off_file_is_refused_at_every_fiftieth_byte(tmp_path):
    contigs = random_contigs(1)
    for whole in (gzip.compress(fasta(contigs)), bgzip(fasta(contigs))):
        for end in range(0, len(whole), 50):
            with pytest.raises(InputError):
                Genome(write(tmp_path / "genome.fa.gz", whole[:end]))


@pytest.mark.parametrize("seed", range(8))
def test_windows_are_slices_of_the_letters(tmp_path, monkeypatch, seed):
    """Against the letters themselves, with blocks small enough that every path is taken."""
    monkeypatch.setattr("dragon_jax.genome.genome._BLOCK", 100)
    monkeypatch.setattr("dragon_jax.genome.cache._CHUNK", 8 << seed)
    rng = np.random.default_rng(seed)
    contigs = random_contigs(seed)
    data = fasta(contigs, int(rng.integers(1, 90)), "\n" if seed % 2 else "\r\n")
    genome = Genome(write(tmp_path / "g.fa", data if seed % 3 else gzip.compress(data)), masked="keep")
    names = list(contigs)
    for length in (1, 7, 8, 33, 300, 1000):
        chosen = rng.integers(0, len(names), 60)
        chrom = np.array(names)[chosen]
        start = rng.integers(-400, 500, 60)
        strand = rng.choice(["+", "-", "."], 60)
        found = genome.windows(chrom, start, length, strand=strand, edge="pad")
        wanted = [expected_window(contigs[c], s, length, d) for c, s, d in zip(chrom, start, strand, strict=True)]
        assert [decode(row) for row in found] == wanted
        np.testing.assert_array_equal(genome.windows(chosen, start, length, strand=strand, edge="pad"), found)
        share = genome.masked_share(chrom, start, length, edge="pad")
        lower = [
            sum(b.islower() for b in contigs[c][max(0, s) : max(0, s + length)])
            for c, s in zip(chrom, start.tolist(), strict=True)
        ]
        np.testing.assert_array_equal(share, (np.array(lower) / length).astype(np.float32))
        fits = [0 <= s <= len(contigs[c]) - length for c, s in zip(chrom, start, strict=True)]
        np.testing.assert_array_equal(
            genome.windows(chrom[fits], start[fits], length, strand=strand[fits]), found[fits]
        )
        np.testing.assert_array_equal(genome.masked_share(chrom[fits], start[fits], length), share[fits])
    for name, bases in contigs.items():
        assert decode(genome.codes(name, 0, len(bases))) == expected_window(bases, 0, len(bases))


def test_windows_at_the_very_ends_are_inside(tmp_path):
    genome = Genome(write(tmp_path / "g.fa", b">a\nACGTA\n>b\nCCCCC\n"))
    assert [decode(w) for w in genome.windows("a", np.array([0, 2]), 3)] == ["ACG", "GTA"]
    assert decode(genome.windows("a", np.array([0]), 5)[0]) == "ACGTA"
    for start in (-1, 3, 6, -9, 2**62, -(2**62), 2**63 - 1, -(2**63)):
        with pytest.raises(InputError, match="1 of 1 windows fall off"):
            genome.windows("a", np.array([start]), 3)
    far = np.array([2**63 - 1, -(2**63), 0, 5, -3, 4, -2])
    padded = [decode(w) for w in genome.windows("a", far, 3, edge="pad")]
    assert padded == ["NNN", "NNN", "ACG", "NNN", "NNN", "ANN", "NNA"]
    assert decode(genome.windows("a", np.array([-2]), 3, strand="-", edge="pad")[0]) == "TNN"
    assert decode(genome.windows("a", np.array([-2]), 9, edge="pad")[0]) == "NNACGTANN"


def test_one_contig_and_one_strand_stand_for_all_rows(tmp_path):
    genome = Genome(write(tmp_path / "g.fa", b">a\nAACCC\n>b\nGGGTT\n"))
    start = np.arange(3)
    forward = genome.windows("b", start, 3)
    np.testing.assert_array_equal(genome.windows(["b"] * 3, start, 3, strand="."), forward)
    np.testing.assert_array_equal(genome.windows(np.array(["b"] * 3, object), start.astype(np.uint16), 3), forward)
    np.testing.assert_array_equal(genome.windows(np.ones(3, np.int32), start, 3), forward)
    np.testing.assert_array_equal(genome.windows("b", start, 3, strand="-"), reverse_complement(forward))
    assert genome.windows("a", np.zeros(0, np.int64), 4).shape == (0, 4)
    forward[:] = 0  # the result belongs to the caller
    assert decode(genome.codes("b", 0, 5)) == "GGGTT"


def test_a_genome_without_bases(tmp_path):
    genome = Genome(write(tmp_path / "g.fa", b">a\n>b\n"), masked="keep")
    assert genome.contigs == {"a": 0, "b": 0}
    assert decode(genome.windows("b", np.array([0]), 3, edge="pad")[0]) == "NNN"
    assert genome.masked_share("b", np.array([0]), 3, edge="pad").tolist() == [0.0]


def test_windows_that_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    genome = Genome(write(tmp_path / "genome.fa", fasta({"chr1": "ACGT" * 500, "chr2": "ACGT" * 3})) and "genome.fa")
    chrom = np.array(["chr1", "chr2", "chrUn", "chr1", "chrM", "chrUn"])
    at = np.zeros(6, np.int64)
    sentence = r"^3 of 6 windows lie on contigs absent from genome.fa \(chrUn, chrM\): expected contigs such as chr1, chr2\. Rename"
    with pytest.raises(InputError, match=sentence):
        genome.windows(chrom, at, 4)
    with pytest.raises(InputError, match=r"2 of 2 windows lie on contigs absent from genome.fa \(chrX\)"):
        genome.windows("chrX", at[:2], 4)
    with pytest.raises(InputError, match=r"2 of 3 windows lie on contigs absent from genome.fa \(2, -1\)"):
        genome.windows(np.array([2, 0, -1]), at[:3], 4)
    start = np.arange(1990, 2000)
    with pytest.raises(InputError) as e:
        genome.windows("chr1", start, 4)
    assert str(e.value) == (
        "3 of 10 windows fall off their contig in genome.fa: expected all inside, found chr1:1,997-2,001 (2,000 bases), "
        "chr1:1,998-2,002 (2,000 bases), chr1:1,999-2,003 (2,000 bases). Wrong assembly? Leave them out, or pass edge='pad'"
    )
    with pytest.raises(InputError, match=r"1,000 of 1,000 windows .* \.\.\. and 995 more\. Wrong assembly"):
        genome.windows("chr2", np.arange(1000), 40)
    with pytest.raises(InputError, match=r"strand of 2 windows: expected '\+', '-' or '\.', found '\*', ''"):
        genome.windows("chr1", at[:3], 4, strand=np.array(["*", "+", ""]))
    with pytest.raises(InputError, match=r"strand: expected one for each of 3 windows, found shape \(2,\)"):
        genome.windows("chr1", at[:3], 4, strand=["+", "-"])
    with pytest.raises(InputError, match="expected one contig for each of 6 starts, found 2"):
        genome.windows(["chr1", "chr2"], at, 4)
    with pytest.raises(InputError, match="length of windows: expected at least 1 base, found 0"):
        genome.windows("chr1", at, 0)
    with pytest.raises(InputError, match="contig 'chrX' is absent from genome.fa: expected one such as chr1, chr2"):
        genome.codes("chrX", 0, 1)
    for first, last in ((-1, 2), (3, 2), (0, 13)):
        with pytest.raises(InputError, match=f"chr2:{first}-{last} of genome.fa: expected 0 <= start <= end <= 12"):
            genome.codes("chr2", first, last)
    with pytest.raises(InputError, match="genome.fa was opened without its soft mask: expected masked='keep'"):
        genome.masked_share("chr1", at, 4)


def test_codes_are_a_view_that_cannot_be_written(tmp_path):
    genome = Genome(write(tmp_path / "g.fa", MINIMAL))
    codes = genome.codes("chr1", 2, 6)
    assert decode(codes) == "GTNA"
    with pytest.raises(ValueError, match="read-only"):
        codes[0] = 1


def test_order_of_contigs_does_not_matter(tmp_path):
    contigs = random_contigs(5)
    names = list(contigs)
    random.Random(0).shuffle(names)
    a = Genome(write(tmp_path / "a.fa", fasta(contigs)))
    b = Genome(write(tmp_path / "b.fa", fasta({name: contigs[name] for name in names})))
    chrom, start = np.repeat(list(contigs), 20), np.tile(np.arange(20) * 20, len(contigs))
    np.testing.assert_array_equal(a.windows(chrom, start, 50, edge="pad"), b.windows(chrom, start, 50, edge="pad"))
    assert a.digest != b.digest


def test_odd_names_survive(tmp_path):
    names = ["NA", "1", "nan", "1e5", "Δ-contig", "x" * 5000, "a|b;c"]
    genome = Genome(write(tmp_path / "g.fa", fasta({name: "ACGT" * (i + 1) for i, name in enumerate(names)})))
    assert list(genome.contigs) == names
    windows = genome.windows(np.array(names), np.zeros(len(names), np.int64), 4)
    assert [decode(w) for w in windows] == ["ACGT"] * len(names)


def test_one_contig_is_in_memory_at_a_time(tmp_path):
    """40 contigs of a million bases cost what one costs; the genome itself is mapped."""
    line = b"ACGTNacgtn" * 10 + b"\n"
    with open(tmp_path / "g.fa", "wb") as file:
        for i in range(40):
            file.write(b">c%d\n" % i + line * 10_000)
    tracemalloc.start()
    genome = Genome(tmp_path / "g.fa", masked="keep")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(genome.contigs.values()) == 40_000_000
    assert peak < 12_000_000
    assert genome.masked_share("c39", np.array([0, 5]), 1_000, edge="pad").tolist() == [0.5, 0.5]


def test_the_bad_last_of_many_contigs_is_named_by_its_line(tmp_path):
    n = 40_000
    path = write(tmp_path / "g.fa", b"".join(b">s%d\nACGTACGTAC\n" % i for i in range(n)) + b">last\nACGTAC9TAC\n")
    with pytest.raises(InputError, match=f"letter '9' in .*, contig 'last', line {2 * n + 2}:"):
        Genome(path)


def windows_of(genome: Genome) -> tuple[np.ndarray, dict[str, int], str]:
    chrom = np.repeat(list(genome.contigs), 50)
    start = np.tile(np.arange(50) * 9 - 20, len(genome.contigs))
    return genome.windows(chrom, start, 37, strand="-", edge="pad"), genome.contigs, genome.digest


def test_four_spawned_workers_read_the_same_and_get_the_path_only(tmp_path):
    genome = Genome(write(tmp_path / "g.fa.gz", bgzip(fasta(random_contigs(3, 30)))), masked="keep")
    expected = windows_of(genome)
    assert len(pickle.dumps(genome)) < 1000
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(windows_of, [genome] * 8))
    for windows, contigs, digest in results:
        np.testing.assert_array_equal(windows, expected[0])
        assert (contigs, digest) == expected[1:]


def test_a_pickle_finds_the_file_from_elsewhere_and_refuses_another_genome(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "g.fa", b">a\nACGT\n")
    packed = pickle.dumps(Genome("g.fa"))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert decode(pickle.loads(packed).codes("a", 0, 4)) == "ACGT"
    write(tmp_path / "g.fa", b">a\nACGA\n")
    with pytest.raises(InputError, match="g.fa is another genome than when it was opened: expected digest"):
        pickle.loads(packed).contigs  # noqa: B018
    (tmp_path / "g.fa").unlink()
    with pytest.raises(InputError, match="no file .*g.fa"):
        pickle.loads(packed).windows("a", np.zeros(1, np.int64), 1)


def test_yeast_against_its_sizes_and_pyfaidx(dragon_data, tmp_path):
    genome = Genome(dragon_data("yeast/sacCer3.no_chrVII_chrXVI.fa.gz"))
    sizes = read_sizes(dragon_data("yeast/chrom.sizes"))
    assert genome.contigs == sizes
    check_sizes(sizes, genome.contigs, ("chrom.sizes", genome.path))
    pyfaidx = pytest.importorskip("pyfaidx")
    plain = write(
        tmp_path / "yeast.fa", gzip.decompress(dragon_data("yeast/sacCer3.no_chrVII_chrXVI.fa.gz").read_bytes())
    )
    theirs = pyfaidx.Fasta(str(plain), sequence_always_upper=True)
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(sizes), 500)
    start = (rng.random(500) * (np.array(list(sizes.values()))[chosen] - 1000)).astype(np.int64)
    chrom = np.array(list(sizes))[chosen]
    strand = rng.choice(["+", "-"], 500)
    found = genome.windows(chrom, start, 1000, strand=strand)
    for c, s, d, row in zip(chrom.tolist(), start.tolist(), strand.tolist(), found, strict=True):
        theirs_row = theirs[c][s : s + 1000]
        np.testing.assert_array_equal(row, encode((theirs_row.reverse.complement if d == "-" else theirs_row).seq))
    theirs.close()
    again = Genome(plain)
    assert again.digest == genome.digest
    assert again.notes == genome.notes  # the index that pyfaidx wrote beside it is right
    assert (tmp_path / "yeast.fa.fai").exists()


def test_the_region_of_a_human_chromosome(dragon_data):
    path = dragon_data("hg38_chr22_region/hg38_chr22_32000000_32300000.fa.gz")
    genome = Genome(path, masked="keep")
    letters = "".join(gzip.decompress(path.read_bytes()).decode().split("\n")[1:])
    assert genome.contigs == {"chr22": len(letters)}
    start = np.arange(0, len(letters) - 1000, 997)
    lower = np.array([sum(b.islower() for b in letters[s : s + 1000]) for s in start.tolist()])
    np.testing.assert_allclose(genome.masked_share("chr22", start, 1000), lower / 1000, atol=1e-7)
    assert decode(genome.codes("chr22", 0, 50)) == letters[:50].upper()
