"""Splits by place on the genome: folds of whole chromosomes, a published scheme by its name, and groups of loci.

Rows that lie near each other share sequence, chromatin and label; a split that takes neighbours apart measures memory.
Whole chromosomes never do. Where they are too coarse, rows within a distance of each other form a locus group, and a
group goes to one split as a whole. Nothing here depends on the order of the rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from dragon_jax.errors import InputError, listing, nearest, show


@dataclasses.dataclass(frozen=True)
class Scheme:
    """A published division of the chromosomes of one genome.

    Attributes:
        source: where it is published.
        test, valid: chromosomes of each fold, named as in hg38.
    """

    source: str
    test: tuple[tuple[str, ...], ...]
    valid: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> frozenset[str]:
        """All chromosomes of the scheme: each is tested in exactly one fold."""
        return frozenset(name for fold in self.test for name in fold)


def _chr(*names: int | str) -> tuple[str, ...]:
    return tuple(f"chr{name}" for name in names)


SCHEMES = {
    "human5": Scheme(
        source="five folds of hg38 of the ENCODE BPNet and ChromBPNet models (Pampari et al., bioRxiv "
        "2024.12.25.630221; fold files at zenodo.org/records/7445373)",
        test=(
            _chr(1, 3, 6),
            _chr(2, 8, 9, 16),
            _chr(4, 11, 12, 15, "Y"),
            _chr(5, 10, 14, 18, 20, 22),
            _chr(7, 13, 17, 19, 21, "X"),
        ),
        valid=(_chr(8, 20), _chr(12, 17), _chr(7, 22), _chr(6, 21), _chr(10, 18)),
    )
}


def balanced_folds(sizes: Mapping[str, int], folds: int) -> dict[str, int]:
    """Returns the fold of each chromosome, so that the folds hold about equal parts of the sum of the sizes.

    Longest processing time first (Graham, SIAM J. Appl. Math. 17, 416-429, 1969): the largest chromosome that is left
    goes to the smallest fold; then single moves and swaps between two folds are made for as long as one brings their
    sizes closer. Ties go by name, so the result depends on names and sizes alone.

    Args:
        sizes: bases or rows of each chromosome.
        folds: how many, at least 2.

    Raises:
        InputError: there are fewer chromosomes than folds.
    """
    if folds < 2:
        raise InputError(f"folds of chromosomes: expected at least 2, found {folds}")
    if len(sizes) < folds:
        raise InputError(
            f"{folds} folds of chromosomes: expected at least {folds} chromosomes, found {len(sizes)} "
            f"({listing(sorted(sizes))}). Ask for fewer folds, or split by loci"
        )
    order = sorted(sizes, key=lambda name: (-sizes[name], name))
    members: list[list[str]] = [[] for _ in range(folds)]
    total = [0] * folds
    for name in order:
        # while empty folds are left they come first, so that a chromosome of size 0 cannot leave one empty
        fold = min(range(folds), key=lambda f: (bool(members[f]), total[f], f))
        members[fold].append(name)
        total[fold] += sizes[name]
    while _closer(members, total, sizes):
        pass
    rank = {name: i for i, name in enumerate(order)}
    members.sort(key=lambda fold: min(rank[name] for name in fold))
    return {name: fold for fold, names in enumerate(members) for name in names}


def _closer(members: list[list[str]], total: list[int], sizes: Mapping[str, int]) -> bool:
    """Makes the move or swap between two folds that lowers the sum of squared fold sizes most; whether there was one."""
    best, chosen = 0, None
    for big in range(len(total)):
        for small in range(len(total)):
            gap = total[big] - total[small]
            if gap <= 0:
                continue
            for name in members[big]:
                for other in (None, *members[small]):
                    step = sizes[name] - (sizes[other] if other is not None else 0)
                    gain = step * (gap - step)  # half of what the sum of squares loses
                    if gain > best and (other is not None or len(members[big]) > 1):
                        best, chosen = gain, (big, small, name, other)
    if chosen is None:
        return False
    big, small, name, other = chosen
    members[big].remove(name)
    members[small].append(name)
    step = sizes[name]
    if other is not None:
        members[small].remove(other)
        members[big].append(other)
        step -= sizes[other]
    total[big] -= step
    total[small] += step
    return True


def scheme_splits(chrom: np.ndarray, name: str, fold: int) -> dict[str, np.ndarray]:
    """Returns which rows are `test` and `valid` (bool `[N]`) in one fold of a published scheme; the others train.

    Args:
        chrom: text `[N]`; with or without `chr` in front (`8` is `chr8`).

    Raises:
        InputError: an unknown scheme or fold, or rows on chromosomes that the scheme does not place, such as unplaced
            and alternative contigs, which repeat sequence of the others.
    """
    if name not in SCHEMES:
        raise InputError(
            f"scheme of chromosomes: expected one of {listing(SCHEMES)}, found '{show(name)}'{nearest(name, list(SCHEMES))}"
        )
    scheme = SCHEMES[name]
    if not 0 <= fold < len(scheme.test):
        raise InputError(f"scheme '{name}': expected fold 0 to {len(scheme.test) - 1}, found {fold}")
    found, code, counts = np.unique(chrom.astype(str), return_inverse=True, return_counts=True)
    known = [text if text.startswith("chr") else f"chr{text}" for text in found.tolist()]
    strange = [i for i, text in enumerate(known) if text not in scheme.names]
    if strange:
        raise InputError(
            f"{int(counts[strange].sum()):,} rows lie on chromosomes that scheme '{name}' does not place "
            f"({listing(found[strange].tolist())}): expected chr1 to chr22, chrX or chrY. Leave these rows out, or use "
            "chromosome_folds without a scheme"
        )
    return {
        split: np.isin(known, getattr(scheme, split)[fold])[code] if len(known) else np.zeros(0, bool)
        for split in ("test", "valid")
    }


def locus_groups(
    chrom: np.ndarray, start: Int64[np.ndarray, " N"], end: Int64[np.ndarray, " N"], distance: int = 0
) -> Int64[np.ndarray, " N"]:
    """Returns a group number for each row: rows of one chromosome with at most `distance` bases between them share it.

    Sharing passes on: a chain of neighbours is one group. Rows that touch or overlap have 0 bases between them. Groups
    are numbered along the genome (chromosomes in order of their names), from 0.

    Args:
        chrom: text `[N]`. start, end: 0-based half-open.
    """
    if not len(start):
        return np.zeros(0, np.int64)
    _, code = np.unique(chrom.astype(str), return_inverse=True)
    order = np.lexsort((end, start, code))
    code, start, end = code[order], start[order], end[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = code[1:] != code[:-1]
    first = np.flatnonzero(fresh)
    reach = np.empty_like(end)  # how far the rows of this chromosome up to each one reach
    for a, b in zip(first, [*first[1:], len(order)], strict=True):
        reach[a:b] = np.maximum.accumulate(end[a:b])
    fresh[1:] |= start[1:] - reach[:-1] > distance
    result = np.empty(len(order), np.int64)
    result[order] = np.cumsum(fresh) - 1
    return result


def locus_hash(
    chrom: np.ndarray, start: Int64[np.ndarray, " N"], group: Int64[np.ndarray, " N"], salt: str = ""
) -> Float64[np.ndarray, " N"]:
    """Returns a number in [0, 1) for each row, the same within a group: a hash of (salt, chromosome, first start)."""
    if not len(start):
        return np.zeros(0)
    order = np.lexsort((start, group))
    leader = order[np.flatnonzero(np.diff(group[order], prepend=-1))]  # the first row of each group on the genome
    _, index = np.unique(group, return_inverse=True)
    words = [
        hashlib.blake2b(f"{salt}\0{name}\0{position}".encode(), digest_size=8).digest()
        for name, position in zip(_text(chrom[leader]), start[leader].tolist(), strict=True)
    ]
    share = (np.frombuffer(b"".join(words), "<u8") >> np.uint64(11)) * 2.0**-53
    return share[index]


def _text(values: np.ndarray) -> Sequence[str]:
    return values.astype(str).tolist()
