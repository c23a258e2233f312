"""Motif files: right ones read the same however they are packed, wrong ones are refused by motif and line."""

from __future__ import annotations

import gzip
import io
import multiprocessing
import re
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.motifs.files import notes_of, read_motifs, write_meme
from dragon_jax.motifs.motif import Motif
from tests.motifs import helpers

COLLECTIONS = {
    "H12CORE_meme_format.meme": 1443,
    "jaspar_2024_consensus.meme": 182,
    "JASPAR2022_vertebrates.pfm": 838,
    "JASPAR2022_fungi.pfm": 179,
    "encode_motifs.txt.gz": 2067,
    "YEASTRACT_20130918.meme": 732,
    "macisaac_yeast.v1.meme": 124,
}


def read(tmp_path, data: str | bytes, name: str = "m.txt", **options) -> list[Motif]:
    path = tmp_path / name
    raw = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return read_motifs(path, **options)


def check_expected(motifs: list[Motif], atol: float = 1e-9) -> None:
    assert [m.name for m in motifs] == list(helpers.MATRICES)
    assert {m.alt_name for m in motifs} == {"second name"}
    for motif, matrix in zip(motifs, helpers.MATRICES.values(), strict=True):
        np.testing.assert_allclose(motif.probabilities, matrix / matrix.sum(1, keepdims=True), atol=atol)
        if motif.counts is not None:
            np.testing.assert_array_equal(motif.counts, matrix)


def same(one: list[Motif], two: list[Motif]) -> bool:
    return len(one) == len(two) and all(
        (a.name, a.alt_name, a.sites) == (b.name, b.alt_name, b.sites)
        and np.array_equal(a.probabilities, b.probabilities)
        and (a.background is b.background or np.array_equal(np.asarray(a.background), np.asarray(b.background)))
        for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("kind", helpers.FORMATS)
def test_every_format_is_told_and_read_however_it_is_packed(tmp_path, kind):
    text = helpers.FORMATS[kind]()
    variants = [text, text.replace("\n", "\r\n"), text.rstrip("\n"), text.replace("\n", "\r\n")[:-1], text + "\n"]
    variants += ["\n" + text + "\n\n", "\ufeff" + text]
    first = read(tmp_path, text)
    check_expected(first, 2e-6)
    assert (first[0].counts is None) == (kind in ("meme", "encode"))
    for variant in variants:
        for name in ("m.txt", "m.txt.gz"):
            for form in ("auto", kind):
                assert same(read(tmp_path, variant, name, format=form), first)


def test_what_each_format_may_also_look_like(tmp_path):
    for text in (
        helpers.jaspar(brackets=False),
        helpers.jaspar("TGCA"),
        helpers.jaspar().replace("T ", "U "),
        helpers.jaspar(brackets=False)
        .replace("A ", "a: ")
        .replace("C ", "c: ")
        .replace("G ", "G: ")
        .replace("T ", "T:"),
        helpers.jaspar(brackets=False).replace("A ", "A |"),
        helpers.transfac("TGCA"),
        helpers.transfac().replace("P0", "PO"),
        helpers.transfac()
        .replace("01 ", "00 ")
        .replace("02 ", "01 ")
        .replace("03 ", "02 ")
        .replace("04 ", "03 ")
        .replace("05 ", "04 "),
        helpers.transfac().replace("   N\n", "\n"),
        "# a comment\n\n" + helpers.pcm().replace(">", "> "),
        helpers.pcm().replace("second name\n", "second name\nA C G T\n"),
        helpers.meme().replace("ACGT", "ACGU").replace("T 0.3", "U 0.3"),
        re.sub("(?<=[0-9]) ", "  \\t", helpers.meme()),
    ):
        check_expected(read(tmp_path, text), 2e-6)
    reordered = "\n".join(
        line if line[:1] == ">" else "\t".join(np.array(line.split())[::-1]) for line in helpers.pcm().split("\n")[:-1]
    ).replace("second name\n", "second name\nT G C A\n")
    check_expected(read(tmp_path, reordered))


def test_meme_header_parts_are_optional(tmp_path):
    text = helpers.meme()
    assert read(tmp_path, text)[0].background is not None
    np.testing.assert_allclose(read(tmp_path, text)[1].background, [0.3, 0.2, 0.2, 0.3])
    for gone in ("strands: + -\n", "ALPHABET= ACGT\n", "URL http://x.org\n", " E= 1.2e-5", " w= 5", " alength= 4"):
        assert same(read(tmp_path, text.replace(gone, "")), read(tmp_path, text))
    bare = read(tmp_path, re.sub(r"Background.*\n.*\n", "", re.sub(" nsites= [0-9]+", "", text)))
    assert [(m.background, m.sites) for m in bare] == [(None, None)] * 2
    assert [m.sites for m in read(tmp_path, text)] == [100, 8]
    split = text.replace("A 0.3 C 0.2 G 0.2 T 0.3", "A 0.3 C 0.2\n G 0.2 T 0.3")
    assert same(read(tmp_path, split), read(tmp_path, text))


def test_meme_skips_log_odds_and_the_programs_prose(tmp_path):
    log_odds = "log-odds matrix: alength= 4 w= 2 E= 0\n -40 -57 -72 77\n 1 2 3 4\n\nletter-prob"
    check_expected(read(tmp_path, helpers.meme().replace("letter-prob", log_odds)), 2e-6)
    definition = (
        'ALPHABET "DNA" DNA-LIKE\nA "Adenine" CC0000 ~ T "Thymine" 008000\nC "Cytosine" 0000CC ~ G "Guanine" FFB300\n'
        'N "Any base" = ACGT\nEND ALPHABET\n'
    )
    check_expected(read(tmp_path, helpers.meme().replace("ALPHABET= ACGT\n", definition)), 2e-6)
    program = (
        "*****\nMEME - Motif discovery tool\n*****\nMEME version 5.5.1 (Release date: x)\n\nPRIMARY SEQUENCES= a.fa\n"
        "ALPHABET= ACGT\nSequence name  Weight Length\n\nMOTIF GA MEME-1\twidth =   2  sites =   7  llr = 1  E-value = 2\n"
        "-----\n\tMotif GA MEME-1 Description\n-----\nSimplified  A  :a\n"
        "letter-probability matrix: alength= 4 w= 2 nsites= 7 E= 2.0e+0 \n 0.0 0.0 1.0 0.0 \n 1.0 0.0 0.0 0.0 \n-----\n\nTime 1 secs.\n"
    )
    (motif,) = read(tmp_path, program)
    assert (motif.name, motif.alt_name, motif.sites, motif.consensus()) == ("GA", "MEME-1", 7, "GA")


def test_rounding_is_mended_and_counted(tmp_path):
    (motif,) = read(tmp_path, ">a\nN 0.33 0.33 0.33 0.0\nA 1 0 0 0\n")
    np.testing.assert_allclose(motif.probabilities.sum(1), 1, rtol=0, atol=1e-15)
    assert motif.notes == {"rows renormalised": 1}
    assert notes_of(read(tmp_path, helpers.pcm())) == {"matrices of counts turned into probabilities": 2}
    rna = read(tmp_path, helpers.meme().replace("ACGT", "ACGU").replace("T 0.3", "U 0.3"))
    assert notes_of(rna) == {"U read as T": 2}


@pytest.mark.parametrize("kind", helpers.FORMATS)
def test_zeros_stay_zeros(tmp_path, kind):
    assert read(tmp_path, helpers.FORMATS[kind]())[0].probabilities[1].tolist() == [1, 0, 0, 0]


def test_names_are_text_from_the_first_byte(tmp_path):
    names = ["NA", "001", "1e5", "é\u00a0染色体", "x" * 5000, "a,b'\"<b>", "MOTIF"]
    for form, line in (("pcm", ">{}\n1 2 3 4\n"), ("meme", "MOTIF {}\nletter-probability matrix: w= 1\n1 0 0 0\n")):
        text = "".join(line.format(name) for name in names)
        assert [m.name for m in read(tmp_path, text)] == names
        assert [m.name for m in read(tmp_path, text, names=names[::-1], format=form)] == names[::-1]


def test_chosen_names(tmp_path):
    (motif,) = read(tmp_path, helpers.pcm(), names=["M2::x"])
    assert motif.name == "M2::x"
    with pytest.raises(
        InputError, match=r"2 of 3 motifs not in .*m.txt \(m1, Z\): expected some of its 2 names, such as M1"
    ):
        read(tmp_path, helpers.pcm(), names=["M1", "m1", "Z"])


def test_duplicate_names_are_numbered(tmp_path):
    text = ">a\n1 2 3 4\n>b\n1 2 3 4\n>a\n1 2 3 4\n>a_2\n1 2 3 4\n>a\n1 2 3 4\n"
    motifs = read(tmp_path, text, rename_duplicates=True)
    assert [m.name for m in motifs] == ["a", "b", "a_3", "a_2", "a_4"]
    assert notes_of(motifs)["duplicate names changed"] == 2


def test_standard_input(monkeypatch):
    for data in (helpers.meme().encode(), gzip.compress(helpers.pcm().encode())):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        check_expected(read_motifs("-"), 2e-6)


def random_motifs(seed: int, count: int) -> list[Motif]:
    rng = np.random.default_rng(seed)
    motifs = []
    for i in range(count):
        width = int(rng.integers(1, 30))
        p = rng.dirichlet([0.2] * 4, width)
        p[rng.random(width) < 0.2] = np.eye(4)[rng.integers(4)]
        motifs.append(
            Motif(
                f"é{i}::{rng.integers(1 << 60)}",
                p,
                sites=float(rng.integers(1, 999)) / 4,
                alt_name="two  words" * (i % 2),
            )
        )
    return motifs


@pytest.mark.parametrize("background", [None, (0.3, 0.2, 0.2, 0.3)])
def test_meme_written_and_read_is_the_same_bit_for_bit(tmp_path, background):
    motifs = random_motifs(0, 200)
    write_meme(tmp_path / "w.meme", motifs, background)
    again = read_motifs(tmp_path / "w.meme")
    assert [m.name for m in again] == [m.name for m in motifs]
    for old, new in zip(motifs, again, strict=True):
        # Rows that miss 1 by rounding in the last place stay as they are.
        np.testing.assert_array_equal(old.probabilities, new.probabilities)
        assert (old.sites, old.alt_name) == (new.sites, new.alt_name)
        assert (new.background is None) if background is None else np.array_equal(new.background, background)
    write_meme(tmp_path / "v.meme", again)
    assert (tmp_path / "v.meme").read_bytes() == (tmp_path / "w.meme").read_bytes()


@pytest.mark.parametrize("seed", range(3))
def test_random_counts_read_the_same_from_every_matrix_format(tmp_path, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    counts = {
        f"m{i}": rng.integers(0, 50, (int(rng.choice([1, 2, 3, 5, 12])), 4)) + np.eye(4, dtype=int)[0]
        for i in range(30)
    }
    monkeypatch.setattr(helpers, "COUNTS", {k: v.tolist() for k, v in counts.items()})
    monkeypatch.setattr(helpers, "MATRICES", {k: v.astype(float) for k, v in counts.items()})
    for kind in ("pcm", "jaspar", "pfm", "transfac"):
        check_expected(read(tmp_path, helpers.FORMATS[kind]()))
    for kind in ("meme", "encode"):
        check_expected(read(tmp_path, helpers.FORMATS[kind](), format=kind), 5e-6)


def test_four_by_four_is_read_where_letters_or_the_format_tell(tmp_path):
    """Read in either direction, this matrix is a motif, and not the same one."""
    rows = ["1 0 0 0", "0 0.5 0.5 0", "0 0.5 0 0.5", "0 0 0.5 0.5"]
    plain = ">m\n" + "\n".join(rows) + "\n"
    matrix = np.array([r.split() for r in rows], float)
    (by_position,) = read(tmp_path, plain, format="pcm")
    (by_base,) = read(tmp_path, plain, format="jaspar")
    np.testing.assert_array_equal(by_position.probabilities, matrix)
    np.testing.assert_array_equal(by_base.probabilities, matrix.T)
    lettered = ">m\n" + "\n".join(f"{b} {r}" for b, r in zip("ACGT", rows, strict=True)) + "\n"
    np.testing.assert_array_equal(read(tmp_path, lettered)[0].probabilities, matrix.T)
    np.testing.assert_array_equal(read(tmp_path, lettered, format="encode")[0].probabilities, matrix)
    # ENCODE text with the consensus ACGT is told by what sums to 1.
    encode = ">m\nA 1 0 0 0\nC 0 1 0 0\nG 0.4 0 0.6 0\nT 0 0 0 1\n"
    np.testing.assert_array_equal(read(tmp_path, encode)[0].probabilities[2], [0.4, 0, 0.6, 0])
    counts = ">m\nA 4 0 0 0\nC 0 4 0 0\nG 0 0 4 1\nT 0 0 0 3\n"
    np.testing.assert_array_equal(read(tmp_path, counts)[0].probabilities[3], [0, 0, 0.25, 0.75])


@pytest.mark.parametrize("kind", ["meme", "jaspar", "transfac"])
def test_biopython_reads_the_same(tmp_path, kind):
    bio = pytest.importorskip("Bio.motifs")
    text = helpers.FORMATS[kind]()
    name = {"meme": "minimal"}.get(kind, kind)
    for ours, theirs in zip(read(tmp_path, text), bio.parse(io.StringIO(text), name), strict=True):
        table = np.array([theirs.counts[base] for base in "ACGT"]).T
        np.testing.assert_allclose(ours.probabilities, table / table.sum(1, keepdims=True), atol=2e-6)


def test_biopython_reads_what_we_write(tmp_path):
    bio = pytest.importorskip("Bio.motifs")
    motifs = [Motif.from_counts(n, m) for n, m in helpers.MATRICES.items()]
    write_meme(tmp_path / "w.meme", motifs, (0.3, 0.2, 0.2, 0.3))
    with open(tmp_path / "w.meme") as file:
        theirs = bio.parse(file, "minimal")
    assert theirs.background == {"A": 0.3, "C": 0.2, "G": 0.2, "T": 0.3}
    for ours, other in zip(motifs, theirs, strict=True):
        assert other.name == ours.name
        table = np.array([other.counts[base] for base in "ACGT"]).T
        np.testing.assert_allclose(table / table.sum(1, keepdims=True), ours.probabilities, atol=1e-12)


@pytest.mark.parametrize(("name", "count"), COLLECTIONS.items())
def test_published_collections(dragon_data, tmp_path, name, count):
    motifs = read_motifs(dragon_data(f"motifs/{name}"))
    assert len(motifs) == count
    assert all((m.counts is not None) == name.endswith(".pfm") for m in motifs)
    stated = [m.background for m in motifs if m.background is not None]
    if stated:
        assert len(stated) == count
    write_meme(tmp_path / "w.meme", motifs)
    again = read_motifs(tmp_path / "w.meme")
    assert all(np.array_equal(a.probabilities, b.probabilities) for a, b in zip(motifs, again, strict=True))


def test_known_motifs_have_their_known_consensus(dragon_data):
    """CTCF, the E-box of TAL1 and GATA; where ENCODE text gives one base as the consensus letter, we find it too."""
    path = dragon_data("motifs/encode_motifs.txt.gz")
    motifs = {m.name: m.consensus() for m in read_motifs(path)}
    assert "CCACCAGGGGGC" in motifs["CTCF_known1"]
    assert "CAGCTG" in motifs["TAL1_known4"]
    assert "GATA" in motifs["GATA_known1"] or "TATC" in motifs["GATA_known1"]
    written: dict[str, str] = {}
    with gzip.open(path, "rt") as file:
        for line in file:
            if line[0] == ">":
                written[name := line[1:].split()[0]] = ""
            else:
                written[name] += line[0]
    pairs = [pair for n, text in written.items() for pair in zip(text, motifs[n], strict=True) if pair[0] in "ACGT"]
    assert len(pairs) > 10000
    assert all(a == b for a, b in pairs)


def test_four_processes_read_the_same(tmp_path):
    write_meme(tmp_path / "w.meme", random_motifs(1, 50))
    here = read_motifs(tmp_path / "w.meme")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        for there in pool.map(read_motifs, [str(tmp_path / "w.meme")] * 4):
            assert same(there, here)


@pytest.mark.parametrize("kind", ["pcm", "meme"])
def test_time_stays_linear(tmp_path, kind):
    """Ten times the motifs take about ten times as long; the last bad row is named by its line."""

    def text(n: int) -> str:
        head = "MEME version 4\n" if kind == "meme" else ""
        one = {
            "pcm": ">m{}\n" + "1 2 3 4\n" * 8,
            "meme": "MOTIF m{}\nletter-probability matrix: w= 8\n" + "0.1 0.2 0.3 0.4\n" * 8,
        }
        return head + "".join(one[kind].format(i) for i in range(n))

    taken = []
    for n in (200, 2000):
        data = text(n)
        begin = time.perf_counter()
        assert len(read(tmp_path, data)) == n
        taken.append(time.perf_counter() - begin)
    assert taken[1] < 40 * taken[0]
    data = text(2000)[:-2] + "x\n"
    with pytest.raises(
        InputError, match=rf"(motif|matrix) 'm1999' in .*m.txt, line {data.count(chr(10))}: .*found '(0\.)?x'"
    ):
        read(tmp_path, data)


def test_shuffled_motifs_read_the_same(tmp_path):
    motifs = random_motifs(2, 30)
    write_meme(tmp_path / "a.meme", motifs)
    write_meme(tmp_path / "b.meme", motifs[::-1])
    assert same(read_motifs(tmp_path / "a.meme"), read_motifs(tmp_path / "b.meme")[::-1])
