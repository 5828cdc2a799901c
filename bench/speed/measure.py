"""Measures a ladder: every rung a real trial in a process of its own, all rungs in turn, again and again."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.flops import TRAINING, hardware_flops, model_flops
from bench.speed.look import Inputs, build_extensions, in_process, inputs, peak_tflops
from bench.speed.record import EpochSpeed, RungSpeed, TrialSpeed
from bench.speed.rungs import Rung
from bench.training import EpochResult, TrainingTask, TrialFailed

DECIMALS = 4


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`inputs`: of the comparable recipes."""

    rungs: tuple[RungSpeed, ...]
    peaks_tflops: tuple[float, ...]
    inputs: Inputs


@dataclass(frozen=True, kw_only=True)
class Told:
    """A trial has ended: the `done`-th of `total`; about so much longer (None: not known yet)."""

    done: int
    total: int
    rung: str
    trial: TrialSpeed
    left_s: float | None


def measure(
    task: TrainingTask,
    config: dict[str, Any],
    rungs: Sequence[Rung],
    repeats: int,
    on_trial: Callable[[Told], None],
) -> Measured:
    """All rungs `repeats` times, interleaved, every other time from the last one to the first, so that a machine that
    grows faster or slower favours none. Nothing of the data is made in a trial. Raises UserError where none can start.
    """
    tasks = [_task_of(task, rung) for rung in rungs]
    found: dict[str, Inputs] = {}
    for one in tasks:
        if one.recipe.labels not in found:
            found[one.recipe.labels] = in_process(inputs, replace(one, deepspeed=None))
    for one in [one for one in tasks if one.deepspeed is not None][:1]:
        in_process(build_extensions, one)
    trials: list[list[TrialSpeed]] = [[] for _ in rungs]
    took_s: dict[int, float] = {}
    peaks: list[float] = []
    done = 0
    for repeat in range(repeats):
        peaks.append(in_process(peak_tflops, task))
        order = range(len(rungs))
        for index in order if repeat % 2 == 0 else reversed(order):
            began_s = time.monotonic()
            trial = _trial(tasks[index], config, repeat)
            trials[index].append(trial)
            took_s[index] = time.monotonic() - began_s
            done += 1
            left_s = left(took_s, len(rungs), repeats, done)
            total = len(rungs) * repeats
            on_trial(Told(done=done, total=total, rung=rungs[index].name, trial=trial, left_s=left_s))
    measured = tuple(
        _speed(rung, one, found[one.recipe.labels], config, own)
        for rung, one, own in zip(rungs, tasks, trials, strict=True)
    )
    return Measured(rungs=measured, peaks_tflops=tuple(peaks), inputs=found.get("answer", next(iter(found.values()))))


def left(took_s: dict[int, float], rungs: int, repeats: int, done: int) -> float | None:
    """Seconds left: rungs cost what they have cost, and those to come what the last one has. None before the first."""
    if not took_s:
        return None
    latest_s = took_s[max(took_s)]
    all_s = sum(took_s.get(index, latest_s) for index in range(rungs))
    past, within = divmod(done, rungs)
    if past == 0:
        return sum(latest_s for index in range(rungs) if index not in took_s) + all_s * (repeats - 1)
    order = list(range(rungs)) if past % 2 == 0 else list(reversed(range(rungs)))
    return all_s * (repeats - past) - sum(took_s[index] for index in order[:within])


def _task_of(task: TrainingTask, rung: Rung) -> TrainingTask:
    if rung.deepspeed is None:
        return replace(task, recipe=rung.recipe)
    from bench.zero import deepspeed_file

    return replace(task, recipe=rung.recipe, deepspeed=deepspeed_file(rung.deepspeed))


def _trial(task: TrainingTask, config: dict[str, Any], repeat: int) -> TrialSpeed:
    from bench.engines.process import ProcessDied, run_trial_process

    results: list[EpochResult] = []
    state, detail = "completed", ""
    folder = Path(tempfile.mkdtemp(prefix="ladder-", dir=task.cache))  # /tmp may be memory, and checkpoints are large
    try:
        for message in run_trial_process(task, config, folder=folder, resume_from=None):
            if isinstance(message, EpochResult):
                results.append(message)
            elif isinstance(message, TrialFailed):
                state, detail = message.state, message.detail
            elif isinstance(message, ProcessDied) and len(results) < task.epochs:
                # DeepSpeed aborts now and then at exit, after all results.
                state, detail = "failed", f"its process ended with status {message.exit_code}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return TrialSpeed(
        repeat=repeat,
        state=state,
        detail=detail,
        startup_s=round(results[0].phases.startup_s, DECIMALS) if results else None,
        epochs=tuple(_epoch(r) for r in results if math.isfinite(r.eval_loss) and math.isfinite(r.train_loss)),
    )


def _epoch(result: EpochResult) -> EpochSpeed:
    memory = result.device_memory_mib
    return EpochSpeed(
        epoch=result.epoch,
        eval_loss=result.eval_loss,
        train_loss=result.train_loss,
        train_s=round(result.phases.train_s, DECIMALS),
        eval_s=round(result.phases.eval_s, DECIMALS),
        checkpoint_s=round(result.phases.checkpoint_s, DECIMALS),
        device_memory_mib=None if memory is None else round(memory, 1),
        host_memory_mib=round(result.host_memory_mib, 1),
    )


def _speed(
    rung: Rung, task: TrainingTask, found: Inputs, config: dict[str, Any], trials: list[TrialSpeed]
) -> RungSpeed:
    recipe = task.recipe
    computed = hardware_flops(
        found.shape,
        found.train,
        recipe,
        batch_size=int(config["batch_size"]),
        max_tokens=task.workload.max_tokens,
    )
    return RungSpeed(
        name=rung.name,
        change=rung.change,
        comparable=rung.comparable,
        settings={
            "labels": recipe.labels,
            "padding": recipe.padding,
            "deepspeed": rung.deepspeed,
            **asdict(recipe.computation),
        },
        model_flops=TRAINING * model_flops(found.shape, found.train),
        hardware_flops=TRAINING * computed,
        train_tokens=sum(sample.tokens for sample in found.train),
        trials=tuple(trials),
    )
