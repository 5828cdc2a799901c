"""How long a trial's start-up takes: cold in starts of the same interpreter's standard library, warm in a fixed work.

`make benchmark` runs it; the limits are of the same run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.profile import load_profile
from bench.speed.starts import IMPORT
from bench.speed.task import Asked, config_of, task_of
from bench.training import FIRST_STEP, EpochResult
from tests.benchmarks.peers import PYTHON, START

WARM_LIMIT_S = 0.5
TINY = Asked(workload="tiny-squad", train=40)


@pytest.fixture(autouse=True)
def _asked_for(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("a benchmark: make benchmark")


@pytest.mark.benchmark(timer=START.clock, group="start-up")
def test_cold_imports(benchmark: Any) -> None:
    """What a trial's process imports, in a new one."""

    def imports() -> None:
        subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True)

    START.measure(benchmark, imports, rounds=5)


@pytest.mark.benchmark(timer=PYTHON.clock, group="start-up")
def test_warm_trial(benchmark: Any, tmp_path: Path) -> None:
    """A trial of one epoch on 40 examples in a process that has trained before, of which start-up is measured apart."""
    from bench.hf import train_trial

    task = replace(task_of(TINY, load_profile("cpu"), tmp_path / "cache"), epochs=1)
    results: list[EpochResult] = []

    def trial(on_epoch: Callable[[EpochResult], None] = results.append) -> None:
        train_trial(task, config_of(TINY), folder=tmp_path / f"trial-{time.monotonic_ns()}", on_epoch=on_epoch)

    trial(lambda result: None)
    PYTHON.measure(benchmark, trial, rounds=5)
    taken_s = sorted(
        sum(seconds for name, seconds in result.startup_parts_s.items() if name != FIRST_STEP) for result in results
    )
    print(f"warm start-up: {taken_s[0]:.3f} to {taken_s[-1]:.3f} s")
    assert taken_s[0] < WARM_LIMIT_S
