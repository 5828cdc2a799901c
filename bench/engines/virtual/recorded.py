"""A real run once more: its strategy decides anew in virtual time, and its trials answer what the journal says."""

from __future__ import annotations

import logging
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from bench.engines.session import SearchStalled
from bench.engines.virtual.agenda import Action, Agenda
from bench.engines.virtual.cluster import Cluster, Worker
from bench.engines.virtual.serial import Job
from bench.engines.virtual.work import Config, Died, EpochDone, Finished, Outcome, Saved, Work
from bench.events import (
    FINAL_TRIAL,
    EpochFinished,
    Event,
    RunStarted,
    State,
    TrialEnded,
    TrialPaused,
    TrialReconfigured,
    TrialStarted,
    WorkLost,
)
from bench.objectives import Objectives
from bench.profile import load_profile
from bench.run import plan_study
from bench.seeds import child_seed
from bench.space import plain
from bench.strategy import GridPlan, TunePlan, load_strategy
from bench.study import Simulation, Study

if TYPE_CHECKING:
    from bench.curve_model import CurveModel

LOOK_S = 0.1
"""Where nothing happens for so long, Tune's controller asks its searcher and scheduler again."""

SAVE_S = 0.004
"""Until a checkpoint is saved, where the journal does not show it since the trial just goes on: as most others took."""

LONGEST_SAVE_S = 1.0
"""A pause or an end that comes later than this after a trial's result is not what its save was followed by."""

Told = EpochFinished | TrialEnded | WorkLost
"""What a trial's worker reports: an epoch, a failure, or nothing since its process died."""


def replayed(events: Sequence[Event]) -> list[Event]:
    """The events of the search of a finished run, with its strategy's decisions made anew.

    Recorded are when each trial starts and reports, what it reports (a loss, a failure, a dead process), and when its
    checkpoint was saved where a pause or an end followed. Made anew is all the rest: which configurations are suggested
    and when, which trial is asked to start, which are paused, stopped and resumed, who takes over whom with what. A
    trial that is asked for more than the journal holds of it is silent for ever, and so may be those that wait for it.

    Raises UserError where the strategy, its plan or the profile cannot be had.
    """
    started = events[0]
    assert isinstance(started, RunStarted)
    study = Study.from_dict(started.study)
    strategy = load_strategy(study.strategy_file or study.strategy)
    plan = plan_study(study, strategy)
    found: list[Event] = [replace(started, at_s=0.0)]
    agenda = _Agenda()
    work = _Work(study, events, copies=strategy.copies, emit=found.append, agenda=agenda)
    try:
        if isinstance(plan, GridPlan):
            job = Job(work, agenda, _Cluster(agenda, work, slots=1))
            for number, config in enumerate(plan.configs, 1):
                job.run(f"{number:04d}", config, epochs=study.epochs)
        else:
            _search(study, plan, work, agenda)
    except SearchStalled:
        pass  # it has left the record: what it did until then is compared
    return found


def _search(study: Study, plan: TunePlan, work: _Work, agenda: Agenda) -> None:
    from bench.engines.ray_adjust import seeded_decisions
    from bench.engines.virtual.controller import Controller, wrapped
    from bench.engines.virtual.quick import shortcuts
    from bench.engines.virtual.trial import Spec, virtual_trials

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with seeded_decisions(child_seed(study.seed, "search")), virtual_trials(), shortcuts():
        search_alg = wrapped(plan.search_alg)
        search_alg.add_configurations([Spec(plan.param_space, study.samples)])
        cluster = _Cluster(agenda, work, slots=study.slots)
        controller = Controller(
            plan, search_alg, work, agenda, cluster, epochs=study.epochs, cpus=study.slots, quick=True
        )
        controller.run()


class _Agenda(Agenda):
    """Goes to the next event, or by `LOOK_S` where that is further."""

    def next(self) -> bool:
        if not self._actions:
            return False
        look = self.after(LOOK_S, lambda: None)
        happened = super().next()
        self.cancel(look)
        return happened


@dataclass(slots=True)
class _Story:
    """What a journal says of one trial, with what is yet to come first. `starts`: when it started, in seconds from the
    run's start. `told`: its reports, each with the event that followed. `rest_s`: when it was paused or ended upon
    the report that came last (None: it was not)."""

    starts: deque[float] = field(default_factory=deque)
    told: deque[tuple[Told, Event | None]] = field(default_factory=deque)
    rest_s: float | None = None


def _stories(events: Iterable[Event], start_s: float) -> dict[str, _Story]:
    by_trial: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        trial = getattr(event, "trial", FINAL_TRIAL)
        if trial != FINAL_TRIAL:
            by_trial[trial].append(replace(event, at_s=event.at_s - start_s))
    found: dict[str, _Story] = defaultdict(_Story)
    for trial, own in by_trial.items():
        story = found[trial]
        for before, event, after in zip([None, *own], own, [*own[1:], None], strict=False):
            if isinstance(event, TrialStarted):
                story.starts.append(event.at_s)
            elif isinstance(event, (EpochFinished, WorkLost)) or _is_failure(event, before):
                story.told.append((cast("Told", event), after))
    return found


def _is_failure(event: Event, before: Event | None) -> bool:
    """Whether an end is itself the report of a failure, and not what followed from one."""
    if not isinstance(event, TrialEnded) or event.state in ("completed", "stopped"):
        return False
    return isinstance(before, TrialStarted) or (isinstance(before, EpochFinished) and before.eval_loss is not None)


@dataclass(slots=True)
class _Session:
    """A trial in a worker: its configuration, and the checkpoint that it is at. Nothing is lost between reports."""

    trial: str
    config: Config
    at: Saved
    begun_s: float | None = None


class _Work(Work):
    """Trials that do what a journal says."""

    def __init__(
        self, study: Study, events: Sequence[Event], *, copies: bool, emit: Callable[[Event], None], agenda: Agenda
    ) -> None:
        simulation = Simulation(
            curves="", curves_sha256="", node_devices=study.devices, node_cpus=study.slots, trial_cpus=1
        )
        super().__init__(
            replace(study, engine="virtual", simulation=simulation, trials_per_device=1),
            load_profile(study.profile),
            cast("CurveModel", None),  # never asked
            copies=copies,
            checkpoints=True,
            emit=emit,
            now_s=agenda.now_s,
        )
        self._holds = copies
        self._devices = study.devices_of_a_trial
        self._objectives = Objectives(metrics=study.metrics, devices=self._devices)
        self._say = emit
        self._stories = _stories(events, events[0].at_s)

    def until_start_s(self, trial: str) -> float:
        """Seconds until the trial's next start; infinite where the journal holds none."""
        starts = self._stories[trial].starts
        return self._until_s(starts[0]) if starts else math.inf

    def until_saved_s(self, trial: str) -> float:
        """Seconds until the checkpoint of the trial's last report is saved."""
        rest_s = self._stories[trial].rest_s
        until_s = math.inf if rest_s is None else self._until_s(rest_s)
        return until_s if until_s <= LONGEST_SAVE_S else SAVE_S

    def begin(self, worker: Worker, trial: str, config: Mapping[str, Any], saved: Saved | None) -> None:
        starts = self._stories[trial].starts
        if starts:
            starts.popleft()
        at, settled = saved or Saved(trial, 0), plain(config)
        if at.trial != trial:
            self._say(
                TrialReconfigured(at_s=self.now_s(), trial=trial, donor=at.trial, donor_epoch=at.epoch, config=settled)
            )
        worker.session = _Session(trial, settled, at)
        self._say(TrialStarted(at_s=self.now_s(), trial=trial, epoch=at.epoch, devices=self._devices))

    def train(self, worker: Worker, *, until: int) -> tuple[float, Outcome]:
        session: _Session = worker.session
        at, story = session.at, self._stories[session.trial]
        if at.epoch >= until or (at.failed and not self._holds):
            return 0.0, Finished()
        if not story.told:
            return math.inf, Finished()
        told, after = story.told.popleft()
        story.rest_s = after.at_s if isinstance(after, (TrialPaused, TrialEnded)) else None
        delay_s = self._until_s(told.at_s)
        if isinstance(told, WorkLost):
            return delay_s, Died(told.busy_s)
        loss = told.eval_loss if isinstance(told, EpochFinished) else None
        failed: tuple[State, str] | None = (told.state, told.detail) if isinstance(told, TrialEnded) else None
        session.at = Saved(session.trial, at.epoch + 1, loss, failed=failed)
        if not isinstance(told, EpochFinished):
            return delay_s, EpochDone(session.at, told.phases, None)
        return delay_s, EpochDone(
            session.at,
            told.phases,
            told.samples_per_s,
            tokens_per_s=told.tokens_per_s,
            device_memory_mib=told.device_memory_mib,
            host_memory_mib=told.host_memory_mib,
        )

    def _until_s(self, at_s: float) -> float:
        return max(0.0, at_s - self.now_s())


class _Cluster(Cluster):
    """One in which starts and saves take as long as they took."""

    def __init__(self, agenda: Agenda, work: _Work, *, slots: int) -> None:
        super().__init__(agenda, nodes=1, slots_per_node=slots)
        self._work = work

    def do(self, worker: Worker, delay_s: float, action: Action) -> None:
        trial = worker.job
        if trial is not None and (not worker.started or trial.resetting):
            delay_s = self._work.until_start_s(trial.name)
        elif trial is not None and trial.is_saving:
            delay_s = self._work.until_saved_s(trial.name)
        if delay_s < math.inf:
            super().do(worker, delay_s, action)
