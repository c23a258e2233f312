"""Names of contigs in two files: which name of one is which of the other, said by the user and never guessed.

UCSC writes chr1 and chrM, Ensembl 1 and MT; the chromosomes of yeast are chrIV, IV, chr4 or 4. Only what the caller asks
for is tried, and two names never end up on one contig.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.files import Faults, TextFile, expand, utf8

STYLES = ("exact", "add_chr", "strip_chr", "roman", "arabic")
_PREFIX = "chr"
_MITOCHONDRION = ("M", "MT", "Mito", "mt")  # UCSC, Ensembl, Ensembl's yeast, SGD; each also behind `chr`
_ROMAN = re.compile(r"(?=.)M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_VALUES = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"))
_VALUES += ((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))


def match(
    names: Iterable[str],
    contigs: Iterable[str],
    how: str | Mapping[str, str] = "exact",
    *,
    where: tuple[str, str],
    remedy: str = "",
) -> dict[str, str]:
    """Returns `{name in the file: name in the genome}` of the names that have a contig, in the order of `names`.

    Under every `how` but `exact`, a name without another contig that is itself one keeps it, and the mitochondrion
    (M, MT, Mito, mt, with or without chr) is found under the one such name that the genome has.

    Args:
        names: names of contigs in a file; repeats are looked at once.
        contigs: names of the genome.
        how: `exact`; `add_chr` (1 -> chr1); `strip_chr` (chr1 -> 1); `roman` (chr4 or 4 -> chrIV or IV, whichever the
            genome has); `arabic` (the other way); the path of a file of two columns, name in the file and name in the
            genome, separated by a tab or blanks; or such a mapping.
        where: the two files as the user named them, for messages. remedy: what else than renaming helps where they have
            no name in common and `contigs` cannot be set.

    Raises:
        InputError: no name in common; two names of the file on one contig; a name that could be two contigs; a map that
            gives two names the same contig or is no table of two columns.
    """
    asked = list(dict.fromkeys(names))
    known = dict.fromkeys(contigs)
    found = _matched(asked, known, how, where)
    if asked and not found:
        raise InputError(_nothing_in_common(asked, list(known), how, where, remedy))
    _refuse_shared(found, where)
    return found


def read_aliases(path: str | os.PathLike) -> dict[str, str]:
    """Returns the rows of a table of two columns, name in the file and name in the genome; `#` lines are skipped.

    Raises:
        InputError: another number of columns, no row, a name twice, or two names for one contig.
    """
    faults = Faults()
    result: dict[str, str] = {}
    lines: dict[str, int] = {}
    with TextFile(path) as file:
        for number, (name, contig, *more) in two_columns(
            file, faults, "the name in the file and the name in the genome"
        ):
            place = f"line {number}"
            if more:
                faults.add(
                    place, f"{file.name}, {place}: expected 2 columns, found {2 + len(more)}", "Keep two columns"
                )
            elif name in result:
                faults.add(
                    place,
                    f"name '{show(name)}' twice in {file.name}, lines {lines[name]} and {number}: expected unique names",
                    "Remove one",
                )
            else:
                result[name], lines[name] = contig, number
        faults.refuse()
        if not result:
            raise InputError(
                f"no row in {file.name}: expected two columns, the name in the file and that in the genome"
            )
        _refuse_double(result, file.name)
    return result


def two_columns(file: TextFile, faults: Faults, expected: str) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and fields, at least two, of a table without header; `#` and blank lines are passed over.

    A line with a tab is split at tabs, another one at runs of blanks. Shorter lines are noted in `faults`.
    """
    for number, raw in enumerate(file, 1):
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if b"\r" in line:
            raise InputError(
                f"carriage returns without line feeds in {file.name}, line {number}. Convert with: tr '\\r' '\\n'"
            )
        if not line.strip() or line.startswith(b"#"):
            continue
        text = utf8(line, f"{file.name}, line {number}")
        fields = [field.strip() for field in text.split("\t")] if "\t" in text else text.split()
        while fields and not fields[-1]:
            fields.pop()
        if len(fields) < 2 or not fields[0]:
            said = f"{file.name}, line {number}: expected 2 columns ({expected}), found '{show(text)}'"
            faults.add(f"line {number}", said, "Separate them by a tab")
            continue
        yield number, fields


def _matched(
    names: list[str], contigs: dict[str, None], how: str | Mapping[str, str], where: tuple[str, str]
) -> dict[str, str]:
    if how == "exact":
        return {name: name for name in names if name in contigs}
    if isinstance(how, Mapping):
        _refuse_double(how, "the map of names")
        table = how
    elif how not in STYLES:
        table = _read_named(how)
    else:
        found = {name: _under(how, name, contigs, where) for name in names}
        return {name: contig for name, contig in found.items() if contig is not None}
    given = {name: table.get(name, name) for name in names}
    return {name: contig for name, contig in given.items() if contig in contigs}


def _read_named(how: str) -> dict[str, str]:
    if not expand(how).exists() and os.sep not in how:
        raise InputError(
            f"contigs: expected one of {', '.join(STYLES)} or the path of a table of two columns, found '{show(how)}'"
            f"{nearest(how, STYLES)}"
        )
    return read_aliases(how)


def _under(style: str, name: str, contigs: Mapping[str, None], where: tuple[str, str]) -> str | None:
    """Returns the contig of a name under one style, or None."""
    stem = name.removeprefix(_PREFIX)
    if stem in _MITOCHONDRION:  # before Roman numerals, where M is a thousand
        wanted = {"add_chr": _PREFIX + stem, "strip_chr": stem}.get(style, name)
        if wanted in contigs:
            return wanted
        others = [p + m for p in (_PREFIX, "") for m in _MITOCHONDRION if p + m in contigs]
        return others[0] if len(others) == 1 else None
    prefixes = [_PREFIX, ""] if name != stem else ["", _PREFIX]  # the file's own habit first
    candidates = {
        "add_chr": [_PREFIX + name],
        "strip_chr": [stem] if stem != name else [],
        "roman": [p + to_roman(int(stem)) for p in prefixes] if re.fullmatch(r"0?[1-9][0-9]{0,2}", stem) else [],
        "arabic": [p + str(from_roman(stem)) for p in prefixes] if _ROMAN.fullmatch(stem) else [],
    }[style]
    found = next((c for c in candidates if c in contigs), None)
    if found is None:
        return name if name in contigs else None
    if name in contigs and name != found:
        raise InputError(
            f"'{show(name)}' in {where[0]} is a contig of {where[1]} and becomes another, '{show(found)}', under {style}: "
            "expected one reading. Set data.source.contigs=FILE with two columns, name in the file and name in the genome"
        )
    return found


def to_roman(number: int) -> str:
    """Returns a number of 1 to 3999 in Roman numerals."""
    if not 1 <= number <= 3999:
        raise ValueError(f"number: expected 1 <= x <= 3999, found {number}")
    text = ""
    for value, numeral in _VALUES:
        count, number = divmod(number, value)
        text += numeral * count
    return text


def from_roman(text: str) -> int:
    """Returns the number that a Roman numeral in its usual form stands for (IV, never IIII)."""
    if not _ROMAN.fullmatch(text):
        raise ValueError(f"expected a Roman numeral, found {text!r}")
    single = {numeral: value for value, numeral in _VALUES if len(numeral) == 1}
    values = [single[letter] for letter in text]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))


def _refuse_double(table: Mapping[str, str], path: str) -> None:
    double = _sharing(table)
    if double:
        contig, names = next(iter(double.items()))
        raise InputError(
            f"{_count(len(double), 'contig')} with more than one name in {path}: expected one name for each, found "
            f"{listing(names)} for '{show(contig)}'. Remove all but one"
        )


def _refuse_shared(found: Mapping[str, str], where: tuple[str, str]) -> None:
    double = _sharing(found)
    if double:
        contig, names = next(iter(double.items()))
        raise InputError(
            f"{_count(len(double), 'contig')} of {where[1]} under more than one name in {where[0]}: expected one name for "
            f"each, found {listing(names)} for '{show(contig)}'. Name each contig in one way, or set data.source.contigs=FILE"
        )


def _sharing(table: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns the values that come more than once, with their keys."""
    keys: dict[str, list[str]] = {}
    for key, value in table.items():
        keys.setdefault(value, []).append(key)
    return {value: names for value, names in keys.items() if len(names) > 1}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _nothing_in_common(
    names: list[str], contigs: list[str], how: str | Mapping[str, str], where: tuple[str, str], instead: str
) -> str:
    """The sentence on two files without a name in common, with the styles under which there would be some."""
    tried = "" if how == "exact" else f" under {how if isinstance(how, str) else 'the map of names'}"
    sides = [(names, where[0]), (contigs, where[1])]
    shown = [
        f"'{show(every[0])}' style names in {path} ({listing(every, 3)})" if every else f"no contig in {path}"
        for every, path in sides
    ]
    known = dict.fromkeys(contigs)
    help_ = []
    for style in STYLES:
        if style == how:
            continue
        try:
            found = _matched(names, known, style, where)
        except InputError:  # ambiguous under this style: no help
            continue
        if found and not _sharing(found):
            help_.append(f"{style} ({len(found):,} of {_count(len(names), 'name')})")
    remedy = " or ".join(help_) if help_ else "FILE, two columns: name in the file and name in the genome"
    return f"{shown[0]}, {shown[1]}: no name in common{tried}. Rename one, or {instead or f'set data.source.contigs={remedy}'}"
