"""Rows of several seeds and the row of medians below them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from bench.report.entries import Entry
from bench.statistics import geometric_median
from bench.tables import Cell, Column


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
    if key == "reached":
        return f"{cells.count('yes')} of {len(cells)}"
    if len({str(c) for c in cells}) == 1 and isinstance(cells[0], str):
        return cells[0]
    numbers = [float(c) for c in cells if isinstance(c, int | float) and not isinstance(c, bool)]
    if len(numbers) < len(cells) or key == "seed":
        return None  # a run without the value is a run that missed: leaving it out would flatter the others
    return geometric_median(numbers) if "ratio" in key and min(numbers) > 0 else median(numbers)
