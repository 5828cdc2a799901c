"""What `sweepmark validate` can find, by stable codes. docs/submit.md holds the same table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Code:
    """`level`: an error keeps a run off the leaderboard; a warning stands beside it. `meaning`: a sentence."""

    level: Level
    meaning: str


def _error(meaning: str) -> Code:
    return Code("error", meaning)


def _warning(meaning: str) -> Code:
    return Code("warning", meaning)


CODES: Mapping[str, Code] = {
    # Files
    "no-runs": _error("The folder holds no run."),
    "too-many": _error("There are more files, folders, runs, trials or restarts than are looked at."),
    "too-large": _error("A file is larger than it may be."),
    "not-a-file": _error("A symbolic link, or something else that is neither a plain file nor a folder."),
    "unsafe-name": _error("A name that could be taken for a path or an option, or that cannot be shown."),
    "unexpected-file": _error("A file or folder that does not belong into a submission."),
    "code-or-pickle": _error("A file that could run when it is opened. It was not."),
    "unreadable": _error("A file that cannot be read, or is not UTF-8."),
    "bad-json": _error("Not strict JSON: a key twice, NaN, a number too large, or nested too deeply."),
    "no-statement": _warning("There is no `submission.toml`, which handing in needs: nobody answers for the runs."),
    "bad-statement": _error("`submission.toml` does not follow its schema."),
    "strategy-file": _warning("A strategy of the submitter's own, which is read by people and never run here."),
    "strategy-mismatch": _error("The strategy's file is not the one that the journal names by its hash."),
    # Journal and record
    "journal-missing": _error("A record without its journal: nothing in it can be computed again."),
    "journal-cut": _warning("The journal's last line is not complete, as after a kill; it was left out."),
    "bad-event": _error("A line of the journal that is no event of the schema."),
    "inconsistent": _error("Events that contradict those before them."),
    "totals-only": _error("A trial of which only the totals are given: nothing of it can be checked."),
    "record-missing": _warning("A journal without a record. It was made again in memory, not written."),
    "record-schema": _error("The record does not follow its schema."),
    "hash-mismatch": _error("The record gives another checksum than the journal has."),
    "record-differs": _error("The record is not what the journal gives, byte for byte."),
    # Study
    "bad-study": _error("The study is malformed, or of another version."),
    "unknown-name": _error("A workload, recipe or profile that this version does not have."),
    "run-id": _error("The run's id is not the one that its study gives."),
    "folder-name": _error("The run's folder is not called as the run."),
    "seeds-differ": _error("The seeds in the provenance are not those that the study's seed gives."),
    "same-study": _error("Two runs of one study: the same settings and the same seed."),
    "copied-losses": _error("Two measured runs under different seeds report the same losses."),
    "copied-timings": _error("Two measured runs report the same times, to the nanosecond."),
    "provisional": _warning("Fewer seeds than a published row has: five measured, or 200 simulated."),
    # Trials
    "unfinished": _error("The journal ends in the middle of the run."),
    "interrupted": _warning("The run ended early and says why."),
    "trial-numbering": _error("Trials are not numbered one by one in the order of creation."),
    "too-many-trials": _error("More trials than the study allows."),
    "missing-trials": _error("Fewer trials than the study asks for."),
    "fewer-trials": _warning("Fewer trials than allowed, by a strategy of the submitter's own."),
    "trial-not-ended": _error("The run finished, and a trial of it has no end."),
    "state-mismatch": _error("A trial's end does not fit its epochs, or something follows its end."),
    "outside-space": _error("A configuration outside the study's search space."),
    "config-changed": _error("An epoch was trained with another configuration than its trial has."),
    "not-the-grid": _error("The manual baseline did not run the study's grid, in its order."),
    "epoch-order": _error("A trial's epochs do not follow each other."),
    "epoch-beyond": _error("An epoch beyond those of the study."),
    "wrong-winner": _error("The winner is not the trial with the lowest loss at full fidelity."),
    "missing-final": _error("The winner's final retrain is missing, or another's, or was not scored once."),
    # Times
    "impossible-time": _error("A time in the future, before 2020, or before the start."),
    "out-of-range": _error("A duration, a rate or a count that is negative, or 0 where it cannot be."),
    "phases-too-long": _error("Phases add up to more than the time since the trial's last event."),
    "overlap": _error("Trials worked on more devices at once than were held."),
    "other-grants": _error("The search did not hold all devices of its study from beginning to end."),
    "too-many-devices": _error("More devices were held than the study or the probed machine has, or than trials take."),
    "faster-than-physics": _error("An epoch took less time than its arithmetic takes at the device's peak."),
    "rate-mismatch": _error("Examples or tokens a second, times the seconds, do not give the training data."),
    # Losses and scores
    "negative-loss": _error("A loss below 0."),
    "bad-score": _error("Exact match or F1 outside 0 to 100, exact match above F1, or of another number of examples."),
    "best-known": _error("A lower loss than is known of the workload: explain it (a warning under `--accept-best`)."),
    # Provenance
    "bad-provenance": _error("A part of the provenance that is missing or malformed."),
    "profile-mismatch": _error("The probed machine is not the one of the profile."),
    "inputs-differ": _error("Model, data, splits or parameters are not the workload's, or changed when it resumed."),
    "machine-changed": _warning("The run was resumed on another machine, or with other software."),
    "dirty-tree": _warning("The working tree held changes that no commit has."),
    "no-commit": _warning("The commit is not given."),
    "packages-differ": _warning("Installed packages are not those of the lock."),
    "no-container": _warning("No container's digest is given, in the record or in `submission.toml`."),
    # Simulated runs
    "simulated-probe": _error("A simulated run that claims to have been measured on a machine, or the reverse."),
    "simulation-differs": _error("Simulated again, the run comes out otherwise."),
    "not-simulated-again": _warning("The run could not be simulated again here."),
    # Leaderboard
    "leaderboard-differs": _error("`leaderboard.json` is not what the runs give."),
    "leaderboard-unchecked": _warning("`leaderboard.json` could not be made again."),
    "check-failed": _error("A check could not be carried out: a defect of this suite, or an input made to cause one."),
}
