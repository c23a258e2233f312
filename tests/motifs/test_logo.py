"""Logos: the right heights, the same bytes every time, and names that cannot break the file."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.motifs.logo import COLOURS, heights, logo
from dragon_jax.motifs.motif import Motif

GATA = Motif.from_sites("GATA", ["GGATAA", "CGATAA", "CGATAT", "GGATAT"])


def pixels(path) -> np.ndarray:
    from matplotlib.image import imread

    return (imread(path)[..., :3] * 255).round().astype(int)


def share(image: np.ndarray, letter: str) -> float:
    """How much of an image has the colour of a letter."""
    colour = [int(COLOURS[letter][i : i + 2], 16) for i in (1, 3, 5)]
    return float((np.abs(image - colour).sum(-1) < 6).mean())


def test_heights():
    np.testing.assert_array_equal(heights(GATA, "probability"), GATA.probabilities)
    np.testing.assert_allclose(heights(GATA).sum(1), GATA.information())
    np.testing.assert_allclose(heights(GATA)[0], [0, 0.5, 0.5, 0])
    few = heights(Motif.from_sites("two", ["AC", "AG"]), correct=True)
    assert few.min() == 0  # never below the axis
    skewed = (0.4, 0.1, 0.1, 0.4)
    np.testing.assert_allclose(heights(GATA, background=skewed).sum(1), GATA.information(skewed))


@pytest.mark.parametrize("kind", ["information", "probability"])
@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
def test_the_same_motif_gives_the_same_bytes_whatever_the_settings(tmp_path, kind, suffix):
    logo(GATA, tmp_path / f"a{suffix}", kind)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.hashsalt": "x", "savefig.dpi": 20}):
        logo(GATA, tmp_path / f"b{suffix}", kind)
        assert matplotlib.rcParams["font.size"] == 30
    data = (tmp_path / f"a{suffix}").read_bytes()
    assert data == (tmp_path / f"b{suffix}").read_bytes()
    assert data[:5] == (b"\x89PNG\r" if suffix.lower() == ".png" else b"<?xml")
    assert len(list(tmp_path.iterdir())) == 2
    code = (
        "import sys; from dragon_jax.motifs.logo import logo; from dragon_jax.motifs.motif import Motif\n"
        "logo(Motif.from_sites('GATA', ['GGATAA', 'CGATAA', 'CGATAT', 'GGATAT']), sys.argv[1], sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / f"c{suffix}", kind], check=True)
    assert data == (tmp_path / f"c{suffix}").read_bytes()


def test_letters_stand_where_the_motif_says(tmp_path):
    """In pixels: the left half of AAAATTTT is green and only green, the right half red."""
    logo(Motif.from_sites("m", ["AAAATTTT"]), tmp_path / "m.png")
    image = pixels(tmp_path / "m.png")
    middle = round(image.shape[1] * (0.62 + 0.34 * 4) / (0.62 + 0.34 * 8 + 0.12))
    left, right = image[:, :middle], image[:, middle:]
    assert share(left, "A") > 0.15 and share(right, "T") > 0.15
    assert share(left, "T") == share(right, "A") == share(image, "C") == share(image, "G") == 0


def test_the_highest_letter_is_uppermost_and_flat_positions_are_empty(tmp_path):
    logo(Motif("m", np.array([[0.7, 0.1, 0.1, 0.1]] * 6)), tmp_path / "m.png", "probability")
    image = pixels(tmp_path / "m.png")
    green = (np.abs(image - [0x1B, 0x8A, 0x3B]).sum(-1) < 6).nonzero()[0]
    red = (np.abs(image - [0xCF, 0x2B, 0x2B]).sum(-1) < 6).nonzero()[0]
    assert green.max() < red.min()
    logo(Motif("m", np.full((6, 4), 0.25)), tmp_path / "flat.png")
    flat = pixels(tmp_path / "flat.png")
    assert all(share(flat, base) == 0 for base in "ACGT")


@pytest.mark.parametrize(
    "name",
    [
        "V$MYOD_01$ ^_\\frac{",
        "</script><b>&\"'-->",
        "染色体 é",
        "a\x00b\nc\u2028",
        "x" * 3000,
        "w w " * 300,
        "-",
        "…",
        " a",
    ],
)
@pytest.mark.parametrize("width", [1, 6, 70])
def test_any_name_and_width(tmp_path, name, width):
    motif = Motif(name, np.random.default_rng(0).dirichlet([0.5] * 4, width))
    logo(motif, tmp_path / "m.svg")
    root = ElementTree.parse(tmp_path / "m.svg").getroot()
    assert not {e.tag.rpartition("}")[2] for e in root.iter()} & {"script", "b", "text", "image"}
    inches = [float(re.sub("pt", "", root.attrib[side])) / 72 for side in ("width", "height")]
    drawn = (tmp_path / "m.svg").read_text().lower()
    assert width == 1 or all(colour in drawn for colour in COLOURS.values())
    assert 2.599 <= inches[0] <= 0.34 * 50 + 1 and inches[1] <= 2.6 * -(-width // 50)


@pytest.mark.parametrize(
    ("path", "options", "sentence"),
    [
        ("m.pdf", {}, "cannot draw m.pdf: expected a name that ends in .png or .svg"),
        ("m", {}, "cannot draw m: expected a name"),
        ("no/m.png", {}, "cannot write no/m.png: there is no folder "),
        ("m.png", {"background": (1.0, 0.0, 0.0, 0.0)}, "background: expected four frequencies above 0"),
    ],
)
def test_refusals(tmp_path, monkeypatch, path, options, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as e:
        logo(GATA, path, **options)
    assert sentence in str(e.value)
    assert not list(tmp_path.iterdir())


def test_more_refusals(tmp_path):
    with pytest.raises(InputError, match="expected a number of sites for the small-sample correction"):
        logo(Motif("m", np.eye(4)), tmp_path / "m.png", correct=True)
    with pytest.raises(InputError, match="expected 2,000 positions at most, found 2,001"):
        logo(Motif("m", np.full((2001, 4), 0.25)), tmp_path / "m.png")
    assert not list(tmp_path.iterdir())


def test_the_package_does_not_need_matplotlib_to_read_motifs():
    code = "import sys, dragon_jax.motifs.files, dragon_jax.motifs.logo; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
