"""Broken files through the command line: exit code 2, one line on standard error, no traceback, nothing written.

The readers have tests of their own; here each kind of file is broken once or more where a user would hand it over, and
the sentence must name the file as typed, the record, what was expected and found, and a remedy that this command takes.
"""

from __future__ import annotations

import gzip
import io
import random
import re
import tempfile

import numpy as np
import pybigtools
import pytest

from dragon_jax.cli import main

CONFIG = """
import dragon_jax

def get_config(source):
    c = dragon_jax.template(model="convnet", source=source)
    if source == "genome":
        c.data.source.genome, c.data.source.length = "genome.fa", 20
        c.data.source.peaks = "{task}.bed"
        c.data.split.name, c.data.split.valid_values, c.data.split.test_values = "chromosome", ("chr2",), ("chr3",)
    elif source == "table":
        c.data.source.label_columns = ("y",)
    elif source == "fasta":
        c.data.negatives.name = "dinucleotide"
    elif source == "grammar":
        c.data.source.motif_file, c.data.source.motifs = "m.txt", ("M1",)
        c.data.source.positives, c.data.source.negatives, c.data.source.length = 40, 40, 50
    return c
"""


def letters(seed: int, count: int) -> str:
    return "".join(random.Random(seed).choices("ACGT", k=count))


GENOME = "".join(f">chr{i}\n{letters(i, 400)}\n" for i in (1, 2, 3)).encode()
PEAKS = b"".join(b"chr%d\t%d\t%d\n" % (c, p, p + 20) for c in (1, 2, 3) for p in (40, 200, 300))
NARROW = b"".join(b"%s\tp\t5\t.\t1.5\t-1\t-1\t%d\n" % (row, 7) for row in PEAKS.splitlines())
GRAPH = b"".join(b"chr%d\t0\t100\t1.5\nchr%d\t100\t400\t2\n" % (c, c) for c in (1, 2, 3))
TABLE = b"sequence\ty\n" + b"".join(b"%s\t%d\n" % (letters(i, 30).encode(), i % 2) for i in range(80))
SEQUENCES = b"".join(b">s%d\n%s\n" % (i, letters(i, 30).encode()) for i in range(60))
MEME = b"MEME version 4\nALPHABET= ACGT\nMOTIF M1\nletter-probability matrix: w= 2\n1 0 0 0\n0 0.5 0.5 0\n"
PFM = b">M1\nA 9 0 1\nC 0 9 1\nG 0 0 1\nT 0 0 9\n"


def saved(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


def bigwig(sizes: dict[str, int], value: float = 1.5, damage: bool = False) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s.bw"
        rows = [(c, i, i + 1, value + i % 7) for c, n in sizes.items() for i in range(n)]
        pybigtools.open(path, "w").write(sizes, iter(rows))
        with open(path, "rb") as file:
            data = bytearray(file.read())
    if damage:
        data[int.from_bytes(data[16:24], "little") + 60] ^= 0xFF  # inside the first compressed block
    return bytes(data)


SIZES = {"chr1": 400, "chr2": 400, "chr3": 400}
CODES = np.array([["ACGT".index(base) for base in letters(i, 30)] for i in range(80)], np.uint8)
LABELS = np.arange(80) % 2

GOOD = {
    "genome": {"genome.fa": GENOME, "T.bed": PEAKS},
    "table": {"t.tsv": TABLE},
    "fasta": {"pos.fa": SEQUENCES},
    "grammar": {"m.txt": MEME},
    "arrays": {"a.npz": saved(codes=CODES, targets=LABELS)},
}
ALWAYS = {"table": ["paths.all=t.tsv"], "fasta": ["positives.all=pos.fa"], "arrays": ["paths.all=a.npz"]}
SIGNAL = ["peaks={task}.bedgraph", "kind=real"]
BIGWIG = ["peaks={task}.bw", "kind=real"]
NARROWED = ["peaks={task}.narrowPeak"]


def run(here, capfd, source: str, files: dict[str, bytes], words: list[str], verb: str = "check") -> tuple[int, str]:
    (here / "c.py").write_text(CONFIG)
    for name, data in {**GOOD[source], **files}.items():
        (here / name).write_bytes(data)
    before = sorted(p.name for p in here.iterdir())
    usual = [w for w in ALWAYS.get(source, []) if not any(other.startswith(w[:6]) for other in words)]
    changes = [w if w.startswith("--") else f"--config.data.source.{w}" for w in (*usual, *words)]
    more = {"train": ["--workdir=run"], "prepare": ["--out=sets"], "check": ["--out=page.html"]}[verb]
    capfd.readouterr()
    code = main([verb, f"--config=c.py:{source}", *more, *changes])
    said = capfd.readouterr().err
    if code:
        assert sorted(p.name for p in here.iterdir()) == before
    return code, said


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRAGON_CACHE", "")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "files", "words"),
    [
        ("genome", {}, []),
        ("genome", {"genome.fa": GENOME.replace(b"\n", b"\r\n"), "T.bed": PEAKS.replace(b"\n", b"\r\n")[:-2]}, []),
        ("genome", {"g.fa.gz": gzip.compress(GENOME)}, ["genome=g.fa.gz"]),
        ("genome", {"T.narrowPeak": NARROW}, NARROWED),
        ("genome", {"T.bedgraph": GRAPH}, SIGNAL),
        ("genome", {"T.bw": bigwig(SIZES)}, BIGWIG),
        ("table", {}, []),
        ("table", {"my täble.tsv": TABLE}, ["paths.all=my täble.tsv"]),
        ("fasta", {}, []),
        ("fasta", {"pos.fa": SEQUENCES.replace(b">s", b">same s")}, []),
        ("grammar", {}, []),
        ("arrays", {}, []),
        ("arrays", {"a.npz": saved(onehot=np.eye(4)[CODES], targets=LABELS)}, []),
        ("grammar", {"m.txt": PFM}, []),
    ],
)
def test_right_files_pass(here, capfd, source, files, words):
    code, said = run(here, capfd, source, files, words)
    assert code == 0, said


@pytest.mark.parametrize(
    ("source", "files", "words", "sentence"),
    [
        # FASTA genome
        ("genome", {"genome.fa": b""}, [], "no sequence in genome.fa: expected a line starting with '>', file is empty"),
        (
            "genome",
            {"genome.fa": b"ACGT\n" + GENOME},
            [],
            "text before the first header in genome.fa, line 1: expected '>', found 'ACGT'",
        ),
        ("genome", {"genome.fa": b"\xef\xbb\xbf" + GENOME}, [], "text before the first header in genome.fa, line 1"),
        (
            "genome",
            {"genome.fa": GENOME + b">chr1\nA\n"},
            [],
            "contig 'chr1' twice in genome.fa, lines 1 and 7: expected unique names. Remove or rename one",
        ),
        (
            "genome",
            {"genome.fa": GENOME + b">p\nMK*\n"},
            [],
            "letter '*' in genome.fa, contig 'p', line 8: expected IUPAC nucleotides. Is this a protein or alignment file?",
        ),
        (
            "genome",
            {"genome.fa": GENOME.replace(b"\n", b"\r")},
            [],
            "carriage returns without line feeds in genome.fa, line 1: ",
        ),
        ("genome", {"genome.fa": GENOME.replace(b"\n", b"\r\n", 1)}, [], "mixed line ends in genome.fa, line 2"),
        (
            "genome",
            {"g.fa.gz": gzip.compress(GENOME)[:-40]},
            ["genome=g.fa.gz"],
            "g.fa.gz ends in the middle of a block: expected a complete bgzip/gzip file. Copy it again",
        ),
        # chromosome sizes
        (
            "genome",
            {"s.sizes": b"chr1\t400\nchr2\t399\n"},
            ["sizes=s.sizes"],
            "length of chr2: 400 in genome.fa, 399 in s.sizes. These are different assemblies",
        ),
        ("genome", {"s.sizes": b"chr1\t4e2\n"}, ["sizes=s.sizes"], "s.sizes, line 1: expected an integer length, found '4e2'"),
        ("genome", {"s.sizes": b"chr1\t-4\n"}, ["sizes=s.sizes"], "s.sizes, line 1: expected a length of 0 to 2^62 bases"),
        (
            "genome",
            {"s.sizes": b"chr1\t400\nchr1\t400\n"},
            ["sizes=s.sizes"],
            "contig 'chr1' twice in s.sizes, lines 1 and 2: expected unique names. Remove or rename one",
        ),
        # BED
        ("genome", {"T.bed": b"chr1\t5\n"}, [], "T.bed, line 1: expected at least 3 columns (chrom, start, end), found 2"),
        (
            "genome",
            {"T.bed": b"chrom\tstart\tend\n" + PEAKS},
            [],
            "T.bed, line 1: expected an integer start, found 'start'. Remove the header line or begin it with '#'",
        ),
        (
            "genome",
            {"T.bed": b"chr1\t1e+02\t200\n"},
            [],
            "T.bed, line 1: expected an integer start, found '1e+02'. Write whole numbers (in R: options(scipen=999))",
        ),
        ("genome", {"T.bed": b"chr1\t100.0\t200\n"}, [], "T.bed, line 1: expected an integer start, found '100.0'"),
        ("genome", {"T.bed": PEAKS + b"chr1\t300\t200\n"}, [], "T.bed, line 10: expected start < end, found 300 >= 200"),
        ("genome", {"T.bed": PEAKS + b"chr1\t-3\t200\n"}, [], "T.bed, line 10: start -3 is negative"),
        (
            "genome",
            {"T.bed": PEAKS + b"chr1\t300\t500\n"},
            [],
            "T.bed, line 10: end 500 lies beyond chr1 (400 bases in genome.fa). Wrong assembly?",
        ),
        ("genome", {"T.bed": b"chr1\t1\t9\tp\t0\t*\n"}, [], "T.bed, line 1: expected '+', '-' or '.', found '*'"),
        ("genome", {"T.bed": b'"chr2"\t1\t9\n'}, [], "T.bed, line 1: expected an unquoted name, found '\"chr2\"'"),
        ("genome", {"T.bed": PEAKS + b"chr1\t1\t9\tp\n"}, [], "T.bed, line 10: expected 3 columns as before, found 4"),
        ("genome", {"T.bed": b"#\n#\n#\n"}, [], "no interval in T.bed: file holds 3 comment lines only"),
        (
            "genome",
            {"T.bed": PEAKS + b"chrM\t1\t9\n"},
            [],
            "1 of 10 intervals in T.bed lies on contigs absent from genome.fa (chrM). "
            "Set data.source.missing_contigs=skip to leave them out",
        ),
        (
            "genome",
            {"T.bed": PEAKS.replace(b"chr", b"")},
            [],
            "'1' style names in T.bed (1, 2, 3), 'chr1' style names in genome.fa (chr1, chr2, chr3): no name in common. "
            "Rename one, or set data.source.contigs=add_chr (3 of 3 names)",
        ),
        # narrowPeak, broadPeak
        (
            "genome",
            {"T.narrowPeak": PEAKS},
            NARROWED,
            "T.narrowPeak, line 1: expected 10 columns, found 3; also line 2, line 3, line 4, line 5, ... and 4 more. "
            "For plain BED name the file .bed (windows are then centred on midpoints)",
        ),
        (
            "genome",
            {"T.narrowPeak": NARROW.replace(b"\t7\n", b"\t742\n", 1)},
            NARROWED,
            "T.narrowPeak, line 1: summit 742 lies outside the peak (length 20)",
        ),
        ("genome", {"T.broadPeak": NARROW}, ["peaks={task}.broadPeak"], "T.broadPeak, line 1: expected 9 columns, found 10"),
        # windows
        (
            "genome",
            {},
            ["windows=peaks", "length=300"],
            "6 of 9 windows fall off their contig; largest end 460 on chr1 (400 bases in genome.fa): expected at most half",
        ),
        (
            "genome",
            {},
            ["windows=peaks", "length=140", "edge=error"],
            "fall off their contig; largest end",
        ),
        (
            "genome",
            {},
            ["windows=peaks", "length=500", "edge=shift"],
            "contig chr1 of genome.fa has 400 bases: expected at least the 500 of a window. "
            "Set data.source.edge to pad or drop",
        ),
        # bigWig, bedGraph
        (
            "genome",
            {"T.bw": b"<html>"},
            BIGWIG,
            "T.bw is not a bigWig file (first bytes '<htm'). Was an error page downloaded?",
        ),
        ("genome", {"T.bw": bigwig(SIZES)[:-60]}, BIGWIG, "T.bw is shorter than its index says: expected at least"),
        ("genome", {"T.bw": bigwig(SIZES, damage=True)}, BIGWIG, "T.bw is damaged: expected chr1:0-400 in a readable"),
        ("genome", {"T.bw": bigwig(SIZES | {"chr2": 399})}, BIGWIG, "length of chr2: 400 in genome.fa, 399 in T.bw. These"),
        ("genome", {"T.bw": bigwig({"1": 400})}, BIGWIG, "'1' style names in T.bw (1), 'chr1' style names in genome.fa"),
        ("genome", {"T.bw": bigwig(SIZES, float("inf"))}, BIGWIG, "inf in T.bw, chr1:0-1: expected finite values"),
        (
            "genome",
            {"T.bedgraph": b"chr1\t0\t62\t1\nchr1\t50\t70\t1\n"},
            SIGNAL,
            "T.bedgraph, line 2: starts before the previous line ends (chr1:50 < 62). Sort and merge first",
        ),
        ("genome", {"T.bedgraph": b"chr1\t0\t62\tinf\n"}, SIGNAL, "T.bedgraph, line 1: expected a finite value, found inf"),
        (
            "genome",
            {"T.bedgraph": GRAPH.replace(b"\t1.5\n", b"\t-1.5\n", 1)},
            [*SIGNAL[:1], "kind=count"],
            "T.bedgraph, chr1:0-20: expected counts, found -1.5. Set the kind of task 'T' to real",
        ),
        (
            "genome",
            {"T.bedgraph": GRAPH.replace(b"\t1.5\n", b"\t-1.5\n", 1)},
            [*SIGNAL, "label.log1p=True"],
            "T.bedgraph, chr1:0-20: expected more than -1 for log(1 + x), found -1.5. Set data.source.label.log1p to False, "
            "or mend the file",
        ),
        # FASTA as examples
        (
            "fasta",
            {"pos.fa": SEQUENCES + b">last\nACGT\n"},
            [],
            "sequence 'last' in pos.fa, line 121: expected 30 bases as in the first record, found 4. "
            "Set length=30 and fit=fit_centre (crop and pad), or mend the file",
        ),
        ("fasta", {"pos.fa": SEQUENCES + b">empty\n"}, [], "sequence 'empty' in pos.fa, line 121 has no bases"),
        (
            "table",
            {"s.fa": SEQUENCES, "l.tsv": b"name\ty\n" + b"".join(b"s%d\t1\n" % i for i in range(57))},
            ["paths.all=s.fa", "label_paths.all=l.tsv", "id_column=name"],
            "3 of 60 sequences in s.fa have no row in l.tsv (first: 's57')",
        ),
        # tables
        (
            "table",
            {"t.tsv": TABLE.replace(b"sequence", b"seq")},
            [],
            "t.tsv: expected a column 'sequence', found 'seq', 'y'; did you mean seq? Set data.source.sequence_column",
        ),
        ("table", {"t.tsv": TABLE.replace(b"sequence", b"y")}, [], "column 'y' twice in t.tsv, line 1: expected unique"),
        ("table", {}, ["label_columns=('z',)"], "t.tsv: expected a column 'z', found 'sequence', 'y'"),
        (
            "table",
            {"t.tsv": TABLE[:-2] + b"0,5\n"},
            [],
            "t.tsv, row 80 (line 81), column 'y': expected a number, found '0,5'. Use a point as decimal sign",
        ),
        ("table", {"t.tsv": TABLE[:-2] + b"2\n"}, [], "column 'y': expected 0 or 1 for a classification task, found '2'"),
        ("table", {"t.tsv": TABLE[:-2] + b"inf\n"}, [], "column 'y': expected a number, found 'inf'"),
        ("table", {"t.tsv": TABLE + b"ACGT\n"}, [], "t.tsv, line 82: expected 2 fields, found 1"),
        # motif files
        (
            "grammar",
            {"m.txt": MEME.replace(b"ACGT", b"ACDEFGHIKLMNPQRSTVWY")},
            [],
            "m.txt, line 2: expected ALPHABET= ACGT, found 'ACDEFGHIKLMNPQRSTVWY'. Protein motifs are not supported",
        ),
        ("grammar", {"m.txt": MEME.replace(b"1 0 0 0", b"1 0 0")}, [], "motif 'M1' in m.txt, line 5: expected 4 prob"),
        ("grammar", {"m.txt": MEME.replace(b"w= 2", b"w= 19")}, [], "line 4: w= 19 but 2 rows follow. Is the file cut off?"),
        ("grammar", {"m.txt": MEME.replace(b"1 0 0 0", b"9 9 1 1")}, [], "row sums to 20.0, expected 1. These look like"),
        ("grammar", {"m.txt": MEME + MEME[30:]}, [], "motif name 'M1' twice in m.txt, lines 3 and 7: expected unique names"),
        ("grammar", {"m.txt": b"MEME version 4\n"}, [], "no motif in m.txt"),
        ("grammar", {"m.txt": b">M1\n" + b"1 2 3 4\n" * 4}, [], "matrix 'M1' in m.txt, line 1: it is 4 x 4, cannot tell"),
        ("grammar", {"m.txt": PFM.replace(b"A 9 0 1", b"A 9 0")}, [], "matrix 'M1' in m.txt, line 3: expected 2 numbers"),
        ("grammar", {}, ["motifs=('M2',)"], "1 of 1 motifs not in m.txt (M2): expected some of its 1 names"),
        # arrays
        (
            "arrays",
            {"a.npz": saved(codes=CODES, targets=np.array([{}] * 80, dtype=object))},
            [],
            "a.npz, array 'targets': holds Python objects, which can run code when read",
        ),
        (
            "arrays",
            {"a.npz": saved(codes=CODES, targets=LABELS[:78])},
            [],
            "80 sequences in a.npz, array 'codes', but 78 targets in a.npz, array 'targets': expected one row for each",
        ),
        ("arrays", {"a.npz": GOOD["arrays"]["a.npz"][:-9]}, [], "a.npz is cut off or damaged: expected a whole NPZ file"),
        ("arrays", {"a.npz": saved(x=CODES)}, [], "a.npz: expected one array of sequences, codes, onehot, found none of"),
        (
            "arrays",
            {"a.npz": saved(codes=CODES, targets=LABELS + 1)},
            [],
            "a.npz, array 'targets', row 1, task 'task_0': expected 0 or 1 for a classification task, found 2",
        ),
        # splits
        (
            "genome",
            {},
            ["--config.data.split.test_values=('chr9',)"],
            "data.split.test_values: chromosome 'chr9' occurs in no row: expected one of 'chr1', 'chr2', 'chr3'",
        ),
        (
            "genome",
            {"genome.fa": GENOME.replace(letters(2, 400).encode(), letters(1, 400).encode())},
            [],
            "occur in a more protected split too, as a copy or reverse complement (first: chr1:0-20)",
        ),
        (
            "table",
            {"t.tsv": TABLE.replace(b"\ty\n", b"\ty\tpart\n").replace(b"\t0\n", b"\t0\ttrain\n").replace(b"\t1\n", b"\t1\ttets\n")},
            ["--config.data.split.name=column", "--config.data.split.column=part", "--config.data.split.test_values=('test',)"],
            "data.split.test_values: column 'part', value 'test' occurs in no row: expected one of 'tets', 'train'",
        ),
        (
            "table",
            {"b.tsv": b"".join(TABLE.splitlines(True)[:41])},
            ["paths.train=t.tsv", "paths.valid=b.tsv", "--config.data.split.name=files"],
            "40 sequences occur in two splits, as a copy or reverse complement ('row_1' of train and 'row_1' of valid",
        ),
        # config
        ("table", {}, ["--config.optim.lr=1"], "--config.optim.lr: no such field; did you mean optim.learning_rate?"),
        ("table", {}, ["--config.data.split.valid=2.0"], "data.split.valid: expected 0 <= x < 1, found 2.0"),
        ("table", {}, ["--config.data.source.length=long"], "--config.data.source.length: expected a value like"),
        # paths
        ("table", {}, ["paths.all=none.tsv"], "no file none.tsv: expected an existing file"),
        ("table", {}, ["paths.all= "], "blank file name: expected the path of a file"),
        ("table", {}, ["paths.all=https://x.org/a.tsv"], "expected a file on this machine, found a URL. Download it first"),
        ("table", {"a.tar.gz": b"x"}, ["paths.all=a.tar.gz"], "a.tar.gz is an archive: expected one plain or gzip file"),
        ("table", {}, ["paths.all=."], ". is a directory: expected a file"),
        ("table", {"t.tsv": b"PK\x03\x04aa"}, [], "t.tsv is compressed with zip: expected plain text or gzip"),
    ],
)  # fmt: skip
def test_broken_files_end_in_one_sentence(here, capfd, source, files, words, sentence):
    code, said = run(here, capfd, source, files, words)
    assert code == 2 and said.count("\n") == 1 and said.startswith("dragon check: "), said
    assert sentence in said and "Traceback" not in said


@pytest.mark.parametrize("verb", ["train", "prepare"])
def test_the_other_verbs_refuse_alike(here, capfd, verb):
    code, said = run(here, capfd, "genome", {"T.bed": PEAKS + b"chr1\t9\t5\n"}, [], verb)
    assert code == 2 and re.fullmatch(
        rf"dragon {verb}: T.bed, line 10: expected start < end, found 9 >= 5\. .*\n", said
    )
