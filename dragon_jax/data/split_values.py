"""A value of a split column that nobody meant must not turn test rows into training rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dragon_jax.errors import InputError, listing, show

REST = "*"
_TRAIN = frozenset(("train", "training"))
_TYPO = 4  # letters that a known value must have before another one counts as a slip of it


def check_the_rest(
    column: str, values: np.ndarray, ids: np.ndarray, held_out: Sequence[str], train: Sequence[str]
) -> None:
    """Refuses values of a split column that are named for no split and are not plainly training rows.

    With `train` named, every other value is refused. Without, the rest trains, except: an empty cell; a value that is
    one of `held_out` but for case, blanks at its ends, or one typing slip; and, where a value `train` stands in the
    column (which shows that it holds names of splits and not, say, of cell lines), every other value.

    Args:
        column: its name, for the message.
        values, ids: text `[N]`, of each row.
        held_out: values that make valid and test.
        train: values that make train; `("*",)` switches the check off.

    Raises:
        InputError: such values, with their counts, all values of the column and the nearest one that was meant.
    """
    if tuple(train) == (REST,):
        return
    found, counts = (x.tolist() for x in np.unique(values, return_counts=True))
    named = {*train} or {v for v in found if _plain(v) in _TRAIN}
    known = [*sorted(named), *held_out]
    rest = [v for v in found if v not in known]
    strange = rest if named else [v for v in rest if not v.strip() or meant(v, held_out)]
    if not strange:
        return
    count = dict(zip(found, counts, strict=True))
    first = show(ids[np.flatnonzero(np.isin(values, strange))[0]])
    close = next((f"; did you mean {m!r}?" for v in strange if (m := meant(v, known))), ".")
    total = sum(count[v] for v in strange)
    raise InputError(
        f"column '{column}': {total:,} {'row has a value' if total == 1 else 'rows have values'} that "
        f"{'makes' if total == 1 else 'make'} no split ({listing(f'{v!r} {count[v]:,} times' for v in strange)}; first row "
        f"'{first}'): expected one of {listing(map(repr, known), 30)}, found {listing(map(repr, found), 30)}{close} Mend "
        "the cells, or name every value that is to train in data.split.train_values ('*' alone: whatever is left)"
    )


def meant(value: str, known: Iterable[str]) -> str:
    """Returns the known value that `value` is but for case, blanks at the ends or one slip of letters; else nothing.

    One slip is a letter left out, added or exchanged, or two neighbours swapped. Where digits differ nothing is a slip:
    `fold_1` and `fold_2` are two things.
    """
    plain = _plain(value)
    for other in known:
        if value != other and (plain == _plain(other) or _one_slip(plain, _plain(other))):
            return other
    return ""


def _plain(text: str) -> str:
    return text.strip().casefold()


def _one_slip(a: str, b: str) -> bool:
    """Whether `a` is the known `b` but for one slip."""
    if len(b) < _TYPO or abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    if any(c.isdigit() for c in a[:1] + b[:1]):
        return False
    if len(a) != len(b):
        return a[1:] == b if len(a) > len(b) else a == b[1:]
    return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
