"""The workshop's published numbers through this suite's own ledger and tables, beside what is wrong with them."""

from __future__ import annotations

from bench.ledger import cost_ratio
from bench.published import load_published, published_records
from bench.record import Record
from bench.report.costs import cost_table
from bench.report.entries import entries
from bench.report.model import Report
from bench.report.trials import best_table
from bench.report.warnings import comparison_warnings
from bench.report.written import written_comparison
from bench.tables import Cell, Column, Table


def published_report() -> Report:
    """The four tables. CSV holds the ratios as published."""
    records = published_records()
    sides = entries(list(records.values()))
    about = load_published()
    return Report(
        title="Published measurements of the workshop",
        tables=(
            published_ratio_table(records),
            cost_table(sides),
            best_table(list(records.values()), [s.label for s in sides]),
        ),
        warnings=(*about.limits, *comparison_warnings(sides)),
        comparison=tuple(written_comparison(sides)),
        csv_table="published_ratios",
    )


def published_ratio_table(records: dict[str, Record]) -> Table:
    """The ratios as the guide's template makes them: GPU-minutes of the trials over the manual job's GPU-minutes."""
    about = load_published()
    manual = records["manual"].costs.search
    columns = (
        Column(key="strategy", header="strategy", align="left"),
        Column(key="hardware", header="hardware", align="left"),
        Column(key="busy_device_min", header="GPU-min of trials", spec=".2f"),
        Column(key="reference_device_min", header="GPU-min of manual job", spec=".0f"),
        Column(key="published_ratio", header="cost ratio as published", spec=".2f"),
        Column(key="wrong", header="what is wrong with it", align="left", wraps=True),
    )
    rows: list[tuple[Cell, ...]] = []
    for strategy, record in records.items():
        table, busy = about.tables[strategy], record.costs.search.busy_device_min
        is_manual = strategy == "manual"
        rows.append(
            (
                strategy,
                table.hardware,
                busy,
                manual.allocated_device_min,
                1.0 if is_manual else cost_ratio(busy, manual.allocated_device_min),
                "the reference: job time, not trial time" if is_manual else "; ".join(table.wrong),
            )
        )
    return Table(
        name="published_ratios",
        title="Cost ratios as published",
        columns=columns,
        rows=tuple(rows),
        notes=(f"Source: {about.source}.", *(n.message for r in records.values() for n in r.notes)),
    )
