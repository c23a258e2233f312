"""`--config=FILE[:ARGUMENT]` and `--config.a.b=value`, read through ml-collections, with sentences of our own."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dragon_jax.errors import InputError, nearest, show


def load_config(spec: str, overrides: Sequence[str] = ()) -> Any:
    """Returns the `ConfigDict` of a config file with overrides applied. The file is executed.

    Args:
        spec: path of a Python file with `get_config()`, and after a colon the argument it is called with.
        overrides: words such as `--config.optim.learning_rate=3e-4`.

    Raises:
        InputError: no such file, an error inside it, an unknown field, or a value of the wrong type.
    """
    path = spec.partition(":")[0]
    if not Path(path).is_file():
        near = sorted(str(p) for p in Path(path).parent.glob("*.py")) if Path(path).parent.is_dir() else []
        raise InputError(f"--config: no such file {show(path)}{nearest(path, near)}")
    config = _read(spec, [])
    if not hasattr(config, "to_dict"):
        raise InputError(
            f"{path}: get_config() returned {type(config).__name__}, expected an ml_collections.ConfigDict"
        )
    known = _names(config)
    fields = [re.split("=", word.removeprefix("--config."), maxsplit=1) for word in overrides]
    for parts in fields:
        if parts[0] not in known:
            raise InputError(f"--config.{show(parts[0])}: no such field{nearest(parts[0], known)}")
        if len(parts) == 1:
            raise InputError(f"--config.{parts[0]}: expected --config.{parts[0]}=VALUE")
    for word, (name, value) in zip(overrides, fields, strict=True):
        try:
            _read(spec, [word])
        except InputError as e:
            kind = type(_at(config, name)).__name__
            raise InputError(
                f"--config.{name}: expected a value like {show(repr(_at(config, name)))} ({kind}), found {show(repr(value))}"
            ) from e
    return _read(spec, list(overrides)) if overrides else config


def _read(spec: str, words: list[str]) -> Any:
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    try:
        values(["dragon", f"--config={spec}", *words])
        return values.config
    except InputError:
        raise
    except Exception as e:
        if isinstance(e.__cause__, InputError):
            raise e.__cause__ from e
        raise InputError(_where(e, spec)) from e


def _where(error: Exception, spec: str) -> str:
    """The sentence for an exception inside a config file, with the line it came from."""
    path = spec.partition(":")[0]
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    if isinstance(root, InputError):
        return str(root)
    if isinstance(root, SyntaxError):
        return f"{path}, line {root.lineno}: not Python ({root.msg})"
    lines = [f.lineno for f in traceback.extract_tb(root.__traceback__) if Path(f.filename).name == Path(path).name]
    place = f"{path}, line {lines[-1]}" if lines else path
    return f"{place}: {type(root).__name__}: {show(root, 200)}"


def _names(config: Any, prefix: str = "") -> list[str]:
    """Dotted names of all fields, sections included."""
    names = []
    for key in config.keys():
        value = config.get_ref(key).get() if config.get_type(key) else config[key]
        names.append(prefix + key)
        if hasattr(value, "to_dict"):
            names += _names(value, f"{prefix}{key}.")
    return names


def _at(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = config[part]
    return config
