"""The facts of runs that are under way or over, here and on SLURM, read from their folders without disturbing them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cluster.condition import NOT_KNOWN, Condition, Holder, WatchedJob, condition
from bench.cluster.jobs import JobKind, Submitted, load_jobs
from bench.errors import UserError
from bench.events import Event
from bench.journal import JOURNAL_NAME, read_journal
from bench.lock import is_held, signature
from bench.progress import time_left_s
from bench.record import Record, RunCosts, load_record, record_of
from bench.runlog import HEARTBEAT_S, LOCK_NAME
from bench.study import Study
from bench.trials import RunState, fold

if TYPE_CHECKING:
    from bench.cluster.slurm import JobState

SILENT_S = 3 * HEARTBEAT_S
"""A writer that has not been heard of for so long is gone."""

STALE_S = 120.0
"""A run under way that has not been heard of for so long may hang; file systems show news late."""

TAIL_BYTES = 4096

AskStates = Callable[[Sequence[str]], "list[JobState]"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A run as it stands. `record`: made from its journal, with costs up to now where it is running (None: nothing
    happened yet, or it cannot be read). `jobs`: all that SLURM knows, and of those it has forgotten the newest of each
    kind. `undone`: tasks of an array without a result. `time_left_s`: until all is done (None: not known yet, or the
    run does not go on by itself)."""

    folder: Path
    condition: Condition
    study: Study | None = None
    record: Record | None = None
    submitted: Submitted | None = None
    jobs: tuple[WatchedJob, ...] = ()
    undone: tuple[int, ...] = ()
    holder: Holder | None = None
    time_left_s: float | None = None

    @property
    def name(self) -> str:
        return self.folder.absolute().name


@dataclass(kw_only=True)
class _Reading:
    """What a run's folder holds."""

    folder: Path
    submitted: Submitted | None = None
    record: Record | None = None
    state: RunState | None = None
    held: Holder | None = None
    undone: tuple[int, ...] = ()
    damage: str = ""

    @property
    def finished(self) -> bool:
        return self.record is not None and self.record.status == "finished"


def watch(
    folders: Sequence[Path], *, now_s: float | None = None, ask: AskStates | None = None, all_jobs: bool = False
) -> tuple[list[Facts], str]:
    """The facts of each run, and a sentence where SLURM could not be asked ("": it could, or there was no need).
    `all_jobs`: also of finished runs. `ask`: instead of SLURM."""
    now_s = time.time() if now_s is None else now_s
    readings = [_begin(folder) for folder in folders]
    asked = [r.submitted for r in readings if r.submitted is not None and (all_jobs or not r.finished)]
    known, trouble = _states([job.id for submitted in asked for job in submitted.jobs], ask)
    for reading in readings:  # after writers and jobs: what one that has gone since has written is not missed
        _read(reading)
    return [_facts(reading, known, now_s) for reading in readings], trouble


def holder(folder: Path, *, silent_s: float | None = None) -> Holder | None:
    """Who writes the run in `folder`. `silent_s`: seconds since its journal's last event (None: it has none). A lock
    that a process of another host holds may not be seen here: that host is believed as long as its heart beats."""
    here = socket.gethostname()
    host, process = signature(folder / LOCK_NAME) or (here, None)
    if is_held(folder / LOCK_NAME):
        return Holder(host=host, process=process, here=host == here, proven=True)
    if host != here and silent_s is not None and silent_s <= SILENT_S:
        return Holder(host=host, process=process, here=False, proven=False)
    return None


def run_events(folder: Path) -> list[Event]:
    """All events of a run; of an array whose trials have not been gathered yet, those of its trials. Empty where
    nothing has happened. Raises UserError where a journal is damaged."""
    path = folder / JOURNAL_NAME
    if path.is_file() and path.stat().st_size:
        return read_journal(path)
    from bench.cluster.gather import merged

    return merged(folder)


def _begin(folder: Path) -> _Reading:
    reading = _Reading(folder=folder, record=_finished_record(folder))
    try:
        reading.submitted = load_jobs(folder)
    except UserError as error:
        reading.damage = str(error)
    if not reading.finished:
        reading.held = holder(folder)
    return reading


def _read(reading: _Reading) -> None:
    if reading.finished or reading.damage:
        return
    try:
        if events := run_events(reading.folder):
            state = fold(events)
            reading.record = record_of(state)
            reading.record.parsed_study()
            reading.state = state
        reading.undone = _undone(reading)
    except (UserError, ValueError, KeyError, TypeError) as error:
        reading.record = None
        reading.damage = str(error)


def _undone(reading: _Reading) -> tuple[int, ...]:
    """Trials of an array that have no result yet."""
    study = reading.submitted.read_study() if reading.submitted is not None else None
    if study is None or study.engine != "array" or (reading.state is not None and reading.state.search_finished):
        return ()
    from bench.cluster.gather import unfinished

    return tuple(unfinished(reading.folder, study))


def is_finished(folder: Path) -> bool:
    """Whether the journal of the run ends with its end; nothing before that is read."""
    try:
        with (folder / JOURNAL_NAME).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            *_, last, torn = file.read().split(b"\n")
        return not torn and json.loads(last)["kind"] == "run_finished"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _finished_record(folder: Path) -> Record | None:
    """The record of a finished run, which is read faster than its journal is folded; None where there is none."""
    try:
        record = load_record(folder) if is_finished(folder) else None
    except UserError:
        return None
    return record if record is not None and record.status == "finished" else None


def _states(ids: Sequence[str], ask: AskStates | None) -> tuple[list[JobState] | None, str]:
    if not ids:
        return [], ""
    try:
        if ask is None:
            from bench.cluster import slurm

            ask = slurm.states
        return ask(ids), ""
    except UserError as error:
        return None, str(error)


def watched_jobs(submitted: Submitted | None, known: Sequence[JobState] | None) -> list[WatchedJob]:
    """The jobs of a run in the order of submission, each task of an array for itself, with what SLURM knows of them
    (`known` None: it cannot be asked); of those it has forgotten only the newest of each kind."""
    jobs: list[WatchedJob] = []
    for job in submitted.jobs if submitted is not None else ():
        states = sorted((state for state in known or () if state.id == job.id), key=lambda state: state.task or 0)
        jobs += [_watched(job.kind, state) for state in states]
        if not states and submitted is not None and submitted.newest(job.kind) == job:
            jobs.append(WatchedJob(kind=job.kind, id=job.id, state="OVER" if known is not None else NOT_KNOWN))
    return jobs


def _watched(kind: JobKind, state: JobState) -> WatchedJob:
    return WatchedJob(
        kind=kind,
        id=state.id,
        task=state.task,
        state=state.state,
        reason=state.reason,
        node=state.node,
        left_s=state.left_s,
        active=state.active,
    )


def _facts(reading: _Reading, known: list[JobState] | None, now_s: float) -> Facts:
    record, state, submitted = reading.record, reading.state, reading.submitted
    jobs = watched_jobs(submitted, known)
    if reading.damage:
        damaged = Condition(name="damaged", words=f"damaged: {_in_folder(reading)}")
        return Facts(
            folder=reading.folder, condition=damaged, submitted=submitted, jobs=tuple(jobs), holder=reading.held
        )
    study = record.parsed_study() if record else submitted.read_study() if submitted else None
    virtual = study is not None and study.engine == "virtual"
    silent_s = None if record is None or virtual else max(0.0, now_s - record.ended_s)
    held = None if reading.finished else reading.held or holder(reading.folder, silent_s=silent_s)
    search_finished = reading.finished or (state is not None and state.search_finished)
    found = condition(
        status=record.status if record else None,
        reason=state.interrupted if state else None,
        search_finished=search_finished,
        silent_for="some time" if silent_s is None else _about(silent_s),
        submitted=submitted,
        jobs=jobs if known is not None else None,
        undone=reading.undone,
        holder=held,
    )
    beats = study is not None and study.engine != "array"
    if found.name == "running" and beats and silent_s is not None and silent_s > STALE_S:
        found = replace(found, words=f"{found.words}; its journal is silent for {_about(silent_s)}")
    left_s: float | None = None
    if record is not None and state is not None and study is not None and found.name == "running":
        at_once = None if search_finished else _at_once(study, submitted, jobs)
        left_s = time_left_s(study, state, at_once) if at_once != 0 else None
        if not virtual and record.status == "running":
            record = replace(record, costs=_costs(state, now_s))
    return Facts(
        folder=reading.folder,
        condition=found,
        study=study,
        record=record,
        submitted=submitted,
        jobs=tuple(jobs),
        undone=reading.undone,
        holder=held,
        time_left_s=left_s,
    )


def _at_once(study: Study, submitted: Submitted | None, jobs: Sequence[WatchedJob]) -> int | None:
    """Trials that the jobs of a run have devices for; None where the study's engine says it."""
    if submitted is None:
        return None
    holding = [job for job in jobs if job.active and not job.pending]
    if submitted.newest("head") is not None:
        workers = sum(job.kind == "worker" for job in holding)
        return workers * submitted.node_devices // study.devices_per_trial * study.trials_per_device
    return sum(job.kind == "task" for job in holding) or None


def _costs(state: RunState, now_s: float) -> RunCosts:
    ledger = state.ledger
    return RunCosts(
        search=ledger.costs("search", now_s), final=ledger.costs("final", now_s), elapsed_s=ledger.elapsed_s
    )


def _in_folder(reading: _Reading) -> str:
    """What is wrong, with paths as from the run's folder: a row of a table has no room for more."""
    return reading.damage.replace(f"{reading.folder}/", "").rstrip(".")


def _about(seconds: float) -> str:
    """A length of time in one unit."""
    for unit, length_s, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < most * length_s:
            return f"{round(seconds / length_s)} {unit}"
    return f"{round(seconds / 86400)} days"
