"""Genome and files for the regions that a run scores: those that it was trained with, unless others are given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dragon_jax.data.builders import TfdsSource
from dragon_jax.data.genome_config import GenomeConfig
from dragon_jax.data.genome_inputs import METADATA, InputConfig, read_row
from dragon_jax.data.input_spec import InputSpec
from dragon_jax.data.load import data_config
from dragon_jax.data.records import metadata_of
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.settings import parse


@dataclasses.dataclass(frozen=True)
class RegionInputs:
    """What `data.region_stream.stream_regions` needs to know of a run.

    Attributes:
        source: genome and files. length: bases of a window. core: bases that annotations are looked up for.
    """

    source: InputConfig
    length: int
    core: int


def region_inputs(
    run: RunDir,
    specs: Mapping[str, InputSpec],
    length: int | None,
    *,
    genome: str | None = None,
    signals: Mapping[str, Sequence[str]] | None = None,
    annotations: Mapping[str, str] | None = None,
    metadata: Mapping[str, float] | None = None,
    core: int | None = None,
) -> RegionInputs:
    """Returns what windows around regions are made of for the model of a run.

    Args:
        specs: the inputs that the model reads. length: bases that it reads, None = any.
        genome: FASTA instead of that of the run. signals: files of a signal instead, one for each column.
        annotations: BED files instead, by column of `metadata`. metadata: numbers of that vector instead.
        core: bases in the middle of a window that annotations are looked up for, instead of those of the run (or all).

    Raises:
        InputError: no genome, a name that the model does not read, or no files for what it reads.
    """
    trained = _trained_on(run)
    fields: dict[str, Any] = {"genome": genome}
    if trained is not None:
        fields = {f.name: getattr(trained, f.name) for f in dataclasses.fields(InputConfig)}
        fields["genome"] = genome or trained.genome
    if not fields["genome"]:
        raise InputError(
            f"{run} was not trained on a genome: expected --genome=FASTA with the bases of the regions, found none"
        )
    length = length or (trained.length if trained else None)
    if length is None:
        raise InputError(
            f"the model of {run} scores any length: expected sequences, found regions. Cut them out as FASTA"
        )
    for field in ("profiles", "profile_columns", "profile_scale"):  # files that nothing reads need not be there
        fields[field] = {k: v for k, v in fields.get(field, {}).items() if k in specs}
    if METADATA not in specs:
        fields |= {"annotations": {}, "metadata": {}, "metadata_table": "", "metadata_row": "", "metadata_columns": ()}
    _replace_signals(fields, specs, signals or {})
    _replace_numbers(run, fields, specs, annotations or {}, metadata or {})
    if other := [k for k, s in specs.items() if k not in fields["profiles"] and (s.kind == "signal" or k != METADATA)]:
        name, kind = other[0], specs[other[0]].kind
        mend = f"--signal {name}=FILE,..." if kind == "signal" else "sequences and --inputs=FILE instead of regions"
        raise InputError(f"input '{show(name)}' of {run}: expected files to make it from, found none. Give {mend}")
    try:
        source = InputConfig(**fields)
    except ValueError as e:
        raise InputError(f"inputs of {run} for these regions: {e}") from e
    return RegionInputs(source, length, core or (trained.core() if trained else length))


def _replace_signals(
    fields: dict[str, Any], specs: Mapping[str, InputSpec], given: Mapping[str, Sequence[str]]
) -> None:
    for name, paths in given.items():
        _known(name, [k for k, s in specs.items() if s.kind == "signal"], "--signal", "signal")
        columns = specs[name].columns
        if columns and len(paths) != len(columns):
            raise InputError(
                f"--signal {show(name)}: expected {len(columns)} files ({listing(columns)}), found {len(paths)}. Name all, in this order"
            )
        fields["profiles"] = {**fields["profiles"], name: tuple(paths)}
        if columns:
            fields["profile_columns"] = {**fields["profile_columns"], name: columns}


def _replace_numbers(
    run: RunDir,
    fields: dict[str, Any],
    specs: Mapping[str, InputSpec],
    annotations: Mapping[str, str],
    metadata: Mapping[str, float],
) -> None:
    columns = specs[METADATA].columns if METADATA in specs else ()
    for name in annotations:
        _known(name, columns, "--annotation", "column of 'metadata'")
    for name in metadata:
        _known(name, columns, "--metadata", "column of 'metadata'")
    if not columns:
        return
    table = fields.get("metadata_table")
    row = read_row(table, fields["metadata_row"]) if table else {}
    # What is given takes the place of a number or a file alike.
    numbers = {k: v for k, v in {**row, **fields.get("metadata", {})}.items() if k not in annotations}
    beds = {k: v for k, v in fields.get("annotations", {}).items() if k not in metadata}
    fields["metadata"], fields["annotations"] = {**numbers, **metadata}, {**beds, **annotations}
    fields |= {"metadata_table": "", "metadata_row": ""}
    fields["metadata_columns"] = columns  # in the order of the training
    if lacking := [k for k in columns if k not in fields["metadata"] and k not in fields["annotations"]]:
        first = lacking[0]
        raise InputError(
            f"input '{METADATA}' of {run}: expected a number or a file for each of its columns ({listing(columns, 20)}), found "
            f"none for {listing(lacking, 20)}. For {show(first)} give --metadata={first}=NUMBER or --annotation={first}=FILE"
        )


def _known(name: str, known: Sequence[str], flag: str, noun: str) -> None:
    if name not in known:
        raise InputError(
            f"{flag} {show(name)}: this model reads no {noun} of that name (it reads {listing(known, 20) or 'none'})"
            f"{nearest(name, list(known))}"
        )


def _trained_on(run: RunDir) -> GenomeConfig | None:
    section = parse(run.config, imported=True).data_section
    return None if section is None else genome_source(section.source)


def genome_source(source: Any) -> GenomeConfig | None:
    """Returns the genome source that data come from, also where `dragon prepare` made the folder of one; None = another."""
    if isinstance(source, TfdsSource):
        recipe = (metadata_of(source.path).get("about") or {}).get("recipe", {}).get("data")
        source = data_config(recipe).source if recipe else None
    return source if isinstance(source, GenomeConfig) else None
