"""`sweepmark record-curves`: learning curves by real training."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench.curves import Curve


@click.command("record-curves", epilog="Example: sweepmark record-curves tiny-squad --points 12 --seeds 3")
@click.argument("name")
@click.option("--workload", default="tiny-squad", show_default=True, metavar="NAME", help="See `sweepmark workloads`.")
@click.option("--recipe", default="qa", show_default=True, metavar="NAME", help="How it is trained: qa or workshop.")
@click.option("--profile", metavar="NAME", help="Hardware profile. Default: this machine's own.")
@click.option("--points", default=12, show_default=True, type=click.IntRange(min=2), help="Learning rates.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="Seeds, from 0 upwards.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of a trial. Default: the workload's final ones.")
@click.option("--model", type=click.Path(path_type=Path), help="Folder of a causal LM, instead of the workload's.")
@click.option("--dataset", type=click.Path(path_type=Path), help="File in SQuAD's JSON, instead of the workload's.")
@click.option("--dataset-name", metavar="TEXT", help="What reports call that data set.")
@click.option("--devices", type=click.IntRange(min=1), help="Devices to train on at once. Default: a node's.")
@click.option("--summary", default="", help="One line on what the set is.")
@click.option(
    "--limit", "limits", multiple=True, metavar="TEXT", help="What readers of its numbers must know; repeatable."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the set. Default: results/curves/NAME.")
@click.option("--json", "as_json", is_flag=True, help="What was recorded, as JSON on standard output.")
def record_curves(
    name: str,
    workload: str,
    recipe: str,
    profile: str | None,
    points: int,
    seeds: int,
    epochs: int | None,
    model: Path | None,
    dataset: Path | None,
    dataset_name: str | None,
    devices: int | None,
    summary: str,
    limits: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Train a grid of configurations under several seeds and keep their learning curves as the set NAME.

    A recording that was interrupted goes on with the same command.
    """
    from bench.curve_recorder import dense_grid, record_curves
    from bench.curves import METADATA_NAME, NAME, CurveSet
    from bench.engines.process import prepare_in_process
    from bench.errors import UserError
    from bench.probe import probe_machine, require_profile
    from bench.provenance import collect
    from bench.training import TrainingTask
    from bench.workload import load_recipe, load_workload

    if not NAME.fullmatch(name):
        raise UserError(f"A curve set cannot be called '{name}': use small letters, digits and dashes.")
    folder = out or Path("results/curves") / name
    if (folder / METADATA_NAME).exists():
        raise UserError(f"{folder} holds a complete set already: remove it, or give another --out.")
    for path, option in ((model, "--model"), (dataset, "--dataset")):
        if path is not None and not path.exists():
            raise UserError(f"{option} {path} does not exist: check the path.")
    probe = probe_machine()
    hardware = require_profile(profile, probe)
    available = probe.available_devices(hardware)
    held = available if devices is None else devices
    if held > available or held % hardware.devices_per_trial:
        raise UserError(f"--devices {held} cannot be had: profile {hardware.name} finds {available} here.")
    task = load_workload(workload)
    training = TrainingTask(
        workload=task,
        recipe=load_recipe(recipe),
        precision=hardware.precision,
        device=hardware.device,
        threads=hardware.cpus_per_device * hardware.devices_per_trial,
        init_seed=0,
        data_seed=0,
        epochs=task.final_epochs if epochs is None else epochs,
        cache=(folder / ".cache").absolute(),
        model=model.absolute() if model else None,
        dataset=dataset.absolute() if dataset else None,
    )
    space = task.search_space
    facts = prepare_in_process(training)
    curve_set = CurveSet(
        name=name,
        kind="recorded",
        summary=summary or f"{task.name} under {recipe}, {points} learning rates, {seeds} seeds",
        workload=workload,
        recipe=recipe,
        profile=hardware.name,
        space=space,
        epochs=training.epochs,
        seeds=tuple(range(seeds)),
        model=model.name if model else None,
        dataset_name=dataset_name or (dataset.name if dataset else None),
        threads=training.threads,
        slots=held // hardware.devices_per_trial,
        limits=limits,
        provenance=collect() | {"probe": probe.to_dict(), **facts},
    )
    configs = dense_grid(space, points)
    total = len(configs) * seeds
    click.echo(f"Recording {total} trials of {training.epochs} epochs into {folder}.", err=True)
    complete = record_curves(folder, curve_set, training, configs, _progress(total))
    shutil.rmtree(training.cache, ignore_errors=True)
    if as_json:
        click.echo(json.dumps({"name": name, "folder": str(folder), "trials": len(complete.curves)}))


def _progress(total: int) -> Callable[[Curve], None]:
    """One bar with an estimate on a terminal, a line for every trial elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )
    task = progress.add_task("trials", total=total)
    if console.is_terminal:
        progress.start()

    def on_curve(curve: Curve) -> None:
        last = curve.epochs[-1].eval_loss if curve.epochs else None
        config = " ".join(f"{name} {value:g}" for name, value in curve.config.items())
        progress.advance(task)
        loss = "diverged" if last is None else f"{last:.4f}"
        if console.is_terminal:
            progress.update(task, description=f"{config}: {loss}")
        else:
            done = int(progress.tasks[0].completed)
            console.print(f"{done}/{total} {config} seed {curve.seed}: {loss}", highlight=False, soft_wrap=True)
        if progress.finished:
            progress.stop()

    return on_curve
