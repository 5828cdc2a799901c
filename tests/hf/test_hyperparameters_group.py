"""Accumulated batches and adapters in a trial of two processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.hyperparameters import Value
from bench.training import EpochResult, TrainingTask
from tests.hf.ranks import SecondRank

CONFIG: dict[str, Value] = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.3}


@pytest.fixture(scope="module")
def kept() -> Iterator[SecondRank]:
    second = SecondRank()
    yield second
    second.end()


@pytest.mark.parametrize(
    "change",
    [{"gradient_accumulation": 2}, {"lora_rank": 4, "lora_alpha": 16, "learning_rate": 2e-2}],
    ids=["accumulation", "lora"],
)
def test_two_processes_learn_what_one_does_with_twice_the_batch(
    make_task: Callable[..., TrainingTask],
    train: Callable[..., list[EpochResult]],
    kept: SecondRank,
    tmp_path: Path,
    change: dict[str, Value],
) -> None:
    """Three batches of 8 for each of two ranks: with two accumulated, steps of 32 and of 16."""
    still: dict[str, Any] = {"bloom": {"hidden_dropout": 0.0}, "epochs": 2}
    both = kept.train(make_task(processes=2, **still), {**CONFIG, **change}, folder=tmp_path / "both")
    one = train(make_task(**still), {**CONFIG, **change, "batch_size": 16})
    for found, expected in zip(both, one, strict=True):
        assert found.train_loss == pytest.approx(expected.train_loss, rel=1e-5)
        assert found.eval_loss == pytest.approx(expected.eval_loss, rel=1e-4)
