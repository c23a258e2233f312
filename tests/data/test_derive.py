"""Files that are made of fetched ones: small sources with rows put back, served here, against what must come out."""

from __future__ import annotations

import errno
import gzip
import hashlib
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pybigtools
import pytest

from dragon_jax.data import catalogue, derive
from dragon_jax.data import download as module
from dragon_jax.data.catalogue import SETS, RemoteFile, catalogue_lines, remote_files, source_files
from dragon_jax.data.derive import make
from dragon_jax.data.derive_regions import centre_labels, region_labels
from dragon_jax.data.derived import DerivedFile, content, derived_files
from dragon_jax.data.download import download
from dragon_jax.errors import RunError
from tests.data.test_download import Server, serving

A, B = "ACGTA" * 12, "GGCCT" * 21
GENOME = f">chrI\n{A.lower()}\n>chrVII extra\n{B}\n>chrXVI\nACGT\n>chrM\n{B}\n"
BEDPE = "chrI\t0\t10\nchrI\t0\t60\nchrVII\t5\t50\nchrM\t3\t4\nchrXVI\t0\t4\nchrI\t9\t30\n"
PEAKS = "chr7\t1\t2\ta\t3\t.\nchr1\t5\t6\tb\t0\t.\nchr16\t2\t3\tc\t1\t.\nchr17\t2\t3\td\t1\t.\n"
SOURCES = {
    "genome/g.fa.gz": gzip.compress(GENOME.encode()),
    "test/f.bedpe.gz": gzip.compress(BEDPE.encode()),
    "peaks (1)/P_CX.bed": PEAKS.encode(),
}
MADE = {  # name: recipe, sources, content
    "g.no_VII.fa.gz": (
        "genome_without chrVII chrXVI",
        ["genome/g.fa.gz"],
        f">chrI\n{A[:50]}\n{A[50:]}\n>chrM\n{B[:50]}\n{B[50:100]}\n{B[100:]}\n",
    ),
    "chrom.sizes": ("sizes_without chrVII chrXVI", ["genome/g.fa.gz"], "chrI\t60\nchrM\t105\n"),
    "f.bedpe.gz": (
        "rows_without chrVII chrXVI",
        ["test/f.bedpe.gz"],
        "chrI\t0\t10\nchrI\t0\t60\nchrM\t3\t4\nchrI\t9\t30\n",
    ),
    "atac/cuts.bw": (
        "cut_sites chrVII chrXVI",
        ["genome/g.fa.gz", "test/f.bedpe.gz"],
        "chrI\t60\nchrM\t105\nchrI\t0\t1\t2\nchrI\t9\t10\t2\nchrI\t29\t30\t1\nchrI\t59\t60\t1\nchrM\t3\t4\t2\n",
    ),
    "peaks/P.bed.gz": (
        "rows_without chr7 chr16",
        ["peaks (1)/P_CX.bed"],
        "chr1\t5\t6\tb\t0\t.\nchr17\t2\t3\td\t1\t.\n",
    ),
}


def derived(name: str, recipe: str, sources: list[str], text: str) -> DerivedFile:
    data = text.encode()
    return DerivedFile(
        "yeast", name, len(data), hashlib.sha256(data).hexdigest(), tuple(recipe.split()), tuple(sources)
    )


@pytest.fixture
def server(monkeypatch):
    listed = tuple(RemoteFile("yeast", name, 0, "", "source", "own/er", "c" * 40, name) for name in SOURCES)
    wanted = tuple(derived(name, *rest) for name, rest in MADE.items())
    monkeypatch.setattr(module, "source_files", lambda: {"yeast": listed})
    monkeypatch.setattr(module, "derived_files", lambda: {"yeast": wanted})
    monkeypatch.setattr(catalogue, "remote_files", lambda: {"yeast": ()})
    with serving() as server:
        server.content = dict(SOURCES)
        yield server


def fetch(server: Server, out: Path) -> list[str]:
    said: list[str] = []
    assert download("yeast", out, host=server.host, pause=0.01, say=said.append) == out / "yeast"
    return said


def assert_right(out: Path) -> None:
    folder = out / "yeast"
    for name, (_, _, text) in MADE.items():
        if name.endswith(".bw"):
            reader = pybigtools.open(str(folder / name))
            found = "".join(f"{c}\t{n}\n" for c, n in sorted(reader.chroms().items()))
            found += "".join(f"{c}\t{a}\t{b}\t{v:g}\n" for c in ("chrI", "chrM") for a, b, v in reader.records(c))
        else:
            data = (folder / name).read_bytes()
            found = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
        assert found == text, name
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == set(MADE)


def test_a_set_is_made_of_its_sources_once(server, tmp_path):
    said = fetch(server, tmp_path)
    assert_right(tmp_path)
    assert any("making 5 files out of 3 sources" in line for line in said)
    assert sorted(path for path, _ in server.asked) == sorted(SOURCES)
    assert "0 of 5 files fetched or made" in fetch(server, tmp_path)[-1]
    assert len(server.asked) == 3


def test_only_what_is_missing_is_made_again(server, tmp_path):
    fetch(server, tmp_path)
    (tmp_path / "yeast/peaks/P.bed.gz").write_bytes(b"damaged")
    (tmp_path / "yeast/chrom.sizes").unlink()
    server.asked.clear()
    fetch(server, tmp_path)
    assert_right(tmp_path)
    assert sorted(path for path, _ in server.asked) == ["genome/g.fa.gz", "peaks (1)/P_CX.bed"]
    (tmp_path / "yeast/atac/cuts.bw").write_bytes(b"x" * 2000)
    fetch(server, tmp_path)
    assert_right(tmp_path)


@pytest.mark.parametrize("script", [["break", "no range"], ["break", "break", "503"], ["no length"], ["break", "416"]])
def test_sources_of_unknown_size_come_whole_over_bad_connections(server, tmp_path, script):
    server.script = list(script)
    fetch(server, tmp_path)
    assert_right(tmp_path)


def test_a_source_goes_on_where_an_earlier_call_stopped(server, tmp_path):
    server.script = ["", "break", *["500"] * 20]
    with pytest.raises(RunError, match="the server says 500 .*, 6 times. [0-9]+ of [0-9]+ bytes are kept"):
        fetch(server, tmp_path)
    assert not any((tmp_path / "yeast" / name).exists() for name in MADE)
    (tmp_path / "yeast/.sources/peaks (1)").mkdir()
    (tmp_path / "yeast/.sources/peaks (1)/.P_CX.bed.part").write_bytes(
        SOURCES["peaks (1)/P_CX.bed"]
    )  # whole, not renamed
    server.script, before = [], len(server.asked)
    fetch(server, tmp_path)
    assert_right(tmp_path)
    half = len(SOURCES["test/f.bedpe.gz"]) // 2
    assert server.asked[before] == ("test/f.bedpe.gz", f"bytes={half}-")
    assert "genome/g.fa.gz" not in [path for path, _ in server.asked[before:]]


def test_what_differs_is_kept_under_another_name_and_fetched_anew(server, tmp_path):
    server.content["peaks (1)/P_CX.bed"] = PEAKS.replace("chr1\t5", "chr1\t4").encode()
    with pytest.raises(
        RunError, match=r"P\.bed\.gz is not what it was: expected content of .*kept as P\.bed\.gz\.differs"
    ) as e:
        fetch(server, tmp_path)
    assert "\n" not in str(e.value)
    folder = tmp_path / "yeast"
    assert not (folder / "peaks/P.bed.gz").exists() and (folder / "chrom.sizes").exists()
    assert gzip.decompress((folder / "peaks/P.bed.gz.differs").read_bytes()).startswith(b"chr1\t4\t6")
    server.content, before = dict(SOURCES), len(server.asked)
    fetch(server, tmp_path)
    assert [path for path, _ in server.asked[before:]] == ["peaks (1)/P_CX.bed"]
    assert_right(tmp_path)


@pytest.mark.parametrize(
    ("source", "data", "text"),
    [
        (
            "genome/g.fa.gz",
            SOURCES["genome/g.fa.gz"][:-20],
            "cannot make .*g.no_VII.fa.gz out of genome/g.fa.gz: .*end",
        ),
        (
            "genome/g.fa.gz",
            b"version https://git-lfs.github.com/spec/v1\n",
            "expected a FASTA file, found no line that begins",
        ),
        ("test/f.bedpe.gz", b"chrI\t0\t61\n", r"expected fragments within chrI \(60 bases\), found one outside"),
        ("test/f.bedpe.gz", b"chr1\t0\t6\n", "expected contigs of the genome, found chr1"),
        ("test/f.bedpe.gz", b"chrI\t0\n", "cannot make .*cuts.bw out of"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_sentence(server, tmp_path, source, data, text):
    server.content[source] = data
    with pytest.raises(RunError, match=text) as e:
        fetch(server, tmp_path)
    assert "\n" not in str(e.value)
    server.content = dict(SOURCES)
    fetch(server, tmp_path)
    assert_right(tmp_path)


def test_a_full_disk_while_making_is_one_sentence(tmp_path):
    code = f"""
        import resource, sys
        from pathlib import Path
        from dragon_jax.data.derive import make
        from dragon_jax.data.derived import DerivedFile
        from dragon_jax.data import download
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        folder = Path({str(tmp_path)!r})
        file = DerivedFile("yeast", sys.argv[1], 1, "", tuple(sys.argv[2].split()), ("g", "f"))
        try:
            with download._writing(folder / file.name, "room"):
                make(file, folder / file.name, [folder / "g", folder / "f"])
        except Exception as e:
            print(type(e).__name__, e)
    """
    put(tmp_path, "g", ">chrI\n" + "A" * 50_000 + "\n")
    put(tmp_path, "f", "".join(f"chrI\t{i * 7 % 49_000}\t{i % 1000 + 49_000}\n" for i in range(20_000)))
    full, damaged = (
        "RunError the disk is full: {} needs room",
        "InputError cannot write {}: .*(damaged|broke off).*Is the disk full",  # whichever of its threads is first
    )
    for name, recipe, text in (("x.bed", "rows_without chrII", full), ("x.bw", "cut_sites chrII", damaged)):
        words = [sys.executable, "-c", textwrap.dedent(code), name, recipe]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        said = done.stdout.splitlines()[-1]  # the bigWig library may print a line of its own
        assert re.match(text.format(re.escape(str(tmp_path / name))), said), done.stdout + done.stderr
        assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "g"]


def test_making_that_fails_for_want_of_room_keeps_the_sources(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(derive, "_write", full)
    with pytest.raises(RunError, match="the disk is full: .* needs room. What was fetched is kept"):
        fetch(server, tmp_path)
    monkeypatch.undo()
    assert all((tmp_path / "yeast/.sources" / name).is_file() for name in SOURCES)


def test_a_source_that_is_not_there_is_said_at_once(server, tmp_path):
    del server.content["genome/g.fa.gz"]
    with pytest.raises(RunError, match=r"cannot fetch http\S+genome/g\.fa\.gz: the server says 404"):
        fetch(server, tmp_path)


def text_of(name: str, words: str, *sources: Path) -> str:
    return b"".join(derive.TEXT[name](words.split(), sources)).decode()


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_tables_of_variants_promoters_and_models(tmp_path):
    head = "Chrom\tPos\tRef\tAlt\tElement\tRelease\n"
    rows = [
        "2\t5\tA\tC\tX\tGRCh38\n",
        "2\t9\tA\tC\tX\tGRCh37\n",
        "2\t7\tG\t-\tX\tGRCh38\n",
        "\t\tG\tA\tX\tGRCh38\n",
        "1\t1\tT\tC\tY\tGRCh38\n",
    ]
    table = put(tmp_path, "e.tsv.gz", head + "".join(rows))
    assert text_of("elements", "X", table) == head + rows[0] + rows[2] + rows[3]
    assert text_of("reference_sequences", "X", table) == ">X chr2:5-7 (1-based, inclusive, GRCh38)\nANG\n"
    genes = [f"g{i}" for i in range(40)]
    stay = [g for g in genes if int(hashlib.md5(g.encode()).hexdigest(), 16) % 5]
    assert 20 < len(stay) < 40
    promoters = put(tmp_path, "p.tsv", "set\tsp\tgene\n" + "".join(f"test\tAt\t{g}\n" for g in genes))
    assert text_of("genes_not_0_mod_5", "", promoters) == "set\tsp\tgene\n" + "".join(f"test\tAt\t{g}\n" for g in stay)
    names = [
        "ID",
        "Protein",
        "Type",
        "Species",
        "Family",
        "Class",
        "Experiment",
        "Experiment Details",
        "Model",
        "Cite",
        "Labels",
        "Path",
    ]
    index = put(
        tmp_path,
        "db.tsv",
        "# note\n" + "\t".join(names) + "\n" + "D2\ta\tb\tc\td\te\tf\tg\th\ti\tj\tE:/k/l\nD1" + "\tx" * 11 + "\n",
    )
    assert text_of("models", "D2", index).splitlines()[1] == "D2\ta\tb\tc\td\te\tf\tg\th\tj\tl"
    with pytest.raises(ValueError, match="expected a column 'gene', found ID, Protein"):
        text_of("genes_not_0_mod_5", "", put(tmp_path, "q.tsv", "\t".join(names)))
    printed = (
        "D001 D002  D003 D004\n"
        + "1 2 3 4\n" * 4
        + "\n  D001 # x\n\n  D001 D002 D003 D004\n"
        + " 5 6 7 8\n" * 4
        + "end\n"
    )
    assert (
        text_of("printed_scores", "2", put(tmp_path, "R", printed)) == "D001\tD002\tD003\tD004\n" + "5\t6\t7\t8\n" * 4
    )
    assert text_of("first_lines", "2", put(tmp_path, "s", "a\nb\nc\n")) == "a\nb\n"
    with pytest.raises(ValueError, match="expected at least 4 lines, found 3"):
        text_of("first_lines", "4", tmp_path / "s")


def test_labels_lie_under_peaks(tmp_path):
    """Centre 50 of [0, 100) and [0, 101); peaks that only touch; overlaps of 99 and 100 bases, the latter not in two parts."""
    one = put(tmp_path, "ctcf.fa.gz", ">chr3:0-100\naC\nGT\n>chr1:5-105\nAAAA\n")
    two = put(tmp_path, "pu1.fa.gz", ">x::chr4:1000-1101(+)\nGGGG\n")
    a = put(tmp_path, "ChIPseq.K.A.conservative", "chr3\t50\t51\tx\nchr4\t1049\t1050\n")
    b = put(tmp_path, "ChIPseq.K-1.B.conservative.gz", "chr3\t0\t50\nchr3\t51\t90\nchr4\t900\t2000\nchr4\t1040\t1041\n")
    assert text_of("sequences", "chr1", one, two) == (
        "chrom\tstart\tend\tset\tsequence\nchr3\t0\t100\tctcf\taCGT\nchr4\t1000\t1101\tpu1\tGGGG\n"
    )
    assert text_of("centre_labels", "chr1", one, two, a, b) == "K|A\tK-1|B\n1\t0\n0\t1\n"
    positives = put(tmp_path, "positives_train.fa.gz", ">chr3:1000-1200\nA\n>chr8:1-201\nA\n>chr3:3000-3200\nA\n")
    negatives = put(tmp_path, "negatives_train.fa.gz", ">chr5:1000-1200\nA\n")
    peaks = put(tmp_path, "ChIPseq.K.C.x", "chr3\t900\t1100\nchr3\t3000\t3099\nchr3\t3100\t3199\nchr5\t1000\t1099\n")
    assert text_of("region_labels", "chr8", positives, negatives, peaks) == (
        "chrom\tstart\tend\tset\tC\nchr3\t1000\t1200\tpositives\t1\nchr3\t3000\t3200\tpositives\t0\nchr5\t1000\t1200\tnegatives\t0\n"
    )
    with pytest.raises(ValueError, match="expected records called chrom:start-end in pu1.fa.gz, found '>x'"):
        text_of("sequences", "", put(tmp_path, "pu1.fa.gz", ">x\nACGT\n"))


GAL4 = """chr12 289876 1000,chr2 278609 1000,chr2 278672 1000,chr4 463152 509,chr2 278591 1000,chr12 289813 922,chr13 171457 304,
chr2 278511 648,chr2 223704 138,chr10 639212 299,chr12 290032 206,chr2 222959 84,chr4 534969 65,chr7 625434 0,chr12 444761 0"""


def test_a_published_peak_file_gives_the_file_of_the_table(tmp_path):
    """All 15 rows of 04_ChExMix_Peaks/Gal4_CX.bed as published (Rossi et al. 2021, MIT), one of them on chr7."""
    text = ""
    for row in GAL4.replace("\n", "").split(","):
        chrom, start, score = row.split()
        end = int(start) + 1
        text += f"{chrom}\t{start}\t{end}\t{chrom}_{start}_{end}\t{score}\t.\n"
    (file,) = [f for f in derived_files()["yeast"] if f.name == "peaks/Gal4_CX.bed.gz"]
    assert make(file, tmp_path / "Gal4_CX.bed.gz", [put(tmp_path, "Gal4_CX.bed", text)]) is None


def test_the_table_of_made_files_is_sound():
    every = [file for listed in derived_files().values() for file in listed]
    assert len({(file.set, file.name) for file in every}) == len(every) > 300
    for name, listed in derived_files().items():
        sources = {file.name for file in source_files()[name]}
        copies = {file.name for file in remote_files()[name]}
        assert {s for file in listed for s in file.sources} - copies == sources  # each is used, none is missing
        assert not copies & {file.name for file in listed} and name in SETS
        page = catalogue_lines(name)
        assert all(any(file.url() in line for line in page) for file in source_files()[name])
    for file in every:
        assert file.recipe[0] in derive.TEXT.keys() | derive.BINARY.keys() and len(file.sha256) == 64
        assert (file.recipe[0] == "cut_sites") == file.name.endswith(".bw")
        assert (file.recipe[0] == "first_scores") == file.name.endswith(".npz")
        assert ".." not in file.name


def test_the_real_files_have_the_content_of_the_table(dragon_data):
    for name, listed in derived_files().items():
        for file in listed[:: max(1, len(listed) // 12)]:
            assert content(dragon_data(f"{name}/{file.name}")) == (file.bytes, file.sha256), file.name


def table(name: str, file: str) -> DerivedFile:
    (found,) = [f for f in derived_files()[name] if f.name == file]
    return found


def unpacked(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def test_yeast_comes_out_of_its_real_sources(dragon_data, tmp_path):
    """The sources as they must have been: what was left out is put back in between, with other rows."""
    genome = unpacked(dragon_data("yeast/sacCer3.no_chrVII_chrXVI.fa.gz"))
    cut = genome.index(">chrVIII\n")
    fasta = put(tmp_path, "g.fa", genome[:cut] + f">chrVII\n{B}\n" + genome[cut:] + f">chrXVI\n{A}\n")
    bedpe = unpacked(dragon_data("yeast/atac/yeast_500k_SRR1822137.no_chrVII_chrXVI.bedpe.gz"))
    cut = bedpe.index("chrVIII\t")
    pairs = put(tmp_path, "f.bedpe", bedpe[:cut] + "chrVII\t0\t50\n" * 3 + bedpe[cut:] + "chrXVI\t7\t50\n")
    for name, sources in {
        "sacCer3.no_chrVII_chrXVI.fa.gz": [fasta],
        "chrom.sizes": [fasta],
        "atac/yeast_500k_SRR1822137.no_chrVII_chrXVI.bedpe.gz": [pairs],
        "atac/atac_cut_sites.bw": [fasta, pairs],
    }.items():
        file = table("yeast", name)
        order = [fasta if "genome" in source else pairs for source in file.sources]
        assert sorted(order) == sorted(sources)
        assert make(file, tmp_path / name, order) is None, name


def test_multitask_labels_come_out_of_the_real_peak_files(dragon_data, tmp_path):
    """All sequences, and the columns of the six tracks whose peak files are there."""
    name = "encode_dream_multitask"
    rows = [line.split("\t") for line in unpacked(dragon_data(f"{name}/sequences_train.tsv.gz")).splitlines()[1:]]
    texts = {"ctcf": "", "pu1": ">chr1:5-105\nACGT\n>chr21:5-105\nACGT\n"}
    for kind in texts:
        texts[kind] += "".join(f">{c}:{a}-{b}\n{bases}\n" for c, a, b, s, bases in rows if s == kind)
    fasta = [put(tmp_path, f"{kind}.fa", text + ">chr2:1-101\nACGT\n") for kind, text in texts.items()]
    file = table(name, "sequences_train.tsv.gz")
    assert make(file, tmp_path / "sequences_train.tsv.gz", fasta) is None
    given = dragon_data(f"{name}/narrowPeak/ChIPseq.K562.SRF.conservative.train.no_chr2.narrowPeak.gz").parent.iterdir()
    peaks = sorted(given)
    assert len(peaks) == 6
    head, *lines = unpacked(dragon_data(f"{name}/labels_train.tsv.gz")).splitlines()
    labels = table(name, "labels_train.tsv.gz")
    assert [Path(s).name.split(".")[1:3] for s in labels.sources[2:]] == [
        column.split("|") for column in head.split("\t")
    ]
    made = [line.decode().rstrip("\n").split("\t") for line in centre_labels(labels.recipe[1:], [*fasta, *peaks])]
    places = [head.split("\t").index(column) for column in made[0]]
    assert made[1:] == [[row[i] for i in places] for row in (line.split("\t") for line in lines)]


def test_nanog_labels_come_out_of_the_real_peak_files(dragon_data):
    folder = dragon_data("nanog_h1/positives_train.fa.gz").parent
    peaks = [
        dragon_data(f"encode_dream_multitask/narrowPeak/ChIPseq.H1-hESC.{f}.conservative.train.no_chr2.narrowPeak.gz")
        for f in ("CTCF", "NANOG")
    ]
    file = table("nanog_h1", "labels_18tf_train.tsv.gz")
    assert file.sources[:2] == ("positives_train.fa.gz", "negatives_train.fa.gz")
    lines = region_labels(file.recipe[1:], [*(folder / name for name in file.sources[:2]), *peaks])
    made = [line.decode().rstrip("\n").split("\t") for line in lines]
    given = [line.split("\t") for line in unpacked(folder / file.name).splitlines()]
    places = [given[0].index(column) for column in made[0]]
    assert made == [[row[i] for i in places] for row in given]


def test_variant_promoter_and_model_files_come_out_of_real_sources(dragon_data, tmp_path):
    def same(name: str, file: str, source: Path) -> None:
        assert make(table(name, file), tmp_path / file, [source]) is None, file

    elements = unpacked(dragon_data("mpra_satmut/elements_GRCh38.tsv.gz"))
    head, first, rest = elements.split("\n", 2)
    other = first.replace("GRCh38", "GRCh37") + "\n" + first.replace("BCL11A", "PKLR-24h")
    source = put(tmp_path, "e.tsv.gz", f"{head}\n{other}\n{first}\n{rest}")
    same("mpra_satmut", "elements_GRCh38.tsv.gz", source)
    same("mpra_satmut", "reference_sequences.fa", source)
    for name in ("snv_0_19999.seq.gz", "snv_0_19999.avinput.gz"):
        same("deepbind_snv", name, put(tmp_path, name[:-3], unpacked(dragon_data(f"deepbind_snv/{name}")) + "more\n"))
    scores = "pred_0_19999/CTCF_FL_TAGCGA20NGCT_4_AJ.npz"
    with np.load(dragon_data(f"deepbind_snv/{scores}")) as found:
        np.savez(tmp_path / "s.npz", pred=np.append(found["pred"], np.float32(1)))
    same("deepbind_snv", scores, tmp_path / "s.npz")
    for name in ("CNN_test_leaf.part_a.tsv.gz", "CNN_test_proto.part_a.tsv.gz"):
        text = unpacked(dragon_data(f"plant_promoters/{name}"))
        gene = next(g for g in map(str, range(99)) if int(hashlib.md5(g.encode()).hexdigest(), 16) % 5 == 0)
        same("plant_promoters", name, put(tmp_path, "p.tsv", f"{text}test\tZm\t{gene}\tACGT\t1\n"))
    index = dragon_data("deepbind_models/models.tsv").read_text().splitlines()
    named = [line.split("\t") for line in index]
    rows = [
        [*row[:-2], "cite" if i else "Cite", row[-2], f"E:/a/{row[-1]}" if i else "Path", ""]
        for i, row in enumerate(named)
    ]
    body = "".join("\t".join(row) + "\n" for row in [*rows, ["D9"] * len(rows[0])])
    same("deepbind_models", "models.tsv", put(tmp_path, "db.tsv", "# fields\n" + body))
