"""The verbs prepare, check and download as commands: exit codes, lines, one sentence for what goes wrong."""

import pytest

from dragon_jax.cli import main
from tests.runs.helpers import write_config


def test_prepare_then_check_then_train(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "cache"))
    config, out = write_config(tmp_path), tmp_path / "sets"
    words = ["prepare", f"--config={config}", f"--out={out}", "--config.data.source.positives=160"]
    assert main(words) == 0
    first = capsys.readouterr().out
    (folder,) = out.glob("tiny_*/1.0.0")
    assert f"data set: {folder}\n" in first and "labels written but not shown" in first
    assert f'c.data.source.path, c.data.split.name = "{folder}", "files"' in first
    assert main(words) == 0 and "(was there already)" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert main(["check", str(folder), f"--out={page}", "--all"]) == 0
    assert "310 sequences of 40 bp" in capsys.readouterr().out and "<!DOCTYPE html>" in page.read_text()
    assert main(["check", f"--config={config}", "--config.data.source.positives=160"]) == 0
    assert "310 sequences of 40 bp" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["check"], 2, "expected --config=FILE, or the folder"),
        (["check", "/nowhere"], 2, "no data set at /nowhere"),
        (["download"], 2, "expected the name of a data set"),
        (["download", "motiffs"], 2, "did you mean motifs?"),
        (["prepare", "--config=nowhere.py", "--out=x"], 2, "no such file nowhere.py"),
    ],
)
def test_one_sentence_and_an_exit_code(words, code, text, capsys):
    assert main(words) == code
    said = capsys.readouterr().err
    assert text in said and said.count("\n") == 1


def test_the_list_of_public_sets(capsys):
    assert main(["download", "--list"]) == 0
    page = capsys.readouterr().out
    assert "deepbind_encode" in page and "dragon download yeast: for configs/yeast_chipexo.py" in page
    assert main(["download", "ienhancer", "--list"]) == 0
    assert "https://" in capsys.readouterr().out
