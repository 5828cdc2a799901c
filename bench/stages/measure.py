"""One training after another, each in fresh processes on the same devices, and what each was seen to take."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.engines.process import Message, ProcessDied, prepare_in_process, run_trial_process, silence_output
from bench.errors import UserError
from bench.events import Phases, State
from bench.hyperparameters import Value
from bench.stages.result import Epoch, Inputs, Row
from bench.stages.samples import MIB, gather
from bench.training import EpochResult, TrainingTask, TrialFailed
from bench.zero import Sharding, state_bytes

Config = Mapping[str, Value]
Launch = Callable[[TrainingTask, Config, Path], Iterator[Message]]
"""Trains once, with what it writes in a folder, and yields what the training says."""


def here(task: TrainingTask, config: Config, folder: Path) -> Iterator[Message]:
    """On this machine."""
    return run_trial_process(task, config, folder=folder, resume_from=None)


def inputs_of(task: TrainingTask) -> Inputs:
    """What is trained on, read and prepared in a process of its own. Raises UserError where it cannot be had."""
    facts = prepare_in_process(task)
    return Inputs(
        parameters=facts["parameters"],
        train=facts["splits"]["train"],
        validation=facts["splits"]["validation"],
        sha256={name: facts[f"{name}_sha256"] for name in ("model", "tokenizer", "data")},
    )


def build_extensions(task: TrainingTask) -> None:
    """Has DeepSpeed compile what it needs, in a process of its own, so that no row's start-up holds it. Where that
    fails, rows fail and say why."""
    process = multiprocessing.get_context("spawn").Process(target=_build, args=(task,), daemon=True)
    process.start()
    process.join()


def _build(task: TrainingTask) -> None:
    from bench.hf import deepspeed

    silence_output()
    with contextlib.suppress(UserError):
        deepspeed.build(task)


def measure(
    task: TrainingTask,
    config: Config,
    inputs: Inputs,
    rows: Sequence[Sharding],
    *,
    folder: Path,
    launch: Launch = here,
) -> Iterator[Row]:
    """A row for each, as it is done. `folder`: for what they write, emptied after each."""
    for sharding in rows:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield measure_one(task, config, inputs, sharding, folder=folder, launch=launch)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def measure_one(
    task: TrainingTask, config: Config, inputs: Inputs, sharding: Sharding, *, folder: Path, launch: Launch = here
) -> Row:
    """However its training ends."""
    task = replace(task, deepspeed=sharding.deepspeed, samples=folder / "samples")
    results: list[EpochResult] = []
    ended: tuple[State, str] | None = None
    last = Phases()
    began_s, began_at_s = time.perf_counter(), time.time()
    try:
        for message in launch(task, config, folder / "trial"):
            match message:
                case EpochResult():
                    results.append(message)
                case TrialFailed():
                    ended, last = (message.state, message.detail), message.phases
                case ProcessDied():
                    if ended is None or message.exit_code == -signal.SIGKILL:  # others only saw that it was gone
                        ended = died(message.exit_code)
    except UserError as error:
        ended = "failed", str(error)
    wall_s = time.perf_counter() - began_s
    if len(results) >= task.epochs:
        ended = "completed", ""  # whatever became of its processes after that
    state, detail = ended or ("failed", "its process ended without a word")
    first = results[0].phases if results else last
    trained = bool(results) or first.train_s > 0
    seen = gather(
        folder / "samples",
        task.processes,
        training_since_s=began_at_s + first.startup_s if trained else None,
    )
    memory = seen.memory
    if memory.allocated is not None and (exact := [r.device_memory_mib for r in results if r.device_memory_mib]):
        peak = max(memory.allocated.peak_mib, *exact)  # a sample may miss it by milliseconds
        memory = replace(memory, allocated=replace(memory.allocated, peak_mib=round(peak, 3)))
    held = state_bytes(sharding, task.processes, task.precision)
    return Row(
        name=sharding.name,
        state=state,
        detail=detail,
        epochs=tuple(_epoch(result, inputs) for result in results),
        steps_per_epoch=math.ceil(inputs.train / (int(config["batch_size"]) * task.processes)),
        startup_s=round(first.startup_s, 3) if trained else None,
        wall_s=round(wall_s, 3),
        device_min=round(wall_s * task.processes / 60, 5),
        energy_j=seen.energy_j,
        memory=memory,
        state_device_mib=round(held.device * inputs.parameters / MIB, 3),
        state_host_mib=round(held.host * inputs.parameters / MIB, 3),
        series=seen.series,
    )


def died(exit_code: int) -> tuple[State, str]:
    """What became of a training whose process ended without a word; `exit_code` is negative for a signal."""
    if exit_code == -signal.SIGKILL:
        return "oom", "a process was killed (signal 9), which is what the kernel does where memory runs out"
    if exit_code < 0:
        return "failed", f"a process was ended by signal {-exit_code} ({signal.Signals(-exit_code).name})"
    return "failed", f"a process ended with status {exit_code}"


def _epoch(result: EpochResult, inputs: Inputs) -> Epoch:
    return Epoch(
        epoch=result.epoch,
        train_loss=result.train_loss,
        eval_loss=result.eval_loss,
        train_samples_per_s=round(result.samples_per_s, 4),
        eval_samples_per_s=round(inputs.validation / result.phases.eval_s, 4),
        tokens_per_s=round(result.tokens_per_s, 2),
    )
