"""TOML to a frozen dataclass: an unknown key or a wrong type is an error that names the key; and a table to TOML."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from edgexfer.core.errors import SettingsError, did_you_mean

T = TypeVar("T")
_MOST = 1 << 1000
"""Beyond it a whole number is no float."""
_MOST_SHOWN = 80


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        SettingsError: the file is missing, not readable or not TOML.
    """
    # A bundle holds its target as JSON: who only loads one never parses TOML.
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415
    else:
        import tomli as tomllib  # noqa: PLC0415

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def to_toml(table: dict[str, Any]) -> str:
    """Returns the TOML that `read_toml` reads as `table`; keys whose value is None are left out, as TOML has none.

    Args:
        table: plain keys, and values that are str, bool, int, float, or lists and tuples of such.
    """
    return "".join(f"{key} = {_as_toml(value)}\n" for key, value in table.items() if value is not None)


def _as_toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_as_toml, value))}]"
    if isinstance(value, str):
        # JSON escapes as TOML does, but for DEL, which only TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def from_table(cls: type[T], table: dict[str, Any], where: str) -> T:
    """Makes the dataclass `cls` from a TOML (or JSON) table, nested dataclasses included.

    Args:
        cls: a dataclass; its fields are the known keys.
        table: keys and values as read.
        where: what is named in errors, such as the file.

    Raises:
        SettingsError: an unknown key ("did you mean"), a missing key, or a value of a wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise SettingsError(f"{where}: unknown key {key!r}", did_you_mean(key, fields))
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in table:
            raise SettingsError(f"{where}: key '{name}' is missing")
    return cls(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in table.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if value is None else _convert(options[0], value, where)
    if origin is typing.Literal:
        return _one_of(typing.get_args(hint), value, where)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_table(typing.cast(Any, hint), value, where)
    if origin is dict and isinstance(value, dict):
        inner = typing.get_args(hint)[1]
        return {key: _convert(inner, item, f"{where}.{_on_one_line(key)}") for key, item in value.items()}
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, where) for item in value)
    if hint is Any:
        return value
    if hint is float and type(value) is int and abs(value) < _MOST:
        return float(value)
    expected = origin or hint
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise SettingsError(f"{where} is {_shown(value)}, expected {getattr(expected, '__name__', expected)}")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _on_one_line(key: str) -> str:
    return key if key.isprintable() else repr(key)


def _one_of(known: tuple[Any, ...], value: Any, where: str) -> Any:
    if value not in known:
        raise SettingsError(f"{where} is {value!r}", did_you_mean(str(value), [str(k) for k in known]))
    return value
