"""`sweepmark startup`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.run import RESULTS

if TYPE_CHECKING:
    from bench.speed.startup import Startup


@click.command(epilog="Example: sweepmark startup --workload tiny-squad --repeats 5")
@click.option("--workload", default="tiny-squad", show_default=True, metavar="NAME", help="See `sweepmark workloads`.")
@click.option("--recipe", default="fast", show_default=True, metavar="NAME", help="See `sweepmark workloads`.")
@click.option("--profile", metavar="NAME", help="Hardware profile. Default: this machine's own.")
@click.option("--dataset", type=click.Path(path_type=Path), help="File in SQuAD's JSON, in place of its data.")
@click.option("--random-weights", is_flag=True, help="The hub's model by its architecture alone; no download.")
@click.option("--examples", type=click.IntRange(min=1), help="Examples to train on. Default: the workload's.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Cold starts of each kind.")
@click.option("--warm", type=click.IntRange(min=1), default=3, show_default=True, help="Warm ones after each.")
@click.option("--out", type=click.Path(path_type=Path), help="New folder for it. Default: results/speed/startup-NAME.")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where they are.")
@click.option("--show", metavar="PATH", type=click.Path(path_type=Path), help="Show one that was measured.")
@click.option("--json", "as_json", is_flag=True, help="The tables as JSON.")
def startup(
    workload: str,
    recipe: str,
    profile: str | None,
    dataset: Path | None,
    random_weights: bool,
    examples: int | None,
    repeats: int,
    warm: int,
    out: Path | None,
    results: Path,
    show: Path | None,
    as_json: bool,
) -> None:
    """What goes by between a granted device and a trial's first step, cold and warm, part by part.

    Every call measures anew and keeps what it finds in a folder of its own; --show shows it again.
    """
    from dataclasses import replace

    from bench.files import new_folder
    from bench.probe import probe_machine, require_profile
    from bench.progress import counter
    from bench.provenance import collect
    from bench.speed.starts import imports_by_package, measure_starts
    from bench.speed.startup import Startup, load_startup, write_startup
    from bench.speed.task import Asked, config_of, measured_name, task_of
    from bench.workload import load_recipe

    if show is not None:
        _show(load_startup(show), as_json=as_json)
        return
    asked = Asked(workload=workload, train=examples, dataset=dataset, random_weights=random_weights)
    probe = probe_machine()
    hardware = require_profile(profile, probe)
    import time

    cache = (results / "runs" / ".cache").absolute()
    task = replace(task_of(asked, hardware, cache), recipe=load_recipe(recipe))
    with new_folder(out, results / "speed", f"startup-{measured_name(asked, hardware)}") as folder:
        began_s, provenance = time.time(), collect() | {"probe": probe.to_dict()}
        with counter("rounds of cold and warm starts") as on_done:
            starts = measure_starts(task, config_of(asked), repeats, warm, on_done)
        found = Startup(
            name=folder.name,
            workload=workload,
            data=asked.data_words,
            weights=asked.weights_words,
            recipe=recipe,
            profile=hardware.name,
            threads=task.threads,
            repeats=repeats,
            measured_at_s=round(began_s, 3),
            starts=tuple(starts),
            imports_s=imports_by_package(),
            provenance=provenance,
        )
        for path in write_startup(folder, found):
            click.echo(f"Written: {path}", err=True)
    _show(found, as_json=as_json)


def _show(found: Startup, *, as_json: bool) -> None:
    from bench.speed.startup import imports_table, startup_table

    tables = (startup_table(found), imports_table(found))
    if as_json:
        click.echo(json.dumps({"name": found.name, "tables": [table.to_dict() for table in tables]}, indent=2))
        return
    from rich.console import Console

    console = Console(file=sys.stdout)
    for table in tables:
        table.to_terminal(console)
        console.print()
