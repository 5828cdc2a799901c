"""One run out of the trials that were trained apart, in whatever order they ended."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.errors import UserError
from bench.events import (
    Event,
    GrantClosed,
    GrantOpened,
    Heartbeat,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    SearchFinished,
    TrialCreated,
)
from bench.files import write_together
from bench.journal import JOURNAL_NAME, encode, read_journal
from bench.run import trial_folder
from bench.study import Study
from bench.trials import fold


def merged(run_folder: Path) -> list[Event]:
    """The events of all trials that have begun, as those of one run that is not over: what each of its jobs held is a
    grant of its own. Empty where none has begun. Raises UserError where a journal cannot be read."""
    journals = [(name, read_journal(path)) for name, path in _journals(run_folder)]
    if not journals:
        return []
    starts = [events[0] for _, events in journals if isinstance(events[0], RunStarted)]
    first = min(starts, key=lambda event: event.at_s)
    created = [
        replace(event, at_s=first.at_s) for _, events in journals for event in events if isinstance(event, TrialCreated)
    ]
    rest = heapq.merge(*(_of_trial(name, events) for name, events in journals), key=lambda event: event.at_s)
    return [first, *created, *rest]


def unfinished(run_folder: Path, study: Study) -> list[int]:
    """The numbers of the trials whose job has not done its part yet."""
    over = {int(name) for name, path in _journals(run_folder) if isinstance(read_journal(path)[-1], RunFinished)}
    return [number for number in range(1, study.samples + 1) if number not in over]


def gather(run_folder: Path, study: Study) -> None:
    """Write the run's journal, up to the end of its search, where there is none yet. Raises UserError where trials are
    missing."""
    path = run_folder / JOURNAL_NAME
    if path.exists() and path.stat().st_size:
        return
    missing = unfinished(run_folder, study)
    if missing:
        named = ", ".join(map(str, missing[:10]))
        raise UserError(
            f"{len(missing)} of {study.samples} trials have no result yet ({named}): sweepmark resume "
            f"{run_folder.name} submits them again, and no others."
        )
    events = merged(run_folder)
    state = fold(events)
    winner = state.winner.trial if state.winner else None
    events.append(SearchFinished(at_s=state.ended_s, winner=winner))
    write_together({path: "".join(f"{encode(event)}\n" for event in events).encode()})


def _journals(run_folder: Path) -> Iterator[tuple[str, Path]]:
    for folder in sorted(trial_folder(run_folder, 1).parent.glob("*")):
        path = folder / JOURNAL_NAME
        if path.is_file() and path.stat().st_size:
            yield folder.name, path


def _of_trial(name: str, events: list[Event]) -> Iterator[Event]:
    """The events that a run of many trials has of one. What a killed job left open ends with its last sign of life."""
    held: dict[str, None] = {}
    before_s = events[0].at_s
    for event in events:
        match event:
            case RunResumed():
                yield from (GrantClosed(at_s=before_s, grant=grant) for grant in held)
                held.clear()
            case RunStarted() | RunFinished() | RunInterrupted() | SearchFinished() | TrialCreated() | Heartbeat():
                pass
            case GrantOpened():
                held[f"{name}-{event.grant}"] = None
                yield replace(event, grant=f"{name}-{event.grant}")
            case GrantClosed():
                held.pop(f"{name}-{event.grant}")
                yield replace(event, grant=f"{name}-{event.grant}")
            case _:
                yield event
        before_s = event.at_s
    if isinstance(events[-1], RunInterrupted):
        yield from (GrantClosed(at_s=before_s, grant=grant) for grant in held)
