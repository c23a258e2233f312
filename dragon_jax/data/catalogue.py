"""Public data sets that `dragon download` knows: where each file lies, its size and digest, its licence, whom to cite.

The files are named in `catalogue.tsv`, one a line. A file is `same`, byte for byte that of the repository at this commit,
or `gzip`: the repository has it as plain text, of which size and digest are given, and it is kept compressed, or `source`:
files of the set are made of it (see `derived.py`). Nobody wrote down size and digest of a source; what is made is checked.
"""

from __future__ import annotations

import dataclasses
import functools
import urllib.parse
from importlib.resources import files

from dragon_jax.data.derived import derived_files
from dragon_jax.errors import InputError, listing, nearest, show

HOST = "https://raw.githubusercontent.com"  # serves a file of a repository at one commit


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """One file: `bytes` and `sha256` are those of what is transferred, 0 and empty for a source."""

    set: str
    name: str
    bytes: int
    sha256: str
    kept: str
    repository: str
    commit: str
    path: str

    def url(self, host: str = HOST) -> str:
        return f"{host}/{self.repository}/{self.commit}/{urllib.parse.quote(self.path)}"


@dataclasses.dataclass(frozen=True)
class RemoteSet:
    """A data set: what it is, on what terms, how files that are no copies are made, and which configs read it."""

    about: str
    licence: str
    citation: str
    derived: str = ""
    configs: tuple[str, ...] = ()


_ALIPANAHI = "Alipanahi, Delong, Weirauch, Frey. Nat. Biotechnol. 33, 831-838 (2015), doi:10.1038/nbt.3300"
_QUANG = "Quang, Xie. Methods 166, 40-47 (2019), doi:10.1016/j.ymeth.2019.03.020"
_NO_FILE = "no licence file in the repository"

SETS: dict[str, RemoteSet] = {
    "deepbind_encode": RemoteSet(
        "ChIP-seq peaks of 7 human factors, 101 bp, with the test sets of the DeepBind paper",
        f"{_NO_FILE} (code headers BSD-3); data: ENCODE",
        _ALIPANAHI,
        configs=("deepbind_encode", "deepbind_calibrated", "encode_tf", "encode_kmer", "pwm"),
    ),
    "deepbind_models": RemoteSet(
        "parameters of 78 DeepBind models",
        "MIT (repository), BSD-3 (original program)",
        _ALIPANAHI,
        "models.tsv: rows of deepbind_db/db.tsv of kundajelab/DeepBindToKeras for these models; "
        "example.expected*.tsv: scores printed in the program's README",
    ),
    "deepbind_snv": RemoteSet(
        "20,000 promoter SNVs with DeepBind scores, human hg19, 51 bp",
        f"{_NO_FILE} (code headers BSD-3)",
        _ALIPANAHI,
        "all files: the first 20,000 SNVs of data/deepfind",
    ),
    "dream5_chipseq": RemoteSet(
        "ChIP-seq peaks of 3 mouse factors against three backgrounds, 51 and 101 bp",
        f"{_NO_FILE} (code headers BSD-3)",
        "Weirauch et al. Nat. Biotechnol. 31, 126-134 (2013), doi:10.1038/nbt.2486",
    ),
    "lsgkm_nfe2": RemoteSet(
        "gkm-SVM tutorial: NF-E2 peaks with model, predictions and explanations",
        "GPL-3.0",
        "Ghandi et al. PLoS Comput. Biol. 10, e1003711 (2014); Lee. Bioinformatics 32, 2196-2198 (2016); "
        "Shrikumar et al. Bioinformatics 35, i173-i182 (2019)",
        configs=("gkmsvm_nfe2",),
    ),
    "nanog_h1": RemoteSet(
        "NANOG peaks against other accessible regions in H1-hESC, 200 bp",
        f"{_NO_FILE} (sequences); MIT (labels)",
        "Shrikumar, Prakash, Kundaje. Bioinformatics 35, i173-i182 (2019), doi:10.1093/bioinformatics/btz322",
        "labels_18tf_train.tsv.gz: 1 where at least 100 of the 200 bp overlap a conservative H1-hESC peak of "
        "uci-cbcl/FactorNet, without chr8, chr21 and chrY",
        ("deepsea", "five_systems", "transformer"),
    ),
    "encode_dream_multitask": RemoteSet(
        "51,657 CTCF and PU.1 peak sequences against 109 ChIP-seq tracks",
        "MIT and MIT",
        _QUANG,
        "all files: sequences without chr1, chr2, chr8 and chr21; label 1 where the centre lies inside a conservative peak",
        ("encode_multitask", "naive_multitask", "deepsea", "five_systems", "transformer"),
    ),
    "yeast": RemoteSet(
        "S. cerevisiae genome, 301 ChIP-exo peak sets, ATAC-seq fragments",
        "MIT (genome, peaks), BSD-3 (ATAC)",
        "Rossi et al. Nature 592, 309-314 (2021), doi:10.1038/s41586-021-03314-8; "
        "Schep et al. Genome Res. 25, 1757-1770 (2015)",
        "all files: without chrVII and chrXVI; atac_cut_sites.bw counts fragment ends (start and end - 1)",
        ("yeast_chipexo", "yeast_atac", "bpnet_yeast", "factornet_yeast", "five_systems"),
    ),
    "mpra_satmut": RemoteSet(
        "saturation-mutagenesis MPRA of 20 human elements",
        "GPL-3.0 (repository); data GEO GSE126550",
        "Kircher et al. Nat. Commun. 10, 3583 (2019), doi:10.1038/s41467-019-11526-w",
        "elements_GRCh38.tsv.gz: the GRCh38 rows of 20 experiments; reference_sequences.fa: read off its column Ref",
    ),
    "plant_promoters": RemoteSet(
        "STARR-seq strength of plant core promoters in two systems, and their motifs",
        "none stated",
        "Jores et al. Nat. Plants 7, 842-855 (2021), doi:10.1038/s41477-021-00932-y",
        "CNN_test_*.part_a.tsv.gz: rows of CNN/CNN_test_*.tsv whose md5(gene) mod 5 is not 0",
    ),
    "ienhancer": RemoteSet(
        "enhancer benchmark, 1,484 + 1,484 sequences of 200 bp",
        "none stated",
        "Liu et al. Bioinformatics 32, 362-369 (2016), doi:10.1093/bioinformatics/btv604",
    ),
    "motifs": RemoteSet(
        "motif collections: HOCOMOCO v12, JASPAR 2022 and 2024, ENCODE, YEASTRACT, MacIsaac",
        "MIT and GPL-3.0 (repositories); JASPAR CC BY 4.0; HOCOMOCO",
        "Vorontsov et al. NAR 2024; Castro-Mondragon et al. NAR 2022; Rauluseviciute et al. NAR 2024; Kheradpour, Kellis "
        "NAR 2014; Teixeira et al. NAR 2014; MacIsaac et al. BMC Bioinformatics 2006",
        configs=("motif_grammar", "pwm", "five_systems"),
    ),
    "motif_scan_fasta": RemoteSet("peaks of CTCF and TAp73alpha, 200 bp", "MIT", "vanheeringen-lab/gimmemotifs"),
    "factornet_models": RemoteSet("two FactorNet models (Keras 1, Theano)", "MIT", _QUANG),
    "dragonn_examples": RemoteSet("DragoNN example sequences and weights of three models", "MIT", "kundajelab/dragonn"),
    "simdna_tal_gata": RemoteSet(
        "simulated sequences with known motif positions, and a model", "MIT", "kundajelab/tfmodisco"
    ),
    "hg38_chr22_region": RemoteSet("300 kb of human chr22, a small VCF and GTF", "MIT", "kipoi/kipoiseq"),
}


@functools.cache
def _files() -> dict[str, tuple[RemoteFile, ...]]:
    lines = files("dragon_jax.data").joinpath("catalogue.tsv").read_text(encoding="utf-8").splitlines()
    found: dict[str, list[RemoteFile]] = {name: [] for name in SETS}
    for line in lines[1:]:
        name, file, size, digest, *rest = line.split("\t")
        found[name].append(RemoteFile(name, file, 0 if size == "-" else int(size), digest.strip("-"), *rest))
    return {name: tuple(listed) for name, listed in found.items()}


def remote_files() -> dict[str, tuple[RemoteFile, ...]]:
    """Returns the files that are fetched as they are, by data set, in the order of `SETS`; none for sets of made files only."""
    return {name: tuple(f for f in listed if f.kept != "source") for name, listed in _files().items()}


def source_files() -> dict[str, tuple[RemoteFile, ...]]:
    """Returns the files that others are made of, by data set, in the order of `SETS`."""
    return {name: tuple(f for f in listed if f.kept == "source") for name, listed in _files().items()}


def remote_set(name: str) -> tuple[RemoteSet, tuple[RemoteFile, ...]]:
    """Returns a data set and its files.

    Raises:
        InputError: no such name.
    """
    if name not in SETS:
        close = nearest(name, list(SETS))
        raise InputError(f"no public data set called '{show(name)}': expected one of {listing(SETS, 20)}{close}")
    return SETS[name], remote_files()[name]


def catalogue_lines(name: str | None = None) -> list[str]:
    """Returns a line for each data set, or everything about one: files with size, digest and address."""
    if name is not None:
        about, listed = remote_set(name)
        lines = [f"{name}: {about.about}", f"licence: {about.licence}", f"cite: {about.citation}", _needed(name)]
        lines += [f"{f.name}  {f.bytes:,} bytes  sha256 {f.sha256}  {f.url()}" for f in listed]
        if about.derived:
            lines += [f"made: {about.derived}"]
        for f in derived_files().get(name, ()):
            lines.append(f"{f.name}  content of {f.bytes:,} bytes  sha256 {f.sha256}  {f.recipe[0]}")
        return lines + [f"source, size and digest not known: {f.url()}" for f in source_files()[name]]
    wide, lines = max(map(len, SETS)), []
    for each, about in SETS.items():
        whole = [*remote_files()[each], *derived_files().get(each, ())]
        size = f"{len(whole):>3} files {sum(f.bytes for f in whole) / 1e6:>6.1f} MB"
        lines.append(f"{each:<{wide}}  {size}  {about.about}; {about.licence}")
    lines.append(
        "'dragon download NAME' brings all files of a set into $DRAGON_DATA/NAME; sizes are those of the content."
    )
    return lines + [_needed(each) for each, about in SETS.items() if about.configs]


def _needed(name: str) -> str:
    configs = ", ".join(f"configs/{config}.py" for config in SETS[name].configs)
    return f"dragon download {name}" + (f": for {configs}" if configs else "")
