"""One trial after the other in virtual time, each in a process of its own: the manual grid, and the final retrain."""

from __future__ import annotations

from collections.abc import Mapping

from bench.engines.session import TRIAL_RETRIES, SearchStalled
from bench.engines.virtual.agenda import Agenda
from bench.engines.virtual.cluster import Cluster, Worker
from bench.engines.virtual.work import DIED, NODE_LOST, Died, EpochDone, Finished, Outcome, Saved, Work
from bench.events import Purpose
from bench.hyperparameters import Value


class Job:
    """Holds the devices of one trial. `end`: called from outside, lets no further trial begin."""

    def __init__(self, work: Work, agenda: Agenda, cluster: Cluster) -> None:
        self._work = work
        self._agenda = agenda
        self._cluster = cluster
        self._over: str | None = None
        self._worker: Worker | None = None
        self._trial = ""
        self._config: Mapping[str, Value] = {}
        self._epochs = 0
        self._saved: Saved | None = None
        self._deaths = 0
        self._running = False

    def run(self, trial: str, config: Mapping[str, Value], *, epochs: int, purpose: Purpose = "search") -> None:
        """Train one trial to its end. Raises SearchStalled where it waits for a node that will not return."""
        if self._over is not None:
            return
        self._trial, self._config, self._epochs = trial, config, epochs
        self._saved, self._deaths, self._running = None, 0, True
        self._work.created(trial, config, purpose=purpose)
        self._begin()
        while self._running:
            self._cluster.place()
            if not self._agenda.next():
                raise SearchStalled(
                    f"The search has stalled at {self._agenda.now_s():.0f} s: trial {trial} waits for a node, and none "
                    "will be back"
                )

    def end(self, reason: str) -> None:
        """The time is up: the epoch in progress is lost."""
        self._over = reason
        if not self._running:
            return
        if self._worker is not None:
            self._lose(reason)
        self._work.ended(self._trial, "stopped", reason)
        self._running = False

    def _begin(self) -> None:
        self._worker = self._cluster.request(self._started, self._node_lost)

    def _started(self) -> None:
        assert self._worker is not None
        self._work.begin(self._worker, self._trial, self._config, self._saved)
        self._train()

    def _train(self) -> None:
        worker = self._worker
        assert worker is not None
        delay_s, outcome = self._work.train(worker, until=self._epochs)
        self._cluster.do(worker, delay_s, lambda: self._report(worker, outcome))

    def _report(self, worker: Worker, outcome: Outcome) -> None:
        match outcome:
            case EpochDone():
                self._saved = outcome.saved
                self._work.epoch_done(worker, outcome)
                self._train()
            case Finished():
                self._work.completed(self._trial, epochs=self._epochs)
                self._release()
                self._running = False
            case Died():
                self._retry(outcome.busy_s, DIED)

    def _node_lost(self, worker: Worker) -> None:
        if worker.session is None:
            self._release()
            self._begin()
        else:
            self._retry(self._work.lost_so_far(worker), NODE_LOST)

    def _retry(self, busy_s: float, reason: str) -> None:
        self._deaths += 1
        self._release()
        self._work.lost(self._trial, busy_s, reason)
        if self._deaths > TRIAL_RETRIES:
            self._work.died_too_often(self._trial, reason)
            self._running = False
        else:
            self._begin()

    def _lose(self, reason: str) -> None:
        assert self._worker is not None
        busy_s = self._work.lost_so_far(self._worker)
        if busy_s:
            self._work.lost(self._trial, busy_s, reason)
        self._release()

    def _release(self) -> None:
        if self._worker is not None:
            self._cluster.release(self._worker)
            self._worker = None
