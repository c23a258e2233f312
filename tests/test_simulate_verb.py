"""`dragon simulate`: from a config or a recipe to a folder, and the sentences of what cannot be."""

from __future__ import annotations

import json

import pytest

from dragon_jax import api, cli
from dragon_jax.config_flags import nested
from dragon_jax.errors import InputError

COUNTS = "(((9,0,0,0),(0,9,0,0),(0,0,9,0),(0,0,0,9),(9,0,0,0)),)"
RECIPE = ["--recipe=motif_density", "--set", "motifs=ACGTA", "--set", f"counts={COUNTS}", "--set", "length=60"]
SMALL = [*RECIPE, "--set", "positives=30", "--set", "negatives=20"]


def simulate(capsys, *words) -> tuple[int, str, str]:
    code = cli.main(["simulate", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_recipe_is_drawn_into_a_folder_once(tmp_path, capsys):
    out = tmp_path / "out"
    code, said, _ = simulate(capsys, *SMALL, "--set", "parameters.number.high=3", f"--out={out}", "--seed=5")
    assert code == 0 and said.startswith(f"{out}: 50 sequences, ")
    record = json.loads((out / "simulation.json").read_text())
    assert record["seed"] == 5 and record["recipe"]["number"]["high"] == 3 and record["recipe"]["number"]["low"] == 3
    code, said, _ = simulate(capsys, *SMALL, "--set", "parameters.number.high=3", f"--out={out}", "--seed=5")
    assert code == 0 and "lay there already" in said
    code, _, said = simulate(capsys, *SMALL, f"--out={out}")
    assert code == 2 and "holds another simulation" in said


CONFIG = f"""
import dragon_jax

def get_config():
    c = dragon_jax.template(model="convnet", source="grammar")
    c.data.source.motifs, c.data.source.counts = ("ACGTA",), {COUNTS}
    c.data.source.length, c.data.source.positives, c.data.source.negatives = 40, 20, 30
    return c
"""


def test_a_config_is_drawn_with_its_overrides(tmp_path, capsys):
    config = tmp_path / "page.py"
    config.write_text(CONFIG)
    words = ["--config.data.source.positives=25", "--config.data.source.parameters.number={'low':2,'high':2}"]
    code, said, _ = simulate(capsys, f"--config={config}", *words, f"--out={tmp_path / 'out'}")
    assert code == 0 and "55 sequences, 50 planted sites" in said
    code, _, said = simulate(capsys, f"--config={config}", "--set", "length=50", f"--out={tmp_path / 'b'}")
    assert code == 2 and "--set length=50 belongs to --recipe" in said
    code, _, said = simulate(capsys, *SMALL, "--config.seed=3", f"--out={tmp_path / 'b'}")
    assert code == 2 and "--config.seed=3 belongs to --config" in said
    config.write_text(CONFIG.replace('source="grammar"', 'source="simulation"').replace("c.data.source.motifs", "x"))
    code, _, said = simulate(capsys, f"--config={config}", f"--out={tmp_path / 'b'}")
    assert code == 2
    assert [p.name for p in tmp_path.iterdir() if p.is_dir() and p.name != "__pycache__"] == ["out"]


def test_only_the_grammar_source_is_simulated(tmp_path):
    with pytest.raises(InputError, match="data.source.name: expected 'grammar' to simulate, found 'simulation'"):
        api.simulate({"data": {"source": {"name": "simulation"}}}, tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--recipe=motif_densty"], "did you mean motif_density?"),
        (["--recipe=motif_density", "--set", "length"], "--set length: expected --set FIELD=VALUE"),
        (["--recipe=motif_density", "--set", "lenth=5"], "data.source.lenth: no such field; did you mean"),
        (["--recipe=motif_density", "--set", "parameters.a.b=5"], "data.source.parameters.a: no such field"),
        ([*RECIPE, "--set", "parameters.number.high=50"], "do not fit into sequences of 60 bases"),
    ],
)
def test_bad_words_give_one_sentence_and_no_folder(tmp_path, capsys, words, sentence):
    code, _, said = simulate(capsys, *words, f"--out={tmp_path / 'out'}")
    assert code == 2 and said.startswith("dragon simulate: ") and sentence in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_words_become_nested_fields():
    words = ["a=1", "p.q=2,5", "p.r.s=x", "t=(1, 2)"]
    assert nested(words, "--set") == {"a": 1, "p": {"q": (2, 5), "r": {"s": "x"}}, "t": (1, 2)}
    for bad in (["a"], ["=3"], ["a=1", "a=2"], ["a=1", "a.b=2"], ["a..b=2"]):
        with pytest.raises(InputError, match="expected --set FIELD=VALUE, each field once"):
            nested(bad, "--set")
