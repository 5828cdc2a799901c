"""`sweepmark run` and `sweepmark resume`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.simulation_options import cluster_options, training_options
from bench.study import ENGINES

if TYPE_CHECKING:
    from bench.record import Record
    from bench.study import Study

RESULTS = Path("results")
BASELINE = "manual"
OWN_IMAGE = "the profile's"
WORDS = f"{__name__}.words"
"""Where a context keeps the words of its command line, for the inside of an image."""


class _Run(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Run, epilog='Example: sweepmark run --strategy bohb --lr-lower 1e-3 --bs-choices "8 16"')
@click.option(
    "--strategy", required=True, metavar="NAME", help="See `sweepmark strategies`, or the path of a .py file."
)
@click.option("--engine", type=click.Choice(ENGINES), help="virtual: on recorded curves. Default: for real.")
@click.option("--profile", metavar="NAME", help="Hardware profile. Default: this machine's own.")
@training_options
@click.option("--devices", type=click.IntRange(min=1), help="Devices to hold. Default: a node of the profile.")
@cluster_options
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where runs go.")
@click.option("--no-baseline", is_flag=True, help="Do not run the manual baseline where it is missing.")
@click.option("--fresh", is_flag=True, help="Run again from nothing what was run before.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on standard output.")
@click.option(
    "--container", is_flag=False, flag_value=OWN_IMAGE, metavar="[IMAGE]", help="In an image. Default: the profile's."
)
def run(
    strategy: str,
    seed: int,
    seeds: int,
    no_baseline: bool,
    fresh: bool,
    as_json: bool,
    container: str | None,
    **options: Any,
) -> None:
    """Search with one strategy, retrain its winner, and report what that cost against the manual baseline.

    A run that was interrupted goes on where it stopped; one that is complete is reported, not run again. A missing
    manual baseline is run first.
    """
    from bench.cli.output import show_report
    from bench.cli.runner import Runner
    from bench.report import compare, report_run
    from bench.strategy import load_strategy

    if container is not None:
        from bench.cli.contained import run_contained

        named = None if container == OWN_IMAGE else container
        sys.exit(run_contained(click.get_current_context().meta[WORDS], named, options["profile"], options["results"]))
    runner = Runner(options["results"], fresh=fresh)
    chosen = load_strategy(strategy)
    studies = [runner.study(strategy_name=strategy, seed=number, **options) for number in range(seed, seed + seeds)]
    records: list[Record] = []
    baseline: Record | None = None
    for study in studies:
        if not chosen.serial and not no_baseline:
            engine = "virtual" if study.simulation else None
            manual = options | {"strategy_name": BASELINE, "settings": (), "engine": engine, "seed": study.seed}
            manual["trials_per_device"] = 1
            baseline = runner.baseline(runner.study(**manual), of=study)
            records.append(baseline)
        records.append(runner.run(study))
    report = report_run(records[-1], baseline) if seeds == 1 else compare(records)
    show_report(report, as_json=as_json)


@click.command(epilog="Example: sweepmark resume bohb-tiny-squad-qa-cpu-s0-1a2b3c4d")
@click.argument("run_name", metavar="RUN")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where runs are.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on standard output.")
def resume(run_name: str, results: Path, as_json: bool) -> None:
    """Go on with an interrupted or killed run: RUN is its id, the beginning of it, or its folder. What is left of one
    that was submitted to a cluster is submitted again."""
    from bench.cli.output import find_run, show_report
    from bench.cli.runner import Runner
    from bench.cluster.jobs import load_jobs
    from bench.record import record_run
    from bench.report import report_run
    from bench.study import Study

    folder = find_run(run_name, results, kept=False, without_journal=True)
    submitted = load_jobs(folder)
    if submitted is not None:
        from bench.cli.submitter import announce
        from bench.cluster.submit import submit_left

        announce(folder, submit_left(folder), as_json=as_json)
        return
    study: Study = Study.from_dict(record_run(folder).study)
    runner = Runner(folder.parent.parent)
    record = runner.run(study)
    show_report(report_run(record, runner.find_baseline(study)), as_json=as_json)
