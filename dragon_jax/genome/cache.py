"""The one-byte-a-base copy of a FASTA file: built once, known by the file's content, mapped into memory ever after.

Layout of a cache file `<sha256 of the FASTA>.genome`: for each contig in file order its codes, one byte a base, and, where
the copy keeps it, its soft mask, one bit a base; then an index in JSON; then 48 bytes: sha256 of the index, its length,
the magic. The file appears under its name only when it is whole, so processes may build at the same time.

Beside it, `known/` holds one small file per FASTA path: size and times at which its content was last read through, which
spares reading it again. A file whose size or times differ is always read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import mmap
import os
import re
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dragon_jax.dna import UNKNOWN, encode
from dragon_jax.errors import InputError, RunError, show
from dragon_jax.files import TextFile, atomic_write, expand, locate
from dragon_jax.genome.fasta import Piece, read_pieces

_MAGIC = b"DRAGNOM1"
_TRAILER = struct.Struct("<32sQ8s")
_CHUNK = 1 << 20  # bytes handled at a time
_SETTLED = (
    2 * 10**9
)  # ns: a file changed less than this before it was read may change again within one tick of its clock
_ABANDONED = 86400  # s: after that, a temporary file is of a build that was killed


class Stored(NamedTuple):
    """A genome as it lies in a cache file or in memory.

    Attributes:
        contigs: lengths by name, in file order.
        sizes, codes: int64 `[C]`, length of each contig and where its codes begin in `flat`.
        masks: int64 `[C]`, where the mask of each contig begins; None when there is none.
        digest: sha256 of names, lengths and codes.
        notes: what was put in order while reading.
        flat: uint8, read-only. mapped: the map behind it, or None in memory.
    """

    contigs: dict[str, int]
    sizes: np.ndarray
    codes: np.ndarray
    masks: np.ndarray | None
    digest: str
    notes: dict[str, int]
    flat: np.ndarray
    mapped: mmap.mmap | None = None

    def let_go(self) -> None:
        """Gives the pages that were looked at back to the system, which fetches them again when they are asked for."""
        if self.mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED)


def load(place: Path, name: str, folder: Path | None, masked: bool) -> Stored:
    """Returns the genome of a FASTA file from the cache, which is built or rebuilt where needed.

    Args:
        place: the file. name: the same as the user typed it, for messages.
        folder: where cache files lie; None keeps the genome in memory, as does a folder that cannot be written.
        masked: whether the mask is needed.

    Raises:
        InputError: what `read_fasta` refuses; a file that changes while it is read.
    """
    locate(place)
    reason = "the cache is turned off"
    if folder is not None:
        try:
            for _ in range(3):  # another process may put a copy without mask in the place of ours
                if (stored := _cached(place, name, folder, masked)) is not None:
                    return stored
            reason = f"its cache in {show(folder, 300)} does not stay as written"
        except (OSError, RunError) as e:
            cause = e if isinstance(e, OSError) else e.__cause__
            said = getattr(cause, "strerror", None) or str(cause)
            reason = f"its cache cannot be kept in {show(folder, 300)} ({said})"
    before = _stamp(place)
    memory = io.BytesIO()
    index = write(memory, name, place, masked)
    _refuse_changed(place, name, before)
    flat = np.frombuffer(memory.getbuffer(), np.uint8) if memory.tell() else np.zeros(0, np.uint8)
    flat.flags.writeable = False
    stored = _stored(index, flat)
    assert stored is not None
    note = f"genome held in memory: {reason}; every process reads {show(name, 300)} again"
    return stored._replace(notes=stored.notes | {note: 1})


def _cached(place: Path, name: str, folder: Path, masked: bool) -> Stored | None:
    """Returns the genome from its cache file, after building that where it is missing, damaged or lacks the mask."""
    folder.mkdir(parents=True, exist_ok=True)
    now, before = time.time_ns(), _stamp(place)
    memo = folder / "known" / f"{hashlib.sha256(os.path.realpath(place).encode()).hexdigest()[:32]}.json"
    known = _read_memo(memo)
    fresh = known.get("file") == before
    content = known["content"] if fresh else _content(place)
    target = folder / f"{content}.genome"
    stored, stamp = _open(target, masked, known.get("cache") if fresh else None)
    if stored is None:
        _build(target, name, place, masked)
        stored, stamp = _open(target, masked, None)
    _refuse_changed(place, name, before)
    settled = now - max(before[1:3]) > _SETTLED
    if settled and not (fresh and known.get("cache") == stamp) and stored is not None:
        _write_memo(memo, {"path": str(place), "file": before, "content": content, "cache": stamp})
    return stored


def _build(target: Path, name: str, place: Path, masked: bool) -> None:
    for left in target.parent.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(atomic_write(target, binary=True))
        except InputError as e:  # a folder without permission is the cache's trouble, not the user's
            raise RunError(str(e)) from (e.__cause__ or e)
        index = write(file, name, place, masked)
        text = json.dumps(index).encode()
        file.write(text)
        file.write(_TRAILER.pack(hashlib.sha256(text).digest(), len(text), _MAGIC))


def write(file: Any, name: str, place: Path, masked: bool) -> dict[str, Any]:
    """Writes codes and masks of all contigs and returns the index; memory holds pieces, and the mask of one contig.

    Args:
        file: open at its beginning for writing and reading: a contig's length is known, and its digest begun, when all
            of it is written.
    """
    digest, masks = hashlib.sha256(), hashlib.sha256()
    names, lengths = [], []
    lower = uracil = unknown = 0
    begin = size = 0
    mask, rest = bytearray(), np.zeros(0, bool)  # whole bytes of the contig's mask, and bits that make none yet
    for piece in _contigs(place, name):
        uracil += piece.bases.count(b"U") + piece.bases.count(b"u")
        for start in range(0, len(piece.bases), _CHUNK):
            letters = piece.bases[start : start + _CHUNK]
            codes = encode(letters, name)
            low = (np.frombuffer(letters, np.uint8) & 32) != 0  # the bit that tells a from A
            lower += int(np.count_nonzero(low))
            unknown += int(np.count_nonzero(codes == UNKNOWN))
            file.write(codes.data)
            size += len(letters)
            if masked:
                bits = np.concatenate([rest, low])
                whole = len(bits) // 8 * 8
                mask += np.packbits(bits[:whole]).tobytes()
                rest = bits[whole:]
        if piece.last:
            names.append(piece.name)
            lengths.append(size)
            digest.update(f"{piece.name}\t{size}\n".encode())
            for block in _blocks(file, begin, size):
                digest.update(block)
            mask += np.packbits(rest).tobytes()
            masks.update(mask)
            file.write(mask)
            begin += size + len(mask)
            size, mask, rest = 0, bytearray(), np.zeros(0, bool)
    return {
        "names": names,
        "lengths": lengths,
        "digest": digest.hexdigest(),
        "mask_digest": masks.hexdigest() if masked else None,
        "notes": {
            "genome bases in lower case, read as upper case": lower,
            "genome bases U, read as T": uracil,
            "genome bases other than A, C, G and T, read as unknown": unknown,
        },
    }


def _blocks(file: Any, start: int, size: int) -> Iterator[bytes]:
    """Reads a part of a file some bytes at a time, and leaves the file at the part's end."""
    file.seek(start)
    for at in range(0, size, _CHUNK):
        yield file.read(min(_CHUNK, size - at))


def _contigs(place: Path, name: str) -> Iterator[Piece]:
    """Reads the file under the name that the user typed, or its full path where that now means another file."""
    with contextlib.suppress(InputError):
        if Path(os.path.abspath(expand(name))) == place:
            place = Path(name)
    with TextFile(place) as file:
        file.name = show(name, 300)
        yield from read_pieces(file, noun="contig", allow_empty=True, unique=True)


def _open(target: Path, masked: bool, trusted: list[int] | None) -> tuple[Stored | None, list[int] | None]:
    """Maps a cache file; returns the genome and the file's stamp, or None for what is missing, damaged or lacks the mask.

    Unless the stamp is the trusted one, all bytes are compared with the digests of the index.
    """
    try:
        file = open(target, "rb")
    except FileNotFoundError:
        return None, None
    with file:
        stamp = _stamp(file.fileno())
        if stamp[0] < _TRAILER.size:
            return None, None
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        flat = np.frombuffer(mapped, np.uint8)
    text_digest, length, magic = _TRAILER.unpack(flat[-_TRAILER.size :].tobytes())
    end = len(flat) - _TRAILER.size - length
    if magic != _MAGIC or end < 0:
        return None, None
    text = flat[end : end + length].tobytes()
    if hashlib.sha256(text).digest() != text_digest:
        return None, None
    index = json.loads(text)
    if masked and index["mask_digest"] is None:
        return None, None
    stored = _stored(index, flat[:end], mapped)
    if stored is None or (stamp != trusted and not _intact(stored, index)):
        return None, None
    return stored, stamp


def _stored(index: Mapping[str, Any], flat: np.ndarray, mapped: mmap.mmap | None = None) -> Stored | None:
    """Lays the index over the bytes; None when they do not have the length that it says."""
    sizes = np.array(index["lengths"], np.int64)
    kept = index["mask_digest"] is not None
    ends = np.cumsum(sizes + (sizes + 7) // 8 * kept)
    if len(flat) != (ends[-1] if len(ends) else 0):
        return None
    codes = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    return Stored(
        contigs=dict(zip(index["names"], index["lengths"], strict=True)),
        sizes=sizes,
        codes=codes,
        masks=codes + sizes if kept else None,
        digest=index["digest"],
        notes={note: count for note, count in index["notes"].items() if count},
        flat=flat,
        mapped=mapped,
    )


def _intact(stored: Stored, index: Mapping[str, Any]) -> bool:
    digest, masks = hashlib.sha256(), hashlib.sha256()
    for (name, size), start in zip(stored.contigs.items(), stored.codes.tolist(), strict=True):
        digest.update(f"{name}\t{size}\n".encode())
        for at in range(start, start + size, _CHUNK):
            digest.update(stored.flat[at : min(at + _CHUNK, start + size)].data)
            stored.let_go()
        if stored.masks is not None:
            masks.update(stored.flat[start + size : start + size + (size + 7) // 8].data)
    return digest.hexdigest() == stored.digest and index["mask_digest"] in (None, masks.hexdigest())


def _stamp(file: Path | int) -> list[int]:
    """What tells a file from a changed one: size, times of change of content and of anything, and its number."""
    stat = os.stat(file)
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _content(place: Path) -> str:
    with open(place, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_changed(place: Path, name: str, before: list[int]) -> None:
    if _stamp(place) != before:
        raise InputError(
            f"{show(name, 300)} changed while it was read: expected a file that stays as it is. Run again when it is written"
        )


def _read_memo(path: Path) -> dict[str, Any]:
    """Returns what is remembered about a FASTA path; an unreadable note counts as none."""
    with contextlib.suppress(OSError, ValueError):
        memo = json.loads(path.read_bytes())
        if isinstance(memo, dict) and re.fullmatch("[0-9a-f]{64}", str(memo.get("content"))):
            return memo
    return {}


def _write_memo(path: Path, memo: Mapping[str, Any]) -> None:
    """Remembers; where that fails the content is read through again next time."""
    with contextlib.suppress(OSError, InputError, RunError):
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as file:
            json.dump(memo, file)
