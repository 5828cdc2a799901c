"""Static pictures of runs, for a README."""

from __future__ import annotations

from collections.abc import Sequence

from bench.events import Event
from bench.pictures.catalogue import COMPARING_PICTURES, PICTURES, RUN_PICTURES, run_rows
from bench.pictures.svg import to_svg
from bench.record import Record
from bench.report.keys import Keyed
from bench.report.labels import labels
from bench.report.pareto import Front


def run_pictures(runs: Sequence[tuple[Record, Sequence[Event] | None]], front: Front | None = None) -> dict[str, str]:
    """File name to SVG: all pictures of one run, or those of several that compare them. A run without its journal's
    events has no schedule. `front`: of the one run, by the metrics asked for. The same runs give the same
    bytes. Raises UserError where a study cannot be read."""
    named = labels([Keyed.of(record) for record, _ in runs])
    drawn = [run_rows(record, events, front) for record, events in runs]
    if len(runs) == 1:
        return {
            f"{name}.svg": to_svg(name, drawn[0][name], title=f"{PICTURES[name].title}: {named[0][1]}")
            for name in RUN_PICTURES
            if name in drawn[0]
        }
    return {
        f"{name}.svg": to_svg(
            name,
            [
                row | {"run": run, "strategy": strategy}
                for (strategy, run), own in zip(named, drawn, strict=True)
                for row in own[name]
            ],
            several=True,
        )
        for name in COMPARING_PICTURES
    }
