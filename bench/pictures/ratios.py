"""The headline ratio of each row of a board with its 95 % interval, cost to target over the manual grid's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bench.pictures import parts
from bench.pictures.palette import BLUE
from bench.pictures.values import Rows, row_labels

if TYPE_CHECKING:
    import altair as alt

    from bench.leaderboard.boards import Board, Row

ROW_HEIGHT = 26
MOST_ROWS = 100
"""Rows that are drawn; more are counted."""


def rows(board: Board) -> Rows:
    """A row a strategy, in the board's order. `ratio`, `low`, `high`: positive numbers, or None where they are
    infinite, zero or not known. `to_left`, `to_right`: the interval has no end there that a logarithmic axis has.
    `edge`: what is said in place of a point, and `remark` why."""
    found: Rows = [
        {"label": label}
        | _estimate(row)
        | {"seeds": row.seeds, "provisional": row.provisional, "rank": row.rank, "success_rate": row.success_rate}
        for row, label in zip(board.rows[:MOST_ROWS], row_labels(board), strict=False)
    ]
    if len(found) < len(board.rows):
        found[0]["note"] = f"the first {len(found)} of {len(board.rows)} rows"
    return found


def _estimate(row: Row) -> dict[str, Any]:
    if row.ratio is None:
        return _without("no ratio", "there is no grid to compare with")
    value, low, high = row.ratio.value, row.ratio.low, row.ratio.high
    if math.isnan(value):
        return _without("no ratio", "neither the grid nor the search reached the target")
    interval = low < high
    missed = math.isinf(value)
    return {
        "ratio": _positive(value),
        "low": _positive(low) if interval else None,
        "high": _positive(high) if interval else None,
        "to_left": interval and low <= 0,
        "to_right": interval and math.isinf(high),
        "edge": "target missed \u2192" if missed else "",
        "remark": "half of the seeds or more missed the target"
        if missed
        else "seeds missed the target: the interval has no upper end"
        if math.isinf(high)
        else "",
    }


def _without(edge: str, remark: str) -> dict[str, Any]:
    nothing = {"ratio": None, "low": None, "high": None, "to_left": False, "to_right": False}
    return nothing | {"edge": edge, "remark": remark}


def _positive(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None


def chart(several: bool) -> alt.LayerChart:
    import altair as alt

    base = parts.numbered().encode(
        y=alt.Y("label:N", title=None, sort=parts.in_order(), axis=alt.Axis(labelLimit=parts.label_limit())),
        tooltip=parts.tips(
            ("label:N", "strategy"),
            ("rank:O", "rank"),
            ("ratio:Q", "cost to target / the manual grid's", ".3~f"),
            ("low:Q", "95 % interval from", ".3~f"),
            ("high:Q", "to", ".3~f"),
            ("remark:N", "remark"),
            ("seeds:O", "seeds"),
            ("success_rate:Q", "success rate", ".0%"),
            ("provisional:N", "provisional"),
            several=several,
        ),
    )
    title = ["Cost to target / the manual grid's", "(log scale, below 1 is cheaper)"]
    scale = alt.Scale(type="log", padding=24, nice=False)
    x = alt.X("ratio:Q", title=title, scale=scale, axis=parts.log_axis("~g"))
    low, high = x.copy(), x.copy()
    low.shorthand, high.shorthand = "low:Q", "high:Q"
    one = alt.Chart(alt.sequence(1, 2, as_="one")).mark_rule(strokeDash=[5, 3], strokeWidth=1.5)
    intervals = base.mark_rule(strokeWidth=2.5, color=BLUE)
    arrows = base.mark_point(filled=True, size=70, color=BLUE, opacity=1)
    known = "isValid(datum.low) && isValid(datum.high)"
    right, left = alt.value("width"), alt.value(0)
    layers = [
        one.encode(x=alt.X("one:Q", title=title)),
        intervals.transform_filter(known).encode(x=low, x2="high:Q"),
        intervals.transform_filter("isValid(datum.low) && datum.to_right").encode(x=low, x2=right),
        intervals.transform_filter("datum.to_left && isValid(datum.high)").encode(x=high, x2=left),
        intervals.transform_filter("datum.to_left && datum.to_right").encode(x=left, x2=right),
        arrows.transform_filter("datum.to_left").encode(x=left, shape=alt.value("triangle-left")),
        arrows.transform_filter("datum.to_right").encode(x=right, shape=alt.value("triangle-right")),
        base.transform_filter("isValid(datum.ratio)")
        .mark_point(size=90, strokeWidth=2, stroke=BLUE, fill=BLUE, opacity=1)
        .encode(x=x, fillOpacity=alt.when("datum.provisional").then(alt.value(0)).otherwise(alt.value(1))),
        base.transform_filter("datum.edge != ''")
        .mark_text(align="right", fontSize=11, dx=-6, dy=alt.ExprRef("isValid(datum.low) ? -8 : 0"))
        .encode(x=right, text="edge:N"),
        *parts.remarks("There are no rows."),
    ]
    return parts.layered(layers, alt.Step(ROW_HEIGHT))
