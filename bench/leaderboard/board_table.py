"""Boards as tables and as one report: for a terminal, Markdown, CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from bench.estimates import NEVER, cost_cell, estimate_cells, estimate_columns
from bench.leaderboard.across import across_tables
from bench.leaderboard.boards import Board, Row
from bench.report.model import Report
from bench.report.warnings import SEEDS_FOR_A_CLAIM
from bench.report.wording import count
from bench.simulate_report import SEEDS_FOR_A_ROW
from bench.simulate_scores import MANUAL
from bench.statistics import RESAMPLES
from bench.tables import Cell, Column, Missing, Table

PROVISIONAL = "provisional"
SHORT = 12
"""Letters of a digest that a table shows."""


def leaderboard_report(boards: Sequence[Board]) -> Report:
    """All boards: a table each, and what must be known to read them. CSV holds all rows in one table."""
    return Report(
        title="Leaderboard",
        tables=(*(board_table(board) for board in boards), *across_tables(boards)),
        warnings=tuple(_warnings(boards)),
        comparison=(),
        csv_table="leaderboard",
        head=_HEAD,
    )


def leaderboard_csv(boards: Sequence[Board]) -> str:
    """The rows of all boards as one table, each with its board."""
    tables = [board_table(board) for board in boards]
    rows = tuple(row for table in tables for row in table.rows)
    columns = tables[0].columns if tables else ()
    return Table(name="leaderboard", title="Leaderboard", columns=columns, rows=rows, identity=0).to_csv()


def board_table(board: Board) -> Table:
    """A board's rows, in its order. Costs are device-minutes of the search, medians over seeds."""
    return Table(
        name=board.key,
        title=board.title,
        columns=_columns(board.minutes),
        rows=tuple(_cells(board, row) for row in board.rows),
        notes=tuple(_notes(board)),
        identity=2,
    )


_HEAD = (
    "Ranked by the headline cost ratio: what a strategy had spent (allocated) when it was first as good as the manual "
    "grid's winner, over what the grid had spent, seed by seed; exp(median ln), below 1 is cheaper than the grid.",
    f"Intervals: 95 % percentile bootstrap over seeds, {RESAMPLES} resamples; none is given under {SEEDS_FOR_A_CLAIM} "
    f"seeds. Provisional: fewer than {SEEDS_FOR_A_CLAIM} measured seeds, or than {SEEDS_FOR_A_ROW} simulated ones. "
    "Measured and simulated runs are on boards of their own.",
)


def _columns(minutes: str) -> tuple[Column, ...]:
    return (
        Column(key="rank", header="rank", spec="d"),
        Column(key="label", header="strategy", align="left"),
        *estimate_columns("ratio", "cost ratio to target"),
        Column(key="over_shuffled", header="over shuffled grid", spec=".2f"),
        Column(key="success_rate", header="reached", spec=".0%"),
        *(replace(c, data_only=True) for c in estimate_columns("p_cheaper", "P cheaper than manual")),
        Column(key="expected_device_min", header=f"{minutes} a success", spec=".2f"),
        Column(key="cost_ratio", header="whole search", spec=".2f"),
        Column(key="allocated_device_min", header=f"{minutes} allocated", spec=".2f"),
        Column(key="busy_device_min", header=f"{minutes} busy", spec=".2f"),
        Column(key="eval_loss", header="loss in search", spec=".4f"),
        Column(key="test_loss", header="loss on test split", spec=".4f"),
        Column(key="seeds_shown", header="seeds", align="left"),
        Column(key="failures", header="failed trials", spec="d"),
        Column(key="date", header="date", align="left"),
        Column(key="machine", header="probed on", align="left", wraps=True),
        Column(key="image_shown", header="image", align="left"),
        Column(key="seeds", header="seeds", data_only=True),
        Column(key="provisional", header=PROVISIONAL, data_only=True),
        Column(key="strategy", header="strategy", align="left", data_only=True),
        Column(key="measured", header="measured", align="left", data_only=True),
        Column(key="workload", header="workload", align="left", data_only=True),
        Column(key="recipe", header="recipe", align="left", data_only=True),
        Column(key="profile", header="profile", align="left", data_only=True),
        Column(key="board", header="board", align="left", data_only=True),
        Column(key="target_loss", header="target loss", data_only=True),
        Column(key="target_device_min", header=f"{minutes} to target", data_only=True),
        Column(key="utilisation", header="utilisation", data_only=True),
        Column(key="exact_match_percent", header="EM", unit="%", data_only=True),
        Column(key="f1_percent", header="F1", unit="%", data_only=True),
        Column(key="image", header="image", align="left", data_only=True),
        Column(key="paired", header="paired by seed", data_only=True),
        Column(key="commit", header="commit", align="left", data_only=True),
        Column(key="clean", header="clean tree", data_only=True),
        Column(key="runs", header="runs", align="left", data_only=True),
    )


def _cells(board: Board, row: Row) -> tuple[Cell, ...]:
    return (
        row.rank,
        row.label,
        *_ratio_cells(row),
        None if row.over_shuffled is None else cost_cell(row.over_shuffled),
        row.success_rate,
        *estimate_cells(row.better),
        None if row.expected is None else cost_cell(row.expected),
        None if row.cost_ratio is None else cost_cell(row.cost_ratio),
        row.allocated_device_min,
        row.busy_device_min,
        row.eval_loss,
        row.test_loss,
        f"{row.seeds} ({PROVISIONAL})" if row.provisional else str(row.seeds),
        row.failures,
        row.date or Missing(),
        row.machine or Missing("simulated" if board.simulated else "not probed"),
        row.image.removeprefix("sha256:")[:SHORT] or Missing("none"),
        row.seeds,
        row.provisional,
        row.strategy,
        "simulated" if board.simulated else "measured",
        board.workload,
        board.recipe,
        board.profile,
        board.key,
        board.target,
        None if row.cost_to_target is None else cost_cell(row.cost_to_target),
        row.utilisation,
        row.exact_match,
        row.f1,
        row.image,
        row.paired,
        row.commit,
        row.clean,
        " ".join(found.name for found in row.runs),
    )


def _ratio_cells(row: Row) -> tuple[Cell, ...]:
    """Under five seeds without an interval; 0 where the grid missed the target."""
    if row.ratio is None or row.seeds >= SEEDS_FOR_A_CLAIM:
        return estimate_cells(row.ratio)
    value = row.ratio.value
    shown = NEVER if math.isinf(value) else f"{value:.2f}" if value else "0 (grid missed)"
    return (shown, value, None, None)


def _notes(board: Board) -> list[str]:
    notes = list(board.conditions)
    if board.target is not None:
        notes.append(
            f"Target: loss {board.target:.4f}, the median of the manual grid's winners. Cost ratio to target: the "
            "headline; never: half of the seeds or more missed. Over shuffled grid: the same over what the grid would "
            "have cost in a random order, since where its winner comes is chance. Whole search: its cost over that of "
            "the whole grid."
        )
    elif all(row.ratio is None for row in board.rows):
        notes.append("There is no manual grid among these runs, so nothing is ranked: run --strategy manual too.")
    else:
        notes.append("Each machine has a target of its own, the median loss of the manual grid's winners there.")
    missed = [
        row for row in board.rows if row.strategy == MANUAL and row.success_rate is not None and row.success_rate < 1
    ]
    if missed:
        shares = ", ".join(f"{1 - (row.success_rate or 0):.0%}" for row in missed)
        notes.append(
            f"The grid itself missed the target on {shares} of its seeds: a strategy that got there has a ratio of 0 "
            "on these, so read the ratio with its interval, and beside the cost a success."
        )
    if board.control is not None:
        notes.append(
            f"Control: of {board.control.finals} trials that random search trained in full, the best of "
            f"{board.control.drawn} drawn at random is expected to have loss {board.control.loss:.4f}."
        )
    unpaired = [row.label for row in board.rows if not row.paired]
    if unpaired:
        notes.append(f"Compared with a grid of another seed, for want of one of their own: {', '.join(unpaired)}.")
    if board.unfinished:
        notes.append(f"{count(board.unfinished, 'run')} whose search is not over: in no row.")
    return notes


def _warnings(boards: Sequence[Board]) -> list[str]:
    unclean = [row.label for board in boards for row in board.rows if not row.clean and not board.simulated]
    return [f"Run with changes beside the commit: {', '.join(dict.fromkeys(unclean))}."] if unclean else []
