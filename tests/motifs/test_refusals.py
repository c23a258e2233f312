"""What a motif file must not be: each refusal names file, line, what was expected and how to mend it."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.motifs.files import read_motifs, write_meme
from dragon_jax.motifs.motif import Motif
from tests.motifs import helpers

HEAD = "MEME version 4\nALPHABET= ACGT\nMOTIF CTCF\n"
MATRIX = "letter-probability matrix: alength= 4 w= 2 nsites= 20\n"
ROW = "0.25 0.25 0.25 0.25\n"
TRANSFAC = "AC M1\nP0 A C G T\n01 1 2 3 4\n02 1 2 3 4\nXX\n//\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(here, text: str | bytes, sentence: str, **options) -> None:
    (here / "m.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    before = sorted(here.iterdir())
    with pytest.raises(InputError) as e:
        read_motifs("m.txt", **options)
    assert sentence in str(e.value)
    assert "\n" not in str(e.value)
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "MEME version 5\n\nALPHABET= ACDEFGHIKLMNPQRSTVWY\n",
            "m.txt, line 3: expected ALPHABET= ACGT, found 'ACDEFGHIKLMNPQRSTVWY'. Protein motifs are not supported",
        ),
        ("MEME version 5\nALPHABET PROTEIN-LIKE\nA\nEND ALPHABET\n", "m.txt, line 2: expected ALPHABET= ACGT, found"),
        ("MEME version 3.0\n" + HEAD[15:], "m.txt, line 1: expected MEME version 4 or 5, found '3.0'. Convert it"),
        ("MEME version\n" + HEAD[15:], "m.txt, line 1: expected MEME version 4 or 5, found 'nothing'"),
        (
            HEAD + MATRIX + ROW + "0.5 0.25 0.25\n",
            "motif 'CTCF' in m.txt, line 6: expected 4 probabilities, found 3. Is the file cut off?",
        ),
        (
            HEAD + MATRIX + ROW + "0.2 0.2 0.2 0.2 0.2\n",
            "motif 'CTCF' in m.txt, line 6: expected 4 probabilities, found 5",
        ),
        (
            HEAD + MATRIX + ROW + "5 5 5 5\n",
            "motif 'CTCF' in m.txt, line 6: row sums to 20.0, expected 1. These look like counts: use a PFM file or "
            "format=pfm",
        ),
        (
            HEAD + MATRIX + "0.25 0.25 0.25 0.2\n" + ROW,
            "motif 'CTCF' in m.txt, line 5: row sums to 0.95, expected 1. Correct",
        ),
        (
            HEAD + MATRIX + ROW + "-0.5 0.5 0.5 0.5\n",
            "line 6: expected a number of 0 or more, found '-0.5', negative. Correct",
        ),
        (HEAD + MATRIX + ROW + "nan 0.5 0.5 0\n", "line 6: expected a number, found 'nan', not a number. Correct it"),
        (HEAD + MATRIX + ROW + "0,5 0.5 0 0\n", "line 6: expected a number, found '0,5', not a number"),
        (HEAD + MATRIX + ROW + "inf 0.5 0 0\n", "line 6: expected a number, found 'inf', not a number"),
        (HEAD + MATRIX + ROW + "1e999 0.5 0 0\n", "line 6: expected a number, found '1e999', not a number"),
        (HEAD + MATRIX + ROW + "0x1 0 0 0\n", "line 6: expected a number, found '0x1', not a number"),
        (HEAD + MATRIX + ROW + "٠ 1 0 0\n", "line 6: expected a number, found '٠', not a number"),
        (
            HEAD + MATRIX.replace("w= 2", "w= 19") + ROW * 12 + "\n",
            "motif 'CTCF' in m.txt, line 4: w= 19 but 12 rows follow. Is the file cut off?",
        ),
        (HEAD + MATRIX + ROW * 3, "motif 'CTCF' in m.txt, line 4: w= 2 but 3 rows follow"),
        (HEAD + MATRIX.replace(" w= 2", "") + "\n" + ROW, "motif 'CTCF' in m.txt, line 4: no rows follow"),
        (HEAD + MATRIX.replace("w= 2", "w= two") + ROW, "line 4: expected a whole number for w=, found 'two'"),
        (
            HEAD + MATRIX.replace("= 20", "= x") + ROW * 2,
            "line 4: expected a number after nsites=, found 'x', not a number",
        ),
        (
            HEAD + MATRIX.replace("= 4", "= 20") + ROW * 2,
            "line 4: expected alength= 4, found 20. Protein motifs are not",
        ),
        (
            HEAD + "URL x\n",
            "motif 'CTCF' in m.txt, line 3: expected a letter-probability matrix below the name, found none",
        ),
        (HEAD + "log-odds matrix: w= 1\n1 2 3 4\n", "expected a letter-probability matrix below the name, found none"),
        (
            HEAD + MATRIX + ROW * 2 + MATRIX + ROW * 2,
            "m.txt, line 7, a second one for motif 'CTCF': expected 'MOTIF name'",
        ),
        (
            "MEME version 4\n" + MATRIX + ROW * 2,
            "matrix without a name in m.txt, line 2: expected 'MOTIF name' above it",
        ),
        ("MEME version 4\nMOTIF\n" + MATRIX + ROW * 2, "motif without a name in m.txt, line 2: expected 'MOTIF name'"),
        ("MEME version 4\nMOTIF \n", "motif without a name in m.txt, line 2"),
        (
            HEAD + MATRIX + ROW * 2 + "MOTIF CTCF\n" + MATRIX + ROW * 2,
            "motif name 'CTCF' twice in m.txt, lines 3 and 7: expected unique names. Pass rename_duplicates=True to add _2",
        ),
        (
            HEAD.replace("MOTIF", "Background letter frequencies\nA 0.5 C 0.5 G 0.5 T 0.5\nMOTIF"),
            "background in m.txt, line 3: expected 'A 0.3 C 0.2 G 0.2 T 0.3', numbers above 0 that sum to 1, found 'A 0.5 C",
        ),
        (HEAD.replace("MOTIF", "Background letter frequencies\n\nMOTIF"), "background in m.txt, line 3: expected"),
        (
            HEAD.replace("MOTIF", "Background letter frequencies\nA x C 0.5 G 0.5 T 0\nMOTIF"),
            "background in m.txt, line 3",
        ),
        (
            "MEME version 4\nALPHABET= ACGT\n",
            "no motif in m.txt: expected a line 'MOTIF name', found 2 lines without one",
        ),
    ],
)
def test_meme(here, text, sentence):
    refused(here, text, sentence)
    refused(here, text, sentence, format="meme")
    refused(here, text.replace("\n", "\r\n"), sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            ">a\nA 1 2 3\nC 1 2 3\nG 1 2\nT 1 2 3\n",
            "matrix 'a' in m.txt, line 4: expected 3 numbers as in the first row, found 2",
        ),
        (">a\n1 2 3 4\n1 2 3\n", "matrix 'a' in m.txt, line 3: expected 4 numbers as in the first row, found 3"),
        (">a\n1 2 -3 4\n", "matrix 'a' in m.txt, line 2: expected a number of 0 or more, found '-3', negative"),
        (">a\n1 2 nan 4\n", "matrix 'a' in m.txt, line 2: expected a number, found 'nan', not a number"),
        (
            ">a\n1 2 3 4\n0 0 0 0\n",
            "matrix 'a' in m.txt, line 3: expected a count above 0 at every position, found 0 0 0 0",
        ),
        (">a\nA 1 0\nC 1 0\nG 1 0\nT 1 0\n", "matrix 'a' in m.txt, line 1: expected a count above 0 at every position"),
        (
            ">a\n" + "1 2 3 4\n" * 4,
            "matrix 'a' in m.txt, line 1: it is 4 x 4, cannot tell rows from columns. Add the letters A C G T, or pass "
            "format=jaspar",
        ),
        (
            ">a\n0.5 0.5 0 0\n0.5 0.2 0.2 0\n",
            "matrix 'a' in m.txt, line 3: position 2 sums to 0.9, expected 1 (frequencies) or",
        ),
        (">a\n1 2 3\n1 2 3\n", "matrix 'a' in m.txt, line 1: expected four rows or four columns, found 2 rows of 3"),
        (
            ">a\nA 1 2 3\nC 1 2 3\nG 1 2 3\n",
            "expected four rows named A, C, G and T, found rows named A, C, G. Is the file",
        ),
        (
            ">a\nA 1 2 3\nC 1 2 3\nG 1 2 3\nG 1 2 3\n",
            "expected four rows named A, C, G and T, found rows named A, C, G, G",
        ),
        (
            ">a\nA [1 2 3]\nC [1 2 3]\nG [1 2 3]\nT [1 2 3\n",
            "line 5: expected numbers between [ and ], found '[ 1 2 3'. Is the",
        ),
        (">a\nA []\nC []\nG []\nT []\n", "matrix 'a' in m.txt, line 2: expected numbers, found none"),
        (">a\nA C G T\n", "matrix 'a' in m.txt, line 1: expected rows of numbers below the letters, found none"),
        (">a\nA C G T\n1 2 3\n", "matrix 'a' in m.txt, line 3: expected 4 numbers as there are letters, found 3"),
        (">a\n>b\n1 2 3 4\n", "matrix 'a' in m.txt, line 1: expected rows of numbers below the header, found none"),
        (">\n1 2 3 4\n", "header without a name in m.txt, line 1: expected '>name', found '>'. Name the matrix"),
        (
            ">a\n1 2 3 4\n>a\n1 2 3 4\n",
            "motif name 'a' twice in m.txt, lines 1 and 3: expected unique names. Pass rename",
        ),
        (">a\nMKLV\n", "expected a number, found 'MKLV', not a number"),
        (
            ">a\n1 2 3\n1 2 3\n>b\n1 2 3 x\n>c\n1 2 3 4\n>d\n0 0 0 0\n",
            "matrix 'a' in m.txt, line 1: expected four rows or four columns, found 2 rows of 3; also line 5, line 9. Is",
        ),
        (
            "".join(f">m{i}\n1 2 3 x\n" for i in range(1209)),
            "also line 4, line 6, line 8, line 10, ... and 1,204 more. Correct it",
        ),
    ],
)
def test_matrices(here, text, sentence):
    refused(here, text, sentence)
    refused(here, text, sentence, format="pfm")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            ">a\nA 1 0 0 0\nN 0.5 0.5 0\n",
            "matrix 'a' in m.txt, line 3: expected 4 numbers after the consensus letter, found 3",
        ),
        (">a\nA 1 0 0 0\nE 1 0 0 0\n", "line 3: expected a consensus letter and 4 numbers, found 'E 1 0 0 0'. Other"),
        (">a\n1 0 0 0\n", "line 2: expected a consensus letter and 4 numbers, found '1 0 0 0'"),
        (">a\nA 0.9 0 0 0\n", "line 2: position 1 sums to 0.9, expected 1 (frequencies) or counts"),
        (">a\nA 1 0 0 -0.1\n", "line 2: expected a number of 0 or more, found '-0.1', negative"),
    ],
)
def test_encode(here, text, sentence):
    refused(here, text, sentence, format="encode")


def test_explicit_orientation(here):
    refused(here, ">a\n" + "1 2 3 4\n" * 5, "line 1: expected four rows A C G T, found 5 rows of 4", format="jaspar")
    refused(here, ">a\n" + "1 2 3 4 5\n" * 4, "expected four numbers in each row, found 4 rows of 5", format="pcm")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            TRANSFAC.replace("A C G T", "A C G E"),
            "matrix 'M1' in m.txt, line 2: expected the letters A C G T, found 'A C G E'",
        ),
        (TRANSFAC.replace("02 1 2 3 4", "02 1 2 3"), "matrix 'M1' in m.txt, line 4: expected 4 numbers, found 3"),
        (TRANSFAC.replace("02 1 2 3 4", "02 1 2 3 -4"), "line 4: expected a number of 0 or more, found '-4', negative"),
        (TRANSFAC.replace("02 1 2 3 4", "02 1 2 3 x"), "line 4: expected a number, found 'x', not a number"),
        (TRANSFAC.replace("02 1 2 3 4", "02 0 0 0 0"), "line 4: expected a count above 0 at every position"),
        (
            TRANSFAC.replace("02 ", "03 "),
            "matrix 'M1' in m.txt, line 4: expected position 02, found 03. Is a row missing?",
        ),
        (
            TRANSFAC.replace("//\n", ""),
            "matrix 'M1' in m.txt, line 1: expected the record to end with '//', found the end of",
        ),
        (
            TRANSFAC.replace("P0 A C G T\n", ""),
            "matrix 'M1' in m.txt, line 1: expected a line 'P0 A C G T' with rows below",
        ),
        (
            "AC M1\nP0 A C G T\nXX\n//\n",
            "matrix 'M1' in m.txt, line 2: expected rows 01, 02, ... below the letters, found",
        ),
        (
            TRANSFAC.replace("AC M1\n", ""),
            "matrix '' in m.txt, line 1: expected a line AC, ID or NA with a name, found none",
        ),
        (
            TRANSFAC * 2,
            "motif name 'M1' twice in m.txt, lines 1 and 7: expected unique names. Pass rename_duplicates=True",
        ),
        ("VV version\n//\n", "no motif in m.txt: expected a line 'AC name', found 2 lines without one"),
    ],
)
def test_transfac(here, text, sentence):
    refused(here, text, sentence)
    refused(here, text, sentence, format="transfac")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "",
            "no motif in m.txt: expected a line 'MEME version', '>name' or 'AC name', file is empty. Is it the right file?",
        ),
        ("\n \n", "no motif in m.txt: expected a line 'MEME version', '>name' or 'AC name', file is empty"),
        ("# c\n", "no motif in m.txt: expected a line 'MEME version', '>name' or 'AC name', found 1 lines without one"),
        (
            "<!DOCTYPE html>\n",
            "cannot tell the motif format of m.txt: expected a line 'MEME version 4', '>name' or 'AC name', ",
        ),
        ("1 2 3 4\n", "found '1 2 3 4'. Pass format=meme, jaspar, pfm, pcm, transfac or encode"),
        (b">caf\xe9\n1 2 3 4\n", "byte 0xe9 in m.txt, line 1: expected UTF-8 text"),
        (
            ">a\r1 2 3 4\r",
            "carriage returns without line feeds in m.txt, line 1: expected lines that end in LF or CRLF, found",
        ),
        (">a\n1 2\r3 4\n", "carriage returns without line feeds in m.txt, line 2"),
        (
            gzip.compress(helpers.pcm().encode())[:-9],
            "m.txt ends in the middle of a block: expected a complete bgzip/gzip",
        ),
        (helpers.pcm().encode("utf-16"), "m.txt is UTF-16"),
    ],
)
def test_any_file(here, text, sentence):
    refused(here, text, sentence)


def test_text_before_the_first_header(here):
    sentence = "text before the first header in m.txt, line 1: expected '>name', found '1 2 3 4'. Put a line '>name'"
    for form in ("pfm", "pcm", "jaspar", "encode"):
        refused(here, "1 2 3 4\n", sentence, format=form)


@pytest.mark.parametrize("kind", helpers.FORMATS)
def test_a_file_cut_anywhere_is_refused_or_holds_whole_motifs(here, kind):
    """Cut at every byte. A cut between two rows of a format without widths leaves a right file of another motif.

    Rows that bear no letters must be said to be bases: four numbers alone are also one position.
    """
    form = "jaspar" if kind == "pfm" else kind
    text = helpers.FORMATS[kind]().encode()
    (here / "m.txt").write_bytes(text)
    whole = {m.name: m.probabilities for m in read_motifs("m.txt")}
    accepted = 0
    for end in range(len(text)):
        (here / "cut.txt").write_bytes(text[:end])
        try:
            motifs = read_motifs("cut.txt", format=form)
        except InputError:
            continue
        accepted += 1
        for motif in motifs:
            rows = len(motif) if kind in ("pcm", "encode") else len(whole[motif.name])
            np.testing.assert_allclose(motif.probabilities, whole[motif.name][:rows], atol=1e-6)
    assert accepted < len(text) / 2


def test_a_file_cut_in_its_last_number(here):
    for text, cut in ((helpers.meme(), "\nURL http://x.org\n\n"), (helpers.encode(), "\n"), (helpers.pcm(), "\n")):
        short = text[: text.rindex(cut)][:-1]
        refused(here, short, "without a line end, and the number looks shortened. Is the file cut off? If it is whole")
    refused(here, ">a\n10 10 0 20\n0 0 20 2", "the file ends after '2' without a line end")


@pytest.mark.parametrize(
    ("motifs", "options", "sentence"),
    [
        ([], {}, "no motif to write to w.meme: expected at least one"),
        ([Motif("a b", np.eye(4))], {}, "motif 'a b': expected names without blanks and control characters. Rename it"),
        ([Motif("a\nMOTIF b", np.eye(4))], {}, "motif 'a\\nMOTIF b': expected names without blanks"),
        (
            [Motif("a", np.eye(4), alt_name="x\ny")],
            {},
            "motif 'a': expected names without blanks and control characters",
        ),
        ([Motif("a", np.eye(4))] * 2, {}, "motif name 'a' twice: expected unique names. Rename one"),
        (
            [Motif("a", np.eye(4))],
            {"background": (1.0, 1.0, 1.0, 1.0)},
            "background: expected four frequencies above 0",
        ),
        (
            [Motif("a", np.eye(4), background=np.full(4, 0.25)), Motif("b", np.eye(4))],
            {},
            "the motifs state different backgrounds: expected one for the whole file. Pass background=",
        ),
    ],
)
def test_writing(here, motifs, options, sentence):
    with pytest.raises(InputError) as e:
        write_meme("w.meme", motifs, **options)
    assert sentence in str(e.value)
    assert not list(here.iterdir())
