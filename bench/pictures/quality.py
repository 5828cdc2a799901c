"""Cost against quality: each row of a board by what its search cost and how good its winner is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.pictures import parts
from bench.pictures.palette import SERIES
from bench.pictures.values import Rows, finite, row_labels

if TYPE_CHECKING:
    import altair as alt

    from bench.leaderboard.boards import Board

HEIGHT = 340
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down")
"""They go with `SERIES`: 5 and 7 have no common factor, so 35 points differ in colour or shape."""


def rows(board: Board) -> Rows:
    """A row a strategy of which both are known, medians over its runs."""
    found: Rows = []
    for row, label in zip(board.rows, row_labels(board), strict=True):
        cost, loss = finite(row.allocated_device_min), finite(row.eval_loss)
        if cost is None or loss is None:
            continue
        found.append(
            {
                "label": label,
                "cost": cost,
                "eval_loss": loss,
                "manual": row.strategy == "manual",
                "seeds": row.seeds,
                "rank": row.rank,
                "minutes": board.minutes,
            }
        )
    missing = len(board.rows) - len(found)
    if found and missing:
        found[0]["note"] = f"{missing} of {len(board.rows)} rows have no cost or no loss to draw"
    return found


def chart(several: bool) -> alt.LayerChart:
    """Told apart by colour and shape, not by text: labels would lie upon each other where results are alike."""
    import altair as alt

    x = alt.X(
        "cost:Q",
        title=parts.minutes("Search cost, allocated, median ({})"),
        axis=alt.Axis(format=parts.NUMBER),
        scale=alt.Scale(zero=False, padding=20),
    )
    y = alt.Y(
        "eval_loss:Q",
        title="Winner's eval loss, median (nats a token)",
        axis=alt.Axis(format=parts.NUMBER),
        scale=alt.Scale(zero=False, padding=20),
    )
    base = parts.numbered()
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x,
        y=y,
        color=alt.Color(
            "label:N", sort=parts.in_order(), scale=alt.Scale(range=list(SERIES)), legend=parts.legend(parts.RUN_WIDTH)
        ),
        shape=alt.Shape(
            "label:N", sort=parts.in_order(), scale=alt.Scale(range=list(SHAPES)), legend=parts.legend(parts.RUN_WIDTH)
        ),
        tooltip=parts.tips(
            ("label:N", "strategy"),
            ("rank:O", "rank"),
            ("cost:Q", "search cost (device-minutes)", ",.3~f"),
            ("eval_loss:Q", "eval loss (nats a token)", ".4f"),
            ("seeds:O", "seeds"),
            several=several,
        ),
    )
    grid = base.transform_filter("datum.manual").mark_rule(strokeDash=[5, 3], strokeWidth=1.5)
    layers = [grid.encode(x=x), grid.encode(y=y), points, *parts.remarks("No row has both a cost and a loss.")]
    return parts.layered(layers, HEIGHT)
