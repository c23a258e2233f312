"""Traces of panics stay off standard error; nothing else does."""

import os
import subprocess
import sys
import threading

import pytest

from dragon_jax.genome.quiet import without_traces

TRACE = (
    "\nthread '<unnamed>' (12) panicked at src/bbi/bbiread.rs:1311:14:\ncalled `Result::unwrap()` on an `Err` value: Bad\n"
    "stack backtrace:\n   0: __rustc::rust_begin_unwind\n             at ./x.rs:1:2\n   1: _start\n"
    "note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\n"
)
SHORT = (
    "thread 'main' panicked at src/lib.rs:1:1:\nboom\n"
    "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
)


def test_traces_go_and_the_rest_follows(capfd):
    with without_traces():
        os.write(2, b"before\n" + TRACE.encode() + b"between\n")
        with without_traces():
            os.write(2, SHORT.encode())
        os.write(2, b"after\n")
    os.write(2, TRACE.encode())
    assert capfd.readouterr().err == "before\nbetween\nafter\n" + TRACE


def test_threads_share_the_redirection(capfd):
    def work(name: str) -> None:
        for i in range(200):
            with without_traces():
                os.write(2, SHORT.encode() + f"{name}{i}\n".encode())

    before = os.fstat(2)
    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines) == sorted(f"{name}{i}" for name in "abcd" for i in range(200))


FORK = """
import os
from dragon_jax.genome.quiet import without_traces
with without_traces():
    os.write(2, b"held\\n")
    child = os.fork()
    if not child:
        os.write(2, b"child\\n")
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_a_child_of_a_fork_has_its_own_standard_error():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "child\nheld\n")


def test_a_closed_standard_error_is_let_be():
    kept = os.dup(2)
    os.close(2)
    try:
        with without_traces():
            inside = os.fstat(kept).st_ino
        with pytest.raises(OSError):
            os.fstat(2)  # closed before, and still
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert os.fstat(2).st_ino == inside
