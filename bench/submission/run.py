"""A run of a submission that could be read: what all checks of it start from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bench.journal import JOURNAL_NAME
from bench.profile import Profile, load_profile
from bench.record import Record
from bench.study import Study
from bench.submission.journal import Line
from bench.workload import Known, Workload, load_recipe, load_workload


@dataclass(frozen=True, kw_only=True)
class Run:
    """`place`: its folder. `journal`: the bytes. `lines`: its events with their lines' numbers. `record`: made again
    from them."""

    place: str
    journal: bytes
    lines: tuple[Line, ...]
    study: Study
    record: Record

    @property
    def measured(self) -> bool:
        return self.study.simulation is None

    @cached_property
    def workload(self) -> Workload:
        return load_workload(self.study.workload)

    @cached_property
    def profile(self) -> Profile:
        return load_profile(self.study.profile)

    @cached_property
    def known(self) -> Known | None:
        """What is known of such runs; None for a model or data of the submitter's own."""
        study = self.study
        own = study.model is None and study.dataset is None and study.dataset_name is None
        return self.workload.known_under(load_recipe(study.recipe).known_as) if own else None

    def at(self, line: int) -> str:
        """Where a finding in the journal is."""
        return f"{self.place}/{JOURNAL_NAME}:{line}"
