"""Runs of a folder as the gate sees them: finished ones, grouped by study and machine, each once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.journal import JOURNAL_NAME, read_journal
from bench.progress import OnDone
from bench.record import RECORD_NAME, Record, build_record, journal_sha256, load_record
from bench.regress.metrics import RunMetrics, events_sha256, machine_of, metrics_of
from bench.regress.reference import study_key

DEEPEST = 4
"""Levels of folders below the one given in which runs are looked for."""


@dataclass(kw_only=True)
class Group:
    """Runs of one study on one machine, oldest first. `packages`: versions that decide about a simulation."""

    study: dict[str, Any]
    machine: dict[str, Any] | None
    packages: dict[str, str]
    runs: list[RunMetrics] = field(default_factory=list)

    @property
    def virtual(self) -> bool:
        return bool(self.study.get("engine") == "virtual")


@dataclass(frozen=True, kw_only=True)
class Runs:
    """`left_out`: how many runs of a study (see `study_key`) were left out, and why."""

    groups: tuple[Group, ...]
    left_out: tuple[tuple[str, str, int], ...] = ()


def run_folders(folder: Path) -> list[Path]:
    """The folders at or below `folder` that hold a journal or a record."""
    found = set()
    for depth in range(DEEPEST + 1):
        for name in (JOURNAL_NAME, RECORD_NAME):
            found |= {path.parent for path in folder.glob("*/" * depth + name) if path.is_file()}
    return sorted(found)


def collect_runs(folder: Path, on_done: OnDone | None = None) -> Runs:
    """The runs at or below a folder. Raises UserError where a journal or record cannot be read."""
    records = []
    folders = run_folders(folder)
    for number, path in enumerate(folders, 1):
        records.append(_read(path))
        if on_done:
            on_done(number, len(folders))
    return _grouped(records, folder)


def _read(folder: Path) -> tuple[Record, str]:
    """A run's record, made from its journal where there is one, and the digest to tell it by."""
    journal = folder / JOURNAL_NAME
    if not journal.is_file():
        record = load_record(folder)
        if record.study.get("engine") == "virtual":
            raise UserError(f"{folder} has no {JOURNAL_NAME}, which virtual runs are compared by: add it.")
        return record, record.journal_sha256 or ""
    events = read_journal(journal)
    record = build_record(events, journal_sha256(journal))
    virtual = record.study.get("engine") == "virtual"
    return record, events_sha256(events) if virtual else record.journal_sha256 or ""


def _grouped(records: Sequence[tuple[Record, str]], folder: Path) -> Runs:
    groups: dict[tuple[str, str], Group] = {}
    seen: set[tuple[str, str]] = set()
    left: Counter[tuple[str, str]] = Counter()
    for record, digest in sorted(records, key=lambda r: (r[0].started_s, r[0].run_id, r[1])):
        study = record.parsed_study()
        virtual = study.engine == "virtual"
        why = ""
        if not digest:
            why = "without a digest of its journal"
        elif record.status != "finished":
            why = "not finished"
        elif record.resumes:
            why = "interrupted and resumed, which costs more"
        elif record.costs.search.allocated_device_min is None:
            why = "without allocated device-minutes"
        elif (record.run_id, digest) in seen:
            why = "there twice"
        if why:
            left[study_key(record.study), why] += 1
            continue
        seen.add((record.run_id, digest))
        machine = None if virtual else machine_of(record.provenance)
        key = (study_key(record.study), json.dumps(machine, sort_keys=True))
        if key not in groups:
            packages = record.provenance.get("packages") if virtual else {}
            groups[key] = Group(study=record.study, machine=machine, packages=dict(packages or {}))
        own = groups[key].runs
        if virtual and any(run.seed == study.seed for run in own):
            raise UserError(f"{folder} holds two different virtual runs of {record.run_id}: keep one.")
        own.append(metrics_of(record, study.seed, digest))
    left_out = tuple((key, why, count) for (key, why), count in sorted(left.items()))
    return Runs(groups=tuple(groups.values()), left_out=left_out)
