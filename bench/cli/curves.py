"""`sweepmark record-curves` and `sweepmark curves`: learning curves by real training, and what a set of them holds."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench.curve_model import CurveModel
    from bench.curves import Curve, CurveSet, ModelError
    from bench.probe import Probe
    from bench.profile import Profile
    from bench.tables import Table


@click.command("record-curves", epilog="Example: sweepmark record-curves tiny-squad --points 12 --seeds 3")
@click.argument("name")
@click.option("--workload", default="tiny-squad", show_default=True, metavar="NAME", help="See `sweepmark workloads`.")
@click.option(
    "--recipe", default="qa", show_default=True, metavar="NAME", help="How it is trained: qa, fast or workshop."
)
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
    from bench.report.wording import count
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
    slots = _slots(devices, hardware, probe)
    task = load_workload(workload)
    training = TrainingTask(
        workload=task,
        recipe=load_recipe(recipe),
        precision=hardware.precision,
        device=hardware.device,
        threads=hardware.cpus_per_device,
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
        summary=summary or f"{task.name} under {recipe}, {points} learning rates, {count(seeds, 'seed')}",
        workload=workload,
        recipe=recipe,
        profile=hardware.name,
        space=space,
        epochs=training.epochs,
        seeds=tuple(range(seeds)),
        model=model.name if model else None,
        dataset_name=dataset_name or (dataset.name if dataset else None),
        threads=training.threads,
        slots=slots,
        limits=limits,
        provenance=collect() | {"probe": probe.to_dict(), **facts},
    )
    configs = dense_grid(space, points)
    total = len(configs) * seeds
    click.echo(f"Recording {total} trials of {training.epochs} epochs into {folder}.", err=True)
    try:
        complete = record_curves(folder, curve_set, training, configs, _progress(total))
    except KeyboardInterrupt:
        click.echo("Interrupted: give the same command again to go on.", err=True)
        raise
    shutil.rmtree(training.cache, ignore_errors=True)
    failed = sum(curve.failure is not None for curve in complete.curves)
    click.echo(f"Recorded {len(complete.curves)} trials, {failed} of which failed: sweepmark curves {folder}", err=True)
    if as_json:
        click.echo(json.dumps({"name": name, "folder": str(folder), "trials": len(complete.curves)}))


def _slots(asked: int | None, profile: Profile, probe: Probe) -> int:
    """Trials at once, each on one device."""
    from bench.errors import UserError

    available = probe.available_devices(profile)
    if profile.devices_per_trial > 1:
        raise UserError(
            f"Profile {profile.name} gives a trial {profile.devices_per_trial} devices: record with a profile that "
            "gives it 1."
        )
    if asked is not None and asked > available:
        raise UserError(
            f"--devices {asked} cannot be had: profile {profile.name} finds {available} here; give up to {available}."
        )
    return available if asked is None else asked


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
        loss = curve.failure or ("not finite" if last is None else f"{last:.4f}")
        if console.is_terminal:
            progress.update(task, description=f"{config}: {loss}")
        else:
            done = int(progress.tasks[0].completed)
            console.print(f"{done}/{total} {config} seed {curve.seed}: {loss}", highlight=False, soft_wrap=True)
        if progress.finished:
            progress.stop()

    return on_curve


@click.command(epilog="Example: sweepmark curves tiny-squad")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def curves(name: str | None, as_json: bool) -> None:
    """List the sets of recorded learning curves, or describe NAME (or the set in a folder) with pictures."""
    from rich.console import Console

    from bench.curve_model import CurveModel
    from bench.curve_picture import final_losses, learning_curves
    from bench.curves import curve_set_names, load_curve_set
    from bench.errors import UserError

    console = Console(file=sys.stdout)
    if name is None:
        sets = []
        for each in curve_set_names():
            try:
                sets.append(load_curve_set(each))
            except UserError as error:
                click.echo(f"Left out: {error}", err=True)
        if as_json:
            click.echo(json.dumps([_summary(each) for each in sets], indent=2))
        else:
            _listing(sets).to_terminal(console)
        return
    curve_set = load_curve_set(name)
    model = CurveModel(curve_set)
    if as_json:
        click.echo(json.dumps(curve_set.metadata() | _described(model), indent=2))
        return
    _description(model).to_terminal(console)
    for draw in (final_losses, learning_curves):
        picture = draw(model, width=console.width, colour=console.is_terminal and not console.no_color)
        click.echo(f"\n{picture}", nl=False, color=True)


def _summary(curve_set: CurveSet) -> dict[str, Any]:
    kept = ("name", "kind", "workload", "recipe", "profile", "dataset_name", "epochs", "summary")
    error = asdict(curve_set.error) if curve_set.error else None
    return {k: getattr(curve_set, k) for k in kept} | {"trials": len(curve_set.curves), "error": error}


def _listing(sets: list[CurveSet]) -> Table:
    from bench.tables import Column, Table

    left = [Column(key=k, header=k, align="left") for k in ("name", "kind", "workload", "recipe", "profile")]
    numbers = [
        Column(key="trials", header="trials"),
        Column(key="epochs", header="epochs"),
        Column(key="loss_error_median", header="model error", unit="nats", spec=".3f"),
        Column(key="loss_rank_correlation", header="rank correlation", spec=".2f"),
    ]
    rows = [
        (
            *(getattr(s, c.key) for c in left),
            *(len(s.curves), s.epochs),
            *((s.error.loss_median, s.error.loss_rank_correlation) if s.error else (None, None)),
        )
        for s in sets
    ]
    notes = ("model error: of the last epoch's loss, leaving out one learning rate (or published trial), median",)
    title = "Learning curves"
    return Table(name="curves", title=title, columns=(*left, *numbers), rows=tuple(rows), notes=notes)


def _described(model: CurveModel) -> dict[str, Any]:
    """What is computed from a set: the best configuration, the range of losses, trials and seconds."""
    from bench.curve_picture import best_config, recorded_configs

    curve_set, best, configs = model.curve_set, best_config(model), recorded_configs(model)
    finals = [loss for c in configs if (loss := model.mean_losses(c)[-1]) is not None]
    seconds = [model.seconds(c) for c in configs]
    return {
        "trials": len(curve_set.curves),
        "configurations": len(configs),
        "failures": dict(Counter(c.failure for c in curve_set.curves if c.failure)),
        "best": best,
        "loss_range": [min(finals), max(finals)] if finals else None,
        "seconds_range": [round(min(seconds), 1), round(max(seconds), 1)],
        "noise_log_loss_median": round(model.noise_log_loss, 4),
        "noise_common_share": round(model.common_share, 4),
    }


def _description(model: CurveModel) -> Table:
    from bench.report.wording import count
    from bench.tables import Column, Table

    s, found = model.curve_set, _described(model)
    rates = sorted({c.config[model.rate] for c in s.curves})
    failures = ", ".join(f"{number} {kind}" for kind, number in found["failures"].items())
    source = s.provenance.get("source") or f"commit {(s.provenance.get('git') or {}).get('commit', 'unknown')}"
    rows = [
        ("what", s.summary),
        ("kind", s.kind),
        ("from", source),
        ("trained", f"{s.workload} under {s.recipe}, profile {s.profile}" + (f", {s.model}" if s.model else "")),
        ("data", s.dataset_name or "the workload's own"),
        (
            "trials",
            f"{found['trials']} of {s.epochs} epochs: {found['configurations']} configurations, "
            f"{count(len(s.seeds), 'seed')}",
        ),
        ("failed", failures or "none"),
        (model.rate.replace("_", " "), f"{len(rates)} from {rates[0]:g} to {rates[-1]:g}"),
        *((n.replace("_", " "), _values(s, n)) for n in s.space.names if n != model.rate),
        ("seconds of a trial", "{:.4g} to {:.4g}".format(*found["seconds_range"])),
        (
            "noise of the loss",
            f"{100 * found['noise_log_loss_median']:.1f} % between trials of one configuration (median), "
            f"{100 * found['noise_common_share']:.0f} % of it common to a seed"
            if len(s.seeds) > 1 or s.noise_log_loss is not None
            else "unknown: a single seed was recorded",
        ),
        ("model error", _error(s.error)),
    ]
    if found["best"]:
        best = ", ".join(f"{n.replace('_', ' ')} {v:g}" for n, v in found["best"].items())
        rows += [("lowest mean loss", f"{found['loss_range'][0]:.4g} at {best}")]
        rows += [("highest mean loss", f"{found['loss_range'][1]:.4g}")]
    columns = (
        Column(key="fact", header="fact", align="left"),
        Column(key="value", header="value", align="left", wraps=True),
    )
    return Table(name="curve_set", title=f"Curves {s.name}", columns=columns, rows=tuple(rows), notes=s.limits)


def _values(curve_set: CurveSet, name: str) -> str:
    return ", ".join(f"{v:g}" for v in sorted({c.config[name] for c in curve_set.curves}))


def _error(error: ModelError | None) -> str:
    if error is None:
        return "not computed"
    return (
        f"{error.loss_median:.3f} nats (median), {error.loss_q90:.3f} (90 % quantile), rank correlation "
        f"{error.loss_rank_correlation:.2f}, seconds {100 * error.seconds_median_relative:.1f} %; "
        f"{error.points} points left out"
    )
