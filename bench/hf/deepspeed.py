"""DeepSpeed, where a task asks for it: its configuration, its environment, and the state it leaves behind."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.hf.sparing import absent
from bench.training import TrainingTask


def load_config(task: TrainingTask) -> dict[str, Any] | None:
    """The task's DeepSpeed configuration with what the task decides filled in; None without one.

    Precision, clipping and batch size stand as the file has them where it has them, so that a difference from what the
    task asks is found when they are read back. Raises UserError where the file cannot be used.
    """
    path = task.deepspeed
    if path is None:
        return None
    config = _read(path)
    stage = _stage(config)
    if stage not in (0, 1, 2, 3):
        raise UserError(f"{path}: zero_optimization.stage is {stage!r}: give 0, 1, 2 or 3.")
    if stage == 0 and task.precision != "fp32":
        # DeepSpeed 0.18.3 to 0.19.8: the step divides by a loss scale that the backward did not apply.
        raise UserError(f"{path}: ZeRO stage 0 trains wrongly in {task.precision}: use stage 1 or more, or fp32.")
    for name in ("fp16", "bf16"):
        if name == task.precision:
            config.setdefault(name, {"enabled": True, **({"loss_scale": 0} if name == "fp16" else {})})
    config.setdefault("gradient_clipping", "auto")
    config.setdefault("train_micro_batch_size_per_gpu", "auto")
    config.setdefault("steps_per_print", 10**9)
    return config


def zero_stage(config: dict[str, Any] | None) -> int:
    """The ZeRO stage that a configuration asks for."""
    return int(_stage(config)) if config is not None else 0


def _stage(config: dict[str, Any]) -> Any:
    block = config.get("zero_optimization", {})
    return block.get("stage", 0) if isinstance(block, dict) else None


def start(task: TrainingTask) -> None:
    """Has DeepSpeed take over the process group. Compiles its extensions if need be, in a folder that trials share."""
    with _building(task):
        with absent("mlflow"):  # its autotuning, which nobody uses here, would import it
            import deepspeed
        from deepspeed.accelerator import get_accelerator

        deepspeed.init_distributed(dist_backend=get_accelerator().communication_backend_name(), verbose=False)


def build(task: TrainingTask) -> None:
    """Compiles what `start` would, so that no trial's start-up holds it: for a CPU one extension, else none."""
    if task.device != "cpu":  # a head without GPUs would compile it for itself
        return
    with _building(task):
        from deepspeed.comm.torch import build_shm_op

        build_shm_op()


@contextlib.contextmanager
def _building(task: TrainingTask) -> Iterator[None]:
    """Nobody else builds meanwhile, and nothing is printed. Raises UserError where there is no compiler for it."""
    if task.device == "cpu" and not any(map(shutil.which, (os.environ.get("CXX") or "c++", "g++"))):
        raise UserError("DeepSpeed compiles an extension for CPUs, and there is no C++ compiler here: install g++.")
    extensions = Path(os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(task.cache.resolve() / "torch_extensions")))
    extensions.mkdir(parents=True, exist_ok=True)
    with (extensions / "sweepmark.lock").open("w") as held, contextlib.redirect_stdout(io.StringIO()):
        fcntl.flock(held, fcntl.LOCK_EX)
        # What an interrupted build left would be waited for for ever.
        for stale in extensions.glob("*/lock"):
            stale.unlink(missing_ok=True)
        yield


def forget() -> None:
    """Removes the global state that would turn later Trainers of this process into DeepSpeed ones."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        del os.environ[name]
    unset_hf_deepspeed_config()


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read the DeepSpeed file {path} ({error.strerror}): check the path.") from None
    except ValueError as error:
        raise UserError(f"The DeepSpeed file {path} is not JSON ({error}): correct that place.") from None
    if not isinstance(config, dict):
        raise UserError(f"The DeepSpeed file {path} holds no JSON object: give DeepSpeed's configuration.")
    return config
