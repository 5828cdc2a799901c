"""What runs on a cluster survive, each on a real SLURM: no epoch is trained twice, all that was held is paid for, and
nothing is left behind. Stories of a run each, with one fault after the other, go on beside each other; what was
measured is shown as a table at the end."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from bench.cluster import slurm
from bench.events import EpochFinished, GrantOpened, RunInterrupted, RunResumed, TrialStarted, WorkLost
from bench.record import record_run
from bench.runlog import HEARTBEAT_S
from bench.tables import Column, Table
from tests.cluster.runs import MARK, Campaign, ClusterRun, placed, until
from tests.cluster.throwaway import Cluster, throwaway_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEARCH = ("--epochs=6", "--final-epochs=0", "--devices=1", "--nodes=2", "--samples=4")
"""Of `random` under Ray: which trials there are and what they reach does not depend on when they end."""

GRID = ("--epochs=6", "--final-epochs=2", "--bs-choices=8", "--wd-choices=0.0")
SHARED = "--exclude=node3"
"""node3 is preempted, taken down and drained."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row of the table. `at_s`: Unix time. `recovery_s`: from the fault, or from `sweepmark resume` where nothing
    goes on without it, until a trial that had lost its place was trained on. `lost_s`: device-seconds that were spent
    in vain, and charged."""

    name: str
    happened: str
    at_s: float
    recovery_s: float
    epochs_lost: int = 0
    lost_s: float = 0.0


Faults = list[Fault]


def told(run: ClusterRun, faults: Faults, *, within_s: float = 200.0) -> Faults:
    """The faults of a run that is to end now, with what they cost. Raises AssertionError where it did not end well."""
    record = run.finished(within_s)
    lost = [event for event in run.events() if isinstance(event, WorkLost)]
    lost_s = sum(event.busy_s * event.devices for event in lost)
    charged_min = sum(costs.by_phase_device_min["lost"] for costs in (record.costs.search, record.costs.final))
    assert charged_min * 60 == pytest.approx(lost_s, abs=0.01)
    assert not lost_s or "lost" in run.sweepmark("report", str(run.folder)).stdout
    twice = run.trained_twice()
    # What a kill lost is charged up to the run's last sign of life, which was before it.
    begins = [fault.at_s - HEARTBEAT_S - 1.0 for fault in faults]
    ends = [*begins[1:], float("inf")]
    return [
        replace(
            fault,
            epochs_lost=sum(begin_s <= at_s < end_s for at_s in twice),
            lost_s=sum(event.busy_s * event.devices for event in lost if begin_s <= event.at_s < end_s),
        )
        for fault, begin_s, end_s in zip(faults, begins, ends, strict=True)
    ]


def start_again(run: ClusterRun, *jobs: str) -> float:
    """Resume a run, by these jobs, and wait for its next trial; how long that took."""
    resumed_s = time.time()
    assert tuple(run.resume()) == jobs
    return run.event(TrialStarted, after_s=resumed_s).at_s - resumed_s


def workers(run: ClusterRun) -> Faults:
    """Two trials, and more workers than they need, one of which is lost after the other."""
    faults: Faults = []

    def lose(name: str, happened: str, how: Callable[[str, int], object]) -> None:
        task = run.midway(after_s=faults[-1].at_s if faults else 0.0)
        worker = run.worker_of(task)
        at_s = time.time()
        how(worker, task)
        until("the rest of its job to end", lambda: not run.processes_of(worker, task), 15.0)
        faults.append(Fault(name=name, happened=happened, at_s=at_s, recovery_s=run.recovery_s(at_s)))

    def cancel(worker: str, task: int) -> None:
        slurm.cancel([f"{worker}_{task}"])

    def kill_script(worker: str, task: int) -> None:
        slurm.cancel([f"{worker}_{task}"], signal="KILL")
        run.killed += 1

    run.submit("random", *SEARCH, "--nodes=5", "--samples=2", "--epochs=15")
    elsewhere = "its trial goes on from its last epoch on another node"
    lose("worker cancelled", elsewhere, cancel)
    lose("worker's process killed", f"its job ends with it; {elsewhere}",
         lambda worker, task: run.kill(worker, task, only="job worker"))  # fmt: skip
    lose("all of a worker's processes killed", elsewhere, run.kill)
    until("SLURM to see it", lambda: sum(state.active for state in run.states("worker")) == 2)
    assert run.resume() == ["worker"]
    assert len(run.submitted.jobs[-1].tasks) == 3
    lose("worker's script killed", f"its job ends with it; {elsewhere}", kill_script)
    return told(run, faults)


def heads(run: ClusterRun) -> Faults:
    """A search whose head is lost again and again."""
    run.submit("random", *SEARCH, "--samples=6", "--final-epochs=2")
    faults: Faults = []

    def went(name: str, happened: str, at_s: float, recovery_s: float) -> None:
        faults.append(Fault(name=name, happened=happened, at_s=at_s, recovery_s=recovery_s))

    run.midway()
    head, final, at_s = run.job("head"), run.job("final"), time.time()
    run.cluster.end_now(head)
    interrupted = run.event(RunInterrupted, after_s=at_s)
    assert interrupted.reason == "Interrupted by a signal", interrupted
    run.over()
    ended = [state.state for state in slurm.states([head, final])]
    assert ended in (["FAILED", "CANCELLED"], ["TIMEOUT", "CANCELLED"]), ended
    recovery_s = start_again(run, "head", "worker", "final")
    went("head at its time limit", "it ends in order, its workers leave; resume goes on", at_s, recovery_s)

    run.midway(after_s=time.time())
    at_s = time.time()
    slurm.requeue(run.job("head"))
    resumed = run.event(RunResumed, after_s=at_s)
    recovery_s = run.event(TrialStarted, after_s=resumed.at_s).at_s - at_s
    went("head requeued", "it ends in order, starts again, has workers again and goes on by itself", at_s, recovery_s)

    run.midway(after_s=resumed.at_s)
    at_s = run.kill(run.job("head"))
    until("its workers to leave", lambda: not any(state.active for state in run.states("worker")), 30.0)
    left_s = time.time() - at_s
    assert left_s < 20.0
    recovery_s = start_again(run, "head", "worker", "final")
    went("head killed", f"its workers leave after {left_s:.0f} s; resume goes on", at_s, recovery_s)

    run.midway(after_s=time.time())
    at_s = run.kill(run.job("head"))
    until("SLURM to see it", lambda: not any(state.active for state in run.states("head")), 30.0)
    recovery_s = start_again(run, "head", "final")
    happened = "resume goes on with those of its workers that are still there, or with others"
    went("head killed, resumed at once", happened, at_s, recovery_s)
    return told(run, faults)


def nodes(run: ClusterRun) -> Faults:
    """The first of two workers has a node for itself, which it loses again and again."""
    run.site(sbatch=["--hold"], partition="spare")
    run.submit("random", *SEARCH, "--epochs=14", "--samples=5")
    for job in run.submitted.jobs:
        for task in job.tasks or (None,):
            where = "NodeList=node3" if (job.kind, task) == ("worker", 1) else "ExcNodeList=node3"
            run.cluster.scontrol("update", f"JobId={job.id if task is None else f'{job.id}_{task}'}", where)
        run.cluster.scontrol("release", job.id)
    run.site(partition="spare")
    faults: Faults = []

    def lose(name: str, happened: str, at_s: float) -> None:
        joined_s = run.event(GrantOpened, after_s=at_s).at_s
        # Not that of the trial that was lost, which may have others before it in the queue.
        recovery_s = run.event(TrialStarted, after_s=joined_s).at_s - at_s
        happened = f"{happened}; it is back after {joined_s - at_s:.0f} s"
        faults.append(Fault(name=name, happened=happened, at_s=at_s, recovery_s=recovery_s))

    run.midway(task=1)
    run.cluster.drain("node3")
    at_s = time.time()
    slurm.cancel([f"{run.worker_of(2)}_2"])
    run.midway(task=1, after_s=at_s)
    until("the other worker to end", lambda: [s.task for s in run.states("worker") if s.active] == [1])
    assert run.resume() == ["worker"]
    run.cluster.scontrol("release", run.job("worker"))
    joined_s = run.event(GrantOpened, after_s=at_s).at_s
    assert run.cluster.state("node3") in ("draining", "drained")
    assert "node3" not in {state.node for state in slurm.states([run.job("worker")])}
    happened = "what runs there goes on, workers that are submitted from then on run elsewhere"
    faults.append(Fault(name="node drained", happened=happened, at_s=at_s, recovery_s=joined_s - at_s))
    run.cluster.resume("node3")

    run.midway(task=1, after_s=time.time())
    at_s = time.time()
    nothing = run.place / "nothing.sh"
    nothing.write_text("#!/bin/sh\nsleep 1\n", encoding="utf-8")
    slurm.submit(nothing, "--partition=gpu", "--nodelist=node3", "--exclusive", f"--output={os.devnull}")
    again = "its trial queues again, and SLURM starts the worker again"
    lose("worker preempted", again, at_s)

    run.midway(task=1, after_s=time.time())
    at_s = time.time()
    run.cluster.down("node3")
    until("the node to be down", lambda: run.cluster.state("node3").startswith("down"))
    run.cluster.resume("node3")
    lose("node down", again, at_s)
    return told(run, faults)


def folder_full(run: ClusterRun) -> Faults:
    run.results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "sweepmark", str(run.results)], check=True)
    try:
        run.submit("random", *SEARCH)
        run.midway()
        at_s = time.time()
        filler = run.results / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        run.over()
        ended_s = time.time() - at_s
        assert "No space left" in run.logs()
        filler.unlink()
        recovery_s = start_again(run, "head", "worker")
        happened = (
            f"the run ends after {ended_s:.0f} s with a sentence that says so; resume goes on when there is space"
        )
        return told(run, [Fault(name="results folder full", happened=happened, at_s=at_s, recovery_s=recovery_s)])
    finally:
        subprocess.run(["umount", "--lazy", str(run.results)], check=True)


def two_at_once(run: ClusterRun) -> Faults:
    words = run.words("random", *SEARCH)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: run.sweepmark(*words), range(2)))
    answers = [json.loads(done.stdout) for done in both if done.returncode == 0]
    run.folder = Path(answers[0]["folder"])
    assert sum(len(answer["jobs"]) for answer in answers) == 2, both
    other = replace(run)
    other.submit("asha", *SEARCH, "--samples=2")
    run.midway()
    at_s = time.time()
    second = slurm.submit(run.folder / "slurm" / "head.sh", f"--export=ALL,{MARK}={run.name}")
    until("the second head to end", lambda: not slurm.states([second])[0].active)
    assert "has a head already" in (run.folder / "slurm" / "logs" / f"head-{second}.out").read_text()
    recovery_s = run.event(EpochFinished, after_s=at_s).at_s - at_s
    other.over()
    assert record_run(other.folder).status == "finished"
    happened = "one of two submissions submits; a second head is refused; two strategies do not meet"
    return told(run, [Fault(name="a run submitted twice", happened=happened, at_s=at_s, recovery_s=recovery_s)])


def arrays(run: ClusterRun) -> Faults:
    run.submit("manual", *GRID, "--array")
    run.event(EpochFinished, lambda e: e.trial == "0002")
    at_s = run.kill(run.job("task"), 2, only="job task")
    run.over()
    assert [state.state for state in slurm.states([run.job("final")])] == ["CANCELLED"]
    recovery_s = start_again(run, "task", "final")
    task = run.submitted.newest("task")
    assert task is not None
    assert task.tasks == (2,)
    happened = "the others end, nothing is gathered yet; resume submits that one alone"
    faults = told(run, [Fault(name="task of an array killed", happened=happened, at_s=at_s, recovery_s=recovery_s)])
    serial = replace(run, killed=0, results=run.place / "serial")
    serial.site(sbatch=[SHARED])
    serial.submit("manual", *GRID)
    serial.event(EpochFinished)
    serial.cluster.end_now(serial.job("serial"))
    interrupted = serial.event(RunInterrupted, within_s=100.0)
    assert interrupted.reason == "Interrupted by a signal"
    serial.over()
    recovery_s = start_again(serial, "serial")
    happened = "the job ends in order; resume goes on"
    faults += told(serial, [Fault(name="time limit", happened=happened, at_s=interrupted.at_s, recovery_s=recovery_s)])
    assert serial.losses() == run.losses(), "apart or one after the other, disturbed or not"
    return faults


LANES: tuple[tuple[Callable[[ClusterRun], Faults], ...], ...] = (
    (workers, nodes, arrays),
    (heads, folder_full, two_at_once),
)
"""Those of a lane follow one another: two at a time are what two cores can do."""

TOLD_BY = {
    "worker cancelled": workers,
    "worker's process killed": workers,
    "worker's script killed": workers,
    "all of a worker's processes killed": workers,
    "worker preempted": nodes,
    "node down": nodes,
    "node drained": nodes,
    "head requeued": heads,
    "head killed": heads,
    "head killed, resumed at once": heads,
    "head at its time limit": heads,
    "time limit": arrays,
    "task of an array killed": arrays,
    "results folder full": folder_full,
    "a run submitted twice": two_at_once,
}
"""The story of each fault."""


@pytest.fixture(scope="module")
def campaign(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Campaign[Faults]]:
    """The stories that the tests chosen ask for, on a cluster of their own: it has room for all of them at once."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and item.obj is test_fault]
    wanted = {TOLD_BY[str(item.callspec.params["name"])] for item in items}
    with throwaway_cluster(cpus=8) as own, pytest.MonkeyPatch.context() as patch:
        for variable, value in own.environment.items():
            patch.setenv(variable, value)

        def tell(story: Callable[[ClusterRun], Faults]) -> Faults:
            with placed(own, story.__name__) as run:
                return story(run)

        lanes = [{story.__name__: partial(tell, story) for story in lane if story in wanted} for lane in LANES]
        campaign = Campaign(lanes)
        shown = Shown()
        request.config.pluginmanager.register(shown)
        try:
            yield campaign
        finally:
            campaign.close()
            shown.faults = [fault for story in campaign.all() for fault in story]
        own.clear()
        assert not own.orphans()


class Shown:
    """The table, at the end of the session, and in the file that SWEEPMARK_FAULTS_TABLE names."""

    def __init__(self) -> None:
        self.faults: Faults = []

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.faults:
            return
        table = faults_table(self.faults)
        terminalreporter.section("faults survived")
        terminalreporter.write_line(table.to_markdown())
        if named := os.environ.get("SWEEPMARK_FAULTS_TABLE"):
            Path(named).write_text(table.to_markdown(), encoding="utf-8")


def faults_table(faults: Faults) -> Table:
    return Table(
        name="faults",
        title="Faults on a cluster",
        columns=(
            Column(key="fault", header="Fault", align="left"),
            Column(key="happened", header="What happened", align="left", wraps=True),
            Column(key="recovery_s", header="Work goes on after", unit="s", spec=".0f"),
            Column(key="epochs_lost", header="Epochs lost"),
            Column(key="lost_s", header="Work lost, and charged", unit="device-s", spec=".1f"),
        ),
        rows=tuple((f.name, f.happened, f.recovery_s, f.epochs_lost, f.lost_s) for f in faults),
    )


@pytest.mark.parametrize("name", TOLD_BY)
def test_fault(name: str, campaign: Campaign[Faults]) -> None:
    (fault,) = [fault for fault in campaign.result(TOLD_BY[name].__name__) if fault.name == name]
    assert fault.epochs_lost == 0
    assert 0 < fault.recovery_s < 120
