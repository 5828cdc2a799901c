"""Runs to export, small ones with everything that may go wrong in them, and a measured one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.events import Event, RunStarted
from bench.export.common import Source
from bench.journal import JOURNAL_NAME, read_journal
from bench.record import build_record
from bench.study import Simulation
from tests.builders import Run, journal, study

RECORDS = Path("results/records")
EVIL = "<script>alert(1)</script>/../../x\n| `y` 'z' \x07"


def source(events: list[Event], *, with_journal: bool = True) -> Source:
    return Source(record=build_record(events), events=events if with_journal else None)


def measured(strategy: str = "pbt") -> Source:
    """A committed run."""
    (folder,) = RECORDS.glob(f"{strategy}-*")
    return source(read_journal(folder / JOURNAL_NAME))


def mixed() -> Source:
    """Two that completed, one stopped, one whose loss was not finite, one out of memory."""
    runs = [
        Run(losses=[3.0, 2.5], lr=1e-5),
        Run(losses=[2.9, 2.0], lr=2e-5, batch_size=2),
        Run(losses=[4.0], lr=3e-5, state="stopped"),
        Run(losses=[3.5, None], lr=2e-4, state="nan"),
        Run(losses=[], lr=1e-4, state="oom"),
    ]
    return source(journal(runs, study("asha"), start_s=1_795_218_097.0))


def evil() -> Source:
    """Texts that would be markup, paths or lines of their own."""
    changed: list[Event] = []
    for event in journal([Run(losses=[3.0, 2.5])], study("asha", workload=EVIL, settings={EVIL: 1})):
        event = replace(event, run_id=EVIL) if isinstance(event, RunStarted) else event
        named: Any = event
        changed.append(replace(named, trial=EVIL) if getattr(event, "trial", "") == "t0" else event)
    return source(changed)


def simulated() -> Source:
    simulation = Simulation(curves="tiny-squad", curves_sha256="0" * 64, node_devices=1, node_cpus=1, trial_cpus=1)
    return source(journal([Run(losses=[3.0, 2.5])], study("asha", engine="virtual", simulation=simulation)))
