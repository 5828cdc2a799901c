"""Plain data as a script that a page loads: pages opened from a file may not fetch, but may load scripts."""

from __future__ import annotations

import json
from typing import Any

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
"""What ends a script or starts HTML in it is written another way; inside strings, where alone these can stand, it is
the same."""


def register(key: str, data: Any) -> str:
    """A script that hands `data` to the page under `key`. Raises ValueError on NaN or infinity."""
    return f"sweepmark.register({_json(key)}, {_json(data)});\n"


def _json(data: Any) -> str:
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.translate(_ESCAPES)
