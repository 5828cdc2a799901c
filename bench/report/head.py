"""What a report is of: conditions that are said once, above all tables."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.entries import Entry
from bench.report.wording import data_name, kind_of_device, listed

FEW = 6
"""So many different values of a condition are listed; of more, the number."""


def head(entries: Sequence[Entry]) -> tuple[str, ...]:
    """One line of conditions, and one on what a device is where it is no GPU."""
    studies = [e.study for e in entries]
    said = {
        "workload": [s.workload for s in studies],
        "recipe": [s.recipe for s in studies],
        "data": [data_name(s) for s in studies],
        "profile": [s.profile for s in studies],
        "seed": [str(n) for n in sorted(s.seed for s in studies)],
        "trials x epochs": [f"{s.samples}x{s.epochs}" for s in studies],
        "final epochs": [str(n) for n in sorted(s.final_epochs for s in studies)],
    }
    conditions = "; ".join(f"{name}: {_values(values)}" for name, values in said.items()) + "."
    cpu = sorted({s.profile for s in studies if kind_of_device(s.profile) == "cpu"})
    if not cpu:
        return (conditions,)
    return (
        conditions,
        f"On the profile {listed(cpu)} a device is one CPU core: device-minutes are core-minutes, no GPU-minutes.",
    )


def _values(values: list[str]) -> str:
    different = list(dict.fromkeys(values))
    return listed(different) if len(different) <= FEW else f"{len(different)} different"
