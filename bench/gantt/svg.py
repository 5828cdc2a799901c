"""Schedules as SVG, by Vega-Lite. The same schedules give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.gantt.schedule import WORDS, Bar, Kind, Schedule, name_of, time_unit
from bench.tables import clean

if TYPE_CHECKING:
    import altair as alt

WIDTH = 900
ROW_HEIGHT = 20
FONT_SIZE = 10
DIGIT_WIDTH = 6.5
"""Pixels that a character of a label takes."""

FILLS: Mapping[Kind, str] = {
    "queue": "#c9d8ea", "startup": "#eeca3b", "restore": "#72b7b2", "train": "#54a24b", "eval": "#4c78a8",
    "checkpoint": "#b279a2", "lost": "#e45756", "unsplit": "#54a24b", "idle": "#e6e6e6",
}  # fmt: skip


def to_svg(schedules: Sequence[Schedule]) -> str:
    """The schedules below each other on one time axis, as an SVG document: a bar for each phase of each trial, and the
    trial's number where its stretch begins and there is room."""
    import altair as alt
    import vl_convert

    until_s = max(what.end_s for what in schedules)
    unit, seconds = time_unit(until_s)
    kinds = [kind for kind in FILLS if any(bar.kind == kind for what in schedules for bar in what.bars)]
    color = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=[_word(kind) for kind in kinds], range=[FILLS[kind] for kind in kinds]),
    )
    charts = [_chart(what, until_s, unit, seconds, color) for what in schedules]
    chart = charts[0] if len(charts) == 1 else alt.vconcat(*charts)
    return vl_convert.vegalite_to_svg(chart.to_dict()) + "\n"


def _chart(
    what: Schedule, until_s: float, unit: str, seconds: float, color: alt.Color
) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    x = alt.X("from:Q", title=unit, scale=alt.Scale(domain=[0, until_s / seconds], nice=False))
    slots = [str(row + 1) for row in range(what.rows)]
    y = alt.Y("slot:N", title="device", scale=alt.Scale(domain=slots), sort=None)
    bars = (
        alt.Chart(alt.InlineData(values=[_row(bar, seconds) for bar in what.bars]))
        .mark_bar(stroke="white", strokeWidth=0.3)
        .encode(x=x, x2="until:Q", y=y, color=color)
    )
    labels = (
        alt.Chart(alt.InlineData(values=_labels(what, until_s, seconds)))
        .mark_text(align="left", baseline="middle", dx=2, fontSize=FONT_SIZE)
        .encode(x=x, y=y, text="trial:N")
    )
    return alt.layer(bars, labels).properties(title=clean(what.title), width=WIDTH, height=alt.Step(ROW_HEIGHT))


def _word(kind: Kind) -> str:
    return WORDS.get(kind, kind)


def _row(bar: Bar, seconds: float) -> dict[str, Any]:
    return {
        "slot": str(bar.row + 1),
        "from": round(bar.start_s / seconds, 4),
        "until": round(bar.end_s / seconds, 4),
        "kind": _word(bar.kind),
        "trial": name_of(bar.trial),
    }


def _labels(what: Schedule, until_s: float, seconds: float) -> list[dict[str, Any]]:
    """A trial's number at the start of each of its stretches that is long enough."""
    stretches: list[tuple[Bar, float]] = []
    for bar in what.bars:
        if stretches:
            first, end_s = stretches[-1]
            if (first.row, first.trial) == (bar.row, bar.trial) and bar.start_s - end_s < 1e-6:
                stretches[-1] = (first, bar.end_s)
                continue
        stretches.append((bar, bar.end_s))
    return [
        _row(first, seconds)
        for first, end_s in stretches
        if first.trial is not None
        and (end_s - first.start_s) / until_s * WIDTH >= DIGIT_WIDTH * len(name_of(first.trial)) + 2
    ]
