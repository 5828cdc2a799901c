"""What is left of a run, as jobs: written, submitted, and remembered in the run's folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cluster import slurm
from bench.cluster.gather import unfinished
from bench.cluster.jobs import FOLDER, Job, JobKind, Submitted, load_jobs, save_jobs
from bench.cluster.meeting import Meeting
from bench.cluster.scripts import options, script
from bench.errors import UserError
from bench.files import write_together
from bench.journal import JOURNAL_NAME, read_journal
from bench.lock import hold
from bench.profile import load_profile
from bench.study import Study
from bench.trials import RunState, fold
from bench.zero import deepspeed_names

SCRIPTS: dict[JobKind, str] = {
    "serial": "serial.sh", "task": "tasks.sh", "head": "head.sh", "worker": "workers.sh", "final": "final.sh",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Step:
    """A job that is to be submitted. `tasks`: of its array. `after`: jobs that must have begun. `afterok`: kinds of
    jobs that must have ended well, whether they are submitted now or run already."""

    kind: JobKind
    tasks: tuple[int, ...] = ()
    after: tuple[JobKind, ...] = ()
    afterok: tuple[JobKind, ...] = ()

    def __str__(self) -> str:
        tasks = f", {len(self.tasks)} task{'s' * (len(self.tasks) > 1)}" if self.tasks else ""
        begun = "".join(f", after {kind} has begun" for kind in self.after)
        return f"{SCRIPTS[self.kind]}: a job{tasks}{begun}{''.join(f', after {k} ended well' for k in self.afterok)}"


def submit_left(run_folder: Path, wanted: Submitted | None = None) -> list[Job]:
    """Submit what is left of a run and not under way already. Returns the new jobs, none where nothing is left.
    `wanted`: how, from now on (None: as it was submitted before).

    Raises UserError where SLURM refuses a job; those that it had taken by then are taken back.
    """
    slurm.require()
    (run_folder / FOLDER).mkdir(parents=True, exist_ok=True)
    busy = f"The run {run_folder.name} is being submitted by another process: see sweepmark status {run_folder.name}."
    with hold(run_folder / FOLDER / "lock", instead="--results", busy=busy):
        before = load_jobs(run_folder)
        submitted = before if wanted is None else replace(wanted, jobs=before.jobs if before else ())
        assert submitted is not None
        save_jobs(run_folder, submitted)
        active = [state for state in slurm.states([job.id for job in submitted.jobs]) if state.active]
        steps = left(run_folder, submitted, active)
        (run_folder / FOLDER / "logs").mkdir(exist_ok=True)
        write_together({path: text.encode() for path, text in scripts(run_folder, submitted).items()})
        made: list[Job] = []
        if any(step.kind == "head" for step in steps):
            Meeting(run_folder).clear()  # workers may start before it
        if any(step.kind == "final" for step in steps):  # one that waits for jobs which are no more
            old = [job.id for job in submitted.jobs if job.kind == "final"]
            slurm.cancel([state.id for state in active if state.id in old])
        try:
            for step in steps:
                job = _submit(run_folder, submitted, step, {state.id for state in active}, made)
                made.append(job)
                save_jobs(run_folder, submitted := submitted.with_jobs(job))
        except UserError:  # a head without workers would hold its node for nothing
            slurm.cancel([job.id for job in made])
            save_jobs(run_folder, replace(submitted, jobs=before.jobs if before else ()))
            raise
    return made


def left(run_folder: Path, submitted: Submitted, active: Sequence[slurm.JobState]) -> list[Step]:
    """The jobs that the run still needs, in the order in which they are to be submitted. `active`: those under way."""
    study = submitted.read_study()
    kinds = {job.id: job.kind for job in submitted.jobs}
    under_way = {kinds[state.id] for state in active if state.id in kinds}
    state = run_state(run_folder)
    if state is not None and state.status == "finished":
        return []
    if state is not None and state.search_finished and study.engine != "serial":
        return [] if {"head", "final"} & under_way else [Step(kind="final")]
    if study.engine == "serial":
        return [] if "serial" in under_way else [Step(kind="serial")]
    if study.engine == "array":
        return _left_of_array(run_folder, submitted, study, active)
    steps = [] if "head" in under_way else [Step(kind="head")]
    working = {state.task for state in active if kinds.get(state.id) == "worker" and state.task is not None}
    free = [number for number in range(1, submitted.nodes + len(working) + 1) if number not in working]
    missing = tuple(free[: max(0, submitted.nodes - len(working))])
    if missing:
        steps.append(Step(kind="worker", tasks=missing, after=("head",)))
    if steps and steps[0].kind == "head" and study.final_epochs:
        steps.append(Step(kind="final", afterok=("head",)))
    return steps


def scripts(run_folder: Path, submitted: Submitted) -> dict[Path, str]:
    """The scripts of all jobs that the run may need: where they lie, and their text. Raises UserError."""
    study, site = submitted.read_study(), submitted.site
    profile = load_profile(study.profile)
    folder = run_folder.absolute() / FOLDER
    deepspeed = None if study.deepspeed in deepspeed_names() else study.deepspeed
    inputs = [
        submitted.folder / path
        for path in (study.model, study.dataset, deepspeed, study.strategy_file)
        if path is not None
    ]
    texts = {}
    for kind in _kinds(study):
        devices = {"head": 0, "worker": submitted.node_devices}.get(kind, study.devices_per_trial)
        log = folder / "logs" / (f"{kind}-%A_%a.out" if kind in ("task", "worker") else f"{kind}-%j.out")
        texts[folder / SCRIPTS[kind]] = script(
            site,
            options(site, profile, name=f"{kind}-{study.strategy}", devices=devices, log=log, time=submitted.time),
            ["job", kind, str(run_folder.absolute())],
            results=run_folder.absolute().parent.parent,
            folder=submitted.folder,
            inputs=inputs,
        )
    return texts


def _kinds(study: Study) -> tuple[JobKind, ...]:
    if study.engine == "serial":
        return ("serial",)
    return ("task", "final") if study.engine == "array" else ("head", "worker", "final")


def _left_of_array(
    run_folder: Path, submitted: Submitted, study: Study, active: Sequence[slurm.JobState]
) -> list[Step]:
    arrays = {job.id for job in submitted.jobs if job.kind == "task"}
    under_way = {state.task for state in active if state.id in arrays}
    missing = tuple(number for number in unfinished(run_folder, study) if number not in under_way)
    finals = {job.id for job in submitted.jobs if job.kind == "final"}
    waits = any(state.id in finals for state in active)
    if not missing and waits:
        return []
    tasks = [Step(kind="task", tasks=missing)] if missing else []
    return [*tasks, Step(kind="final", afterok=("task",))]


def _submit(run_folder: Path, submitted: Submitted, step: Step, active: set[str], made: Sequence[Job]) -> Job:
    """`made`: jobs submitted just now, of which the step may wait for a good end. Of older ones that are still active
    any end will do: what they fail to do is submitted again now."""
    new = {job.id for job in made}
    words = []
    for job in submitted.jobs:
        if job.id in new | active and job.kind in step.after:
            words.append(f"after:{job.id}")
        elif job.id in new | active and job.kind in step.afterok:
            words.append(f"{'afterok' if job.id in new or job.kind == 'head' else 'afterany'}:{job.id}")
    wanted = [f"--dependency={','.join(words)}", "--kill-on-invalid-dep=yes"] if words else []
    if step.tasks:
        limit = f"%{submitted.at_once}" if submitted.at_once and step.kind == "task" else ""
        wanted.append(f"--array={','.join(map(str, step.tasks))}{limit}")
    job_id = slurm.submit(run_folder.absolute() / FOLDER / SCRIPTS[step.kind], *wanted)
    return Job(id=job_id, kind=step.kind, tasks=step.tasks, submitted_s=time.time())


def run_state(run_folder: Path) -> RunState | None:
    """After the last event of the run's journal; None where it has none yet. Raises UserError."""
    path = run_folder / JOURNAL_NAME
    if not path.is_file() or not path.stat().st_size:
        return None
    try:
        return fold(read_journal(path))
    except ValueError as error:
        raise UserError(f"The journal {path} is inconsistent ({error}): restore it from a copy.") from None
