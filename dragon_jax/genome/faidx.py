"""The `.fai` beside a FASTA file, read only to say that it is wrong: other programs trust it and then return wrong bases.

We never use it ourselves (see `genome.cache`). Columns: name, bases, byte of the first base, bases and bytes per line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from dragon_jax.errors import show

_COLUMNS = 5
_HEADER = 1 << 16  # bytes; a longer header line is not looked for


def index_fault(place: Path, contigs: Mapping[str, int]) -> str | None:
    """Returns what is wrong with `<place>.fai`, or None when there is none or it fits.

    Each entry must lie just behind a header of its name, its lines must be as long as it says and end with the contig;
    of a compressed file only names and lengths can be compared.

    Args:
        place: the FASTA file. contigs: what is really in it.
    """
    try:
        text = Path(f"{place}.fai").read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        return e.strerror or str(e)
    seen = set()
    with open(place, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        packed = file.read(2) == b"\x1f\x8b"
        for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
            fields = line.split("\t")
            if len(fields) < _COLUMNS:
                return f"line {number}: expected {_COLUMNS} columns, found {len(fields)}"
            name = fields[0]
            if not all(f.isascii() and f.isdigit() and len(f) < 19 for f in fields[1:_COLUMNS]):
                return f"line {number}: expected whole numbers, found '{show(' '.join(fields[1:_COLUMNS]))}'"
            length, offset, bases, width = map(int, fields[1:_COLUMNS])
            if contigs.get(name) != length:
                found = f"{contigs[name]} in the file" if name in contigs else "no such contig in the file"
                return f"contig {show(name)}: {length} bases in the index, {found}"
            fault = None if packed else _entry_fault(file, size, name.encode(), length, offset, bases, width)
            if fault:
                return f"contig {show(name)}: {fault}"
            seen.add(name)
    expected = (name for name, length in contigs.items() if length)  # samtools leaves contigs without bases out
    missing = next((name for name in expected if name not in seen), None)
    return None if missing is None else f"contig {show(missing)} is missing"


def _entry_fault(
    file: BinaryIO, size: int, name: bytes, length: int, offset: int, bases: int, width: int
) -> str | None:
    back = 256
    while True:  # a header is one line: it begins behind the last line end before its own
        start = max(0, offset - back)
        before = _read(file, start, offset - start) if offset <= size else b""
        line = before.rstrip(b"\r\n").rpartition(b"\n")[2]
        if not start or len(line) < len(before.rstrip(b"\r\n")) or back >= _HEADER:
            break
        back *= 16
    words = line[1:].split(None, 1)
    ended = before.endswith(b"\n") or (not length and offset == size)  # a last header may lack its line end
    if not ended or line[:1] != b">" or not words or words[0] != name:
        return f"expected a header before byte {offset}"
    if not length:
        return None
    if not 0 < bases <= width:
        return f"expected lines of at least one base, found {bases}"
    last = offset + (length - 1) // bases * width + (length - 1) % bases
    if last >= size:
        return f"expected {last + 1} bytes or more, found {size}"
    first = _read(file, offset, min(bases, length))
    if b"\n" in first or _read(file, last + 1, 1) not in (b"\n", b"\r", b""):
        return f"expected lines of {bases} bases"
    return None


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)
