"""Files written whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from bench.errors import UserError


def write_together(files: Mapping[Path, bytes], remedy: str = "free some space or correct the permissions") -> None:
    """All of the files or, where one cannot be written, none; on disk, and a reader sees an old file or a new one,
    never a part. Raises UserError that ends with the remedy; folders are not made."""
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in files}
    path = Path()
    try:
        for path, data in files.items():
            with temporary[path].open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            temporary[path].replace(path)
        for folder in {path.parent for path in files}:
            _sync(folder)
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror}): {remedy}.") from None
    finally:
        for left in temporary.values():
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
