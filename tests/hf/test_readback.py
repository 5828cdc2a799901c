"""Every hyperparameter is read back from what was built; one that did not arrive fails the trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers import Trainer

from bench.hf import readback
from bench.hf.trainer import TrialTrainer
from bench.training import EpochResult, TrainingTask, TrialFailed

CONFIG: dict[str, float | int] = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.3}
Train = Callable[..., list[EpochResult]]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was read back from each trainer: weight decay by parameter, and clipping."""
    seen: list[Any] = []
    original = readback.read_back

    def spy(trainer: Any, *args: Any) -> None:
        original(trainer, *args)
        decay = {id(p): g["weight_decay"] for g in trainer.optimizer.param_groups for p in g["params"]}
        seen.append(({n: (p.ndim, decay[id(p)]) for n, p in trainer.model.named_parameters()}, trainer.args))

    monkeypatch.setattr("bench.hf.trial.read_back", spy)
    return seen


def test_qa_decays_the_matrices_and_nothing_else(
    make_task: Callable[..., TrainingTask], train: Train, built: list[Any]
) -> None:
    train(make_task(epochs=1))
    decay, arguments = built[0]
    assert all(value == (0.3 if ndim >= 2 else 0.0) for ndim, value in decay.values())
    assert {ndim for ndim, _ in decay.values()} == {1, 2}
    assert arguments.max_grad_norm == 1.0


def test_workshop_has_neither_decay_nor_clipping(
    make_task: Callable[..., TrainingTask], train: Train, built: list[Any]
) -> None:
    results = train(make_task("workshop", epochs=1))
    decay, arguments = built[0]
    assert {value for _, value in decay.values()} == {0.0}
    assert arguments.max_grad_norm == 0.0
    assert results[0].config == CONFIG


def test_workshop_ignores_weight_decay_and_qa_does_not(make_task: Callable[..., TrainingTask], train: Train) -> None:
    def loss(recipe: str, decay: float) -> float:
        return train(make_task(recipe, epochs=1), {**CONFIG, "weight_decay": decay})[0].eval_loss

    assert loss("workshop", 0.0) == loss("workshop", 5.0)
    assert loss("qa", 0.0) != loss("qa", 5.0)


def spoil(key: str, value: float) -> Callable[[pytest.MonkeyPatch], None]:
    """An optimiser that was built with another setting."""

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        original = Trainer.create_optimizer

        def create(self: Any, model: Any = None) -> Any:
            optimiser = original(self, model)
            optimiser.param_groups[0][key] = value
            return optimiser

        monkeypatch.setattr(TrialTrainer, "create_optimizer", create)

    return apply


def unclipped(monkeypatch: pytest.MonkeyPatch) -> None:
    original = TrialTrainer.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.args.max_grad_norm = 0.0

    monkeypatch.setattr(TrialTrainer, "__init__", init)


def other_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    original = TrialTrainer.get_train_dataloader

    def get(self: Any) -> Any:
        self._train_batch_size = 4
        return original(self)

    monkeypatch.setattr(TrialTrainer, "get_train_dataloader", get)


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (spoil("weight_decay", 0.0), r"weight_decay of .*: asked 0.3, found 0.0"),
        (spoil("lr", 1e-5), "learning_rate: asked 0.002, found 1e-05"),
        (unclipped, "gradient clipping: asked 1.0, found 0.0"),
        (other_batch, "batch_size: asked 8, found 4"),
    ],
)
def test_a_setting_that_did_not_arrive_fails_the_trial(
    task: TrainingTask,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[pytest.MonkeyPatch], None],
    told: str,
) -> None:
    break_it(monkeypatch)
    with pytest.raises(TrialFailed, match=told) as caught:
        train(task)
    assert caught.value.state == "failed"
    assert caught.value.phases.startup_s > 0


def test_bf16_is_in_force_and_differs(make_task: Callable[..., TrainingTask], train: Train) -> None:
    """And leaves no trace in the trial after it."""
    fp32, bf16, again = (train(make_task(epochs=1, precision=p))[0].eval_loss for p in ("fp32", "bf16", "fp32"))
    assert bf16 == pytest.approx(fp32, rel=0.02)
    assert bf16 != fp32 == again
