"""`sweepmark submit`: a run as jobs of a SLURM cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.cli.run import RESULTS
from bench.cli.simulation_options import training_options

ALL_AT_ONCE = "all"


@click.command(epilog="Example: sweepmark submit asha --profile v100 --nodes 2 --time 02:00:00")
@click.argument("strategy")
@click.option("--profile", required=True, metavar="NAME", help="Hardware profile of the nodes.")
@click.option("--nodes", type=click.IntRange(min=1), help="Nodes that a search under Ray may hold. Default: 1.")
@click.option("--devices", type=click.IntRange(min=1), help="Devices on each node. Default: the profile's.")
@click.option("--trial-devices", type=click.IntRange(min=1), help="Devices of a trial. Default: the profile's.")
@click.option(
    "--array",
    is_flag=False,
    flag_value=ALL_AT_ONCE,
    metavar="[LIMIT]",
    help="Each trial a task of a job array (manual, random), at most LIMIT at once.",
)
@click.option("--site", type=click.Path(path_type=Path), help="Site file. Default: what SWEEPMARK_SITE names.")
@click.option("--account", metavar="NAME", help="Instead of the site's.")
@click.option("--partition", metavar="NAME", help="Instead of the site's.")
@click.option("--time", "limit", metavar="TIME", help="Limit of each job, such as 04:00:00. Default: the site's.")
@training_options
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="A shared folder.")
@click.option("--dry-run", is_flag=True, help="Show the job scripts, and submit nothing.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on standard output, a line a run.")
def submit(
    strategy: str,
    profile: str,
    nodes: int | None,
    array: str | None,
    site: Path | None,
    account: str | None,
    partition: str | None,
    limit: str | None,
    seed: int,
    seeds: int,
    results: Path,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit a run to SLURM: a grid as one job, or with --array each trial as a task; a search under Ray as a head and
    an array of workers, which may start late, end early, and are made up for.

    A run that was submitted before is submitted as far as it is left.
    """
    from bench.cli.baseline import missing_baseline
    from bench.cli.submitter import announce, prepare, submit_run
    from bench.cluster.submit import left, scripts
    from bench.progress import intention

    for number in range(seed, seed + seeds):
        run_folder, submitted = prepare(
            strategy, results, nodes=nodes, array=array, site=site, account=account, partition=partition, limit=limit,
            options=options | {"profile": profile, "seed": number},
        )  # fmt: skip
        if dry_run:
            click.echo(f"# {intention(submitted.read_study())}")
            for step in left(run_folder, submitted, ()):
                click.echo(f"# {step}")
            for path, text in scripts(run_folder, submitted).items():
                click.echo(f"# {path}\n{text}")
        else:
            jobs = submit_run(run_folder, submitted)
            announce(run_folder, jobs, as_json=as_json)
            if jobs and not as_json and (said := missing_baseline(results, submitted.read_study())):
                click.echo(f"note    {said}")
