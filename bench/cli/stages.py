"""`sweepmark stages`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.run import RESULTS
from bench.cli.simulation_options import finite
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.stages.result import Stages, StagesStudy


@click.command(epilog="Example: sweepmark stages --only plain --only zero3")
@click.option("--workload", default="tiny-squad", show_default=True, metavar="NAME", help="See `sweepmark workloads`.")
@click.option("--recipe", default="qa", show_default=True, metavar="NAME", help="How it is trained.")
@click.option("--profile", metavar="NAME", help="Hardware profile. Default: this machine's own.")
@click.option(
    "--trial-devices", type=click.IntRange(min=1), default=1, show_default=True, help="Of each training (and node)."
)
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of each training. Default: 3.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Of each device. Default: the workload's smallest.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Default: the geometric middle of the workload's range.",
)
@click.option("--weight-decay", type=click.FloatRange(min=0), callback=finite, help="Default: 0.01.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Parent of all seeds.")
@click.option("--model", type=click.Path(path_type=Path), help="Folder of a causal LM, instead of the workload's.")
@click.option("--dataset", type=click.Path(path_type=Path), help="File in SQuAD's JSON, instead of the workload's.")
@click.option("--only", multiple=True, metavar="NAME", help="This row: plain, zero1 to zero3 ...; repeatable.")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where it goes.")
@click.option("--submit", is_flag=True, help="On compute nodes, through a SLURM job.")
@click.option("--nodes", type=click.IntRange(min=1), help="Nodes of each training; --submit. Default: 1.")
@click.option("--site", type=click.Path(path_type=Path), help="Site file; --submit. Default: SWEEPMARK_SITE's.")
@click.option("--time", "limit", metavar="TIME", help="Limit of the job, such as 04:00:00. Default: the site's.")
@click.option("--wait", "wait_min", default=30.0, show_default=True, help="Minutes that SLURM has to start the job.")
@click.option(
    "--show",
    type=click.Path(path_type=Path),
    metavar="NAME",
    help="Measure nothing: show this one of RESULTS/stages, or any path.",
)
@click.option("--svg", type=click.Path(path_type=Path), help="Draw memory over time in this folder too.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="The summary as CSV.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The report as Markdown.")
@click.option("--rendezvous", hidden=True, type=click.Path(path_type=Path))
def stages(
    workload: str,
    recipe: str,
    profile: str | None,
    trial_devices: int,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    weight_decay: float | None,
    seed: int,
    model: Path | None,
    dataset: Path | None,
    only: tuple[str, ...],
    results: Path,
    submit: bool,
    nodes: int | None,
    site: Path | None,
    limit: str | None,
    wait_min: float,
    show: Path | None,
    svg: Path | None,
    as_json: bool,
    as_csv: bool,
    as_markdown: bool,
    rendezvous: Path | None,
) -> None:
    """Measure what DeepSpeed's ZeRO stages cost, and say which to use: the same training without DeepSpeed and under
    stages 1, 2 and 3, each with and without offload to the CPU, one after the other on the same devices.

    Every call measures anew and keeps what it finds, with pictures of memory over time, in RESULTS/stages; --show shows
    it again.
    """
    from bench.cli.output import show_report
    from bench.stages.report import report
    from bench.stages.result import find, load

    before = signal.signal(signal.SIGTERM, _end)  # so that processes and jobs are ended
    try:
        if rendezvous is not None:
            from bench.stages.node import take_part

            take_part(rendezvous)
            return
        if as_json + as_csv + as_markdown > 1:
            raise UserError("Only one of --json, --csv and --markdown can be had at once: leave the others out.")
        if not submit and (given := _given({"--nodes": nodes, "--site": site, "--time": limit})):
            raise UserError(f"{given} is for jobs on a cluster alone: add --submit, or leave it out.")
        if show is not None:
            found = load(find(show, results))
        else:
            study = _study(
                workload, recipe, profile, nodes=nodes or 1, node_devices=trial_devices, epochs=epochs,
                batch_size=batch_size, learning_rate=learning_rate, weight_decay=weight_decay, seed=seed, model=model,
                dataset=dataset, only=only, submit=submit,
            )  # fmt: skip
            found = _submitted(study, results, site, limit, wait_min) if submit else _here(study, results)
    finally:
        signal.signal(signal.SIGTERM, before)
    if svg is not None:
        _draw(found, svg)
    show_report(report(found), as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)


def _study(
    workload: str,
    recipe: str,
    profile: str | None,
    *,
    nodes: int,
    node_devices: int,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    weight_decay: float | None,
    seed: int,
    model: Path | None,
    dataset: Path | None,
    only: tuple[str, ...],
    submit: bool,
) -> StagesStudy:
    """What the options ask for. Raises UserError on the first that cannot be had."""
    from bench.probe import chosen_profile, probe_machine, require_profile
    from bench.stages.result import StagesStudy
    from bench.stages.setup import EPOCHS, WEIGHT_DECAY, chosen, default_batch_size, default_learning_rate
    from bench.workload import load_recipe, load_workload

    task, how = load_workload(workload), load_recipe(recipe)
    rows = chosen(only)
    for path, option in ((model, "--model"), (dataset, "--dataset")):
        if path is not None and not path.exists():
            raise UserError(f"{option} {path} does not exist: check the path.")
    probe = probe_machine()
    hardware = chosen_profile(profile, probe) if submit else require_profile(profile, probe)
    available = hardware.node.devices if submit else probe.available_devices(hardware)
    if node_devices > available:
        raise UserError(
            f"--trial-devices {node_devices} cannot be had: profile {hardware.name} has {available} of a node here; "
            f"give up to {available}."
        )
    epochs = EPOCHS if epochs is None else epochs
    if how.horizon == "workload" and epochs > task.horizon_epochs:
        raise UserError(
            f"{epochs} epochs are more than the {task.horizon_epochs} over which workload {workload} decays the "
            f"learning rate: give --epochs up to {task.horizon_epochs}."
        )
    return StagesStudy(
        workload=workload,
        recipe=recipe,
        profile=hardware.name,
        precision=hardware.precision,
        device=hardware.device,
        nodes=nodes,
        node_devices=node_devices,
        epochs=epochs,
        batch_size=default_batch_size(task) if batch_size is None else batch_size,
        learning_rate=default_learning_rate(task) if learning_rate is None else learning_rate,
        weight_decay=WEIGHT_DECAY if weight_decay is None else weight_decay,
        seed=seed,
        only=tuple(row.name for row in rows) if only else (),
        model=str(model) if model else None,
        dataset=str(dataset) if dataset else None,
    )


def _here(study: StagesStudy, results: Path) -> Stages:
    """Measured on this machine, and kept after each row. Ctrl-C keeps the rows that are done."""
    from bench.stages.here import measure_here

    def say(said: str) -> None:
        click.echo(said, err=True)

    found, folder, whole = measure_here(study, results, say=say)
    _kept(found, folder, results)
    if not whole:
        click.echo("Ended early: what was measured until then is kept.", err=True)
        sys.exit(130)
    return found


def _submitted(study: StagesStudy, results: Path, site: Path | None, limit: str | None, wait_min: float) -> Stages:
    """Measured by a job, of which this waits for the end."""
    from dataclasses import replace

    from bench.cluster.site import load_site
    from bench.stages.submitted import measure_on_nodes

    def say(said: str) -> None:
        click.echo(said, err=True)

    loaded = load_site(site)
    if limit is not None:
        try:
            loaded = replace(loaded, time=limit)
        except ValueError as error:
            raise UserError(f"--time: {error}.") from None
    found, folder = measure_on_nodes(study, results, loaded, wait_s=60 * wait_min, say=say)
    _kept(found, folder, results)
    return found


def _kept(found: Stages, folder: Path, results: Path) -> None:
    """Says where it lies and how it is shown again, and draws its pictures beside it."""
    from bench.cli.output import results_option
    from bench.cli.runner import program

    again = f"{program()} stages --show {folder.name}{results_option(results)}"
    click.echo(f"Kept in {os.path.relpath(folder)}: {again}", err=True)
    _draw(found, Path(os.path.relpath(folder)))


def _draw(found: Stages, folder: Path) -> None:
    from bench.stages.picture import write

    for path in write(found, folder):
        click.echo(f"Memory over time is drawn in {path}.", err=True)


def _given(options: dict[str, object]) -> str:
    return next((name for name, value in options.items() if value is not None), "")


def _end(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
