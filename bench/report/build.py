"""Reports of one run and of several, put together from their parts."""

from __future__ import annotations

from collections.abc import Sequence

from bench.record import Record
from bench.report.costs import cost_table
from bench.report.entries import entries
from bench.report.head import head
from bench.report.model import Report
from bench.report.pareto import Front, front_of, pareto_table
from bench.report.phases import phase_table
from bench.report.target import target_table
from bench.report.trials import best_table, trial_table
from bench.report.warnings import comparison_warnings, refusals, run_warnings
from bench.report.written import written_comparison


def report_run(record: Record, baseline: Record | None, front: Front | None = None) -> Report:
    """One run: its trials, its best configuration and its costs, beside `baseline` (a manual run) where there is one.
    `front`: by metrics that were asked for (None: by the run's own two, if it has two).

    CSV holds the trial table. Raises UserError where a study cannot be read.
    """
    others = [] if baseline is None or baseline.run_id == record.run_id else [baseline]
    sides = entries([*others, record])
    own = sides[-1]
    tables = [
        trial_table(record),
        best_table([record], [own.label]),
        cost_table(sides),
        phase_table(sides),
    ]
    front = front or front_of(record)
    if front is not None:
        tables.insert(1, pareto_table(record, front))
    if others and own.target is not None:
        tables.append(target_table(sides))
    return Report(
        title=f"Run {record.run_id}",
        tables=tuple(tables),
        warnings=tuple(comparison_warnings(sides) if others else [*run_warnings(record), *refusals(sides)]),
        comparison=tuple(written_comparison(sides)),
        csv_table="trials",
        head=head(sides),
    )


def compare(records: Sequence[Record]) -> Report:
    """Several runs side by side, each against the comparable manual run among them.

    CSV holds the cost table. Raises ValueError without records, UserError where a study cannot be read.
    """
    if not records:
        raise ValueError("there are no records to compare: give one or more")
    sides = entries(records)
    tables = [cost_table(sides), best_table(list(records), [s.label for s in sides])]
    if any(s.target is not None for s in sides):
        tables.append(target_table(sides))
    tables.append(phase_table(sides))
    return Report(
        title="Comparison of one run" if len(records) == 1 else f"Comparison of {len(records)} runs",
        tables=tuple(tables),
        warnings=tuple(comparison_warnings(sides)),
        comparison=tuple(written_comparison(sides)),
        csv_table="costs",
        head=head(sides),
    )
