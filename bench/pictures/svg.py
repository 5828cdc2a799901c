"""Pictures as SVG documents, by the renderer that pages use too, on white paper. The same rows give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from bench.gantt import Schedule
from bench.pictures import schedule
from bench.pictures.catalogue import PICTURES, specification
from bench.pictures.palette import theme
from bench.pictures.parts import ROWS
from bench.pictures.values import Rows
from bench.tables import clean

WIDTH = 720
PADDING = {"left": 16, "right": 40, "top": 8, "bottom": 8}
"""Pixels of paper around what is drawn: a reader's font may be a fifth wider than the one that was measured with."""
NAMES_PADDING = 60
"""The same at the left of pictures that have names there."""
TITLE_LETTER = 9.5
"""Pixels that a letter of a title takes in a wide font."""


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
    spec = filled(specification(name, several=several), rows, title=title or PICTURES[name].title, width=width)
    if name in ("phases", "ratios"):
        spec["padding"] = PADDING | {"left": NAMES_PADDING}
    return spec


def filled(spec: dict[str, Any], rows: Rows, *, title: str, width: int = WIDTH) -> dict[str, Any]:
    """Any specification of the data named "rows", `spec` itself, with these, its size and the static theme."""
    spec.get("spec", spec)["width"] = width
    spec["title"] = {"text": _lines(clean(title), width), "offset": 18}
    spec["padding"] = dict(PADDING)
    spec["datasets"] = {ROWS: [{key: _harmless(value) for key, value in row.items()} for row in rows]}
    spec["config"] = theme(static=True)
    return spec


def _lines(title: str, width: int) -> list[str]:
    return wrap(title, max(20, int(width / TITLE_LETTER)), break_on_hyphens=False) or [""]


def _harmless(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def schedules_to_svg(schedules: Sequence[Schedule]) -> str:
    """Schedules below each other on one time axis."""
    if len(schedules) == 1:
        return to_svg("schedule", schedule.rows(schedules[0]), title=schedules[0].title, width=schedule.WIDTH)
    found = [row | {"run": what.title} for what in schedules for row in schedule.rows(what)]
    return to_svg("schedule", found, several=True, title="Schedules", width=schedule.WIDTH)
