"""`sweepmark validate-simulation`: how wrong simulated runs are, against real ones."""

from __future__ import annotations

import sys
from pathlib import Path

import click

OUT = Path("results/validation")
RESULTS = Path("results")


@click.command(
    "validate-simulation", epilog="Example: sweepmark validate-simulation tiny-squad results/records/*-tiny-squad-*"
)
@click.argument("curves")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where runs are.")
@click.option("--out", default=OUT, show_default=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def validate_curves(curves: str, runs: tuple[str, ...], results: Path, out: Path, as_json: bool) -> None:
    """Replay and predict real runs in virtual time, on the curve set CURVES, and keep how wrong that was.

    RUN is a run's folder, its id, or the beginning of one. Each must be of the workload, recipe, profile and data that
    the curves were recorded for. What is found is written to <curve set>.json and shown on every simulated report.
    """
    from rich.console import Console
    from rich.progress import track

    from bench.cli.output import find_run, show_report
    from bench.curve_model import CurveModel
    from bench.curves import load_curve_set
    from bench.validation import compare_run, encode, ordered, validation_report, write

    folders = [find_run(name, results) for name in runs]
    model = CurveModel(load_curve_set(curves))
    console = Console(file=sys.stderr)
    shown = track(folders, "compared runs", console=console, transient=True, disable=not console.is_terminal)
    comparisons = ordered(compare_run(folder, model) for folder in shown)
    path = out / f"{model.curve_set.name}.json"
    write(encode(comparisons, model.curve_set), path)
    show_report(validation_report(comparisons, model.curve_set), as_json=as_json)
    click.echo(f"Written to {path}.", err=True)
