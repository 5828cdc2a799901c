"""Finding runs, and printing reports for people or machines."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.run import RESULTS
from bench.cluster.jobs import FOLDER, JOBS_NAME, jobs_path
from bench.errors import UserError, did_you_mean
from bench.journal import JOURNAL_NAME
from bench.lock import is_held
from bench.runlog import LOCK_NAME

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


def results_option(results: Path) -> str:
    """What a command needs behind it to find runs under `results` ("": nothing)."""
    return "" if results == RESULTS else f" --results {shlex.quote(str(results))}"


def run_names(results: Path, *, without_journal: bool = False) -> list[str]:
    """The ids of the runs under `results` that have a journal, oldest first. `without_journal`: also of those that have
    none yet, being submitted to SLURM or just starting."""
    parent = results / "runs"
    found = {path.parent: path for path in parent.glob(f"*/{JOURNAL_NAME}") if path.stat().st_size}
    if without_journal:
        for folder in (path.parent for path in parent.glob(f"*/{LOCK_NAME}")):
            if folder not in found and is_held(folder / LOCK_NAME):
                found[folder] = folder / LOCK_NAME
        for path in parent.glob(f"*/{FOLDER}/{JOBS_NAME}"):
            found.setdefault(path.parent.parent, path)
    return [folder.name for folder in sorted(found, key=lambda folder: _changed_s(found[folder]))]


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # removed since
        return 0.0


def _kept_runs(results: Path) -> Iterator[tuple[str, Path]]:
    from bench.leaderboard.collect import run_folders

    for parent in (results / name for name in KEPT):
        if parent.is_dir():
            yield from ((folder.name, folder) for folder in run_folders(parent))


def no_runs(results: Path) -> UserError:
    """What to say where no run has been made yet."""
    return UserError(f"There are no runs in {results.absolute() / 'runs'} yet: start with `make bench STRATEGY=bohb`.")


def find_run(name: str, results: Path, *, kept: bool = True, without_journal: bool = False) -> Path:
    """The folder of a run, by its path, its id or the beginning of its id. `kept`: also of the runs that are in git,
    where none of this checkout's own is called so. `without_journal`: see `run_names`. Raises UserError."""
    given = Path(name)
    if (given / JOURNAL_NAME).is_file() or (without_journal and jobs_path(given).is_file()):
        return given
    every = {run: results / "runs" / run for run in run_names(results, without_journal=True)}
    own = every if without_journal else {run: every[run] for run in run_names(results)}
    names = dict(_kept_runs(results)) | own if kept else own
    for known in (own, names):
        hits = [n for n in known if n == name] or [n for n in known if n.startswith(name)]
        if len(hits) == 1:
            return known[hits[0]]
        if hits:
            break
    if hits:
        raise UserError(f"'{name}' begins the names of {len(hits)} runs ({', '.join(hits[:4])}): give more of it.")
    if any(run.startswith(name) for run in every):
        raise UserError(f"The run '{name}' has no journal yet: `sweepmark status {name}` says how far it is.")
    if not names:
        raise no_runs(results)
    raise UserError(f"There is no run '{name}'{did_you_mean(name, names)}")
