"""What happened in a run, in words: its journal's events that matter, and what its jobs printed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.cluster.condition import ENDED_BADLY, WatchedJob
from bench.cluster.jobs import Submitted, log_path
from bench.events import Event, GrantClosed, GrantOpened, Note, RunFinished, RunInterrupted, RunStarted, TrialStarted
from bench.progress import clock_text, intention, label, told
from bench.study import Study
from bench.tables import clean
from bench.trials import RunState

WORKER_GRANT = re.compile(r"worker-(\d+)-(\d+)-\d+")
"""What a worker's job holds is called so: its place in the array, its job; see `bench.cluster.meeting.Held.name`."""

MAX_TAIL_BYTES = 256 * 1024


def story(events: Sequence[Event], unit: str) -> list[str]:
    """A line for each event that matters, oldest first, with its time (of a run in virtual time: since its start).
    Raises ValueError where the events contradict each other."""
    state = RunState()
    lines = []
    study: Study | None = None
    for event in events:
        state.apply(event)
        if isinstance(event, RunStarted):
            study = Study.from_dict(event.study)
        if study is not None and (line := _line(event, state, study, unit)):
            virtual = study.engine == "virtual"
            lines.append(f"{clock_text(event.at_s) if virtual else date_text(event.at_s)}  {clean(line)}")
    return lines


def _line(event: Event, state: RunState, study: Study, unit: str) -> str | None:
    match event:
        case RunStarted():
            return f"the run begins: {intention(study)}"
        case GrantOpened(grant=grant, devices=devices, purpose=purpose) if study.engine != "array":
            what = "the search" if purpose == "search" else "the final retrain"
            worker = WORKER_GRANT.fullmatch(grant)
            who = f"worker {worker[2]}_{worker[1]} joins: " if worker else ""
            return f"{who}{devices} {'device' if devices == 1 else 'devices'} held for {what}"
        case GrantClosed(grant=grant) if worker := WORKER_GRANT.fullmatch(grant):
            return f"worker {worker[2]}_{worker[1]} has left"
        case TrialStarted(trial=trial, epoch=epoch) if epoch:
            return f"{label(trial)} goes on after epoch {epoch}"
        case RunInterrupted(reason=reason):
            return f"the run is interrupted: {reason}"
        case RunFinished():
            return "the run is finished"
        case Note(level="warning", message=message):
            return f"warning: {message}"
    return told(event, state, unit)


def date_text(at_s: float) -> str:
    """Unix time as the clock here shows it; a number where no clock can."""
    try:
        return datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return f"{at_s:g}"


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a job printed. `verdict`: how a job ended that failed ("": it did not, or nobody knows)."""

    job: str
    kind: str
    path: Path
    verdict: str

    @property
    def title(self) -> str:
        mark = f"! {self.verdict}: " if self.verdict else ""
        return f"{mark}{self.kind} {self.job}: {self.path}"


def outputs(
    folder: Path, submitted: Submitted | None, jobs: Sequence[WatchedJob], undone: Sequence[int]
) -> list[Output]:
    """Of every job and task that has printed something, in the order of submission and of tasks."""
    known = {job.name: job for job in jobs}
    found = []
    for job in submitted.jobs if submitted is not None else ():
        for task in job.tasks or (None,):
            path = log_path(folder, job, task)
            if not path.is_file():
                continue
            name = job.id if task is None else f"{job.id}_{task}"
            state = known.get(name)
            verdict = ENDED_BADLY.get(state.state, "") if state is not None else ""
            if not verdict and job.kind == "task" and task in undone and not (state is not None and state.active):
                verdict = "no result"
            found.append(Output(job=name, kind=job.kind, path=path, verdict=verdict))
    return found


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a text that anybody may have written, harmless for a terminal. Of a line that was written over
    itself (a progress bar) the last writing."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_TAIL_BYTES))
            data = file.read(MAX_TAIL_BYTES)
    except OSError as error:
        return [f"(cannot be read: {error.strerror})"]
    return [shown(line) for line in data.removesuffix(b"\n").split(b"\n")[-lines:]] if data and lines else []


def shown(line: bytes) -> str:
    """A line of output without what a terminal would obey."""
    text = line.decode("utf-8", errors="replace").rstrip("\r\n").rsplit("\r", 1)[-1].expandtabs(8)
    return clean(text)
