"""The search space: loss over each hyperparameter, a panel each, side by side on one axis of losses.

The panels share one x axis, on which each is one unit wide; Vega-Lite puts values into their panels, so that runs whose
bounds differ can be drawn together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.hyperparameters import Value
from bench.pictures import parts
from bench.pictures.curves import TROUBLE, outcome
from bench.pictures.palette import SERIES, VERMILLION
from bench.pictures.values import MOST_POINTS, Rows, config_at, short, told, words
from bench.record import Record
from bench.space import Choice, LogUniform, SearchSpace, Uniform
from bench.trials import Config, Trial

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 320
MOST_TICKS = 6
WIDE_PANEL = 200
"""Pixels from which on a logarithmic axis has room for all its ticks."""
MOST_GROUPS = len(SERIES)
WORD_WIDTH = "isValid(datum.low) || !isNaN(+datum.tick) ? 0 : width / datum.panels * 0.95 / datum.choices"
"""Pixels that a word has below an axis of choices; 0: as many as it needs."""
SHAPES = {"completed": "circle", "stopped": "triangle-down", "failed": "cross", "not over": "square"}

Bounds = tuple[float, float] | None
"""Of an axis of numbers; None: a choice."""


def rows(record: Record) -> Rows:
    """For each hyperparameter a row a trial of the search, with its loss at full fidelity, else its last one at a lower
    (`full` says which; None: it has none), and rows for the axis (`tick`; those that are
    `minor` are left out where it is narrow)."""
    space = SearchSpace.from_dict(record.study["space"])
    trials = record.search_trials[: MOST_POINTS // max(1, len(space.names))]
    configs = [_scored(trial) for trial in trials]
    names = list(dict.fromkeys([*space.names, *(name for config in configs for name in config)]))
    group = _group(space)
    if not trials:
        return []
    found: Rows = []
    for order, name in enumerate(names):
        values = [config[name] for config in configs if name in config]
        bounds = _bounds(space, name, values)
        axis = {"dimension": words(name), "order": order, "low": None, "high": None}
        if bounds is not None:
            axis |= {"low": bounds[0], "high": bounds[1]}
            if isinstance(space[name], Uniform):
                axis |= {"linear": True}
        ticks = enumerate(_ticks(space, name, values, bounds))
        found += [axis | {"tick": short(v), "value": v, "minor": i % 2 == 1 and bounds is not None} for i, v in ticks]
        for trial, config in zip(trials, configs, strict=True):
            if name in config:
                found.append(axis | {"value": config[name]} | _point(record, trial, config, group))
    lost = sum(trial.best_loss is None and trial.last_loss is None for trial in trials)
    notes = [f"\u00d7 at the top: {lost} without a loss"] if lost else []
    if len(trials) < len(record.search_trials):
        notes.append(f"the first {len(trials)} of {len(record.search_trials)} trials")
    if notes:
        found[0]["note"] = "; ".join(notes)
    return found


def _scored(trial: Trial) -> Config:
    """The configuration that gave the loss which stands for the trial."""
    return trial.best_config or config_at(trial, trial.epochs)


def _point(record: Record, trial: Trial, config: Config, group: str | None) -> dict[str, Any]:
    full = trial.best_loss is not None
    ended = outcome(record, trial)
    return {
        "trial": trial.number,
        "eval_loss": trial.best_loss if full else trial.last_loss,
        "full": full,
        "epochs": trial.epochs,
        "state": trial.state,
        "shape": ("failed" if trial.state in TROUBLE else "completed") if ended == "winner" else ended,
        "winner": ended == "winner",
        "config": told(config),
        "group": f"{words(group)} {short(config[group])}" if group in config else "all trials",
        "group_order": config.get(group or "", 0),
    }


def _group(space: SearchSpace) -> str | None:
    """The hyperparameter that colours tell: the first of few choices."""
    choices = (d.name for d in space.dimensions if isinstance(d, Choice) and 1 < len(d.values) <= MOST_GROUPS)
    return next(choices, None)


def _bounds(space: SearchSpace, name: str, values: Sequence[Value]) -> Bounds:
    if name not in space.names:
        return None
    dimension = space[name]
    numbers = [float(value) for value in values if not isinstance(value, str)]
    if isinstance(dimension, Choice) or len(numbers) < len(values):
        return None
    if isinstance(dimension, LogUniform) and min(numbers, default=1.0) <= 0:
        return None
    return min([dimension.lower, *numbers]), max([dimension.upper, *numbers])


def _ticks(space: SearchSpace, name: str, values: Sequence[Value], bounds: Bounds) -> Sequence[Value]:
    """1, 2 and 5 times powers of ten within the bounds, powers of ten alone where those are many; of a linear axis the
    ends and the middle; all choices. Of more than `MOST_TICKS` some."""
    ticks: list[Any]
    dimension = space[name] if name in space.names else None
    if bounds is None:
        choices = dimension.values if isinstance(dimension, Choice) else ()
        ticks = sorted({*values, *choices}, key=lambda value: (isinstance(value, str), value))
    elif isinstance(dimension, Uniform):
        ticks = [bounds[0], (bounds[0] + bounds[1]) / 2, bounds[1]]
    else:
        ticks = _decades(*bounds, (1, 2, 5))
        if len(ticks) > MOST_TICKS:
            ticks = _decades(*bounds, (1,))
        if len(ticks) < 2:
            ticks = [bounds[0], bounds[1]]
    return ticks[:: max(1, -(-len(ticks) // MOST_TICKS))]


def _decades(low: float, high: float, steps: Sequence[int]) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{step}e{power}") for power in powers for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def chart(several: bool) -> alt.LayerChart:
    import altair as alt

    hover = parts.hovered(several)
    placed = (
        parts.numbered(several)
        .transform_joinaggregate(first="min(order)", least="min(low)", most="max(high)", groupby=["dimension"])
        .transform_window(panel="dense_rank()", sort=[alt.SortField("first"), alt.SortField("dimension")])
        .transform_window(choice="dense_rank()", sort=[alt.SortField("value")], groupby=["dimension"])
        .transform_joinaggregate(choices="max(choice)", trials="max(trial)", groupby=["dimension"])
        .transform_calculate(
            # Within a choice, trials stand from left to right in their order: they would hide each other.
            spread="isValid(datum.trial) && datum.trials > 1 ? (datum.trial - 1) / (datum.trials - 1) - 0.5 : 0"
        )
        .transform_calculate(
            at="isValid(datum.low) && datum.linear"
            " ? (datum.value - datum.least) / (datum.most - datum.least)"
            " : isValid(datum.low) ? log(datum.value / datum.least) / log(datum.most / datum.least)"
            " : (datum.choice - 0.5 + 0.7 * datum.spread) / datum.choices"
        )
        .transform_calculate(x="datum.panel - 1 + 0.05 + 0.9 * datum.at")
        .transform_joinaggregate(panels="max(panel)")
    )
    # The true axis is bare: it holds the room below the panels in which their ticks and names are text.
    bare = alt.Axis(labels=False, ticks=False, domain=False, grid=False, title=" ", titlePadding=32)
    x = alt.X("x:Q", axis=bare, scale=alt.Scale(nice=False, zero=True))
    # Each run has its own; drawn upon each other they would be bold.
    ticks = placed.transform_filter("isValid(datum.tick)").transform_aggregate(
        x="min(x)",
        panel="min(panel)",
        panels="min(panels)",
        low="min(low)",
        choices="max(choice)",
        groupby=["dimension", "tick", "minor"],
    )
    names = ticks.transform_aggregate(
        panel="min(panel)", panels="min(panels)", groupby=["dimension"]
    ).transform_calculate(middle="datum.panel - 0.5")
    panel_width = "width / datum.panels"
    axis_layers = [
        ticks.mark_rule(opacity=0.25).encode(x=x),
        ticks.transform_filter(f"!datum.minor || {panel_width} >= {WIDE_PANEL}")
        .mark_text(dy=12, fontSize=11, limit=alt.ExprRef(WORD_WIDTH))
        .encode(x=x, y=alt.value("height"), text="tick:N"),
        names.mark_text(dy=32, fontSize=12, fontWeight=500, limit=alt.ExprRef(f"{panel_width} - 4")).encode(
            x=alt.X("middle:Q", axis=bare), y=alt.value("height"), text="dimension:N"
        ),
        names.mark_rule(opacity=0.9).encode(x=alt.X("panel:Q", axis=bare)),
    ]
    points = placed.transform_filter("isValid(datum.trial)").encode(
        x=x,
        tooltip=parts.tips(
            ("trial:O", "trial"),
            ("eval_loss:Q", "eval loss (nats a token)", ".4f"),
            ("full:N", "at full fidelity"),
            ("epochs:O", "epochs"),
            ("state:N", "state"),
            ("config:N", "configuration"),
            several=several,
        ),
        opacity=alt.when(hover).then(alt.value(parts.FULL_OPACITY)).otherwise(alt.value(parts.FADED)),
    )
    shapes = alt.Shape(
        "shape:N",
        scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())),
        legend=parts.legend(values=parts.present("shape", SHAPES)),
    )
    field, width = ("look:N", parts.RUN_WIDTH) if several else ("group:N", parts.NAME_WIDTH)
    order = parts.in_order() if several else alt.EncodingSortField(field="group_order", op="min")
    colours = alt.Scale(range=list(SERIES))
    colour = alt.Color(field, sort=order, scale=colours, legend=parts.legend(width, symbolType="circle"))
    scored = points.transform_filter("isValid(datum.eval_loss) && datum.eval_loss > 0").encode(y=parts.losses())
    sampled = [
        scored.transform_filter(f"{fidelity}datum.full")
        .mark_point(filled=not fidelity, size=60, strokeWidth=1.5)
        .encode(color=colour, shape=shapes)
        for fidelity in ("", "!")
    ]
    sampled[0] = sampled[0].add_params(hover)
    winner = scored.transform_filter("datum.winner")
    ring = winner.mark_point(size=260, strokeWidth=2, filled=False, shape="circle").encode(
        color=colour if several else alt.value(VERMILLION)
    )
    without = points.transform_filter("!isValid(datum.eval_loss)").mark_point(
        shape="cross", angle=45, size=60, filled=True, y=5
    )
    without = without.encode(color=colour)
    layers = [*axis_layers, *sampled, ring, without, *parts.remarks("No trial was sampled.", several=several)]
    return parts.layered(layers, HEIGHT)
