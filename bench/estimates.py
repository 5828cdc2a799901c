"""Estimates with their intervals, and costs that may be infinite, as columns and cells of a table."""

from __future__ import annotations

import math

from bench.statistics import Estimate
from bench.tables import Cell, Column, Missing

NEVER = "never"
"""What a cost to a target is called that half of the seeds or more never paid."""


def estimate_columns(key: str, header: str) -> tuple[Column, ...]:
    """One for people, three for machines."""
    parts = (Column(key=f"{key}{suffix}", header=header, data_only=True) for suffix in ("", "_low", "_high"))
    return (Column(key=f"{key}_shown", header=header), *parts)


def estimate_cells(found: Estimate | None, spec: str = ".2f") -> tuple[Cell, ...]:
    """The cells of `estimate_columns`; all missing where there is no estimate."""
    if found is None:
        return (None, None, None, None)
    value, low, high = (NEVER if v == math.inf else format(v, spec) for v in (found.value, found.low, found.high))
    shown = NEVER if low == NEVER else f"{value} [{low}, {high}]"
    return (shown, found.value, found.low, found.high)


def cost_cell(value: float) -> Cell:
    """A cost, or that it was never paid."""
    return Missing(NEVER) if math.isinf(value) else value
