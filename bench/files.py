"""Files written whole, and folders that nothing was in before."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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


@contextmanager
def new_folder(out: Path | None, parent: Path, name: str) -> Iterator[Path]:
    """A new folder: `out` or, where none is given, the first free one of `name`, `name`-2, `name`-3 ... in `parent`.
    It goes again where nothing was written into it. Raises UserError where `out` is there, or it cannot be made."""
    folder, number = out or parent / name, 1
    while True:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            if out is not None:
                raise UserError(f"--out {out} exists: give a folder that does not, or drop --out.") from None
            number += 1
            folder = parent / f"{name}-{number}"
        except OSError as error:
            option = "--results" if out is None else "--out"
            raise UserError(f"Cannot make the folder {folder} ({error.strerror}): give another {option}.") from None
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()  # fails where it holds something


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
