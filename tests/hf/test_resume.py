"""A resumed trial is the trial it would have been; a takeover goes on from another's weights and position."""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.errors import UserError
from bench.hf import train_trial
from bench.hyperparameters import Value
from bench.training import EpochResult, TrainingTask

CONFIG: dict[str, Value] = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.3}
Train = Callable[..., list[EpochResult]]


def losses(results: list[EpochResult]) -> list[tuple[float, float]]:
    return [(r.train_loss, r.eval_loss) for r in results]


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_resumes_bit_for_bit_after_any_epoch(task: TrainingTask, train: Train, tmp_path: Path, epoch: int) -> None:
    whole = train(dataclasses.replace(task, keep_checkpoints=9), folder=tmp_path / "whole")
    rest = train(task, resume_from=tmp_path / "whole" / f"epoch-{epoch:04d}", folder=tmp_path / "rest")
    assert [r.epoch for r in rest] == list(range(epoch + 1, 5))
    assert losses(rest) == losses(whole)[epoch:]
    ends = [load_file(tmp_path / name / "epoch-0004" / "model.safetensors") for name in ("whole", "rest")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_resumes_bit_for_bit_in_a_fresh_process(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    whole = train(dataclasses.replace(task, keep_checkpoints=9), folder=tmp_path / "whole")
    (tmp_path / "task.pickle").write_bytes(pickle.dumps(task))
    code = (
        "import pickle, sys, json; from pathlib import Path; from bench.hf import train_trial\n"
        "task = pickle.loads(Path(sys.argv[1]).read_bytes()); losses = []\n"
        "train_trial(task, json.loads(sys.argv[2]), folder=Path(sys.argv[3]), resume_from=Path(sys.argv[4]),\n"
        "            on_epoch=lambda r: losses.append([r.train_loss, r.eval_loss]))\n"
        "print(json.dumps(losses))"
    )
    places = [str(tmp_path / name) for name in ("task.pickle", "rest", "whole/epoch-0002")]
    command = [sys.executable, "-c", code, places[0], json.dumps(CONFIG), *places[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [tuple(pair) for pair in json.loads(done.stdout)] == losses(whole)[2:]
    assert done.stderr == ""


def test_random_numbers_drawn_by_the_caller_change_nothing(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    disturbed: list[EpochResult] = []

    def draw(result: EpochResult) -> None:
        random.random()
        torch.rand(1)
        disturbed.append(result)

    random.seed(5)
    expected = random.Random(5).random()
    train_trial(task, CONFIG, folder=tmp_path / "a", on_epoch=draw)
    assert random.random() == expected
    assert losses(disturbed) == losses(train(task))


def test_a_stopped_trial_leaves_the_process_clean(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    """What the callback raises comes out as it is, and the next trial is as in a fresh process."""

    def stop(result: EpochResult) -> None:
        raise SystemExit(3)

    undisturbed = losses(train(task))
    with pytest.raises(SystemExit):
        train_trial(task, CONFIG, folder=tmp_path / "a", on_epoch=stop)
    assert losses(train(task)) == undisturbed


def test_seeds_decide_weights_and_order_apart(make_task: Callable[..., TrainingTask], train: Train) -> None:
    def first(**changes: int) -> tuple[float, float]:
        return losses(train(make_task(epochs=1, bloom={"hidden_dropout": 0.0}, **changes)))[0]

    assert first() == first()
    assert first(data_seed=9) != first() != first(init_seed=9)


def test_a_takeover_goes_on_with_its_own_configuration(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    """Another rate, decay and batch size: six steps an epoch become three, and the schedule stands where it stood."""
    train(task, folder=tmp_path / "donor")
    donor = tmp_path / "donor" / "epoch-0002"
    other: dict[str, Value] = {"learning_rate": 5e-4, "batch_size": 16, "weight_decay": 0.0}
    results = train(task, other, resume_from=donor, folder=tmp_path / "taker")
    assert [r.epoch for r in results] == [3, 4]
    assert results[0].config == other
    states = [json.loads((path / "state.json").read_text()) for path in (donor, tmp_path / "taker" / "epoch-0004")]
    assert [(s["epoch"], s["steps_per_epoch"], s["schedule_steps"]) for s in states] == [(2, 6, 12), (4, 3, 12)]
    moments = [load_file(p / "state.safetensors") for p in (donor, tmp_path / "taker" / "epoch-0003")]
    name = next(key for key in moments[0] if key.endswith("/step"))
    assert (moments[0][name].item(), moments[1][name].item()) == (12, 15)


def test_a_takeover_without_steps_scores_as_the_donor_did(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    """With a rate too small to move a 32-bit weight, the taker's loss is the donor's: its weights were taken over."""
    donor = train(dataclasses.replace(task, keep_checkpoints=9), folder=tmp_path / "donor")
    still: dict[str, Value] = {"learning_rate": 1e-30, "batch_size": 16, "weight_decay": 0.0}
    taker = train(task, still, resume_from=tmp_path / "donor" / "epoch-0002")
    assert taker[-1].eval_loss == donor[1].eval_loss


def test_nothing_happens_after_the_last_epoch(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    train(task, folder=tmp_path / "whole")
    assert train(task, resume_from=tmp_path / "whole" / "epoch-0004") == []


def test_checkpoints_are_whole_few_and_free_of_pickle(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    results = train(dataclasses.replace(task, keep_checkpoints=2), folder=tmp_path / "trial")
    assert sorted(p.name for p in (tmp_path / "trial").iterdir()) == ["epoch-0003", "epoch-0004"]
    assert results[-1].checkpoint == tmp_path / "trial" / "epoch-0004"
    names = {p.name for p in results[-1].checkpoint.iterdir()}
    assert names == {"config.json", "model.safetensors", "state.json", "state.safetensors"}


def test_a_damaged_or_foreign_checkpoint_is_the_users_to_see(
    task: TrainingTask, make_task: Callable[..., TrainingTask], train: Train, tmp_path: Path
) -> None:
    train(task, folder=tmp_path / "whole")
    checkpoint = tmp_path / "whole" / "epoch-0004"
    with pytest.raises(UserError, match="another model"):
        train(make_task(epochs=5, bloom={"n_layer": 1}), resume_from=checkpoint)
    (checkpoint / "state.safetensors").write_bytes(b"\x00" * 50)
    with pytest.raises(UserError, match="Cannot read the checkpoint"):
        train(make_task(epochs=5), resume_from=checkpoint)
    with pytest.raises(UserError, match="Cannot read the checkpoint"):
        train(task, resume_from=tmp_path / "none")
