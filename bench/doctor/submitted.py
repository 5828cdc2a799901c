"""The check on compute nodes: submitted as a job array, watched until every node has reported, and told together."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.cluster import slurm
from bench.cluster.meeting import poll
from bench.cluster.scripts import options, script
from bench.doctor import clock
from bench.doctor.gathering import Gathering, Plan, Report
from bench.doctor.here import Machine
from bench.doctor.line import Line, failed
from bench.doctor.summary import worst
from bench.errors import UserError
from bench.files import write_together

TIME = "00:15:00"
MEET_S = 300.0
STATES_EVERY_S = 2.0
GRACE_S = 30.0
"""How long a report of a job that has ended may take to be seen here, through the caches of a shared file system."""

LOG_S = 3.0
"""How long what it printed may take."""

Say = Callable[[str], None]


def on_nodes(
    machine: Machine, nodes: int, *, wait_s: float, say: Say, meet_s: float = MEET_S, grace_s: float = GRACE_S
) -> list[Line]:
    """Of `nodes` nodes, each with its name. `wait_s`: for SLURM to start them. `say` is told what happens. Raises
    UserError where the job cannot be submitted. However this ends, the job does not outlive it."""
    slurm.require()
    results = machine.results.resolve()  # as an image has it
    try:
        results.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".doctor-", dir=results))
    except OSError as error:
        raise UserError(f"Cannot write in {results} ({error.strerror}): name another folder with --results.") from None
    keep = False
    try:
        gathering = Gathering(folder)
        job = _submit(gathering, machine, nodes, meet_s)
        say(f"Submitted job {job} for {nodes} {'node' if nodes == 1 else 'nodes'}; Ctrl-C cancels it")
        try:
            lines = _watched(gathering, job, nodes, wait_s, grace_s, say)
        finally:
            slurm.cancel([job])
        keep = worst(lines) == "fail"
        return lines
    finally:
        if keep:
            say(f"Kept: {folder}, with what the jobs printed")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _submit(gathering: Gathering, machine: Machine, nodes: int, meet_s: float) -> str:
    asked = options(
        machine.site,
        machine.profile,
        name="sweepmark-doctor",
        devices=machine.profile.node.devices,
        log=gathering.folder / "log-%A_%a.out",
        time=TIME,
        array=f"1-{nodes}",
        requeue=False,
    )
    if nodes > 1:
        asked.append("--exclusive")  # else several tasks may share a node
    words = ["doctor", "--rendezvous", str(gathering.folder)]
    path = gathering.folder / "doctor.sh"
    write_together({path: script(machine.site, asked, words, results=machine.results.resolve()).encode()})
    plan = Plan(
        profile=machine.profile.name,
        workload=machine.workload.name,
        site=machine.site,
        results=machine.results.resolve(),
        nodes=nodes,
        meet_s=meet_s,
        asked_s=time.time(),
        by_files_s=clock.ahead_of_files(gathering.folder),
        sha256=gathering.share(),
    )
    gathering.open(plan)
    try:
        return slurm.submit(path)
    except UserError as error:
        raise UserError(slurm.in_site_file(str(error))) from None


def _watched(gathering: Gathering, job: str, nodes: int, wait_s: float, grace_s: float, say: Say) -> list[Line]:
    plan = gathering.plan()
    assert plan is not None
    watch = _Watch(gathering, job, nodes, wait_s, grace_s, say)
    poll(watch.over)
    lines = []
    for task in range(1, nodes + 1):
        if (report := watch.reports.get(task)) is not None:
            lines += [*report.lines, _clock(plan, report, watch.read_s[task])]
        else:
            lines.append(_absent(gathering, watch, task))
    return lines


class _Watch:
    """Looks at reports and states until nothing more is to come."""

    def __init__(self, gathering: Gathering, job: str, nodes: int, wait_s: float, grace_s: float, say: Say) -> None:
        self.reports: dict[int, Report] = {}
        self.read_s: dict[int, float] = {}
        self.states: dict[int, slurm.JobState] = {}
        self.waited = False
        self._gathering = gathering
        self._job = job
        self._nodes = nodes
        self._deadline = time.monotonic() + wait_s
        self._grace_s = grace_s
        self._ended: float | None = None
        self._asked = float("-inf")
        self._say = say
        self._said = ""

    def over(self) -> bool | None:
        """None as long as something may still come."""
        for task in range(1, self._nodes + 1):
            if task not in self.reports and (report := self._gathering.report(task)) is not None:
                self.reports[task] = report
                self.read_s[task] = time.time()
                self._tell(f"{len(self.reports)} of {self._nodes} nodes have reported ({report.node})")
        if len(self.reports) == self._nodes:
            return True
        now = time.monotonic()
        if now - self._asked > STATES_EVERY_S:
            self._asked = now
            self._ask(now)
        if self._ended is not None and now - self._ended > self._patience_s():
            return True
        if now > self._deadline and any(state.state == "PENDING" for state in self.states.values()):
            self.waited = True
            return True
        return None

    def _patience_s(self) -> float:
        """A job that did not end well wrote no report."""
        hopeful = any(s.state == "COMPLETED" for task, s in self.states.items() if task not in self.reports)
        return self._grace_s if hopeful else min(self._grace_s, LOG_S)

    def _ask(self, now: float) -> None:
        found = slurm.states([self._job])
        self.states |= {state.task: state for state in found if state.task is not None}
        if any(state.active for state in found):
            self._ended = None
        elif self._ended is None:
            self._ended = now
        waiting = [state for state in found if state.state == "PENDING"]
        if waiting:
            self._tell(f"{len(waiting)} of {self._nodes} wait: {_why(waiting[0])}")

    def _tell(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self._say(words)


def _clock(plan: Plan, report: Report, read_s: float) -> Line:
    ahead_s = clock.against_login(
        asked_s=plan.asked_s,
        began_s=report.began_s,
        reported_s=report.reported_s,
        read_s=read_s,
        by_files_s=report.by_files_s - plan.by_files_s,
    )
    return replace(clock.skew("clock: login", {report.node: ahead_s}), node=report.node)


def _why(state: slurm.JobState) -> str:
    """It waits."""
    return slurm.in_site_file(slurm.explain(state.reason)) if state.reason else "not scheduled yet"


def _absent(gathering: Gathering, watch: _Watch, task: int) -> Line:
    state = watch.states.get(task)
    node = (state.node if state is not None else None) or f"task {task}"
    if state is not None and state.state == "PENDING" and watch.waited:
        line = failed("job", f"still waits: {_why(state)}", "wait longer with --wait, or ask for less in the site file")
    else:
        ended = state.state if state is not None else "unknown"
        line = failed(
            "job",
            f"ended ({ended}) without a report: {gathering.log_tail(task)}",
            "see all that it printed in the folder that was kept",
        )
    return replace(line, node=node)
