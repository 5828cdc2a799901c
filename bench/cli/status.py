"""`sweepmark status`, `sweepmark logs` and `sweepmark cancel`."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.run import RESULTS
from bench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from bench.cluster.watch import Facts

SHOWN_FINISHED = 10
REFRESH_S = 3.0

_results = click.option(
    "--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where runs are."
)


@click.command(epilog="Example: sweepmark status bohb-tiny --watch")
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option("--all", "show_all", is_flag=True, help="Finished runs too, beyond the newest ten.")
@click.option("--watch", "keep_watching", is_flag=True, help="Refresh every few seconds, until all has ended.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_results
def status(run_name: str | None, show_all: bool, keep_watching: bool, as_json: bool, results: Path) -> None:
    """How runs are doing, here and on SLURM: state, trials, incumbent, cost so far, time left, what to do next.

    RUN is an id, the beginning of one, or a run's folder: then its jobs, trials and costs are shown. With none, all
    runs under results/runs, unfinished ones first.
    """
    from rich.console import Console

    from bench.cli.output import find_run

    if keep_watching and as_json:
        raise UserError("--watch is for people: drop it, or drop --json.")
    if run_name is None and results != RESULTS and not results.is_dir():
        raise UserError(f"There is no folder {results}: give the one that the runs were started with as --results.")
    folder = None if run_name is None else find_run(run_name, results, without_journal=True)
    watched = Watched(results, folder, show_all=show_all)
    console = Console(file=sys.stdout)
    if as_json:
        click.echo(json.dumps(watched.plain(), indent=1, ensure_ascii=False, allow_nan=False))
    elif not keep_watching:
        watched.show(console)
    elif not console.is_terminal:
        raise UserError("--watch needs a terminal: leave it out, or use `sweepmark logs RUN --follow`.")
    else:
        _keep_watching(watched, console)


class Watched:
    """One run, or all runs under `results`, as they stand now."""

    def __init__(self, results: Path, folder: Path | None, *, show_all: bool = False) -> None:
        from bench.cli.runner import program

        self._results = results
        self._folder = folder
        self._show_all = show_all
        self._program = program()

    def facts(self) -> tuple[list[Facts], list[str]]:
        """Of the runs to be shown, unfinished ones first and the newest first, with what is to be said about them."""
        from bench.cli.output import run_names
        from bench.cluster.watch import is_finished, watch

        if self._folder is not None:
            found, trouble = watch([self._folder], all_jobs=True)
            return found, [trouble] if trouble else []
        names = reversed(run_names(self._results, without_journal=True))
        folders = [self._results / "runs" / name for name in names]
        over = [folder for folder in folders if is_finished(folder)]
        shown = over if self._show_all else over[:SHOWN_FINISHED]
        under_way = set(folders) - set(over)
        found, trouble = watch([*(folder for folder in folders if folder in under_way), *shown])
        found.sort(key=lambda run: not run.condition.going_on)
        hidden = len(over) - len(shown)
        notes = [f"{hidden} more finished runs: --all shows them."] if hidden else []
        return found, [*notes, *([f"Jobs are not known: {trouble}"] if trouble else [])]

    def show(self, console: Console, *, trials: int | None = None) -> bool:
        """Print it; returns whether anything goes on by itself."""
        from bench.cli.status_tables import runs_table

        found, notes = self.facts()
        if self._folder is None:
            if not found:
                notes.append("None yet: start with `make bench STRATEGY=bohb`, or `sweepmark submit`.")
            runs_table(found, self._program, self._results, notes).to_terminal(console)
        else:
            self._show_one(found[0], notes, console, trials)
        return any(run.condition.going_on for run in found)

    def _show_one(self, run: Facts, notes: list[str], console: Console, trials: int | None) -> None:
        from rich.text import Text

        from bench.cli.status_tables import details, headline
        from bench.tables import clean

        unit = unit_of(run)
        console.print(Text(clean(f"{run.name}: {run.condition.words}"), style="bold"))
        if line := headline(run, unit):
            console.print(Text(clean(line)))
        for table in details(run, unit, trials):
            console.print()
            table.to_terminal(console)
        below = [line for line in (*notes, self._next(run)) if line]
        if below:
            console.print()
        for line in below:
            console.print(Text(clean(line)), soft_wrap=True)

    def say_state(self, run: Facts, notes: list[str]) -> None:
        """How the run is doing, what it has and what is to be done next."""
        from bench.cli.status_tables import headline
        from bench.tables import clean

        lines = [f"{run.name}: {run.condition.words}", headline(run, unit_of(run)), *notes, self._next(run)]
        for line in filter(None, lines):
            click.echo(clean(line))

    def _next(self, run: Facts) -> str:
        from bench.cli.status_tables import command

        line = command(run, self._program, self._results)
        return f"Next: {line}" if line else ""

    def plain(self) -> dict[str, object]:
        """Plain data for machines."""
        from bench.cli.status_tables import plain

        found, notes = self.facts()
        full = self._folder is not None
        runs = [plain(run, self._program, self._results, full=full) for run in found]
        return {"schema_version": 1, "notes": notes, **(runs[0] if full else {"runs": runs})}


def unit_of(run: Facts) -> str:
    """What the run's costs are counted in."""
    from bench.profile import load_profile

    try:
        return load_profile(run.study.profile).unit if run.study is not None else "device"
    except UserError:  # a profile that this checkout does not have
        return "device"


def _keep_watching(watched: Watched, console: Console) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from bench.progress import SHOWN_TRIALS

    def picture() -> tuple[Text, bool]:
        text = io.StringIO()  # what is printed on a live console is not captured alone
        drawn = Console(file=text, width=console.width, force_terminal=True, no_color=console.no_color)
        going_on = watched.show(drawn, trials=SHOWN_TRIALS)
        return Text.from_ansi(text.getvalue()), going_on

    text, going_on = picture()
    try:
        with Live(text, console=console, auto_refresh=False) as live:
            live.refresh()
            while going_on:
                time.sleep(REFRESH_S)
                text, going_on = picture()
                live.update(text, refresh=True)
    except KeyboardInterrupt:
        return


@click.command(epilog="Example: sweepmark logs bohb-tiny --job 1234_2 --lines 100")
@click.argument("run_name", metavar="RUN")
@click.option("--job", metavar="ID", help="Only what this job, array or task (1234_2) printed.")
@click.option("--lines", default=20, show_default=True, type=click.IntRange(min=0), help="Of each job's output.")
@click.option("--follow", is_flag=True, help="Go on printing until the run ends.")
@_results
def logs(run_name: str, job: str | None, lines: int, follow: bool, results: Path) -> None:
    """What happened in a run: its story from its journal, then the ends of what its jobs printed, the newest last."""
    from bench.cli.output import find_run
    from bench.cluster.telling import Teller

    watched = Watched(results, find_run(run_name, results, without_journal=True))
    (run,), notes = watched.facts()
    teller = Teller(run, unit_of(run), click.echo, job=job)
    try:
        teller.tell(lines)
        if follow:
            teller.follow()
    except KeyboardInterrupt:
        return
    click.echo()
    watched.say_state(teller.run, notes)


@click.command(epilog="Example: sweepmark cancel bohb-tiny")
@click.argument("run_name", metavar="RUN")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@_results
def cancel(run_name: str, yes: bool, results: Path) -> None:
    """End a run such that it can be gone on with: its SLURM jobs, or the process that writes it on this host."""
    from bench.cli.output import find_run
    from bench.cluster.stop import active_ids, stop_here, stop_jobs

    folder = find_run(run_name, results, kept=False, without_journal=True)
    watched = Watched(results, folder)
    (run,), notes = watched.facts()
    ids, holder = active_ids(run), run.holder
    if notes and run.submitted is not None and not (holder is not None and holder.here):
        raise UserError(notes[0])  # SLURM cannot be asked whether there is anything to cancel
    if not ids and holder is None:
        click.echo(f"Nothing of {run.name} is running.")
        watched.say_state(run, notes)
        return
    if not ids and holder is not None and not holder.here:
        raise UserError(
            f"{run.name} is being written on {holder.host} (process {holder.process}): log in there and give the same "
            "command."
        )
    if not yes:
        what = f"SLURM jobs {', '.join(ids)}" if ids else f"process {holder.process if holder else ''} here"
        _ask(f"End {run.name} ({what})?")
    click.echo("Told to end; waiting until it has …", err=True)
    if ids:
        stop_jobs(ids)
    else:
        stop_here(run)
    (run,), notes = watched.facts()
    watched.say_state(run, notes)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UserError("Without a terminal nobody can be asked: give --yes.")
    click.confirm(question, default=False, abort=True, err=True)
