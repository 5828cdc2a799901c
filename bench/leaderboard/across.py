"""Strategies over several boards: performance profiles of what they cost to the target."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.leaderboard.boards import Board
from bench.statistics import R_MAX, performance_profile, performance_profile_score
from bench.tables import Cell, Column, Table

BOARDS_LEAST = BOTH_LEAST = 2
STRATEGIES_LEAST = 3
"""A board with fewer strategies says too little of the others: it would leave them out here."""

TAUS = (1.0, 2.0)


def across_tables(boards: Sequence[Board]) -> list[Table]:
    """One table for the measured boards and one for the simulated, where two or more of a kind hold a grid and three or
    more strategies, and share two or more."""
    return [
        table
        for simulated in (False, True)
        if (table := _across([b for b in boards if b.simulated is simulated], simulated)) is not None
    ]


def _across(boards: Sequence[Board], simulated: bool) -> Table | None:
    cells = [costs for board in boards if len(costs := _costs(board)) >= STRATEGIES_LEAST]
    shared = [label for label in cells[0] if all(label in costs for costs in cells)] if cells else []
    if len(cells) < BOARDS_LEAST or len(shared) < BOTH_LEAST:
        return None
    # The cheapest of a board may be one that is on no other.
    lowest = {"": [min(cell.values()) for cell in cells]}
    to_target = {label: [cell[label] for cell in cells] for label in shared} | lowest
    scores = performance_profile_score(to_target)
    shares = [performance_profile(to_target, tau) for tau in TAUS]
    rows: list[tuple[Cell, ...]] = [
        (label, len(cells), scores[label], *(share[label] for share in shares))
        for label in sorted(shared, key=lambda label: (-scores[label], label))
    ]
    kind = "simulated" if simulated else "measured"
    return Table(
        name=f"across-{kind}",
        title=f"Across {len(cells)} {kind} boards",
        columns=(
            Column(key="label", header="strategy", align="left"),
            Column(key="boards", header="boards", spec="d"),
            Column(key="profile_score", header="score", spec=".2f"),
            Column(key="cheapest_share", header="cheapest", spec=".0%"),
            Column(key="within_twice_share", header="within twice", spec=".0%"),
        ),
        rows=tuple(rows),
        notes=(
            "Performance profile (Dolan, More 2002) of the median cost to the target: on which share of boards a "
            "strategy is the cheapest, or within twice the cheapest. Score: 1 where it always is the cheapest, 0 where "
            f"it always costs {R_MAX:g} times as much or never gets there. Strategies that are on all of these boards, "
            "beside all that are on each; boards of fewer than three strategies are left out.",
        ),
    )


def _costs(board: Board) -> dict[str, float]:
    """Median cost to the target by strategy, the cheapest of rows with one label; none without a finite one."""
    found: dict[str, float] = {}
    for row in board.rows:
        if row.cost_to_target is not None:
            found[row.label] = min(found.get(row.label, math.inf), row.cost_to_target)
    return found if any(map(math.isfinite, found.values())) else {}
