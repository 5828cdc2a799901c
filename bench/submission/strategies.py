"""Strategies: the suite's own with their settings, and those of the submitter's, which are text to be read by people
and never imported."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from bench.resources import resource_dir
from bench.strategy import load_strategy
from bench.submission.files import STRATEGY_SUFFIX, read
from bench.submission.findings import Findings, quoted
from bench.submission.run import Run

STRATEGY_HASH = "strategy_sha256"
"""Where the provenance of a run holds the checksum of its strategy's file."""


def check_strategy(run: Run, own: Iterable[Path], shared: Iterable[Path], findings: Findings) -> Path | None:
    """The run's strategy file among those in its folder and at the top; None where it has none, or there is none.
    Findings about it, and about Python files in the folder that are not it."""
    named = run.study.strategy_file
    _check_name(run, findings)
    name = None if named is None else PurePosixPath(named).name
    for path in own:
        if path.name != name:
            refuse_code(f"{run.place}/{path.name}", findings)
    if name is None:
        return None
    found = next((path for path in (*own, *shared) if path.name == name), None)
    if found is None:
        findings.add(
            "strategy-file", run.place, f"Its strategy {quoted(name)} is not here: nobody can read what it does."
        )
        return None
    data = read(found, f"{run.place}/{name}", findings)
    sha256 = run.record.provenance.get(STRATEGY_HASH)
    if data is None:
        return found
    if sha256 is None:
        findings.add(
            "strategy-file", run.place, f"{quoted(name)} is not run here, and the journal holds no hash of it."
        )
    elif sha256 == hashlib.sha256(data).hexdigest():
        findings.add(
            "strategy-file", run.place, f"{quoted(name)} is not run here; it is the one that the journal names."
        )
    else:
        findings.add("strategy-mismatch", run.place, f"{quoted(name)} is not the file whose hash the journal holds.")
    return found


def _check_name(run: Run, findings: Findings) -> None:
    study = run.study
    module = study.strategy.replace("-", "_")
    if module.startswith("_") or not (resource_dir("strategies") / f"{module}{STRATEGY_SUFFIX}").is_file():
        if study.strategy_file is None:
            findings.add(
                "strategy-file", run.place, f"{quoted(study.strategy)} is not one of the suite's, and names no file."
            )
    elif study.strategy_file is not None:
        findings.add(
            "strategy-mismatch", run.place, f"{study.strategy} is one of the suite's, and the study names another file."
        )
    elif set(study.settings) != set(known := load_strategy(study.strategy).settings):
        findings.add(
            "bad-study",
            run.at(run.lines[0][0]),
            f"It has the settings {quoted(sorted(study.settings), 100)}; {study.strategy} has "
            f"{', '.join(sorted(known)) or 'none'}.",
        )


def refuse_code(where: str, findings: Findings) -> None:
    """A Python file that is no run's strategy."""
    findings.add("code-or-pickle", where, "Python that no run names as its strategy: remove it.")
