"""`sweepmark leaderboard`."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.run import RESULTS
from bench.errors import UserError


@click.command(epilog="Example: sweepmark leaderboard --site results/site")
@click.argument("folders", nargs=-1, metavar="[FOLDER]...", type=click.Path(path_type=Path))
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where runs are.")
@click.option("--site", metavar="DIR", type=click.Path(path_type=Path), help="Build a site: pages that need no server.")
@click.option("--write", metavar="DIR", type=click.Path(path_type=Path), help="Write it as Markdown, CSV and JSON.")
@click.option("--svg", metavar="DIR", type=click.Path(path_type=Path), help="Write its pictures, for a README.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV: all rows in one table.")
@click.option("--markdown", "as_markdown", is_flag=True, help="As Markdown.")
def leaderboard(
    folders: tuple[Path, ...],
    results: Path,
    site: Path | None,
    write: Path | None,
    svg: Path | None,
    as_json: bool,
    as_csv: bool,
    as_markdown: bool,
) -> None:
    """Rank strategies by what they cost to be as good as the manual grid.

    FOLDER holds runs, in folders of their own: measured ones, simulated ones, or somebody's submission. With none
    named, all under results/ are ranked: records, submissions, validation and runs. Runs that do not compare (another
    workload, recipe, profile, data or plan; simulated ones) are on boards of their own.
    """
    from bench.cli.output import KEPT, no_runs, show_report
    from bench.leaderboard import boards, by_loss, collect
    from bench.leaderboard.board_table import leaderboard_csv, leaderboard_report
    from bench.leaderboard.write import leaderboard_pictures, leaderboard_texts, write_all
    from bench.progress import counter

    if as_json + as_csv + as_markdown > 1:
        raise UserError("Only one of --json, --csv and --markdown can be printed: drop the others.")
    searched = folders or tuple(path for name in (*KEPT, "runs") if (path := results / name).is_dir())
    with counter("runs read") as on_done:
        found = collect(searched, on_done)
    ranked = boards(found)
    if others := [one.name for one in found if not by_loss(one)]:
        click.echo(
            f"On no board, since they optimised something else than the loss alone: {', '.join(others)} "
            "(`sweepmark report` shows them).",
            err=True,
        )
    if not ranked:
        if others:
            raise UserError("No other run's search is over: there is nothing to rank yet.")
        if not folders:
            raise no_runs(results)
        raise UserError(f"There is no run whose search is over in {', '.join(map(str, folders))}: name another folder.")
    for folder, make in ((write, leaderboard_texts), (svg, leaderboard_pictures)):
        if folder is not None:
            for path in write_all(make(ranked), folder):
                click.echo(f"Written: {path}", err=True)
    if site is not None:
        from bench.site import build_site

        with counter("pages written") as on_done:
            pages = build_site(found, site, on_done)
        click.echo(f"{pages} pages of {len(found)} runs: open {site / 'index.html'}", err=True)
    if as_csv:
        click.echo(leaderboard_csv(ranked), nl=False)
    elif as_json or as_markdown or not (site or write or svg):
        show_report(leaderboard_report(ranked), as_json=as_json, as_markdown=as_markdown)
