"""The incumbent trace y*(c): the best loss at full fidelity over what the search had cost. A step function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics import EVAL_LOSS, first_metric
from bench.pictures import parts
from bench.pictures.palette import BLUE, DASHES, VERMILLION
from bench.pictures.values import Rows, finite, told
from bench.record import Record
from bench.report.wording import device_of

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 280
CLOCKS = ("allocated", "busy")
NOTHING = "No incumbent by loss: no trial reached full fidelity, or the run optimised something else."


def rows(record: Record) -> Rows:
    """For each clock a row where the incumbent changes, and one where the search ends: the last incumbent holds till
    then. Costs in device-minutes; a clock that is not known has no rows. None for a run that did not optimise the loss:
    its incumbents are not those of lowest loss."""
    if first_metric(record.study).name != EVAL_LOSS:
        return []
    minutes, search = device_of(record).minutes, record.costs.search
    trials = {trial.trial: trial for trial in record.trials}
    ends = {"allocated": search.allocated_device_min, "busy": search.busy_device_min}
    found: Rows = []
    for clock in CLOCKS:
        last_cost = None
        for step in record.trace:
            cost = finite(step.allocated_device_min if clock == "allocated" else step.busy_device_min)
            if cost is None:
                continue
            trial = trials[step.trial]
            last_cost = round(cost, 4)
            row = {
                "clock": clock,
                "cost": last_cost,
                "eval_loss": step.eval_loss,
                "trial": trial.number,
                "config": told(trial.best_config or trial.config),
                "change": True,
                "minutes": minutes,
            }
            found.append(row)
        end = finite(ends[clock])
        if last_cost is not None and end is not None and end > last_cost:
            found.append(found[-1] | {"cost": round(end, 4), "change": False})
    return found


def chart(several: bool) -> alt.LayerChart:
    """Both clocks of one run; several runs on the ranked clock alone."""
    import altair as alt

    title = "Search cost, allocated ({})" if several else "Search cost ({})"
    base = parts.numbered(several).encode(
        x=alt.X(
            "cost:Q",
            title=parts.minutes(title),
            axis=alt.Axis(format=parts.NUMBER),
            scale=alt.Scale(domainMin=0, nice=False),
        ),
        y=alt.Y(
            "eval_loss:Q",
            title="Best eval loss (nats a token)",
            axis=alt.Axis(format=parts.NUMBER),
            scale=alt.Scale(zero=False),
        ),
    )
    if several:
        base = base.transform_filter("datum.clock == 'allocated'").encode(
            color=parts.by_run(symbolType="stroke"), detail="run:N"
        )
        dashes = alt.Scale(range=[list(d) for d in DASHES])
        shown = parts.legend(parts.RUN_WIDTH, symbolType="stroke")
        dash = alt.StrokeDash("look:N", sort=parts.in_order(), scale=dashes, legend=shown)
    else:
        clocks = list(CLOCKS)
        shown = parts.legend(values=parts.present("clock", CLOCKS), symbolType="stroke")
        colours = alt.Scale(domain=clocks, range=[BLUE, VERMILLION])
        base = base.encode(color=alt.Color("clock:N", scale=colours, legend=shown))
        dash = alt.StrokeDash("clock:N", scale=alt.Scale(domain=clocks, range=[[1, 0], [6, 3]]), legend=shown)
    base = base.encode(strokeDash=dash)  # of points too: one legend tells colours and dashes of the same data
    steps = base.mark_line(interpolate="step-after", strokeWidth=2)
    changes = (
        base.transform_filter("datum.change")
        .mark_point(filled=True, size=55, opacity=1)
        .encode(
            tooltip=parts.tips(
                ("trial:O", "trial"),
                ("eval_loss:Q", "eval loss (nats a token)", ".4f"),
                ("cost:Q", "cost (device-minutes)", ".3~f"),
                ("clock:N", "clock"),
                ("config:N", "configuration"),
                several=several,
            )
        )
    )
    layers = [steps, changes, *parts.remarks(NOTHING, several=several)]
    return parts.layered(layers, HEIGHT)
