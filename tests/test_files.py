"""Files as users have them: every way in which a path or its bytes can be wrong has its own sentence."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re

import pytest

from dragon_jax.errors import InputError, RunError
from dragon_jax.files import Faults, TextFile, atomic_write, expand, locate, utf8

# Root reads and writes everything, so refusals by permission can only be seen by others.
root = hasattr(os, "geteuid") and os.geteuid() == 0


def lines(path) -> list[bytes]:
    with TextFile(path) as file:
        return list(file)


def bgzip(data: bytes, block: int = 100) -> bytes:
    """Blocked gzip as samtools writes it: many members with their size in an extra field, an empty one last."""
    import struct
    import zlib

    result = b""
    for start in [*range(0, len(data), block), None]:
        part = b"" if start is None else data[start : start + block]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = packer.compress(part) + packer.flush()
        result += b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
        result += body + struct.pack("<II", zlib.crc32(part), len(part))
    return result


def test_plain_gzip_and_bgzip_read_the_same(tmp_path):
    text = b"".join(b"line %d\n" % i for i in range(200)) + b"end"
    for name, data in (
        ("a.txt", text),
        ("a.txt.gz", gzip.compress(text)),
        ("gzip_by_content.txt", gzip.compress(text)),
    ):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "b.txt.gz").write_bytes(bgzip(text))
    (tmp_path / "two.txt.gz").write_bytes(gzip.compress(text[:50]) + gzip.compress(text[50:]))
    for name in ("a.txt", "a.txt.gz", "gzip_by_content.txt", "b.txt.gz", "two.txt.gz"):
        assert lines(tmp_path / name) == text.splitlines(keepends=True), name


def test_first_lines_are_not_taken(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"1\n2\n3\n")
    with TextFile(tmp_path / "a.txt") as file:
        assert file.first_lines(2) == [b"1\n", b"2\n"]
        assert file.first_lines(1) == [b"1\n"]
        assert file.first_lines(9) == [b"1\n", b"2\n", b"3\n"]
        assert list(file) == [b"1\n", b"2\n", b"3\n"]


@pytest.mark.parametrize("pack", [gzip.compress, bgzip])
def test_a_cut_off_file_is_never_taken_for_the_whole(tmp_path, pack):
    whole = pack(b"".join(b"%d\tACGT\n" % (i * 7919) for i in range(300)))
    path = tmp_path / "a.tsv.gz"
    for end in range(0, len(whole), 50):
        path.write_bytes(whole[:end])
        if end == 0:
            assert lines(path) == []
            continue
        with pytest.raises(
            InputError, match=r"a\.tsv\.gz (ends in the middle of a block|is not a gzip file|is damaged)"
        ):
            lines(path)


def test_a_flipped_bit_is_noticed(tmp_path):
    data = bytearray(gzip.compress(os.urandom(2000).hex().encode()))
    data[len(data) // 2] ^= 4
    (tmp_path / "a.gz").write_bytes(data)
    with pytest.raises(
        InputError, match=r"a\.gz is damaged: expected a complete bgzip/gzip file, found .*Copy it again"
    ):
        lines(tmp_path / "a.gz")


def test_standard_input_plain_and_gzip(monkeypatch):
    text = b"x" * 600 + b"\nlast"
    for data in (text, gzip.compress(text)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert lines("-") == [b"x" * 600 + b"\n", b"last"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(text)[:-3])))
    with pytest.raises(InputError, match="standard input ends in the middle of a block"):
        lines("-")


def test_a_named_pipe_is_read(tmp_path):
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(b"a\nb\n"),))
    writer.start()
    assert lines(pipe) == [b"a\n", b"b\n"]
    writer.join()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("", "blank file name: expected the path of a file"),
        ("  ", "blank file name"),
        ("https://x.org/a.fa", r"https://x.org/a.fa: expected a file on this machine, found a URL. Download it first"),
        ("s3://bucket/a.fa", "found a URL"),
        ("no/such/a.fa", r"no file no/such/a.fa: there is no folder no"),
        ("a\x00b", r"cannot read a\\x00b: expected a file, found (stat: )?embedded null"),
        ("$NOT_SET_ANYWHERE/a.fa", r"environment variable NOT_SET_ANYWHERE in the path .* is not set"),
    ],
)
def test_refusals_by_path(tmp_path, monkeypatch, path, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=sentence):
        locate(path)


def test_refusals_by_what_lies_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to("gone.fa")
    for name in ("a.tar.gz", "a.zip"):
        (tmp_path / name).write_bytes(b"x")
    for path, sentence in [
        ("folder", "folder is a directory: expected a file"),
        ("broken", "broken is a broken link: it points to gone.fa, which does not exist"),
        ("a.tar.gz", "a.tar.gz is an archive: .* Unpack it first"),
        ("a.zip", "a.zip is an archive"),
        ("missing.fa", "no file missing.fa: expected an existing file"),
        ("a.zip/x", "no file a.zip/x"),
    ]:
        with pytest.raises(InputError, match=sentence):
            locate(path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.gz", b"<html>not found</html>", r"a.gz is not a gzip file \(first bytes '<html>no'\). Was an error page"),
        ("a.txt", b"BZh91AY", "a.txt is compressed with bzip2: expected plain text or gzip. Decompress it first"),
        ("a.txt", b"\xfd7zXZ\0", "compressed with xz"),
        ("a.txt", b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        ("a.txt", b"PK\x03\x04", "compressed with zip"),
        ("a.txt", b"n" * 257 + b"ustar", "a.txt is an archive"),
    ],
)
def test_refusals_by_content(tmp_path, monkeypatch, name, content, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        lines(name)


@pytest.mark.skipif(root, reason="root reads everything")
def test_refusal_without_permission(tmp_path):
    (tmp_path / "a.fa").write_text(">a\nA\n")
    (tmp_path / "a.fa").chmod(0)
    with pytest.raises(InputError, match=r"no permission to read .*a\.fa"):
        locate(tmp_path / "a.fa")


def test_paths_are_expanded_and_odd_names_survive(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", str(tmp_path))
    for name in ("päth with blanks (1).txt", "cash$WHERE.txt", "日本.txt"):
        (tmp_path / name).write_text("x")
        assert locate(tmp_path / name).name == name
    assert expand("~/a") == tmp_path / "a"
    assert expand("$WHERE/a") == expand("${WHERE}/a") == tmp_path / "a"


def test_dragon_data_is_the_folder_data_unless_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DRAGON_DATA", raising=False)
    with pytest.raises(
        InputError, match=r"no file \$DRAGON_DATA/a.txt: DRAGON_DATA is not set, so data/a.txt was looked for in .*"
    ):
        locate("$DRAGON_DATA/a.txt")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("x")
    assert locate("$DRAGON_DATA/a.txt").samefile(tmp_path / "data" / "a.txt")
    monkeypatch.setenv("DRAGON_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(
        InputError, match=r"no file \$DRAGON_DATA/a.txt \(.*elsewhere/a.txt\): there is no folder .*elsewhere"
    ):
        locate("$DRAGON_DATA/a.txt")


def test_text_that_is_not_utf8_is_named():
    assert utf8("é".encode(), "x") == "é"
    with pytest.raises(
        InputError, match=r"byte 0xe9 in a.tsv, line 3: expected UTF-8 text, found 'caf\\xe9'\. Convert"
    ):
        utf8("café".encode("latin-1"), "a.tsv, line 3")


def test_faults_show_the_first_and_count_the_rest():
    faults = Faults()
    faults.refuse()
    for line in range(1, 1210):
        faults.add(f"line {line}", f"a.tsv, line {line}: expected 2, found 1", "Mend it")
    said = "a.tsv, line 1: expected 2, found 1; also line 2, line 3, line 4, line 5, ... and 1,204 more. Mend it"
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        faults.refuse()


def test_atomic_write_shows_the_whole_or_nothing(tmp_path):
    target = tmp_path / "a.txt"
    with atomic_write(target) as handle:
        handle.write("é\n")
        assert not target.exists()
    assert target.read_bytes() == "é\n".encode()
    target.chmod(0o640)
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as handle:
        handle.write("half")
        raise KeyboardInterrupt
    assert target.read_bytes() == "é\n".encode()
    with atomic_write(target, binary=True) as handle:
        handle.write(b"\0\n")
    assert target.read_bytes() == b"\0\n"
    assert target.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_atomic_write_follows_links_and_leaves_devices(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    with atomic_write(tmp_path / "link.txt") as handle:
        handle.write("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"
    with atomic_write(os.devnull) as handle:
        handle.write("gone")
    assert not os.path.isfile(os.devnull)


def test_atomic_write_refuses_what_cannot_be(tmp_path):
    with (
        pytest.raises(InputError, match="cannot write .*: there is no folder .*nowhere. Make it first"),
        atomic_write(tmp_path / "nowhere" / "a.txt"),
    ):
        pass
    with pytest.raises(InputError, match="expected a file name, found a directory"), atomic_write(tmp_path):
        pass
    with pytest.raises(RunError, match=r"the disk is full: .*a\.txt was not written"), atomic_write(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(root, reason="root writes everywhere")
def test_atomic_write_without_permission(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o555)
    with (
        pytest.raises(InputError, match="expected a folder that can be written, found Permission denied"),
        atomic_write(tmp_path / "closed" / "a.txt"),
    ):
        pass
