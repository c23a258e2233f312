"""Names of contigs: every style does what it says, nothing is guessed, and no two names share a contig."""

from __future__ import annotations

import gzip
import re

import pytest

from dragon_jax.errors import InputError
from dragon_jax.genome import aliases
from dragon_jax.genome.aliases import match, read_aliases

FILES = ("peaks.bed", "genome.fa")
ROMAN = ["chrI", "chrII", "chrIV", "chrIX", "chrX", "chrM"]


@pytest.mark.parametrize(
    ("names", "contigs", "how", "expected"),
    [
        (["chr2", "chr1", "chr2"], ["chr1", "chr2", "chr3"], "exact", {"chr2": "chr2", "chr1": "chr1"}),
        (["1", "chr2"], ["chr1", "chr2"], "exact", {"chr2": "chr2"}),
        (["1", "X", "KI270302.1"], ["chr1", "chrX"], "add_chr", {"1": "chr1", "X": "chrX"}),
        (["1", "chr2"], ["chr1", "chr2"], "add_chr", {"1": "chr1", "chr2": "chr2"}),
        (["chr1", "chrX", "random"], ["1", "X", "random"], "strip_chr", {"chr1": "1", "chrX": "X", "random": "random"}),
        (["chr4", "chr9", "chr10", "chrM"], ROMAN, "roman", {"chr4": "chrIV", "chr9": "chrIX", "chr10": "chrX", "chrM": "chrM"}),
        (["4", "04x", "chr02"], ROMAN, "roman", {"4": "chrIV", "chr02": "chrII"}),
        (["chr4", "4"], ["IV", "chrV"], "roman", None),
        (["chr4"], ["IV", "chrV"], "roman", {"chr4": "IV"}),
        (["chr4", "chrV"], ["chrIV", "chrV"], "roman", {"chr4": "chrIV", "chrV": "chrV"}),
        (["chrIV", "X"], ["chr4", "10"], "arabic", {"chrIV": "chr4", "X": "10"}),
        (["chrIIII", "chrV"], ["chr4", "chr5"], "arabic", {"chrV": "chr5"}),
        (["chrC", "chrI"], ["chr1", "chrC"], "arabic", {"chrC": "chrC", "chrI": "chr1"}),
        ([], ["chr1"], "roman", {}),
    ],
)  # fmt: skip
def test_styles(names, contigs, how, expected):
    if expected is None:
        with pytest.raises(InputError, match=r"found chr4, 4 for 'IV'"):
            match(names, contigs, how, where=FILES)
        return
    found = match(names, contigs, how, where=FILES)
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize("style", ["add_chr", "strip_chr", "roman", "arabic"])
@pytest.mark.parametrize("theirs", ["M", "MT", "chrM", "chrMT", "Mito", "chrmt"])
@pytest.mark.parametrize("ours", ["M", "MT", "chrM", "chrMT"])
def test_the_mitochondrion_goes_by_many_names(style, theirs, ours):
    assert match([theirs], ["chr1", ours], style, where=FILES) == {theirs: ours}
    with pytest.raises(InputError, match="no name in common"):
        match(["chrZ", "mitochondrion"], ["chr1", ours], style, where=FILES)


def test_of_two_mitochondria_only_the_literal_name_is_taken():
    """UCSC's hg19 has chrM and, later, chrMT: different sequences."""
    both = ["chr1", "chrM", "chrMT"]
    assert match(["1", "MT"], both, "add_chr", where=FILES) == {"1": "chr1", "MT": "chrMT"}
    assert match(["1", "Mito"], both, "add_chr", where=FILES) == {"1": "chr1"}


def test_exact_means_exact():
    assert match(["chr1", "MT"], ["chr1", "chrM"], "exact", where=FILES) == {"chr1": "chr1"}


def test_a_map_and_its_file_say_the_same(tmp_path):
    table = {"NC_1": "chrIV", "chr9": "chrIX", "absent": "chrVII"}
    names = ["chr9", "NC_1", "absent", "chrI", "other"]
    expected = {"chr9": "chrIX", "NC_1": "chrIV", "chrI": "chrI"}
    assert match(names, ROMAN, table, where=FILES) == expected
    text = "# in the file, in the genome\n" + "".join(f"{a}\t{b}\n" for a, b in table.items())
    for name, data in {
        "tab.tsv": text.encode(),
        "crlf.tsv": text.replace("\n", "\r\n").encode(),
        "open.tsv": text[:-1].encode(),
        "blank.tsv": (text + "\n").encode(),
        "spaces.txt": text.replace("\t", "   ").encode(),
        "bom.tsv": b"\xef\xbb\xbf" + text.encode(),
        "packed.tsv.gz": gzip.compress(text.encode()),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert match(names, ROMAN, str(tmp_path / name), where=FILES) == expected
    assert match(["a", "b"], ["b", "a"], {"a": "b", "b": "a"}, where=FILES) == {"a": "b", "b": "a"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("4 chrIV\nchr4 chrIV\n", "1 contig with more than one name in map.txt: expected one name for each, found 4, chr4 for 'chrIV'"),
        ("4 chrIV\n4 chrV\n", "name '4' twice in map.txt, lines 1 and 2: expected unique names. Remove one"),
        ("4 chrIV\n5\n", r"map.txt, line 2: expected 2 columns \(the name in the file and the name in the genome\), found '5'. Separate"),
        ("4\tchrIV\tx\n", "map.txt, line 1: expected 2 columns, found 3. Keep two"),
        ("\tchrIV\n", "map.txt, line 1: expected 2 columns"),
        ("# nothing\n\n", "no row in map.txt: expected two columns"),
        ("", "no row in map.txt"),
        ("4 chrIV\r5 chrV\r", "carriage returns without line feeds in map.txt, line 1"),
    ],
)  # fmt: skip
def test_maps_that_are_refused(tmp_path, monkeypatch, text, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "map.txt").write_bytes(text.encode())
    with pytest.raises(InputError, match=sentence):
        match(["4", "5"], ROMAN, "map.txt", where=FILES)


def test_a_mapping_with_two_names_for_one_contig_is_refused():
    with pytest.raises(
        InputError, match="1 contig with more than one name in the map of names: .* found 4, chr4 for 'chrIV'"
    ):
        match(["4"], ROMAN, {"4": "chrIV", "chr4": "chrIV"}, where=FILES)


@pytest.mark.parametrize(
    ("names", "contigs", "how", "sentence"),
    [
        (
            ["chr1", "chr2", "chrX"], ["1", "2", "X"], "exact",
            "'chr1' style names in peaks.bed (chr1, chr2, chrX), '1' style names in genome.fa (1, 2, X): no name in common. "
            "Rename one, or set data.source.contigs=strip_chr (3 of 3 names)",
        ),
        (
            ["chr4", "chr5", "chrUn"], ["chrIV", "chrV"], "exact",
            "'chr4' style names in peaks.bed (chr4, chr5, chrUn), 'chrIV' style names in genome.fa (chrIV, chrV): no name in "
            "common. Rename one, or set data.source.contigs=roman (2 of 3 names)",
        ),
        (
            ["NC_1", "NC_2", "NC_3", "NC_4"], ["chr1"], "add_chr",
            "'NC_1' style names in peaks.bed (NC_1, NC_2, NC_3, ... and 1 more), 'chr1' style names in genome.fa (chr1): no "
            "name in common under add_chr. Rename one, or set data.source.contigs=FILE, two columns: name in the file and name in "
            "the genome",
        ),
        (["chr1"], [], "exact", "'chr1' style names in peaks.bed (chr1), no contig in genome.fa: no name in common"),
        (["1"], ["chr1"], {"2": "chr1"}, "no name in common under the map of names. Rename one, or set data.source.contigs=add_chr"),
    ],
)  # fmt: skip
def test_no_name_in_common_names_both_files(names, contigs, how, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        match(names, contigs, how, where=FILES)


def test_two_names_on_one_contig_and_two_readings_are_refused():
    sentence = (
        "1 contig of genome.fa under more than one name in peaks.bed: expected one name for each, found 1, chr1 for 'chr1'. "
        "Name each contig in one way, or set data.source.contigs=FILE"
    )
    with pytest.raises(InputError, match=re.escape(sentence)):
        match(["1", "chr1"], ["chr1"], "add_chr", where=FILES)
    with pytest.raises(InputError, match="found a, chrIX for 'chrIX'"):
        match(["a", "chrIX"], ROMAN, {"a": "chrIX"}, where=FILES)
    sentence = (
        "'chrX' in peaks.bed is a contig of genome.fa and becomes another, 'chr10', under arabic: expected one reading"
    )
    with pytest.raises(InputError, match=re.escape(sentence)):
        match(["chrX"], ["chr10", "chrX"], "arabic", where=FILES)
    with pytest.raises(InputError, match="'1' in peaks.bed is a contig of genome.fa and becomes another, 'chr1'"):
        match(["1"], ["1", "chr1"], "add_chr", where=FILES)


def test_an_unknown_style_is_refused_with_the_nearest_one(tmp_path):
    with pytest.raises(InputError, match=r"expected one of exact, .* found 'strip-chr'; did you mean strip_chr\?"):
        match(["chr1"], ["1"], "strip-chr", where=FILES)
    with pytest.raises(InputError, match="no file .*absent.tsv"):
        match(["chr1"], ["1"], str(tmp_path / "absent.tsv"), where=FILES)


def test_names_survive(tmp_path):
    """NA, numbers, long and non-ASCII names are text like any other."""
    names = ["NA", "1", "1e5", "nan", "Δ-contig", "x" * 5000, "a|b;c"]
    (tmp_path / "m.tsv").write_text("".join(f"{name}\tto_{name}\n" for name in names), "utf-8")
    assert read_aliases(tmp_path / "m.tsv") == {name: f"to_{name}" for name in names}
    assert match(names, [f"chr{n}" for n in names], "add_chr", where=FILES) == {n: f"chr{n}" for n in names}


def test_roman_numerals_come_back():
    numerals = [aliases.to_roman(n) for n in range(1, 4000)]
    assert len(set(numerals)) == 3999
    assert [aliases.from_roman(text) for text in numerals] == list(range(1, 4000))
    assert numerals[:16] == "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI".split()
    assert numerals[1993] == "MCMXCIV"
    for wrong in ("", "IIII", "VX", "IC", "iv", "4", "IXI"):
        with pytest.raises(ValueError, match="expected a Roman numeral"):
            aliases.from_roman(wrong)
    for wrong in (0, 4000, -1):
        with pytest.raises(ValueError, match="expected 1 <= x <= 3999"):
            aliases.to_roman(wrong)


def test_yeast_peaks_find_their_roman_chromosomes(dragon_data):
    with gzip.open(dragon_data("yeast/peaks/Reb1_CX.bed.gz"), "rt") as file:
        names = [line.split("\t")[0] for line in file]
    sizes = [line.split()[0] for line in dragon_data("yeast/chrom.sizes").read_text().splitlines()]
    found = match(names, sizes, "roman", where=("Reb1_CX.bed.gz", "chrom.sizes"))
    assert set(found) == set(names)
    assert found["chr14"] == "chrXIV"
    with pytest.raises(InputError, match=r"no name in common\. Rename one, or set data.source.contigs=roman"):
        match(names, sizes, where=("Reb1_CX.bed.gz", "chrom.sizes"))
