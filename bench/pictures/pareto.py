"""The Pareto front: each trial by two metrics, those on the front joined by steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.pictures import parts
from bench.pictures.palette import BLUE, GREY, VERMILLION
from bench.pictures.values import MOST_POINTS, Rows, told
from bench.report.pareto import Front

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 340
ON, OFF = "on the front", "not on it"


def rows(front: Front, winner: str | None) -> Rows:
    """A row a trial: `y` is its value by the first metric, `x` by the second; `rising`: whether more of `x` is better.
    `winner`: the trial that the run retrained (None: the front is by other metrics than it optimised)."""
    first, second = front.metrics
    shown = front.trials[:MOST_POINTS]
    found: Rows = [
        {
            "trial": trial.number,
            "y": trial.values[first.name],
            "x": trial.values[second.name],
            "shown": f"{first.shown(trial.values[first.name])}; {second.shown(trial.values[second.name])}",
            "where": ON if on else OFF,
            "winner": trial.trial == winner,
            "rising": second.direction == "most",
            "config": told(trial.best_config or trial.config),
            "x_title": f"{second.label}, {_better(second.direction)}",
            "y_title": f"{first.label}, {_better(first.direction)}",
        }
        for trial, on in shown
    ]
    left_out = front.without + len(front.trials) - len(shown)
    if found and left_out:
        found[0]["note"] = f"{left_out} trials without both at full fidelity are not drawn"
    return found


def _better(direction: str) -> str:
    return "more is better" if direction == "most" else "less is better"


def chart(several: bool) -> alt.LayerChart:
    import altair as alt

    axis, scale = alt.Axis(format=parts.NUMBER), alt.Scale(zero=False, padding=20)
    base = parts.numbered(several).encode(
        x=alt.X("x:Q", title=parts.said("{}", "x_title", "Second metric"), axis=axis, scale=scale),
        y=alt.Y("y:Q", title=parts.said("{}", "y_title", "First metric"), axis=axis, scale=scale),
    )
    colour: dict[str, Any] = {} if several else {"color": BLUE}
    if several:
        base = base.encode(color=parts.by_run())
    # What can be had for at least (or at most) so much of x: the steps go where x is worse.
    steps = [
        base.transform_filter(f"datum.where == '{ON}' && {'' if rising else '!'}datum.rising").mark_line(
            interpolate="step-before" if rising else "step-after", strokeWidth=1.8, **colour
        )
        for rising in (True, False)
    ]
    kinds = [ON, OFF]
    legend = parts.legend(values=parts.present("where", kinds))
    points = base.mark_point(filled=True, size=75).encode(
        shape=alt.Shape("where:N", scale=alt.Scale(domain=kinds, range=["circle", "diamond"]), legend=legend),
        opacity=alt.when(f"datum.where == '{ON}'").then(alt.value(1)).otherwise(alt.value(0.45)),
        tooltip=parts.tips(
            ("trial:O", "trial"), ("shown:N", "values"), ("where:N", "front"), ("config:N", "configuration"),
            several=several,
        ),
    )  # fmt: skip
    if not several:
        points = points.encode(
            color=alt.Color("where:N", scale=alt.Scale(domain=kinds, range=[BLUE, GREY]), legend=legend)
        )
    ring = base.transform_filter("datum.winner").mark_point(
        size=260, strokeWidth=2, filled=False, shape="circle", color=VERMILLION
    )
    layers = [*steps, points, ring, *parts.remarks("No trial has both metrics at full fidelity.", several=several)]
    return parts.layered(layers, HEIGHT)
