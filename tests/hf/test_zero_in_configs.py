"""A trial's configuration may name its ZeRO stage, also together with accumulated batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.engines import process
from bench.engines.process import run_trial_process
from bench.hf import deepspeed
from bench.hyperparameters import Value
from bench.training import EpochResult, FinalResult, TrainingTask
from bench.zero import deepspeed_file
from tests.hf.test_deepspeed import EXTENSIONS, compiled

CONFIG: dict[str, Value] = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.3, "gradient_accumulation": 4}


def test_such_trials_have_processes_of_their_own(make_task: Callable[..., TrainingTask]) -> None:
    assert make_task(own_stages=True).needs_own_process
    assert not make_task().needs_own_process


@pytest.mark.parametrize(
    ("changes", "times"), [({"own_stages": True}, 1), ({"deepspeed": deepspeed_file("zero1")}, 1), ({}, 0)]
)
def test_what_deepspeed_compiles_is_compiled_before_the_devices_are_held(
    make_task: Callable[..., TrainingTask], monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], times: int
) -> None:
    task = make_task(**changes)
    built: list[TrainingTask] = []
    monkeypatch.setattr(deepspeed, "build", built.append)
    told: list[Any] = []
    process._prepare(told.append, task)
    assert built == [task] * times
    assert told[0].facts["data_sha256"]


@compiled
@pytest.mark.slow
def test_stages_agree_with_accumulated_batches(
    make_task: Callable[..., TrainingTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """6 batches in fours; what is read back would fail a trial whose stage did not arrive."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(EXTENSIONS))
    task = make_task(epochs=2, own_stages=True)
    found: list[list[float]] = []
    for stage in (0, 1, 3):
        config = {**CONFIG, "zero_stage": stage}
        told = list(run_trial_process(task, config, folder=tmp_path / str(stage), resume_from=None, score=True))
        epochs = [message for message in told if isinstance(message, EpochResult)]
        assert isinstance(told[-1], FinalResult), told[-1]
        assert [epoch.config for epoch in epochs] == [config] * 2
        losses = [loss for epoch in epochs for loss in (epoch.train_loss, epoch.eval_loss)]
        found.append([*losses, told[-1].test_loss])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


@compiled
@pytest.mark.slow
def test_adapters_are_trained_under_zero_as_without(
    make_task: Callable[..., TrainingTask],
    train: Callable[..., list[EpochResult]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their checkpoints hold the adapters alone and go on to the bit."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(EXTENSIONS))
    task = make_task(epochs=2, own_stages=True, bloom={"hidden_dropout": 0.0})
    config: dict[str, Value] = {"learning_rate": 2e-2, "batch_size": 8, "weight_decay": 0.1, "lora_rank": 4}

    def staged(stage: int, resume_from: Path | None = None) -> list[EpochResult]:
        told = run_trial_process(
            task, {**config, "zero_stage": stage}, folder=tmp_path / f"{stage}-{resume_from is None}",
            resume_from=resume_from, score=False,
        )  # fmt: skip
        return [message for message in told if isinstance(message, EpochResult)]

    plain = [(r.train_loss, r.eval_loss) for r in train(task, config)]
    for stage in (2, 3):
        whole = staged(stage)
        assert [(r.train_loss, r.eval_loss) for r in whole] == [pytest.approx(pair, rel=1e-5) for pair in plain]
    checkpoint = whole[0].checkpoint
    assert (checkpoint / "adapter_model.safetensors").is_file()
    assert not (checkpoint / "model.safetensors").exists()
    (rest,) = staged(3, checkpoint)
    assert (rest.train_loss, rest.eval_loss) == (whole[1].train_loss, whole[1].eval_loss)
