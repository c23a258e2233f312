"""Sequence logos: stacks of letters whose heights are probabilities, or their share of a position's information.

Schneider and Stephens, Nucleic Acids Res. 18, 6097-6100 (1990). The same motif always gives the same bytes (with the same
matplotlib), whatever the user's matplotlib settings.
"""

from __future__ import annotations

import functools
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float64

from dragon_jax.dna import ALPHABET
from dragon_jax.errors import InputError, show
from dragon_jax.files import atomic_write
from dragon_jax.motifs.motif import Background, Motif, check_background

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["information", "probability"]
COLOURS = {"A": "#1b8a3b", "C": "#2357b5", "G": "#e59a00", "T": "#cf2b2b"}
# Inches: one position, height of the letters, margins of each row of letters, of the title and its lines.
_COLUMN, _HEIGHT, _LEFT, _RIGHT, _BELOW = 0.34, 1.5, 0.62, 0.12, 0.5
_NARROWEST, _ABOVE, _LINE, _TITLE_LETTER = 2.6, 0.12, 0.2, 0.088
_PER_ROW, _LONGEST = 50, 2000
_LETTER_WIDTH = 0.92  # of a column
_INVISIBLE = 1e-3  # of the axis


def heights(
    motif: Motif, kind: Kind = "information", *, background: Background | None = None, correct: bool = False
) -> Float64[np.ndarray, "W 4"]:
    """Returns the height of each letter: probabilities, or probabilities times the bits of the position (0 at least)."""
    if kind == "probability":
        return motif.probabilities
    if kind != "information":
        raise InputError(f"kind: expected 'information' or 'probability', found '{show(kind)}'")
    bits = np.maximum(motif.information(background, correct=correct), 0)
    return motif.probabilities * bits[:, None]


def logo(
    motif: Motif,
    path: str | os.PathLike,
    kind: Kind = "information",
    *,
    background: Background | None = None,
    correct: bool = False,
    dpi: int = 150,
) -> None:
    """Draws the logo of a motif into a file.

    Args:
        motif: of any width; beyond 50 positions it is broken into rows.
        path: ends in `.png` or `.svg`; in SVG all text is drawn as paths, so that no font is needed to show it.
        kind: `information` (bits) or `probability`.
        background: base frequencies for `information`; None = uniform.
        correct: take the small-sample correction off the information, see `Motif.information`.
        dpi: pixels per inch of a PNG.

    Raises:
        InputError: another suffix or kind, more than 2,000 positions, a correction
            without a number of sites, or a path that cannot be written.
    """
    suffix = Path(os.fspath(path)).suffix.lower()
    if suffix not in (".png", ".svg"):
        raise InputError(f"cannot draw {show(os.fspath(path), 300)}: expected a name that ends in .png or .svg")
    if len(motif) > _LONGEST:
        raise InputError(
            f"cannot draw motif '{show(motif.name)}': expected {_LONGEST:,} positions at most, found {len(motif):,}"
        )
    stacks = heights(motif, kind, background=background, correct=correct)
    top = 1.0 if kind == "probability" else float(-np.log2(check_background(background).min()))
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # what the user's own settings say must not change the file
        matplotlib.rcParams.update({"svg.hashsalt": "dragon_jax", "svg.fonttype": "path", "font.family": "DejaVu Sans"})
        figure = _figure(motif, stacks, top, "bits" if kind == "information" else "probability")
        with atomic_write(path, binary=True) as file:
            if suffix == ".png":
                figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
            else:
                figure.savefig(
                    file, format="svg", metadata={"Date": None, "Creator": None, "Title": _visible(motif.name)}
                )


def _figure(motif: Motif, stacks: np.ndarray, top: float, unit: str) -> Any:
    from matplotlib.figure import Figure

    rows = -(-len(motif) // _PER_ROW)
    per_row = -(-len(motif) // rows)
    inner = _COLUMN * per_row
    width = max(inner + _LEFT + _RIGHT, _NARROWEST)
    title = _title(_visible(motif.name), int((width - 0.2) / _TITLE_LETTER))
    height = rows * (_HEIGHT + _BELOW) + _ABOVE + _LINE * len(title)
    figure = Figure(figsize=(width, height), facecolor="white")
    for row in range(rows):
        first = row * per_row
        part = stacks[first : first + per_row]
        bottom = (rows - 1 - row) * (_HEIGHT + _BELOW) + _BELOW
        axes = figure.add_axes((_LEFT / width, bottom / height, _COLUMN * len(part) / width, _HEIGHT / height))
        draw_letters(axes, part, top)
        axes.set_xlim(0.5, len(part) + 0.5)
        axes.set_ylim(0, top)
        axes.set_xticks(range(1, len(part) + 1), [str(first + i) for i in range(1, len(part) + 1)])
        axes.tick_params(labelsize=9, length=3)
        axes.tick_params(axis="x", length=0)
        axes.set_yticks([0, 0.5, 1] if top <= 1 else range(int(top) + 1))
        axes.set_ylabel(unit, fontsize=10)
        if row == rows - 1:
            axes.set_xlabel("position", fontsize=10)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    x, y = 0.1 / width, 1 - 0.06 / height
    # Names such as V$MYOD_01 are no formulas.
    figure.text(x, y, "\n".join(title), ha="left", va="top", fontsize=10, parse_math=False)
    return figure


def draw_letters(axes: Axes, stacks: Float64[np.ndarray, "W 4"], top: float) -> None:
    """Draws stacks of letters with these heights (not negative) at x = 1 .. W, the highest letter uppermost.

    Args:
        stacks: height of A C G T at each position, in the unit of the y axis.
        top: upper end of the y axis; letters lower than a thousandth of it are left out.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    order = np.argsort(stacks, axis=1, kind="stable")
    size = np.take_along_axis(stacks, order, 1)
    bottom = np.empty_like(stacks)
    np.put_along_axis(bottom, order, size.cumsum(1) - size, 1)
    for code, letter in enumerate(ALPHABET):
        glyph = _glyph(letter)
        rows = np.flatnonzero(stacks[:, code] > _INVISIBLE * top)
        if not rows.size:
            continue
        x = (glyph.vertices[:, 0] - 0.5) * _LETTER_WIDTH + (rows + 1)[:, None]
        y = glyph.vertices[:, 1] * stacks[rows, code][:, None] + bottom[rows, code][:, None]
        outline = Outline(np.stack([x.ravel(), y.ravel()], 1), np.tile(glyph.codes, rows.size))
        axes.add_patch(PathPatch(outline, facecolor=COLOURS[letter], linewidth=0))


@functools.cache
def _font() -> Any:
    import matplotlib
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"))


@functools.cache
def _glyph(letter: str) -> Any:
    """Returns the outline of a letter, stretched to the unit square."""
    from matplotlib.path import Path as Outline
    from matplotlib.textpath import TextPath

    path = TextPath((0, 0), letter, size=1, prop=_font())
    low = path.vertices.min(0)
    return Outline((path.vertices - low) / (path.vertices.max(0) - low), path.codes)


def _visible(name: str) -> str:
    """Returns a name in which what the font cannot draw is a question mark."""
    from matplotlib.font_manager import get_font

    letters = get_font(_font().get_file()).get_charmap()
    return "".join(c if ord(c) in letters else "?" for c in show(name, 400))


def _title(name: str, columns: int) -> list[str]:
    """Breaks a name into at most two lines; what is still too long loses its middle."""
    if len(name) > 2 * columns:
        half = columns - 1
        name = f"{name[:half]}…{name[-half:]}"
    return textwrap.wrap(name, columns, break_on_hyphens=False)[:2] or [name]
