"""`sweepmark export`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.run import RESULTS

if TYPE_CHECKING:
    from bench.export.common import Source

OPEN_WITH = {
    "tensorboard": "tensorboard --logdir {place}",
    "mlflow": "MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {place}",
    "optuna": "optuna-dashboard sqlite:///{place}",
}


@click.command(epilog="Example: sweepmark export bohb-tiny --to optuna optuna.db")
@click.argument("run")
@click.option("--to", required=True, type=click.Choice(list(OPEN_WITH)), help="For which tool.")
@click.argument("place", type=click.Path(path_type=Path), metavar="DIR_OR_FILE")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where runs are.")
def export(run: str, to: str, place: Path, results: Path) -> None:
    """A run in the format of TensorBoard, MLflow or Optuna.

    RUN is an id, the beginning of one, a run's folder, or a record.json. DIR_OR_FILE is a log folder for TensorBoard, a
    file store's folder for MLflow, a file of SQLite for Optuna; other runs in it stay as they are.
    """
    from bench.export.mlflow import export_mlflow
    from bench.export.optuna import export_optuna
    from bench.export.tensorboard import export_tensorboard
    from bench.progress import counter

    source = _source(run, results)
    write = {"tensorboard": export_tensorboard, "mlflow": export_mlflow, "optuna": export_optuna}[to]
    with counter("trials") as on_done:
        written = write(source, place, on_done)
    if not written:
        click.echo(f"{place} holds {source.label} already: nothing was written.")
        return
    said = " (simulated)" if source.simulated else ""
    click.echo(f"{len(source.record.search_trials)} trials{said} of {source.label} are in {place}.")
    click.echo(f"Open with: {OPEN_WITH[to].format(place=shlex.quote(str(place)))}")


def _source(name: str, results: Path) -> Source:
    """The run with its journal, read and not changed; a record alone where there is no more."""
    from bench.cli.output import find_run
    from bench.export.common import Source
    from bench.journal import JOURNAL_NAME
    from bench.leaderboard.collect import own_events
    from bench.record import RECORD_NAME, load_record, make_record

    path = Path(name)
    if path.suffix == ".json" or ((path / RECORD_NAME).is_file() and not (path / JOURNAL_NAME).is_file()):
        record, folder = load_record(path), path if path.is_dir() else path.parent
    else:
        folder = find_run(name, results)
        record = make_record(folder)
    return Source(record=record, events=own_events(record, folder))
