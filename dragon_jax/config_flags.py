"""`--config=FILE[:ARGUMENT]` and `--config.a.b=value`, read through ml-collections, with sentences of our own."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dragon_jax.errors import InputError, listing, nearest, show

# Sections whose names the user chooses; `--config.weighting.weights.CTCF=2.0` adds one.
FREE = (
    "weighting.weights",
    "weighting.lower_bounds",
    "model.assign",
    "data.source.parameters",
    *(
        f"data.source.{f}"
        for f in (
            "paths",
            "label_paths",
            "target_paths",
            "kinds",
            "input_columns",
            "positives",
            "negatives",
            "files",
            "profiles",
        )
    ),
)


def load_config(spec: str, overrides: Sequence[str] = ()) -> Any:
    """Returns the `ConfigDict` of a config file with overrides applied. The file is executed, once.

    Args:
        spec: path of a Python file with `get_config()`, and after a colon the argument it is called with.
        overrides: words such as `--config.optim.learning_rate=3e-4`.

    Raises:
        InputError: no such file, an error inside it, an unknown field, or a value of the wrong type.
    """
    config = _execute(spec)
    known = _names(config)
    for word in overrides:
        name, equals, value = word.removeprefix("--config.").partition("=")
        parent, _, leaf = name.rpartition(".")
        if equals and parent in known and parent in FREE:
            with config.unlocked():
                _at(config, parent)[leaf] = _literal(value)
            continue
        if name not in known:
            raise InputError(f"--config.{show(name)}: no such field{nearest(name, known)}")
        if not equals:
            raise InputError(f"--config.{name}: expected --config.{name}=VALUE")
        _override(config, word, name, value)
    return config


def load_module(spec: str) -> tuple[Any, str]:
    """Returns a config file as a module, executed afresh, and the argument after the colon (empty when there is none)."""
    path, _, argument = spec.partition(":")
    file = Path(path).expanduser()
    if file.is_dir():
        raise InputError(f"--config: {show(path, 200)} is a directory, expected a Python file with get_config()")
    if not file.is_file():
        near = sorted(p.name for p in file.parent.glob("*.py")) if file.parent.is_dir() else []
        raise InputError(f"--config: no such file {show(path, 200)}{nearest(file.name, near)}")
    if file.suffix != ".py":
        raise InputError(f"--config: expected a Python file, NAME.py with get_config(), found {show(path, 200)}")
    found = importlib.util.spec_from_file_location(f"dragon_config_{file.stem}", file)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.path.insert(0, str(file.parent))  # a config may import its neighbours
    try:
        found.loader.exec_module(module)
    except InputError:
        raise
    except PermissionError as e:
        if e.filename is None or Path(e.filename) != file:
            raise InputError(_where(e, path)) from e
        raise InputError(
            f"--config: {show(path, 200)} cannot be read: expected a Python file, found no permission"
        ) from e
    except (Exception, SystemExit) as e:
        raise InputError(_where(e, path)) from e
    finally:
        sys.path.remove(str(file.parent))
    return module, argument


def nested(words: Sequence[str], flag: str) -> dict[str, Any]:
    """Returns nested dictionaries of words such as `parameters.spacing=2,5`; `flag` is what messages call them.

    Raises:
        InputError: a word without a value, or a name that is a section and a value.
    """
    result: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        *sections, leaf = name.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {}) if isinstance(place, dict) else place
        if not equals or not all([*sections, leaf]) or not isinstance(place, dict) or leaf in place:
            raise InputError(f"{flag} {show(word)}: expected {flag} FIELD=VALUE, each field once")
        place[leaf] = _literal(value)
    return result


def _execute(spec: str) -> Any:
    module, argument = load_module(spec)
    path = spec.partition(":")[0]
    if not callable(getattr(module, "get_config", None)):
        raise InputError(f"{path}: expected a function get_config(), found none")
    if argument and not inspect.signature(module.get_config).parameters:
        raise InputError(f"{path}: get_config() takes no argument, found ':{show(argument)}'. Leave it out")
    try:
        config = module.get_config(argument) if argument else module.get_config()
    except InputError:
        raise
    except (Exception, SystemExit) as e:
        raise InputError(_where(e, path)) from e
    if not hasattr(config, "to_dict"):
        raise InputError(
            f"{path}: get_config() returned {type(config).__name__}, expected an ml_collections.ConfigDict"
        )
    return config


def _override(config: Any, word: str, name: str, value: str) -> None:
    """Lets config_flags parse one override into the config, in place."""
    from absl import flags
    from ml_collections import config_flags

    before = _at(config, name)
    if hasattr(before, "to_dict"):
        if name in FREE:
            raise InputError(
                f"--config.{name}: expected --config.{name}.NAME=VALUE, one for each name, found {show(value)!r}"
            )
        raise InputError(f"--config.{name}: a section cannot be given a value. Name one of its fields")
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=["dragon", word])
        values(["dragon", word])
    except Exception as e:
        kind = "" if before is None else f" ({type(before).__name__})"
        raise InputError(
            f"--config.{name}: expected a value like {show(repr(before))}{kind}, found {show(repr(value))}"
        ) from e


def _literal(value: str) -> Any:
    """A number, tuple or text as Python would read it."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def _where(error: BaseException, path: str) -> str:
    """The sentence for an exception inside a config file, with the line it came from."""
    if isinstance(error, SyntaxError):
        return f"{path}, line {error.lineno}: not Python ({error.msg})"
    here = Path(path).expanduser().resolve()
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == here]
    place = f"{path}, line {lines[-1]}" if lines else path
    text = str(error.args[0]) if error.args else str(error)
    if isinstance(error, AttributeError) and hasattr(error.obj, "to_dict"):
        return f"{place}: {_absent(error.obj, str(error.name))}"
    if absent := re.search(r'Key "(.+?)" does not exist', text):
        known = re.findall(r"(\w+)\\*': ", text)
        return f"{place}: {show(absent[1])}: no such field{nearest(absent[1], known)}"
    if wrong := re.match(
        r"Could not override field '(.+?)' .*?\. (.+) is of original type (.+) and cannot be casted to type (.+)", text
    ):
        return f"{place}: {wrong[1]}: expected {wrong[4]}, found {show(wrong[2])} of {wrong[3]}"
    return f"{place}: {type(error).__name__}: {show(text, 200)}"


def _absent(section: Any, name: str) -> str:
    """The sentence for a field or section that a config, or a part of one, does not have."""
    model = section.get("model")
    if not hasattr(model, "to_dict"):
        return f"{show(name)}: no such field{nearest(name, list(section.keys()))}"
    found = [key for key in section.keys() if hasattr(section[key], "to_dict")]
    return (
        f"{show(name)}: model '{show(model.get('name'))}' has no such section{nearest(name, found)}. Its config has "
        f"{listing(found, 20)}"
    )


def _names(config: Any, prefix: str = "") -> list[str]:
    """Dotted names of all fields, sections included."""
    names = []
    for key in config.keys():
        names.append(prefix + key)
        if hasattr(config[key], "to_dict"):
            names += _names(config[key], f"{prefix}{key}.")
    return names


def _at(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = config[part]
    return config
