"""`sweepmark simulate`."""

from __future__ import annotations

from typing import Any

import click

from bench.cli.simulation_options import simulation_options

ALL = "all"


@click.command(epilog="Example: sweepmark simulate --strategy bohb,asha --profile v100 --seeds 200")
@click.option(
    "--strategy",
    default=ALL,
    show_default=True,
    metavar="NAMES",
    help="all, or names with commas between; manual and random are always added, as references.",
)
@simulation_options
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The first parent of all seeds.")
@click.option("--seeds", default=200, show_default=True, type=click.IntRange(min=1), help="Runs of each strategy.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes. Default: one a core.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="The table of strategies as CSV.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The report as Markdown.")
def simulate(
    strategy: str,
    seed: int,
    seeds: int,
    jobs: int | None,
    as_json: bool,
    as_csv: bool,
    as_markdown: bool,
    **options: Any,
) -> None:
    """Compare strategies over many seeds in virtual time, on recorded learning curves.

    Prints for each the cost to be as good as the manual grid, how often it got there, and what can be claimed of it.
    The same seeds give the same report on any machine, whatever the number of processes.
    """
    from bench.cli.output import show_report
    from bench.cli.simulation_options import studies
    from bench.curve_model import CurveModel
    from bench.curves import load_curve_set
    from bench.errors import UserError
    from bench.progress import counter
    from bench.simulate_many import simulate_many
    from bench.simulate_report import simulate_report

    if as_json + as_csv + as_markdown > 1:
        raise UserError("Only one of --json, --csv and --markdown can be had at once: leave the others out.")
    asked = studies(_names(strategy), range(seed, seed + seeds), **options)
    simulation = asked[0].simulation
    assert simulation is not None
    curves = options["curves"] or simulation.curves
    with counter("simulated runs") as on_done:
        outcomes = simulate_many(asked, curves=curves, jobs=jobs, on_done=on_done)
    report = simulate_report(outcomes, asked, CurveModel(load_curve_set(curves)))
    show_report(report, as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)


def _names(asked: str) -> list[str]:
    """The references, then the strategies that were asked for, each once."""
    from bench.errors import UserError
    from bench.simulate_scores import REFERENCES
    from bench.strategy import strategy_names

    names = [name.strip() for name in asked.split(",")]
    if not all(names):
        raise UserError(f"--strategy '{asked}' leaves a name out: write all, or names with commas between.")
    return list(dict.fromkeys([*REFERENCES, *(strategy_names() if names == [ALL] else names)]))
