"""From arrays to the columns of a `Dataset`: sequences as codes or one-hot, targets, names, tasks, whatever the container."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from dragon_jax.data.containers import Container
from dragon_jax.data.dataset import Regions, Task
from dragon_jax.data.fasta_source import region_of
from dragon_jax.data.input_spec import InputKind, refuse_not_finite
from dragon_jax.data.lengths import text_array
from dragon_jax.dna import UNKNOWN, codes_of
from dragon_jax.errors import InputError, show
from dragon_jax.files import Faults, utf8

Layout = Literal["auto", "nl4", "n4l"]
_LARGEST = float(np.finfo(np.float32).max)


def read_codes(file: Container, name: str, layout: Layout) -> UInt8[np.ndarray, "N L"]:
    """Returns the sequences of an array: integer codes `[N, L]` of 0-4, or one-hot `[N, L, 4]` or `[N, 4, L]`.

    Raises:
        InputError: another shape or type, one-hot whose layout cannot be told, a position that holds no base.
    """
    where = file.where(name)
    shape, dtype = file.look(name)
    if not all(shape):
        raise InputError(f"{where}: expected sequences, found the shape {show(shape)}. Fill it")
    if len(shape) == 2 and dtype.kind in "iu":
        parts = _collected(file, name, lambda block, start: _checked_codes(block, start, where))
    elif len(shape) == 3 and 4 in shape[1:] and dtype.kind in "biuf":
        last = _last(shape, layout, where)
        parts = _collected(file, name, lambda block, start: _from_hot(block, start, last, where))
    else:
        kind = "text" if dtype.kind in "SU" else show(dtype)
        remedy = (
            "Letters are read by the sources table and fasta" if kind == "text" else "Save it in one of these forms"
        )
        raise InputError(
            f"{where}: expected integer codes [N, L] or one-hot [N, L, 4] or [N, 4, L], found {kind} of shape {show(shape)}. "
            f"{remedy}"
        )
    return np.concatenate(parts)


def _collected(file: Container, name: str, change: Callable[[np.ndarray, int], np.ndarray]) -> list[np.ndarray]:
    """What `change` makes of each block and the number of its first row; wider types do not pile up."""
    parts, start = [], 0
    for block in file.blocks(name):
        parts.append(change(block, start))
        start += len(block)
    return parts


def _last(shape: tuple[int, ...], layout: Layout, where: str) -> bool:
    """Whether the letters lie along the last axis."""
    if layout == "auto" and shape[1] == shape[2]:
        raise InputError(
            f"{where}: cannot tell positions from letters in the shape {show(shape)}: expected one axis of 4. Set "
            "data.source.layout to nl4 or n4l"
        )
    last = shape[2] == 4 if layout == "auto" else layout == "nl4"
    if shape[2 if last else 1] != 4:
        raise InputError(
            f"{where}: expected {'[N, L, 4]' if last else '[N, 4, L]'} as data.source.layout says, found the shape "
            f"{show(shape)}. Set it to auto"
        )
    return last


def _checked_codes(block: np.ndarray, start: int, where: str) -> np.ndarray:
    wrong = (block < 0) | (block > UNKNOWN)
    if wrong.any():
        row, position = np.argwhere(wrong)[0]
        raise InputError(
            f"{where}, sequence {start + row}, position {position}: expected a code of 0-4 (A C G T unknown), found "
            f"{block[row, position]}. Recode the sequences"
        )
    return block.astype(np.uint8)


def _from_hot(block: np.ndarray, start: int, last: bool, where: str) -> np.ndarray:
    hot = block if last else block.transpose(0, 2, 1)
    codes, bad = codes_of(hot)
    if bad.any():
        row, position = np.argwhere(bad)[0]
        found = ", ".join(f"{v:g}" for v in hot[row, position].astype(float))
        raise InputError(
            f"{where}, sequence {start + row}, position {position}: expected one 1 and three 0, found [{found}]. An unknown "
            "base is four 0 or four 0.25"
        )
    return codes


def read_targets(file: Container, name: str) -> Float32[np.ndarray, "N T"]:
    """Returns targets `[N]` or `[N, T]` as `[N, T]`; NaN = not measured.

    Raises:
        InputError: another shape, text or complex numbers, an infinite value or one beyond float32.
    """
    where = file.where(name)
    shape, dtype = file.look(name)
    if dtype.kind not in "biuf" or len(shape) not in (1, 2) or not all(shape):
        kind = {"c": "complex numbers", "S": "text", "U": "text"}.get(dtype.kind, show(dtype))
        raise InputError(f"{where}: expected numbers [N] or [N, T], found {kind} of shape {show(shape)}. Save them so")

    def checked(block: np.ndarray, start: int) -> np.ndarray:
        wrong = np.abs(block.astype(np.float64)) > _LARGEST
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            raise InputError(
                f"{where}, row {start + at[0]}{f', column {at[1]}' if len(at) > 1 else ''}: expected a finite number, found "
                f"{block[at]:g}. What was not measured is NaN"
            )
        return block.astype(np.float32)

    values = np.concatenate(_collected(file, name, checked))
    return values[:, None] if values.ndim == 1 else values


def read_counts(file: Container, name: str, length: int) -> Float32[np.ndarray, "N P S"]:
    """Returns counts `[N, P]` or `[N, P, S]` of the P central bases of each row; NaN = not measured.

    Args:
        length: bases of the window that is predicted; 0 = all P.

    Raises:
        InputError: another shape, counts that are negative or infinite, a window that does not lie in their middle.
    """
    where = file.where(name)
    shape, dtype = file.look(name)
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 2))
    if dtype.kind not in "biuf" or not fits or not all(shape):
        raise InputError(
            f"{where}: expected counts [N, P], or [N, P, 2] of two strands, found {show(dtype)} of shape {show(shape)}. "
            "Save them so"
        )
    if length > shape[1] or (length and (shape[1] - length) % 2):
        raise InputError(
            f"{where}: expected data.source.counts_length of at most {shape[1]} and as many bases beyond it on either side, "
            f"found {length}. Change it"
        )

    def checked(block: np.ndarray, start: int) -> np.ndarray:
        wrong = (block < 0) | (block > _LARGEST)
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            raise InputError(
                f"{where}, row {start + at[0]}, position {at[1]}: expected a count of at least 0, found {block[at]:g}. What "
                "was not measured is NaN"
            )
        return block.astype(np.float32)

    values = np.concatenate(_collected(file, name, checked))
    return values[..., None] if values.ndim == 2 else values


def read_input(file: Container, name: str, kind: InputKind, rows: int) -> Float32[np.ndarray, "N ..."]:
    """Returns an extra input: a signal `[N, L, C]` (`[N, L]` is one track) or a vector `[N, Q]` (`[N]` is one number).

    Raises:
        InputError: no such array, another number of rows or axes, text, or a value that is not finite in float32.
    """
    if not file.has(name):
        raise file.absent(name)
    where = file.where(name)
    shape, dtype = file.look(name)
    axes = (2, 3) if kind == "signal" else (1, 2)
    form = "a signal [N, L, C] or [N, L]" if kind == "signal" else "a vector [N, Q] or [N]"
    if dtype.kind not in "biuf" or len(shape) not in axes or 0 in shape[1:]:
        found = {"c": "complex numbers", "S": "text", "U": "text"}.get(dtype.kind, show(dtype))
        raise InputError(f"{where}: expected numbers, {form}, found {found} of shape {show(shape)}. Save them so")
    if shape[0] != rows:
        raise InputError(
            f"{rows:,} sequences, but {shape[0]:,} rows in {where}: expected one for each. Save them together"
        )

    def checked(block: np.ndarray, start: int) -> np.ndarray:
        with np.errstate(over="ignore"):
            values = block.astype(np.float32)
        refuse_not_finite(values, where, lambda i: f"row {start + i}")
        return values

    values = np.concatenate([np.zeros((0, *shape[1:]), np.float32), *_collected(file, name, checked)])
    return values[..., None] if values.ndim == axes[0] else values


def check_values(values: Float32[np.ndarray, "N T"], tasks: tuple[Task, ...], where: str) -> None:
    """Refuses targets that the kind of their task does not allow, such as numbers of classes in a task of 0 and 1.

    Raises:
        InputError: with row, task and value.
    """
    for column, task in enumerate(tasks):
        own = values[:, column]
        wrong = (own < 0) if task.kind == "count" else (own != 0) & (own != 1) & ~np.isnan(own)
        if task.kind == "real" or not wrong.any():
            continue
        row = int(np.argmax(wrong))
        expected = "a count of at least 0" if task.kind == "count" else "0 or 1 for a classification task"
        hint = "Give each class a column of 0 and 1, or set data.source.task_kind"
        raise InputError(
            f"{where}, row {row}, task '{show(task.name)}': expected {expected}, found {own[row]:g}. {hint}"
        )


def read_text(file: Container, name: str, count: int, noun: str) -> list[str]:
    """Returns an array of `count` texts; bytes are read as UTF-8, and what fills them up at the end is left out.

    Raises:
        InputError: numbers, another shape, bytes that are no UTF-8.
    """
    where = file.where(name)
    shape, dtype = file.look(name)
    if dtype.kind not in "SU" or shape != (count,):
        kind = "text" if dtype.kind in "SU" else show(dtype)
        raise InputError(
            f"{where}: expected {count:,} {noun} as text, found {kind} of shape {show(shape)}. Save them so"
        )
    values = file.read(name).tolist()
    return [utf8(v, f"{where}, row {i}") if isinstance(v, bytes) else v for i, v in enumerate(values)]


def read_regions(file: Container, name: str, count: int, length: int) -> Regions:
    """Returns the regions of an array of texts such as `chr1:100-200`, 0-based half-open or 1-based as `length` tells.

    Raises:
        InputError: texts that are no region, or one of another length than the sequences.
    """
    where, faults = file.where(name), Faults()
    found = [
        region_of(text, length, (f"{where}, row {i}", f"row {i}"), faults, "set data.source.regions to ''")
        for i, text in enumerate(read_text(file, name, count, "regions"))
    ]
    faults.refuse()
    start, end = (np.array([f[i] for f in found], np.int64) for i in (1, 2))
    return Regions(text_array([f[0] for f in found]), start, end)
