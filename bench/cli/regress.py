"""`sweepmark regress`: has anything become worse or dearer?"""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.regress.gate import Gate

REFERENCES = Path("results/reference")  # bench.regress.sought.DEFAULT, which --help does not wait for
RUNS = Path("results/runs")


@click.command(epilog="Example: sweepmark regress --junit regress.xml")
@click.argument("names", nargs=-1, metavar="[BASE] [NEW]")
@click.option("--runs", type=click.Path(path_type=Path), help="Where measured runs are.  [default: results/runs]")
@click.option("--all", "everything", is_flag=True, help="Show what did not move too.")
@click.option("--json", "as_json", is_flag=True, help="All findings as JSON.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit's XML to this file.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Append a summary to this file.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes. Default: one a core.")
@click.option("--update", "renew", is_flag=True, help="Renew the references: regress --update --reason TEXT [NAME]...")
@click.option("--references", type=click.Path(path_type=Path), help=f"Folder to renew.  [default: {REFERENCES}]")
@click.option("--reason", metavar="TEXT", help="Why; kept in the history of the references.")
def regress(
    names: tuple[str, ...],
    runs: Path | None,
    everything: bool,
    as_json: bool,
    junit: Path | None,
    markdown: Path | None,
    jobs: int | None,
    renew: bool,
    references: Path | None,
    reason: str | None,
) -> None:
    """Compare losses and device-minutes of runs with references, and fail where they got worse.

    BASE and NEW are each a reference, a folder with references, or a folder with runs. Without NEW, the virtual studies
    of BASE (default: results/reference) are simulated again, and measured references are compared with the runs found
    under --runs. Virtual runs must be the same; measured ones may not be worse by more than tolerance and noise.

    Exit status: 0 passed, 1 something moved or got worse, 2 cannot tell (too few runs), or misuse.
    """
    if renew:
        if reason is None:
            raise UserError("--update needs --reason TEXT: say in a sentence why the references change.")
        _refuse({"--all": everything, "--json": as_json, "--junit": junit, "--markdown": markdown}, "--update")
        _update(references or REFERENCES, names, reason, runs, jobs)
        return
    for option, value in {"--reason": reason, "--references": references}.items():
        if value is not None:
            raise UserError(f"{option} belongs to --update: add --update, or leave it out.")
    if len(names) > 2:
        raise UserError(f"{len(names)} paths were given: give BASE, or BASE and NEW.")
    if len(names) == 2:
        _refuse({"--runs": runs, "--jobs": jobs}, "NEW")
    for option, path in {"--junit": junit, "--markdown": markdown}.items():
        if path is not None and not path.parent.is_dir():
            raise UserError(_unwritable(path, os.strerror(errno.ENOENT), option))  # before minutes go by
    found = _gate([Path(name) for name in names], runs, jobs)
    _show(found, everything, as_json, junit, markdown)


def _unwritable(path: Path, why: str, option: str) -> str:
    return f"Cannot write {path} ({why}): give another {option}."


def _refuse(given: dict[str, object], beside: str) -> None:
    for option, value in given.items():
        if value:
            raise UserError(f"{option} means nothing beside {beside}: leave one of them out.")


def _gate(paths: list[Path], runs: Path | None, jobs: int | None) -> Gate:
    from bench.progress import counter
    from bench.regress.gate import default_gate, gate
    from bench.regress.runs import collect_runs

    if len(paths) == 2:
        with counter("runs read") as on_done:
            return gate(paths[0], paths[1], on_done)
    base, remarks = (paths[0], ()) if paths else _references()
    if not base.is_dir():
        raise UserError(f"{base} is no folder with references: give one, or give BASE and NEW.")
    if runs is not None and not runs.is_dir():
        raise UserError(f"--runs {runs} is no folder: check the path.")
    with counter("runs read") as on_done:
        measured = collect_runs(runs or RUNS, on_done)
    with counter("simulated runs") as on_done:
        found = default_gate(base, measured, runs or RUNS, asked=runs is not None, jobs=jobs, on_done=on_done)
    return replace(found, remarks=(*found.remarks, *remarks))


def _references() -> tuple[Path, tuple[str, ...]]:
    """Those of the folder one is in, else those that came with the package, and a sentence that says so."""
    from bench.resources import resource_dir

    if REFERENCES.is_dir():
        return REFERENCES, ()
    own = resource_dir(str(REFERENCES))
    return own, (f"There is no {REFERENCES} here: compared with the references that came with Sweepmark, in {own}.",)


def _show(found: Gate, everything: bool, as_json: bool, junit: Path | None, markdown: Path | None) -> None:
    from rich.console import Console

    from bench.files import write_together
    from bench.regress.findings import exit_status
    from bench.regress.output import to_json, to_junit, to_markdown, to_terminal

    if junit is not None:
        write_together({junit: to_junit(found)}, "give another --junit")
    if markdown is not None:
        try:
            with markdown.open("a", encoding="utf-8") as file:  # CI hands out one file for several summaries
                file.write(to_markdown(found, everything))
        except OSError as error:
            raise UserError(_unwritable(markdown, str(error.strerror), "--markdown")) from None
    if as_json:
        click.echo(to_json(found), nl=False)
    else:
        to_terminal(found, Console(file=sys.stdout), everything)
    status = exit_status(found.findings)
    if status:
        sys.exit(status)


def _update(folder: Path, names: tuple[str, ...], reason: str, runs: Path | None, jobs: int | None) -> None:
    from bench.progress import counter
    from bench.regress.update import update

    if not folder.is_dir():
        raise UserError(f"There is no folder {folder} here: name the one to renew with --references.")
    with counter("simulated runs") as on_done:
        changed = update(folder, names, reason=reason, runs=runs, jobs=jobs, on_done=on_done)
    for name, what in changed.items():
        click.echo(f"{name}: {'; '.join(what)}.")
    click.echo(
        f"References renewed: {len(changed)}; the reason is in {folder / 'history.json'}."
        if changed
        else "Nothing changed: all references are as they were."
    )
