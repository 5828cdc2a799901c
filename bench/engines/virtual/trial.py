"""A trial as Ray Tune's searchers and schedulers see one, without the files and processes of Ray's own."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ray.train._internal.session import _FutureTrainingResult, _TrainingResult
from ray.tune.experiment import Experiment, Trial
from ray.tune.search import basic_variant, search_generator

from bench.engines.virtual.cluster import Worker
from bench.engines.virtual.work import Saved


@dataclass(frozen=True)
class _KeepAll:
    num_to_keep: None = None


class VirtualTrial:
    """`number`, `name`: by the order of creation. `trial_id`: Tune's. `position`: its place among all trials.
    `waited`: the controller's list of trials whose place among the waiting ones is to be looked at again.

    Stands in for Tune's `run_metadata`, `checkpoint_manager` and `temporary_state` too, which hold so little here.
    """

    __slots__ = (
        "_latest_checkpoint_result",
        "cached_decision",
        "config",
        "evaluated_params",
        "experiment_tag",
        "last_result",
        "name",
        "num_failures",
        "number",
        "position",
        "resetting",
        "saving_to",
        "staged",
        "status",
        "trial_id",
        "waited",
        "worker",
    )
    checkpoint_config = _KeepAll()

    def __init__(
        self, number: int, trial_id: str, config: dict[str, Any], evaluated_params: Mapping[str, Any], tag: str
    ) -> None:
        self.number = number
        self.name = f"{number:04d}"
        self.trial_id = trial_id
        self.config = config
        self.evaluated_params = dict(evaluated_params)
        self.experiment_tag = tag
        self.status: str = Trial.PENDING
        self.last_result: dict[str, Any] = {}
        self.position = 0
        self.num_failures = 0
        self.staged = False
        self.resetting = False
        self.waited: list[VirtualTrial] = []
        self.worker: Worker | None = None
        self.saving_to: Save | None = None
        self.cached_decision: str | None = None
        self._latest_checkpoint_result: Any = None

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    @property
    def run_metadata(self) -> VirtualTrial:
        return self

    @property
    def checkpoint_manager(self) -> VirtualTrial:
        return self

    @property
    def temporary_state(self) -> VirtualTrial:
        return self

    @property
    def checkpoint(self) -> Saved | None:
        return None if self._latest_checkpoint_result is None else self._latest_checkpoint_result.checkpoint

    @property
    def is_saving(self) -> bool:
        return self.saving_to is not None

    def is_finished(self) -> bool:
        return self.status in (Trial.TERMINATED, Trial.ERROR)

    def set_config(self, config: dict[str, Any]) -> None:
        self.config = config
        self.waited.append(self)  # who takes over another's state may take over its place too

    def set_experiment_tag(self, tag: str) -> None:
        self.experiment_tag = tag


class Save(_FutureTrainingResult):
    """A checkpoint that is being saved; what it will hold is known already."""

    def __init__(self, saved: Saved, metrics: dict[str, Any]) -> None:
        self.result = _TrainingResult(checkpoint=saved, metrics=metrics)

    def resolve(self, block: bool = True) -> Any:
        del block
        return self.result


@contextlib.contextmanager
def virtual_trials() -> Iterator[None]:
    """Have Tune's searchers make virtual trials, with ids by number instead of random ones."""
    made, ids = itertools.count(1), itertools.count(1)

    def create(spec: dict[str, Any], parser: Any, **given: Any) -> VirtualTrial:
        del parser
        return VirtualTrial(
            next(made), given["trial_id"], spec["config"], given["evaluated_params"], given["experiment_tag"]
        )

    class Ids:
        @staticmethod
        def generate_id() -> str:
            return f"{next(ids):04d}"

    originals = basic_variant._create_trial_from_spec, search_generator._create_trial_from_spec, search_generator.Trial
    basic_variant._create_trial_from_spec = search_generator._create_trial_from_spec = create
    search_generator.Trial = Ids
    try:
        yield
    finally:
        basic_variant._create_trial_from_spec, search_generator._create_trial_from_spec, search_generator.Trial = (
            originals
        )


class Spec(Experiment):
    """What a searcher reads of a Tune experiment: the search space, and how many trials it may suggest."""

    def __init__(self, param_space: Mapping[str, Any], samples: int) -> None:
        self.name = "search"
        self.spec = {"run": "virtual", "config": dict(param_space), "num_samples": samples}
