"""A simulation as files: sequences, labels, the truth about every planted site, and all that is needed to draw it again.

The folder appears whole or not at all, and the same call writes the same bytes.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from dragon_jax.config import plain
from dragon_jax.data.grammar_source import GrammarSource, Simulation
from dragon_jax.errors import InputError, RunError, show
from dragon_jax.files import expand

FASTA, LABELS, TRUTH, RECORD = "sequences.fa", "labels.tsv", "truth.bed", "simulation.json"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Written:
    """What `simulate_to` did.

    Attributes:
        folder: where the files lie. fresh: False when they lay there already, byte for byte.
        sequences, sites: how many.
    """

    folder: Path
    fresh: bool
    sequences: int
    sites: int


def simulate_to(folder: str | os.PathLike, source: GrammarSource, seed: int = 0) -> Written:
    """Draws a simulation and writes `sequences.fa`, `labels.tsv`, `truth.bed` and `simulation.json` into a folder.

    `truth.bed` has the columns sequence, start, end, motif, score, strand, task (0-based half-open, inside the sequence; score = log2
    of motif over background). `simulation.json` has all fields of the source, the seed, the matrices and a sha256 of
    each file.

    Args:
        folder: new, empty, or one that holds the very same simulation.
        seed: used where the source has no seed of its own.

    Raises:
        InputError: the folder holds something else or cannot be made, or the source cannot be drawn.
        RunError: the disk is full; nothing is left behind.
    """
    name = show(os.fspath(folder), 300)
    target = Path(os.path.abspath(expand(folder)))
    if target.exists() and not target.is_dir():
        raise InputError(f"cannot write {name}: expected a folder, found a file")
    if not target.parent.is_dir():
        raise InputError(f"cannot write {name}: there is no folder {show(target.parent, 300)}. Make it first")
    made = source.draw(seed)
    files = {FASTA: _fasta(made), LABELS: _labels(made), TRUTH: _truth(made)}
    digests = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    files[RECORD] = (json.dumps(_record(made, source, seed, digests), indent=1) + "\n").encode()
    result = Written(target, True, len(made.data), len(made.sites))
    if target.is_dir() and any(target.iterdir()):
        _refuse_other(target, name, files)
        return dataclasses.replace(result, fresh=False)
    temporary = target.with_name(f".{target.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir()
        for file, content in files.items():
            with open(temporary / file, "xb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
        os.replace(temporary, target)  # takes the place of an empty folder, never of one with files
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(f"the disk is full: {name} was not written. Make room and run again") from e
        raise InputError(f"cannot write {name}: expected a folder that can be made, found {e.strerror}") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return result


def _refuse_other(target: Path, name: str, files: dict[str, bytes]) -> None:
    """Lets a folder be that holds these files and no others."""
    there = {p.name for p in target.iterdir()}
    for file, content in files.items():
        if file in there and (target / file).read_bytes() != content:
            raise InputError(
                f"{name} holds another simulation ({file} differs): expected a new folder, or the same simulation. "
                "Choose another name"
            )
    if there != set(files):
        odd = sorted(there ^ set(files))[0]
        said = f"no {odd}" if odd in files else f"'{show(odd)}'"
        raise InputError(
            f"{name} is not empty: expected a new folder or the same simulation, found {said}. Choose another name"
        )


def _fasta(made: Simulation) -> bytes:
    codes = made.data.codes
    lines = np.full((len(codes), codes.shape[1] + 1), ord("\n"), np.uint8)
    lines[:, :-1] = np.frombuffer(b"ACGTN", np.uint8)[codes]
    return b"".join(b">%s\n%s" % (str(i).encode(), row.tobytes()) for i, row in zip(made.data.ids, lines, strict=True))


def _labels(made: Simulation) -> bytes:
    header = "\t".join(["id", *(task.name for task in made.data.tasks)])
    labels = made.data.targets.astype(np.int64).tolist()
    rows = ("\t".join([str(i), *map(str, row)]) for i, row in zip(made.data.ids, labels, strict=True))
    return ("\n".join([header, *rows]) + "\n").encode()


def _truth(made: Simulation) -> bytes:
    s, names = made.sites, [m.name for m in made.motifs]
    ids = made.data.ids[s.sequence].tolist()
    columns = zip(
        ids,
        s.start.tolist(),
        s.end.tolist(),
        s.motif.tolist(),
        s.score.tolist(),
        s.reverse.tolist(),
        s.task,
        strict=True,
    )
    return "".join(f"{i}\t{a}\t{b}\t{names[m]}\t{x:.4f}\t{'+-'[r]}\t{t}\n" for i, a, b, m, x, r, t in columns).encode()


def _record(made: Simulation, source: GrammarSource, seed: int, digests: dict[str, str]) -> dict[str, Any]:
    fields = plain(dataclasses.asdict(source))
    return {
        "format": _FORMAT,
        "seed": seed if source.seed is None else source.seed,
        "source": fields | {"name": "grammar"},
        "recipe": plain(dataclasses.asdict(source.built())),  # type: ignore[call-overload]
        "sequences": len(made.data),
        "positives": {t.name: int(made.data.targets[:, i].sum()) for i, t in enumerate(made.data.tasks)},
        "sites": len(made.sites),
        "motifs": {m.name: m.probabilities.tolist() for m in made.motifs},
        "columns of truth.bed": ["sequence", "start", "end", "motif", "score", "strand", "task"],
        "sha256": digests,
    }
