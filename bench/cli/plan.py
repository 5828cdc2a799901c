"""`sweepmark plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.simulation_options import finite, simulation_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.gantt import Schedule


@click.command(epilog="Example: sweepmark plan --strategy bohb --profile v100 --budget 600")
@click.option(
    "--strategy", required=True, metavar="NAME", help="See `sweepmark strategies`, or the path of a .py file."
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Device-minutes that may be allocated.",
)
@simulation_options
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The first parent of all seeds.")
@click.option("--seeds", default=20, show_default=True, type=click.IntRange(min=1), help="Simulated runs.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes. Default: one a core.")
@click.option("--shapes", is_flag=True, help="Compare ways to pack the evaluations into jobs, too.")
@click.option(
    "--job-launch",
    type=click.FloatRange(min=0),
    callback=finite,
    default=180,
    show_default=True,
    help="Seconds; --shapes.",
)
@click.option(
    "--job-queue", type=click.FloatRange(min=0), callback=finite, default=300, show_default=True,
    help="Seconds that a job of one device waits; --shapes.",
)  # fmt: skip
@click.option(
    "--job-queue-growth", type=click.FloatRange(min=0), callback=finite, default=0.5, show_default=True,
    help="A job of n devices waits n to this power times as long; --shapes.",
)  # fmt: skip
@click.option(
    "--medium", type=click.IntRange(min=1), default=4, show_default=True, help="Evaluations of a medium job; --shapes."
)
@click.option("--svg", type=click.Path(path_type=Path), help="File to write the schedules to, as a picture.")
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON on standard output.")
def plan(
    strategy: str,
    budget: float | None,
    seed: int,
    seeds: int,
    jobs: int | None,
    shapes: bool,
    job_launch: float,
    job_queue: float,
    job_queue_growth: float,
    medium: int,
    svg: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what a search will need before a device is held: what fits, what will wait, costs, and a schedule."""
    import sys

    from rich.console import Console

    from bench.cli.simulation_options import studies
    from bench.curve_model import CurveModel
    from bench.curves import load_curve_set
    from bench.plan import make_plan
    from bench.profile import load_profile
    from bench.progress import counter
    from bench.shapes import Assumptions
    from bench.simulate_many import Outcome, simulate_many
    from bench.study import Study

    runs = studies([strategy], range(seed, seed + seeds), **options)
    simulation = runs[0].simulation
    assert simulation is not None
    profile = load_profile(runs[0].profile)
    assumed = Assumptions(
        slots=runs[0].slots,
        slot_devices=runs[0].devices_per_trial,
        launch_s=job_launch,
        startup_s=profile.overheads.trial_startup_s,
        queue_wait_s=job_queue,
        queue_growth=job_queue_growth,
        medium_evaluations=medium,
    )
    curves = options.get("curves") or simulation.curves
    with counter("simulated runs") as on_done:

        def simulate(asked: Sequence[Study]) -> Sequence[Outcome]:
            return simulate_many(asked, curves=curves, jobs=jobs, on_done=on_done)

        made = make_plan(
            runs,
            profile,
            CurveModel(load_curve_set(curves)),
            simulate,
            budget_device_min=budget,
            assumed=assumed if shapes else None,
        )
    if svg is not None:
        _write(svg, [made.schedule, *made.shapes])
    if as_json:
        click.echo(made.to_json(), nl=False)
    else:
        made.to_terminal(Console(file=sys.stdout))


def _write(path: Path, schedules: Sequence[Schedule]) -> None:
    from bench.errors import UserError
    from bench.pictures import schedules_to_svg

    try:
        path.write_text(schedules_to_svg(schedules), encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror}): give another file to --svg.") from None
    click.echo(f"The schedule is drawn in {path}.", err=True)
