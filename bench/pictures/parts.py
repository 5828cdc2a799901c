"""What the charts have in common: where data comes from, titles that data completes, what to say of none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

ROWS = "rows"
"""The name of the data that a picture is given."""

NUMBER = ",.6~g"
"""The format of a number beside an axis: that of a lone tick would be without decimals."""
FULL_OPACITY, FADED = 1.0, 0.12
MOST_LEGEND = 28
NAME_WIDTH, RUN_WIDTH = 110, 240
"""Pixels that an entry of a legend takes: one of ours, or the label of a run."""

STROKE_LENGTH = 34
STROKE = f"M-1,0L{STROKE_LENGTH / 5 - 1:g},0"
"""A line in a legend, long enough for two periods of each dash pattern; 5 pixels are one of its units, and it begins
where a symbol does."""

ROOM = "(isFinite(containerSize()[0]) ? containerSize()[0] + 0 * width : width)"
"""Pixels that a page or a static picture gives. On a page, `width` changes while that is laid out: too late for
the height of a legend; it is named so that a resized page counts anew."""

_EXPRESSION = "="
"""Marks a title that is an expression: neither Altair's types nor Vega-Lite's know one there, though Vega takes it."""


def rows() -> alt.NamedData:
    import altair as alt

    return alt.NamedData(ROWS)


def numbered(several: bool = False) -> alt.Chart:
    """A chart of the rows, each with its place among all: layers that drop some would not agree upon an order.

    `several`: each has the `look` that it shares with others. That is its run's own; of more runs than there are
    colours it is its strategy's, where rows hold "strategy", and `alike` is true.
    """
    import altair as alt

    from bench.pictures.palette import SERIES

    placed = alt.Chart(rows()).transform_window(place="row_number()")
    if not several:
        return placed
    return (
        placed.transform_joinaggregate(runs="distinct(run)", strategies="distinct(strategy)")
        .transform_calculate(
            alike=f"datum.runs > {len(SERIES)} && isValid(datum.strategy) && datum.strategies < datum.runs"
        )
        .transform_calculate(look="datum.alike ? datum.strategy : datum.run")
    )


def in_order() -> alt.EncodingSortField:
    """The order in which `numbered` rows come."""
    import altair as alt

    return alt.EncodingSortField(field="place", op="min")


def said(template: str, field: str, otherwise: str) -> str:
    """A title of which `{}` is the first row's `field`, or `otherwise` where there are no rows."""
    before, after = template.split("{}")
    return f"{_EXPRESSION}'{before}' + (length(data('{ROWS}')) ? data('{ROWS}')[0].{field} : '{otherwise}') + '{after}'"


def minutes(template: str) -> str:
    """A title with the device word: `GPU-min` or `device-min`."""
    return said(template, "minutes", "device-min")


def expression(code: str) -> str:
    """A title that an expression gives."""
    return _EXPRESSION + code


def resolved(spec: Any) -> Any:
    """A specification in which the titles that are expressions are what Vega-Lite takes for one."""
    if isinstance(spec, dict):
        return {
            key: {"signal": value[1:]}
            if key == "title" and isinstance(value, str) and value.startswith(_EXPRESSION)
            else resolved(value)
            for key, value in spec.items()
        }
    return [resolved(item) for item in spec] if isinstance(spec, list) else spec


def present(field: str, values: Iterable[str]) -> alt.ExprRef:
    """Those of the `values`, in their order, that rows have: what a legend is to hold."""
    import altair as alt

    found = " + ".join(f"(indexof(pluck(data('{ROWS}'), '{field}'), '{v}') >= 0 ? '|{v}' : '')" for v in values)
    return alt.ExprRef(f"split(slice({found}, 1), '|')")


ALIKE = "' runs: those of one strategy look alike'"


def remarks(nothing: str, *, several: bool = False) -> list[alt.Chart]:
    """Layers of text: `nothing` in the middle where there are no rows, and else what the first row's `note` says, above
    the picture. `several`: of `numbered` rows; it also says where runs look alike."""
    import altair as alt

    once = alt.Chart(alt.sequence(0, 1))
    above = alt.ExprRef("height ? 0 : -12")  # bars without rows have no height
    empty = once.mark_text(text=alt.ExprRef(f"length(data('{ROWS}')) ? '' : '{nothing}'"), fontSize=13, dy=above)
    place: dict[str, Any] = {"x": "width", "y": -8, "align": "right", "fontSize": 11, "fontStyle": "italic"}
    if not several:
        note = once.mark_text(
            text=alt.ExprRef(f"length(data('{ROWS}')) ? (data('{ROWS}')[0].note || '') : ''"), **place
        )
        return [empty, note]
    both = "(datum.note || '') + (datum.note && datum.alike ? '; ' : '')"
    first = numbered(several).transform_filter("datum.place == 1")
    said = first.transform_calculate(said=f"{both} + (datum.alike ? datum.runs + {ALIKE} : '')")
    return [empty, said.mark_text(**place).encode(text="said:N")]


def legend(entry_width: int = NAME_WIDTH, **changes: Any) -> alt.Legend:
    """A legend below the picture, where it takes no width, with as many columns as there is room for. `entry_width`: in
    pixels, of one entry."""
    import altair as alt

    stroke = changes.get("symbolType") == "stroke"
    room, label_room = entry_width + (STROKE_LENGTH - 10 if stroke else 0), entry_width - 30
    fields: dict[str, Any] = {
        "orient": "bottom", "title": None, "symbolLimit": MOST_LEGEND, "symbolOpacity": 1,
        "columns": alt.ExprRef(f"max(1, floor({ROOM} / {room}))"), "labelLimit": label_room,
        "values": alt.ExprRef("length(domain('color')) ? domain('color') : ['']"),  # none would have no size at all
    }  # fmt: skip
    if stroke:
        changes |= {"symbolType": STROKE, "labelOffset": STROKE_LENGTH - 6}
    if changes.get("symbolType") == "square":
        fields["symbolStrokeWidth"] = 0  # the lines between bars are no part of what they mean
    return alt.Legend(**(fields | changes))


def label_limit() -> alt.ExprRef:
    """Pixels that names beside a picture may take: most of it is for what they name."""
    import altair as alt

    return alt.ExprRef(f"max(80, min(320, 0.4 * {ROOM}))")


def losses() -> alt.Y:
    """A logarithmic axis from the lowest loss to the highest."""
    import altair as alt

    scale = alt.Scale(type="log", nice=False, padding=14)
    return alt.Y("eval_loss:Q", title="Eval loss (nats a token, log scale)", scale=scale, axis=log_axis(".4~g"))


def log_axis(number: str) -> alt.Axis:
    """An axis that labels few of its ticks, so that none of them hides a power of ten. `number`: the labels' format."""
    import altair as alt

    return alt.Axis(format=number, tickCount=5, labelSeparation=0)


def layered(layers: Iterable[alt.Chart], height: int | alt.Step) -> alt.LayerChart:
    """Layers in one picture that is as wide as there is room."""
    import altair as alt

    return alt.LayerChart(layer=list(layers)).properties(width="container", height=height)


def by_run(**changes: Any) -> alt.Color:
    """The colour of a run's look in rows that are `numbered` for several; `changes` are of its legend."""
    import altair as alt

    from bench.pictures.palette import SERIES

    scale = alt.Scale(range=list(SERIES))
    return alt.Color("look:N", sort=in_order(), scale=scale, legend=legend(RUN_WIDTH, **changes))


def tips(*columns: tuple[str, str] | tuple[str, str, str], several: bool) -> list[alt.Tooltip]:
    """Tooltips: pairs of a field (with Vega-Lite's type letter) and its title, or triples with a number format."""
    import altair as alt

    shown = [("run:N", "run"), *columns] if several else columns
    return [
        alt.Tooltip(column[0], title=column[1], format=column[2])
        if len(column) == 3
        else alt.Tooltip(column[0], title=column[1])
        for column in shown
    ]


def hovered(several: bool) -> alt.Parameter:
    """The trial that the pointer is on; none is all."""
    import altair as alt

    fields = ["run", "trial"] if several else ["trial"]
    return alt.selection_point("trial_under_pointer", fields=fields, on="pointerover", clear="pointerout")
