"""`sweepmark ladder`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.run import RESULTS
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.probe import Probe
    from bench.profile import Profile
    from bench.speed.measure import Told
    from bench.speed.record import Ladder
    from bench.speed.rungs import Rung
    from bench.speed.task import Asked
    from bench.training import TrainingTask

WORKLOADS = ("tiny-squad", "mid-squad")
FOLDER = "speed"


class _Ladder(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The rungs, which the recipes' files say, read only here; then the example."""
        from bench.speed.rungs import ladder, listed

        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"Rungs, in order of climbing: {listed(ladder())}.")
        super().format_epilog(ctx, formatter)


@click.command(cls=_Ladder, epilog="Example: sweepmark ladder --workload tiny-squad --repeats 3")
@click.option(
    "--workload", "workloads", multiple=True, metavar="NAME", help=f"Repeatable. Default: {' and '.join(WORKLOADS)}."
)
@click.option("--profile", metavar="NAME", help="Hardware profile. Default: this machine's own.")
@click.option("--dataset", type=click.Path(path_type=Path), help="File in SQuAD's JSON, in place of its data.")
@click.option("--dataset-name", metavar="TEXT", help="What the page calls that data set.")
@click.option("--random-weights", is_flag=True, help="The hub's model by its architecture alone; no download.")
@click.option("--epochs", type=click.IntRange(min=1), default=2, show_default=True, help="Epochs of a trial.")
@click.option("--examples", type=click.IntRange(min=1), help="Examples to train on. Default: the workload's.")
@click.option("--repeats", type=click.IntRange(min=1), default=2, show_default=True, help="Trials of each rung.")
@click.option("--rung", "rungs", multiple=True, metavar="NAME", help="One of those below; repeatable. Default: all.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Default: the first of the workload's.")
@click.option("--learning-rate", type=float, help="Default: the first of the workload's grid.")
@click.option("--out", type=click.Path(path_type=Path), help="New folder for it. Default: results/speed/NAME.")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where they are.")
@click.option("--show", metavar="PATH", type=click.Path(path_type=Path), help="Show one that was measured.")
@click.option("--json", "as_json", is_flag=True, help="The tables as JSON.")
def ladder(
    workloads: tuple[str, ...],
    profile: str | None,
    dataset: Path | None,
    dataset_name: str | None,
    random_weights: bool,
    epochs: int,
    examples: int | None,
    repeats: int,
    rungs: tuple[str, ...],
    batch_size: int | None,
    learning_rate: float | None,
    out: Path | None,
    results: Path,
    show: Path | None,
    as_json: bool,
) -> None:
    """What makes a trial fast, measured: from the published recipe to `fast`, a step at a time, side by side on one
    device, with the share of its peak that each reaches. Exit status 1: losses differ that must be the same.

    Every call measures anew and keeps what it finds in a folder of its own; --show shows it again.
    """
    from bench.files import new_folder
    from bench.probe import probe_machine, require_profile
    from bench.speed.record import load_ladder
    from bench.speed.rungs import chosen
    from bench.speed.rungs import ladder as every
    from bench.speed.task import Asked, measured_name, task_of

    if show is not None:
        sys.exit(not _show([load_ladder(show)], as_json=as_json))
    names = tuple(dict.fromkeys(workloads or WORKLOADS))
    if out is not None and len(names) > 1:
        raise UserError("--out is one folder: give one --workload, or drop it.")
    probe = probe_machine()
    hardware = require_profile(profile, probe)
    climbed = chosen(every(), rungs)
    every_asked = [
        Asked(
            workload=name,
            epochs=epochs,
            train=examples,
            dataset=dataset,
            dataset_name=dataset_name,
            random_weights=random_weights,
            batch_size=batch_size,
            learning_rate=learning_rate,
        )
        for name in names
    ]
    tasks = [task_of(asked, hardware, (results / "runs" / ".cache").absolute()) for asked in every_asked]
    found = []
    for asked, task in zip(every_asked, tasks, strict=True):
        with new_folder(out, results / FOLDER, measured_name(asked, hardware)) as folder:
            found.append(_measured(asked, task, hardware, probe, climbed, repeats, folder))
    sys.exit(not _show(found, as_json=as_json))


def _measured(
    asked: Asked,
    task: TrainingTask,
    profile: Profile,
    probe: Probe,
    rungs: list[Rung],
    repeats: int,
    folder: Path,
) -> Ladder:
    import time

    from bench.provenance import collect
    from bench.speed.measure import measure
    from bench.speed.page import write_page
    from bench.speed.record import Ladder
    from bench.speed.summary import TOLERANCE_NATS
    from bench.speed.task import config_of

    config = config_of(asked)
    times = "once" if repeats == 1 else f"{repeats} times"
    click.echo(f"Measuring {len(rungs)} rungs on {asked.workload}, {times} each, into {folder}.", err=True)
    began_s, provenance = time.time(), collect() | {"probe": probe.to_dict()}
    measured = measure(task, config, rungs, repeats, _tell)
    inputs = measured.inputs
    found = Ladder(
        name=folder.name,
        workload=asked.workload,
        data=asked.data_words,
        weights=asked.weights_words,
        profile=profile.name,
        device=profile.device,
        precision=profile.precision,
        threads=task.threads,
        epochs=task.epochs,
        repeats=repeats,
        config=config,
        examples={"train": len(inputs.train), "validation": len(inputs.validation)},
        max_tokens=task.workload.max_tokens,
        shape=inputs.shape,
        parameters=inputs.hashes["parameters"],
        declared_peak_tflops=profile.peak_tflops,
        measured_peak_tflops=measured.peaks_tflops,
        tolerance=TOLERANCE_NATS[profile.precision],
        measured_at_s=round(began_s, 3),
        provenance=provenance | inputs.hashes,
        rungs=measured.rungs,
    )
    for path in write_page(folder, found):
        click.echo(f"Written: {path}", err=True)
    return found


def _tell(told: Told) -> None:
    """A line on standard error for each trial."""
    from bench.progress import clock_text
    from bench.speed.summary import device_min

    trial = told.trial
    how = f"{60 * device_min(trial):.1f} s" if trial.completed else f"{trial.state}: {trial.detail}"
    left = "" if told.left_s is None or told.done == told.total else f", about {clock_text(told.left_s)} left"
    click.echo(f"[{told.done}/{told.total}] {told.rung}: {how}{left}", err=True)


def _show(found: list[Ladder], *, as_json: bool) -> bool:
    """Print all; whether no losses differ that must not."""
    from rich.console import Console

    from bench.speed.summary import rows
    from bench.speed.tables import agrees, loss_table, speed_table

    console, told, equal = Console(file=sys.stdout), [], True
    for one in found:
        own = rows(one)
        tables, agreed = (speed_table(one, own), loss_table(one, own)), agrees(one, own)
        equal = equal and agreed is not False
        told.append({"name": one.name, "losses_agree": agreed, "tables": [table.to_dict() for table in tables]})
        for table in () if as_json else tables:
            table.to_terminal(console)
            console.print()
    if as_json:
        click.echo(json.dumps(told, indent=2))
    return equal
