"""Finding runs, and printing reports for people or machines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import UserError, did_you_mean
from bench.journal import JOURNAL_NAME

if TYPE_CHECKING:
    from bench.report import Report


KEPT = ("records", "submissions", "validation")
"""Where runs that are in git lie under the results."""


def show_report(report: Report, *, as_json: bool = False, as_csv: bool = False, as_markdown: bool = False) -> None:
    """Print a report: tables for people, or one of the formats for machines."""
    if as_json:
        click.echo(report.to_json(), nl=False)
    elif as_csv:
        click.echo(report.to_csv(), nl=False)
    elif as_markdown:
        click.echo(report.to_markdown(), nl=False)
    else:
        from rich.console import Console

        report.to_terminal(Console(file=sys.stdout))


def run_names(results: Path) -> list[str]:
    """The ids of the runs under `results`, oldest first."""
    journals = (path for path in (results / "runs").glob(f"*/{JOURNAL_NAME}") if path.stat().st_size)
    return [path.parent.name for path in sorted(journals, key=lambda path: path.stat().st_mtime)]


def _kept_runs(results: Path) -> Iterator[tuple[str, Path]]:
    from bench.leaderboard.collect import run_folders

    for parent in (results / name for name in KEPT):
        if parent.is_dir():
            yield from ((folder.name, folder) for folder in run_folders(parent))


def no_runs(results: Path) -> UserError:
    """What to say where no run has been made yet."""
    return UserError(f"There are no runs in {results.absolute() / 'runs'} yet: start with `make bench STRATEGY=bohb`.")


def find_run(name: str, results: Path, *, kept: bool = True) -> Path:
    """The folder of a run, by its path, its id or the beginning of its id. `kept`: also of the runs that are in git,
    where none of this checkout's own is called so. Raises UserError."""
    if (Path(name) / JOURNAL_NAME).is_file():
        return Path(name)
    own = {run: results / "runs" / run for run in run_names(results)}
    names = dict(_kept_runs(results)) | own if kept else own
    for known in (own, names):
        hits = [n for n in known if n == name] or [n for n in known if n.startswith(name)]
        if len(hits) == 1:
            return known[hits[0]]
        if hits:
            break
    if hits:
        raise UserError(f"'{name}' begins the names of {len(hits)} runs ({', '.join(hits[:4])}): give more of it.")
    if not names:
        raise no_runs(results)
    raise UserError(f"There is no run '{name}'{did_you_mean(name, names)}")
