"""What measured references were looked for in, and the sentence about one that nothing there can judge."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from bench.regress.exact import SHOWN, differences
from bench.regress.reference import Reference

DEFAULT = Path("results/reference")
"""The references of the folder that one is in; `regress --update` renews them unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """How references are renewed. `references`: their folder. `runs`: where measured runs are (None: not known)."""

    references: Path = DEFAULT
    runs: Path | None = None

    def command(self, *, measured: bool, name: str = "", reason: str = '"why"') -> str:
        """As it is typed at a prompt. `measured`: a measured reference, which is made from runs."""
        words = ["sweepmark regress --update --reason", reason]
        if self.references != DEFAULT:
            words += ["--references", shlex.quote(str(self.references))]
        if measured:
            words += ["--runs", "DIR" if self.runs is None else shlex.quote(str(self.runs))]
        return " ".join([*words, *([name] if name else [])])


@dataclass(frozen=True, kw_only=True)
class Sought:
    """What somebody named to be judged. `where`: the path. `found`: measured runs, by study and machine. `runs`: they
    are runs (False: they are references, of which some may be those of the base). `left_out`: see `Runs`."""

    where: Path
    found: tuple[Reference, ...]
    runs: bool = True
    left_out: tuple[tuple[str, str, int], ...] = ()

    def must_judge(self, reference: Reference, *, any_judged: bool) -> bool:
        """Whether a reference that no run judges is more than one that had none to expect: one of another machine than
        all runs, where some reference was judged, or one that is its own counterpart."""
        if not self.runs and any(other.runs == reference.runs for other in self.found):
            return False
        return not any_judged or any(other.machine == reference.machine for other in self.found)

    def why_not(self, reference: Reference) -> str:
        """A sentence: what was looked for, and what was found instead."""
        study = reference.study
        wanted = (
            f"finished runs of {study['strategy']} on {study['workload']}, {study['recipe']}, {study['profile']} "
            f"({study['samples']} trials, {study['epochs']} epochs)"
        )
        return (
            f"Cannot be judged: {wanted} were looked for in {self.where}, and what was found is "
            f"{', '.join(self._found(reference)) or 'nothing'}; name a folder with such runs, made with the options "
            "that the reference's were."
        )

    def _found(self, reference: Reference) -> list[str]:
        known = {run.journal_sha256 for run in reference.runs}
        same = [run for other in self.found if other.key() == reference.key() for run in other.runs]
        again = sum(run.journal_sha256 in known for run in same)
        others = [other for other in self.found if other.key() != reference.key()]
        told = []
        if again:
            told.append(f"{_runs(again)} that the reference holds already")
        if len(same) > again:
            told.append(f"{_runs(len(same) - again)} of another machine")
        if others:
            changes = min((_changes(reference, other) for other in others), key=len)
            more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
            nearest = "where" if len(others) == 1 else "in the nearest of which"
            told.append(
                f"{_runs(sum(len(other.runs) for other in others))} of another study, {nearest} "
                f"{'; '.join(changes[:SHOWN])}{more}"
            )
        told += [f"{_runs(count)} left out as {why}" for _, why, count in self.left_out]
        return told


def _changes(reference: Reference, other: Reference) -> list[str]:
    return differences({**reference.study, "seed": 0}, {**other.study, "seed": 0})


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
