"""The files of a submission: what may be there, and reading it without following, running or trusting anything."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bench.journal import JOURNAL_NAME
from bench.record import RECORD_NAME
from bench.submission.findings import Findings, quoted
from bench.tables import clean

README_NAME = "README.md"
STATEMENT_NAME = "submission.toml"
LEADERBOARD_NAME = "leaderboard.json"
LOCK_NAME = "lock"
STRATEGY_SUFFIX = ".py"

MIB = 1024 * 1024
MAX_BYTES = {
    JOURNAL_NAME: 64 * MIB,
    RECORD_NAME: 64 * MIB,
    LEADERBOARD_NAME: 16 * MIB,
    README_NAME: MIB,
    STATEMENT_NAME: 16 * 1024,
    LOCK_NAME: 0,
}
MAX_STRATEGY_BYTES = 256 * 1024
MAX_ENTRIES = 10_000
"""Files and folders of a submission, and so of a folder."""
MAX_RUNS = 2_000
MAX_TOTAL_BYTES = 2048 * MIB

OPENED_BY_RUNNING = re.compile(
    r"\.(py[cdw]?|pkl|pickle|pth?|bin|ckpt|joblib|np[yz]|so|dll|exe|sh|bat|ps1|js|html?|svg|ipynb|whl|egg|jar)"
)
"""Suffixes of files that some program runs, or may run, when it opens them."""


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """The folder of a run. `strategies`: Python files in it, as text."""

    place: str
    journal: Path | None
    record: Path | None
    strategies: tuple[Path, ...]


@dataclass(kw_only=True)
class Contents:
    """What was found in a submission that may be there."""

    runs: list[RunFiles] = field(default_factory=list)
    strategies: tuple[Path, ...] = ()
    readme: Path | None = None
    statement: Path | None = None
    leaderboard: Path | None = None


class Scan:
    """Walks a submission once; what does not belong there is a finding."""

    def __init__(self, folder: Path, findings: Findings) -> None:
        self._folder = folder
        self._findings = findings
        self._entries = 0
        self._bytes = 0

    def contents(self) -> Contents:
        """The files to look at. A folder that itself holds a journal or a record is one run."""
        files, folders = self._list(self._folder, "")
        if JOURNAL_NAME in files or RECORD_NAME in files:
            place = self._folder.resolve().name
            return Contents(runs=[self._run(place, files, folders)])
        found = Contents(strategies=self._take_strategies(files))
        found.readme = files.pop(README_NAME, None)
        found.statement = files.pop(STATEMENT_NAME, None)
        found.leaderboard = files.pop(LEADERBOARD_NAME, None)
        for name in files:
            self._unexpected(name)
        for name, path in folders.items():
            if len(found.runs) == MAX_RUNS:
                self._findings.add("too-many", name, f"There are more than {MAX_RUNS} runs; the rest is not looked at.")
                break
            inner, below = self._list(path, f"{name}/")
            if JOURNAL_NAME in inner or RECORD_NAME in inner:
                found.runs.append(self._run(name, inner, below))
            else:
                self._findings.add(
                    "unexpected-file", name, f"The folder holds neither {JOURNAL_NAME} nor {RECORD_NAME}: remove it."
                )
        if not found.runs:
            self._findings.add("no-runs", ".", f"No folder in it holds {JOURNAL_NAME}: put each run into a folder.")
        return found

    def _run(self, place: str, files: dict[str, Path], folders: dict[str, Path]) -> RunFiles:
        strategies = self._take_strategies(files)
        files.pop(LOCK_NAME, None)
        run = RunFiles(
            place=place,
            journal=files.pop(JOURNAL_NAME, None),
            record=files.pop(RECORD_NAME, None),
            strategies=strategies,
        )
        for name in (*files, *folders):
            self._unexpected(f"{place}/{name}")
        return run

    def _take_strategies(self, files: dict[str, Path]) -> tuple[Path, ...]:
        return tuple(files.pop(name) for name in list(files) if name.endswith(STRATEGY_SUFFIX))

    def _unexpected(self, where: str) -> None:
        suffix = PurePosixPath(where).suffix.lower()
        if OPENED_BY_RUNNING.fullmatch(suffix):
            self._findings.add("code-or-pickle", where, f"A {suffix} file may run when it is opened: remove it.")
        else:
            self._findings.add("unexpected-file", where, "It does not belong into a submission: remove it.")

    def _list(self, folder: Path, prefix: str) -> tuple[dict[str, Path], dict[str, Path]]:
        """Plain files and folders by name, in order; the others are findings."""
        files: dict[str, Path] = {}
        folders: dict[str, Path] = {}
        for entry in self._entries_of(folder, prefix):
            where = f"{prefix}{entry.name}"
            try:
                self._sort(entry, where, files, folders)
            except OSError as error:
                self._findings.add("unreadable", where, f"It cannot be looked at ({error.strerror}).")
        return files, folders

    def _sort(self, entry: os.DirEntry[str], where: str, files: dict[str, Path], folders: dict[str, Path]) -> None:
        if entry.name != clean(entry.name) or entry.name.startswith((".", "-")) or "\\" in entry.name:
            self._findings.add("unsafe-name", where, f"The name {quoted(entry.name)} is not looked at: rename it.")
        elif entry.is_symlink():
            self._findings.add("not-a-file", where, "A symbolic link is not followed: put the file itself there.")
        elif entry.is_dir(follow_symlinks=False):
            folders[entry.name] = Path(entry.path)
        elif not entry.is_file(follow_symlinks=False):
            self._findings.add("not-a-file", where, "Neither a plain file nor a folder: remove it.")
        elif self._fits(entry, where):
            files[entry.name] = Path(entry.path)

    def _entries_of(self, folder: Path, prefix: str) -> Iterator[os.DirEntry[str]]:
        entries: list[os.DirEntry[str]] = []
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    self._entries += 1
                    if self._entries > MAX_ENTRIES:
                        self._findings.add(
                            "too-many", prefix or ".", f"There are more than {MAX_ENTRIES} files; the rest is left out."
                        )
                        break
                    entries.append(entry)
        except OSError as error:
            self._findings.add("unreadable", prefix or ".", f"The folder cannot be listed ({error.strerror}).")
        yield from sorted(entries, key=lambda entry: entry.name)

    def _fits(self, entry: os.DirEntry[str], where: str) -> bool:
        size = entry.stat(follow_symlinks=False).st_size
        most = MAX_BYTES.get(entry.name, MAX_STRATEGY_BYTES if entry.name.endswith(STRATEGY_SUFFIX) else None)
        if most is not None and size > most:
            self._findings.add("too-large", where, f"It has {size} bytes; {most} are allowed.")
            return False
        self._bytes += size
        if self._bytes > MAX_TOTAL_BYTES:
            self._findings.add("too-large", where, f"All files together have more than {MAX_TOTAL_BYTES} bytes.")
            return False
        return True


def read(path: Path, where: str, findings: Findings) -> bytes | None:
    """The bytes of a plain file within its limit; None, and a finding, where it is none or grew meanwhile."""
    most = MAX_BYTES.get(path.name, MAX_STRATEGY_BYTES)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                findings.add("not-a-file", where, "Neither a plain file nor a folder: remove it.")
                return None
            data = file.read(most + 1)
    except OSError as error:
        findings.add("unreadable", where, f"It cannot be read ({error.strerror}).")
        return None
    if len(data) > most:
        findings.add("too-large", where, f"It has more than {most} bytes.")
        return None
    return data


def read_text(path: Path, where: str, findings: Findings) -> str | None:
    """The text of a file; None, and a finding, where it cannot be read or is not UTF-8."""
    data = read(path, where, findings)
    try:
        return None if data is None else data.decode("utf-8")
    except UnicodeDecodeError as error:
        findings.add("unreadable", where, f"Byte {error.start} is not UTF-8: save it as UTF-8.")
        return None
