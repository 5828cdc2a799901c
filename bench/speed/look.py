"""What is read and measured beside the trials, in processes of its own: lengths, architecture, the machine's peak."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.errors import UserError
from bench.flops import Sample, Shape
from bench.training import TrainingTask

PEAK_S = 1.0
"""How long the peak is looked for, for each size of matrix."""
SIZES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192, 16384)}
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A task's data as one recipe encodes them, and its model. `hashes`: see `bench.hf.hashes`."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    shape: Shape
    hashes: dict[str, Any]


def in_process(work: Callable[[TrainingTask], T], task: TrainingTask) -> T:
    """What `work` returns of the task, in a new process. Raises UserError as it does, or where the process dies."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(os.getpid(),)) as pool:
        try:
            return pool.submit(work, task).result()
        except BrokenProcessPool:
            raise UserError("Reading the model and the data ended without a result: is there memory enough?") from None


def _begin(parent: int) -> None:
    import signal

    from bench.engines.process import end_with_parent, silence_output

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
    silence_output()


def inputs(task: TrainingTask) -> Inputs:
    """Read, tokenise and cache what the trials train on, so that none of them pays for it."""
    from bench.hf import hashes, prepare

    prepared = prepare(task)
    return Inputs(
        train=_samples(prepared.train),
        validation=_samples(prepared.validation),
        shape=Shape.of_bloom(prepared.model.config.to_dict()),
        hashes=hashes(task),
    )


def _samples(rows: Any) -> tuple[Sample, ...]:
    from bench.hf.encode import IGNORED

    return tuple(Sample.of(row["labels"], IGNORED) for row in rows)


def build_extensions(task: TrainingTask) -> None:
    """Compile what DeepSpeed needs, so that no trial's start-up holds it."""
    from bench.hf import deepspeed

    deepspeed.build(task)


def peak_tflops(task: TrainingTask) -> float:
    """The most that large matrix products reach on a trial's device and threads, in its precision: 10^12 operations a
    second."""
    import torch

    torch.set_num_threads(task.threads)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[task.precision]
    best = 0.0
    for size in SIZES[task.device]:
        left, right = (torch.randn(size, size, device=task.device).to(dtype) for _ in range(2))
        out = left @ right
        ends_s = time.perf_counter() + PEAK_S
        while time.perf_counter() < ends_s:
            began_s = _now_s(task)
            torch.mm(left, right, out=out)
            best = max(best, 2.0 * size**3 / (_now_s(task) - began_s) / 1e12)
    return best


def _now_s(task: TrainingTask) -> float:
    if task.device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()
