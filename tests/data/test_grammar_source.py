"""Source `grammar` and its recipes: labels mean what the recipe says, and the data are a function of the fields."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from dragon_jax.config import build
from dragon_jax.config_flags import load_config
from dragon_jax.data.grammar_source import GrammarSource
from dragon_jax.data.load import data_config
from dragon_jax.data.recipes import RECIPES
from dragon_jax.dna import encode, gc_content
from dragon_jax.errors import InputError


def counts(letters: str) -> tuple:
    return tuple(tuple(float(x) for x in row) for row in np.eye(4)[encode(letters)] * 10)


ONE = {"motifs": ("A1",), "counts": (counts("GATTACA"),)}
TWO = {"motifs": ("A1", "B2"), "counts": (counts("GATTACA"), counts("CCGTC"))}
THREE = {"motifs": ("A1", "B2", "C3"), "counts": (*TWO["counts"], counts("TTGCA"))}


def source(recipe: str, fields: dict, **more) -> GrammarSource:
    small = {"length": 80, "positives": 600, "negatives": 400, "pseudocount": 0.0}
    return build(GrammarSource, {"recipe": recipe, **fields, **small, **more})


def copies(made) -> np.ndarray:
    return np.bincount(made.sites.sequence, minlength=len(made.data))


def test_single_motif():
    made = source("single_motif", ONE, task="TAL1").draw()
    assert made.data.targets[:, 0].tolist() == [1] * 600 + [0] * 400
    assert copies(made).tolist() == [1] * 600 + [0] * 400
    assert (made.data.ids[0], made.data.ids[599], made.data.ids[600]) == ("positive_1", "positive_600", "negative_1")
    assert [t.name for t in made.data.tasks] == ["TAL1"] and made.data.notes == {"planted sites": 600}
    words = made.data.codes[made.sites.sequence[:, None], made.sites.start[:, None] + np.arange(7)]
    assert (words[made.sites.reverse == 0] == encode("GATTACA")).all()
    assert (words[made.sites.reverse == 1] == encode("TGTAATC")).all()


def test_motif_density_and_its_numbers():
    made = source("motif_density", ONE).draw()
    n = copies(made)
    assert set(n[:600]) == {3, 4, 5} and set(n[600:]) == {0, 1, 2}
    few = source("motif_density", ONE, parameters={"number": {"low": 4}}).draw()
    assert set(copies(few)[:600]) == {4, 5}  # what is left out keeps the default of the recipe


@pytest.mark.parametrize("where", ["anywhere", "outside"])
def test_localisation_differs_in_place_only(where):
    made = source("motif_density_localization", ONE, parameters={"centre": 50, "negatives": where}).draw()
    n, s = copies(made), made.sites
    assert set(n[:600]) == set(n[600:]) == {2, 3, 4}
    central = (s.start >= 15) & (s.end <= 65)
    assert central[s.sequence < 600].all()
    share = central[s.sequence >= 600].mean()
    assert share == 0 if where == "outside" else 0.4 < share < 0.8


def test_multi_motif_has_a_task_for_each_motif():
    made = source("multi_motif", THREE).draw()
    assert [t.name for t in made.data.tasks] == ["A1", "B2", "C3"] and made.data.ids[-1] == "sequence_1000"
    held = np.zeros((1000, 3))
    held[made.sites.sequence, made.sites.motif] = 1
    assert (held == made.data.targets).all()
    np.testing.assert_allclose(np.bincount(held.sum(1).astype(int)) / 1000, 0.25, atol=0.07)
    one = source("multi_motif", THREE, parameters={"most": 1}).draw()
    assert copies(one).max() == 1
    assert (one.sites.task == np.array(["A1", "B2", "C3"])[one.sites.motif]).all()


def pair_rows(made):
    """Motif and strand of both sites of each sequence, and the bases between them."""
    s = made.sites
    assert (copies(made) == 2).all()
    a, b = np.arange(0, len(s), 2), np.arange(1, len(s), 2)
    columns = s.motif[a], s.reverse[a], s.motif[b], s.reverse[b], s.start[b] - s.end[a]
    return np.stack([c.astype(np.int64) for c in columns], 1)


def kinds(rows) -> set:
    return set(map(tuple, rows[:, :4].tolist()))


FORWARD, TURNED = (0, 0, 1, 0), (1, 1, 0, 1)


def test_heterodimer_grammar_is_the_classic_one():
    rows = pair_rows(source("heterodimer_grammar", TWO).draw())
    assert kinds(rows[:600]) == {FORWARD} and set(rows[:600, 4]) == {2, 3, 4, 5}
    assert len(kinds(rows[600:])) == 8 and np.median(rows[600:, 4]) > 10


@pytest.mark.parametrize(
    ("parameters", "positive", "negative"),
    [
        ({"negatives": "spacing", "negative_spacing": (6, 20)}, {FORWARD}, {FORWARD}),
        ({"negatives": "spacing", "both_strands": True}, {FORWARD, TURNED}, {FORWARD, TURNED}),
        ({"negatives": "orientation"}, {FORWARD}, {(0, 0, 1, 1), (0, 1, 1, 0)}),
        ({"negatives": "orientation", "orientation": "convergent"}, {(0, 0, 1, 1)}, {FORWARD}),
        ({"negatives": "order", "both_strands": True}, {FORWARD, TURNED}, {(1, 0, 0, 0), (0, 1, 1, 1)}),
        ({"negatives": "order", "spacing": (3, 3)}, {FORWARD}, {(1, 0, 0, 0)}),
    ],
)
def test_broken_grammars_keep_the_motifs_and_all_but_one_rule(parameters, positive, negative):
    rows = pair_rows(source("heterodimer_grammar", TWO, parameters=parameters).draw())
    assert (kinds(rows[:600]), kinds(rows[600:])) == (positive, negative)
    gaps, broken = set(rows[:600, 4].tolist()), set(rows[600:, 4].tolist())
    if parameters["negatives"] == "spacing":
        assert min(broken) > max(gaps)
    else:
        assert gaps == broken


def test_orientation_grammar():
    rows = pair_rows(source("orientation_grammar", TWO).draw())
    assert kinds(rows[:600]) == {FORWARD, TURNED}
    assert all(a != b for _, a, _, b, _ in rows[600:].tolist()) and len(kinds(rows[600:])) == 4


@pytest.mark.parametrize(
    ("recipe", "fields", "sentence"),
    [
        ("single", ONE, "recipe: expected one of single_motif.*did you mean single_motif?"),
        ("single_motif", TWO, "motifs: recipe 'single_motif' takes 1, found 2"),
        ("multi_motif", {**THREE, "parameters": {"most": 4}}, "expected least <= most <= 3, found 0 and 4"),
        ("single_motif", {**ONE, "parameters": {"numbr": 3}}, "parameters.numbr: no such field; did you mean parameters.number"),
        ("single_motif", {**ONE, "parameters": {"number": {"low": 2}}}, "parameters.number.high: expected 2 <= x"),
        ("single_motif", {"motifs": ("A", "A")}, "motifs: "),
        ("single_motif", {"motifs": ("A",), "counts": ()} | {"task": ""}, "task: expected a name"),
        ("single_motif", {"motifs": ("A",), "counts": (((1, 2, 3),),)}, "rows of four numbers A C G T for motif 'A'"),
        ("heterodimer_grammar", {"motifs": ("A", "B"), "counts": (counts("AC"),)}, "counts: expected 2 matrices"),
        ("heterodimer_grammar", {"parameters": {"negatives": "spacing", "negative_spacing": (5, 9)}}, "negative_spacing: expected no"),
        ("heterodimer_grammar", {"parameters": {"negatives": "orientation", "orientation": "random"}}, "cannot be broken"),
        ("heterodimer_grammar", {"parameters": {"negatives": "order", "order": "either"}}, "cannot be broken"),
        ("heterodimer_grammar", {"parameters": {"negatives": "order", "both_strands": True, "orientation": "random"}}, "same"),
        ("heterodimer_grammar", {"parameters": {"spacing": (5, 2)}}, "spacing: expected 0 <= least <= most"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work(recipe, fields, sentence):
    with pytest.raises(InputError, match=sentence):
        build(GrammarSource, {"recipe": recipe, **fields})


def test_what_is_missing_or_does_not_fit_is_refused_when_drawn(tmp_path):
    with pytest.raises(InputError, match="names of the motifs to plant"):
        GrammarSource().draw()
    with pytest.raises(InputError, match="no file"):
        GrammarSource(motifs=("A",), motif_file=str(tmp_path / "none.meme")).draw()
    with pytest.raises(InputError, match="5 x 7 bases do not fit into sequences of 34 bases"):
        source("motif_density", ONE, length=34).draw()


def test_data_are_a_function_of_their_fields_and_seed():
    first = source("motif_density", ONE)
    again, other = (dataclasses.replace(first, seed=s).draw(5) for s in (0, 7))
    assert first.draw(1).data.fingerprint() == again.data.fingerprint() != other.data.fingerprint()
    follow = dataclasses.replace(first, seed=None)
    assert follow.draw(7).data.fingerprint() == other.data.fingerprint()
    more = dataclasses.replace(first, positives=900)
    negatives = more.draw().data.codes[900:]
    assert (negatives == first.draw().data.codes[600:]).all()  # classes are drawn apart


def test_motifs_from_a_file_background_from_sequences(tmp_path):
    motifs = tmp_path / "motifs.meme"
    motifs.write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF GAT\nletter-probability matrix: alength= 4 w= 3\n"
        "0 0 1 0\n1 0 0 0\n0 0 0 1\n"
    )
    genome = tmp_path / "real.fa"
    genome.write_text("".join(f">s{i}\n{'CCGCG' * 10}\n" for i in range(30)))
    raw = {
        "name": "grammar", "motifs": ["GAT"], "motif_file": str(motifs), "pseudocount": 0.0, "length": 40,
        "positives": 20, "negatives": 10, "background": {"name": "sequences", "path": str(genome)},
    }  # fmt: skip
    made = data_config({"source": raw}).source.draw()
    assert gc_content(made.data.codes[20:]).tolist() == [1.0] * 10
    np.testing.assert_allclose(gc_content(made.data.codes[:20]), 38 / 40)


@pytest.mark.parametrize("task", ["TAL1", "SIX5", "density", "localisation", "multitask", "heterodimer"])
def test_config_of_the_classic_set_draws_it_fast(task, dragon_data):
    dragon_data("motifs/encode_motifs.txt.gz")
    drawn = data_config(load_config(f"configs/motif_grammar.py:{task}").data.to_dict()).source
    began = time.process_time()
    made = drawn.draw()
    assert time.process_time() - began < 8  # about 0.6 s on a core of its own
    assert made.data.codes.shape == (20_000, 1000 if task == "localisation" else 500)
    assert abs(gc_content(made.data.codes[-3000:]).mean() - 0.4) < 0.01
    assert len(np.unique(made.data.ids)) == 20_000


def test_every_recipe_has_working_defaults():
    for name, cls in RECIPES.items():
        tasks, parts = cls().design(("A", "B", "C")[: cls.takes[0]], "task")
        assert tasks and [p.label for p in parts] in ([1, 0], [None]), name
