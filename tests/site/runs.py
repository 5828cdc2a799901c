"""A few runs that a site is made of: two strategies and their grid, a simulated board, and one of somebody hostile."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.events import Event, Note
from bench.journal import JOURNAL_NAME, encode
from bench.leaderboard import Found, collect
from bench.record import record_run
from bench.study import Simulation
from bench.table_html import LONG
from tests.builders import Run, journal, study

HOSTILE = "</script><script>window.evil=1</script>\u2028<img src=x onerror=window.evil=1>&\"'"
"""A name that would run in any page that does not escape it."""
PROBE = {"gpus": [{"name": "A100-SXM4-80GB"}], "cpu_model": "EPYC", "cpus": 32}
GRID = (Run(losses=[5.0, 4.0], lr=1e-5), Run(losses=[5.0, 3.5], lr=5e-6), Run(losses=[6.0, 4.5], lr=2e-4))
QUICK = (Run(losses=[5.0, 3.4], lr=1.5e-5), Run(losses=[5.5], lr=1e-4, state="stopped"))
LATE = (Run(losses=[None], lr=1e-4, state="nan"), Run(losses=[5.0, 3.9], lr=2e-5), Run(losses=[5.0, 3.3], lr=3e-5))
POOR = (Run(losses=[5.0, 3.6], lr=1e-5), Run(losses=[5.0, 4.2], lr=2e-5))
MANY = tuple(Run(losses=[5.0, 3.0 + number * 7919 % 1009 / 1e3], lr=1e-5) for number in range(LONG + 5))
SEEDS = (0, 1)
SIMULATED = Simulation(curves="published-a100", curves_sha256="0" * 64, node_devices=1, node_cpus=16, trial_cpus=2)


def write_run(folder: Path, events: list[Event]) -> None:
    """A run as it lies under the results: its journal, and its record."""
    folder.mkdir(parents=True)
    (folder / JOURNAL_NAME).write_text("".join(f"{encode(event)}\n" for event in events), encoding="utf-8")
    record_run(folder)


def few_runs(folder: Path) -> list[Found]:
    """Seven: manual and asha under two seeds, tpe, one with a hostile name and note, one simulated and long."""
    for number, events in enumerate(_journals()):
        write_run(folder / f"run-{number}", events)
    return collect([folder])


def _journals() -> Iterator[list[Event]]:
    measured = partial(journal, provenance_changes={"probe": PROBE, "command": ["sweepmark", "run", HOSTILE]})
    for seed in SEEDS:
        yield measured(GRID, study("manual", seed=seed))
        yield measured(QUICK, study("asha", seed=seed))
    yield measured(LATE, study("tpe"))
    hostile = measured(POOR, study(HOSTILE))
    yield [*hostile[:-1], Note(at_s=hostile[-1].at_s, level="warning", message=HOSTILE), hostile[-1]]
    yield journal(MANY, study("manual", engine="virtual", simulation=SIMULATED, samples=len(MANY)))
