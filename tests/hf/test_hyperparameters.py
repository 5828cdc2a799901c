"""Every hyperparameter reaches the training, is read back from what was built, and survives a resumption."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer

from bench.hf import readback, score_final
from bench.hf.effective import effective_task
from bench.hf.schedule import factor
from bench.hf.trainer import TrialTrainer
from bench.hyperparameters import OPTIMIZERS, SCHEDULERS, Value
from bench.training import EpochResult, TrainingTask, TrialFailed

CONFIG: dict[str, Value] = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.3}
Train = Callable[..., list[EpochResult]]


def losses(results: list[EpochResult]) -> list[tuple[float, float]]:
    return [(r.train_loss, r.eval_loss) for r in results]


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The learning rate of every step of the optimiser."""
    seen: list[float] = []
    original = TrialTrainer._clip_grad_norm

    def spy(self: Any, *args: Any) -> Any:
        seen.append(self.optimizer.param_groups[0]["lr"])
        return original(self, *args)

    monkeypatch.setattr(TrialTrainer, "_clip_grad_norm", spy)
    return seen


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_trains_and_resumes_bit_for_bit(
    task: TrainingTask, train: Train, tmp_path: Path, name: str
) -> None:
    config = {**CONFIG, "optimizer": name, "learning_rate": 0.1 if name == "sgd" else 2e-3}
    two = dataclasses.replace(task, epochs=2, keep_checkpoints=9)
    whole = train(two, config, folder=tmp_path / "whole")
    assert whole[1].train_loss < whole[0].train_loss
    assert losses(train(two, config, resume_from=tmp_path / "whole" / "epoch-0001")) == losses(whole)[1:]


def test_adamw_by_name_is_the_recipes_own(task: TrainingTask, train: Train) -> None:
    one = dataclasses.replace(task, epochs=1)
    assert losses(train(one, {**CONFIG, "optimizer": "adamw_torch"})) == losses(train(one, CONFIG))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_schedule_is_followed_also_after_a_resumption(
    task: TrainingTask, train: Train, tmp_path: Path, rates: list[float], name: str
) -> None:
    """48 examples in sixes: 6 steps an epoch, 36 to the horizon, of which the first quarter warms up."""
    config = {**CONFIG, "lr_scheduler": name, "warmup_fraction": 0.25}
    three = dataclasses.replace(task, epochs=3, keep_checkpoints=9)
    train(three, config, folder=tmp_path / "whole")
    whole = rates[:]
    assert whole == pytest.approx([2e-3 * factor(name, step, warmup=9, steps=36) for step in range(18)], rel=1e-9)
    rates.clear()
    train(three, config, resume_from=tmp_path / "whole" / "epoch-0002")
    assert rates == whole[12:]


def test_schedules_by_hand() -> None:
    by_hand = {
        "linear": [0.0, 0.5, 1.0, 0.5, 0.0],
        "cosine": [0.0, 0.5, 1.0, 0.5, 0.0],
        "constant_with_warmup": [0.0, 0.5, 1.0, 1.0, 1.0],
        "inverse_sqrt": [0.0, 0.5, 1.0, math.sqrt(4 / 8), math.sqrt(4 / 12)],
    }
    for name, expected in by_hand.items():
        found = [factor(name, step, warmup=4, steps=12) for step in (0, 2, 4, 8, 12)]
        assert found == pytest.approx(expected), name
    assert factor("cosine", 6, warmup=4, steps=12) == pytest.approx(0.5 + math.sqrt(0.5) / 2)


def test_two_batches_of_eight_are_one_of_sixteen(make_task: Callable[..., TrainingTask], train: Train) -> None:
    """The loss is over all the labelled tokens of a step, and so is its gradient: but for rounding nothing differs. An
    epoch of three steps ends with a step of one batch where four batches are asked for."""
    task = make_task(epochs=2, bloom={"hidden_dropout": 0.0})
    whole = train(task, {**CONFIG, "batch_size": 16})
    halves = train(task, {**CONFIG, "gradient_accumulation": 2})
    for one, other in zip(whole, halves, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-5)
        assert other.eval_loss == pytest.approx(one.eval_loss, rel=1e-4)


def test_an_epochs_last_step_has_fewer_batches(task: TrainingTask, train: Train, rates: list[float]) -> None:
    """6 batches in fours: two steps, the second of two batches."""
    results = train(dataclasses.replace(task, epochs=2), {**CONFIG, "gradient_accumulation": 4})
    assert len(rates) == 4
    state = json.loads((results[-1].checkpoint / "state.json").read_text())
    assert (state["steps_per_epoch"], state["schedule_steps"]) == (2, 4)


def test_a_takeover_may_change_the_accumulation(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    train(dataclasses.replace(task, epochs=2), folder=tmp_path / "donor")
    donor = tmp_path / "donor" / "epoch-0002"
    results = train(task, {**CONFIG, "gradient_accumulation": 3}, resume_from=donor)
    states = [json.loads((path / "state.json").read_text()) for path in (donor, results[-1].checkpoint)]
    assert [(s["steps_per_epoch"], s["schedule_steps"]) for s in states] == [(6, 12), (2, 8)]


def test_clipping_and_warm_up_and_precision_are_the_trials_own(task: TrainingTask, train: Train) -> None:
    one = dataclasses.replace(task, epochs=1)
    plain = losses(train(one, CONFIG))
    as_workload: dict[str, Value] = {"max_grad_norm": 1.0, "warmup_fraction": 0.05, "precision": "fp32"}
    assert losses(train(one, {**CONFIG, **as_workload})) == plain
    for change in ({"max_grad_norm": 0.01}, {"max_grad_norm": 0.0}, {"warmup_fraction": 0.3}, {"precision": "bf16"}):
        assert losses(train(one, {**CONFIG, **change})) != plain, change
    with pytest.raises(Exception, match="fp16 does not train on a CPU"):
        train(one, {**CONFIG, "precision": "fp16"})


def test_the_effective_task_is_the_task_where_nothing_asks_for_another(task: TrainingTask) -> None:
    assert effective_task(task, CONFIG) is task
    staged = effective_task(task, {**CONFIG, "zero_stage": 2, "max_grad_norm": 0.5})
    assert staged.deepspeed is not None
    assert staged.deepspeed.name == "zero2.json"
    assert staged.workload.max_grad_norm == 0.5
    assert effective_task(staged, {**CONFIG, "zero_stage": 0}).deepspeed is None


def test_the_final_score_is_in_the_trials_precision(task: TrainingTask, train: Train) -> None:
    [result] = train(dataclasses.replace(task, epochs=1), {**CONFIG, "precision": "bf16"})
    low = score_final(task, result.checkpoint).test_loss
    position = result.checkpoint / "state.json"
    position.write_text(position.read_text().replace('"bf16"', '"fp32"'))
    full = score_final(task, result.checkpoint).test_loss
    assert low != full
    assert low == pytest.approx(full, rel=0.02)


def other_optimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Trainer, "get_optimizer_cls_and_kwargs", lambda *_: (torch.optim.SGD, {"lr": 2e-3, "momentum": 0.9})
    )


def no_momentum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "get_optimizer_cls_and_kwargs", lambda *_: (torch.optim.SGD, {"lr": 2e-3}))


def other_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(self: Any, num_training_steps: int, optimizer: Any = None) -> Any:
        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, lambda step: step / 1000)
        return self.lr_scheduler

    monkeypatch.setattr(TrialTrainer, "create_scheduler", create)


def setting(name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """A trainer whose arguments were changed behind the trial's back."""

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        original = TrialTrainer.__init__

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            setattr(self.args, name, value)

        monkeypatch.setattr(TrialTrainer, "__init__", init)

    return apply


@pytest.mark.parametrize(
    ("change", "break_it", "told"),
    [
        ({"optimizer": "adafactor"}, other_optimiser, "optimizer: asked Adafactor, found SGD"),
        ({"optimizer": "sgd"}, no_momentum, "momentum: asked 0.9, found 0"),
        ({"lr_scheduler": "cosine"}, other_schedule, "lr_scheduler cosine, warmup_fraction 0.05 at step 1 of 36"),
        ({"warmup_fraction": 0.5}, setting("warmup_steps", 0.25), "warmup_fraction 0.5 at step 9 of 36: asked 0.5"),
        ({"max_grad_norm": 0.5}, setting("max_grad_norm", 1.0), "gradient clipping: asked 0.5, found 1.0"),
        (
            {"gradient_accumulation": 2},
            setting("gradient_accumulation_steps", 3),
            "gradient_accumulation: asked 2, found 3",
        ),
    ],
)
def test_a_hyperparameter_that_did_not_arrive_fails_the_trial(
    task: TrainingTask,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Value],
    break_it: Callable[[pytest.MonkeyPatch], None],
    told: str,
) -> None:
    break_it(monkeypatch)
    with pytest.raises(TrialFailed, match=told):
        train(task, {**CONFIG, **change})


def test_a_precision_that_did_not_arrive_fails_the_trial(
    task: TrainingTask, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readback, "_precision", lambda trainer: "fp32")
    with pytest.raises(TrialFailed, match="precision: asked bf16, found fp32"):
        train(task, {**CONFIG, "precision": "bf16"})


@pytest.mark.parametrize(
    "change",
    [{"gradient_accumulation": 4, "lr_scheduler": "cosine"}, {"optimizer": "adafactor"}, {"lora_rank": 4}],
    ids=["accumulation", "adafactor", "lora"],
)
def test_the_fast_recipe_trains_the_same(
    make_task: Callable[..., TrainingTask], train: Train, change: dict[str, Value]
) -> None:
    found = [
        train(make_task(recipe, epochs=2, bloom={"hidden_dropout": 0.0}), {**CONFIG, **change})
        for recipe in ("qa", "fast")
    ]
    for slow, fast in zip(*found, strict=True):
        assert (fast.train_loss, fast.eval_loss) == pytest.approx((slow.train_loss, slow.eval_loss), rel=1e-4)
