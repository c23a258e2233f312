"""Panics of a library's compiled part end in a sentence of ours, and the traces that it writes on standard error do not.

A Rust library writes such a trace straight to file descriptor 2 before Python hears of it. While a call runs, the
descriptor leads to a nameless file; afterwards all that was written there follows on the real one, but for the traces.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

_TRACE = re.compile(
    rb"(?:(?:(?<=\n)|\A)\n)?thread '[^'\n]*'[^\n]* panicked at [^\n]*\n[^\n]*\n"
    rb"(?:stack backtrace:\n(?: +[^\n]*\n)*)?(?:note: [^\n]*backtrace[^\n]*\n)*"
)


def _nameless_file() -> Any:
    """A file that several descriptors append to."""
    file = tempfile.TemporaryFile(buffering=0)
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


class _Redirection:
    """Descriptor 2 of this process; calls of several threads share one redirection, so that none restores another's."""

    def __init__(self):
        self._lock, self._depth, self._kept = threading.Lock(), 0, -1
        self._file: Any = None

    def begin(self) -> None:
        with self._lock:
            if self._depth == 0:
                try:
                    self._file = self._file or _nameless_file()
                    self._kept = os.dup(2)
                    os.dup2(self._file.fileno(), 2)
                except OSError:  # no standard error, or no room: the traces may show
                    self._close()
            self._depth += 1

    def end(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth or self._kept < 0:
                return
            os.dup2(self._kept, 2)
            written = b""
            if os.fstat(self._file.fileno()).st_size:
                self._file.seek(0)
                written = _TRACE.sub(b"", self._file.read())
                self._file.truncate(0)
            self._close()
        with contextlib.suppress(OSError):
            while written:
                written = written[os.write(2, written) :]

    def forked(self) -> None:
        """In the child of a fork: no other thread lives on to restore the descriptor."""
        if self._kept >= 0:
            os.dup2(self._kept, 2)
            self._close()
        self.__init__()

    def _close(self) -> None:
        if self._kept >= 0:
            os.close(self._kept)
        self._kept = -1


_redirection = _Redirection()
os.register_at_fork(after_in_child=_redirection.forked)


@contextlib.contextmanager
def without_traces() -> Iterator[None]:
    """Keeps traces of panics off standard error while the block runs; whatever else is written there comes after it."""
    _redirection.begin()
    try:
        yield
    finally:
        _redirection.end()
