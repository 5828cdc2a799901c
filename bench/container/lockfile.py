"""A pip lock with hashes, read line by line: what the images' Python packages are installed from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[A-Za-z0-9,._-]*\])?==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
FOR_PYTHON = re.compile(r"^#.* for Python (\d+\.\d+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One requirement. `line`: where it begins. `text`: without hashes. `name`: normalised. `version`: None where it is
    not an exact pin (`name`: then as it is written). `marker`: the condition behind its `;`, empty without one.
    `hashes`: how many; `options`: other words than hashes that begin with a dash."""

    line: int
    text: str
    name: str
    version: str | None
    marker: str
    hashes: int
    options: tuple[str, ...]


def requirements(lock: str) -> Iterator[Requirement]:
    """All requirements of a lock, and lines that are none, in order."""
    begun: list[str] = []
    first = 0
    for number, line in enumerate([*lock.splitlines(), ""], start=1):
        text = line.strip()
        if text.startswith("#"):
            text = ""
        if not begun:
            first = number
        begun.append(text.removesuffix("\\"))
        if text.endswith("\\"):
            continue
        words = re.sub(r"(^|\s)#.*", "", " ".join(begun)).split()
        begun = []
        if words:
            yield _requirement(first, words)


def pins(lock: str) -> dict[str, str]:
    """Normalised name to version."""
    return {found.name: found.version for found in requirements(lock) if found.version is not None}


def python_of(lock: str) -> str | None:
    """The Python that the lock says it was made for, as "3.11"."""
    said = FOR_PYTHON.search(lock)
    return said[1] if said else None


def normalised(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirement(line: int, words: list[str]) -> Requirement:
    text = " ".join(word for word in words if not word.startswith("--"))
    wanted, _, marker = text.partition(";")
    pinned = PINNED.fullmatch(wanted.strip())
    return Requirement(
        line=line,
        text=text or words[0],
        name=normalised(pinned[1]) if pinned else wanted.strip(),
        version=pinned[2] if pinned else None,
        marker=marker.strip(),
        hashes=sum(HASH.fullmatch(word) is not None for word in words),
        options=tuple(word for word in words if word.startswith("-") and not HASH.fullmatch(word)),
    )
