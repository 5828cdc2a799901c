"""Ray Tune's own `TuneController` on the suite's virtual cluster: what the light driver of the virtual engine is
compared with.

Of Ray, `RayActorManager` alone is replaced, by one whose actors are workers of a `Cluster`: their tasks take as long as
`Work` says, and end in the order of the `Agenda`. Saving, restoring, resetting and ending an actor take no time, but an
event each. The adjustments of the real engine (`kept_workers`) are in force. Where Tune takes any member of a set, the
set has an order here: first in, first out.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, MutableSet
from types import SimpleNamespace
from typing import Any
from unittest import mock

import ray
from ray.tune import Callback
from ray.tune.execution import tune_controller
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.search import SearchAlgorithm, basic_variant, search_generator

from bench.engines.ray_adjust import kept_workers
from bench.engines.session import TRIAL_RETRIES, SearchStalled
from bench.engines.virtual.agenda import Agenda
from bench.engines.virtual.cluster import Cluster
from bench.engines.virtual.work import DIED, Work
from bench.strategy import TIME_ATTRIBUTE, TunePlan
from tests.engines.oracle_actors import EPOCH, Actor, VirtualActorManager


class _OrderedSet(MutableSet[Any]):
    """A set that gives its members away first in, first out."""

    def __init__(self) -> None:
        self._members: dict[Any, None] = {}

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, value: Any) -> None:
        self._members[value] = None

    def discard(self, value: Any) -> None:
        self._members.pop(value, None)

    def pop(self) -> Any:
        first = next(iter(self._members))
        del self._members[first]
        return first


class _Journal(Callback):  # type: ignore[misc]
    """Says through `Work` what `bench.engines.ray_journal` says of a real run, at the same places."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._running: dict[str, Trial] = {}
        self.actors: dict[Trial, Actor] = {}

    def on_trial_start(self, trial: Trial, **info: Any) -> None:
        self._running[str(trial)] = trial
        self._work.begin(self.actors[trial].worker, str(trial), trial.config, trial.checkpoint)

    def on_trial_result(self, trial: Trial, result: dict[str, Any], **info: Any) -> None:
        self._work.epoch_done(*result.pop(EPOCH))

    def on_trial_recover(self, trial: Trial, **info: Any) -> None:
        self._lose(trial)

    def on_trial_error(self, trial: Trial, **info: Any) -> None:
        self._lose(trial)
        self._work.died_too_often(str(trial), DIED)

    def on_trial_complete(self, trial: Trial, **info: Any) -> None:
        self._running.pop(str(trial), None)
        self._work.completed(str(trial))

    def on_step_end(self, **info: Any) -> None:
        for name, trial in list(self._running.items()):
            if trial.status == Trial.PAUSED:
                del self._running[name]
                self._work.paused(name)

    def _lose(self, trial: Trial) -> None:
        self._running.pop(str(trial), None)
        self._work.lost(str(trial), trial.busy_s, DIED)


class _Trainable:
    """What Tune asks a trainable before it starts one."""

    @staticmethod
    def default_resource_request(config: dict[str, Any]) -> None:
        return None


class _Storage:
    """Where a trial's files would lie."""

    trial_driver_staging_path = None
    trial_dir_name = experiment_dir_name = "nowhere"

    def _update_checkpoint_index(self, metrics: dict[str, Any]) -> None:
        pass


class _Trial(Trial):  # type: ignore[misc]
    """Tune's, without files. `busy_s`: how long it had been busy when its process died."""

    busy_s = 0.0

    def get_trainable_cls(self) -> type[_Trainable]:
        return _Trainable

    def init_local_path(self) -> None:
        pass

    def handle_error(self, exc: Any = None) -> None:
        super().handle_error(exc)
        self.busy_s = getattr(exc, "busy_s", 0.0)


class _Controller(TuneController):  # type: ignore[misc]
    """Tune's, without state on disk and without an eye on the machine; it says which trials it adds."""

    def __init__(self, plan: TunePlan, work: Work, epochs: int, **given: Any) -> None:
        super().__init__(scheduler=plan.scheduler, **given)
        self._model_based = plan.model_based
        self._stop = {TIME_ATTRIBUTE: epochs} if plan.stops_at_epochs else {}
        self._work = work
        self._resources_to_pending_trials: dict[Any, _OrderedSet] = defaultdict(_OrderedSet)
        self._staged_trials = _OrderedSet()
        self._class_cache = {_Trainable: _Trainable}
        self._print_trial_errors = False
        self._insufficient_resources_manager = mock.Mock()

    def add_trial(self, trial: Trial) -> None:
        trial.stopping_criterion = self._stop
        super().add_trial(trial)
        chose = None if self._model_based is None else self._model_based.get(trial.trial_id)
        self._work.created(str(trial), trial.config, model_based=chose)

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        pass


class Oracle:
    """Takes the place of the light driver's `Controller`."""

    def __init__(
        self, plan: TunePlan, search_alg: SearchAlgorithm, work: Work, agenda: Agenda, cluster: Cluster, *,
        epochs: int, cpus: int, quick: bool,
    ) -> None:  # fmt: skip
        assert not quick, "Ray's controller is driven as it is"
        self._cpus = cpus
        self._manager = VirtualActorManager(work, agenda, cluster, epochs)
        journal = _Journal(work)
        with self._without_ray():
            self._controller = _Controller(
                plan,
                work,
                epochs,
                search_alg=search_alg,
                callbacks=[journal],
                reuse_actors=True,
                resource_manager_factory=mock.Mock(),
            )
        journal.actors = self._controller._trial_to_actor

    def run(self) -> None:
        """Search until every trial has ended. Raises SearchStalled."""
        controller = self._controller
        with self._without_ray():
            while not controller.is_finished():
                controller.step()
                if self._manager.in_vain > 3 * len(controller.get_trials()) + 10:
                    raise SearchStalled("nothing will happen any more")

    @contextlib.contextmanager
    def _without_ray(self) -> Iterator[None]:
        never = mock.Mock(side_effect=AssertionError("neither Ray nor the clock is there"))
        clock = SimpleNamespace(time=lambda: 0.0, monotonic=lambda: 0.0, sleep=never)
        with (
            mock.patch.object(tune_controller, "RayActorManager", return_value=self._manager),
            mock.patch.object(tune_controller, "time", clock),
            mock.patch.object(ray, "cluster_resources", return_value={"CPU": float(self._cpus)}),
            mock.patch.object(ray, "get", lambda future, timeout=None: future.result),
            mock.patch.multiple(ray, init=never, wait=never, remote=never, put=never, kill=never),
            kept_workers(),
        ):
            yield


@contextlib.contextmanager
def _real_trials() -> Iterator[None]:
    """Have Tune's searchers make trials of Tune's own, named by the order of their creation."""
    numbers = itertools.count(1)

    def create(spec: dict[str, Any], parser: Any, **given: Any) -> Trial:
        return _Trial(
            "virtual",
            config=spec["config"],
            stub=True,
            storage=_Storage(),
            max_failures=TRIAL_RETRIES,
            trial_name_creator=lambda trial: f"{next(numbers):04d}",
            **given,
        )

    with (
        mock.patch.object(basic_variant, "_create_trial_from_spec", create),
        mock.patch.object(search_generator, "_create_trial_from_spec", create),
    ):
        yield


@contextlib.contextmanager
def ray_decides() -> Iterator[None]:
    """Runs of the virtual engine are driven by Ray's controller instead of the light one."""
    with (
        mock.patch("bench.engines.virtual.controller.Controller", Oracle),
        mock.patch("bench.engines.virtual.trial.virtual_trials", _real_trials),
    ):
        yield
