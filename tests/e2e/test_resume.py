"""Whatever ends a run, no finished epoch is trained again and nothing that was spent is forgotten."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.events import EpochFinished, RunFinished, RunInterrupted, RunResumed, TrialEnded, TrialStarted, WorkLost
from bench.record import record_run
from tests.e2e.driver import (
    QUICK,
    epochs_done,
    events,
    journal_path,
    losses,
    start,
    sweepmark,
    wait_for,
)

pytestmark = pytest.mark.slow
WORKER = "ray::ImplicitFunc"
"""What Ray calls the process that trains a trial."""


def test_a_killed_grid_goes_on_with_the_trial_in_progress(tmp_path: Path) -> None:
    small = ("--bs-choices", "8", "--wd-choices", "0.0", "--epochs", "3", "--final-epochs", "0")
    process = start("run", "--strategy", "manual", *small, "--results", tmp_path)
    wait_for(tmp_path, epochs_done(4))
    process.kill()
    process.communicate()
    name = journal_path(tmp_path).parent.name
    done = sweepmark("resume", name[:12], "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    after = events(tmp_path)
    assert sorted(losses(after)) == [(f"{trial:04d}", epoch) for trial in (1, 2, 3) for epoch in (1, 2, 3)]
    resumed = next(i for i, e in enumerate(after) if isinstance(e, RunResumed))
    first = next(e for e in after[resumed:] if isinstance(e, TrialStarted))
    assert (first.trial, first.epoch >= 1) == ("0002", True), "trained on from its checkpoint"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_in_order_and_says_how_to_go_on(by: signal.Signals, tmp_path: Path) -> None:
    process = start("run", "--strategy", "bohb", "--no-baseline", "--devices", "1", *QUICK, "--results", tmp_path)
    wait_for(tmp_path, epochs_done(2))
    if by == signal.SIGINT:
        os.killpg(process.pid, by)  # as a terminal does
    else:
        process.send_signal(by)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + by, stderr
    assert "-m bench resume bohb-" in stderr
    assert "Traceback" not in stderr
    assert isinstance(events(tmp_path)[-1], RunInterrupted)
    if by == signal.SIGINT:
        folder = journal_path(tmp_path).parent
        spent = record_run(folder).costs.search.allocated_device_min
        done = sweepmark("resume", folder.name, "--results", tmp_path)
        assert done.returncode == 0, done.stderr
        assert isinstance(events(tmp_path)[-1], RunFinished)
        losses(events(tmp_path))
        total = record_run(folder).costs.search.allocated_device_min
        assert spent is not None
        assert total is not None
        assert total > spent > 0


def test_a_killed_worker_costs_an_epoch_and_no_trial(tmp_path: Path) -> None:
    process = start("run", "--strategy", "random", "--no-baseline", "--epochs", "4", "--samples", "2",
                    "--final-epochs", "0", "--results", tmp_path)  # fmt: skip
    wait_for(tmp_path, epochs_done(2))
    worker = next(e.worker for e in events(tmp_path) if isinstance(e, EpochFinished))
    os.kill(int(worker.removeprefix("pid ")), signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    run = events(tmp_path)
    lost = [e for e in run if isinstance(e, WorkLost)]
    assert len(lost) == 1
    assert sorted(losses(run)) == [(trial, epoch) for trial in ("0001", "0002") for epoch in (1, 2, 3, 4)]
    record = record_run(journal_path(tmp_path).parent)
    assert record.costs.search.by_phase_device_min["lost"] == pytest.approx(lost[0].busy_s / 60)


def test_a_population_goes_on_without_a_member_that_died_thrice_also_when_resumed(tmp_path: Path) -> None:
    small = ("--epochs", "6", "--samples", "3", "--final-epochs", "0", "--devices", "1", "--results", tmp_path)
    process = start("run", "--strategy", "pbt", "--no-baseline", *small)
    for times in (1, 2, 3):
        wait_for(tmp_path, partial(_started, trial="0002", after=1, times=times))
        (worker,) = (c for c in psutil.Process(process.pid).children(recursive=True) if c.name().startswith(WORKER))
        worker.kill()
    wait_for(tmp_path, lambda lines: "epoch_finished" in _kinds_after(lines, "trial_ended"))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    before = events(tmp_path)
    assert isinstance(before[-1], RunInterrupted)
    done = sweepmark("resume", journal_path(tmp_path).parent.name, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    after = events(tmp_path)
    ends = {e.trial: e.state for e in after if isinstance(e, TrialEnded)}
    assert ends == {"0001": "completed", "0002": "failed", "0003": "completed"}
    assert "0002" not in {getattr(e, "trial", None) for e in after[len(before) :]}
    survivors = [(trial, epoch) for trial in ("0001", "0003") for epoch in range(1, 7)]
    assert sorted(losses(after)) == sorted([*survivors, ("0002", 1)])


def _started(lines: list[dict[str, Any]], *, trial: str, after: int, times: int) -> bool:
    """Whether a trial has started so often after that epoch."""
    starts = [line for line in lines if line["kind"] == "trial_started"]
    return sum((line["trial"], line["epoch"]) == (trial, after) for line in starts) == times


def _kinds_after(lines: list[dict[str, Any]], kind: str) -> list[str]:
    """Of the events after the first of a kind."""
    kinds = [line["kind"] for line in lines]
    return kinds[kinds.index(kind) + 1 :] if kind in kinds else []
