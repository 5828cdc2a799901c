"""Real runs, copied and then forged: for tests of what `sweepmark validate` finds."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.journal import JOURNAL_NAME
from bench.record import record_run
from bench.resources import PACKAGE
from bench.study import Study
from bench.submission import check_submission
from bench.submission.findings import Findings

RESULTS = PACKAGE.parent / "results"
RECORDS = RESULTS / "records"
OWN_DATA = RESULTS / "validation" / "tiny-squad"
SUBMISSIONS = RESULTS / "submissions"
NOW_S = 1_800_000_000.0
"""Later than every committed run, whatever the clock of the machine says."""

Events = list[dict[str, Any]]
Forge = Callable[[Events], None]


def copied(tmp_path: Path, name: str, source: Path = RECORDS) -> Path:
    """A copy of the committed run whose name begins so, in a submission of its own; with a record."""
    (found,) = source.glob(f"{name}-*")
    folder = tmp_path / "submission" / found.name
    folder.mkdir(parents=True)
    for path in found.iterdir():
        shutil.copyfile(path, folder / path.name)
    record_run(folder)
    return folder


def events_of(folder: Path) -> Events:
    return [json.loads(line) for line in (folder / JOURNAL_NAME).read_text().splitlines()]


def write(folder: Path, events: Events) -> None:
    lines = [json.dumps(event, ensure_ascii=False, separators=(",", ":")) for event in events]
    (folder / JOURNAL_NAME).write_text("\n".join(lines) + "\n")


def forge(folder: Path, change: Forge) -> Path:
    """Change the journal and all that follows from it: id, folder and record. A good forgery, but for what it claims.
    Returns the folder."""
    events = events_of(folder)
    change(events)
    study = Study.from_dict(events[0]["study"])
    events[0]["run_id"] = study.run_id()
    write(folder, events)
    folder = folder.rename(folder.with_name(study.run_id()))
    try:
        record_run(folder)
    except UserError:
        (folder / "record.json").unlink()
    return folder


def of_kind(events: Events, kind: str, **fields: Any) -> Events:
    """The events of a kind with these fields."""
    return [e for e in events if e["kind"] == kind and all(e[name] == value for name, value in fields.items())]


def found(folder: Path, level: str = "error", **options: Any) -> Counter[str]:
    """Codes of a level in a submission, with how often each is told."""
    verdict = check_submission(folder, now_s=NOW_S, **options)
    codes = Counter(finding.code for finding in verdict.findings)
    assert "check-failed" not in codes, [str(finding) for finding in verdict.findings]
    return Counter(finding.code for finding in verdict.findings if finding.level == level)


def found_in(check: Callable[[Findings], object]) -> Findings:
    """What one check alone finds."""
    findings = Findings()
    check(findings)
    return findings


def codes_of(findings: Findings) -> set[str]:
    return {finding.code for finding in findings}
