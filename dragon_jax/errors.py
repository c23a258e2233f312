"""The two ways in which work ends early, each with its exit code.

`InputError` is the user's to mend (exit code 2); `RunError` means that the run itself failed, for example on a non-finite
loss or a full disk (exit code 3). Every other exception is a bug of ours (exit code 1).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

_SHOWN = 60


class InputError(ValueError):
    """Bad input, said in one sentence: what is wrong, where, what was expected and how to mend it.

    Attributes:
        problems: the single complaints, where the sentence joins several.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()):
        super().__init__(message)
        self.problems = list(problems) or [message]


class RunError(RuntimeError):
    """A run that could not go on; the message names the last state that is safe on disk."""


def show(value: object, limit: int = _SHOWN) -> str:
    """Returns `value` as text that is safe inside one line: control characters escaped, cut after `limit` characters."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda m: repr(m.group())[1:-1], str(value))
    return text if len(text) <= limit else text[: limit - 3] + "..."


def listing(items: Iterable[object], shown: int = 5) -> str:
    """Joins the first `shown` items with commas and counts the rest: `a, b, ... and 1,204 more`."""
    rows = list(items)
    text = ", ".join(show(item) for item in rows[:shown])
    return text if len(rows) <= shown else f"{text}, ... and {len(rows) - shown:,} more"


def choose(found: str, known: Sequence[str], what: str) -> str:
    """Returns `found` where it is one of `known`, else raises InputError with the nearest of them; for arguments of configs."""
    if found not in known:
        raise InputError(f"{what}: expected {listing(known, 20)}, found '{show(found)}'{nearest(found, known)}")
    return found


def nearest(name: str, known: Sequence[str]) -> str:
    """Returns `; did you mean X?` for the known name closest to `name`, or an empty string when none is close.

    Initials count as a match (`lr` for `learning_rate`); dotted names match on their last part first, in their own section
    before others.
    """
    leaves = {k.rpartition(".")[2]: k for k in known}
    section = name.rpartition(".")[0]
    leaves |= {
        k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == section
    }  # several sections share a name
    leaf = name.rpartition(".")[2]
    initials = {"".join(p[0] for p in k.split("_") if p): k for k in leaves if "_" in k}
    found = [initials[leaf]] if leaf in initials else difflib.get_close_matches(leaf, list(leaves), n=1, cutoff=0.6)
    close = [leaves[found[0]]] if found else difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    return f"; did you mean {close[0]}?" if close else ""
