"""One collection of two motifs, written in every format."""

from __future__ import annotations

import numpy as np

COUNTS = {
    "M1": [[10, 20, 0, 70], [100, 0, 0, 0], [5, 5, 85, 5], [25, 25, 25, 25], [0, 0, 50, 50]],
    "M2::x": [[0, 0, 0, 8], [2, 2, 2, 2], [8, 0, 0, 0]],
}
MATRICES = {name: np.array(rows, np.float64) for name, rows in COUNTS.items()}


def meme() -> str:
    text = "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\n"
    text += "A 0.3 C 0.2 G 0.2 T 0.3\n\n"
    for name, matrix in MATRICES.items():
        rows = "\n".join(" ".join(f"{x:.6f}" for x in row) for row in matrix / matrix.sum(1, keepdims=True))
        text += f"MOTIF {name} second name\nletter-probability matrix: alength= 4 w= {len(matrix)} "
        text += f"nsites= {int(matrix[0].sum())} E= 1.2e-5\n{rows}\nURL http://x.org\n\n"
    return text


def encode() -> str:
    text = ""
    for name, matrix in MATRICES.items():
        rows = (matrix / matrix.sum(1, keepdims=True)).tolist()
        text += f">{name} second name\n" + "".join("N " + " ".join(f"{x:.6f}" for x in row) + "\n" for row in rows)
    return text


def pcm() -> str:
    return "".join(
        f">{name} second name\n" + "".join("\t".join(f"{x}.0" for x in row) + "\n" for row in rows)
        for name, rows in COUNTS.items()
    )


def jaspar(letters: str = "ACGT", brackets: bool = True) -> str:
    text = ""
    for name, matrix in MATRICES.items():
        text += f">{name}\tsecond name\n"
        for letter in letters:
            row = " ".join(f"{int(x):3d}" for x in matrix[:, "ACGT".index(letter)])
            text += f"{letter}  [{row} ]\n" if brackets else f"{letter} {row}\n"
    return text


def bare() -> str:
    """Four rows without letters."""
    return (
        "\n".join(line[1:].strip() if line[0] in "ACGT" else line for line in jaspar(brackets=False).split("\n")[:-1])
        + "\n"
    )


def transfac(letters: str = "ACGT") -> str:
    text = "VV  a version line\nXX\n//\n"
    for name, matrix in MATRICES.items():
        text += f"AC  {name}\nXX\nID  second name\nXX\nP0      {'  '.join(letters)}\n"
        for i, row in enumerate(matrix, 1):
            text += f"{i:02d}   " + "  ".join(f"{row['ACGT'.index(x)]:.1f}" for x in letters) + "   N\n"
        text += "XX\nBA   8 sites\nXX\n//\n"
    return text


FORMATS = {"meme": meme, "encode": encode, "pcm": pcm, "jaspar": jaspar, "pfm": bare, "transfac": transfac}
