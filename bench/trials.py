"""The trials of a run and its incumbents, folded from its events; the live view and every report use this one fold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.events import (
    FINAL_TRIAL,
    EpochFinished,
    Event,
    FinalScored,
    Note,
    Purpose,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    SearchFinished,
    State,
    TrialCreated,
    TrialEnded,
    TrialPaused,
    TrialReconfigured,
    TrialStarted,
    TrialSummarised,
    WorkLost,
)
from bench.hyperparameters import Value
from bench.ledger import PHASES, Charge, LedgerFold, PhaseName, device_minutes, study_count
from bench.metrics import DEFAULT, METRICS, metric_values, study_metrics

TrialState = Literal[State, "waiting", "running", "paused", "lost", "summarised"]
"""How a trial ended or, where it has not: `waiting` was suggested and has not started; `running`; `paused` gave its
devices back after an epoch; `lost` had its process die and has not gone on. `summarised`: only totals are known, not
at which epoch it stopped."""

RunStatus = Literal["finished", "interrupted", "running"]
"""`running` covers a killed run too: its journal simply ends."""

Config = dict[str, Value]


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochPoint:
    """A point of a learning curve. Losses in nats a labelled token; None: not finite."""

    epoch: int
    eval_loss: float | None
    train_loss: float | None
    at_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigChange:
    """A trial went on from a donor's weights: from `at_s` on, after `epoch` epochs of its own, `config` was in force
    instead of `previous`."""

    at_s: float
    epoch: int
    previous: Config
    config: Config
    donor: str
    donor_epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One trial as it stands after the last event.

    `number`: the guide's combo, in the order of creation from 1 (0: the final retrain). `config`: the latest in force;
    `best_config`: the one in force when `best_loss` was reached. `epochs`: the last one completed (0 where the
    state is `summarised`: unknown).
    `last_loss`: of that epoch. `best_loss`: the lowest at full fidelity (None: never got there). `busy_s`: wall
    seconds of its segments by phase; `busy_device_min`: the same times the devices, or the share of one, that it held.
    `values`: in a study of other metrics than the loss, those of its best epoch at full fidelity, of which `best_loss`
    and `best_config` then are too.
    """

    trial: str
    number: int
    purpose: Purpose
    config: Config
    history: tuple[ConfigChange, ...]
    model_based: bool | None
    state: TrialState
    detail: str
    devices: int | float | None
    epochs: int
    curve: tuple[EpochPoint, ...]
    last_loss: float | None
    best_loss: float | None
    best_config: Config | None
    busy_s: dict[PhaseName, float]
    busy_device_min: float
    values: dict[str, float] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it is over for good; one that is waiting, running, paused or lost may go on."""
        return self.state not in ("waiting", "running", "paused", "lost")

    @property
    def runtime_s(self) -> float:
        """Wall seconds of all its segments, lost ones included."""
        return sum(self.busy_s.values())

    @property
    def lost_s(self) -> float:
        return self.busy_s["lost"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Incumbent:
    """A step of the incumbent trace y*(c): from these costs on, `eval_loss` is the lowest at full fidelity.

    Costs are of the search, in device-minutes, at the moment the epoch was reported. `values`: in a study of other
    metrics than the loss, theirs; the trial is then the best by the first of them, and `eval_loss` is its loss.
    """

    trial: str
    eval_loss: float
    at_s: float
    allocated_device_min: float | None
    busy_device_min: float
    values: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """What is minimised: the loss, or the first metric's signed value."""
        return score_of(self.eval_loss, self.values)


def score_of(loss: float, values: Mapping[str, float]) -> float:
    """What is minimised, of a loss and what `values` of a trial or an incumbent hold."""
    name = next(iter(values), None)
    return loss if name is None else METRICS[name].signed(values[name])


Clock = Literal["allocated", "busy"]


def incumbent_at(trace: Sequence[Incumbent], cost_device_min: float, clock: Clock) -> Incumbent | None:
    """The incumbent at a cost: the last step that cost no more. None before the first. Never interpolated."""
    reached = [step for step in trace if _cost(step, clock) <= cost_device_min]
    return reached[-1] if reached else None


def cost_to_target(trace: Sequence[Incumbent], target: float, clock: Clock) -> float:
    """T(theta) = inf{c : y*(c) <= theta} in device-minutes; infinite where the target was never reached, or where the
    cost on that clock is unknown. `target`: as `Incumbent.score`."""
    return next((_cost(step, clock) for step in trace if step.score <= target), math.inf)


def _cost(step: Incumbent, clock: Clock) -> float:
    cost = step.allocated_device_min if clock == "allocated" else step.busy_device_min
    return math.inf if cost is None else cost


@dataclass(slots=True)
class _Row:
    """A trial while its events are folded."""

    trial: str
    number: int
    purpose: Purpose
    config: Config
    model_based: bool | None
    state: TrialState = "waiting"
    detail: str = ""
    devices: int | float | None = None
    epochs: int = 0
    last_loss: float | None = None
    best_loss: float | None = None
    best_config: Config | None = None
    history: list[ConfigChange] = field(default_factory=list)
    curve: list[EpochPoint] = field(default_factory=list)
    busy_s: dict[PhaseName, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    busy_device_s: float = 0.0
    epochs_device_s: float = 0.0
    best_score: float = math.inf
    values: dict[str, float] = field(default_factory=dict)

    def freeze(self) -> Trial:
        return Trial(
            trial=self.trial,
            number=self.number,
            purpose=self.purpose,
            config=self.config,
            history=tuple(self.history),
            model_based=self.model_based,
            state=self.state,
            detail=self.detail,
            devices=self.devices,
            epochs=self.epochs,
            curve=tuple(self.curve),
            last_loss=self.last_loss,
            best_loss=self.best_loss,
            best_config=self.best_config,
            busy_s=dict(self.busy_s),
            busy_device_min=device_minutes(self.busy_device_s),
            values=self.values,
        )


class RunState:
    """The state of a run after any of its events. Feed it every event, in order.

    Live and afterwards it gives the same answers. `ledger` holds the costs.
    """

    def __init__(self) -> None:
        self.ledger = LedgerFold()
        self.started: RunStarted | None = None
        self.resumed: list[RunResumed] = []
        self.status: RunStatus = "running"
        self.interrupted: str | None = None
        self.search_finished = False
        self.final: FinalScored | None = None
        self.notes: list[Note] = []
        self.trace: list[Incumbent] = []
        self.ended_s = 0.0
        self._full_epochs = 0
        self._metrics = DEFAULT
        self._created_count = 0
        self._rows: dict[str, _Row] = {}
        self._frozen: dict[str, Trial] = {}

    def apply(self, event: Event) -> None:
        """Fold one event. Raises ValueError where it contradicts those before it."""
        if (self.started is None) != isinstance(event, RunStarted):
            raise ValueError("a journal begins with run_started and holds it once")
        charge = self.ledger.apply(event)
        self.ended_s = event.at_s
        if charge is not None and (charge.trial != FINAL_TRIAL or FINAL_TRIAL in self._rows):
            row = self._row(charge.trial)
            row.devices = charge.devices
            row.busy_device_s += charge.devices * sum(charge.seconds.values())
            for phase, seconds in charge.seconds.items():
                row.busy_s[phase] += seconds
        match event:
            case EpochFinished():
                self._epoch_finished(event, charge)
            case TrialCreated():
                self._created(event)
            case TrialStarted():
                row = self._row(event.trial)
                row.state, row.devices, row.detail = "running", event.devices, ""
            case TrialReconfigured():
                self._reconfigured(event)
            case TrialPaused():
                self._row(event.trial).state = "paused"
            case TrialEnded():
                row = self._row(event.trial)
                row.state, row.detail = event.state, event.detail
            case WorkLost():
                row = self._row(event.trial)
                if row.state == "running":
                    row.state, row.detail = "lost", event.reason
            case TrialSummarised():
                self._summarised(event)
            case FinalScored():
                self.final = event
            case SearchFinished():
                self.search_finished = True
            case Note():
                self.notes.append(event)
            case RunStarted() | RunResumed() | RunInterrupted() | RunFinished():
                self._run_changed(event)
            case _:
                pass

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials of the search in the order of creation, then the final retrain."""
        rows = [self._freeze(trial) for trial in self._rows]
        return tuple(sorted(rows, key=lambda t: (t.purpose == "final", t.number)))

    def get(self, trial: str) -> Trial | None:
        """The trial of that id; None where it was never created."""
        return self._freeze(trial) if trial in self._rows else None

    @property
    def incumbent(self) -> Incumbent | None:
        """The lowest loss at full fidelity so far, or the best by the study's first metric; None before any trial got
        there."""
        return self.trace[-1] if self.trace else None

    @property
    def winner(self) -> Trial | None:
        """The trial of the incumbent."""
        return None if self.incumbent is None else self._freeze(self.incumbent.trial)

    def _freeze(self, trial: str) -> Trial:
        if trial not in self._frozen:
            self._frozen[trial] = self._rows[trial].freeze()
        return self._frozen[trial]

    def _row(self, trial: str) -> _Row:
        """The row of a trial that is about to change."""
        if trial not in self._rows:
            if trial != FINAL_TRIAL:
                raise ValueError(f"the trial {trial!r} was never created")
            winner = self.winner
            config = {} if winner is None or winner.best_config is None else winner.best_config
            self._rows[trial] = _Row(trial, 0, "final", config, None)
        self._frozen.pop(trial, None)
        return self._rows[trial]

    def _created(self, event: TrialCreated) -> None:
        if event.trial in self._rows:
            raise ValueError(f"the trial {event.trial!r} is created twice")
        purpose = self.ledger.purpose_of(event.trial)
        number = 0
        if purpose == "search":
            self._created_count += 1
            number = self._created_count
        self._rows[event.trial] = _Row(event.trial, number, purpose, event.config, event.model_based)

    def _epoch_finished(self, event: EpochFinished, charge: Charge | None) -> None:
        row = self._row(event.trial)
        if charge is not None:
            row.epochs_device_s += charge.devices * event.phases.total_s
        row.epochs, row.last_loss = event.epoch, event.eval_loss
        row.curve.append(
            EpochPoint(epoch=event.epoch, eval_loss=event.eval_loss, train_loss=event.train_loss, at_s=event.at_s)
        )
        values: dict[str, float] | None = {}
        if self._metrics != DEFAULT:
            values = metric_values(self._metrics, event, device_minutes(row.epochs_device_s))
        if values is not None:
            self._full_fidelity(row, event.epoch, event.eval_loss, event.at_s, values)

    def _summarised(self, event: TrialSummarised) -> None:
        row = self._row(event.trial)
        row.epochs, row.last_loss = event.epochs or 0, event.eval_loss
        if event.epochs is None:
            row.state = "summarised"
        else:
            row.state = "completed" if event.epochs >= self._full_epochs else "stopped"
            if self._metrics == DEFAULT:  # of others nothing is known
                self._full_fidelity(row, event.epochs, event.eval_loss, event.at_s, {})

    def _full_fidelity(self, row: _Row, epoch: int, loss: float | None, at_s: float, values: dict[str, float]) -> None:
        """A loss after the study's last epoch may be an incumbent; one after fewer may not."""
        if row.purpose != "search" or loss is None or epoch < self._full_epochs:
            return
        score = score_of(loss, values)
        if row.best_loss is None or score < row.best_score:
            row.best_loss, row.best_config, row.best_score, row.values = loss, row.config, score, values
        if not self.trace or score < self.trace[-1].score:
            allocated, busy = self.ledger.spent()
            self.trace.append(
                Incumbent(
                    trial=row.trial,
                    eval_loss=loss,
                    at_s=at_s,
                    allocated_device_min=allocated,
                    busy_device_min=busy,
                    values=values,
                )
            )

    def _reconfigured(self, event: TrialReconfigured) -> None:
        row = self._row(event.trial)
        if row.history:
            last = row.history[-1]
            if (last.donor, last.donor_epoch, last.config) == (event.donor, event.donor_epoch, event.config):
                return  # its process died before its next epoch, and it starts from there again
        row.history.append(
            ConfigChange(
                at_s=event.at_s,
                epoch=row.epochs,
                previous=row.config,
                config=event.config,
                donor=event.donor,
                donor_epoch=event.donor_epoch,
            )
        )
        row.config = event.config

    def _run_changed(self, event: RunStarted | RunResumed | RunInterrupted | RunFinished) -> None:
        if isinstance(event, RunStarted):
            self.started = event
            self._full_epochs = study_count(event.study, "epochs")
            self._metrics = study_metrics(event.study)
            return
        if isinstance(event, RunResumed):
            self.resumed.append(event)
            self.status, self.interrupted = "running", None
        elif isinstance(event, RunInterrupted):
            self.status, self.interrupted = "interrupted", event.reason
        else:
            self.status = "finished"
        for row in self._rows.values():
            if row.state == "running":  # its process went with the run's
                self._frozen.pop(row.trial, None)
                row.state = "lost"


def fold(events: Iterable[Event]) -> RunState:
    """The state after all events. Raises ValueError that names the event at fault."""
    state = RunState()
    for number, event in enumerate(events, 1):
        try:
            state.apply(event)
        except ValueError as error:
            raise ValueError(f"event {number} ({event.kind}): {error}") from None
    return state
