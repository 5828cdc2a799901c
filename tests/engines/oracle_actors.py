"""Ray's actor manager on a virtual cluster: actors are workers of a `Cluster`, their tasks end when `Work` says."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.exceptions import RayActorError
from ray.train._internal.session import _TrainingResult
from ray.tune.result import RESULT_DUPLICATE, SHOULD_CHECKPOINT

from bench.engines.virtual.agenda import Agenda
from bench.engines.virtual.cluster import Cluster, Worker
from bench.engines.virtual.work import Died, EpochDone, Finished, Saved, Work
from bench.strategy import FAILURE_OBJECTIVE, OBJECTIVE, TIME_ATTRIBUTE

EPOCH = "epoch"
"""Where a result carries what `Work` said of the epoch."""

Handler = Callable[..., None]


HANDLE = SimpleNamespace(get_auto_filled_metrics=SimpleNamespace(remote=lambda **given: {}))
"""Stands in for the handle of a worker process: trials ask it for their first, empty result."""


class _Save:
    """A checkpoint that will be taken; `ray.get` on it waits for nothing."""

    def __init__(self, result: _TrainingResult) -> None:
        self.result = result


class Actor(TrackedActor):  # type: ignore[misc]
    """A worker process. `reported`: what the trial in it reported last (None: nothing since it began)."""

    def __init__(self, actor_id: int, **handlers: Any) -> None:
        super().__init__(actor_id, **handlers)
        self.worker: Worker
        self.reported: tuple[Saved, dict[str, Any]] | None = None
        self.training = False


class VirtualActorManager:
    """Ray's actor manager, of which the controller uses so much, on a virtual cluster. `in_vain`: so often in a row was
    the next event asked for, and there was none."""

    def __init__(self, work: Work, agenda: Agenda, cluster: Cluster, epochs: int) -> None:
        self._work = work
        self._agenda = agenda
        self._cluster = cluster
        self._epochs = epochs
        self._ids = itertools.count(1)
        self._failed: set[Actor] = set()
        self.in_vain = 0
        self._live_actors_to_ray_actors_resources: dict[TrackedActor, tuple[Any, None]] = {}

    @property
    def num_pending_actors(self) -> int:
        return self._cluster.waiting

    @property
    def num_live_actors(self) -> int:
        return sum(actor.worker.slot is not None for actor in self._live_actors_to_ray_actors_resources)

    @property
    def num_actor_tasks(self) -> int:
        return 0

    def next(self, timeout: float | None = None) -> bool:
        self._cluster.place()
        happened = self._agenda.next()
        self.in_vain = 0 if happened else self.in_vain + 1
        return happened

    def add_actor(self, cls: Any, kwargs: Any, resource_request: Any, **handlers: Any) -> TrackedActor:
        actor = Actor(next(self._ids), **handlers)
        self._live_actors_to_ray_actors_resources[actor] = (HANDLE, None)

        def started() -> None:
            if actor._on_start:
                actor._on_start(actor)

        actor.worker = self._cluster.request(started, self._never)
        return actor

    def remove_actor(self, tracked_actor: Actor, kill: bool = False, stop_future: Any = None) -> bool:
        worker = tracked_actor.worker
        if tracked_actor in self._failed:
            return False
        if worker.slot is None:
            self._forget(tracked_actor)
            return False
        if not worker.started:  # it has a place, and is not told any more that it began
            self._cluster.clear_tasks(worker)
            tracked_actor._on_stop = tracked_actor._on_error = None

        def stopped() -> None:
            self._forget(tracked_actor)
            if tracked_actor._on_stop:
                tracked_actor._on_stop(tracked_actor)

        self._cluster.do(worker, 0.0, stopped)
        return True

    def is_actor_started(self, tracked_actor: Actor) -> bool:
        return tracked_actor.worker.slot is not None and tracked_actor not in self._failed

    def is_actor_failed(self, tracked_actor: Actor) -> bool:
        return tracked_actor in self._failed

    def clear_actor_task_futures(self, tracked_actor: Actor) -> None:
        if tracked_actor not in self._failed:
            self._cluster.clear_tasks(tracked_actor.worker)

    def schedule_actor_task(
        self,
        tracked_actor: Actor,
        method_name: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        on_result: Handler | None = None,
        on_error: Handler | None = None,
        _return_future: bool = False,
    ) -> _Save | None:
        if tracked_actor in self._failed or method_name == "stop":  # `remove_actor` stops it
            return None
        assert not tracked_actor.training, f"{method_name} would wait for an epoch"
        if method_name == "train":
            assert on_error is not None
            self._train(tracked_actor, on_result, on_error)
            return None
        if method_name == "save":
            assert tracked_actor.reported is not None, "nothing was reported that could be saved"
            saved, metrics = tracked_actor.reported
            future = _Save(_TrainingResult(checkpoint=saved, metrics=dict(metrics)))
            self._later(tracked_actor, 0.0, on_result, future.result)
            return future
        if method_name == "reset":
            tracked_actor.reported = None
        else:
            assert method_name == "restore"
        self._later(tracked_actor, 0.0, on_result, True)
        return None

    def _train(self, actor: Actor, on_result: Handler | None, on_error: Handler) -> None:
        delay_s, outcome = self._work.train(actor.worker, until=self._epochs)
        actor.training = True
        match outcome:
            case EpochDone():
                loss = outcome.saved.loss
                metrics = {
                    TIME_ATTRIBUTE: outcome.saved.epoch,
                    OBJECTIVE: FAILURE_OBJECTIVE if loss is None else loss,
                    SHOULD_CHECKPOINT: True,
                    EPOCH: (actor.worker, outcome),
                }
                self._later(actor, delay_s, on_result, metrics)
            case Finished():
                self._later(actor, delay_s, on_result, {RESULT_DUPLICATE: True, SHOULD_CHECKPOINT: False})
            case Died():
                error = RayActorError()
                error.busy_s = outcome.busy_s

                def died() -> None:
                    self._failed.add(actor)
                    self._forget(actor)
                    actor._on_error(actor, error)
                    on_error(actor, error)

                self._cluster.do(actor.worker, delay_s, died)

    def _later(self, actor: Actor, delay_s: float, on_result: Handler | None, result: Any) -> None:
        def done() -> None:
            actor.training = False
            if isinstance(result, dict) and EPOCH in result:
                actor.reported = (result[EPOCH][1].saved, result)
            if on_result is not None:
                on_result(actor, result)

        self._cluster.do(actor.worker, delay_s, done)

    def _forget(self, actor: Actor) -> None:
        del self._live_actors_to_ray_actors_resources[actor]
        self._cluster.release(actor.worker)

    @staticmethod
    def _never(worker: Worker) -> NoReturn:
        raise AssertionError("no node is lost here")
