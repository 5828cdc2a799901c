"""TOML files for people, read into frozen dataclasses; an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import UserError, did_you_mean

SCHEMA_VERSION = 1
T = TypeVar("T")


def load_toml(path: Path, cls: type[T]) -> T:
    """The file as an instance of the dataclass `cls`, nested dataclasses included.

    The file carries `schema_version`. Raises UserError that names the file, the key and the remedy.
    """
    from pydantic import ValidationError

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML ({error}): correct that place.") from None
    version = data.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema_version {version!r}; this version reads {SCHEMA_VERSION}: convert the file."
        )
    _refuse_unknown_keys(path, data, cls, "")
    try:
        kind: Any = cls
        loaded: T = _adapter(kind).validate_python(data)
        return loaded
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}." for part in first["loc"]).rstrip(".")
        key = f"{where}: " if where else ""
        if first["type"] == "value_error":  # a dataclass's own words, which say what is to be done
            raise UserError(f"{path}: {key}{first['ctx']['error']}.") from None
        raise UserError(f"{path}: {key or 'the file: '}{first['msg']}: correct that key.") from None


@cache
def _adapter(cls: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _refuse_unknown_keys(path: Path, data: dict[str, Any], cls: Any, prefix: str) -> None:
    import typing

    hints = typing.get_type_hints(cls)
    for key, value in data.items():
        if key not in hints:
            known = [*hints, *([] if prefix else ["schema_version"])]
            raise UserError(f"{path}: unknown key '{prefix}{key}'{did_you_mean(key, known)}")
        if isinstance(value, dict) and dataclasses.is_dataclass(hints[key]):
            _refuse_unknown_keys(path, value, hints[key], f"{prefix}{key}.")
