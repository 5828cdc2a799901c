"""`sweepmark report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.run import RESULTS
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.record import Record
    from bench.report.pareto import Front


@click.command(epilog="Example: sweepmark report bohb-tiny --csv")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--published", is_flag=True, help="The workshop's published tables, through the same ledger.")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where runs are.")
@click.option("--pareto", metavar="NAME,NAME", help="The Pareto front of one run by two metrics, see docs/metrics.md.")
@click.option("--svg", metavar="DIR", type=click.Path(path_type=Path), help="Write pictures, for a README.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV: the trials of one run, or the costs of several.")
@click.option("--markdown", "as_markdown", is_flag=True, help="As Markdown.")
def report(
    runs: tuple[str, ...],
    published: bool,
    results: Path,
    pareto: str | None,
    svg: Path | None,
    as_json: bool,
    as_csv: bool,
    as_markdown: bool,
) -> None:
    """Trials, best configuration and costs of one run, or a comparison of several.

    RUN is an id, the beginning of one, a run's folder, or a record.json. With none named, all runs under results/runs
    are compared; where there are none, the committed records in results/records are.
    """
    from bench.cli.output import find_run, no_runs, run_names, show_report
    from bench.record import load_record, make_record
    from bench.report import compare, published_report, report_run

    if as_json + as_csv + as_markdown > 1:
        raise UserError("Only one of --json, --csv and --markdown can be printed: drop the others.")
    if published and svg is not None:
        raise UserError("The published tables hold no runs that --svg could draw: drop --svg or --published.")
    if published and pareto is not None:
        raise UserError("The published tables hold one metric, the loss: drop --pareto or --published.")
    if published:
        chosen = published_report()
    else:
        folders: list[Path] = []
        records: list[Record] = []
        for name in runs or run_names(results):
            path = Path(name)
            folders.append(path.parent if path.suffix == ".json" else find_run(name, results))
            records.append(load_record(path) if path.suffix == ".json" else make_record(folders[-1]))
        if not records:
            folders = [path.parent for path in sorted((results / "records").glob("*/record.json"))]
            records = [load_record(folder) for folder in folders]
        if not records:
            raise no_runs(results)
        front = None if pareto is None else _front(pareto, records, folders)
        chosen = report_run(records[0], None, front) if len(records) == 1 else compare(records)
        if svg is not None:
            _draw(records, folders, svg, front)
    show_report(chosen, as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)


def _front(text: str, records: Sequence[Record], folders: Sequence[Path]) -> Front:
    from bench.leaderboard.collect import own_events
    from bench.metrics import parse_metrics
    from bench.report.pareto import front_by

    names = parse_metrics(text)
    if len(names) != 2 or len(records) != 1:
        raise UserError(f"--pareto {text} is of two metrics and one run: `report RUN --pareto eval_loss,memory_mib`.")
    events = own_events(records[0], folders[0])
    if events is None:
        raise UserError(f"The journal of {records[0].run_id} is not beside its record, and --pareto reads it: add it.")
    return front_by(events, names)


def _draw(records: Sequence[Record], folders: Sequence[Path], into: Path, front: Front | None) -> None:
    from bench.leaderboard.collect import own_events
    from bench.leaderboard.write import write_all
    from bench.pictures import run_pictures

    drawn = run_pictures([(r, own_events(r, folder)) for r, folder in zip(records, folders, strict=True)], front)
    for path in write_all(drawn, into):
        click.echo(f"Written: {path}", err=True)
