"""`sweepmark advise`."""

from __future__ import annotations

import click

from bench.cli.simulation_options import finite


@click.command(epilog="Example: sweepmark advise --profile cpu")
@click.option("--profile", metavar="NAME", help="Hardware profile. Default: the curves', else cpu.")
@click.option("--curves", metavar="NAME", help="Recorded curves, see `sweepmark curves`. Default: the profile's.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Device-minutes that may be allocated.",
)
@click.option(
    "--target", type=float, callback=finite, help="Loss to be reached. Default: that of the manual grid's winner."
)
@click.option("--strategy", metavar="NAMES", help="To choose among, with commas between. Default: all but pbt.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of a trial. Default: the workload's.")
@click.option(
    "--hold-out/--no-hold-out",
    default=None,
    help="Choose on some of the recorded seeds and report on the others. Default: where there are several.",
)
@click.option("--report-curves", metavar="NAME", help="Report on this set of the same workload instead.")
@click.option("--seeds", default=40, show_default=True, type=click.IntRange(min=1), help="Seeds to choose by.")
@click.option("--report-seeds", default=200, show_default=True, type=click.IntRange(min=1), help="Seeds to report.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Parent of all seeds.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes. Default: one a core.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="The table of searches as CSV.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The report as Markdown.")
def advise(
    profile: str | None,
    curves: str | None,
    budget: float | None,
    target: float | None,
    strategy: str | None,
    epochs: int | None,
    hold_out: bool | None,
    report_curves: str | None,
    seeds: int,
    report_seeds: int,
    seed: int,
    jobs: int | None,
    as_json: bool,
    as_csv: bool,
    as_markdown: bool,
) -> None:
    """Say which strategy to run with which settings, found by simulation on recorded learning curves.

    Chosen is what costs least to be as good as the manual grid (or to --target), or what gets lowest within --budget;
    what it then costs is told from seeds and curves that had no part in the choice.
    """
    import tempfile
    from collections.abc import Sequence
    from dataclasses import replace
    from pathlib import Path

    from bench.advise import Goal, grounds, runs_at_most
    from bench.advise import advise as make_advice
    from bench.advise_candidates import Candidate, candidates
    from bench.advise_report import advise_report
    from bench.cli.output import show_report
    from bench.cli.simulation_options import check_support
    from bench.curve_model import CurveModel
    from bench.errors import UserError
    from bench.profile import load_profile
    from bench.progress import counter
    from bench.simulate import find_curve_set
    from bench.simulate_many import Outcome, simulate_many
    from bench.simulate_scores import RANDOM
    from bench.study import Study

    if as_json + as_csv + as_markdown > 1:
        raise UserError("Only one of --json, --csv and --markdown can be had at once: leave the others out.")
    goal = Goal(budget_device_min=budget, target_loss=target)
    curves = find_curve_set(curves, profile=profile, workload=None)
    names = None if strategy is None else [name.strip() for name in strategy.split(",") if name.strip()]
    with tempfile.TemporaryDirectory() as folder, counter("simulated runs") as on_done:
        choosing, reporting = grounds(curves, folder=Path(folder), hold_out=hold_out, report_curves=report_curves)
        hardware = load_profile(profile or choosing.curve_set.profile)
        example = Candidate(strategy=RANDOM).study(choosing.curve_set, hardware, epochs=epochs)
        for ground in (choosing, reporting):
            check_support(replace(example, space=ground.curve_set.space), CurveModel(ground.curve_set))
        tried = candidates(names, example)
        total, before = runs_at_most(tried, seeds, report_seeds), 0

        def simulate(asked: Sequence[Study], where: str) -> Sequence[Outcome]:
            nonlocal before
            found = simulate_many(asked, curves=where, jobs=jobs, on_done=lambda done, _: on_done(before + done, total))
            before += len(asked)
            return found

        advice = make_advice(
            tried, goal, hardware, choosing, reporting, simulate,
            epochs=epochs, seeds=seeds, report_seeds=report_seeds, seed=seed,
        )  # fmt: skip
    show_report(advise_report(advice), as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)
