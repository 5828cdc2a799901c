"""How a run is doing, and what is to be done next, from its record, its jobs and who writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.cluster.jobs import JobKind, Submitted
from bench.cluster.slurm import explain
from bench.trials import RunStatus

ConditionName = Literal[
    "waiting", "running", "ending", "interrupted", "killed", "failed", "damaged", "unknown", "finished"
]
"""`waiting`: for devices. `ending`: its jobs are being ended. `interrupted`: ended early and in order, or before it
began. `killed`: its journal simply ends. `failed`: a job ended badly before it had done its part. `damaged`: its files
cannot be read. `unknown`: SLURM cannot be asked."""

Remedy = Literal["", "resume", "logs"]
"""The command that is to be given next ("": nothing is to be done)."""

ENDED_BADLY = {
    "FAILED": "failed",
    "TIMEOUT": "reached its time limit",
    "OUT_OF_MEMORY": "ran out of memory",
    "NODE_FAIL": "lost its node",
    "BOOT_FAIL": "got a node that did not boot",
    "LAUNCH_FAILED": "could not be started",
    "DEADLINE": "missed its deadline",
    "PREEMPTED": "was preempted",
}
"""SLURM's words for jobs that ended by themselves and not in order, in ours."""

HOLDING = ("RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")
"""States of active jobs that have devices; in others they wait for some."""

NOT_KNOWN = "NOT_KNOWN"
NEVER = "DependencyNeverSatisfied"
SHOWN_TASKS = 8


@dataclass(frozen=True, kw_only=True)
class WatchedJob:
    """A job, or a task of an array. `state` and `reason`: SLURM's words, or OVER (it has forgotten the job), or
    NOT_KNOWN (it cannot be asked). `left_s`: to its time limit. `active`: may still do something."""

    kind: JobKind
    id: str
    task: int | None = None
    state: str
    reason: str = ""
    node: str | None = None
    left_s: float | None = None
    active: bool = False

    @property
    def name(self) -> str:
        """As SLURM's programs take it."""
        return self.id if self.task is None else f"{self.id}_{self.task}"

    @property
    def why(self) -> str:
        """Why it waits, with what can be done, or why it ended so."""
        words = explain(self.reason)
        return words if self.active else words.partition(":")[0]

    @property
    def pending(self) -> bool:
        return self.active and self.state not in HOLDING

    @property
    def ended(self) -> str:
        """How it ended, in words."""
        how = ENDED_BADLY.get(self.state) or ("was cancelled" if self.state.startswith("CANCELLED") else "ended")
        return f"{f'job {self.name} ({self.kind})' if self.task is None else f'task {self.name}'} {how}"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that writes a run (None: it did not say). `here`: it is one of this host's. `proven`: it holds the
    run's lock; else it is only the journal's heartbeat that speaks for it."""

    host: str
    process: int | None
    here: bool
    proven: bool

    def __str__(self) -> str:
        where = "here" if self.here else f"on {self.host}"
        return where if self.process is None else f"{where} (process {self.process})"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """`words`: for people, without a full stop."""

    name: ConditionName
    words: str
    remedy: Remedy = ""

    @property
    def going_on(self) -> bool:
        """Whether anything of it may still happen without a further command."""
        return self.name in ("waiting", "running", "ending")


def condition(
    *,
    status: RunStatus | None,
    reason: str | None,
    search_finished: bool,
    silent_for: str,
    submitted: Submitted | None,
    jobs: Sequence[WatchedJob] | None,
    undone: Sequence[int],
    holder: Holder | None,
) -> Condition:
    """`status`, `reason`: the journal's (None: there is none). `silent_for`: time since its last event, in words.
    `jobs`: all that are known (None: SLURM cannot be asked). `undone`: tasks of an array without a result."""
    alive = [job for job in jobs or () if job.active and job.reason != NEVER]
    if status == "finished":
        left = f"; {_count(len(alive), 'job')} still to leave" if alive else ""
        return Condition(name="finished", words=f"finished{left}")
    useful = _useful(submitted, alive, search_finished)
    if useful:
        return _under_way(useful, _failed_tasks(jobs or (), undone), starting=status != "running")
    if holder is not None and (holder.proven or submitted is None or jobs is None):
        return Condition(name="running", words=f"{'starting' if status is None else 'running'} {holder}")
    if submitted is None and status is None:
        return Condition(name="interrupted", words="ended before it began")
    if submitted is not None and jobs is None:
        return Condition(name="unknown", words=f"not known: SLURM cannot be asked; last event {silent_for} ago")
    over = _over(status, reason, search_finished, silent_for, submitted, list(jobs or ()), undone)
    left_over = [job for job in jobs or () if job.active]
    if left_over:  # workers without a head, or jobs that wait for what will not come
        return replace(over, words=f"{over.words}; {_count(len(left_over), 'job')} of it still there")
    return over


def _useful(submitted: Submitted | None, alive: Sequence[WatchedJob], search_finished: bool) -> Sequence[WatchedJob]:
    """Without workers that nobody will give any work, since their head is gone or the search is over."""
    if submitted is not None and search_finished and submitted.newest("final") is not None:
        return [job for job in alive if job.kind == "final"]
    led = submitted is not None and submitted.newest("head") is not None
    return [] if led and not any(job.kind == "head" for job in alive) else alive


def _failed_tasks(jobs: Sequence[WatchedJob], undone: Sequence[int]) -> list[WatchedJob]:
    newest = {job.task: job for job in jobs if job.kind == "task"}
    return [job for task, job in newest.items() if task in undone and job.state in ENDED_BADLY]


def _under_way(alive: Sequence[WatchedJob], failed: Sequence[WatchedJob], *, starting: bool) -> Condition:
    remedy: Remedy = "resume" if failed else ""
    lost = "".join(f"; {job.ended}" for job in failed[:SHOWN_TASKS])
    pending = [job for job in alive if job.pending]
    holding = [job for job in alive if not job.pending and job.kind != "head"]
    at_work = [job for job in holding if job.state != "COMPLETING"]
    if at_work:
        nodes = sorted({job.node or "?" for job in at_work})
        where = f"on {nodes[0]}" if len(nodes) == 1 else f"on {len(nodes)} nodes"
        more = [job for job in pending if job.kind in ("worker", "task")]
        waits = f"; {_count(len(more), more[0].kind)} waiting ({_why(more)})" if more else ""
        words = f"{'starting' if starting else 'running'} {where}{waits}{lost}"
        return Condition(name="running", words=words, remedy=remedy)
    if pending:
        return Condition(name="waiting", words=f"waiting for devices: {_why(pending)}{lost}", remedy=remedy)
    if any(job.kind == "head" and job.state != "COMPLETING" for job in alive):
        return Condition(name="running", words="running without devices: no worker job is left", remedy="resume")
    return Condition(name="ending", words="its jobs are ending")


def _why(pending: Sequence[WatchedJob]) -> str:
    """Of the first that waits for something else than another job of the same run."""
    first = next((job for job in pending if not job.reason.startswith("Dependency")), pending[0])
    return first.why or "not scheduled yet"


def _over(
    status: RunStatus | None,
    reason: str | None,
    search_finished: bool,
    silent_for: str,
    submitted: Submitted | None,
    jobs: Sequence[WatchedJob],
    undone: Sequence[int],
) -> Condition:
    """Of a run that nobody goes on with. The jobs of the last attempt that led it say why, while SLURM knows them."""
    trained = submitted is not None and submitted.newest("task") is not None and not undone
    last = _last(submitted, jobs, final=search_finished or trained)
    bad = next((job for job in last if job.state in ENDED_BADLY), None)
    cancelled = next((job for job in last if job.state.startswith("CANCELLED")), None)
    cause = bad or cancelled
    if undone and submitted is not None:
        culprit = next(iter(_failed_tasks(jobs, undone)), cancelled)
        total = submitted.read_study().samples
        words = f"{len(undone)} of {total} trials have no result ({spans(undone)})"
        because = f": {culprit.ended}" if culprit else ""
        stopped = culprit is not None and culprit is cancelled
        return Condition(name="interrupted" if stopped else "failed", words=f"{words}{because}", remedy="resume")
    if status is None:
        if cause is cancelled and cause is not None:
            return Condition(name="interrupted", words="cancelled before it began", remedy="resume")
        return Condition(
            name="failed",
            words=f"{cause.ended} before the run began" if cause else "its jobs ended before the run began",
            remedy="logs",
        )
    because = f" ({cause.ended})" if cause else ""
    if trained or (search_finished and submitted is not None and submitted.newest("final") is not None):
        name: ConditionName = "failed" if bad else "interrupted"
        left = "the winner is not retrained yet" if search_finished else "all trials are done, and not gathered yet"
        return Condition(name=name, words=f"{left}{because}", remedy="resume")
    if status == "interrupted":
        return Condition(name="interrupted", words=f"interrupted: {reason}{because}", remedy="resume")
    return Condition(name="killed", words=f"killed {silent_for} ago{because}", remedy="resume")


def _last(submitted: Submitted | None, jobs: Sequence[WatchedJob], *, final: bool) -> list[WatchedJob]:
    """The jobs of the last attempt that the run depends on, now that all but the final one may be done; of an array
    each task's newest."""
    if submitted is None:
        return []
    led_by: tuple[JobKind, ...] = ("final",) if final else ("head", "serial")
    for kind in led_by:
        if (newest := submitted.newest(kind)) is not None:
            return [job for job in jobs if job.id == newest.id]
    return list({job.task: job for job in jobs if job.kind == "task"}.values())  # the newest comes last


def spans(numbers: Sequence[int]) -> str:
    """Whole numbers as people write them: `1-3, 7`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    told = [f"{first}" if first == last else f"{first}-{last}" for first, last in parts[:SHOWN_TASKS]]
    return ", ".join(told) + (", …" if len(parts) > SHOWN_TASKS else "")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
