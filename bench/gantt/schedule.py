"""What each device slot did over time, from the events of any run, real or virtual."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bench.events import (
    FINAL_TRIAL,
    EpochFinished,
    Event,
    FinalScored,
    GrantClosed,
    GrantOpened,
    Phases,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    TrialCreated,
    TrialEnded,
    TrialPaused,
    TrialStarted,
    WorkLost,
)
from bench.ledger import PhaseName

Kind = Literal[PhaseName, "queue", "idle"]
"""What a slot is doing: a phase of a trial; waiting to be granted; held without work."""

FINAL_NUMBER = 0
"""The number of the final retrain in a schedule; trials count from 1."""

WORDS: dict[Kind, str] = {"queue": "in the queue", "startup": "start-up", "eval": "evaluation", "unsplit": "work"}
"""Kinds that people know by another name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """Slot `row` does `kind` from `start_s` to `end_s`. `trial`: its number (None: of no trial)."""

    row: int
    start_s: float
    end_s: float
    kind: Kind
    trial: int | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Seconds from its beginning. `rows`: device slots. `bars`: by row and start; those of one row do not overlap.
    `per_device`: slots of one device, which that many trials share."""

    title: str
    rows: int
    bars: tuple[Bar, ...]
    end_s: float
    per_device: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"title": self.title, "rows": self.rows, "end_s": self.end_s, "bars": [asdict(b) for b in self.bars]}


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which a span is best read, and its seconds."""
    if seconds < 180:
        return "s", 1.0
    return ("min", 60.0) if seconds < 4 * 3600 else ("h", 3600.0)


def name_of(trial: int | None) -> str:
    """A trial's number as a bar shows it; F for the final retrain."""
    return "" if trial is None else "F" if trial == FINAL_NUMBER else str(trial)


def schedule(events: Iterable[Event], title: str = "Schedule") -> Schedule:
    """The schedule of a run, from its first event to its last. Trials have their numbers in the order of creation. A
    trial goes into the slot that its worker had before, else into the first that is free."""
    known = list(events)
    folded = _Fold()
    for event, worker in zip(known, _workers(known), strict=True):
        folded.apply(event, worker)
    folded.close_all(folded.now_s)
    made = from_bars(folded.bars, folded.held, rows=folded.rows, end_s=folded.now_s, title=title)
    return replace(made, per_device=folded.per_device)


def _workers(events: Sequence[Event]) -> list[str | None]:
    """For each start of a trial the worker that its next epoch names (None: it finishes none)."""
    next_worker: dict[str, str] = {}
    found: list[str | None] = []
    for event in reversed(events):
        if isinstance(event, EpochFinished):
            next_worker[event.trial] = event.worker
        found.append(next_worker.pop(event.trial, None) if isinstance(event, TrialStarted) else None)
    return found[::-1]


def from_bars(bars: Iterable[Bar], held: Iterable[Bar], *, rows: int, end_s: float, title: str) -> Schedule:
    """A schedule of work, with idle bars wherever a slot is held (`held`: bars of kind "idle") without any."""
    by_row: dict[int, list[Bar]] = {row: [] for row in range(rows)}
    for bar in bars:
        by_row[bar.row].append(bar)
    for own in by_row.values():
        own.sort(key=lambda b: b.start_s)
    idle = [gap for hold in held for gap in _gaps(hold, by_row[hold.row])]
    everything = sorted([*idle, *(b for own in by_row.values() for b in own)], key=lambda b: (b.row, b.start_s))
    return Schedule(title=title, rows=rows, bars=tuple(everything), end_s=end_s)


def _gaps(hold: Bar, bars: Sequence[Bar]) -> Iterable[Bar]:
    at_s = hold.start_s
    for bar in bars:
        if bar.end_s <= hold.start_s or bar.start_s >= hold.end_s:
            continue
        if bar.start_s > at_s:
            yield Bar(row=hold.row, start_s=at_s, end_s=bar.start_s, kind="idle")
        at_s = max(at_s, bar.end_s)
    if at_s < hold.end_s:
        yield Bar(row=hold.row, start_s=at_s, end_s=hold.end_s, kind="idle")


class _Fold:
    """Gives trials their slots, event by event. Times are seconds since the first event."""

    def __init__(self) -> None:
        self.bars: list[Bar] = []
        self.held: list[Bar] = []
        self.rows = 0
        self.now_s = 0.0
        self.per_device = 1
        self._start_s: float | None = None
        self._granted_s: float | None = None
        self._numbers: dict[str, int] = {FINAL_TRIAL: FINAL_NUMBER}
        self._grants: dict[str, tuple[float, list[int]]] = {}
        self._free: set[int] = set()
        self._rows_of: dict[str, list[int]] = {}
        self._rows_of_worker: dict[str, list[int]] = {}
        self._running: set[str] = set()
        self._drawn_until_s: dict[int, float] = {}

    def apply(self, event: Event, worker: str | None) -> None:
        if self._start_s is None:
            self._start_s = event.at_s
        before_s, self.now_s = self.now_s, event.at_s - self._start_s
        match event:
            case RunResumed():
                self.close_all(before_s)
            case RunStarted():
                self.per_device = event.study.get("trials_per_device", 1)
            case RunInterrupted() | RunFinished():
                pass
            case GrantOpened():
                self._open(event)
            case GrantClosed():
                self._close(event.grant, event.closed_s - self._start_s)
            case TrialCreated() if event.trial != FINAL_TRIAL:
                self._numbers[event.trial] = len(self._numbers)
            case TrialStarted():
                self._start(event, worker)
            case EpochFinished() | FinalScored():
                self._draw(event.trial if isinstance(event, EpochFinished) else FINAL_TRIAL, event.phases)
            case TrialEnded():
                self._draw(event.trial, event.phases)
                self._release(event.trial)
            case TrialPaused():
                self._release(event.trial)
            case WorkLost():
                self._bar(event.trial, "lost", self.now_s - event.busy_s, self.now_s)
                self._release(event.trial)
            case _:
                pass

    def close_all(self, at_s: float) -> None:
        """The run's process is gone: so is all that it held."""
        for trial in list(self._running):
            self._release(trial)
        for grant in list(self._grants):
            self._close(grant, at_s)

    def _open(self, event: GrantOpened) -> None:
        taken = {row for _, rows in self._grants.values() for row in rows}
        slots = event.devices * (self.per_device if event.purpose == "search" else 1)
        rows = [row for row in range(len(taken) + slots) if row not in taken][:slots]
        self.rows = max(self.rows, rows[-1] + 1)
        assert self._start_s is not None
        opened_s = max(0.0, event.opened_s - self._start_s)
        self._grants[event.grant] = (opened_s, rows)
        self._free.update(rows)
        if self._granted_s is None:
            self._granted_s = opened_s
        if 0 < opened_s == self._granted_s:
            self.bars += [Bar(row=row, start_s=0.0, end_s=opened_s, kind="queue") for row in rows]

    def _close(self, grant: str, at_s: float) -> None:
        opened_s, rows = self._grants.pop(grant)
        self.held += [Bar(row=row, start_s=opened_s, end_s=at_s, kind="idle") for row in rows]
        self._free.difference_update(rows)

    def _start(self, event: TrialStarted, worker: str | None) -> None:
        if event.trial in self._running:
            return
        slots = math.ceil(event.devices)  # a share of a device is one
        own = self._rows_of_worker.get(worker or "", [])
        if not own or not self._free.issuperset(own):
            own = sorted(self._free)[:slots]
        while len(own) < slots:  # a trial that no grant covers
            own.append(self.rows)
            self.rows += 1
        self._rows_of[event.trial] = own
        if worker is not None:
            self._rows_of_worker[worker] = own
        self._free.difference_update(own)
        self._running.add(event.trial)

    def _release(self, trial: str) -> None:
        if trial in self._running:
            self._running.remove(trial)
            held = {row for _, rows in self._grants.values() for row in rows}
            self._free.update(held.intersection(self._rows_of[trial]))

    def _draw(self, trial: str, phases: Phases) -> None:
        at_s = self.now_s - phases.total_s
        parts: tuple[tuple[Kind, float], ...] = (
            ("startup", phases.startup_s),
            ("restore", phases.restore_s),
            ("train", phases.train_s),
            ("eval", phases.eval_s),
            ("checkpoint", phases.checkpoint_s),
        )
        for kind, seconds in parts:
            self._bar(trial, kind, at_s, at_s + seconds)
            at_s += seconds

    def _bar(self, trial: str, kind: Kind, start_s: float, end_s: float) -> None:
        for row in self._rows_of.get(trial, []):
            start = max(start_s, self._drawn_until_s.get(row, 0.0))  # a worker's clock and the run's differ a little
            if end_s > start:
                self.bars.append(Bar(row=row, start_s=start, end_s=end_s, kind=kind, trial=self._numbers[trial]))
                self._drawn_until_s[row] = end_s
