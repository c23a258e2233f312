"""MEME text, versions 4 and 5: minimal motif files and what the MEME program prints."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from dragon_jax.errors import InputError, show
from dragon_jax.files import Faults, atomic_write
from dragon_jax.motifs.motif import SUM_TOLERANCE, Background, Motif, check_background
from dragon_jax.motifs.text import (
    CUT_OFF,
    Found,
    Place,
    Refused,
    Text,
    note,
    number,
    numbers,
    refuse_cut,
    renormalised,
    words,
)

_MATRIX = "letter-probability"
_AFTER_MATRIX = {"MOTIF", "Motif", "URL", "Time", "Stopped", "ALPHABET", "Background", _MATRIX, "log-odds"}
_STATISTICS = re.compile(r"\s*\bwidth\s*=\s*[0-9]+\s+sites\s*=.*$")  # the MEME program goes on so after the names
_PAIR = re.compile(r"([A-Za-z]+)=[ \t]*([^ \t]+)")
_CORE = re.compile(r'\s*([A-Za-z])(?:\s+"[^"]*")?(?:\s+[0-9A-Fa-f]{6})?\s*~\s*([A-Za-z])\b')


class _Reader:
    """Goes through the lines once and remembers what the file said so far."""

    def __init__(self, text: Text, faults: Faults):
        self.text, self.faults = text, faults
        self.at = 0
        self.found: list[Found] = []
        self.background: np.ndarray | None = None
        self.rna = False
        self.name: Place | None = None  # a motif whose matrix has not come yet
        self.alt_name = ""
        self.done: Place | None = None  # the motif whose matrix came last

    def read(self) -> list[Found]:
        lines = self.text.lines
        while self.at < len(lines):
            tokens = words(lines[self.at])
            line = self.at + 1
            self.at += 1
            if not tokens:
                continue
            if tokens[0] == "MOTIF":
                self._unfinished()
                self._name(lines[line - 1], tokens, line)
            elif tokens[:2] == ["MEME", "version"]:
                self._version(tokens, line)
            elif tokens[0].startswith("ALPHABET"):
                self._alphabet(lines[line - 1], line)
            elif tokens[0] == "Background" and tokens[1:2] == ["letter"]:
                self._background(line)
            elif tokens[0] == "log-odds" and tokens[1:2] == ["matrix:"]:
                self._rows()
            elif tokens[0] == _MATRIX:
                try:
                    self._matrix(lines[line - 1], line)
                except Refused as e:
                    note(self.faults, e)
                self.done, self.name = self.name, None
        self._unfinished()
        return self.found

    def _unfinished(self) -> None:
        if self.name is not None:
            said = "expected a letter-probability matrix below the name, found none"
            note(self.faults, Refused(self.name, said, CUT_OFF))
        self.name = self.done = None

    def _name(self, raw: str, tokens: list[str], line: int) -> None:
        if len(tokens) < 2:
            raise InputError(
                f"motif without a name in {self.text.name}, line {line}: expected 'MOTIF name', found 'MOTIF'. "
                "Name the motif"
            )
        rest = raw.split("MOTIF", 1)[1].strip(" \t")
        self.name = Place("motif", tokens[1], self.text.name, line)
        self.alt_name = _STATISTICS.sub("", rest[len(tokens[1]) :]).strip(" \t")

    def _version(self, tokens: list[str], line: int) -> None:
        found = tokens[2] if len(tokens) > 2 else "nothing"
        if not re.fullmatch(r"[45](\.[0-9.]+)?\S*", found):
            raise InputError(
                f"{self.text.name}, line {line}: expected MEME version 4 or 5, found '{show(found)}'. "
                "Convert it with a newer MEME suite"
            )

    def _alphabet(self, raw: str, line: int) -> None:
        if "=" in raw:
            letters = raw.split("=", 1)[1].strip(" \t")
        else:  # a definition, symbol by symbol: the core symbols come in pairs of complements
            pairs = []
            while self.at < len(self.text.lines):
                row = self.text.lines[self.at]
                self.at += 1
                if words(row)[:2] == ["END", "ALPHABET"]:
                    break
                if match := _CORE.match(row):
                    pairs += match.groups()
            letters = "".join(sorted(pairs)) or raw.strip(" \t")
        if letters.upper() not in ("ACGT", "ACGU"):
            raise InputError(
                f"{self.text.name}, line {line}: expected ALPHABET= ACGT, found '{show(letters)}'. "
                "Protein motifs are not supported"
            )
        self.rna = letters.upper() == "ACGU"

    def _background(self, line: int) -> None:
        tokens: list[str] = []
        while len(tokens) < 8 and self.at < len(self.text.lines):
            row = words(self.text.lines[self.at])
            if row and row[0] in _AFTER_MATRIX:
                break
            tokens += row
            self.at += 1
        letters = "".join(tokens[0:8:2]).upper().replace("U", "T")
        try:
            if letters != "ACGT" or len(tokens) != 8:
                raise ValueError
            self.background = check_background([float(t) for t in tokens[1::2]])
        except ValueError as e:  # InputError is one
            raise InputError(
                f"background in {self.text.name}, line {line}: expected 'A 0.3 C 0.2 G 0.2 T 0.3', numbers above 0 that "
                f"sum to 1, found '{show(' '.join(tokens))}'. Correct or remove it"
            ) from e

    def _rows(self) -> list[tuple[int, list[str]]]:
        """Takes the lines of a matrix, up to a blank line or the next keyword."""
        rows = []
        while self.at < len(self.text.lines):
            tokens = words(self.text.lines[self.at])
            if not tokens or tokens[0] in _AFTER_MATRIX or tokens[0].startswith(("---", "***")):
                break
            rows.append((self.at + 1, tokens))
            self.at += 1
        return rows

    def _matrix(self, header: str, line: int) -> None:
        rows = self._rows()
        if self.name is None:
            where = f", a second one for motif '{show(self.done.name)}'" if self.done else ""
            raise InputError(
                f"matrix without a name in {self.text.name}, line {line}{where}: expected 'MOTIF name' above it. "
                "Name the motif"
            )
        place = self.name.at(line)
        stated = dict(_PAIR.findall(header))
        if stated.get("alength", "4") != "4":
            said = f"expected alength= 4, found {show(stated['alength'])}"
            raise Refused(place, said, "Protein motifs are not supported")
        if not re.fullmatch(r"[0-9]{1,9}", stated.get("w", "1")):
            raise Refused(place, f"expected a whole number for w=, found '{show(stated['w'])}'", "Correct it")
        for at, row in rows:
            numbers(row, place.at(at), "probabilities")
        if not rows or int(stated.get("w", len(rows))) != len(rows):
            said = f"w= {stated['w']} but {len(rows)} rows follow" if "w" in stated else "no rows follow"
            raise Refused(place, said, CUT_OFF)
        matrix = np.array([row for _, row in rows], np.float64)
        total = matrix.sum(1)
        if (np.abs(total - 1) > SUM_TOLERANCE + 1e-9).any():
            worst = int((np.abs(total - 1) > SUM_TOLERANCE + 1e-9).argmax())
            counts = total[worst] > 1.5
            remedy = "These look like counts: use a PFM file or format=pfm" if counts else "Correct the row"
            raise Refused(place.at(rows[worst][0]), f"row sums to {total[worst]:.6}, expected 1", remedy)
        refuse_cut(self.text, place, rows[-1][0], matrix, [t for _, row in rows for t in row])
        probabilities, notes = renormalised(matrix)
        if self.rna:
            notes["U read as T"] = 1
        sites = number(stated["nsites"], place, "a number after nsites=") if "nsites" in stated else 0.0
        motif = Motif(
            self.name.name,
            probabilities,
            sites=sites or None,
            background=self.background,
            alt_name=self.alt_name,
            notes=notes,
        )
        self.found.append(Found(motif, self.name.line))


def parse_meme(text: Text, faults: Faults) -> list[Found]:
    """Reads the motifs of MEME text; log-odds blocks are passed over, motifs that cannot be read go to `faults`.

    Raises:
        InputError: another version, an alphabet that is not DNA or RNA, a background that is none, a matrix without name.
    """
    return _Reader(text, faults).read()


def write_meme(path: str | os.PathLike, motifs: Sequence[Motif], background: Background | None = None) -> None:
    """Writes motifs as MEME text, version 4, with every digit: reading it back gives the same probabilities bit for bit.

    Counts are not kept (MEME text has no place for them), the number of sites is.

    Args:
        path: the file; it appears whole or not at all.
        motifs: at least one, of different names.
        background: base frequencies; None = what the motifs say, and uniform where they say nothing.

    Raises:
        InputError: no motif, a name that MEME text cannot hold or that comes twice, or different backgrounds.
    """
    if not motifs:
        raise InputError(f"no motif to write to {show(os.fspath(path), 300)}: expected at least one")
    seen: set[str] = set()
    for motif in motifs:
        if re.search(r"[\x00-\x20\x7f]", motif.name) or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", motif.alt_name):
            raise InputError(
                f"motif '{show(motif.name)}': expected names without blanks and control characters. Rename it"
            )
        if motif.name in seen:
            raise InputError(f"motif name '{show(motif.name)}' twice: expected unique names. Rename one")
        seen.add(motif.name)
    frequencies = _shared_background(motifs) if background is None else check_background(background)
    with atomic_write(path) as file:
        file.write("MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n")
        if frequencies is not None:
            pairs = " ".join(f"{base} {float(b)!r}" for base, b in zip("ACGT", frequencies, strict=True))
            file.write(f"Background letter frequencies\n{pairs}\n\n")
        for motif in motifs:
            sites = "" if motif.sites is None else f" nsites= {f'{motif.sites!r}'.removesuffix('.0')}"
            file.write(f"MOTIF {motif.name} {motif.alt_name.strip(' ')}".rstrip(" ") + "\n")
            file.write(f"letter-probability matrix: alength= 4 w= {len(motif)}{sites}\n")
            for row in motif.probabilities.tolist():
                file.write("  ".join(map(repr, row)) + "\n")
            file.write("\n")


def _shared_background(motifs: Sequence[Motif]) -> np.ndarray | None:
    stated = [m.background for m in motifs if m.background is not None]
    if not stated:
        return None
    if len(stated) < len(motifs) or any(not np.array_equal(b, stated[0]) for b in stated):
        raise InputError(
            "the motifs state different backgrounds: expected one for the whole file. Pass background=, "
            "for example (0.25, 0.25, 0.25, 0.25)"
        )
    return stated[0]
