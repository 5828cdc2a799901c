"""A measurement on compute nodes: submitted as a job array, a task a node, and watched until its last row."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.cluster import slurm
from bench.cluster.meeting import poll
from bench.cluster.scripts import options, script
from bench.cluster.site import Site
from bench.errors import UserError
from bench.files import new_folder, write_together
from bench.profile import load_profile
from bench.stages.gathering import Gathering, Plan
from bench.stages.here import begins, told
from bench.stages.result import FILE_NAME, FOLDER, SCHEMA_VERSION, Stages, StagesStudy, save
from bench.stages.setup import chosen

MEET_S = 1800.0
"""How long a node waits for the others: SLURM may start them one by one."""
STATES_EVERY_S = 2.0
GRACE_S = 30.0
"""How long what a job wrote that has ended may take to be seen here, through the caches of a shared file system."""

LOG_S = 3.0
"""How long what it printed may take."""

Say = Callable[[str], None]


def measure_on_nodes(
    study: StagesStudy, results: Path, site: Site, *, wait_s: float, say: Say, grace_s: float = GRACE_S
) -> tuple[Stages, Path]:
    """What was found and where it is kept. `wait_s`: for SLURM to start the job. Raises UserError where nothing was
    measured; rows that are done are kept however this ends, and the job does not outlive it."""
    slurm.require()
    with new_folder(None, results.resolve() / FOLDER, study.name()) as folder:
        gathering = Gathering(folder / "job")
        watch = _Watch(gathering, study, folder / FILE_NAME, wait_s, grace_s, say)
        keep = False
        try:
            gathering.folder.mkdir()
            job = _submit(gathering, study, results.resolve(), site)
            say(f"Submitted job {job} for {study.nodes} {'node' if study.nodes == 1 else 'nodes'}; Ctrl-C cancels it")
            try:
                poll(lambda: watch.over(job))
            finally:
                slurm.cancel([job])
            keep = not watch.complete
            if watch.found is None or not watch.found.rows:
                raise UserError(
                    f"Nothing was measured: {watch.why()}: see {gathering.folder} for all that was printed."
                )
            if not watch.complete:
                say(f"The job ended before the last row: {watch.why()}; kept: {gathering.folder}")
            return watch.found, folder
        finally:
            if not keep:
                shutil.rmtree(gathering.folder, ignore_errors=True)


def _submit(gathering: Gathering, study: StagesStudy, results: Path, site: Site) -> str:
    profile = load_profile(study.profile)
    asked = options(
        site,
        profile,
        name="sweepmark-stages",
        devices=study.node_devices,
        log=gathering.folder / "log-%A_%a.out",
        array=f"1-{study.nodes}",
        requeue=False,
    )
    if study.nodes > 1:
        asked.append("--exclusive")  # else several tasks may share a node
    own = [Path(path).absolute() for path in (study.model, study.dataset) if path is not None]
    text = script(
        site, asked, ["stages", "--rendezvous", str(gathering.folder)], results=results, folder=Path.cwd(), inputs=own
    )
    path = gathering.folder / "stages.sh"
    write_together({path: text.encode()})
    gathering.open(Plan(study=study, site=site, results=results, meet_s=MEET_S))
    try:
        return slurm.submit(path)
    except UserError as error:
        raise UserError(slurm.in_site_file(str(error))) from None


class _Watch:
    """Takes over rows as they are done, and looks after the job until nothing more is to come."""

    def __init__(
        self, gathering: Gathering, study: StagesStudy, path: Path, wait_s: float, grace_s: float, say: Say
    ) -> None:
        self.found: Stages | None = None
        self._gathering, self._study, self._path, self._say = gathering, study, path, say
        self._names = [row.name for row in chosen(study.only)]
        self._deadline_s = time.monotonic() + wait_s
        self._grace_s = grace_s
        self._ended_s: float | None = None
        self._asked_s = float("-inf")
        self._state = "unknown"
        self._pending = ""
        self._said = ""

    @property
    def complete(self) -> bool:
        return self.found is not None and len(self.found.rows) == len(self._names)

    def over(self, job: str) -> bool | None:
        """None as long as something may still come."""
        self._take()
        if self.complete or self._gathering.refused() is not None:
            return True
        now_s = time.monotonic()
        if now_s - self._asked_s > STATES_EVERY_S:
            self._asked_s = now_s
            self._ask(job, now_s)
        # One that failed writes nothing more but its log.
        grace_s = self._grace_s if self._state == "COMPLETED" else min(self._grace_s, LOG_S)
        if self._ended_s is not None and now_s - self._ended_s > grace_s:
            return True
        return True if self._pending and now_s > self._deadline_s else None

    def why(self) -> str:
        """It ended without all rows."""
        if (refused := self._gathering.refused()) is not None:
            return refused.sentence.rstrip(".")
        if self._pending:
            return f"the job still waits ({self._pending}): wait longer with --wait"
        return f"the job ended ({self._state}), and said last: {self._gathering.log_tail()}"

    def _take(self) -> None:
        if self.found is None and (begun := self._gathering.begun()) is not None:
            self.found = Stages(
                schema_version=SCHEMA_VERSION,
                study=self._study,
                inputs=begun.inputs,
                provenance=begun.provenance,
                rows=(),
            )
            self._tell("The nodes have read model and data")
            self._announce(0)
        while self.found is not None and (row := self._gathering.row(len(self.found.rows))) is not None:
            self.found = replace(self.found, rows=(*self.found.rows, row))
            save(self.found, self._path)
            done = len(self.found.rows)
            self._tell(f"{done} of {len(self._names)}: {told(row)}")
            self._announce(done)

    def _announce(self, done: int) -> None:
        """The row after those that are done, where there is one."""
        if done < len(self._names):
            self._tell(begins(self._names[done], done + 1, len(self._names)))

    def _ask(self, job: str, now_s: float) -> None:
        found = slurm.states([job])
        waiting = [state for state in found if state.state == "PENDING"]
        self._pending = ""
        if waiting:
            reason = waiting[0].reason
            self._pending = slurm.in_site_file(slurm.explain(reason)) if reason else "not scheduled yet"
            self._tell(f"{len(waiting)} of {self._study.nodes} nodes wait: {self._pending}")
        ended = [state.state for state in found if not state.active]
        self._state = next((state for state in ended if state != "COMPLETED"), ended[0] if ended else self._state)
        # One that failed takes the others with it: they would wait for it.
        if not any(state.active for state in found) or (ended and self._state != "COMPLETED"):
            self._ended_s = self._ended_s or now_s

    def _tell(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self._say(words)
