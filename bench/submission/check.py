"""A submission, checked from its files to its leaderboard. Nothing in it is trusted, run or followed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.progress import OnDone
from bench.submission.across import Traits, check_across, traits_of
from bench.submission.board import check_leaderboard
from bench.submission.elsewhere import refuse_what_is_none
from bench.submission.files import (
    LEADERBOARD_NAME,
    README_NAME,
    STATEMENT_NAME,
    Contents,
    RunFiles,
    Scan,
    read,
    read_text,
)
from bench.submission.findings import Finding, Findings
from bench.submission.provenance import check_provenance
from bench.submission.reading import read_run
from bench.submission.results import check_results
from bench.submission.run import Run
from bench.submission.simulated import Simulator, check_simulated
from bench.submission.statement import Statement, parse_statement
from bench.submission.strategies import check_strategy, refuse_code
from bench.submission.times import check_times
from bench.submission.trials import check_trials

ACCEPTED_BEST = frozenset({"best-known"})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found in a submission of so many runs. `errors`, `warnings`: all, also those that are only counted."""

    runs: int
    errors: int
    warnings: int
    findings: tuple[Finding, ...]


def check_submission(
    folder: Path, *, accept_best: bool = False, now_s: float | None = None, on_done: OnDone | None = None
) -> Verdict:
    """Check the submission in `folder`. `accept_best`: losses better than known ones are warnings. `now_s`: Unix time
    (None: the clock's). Raises UserError where there is no such folder, or this suite keeps its own results in it."""
    refuse_what_is_none(folder)
    findings = Findings(accepted=ACCEPTED_BEST if accept_best else frozenset())
    contents = Scan(folder, findings).contents()
    _Check(contents, findings, time.time() if now_s is None else now_s).all(on_done)
    return Verdict(
        runs=len(contents.runs),
        errors=findings.count("error"),
        warnings=findings.count("warning"),
        findings=tuple(findings),
    )


class _Check:
    def __init__(self, contents: Contents, findings: Findings, now_s: float) -> None:
        self._contents = contents
        self._findings = findings
        self._now_s = now_s
        self._statement: Statement | None = None
        self._strategies: set[Path] = set()

    def all(self, on_done: OnDone | None) -> None:
        with self._guard("."):
            self._check_texts()
        traits: list[Traits] = []
        simulator = Simulator()
        try:
            for number, files in enumerate(self._contents.runs, 1):
                with self._guard(files.place):
                    run = read_run(files, self._findings)
                    if run is not None:
                        traits.append(traits_of(run))
                        self._check_run(run, files, simulator)
                if on_done is not None:
                    on_done(number, len(self._contents.runs))
        finally:
            simulator.close()
        for path in self._contents.strategies:
            if path not in self._strategies:
                refuse_code(path.name, self._findings)
        with self._guard("."):
            check_across(traits, self._findings)
        with self._guard(LEADERBOARD_NAME):
            self._check_board()

    def _check_texts(self) -> None:
        contents = self._contents
        if contents.readme is not None:
            read_text(contents.readme, README_NAME, self._findings)
        if contents.statement is None and contents.runs:
            self._findings.add(
                "no-statement",
                STATEMENT_NAME,
                "It is not there: add it, with submitter and hardware, before you hand in the runs (docs/submit.md).",
            )
        elif contents.statement is not None:
            text = read_text(contents.statement, STATEMENT_NAME, self._findings)
            if text is not None:
                self._statement = parse_statement(text, STATEMENT_NAME, self._findings)

    def _check_run(self, run: Run, files: RunFiles, simulator: Simulator) -> None:
        findings = self._findings
        strategy = check_strategy(run, files.strategies, self._contents.strategies, findings)
        if strategy is not None:
            self._strategies.add(strategy)
        check_trials(run, findings)
        check_times(run, findings, self._now_s)
        check_results(run, findings)
        if run.measured:
            check_provenance(run, self._statement, findings)
        else:
            check_simulated(run, simulator, findings)

    def _check_board(self) -> None:
        """Only what passed so far is read by the code that ranks, which expects records of this suite."""
        path, findings = self._contents.leaderboard, self._findings
        given = None if path is None else read(path, LEADERBOARD_NAME, findings)
        if given is None:
            return
        if findings.count("error"):
            findings.add("leaderboard-unchecked", LEADERBOARD_NAME, "It was not made again, since there are errors.")
            return
        folders = [files.journal.parent for files in self._contents.runs if files.journal is not None]
        check_leaderboard(given, folders, findings)

    @contextmanager
    def _guard(self, place: str) -> Iterator[None]:
        """A check that breaks is a finding too: whatever the input, the others are still made."""
        try:
            yield
        except Exception as error:
            self._findings.add("check-failed", place, f"{type(error).__name__}: {error}.")
