"""Memory over time, a line a row of the measurement, as static pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.errors import UserError
from bench.files import write_together
from bench.pictures import parts
from bench.pictures.palette import DASHES, SERIES
from bench.pictures.values import Rows
from bench.stages.result import Stages

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 320
Where = Literal["device", "host"]
TITLES: dict[Where, str] = {
    "device": "Memory in tensors on the fullest device",
    "host": "Memory of all the training's processes",
}
ENTRY_WIDTH = 200
"""Pixels of a name in the legend."""


def rows(found: Stages, where: Where) -> Rows:
    """Points of each row's series; none of what has none."""
    points: Rows = []
    for row in found.rows:
        values = None if row.series is None else row.series.host if where == "host" else row.series.allocated
        if row.series is None or values is None:
            continue
        points += [
            {"row": row.name, "at_s": at_s, "mib": mib, "state": row.state}
            for at_s, mib in zip(row.series.at_s, values, strict=True)
        ]
    return points


def chart(where: Where) -> alt.LayerChart:
    """The rows in their order, each with a colour and a dash pattern of its own."""
    import altair as alt

    legend = parts.legend(ENTRY_WIDTH, symbolType="stroke")
    lines = (
        parts.numbered()
        .mark_line(interpolate="step-after", strokeWidth=1.6)
        .encode(
            x=alt.X("at_s:Q", title="Time since its processes were first seen (s)", scale=alt.Scale(domainMin=0)),
            y=alt.Y(
                "mib:Q",
                title=f"{TITLES[where]} (MiB)",
                axis=alt.Axis(format=parts.NUMBER),
                scale=alt.Scale(zero=where == "device"),  # libraries alone fill half of a host's
            ),
            color=alt.Color("row:N", sort=parts.in_order(), scale=alt.Scale(range=list(SERIES)), legend=legend),
            strokeDash=alt.StrokeDash(
                "row:N", sort=parts.in_order(), scale=alt.Scale(range=[list(d) for d in DASHES]), legend=legend
            ),
            tooltip=parts.tips(("row:N", "row"), ("at_s:Q", "s", ".2f"), ("mib:Q", "MiB", ",.0f"), several=False),
        )
    )
    return parts.layered([lines, *parts.remarks("No memory was seen.")], HEIGHT)


def to_svg(found: Stages, where: Where) -> str:
    """The same measurement gives the same bytes."""
    import vl_convert

    from bench.pictures.svg import filled

    spec = parts.resolved(chart(where).to_dict())
    title = f"{TITLES[where]}: {found.study.workload} on profile {found.study.profile}"
    return vl_convert.vegalite_to_svg(filled(spec, rows(found, where), title=title)) + "\n"


def write(found: Stages, folder: Path) -> list[Path]:
    """One picture of the host and, where there are devices, one of them. Returns their paths. Raises UserError."""
    places: list[Where] = ["device", "host"] if found.study.device == "cuda" else ["host"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make {folder} ({error.strerror}): give another folder to --svg.") from None
    files = {folder / f"memory-{where}.svg": to_svg(found, where).encode() for where in places}
    write_together(files, remedy="give another folder to --svg")
    return list(files)
