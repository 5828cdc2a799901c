"""JSON from strangers: every key once, every number finite and of a size to reckon with, no deep nesting."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

MAX_DEPTH = 24
MAX_MAGNITUDE = 1e15
"""No time, count or rate of a run is larger, and sums and products of numbers up to it stay finite."""


def strict_json(data: bytes) -> Any:
    """The value. Raises ValueError that says in a few words why it is none."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_int=_whole,
            parse_float=_real,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos}") from None
    _check_depth(value)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {twice[:40]!r} is there twice")
    return value


def _no_constant(constant: str) -> None:
    raise ValueError(f"{constant} has no place in JSON")


def _whole(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MAX_MAGNITUDE:
        raise ValueError(f"the number {digits[:20]} is too large")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if not abs(value) <= MAX_MAGNITUDE:
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        level = inner
