"""The folder of a run, read: its journal, the study in it, and the record made again."""

from __future__ import annotations

import hashlib

from bench.errors import UserError
from bench.journal import JOURNAL_NAME
from bench.record import RECORD_NAME, build_record, encode_record
from bench.submission.files import RunFiles, read
from bench.submission.findings import Findings, quoted
from bench.submission.journal import Line, parse_journal
from bench.submission.records import check_record
from bench.submission.run import Run
from bench.submission.study import parse_study


def read_run(files: RunFiles, findings: Findings) -> Run | None:
    """The run, its record checked; None, and findings, where nothing more can be checked of it."""
    where = f"{files.place}/{JOURNAL_NAME}"
    if files.journal is None:
        findings.add("journal-missing", files.place, f"There is no {JOURNAL_NAME}: send the journal with its record.")
        return None
    data = read(files.journal, where, findings)
    lines = None if data is None else parse_journal(data, where, findings)
    if data is None or lines is None:
        return None
    run = _run(files.place, data, lines, findings)
    if run is None:
        return None
    _check_id(run, findings)
    if files.record is None:
        findings.add(
            "record-missing",
            files.place,
            f"There is no {RECORD_NAME}: it was made again from the journal in memory, not written.",
        )
    else:
        where = f"{files.place}/{RECORD_NAME}"
        given = read(files.record, where, findings)
        if given is not None:
            check_record(given, run.record, where, findings)
    return run


def _run(place: str, data: bytes, lines: list[Line], findings: Findings) -> Run | None:
    where = f"{place}/{JOURNAL_NAME}"
    first = lines[0][1]
    assert first.kind == "run_started", "parse_journal has seen to that"
    study = parse_study(first.study, f"{where}:{lines[0][0]}", findings)
    if study is None:
        return None
    data = data[: data.rfind(b"\n") + 1]
    try:
        record = build_record((event for _, event in lines), hashlib.sha256(data).hexdigest())
        encode_record(record)
    except (UserError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        findings.add("inconsistent", where, f"{error}" if isinstance(error, UserError) else f"{error!r}")
        return None
    return Run(place=place, journal=data, lines=tuple(lines), study=study, record=record)


def _check_id(run: Run, findings: Findings) -> None:
    right, given = run.study.run_id(), run.record.run_id
    if given != right:
        findings.add("run-id", run.at(run.lines[0][0]), f"The run is called {quoted(given)}; its study gives {right}.")
    if run.place != right:
        findings.add("folder-name", run.place, f"The folder of the run must be called {right}.")
