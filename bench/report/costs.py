"""The guide's cost table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.record import Record
from bench.report.entries import Entry
from bench.report.medians import with_medians
from bench.report.wording import Device, count, data_name, device_of_all
from bench.tables import SWAPPED_MOST, Cell, Column, Table

SHORT_HEADERS = {
    "run_type": "run type",
    "final_loss": "test loss",
    "search_wall_min": "wall",
    "allocated_device_min": "alloc.",
    "busy_device_min": "busy",
    "ratio_allocated": "ratio alloc.",
    "ratio_busy": "ratio busy",
    "ratio_train": "ratio train",
}
"""The columns that people see of many runs."""


def cost_table(entries: Sequence[Entry]) -> Table:
    """A row a run, and below the runs that differ in their seed alone a row of their medians."""
    device = device_of_all(e.record for e in entries)
    columns = _columns(device, retrained_for(entries))
    short = len(entries) > SWAPPED_MOST
    if short:
        columns = tuple(_shortened(c) for c in columns)
    return Table(
        name="costs",
        title="Cost comparison",
        columns=columns,
        rows=with_medians(entries, columns, _cost_row),
        notes=tuple(_notes(entries, device, short)),
    )


def _columns(device: Device, retrained: str) -> tuple[Column, ...]:
    return (
        Column(key="run_type", header="run type", align="left"),
        Column(key="final_loss", header=f"test loss, retrained{retrained}", spec=".4f"),
        Column(key="exact_match_percent", header="EM", unit="%", spec=".1f"),
        Column(key="f1_percent", header="F1", unit="%", spec=".1f"),
        Column(key="search_wall_min", header="search wall time", unit="min", spec=".2f"),
        Column(key="devices", header=f"# {device.many}", spec="g"),
        Column(key="allocated_device_min", header=f"{device.minutes} allocated", spec=".2f"),
        Column(key="busy_device_min", header=f"{device.minutes} busy", spec=".2f"),
        Column(key="ratio_allocated", header="cost ratio allocated", spec=".2f"),
        Column(key="ratio_busy", header="cost ratio busy", spec=".2f"),
        Column(key="ratio_train", header="cost ratio train only", spec=".2f"),
        Column(key="utilisation", header="utilisation", spec=".0%"),
        Column(key="startup_share", header="start-up share", spec=".1%"),
        Column(key="final_device_min", header="final retrain", unit=device.minutes, spec=".2f"),
        Column(key="strategy", header="strategy", align="left", data_only=True),
        Column(key="seed", header="seed", data_only=True),
        Column(key="profile", header="profile", align="left", data_only=True),
        Column(key="engine", header="engine", align="left", data_only=True),
        Column(key="status", header="status", align="left", data_only=True),
        Column(key="run_id", header="run", align="left", data_only=True),
        Column(key="workload", header="workload", align="left", data_only=True),
        Column(key="recipe", header="recipe", align="left", data_only=True),
        Column(key="data", header="data", align="left", data_only=True),
        Column(key="samples", header="trials", data_only=True),
        Column(key="epochs", header="epochs", data_only=True),
        Column(key="final_epochs", header="final epochs", data_only=True),
    )


def _shortened(column: Column) -> Column:
    if column.key not in SHORT_HEADERS:
        return replace(column, data_only=True)
    return replace(column, header=SHORT_HEADERS[column.key], wraps=column.key == "run_type")


def _notes(entries: Sequence[Entry], device: Device, short: bool) -> list[str]:
    notes = [
        "Cost ratio: of the whole search, over the manual baseline's whole grid. Allocated (devices held x time held) "
        "is what a cluster bills and what ranks; busy is trial time alone; train only leaves out start-up, evaluation "
        "and checkpoints. The final retrain is in none.",
    ]
    if any(e.record.final is not None and e.record.final.f1 is not None for e in entries):
        what = "Test loss" if short else "Test loss (the guide's Eval Loss), EM and F1"
        notes.append(f"{what}: of the winner retrained, on the test split.")
    if short:
        notes.append(
            f"wall: search wall time (min); alloc., busy: {device.minutes_said}. More columns are in CSV and JSON."
        )
    else:
        notes.append("Search wall time is the guide's Runtime to Find Best: until the search ended.")
    return notes


def _cost_row(entry: Entry) -> tuple[Cell, ...]:
    record, study = entry.record, entry.study
    search, final = record.costs.search, record.final
    return (
        entry.label,
        None if final is None else final.test_loss,
        None if final is None else final.exact_match,
        None if final is None else final.f1,
        None if search.wall_s is None else search.wall_s / 60,
        search.devices or study.devices,
        search.allocated_device_min,
        search.busy_device_min,
        entry.ratio("allocated"),
        entry.ratio("busy"),
        entry.train_ratio,
        search.utilisation,
        startup_share(record),
        final_device_min(record),
        study.strategy,
        study.seed,
        study.profile,
        study.engine,
        record.status,
        record.run_id,
        study.workload,
        study.recipe,
        data_name(study),
        study.samples,
        study.epochs,
        study.final_epochs,
    )


def startup_share(record: Record) -> float | None:
    """Start-up's share of busy time; None where time is not split."""
    costs = record.costs.search
    split = costs.busy_device_min - costs.by_phase_device_min["unsplit"]
    return costs.by_phase_device_min["startup"] / costs.busy_device_min if split > 0 else None


def final_device_min(record: Record) -> float | None:
    """What the final retrain cost: allocated, or busy where no grant is known; None where neither is."""
    final = record.costs.final
    if not (final.allocated_device_min or final.busy_device_min):
        return None
    return final.allocated_device_min if final.allocated_device_min is not None else final.busy_device_min


def retrained_for(entries: Sequence[Entry]) -> str:
    """For how long the winners were retrained, in brackets; empty where it differs."""
    epochs = {e.study.final_epochs for e in entries if e.study.final_epochs}
    return f" ({count(epochs.pop(), 'epoch')})" if len(epochs) == 1 else ""
