"""The document that a measurement's page names."""

from __future__ import annotations

import os
from pathlib import Path

DOCUMENT = "docs/speed.md"
_FROM_PAGE = f"../../../{DOCUMENT}"


def document_link(folder: Path) -> str:
    """What a page in this folder says of the document: a link where that leads to it, else its name alone."""
    there = Path(os.path.normpath(folder.resolve() / _FROM_PAGE))
    return f"[{DOCUMENT}]({_FROM_PAGE})" if there.is_file() else DOCUMENT
