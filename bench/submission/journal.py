"""A stranger's journal, line by line: every line that is no event is a finding."""

from __future__ import annotations

from bench.events import (
    SCHEMA_VERSION,
    Event,
    GrantClosed,
    GrantOpened,
    RunFinished,
    RunInterrupted,
    RunResumed,
    TrialCreated,
)
from bench.journal import MAX_LINE_BYTES, decode
from bench.submission.findings import Findings
from bench.submission.strict_json import strict_json

MAX_LINES = 500_000
MAX_BAD_LINES = 100
"""Of a journal; what comes after them is not read."""
MAX_TRIALS = 10_000
MAX_RESTARTS = 200
MAX_OPEN_GRANTS = 100

Line = tuple[int, Event]
"""A line's number, from 1, and its event."""


def parse_journal(data: bytes, where: str, findings: Findings) -> list[Line] | None:
    """The events with the numbers of their lines; None, and findings, where the journal cannot be used."""
    if data.count(b"\n") > MAX_LINES:
        findings.add("too-many", where, f"More than {MAX_LINES} lines: no run of this suite has so many.")
        return None
    lines = data.split(b"\n")
    if lines.pop():
        findings.add("journal-cut", where, f"Line {len(lines) + 1} does not end and was left out: finish the run.")
    events: list[Line] = []
    bad = 0
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        event = _event(line, f"{where}:{number}", findings)
        if event is None:
            bad += 1
            if bad == MAX_BAD_LINES:
                findings.add("too-many", where, f"{bad} lines cannot be used; what follows line {number} was not read.")
                break
        else:
            events.append((number, event))
    return events if not bad and _is_a_run(events, where, findings) else None


def _event(line: bytes, where: str, findings: Findings) -> Event | None:
    if len(line) > MAX_LINE_BYTES:
        findings.add("bad-event", where, f"It has {len(line)} bytes; {MAX_LINE_BYTES} are allowed.")
        return None
    try:
        strict_json(line)
    except ValueError as error:
        findings.add("bad-json", where, f"It is no strict JSON: {error}.")
        return None
    try:
        return decode(line)
    except ValueError as error:
        findings.add("bad-event", where, f"Not an event of schema {SCHEMA_VERSION}: {_first(error)}.")
        return None


def _first(error: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, detail['loc'])) or 'it'}: {detail['msg']}"


def _is_a_run(events: list[Line], where: str, findings: Findings) -> bool:
    first = events[0][1] if events else None
    if first is None or first.kind != "run_started":
        findings.add("inconsistent", where, "It does not begin with run_started: give the whole journal.")
        return False
    if first.schema_version != SCHEMA_VERSION:
        findings.add("bad-event", where, f"It has schema {first.schema_version}; this version reads {SCHEMA_VERSION}.")
        return False
    return _is_within_limits(events, where, findings)


def _is_within_limits(events: list[Line], where: str, findings: Findings) -> bool:
    """Folding a run takes time in proportion to trials x restarts, and to grants held x results."""
    trials = restarts = held = 0
    for number, event in events:
        trials += isinstance(event, TrialCreated)
        restarts += isinstance(event, (RunResumed, RunInterrupted, RunFinished))
        held += isinstance(event, GrantOpened) - isinstance(event, GrantClosed)
        for count, most, what in (
            (trials, MAX_TRIALS, "trials"),
            (restarts, 2 * MAX_RESTARTS, "ends and restarts"),
            (held, MAX_OPEN_GRANTS, "grants held at once"),
        ):
            if count > most:
                findings.add("too-many", f"{where}:{number}", f"More than {most} {what}: split the run.")
                return False
    return True
