"""LoRA by peft: adapters alone are trained, saved, restored and scored, and what is in force is read back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.errors import UserError
from bench.hf import lora, score_final
from bench.hf.checkpoint import load_weights
from bench.hf.lora import Lora
from bench.hf.model import to_train
from bench.hf.moments import write_weights
from bench.hf.prepared import prepare
from bench.hf.trainer import TrialTrainer
from bench.space import Config
from bench.training import EpochResult, TrainingTask, TrialFailed

CONFIG: Config = {
    "learning_rate": 2e-2,
    "batch_size": 8,
    "weight_decay": 0.1,
    "lora_rank": 4,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
}
Train = Callable[..., list[EpochResult]]


def losses(results: list[EpochResult]) -> list[tuple[float, float]]:
    return [(r.train_loss, r.eval_loss) for r in results]


def test_adapters_sit_where_peft_puts_them_and_come_from_the_seed(task: TrainingTask) -> None:
    untrained = prepare(task).model
    models = [to_train(untrained, t, CONFIG) for t in (task, task, dataclasses.replace(task, init_seed=9))]
    names = [name for name, weight in models[0].named_parameters() if weight.requires_grad]
    assert len(names) == 4
    assert all(".self_attention.query_key_value.lora_" in name for name in names)
    assert lora.found(models[0]) == Lora(rank=4, alpha=16.0, dropout=0.1)
    assert lora.found(untrained) is None
    first, again, other = (dict(model.named_parameters())[names[0]] for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():  # nothing is changed before the first step: B is zero
        assert torch.equal(models[0].eval()(ids).logits, untrained.eval()(ids).logits)


def test_without_an_alpha_it_is_twice_the_rank() -> None:
    assert lora.asked({"lora_rank": 8}) == Lora(rank=8, alpha=16.0, dropout=0.0)
    assert lora.asked({"learning_rate": 1e-3}) is None


def test_adapters_alone_are_trained_and_saved_as_peft_saves_them(task: TrainingTask, train: Train) -> None:
    from peft import PeftModel

    results = train(dataclasses.replace(task, epochs=2), CONFIG)
    assert results[-1].eval_loss < results[0].eval_loss
    folder = results[-1].checkpoint
    assert {p.name for p in folder.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "config.json", "state.json", "state.safetensors"
    }  # fmt: skip
    assert json.loads((folder / "state.json").read_text())["config"] == CONFIG
    untrained = prepare(task).model
    ours = to_train(untrained, task, CONFIG)
    write_weights(ours, load_weights(folder))
    pefts = PeftModel.from_pretrained(to_train(untrained, task, {}), str(folder))
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.equal(ours.eval()(ids).logits, pefts.eval()(ids).logits)
        assert not torch.equal(ours(ids).logits, untrained.eval()(ids).logits)


def test_resumes_bit_for_bit(task: TrainingTask, train: Train, tmp_path: Path) -> None:
    whole = train(dataclasses.replace(task, keep_checkpoints=9, epochs=3), CONFIG, folder=tmp_path / "whole")
    rest = train(
        dataclasses.replace(task, epochs=3), CONFIG, resume_from=tmp_path / "whole" / "epoch-0001",
        folder=tmp_path / "rest",
    )  # fmt: skip
    assert losses(rest) == losses(whole)[1:]
    ends = [load_file(tmp_path / name / "epoch-0003" / lora.WEIGHTS_NAME) for name in ("whole", "rest")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_the_final_score_is_of_the_adapted_model(task: TrainingTask, train: Train) -> None:
    one = dataclasses.replace(task, epochs=1)
    [trained] = train(one, CONFIG)
    [still] = train(one, {**CONFIG, "learning_rate": 1e-30})
    assert score_final(one, trained.checkpoint).test_loss < score_final(one, still.checkpoint).test_loss


def test_another_rank_or_all_weights_cannot_take_it_over(task: TrainingTask, train: Train) -> None:
    [result] = train(dataclasses.replace(task, epochs=1), CONFIG)
    for config, told in (({**CONFIG, "lora_rank": 2}, "has the shape"), (
        {"learning_rate": 1e-3, "batch_size": 8, "weight_decay": 0.0}, "in one only")):  # fmt: skip
        with pytest.raises(UserError, match=told):
            train(task, config, resume_from=result.checkpoint)


def spoil(change: Callable[[Any], None]) -> Callable[[pytest.MonkeyPatch], None]:
    """A model that was built in another way."""

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        original = TrialTrainer.__init__

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            change(kwargs["model"])
            original(self, *args, **kwargs)

        monkeypatch.setattr(TrialTrainer, "__init__", init)

    return apply


def _adapters(model: Any) -> list[Any]:
    return list(lora._layers(model))


def other_scale(model: Any) -> None:
    for layer in _adapters(model):
        layer.scaling["default"] = 1.0


def uneven_scale(model: Any) -> None:
    _adapters(model)[0].scaling["default"] = 1.0


def no_dropout(model: Any) -> None:
    for layer in _adapters(model):
        layer.lora_dropout["default"] = torch.nn.Identity()


def thawed(model: Any) -> None:
    model.transformer.ln_f.weight.requires_grad = True


def frozen(model: Any) -> None:
    next(w for n, w in model.named_parameters() if lora.is_adapter(n)).requires_grad = False


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_scale, "lora_alpha: asked 16.0, found 4.0"),
        (uneven_scale, "LoRA: the adapters differ: rank 4, alpha 16, dropout 0.1, rank 4, alpha 4"),
        (no_dropout, "lora_dropout: asked 0.1, found 0.0"),
        (thawed, "ln_f.weight is trained and should not be"),
        (frozen, "lora_A.default.weight is frozen and should not be"),
    ],
)
def test_an_adapter_that_is_not_as_asked_fails_the_trial(
    task: TrainingTask, train: Train, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None], told: str
) -> None:
    spoil(change)(monkeypatch)
    with pytest.raises(TrialFailed, match=told):
        train(task, CONFIG)


def test_adapters_that_are_missing_fail_the_trial(
    task: TrainingTask, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.hf.model.lora.add", lambda *_: None)
    with pytest.raises(TrialFailed, match=r"LoRA: asked rank 4, alpha 16, dropout 0\.1, found none"):
        train(task, CONFIG)


def test_a_model_that_peft_does_not_know_gets_adapters_in_all_linear_layers_but_the_head(task: TrainingTask) -> None:
    model = to_train(prepare(task).model, task, {})
    model.config.model_type = "unheard-of"
    lora.add(model, Lora(rank=2, alpha=4.0, dropout=0.0), seed=1)
    adapted = {name.split(".lora_")[0].split(".")[-1] for name, _ in model.named_parameters() if lora.is_adapter(name)}
    assert adapted == {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}


def test_full_training_after_lora_is_as_before(task: TrainingTask, train: Train) -> None:
    one = dataclasses.replace(task, epochs=1)
    plain: Config = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.0}
    before = train(one, plain)
    train(one, CONFIG)
    assert losses(train(one, plain)) == losses(before)
