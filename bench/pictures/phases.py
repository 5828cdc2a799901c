"""What the device-minutes of the search and of the final retrain went to, idle ones included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.ledger import Costs
from bench.pictures import parts
from bench.pictures.palette import PHASE_FILLS
from bench.pictures.schedule import KINDS, NAMES
from bench.pictures.values import Rows, finite
from bench.record import Record
from bench.report.wording import device_of

if TYPE_CHECKING:
    import altair as alt

BAR_HEIGHT = 34
LETTER_WIDTH = 6.2
SHOWN = tuple(kind for kind in KINDS if kind != "queue")
FINAL = "final retrain"


def rows(record: Record) -> Rows:
    """A row for each purpose and what its device-minutes went to; none for a purpose that cost nothing. Idle ones are
    left out where what was allocated is not known."""
    minutes = device_of(record).minutes
    found: Rows = []
    for purpose, costs in (("search", record.costs.search), (FINAL, record.costs.final)):
        spent = _spent(costs)
        total = sum(spent.values())
        found += [
            {
                "purpose": purpose,
                "phase": NAMES[kind],
                "order": order,
                "device_min": round(spent[kind], 4),
                "share": round(spent[kind] / total, 4),
                "minutes": minutes,
            }
            for order, kind in enumerate(SHOWN)
            if spent.get(kind)
        ]
    if found and record.costs.search.allocated_device_min is None:
        found[0]["note"] = "what was allocated is not known: idle time is not drawn"
    return found


def _spent(costs: Costs) -> dict[Any, float]:
    spent: dict[Any, float] = {kind: cost for kind, cost in costs.by_phase_device_min.items() if finite(cost)}
    idle = finite(costs.idle_device_min)
    return spent | ({"idle": idle} if idle is not None and idle > 0 else {})


def chart(several: bool) -> alt.LayerChart:
    """A bar for the search and one for the final retrain, of one run or of each."""
    import altair as alt

    names = [NAMES[kind] for kind in SHOWN]
    bar = f"datum.purpose == '{FINAL}' ? datum.run + ', final' : datum.run" if several else "datum.purpose"
    base = (
        alt.Chart(parts.rows())
        .transform_calculate(bar=bar)
        .transform_joinaggregate(total="sum(device_min)", groupby=["bar"])
        .transform_joinaggregate(longest="max(total)")
        .encode(
            y=alt.Y(
                "bar:N",
                title=None,
                sort=None,
                axis=alt.Axis(labelLimit=parts.label_limit()),
                scale=alt.Scale(paddingInner=0.25),
            ),
            order=alt.Order("order:Q"),
        )
    )
    x = alt.X(
        "device_min:Q",
        title=parts.minutes("Cost ({})"),
        stack="zero",
        axis=alt.Axis(format=parts.NUMBER),
        scale=alt.Scale(nice=False),
    )
    bars = base.mark_bar(stroke="white", strokeWidth=0.5).encode(
        x=x,
        color=alt.Color(
            "phase:N",
            scale=alt.Scale(domain=names, range=[PHASE_FILLS[kind] for kind in SHOWN]),
            legend=parts.legend(values=parts.present("phase", names), symbolType="square"),
        ),
        tooltip=parts.tips(
            ("phase:N", "phase"),
            ("device_min:Q", "device-minutes", ",.3~f"),
            ("share:Q", "share of the bar", ".1%"),
            ("purpose:N", "of the"),
            ("total:Q", "the bar's device-minutes", ",.3~f"),
            several=several,
        ),
    )
    room = f"datum.device_min / datum.longest * width >= {LETTER_WIDTH} * length(datum.phase) + 8"
    labels = base.mark_text(fontSize=11, color="black").encode(
        x=x.bandPosition(0.5),
        detail="phase:N",
        text=alt.when(room).then(alt.Text("phase:N")).otherwise(alt.value("")),
    )
    return parts.layered([bars, labels, *parts.remarks("Nothing was spent.")], alt.Step(BAR_HEIGHT))
