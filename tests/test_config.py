"""The typed view: defaults, refusals with the field's name, round trips, overrides on the command line."""

import dataclasses
import json
from pathlib import Path

import pytest

import dragon_jax
from dragon_jax import config as c
from dragon_jax.config_flags import load_config
from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.models.registry import MODELS
from dragon_jax.runs.settings import parse
from tests.runs.helpers import write_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    sizes: tuple[int, ...] = (1, 2)
    limit: int | None = None
    shares: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    name: str = "x"

    def __post_init__(self):
        if self.name == "bad":
            raise ValueError("name: expected anything else, found 'bad'")


def test_build_takes_lists_whole_numbers_and_nested_sections():
    built = c.build(Outer, {"inner": {"rate": 1, "sizes": [3], "limit": None, "shares": {"a": 2}}, "name": "y"})
    assert built == Outer(inner=Inner(rate=1.0, sizes=(3,), shares={"a": 2.0}), name="y")
    assert type(built.inner.rate) is float


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        ({"nam": "y"}, r"top\.nam: no such field; did you mean top\.name\?"),
        ({"inner": {"rate": True}}, r"top\.inner\.rate: expected float, found True"),
        ({"inner": {"rate": "fast"}}, r"top\.inner\.rate: expected float, found 'fast'"),
        ({"inner": {"sizes": [1, "2"]}}, r"top\.inner\.sizes\[1\]: expected int, found '2'"),
        ({"inner": {"limit": 1.5}}, r"top\.inner\.limit"),
        ({"name": None}, r"top\.name: expected str, found None"),
        ({"name": "bad"}, r"top\.name: expected anything else"),
    ],
)
def test_build_names_the_field_that_does_not_fit(raw, match):
    with pytest.raises(InputError, match=match):
        c.build(Outer, raw, "top")


def test_several_problems_are_reported_together():
    raw = c.plain(dragon_jax.template(model="convnet", source="simulation"))
    raw["optim"]["learning_rate"] = -1.0
    raw["model"]["dropout"] = 2.0
    raw["trian"] = {}
    with pytest.raises(InputError) as error:
        parse(raw)
    text = str(error.value)
    assert "3 problems" in text and text.count("learning_rate") == 1
    assert "optim.learning_rate: expected 0 < x" in text
    assert "model.dropout: expected 0 <= x < 1, found 2.0" in text
    assert "trian: no such field for model 'convnet'; did you mean train?" in text


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("source", ["simulation", "table", "fasta", "arrays", "tfds"])
def test_every_template_survives_json_and_parses_once_filled(model, source):
    config = dragon_jax.template(model=model, source=source)
    if source == "table":
        config.data.source.paths, config.data.source.label_columns = {"all": "x.tsv"}, ("y",)
    elif source == "fasta":
        config.data.source.positives = {"all": "x.fa"}
        config.data.source.negatives = {"all": "y.fa"}
    elif source == "arrays":
        config.data.source.paths = {"all": "x.npz"}
    elif source == "tfds":
        config.data.source.path = "folder"
    raw = c.plain(config)
    assert parse(json.loads(json.dumps(raw))) == parse(config)
    assert parse(config).model == MODELS[model](name=model)


def test_differences_and_digest_see_every_leaf_and_no_order():
    a = {"x": {"y": 1, "z": [1, 2]}, "w": 0}
    b = {"w": 0, "x": {"z": [1, 2], "y": 2}}
    assert c.differences(a, b) == ["x.y 1 -> 2"]
    assert c.differences(a, {"x": {"y": 1, "z": [1, 2]}}) == ["w 0 -> (absent)"]
    assert c.digest(a) != c.digest(b)
    assert c.digest(a) == c.digest({"w": 0, "x": {"z": [1, 2], "y": 1}})


def test_overrides_reach_every_kind_of_field(tmp_path):
    path = write_config(tmp_path)
    words = ["--config.optim.learning_rate=3e-4", "--config.model.filters=(4,5)", "--config.model.widths=3,3"]
    words += ["--config.train.steps=7", "--config.data.source.motif=GATTACA", "--config.train.tensorboard=true"]
    config = load_config(str(path), words)
    assert config.optim.learning_rate == 3e-4
    assert config.model.filters == (4, 5) and config.model.widths == (3, 3)
    assert config.train.steps == 7 and config.data.source.motif == "GATTACA" and config.train.tensorboard is True


@pytest.mark.parametrize(
    ("word", "match"),
    [
        ("--config.optim.lr=1", r"--config\.optim\.lr: no such field; did you mean optim\.learning_rate\?"),
        ("--config.modle.dropout=0.1", r"no such field"),
        (
            "--config.optim.learning_rate=fast",
            r"--config\.optim\.learning_rate: expected a value like 0\.02 \(float\), found 'fast'",
        ),
        ("--config.seed=1.5", r"--config\.seed: expected a value like 0 \(int\), found '1\.5'"),
        ("--config.seed", r"expected --config\.seed=VALUE"),
    ],
)
def test_bad_overrides_are_one_sentence(tmp_path, word, match):
    with pytest.raises(InputError, match=match):
        load_config(str(write_config(tmp_path)), [word])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("def get_config(:\n", r"line 1: not Python"),
        ("import dragon_jax\n\ndef get_config():\n    return 1 / 0\n", r"bad\.py, line 4: ZeroDivisionError"),
        (
            "import dragon_jax\n\ndef get_config():\n    return dragon_jax.template(model='convent', source='table')\n",
            "did you mean convnet",
        ),
        (
            "import dragon_jax\n\ndef get_config():\n    c = dragon_jax.template(model='dense', source='table')\n    c.optim.lr = 1\n",
            r"bad\.py, line 5: lr: no such field; did you mean learning_rate\?",
        ),
        ("x = 1\n", "get_config"),
        ("def get_config():\n    return {}\n", "expected an ml_collections.ConfigDict"),
    ],
)
def test_a_broken_config_file_is_one_sentence_with_its_line(tmp_path, text, match):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(InputError, match=match):
        load_config(str(tmp_path / "bad.py"))


@pytest.mark.parametrize(
    ("old", "new", "remedy"),
    [
        (
            "convnet",
            "dense",
            "remove model.conv_dropout, model.dense, model.dense_dropout, model.filters, model.first_activation, "
            "model.padding, model.pool_stride, model.pool_width, model.pools",
        ),
        ("deepbind", "kmer", "model.width, optim, loss, weighting, augment, train"),
        ("kmer", "hybrid", "model.transform and add optim, loss, weighting, augment, train"),
    ],
)
def test_another_model_name_alone_is_one_sentence(old, new, remedy):
    config = dragon_jax.template(model=old, source="simulation")
    parse(config)
    config.model.name = new
    with pytest.raises(InputError) as e:
        parse(config)
    assert str(e.value).startswith(
        f"model.name: '{new}' in a config with the fields of '{old}': expected the fields of '{new}'. Start the config "
        f"from dragon_jax.template(model='{new}', ...), or remove "
    )
    assert str(e.value).endswith(remedy) and len(e.value.problems) == 1


def test_single_fields_of_another_model_are_named_one_by_one():
    config = dragon_jax.template(model="dense", source="simulation").to_dict()
    config["model"]["filters"] = (8,)
    with pytest.raises(InputError, match=r"^model.filters: no such field"):
        parse(config)


def test_a_missing_config_file_names_the_nearest(tmp_path):
    write_config(tmp_path)
    with pytest.raises(InputError, match=r"no such file .*; did you mean .*tiny\.py\?"):
        load_config(str(tmp_path / "tny.py"))


def test_sentences_are_safe_and_short():
    assert show("a\x1b[31m\n" + "x" * 100).startswith("a\\x1b[31m\\n")
    assert len(show("x" * 100)) == 60
    assert listing(range(1209)) == "0, 1, 2, 3, 4, ... and 1,204 more"
    assert nearest("zzz", ["alpha", "beta"]) == ""


def test_sections_with_names_of_the_user_take_new_ones(tmp_path):
    path = str(write_config(tmp_path))
    words = [
        "--config.weighting.name=static",
        "--config.weighting.weights.motif=2.0",
        "--config.weighting.weights.other=1",
    ]
    config = load_config(path, words)
    assert config.weighting.weights.to_dict() == {"motif": 2.0, "other": 1}
    with pytest.raises(InputError, match=r"expected --config\.weighting\.weights\.NAME=VALUE"):
        load_config(path, ["--config.weighting.weights={'a': 1}"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("c.optim.learning_rate = 'x'", r"line 5: learning_rate: expected <class 'float'>, found x"),
        ("raise SystemExit(7)", r"line 5: SystemExit"),
    ],
)
def test_what_goes_wrong_inside_get_config_is_said_with_its_line(tmp_path, text, match, monkeypatch):
    body = f"import dragon_jax\n\ndef get_config():\n    c = dragon_jax.template(model='dense', source='table')\n    {text}\n    return c\n"
    (tmp_path / "bad.py").write_text(body)
    monkeypatch.chdir(tmp_path)  # a relative path must give the line as well
    with pytest.raises(InputError, match=match):
        load_config("bad.py")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("c.train.monitor = 'auprc'", "train: model 'kmer' has no such section. Its config has data, evaluate, model"),
        ("c.modle.k = 3", "modle: model 'kmer' has no such section; did you mean model?"),
        ("c.data.sourc.x = 3", "sourc: no such field; did you mean source?"),
    ],
)
def test_a_section_that_a_model_does_not_have_is_named_beside_those_it_has(tmp_path, text, says):
    body = f"import dragon_jax\n\ndef get_config():\n    c = dragon_jax.template(model='kmer', source='table')\n    {text}\n"
    (tmp_path / "bad.py").write_text(body + "    return c\n")
    with pytest.raises(InputError) as error:
        load_config(str(tmp_path / "bad.py"))
    assert f"bad.py, line 5: {says}" in str(error.value)


@pytest.mark.parametrize("name", ["notes.txt", "README.md", "noend"])
def test_a_config_that_is_no_python_file_is_one_sentence(tmp_path, name):
    (tmp_path / name).write_text("hello\n")
    with pytest.raises(InputError, match="expected a Python file, NAME.py"):
        load_config(str(tmp_path / name))


def test_arguments_of_configs_that_are_none_are_refused_with_the_nearest(tmp_path):
    (tmp_path / "plain.py").write_text("def get_config():\n    return 1\n")
    with pytest.raises(InputError, match="get_config.. takes no argument, found ':zzz'"):
        load_config(f"{tmp_path / 'plain.py'}:zzz")
    root = Path(__file__).parents[1] / "configs"
    for spec, said in {
        "factornet_yeast.py:sequnce": "expected signal, sequence, found 'sequnce'; did you mean sequence",
        "encode_multitask.py:zzz": "expected full, smoke, found 'zzz'",
        "five_systems.py:deepbnd,nanog,0": "system, first word: .*; did you mean deepbind",
        "five_systems.py:deepbind,nang,0": "data, second word: .*; did you mean nanog",
        "five_systems.py:deepbind,nanog": "fold, third word: expected 0, 1",
        "encode_tf.py:REST_GM12878_NRSF_HudsonAlpha,smoek": "mode, after the comma: .*; did you mean smoke",
    }.items():
        with pytest.raises(InputError, match=said):
            load_config(str(root / spec))
