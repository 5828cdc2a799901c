"""DeepSpeed on a CPU: trains as the plain Trainer does, resumes exactly, and is read back; each in its own process."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.engines.process import run_trial_process
from bench.errors import UserError
from bench.hf import deepspeed
from bench.training import EpochResult, TrainingTask
from bench.zero import deepspeed_file

CONFIG: dict[str, float | int] = {"learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.3}
Make = Callable[..., TrainingTask]
EXTENSIONS = Path.home() / ".cache" / "sweepmark-tests" / "torch_extensions"

compiled = pytest.mark.skipif(
    not (shutil.which("c++") or shutil.which("g++")),
    reason="DeepSpeed compiles an extension and there is no C++ compiler",
)

# Trains whole, then again from the first checkpoint, then without DeepSpeed in the same process.
SCRIPT = """
import dataclasses, json, pickle, sys
from pathlib import Path
from bench.hf import train_trial
from bench.training import TrialFailed
task, config, folder = pickle.loads(Path(sys.argv[1]).read_bytes()), json.loads(sys.argv[2]), Path(sys.argv[3])

def train(task, name, resume_from=None):
    losses = []
    try:
        train_trial(task, config, folder=folder / name, resume_from=resume_from,
                    on_epoch=lambda r: losses.append(r.eval_loss))
    except TrialFailed as failed:
        return [str(failed)]
    return losses

whole = train(task, "whole")
rest = train(task, "rest", folder / "whole" / "epoch-0001") if len(whole) > 1 else []
print(json.dumps([whole, rest, train(dataclasses.replace(task, deepspeed=None), "plain")]))
"""


def run(task: TrainingTask, folder: Path) -> list[Any]:
    """The script's three lists of losses, from a process of its own; what it compiles is kept for the next run."""
    (folder / "task.pickle").write_bytes(pickle.dumps(task))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder / "task.pickle"), json.dumps(CONFIG), str(folder)],
        capture_output=True,
        text=True,
        env={"TORCH_EXTENSIONS_DIR": str(EXTENSIONS), **os.environ},
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    results: list[Any] = json.loads(done.stdout)
    return results


def with_deepspeed(make_task: Make, tmp_path: Path, content: Any, recipe: str = "qa", **changes: Any) -> TrainingTask:
    path = tmp_path / "deepspeed.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return make_task(recipe, deepspeed=path, **{"epochs": 3, **changes})


@compiled
@pytest.mark.slow
@pytest.mark.parametrize(("stage", "precision"), [(1, "fp32"), (2, "bf16")])
def test_trains_as_without_and_resumes_exactly(make_task: Make, tmp_path: Path, stage: int, precision: str) -> None:
    task = with_deepspeed(make_task, tmp_path, {"zero_optimization": {"stage": stage}}, precision=precision)
    whole, rest, plain = run(task, tmp_path)
    assert len(whole) == 3
    assert rest == whole[1:]
    assert whole == pytest.approx(plain, rel=1e-5 if precision == "fp32" else 1e-2)


@compiled
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"),
    [("zero3", "fp32"), ("zero3-offload-both", "bf16"), ("zero2-offload-optimizer", "fp32")],
)
def test_a_single_process_may_shard_and_offload(make_task: Make, tmp_path: Path, name: str, precision: str) -> None:
    """To the plain Trainer's losses, by the very same optimiser; and it resumes to the bit."""
    task = make_task(deepspeed=deepspeed_file(name), epochs=2, precision=precision)
    whole, rest, plain = run(task, tmp_path)
    assert len(whole) == 2
    assert rest == whole[1:]
    assert whole == pytest.approx(plain, rel=1e-5 if precision == "fp32" else 1e-2)


def train_in_both(task: TrainingTask, folder: Path, resume_from: Path | None = None) -> list[EpochResult]:
    results: list[EpochResult] = []
    for message in run_trial_process(task, CONFIG, folder=folder, resume_from=resume_from):
        assert isinstance(message, EpochResult), message
        results.append(message)
    return results


@compiled
@pytest.mark.slow
def test_two_processes_split_what_zero_splits(make_task: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage 3 has them split weights, gradients and moments, and stage 1 takes over its checkpoint, which is whole."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(EXTENSIONS))
    three = with_deepspeed(make_task, tmp_path, {"zero_optimization": {"stage": 3}}, precision="bf16", processes=2)
    whole = [r.eval_loss for r in train_in_both(three, tmp_path / "whole")]
    assert len(whole) == 3
    rest = train_in_both(three, tmp_path / "rest", tmp_path / "whole" / "epoch-0001")
    assert [r.eval_loss for r in rest] == whole[1:]
    one = with_deepspeed(make_task, tmp_path, {"zero_optimization": {"stage": 1}}, precision="bf16", processes=2)
    [last] = train_in_both(one, tmp_path / "last", tmp_path / "whole" / "epoch-0002")
    assert last.eval_loss == pytest.approx(whole[2], rel=1e-3)


@compiled
@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "asked"), [("qa", 0.3), ("workshop", 0.0)])
def test_an_optimiser_block_without_weight_decay_is_found_out(
    make_task: Make, tmp_path: Path, recipe: str, asked: float
) -> None:
    """The workshop's defect: what was asked never arrived. Here torch's own 0.01 takes its place, under any recipe."""
    block = {
        "zero_optimization": {"stage": 1},
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto", "torch_adam": True}},
    }
    (told,), _, _ = run(with_deepspeed(make_task, tmp_path, block, recipe, epochs=1), tmp_path)
    assert told == f"failed: weight_decay of transformer.word_embeddings.weight: asked {asked}, found 0.01"


@pytest.mark.parametrize(
    ("content", "precision", "told"),
    [
        ("{", "fp32", "is not JSON"),
        ("[]", "fp32", "holds no JSON object"),
        ({"zero_optimization": {"stage": 4}}, "fp32", "stage is 4: give 0, 1, 2 or 3"),
        ({"zero_optimization": 7}, "fp32", "give 0, 1, 2 or 3"),
        ({}, "bf16", "stage 0 trains wrongly in bf16"),
    ],
)
def test_refuses_what_cannot_work(make_task: Make, tmp_path: Path, content: Any, precision: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        deepspeed.load_config(with_deepspeed(make_task, tmp_path, content, precision=precision))


def test_a_missing_file_is_named(make_task: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Cannot read the DeepSpeed file"):
        deepspeed.load_config(make_task(deepspeed=tmp_path / "none.json"))


def test_fp16_scales_its_loss_dynamically(make_task: Make, tmp_path: Path) -> None:
    task = with_deepspeed(make_task, tmp_path, {"zero_optimization": {"stage": 2}}, precision="fp16")
    config = deepspeed.load_config(task)
    assert config is not None
    assert config["fp16"] == {"enabled": True, "loss_scale": 0}
    assert config["gradient_clipping"] == "auto"


def test_only_deepspeed_trials_want_a_process_of_their_own(make_task: Make, tmp_path: Path) -> None:
    assert with_deepspeed(make_task, tmp_path, {}).needs_own_process
    assert not make_task().needs_own_process
