"""The site's folder: made beside the old one and put in its place when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import UserError
from bench.lock import hold

MARKER = ".sweepmark-site"
MARKED = "Sweepmark builds this site: whatever else is put into this folder is lost when it is built again.\n"
LOCK = ".lock"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place when the block ends, and goes where it raises.

    Raises UserError where `target` is a file, holds something else than a site, is being built by another process, or
    cannot be written.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 (resolve() would follow a link, which is refused)
    new, old = target.with_name(f".{target.name}.building"), target.with_name(f".{target.name}.old")
    _refuse_what_is_not_ours(target)
    busy = f"{target} is being built by another process: wait until it is done, or give another folder."
    with hold(new / LOCK, instead="folder for the site", busy=busy):
        try:
            _put_back(old, target)
            _empty(new)
            yield new
            (new / MARKER).write_text(MARKED, encoding="utf-8")
            _refuse_what_is_not_ours(target)
            _swap(new, old, target)
        except OSError as error:
            raise UserError(
                f"Cannot write the site {target} ({error.strerror}): free some space or give another folder."
            ) from None
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _refuse_what_is_not_ours(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UserError(f"{target} is no folder: give one for the site.")
    if target.is_dir() and any(target.iterdir()) and not (target / MARKER).is_file():
        raise UserError(f"{target} holds files that are no site of this suite: give an empty folder or a new one.")


def _put_back(old: Path, target: Path) -> None:
    """A site that was on its way out when a build was killed comes back where there is no other."""
    if (old / MARKER).is_file() and not target.exists():
        old.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _empty(folder: Path) -> None:
    """Remove what a killed build left behind."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _swap(new: Path, old: Path, target: Path) -> None:
    """Two renames: a reader sees the old site, for an instant none, then the new one."""
    if target.exists():
        target.rename(old)
    (new / LOCK).unlink()
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
