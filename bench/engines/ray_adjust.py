"""Adjustments to Ray Tune 2.60 while a search runs: its decisions are seeded, its workers kept, its callbacks not
counted."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from ray.air._internal import usage
from ray.air.execution._internal import actor_manager
from ray.tune.execution import tune_controller
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.utils.object_cache import _ObjectCache


@contextlib.contextmanager
def seeded_decisions(seed: int) -> Iterator[None]:
    """Fix the global generators that ASHA, BOHB and PBT draw from, and give the actor manager, which shuffles on the
    same stream at every wait, one of its own: else the number of waits, a matter of timing, would decide what PBT
    draws. All are put back afterwards."""
    states = random.getstate(), np.random.get_state()
    shuffler = actor_manager.random
    random.seed(seed)
    np.random.seed(seed)
    actor_manager.random = random.Random(seed)
    try:
        yield
    finally:
        actor_manager.random = shuffler
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextlib.contextmanager
def kept_workers() -> Iterator[None]:
    """Keep idle workers for as long as a paused trial may want one.

    Tune keeps one idle worker, or as many as trials are staged at that instant. When a population or a bracket has
    paused and the searcher has nothing more to suggest, it ends the others, and starts new processes, imports and all,
    for the trials that it resumes an instant later. All trials of a study want the same resources, so any worker fits.
    """
    methods = ("_maybe_cache_trial_actor", "_cleanup_cached_actors")
    originals = {name: getattr(TuneController, name) for name in methods}

    def while_paused(original: Any) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            search_alg = self._search_alg
            if any(trial.status == Trial.PAUSED for trial in self.get_live_trials()):
                self._search_alg = _MoreToCome()
            try:
                return original(self, *args, **kwargs)
            finally:
                self._search_alg = search_alg

        return method

    cache = tune_controller._ObjectCache
    tune_controller._ObjectCache = _KeepAll
    for name, original in originals.items():
        setattr(TuneController, name, while_paused(original))
    try:
        yield
    finally:
        tune_controller._ObjectCache = cache
        for name, original in originals.items():
            setattr(TuneController, name, original)


@contextlib.contextmanager
def uncounted_callbacks() -> Iterator[None]:
    """Without the count of callbacks by class for Ray's statistics, which are switched off: before the first trial it
    imports mlflow, wandb, comet and aim, whichever are installed."""
    count = usage.tag_callbacks
    usage.tag_callbacks = lambda callbacks: False
    try:
        yield
    finally:
        usage.tag_callbacks = count


class _KeepAll(_ObjectCache):
    """Keeps every worker that becomes idle, until it is told to let go of all."""

    def cache_object(self, key: Any, obj: Any) -> bool:
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Iterator[Any]:
        yield from super().flush_cached_objects(force_all=True) if force_all else ()


class _MoreToCome:
    """Stands in for a searcher that has more trials to suggest."""

    def is_finished(self) -> bool:
        return False
