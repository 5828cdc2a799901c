"""Pictures of runs and boards: Vega-Lite specifications, the rows that they draw, and static SVG of both."""

from bench.pictures.catalogue import (
    COMPARING_PICTURES,
    PICTURES,
    RUN_PICTURES,
    Picture,
    board_rows,
    run_rows,
    specification,
)
from bench.pictures.of_runs import run_pictures
from bench.pictures.palette import theme
from bench.pictures.svg import schedules_to_svg, to_svg

__all__ = [
    "COMPARING_PICTURES", "PICTURES", "RUN_PICTURES", "Picture", "board_rows", "run_pictures", "run_rows",
    "schedules_to_svg", "specification", "theme", "to_svg",
]  # fmt: skip
