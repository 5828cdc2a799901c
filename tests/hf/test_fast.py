"""The recipe `fast`: every means alone, and all of them, give the losses of `qa`."""

from __future__ import annotations

import dataclasses
import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.errors import UserError
from bench.hf import checkpoint, fused, labelled, rows, score_final, train_trial
from bench.hf.collate import LABELLED, REAL
from bench.hf.rows import Rows
from bench.hf.table import Table
from bench.hf.trainer import TrialTrainer
from bench.training import EpochResult, TrainingTask
from bench.workload import Computation, load_recipe, recipe_names
from bench.zero import deepspeed_file
from tests.hf.ranks import SecondRank
from tests.hf.test_deepspeed import compiled, run

CONFIG: dict[str, Any] = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.3}
Make = Callable[..., TrainingTask]
Train = Callable[..., list[EpochResult]]

ROUNDING = 2e-6
"""Relative difference of losses in fp32: some units in the last place, over two epochs."""
MEANS: dict[str, dict[str, Any]] = {
    "head": {"head": "labelled"},
    "last_block": {"head": "labelled", "attention": "fused", "last_block": "labelled"},
    "tokens": {"attention": "fused", "tokens": "real"},
    "attention": {"attention": "fused"},
    "activation": {"activation": "fused"},
    "batches": {"batches": "device"},
    "checkpoints": {"checkpoints": "aside"},
}
FAST = dataclasses.asdict(load_recipe("fast").computation)
STILL = {"hidden_dropout": 0.0}


@pytest.fixture
def make(make_task: Make) -> Make:
    """A task of two epochs on passages of unequal length, evaluated in uneven batches, computed as the keywords in
    `how` say; without dropout unless asked for."""
    data = dataclasses.replace(make_task().workload.data, facts_per_passage=(2, 8))
    uneven = {"data": data, "eval_batch_size": 3}

    def made(how: dict[str, Any], **changes: Any) -> TrainingTask:
        task = make_task(**{"epochs": 2, "bloom": STILL, "workload": uneven, **changes})
        recipe = dataclasses.replace(task.recipe, computation=Computation(**how))
        return dataclasses.replace(task, recipe=recipe)

    return made


def losses(results: list[EpochResult]) -> list[tuple[float, float]]:
    return [(r.train_loss, r.eval_loss) for r in results]


def differ(one: list[EpochResult], other: list[EpochResult]) -> float:
    """The largest relative difference of two trials' losses."""
    assert len(one) == len(other)
    pairs = [
        (a, b) for mine, its in zip(losses(one), losses(other), strict=True) for a, b in zip(mine, its, strict=True)
    ]
    return max(abs(a - b) / b for a, b in pairs)


def test_fast_is_qa_but_for_the_computation() -> None:
    qa, fast = load_recipe("qa"), load_recipe("fast")
    same = dataclasses.replace(
        fast, name=qa.name, summary=qa.summary, computation=qa.computation, same_losses_as=qa.same_losses_as
    )
    assert same == qa
    assert qa.computation == load_recipe("workshop").computation == Computation()
    assert {name: load_recipe(name).known_as for name in recipe_names()} == {
        "fast": "qa", "qa": "qa", "workshop": "workshop"
    }  # fmt: skip
    assert all(FAST[name] == value for how in MEANS.values() for name, value in how.items() if name in FAST)


@pytest.mark.parametrize("how", [*MEANS.values(), FAST], ids=[*MEANS, "all"])
def test_the_losses_are_those_of_qa(make: Make, train: Train, how: dict[str, Any]) -> None:
    assert differ(train(make(how)), train(make({}))) < ROUNDING


@pytest.mark.parametrize("recipe", ["qa", "workshop"])
def test_with_dropout_the_same_units_are_dropped(make: Make, train: Train, recipe: str) -> None:
    dropped: dict[str, Any] = {"recipe": recipe, "bloom": {"hidden_dropout": 0.2, "attention_dropout": 0.1}}
    assert differ(train(make(FAST, **dropped)), train(make({}, **dropped))) < ROUNDING


def test_in_bf16_losses_differ_by_its_rounding(make: Make, train: Train) -> None:
    results = [train(make(how, precision="bf16")) for how in ({}, FAST)]
    assert 0 < differ(*results) < 0.01


@pytest.mark.parametrize(
    "config",
    [{"batch_size": 16, "gradient_accumulation": 2}, {"lora_rank": 4, "lora_alpha": 8.0, "lora_dropout": 0.1}],
    ids=["accumulated", "lora"],
)
def test_other_ways_to_train_stay_the_same(make: Make, train: Train, config: dict[str, Any]) -> None:
    results = [train(make(how), {**CONFIG, **config}) for how in (FAST, {})]
    assert differ(*results) < ROUNDING
    assert differ(train(make(FAST)), results[0]) > 1e-3  # the configuration arrived


def test_the_examples_come_in_the_same_order(make: Make, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[list[list[int]]] = []
    brought: set[str] = set()
    original = TrialTrainer.training_step

    def note(self: Any, model: Any, inputs: dict[str, Any], *rest: Any) -> Any:
        pairs = zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True)
        met.append([ids[mask].tolist() for ids, mask in pairs])
        brought.update(inputs)
        return original(self, model, inputs, *rest)

    monkeypatch.setattr(TrialTrainer, "training_step", note)
    train(make(FAST))
    fast, met = met, []
    train(make({}))
    assert fast == met
    assert brought >= {LABELLED, REAL}  # else the tests above would leave no padding out
    assert len(met) == 12
    assert met[:6] != met[6:]


def test_resumes_bit_for_bit_and_across_recipes(make: Make, train: Train, tmp_path: Path) -> None:
    fast, plain = (make(how, epochs=3, bloom={}) for how in (FAST, {}))
    whole = train(fast, folder=tmp_path / "fast")
    rest = train(fast, folder=tmp_path / "rest", resume_from=tmp_path / "fast" / "epoch-0001")
    assert losses(rest) == losses(whole)[1:]
    ends = [load_file(tmp_path / name / "epoch-0003" / "state.safetensors") for name in ("fast", "rest")]
    assert all(ends[0][name].numpy().tobytes() == ends[1][name].numpy().tobytes() for name in ends[0])
    other = train(plain, folder=tmp_path / "plain", resume_from=tmp_path / "fast" / "epoch-0001")
    assert differ(other, rest) < ROUNDING


def test_scores_as_qa_does(make: Make, train: Train) -> None:
    fast, plain = make(FAST), make({})
    path = train(fast)[-1].checkpoint
    assert score_final(fast, path).test_loss == pytest.approx(score_final(plain, path).test_loss, rel=ROUNDING)


@pytest.fixture(scope="module")
def second() -> Iterator[SecondRank]:
    rank = SecondRank()
    yield rank
    rank.end()


@pytest.mark.parametrize("config", [CONFIG, {**CONFIG, "batch_size": 5}], ids=["even", "uneven"])
def test_of_two_processes_too(make: Make, second: SecondRank, tmp_path: Path, config: dict[str, Any]) -> None:
    """Of uneven batches the last is filled up with examples from the beginning, as accelerate does."""
    tasks = [make(how, processes=2) for how in (FAST, {})]
    results = [second.train(task, config, folder=tmp_path / str(n)) for n, task in enumerate(tasks)]
    assert differ(*results) < ROUNDING


@compiled
@pytest.mark.slow
def test_under_zero_3_too(make: Make, train: Train, tmp_path: Path) -> None:
    task = dataclasses.replace(make(FAST), deepspeed=deepspeed_file("zero3"))
    whole, rest, _ = run(task, tmp_path)
    assert rest == whole[1:]
    assert whole == pytest.approx([r.eval_loss for r in train(make({}))], rel=ROUNDING)


def shifted(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(labelled, "picked", lambda values, positions: rows.picked(values, positions - 1))


def shifted_after_the_last_attention(patched: pytest.MonkeyPatch) -> None:
    original = Rows.labelled_of

    def other(self: Any, values: torch.Tensor, **how: Any) -> torch.Tensor:
        return original(self, values, **how).roll(1, dims=1)

    patched.setattr(Rows, "labelled_of", other)


def without_positions(patched: pytest.MonkeyPatch) -> None:
    original = fused._Fused._shared_bias

    def bias(self: Any, alibi: torch.Tensor, *rest: Any) -> Any:
        return original(self, torch.zeros_like(alibi), *rest)

    patched.setattr(fused._Fused, "_shared_bias", bias)


def of_other_examples(patched: pytest.MonkeyPatch) -> None:
    original = Table.__call__
    patched.setattr(Table, "__call__", lambda self, batch: original(self, [max(0, n - 1) for n in batch]))


@pytest.mark.parametrize(
    ("means", "defect"),
    [
        ("head", shifted),
        ("last_block", shifted_after_the_last_attention),
        ("attention", without_positions),
        ("tokens", without_positions),
        ("batches", of_other_examples),
    ],
)
def test_a_defect_shows_in_the_losses(
    make: Make,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    means: str,
    defect: Callable[[pytest.MonkeyPatch], None],
) -> None:
    right = train(make({}))
    defect(monkeypatch)
    assert differ(train(make(MEANS[means])), right) > 100 * ROUNDING


def test_an_epoch_is_reported_when_its_checkpoint_is_written(
    make: Make, train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However slow the disk is: who is killed after the report finds the checkpoint."""

    def slow(*args: Any, **kwargs: Any) -> None:
        time.sleep(0.2)
        save_file(*args, **kwargs)

    monkeypatch.setattr(checkpoint, "save_file", slow)
    task = make(MEANS["checkpoints"])
    found: list[tuple[list[str], float]] = []

    def report(result: EpochResult) -> None:
        found.append((sorted(p.name for p in result.checkpoint.iterdir()), result.phases.checkpoint_s))

    train_trial(task, CONFIG, folder=tmp_path / "trial", on_epoch=report)
    names = ["config.json", "model.safetensors", "state.json", "state.safetensors"]
    assert [written for written, _ in found] == [names, names]
    assert all(waited_s > 0.1 for _, waited_s in found)


def test_a_disk_that_fills_meanwhile_is_the_users_to_see(
    make: Make, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UserError, match="No space left to write"):
        train(make(MEANS["checkpoints"]))


def test_means_that_need_others_are_refused_without() -> None:
    with pytest.raises(ValueError, match="need attention = 'fused'"):
        Computation(tokens="real")
    with pytest.raises(ValueError, match="needs head = 'labelled'"):
        Computation(attention="fused", last_block="labelled")
