"""`sweepmark job`: what job scripts call."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.cluster.jobs import JobKind


@click.command(hidden=True)
@click.argument("kind", type=click.Choice(("serial", "task", "head", "worker", "final")))
@click.argument("run_folder", type=click.Path(path_type=Path))
def job(kind: JobKind, run_folder: Path) -> None:
    """Do the part of a job: KIND of the run in RUN_FOLDER. Written into job scripts by `sweepmark submit`."""
    from bench.cluster.jobs import load_jobs
    from bench.cluster.tasks import do_job
    from bench.run import EXIT_STALLED, Interrupted

    submitted = load_jobs(run_folder)
    if submitted is None:
        raise UserError(f"{run_folder} holds no run that was submitted: see sweepmark submit.")
    signals: list[int] = []

    def interrupt(signum: int, frame: object) -> None:
        signals.append(signum)
        if len(signals) == 1:  # SLURM may send several; the first is being seen to
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        do_job(kind, run_folder.absolute(), submitted)
    except (Interrupted, KeyboardInterrupt) as reason:
        click.echo(f"{str(reason) or 'Ended by a signal'}. All completed epochs are kept: sweepmark resume "
                   f"{run_folder.name} --results {run_folder.absolute().parent.parent} goes on.", err=True)  # fmt: skip
        sys.exit(128 + signals[0] if signals else EXIT_STALLED)
