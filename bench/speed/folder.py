"""Where a measurement is kept: a folder that was not there before, so that nothing is written over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import UserError

DOCUMENT = "docs/speed.md"
_FROM_PAGE = f"../../../{DOCUMENT}"


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
            raise UserError(f"Cannot make the folder {folder} ({error.strerror}): give another one as --out.") from None
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()  # fails where it holds something


def document_link(folder: Path) -> str:
    """What a page in this folder says of the document: a link where that leads to it, else its name alone."""
    there = Path(os.path.normpath(folder.resolve() / _FROM_PAGE))
    return f"[{DOCUMENT}]({_FROM_PAGE})" if there.is_file() else DOCUMENT
