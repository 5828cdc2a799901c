"""The cost of being as good as the manual grid, against the grid as it ran and against it in a random order."""

from __future__ import annotations

from collections.abc import Sequence

from bench.metrics import EVAL_LOSS, Metric
from bench.report.entries import Entry, ranking_clock, search_cost
from bench.report.medians import with_medians
from bench.report.wording import Device, device_of_all, listed, significant
from bench.tables import SWAPPED_MOST, Cell, Column, Missing, Table
from bench.trials import Clock

GRID_NOTES = 3
"""So many manual grids are described below the table, the first ones."""

CLOCKS: tuple[Clock, Clock] = ("allocated", "busy")


def target_table(entries: Sequence[Entry]) -> Table:
    """Cost to theta_1: what each run had spent when it first was as good as the manual winner."""
    device = device_of_all(e.record for e in entries)
    entries = [e for e in entries if e.target is not None]
    clock = ranking_clock(entries)
    metrics = {e.metric.name: e.metric for e in entries}
    columns = (
        Column(key="run_type", header="run type", align="left", wraps=len(entries) > SWAPPED_MOST),
        _target_column(list(metrics.values())),
        Column(key="reached", header="reached", align="left"),
        *(column for each in CLOCKS for column in _clock_columns(each, device, shown=each == clock)),
    )
    notes = [
        f"Target: the {listed([m.noun for m in metrics.values()])} of the manual grid's winner at full fidelity (their "
        "median where there are several seeds). "
        "Ratio: T(strategy) / T(manual), each the cost at which a run first reached the target. Where in its order the "
        "grid's winner comes is chance: the last two columns are what the same grid would cost in a random order, on "
        "average, and the ratio to that.",
        *[_grid_note(e, clock, device) for e in entries if e.is_manual][:GRID_NOTES],
    ]
    return Table(
        name="target",
        title="As good as the manual grid: cost to target",
        columns=columns,
        rows=with_medians(entries, columns, _target_row),
        notes=tuple(dict.fromkeys(notes)),
    )


def _target_column(metrics: Sequence[Metric]) -> Column:
    if [m.name for m in metrics] == [EVAL_LOSS]:
        return Column(key="target_loss", header="target loss", spec=".4f")
    return Column(key="target", header=f"target {' or '.join(m.word for m in metrics)}", spec=".6g")


def _clock_columns(clock: Clock, device: Device, *, shown: bool) -> tuple[Column, ...]:
    headers = {
        f"target_{clock}_device_min": f"{device.minutes} {clock} to target",
        f"target_ratio_{clock}": "ratio",
        f"random_order_{clock}_device_min": "grid in random order",
        f"random_order_ratio_{clock}": "ratio to that",
    }
    return tuple(Column(key=key, header=h, spec=".2f", data_only=not shown) for key, h in headers.items())


def _target_row(entry: Entry) -> tuple[Cell, ...]:
    by_clock: list[Cell] = []
    for clock in CLOCKS:
        cost = entry.to_target(clock)
        by_clock += [
            Missing("never") if cost == float("inf") else cost,
            entry.target_ratio(clock),
            entry.random_order(clock),
            entry.random_order_ratio(clock),
        ]
    target: Cell = None if entry.target is None else entry.metric.value(entry.target)
    return (entry.label, target, "yes" if entry.reached else "no", *by_clock)


def _grid_note(entry: Entry, clock: Clock, device: Device) -> str:
    whole = search_cost(entry.record, clock)
    if whole is None:
        return f"{entry.label}: what its whole grid cost is unknown."
    spent = f"{entry.label}: its whole grid cost {significant(whole)} {device.minutes_said}"
    if not entry.reached:
        return f"{spent}; it did not reach the target."
    return f"{spent}; it reached the target with {first_hit(entry)}."


def first_hit(entry: Entry) -> str:
    """The trial with which a run first reached the target, in the order in which it ran: `trial 1 of 12`."""
    step = next(s for s in entry.record.trace if entry.target is not None and s.score <= entry.target)
    number = entry.record.trial(step.trial).number
    return f"trial {number} of {len(entry.record.search_trials)}"
