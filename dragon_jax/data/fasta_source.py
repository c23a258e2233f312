"""Source `fasta`: positives in one FASTA file, negatives in another or made from the positives later."""

from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np

from dragon_jax.data.dataset import Dataset, Regions, Task, concatenate
from dragon_jax.data.lengths import Fit, Fitter, check_policy, moved, text_array
from dragon_jax.data.table_source import check_parts
from dragon_jax.data.tables import BLOCK
from dragon_jax.errors import listing, show
from dragon_jax.files import Faults
from dragon_jax.genome.fasta import Record, read_fasta

_REGION = re.compile(r"(?:.*::)?(?P<chrom>[^:]+):(?P<start>\d+)-(?P<end>\d+)(?:\((?P<strand>[+.-])\))?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FastaSource:
    """One binary task from FASTA files.

    Attributes:
        positives: file with the positives, by split (`train`, `valid`, `test`) or under `all`; plain or gzip.
        negatives: file with the negatives, under some of the same keys; empty when they are to be shuffled.
        task: name of the task.
        regions_from_names: read names as genome coordinates, `chr1:100-200` with or without `(+)`, 0-based half-open or
            1-based inclusive, as the length of the sequence tells.
        length: bases per sequence; None = as in the first record.
        fit: what happens to sequences of another length, see `Fitter`.
    """

    positives: dict[str, str]
    negatives: dict[str, str] = dataclasses.field(default_factory=dict)
    task: str = "bound"
    regions_from_names: bool = False
    length: int | None = None
    fit: Fit = "refuse"

    def __post_init__(self):
        check_policy(self.length, self.fit)
        check_parts("positives", self.positives)
        if extra := set(self.negatives) - set(self.positives):
            raise ValueError(
                f"negatives: expected keys of positives ({listing(self.positives)}), found {listing(sorted(extra))}"
            )
        if not self.task:
            raise ValueError("task: expected a name, found an empty one")

    def load_parts(self, seed: int = 0) -> dict[str, Dataset]:
        """Returns one data set per key of `positives`, positives first; `seed` is not used, files are what they are.

        Raises:
            InputError: whatever the files hold that they should not.
        """
        length, parts = self.length, {}
        for part, path in self.positives.items():
            files = [(path, 1.0)] + ([(self.negatives[part], 0.0)] if part in self.negatives else [])
            read = []
            for file, label in files:
                read.append(self._load(file, label, length))
                length = length or read[0].length
            parts[part] = concatenate(read)
        return parts

    def _load(self, path: str, label: float, length: int | None) -> Dataset:
        data, strands = examples(path, length, self.fit, regions=self.regions_from_names)
        notes = dict(data.notes) | ({"regions on the reverse strand": int(strands.sum())} if strands.any() else {})
        targets = np.full((len(data), 1), label, np.float32)
        return dataclasses.replace(data, targets=targets, tasks=(Task(self.task),), notes=notes)


def examples(path: str, length: int | None, fit: Fit, *, regions: bool = False) -> tuple[Dataset, np.ndarray]:
    """Returns the records of a FASTA file as a data set without labels, and which of them read the reverse strand.

    Args:
        regions: read the names as genome coordinates.

    Raises:
        InputError: see `read_fasta`; lengths that the policy does not allow; names that are no coordinates.
    """
    fitter = Fitter(show(path, 300), length, fit)
    codes, ids, places, strands = [], [], [], []
    notes: dict[str, int] = {}
    faults = Faults()
    records = read_fasta(path)
    while block := list(itertools.islice(records, BLOCK)):
        fitted = fitter.block([r.bases for r in block], lambda i, block=block: named(block[i], path))
        for note, count in fitted.notes.items():
            notes[note] = notes.get(note, 0) + count
        codes.append(fitted.codes)
        ids += [r.name for r in block]
        if regions:
            found = [region_of(r.name, len(r.bases), named(r, path), faults) for r in block]
            reverse = np.array([strand == "-" for *_, strand in found])
            chroms = np.array([chrom for chrom, *_ in found], dtype=object)
            starts, ends = (np.array([f[i] for f in found], np.int64) for i in (1, 2))
            assert fitter.length is not None
            places.append(moved(Regions(chroms, starts, ends), fitted, fitter.length, reverse))
            strands.append(reverse)
    fitter.refuse()
    faults.refuse()
    where = None
    if regions:
        chrom = text_array(list(itertools.chain.from_iterable(p.chrom.tolist() for p in places)))
        where = Regions(chrom, np.concatenate([p.start for p in places]), np.concatenate([p.end for p in places]))
    data = Dataset(
        codes=np.concatenate(codes),
        targets=np.full((len(ids), 1), np.nan, np.float32),
        tasks=(Task("none"),),
        ids=text_array(ids),
        regions=where,
        notes=notes,
    )
    return data, np.concatenate(strands) if strands else np.zeros(len(ids), bool)


def named(record: Record, path: str) -> tuple[str, str]:
    """Returns how a message names a record, in full and as one of several."""
    return f"sequence '{show(record.name)}' in {show(path, 300)}, line {record.line}", f"line {record.line}"


def region_of(
    name: str, bases: int, place: tuple[str, str], faults: Faults, remedy: str = "set regions_from_names to False"
) -> tuple[str, int, int, str]:
    """Returns chromosome, start, end (0-based half-open) and strand that a name such as `chr1:100-200(+)` tells.

    Args:
        bases: length of the sequence, which tells whether the name counts from 0 or from 1.
        place: how a message names the record, in full and as one of several.
        faults: takes note of names that are no coordinates or do not fit.
    """
    match = _REGION.fullmatch(name)
    full, short = place
    if match is None:
        faults.add(
            short,
            f"{full}: expected a name such as chr1:100-200, found '{show(name)}'",
            f"{remedy[0].upper()}{remedy[1:]}",
        )
        return "", 0, 1, "."
    start, end = int(match["start"]), int(match["end"])
    if end - start + 1 == bases and start > 0:
        start -= 1
    elif end - start != bases:
        faults.add(
            short,
            f"{full}: expected {end - start} bases (0-based half-open) or {end - start + 1} (1-based inclusive) as its "
            f"name says, found {bases}",
            f"Mend the names, or {remedy}",
        )
    return match["chrom"], start, max(end, start + 1), match["strand"] or "."
