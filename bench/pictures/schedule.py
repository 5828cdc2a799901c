"""What each device did over time: a bar for each phase of each trial, and the trial's number where there is room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from bench.gantt import Bar, Kind, Schedule
from bench.gantt.schedule import WORDS, name_of
from bench.pictures import parts
from bench.pictures.palette import PHASE_FILLS
from bench.pictures.values import MOST_POINTS, Rows

if TYPE_CHECKING:
    import altair as alt

ROW_HEIGHT = 20
WIDTH = 900
"""Of several schedules: charts below each other cannot take the width that there is."""
DIGIT_WIDTH = 6.5
"""Pixels that a character of a label takes."""
FONT_SIZE = 10
MOST_ROWS = 64
"""Devices that are drawn; more are counted."""
SAME_STRETCH = 0.01
"""A trial that is back in its row after no more than this share of the time axis goes on with its stretch."""

KINDS: tuple[Kind, ...] = (
    "queue", "startup", "restore", "train", "eval", "checkpoint", "lost", "unsplit", "idle",
)  # fmt: skip
NAMES = {kind: WORDS.get(kind, kind) for kind in KINDS}

LONGEST_S = f"extent(pluck(data('{parts.ROWS}'), 'end_s'))[1] || 0"
UNIT = "longest_s < 180 ? 's' : longest_s < 14400 ? 'min' : 'h'"
UNIT_S = "longest_s < 180 ? 1 : longest_s < 14400 ? 60 : 3600"
"""The unit in which the longest schedule is best read; as `bench.gantt.schedule.time_unit` has it."""


def rows(what: Schedule) -> Rows:
    """A row a bar, in seconds from the beginning. `label`: the trial's number, in the first row of each of its
    stretches, which is `stretch_s` long.

    From 10,000 bars on, each of the device's equal spans of time shows what fills most of it. Of more than 64 devices
    the first 64 are there.
    """
    shown = min(what.rows, MOST_ROWS)
    bars = [bar for bar in what.bars if bar.row < shown]
    notes = [f"a line is 1/{what.per_device} of a device"] if what.per_device > 1 else []
    if shown < what.rows:
        notes.append(f"{what.rows - shown} of {what.rows} devices are not drawn")
    if len(bars) > MOST_POINTS:
        notes.append(f"{len(bars)} phases: each span of time shows what fills most of it")
        bars = list(_coarse(bars, what.end_s, MOST_POINTS // shown))
    found: Rows = [
        {
            "device": bar.row + 1,
            "from_s": round(bar.start_s, 3),
            "until_s": round(bar.end_s, 3),
            "kind": NAMES[bar.kind],
            "trial": name_of(bar.trial),
            "end_s": round(what.end_s, 3),
        }
        for bar in bars
    ]
    for first, stretch_s in _stretches(bars, what.end_s):
        found[first] |= {"label": found[first]["trial"], "stretch_s": round(stretch_s, 3)}
    if found and notes:
        found[0]["note"] = "; ".join(notes)
    return found


def _stretches(bars: list[Bar], end_s: float) -> Iterator[tuple[int, float]]:
    """Index of the first bar and length of each stretch of a trial in a row."""
    stretch: tuple[int, float] | None = None
    for index, bar in enumerate(bars):
        if bar.trial is None:
            continue
        if stretch is not None:
            first, until_s = bars[stretch[0]], stretch[1]
            if (first.row, first.trial) == (bar.row, bar.trial) and bar.start_s - until_s <= SAME_STRETCH * end_s:
                stretch = (stretch[0], bar.end_s)
                continue
            yield stretch[0], until_s - first.start_s
        stretch = (index, bar.end_s)
    if stretch is not None:
        yield stretch[0], stretch[1] - bars[stretch[0]].start_s


def _coarse(bars: Iterable[Bar], end_s: float, cells: int) -> Iterator[Bar]:
    """Each row in so many cells of one length, equal neighbours made one bar."""
    cell_s = end_s / cells
    for row, own in groupby(bars, key=lambda bar: bar.row):
        best: dict[int, tuple[float, Bar]] = {}
        for bar in own:
            for i in range(int(bar.start_s / cell_s), min(cells - 1, int(bar.end_s / cell_s)) + 1):
                share_s = min(bar.end_s, (i + 1) * cell_s) - max(bar.start_s, i * cell_s)
                if share_s > best.get(i, (0.0, bar))[0]:
                    best[i] = (share_s, bar)
        # Neighbours differ in their index by one as their place in the order does: a gap begins another group.
        keyed = groupby(enumerate(sorted(best)), key=lambda p: (p[1] - p[0], best[p[1]][1].kind, best[p[1]][1].trial))
        for (_, kind, trial), group in keyed:
            cell = [index for _, index in group]
            yield Bar(row=row, start_s=cell[0] * cell_s, end_s=(cell[-1] + 1) * cell_s, kind=kind, trial=trial)


def chart(several: bool) -> alt.LayerChart | alt.FacetChart:
    """One schedule, or several below each other on one time axis."""
    import altair as alt

    names = list(NAMES.values())
    width = "child_width" if several else "width"
    columns = {"columns": len(names)} if several else {}
    shown = parts.legend(values=parts.present("kind", names), symbolType="square", **columns)
    longest = alt.param("longest_s", expr=LONGEST_S)
    unit = alt.param("unit_s", expr=UNIT_S)
    title = parts.expression(f"'Time since the start (' + ({UNIT}) + ')'")
    x = alt.X("from:Q", title=title, scale=alt.Scale(nice=False))
    y = alt.Y("device:O", title="Device")
    scale = alt.Scale(domain=names, range=[PHASE_FILLS[kind] for kind in KINDS])
    times = {"from": "datum.from_s / unit_s", "until": "datum.until_s / unit_s"}
    # Data is the whole chart's: layers with data of their own would show all of it in every panel.
    base = alt.Chart().transform_calculate(lasts_s="datum.until_s - datum.from_s", **times)
    bars = base.mark_bar(strokeWidth=0.3, stroke="white").encode(
        x=x,
        x2="until:Q",
        y=y,
        color=alt.Color("kind:N", scale=scale, legend=shown),
        tooltip=parts.tips(
            ("kind:N", "doing"),
            ("trial:N", "trial"),
            ("device:O", "device"),
            ("from_s:Q", "from (s)", ".1f"),
            ("lasts_s:Q", "lasts (s)", ".1f"),
            several=several,
        ),
    )
    labels = (
        base.transform_filter(
            f"isValid(datum.label) && datum.stretch_s / longest_s * {width} >= {DIGIT_WIDTH} * length(datum.label) + 2"
        )
        .mark_text(align="left", baseline="middle", dx=2, fontSize=FONT_SIZE, fontWeight="bold", color="black")
        .encode(x=x, y=y, text="label:N")
    )
    if not several:
        layers = [bars, labels, *parts.remarks("Nothing ran.")]
        return parts.layered(layers, alt.Step(ROW_HEIGHT)).properties(data=parts.rows()).add_params(longest, unit)
    each = alt.LayerChart(data=parts.rows(), layer=[bars, labels])
    each = each.properties(width=WIDTH, height=alt.Step(ROW_HEIGHT))
    header = alt.Header(labelOrient="top", labelAnchor="start")
    faceted = each.facet(row=alt.Row("run:N", sort=None, title=None, header=header)).add_params(longest, unit)
    apart: alt.FacetChart = faceted.resolve_scale(y="independent")
    return apart
