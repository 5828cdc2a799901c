"""The ladder's pictures, as static SVG: bars of what a trial costs, and all loss curves over each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.pictures.palette import BLUE, PHASE_FILLS, SERIES, theme
from bench.speed.record import Ladder
from bench.speed.summary import Row
from bench.speed.tables import minutes
from bench.tables import clean

if TYPE_CHECKING:
    import altair as alt

WIDTH, BAR_HEIGHT, CURVES_HEIGHT = 640, 26, 320
PADDING = {"left": 16, "right": 40, "top": 8, "bottom": 8}
PHASES = ("train", "eval", "checkpoint")
SHARES_WIDTH = 180
MORE_FILLS = ("#b4b8c0", "#000000", "#dbe6f4")
LABEL_ROOM = 1.15


def bars_svg(ladder: Ladder, found: list[Row]) -> str:
    """What a trial costs on each rung, by phase, with its speed-up; beside it, the share of the measured peak."""
    import altair as alt

    order = [clean(row.rung.name) for row in found]
    y = alt.Y("rung:N", sort=order, title=None, axis=alt.Axis(labelLimit=260), scale=alt.Scale(paddingInner=0.25))
    cost = alt.Chart(alt.InlineData(values=_costs(found)))
    dearest = max((row.device_min.high for row in found if row.device_min), default=1.0)
    room = alt.Scale(domain=[0, LABEL_ROOM * dearest], nice=False)
    phases = alt.Scale(domain=list(PHASES), range=[PHASE_FILLS[phase] for phase in PHASES])
    bars = cost.mark_bar().encode(
        x=alt.X("device_min:Q", stack="zero", title=f"{minutes(ladder)} a trial, start-up apart", scale=room),
        y=y,
        color=alt.Color("phase:N", scale=phases, title=None, legend=alt.Legend(orient="bottom")),
        order=alt.Order("order:Q"),
    )
    ends = [
        {"rung": clean(row.rung.name), "device_min": row.device_min.value, "text": f"{row.speed_up.value:.2f}\u00d7"}
        for row in found
        if row.device_min and row.speed_up
    ]
    labels = (
        alt.Chart(alt.InlineData(values=ends))
        .mark_text(align="left", dx=5)
        .encode(x="device_min:Q", y=y, text="text:N")
    )
    height = alt.Step(BAR_HEIGHT)
    left = alt.layer(bars, labels).properties(width=WIDTH - SHARES_WIDTH, height=height)
    shares = [
        {"rung": clean(row.rung.name), "share": row.share_measured, "text": f"{row.share_measured:.1%}"}
        for row in found
        if row.share_measured is not None
    ]
    share = alt.Chart(alt.InlineData(values=shares)).encode(
        x=alt.X("share:Q", title="share of the measured peak", axis=alt.Axis(format="%", tickCount=4)),
        y=alt.Y("rung:N", sort=order, title=None, axis=None, scale=alt.Scale(paddingInner=0.25)),
    )
    right = alt.layer(share.mark_bar(color=BLUE), share.mark_text(align="left", dx=4).encode(text="text:N"))
    return _svg(
        alt.hconcat(left, right.properties(width=SHARES_WIDTH, height=height)), f"Cost of a trial: {ladder.workload}"
    )


def _costs(found: list[Row]) -> list[dict[str, Any]]:
    """The trial in the middle of each rung, phase by phase."""
    told = []
    for row in found:
        trials = sorted(row.rung.completed, key=lambda trial: sum(e.train_s + e.eval_s for e in trial.epochs))
        if not trials:
            continue
        shown = trials[len(trials) // 2]
        for order, phase in enumerate(PHASES):
            spent_s = sum(getattr(epoch, f"{phase}_s") for epoch in shown.epochs)
            told.append({"rung": clean(row.rung.name), "phase": phase, "order": order, "device_min": spent_s / 60})
    return told


def curves_svg(ladder: Ladder, found: list[Row]) -> str:
    """The evaluation losses of all comparable rungs over each other; the first line is the widest, so that all show."""
    import altair as alt

    rungs = [row for row in found if row.rung.comparable and row.eval_losses]
    names = [clean(row.rung.name) for row in rungs]
    points = [
        {"rung": name, "epoch": epoch, "eval_loss": loss, "place": place}
        for place, (name, row) in enumerate(zip(names, rungs, strict=True))
        for epoch, loss in enumerate(row.eval_losses, 1)
    ]
    looks = range(len(names))
    colours = alt.Scale(domain=names, range=[SERIES[i % len(SERIES)] for i in looks])
    legend = alt.Legend(orient="right", title=None, symbolType="stroke", symbolStrokeWidth=4, labelLimit=220)
    chart = alt.Chart(alt.InlineData(values=points)).encode(
        x=alt.X("epoch:Q", title="Epoch", axis=alt.Axis(values=list(range(1, ladder.epochs + 1)), format="d")),
        y=alt.Y("eval_loss:Q", title="Eval loss (nats a token)", scale=alt.Scale(zero=False)),
        color=alt.Color("rung:N", scale=colours, legend=legend, sort=names),
        order=alt.Order("epoch:Q"),
    )
    lines = alt.layer(
        # A layer each: lines of one mark are drawn in no order of ours.
        *(
            chart.transform_filter(f"datum.place == {place}").mark_line(
                point=ladder.epochs == 1, strokeWidth=1.5 + 1.8 * (len(names) - 1 - place)
            )
            for place in looks
        )
    )
    return _svg(lines.properties(width=WIDTH - 120, height=CURVES_HEIGHT), f"Loss curves: {ladder.workload}")


def stacked_svg(rows: list[dict[str, Any]], parts: list[str], title: str) -> str:
    """Seconds (`seconds`) of each `part` of each `bar`, stacked in the order of `parts`."""
    import altair as alt

    order = list(dict.fromkeys(clean(row["bar"]) for row in rows))
    fills = [*SERIES, *MORE_FILLS]
    data = alt.InlineData(values=[row | {"bar": clean(row["bar"]), "order": parts.index(row["part"])} for row in rows])
    scale = alt.Scale(domain=parts, range=[fills[i % len(fills)] for i in range(len(parts))])
    chart = (
        alt.Chart(data)
        .mark_bar(stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("seconds:Q", stack="zero", title="Seconds until the first step"),
            y=alt.Y("bar:N", sort=order, title=None, axis=alt.Axis(labelLimit=260)),
            color=alt.Color("part:N", scale=scale, legend=alt.Legend(orient="bottom", title=None, columns=4)),
            order=alt.Order("order:Q"),
        )
        .properties(width=WIDTH, height=alt.Step(BAR_HEIGHT + 8))
    )
    return _svg(chart, title)


def _svg(chart: alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart, title: str) -> str:
    import vl_convert

    spec = chart.to_dict()
    spec["config"] = theme(static=True)
    spec["padding"] = PADDING
    spec["title"] = {"text": clean(title), "offset": 12}
    return str(vl_convert.vegalite_to_svg(spec)) + "\n"
