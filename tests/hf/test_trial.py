"""How trials end, what they report, and how a trained model is scored."""

from __future__ import annotations

import dataclasses
import errno
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UserError
from bench.events import Phases
from bench.hf import checkpoint, prepare, score_final, train_trial
from bench.hf.trainer import TrialTrainer
from bench.training import EpochResult, TrainingTask, TrialFailed
from bench.workload import load_workload

CONFIG: dict[str, float | int] = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.3}
Train = Callable[..., list[EpochResult]]


@pytest.mark.alone
def test_phases_leave_nothing_out_but_the_callback(task: TrainingTask, tmp_path: Path) -> None:
    results: list[EpochResult] = []
    pause_s = 0.2

    def slow(result: EpochResult) -> None:
        results.append(result)
        time.sleep(pause_s)

    prepare(task)
    started_s = time.perf_counter()
    train_trial(task, CONFIG, folder=tmp_path, on_epoch=slow)
    wall_s = time.perf_counter() - started_s
    total = sum((r.phases for r in results), Phases())
    # What is left is freeing the trial's memory, after its last report.
    assert 0 <= wall_s - pause_s * len(results) - total.total_s < 0.5
    assert min(total.startup_s, total.train_s, total.eval_s, total.checkpoint_s) > 0
    assert total.restore_s == 0
    assert all(r.phases.startup_s == 0 for r in results[1:])
    assert all(r.samples_per_s > 0 and r.tokens_per_s > r.samples_per_s for r in results)
    assert results[0].device_memory_mib is None
    assert results[0].host_memory_mib > 50


def test_the_first_trial_of_a_process_is_charged_for_its_start(task: TrainingTask, train: Train) -> None:
    results = train(dataclasses.replace(task, epochs=1), process_started_s=time.time() - 5)
    assert 5 < results[0].phases.startup_s < 20


def test_memory_is_the_trials_own(task: TrainingTask, train: Train) -> None:
    once = dataclasses.replace(task, epochs=1)
    before_mib = train(once)[0].host_memory_mib
    held = b"x" * (400 * 2**20)  # of an earlier trial, say
    del held
    assert train(once)[0].host_memory_mib < before_mib + 200


def test_restoring_is_a_phase_of_its_own(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    train(task, folder=tmp_path / "whole")
    results = train(task, resume_from=tmp_path / "whole" / "epoch-0003")
    assert results[0].phases.restore_s > 0


def test_a_second_trial_starts_at_once(task: TrainingTask, train: Train) -> None:
    """Best of three: the machine may be busy with something else."""
    short = dataclasses.replace(task, epochs=1)
    train(short)
    assert min(train(short)[0].phases.startup_s for _ in range(3)) < 0.3


def test_a_rate_far_too_high_ends_in_the_state_nan(make_task: Callable[..., TrainingTask], train: Train) -> None:
    with pytest.raises(TrialFailed) as caught:
        train(make_task("workshop"), {**CONFIG, "learning_rate": 1e25})
    assert caught.value.state == "nan"
    assert "loss is" in caught.value.detail


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), "oom", "allocate"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "oom", "2 GiB"),
        (MemoryError(), "oom", "MemoryError"),
        (RuntimeError("shapes differ"), "failed", "RuntimeError: shapes differ"),
    ],
)
def test_what_training_raises_becomes_a_state(
    task: TrainingTask, train: Train, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str, told: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(TrialTrainer, "compute_loss", fail)
        with pytest.raises(TrialFailed, match=told) as caught:
            train(task)
    assert caught.value.state == state
    assert caught.value.phases.train_s > 0
    assert len(train(task)) == 4


def test_a_failure_crosses_processes() -> None:
    failed = TrialFailed(state="nan", detail="the loss is nan", phases=Phases(train_s=2.0))
    copy = pickle.loads(pickle.dumps(failed))  # noqa: S301
    assert (copy.state, copy.detail, copy.phases, str(copy)) == ("nan", failed.detail, failed.phases, str(failed))


def test_a_full_disk_is_the_users_to_see(task: TrainingTask, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UserError, match="No space left to write"):
        train(task)


def test_what_cannot_be_trained_is_refused(make_task: Callable[..., TrainingTask], train: Train) -> None:
    with pytest.raises(UserError, match="7 epochs were asked for"):
        train(make_task(epochs=7))
    with pytest.raises(UserError, match="fp16 does not train on a CPU"):
        train(make_task(precision="fp16"))
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no GPU"):
            train(make_task(device="cuda"))


def test_without_checkpoints_only_the_last_epoch_is_saved(
    make_task: Callable[..., TrainingTask], train: Train, tmp_path: Path
) -> None:
    train(make_task(workload={"checkpoints": False}), folder=tmp_path / "trial")
    assert [p.name for p in (tmp_path / "trial").iterdir()] == ["epoch-0004"]


def test_the_schedules_horizon_is_the_recipes(make_task: Callable[..., TrainingTask], train: Train) -> None:
    """Under qa two epochs of four-epoch and of two-epoch trials are the same; under workshop they are not."""

    def second(recipe: str, epochs: int) -> float:
        return train(make_task(recipe, epochs=epochs))[1].eval_loss

    assert second("qa", 4) == second("qa", 2)
    assert second("workshop", 4) != second("workshop", 2)


def test_nothing_is_printed(task: TrainingTask, train: Train, capfd: pytest.CaptureFixture[str]) -> None:
    score_final(task, train(task)[-1].checkpoint)
    assert capfd.readouterr() == ("", "")


def test_scoring_the_test_split(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    path = train(task)[-1].checkpoint
    result = score_final(task, path)
    assert result.examples == 16
    assert 0 < result.test_loss < 10
    assert 0 <= result.exact_match <= result.f1 <= 100
    assert result.phases.eval_s > 0
    again = score_final(task, path)
    assert (again.test_loss, again.exact_match, again.f1) == (result.test_loss, result.exact_match, result.f1)
    with pytest.raises(UserError, match="Cannot read the checkpoint"):
        score_final(task, tmp_path / "none")


@pytest.mark.slow
def test_the_tiny_workload_learns_to_read_its_passages(
    make_task: Callable[..., TrainingTask], train: Train, cache: Path
) -> None:
    """Five epochs: most answers are found in passages that were never seen, and those cannot be guessed."""
    task = make_task(epochs=5, workload=vars(load_workload("tiny-squad")))
    results = train(task, {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.0})
    assert results[-1].eval_loss < 0.6 < results[0].eval_loss
    # A guess from the question alone is right once in eight times.
    assert score_final(task, results[-1].checkpoint).exact_match > 60
