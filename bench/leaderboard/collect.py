"""Runs found in folders, each with a name that a page or a file may bear."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.events import Event
from bench.journal import JOURNAL_NAME, read_journal
from bench.progress import OnDone
from bench.record import RECORD_NAME, Record, journal_sha256, load_record, make_record

DEPTH = 3
"""A run's folder lies at most so many folders below one that is searched."""
NAME_LENGTH = 120


@dataclass(frozen=True, kw_only=True)
class Found:
    """A run and where it lies. `name`: unique among all that were found, and safe as a file's name (`a-z`, `0-9`, `.`,
    `_` and `-`, beginning with a letter or digit)."""

    folder: Path
    record: Record
    name: str

    @property
    def journal(self) -> Path | None:
        """Its journal; None where the record came alone."""
        path = self.folder / JOURNAL_NAME
        return path if path.is_file() else None


def collect(paths: Sequence[Path], on_done: OnDone | None = None) -> list[Found]:
    """The runs in these folders and below them, in the order of their names; each a folder with a journal or a record.

    The journal counts where both are there and differ. A run that lies in two places is found once. Raises UserError
    where a path is no folder or a run cannot be read.
    """
    folders = [folder for path in paths for folder in run_folders(path)]
    records: dict[tuple[str, str | None], tuple[Path, Record]] = {}
    for number, folder in enumerate(folders, 1):
        record = _record(folder)
        records.setdefault((record.run_id, record.journal_sha256), (folder, record))
        if on_done is not None:
            on_done(number, len(folders))
    found: list[Found] = []
    taken: set[str] = set()
    for key in sorted(records, key=lambda k: (k[0], k[1] or "")):
        folder, record = records[key]
        name = _free(_safe(record.run_id), taken)
        taken.add(name)
        found.append(Found(folder=folder, record=record, name=name))
    return found


def run_folders(path: Path) -> Iterator[Path]:
    """The folders of runs in this one and below it, in the order of their names. Raises UserError where it is none."""
    if not path.is_dir():
        raise UserError(f"There is no folder {path}: give one that holds runs, such as results/records.")
    for parent, folders, files in os.walk(path):
        inside = Path(parent)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        if RECORD_NAME in files or (JOURNAL_NAME in files and (inside / JOURNAL_NAME).stat().st_size):
            yield inside
            folders.clear()
        elif len(inside.relative_to(path).parts) >= DEPTH:
            folders.clear()


def _record(folder: Path) -> Record:
    """A run's record: made from its journal where there is one and the record is missing or another's; nothing is
    written. Raises UserError where it cannot be read."""
    journal = folder / JOURNAL_NAME
    if not journal.is_file():
        return load_record(folder)
    digest = journal_sha256(journal)
    if (folder / RECORD_NAME).is_file():
        record = load_record(folder)
        if record.journal_sha256 == digest:
            return record
    return make_record(folder)


def own_events(record: Record, folder: Path) -> list[Event] | None:
    """Those of the record's own journal; None where it came alone, or another run's lies beside it."""
    path = folder / JOURNAL_NAME
    return read_journal(path) if path.is_file() and journal_sha256(path) == record.journal_sha256 else None


def _safe(run_id: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", run_id.lower()).lstrip("._-")[:NAME_LENGTH].rstrip(".") or "run"


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
