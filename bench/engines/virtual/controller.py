"""Ray Tune's trial controller in virtual time: what its schedulers and searchers see of it, without files or processes.

It takes the same steps as `ray.tune.execution.tune_controller.TuneController` of the locked version, in the same order:
ask the searcher for trials, ask the scheduler which to run, stage what waits, handle one event. A test drives Ray's own
controller on the same virtual cluster and compares every event.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, HyperBandForBOHB, TrialScheduler
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter, SearchAlgorithm, Searcher
from ray.tune.search.search_generator import SearchGenerator

from bench.engines.session import TRIAL_RETRIES, SearchStalled, told_waiting
from bench.engines.virtual.agenda import Agenda
from bench.engines.virtual.cluster import Cluster, Worker
from bench.engines.virtual.trial import Save, VirtualTrial
from bench.engines.virtual.work import DIED, NODE_LOST, Died, EpochDone, Finished, Outcome, Work
from bench.strategy import TIME_ATTRIBUTE, TunePlan

LEAST_PENDING = 200
"""Trials that Tune lets wait at most where nothing is learned between them; more on a cluster of many CPUs."""

CONTINUE, PAUSE, STOP = TrialScheduler.CONTINUE, TrialScheduler.PAUSE, TrialScheduler.STOP


class Controller:
    """Drives a plan's searcher and scheduler. `search_alg`: as Tune wraps it. `epochs`: of a trial; `plan` says whether
    the engine stops trials there. `cpus`: of the whole cluster. `quick`: what would be found again as it was is not
    looked for, see `quick`. `waited`: trials that began to wait, as pending or paused ones, since it was emptied."""

    def __init__(
        self, plan: TunePlan, search_alg: SearchAlgorithm, work: Work, agenda: Agenda, cluster: Cluster, *,
        epochs: int, cpus: int, quick: bool,
    ) -> None:  # fmt: skip
        self.search_alg = search_alg
        self._scheduler = plan.scheduler
        self._stops_at_epochs = plan.stops_at_epochs
        self._model_based = plan.model_based
        self._work = work
        self._agenda = agenda
        self._cluster = cluster
        self._epochs = epochs
        self._most_pending = most_pending(search_alg, cpus)
        self._trials: list[VirtualTrial] = []
        self._live: dict[VirtualTrial, None] = {}
        self._unfinished = 0
        self._paused = 0
        self._pending: set[VirtualTrial] = set()
        self._unstaged: deque[VirtualTrial] = deque()
        self._unassigned: dict[VirtualTrial, None] = {}
        self._staged: dict[VirtualTrial, None] = {}
        self._idle_workers: deque[Worker] = deque()
        self._newly_paused: list[VirtualTrial] = []
        self._positions = 0
        self._over = False
        self.waited: list[VirtualTrial] = []
        scheduler = type(plan.scheduler)
        self._first_in_first_out = quick and scheduler.choose_trial_to_run is FIFOScheduler.choose_trial_to_run
        # Ray's own ways to choose, and the suite's, go by what they were told and by the trials' states, and by nothing
        # else; but one halves its brackets as it chooses: it must be asked as often as Ray asks it.
        own = scheduler.choose_trial_to_run.__module__.startswith(("ray.tune.schedulers.", "bench."))
        self._keeps_choice = quick and own and not issubclass(scheduler, HyperBandForBOHB)
        # A save takes no time. Skipping its event changes the order of attempts alone, by which processes die.
        self._saves_at_once = quick and not work.simulation.failure_rate
        self._choice: VirtualTrial | None = None
        self._changed = True
        self._queues: dict[str, list[tuple[int, VirtualTrial]]] = {Trial.PENDING: [], Trial.PAUSED: []}

    # What schedulers and searchers call

    def get_trials(self) -> list[VirtualTrial]:
        return self._trials

    def get_live_trials(self) -> dict[VirtualTrial, None]:
        return self._live  # ordered, unlike Tune's own set

    def stop_trial(self, trial: VirtualTrial) -> None:
        if trial.is_finished():
            return
        if trial.status == Trial.RUNNING:
            result = dict(trial.last_result)
            self._scheduler.on_trial_complete(self, trial, result)
            self.search_alg.on_trial_complete(trial.trial_id, result=dict(trial.last_result))
        else:
            self._scheduler.on_trial_remove(self, trial)
            self.search_alg.on_trial_complete(trial.trial_id)
        self._work.completed(trial.name)
        self._stop(trial)
        self._live.pop(trial, None)

    def pause_trial(self, trial: VirtualTrial, should_checkpoint: bool = True) -> None:
        trial.cached_decision = None
        if trial.worker is None:
            return
        if should_checkpoint:
            trial.cached_decision = PAUSE
            self._schedule_trial_save(trial)
        else:
            self._stop(trial)
            self._set_status(trial, Trial.PAUSED)
            self._newly_paused.append(trial)

    def _schedule_trial_save(self, trial: VirtualTrial, result: Mapping[str, Any] | None = None) -> Save | None:
        if trial.worker is None:
            return None
        save = Save(trial.worker.session.at, dict(result or trial.last_result))
        trial.saving_to = save
        self._cluster.do(trial.worker, 0.0, lambda: self._saved(trial, save))
        return save

    # One step after the other

    def run(self) -> None:
        """Search until every trial has ended. Raises SearchStalled where trials wait for what will not come."""
        waited = 0
        while not self._over and (self._unfinished or not self.search_alg.is_finished()):
            if self.step():
                waited = 0
                continue
            waited += 1
            if waited > len(self._trials) + 2:  # a bracket that is processed while nothing runs changes the next step
                raise SearchStalled(self._stall())

    def step(self) -> bool:
        """Handle one event. False where there was none."""
        self._ask_for_trials()
        self._stage_trials()
        self._cluster.place()
        happened = self._agenda.next()
        if self._idle_workers and not self._more_to_come() and not self._staged:
            while self._idle_workers:
                self._end_worker(self._idle_workers.popleft())
        for trial in self._newly_paused:
            if trial.status == Trial.PAUSED:
                self._work.paused(trial.name)
        self._newly_paused.clear()
        return happened

    def end(self, reason: str) -> None:
        """End the search: what runs is lost, and every trial that has not ended is stopped."""
        self._over = True
        for trial in self._trials:
            if trial.is_finished():
                continue
            if trial.worker is not None:
                busy_s = self._work.lost_so_far(trial.worker)
                if busy_s:
                    self._work.lost(trial.name, busy_s, reason)
                self._cluster.release(trial.worker)
            self._work.ended(trial.name, "stopped", reason)

    def _stall(self) -> str:
        waiting = [t for t in self._trials if not t.is_finished()]
        for_what = "a slot" if self._cluster.waiting else "the scheduler to let one go on"
        return (
            f"The search has stalled at {self._agenda.now_s():.0f} s: {len(waiting)} trials wait for {for_what} "
            f"({told_waiting(waiting)})"
        )

    def _ask_for_trials(self) -> None:
        while len(self._pending) < self._most_pending and not self.search_alg.is_finished():
            trial = self.search_alg.next_trial()
            if trial is None:
                return
            self._add(trial)

    def _add(self, trial: VirtualTrial) -> None:
        self._move_to_end(trial)
        self._live[trial] = None
        trial.waited = self.waited
        self._unfinished += 1
        self._scheduler.on_trial_add(self, trial)
        chose = None if self._model_based is None else self._model_based.get(trial.trial_id)
        self._work.created(trial.name, trial.config, model_based=chose)
        self._enqueue(trial)

    def _move_to_end(self, trial: VirtualTrial) -> None:
        if trial.position:
            self._trials.remove(trial)
        self._trials.append(trial)
        self._positions += 1
        trial.position = self._positions

    def _enqueue(self, trial: VirtualTrial) -> None:
        self._changed = True
        self.waited.append(trial)
        self._pending.add(trial)
        self._unstaged.append(trial)
        self._unassigned[trial] = None
        if self._first_in_first_out:
            heapq.heappush(self._queues[Trial.PENDING], (trial.position, trial))

    def _stage_trials(self) -> None:
        chosen = self._choose()
        if chosen is not None:
            if chosen.staged or chosen.worker is not None:
                self._reuse_worker(chosen)
            else:
                self._set_status(chosen, Trial.PENDING)
                self._stage(chosen)
        while self._unstaged and self._cluster.waiting < self._most_pending:
            trial = self._unstaged.popleft()
            if trial in self._pending and trial.worker is None:
                if trial.staged:
                    self._reuse_worker(trial)
                else:
                    self._stage(trial)
        if self._idle_workers and self._unassigned:
            waiting = next(iter(self._unassigned))  # Tune takes any of a set: here the one that has waited longest
            del self._unassigned[waiting]
            self._reuse_worker(waiting)
            if not waiting.staged:
                self._mark_staged(waiting)

    def _choose(self) -> VirtualTrial | None:
        if not self._first_in_first_out:
            if self._changed or not self._keeps_choice:
                self._changed = False
                self._choice = self._scheduler.choose_trial_to_run(self)
            return self._choice
        for status, queue in self._queues.items():  # what FIFO finds by looking through all trials
            while queue:
                position, trial = queue[0]
                if trial.status == status and trial.position == position:
                    return trial
                heapq.heappop(queue)
        return None

    def _stage(self, trial: VirtualTrial) -> None:
        self._mark_staged(trial)
        if self._reuse_worker(trial):
            return
        worker = self._cluster.request(lambda: self._started(worker), self._node_lost)
        worker.job, trial.worker = trial, worker

    def _mark_staged(self, trial: VirtualTrial) -> None:
        trial.staged = True
        self._staged[trial] = None

    def _reuse_worker(self, trial: VirtualTrial) -> bool:
        if trial.resetting:
            return True
        if not self._idle_workers:
            return False
        worker = self._idle_workers.popleft()
        if trial.worker is not None:
            trial.worker.job = None
            self._end_worker(trial.worker)
        trial.worker, worker.job = worker, trial
        trial.resetting = True
        self._cluster.do(worker, 0.0, lambda: self._reset(trial, worker))
        return True

    def _reset(self, trial: VirtualTrial, worker: Worker) -> None:
        trial.resetting = False
        self._started(worker)

    def _started(self, worker: Worker) -> None:
        trial: VirtualTrial = worker.job
        unstaged = trial if trial.staged else next(iter(self._staged))
        unstaged.staged = False
        del self._staged[unstaged]
        self._work.begin(worker, trial.name, trial.config, trial.checkpoint)
        self._set_status(trial, Trial.RUNNING)
        if trial.checkpoint is not None:
            self._cluster.do(worker, 0.0, lambda: self._restored(trial))
        else:
            self._train(trial)

    def _restored(self, trial: VirtualTrial) -> None:
        self._live[trial] = None
        self._train(trial)

    def _train(self, trial: VirtualTrial) -> None:
        worker = trial.worker
        assert worker is not None
        delay_s, outcome = self._work.train(worker, until=self._epochs)
        self._cluster.do(worker, delay_s, lambda: self._report(trial, worker, outcome))

    def _report(self, trial: VirtualTrial, worker: Worker, outcome: Outcome) -> None:
        match outcome:
            case EpochDone():
                self._result(trial, worker, outcome)
            case Finished():
                trial.last_result["done"] = True
                self._decide(trial, STOP)
            case Died():
                self._fail(trial, outcome.busy_s, DIED)

    def _result(self, trial: VirtualTrial, worker: Worker, done: EpochDone) -> None:
        epoch = done.saved.epoch
        objectives = self._work.objectives(trial.name, done)
        result = {TIME_ATTRIBUTE: epoch, **objectives, "trial_id": trial.trial_id}
        seen = dict(result)
        if self._stops_at_epochs and epoch >= self._epochs:
            decision = STOP
        else:
            decision = self._scheduler.on_trial_result(self, trial, seen)
            self._changed = True
        if decision == STOP:
            result["done"] = True
        else:
            self.search_alg.on_trial_result(trial.trial_id, seen)
        self._work.epoch_done(worker, done)
        trial.last_result = result
        if decision == CONTINUE and self._saves_at_once and not trial.is_saving:
            trial._latest_checkpoint_result = Save(worker.session.at, result).result
            self._train(trial)
            return
        if decision != PAUSE and trial.worker is not None:
            self._schedule_trial_save(trial)
        if trial.is_saving:
            if trial.cached_decision is None or decision in (PAUSE, STOP):
                trial.cached_decision = decision
        else:
            self._decide(trial, decision)

    def _saved(self, trial: VirtualTrial, save: Save) -> None:
        trial._latest_checkpoint_result = save.result
        trial.saving_to = None
        decision, trial.cached_decision = trial.cached_decision, None
        if decision is not None:
            self._decide(trial, decision, after_save=True)

    def _decide(self, trial: VirtualTrial, decision: str, *, after_save: bool = False) -> None:
        if decision == CONTINUE:
            self._train(trial)
        elif decision == PAUSE:
            self.pause_trial(trial, should_checkpoint=not after_save)
        elif decision == STOP:
            self.stop_trial(trial)

    # Failures

    def _node_lost(self, worker: Worker) -> None:
        trial: VirtualTrial | None = worker.job
        if trial is None:
            if worker in self._idle_workers:
                self._idle_workers.remove(worker)
            self._cluster.release(worker)
        elif trial.status == Trial.RUNNING:
            self._fail(trial, self._work.lost_so_far(worker), NODE_LOST)
        else:  # it had not begun: it waits for another place
            self._cluster.release(worker)
            trial.worker, trial.resetting = None, False
            if trial.staged:
                trial.staged = False
                del self._staged[trial]
            self._enqueue(trial)

    def _fail(self, trial: VirtualTrial, busy_s: float, reason: str) -> None:
        trial.num_failures += 1
        trial.cached_decision, trial.saving_to = None, None
        if trial.num_failures <= TRIAL_RETRIES:
            self._stop(trial, error=True)
            self._scheduler.on_trial_error(self, trial)
            self._move_to_end(trial)
            self._set_status(trial, Trial.PENDING)
            self._live[trial] = None
            self._scheduler.on_trial_add(self, trial)
            self._work.lost(trial.name, busy_s, reason)
        else:
            self._scheduler.on_trial_error(self, trial)
            self.search_alg.on_trial_complete(trial.trial_id, error=True)
            self._stop(trial, error=True)
            self._work.lost(trial.name, busy_s, reason)
            self._work.died_too_often(trial.name, reason)

    # The life of a trial

    def _stop(self, trial: VirtualTrial, *, error: bool = False) -> None:
        if trial.status == Trial.ERROR:
            return
        if trial.is_saving:
            trial.cached_decision = STOP
        trial.saving_to = None
        self._set_status(trial, Trial.ERROR if error else Trial.TERMINATED)
        worker = trial.worker
        if worker is None:
            return
        self._cluster.clear_tasks(worker)
        trial.worker, worker.job = None, None
        if error:
            self._cluster.release(worker)
        elif worker.started and (self._more_to_come() or self._staged):
            self._idle_workers.append(worker)
        else:
            self._end_worker(worker)

    def _end_worker(self, worker: Worker) -> None:
        """Have a worker end, which is an event of its own: until then it keeps its slot."""
        self._cluster.clear_tasks(worker)
        if worker.slot is None:
            self._cluster.release(worker)
        else:
            self._cluster.do(worker, 0.0, lambda: self._cluster.release(worker))

    def _more_to_come(self) -> bool:
        return self._paused > 0 or not self.search_alg.is_finished()

    def _set_status(self, trial: VirtualTrial, status: str) -> None:
        before = trial.status
        if before == status:
            return
        ended = (Trial.TERMINATED, Trial.ERROR)
        self._unfinished += (before in ended) - (status in ended)
        self._paused += (status == Trial.PAUSED) - (before == Trial.PAUSED)
        trial.status = status
        self._changed = True
        self._pending.discard(trial)
        self._unassigned.pop(trial, None)
        if status == Trial.PENDING:
            self._enqueue(trial)
        elif status == Trial.PAUSED:
            self.waited.append(trial)
            if self._first_in_first_out:
                heapq.heappush(self._queues[Trial.PAUSED], (trial.position, trial))


def most_pending(search_alg: SearchAlgorithm, cpus: int) -> int:
    """So many trials may wait for a place, as Tune counts: one suggestion is drawn ahead of a searcher that learns."""
    if isinstance(search_alg, BasicVariantGenerator):
        return max(LEAST_PENDING, int(cpus * 1.1))
    searcher = getattr(search_alg, "searcher", None)
    while searcher is not None:
        if isinstance(searcher, ConcurrencyLimiter):
            return int(searcher.max_concurrent)
        searcher = getattr(searcher, "searcher", None)
    return 1


def wrapped(search_alg: SearchAlgorithm | Searcher) -> SearchAlgorithm:
    """The search algorithm as Tune's controller knows it: a searcher becomes one by a generator around it."""
    return SearchGenerator(search_alg) if isinstance(search_alg, Searcher) else search_alg
