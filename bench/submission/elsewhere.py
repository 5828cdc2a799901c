"""Paths that are no submission: a file, nothing at all, or the folders that this suite keeps its own results in."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.journal import JOURNAL_NAME
from bench.record import RECORD_NAME
from bench.submission.findings import short

CACHE_NAME = ".cache"
"""Where `sweepmark run` keeps data beside the runs that it writes."""
RESULTS, RUNS, SUBMISSIONS = "results", "runs", "submissions"
KEPT = (RUNS, SUBMISSIONS, "records", "reference")
"""Folders of `results` that are no runs."""
NAMED = 3
"""So many folders are named as what to give instead."""


def refuse_what_is_none(folder: Path) -> None:
    """Raises UserError, which says what to name instead, where the path cannot be a submission."""
    if folder.is_file():
        raise UserError(f"{folder} is a file: give the folder that holds a folder for each run.")
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: give one that holds a folder for each run.")
    name, above = folder.resolve().name, folder.resolve().parent.name
    if _is_folder(folder / CACHE_NAME) or (name == RUNS and above == RESULTS):
        runs = _named(folder, "a run's folder in it")
        raise UserError(
            f"{folder} is no submission, but where runs are written: name {runs}, or copy the runs to be handed "
            "in to a folder of their own."
        )
    if name == RESULTS and any(_is_folder(folder / kept) for kept in KEPT):
        submissions = _named(folder / SUBMISSIONS, f"a folder of {folder / SUBMISSIONS}")
        raise UserError(
            f"{folder} is no submission, but holds all results: name {submissions}, or a run's folder in "
            f"{folder / RUNS}, which may be copied out."
        )


def _named(folder: Path, instead: str) -> str:
    """The first folders in a folder that a reader may name, or words for them where there are none."""
    found = [path for path in sorted(folder.glob("*")) if _is_folder(path) and not path.name.startswith(".")]
    if folder.name != SUBMISSIONS:
        found = [path for path in found if any((path / name).is_file() for name in (JOURNAL_NAME, RECORD_NAME))]
    names = [short(str(path), 200) for path in found[:NAMED]]
    more = " or another" if len(found) > NAMED else ""
    return f"{' or '.join(names)}{more}" if names else instead


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
