"""What runs inside Ray's worker processes: one trial at a time, in a process that is reused for the next."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune

from bench.engines.cores import keep_to
from bench.engines.ray_ranks import LOST_EXIT, gathered
from bench.engines.replay import Recorded
from bench.errors import UserError
from bench.events import Phases, State
from bench.objectives import Objectives
from bench.training import EpochResult, TrainingTask, TrialFailed

RESULT = "epoch_result"
FAILURE = "trial_failed"
REFUSAL = "user_error"
WORKER = "worker"
POINTER = "checkpoint.json"


@dataclass(frozen=True)
class Pointer:
    """What Ray Tune takes for a checkpoint: which trial's, after which epoch. The checkpoint itself stays in the run's
    folder and is never copied. `failed`: why that trial cannot be trained on, where it cannot. `spent_s`: busy seconds
    of its epochs up to this one."""

    trial: str
    epoch: int
    failed: tuple[State, str] | None = None
    spent_s: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> Pointer:
        data = json.loads((folder / POINTER).read_text())
        return cls(data["trial"], data["epoch"], tuple(data["failed"]) if data["failed"] else None, data["spent_s"])

    def report(self, objectives: Mapping[str, float], **more: Any) -> None:
        """Hand the result and this pointer to Ray Tune; returns when the trial may go on, raises when it may not."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, POINTER).write_text(json.dumps(asdict(self)))
            tune.report({**objectives, WORKER: _worker(), **more}, checkpoint=tune.Checkpoint.from_directory(folder))


def _worker() -> str:
    """This process, and which of a cluster's nodes it is on; nothing that tells the site."""
    node = os.environ.get("SWEEPMARK_WORKER")
    return f"pid {os.getpid()}" if node is None else f"worker {node} pid {os.getpid()}"


def run_trial(
    config: dict[str, Any],
    task: TrainingTask,
    objectives: Objectives,
    checkpoints: Path,
    copies: bool,
    gate: Any | None,
    cores: tuple[int, ...] = (),
) -> None:
    """Ray Tune's trainable. `objectives`: what Tune is told of an epoch. `checkpoints`: the run's folder of them.
    `copies`: the strategy lets trials take over others, so that a failed trial waits for that instead of ending.
    `gate`: hands out what an earlier attempt at this run recorded (see `bench.engines.replay`). `cores`: to train on
    (none named: any)."""
    entered_s = time.time()
    keep_to(cores)
    trial: str = tune.get_context().get_trial_name()
    saved = tune.get_checkpoint()
    at = Pointer.read(Path(saved.path)) if saved else Pointer(trial, 0)

    while gate is not None and at.epoch < task.epochs and (copies or not at.failed):
        recorded: Recorded | None = ray.get(gate.next.remote(trial, config))
        if recorded is None:
            break
        epoch = recorded.epoch
        if copies and epoch is None:  # its process died too often: it has left the population
            return
        spent_s = at.spent_s + (epoch.phases.total_s if epoch else 0.0)
        at = Pointer(trial, at.epoch + 1, recorded.failed, spent_s)
        at.report(objectives.of(epoch, spent_s) if epoch else objectives.failed())

    if at.failed is None and at.epoch < task.epochs:
        try:
            _train(config, task, objectives, checkpoints, at, trial, entered_s)
            return
        except _Failed as failed:
            at = failed.at
            at.report(objectives.failed(), **{FAILURE: failed.cause})
    while copies and at.failed is not None and at.epoch < task.epochs:
        state, detail = at.failed
        at = Pointer(trial, at.epoch + 1, at.failed)
        at.report(objectives.failed(), **{FAILURE: TrialFailed(state=state, detail=detail, phases=Phases())})


class _Failed(Exception):
    def __init__(self, at: Pointer, cause: TrialFailed) -> None:
        super().__init__(at, cause)
        self.at = at
        self.cause = cause


_imported = False
"""Whether this process has paid for its imports: the trial that does is charged with them."""


def _train(
    config: dict[str, Any],
    task: TrainingTask,
    objectives: Objectives,
    checkpoints: Path,
    at: Pointer,
    trial: str,
    entered_s: float,
) -> None:
    global _imported
    first, _imported = not _imported, True
    from bench.hf import train_trial
    from bench.hf.group import RankLost

    epoch, spent_s = at.epoch, at.spent_s
    folder = checkpoints / trial
    resume_from = checkpoints / at.trial / f"epoch-{at.epoch:04d}" if at.epoch else None

    def report(result: EpochResult) -> None:
        nonlocal epoch, spent_s
        epoch, spent_s = result.epoch, spent_s + result.phases.total_s
        Pointer(trial, epoch, spent_s=spent_s).report(objectives.of(result, spent_s), **{RESULT: result})

    try:
        with gathered(task, config, folder, resume_from) as place:
            train_trial(
                task,
                config,
                folder=folder,
                resume_from=resume_from,
                on_epoch=report,
                process_started_s=entered_s if first else None,
                place=place,
            )
    except RankLost:
        os._exit(LOST_EXIT)
    except UserError as error:  # no trial can do better: the driver ends the run
        Pointer(trial, epoch + 1).report(objectives.failed(), **{REFUSAL: str(error)})
    except TrialFailed as failure:
        raise _Failed(Pointer(trial, epoch + 1, (failure.state, failure.detail)), failure) from None
