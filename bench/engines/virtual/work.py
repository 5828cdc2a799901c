"""What a trial does in virtual time, how long it takes, and the events that this makes.

A trial that takes over another's weights (population-based training) goes on from the donor's loss, and from there its
loss changes by the ratio that the curve of its new configuration shows from epoch to epoch. Recorded curves hold no
such change of course, so this transition is an assumption, and what rests on it is approximate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from bench.curve_model import CurveModel, DrawnCurve
from bench.engines.session import TRIAL_RETRIES
from bench.engines.virtual.cluster import Worker
from bench.events import (
    EpochFinished,
    Event,
    Note,
    Phases,
    Purpose,
    State,
    TrialCreated,
    TrialEnded,
    TrialPaused,
    TrialReconfigured,
    TrialStarted,
    WorkLost,
)
from bench.hyperparameters import Value
from bench.objectives import Objectives
from bench.profile import Profile
from bench.seeds import child_seed
from bench.space import plain
from bench.study import Simulation, Study

Config = dict[str, Value]

DIGITS = 12
"""Significant digits of a hyperparameter: processors differ in the last of the 17, by how they compute exponentials."""

DIED = "its worker process died"
NODE_LOST = "its node was lost"


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint: whose, after which epoch, at which loss; `factor`: of the loss to that of the curve in force.
    `failed`: how the trial failed there, where it did."""

    trial: str
    epoch: int
    loss: float | None = None
    factor: float = 1.0
    failed: tuple[State, str] | None = None


@dataclass(frozen=True, slots=True)
class EpochDone:
    """An epoch was trained. A loss of None: not finite, which fails the trial. Curves know no tokens and no memory."""

    saved: Saved
    phases: Phases
    samples_per_s: float | None
    repeats_failure: bool = False
    tokens_per_s: float | None = None
    device_memory_mib: float | None = None
    host_memory_mib: float | None = None

    @property
    def eval_loss(self) -> float | None:
        return self.saved.loss


@dataclass(frozen=True, slots=True)
class Finished:
    """The trial has no epoch left."""


@dataclass(frozen=True, slots=True)
class Died:
    """The trial's process died after `busy_s` seconds of an epoch."""

    busy_s: float


Outcome = EpochDone | Finished | Died


@dataclass(slots=True)
class _Session:
    """A trial in a worker. `begun_s`: since when an epoch has kept the devices busy (None: none is in progress)."""

    trial: str
    config: Config
    curve: DrawnCurve
    at: Saved
    restored: bool
    first: bool = True
    begun_s: float | None = None


class Work:
    """The trials of one run: their curves, times and failures, and their events.

    `copies`: the strategy lets trials take over others, so that a failed one waits for that. `checkpoints`: whether the
    workload saves an epoch. `emit`: takes every event. `now_s`: the virtual clock.
    """

    def __init__(
        self,
        study: Study,
        profile: Profile,
        model: CurveModel,
        *,
        copies: bool,
        checkpoints: bool,
        emit: Callable[[Event], None],
        now_s: Callable[[], float],
    ) -> None:
        assert study.simulation is not None
        self.simulation: Simulation = study.simulation
        self.overheads = profile.overheads
        self._study = study
        self._model = model
        self._copies = copies
        self._checkpoints = checkpoints
        self._emit = emit
        self.now_s = now_s
        self._attempts = 0
        self._failure_seed = child_seed(study.seed, "failures")
        self._curve_seed = child_seed(study.seed, "curves")
        self._epochs = study.epochs
        self._objectives = Objectives(metrics=study.metrics, devices=study.devices_of_a_trial)
        self._spent_s: dict[str, float] = {}
        self._losses: dict[str, float | None] = {}
        self._trained: dict[str, int] = {}
        self._ended: set[str] = set()
        self._drawn: dict[str, tuple[Config, DrawnCurve]] = {}

    def begin(self, worker: Worker, trial: str, config: Mapping[str, Any], saved: Saved | None) -> None:
        """Put a trial into a worker, from its checkpoint where it has one, and say so."""
        plain_config = _rounded(config)
        at = saved or Saved(trial, 0)
        curve = self._curve(trial, plain_config)
        if at.trial != trial:
            self._emit(
                TrialReconfigured(
                    at_s=self.now_s(), trial=trial, donor=at.trial, donor_epoch=at.epoch, config=plain_config
                )
            )
        if at.epoch and at.failed is None:
            expected = curve.losses[at.epoch - 1]
            factor = at.factor if at.trial == trial else (at.loss / expected if at.loss and expected else 1.0)
            at = Saved(at.trial, at.epoch, at.loss, factor)
        worker.session = _Session(trial, plain_config, curve, at, restored=at.epoch > 0)
        if trial not in self._ended:  # a failed one that is resumed finishes at once
            self._emit(
                TrialStarted(at_s=self.now_s(), trial=trial, epoch=at.epoch, devices=self._study.devices_per_trial)
            )

    def _curve(self, trial: str, config: Config) -> DrawnCurve:
        drawn = self._drawn.get(trial)
        if drawn is None or drawn[0] != config:
            drawn = self._drawn[trial] = (config, self._model.draw(config, seed=self._curve_seed, trial=trial))
        return drawn[1]

    def train(self, worker: Worker, *, until: int) -> tuple[float, Outcome]:
        """The next epoch of the trial in a worker: in how many seconds it will be reported, and what. A trial that has
        `until` epochs, or has failed, finishes at once."""
        session: _Session = worker.session
        at = session.at
        if at.epoch >= until or (at.failed and not self._copies):
            return 0.0, Finished()
        latency_s = self.overheads.scheduler_latency_s
        if at.failed:  # it waits for a better one to take its place
            session.at = Saved(session.trial, at.epoch + 1, failed=at.failed)
            return latency_s, EpochDone(session.at, Phases(), None, repeats_failure=True)
        phases = self._phases(worker, session)
        session.begun_s = self.now_s() + latency_s
        fraction = self._death()
        if fraction is not None:
            return latency_s + fraction * phases.total_s, Died(round(fraction * phases.total_s, 6))
        worker.fresh, session.first, session.restored = False, False, False
        curve_loss = session.curve.losses[at.epoch]
        loss = None if curve_loss is None else round(at.factor * curve_loss, 6)
        failed: tuple[State, str] | None = ("nan", "its loss was not finite") if loss is None else None
        session.at = Saved(session.trial, at.epoch + 1, loss, at.factor, failed)
        samples_per_s = session.curve.samples_per_s[at.epoch]
        if samples_per_s is not None:
            samples_per_s *= self.simulation.speed
        return latency_s + phases.total_s, EpochDone(session.at, phases, samples_per_s)

    def _phases(self, worker: Worker, session: _Session) -> Phases:
        curve, over, index = session.curve, self.overheads, session.at.epoch
        speed = self.simulation.speed
        startup_s = over.trial_startup_s if session.first else 0.0
        if worker.fresh:
            startup_s += over.worker_startup_s
        checkpoint_s = (curve.checkpoint_s[index] or over.checkpoint_s) if self._checkpoints else 0.0
        return Phases(
            startup_s=startup_s,
            train_s=curve.train_s[index] / speed,
            eval_s=(curve.eval_s[index] or over.evaluation_s) / speed,
            checkpoint_s=checkpoint_s,
            restore_s=over.restore_s if session.restored else 0.0,
        )

    def _death(self) -> float | None:
        """After which share of the epoch the process dies; None: it lives."""
        rate = self.simulation.failure_rate
        if not rate:
            return None
        self._attempts += 1
        digest = hashlib.sha256(f"{self._failure_seed} {self._attempts}".encode()).digest()
        chance = Random(int.from_bytes(digest[:8], "big"))
        return chance.random() if chance.random() < rate else None

    def created(
        self, trial: str, config: Mapping[str, Any], *, model_based: bool | None = None, purpose: Purpose = "search"
    ) -> None:
        self._emit(
            TrialCreated(
                at_s=self.now_s(), trial=trial, config=_rounded(config), model_based=model_based, purpose=purpose
            )
        )

    def objectives(self, trial: str, done: EpochDone) -> dict[str, float]:
        """What scheduler and searcher are told of an epoch; to be asked once, when it is reported."""
        spent_s = self._spent_s[trial] = self._spent_s.get(trial, 0.0) + done.phases.total_s
        return self._objectives.of(done, spent_s)

    def epoch_done(self, worker: Worker, done: EpochDone) -> None:
        """Report an epoch; of a trial that failed in it and will not go on, its end."""
        session: _Session = worker.session
        trial, session.begun_s = session.trial, None
        if done.saved.failed is not None and not self._copies:
            state, detail = done.saved.failed
            self.ended(trial, state, detail, done.phases)
            return
        if done.saved.failed is not None and not done.repeats_failure:
            self.warn(f"Trial {trial} failed in epoch {done.saved.epoch} ({': '.join(done.saved.failed)}).")
        self._losses[trial], self._trained[trial] = done.saved.loss, done.saved.epoch
        self._emit(
            EpochFinished(
                at_s=self.now_s(),
                trial=trial,
                epoch=done.saved.epoch,
                eval_loss=done.saved.loss,
                train_loss=None,
                phases=done.phases,
                samples_per_s=done.samples_per_s,
                tokens_per_s=done.tokens_per_s,
                device_memory_mib=done.device_memory_mib,
                host_memory_mib=done.host_memory_mib,
                config=session.config,
                worker=f"slot {worker.slot}",
            )
        )

    def paused(self, trial: str) -> None:
        if trial not in self._ended:
            self._emit(TrialPaused(at_s=self.now_s(), trial=trial, epoch=self._trained.get(trial, 0)))

    def lost(self, trial: str, busy_s: float, reason: str) -> None:
        devices = self._study.devices_per_trial
        self._emit(WorkLost(at_s=self.now_s(), trial=trial, busy_s=busy_s, devices=devices, reason=reason))

    def lost_so_far(self, worker: Worker) -> float:
        """Seconds that the epoch in progress has kept a worker's devices busy."""
        session: _Session | None = worker.session
        if session is None or session.begun_s is None:
            return 0.0
        return round(max(0.0, self.now_s() - session.begun_s), 6)

    def completed(self, trial: str, *, epochs: int | None = None) -> None:
        """Report the end of a trial that the strategy let go, or that has all its epochs."""
        trained = self._trained.get(trial, 0)
        if trained and self._losses[trial] is None:
            self.ended(trial, "nan", "its last loss was not finite")
        else:
            self.ended(trial, "completed" if trained >= (epochs or self._epochs) else "stopped")

    def ended(self, trial: str, state: State, detail: str = "", phases: Phases | None = None) -> None:
        """Report the end of a trial, once."""
        if trial not in self._ended:
            self._ended.add(trial)
            self._emit(
                TrialEnded(at_s=self.now_s(), trial=trial, state=state, detail=detail, phases=phases or Phases())
            )

    def died_too_often(self, trial: str, reason: str) -> None:
        self.ended(trial, "failed", f"{reason}, {TRIAL_RETRIES + 1} times")

    def warn(self, message: str) -> None:
        self._emit(Note(at_s=self.now_s(), level="warning", message=message))


def _rounded(config: Mapping[str, Any]) -> Config:
    return {
        name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
        for name, value in plain(config).items()
    }
