"""`dragon download` against a server of our own that breaks off, lies, refuses and comes back."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from dragon_jax.data import catalogue
from dragon_jax.data import download as module
from dragon_jax.data.catalogue import SETS, RemoteFile, catalogue_lines, remote_files, source_files
from dragon_jax.data.derived import derived_files
from dragon_jax.data.download import download
from dragon_jax.errors import InputError, RunError

ROOT = Path(__file__).resolve().parents[2]
BINARY = np.random.default_rng(0).bytes(300_000)
TEXT = b">a b\nACGT\n" * 30_000
CONTENT = {"dir/one (1).bin": BINARY, "two.txt": TEXT}


def entry(name: str, path: str, kept: str) -> RemoteFile:
    data = CONTENT[path]
    return RemoteFile("ienhancer", name, len(data), hashlib.sha256(data).hexdigest(), kept, "own/er", "c" * 40, path)


FILES = (entry("sub/one.bin", "dir/one (1).bin", "same"), entry("two.txt.gz", "two.txt", "gzip"))


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `script` holds what goes wrong with the next answers, `asked` what was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[str] = []
        self.asked: list[tuple[str, str | None]] = []
        self.content = dict(CONTENT)
        self.released = threading.Event()

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        import urllib.parse

        path = urllib.parse.unquote(self.path).removeprefix(f"/own/er/{'c' * 40}/")
        span = self.headers.get("Range")
        self.server.asked.append((path, span))
        what = self.server.script.pop(0) if self.server.script else ""
        if what.isdigit():
            return self.send_error(int(what))
        data = self.server.content.get(path)
        if data is None:
            return self.send_error(404)
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span and what != "no range" else 0
        if start >= len(data):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if what != "no length":
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if what == "silent":
            self.wfile.write(data[start : start + 100])
            self.wfile.flush()
            self.server.released.wait(30)
            return
        if what == "break":
            data = data[: start + (len(data) - start) // 2]
        elif what == "lie":
            data = data[:start] + bytes(b ^ 1 for b in data[start:])
        self.wfile.write(data[start:])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(catalogue, "remote_files", lambda: {"ienhancer": FILES})
    with serving() as server:
        yield server


def fetch(server: Server, out: Path) -> list[str]:
    said: list[str] = []
    assert download("ienhancer", out, host=server.host, pause=0.01, say=said.append) == out / "ienhancer"
    return said


def assert_right(out: Path) -> None:
    folder = out / "ienhancer"
    assert (folder / "sub" / "one.bin").read_bytes() == BINARY
    assert gzip.decompress((folder / "two.txt.gz").read_bytes()) == TEXT
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["one.bin", "two.txt.gz"]


def test_files_come_whole_and_are_not_fetched_again(server, tmp_path):
    said = fetch(server, tmp_path / "new")
    assert_right(tmp_path / "new")
    assert any("licence" in line and "cite" in line for line in said)
    assert len(server.asked) == 2
    packed = (tmp_path / "new/ienhancer/two.txt.gz").read_bytes()
    fetch(server, tmp_path / "new")
    assert len(server.asked) == 2
    fetch(server, tmp_path / "other")
    assert (tmp_path / "other/ienhancer/two.txt.gz").read_bytes() == packed  # the same bytes at any time


def test_a_broken_connection_goes_on_where_it_broke(server, tmp_path):
    server.script = ["break", "break", "", "503", "break"]
    fetch(server, tmp_path)
    assert_right(tmp_path)
    half = len(BINARY) // 2
    starts = [span for path, span in server.asked if path.startswith("dir")]
    assert starts == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_a_server_without_ranges_is_read_from_the_start(server, tmp_path):
    server.script = ["break", "no range"]
    fetch(server, tmp_path)
    assert_right(tmp_path)


def test_a_part_left_by_an_earlier_call_is_used(server, tmp_path):
    (tmp_path / "ienhancer" / "sub").mkdir(parents=True)
    part = tmp_path / "ienhancer" / "sub" / ".one.bin.part"
    part.write_bytes(BINARY[:1000])
    fetch(server, tmp_path)
    assert server.asked[0][1] == "bytes=1000-"
    assert_right(tmp_path)


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * len(BINARY), b"x" * (len(BINARY) + 5)])
def test_a_wrong_part_is_thrown_away(server, tmp_path, left):
    (tmp_path / "ienhancer" / "sub").mkdir(parents=True)
    (tmp_path / "ienhancer" / "sub" / ".one.bin.part").write_bytes(left)
    fetch(server, tmp_path)
    assert_right(tmp_path)


@pytest.mark.parametrize("wrong", ["lie", "longer", "shorter"])
def test_other_bytes_are_refused_and_not_kept(server, tmp_path, wrong):
    if wrong == "lie":
        server.script = ["lie"]
    else:
        server.content["dir/one (1).bin"] = BINARY + b"more" if wrong == "longer" else BINARY[:-5]
    with pytest.raises(RunError, match="is not what it was: expected 300,000 bytes|cannot fetch .* 299,995 of 300,000"):
        fetch(server, tmp_path)
    assert not (tmp_path / "ienhancer" / "sub" / "one.bin").exists()
    if wrong != "shorter":
        assert not list((tmp_path / "ienhancer").rglob("*.part"))


def test_a_damaged_file_is_fetched_again(server, tmp_path):
    fetch(server, tmp_path)
    (tmp_path / "ienhancer/sub/one.bin").write_bytes(BINARY[:-1] + b"x")
    packed = tmp_path / "ienhancer/two.txt.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    fetch(server, tmp_path)
    assert_right(tmp_path)
    assert len(server.asked) == 4


def test_what_is_not_there_is_said_at_once(server, tmp_path):
    server.content = {}
    with pytest.raises(RunError, match=r"cannot fetch http://\S+one%20%281%29\.bin: the server says 404"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1


def test_a_server_that_stays_away_is_given_up_and_what_came_is_kept(server, tmp_path):
    server.script = ["break", *["500"] * 20]
    with pytest.raises(RunError, match="the server says 500 .*, 6 times. 150,000 of 300,000 bytes are kept"):
        fetch(server, tmp_path)
    server.script = []
    fetch(server, tmp_path)
    assert_right(tmp_path)
    assert server.asked[-2][1] == "bytes=150000-"


def test_no_network_is_one_sentence(server, tmp_path):
    with pytest.raises(RunError, match="Connection refused.*, 6 times. 0 of 300,000 bytes are kept"):
        download("ienhancer", tmp_path, host="http://127.0.0.1:9", pause=0.001, say=lambda line: None)


def test_a_server_that_falls_silent_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.3)
    server.script = ["silent"]
    fetch(server, tmp_path)
    assert_right(tmp_path)
    assert server.asked[1][1] == "bytes=100-"


def test_names_and_places_that_will_not_do(server, tmp_path):
    with pytest.raises(InputError, match="no public data set called 'iEnhancr'.*did you mean ienhancer"):
        download("iEnhancr", tmp_path, say=lambda line: None)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .*: expected a folder that can be written"):
        download("ienhancer", tmp_path / "file", host="http://127.0.0.1:9", say=lambda line: None)


def test_a_full_disk_is_one_sentence_and_what_came_is_kept(server, tmp_path):
    code = f"""
        import resource, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_download import FILES
        from dragon_jax.data import catalogue, download
        from dragon_jax.errors import RunError
        catalogue.remote_files = lambda: {{"ienhancer": FILES}}
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            download.download("ienhancer", {str(tmp_path)!r}, host={server.host!r}, say=lambda line: None)
        except RunError as e:
            print(e)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("the disk is full: ") and "one.bin needs 300,000 bytes" in done.stdout, done.stderr
    assert (tmp_path / "ienhancer/sub/.one.bin.part").stat().st_size == 200_000
    fetch(server, tmp_path)
    assert_right(tmp_path)
    assert ("dir/one (1).bin", "bytes=200000-") in server.asked


def test_the_table_is_sound():
    files = remote_files()
    assert list(files) == list(SETS) == list(source_files())
    every = [file for listed in files.values() for file in listed]
    assert len({(file.set, file.name) for file in every}) == len(every) > 150
    for file in every:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256) and re.fullmatch("[0-9a-f]{40}", file.commit)
        assert file.kept in ("same", "gzip") and file.bytes > 0
        assert (file.kept == "gzip") <= file.name.endswith(".gz")
        assert ".." not in file.name and not os.path.isabs(file.name) and " " not in file.url()
    for name, about in SETS.items():
        assert about.licence and about.citation and bool(about.derived) == bool(derived_files().get(name))
    page = "\n".join(catalogue_lines())
    assert all(name in page for name in SETS)
    assert any("sha256" in line for line in catalogue_lines("motifs"))


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda path: path.stem)
def test_a_config_that_reads_a_public_set_says_how_to_get_it(path):
    """The page names the command, and the catalogue names the config."""
    text = path.read_text()
    read = set(re.findall(r"\$DRAGON_DATA/(\w+)", text))
    assert read == {name for name, about in SETS.items() if path.stem in about.configs}
    for name in read:
        assert f"dragon download {name}" in text.split('"""')[1]
        assert any(f"dragon download {name}" in line and path.name in line for line in catalogue_lines())


def test_the_table_is_that_of_the_data(dragon_data):
    """Where the real files are, each has the size and the digest that the table gives."""
    for name, listed in remote_files().items():
        for file in listed[:: max(1, len(listed) // 8)]:
            path = dragon_data(f"{name}/{file.name}")
            data = path.read_bytes() if file.kept == "same" else gzip.decompress(path.read_bytes())
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256), file.name
