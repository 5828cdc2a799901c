"""The task that a trial really trains: the study's, with what the trial's configuration decides in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from bench.space import Config
from bench.training import Precision, TrainingTask
from bench.zero import deepspeed_file


def effective_task(task: TrainingTask, config: Config) -> TrainingTask:
    """The task with the configuration's warm-up, clipping, precision and ZeRO stage; the task itself where it has none
    of them. What else a configuration holds belongs to the model or to the Trainer's arguments."""
    changes: dict[str, Any] = {}
    own: dict[str, Any] = {name: float(config[name]) for name in ("warmup_fraction", "max_grad_norm") if name in config}
    if own:
        changes["workload"] = replace(task.workload, **own)
    if "precision" in config:
        changes["precision"] = cast(Precision, config["precision"])
    if "zero_stage" in config:
        stage = int(config["zero_stage"])
        changes["deepspeed"] = deepspeed_file(f"zero{stage}") if stage else None
    return replace(task, **changes) if changes else task
