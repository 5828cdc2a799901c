"""Two processes train one trial as one would with twice the batch, and end it together whatever happens to one."""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

from bench.errors import UserError
from bench.hf import checkpoint, group, score_final, train_trial
from bench.hf.meeting import Meeting
from bench.hf.trainer import TrialTrainer
from bench.training import EpochResult, TrainingTask, TrialFailed
from tests.hf.ranks import SecondRank, killed, other_weights, out_of_memory, written_down

CONFIG: dict[str, float | int] = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.3}
Make = Callable[..., TrainingTask]
Train = Callable[..., list[EpochResult]]

PROMPT_S = 5.0
"""What the end of a trial may take at most once one rank has failed."""


@pytest.fixture(scope="module")
def kept() -> Iterator[SecondRank]:
    second = SecondRank()
    yield second
    second.end()


@pytest.fixture
def together(kept: SecondRank, tmp_path: Path) -> Train:
    """Trains a trial with both ranks in a folder of its own."""
    count = iter(range(1000))

    def run(task: TrainingTask, config: dict[str, float | int] | None = None, **options: Any) -> list[EpochResult]:
        folder = options.pop("folder", None) or tmp_path / f"together-{next(count)}"
        return kept.train(task, config or CONFIG, folder=folder, **options)

    return run


@pytest.fixture
def two(make_task: Make) -> TrainingTask:
    return make_task(processes=2)


def losses(results: list[EpochResult]) -> list[tuple[float, float]]:
    return [(r.train_loss, r.eval_loss) for r in results]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_learns_what_one_process_does_with_twice_the_batch(
    make_task: Make, together: Train, train: Train, precision: str
) -> None:
    """Without dropout, which differs. To the last bits, in which sums differ: of an epoch's 3 steps the losses are
    weighted by tokens over both ranks."""
    still: dict[str, Any] = {"bloom": {"hidden_dropout": 0.0}, "precision": precision}
    both = together(make_task(processes=2, **still))
    one = train(make_task(**still), {**CONFIG, "batch_size": 16})
    for found, expected in zip(losses(both), losses(one), strict=True):
        assert found == pytest.approx(expected, rel=1e-5 if precision == "fp32" else 1e-2)
    assert both[0].config == CONFIG
    assert both[0].host_memory_mib > 1.5 * one[0].host_memory_mib
    assert both[0].device_memory_mib is None


def test_both_ranks_hold_the_same_weights_and_draw_other_numbers(
    two: TrainingTask, together: Train, kept: SecondRank, monkeypatch: pytest.MonkeyPatch
) -> None:
    with written_down(monkeypatch) as told:
        together(two)
    assert [epoch[0] for epoch in told] == [epoch[0] for epoch in kept.told]
    assert all(mine[1] != other[1] for mine, other in zip(told, kept.told, strict=True))
    assert [epoch[2] for epoch in told] == [3, 6, 9, 12]


@pytest.mark.parametrize("epoch", [1, 3])
def test_resumes_bit_for_bit(two: TrainingTask, together: Train, tmp_path: Path, epoch: int) -> None:
    """With dropout: each rank goes on in its own random numbers."""
    whole = together(dataclasses.replace(two, keep_checkpoints=9), folder=tmp_path / "whole")
    rest = together(two, resume_from=tmp_path / "whole" / f"epoch-{epoch:04d}", folder=tmp_path / "rest")
    assert losses(rest) == losses(whole)[epoch:]
    ends = [load_file(tmp_path / name / "epoch-0004" / "state.safetensors") for name in ("whole", "rest")]
    assert ends[0].keys() == ends[1].keys()
    assert all(ends[0][name].numpy().tobytes() == ends[1][name].numpy().tobytes() for name in ends[0])
    assert not torch.equal(ends[0]["random/torch"], ends[0]["random/1/torch"])


def test_takes_over_the_checkpoint_of_a_trial_of_one_process(
    task: TrainingTask, two: TrainingTask, together: Train, train: Train, tmp_path: Path
) -> None:
    """And the other way round: the format is one."""
    train(task, folder=tmp_path / "one")
    assert [r.epoch for r in together(two, resume_from=tmp_path / "one" / "epoch-0002", folder=tmp_path / "two")] == [
        3,
        4,
    ]
    assert [r.epoch for r in train(task, resume_from=tmp_path / "two" / "epoch-0003")] == [4]
    assert 0 < score_final(task, tmp_path / "two" / "epoch-0004").test_loss < 10


def test_nothing_of_a_group_is_left_in_its_processes(
    task: TrainingTask, two: TrainingTask, together: Train, train: Train
) -> None:
    before, environment = losses(train(task)), dict(os.environ)
    first = losses(together(two))
    assert dict(os.environ) == environment
    assert losses(train(task)) == before
    assert losses(together(two)) == first
    assert not torch.distributed.is_initialized()


def test_evaluation_meets_every_example_once(
    make_task: Make, together: Train, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six batches of up to three examples, dealt out; the loss is that of one process, which is the Trainer's own."""
    met: list[int] = []
    original = TrialTrainer._loss_of

    def count(self: Any, batch: list[Any]) -> torch.Tensor:
        met.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(TrialTrainer, "_loss_of", count)
    few: dict[str, Any] = {"workload": {"eval_batch_size": 3}}
    result = together(make_task(processes=2, epochs=1, **few))[0]
    assert met == [3, 3, 3]

    mean = TrialTrainer.evaluation_loss
    trainers: list[float] = []

    def both(self: Any) -> float:
        trainers.append(Trainer.evaluate(self)["eval_loss"])
        return mean(self)

    monkeypatch.setattr(TrialTrainer, "evaluation_loss", both)
    still = {**CONFIG, "learning_rate": 1e-30}  # too small to move a weight
    alone = train(make_task(epochs=2, **few), still, resume_from=result.checkpoint)[0]
    assert met[3:] == [3, 3, 3, 3, 3, 1]
    assert result.eval_loss == alone.eval_loss == trainers[0]


def test_what_ends_one_rank_ends_the_trial_in_that_state(two: TrainingTask, together: Train, kept: SecondRank) -> None:
    told: list[EpochResult] = []
    with pytest.raises(TrialFailed, match="rank 1: out of memory") as caught:
        together(two, spoil=out_of_memory, on_epoch=told.append)
    assert caught.value.state == "oom"
    assert [r.epoch for r in told] == [1, 2]
    assert 0 < caught.value.phases.train_s < PROMPT_S
    assert len(together(two)) == 4, "both processes serve the next trial"


def test_a_loss_that_is_no_number_is_found_by_all(make_task: Make, together: Train) -> None:
    with pytest.raises(TrialFailed, match="loss is nan") as caught:
        together(make_task("workshop", processes=2), {**CONFIG, "learning_rate": 1e25})
    assert caught.value.state == "nan"
    assert len(together(make_task(processes=2))) == 4


def test_weights_that_differ_between_ranks_are_found_out(two: TrainingTask, together: Train, tmp_path: Path) -> None:
    together(two, folder=tmp_path / "whole")
    with pytest.raises(TrialFailed, match=r"checksum of transformer\.ln_f\.weight on rank 1: asked .*, found "):
        together(two, resume_from=tmp_path / "whole" / "epoch-0002", spoil=other_weights)


def test_a_batch_size_is_that_of_each_process(
    two: TrainingTask, together: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TrialTrainer.get_train_dataloader

    def get(self: Any) -> Any:
        self._train_batch_size = 4
        return original(self)

    monkeypatch.setattr(TrialTrainer, "get_train_dataloader", get)
    with pytest.raises(TrialFailed, match="batch_size: asked 16, found 8"):
        together(two)


def test_a_full_disk_ends_both(two: TrainingTask, together: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", full)
        with pytest.raises(UserError, match="No space left to write"):
            together(two)
    assert len(together(two)) == 4


def test_a_stopped_trial_frees_both(two: TrainingTask, together: Train) -> None:
    def stop(result: EpochResult) -> None:
        raise SystemExit(3)

    undisturbed = losses(together(two))
    with pytest.raises(SystemExit):
        together(two, on_epoch=stop)
    assert losses(together(two)) == undisturbed


def test_a_killed_rank_is_missed(two: TrainingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 notices by itself, though its engine is faster; it has no failure of the trial's to report."""
    monkeypatch.setattr(group, "ANSWER_S", 1.0)
    second = SecondRank()
    told: list[float] = []
    with pytest.raises(group.RankLost, match="rank 1 of 2 died"):
        second.train(two, CONFIG, folder=tmp_path, spoil=killed, on_epoch=lambda _: told.append(time.monotonic()))
    assert len(told) == 2
    assert time.monotonic() - told[-1] < PROMPT_S
    second.process.join(5)
    assert second.process.exitcode == -9


def test_a_rank_that_does_not_come_is_named(two: TrainingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "JOIN_S", 0.2)
    meeting = Meeting(2)
    with pytest.raises(group.RankLost, match=r"rank 1 of 2 did not come within 0 s"):
        train_trial(two, CONFIG, folder=tmp_path, on_epoch=print, place=meeting.place(0))
    with pytest.raises(ValueError, match="a trial of 2 processes needs each one's place"):
        train_trial(two, CONFIG, folder=tmp_path, on_epoch=print)


def test_a_meeting_listens_where_it_was_told_to_alone() -> None:
    meeting = Meeting(1, "127.0.0.9")
    place = meeting.place(0)
    socket.create_connection((place.host, place.port), timeout=2).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", place.port), timeout=2)
    meeting.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((place.host, place.port), timeout=2)
