"""Colours that are told apart without colour vision (Okabe and Ito's) on white and on dark paper, and the theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

BLUE, ORANGE, GREEN, PINK, SKY, VERMILLION = "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"
GREY = "#626973"

SERIES: Final[Sequence[str]] = (BLUE, ORANGE, GREEN, PINK, SKY, VERMILLION, GREY)
"""For runs and groups, in their order."""

DASHES: Final[Sequence[Sequence[int]]] = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3))
"""Dash patterns that go with `SERIES`: 4 and 7 have no common factor, so 28 lines differ in one or the other."""

PHASE_FILLS: Final[Mapping[str, str]] = {
    "queue": "#dbe6f4", "startup": ORANGE, "restore": SKY, "train": GREEN, "eval": BLUE, "checkpoint": PINK,
    "lost": VERMILLION, "unsplit": GREEN, "idle": "#b4b8c0",
}  # fmt: skip
"""What devices do, in the order in which it is told. Work that is not split stands beside no phase."""

FONT: Final = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
STATIC_FONT: Final = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The renderer of static pictures brings the first along, so that widths are measured alike on every machine."""


def theme(*, static: bool = False) -> dict[str, Any]:
    """A Vega-Lite `config`: ink and grid for light paper, which shows through. `static`: white paper, and a font that
    is the same everywhere."""
    ink, soft, grid = "#1f2328", "#57606a", "#e2e5e9"
    font = STATIC_FONT if static else FONT
    labels = {"labelColor": soft, "titleColor": ink, "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 500}
    return {
        "background": "white" if static else "transparent",
        "font": font,
        "axis": {
            **labels,
            "gridColor": grid,
            "domainColor": soft,
            "tickColor": soft,
            "labelLimit": 320,
            "labelSeparation": 6,
        },
        "legend": {
            **labels,
            "symbolStrokeWidth": 2,
            "symbolBaseFillColor": GREY,
            "layout": {"bottom": {"anchor": "start", "direction": "vertical"}},
            **({"columnPadding": 32} if static else {}),  # entries may be wider than they were measured
        },
        "header": {"labelColor": ink, "labelFontSize": 12, "labelFontWeight": 600, "titleColor": ink},
        "title": {"color": ink, "subtitleColor": soft, "fontSize": 14, "anchor": "start", "fontWeight": 600},
        "text": {"color": ink},
        "rule": {"color": soft},
        "range": {"category": list(SERIES)},
        "view": {"stroke": None},
    }
