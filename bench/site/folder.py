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
MARKED = "Sweepmark built this site of the files below, and replaces them when it is built again.\n"
LOCK = ".lock"
REMEDY = "move it away, or name another folder for the site."


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place when the block ends, and goes where it raises.

    Raises UserError where `target` is a file, holds anything that no earlier site wrote, is the folder that this
    process is in, is being built by another process, or cannot be written.
    """
    with _said(target):
        target = _own_name(target)
        new, old = target.with_name(f".{target.name}.building"), target.with_name(f".{target.name}.old")
        _refuse_what_is_not_ours(target)
        new.mkdir(parents=True, exist_ok=True)
        busy = f"{target} is being built by another process: wait until it is done, or give another folder."
        (new / LOCK).touch()  # where it cannot be, what is said is of the target
    with hold(new / LOCK, instead="folder for the site", busy=busy):
        try:
            with _said(target):
                _put_back(old, target)
                _empty(new)
                yield new
                (new / MARKER).write_text(MARKED + _listed(new), encoding="utf-8", newline="\n")
                _refuse_what_is_not_ours(target)
                _swap(new, old, target)
        finally:
            shutil.rmtree(new, ignore_errors=True)


@contextmanager
def _said(target: Path) -> Iterator[None]:
    """Whatever the disk refuses, said of the target: of the folders beside it nobody knows."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write the site {target} ({error.strerror}): give another folder, or free some space."
        ) from None


def _own_name(target: Path) -> Path:
    """The target with a name that a folder beside it can have too. Links are not followed: they are refused."""
    target, here = Path(os.path.abspath(target)), Path.cwd()  # noqa: PTH100
    for folder, what in ((Path(target.anchor), "the root of all folders"), (here, "the folder that you are in")):
        if target == folder:
            raise UserError(f"{target} is {what}, which no site can replace: name a folder in it, such as site.")
    if target in here.parents:
        raise UserError(f"{target} holds the folder that you are in, so no site can replace it: name another folder.")
    return target


def _refuse_what_is_not_ours(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UserError(f"{target} is no folder: give one for the site.")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not (target / MARKER).is_file():
        raise UserError(f"{target} holds files that are no site of this suite: give an empty folder or a new one.")
    ours = _written(target)
    if not ours:
        raise UserError(
            f"{target} holds a site whose {MARKER} lists none of its files, so that others among them cannot be told: "
            "remove that folder if nothing in it is yours, or name another one for the site."
        )
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if name not in ours and name != MARKER and (path.is_symlink() or not path.is_dir()):
            raise UserError(f"{path} was written by no site, and would be lost to a new one: {REMEDY}")


def _listed(folder: Path) -> str:
    """All files in it, a line each."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return "".join(f"{name}\n" for name in names if name != LOCK)


def _written(target: Path) -> frozenset[str]:
    """What the site there listed as its files."""
    lines = (target / MARKER).read_text(encoding="utf-8", errors="replace").splitlines()
    return frozenset(lines[1:])


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
