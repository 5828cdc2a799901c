"""A task small enough to be trained many times: 48 examples, two layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.hyperparameters import Value
from bench.training import EpochResult, TrainingTask
from bench.workload import load_recipe, load_workload

CONFIG: dict[str, Value] = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.3}


def small_task(cache: Path, recipe: str = "qa", bloom: dict[str, Any] | None = None, **changes: Any) -> TrainingTask:
    """A task on 48 examples with dropout; `bloom` and `workload` change the workload, the rest the task."""
    workload = load_workload("tiny-squad")
    model = replace(workload.model, bloom={**(workload.model.bloom or {}), "hidden_dropout": 0.1, **(bloom or {})})
    data = replace(workload.data, generated_articles=12, train=48, validation=16, test=16)
    small = {"model": model, "data": data, "epochs": 4, "final_epochs": 4, "horizon_epochs": 6, "max_tokens": 64}
    workload = replace(workload, **{**small, **changes.pop("workload", {})})
    settings: dict[str, Any] = {
        "workload": workload,
        "recipe": load_recipe(recipe),
        "precision": "fp32",
        "device": "cpu",
        "threads": 1,
        "init_seed": 3,
        "data_seed": 4,
        "epochs": 4,
        "cache": cache,
    }
    return TrainingTask(**{**settings, **changes})


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_task(cache: Path) -> Callable[..., TrainingTask]:
    """See `small_task`."""

    def make(recipe: str = "qa", **changes: Any) -> TrainingTask:
        return small_task(changes.pop("cache", cache), recipe, **changes)

    return make


@pytest.fixture
def task(make_task: Callable[..., TrainingTask]) -> TrainingTask:
    return make_task()


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., list[EpochResult]]:
    """Trains a trial in a folder of its own and returns its results."""
    from bench.hf import train_trial

    count = iter(range(1000))

    def run(task: TrainingTask, config: dict[str, Value] | None = None, **options: Any) -> list[EpochResult]:
        results: list[EpochResult] = []
        folder = options.pop("folder", None) or tmp_path / f"trial-{next(count)}"
        train_trial(task, config or CONFIG, folder=folder, on_epoch=results.append, **options)
        return results

    return run
