"""The guide's cost table, what the search's time went to, and the cost of being as good as the manual grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from bench.ledger import PHASES, Costs
from bench.record import Record
from bench.report.entries import Entry, geometric_median, random_order_cost, search_cost
from bench.report.wording import device_of_all
from bench.tables import Cell, Column, Missing, Table

GRID_NOTES = 3
"""So many manual grids are described below a table, the first ones."""

RATIOS = ("ratio_allocated", "ratio_busy", "target_ratio_allocated", "target_ratio_busy")


def cost_table(entries: Sequence[Entry]) -> Table:
    """A row a run, and below the runs that differ in their seed alone a row of their medians."""
    device = device_of_all([e.record for e in entries])
    columns = (
        Column(key="run_type", header="run type", align="left"),
        Column(key="final_loss", header=f"eval loss ({_final_epochs(entries)})", spec=".4f"),
        Column(key="exact_match_percent", header="EM", unit="%", spec=".1f"),
        Column(key="f1_percent", header="F1", unit="%", spec=".1f"),
        Column(key="search_wall_min", header="runtime to find best", unit="min", spec=".2f"),
        Column(key="devices", header=f"# {device.many}", spec="g"),
        Column(key="allocated_device_min", header=f"{device.minutes} allocated", spec=".2f"),
        Column(key="busy_device_min", header=f"{device.minutes} busy", spec=".2f"),
        Column(key="ratio_allocated", header="cost ratio allocated", spec=".2f"),
        Column(key="ratio_busy", header="cost ratio busy", spec=".2f"),
        Column(key="utilisation", header="utilisation", spec=".0%"),
        Column(key="startup_share", header="start-up share", spec=".1%"),
        Column(key="final_device_min", header="final retrain", unit=device.minutes, spec=".2f"),
        Column(key="strategy", header="strategy", align="left", data_only=True),
        Column(key="seed", header="seed", data_only=True),
        Column(key="profile", header="profile", align="left", data_only=True),
        Column(key="engine", header="engine", align="left", data_only=True),
        Column(key="status", header="status", align="left", data_only=True),
        Column(key="run_id", header="run", align="left", data_only=True),
    )
    rows = with_medians(entries, columns, _cost_row)
    notes = [
        "Cost ratio: of the whole search, over the manual baseline's whole grid. Allocated (devices held x time held) "
        "is what a cluster bills and what ranks; busy is trial time alone. The final retrain is in neither.",
    ]
    if any(e.record.final is not None and e.record.final.f1 is not None for e in entries):
        notes.append("Eval loss, EM and F1 are of the winner retrained, on the test split.")
    return Table(name="costs", title="Cost comparison", columns=columns, rows=rows, notes=tuple(notes))


def phase_table(entries: Sequence[Entry]) -> Table:
    """Device-minutes of each search by what they went to, and of each final retrain."""
    device = device_of_all([e.record for e in entries])
    used = [p for p in PHASES if p != "unsplit" or any(e.record.costs.search.by_phase_device_min[p] for e in entries)]
    columns = (
        Column(key="run_type", header="run type", align="left"),
        Column(key="purpose", header="purpose", align="left"),
        *(Column(key=f"{p}_device_min", header=_PHASE_HEADERS.get(p, p), spec=".2f") for p in used),
        Column(key="idle_device_min", header="idle", spec=".2f"),
        Column(key="allocated_device_min", header="allocated", spec=".2f"),
    )
    rows: list[tuple[Cell, ...]] = []
    for entry in entries:
        for purpose, costs in (("search", entry.record.costs.search), ("final", entry.record.costs.final)):
            if purpose == "search" or _known(costs):
                by_phase = [costs.by_phase_device_min[p] for p in used]
                rows.append((entry.label, purpose, *by_phase, costs.idle_device_min, costs.allocated_device_min))
    return Table(
        name="phases", title=f"Cost by phase ({device.minutes})", columns=columns, rows=tuple(rows), notes=_LOST_NOTE
    )


_PHASE_HEADERS = {"startup": "start-up", "unsplit": "not split"}
_LOST_NOTE = ("lost: spent on work that an interruption undid; charged all the same.",)


def target_table(entries: Sequence[Entry]) -> Table:
    """Cost to theta_1: what each run had spent when it first was as good as the manual winner."""
    device = device_of_all([e.record for e in entries])
    columns = (
        Column(key="run_type", header="run type", align="left"),
        Column(key="target_loss", header="target loss", spec=".4f"),
        Column(key="reached", header="reached", align="left"),
        Column(key="target_allocated_device_min", header=f"{device.minutes} allocated to target", spec=".2f"),
        Column(key="target_busy_device_min", header=f"{device.minutes} busy to target", spec=".2f"),
        Column(key="target_ratio_allocated", header="ratio allocated", spec=".2f"),
        Column(key="target_ratio_busy", header="ratio busy", spec=".2f"),
    )
    notes = [
        "Target: the loss of the manual grid's winner at full fidelity (their median where there are several seeds). "
        "Ratio: T(strategy) / T(manual), each the cost at which a run first reached the target.",
        *[_grid_note(e, device.minutes) for e in entries if e.is_manual and e.target is not None][:GRID_NOTES],
    ]
    rows = with_medians([e for e in entries if e.target is not None], columns, _target_row)
    return Table(
        name="target",
        title="As good as the manual grid: cost to target",
        columns=columns,
        rows=rows,
        notes=tuple(dict.fromkeys(notes)),
    )


def with_medians(
    entries: Sequence[Entry], columns: Sequence[Column], row_of: Callable[[Entry], tuple[Cell, ...]]
) -> tuple[tuple[Cell, ...], ...]:
    """The runs' rows, those of one group together in the order of first appearance, a group of several with a row of
    medians (ratios: the exponential of the median logarithm) after it."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    rows: list[tuple[Cell, ...]] = []
    for members in groups.values():
        own = [row_of(member) for member in members]
        rows += own
        if len(own) > 1:
            label = f"{members[0].group_label}: median of {len(own)}"
            rows.append((label, *(_median(c.key, [row[i] for row in own]) for i, c in enumerate(columns) if i)))
    return tuple(rows)


def _median(key: str, cells: list[Cell]) -> Cell:
    if len({str(c) for c in cells}) == 1 and isinstance(cells[0], str):
        return cells[0]
    numbers = [float(c) for c in cells if isinstance(c, int | float) and not isinstance(c, bool)]
    if len(numbers) < len(cells) or key == "seed":
        return None  # a run without the value is a run that missed: leaving it out would flatter the others
    return geometric_median(numbers) if key in RATIOS and min(numbers) > 0 else median(numbers)


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
        search.utilisation,
        startup_share(record),
        final_device_min(record),
        study.strategy,
        study.seed,
        study.profile,
        study.engine,
        record.status,
        record.run_id,
    )


def _target_row(entry: Entry) -> tuple[Cell, ...]:
    reached = bool(entry.record.trace) and entry.target is not None and entry.record.trace[-1].eval_loss <= entry.target
    return (
        entry.label,
        entry.target,
        "yes" if reached else "no",
        _finite(entry.to_target("allocated")),
        _finite(entry.to_target("busy")),
        entry.target_ratio("allocated"),
        entry.target_ratio("busy"),
    )


def _finite(cost: float | None) -> Cell:
    return Missing("never") if cost == float("inf") else cost


def startup_share(record: Record) -> float | None:
    """Start-up's share of busy time; None where time is not split."""
    costs = record.costs.search
    split = costs.busy_device_min - costs.by_phase_device_min["unsplit"]
    return costs.by_phase_device_min["startup"] / costs.busy_device_min if split > 0 else None


def final_device_min(record: Record) -> float | None:
    """What the final retrain cost: allocated, or busy where no grant is known; None where neither is."""
    final = record.costs.final
    if not _known(final):
        return None
    return final.allocated_device_min if final.allocated_device_min is not None else final.busy_device_min


def _known(costs: Costs) -> bool:
    return bool(costs.allocated_device_min or costs.busy_device_min)


def _final_epochs(entries: Sequence[Entry]) -> str:
    epochs = sorted({e.study.final_epochs for e in entries})
    return f"{epochs[0]} epochs" if len(epochs) == 1 and epochs[0] else "final retrain"


def _grid_note(entry: Entry, unit: str) -> str:
    whole = search_cost(entry.record, "allocated")
    expected = None if entry.target is None else random_order_cost(entry.record, entry.target, "allocated")
    if whole is None or expected is None:
        return f"{entry.label}: what its whole grid held is unknown."
    return (
        f"{entry.label}: its whole grid cost {whole:.2f} {unit}; in a random order it would reach the target after "
        f"{expected:.2f} on average."
    )
