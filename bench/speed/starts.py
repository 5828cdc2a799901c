"""Measures what the start-up of real trials goes to: cold in new processes, warm in one that has trained before."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.speed.startup import COLD, EMPTY, IMPORTS, PROCESS, WARM, Start
from bench.training import EpochResult, TrainingTask

IMPORT = "from bench.hf import train_trial"
"""What a trial's process does before it trains."""
IMPORT_TIMEOUT_S = 300
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)$")


def measure_starts(
    task: TrainingTask, config: dict[str, Any], repeats: int, warm: int, on_done: Callable[[int, int], None]
) -> list[Start]:
    """`repeats` times a trial in a new process that has to make the tokenised data first, one in a new process that
    finds them on disk, and `warm` more in that one. Each trains one epoch. Raises UserError where they cannot."""
    found: list[Start] = []
    task = replace(task, epochs=1)
    on_done(0, repeats)
    for repeat in range(repeats):
        cache = Path(tempfile.mkdtemp(prefix="startup-cache-"))
        try:
            own = replace(task, cache=cache)
            (parts,) = _in_process(own, config, 1)
            found.append(Start(kind=EMPTY, repeat=repeat, parts_s=parts))
            cold, *warmed = _in_process(own, config, 1 + warm)
        finally:
            shutil.rmtree(cache, ignore_errors=True)
        found.append(Start(kind=COLD, repeat=repeat, parts_s=cold))
        found += [Start(kind=WARM, repeat=repeat, parts_s=one) for one in warmed]
        on_done(repeat + 1, repeats)
    return found


def imports_by_package() -> dict[str, float]:
    """Seconds that each top-level package's own modules take to import, the longest first: by Python's `-X importtime`,
    in a process of its own, which that slows somewhat down."""
    command = [sys.executable, "-X", "importtime", "-c", IMPORT]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=True, env=environment
    )
    return package_times(done.stderr)


def package_times(text: str) -> dict[str, float]:
    """The same from what `-X importtime` printed."""
    total: Counter[str] = Counter()
    for line in text.splitlines():
        found = _LINE.match(line)
        if found:
            total[found[2].partition(".")[0]] += int(found[1])
    return {name: round(microseconds / 1e6, 4) for name, microseconds in total.most_common()}


def _in_process(task: TrainingTask, config: dict[str, Any], trials: int) -> list[dict[str, float]]:
    context = multiprocessing.get_context("spawn")
    started_s = time.time()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_trials, task, config, trials, started_s, os.getpid()).result()
        except BrokenProcessPool:
            raise UserError("A trial's process ended without a result: is there memory enough?") from None


def _trials(
    task: TrainingTask, config: dict[str, Any], trials: int, started_s: float, parent: int
) -> list[dict[str, float]]:
    """Train so many trials, one after the other, as a worker does; what each one's start-up went to."""
    began_s = time.time()
    from bench.engines.process import end_with_parent, silence_output

    end_with_parent(parent)
    silence_output()
    from bench.hf import train_trial

    imported_s = time.time()
    found: list[dict[str, float]] = []
    for number in range(trials):
        results: list[EpochResult] = []
        folder = Path(tempfile.mkdtemp(prefix="startup-"))
        try:
            train_trial(
                task,
                {**config, "learning_rate": config["learning_rate"] / (1 + number)},
                folder=folder,
                on_epoch=results.append,
                process_started_s=None,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        past = {} if number else {PROCESS: began_s - started_s, IMPORTS: imported_s - began_s}
        parts = past | dict(results[0].startup_parts_s)
        found.append({name: round(seconds, 4) for name, seconds in parts.items()})
    return found
