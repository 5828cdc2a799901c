"""The leaderboard's page: a table for each board, whose rows open to their runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.leaderboard.across import across_tables
from bench.leaderboard.board_table import board_table, leaderboard_report
from bench.leaderboard.boards import Board, Row
from bench.leaderboard.collect import Found
from bench.site.pages import board_pictures, markup, render
from bench.site.terms import column_links
from bench.table_html import HtmlRow, Link, escape

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_CHOSEN = 10
"""Runs that a row's box chooses for a comparison, those of the lowest seeds: more cannot be told apart in a picture."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A board as the page shows it. `details`: what its title says beyond workload, recipe, profile and `origin`."""

    board: Board
    origin: str
    details: str
    table: Markup


def index_page(boards: Sequence[Board], runs: int) -> str:
    """The page, with addresses as seen from the site's root."""
    links = column_links()
    sections = [_section(board, links) for board in boards]
    return render(
        "index.html",
        root="",
        here="leaderboard",
        title="Leaderboard",
        sections=sections,
        across=[markup(table, links=dict(links)) for table in across_tables(boards)],
        warnings=leaderboard_report(boards).warnings,
        runs=runs,
        rows=sum(len(board.rows) for board in boards),
        choices={
            "workload": _distinct(b.workload for b in boards),
            "profile": _distinct(b.profile for b in boards),
            "strategy": _distinct(row.strategy for b in boards for row in b.rows),
            "origin": _distinct(s.origin for s in sections),
        },
        pictures=board_pictures(),
    )


def _section(board: Board, links: Mapping[str, Link]) -> Section:
    rows = tuple(_row(board, row) for row in board.rows)
    table = markup(board_table(board), anchor=f"board-{board.key}", links=dict(links), lead="compare", rows=rows)
    origin = "simulated" if board.simulated else "measured"
    details = board.title.removeprefix(f"{board.workload}, {board.recipe}, {board.profile}, {origin}, ")
    return Section(board=board, origin=origin, details=details, table=table)


def _row(board: Board, row: Row) -> HtmlRow:
    chosen = row.runs[:MOST_CHOSEN]
    of = f" ({len(chosen)} of {len(row.runs)} runs)" if len(chosen) < len(row.runs) else ""
    said = escape(f"Choose {row.label}{of} for comparison")
    names = " ".join(found.name for found in chosen)
    return HtmlRow(
        attributes={"data-strategy": row.strategy, "id": f"{board.key}-{row.key}"},
        lead=f'<input type="checkbox" class="pick" value="{names}" aria-label="{said}" disabled>',
        more=_runs(row.runs),
    )


def _runs(runs: Sequence[Found]) -> str:
    items = [_run(found) for found in runs]
    if len(items) == 1:
        return f'<span class="runs">{items[0]}</span>'
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f'<details class="runs"><summary>{len(items)} runs</summary><ul>{listed}</ul></details>'


def _run(found: Found) -> str:
    seed = escape(str(found.record.study["seed"]))
    return f'<a href="runs/{found.name}.html">seed {seed}</a>'


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted(set(values))
