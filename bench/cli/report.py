"""`sweepmark report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.run import RESULTS
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.record import Record


@click.command(epilog="Example: sweepmark report bohb-tiny --csv")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--published", is_flag=True, help="The workshop's published tables, through the same ledger.")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where runs are.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV: the trials of one run, or the costs of several.")
@click.option("--markdown", "as_markdown", is_flag=True, help="As Markdown.")
def report(
    runs: tuple[str, ...], published: bool, results: Path, as_json: bool, as_csv: bool, as_markdown: bool
) -> None:
    """Trials, best configuration and costs of one run, or a comparison of several.

    RUN is an id, the beginning of one, a run's folder, or a record.json. With none named, all runs under results/runs
    are compared; where there are none, the committed records in results/records are.
    """
    from bench.cli.output import find_run, no_runs, run_names, show_report
    from bench.record import load_record, record_run
    from bench.report import compare, published_report, report_run

    if as_json + as_csv + as_markdown > 1:
        raise UserError("Only one of --json, --csv and --markdown can be printed: drop the others.")
    if published:
        chosen = published_report()
    else:
        records: list[Record] = []
        for name in runs or run_names(results):
            path = Path(name)
            records.append(load_record(path) if path.suffix == ".json" else record_run(find_run(name, results)))
        if not records:
            records = [load_record(path) for path in sorted((results / "records").glob("*/record.json"))]
        if not records:
            raise no_runs(results)
        chosen = report_run(records[0], None) if len(records) == 1 else compare(records)
    show_report(chosen, as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)
