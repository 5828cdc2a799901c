"""All pictures: what each is called, how it is read, its specification and its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bench.events import Event
from bench.gantt import schedule as fold_schedule
from bench.pictures import curves, pareto, phases, quality, ratios, schedule, space, trace
from bench.pictures.parts import resolved
from bench.pictures.values import Rows
from bench.record import Record
from bench.report.pareto import Front, front_of

if TYPE_CHECKING:
    import altair as alt

    from bench.leaderboard.boards import Board


@dataclass(frozen=True, kw_only=True)
class Picture:
    """`caption`: how it is read."""

    name: str
    title: str
    caption: str


PICTURES: Mapping[str, Picture] = MappingProxyType(
    {
        picture.name: picture
        for picture in (
            Picture(
                name="trace",
                title="Best loss over cost",
                caption="The lowest loss at full fidelity that the search had for its cost so far, a step where a "
                "trial beat the best one; further down and to the left is better.",
            ),
            Picture(
                name="curves",
                title="Learning curves",
                caption="Loss after each epoch, a line a trial: the winner is the thick one, stopped trials are "
                "dashed, a diamond is where a trial took over another's weights, and a cross at the top is an epoch "
                "without a loss.",
            ),
            Picture(
                name="schedule",
                title="Schedule",
                caption="What each device did over time, a bar for each phase of a trial; a number is the trial's and "
                "stands where its stretch begins, F is the final retrain.",
            ),
            Picture(
                name="space",
                title="Search space",
                caption="Loss over each hyperparameter, a point a trial in each panel: filled at full fidelity, "
                "hollow where it was stopped earlier, ringed for the winner, a cross at the top without a loss; within "
                "a choice trials stand in their order.",
            ),
            Picture(
                name="phases",
                title="Cost by phase",
                caption="What the device-minutes went to, idle ones included; the final retrain stands apart because "
                "it is in no search's cost.",
            ),
            Picture(
                name="pareto",
                title="Pareto front",
                caption="Each trial by two metrics at full fidelity: the line joins those than which none is better in "
                "both, the others are faint, and the one that the run retrained is ringed; the axes say which way is "
                "better.",
            ),
            Picture(
                name="ratios",
                title="Cost to target against the manual grid",
                caption="Cost to reach the manual grid's loss, over the grid's own: the point is the median over "
                "seeds, the line its 95 % interval (an arrow: it has no end there), 1 is as dear as the grid, and a "
                "hollow point is provisional.",
            ),
            Picture(
                name="quality",
                title="Cost and quality",
                caption="What a search cost and how good its winner is, medians over seeds: further down and to the "
                "left is better, and the dashed lines are the manual grid's.",
            ),
        )
    }
)
RUN_PICTURES = ("trace", "curves", "schedule", "space", "phases", "pareto")
COMPARING_PICTURES = ("trace", "space", "phases")
"""Those of several runs together that are worth a look."""

_CHARTS: Mapping[str, Callable[[bool], alt.LayerChart | alt.FacetChart]] = {
    "trace": trace.chart,
    "curves": curves.chart,
    "schedule": schedule.chart,
    "space": space.chart,
    "phases": phases.chart,
    "pareto": pareto.chart,
    "ratios": ratios.chart,
    "quality": quality.chart,
}


def specification(name: str, *, several: bool = False) -> dict[str, Any]:
    """The Vega-Lite specification of a picture without data: those are the rows named "rows". It has no `config`, so
    that a page's own holds (`theme`). `several`: rows hold "run", and are told apart by it. Raises KeyError on an
    unknown name."""
    spec: dict[str, Any] = json.loads(_specification(name, several))
    return spec


@cache
def _specification(name: str, several: bool) -> str:
    """As JSON: Altair takes its time to build and check one, and callers change theirs."""
    spec = resolved(_CHARTS[name](several).to_dict())
    spec.pop("config", None)
    picture = PICTURES[name]
    return json.dumps(spec | {"description": f"{picture.title}. {picture.caption}"}, sort_keys=True)


def run_rows(record: Record, events: Sequence[Event] | None, front: Front | None = None) -> dict[str, Rows]:
    """Rows for each picture of a run. `events`: its journal's (None: there is no schedule). `front`: by the metrics
    asked for (None: by the run's own two, or there is none). Raises UserError or ValueError where the record's space
    or the journal is malformed."""
    found = {
        "trace": trace.rows(record),
        "curves": curves.rows(record),
        "space": space.rows(record),
        "phases": phases.rows(record),
    }
    if events is not None:
        found["schedule"] = schedule.rows(fold_schedule(events))
    own = front_of(record)
    if front is not None:
        found["pareto"] = pareto.rows(front, None)
    elif own is not None:
        found["pareto"] = pareto.rows(own, None if record.winner is None else record.winner.trial)
    return found


def board_rows(board: Board) -> dict[str, Rows]:
    """Rows for each picture of a board."""
    return {"ratios": ratios.rows(board), "quality": quality.rows(board)}
