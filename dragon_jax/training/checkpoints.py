"""Checkpoints that are either whole or not there: Orbax files, and beside them our own manifest with digests.

`checkpoints/00000600/` is written by Orbax, `checkpoints/00000600.json` by us once every file is on disk: it lists the
leaves, the loop's own state and the SHA-256 of each file, because Orbax does not notice a flipped bit in the weights. A
folder without a manifest is an unfinished save and is ignored; one whose digests differ is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dragon_jax.errors import InputError, RunError, listing

PyTree = Any


class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        folder: where they lie.
        notes: sentences on what was found damaged or unfinished, for the user.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.notes: list[str] = []

    def steps(self) -> list[int]:
        """Returns the steps with a manifest, in order; whether they are intact is for `damage` to say."""
        return sorted(int(p.stem) for p in self.folder.glob("*.json") if p.stem.isdigit())

    def clean(self) -> int:
        """Removes what unfinished saves have left and returns how many there were."""
        if not self.folder.is_dir():
            return 0
        whole = {f"{s:08d}" for s in self.steps()}
        stale = [p for p in self.folder.iterdir() if p.name.removesuffix(".json") not in whole]
        for path in stale:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return len(stale)

    def save(self, state: PyTree, step: int, loop: dict[str, Any]) -> None:
        """Saves a tree of arrays and the loop's own state; returns when both are on disk.

        Raises:
            RunError: no room or the disk failed; the sentence names the last good checkpoint.
        """
        if step in self.steps():
            return
        leaves = to_leaves(state)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_space(sum(x.nbytes for x in leaves.values()))
            self._write(leaves, step, loop)
        except RunError:
            raise
        except Exception as e:
            last = self.steps()
            kept = f"checkpoint {last[-1]} is intact" if last else "no checkpoint was saved before"
            raise RunError(f"could not save checkpoint {step} in {self.folder.parent}: {e}; {kept}") from e

    def _check_space(self, nbytes: int) -> None:
        need = 2 * nbytes + (1 << 20)  # Orbax's copy, its metadata, and room to rename
        free = shutil.disk_usage(self.folder).free
        if free < need:
            last = self.steps()
            kept = f"checkpoint {last[-1]} is intact" if last else "no checkpoint was saved before"
            raise RunError(f"need about {_size(need)} in {self.folder.parent}, {_size(free)} free; {kept}")

    def _write(self, leaves: dict[str, np.ndarray], step: int, loop: dict[str, Any]) -> None:
        target = self.folder / f"{step:08d}"
        if target.exists():
            shutil.rmtree(target)  # without a manifest it is an unfinished save
        _orbax_save(target, nest(leaves))
        files = {}
        for path in sorted(p for p in target.rglob("*") if p.is_file()):
            files[path.relative_to(target).as_posix()] = file_digest(path)
            _sync(path)
        for path in [*(p for p in target.rglob("*") if p.is_dir()), target, self.folder]:
            _sync(path)
        manifest = {
            "step": step,
            "loop": loop,
            "leaves": {k: [list(v.shape), str(v.dtype)] for k, v in leaves.items()},
            "files": files,
        }
        temporary = self.folder / f"{step:08d}.json.tmp"
        with open(temporary, "w") as out:
            json.dump(manifest, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, self.folder / f"{step:08d}.json")
        _sync(self.folder)

    def manifest(self, step: int) -> dict[str, Any]:
        return json.loads((self.folder / f"{step:08d}.json").read_text())

    def damage(self, step: int) -> str:
        """Returns what is wrong with a checkpoint, or an empty string."""
        name = f"checkpoint {step} of {self.folder.parent}"
        try:
            files = self.manifest(step)["files"]
        except (OSError, ValueError, KeyError):
            return f"{name}: its manifest {step:08d}.json cannot be read"
        for file, expected in files.items():
            path = self.folder / f"{step:08d}" / file
            if not path.is_file():
                return f"{name}: file {file} is missing"
            if file_digest(path) != expected:
                return f"{name}: file {file} does not match its recorded digest"
        return ""

    def latest(self) -> int | None:
        """Returns the newest intact step, or None; damaged ones on the way are named in `notes`.

        Raises:
            InputError: there are checkpoints but none of them is intact.
        """
        damaged = []
        for step in reversed(self.steps()):
            problem = self.damage(step)
            if not problem:
                self.notes += [f"{p}; going on from checkpoint {step}, which is intact" for p in damaged]
                return step
            damaged.append(problem)
        if damaged:
            raise InputError(
                f"{'; '.join(damaged)}. No checkpoint of {self.folder.parent} is intact: start again in a new --workdir"
            )
        return None

    def load(self, step: int) -> dict[str, np.ndarray]:
        """Returns the leaves of a checkpoint by path (`params/conv_1/kernel`), digests checked first.

        Raises:
            InputError: no such step, or a damaged one; the sentence names an intact one.
        """
        if step not in self.steps():
            raise InputError(f"no checkpoint {step} in {self.folder}: found {listing(self.steps()) or 'none'}")
        if problem := self.damage(step):
            others = [s for s in self.steps() if s != step and not self.damage(s)]
            hint = (
                f"Checkpoint {others[-1]} is intact: pass --step={others[-1]}" if others else "No other one is intact"
            )
            raise InputError(f"{problem}. {hint}")
        leaves = self.manifest(step)["leaves"]
        # numpy, not device arrays: a checkpoint can then be read on any number of devices
        shapes = nest({k: np.empty(shape, dtype) for k, (shape, dtype) in leaves.items()})
        return to_leaves(_orbax_load(self.folder / f"{step:08d}", shapes))

    def loop(self, step: int) -> dict[str, Any]:
        """Returns the loop's own state that was saved with a step."""
        return self.manifest(step)["loop"]

    def keep(self, steps: Iterable[int]) -> None:
        """Removes every checkpoint except those of `steps`; the manifest goes first, so no half one is ever believed."""
        wanted = set(steps)
        for step in self.steps():
            if step not in wanted:
                (self.folder / f"{step:08d}.json").unlink()
                shutil.rmtree(self.folder / f"{step:08d}", ignore_errors=True)


def to_leaves(tree: PyTree) -> dict[str, np.ndarray]:
    """Returns `{path: array}` of a tree on the host, paths joined by slashes."""
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")  # noqa: E731
    return {name(p): np.asarray(x) for p, x in jax.tree_util.tree_leaves_with_path(tree)}


def nest(leaves: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns nested dictionaries from `{a/b: array}`."""
    result: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, last = path.split("/")
        node = result
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return result


def restore(template: PyTree, leaves: dict[str, np.ndarray], where: str) -> PyTree:
    """Returns `template` with its arrays replaced by those of a checkpoint.

    Raises:
        InputError: missing, unused, resized or retyped leaves, each by its path.
    """
    expected = {k: (v.shape, str(v.dtype)) for k, v in to_leaves(template).items()}
    found = {k: (v.shape, str(v.dtype)) for k, v in leaves.items()}
    text = lambda entry: f"{entry[0]} {entry[1]}" if entry else "nothing"  # noqa: E731
    wrong = [
        f"{k}: expected {text(expected.get(k))}, found {text(found.get(k))}"
        for k in sorted(expected | found)
        if expected.get(k) != found.get(k)
    ]
    if wrong:
        more = f", ... and {len(wrong) - 5:,} more" if len(wrong) > 5 else ""
        raise InputError(f"weights in {where} do not fit: {', '.join(wrong[:5])}{more}")
    paths = jax.tree_util.tree_leaves_with_path(template)
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")  # noqa: E731
    return jax.tree.unflatten(jax.tree.structure(template), [leaves[name(p)] for p, _ in paths])


def _size(nbytes: int) -> str:
    """Returns bytes as people read them: `1.2 GB`, `310 MB`, `40 kB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if nbytes >= factor:
            return f"{nbytes / factor:.1f} {unit}"
    return f"{nbytes / 1e3:.0f} kB"


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _orbax_save(target: Path, tree: dict[str, Any]) -> None:
    from orbax.checkpoint import v1 as ocp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names inside Orbax v1 still move between releases
        getattr(ocp, "save", ocp.save_pytree)(target.resolve(), tree)


def _orbax_load(source: Path, shapes: dict[str, Any]) -> dict[str, Any]:
    from orbax.checkpoint import v1 as ocp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(ocp, "load", ocp.load_pytree)(source.resolve(), shapes)
