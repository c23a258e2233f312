"""Motifs of the JASPAR database, from the copies that the package pyjaspar carries (optional extra `jaspar`)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.motifs.motif import Motif

RELEASE = "JASPAR2024"
_ID = re.compile(r"([A-Za-z]+[0-9]+)(?:\.([0-9]+))?")


def jaspar_motifs(
    matrix_ids: str | Sequence[str] | None = None,
    *,
    collection: str | None = None,
    tax_group: str | None = None,
    release: str = RELEASE,
) -> list[Motif]:
    """Returns motifs of one release of JASPAR (Rauluseviciute et al., Nucleic Acids Res. 52, D174-D182, 2024).

    Names are matrix ids with version (`MA0139.1`), second names those of the factor (`CTCF`); matrices are counts.

    Args:
        matrix_ids: `MA0139.1`, or `MA0139` for its latest version in the release; the result follows their order.
        collection: instead of ids, a whole collection such as `CORE`, sorted by id, latest versions only.
        tax_group: with `collection`, only this group of species, such as `vertebrates`.
        release: `JASPAR2024`, or another that the installed pyjaspar carries.

    Raises:
        InputError: pyjaspar is not installed; unknown release, collection, group or ids (all of them listed).
    """
    if (matrix_ids is None) == (collection is None):
        raise InputError("expected either matrix_ids or a collection, found " + ("both" if collection else "neither"))
    if tax_group is not None and collection is None:
        raise InputError("tax_group goes with a collection, found matrix_ids. Leave it out")
    with _database(release) as database:
        if collection is None:
            wanted = [matrix_ids] if isinstance(matrix_ids, str) else list(matrix_ids or ())
            return [_motif(m) for m in _by_id(database, wanted, release)]
        _known(database, "collection", collection, "SELECT DISTINCT COLLECTION FROM MATRIX", release)
        if tax_group is not None:
            select = "SELECT DISTINCT VAL FROM MATRIX_ANNOTATION WHERE TAG = 'tax_group'"
            _known(database, "tax_group", tax_group, select, release)
        found = database.fetch_motifs(collection=collection, tax_group=tax_group)
        return sorted((_motif(m) for m in found), key=lambda m: m.name)


@contextlib.contextmanager
def _database(release: str) -> Iterator[Any]:
    try:
        import pyjaspar  # pyright: ignore[reportMissingImports]
    except ImportError as e:
        raise InputError(
            "JASPAR motifs need the package pyjaspar, which is not installed. Install the extra: "
            "pip install 'dragon_jax[jaspar]'"
        ) from e
    known = list(pyjaspar.jaspar_releases)
    if release not in known:
        raise InputError(f"release: expected one of {listing(known, 20)}, found '{show(release)}'")
    database = pyjaspar.jaspardb(release=release)
    try:
        yield database
    finally:
        database.conn.close()


def _known(database: Any, field: str, value: str, select: str, release: str) -> None:
    known = sorted(row[0] for row in database.conn.execute(select) if row[0])
    if value not in known:
        raise InputError(
            f"{field}: expected one of {listing(known, 20)} in {release}, found '{show(value)}'{nearest(value, known)}"
        )


def _by_id(database: Any, wanted: Sequence[str], release: str) -> list[Any]:
    versions: dict[str, list[int]] = {}
    for base, version in database.conn.execute("SELECT BASE_ID, VERSION FROM MATRIX"):
        versions.setdefault(base, []).append(int(version))
    full, missing = [], []
    for name in wanted:
        match = _ID.fullmatch(name)
        held = versions.get(match[1], []) if match else []
        version = int(match[2]) if match and match[2] else max(held, default=0)
        if version not in held:
            missing.append(name)
        elif match:
            full.append(f"{match[1]}.{version}")
    if missing or not wanted:
        raise InputError(
            f"{len(missing):,} of {len(wanted):,} matrix ids not in {release} ({listing(missing)}): expected ids such as "
            "MA0139.1 or MA0139. Check id, version and release"
        )
    if len(set(full)) < len(full):
        twice = next(name for name in full if full.count(name) > 1)
        raise InputError(f"matrix id {show(twice)} twice: expected unique ids. Remove one")
    return [database.fetch_motif_by_id(name) for name in full]


def _motif(found: Any) -> Motif:
    counts = np.array([found.counts[base] for base in "ACGT"], np.float64).T
    return Motif.from_counts(found.matrix_id, np.ascontiguousarray(counts), alt_name=found.name)
