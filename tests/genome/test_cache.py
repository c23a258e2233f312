"""The cache of a genome: known by content, mended when damaged, shared by processes, and no reason to fail when full."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dragon_jax.dna import decode
from dragon_jax.errors import InputError
from dragon_jax.files import atomic_write
from dragon_jax.genome import cache, fasta
from dragon_jax.genome.genome import Genome

LETTERS = {f"chr{i}": "".join(random.Random(i).choices("ACGTacgtN", k=3000 + i)) for i in range(4)}
DATA = "".join(f">{name}\n{bases}\n" for name, bases in LETTERS.items())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "genome.fa").write_text(DATA)
    return tmp_path / "genome.fa"


@pytest.fixture
def settled(monkeypatch):
    """Files count as old at once, so that what is known of them is remembered."""
    monkeypatch.setattr(cache, "_SETTLED", -1)


def whole(genome: Genome) -> str:
    return "".join(f">{name}\n{decode(genome.codes(name, 0, size))}\n" for name, size in genome.contigs.items())


EXPECTED = "".join(f">{name}\n{bases.upper()}\n" for name, bases in LETTERS.items())


def cache_file(folder: Path) -> Path:
    (found,) = folder.glob("*.genome")
    return found


def forbid(monkeypatch, name: str) -> None:
    def fail(*_, **__):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(cache, name, fail)


def test_a_known_file_is_neither_read_nor_parsed_again(path, folder, settled, monkeypatch):
    first = Genome(path, cache=folder)
    for name in ("_content", "read_pieces", "_intact", "_write_memo"):
        forbid(monkeypatch, name)
    second = Genome(path, cache=folder)
    assert whole(second) == EXPECTED
    assert (second.digest, second.contigs, second.notes) == (first.digest, first.contigs, first.notes)


def test_a_file_changed_a_moment_ago_is_read_through_again(path, folder, monkeypatch):
    """Within one tick of the clock a file can change and keep its times: what is so new is not remembered."""
    monkeypatch.setattr(cache, "_SETTLED", 3600 * 10**9)
    Genome(path, cache=folder)
    assert not (folder / "known").exists()
    calls = []
    content = cache._content
    monkeypatch.setattr(cache, "_content", lambda place: (calls.append(place), content(place))[1])
    forbid(monkeypatch, "read_pieces")
    assert whole(Genome(path, cache=folder)) == EXPECTED
    assert calls == [path]


def test_what_counts_is_how_new_the_file_was_before_it_was_read(path, folder, monkeypatch):
    content = cache._content
    monkeypatch.setattr(cache, "_SETTLED", 2 * 10**8)
    monkeypatch.setattr(cache, "_content", lambda place: (time.sleep(0.3), content(place))[1])
    os.utime(path)
    Genome(path, cache=folder)
    assert not (folder / "known").exists()
    Genome(path, cache=folder)
    assert (folder / "known").exists()


def test_the_same_content_elsewhere_needs_no_second_copy(path, folder, tmp_path, monkeypatch):
    Genome(path, cache=folder)
    (tmp_path / "copy.fa").write_text(DATA)
    (tmp_path / "link.fa").symlink_to(path)
    forbid(monkeypatch, "read_pieces")
    for name in ("copy.fa", "link.fa"):
        assert whole(Genome(tmp_path / name, cache=folder)) == EXPECTED
    cache_file(folder)  # there is one only


@pytest.mark.parametrize("keep_times", [False, True])
def test_changed_content_of_the_same_size_is_seen(path, folder, settled, keep_times):
    before = Genome(path, cache=folder)
    stat = path.stat()
    time.sleep(0.02)  # more than one tick
    path.write_text(DATA.replace("chr0\n" + LETTERS["chr0"][:5], "chr0\n" + "TTTTT"))
    if keep_times:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = Genome(path, cache=folder)
    assert decode(after.codes("chr0", 0, 5)) == "TTTTT"
    assert whole(before) == EXPECTED  # what was opened stays what it was
    assert len(list(folder.glob("*.genome"))) == 2


def damages(good: bytes) -> dict[str, bytes]:
    def flipped(at: int) -> bytes:
        return good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]

    return {
        "empty": b"",
        "one byte": good[:1],
        "cut in the codes": good[:5000],
        "cut in the index": good[:-100],
        "cut in the trailer": good[:-1],
        "front lost": good[1:],
        "first code": flipped(0),
        "a code": flipped(7000),
        "index": flipped(len(good) - 60),
        "index digest": flipped(len(good) - 48),
        "index length": flipped(len(good) - 10),
        "magic": flipped(len(good) - 1),
        "longer": good + good,
        "zeros": bytes(len(good)),
        "page": b"<html>not found</html>" * 10,
    }


@pytest.mark.parametrize("masked", ["upper", "keep"])
@pytest.mark.parametrize("damage", damages(bytes(10_000)))
def test_a_damaged_copy_is_made_anew(path, folder, settled, damage, masked):
    first = Genome(path, cache=folder, masked=masked)
    file = cache_file(folder)
    good = file.read_bytes()
    time.sleep(0.02)
    file.unlink()  # the first genome has it mapped: to cut it would pull the ground from under that
    file.write_bytes(damages(good)[damage])
    assert whole(Genome(path, cache=folder, masked=masked)) == EXPECTED
    assert file.read_bytes() == good
    assert whole(first) == EXPECTED
    assert not list(folder.glob(".*"))


def test_a_damaged_mask_is_made_anew(path, folder, settled):
    share = Genome(path, cache=folder, masked="keep").masked_share("chr1", np.arange(10), 500)
    file = cache_file(folder)
    raw = bytearray(file.read_bytes())
    raw[3000] ^= 255  # the first byte of the first mask
    time.sleep(0.02)
    file.write_bytes(raw)
    np.testing.assert_array_equal(
        Genome(path, cache=folder, masked="keep").masked_share("chr1", np.arange(10), 500), share
    )
    assert file.read_bytes() != raw


def test_a_lost_copy_is_made_anew(path, folder, settled):
    Genome(path, cache=folder)
    cache_file(folder).unlink()
    assert whole(Genome(path, cache=folder)) == EXPECTED
    cache_file(folder)


@pytest.mark.parametrize("memo", ["", "{", "[]", "null", '{"content": 5}', '{"content": "../../x", "file": 1}', "\x00"])
def test_what_is_remembered_may_be_nonsense(path, folder, settled, memo):
    Genome(path, cache=folder)
    (known,) = (folder / "known").iterdir()
    written = known.read_text()
    known.write_text(memo)
    assert whole(Genome(path, cache=folder)) == EXPECTED
    assert json.loads(known.read_text()) == json.loads(written)


def test_a_copy_with_a_mask_serves_both(path, folder, settled, monkeypatch):
    Genome(path, cache=folder)
    small = cache_file(folder).stat().st_size
    kept = Genome(path, cache=folder, masked="keep")
    assert cache_file(folder).stat().st_size > small + len(EXPECTED) // 9
    forbid(monkeypatch, "read_pieces")
    upper = Genome(path, cache=folder)
    assert upper.digest == kept.digest
    assert upper.notes == kept.notes
    assert whole(upper) == EXPECTED
    with pytest.raises(InputError, match="was opened without its soft mask"):
        upper.masked_share("chr1", np.array([0]), 10)


def open_cold(arguments: tuple[str, str, str]) -> tuple[str, str]:
    genome = Genome(arguments[0], cache=arguments[1], masked="keep" if arguments[2] == "keep" else "upper")
    return whole(genome), genome.digest


def test_processes_that_build_at_once_do_not_disturb_each_other(path, folder):
    jobs = [(str(path), str(folder), masked) for masked in ("upper", "keep") * 12]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(open_cold, jobs))
    assert {text for text, _ in results} == {EXPECTED}
    assert len({digest for _, digest in results}) == 1
    cache_file(folder)
    assert not list(folder.glob(".*"))


def test_a_folder_that_cannot_be_made_means_memory_and_a_note(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    genome = Genome("genome.fa", cache="file/cache", masked="keep")
    (note,) = (n for n in genome.notes if n.startswith("genome held"))
    assert note == (
        f"genome held in memory: its cache cannot be kept in {tmp_path}/file/cache (Not a directory); every process reads "
        "genome.fa again"
    )
    on_disk = Genome("genome.fa", cache="cache", masked="keep")
    assert whole(genome) == whole(on_disk) == EXPECTED
    assert genome.digest == on_disk.digest
    start = np.arange(0, 2500, 3)
    np.testing.assert_array_equal(genome.masked_share("chr2", start, 501), on_disk.masked_share("chr2", start, 501))
    np.testing.assert_array_equal(genome.windows("chr2", start, 501), on_disk.windows("chr2", start, 501))
    with pytest.raises(ValueError, match="read-only"):
        genome.codes("chr1", 0, 5)[0] = 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_means_memory_and_a_note(path, folder):
    folder.mkdir()
    folder.chmod(0o500)
    genome = Genome(path, cache=folder)
    assert whole(genome) == EXPECTED
    assert any("(Permission denied)" in note for note in genome.notes)


def test_a_read_only_folder_with_a_good_copy_is_used(path, folder, settled, monkeypatch):
    Genome(path, cache=folder)
    for file in (folder / "known").iterdir():
        file.unlink()

    def denied(target, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache, "atomic_write", denied)
    genome = Genome(path, cache=folder)
    assert whole(genome) == EXPECTED
    assert not any("memory" in note for note in genome.notes)


FULL = """
import resource, sys
from dragon_jax.genome.genome import Genome
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
genome = Genome(sys.argv[1], cache=sys.argv[2])
print(genome.digest, *genome.notes, sep="\\n")
"""


def test_a_disk_that_takes_no_more_means_memory_and_a_note(path, folder):
    done = subprocess.run([sys.executable, "-c", FULL, path, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    digest, *notes = done.stdout.splitlines()
    assert digest == Genome(path, cache=folder.with_name("other")).digest
    assert any("genome held in memory" in note and "(File too large)" in note for note in notes)
    assert not [p for p in folder.rglob("*") if p.is_file()]


def test_a_full_disk_means_memory_and_a_note(path, folder, monkeypatch):
    """The write fails half-way, as a full disk does."""

    class Full:
        def __init__(self, handle):
            self.handle, self.left = handle, 5000

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(28, "No space left on device")
            return self.handle.write(data)

        def __getattr__(self, name):
            return getattr(self.handle, name)

    @contextlib.contextmanager
    def small(target, **options):
        with atomic_write(target, **options) as handle:
            yield Full(handle)

    monkeypatch.setattr(cache, "atomic_write", small)
    genome = Genome(path, cache=folder)
    assert whole(genome) == EXPECTED
    assert any("(No space left on device)" in note for note in genome.notes)
    assert not [p for p in folder.rglob("*") if p.is_file()]


def test_an_empty_setting_turns_the_cache_off(path, tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGON_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    genome = Genome(path)
    assert whole(genome) == EXPECTED
    assert any("the cache is turned off" in note for note in genome.notes)
    assert not (tmp_path / "xdg").exists()
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "own"))
    assert whole(Genome(path)) == EXPECTED
    cache_file(tmp_path / "own" / "genomes")


def test_what_a_killed_build_left_is_cleared_away_after_a_day(path, folder):
    folder.mkdir()
    old, new = folder / ".abc.genome.1-2.tmp", folder / ".abc.genome.3-4.tmp"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    Genome(path, cache=folder)
    assert not old.exists()
    assert new.exists()


def test_a_file_that_changes_while_it_is_read_is_refused(path, folder, monkeypatch):
    read = cache.read_pieces

    def growing(*arguments, **options):
        for i, record in enumerate(read(*arguments, **options)):
            if i == 1:
                with open(path, "a") as file:
                    file.write("ACGT\n")
            yield record

    monkeypatch.setattr(cache, "read_pieces", growing)
    with pytest.raises(
        InputError, match="genome.fa changed while it was read: expected a file that stays as it is. Run again"
    ):
        Genome(path, cache=folder)


@pytest.mark.parametrize("turned_off", [False, True])
def test_contigs_that_come_in_pieces_are_stored_as_whole_ones(tmp_path, folder, monkeypatch, turned_off):
    """Pieces end inside bytes of the mask, and one contig is empty."""
    lines = [
        f">{name}\n" + "\n".join(bases[i : i + 7] for i in range(0, len(bases), 7)) for name, bases in LETTERS.items()
    ]
    place = tmp_path / "genome.fa"
    place.write_text("\n".join([*lines, ">empty", ""]))
    if turned_off:
        monkeypatch.setenv("DRAGON_CACHE", "")
    cut = {}
    for size in (1, 5, 1 << 14):
        monkeypatch.setattr(fasta, "_LINES", size)
        monkeypatch.setattr(cache, "_CHUNK", 9 * size)
        genome = Genome(place, cache=None if turned_off else folder / str(size), masked="keep")
        shares = [genome.masked_share(name, np.arange(2000), 50) for name in LETTERS]
        cut[size] = (whole(genome), genome.digest, genome.notes, np.concatenate(shares).tobytes())
        if not turned_off:
            cut[size] += (cache_file(folder / str(size)).read_bytes(),)
    assert cut[1] == cut[5] == cut[1 << 14]
    assert cut[1][0] == EXPECTED + ">empty\n\n"
    low = [[sum(map(str.islower, bases[i : i + 50])) / 50 for i in range(2000)] for bases in LETTERS.values()]
    np.testing.assert_allclose(np.frombuffer(cut[1][3], np.float32), np.concatenate(low), rtol=1e-6)


def test_pages_that_were_let_go_come_back(path, folder):
    genome = Genome(path, cache=folder)
    genome.let_go()
    assert whole(genome) == EXPECTED


def test_memory_does_not_grow_with_a_contig(tmp_path, monkeypatch):
    monkeypatch.setattr(fasta, "_LINES", 1000)
    monkeypatch.setattr(cache, "_CHUNK", 1 << 16)
    peaks = []
    for lines in (10_000, 40_000):
        (tmp_path / "one.fa").write_text(">a\n" + ("ACGTTGCA" * 7 + "\n") * lines)
        tracemalloc.start()
        Genome(tmp_path / "one.fa", cache=tmp_path / "cache")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
