"""Runs on a throwaway cluster: submitted as users do, watched through their journals, and looked through afterwards."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from bench.cluster import slurm
from bench.cluster.jobs import JobKind, Submitted, load_jobs
from bench.cluster.meeting import BEAT_S
from bench.cluster.scripts import script
from bench.cluster.slurm import JobState
from bench.cluster.watch import run_events
from bench.events import EpochFinished, Event, TrialStarted, WorkLost
from bench.record import Record, record_run
from tests.cluster.throwaway import Cluster, processes

SWEEPMARK = Path(sys.executable).with_name("sweepmark")
MARK = "SWEEPMARK_TEST"
"""Variable that all processes of a run's jobs have: SLURM hands it on."""

POLL_S = 0.2
SLACK_S = 3.0
"""SLURM's accounts have whole seconds, and a job starts and ends a moment before and after its script."""

E = TypeVar("E", bound=Event)
T = TypeVar("T")


def until(what: str, found: Callable[[], T | None], within_s: float = 200.0) -> T:
    """The first truth that `found` gives. Raises TimeoutError."""
    deadline_s = time.monotonic() + within_s
    while not (value := found()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"waited {within_s:.0f} s for {what}")
        time.sleep(POLL_S)
    return value


@dataclass(kw_only=True)
class ClusterRun:
    """A run with a place of its own: results, scratch and site file. `name`: marks its processes. `folder`: the run's,
    once it is submitted."""

    name: str
    cluster: Cluster
    place: Path
    results: Path
    killed: int = 0
    """Jobs that had no chance to say when they ended."""
    folder: Path = field(default_factory=Path)

    @property
    def scratch(self) -> Path:
        return self.place

    def site(self, *, sbatch: Sequence[str] = (), time_limit: str = "00:10:00", warn_s: int = 20,
             partition: str = "gpu") -> None:  # fmt: skip
        """Write its site file anew."""
        lines = [
            "schema_version = 1",
            f'partition = "{partition}"',
            f'time = "{time_limit}"',
            f"warn_s = {warn_s}",
            f'scratch = "{self.scratch}"',
            f"sbatch = {json.dumps(list(sbatch))}",
            "setup = ['export SWEEPMARK_NODE_ADDRESS=127.0.1.${SLURMD_NODENAME#node}']",
        ]
        (self.place / "site.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def sweepmark(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SWEEPMARK, *words], env={**os.environ, **self.cluster.environment, MARK: self.name}, timeout=120,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def words(self, strategy: str, *words: str) -> list[str]:
        common = [f"--results={self.results}", f"--site={self.place / 'site.toml'}", "--profile=cpu", "--json"]
        return ["submit", strategy, *common, *words]

    def submit(self, strategy: str, *words: str) -> list[str]:
        """The ids of the new jobs."""
        done = self.sweepmark(*self.words(strategy, *words))
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        self.folder = Path(told["folder"])
        return [job["id"] for job in told["jobs"]]

    def resume(self) -> list[str]:
        """The kinds of the jobs that are submitted again."""
        done = self.sweepmark("resume", str(self.folder), "--json")
        assert done.returncode == 0, done.stderr
        return [job["kind"] for job in json.loads(done.stdout)["jobs"]]

    @property
    def submitted(self) -> Submitted:
        found = load_jobs(self.folder)
        assert found is not None
        return found

    def job(self, kind: JobKind) -> str:
        """The id of the newest."""
        found = self.submitted.newest(kind)
        assert found is not None
        return found.id

    def states(self, *kinds: JobKind) -> list[JobState]:
        return slurm.states([job.id for job in self.submitted.jobs if not kinds or job.kind in kinds])

    def events(self) -> list[Event]:
        return run_events(self.folder) if self.folder.is_dir() else []

    def event(
        self,
        kind: type[E],
        which: Callable[[E], bool] = lambda event: True,
        *,
        after_s: float = 0.0,
        within_s: float = 200.0,
    ) -> E:
        """The first such event after a time, once it is there."""

        def look() -> E | None:
            found = (event for event in self.events() if isinstance(event, kind) and event.at_s > after_s)
            return next((event for event in found if which(event)), None)

        try:
            return until(f"{kind.__name__} of {self.name}", look, within_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.states()}\n{self.logs()}") from None

    def midway(self, *, after_s: float = 0.0, task: int | None = None) -> int:
        """Waits until a trial has finished an epoch and has more to come; which worker trains it. `task`: wait for one
        that this worker trains."""
        epochs = self.submitted.read_study().epochs
        found = self.event(
            EpochFinished, lambda e: e.epoch < epochs - 2 and task in (None, task_of(e)), after_s=after_s
        )
        return task_of(found)

    def worker_of(self, task: int) -> str:
        """The id of the array of workers in which that one is running now."""
        return next(s.id for s in self.states("worker") if s.task == task and s.state == "RUNNING")

    def processes_of(self, job_id: str, task: int | None = None) -> dict[int, str]:
        """All processes of a running job: number and command."""
        wanted = {MARK: self.name, "SLURM_JOB_ID": job_id}
        if task is not None:
            wanted = {MARK: self.name, "SLURM_ARRAY_JOB_ID": job_id, "SLURM_ARRAY_TASK_ID": str(task)}
        return {p.pid: p.command for p in processes(wanted).values() if p.marked}

    def kill(self, job_id: str, task: int | None = None, *, only: str = "") -> float:
        """SIGKILL to all processes of a job, or to those whose command holds `only`; returns when."""
        doomed = [pid for pid, command in self.processes_of(job_id, task).items() if only in command]
        assert doomed, self.processes_of(job_id, task)
        now_s = time.time()
        for number in (signal.SIGSTOP, signal.SIGKILL):  # at once: none is to see another's end
            for pid in doomed:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.killed += 1
        return now_s

    def logs(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-1500:]}"
            for path in sorted((self.folder / "slurm" / "logs").glob("*"))
        )

    def over(self, within_s: float = 150.0) -> None:
        """Wait until no job of it is left."""
        try:
            until("its jobs to end", lambda: not any(state.active for state in self.states()), within_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.states()}\n{self.logs()}") from None

    def finished(self, within_s: float = 150.0) -> Record:
        """Its record, once it has ended well and left nothing behind."""
        self.over(within_s)
        record = record_run(self.folder)
        assert record.status == "finished", self.logs()
        self.clean()
        self.paid(record)
        return record

    def clean(self) -> None:
        """Nothing of it is left but its results."""

        def gone() -> bool:
            return not any(p.marked for p in processes({MARK: self.name}).values())

        with suppress(TimeoutError):
            until("its processes to end", gone, 10.0)
        left = [p for p in processes({MARK: self.name}).values() if p.marked]
        assert not left, left
        self.sweep()
        assert not [*self.scratch.glob("sw-*"), *self.scratch.glob("ray-*")]
        assert not list(self.folder.rglob("*.tmp"))
        assert not list(self.folder.rglob(".draft-*"))
        for name in ("token", "head.json", "tune"):
            assert not (self.folder / "slurm" / name).exists()

    def sweep(self) -> None:
        """The next job on a node clears away what those left that were killed with all their processes: one that does
        nothing else."""
        nodes = {path.read_text(encoding="utf-8").strip() for path in self.scratch.glob("sw-*/.node")}
        assert len(nodes) <= self.killed
        path = self.place / "sweep.sh"
        site = replace(self.submitted.site, sbatch=())
        path.write_text(script(site, [f"--output={os.devnull}"], ["--version"], results=self.results))
        jobs = [slurm.submit(path, f"--nodelist={node}") for node in nodes]
        until("nodes to be swept", lambda: not any(state.active for state in slurm.states(jobs)), 60.0)

    def paid(self, record: Record) -> None:
        """What SLURM gave its jobs is what the run says it cost."""
        costs = (record.costs.search, record.costs.final)
        charged_s = sum(60 * (cost.allocated_device_min or 0.0) for cost in costs)
        starts = list(self.given())
        given_s = sum(starts)
        assert all(cost.complete for cost in costs)
        slack_s = SLACK_S * len(starts) + (BEAT_S + 1.0) * self.killed
        assert -slack_s <= charged_s - given_s <= 1.5 * len(starts), (charged_s, starts, self.logs())

    def given(self) -> Iterator[float]:
        """Device-seconds of each start of each of its jobs, by SLURM's own book."""
        submitted = self.submitted
        study = submitted.read_study()
        devices = {
            job.id: {"head": 0, "worker": submitted.node_devices}.get(job.kind, study.devices_per_trial)
            for job in submitted.jobs
        }
        for line in (self.cluster.root / "jobs.txt").read_text(encoding="utf-8").splitlines():
            fields = dict(re.findall(r"(\w+)=(\S*)", line))
            held = devices.get(fields.get("ArrayJobId") or fields["JobId"], 0)
            if held and fields["NodeList"] not in ("", "(null)"):
                began, ended = (datetime.fromisoformat(fields[name]) for name in ("StartTime", "EndTime"))
                yield held * (ended - began).total_seconds()

    def trained_twice(self) -> list[float]:
        """When completed epochs were completed again."""
        seen: set[tuple[str, int]] = set()
        again = []
        for event in self.events():
            if isinstance(event, EpochFinished):
                if (event.trial, event.epoch) in seen:
                    again.append(event.at_s)
                seen.add((event.trial, event.epoch))
        return again

    def losses(self) -> dict[tuple[str, int], float | None]:
        return {(e.trial, e.epoch): e.eval_loss for e in self.events() if isinstance(e, EpochFinished)}

    def recovery_s(self, fault_s: float) -> float:
        """Seconds until the first trial whose work was lost was trained on."""
        lost = self.event(WorkLost, after_s=fault_s)
        started = self.event(TrialStarted, lambda event: event.trial == lost.trial, after_s=lost.at_s)
        return started.at_s - fault_s


def task_of(event: EpochFinished) -> int:
    """The worker that trained it, by its place in the array."""
    return int(event.worker.split()[1])


@contextmanager
def placed(cluster: Cluster, name: str, results: Path | None = None) -> Iterator[ClusterRun]:
    """A place for a run, cleared away after it; jobs that are left are cancelled."""
    place = Path(tempfile.mkdtemp(prefix="f", dir="/tmp"))  # short, for sockets
    run = ClusterRun(name=name, cluster=cluster, place=place, results=results or place / "r")
    run.site()
    try:
        yield run
    finally:
        if run.folder != Path() and load_jobs(run.folder):
            slurm.cancel([job.id for job in run.submitted.jobs])
            run.over(60.0)
        shutil.rmtree(place, ignore_errors=True)


class Campaign(Generic[T]):
    """Stories, each in its lane: one after the other there, beside those of other lanes."""

    def __init__(self, lanes: Sequence[Mapping[str, Callable[[], T]]]) -> None:
        self._pools = [ThreadPoolExecutor(max_workers=1) for _ in lanes]
        self._futures: dict[str, Future[T]] = {}
        for pool, stories in zip(self._pools, lanes, strict=True):
            self._futures |= {name: pool.submit(story) for name, story in stories.items()}

    def result(self, name: str) -> T:
        return self._futures[name].result()

    def close(self) -> None:
        """Waits for those that have begun."""
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def all(self) -> list[T]:
        """What those told that came to their end."""
        over = [future for future in self._futures.values() if future.done() and not future.cancelled()]
        return [future.result() for future in over if future.exception() is None]
