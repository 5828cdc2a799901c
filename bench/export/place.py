"""Where an export goes: one writer at a time, nothing left where it fails, and what to say then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import UserError
from bench.export.common import one_line
from bench.lock import hold

LOCK_NAME = ".sweepmark.lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only export that writes in a folder, which is made where it is missing. Folders made for it go again where
    nothing was put in them. Raises UserError where another export is writing, or nobody can."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    lock = folder / LOCK_NAME
    try:
        with hold(
            lock,
            instead="place",
            busy=f"Another export is writing in {folder}: wait until it is done, then give the same command again.",
        ):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    finally:
        for each in made:
            if each.is_dir() and not any(each.iterdir()):
                each.rmdir()


def needs(tool: str, error: ImportError) -> UserError:
    """The error where a package is missing."""
    return UserError(f"Export to {tool} needs the package {error.name}: `pip install sweepmark[export]`.")


def cannot_write(tool: str, place: Path, error: BaseException) -> UserError:
    """The error where a tool or the disk refuses."""
    strerror = error.strerror if isinstance(error, OSError) else None
    reason = strerror or one_line(error) or type(error).__name__
    return UserError(
        f"Cannot write for {tool} in {place} ({reason}): free some space, correct the permissions, or give another "
        "place."
    )


def other_there(label: str, place: Path, remove: str) -> UserError:
    """The error where something else stands under the run's name."""
    return UserError(
        f"{place} holds '{label}' already, but not this state of the run: {remove}, or give another place."
    )
