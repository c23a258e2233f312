"""A folder made by `dragon prepare` as the data of a run: divided and audited already, so that only what is asked for is read.

What else a run wants to know of a split - statistics, fingerprints, sequences of the splits that stay closed - stands in
`metadata.json`. Training data may therefore be larger than the memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dragon_jax.data.builders import TfdsSource, open_stream
from dragon_jax.data.dataset import Dataset
from dragon_jax.data.negatives import NegativesConfig
from dragon_jax.data.records import TfdsSplit, check_file, metadata_of, read_digests
from dragon_jax.data.splits import SplitConfig
from dragon_jax.errors import InputError


def is_prepared(source: Any, split: SplitConfig, negatives: NegativesConfig) -> bool:
    """Whether the source is such a folder, is taken as it is, and was audited at least as strictly as `split` asks."""
    if not isinstance(source, TfdsSource) or source.more or split.name != "files":
        return False
    if negatives.name != "none" or negatives.contrast:
        return False
    about = metadata_of(source.path).get("about") or {}
    gap = about.get("recipe", {}).get("data", {}).get("split", {}).get("gap", 0)
    return bool(about.get("audited")) and split.gap <= gap


def open_prepared(
    path: str, splits: Sequence[str], stream: Sequence[str]
) -> tuple[dict[str, Dataset], dict[str, TfdsSplit], Mapping[str, Any]]:
    """Returns the splits that are asked for, those in `stream` opened only, the others read and verified; and the metadata.

    Raises:
        InputError: no such split, or a file that is missing, cut off or changed.
    """
    meta, digests, folder = metadata_of(path), read_digests(path), Path(path).expanduser()
    parts: dict[str, Dataset] = {}
    streamed: dict[str, TfdsSplit] = {}
    for name in splits:
        rows = open_stream(path, name)
        if name in stream:
            streamed[name] = rows
            continue
        for file in rows.files():
            check_file(folder, file, digests[file], bytewise=True)
        parts[name] = rows.dataset()
        if parts[name].fingerprint() != rows.fingerprint():
            raise InputError(f"split '{name}' of {path} does not decode to what was written. Build it again")
    return parts, streamed, meta


def split_line(meta: Mapping[str, Any], split: str) -> str:
    """Returns a line about a split of `metadata.json`; of test, its size and nothing that was measured."""
    own, binary = meta["splits"][split], [kind == "binary" for _, kind in meta["tasks"]]
    text = f"{split}: {own['rows']:,} sequences of {meta['columns']['codes'][1][0]:,} bp"
    text += f", {len(binary):,} task{'s' * (len(binary) != 1)}"
    known, strong = own["gc"]["known_bases"], own["gc"]["gc_bases"]
    text += f", GC {100 * strong / known:.1f} %" if known else ""
    found = own["statistics"]
    labels = sum(n for n, b in zip(found["measured"], binary, strict=True) if b)
    if split == "test":
        text += ", labels written but not shown"
    elif labels:
        text += f", {100 * sum(n or 0 for n in found['positives']) / labels:.1f} % of labels positive"
    if missing := sum(found["missing"]):
        text += f", {missing:,} labels not measured"
    return text
