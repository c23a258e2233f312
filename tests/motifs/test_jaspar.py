"""JASPAR through pyjaspar: the matrices of the published files, and a sentence where something is not there."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.motifs.files import read_motifs
from dragon_jax.motifs.jaspar import jaspar_motifs


@pytest.fixture(scope="module", autouse=True)
def _installed():
    pytest.importorskip("pyjaspar", reason="the optional extra jaspar is not installed")


def test_by_id_in_the_order_asked_for():
    ctcf, yy1 = jaspar_motifs(["MA0139.1", "MA0095"])
    assert (ctcf.name, ctcf.alt_name) == ("MA0139.1", "CTCF")
    assert (yy1.name.split(".")[0], yy1.alt_name.upper()) == ("MA0095", "YY1")
    assert int(yy1.name.split(".")[1]) >= 2  # the latest version
    assert ctcf.counts is not None
    assert ctcf.counts[0].tolist() == [87, 291, 76, 459]  # as published
    assert ctcf.consensus() == "TGGCCACCAGGGGGCGCTA"
    assert jaspar_motifs("MA0139.1")[0].name == "MA0139.1"
    older = jaspar_motifs("MA0139.1", release="JASPAR2018")[0]
    np.testing.assert_array_equal(older.counts, ctcf.counts)


def test_a_collection_equals_the_published_file(dragon_data):
    """The vertebrates of 2022, position by position (ten and more positions would show a wrong order of columns).

    The file is of the release's first days; some 70 ids were given anew later.
    """
    published = {m.name.split("_")[0]: m for m in read_motifs(dragon_data("motifs/JASPAR2022_vertebrates.pfm"))}
    ours = jaspar_motifs(collection="CORE", tax_group="vertebrates", release="JASPAR2022")
    names = [m.name for m in ours]
    assert names == sorted(names) and len(set(names)) == len(names)
    common = [m for m in ours if m.name in published]
    assert len(common) > 750
    for motif in common:
        np.testing.assert_array_equal(motif.counts, published[motif.name].counts)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "expected either matrix_ids or a collection, found neither"),
        ({"matrix_ids": ["MA0139.1"], "collection": "CORE"}, "expected either matrix_ids or a collection, found both"),
        ({"matrix_ids": ["MA0139.1"], "tax_group": "fungi"}, "tax_group goes with a collection, found matrix_ids"),
        ({"matrix_ids": []}, "0 of 0 matrix ids not in JASPAR2024"),
        (
            {"matrix_ids": ["MA0139.1", "MA0139.99", "CTCF", "MA9999'"]},
            "3 of 4 matrix ids not in JASPAR2024 (MA0139.99, CTCF, MA9999'): expected ids such as MA0139.1 or MA0139. Check",
        ),
        ({"matrix_ids": ["MA0139.1", "MA0139.1"]}, "matrix id MA0139.1 twice: expected unique ids. Remove one"),
        (
            {"collection": "CORX"},
            "collection: expected one of CORE, UNVALIDATED in JASPAR2024, found 'CORX'; did you mean CORE?",
        ),
        ({"collection": "CORE", "tax_group": "vertebrate"}, "found 'vertebrate'; did you mean vertebrates?"),
        ({"collection": "CORE", "release": "JASPAR1999"}, "release: expected one of "),
    ],
)
def test_refusals(options, sentence, capfd):
    with pytest.raises(InputError) as e:
        jaspar_motifs(**options)
    assert sentence in str(e.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyjaspar", None)
    with pytest.raises(InputError, match=r"need the package pyjaspar, which is not installed. .*dragon_jax\[jaspar\]"):
        jaspar_motifs("MA0139.1")
