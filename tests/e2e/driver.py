"""Runs the real command line in processes of its own, and reads what it left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.events import EpochFinished, Event, TrialCreated
from bench.hyperparameters import Value
from bench.journal import JOURNAL_NAME, read_journal

QUICK = ("--epochs", "2", "--samples", "4", "--final-epochs", "0")
"""Small enough for a test, large enough for every strategy to stop, pause or copy something."""


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "bench", *map(str, args)]


def sweepmark(*args: str | Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(*args),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=os.environ | {"NO_COLOR": "1"},
        check=False,
    )


def start(*args: str | Path) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as a shell on a terminal would."""
    return subprocess.Popen(
        command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def journal_path(results: Path) -> Path:
    """The journal of the one run under `results`."""
    paths = list((results / "runs").glob(f"*/{JOURNAL_NAME}"))
    assert len(paths) == 1, paths
    return paths[0]


def events(results: Path) -> list[Event]:
    return read_journal(journal_path(results))


def wait_for(results: Path, condition: Callable[[list[dict[str, Any]]], bool], timeout_s: float = 120) -> None:
    """Wait until the run's journal satisfies a condition."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        lines = [
            line for path in (results / "runs").glob(f"*/{JOURNAL_NAME}") for line in path.read_text().splitlines()
        ]
        if condition([json.loads(line) for line in lines if line.endswith("}")]):
            return
        time.sleep(0.05)  # a poll with a deadline
    raise AssertionError(f"{condition} was not met within {timeout_s} s")


def epochs_done(count: int) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda lines: sum(line["kind"] == "epoch_finished" for line in lines) >= count


def losses(of: list[Event]) -> dict[tuple[str, int], float | None]:
    """Every epoch that was trained, with its loss; an epoch trained twice is an error."""
    found: dict[tuple[str, int], float | None] = {}
    for event in of:
        if isinstance(event, EpochFinished):
            assert (event.trial, event.epoch) not in found, f"{event.trial} epoch {event.epoch} was trained twice"
            found[event.trial, event.epoch] = event.eval_loss
    return found


def configs(of: list[Event]) -> dict[str, dict[str, Value]]:
    return {event.trial: event.config for event in of if isinstance(event, TrialCreated)}
