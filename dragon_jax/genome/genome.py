"""A genome: the bases of any window of any contig, at once for many windows and in any process.

The bases come from a one-byte-a-base copy of the FASTA file that is mapped into memory (see `genome.cache`): every process
sees the same pages, nothing is parsed twice, and reading a window is a copy of its bytes.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64, Integer, UInt8

from dragon_jax import runtime
from dragon_jax.dna import UNKNOWN, reverse_complement
from dragon_jax.errors import InputError, listing, show
from dragon_jax.files import STDIN, locate
from dragon_jax.genome import faidx
from dragon_jax.genome.cache import Stored, load

Chroms = str | np.ndarray | Sequence[str]  # text [N], one name for all rows, or integers [N] that count in `contigs`
_BLOCK = 1 << 20  # bytes handled at a time, so that what is made of them stays in the processor's cache


class Genome:
    """A FASTA file (plain, gzip or bgzip) as a genome. Pickles as its path and is opened anew by the process that gets it.

    Attributes:
        path: the file as the user typed it.
        masked: `upper` forgets lower case, `keep` remembers which bases were soft-masked.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        cache: str | os.PathLike | None = None,
        masked: Literal["upper", "keep"] = "upper",
    ):
        """Opens the genome; the first time in the life of a file this reads it whole.

        Args:
            path: FASTA file.
            cache: folder of the copies; default `genomes` in the user's cache folder (an empty `$DRAGON_CACHE` turns it
                off). Its files may be deleted at any time. Where it cannot be written, the genome is held in memory.
            masked: see above.

        Raises:
            InputError: the file is missing, is no genome (see `read_fasta`) or changes meanwhile.
        """
        self.path = os.fspath(path)
        self.masked: Literal["upper", "keep"] = masked
        if self.path == STDIN:
            raise InputError("genome: expected a file, found standard input, which cannot be read twice. Save it first")
        self._place = Path(os.path.abspath(locate(path)))
        if not self._place.is_file():
            raise InputError(
                f"{show(self.path, 300)} is no regular file: expected one that can be read twice. Save it first"
            )
        self._cache = None if cache is None else Path(os.path.abspath(cache))
        self._digest: str | None = None
        self._digest = self._stored.digest

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k in ("path", "masked", "_place", "_cache", "_digest")}

    @functools.cached_property
    def _stored(self) -> Stored:
        folder = self._cache
        if folder is None and os.environ.get("DRAGON_CACHE") != "":
            folder = runtime.cache_folder() / "genomes"
        stored = load(self._place, self.path, folder, self.masked == "keep")
        if self._digest not in (None, stored.digest):
            raise InputError(
                f"{show(self.path, 300)} is another genome than when it was opened: expected digest {self._digest[:12]}, "
                f"found {stored.digest[:12]}. Start again"
            )
        return stored

    @property
    def contigs(self) -> dict[str, int]:
        """Length in bases of every contig by name, in the order of the file."""
        return self._stored.contigs

    @property
    def digest(self) -> str:
        """sha256 of names, lengths and codes of all contigs: equal for the same genome however its file is packed."""
        return self._stored.digest

    @functools.cached_property
    def notes(self) -> dict[str, int]:
        """What was put in order while reading, and what is wrong beside the file, with counts."""
        fault = faidx.index_fault(self._place, self.contigs)
        if fault is None:
            return dict(self._stored.notes)
        name = show(self.path, 300)
        said = f"index {name}.fai does not match {name} ({fault}); it is not used. Make it anew: samtools faidx {name}"
        return self._stored.notes | {said: 1}

    def let_go(self) -> None:
        """Gives the mapped pages that were read back to the system: for those who pass over a genome once."""
        self._stored.let_go()

    def __repr__(self) -> str:
        return f"Genome({self.path!r}, {len(self.contigs):,} contigs, {sum(self.contigs.values()):,} bases)"

    def codes(self, chrom: str, start: int, end: int) -> UInt8[np.ndarray, " L"]:
        """Returns the codes of `[start, end)`, forward strand, as a read-only view: no byte is copied.

        Raises:
            InputError: no such contig, or the interval does not lie inside.
        """
        stored = self._stored
        if chrom not in stored.contigs:
            raise InputError(
                f"contig '{show(chrom)}' is absent from {show(self.path, 300)}: expected one such as "
                f"{listing(self.contigs, 3)}. Rename it or leave it out"
            )
        size = stored.contigs[chrom]
        if not 0 <= start <= end <= size:
            raise InputError(
                f"{show(chrom)}:{start:,}-{end:,} of {show(self.path, 300)}: expected 0 <= start <= end <= {size:,}, the "
                "length of the contig. Wrong assembly?"
            )
        first = int(stored.codes[self._number[chrom]])
        return stored.flat[first + start : first + end]

    def windows(
        self,
        chrom: Chroms,
        start: Integer[np.ndarray, " N"],
        length: int,
        *,
        strand: str | np.ndarray | Sequence[str] | None = None,
        edge: Literal["error", "pad"] = "error",
    ) -> UInt8[np.ndarray, "N L"]:
        """Returns the codes of the windows `[start, start + length)`, in the order given.

        Args:
            chrom: contig of each window, or one for all; integers count in `contigs`.
            start: first base of each window, 0-based; may lie outside of the contig with `edge="pad"`.
            length: bases of every window.
            strand: `+`, `-` or `.` of each window, or one for all; `-` gives the reverse complement.
            edge: what happens to windows that reach over an end of their contig: refused, or unknown bases (4) outside.

        Raises:
            InputError: a contig that is not in the genome, a window outside under `error`, another strand.
        """
        contig, start, outside = self._rows(chrom, start, length, edge)
        minus = self._minus(strand, len(start))
        stored = self._stored
        first = stored.codes[contig] + start
        result = np.empty((len(start), length), np.uint8)
        step = max(1, _BLOCK // length)
        every = np.zeros((0, length), np.uint8)  # no contig is that long: all windows are outside
        if len(stored.flat) >= length:
            every = np.lib.stride_tricks.sliding_window_view(stored.flat, length)
        for low in range(0, len(start), step):
            part = slice(low, low + step)
            block, off = result[part], outside[part]
            if off.any():
                inside = ~off
                block[inside] = every[first[part][inside]]
                block[off] = self._padded(contig[part][off], start[part][off], length)
            else:
                block[:] = every[first[part]]
            if minus is not None and (rows := np.flatnonzero(minus[part])).size:
                block[rows] = reverse_complement(block[rows])
        return result

    def masked_share(
        self,
        chrom: Chroms,
        start: Integer[np.ndarray, " N"],
        length: int,
        *,
        edge: Literal["error", "pad"] = "error",
    ) -> Float32[np.ndarray, " N"]:
        """Returns which share of each window is soft-masked (lower case in the file); bases outside of the contig are not.

        Raises:
            InputError: the genome was opened without `masked="keep"`; otherwise as for `windows`.
        """
        stored = self._stored
        if stored.masks is None or self.masked != "keep":
            raise InputError(
                f"{show(self.path, 300)} was opened without its soft mask: expected masked='keep', found {self.masked!r}"
            )
        contig, start, _ = self._rows(chrom, start, length, edge)
        size = stored.sizes[contig]
        low, high = np.clip(start, 0, size), np.clip(start + length, 0, size)
        result = np.zeros(len(start), np.float32)
        if not len(stored.flat):
            return result
        span = (length + 7) // 8 + 1  # bytes that `length` bits can touch
        step = max(1, _BLOCK // span)
        for begin in range(0, len(start), step):
            part = slice(begin, begin + step)
            byte = (stored.masks[contig[part]] + (low[part] >> 3))[:, None] + np.arange(span)
            bits = stored.flat.take(byte, mode="clip")  # what is clipped lies behind the end and is cut below
            skip = low[part] & 7
            kept = np.clip((skip + high[part] - low[part])[:, None] - 8 * np.arange(span), 0, 8)  # bits of each byte
            bits &= (0xFF00 >> kept).astype(np.uint8)
            bits[:, 0] &= (0xFF >> skip).astype(np.uint8)
            result[part] = np.bitwise_count(bits).sum(1, dtype=np.int64) / length
        return result

    @functools.cached_property
    def _number(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.contigs)}

    def _rows(
        self, chrom: Chroms, start: np.ndarray, length: int, edge: str
    ) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
        """Returns contig number, start and whether it reaches outside, of every window; refuses what must be.

        Starts far outside are moved to where the window just lies outside altogether, so that sums cannot overflow.
        """
        if length < 1:
            raise InputError(f"length of windows: expected at least 1 base, found {length}")
        if edge not in ("error", "pad"):
            raise InputError(f"edge: expected error or pad, found {show(edge)!r}")
        start = np.asarray(start)
        if start.dtype.kind not in "iu" or start.ndim != 1:
            raise InputError(f"starts of windows: expected integers [N], found {start.dtype} {list(start.shape)}")
        start = start.astype(np.int64)
        contig = self._coded(chrom, len(start))
        sizes = self._stored.sizes[contig]
        outside = (start < 0) | (start > sizes - length)
        if edge == "error" and (count := int(outside.sum())):
            rows = np.flatnonzero(outside)[:6]
            names = list(self.contigs)
            found = [
                f"{names[contig[i]]}:{start[i]:,}-{int(start[i]) + length:,} ({sizes[i]:,} bases)"
                for i in rows.tolist()
            ]
            more = f", ... and {count - 5:,} more" if count > 5 else ""
            raise InputError(
                f"{count:,} of {len(start):,} windows fall off their contig in {show(self.path, 300)}: expected all inside, "
                f"found {listing(found[:5])}{more}. Wrong assembly? Leave them out, or pass edge='pad'"
            )
        return contig, np.clip(start, -length, sizes), outside

    def _coded(self, chrom: Chroms, n: int) -> Int64[np.ndarray, " N"]:
        """Returns the number of the contig of each of `n` windows."""
        if isinstance(chrom, str):
            number = np.full(n, self._number.get(chrom, -1), np.int64)
            chrom = np.broadcast_to(np.array(chrom, object), n)
        elif isinstance(chrom, np.ndarray) and chrom.dtype.kind in "iu":
            number = chrom.astype(np.int64)
            number = np.where(number < len(self.contigs), number, -1)
        else:
            chrom = chrom.tolist() if isinstance(chrom, np.ndarray) else chrom
            number = np.fromiter(map(self._number.get, chrom, itertools.repeat(-1)), np.int64, len(chrom))
        if len(number) != n:
            raise InputError(f"windows: expected one contig for each of {n:,} starts, found {len(number):,}")
        if (number < 0).any():
            raise self._unknown(np.flatnonzero(number < 0), chrom)
        return number

    def _unknown(self, rows: np.ndarray, chrom: Sequence[Any] | np.ndarray) -> InputError:
        absent = dict.fromkeys(chrom[i] for i in rows.tolist())
        return InputError(
            f"{len(rows):,} of {len(chrom):,} windows lie on contigs absent from {show(self.path, 300)} "
            f"({listing(absent)}): expected contigs such as {listing(self.contigs, 3)}. Rename them or leave them out"
        )

    def _minus(self, strand: str | np.ndarray | Sequence[str] | None, n: int) -> Bool[np.ndarray, " N"] | None:
        """Returns which windows are read backwards, or None when no strand was given."""
        if strand is None:
            return None
        strands = np.asarray(strand)
        if strands.shape not in ((), (n,)):
            raise InputError(f"strand: expected one for each of {n:,} windows, found shape {strands.shape}")
        minus = strands == "-"
        wrong = ~(minus | (strands == "+") | (strands == "."))
        if wrong.any():
            found = dict.fromkeys(np.atleast_1d(strands)[np.atleast_1d(wrong)].tolist())
            raise InputError(
                f"strand of {int(wrong.sum()):,} windows: expected '+', '-' or '.', found {listing(map(repr, found))}"
            )
        return np.broadcast_to(minus, n)

    def _padded(self, contig: np.ndarray, start: np.ndarray, length: int) -> UInt8[np.ndarray, "N L"]:
        """Returns windows of which any part may lie outside. `windows` gives few at a time, as this makes indices."""
        stored = self._stored
        result = np.full((len(start), length), UNKNOWN, np.uint8)
        position = start[:, None] + np.arange(length)
        row, column = np.nonzero((position >= 0) & (position < stored.sizes[contig][:, None]))
        result[row, column] = stored.flat[(stored.codes[contig] + start)[row] + column]
        return result
