"""Runs as they lie on disk while they are under way, and jobs as SLURM would tell of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cluster.jobs import ARRAYS, Job, JobKind, Submitted, save_jobs
from bench.cluster.site import Site
from bench.cluster.slurm import JobState
from bench.cluster.watch import Facts, watch
from bench.events import Event, Heartbeat, RunInterrupted, SearchFinished
from bench.journal import JOURNAL_NAME, encode
from bench.record import record_run
from bench.run import trial_folder
from bench.study import Study
from tests.builders import Run, journal

NOW_S = 1_800_000_000.0
"""Two seconds after the last event of a run that `under_way` made."""


def folder_of(results: Path, of: Study) -> Path:
    return results / "runs" / of.run_id()


def write(folder: Path, events: Sequence[Event]) -> Path:
    """A run's folder with this journal; of a run that is over, with its record."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JOURNAL_NAME).write_text("".join(f"{encode(event)}\n" for event in events), encoding="utf-8")
    if events[-1].kind in ("run_finished", "run_interrupted"):
        record_run(folder)
    return folder


def under_way(of: Study, *, ended_s: float = NOW_S - 2.0, trials: int = 2) -> list[Event]:
    """The events of a search of which so many trials have completed and one more has begun; its grant is open."""
    runs = [Run(losses=[2.0 - i / 10, 1.5 - i / 10], lr=1e-5 * (i + 1)) for i in range(trials + 1)]
    events = journal(runs, of)
    last = max(i for i, event in enumerate(events) if event.kind == "trial_started" and event.trial == f"t{trials}")
    return moved(events[: last + 1], ended_s)


def searched(of: Study, *, ended_s: float = NOW_S - 2.0, reason: str = "its winner waits") -> list[Event]:
    """The events of a search that is over, and whose winner another job retrains."""
    events = journal([Run(losses=[2.0, 1.5])], of)
    last = next(i for i, event in enumerate(events) if isinstance(event, SearchFinished))
    events = events[: last + 2]
    return moved([*events, RunInterrupted(at_s=events[-1].at_s, reason=reason)], ended_s)


def moved(events: Sequence[Event], ended_s: float) -> list[Event]:
    """The same events such that the last one happened then."""
    by_s = ended_s - events[-1].at_s
    return [replace(event, at_s=event.at_s + by_s) for event in events]


def write_trial(folder: Path, of: Study, number: int, *, done: bool = True) -> None:
    """The journal of one trial of an array, done or interrupted in its second epoch; each took 24 s."""
    name = f"{number:04d}"
    events = journal([Run(losses=[2.0, 1.0 + number / 10], lr=1e-5 * number)], of, final_loss=None)
    own = [event if not hasattr(event, "trial") else _renamed(event, name) for event in moved(events, NOW_S - 2.0)]
    if not done:
        last = next(i for i, event in enumerate(own) if event.kind == "epoch_finished")
        own = [*own[: last + 1], Heartbeat(at_s=own[last].at_s + 1.0)]
    (trial_folder(folder, number)).mkdir(parents=True)
    text = "".join(f"{encode(event)}\n" for event in own if not isinstance(event, SearchFinished))
    (trial_folder(folder, number) / JOURNAL_NAME).write_text(text, encoding="utf-8")


def _renamed(event: Any, name: str) -> Event:
    renamed: Event = replace(event, trial=name)
    return renamed


def submit(folder: Path, of: Study, *jobs: tuple[str, JobKind, int], nodes: int = 2, node_devices: int = 1) -> None:
    """Remember jobs as submitted: id, kind and number of tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "slurm" / "logs").mkdir(parents=True, exist_ok=True)
    made = [
        Job(id=id_, kind=kind, tasks=tuple(range(1, tasks + 1)) if kind in ARRAYS else (), submitted_s=NOW_S - 600)
        for id_, kind, tasks in jobs
    ]
    fields = {
        "study": of.to_dict(),
        "site": Site(),
        "nodes": nodes,
        "node_devices": node_devices,
        "time": "60",
        "folder": Path("/"),
    }
    save_jobs(folder, Submitted(**fields).with_jobs(*made))  # type: ignore[arg-type]


def job(name: str, state: str, reason: str = "", node: str | None = None, left_s: float | None = None) -> JobState:
    """What SLURM says of job `12`, or of task `12_3`."""
    id_, _, task = name.partition("_")
    if state == "RUNNING" and node is None:
        node = f"node{task or id_}"
    return JobState(
        id=id_, task=int(task) if task else None, state=state, reason=reason, node=node, started_s=None, left_s=left_s
    )


def slurm(*known: JobState) -> Callable[[Sequence[str]], list[JobState]]:
    return lambda ids: [state for state in known if state.id in ids]


def look(folder: Path, *known: JobState, now_s: float = NOW_S) -> Facts:
    """The facts of one run, where SLURM knows these jobs."""
    (facts,), trouble = watch([folder], now_s=now_s, ask=slurm(*known), all_jobs=True)
    assert not trouble
    return facts


HOLD = """
import sys
from pathlib import Path
from bench.runlog import RunLog
log = RunLog(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process writes the run, until it is killed."""
    words = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()
