"""What the device-minutes of searches and final retrains went to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.ledger import PHASES, Costs, PhaseName
from bench.report.costs import final_device_min
from bench.report.entries import Entry
from bench.report.wording import device_of_all
from bench.tables import SWAPPED_MOST, Cell, Column, Table

HEADERS: dict[PhaseName, str] = {"startup": "start-up", "unsplit": "not split"}
SHORT_HEADERS: dict[PhaseName, str] = {"startup": "start", "checkpoint": "save", "restore": "load", "unsplit": "sum"}
RARE: tuple[PhaseName, ...] = ("restore", "lost", "unsplit")
"""Shown to people where there is any to speak of."""
SHOWN_DEVICE_MIN = 0.005
"""Less is 0.00 in the table."""

LOST_NOTE = "lost: spent on work that an interruption undid; charged all the same."
SHORT_NOTE = "start: start-up; save: checkpoints; load: restores; alloc.: allocated."


def phase_table(entries: Sequence[Entry]) -> Table:
    """Device-minutes of each search by what they went to, and of each final retrain."""
    device = device_of_all(e.record for e in entries)
    short = len(entries) > SWAPPED_MOST
    headers = SHORT_HEADERS if short else HEADERS
    parts = [(e.label, purpose, costs) for e in entries for purpose, costs in _parts(e)]
    empty = {p for p in RARE if all(c.by_phase_device_min[p] < SHOWN_DEVICE_MIN for _, _, c in parts)}
    columns = (
        Column(key="run_type", header="run type", align="left", wraps=short),
        Column(key="purpose", header="of" if short else "purpose", align="left"),
        *(Column(key=f"{p}_device_min", header=headers.get(p, p), spec=".2f", data_only=p in empty) for p in PHASES),
        Column(key="idle_device_min", header="idle", spec=".2f"),
        Column(key="allocated_device_min", header="alloc." if short else "allocated", spec=".2f"),
    )
    notes = [LOST_NOTE] if "lost" not in empty else []
    return Table(
        name="phases",
        title=f"Cost by phase ({device.minutes})",
        columns=columns,
        rows=tuple(_row(*part) for part in parts),
        notes=(*notes, SHORT_NOTE) if short else tuple(notes),
    )


def _parts(entry: Entry) -> Iterator[tuple[str, Costs]]:
    yield "search", entry.record.costs.search
    if final_device_min(entry.record) is not None:
        yield "final", entry.record.costs.final


def _row(label: str, purpose: str, costs: Costs) -> tuple[Cell, ...]:
    by_phase = [costs.by_phase_device_min[p] for p in PHASES]
    return (label, purpose, *by_phase, costs.idle_device_min, costs.allocated_device_min)
