"""Model files of LS-GKM (text): header, then one support vector a line. Read into a `GkmModel`, and written from one.

    svm_type c_svc          always
    kernel_type NAME        one of `gkm_kernels.KINDS`
    L, k, d                 numbers
    M, H                    weighted kernels; gamma  radial ones; norc  1 = one strand (older files lack it)
    nr_class 2, total_sv N, rho R, label 1 -1, nr_sv P Q
    SV
    COEFFICIENT SEQUENCE    coefficient already times the label, positive for the class of the first label

Sequences have their own lengths. In such a file a letter that is no base is an A to LS-GKM, and so it is here.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

import numpy as np

from dragon_jax import dna
from dragon_jax.baselines.gkm_kernels import KINDS
from dragon_jax.baselines.gkm_operator import bases
from dragon_jax.baselines.gkmsvm import GkmConfig, GkmModel
from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.files import TextFile, atomic_write, utf8

CITATION = "Lee. LS-GKM: a new gkm-SVM for large-scale datasets. Bioinformatics 32, 2196-2198 (2016), doi:10.1093/bioinformatics/btw142"
_FIELDS = {"L": "l", "k": "k", "d": "d", "M": "peak", "H": "halving", "gamma": "gamma"}
_NEEDED = ("svm_type", "kernel_type", "L", "k", "d", "total_sv", "rho", "label", "nr_sv")
_OTHERS = ("M", "H", "gamma", "norc", "nr_class")


def read_model(path: str | os.PathLike, task: str = "bound") -> GkmModel:
    """Reads a model of LS-GKM.

    Its probabilities are the logistic function of the decision value, because the file holds no calibration.

    Args:
        path: plain or gzip text. task: name of its task.

    Raises:
        InputError: not such a file, another kind of machine or kernel, or a line that does not fit the header.
    """
    with TextFile(path) as file:
        lines = enumerate(_whole_lines(file), 1)
        header = _header(lines, file.name)
        coefficients, sequences = _vectors(lines, file.name)
    config = _config(header, file.name)
    positive = sum(c > 0 for c in coefficients)
    told = [_whole(header, "total_sv", file.name), *(int(x) for x in header["nr_sv"].split())]
    if told != [len(coefficients), positive, len(coefficients) - positive]:
        raise InputError(
            f"{file.name}: expected {told[0]:,} support vectors as its header says (nr_sv {header['nr_sv']}), found "
            f"{len(coefficients):,}, {positive:,} of them positive. Was it cut off? Copy it again"
        )
    sign = 1.0 if header["label"] == "1 -1" else -1.0  # coefficients and rho speak for the class of the first label
    codes = padded_codes(sequences, known_only=True)
    one = np.ones(1)
    return GkmModel(
        config,
        (Task(task),),
        None,
        codes,
        sign * np.array(coefficients)[:, None],
        rho=one * sign * _number(header, "rho", file.name),
        slope=one,
        offset=one * 0,
        strengths=one * max(abs(c) for c in coefficients),  # C itself, where anyone is at the bound
        gap=one * np.nan,
        products=np.zeros(1, np.int64),
        violation=one * np.nan,
    )


def write_model(model: GkmModel, path: str | os.PathLike, task: str | None = None) -> None:
    """Writes one task of a model as LS-GKM reads it; what `padded` leaves out of a sequence is not written.

    Raises:
        InputError: no such task, or several and none is named.
    """
    names = [t.name for t in model.tasks]
    if task is None and len(names) > 1:
        raise InputError(f"a model file of LS-GKM holds one task: expected one of {listing(names)}, found none named")
    if task is not None and task not in names:
        raise InputError(f"no task called {task!r}{nearest(task, names)}. Tasks: {listing(names)}")
    at, c = 0 if task is None else names.index(task), model.config
    coefficients = model.coefficients[:, at]
    order = np.argsort(-np.sign(coefficients), kind="stable")
    order = order[coefficients[order] != 0]  # positives first, as LIBSVM has them
    lengths = bases(model.vectors, c.padded)
    positive = int((coefficients > 0).sum())
    head = [("svm_type", "c_svc"), ("kernel_type", c.kind), ("L", c.l), ("k", c.k), ("d", c.d)]
    if c.kernel.weighted:
        head += [("M", f"{c.peak:g}"), ("H", f"{c.halving:g}")]
    if c.kernel.radial:
        head += [("gamma", f"{c.gamma:.17g}")]
    head += [("norc", int(not c.both_strands)), ("nr_class", 2), ("total_sv", len(order))]
    head += [("rho", f"{model.rho[at]:.17g}"), ("label", "1 -1"), ("nr_sv", f"{positive} {len(order) - positive}")]
    with atomic_write(path) as out:
        out.writelines(f"{name} {value}\n" for name, value in head)
        out.write("SV\n")
        for i in order:
            letters = dna.decode(model.vectors[i, : lengths[i]]).replace("N", "A")
            out.write(f"{coefficients[i]:.17g} {letters}\n")


def padded_codes(sequences: Iterable[str | bytes], *, known_only: bool = False) -> np.ndarray:
    """Returns uint8 `[N, L]` of sequences of any lengths: codes, then unknown bases up to the longest.

    Args:
        known_only: letters that are no base become A, so that the unknown bases are the padding and nothing else.

    Raises:
        InputError: letters that are no nucleotides, or no sequence.
    """
    rows = [dna.encode(s, f"sequence {i + 1}") for i, s in enumerate(sequences)]
    if not rows:
        raise InputError("no sequences: expected at least one")
    result = np.full((len(rows), max(len(r) for r in rows)), dna.UNKNOWN, np.uint8)
    for out, row in zip(result, rows, strict=True):
        out[: len(row)] = np.where(row == dna.UNKNOWN, 0, row) if known_only else row
    return result


def _whole_lines(file: TextFile) -> Iterable[str]:
    """Yields the lines without their ends; refuses a last one that has none, as a sequence that was cut is still one."""
    for i, raw in enumerate(file, 1):
        if not raw.endswith(b"\n"):
            raise InputError(f"line {i} of {file.name}: expected a line end, found none. Was it cut off? Copy it again")
        yield utf8(raw, f"{file.name}, line {i}").strip()


def _header(lines: Iterable[tuple[int, str]], name: str) -> dict[str, str]:
    result: dict[str, str] = {}
    for number, line in lines:
        if line == "SV":
            break
        field, _, value = line.partition(" ")
        if field not in _NEEDED + _OTHERS or not value.strip() or field in result:
            raise InputError(
                f"line {number} of {name}: expected a header field of LS-GKM ({listing(_NEEDED, 20)}) or 'SV', found "
                f"'{show(line)}'. Is this a model file?"
            )
        result[field] = value.strip()
    if missing := [f for f in _NEEDED if f not in result]:
        raise InputError(f"header of {name}: expected {listing(missing, 20)}, found none. Is this a model of LS-GKM?")
    values = {
        "svm_type": ("c_svc",),
        "kernel_type": KINDS,
        "label": ("1 -1", "-1 1"),
        "nr_class": ("2",),
        "norc": ("0", "1"),
    }
    for field, expected in values.items():
        if field in result and result[field] not in expected:
            raise InputError(
                f"{field} in {name}: expected {' or '.join(expected)}, found '{show(result[field])}'. "
                "Other machines are not read"
            )
    if len(counts := result["nr_sv"].split()) != 2 or not all(c.isdigit() for c in counts):
        raise InputError(f"nr_sv in {name}: expected two whole numbers, found '{show(result['nr_sv'])}'. Copy it again")
    return result


def _vectors(lines: Iterable[tuple[int, str]], name: str) -> tuple[list[float], list[str]]:
    coefficients, sequences = [], []
    for number, line in lines:
        if not line:
            continue
        first, *rest = line.split()
        try:
            value = float(first)
        except ValueError:
            value = np.nan
        if len(rest) != 1 or not np.isfinite(value) or not value:
            raise InputError(
                f"line {number} of {name}: expected a coefficient other than 0 and a sequence, found '{show(line)}'. "
                "Copy the file again"
            )
        dna.encode(rest[0], f"line {number} of {name}")  # refuses letters that are none
        coefficients.append(value)
        sequences.append(rest[0])
    if not coefficients:
        raise InputError(f"{name}: expected support vectors below 'SV', found none. Was it cut off? Copy it again")
    return coefficients, sequences


def _number(header: dict[str, str], field: str, name: str) -> float:
    try:
        value = float(header[field])
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"{field} in {name}: expected a number, found '{show(header[field])}'. Copy the file again")
    return value


def _whole(header: dict[str, str], field: str, name: str) -> int:
    if not (header[field].isascii() and header[field].isdigit()):
        raise InputError(
            f"{field} in {name}: expected a whole number, found '{show(header[field])}'. Copy the file again"
        )
    return int(header[field])


def _config(header: dict[str, str], name: str) -> GkmConfig:
    whole = {f.name for f in dataclasses.fields(GkmConfig) if f.type == "int"}
    values = {
        ours: (_whole if ours in whole else _number)(header, theirs, name)
        for theirs, ours in _FIELDS.items()
        if theirs in header
    }
    kind = header["kernel_type"]
    needed = ("M", "H") * kind.startswith("wgkm") + ("gamma",) * kind.endswith("rbf")
    if missing := [field for field in needed if field not in header]:
        raise InputError(
            f"header of {name}: expected {listing(missing)} for kernel {kind}, found none. Copy the file again"
        )
    both = header.get("norc", "0") == "0"
    try:
        return GkmConfig(kind=header["kernel_type"], both_strands=both, **values)  # type: ignore[arg-type]
    except ValueError as e:
        raise InputError(f"{name}: {e}. Was its header changed?") from e
