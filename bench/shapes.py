"""Shapes of work on a cluster with a queue: how evaluations are fed, and how they are packed into jobs.

Three ways to feed them: one at a time (sequential), in generations that wait for their slowest (batch), or one to
every device that is free (asynchronous). Three ways to pack them: a job for each evaluation (short-and-small), a job
for a few (medium), or one job for all on all devices (big-and-wide). Every number besides the evaluations' seconds is
an assumption, and is data here.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal

from bench.events import (
    SCHEMA_VERSION,
    EpochFinished,
    Event,
    GrantClosed,
    GrantOpened,
    Phases,
    RunStarted,
    TrialCreated,
    TrialEnded,
    TrialStarted,
)
from bench.gantt import Bar, Schedule, from_bars
from bench.ledger import Costs, LedgerFold
from bench.tables import Cell, Column, Table

Feeding = Literal["sequential", "batch", "asynchronous"]
FEEDINGS: tuple[Feeding, ...] = ("sequential", "batch", "asynchronous")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Jobs of `slots` slots that take `evaluations` evaluations (None: all that there are)."""

    name: str
    slots: int
    evaluations: int | None


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What a queue and a launch cost. Seconds.

    `slots`: evaluations at once at most, each on `slot_devices` devices. `launch_s`: once a job on each of its devices
    (a node is prepared, packages are imported). `startup_s`: each evaluation (model and data are read). `queue_wait_s`:
    of a job of one device, from its submission to its grant. A job of n devices waits `n ** queue_growth` times as
    long: wide jobs are harder to place. `medium_slots`, `medium_evaluations`: of a medium job.
    """

    slots: int = 8
    slot_devices: int = 1
    launch_s: float = 180.0
    startup_s: float = 0.0
    queue_wait_s: float = 300.0
    queue_growth: float = 0.5
    medium_slots: int = 1
    medium_evaluations: int = 4

    def __post_init__(self) -> None:
        for name in ("slots", "slot_devices", "medium_slots", "medium_evaluations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        for name in ("launch_s", "startup_s", "queue_wait_s", "queue_growth"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if self.medium_slots > self.slots:
            raise ValueError(f"medium_slots is {self.medium_slots}; there are {self.slots}")

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return (
            Shape(name="short-and-small", slots=1, evaluations=1),
            Shape(name="medium", slots=self.medium_slots, evaluations=self.medium_evaluations),
            Shape(name="big-and-wide", slots=self.slots, evaluations=None),
        )

    def wait_s(self, shape: Shape) -> float:
        """From a job's submission to its grant."""
        return float(self.queue_wait_s * (shape.slots * self.slot_devices) ** self.queue_growth)

    def sentences(self) -> tuple[str, ...]:
        """The assumptions, as they belong beside every number that rests on them."""
        return (
            f"Assumed: a job of one device waits {self.queue_wait_s:g} s in the queue, one of n devices n^"
            f"{self.queue_growth:g} times as long, and takes {self.launch_s:g} s to launch; each evaluation takes "
            f"{self.startup_s:g} s to start.",
            "A job is submitted when its first evaluation is decided and a place among the devices is free; a search "
            "that decides everything beforehand could wait for all jobs at once.",
            "Allocated is what jobs hold, launch and idle devices included; time in the queue is never charged. Busy "
            "counts launch and start-up, as of any trial.",
            "Every evaluation is a trial of random search to its last epoch, whatever the strategy of the plan: one "
            "that stops trials needs less. Results known when deciding: how many were at hand, on average, when an "
            "evaluation was decided; a strategy that learns wants many.",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Slots from `first_row` on are held by one job from its grant to its release."""

    first_row: int
    slots: int
    submitted_s: float
    granted_s: float
    released_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """An evaluation in its slot: start-up from `start_s`, work from `work_s` to `end_s`. `launch_s`: of its job, from
    `granted_s` on, where it is the first in its slot (else 0). `known`: results there were when it was decided."""

    number: int
    row: int
    granted_s: float
    launch_s: float
    start_s: float
    work_s: float
    end_s: float
    known: int

    @property
    def phases(self) -> Phases:
        return Phases(startup_s=self.launch_s + self.work_s - self.start_s, train_s=self.end_s - self.work_s)


@dataclass(frozen=True)
class Arrangement:
    """All evaluations in their jobs. Time begins when the first job is submitted."""

    feeding: Feeding
    shape: Shape
    slot_devices: int
    jobs: tuple[Job, ...]
    evaluations: tuple[Placed, ...]

    @property
    def wall_s(self) -> float:
        """From the first submission to the last release, queue included."""
        return max(job.released_s for job in self.jobs)

    @property
    def queue_s(self) -> float:
        """Waits of all jobs together."""
        return sum(job.granted_s - job.submitted_s for job in self.jobs)

    @property
    def known(self) -> float:
        """Results that a search had when it decided on an evaluation, on average."""
        return fmean(e.known for e in self.evaluations)

    @cached_property
    def costs(self) -> Costs:
        """Device-minutes by the ledger of any run."""
        ledger = LedgerFold()
        for event in self._events():
            ledger.apply(event)
        return ledger.costs("search")

    def schedule(self) -> Schedule:
        """The slots over time; a job's wait is drawn in the slots that it will hold."""
        rows = max(job.first_row + job.slots for job in self.jobs)
        own = [(job, row) for job in self.jobs for row in range(job.first_row, job.first_row + job.slots)]
        held = [Bar(row=row, start_s=job.granted_s, end_s=job.released_s, kind="idle") for job, row in own]
        queue = [
            Bar(row=row, start_s=job.submitted_s, end_s=job.granted_s, kind="queue")
            for job, row in own
            if job.granted_s > job.submitted_s
        ]
        bars = [*queue, *(bar for e in self.evaluations for bar in _bars(e))]
        title = f"{self.feeding}, {self.shape.name}"
        return from_bars(bars, held, rows=rows, end_s=self.wall_s, title=title)

    def _events(self) -> Iterable[Event]:
        """The same as a journal holds of a run, in order."""
        timed: list[tuple[float, int, Event]] = []
        for number, job in enumerate(self.jobs):
            grant = f"job {number + 1}"
            opened = GrantOpened(
                at_s=job.granted_s, grant=grant, devices=job.slots * self.slot_devices, purpose="search"
            )
            timed.append((job.granted_s, 0, opened))
            timed.append((job.released_s, 3, GrantClosed(at_s=job.released_s, grant=grant)))
        for e in self.evaluations:
            trial = str(e.number)
            timed.append((e.start_s, 1, TrialCreated(at_s=e.start_s, trial=trial, config={})))
            timed.append((e.start_s, 1, TrialStarted(at_s=e.start_s, trial=trial, epoch=0, devices=self.slot_devices)))
            timed.append((e.end_s, 2, _finished(e)))
            timed.append((e.end_s, 2, TrialEnded(at_s=e.end_s, trial=trial, state="completed")))
        study = {"devices_per_trial": self.slot_devices, "epochs": 1}
        yield RunStarted(at_s=0.0, schema_version=SCHEMA_VERSION, run_id="shapes", study=study, provenance={})
        yield from (event for _, _, event in sorted(timed, key=lambda t: t[:2]))


def _finished(e: Placed) -> EpochFinished:
    return EpochFinished(
        at_s=e.end_s,
        trial=str(e.number),
        epoch=1,
        eval_loss=None,
        train_loss=None,
        phases=e.phases,
        samples_per_s=None,
        tokens_per_s=None,
        device_memory_mib=None,
        host_memory_mib=None,
        config={},
        worker=f"slot {e.row + 1}",
    )


def _bars(e: Placed) -> Iterator[Bar]:
    spans: tuple[tuple[float, float, Literal["startup", "train"]], ...] = (
        (e.granted_s, e.granted_s + e.launch_s, "startup"),
        (e.start_s, e.work_s, "startup"),
        (e.work_s, e.end_s, "train"),
    )
    for start_s, end_s, kind in spans:
        if end_s > start_s:
            yield Bar(row=e.row, start_s=start_s, end_s=end_s, kind=kind, trial=e.number)


@dataclass(slots=True)
class _Open:
    """A job that is being filled. `free_s`: by device, when it can take an evaluation; `used`: whether it has."""

    first_row: int
    submitted_s: float
    granted_s: float
    left: int
    free_s: list[float]
    used: list[bool]

    @property
    def released_s(self) -> float:
        """When the last evaluation that it took has ended."""
        return max(free_s for free_s, used in zip(self.free_s, self.used, strict=True) if used)

    def device(self, ready_s: float) -> int:
        """The device that can begin first; of several the one that worked last."""
        return min(range(len(self.free_s)), key=lambda i: (max(self.free_s[i], ready_s), -self.free_s[i], i))


def arrange(seconds: Sequence[float], feeding: Feeding, shape: Shape, assumed: Assumptions) -> Arrangement:
    """Place evaluations that work for so many seconds each, in order. Raises ValueError where there are none."""
    if not seconds:
        raise ValueError("there is nothing to arrange: give the seconds of one evaluation or more")
    lanes = 1 if feeding == "sequential" else assumed.slots // shape.slots
    generation = lanes * shape.slots
    open_jobs: list[_Open | None] = [None] * lanes
    free_lane_s = [0.0] * lanes
    jobs: list[Job] = []
    placed: list[Placed] = []
    ended_s: list[float] = []
    ready_s = 0.0
    for number, work_s in enumerate(seconds, 1):
        if feeding == "sequential" or (feeding == "batch" and (number - 1) % generation == 0):
            ready_s = ended_s[-1] if ended_s else 0.0
        left = len(seconds) - number + 1
        job, lane = min(
            ((open_jobs[i] or _submit(i, max(ready_s, free_lane_s[i]), left, shape, assumed), i) for i in range(lanes)),
            key=lambda found: (max(min(found[0].free_s), ready_s), open_jobs[found[1]] is None, found[1]),
        )
        open_jobs[lane] = job
        device = job.device(ready_s)
        start_s = max(job.free_s[device], ready_s)
        decided_s = job.submitted_s if not any(job.used) else start_s
        end_s = start_s + assumed.startup_s + work_s
        placed.append(
            Placed(
                number=number,
                row=job.first_row + device,
                granted_s=job.granted_s,
                launch_s=0.0 if job.used[device] else assumed.launch_s,
                start_s=start_s,
                work_s=start_s + assumed.startup_s,
                end_s=end_s,
                known=bisect_right(ended_s, decided_s),
            )
        )
        insort(ended_s, end_s)
        job.free_s[device], job.used[device] = end_s, True
        job.left -= 1
        if not job.left:
            jobs.append(_closed(job, shape))
            open_jobs[lane], free_lane_s[lane] = None, job.released_s
    jobs += [_closed(job, shape) for job in open_jobs if job is not None]
    return Arrangement(
        feeding,
        shape,
        assumed.slot_devices,
        tuple(sorted(jobs, key=lambda j: (j.granted_s, j.first_row))),
        tuple(placed),
    )


def _submit(lane: int, at_s: float, left: int, shape: Shape, assumed: Assumptions) -> _Open:
    granted_s = at_s + assumed.wait_s(shape)
    return _Open(
        first_row=lane * shape.slots,
        submitted_s=at_s,
        granted_s=granted_s,
        left=left if shape.evaluations is None else min(left, shape.evaluations),
        free_s=[granted_s + assumed.launch_s] * shape.slots,
        used=[False] * shape.slots,
    )


def _closed(job: _Open, shape: Shape) -> Job:
    return Job(
        first_row=job.first_row,
        slots=shape.slots,
        submitted_s=job.submitted_s,
        granted_s=job.granted_s,
        released_s=job.released_s,
    )


def compare_shapes(seconds: Sequence[float], assumed: Assumptions) -> tuple[Arrangement, ...]:
    """Every way to feed with every way to pack."""
    return tuple(arrange(seconds, feeding, shape, assumed) for shape in assumed.shapes for feeding in FEEDINGS)


def shapes_table(arrangements: Sequence[Arrangement], assumed: Assumptions, unit: str) -> Table:
    """One row for each arrangement. `unit`: what a device is called in costs, as `GPU`."""
    rows: list[tuple[Cell, ...]] = [
        (
            f"{a.shape.name}, {a.feeding}",
            len(a.jobs),
            a.wall_s / 60,
            a.costs.allocated_device_min,
            a.costs.busy_device_min,
            a.costs.utilisation,
            a.queue_s / 60,
            a.known,
        )
        for a in arrangements
    ]
    return Table(
        name="shapes",
        title=f"Shapes of work: {len(arrangements[0].evaluations)} evaluations in {assumed.slots} slots",
        columns=(
            Column(key="shape", header="jobs and feeding", align="left"),
            Column(key="jobs", header="jobs"),
            Column(key="wall_min", header="wall", unit="min", spec=".1f"),
            Column(key="allocated_device_min", header="allocated", unit=f"{unit}-min", spec=".1f"),
            Column(key="busy_device_min", header="busy", unit=f"{unit}-min", spec=".1f"),
            Column(key="utilisation", header="utilisation", spec=".0%"),
            Column(key="queue_min", header="in the queue, all jobs", unit="min", spec=".1f"),
            Column(key="known", header="results known when deciding", spec=".1f"),
        ),
        rows=tuple(rows),
        notes=assumed.sentences(),
    )
