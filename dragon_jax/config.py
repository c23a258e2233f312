"""The typed view of a config: a `ConfigDict` on the command line, frozen dataclasses inside the package.

`build` turns a plain dictionary into a dataclass and refuses what does not fit, every complaint with the dotted name of
its field. Defaults live in the dataclasses and nowhere else; `defaults` turns them into a `ConfigDict` for a config file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from dragon_jax.errors import InputError, nearest, show

T = typing.TypeVar("T")


def build(cls: type[T], raw: Mapping[str, Any], where: str = "") -> T:
    """Makes dataclass `cls` from a dictionary, nested dataclasses included.

    Args:
        cls: a dataclass whose fields all have defaults or appear in `raw`.
        raw: plain values; lists become tuples and whole numbers become floats where the field says so.
        where: dotted name of this part of the config, for messages.

    Raises:
        InputError: unknown, missing or mistyped fields, or a value that the class itself refuses; all at once.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    wrong: list[str] = []
    values: dict[str, Any] = {}
    for name in raw:
        if name not in fields:
            wrong.append(f"{prefix}{name}: no such field{nearest(prefix + name, [prefix + f for f in fields])}")
    for name, field in fields.items():
        if name not in raw:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                wrong.append(f"{prefix}{name}: missing")
            continue
        try:
            values[name] = _fit(raw[name], hints[name], prefix + name)
        except InputError as e:
            wrong.append(str(e))
    if not wrong:
        try:
            return cls(**values)
        except ValueError as e:
            wrong.append(prefix + str(e) if where and not str(e).startswith(prefix) else str(e))
    raise InputError("; ".join(wrong), problems=wrong)


def _fit(value: Any, hint: Any, where: str) -> Any:
    """Returns `value` as the type `hint` asks for, or raises with the field's name."""
    from beartype.door import is_bearable

    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, where)
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    origins = {typing.get_origin(o) or o for o in options}
    # beartype looks at one random item of a container only, so items are fitted one by one
    if isinstance(value, (list, tuple)) and tuple in origins:
        inner = next((typing.get_args(o) for o in options if typing.get_origin(o) is tuple), ())
        if len(inner) == 2 and inner[1] is Ellipsis:
            inner = (inner[0],) * len(value)
        if len(inner) == len(value):
            value = tuple(_fit(v, h, f"{where}[{k}]") for k, (v, h) in enumerate(zip(value, inner, strict=True)))
    if isinstance(value, Mapping) and dict in origins:
        inner = next((typing.get_args(o) for o in options if typing.get_origin(o) is dict), (Any, Any))
        value = {k: _fit(v, inner[1], f"{where}.{k}") for k, v in value.items()}
    if type(value) is int and float in origins and int not in origins:
        value = float(value)
    if isinstance(value, bool) and bool not in origins and Any not in origins:
        raise InputError(f"{where}: expected {_spell(hint)}, found {value}")
    if not is_bearable(value, hint):
        raise InputError(f"{where}: expected {_spell(hint)}, found {show(repr(value))}")
    return value


def _spell(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(a) for a in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def defaults(cls: type, **changes: Any):
    """Returns the default values of dataclass `cls` as a `ConfigDict` (optional fields as typed placeholders)."""
    from ml_collections import ConfigDict, config_dict

    hints, result = typing.get_type_hints(cls), ConfigDict()
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        hint = hints[field.name]
        if field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        elif typing.get_origin(hint) is dict:
            value = {}  # for the user to fill; an empty one is refused by the class itself
        else:
            value = None
        if dataclasses.is_dataclass(value):
            value = defaults(type(value))
        elif isinstance(value, dict):
            value = ConfigDict(value)
        if value is None:
            kinds = [a for a in typing.get_args(hint) if a is not type(None)] or [hint]
            base = typing.get_origin(kinds[0]) or kinds[0]
            value = config_dict.placeholder(str if base is Literal else base)
        result[field.name] = value
    for name, value in changes.items():
        result[name] = value
    return result


def plain(config: Any) -> dict[str, Any]:
    """Returns a config as plain dictionaries, tuples as lists: what `config.json` holds."""
    raw = config.to_dict() if hasattr(config, "to_dict") else config

    def simple(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(k): simple(v) for k, v in value.items()}
        if isinstance(value, (tuple, list)):
            return [simple(v) for v in value]
        return value

    return simple(raw)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns `{dotted.path: value}` of the leaves of nested dictionaries."""
    result: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            result |= flatten(value, path + ".")
        else:
            result[path] = value
    return result


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns `path old -> new` for every leaf that differs between two plain configs."""
    a, b = flatten(old), flatten(new)
    missing = "(absent)"
    return [
        f"{k} {show(a.get(k, missing), 30)} -> {show(b.get(k, missing), 30)}"
        for k in sorted(a | b)
        if a.get(k, missing) != b.get(k, missing)
    ]


def digest(config: Mapping[str, Any]) -> str:
    """Returns a hex digest of a plain config that does not depend on the order of its fields."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def check_range(
    name: str,
    value: float | int,
    low: float | int,
    high: float | int,
    *,
    open_low: bool = False,
    open_high: bool = False,
):
    """Raises `name: expected low <= value < high, found ...` when the value lies outside."""
    inside = (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
    if not inside:
        text = f"{low} {'<' if open_low else '<='} x {'<' if open_high else '<='} {high}"
        raise ValueError(f"{name}: expected {text}, found {value}")
