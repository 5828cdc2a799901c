"""One writer at a time: files that a process holds alone until it closes them, or dies."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from bench.errors import UserError


def hold(path: Path, *, instead: str, busy: str) -> IO[str]:
    """Open a text file to append to, with its folder, and hold it alone. `instead`: the option that names another
    place. `busy`: the sentence for who finds it held. Raises UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(f"Cannot write in {path.parent} ({error.strerror}): give another {instead}.") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(busy) from None
    return file
