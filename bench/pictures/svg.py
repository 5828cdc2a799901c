"""Pictures as SVG documents, by the renderer that pages use too, on white paper. The same rows give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.gantt import Schedule
from bench.pictures import schedule
from bench.pictures.catalogue import PICTURES, specification
from bench.pictures.palette import theme
from bench.pictures.parts import ROWS
from bench.pictures.values import Rows
from bench.tables import clean

WIDTH = 720


def to_svg(name: str, rows: Rows, *, several: bool = False, title: str = "", width: int = WIDTH) -> str:
    """A static picture of these rows, `width` pixels wide without its axes. Text in rows and title is anybody's. Raises
    KeyError on an unknown picture, ValueError where it cannot be drawn."""
    import vl_convert

    spec = static_specification(name, rows, several=several, title=title, width=width)
    return vl_convert.vegalite_to_svg(spec) + "\n"


def static_specification(
    name: str, rows: Rows, *, several: bool = False, title: str = "", width: int = WIDTH
) -> dict[str, Any]:
    """The specification with its data, its size and the static theme."""
    spec = specification(name, several=several)
    spec.get("spec", spec)["width"] = width
    spec["title"] = {"text": clean(title or PICTURES[name].title), "offset": 18}
    spec["datasets"] = {ROWS: [{key: _harmless(value) for key, value in row.items()} for row in rows]}
    spec["config"] = theme(False, static=True)
    return spec


def _harmless(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def schedules_to_svg(schedules: Sequence[Schedule]) -> str:
    """Schedules below each other on one time axis."""
    if len(schedules) == 1:
        return to_svg("schedule", schedule.rows(schedules[0]), title=schedules[0].title, width=schedule.WIDTH)
    found = [row | {"run": what.title} for what in schedules for row in schedule.rows(what)]
    return to_svg("schedule", found, several=True, title="Schedules", width=schedule.WIDTH)
